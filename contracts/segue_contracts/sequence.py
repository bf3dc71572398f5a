"""The sequence document, version 1: what a recruiter means, as data, for the API, files and the editor."""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from segue_contracts import timing as grammar
from segue_contracts.message import Channel, Scope
from segue_contracts.problems import DocumentError, Problem, found, nested_too_deeply, problems_of
from segue_contracts.text import Email, Line, Tokens, check_email, check_line, check_text
from segue_contracts.timing import (
    ALWAYS_OPEN,
    EVERY_DAY,
    AbsoluteDate,
    Delay,
    PersonalDate,
    TimeOfDay,
    TimeRange,
    Windows,
)

MAX_STAGES: Final = 100
MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_SUBJECT_BYTES: Final = 2048
MAX_MAILBOXES: Final = 50
MAX_TAGS: Final = 50
MAX_BCC: Final = 5
MAX_ATTACHMENTS: Final = 10
MAX_CONDITION_DEPTH: Final = 8
MAX_CONDITIONS: Final = 20
MIN_VARIANTS: Final = 2
MAX_VARIANTS: Final = 5
MAX_WEIGHT: Final = 100

AUTOMATIC_CHANNELS: Final = frozenset({Channel.EMAIL, Channel.SMS})
MANUAL_CHANNELS: Final = frozenset(Channel) - AUTOMATIC_CHANNELS
SUBJECT_CHANNELS: Final = frozenset({Channel.EMAIL, Channel.MANUAL_EMAIL, Channel.INMAIL, Channel.TASK})
MAIL_ONLY: Final = ("html", "attachments", "bcc", "reply_to")
"""Fields of a stage that only a mail sent by Segue can have."""
WORDS: Final = ("subject", "text", "html")
"""The templates of a stage, and of a variant."""
ADDRESS_OF_CHANNEL: Final[Mapping[Channel, str]] = {
    Channel.EMAIL: "email",
    Channel.MANUAL_EMAIL: "email",
    Channel.SMS: "phone",
    Channel.MANUAL_SMS: "phone",
    Channel.CALL: "phone",
}
FIRST_STAGE_DELAY: Final = grammar.parse_delay("0 minutes")
LATER_STAGE_DELAY: Final = grammar.parse_delay("1 day")

_STAGE_ID_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,63}$"
_STAGE_ID = re.compile(_STAGE_ID_PATTERN)
_PEOPLE_PATTERN: Final = r"^([1-9][0-9]{1,5}) people$"
_PEOPLE = re.compile(_PEOPLE_PATTERN)
T = TypeVar("T")


class SequenceError(DocumentError):
    """A sequence that can't be accepted; `problems` says why, each with a path such as `stages[1].after`."""


class Access(StrEnum):
    """Who may see a sequence."""

    PERSONAL = "personal"
    SHARED = "shared"
    CONFIDENTIAL = "confidential"


class Thread(StrEnum):
    """Whether an e-mail opens a conversation or goes on with it."""

    NEW = "new"
    REPLY = "reply"


class CatchUp(StrEnum):
    """What happens to a stage that is late for a cause of ours or a hold."""

    SHIFT = "shift"
    SPREAD = "spread"
    SKIP = "skip"


class PlainDays(StrEnum):
    """What holidays mean to stages that are not counted in business days."""

    MOVE = "move"
    SEND = "send"


class AlreadyEnrolled(StrEnum):
    """What to do about a person who is in another sequence."""

    WARN = "warn"
    REFUSE = "refuse"
    ALLOW = "allow"


class ManualMail(StrEnum):
    """What a mail does that the sequence's owner writes to the person by hand."""

    HOLD = "hold"
    STOP = "stop"
    IGNORE = "ignore"


class WhenOverdue(StrEnum):
    """What happens to a task that nobody did in time."""

    WAIT = "wait"
    SKIP = "skip"
    NOTIFY = "notify"


class WonBy(StrEnum):
    """What a person does that counts for the variant they got."""

    REPLIED = "replied"
    INTERESTED = "interested"
    CLICKED = "clicked"
    OPENED = "opened"


MEASURED: Final = frozenset({WonBy.OPENED, WonBy.CLICKED})
"""What is known only of e-mails that are tracked."""


def _string(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        raise ValueError(f'must be text, not {value!r}: write it in quotes, like "10:30" or "3 days"')
    raise ValueError("must be text")


def _parsed_by(parse: Callable[[str], object]) -> BeforeValidator:
    def check(value: object) -> str:
        text = _string(value)
        parse(text)
        return text

    return BeforeValidator(check)


def _strings(value: object, what: str) -> list[str]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be a list of {what}")
    return [_string(item) for item in value]


def _one_or_list(check: Callable[[list[str]], object], what: str, most: int) -> BeforeValidator:
    def validate(value: object) -> str | tuple[str, ...]:
        items = [_string(value)] if not isinstance(value, list | tuple) else _strings(value, what)
        if not items or len(items) > most:
            raise ValueError(f"must name 1 to {most} {what}")
        check(items)
        return items[0] if isinstance(value, str) else tuple(items)

    return BeforeValidator(validate)


def _check_windows(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise ValueError('must map days to lists of hours, like {mon-fri: ["09:00-12:00", "13:00-17:30"]}')
    windows: dict[str, tuple[str, ...]] = {}
    for key, ranges in value.items():
        hours = _strings(ranges, 'hours, like ["09:00-12:00"]')
        if len(hours) > grammar.MAX_WINDOWS_PER_DAY:
            raise ValueError(f"has more than {grammar.MAX_WINDOWS_PER_DAY} ranges for {key}")
        windows[_string(key)] = tuple(hours)
    grammar.parse_windows(windows)
    return windows


def _check_calendars(value: object) -> str | tuple[str, ...]:
    named = (grammar.PROSPECT, grammar.SENDER, grammar.NONE)
    if isinstance(value, str):
        if value not in named:
            raise ValueError(f"must be {', '.join(named)}, or a list such as [DE, US-CA, team]")
        return value
    calendars = tuple(grammar.check_calendar(item) for item in _strings(value, "calendars, like [DE, team]"))
    if not calendars or len(calendars) > grammar.MAX_CALENDARS:
        raise ValueError(f"must list 1 to {grammar.MAX_CALENDARS} calendars, or be none")
    if len(set(calendars)) != len(calendars):
        raise ValueError("names a calendar twice")
    return calendars


def _check_mailboxes(items: list[str]) -> None:
    for item in items:
        check_email(item)
    if len({item.lower() for item in items}) != len(items):
        raise ValueError("names a mailbox twice")


def _check_stage_id(value: str) -> str:
    if not _STAGE_ID.fullmatch(value):
        raise ValueError("must be 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


def _check_stage_count(value: object) -> object:
    # Not min_length: pydantic counts only the valid items of a tuple, so one bad stage would be two errors.
    if isinstance(value, list | tuple) and not 1 <= len(value) <= MAX_STAGES:
        raise ValueError(f"must hold 1 to {MAX_STAGES} stages, not {len(value)}")
    return value


def _check_variant_count(value: object) -> object:
    if isinstance(value, list | tuple) and not MIN_VARIANTS <= len(value) <= MAX_VARIANTS:
        raise ValueError(f"must hold {MIN_VARIANTS} to {MAX_VARIANTS} variants, not {len(value)}")
    return value


def _check_people(value: object) -> str:
    if not isinstance(value, str) or not _PEOPLE.fullmatch(value):
        raise ValueError("must be 10 to 999999 people, written like this: 100 people")
    return value


def _bytes_at_most(limit: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value.encode()) > limit:
            raise ValueError(f"is longer than {limit // 1024} KiB: shorten it")
        return value

    return AfterValidator(check)


def _text_schema(pattern: str, description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "description": description})


def _list_schema(pattern: str, description: str, most: int) -> WithJsonSchema:
    one = {"type": "string", "pattern": pattern}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": most}
    return WithJsonSchema({"anyOf": [one, many], "description": description})


def _check_not_empty(value: object) -> object:
    if isinstance(value, list | tuple) and not 1 <= len(value) <= MAX_CONDITIONS:
        raise ValueError(f"must hold 1 to {MAX_CONDITIONS} conditions, not {len(value)}")
    return value


_SOME = Field(json_schema_extra={"minItems": 1, "maxItems": MAX_CONDITIONS})
StageId = Annotated[
    str,
    BeforeValidator(_string),
    AfterValidator(_check_stage_id),
    _text_schema(_STAGE_ID_PATTERN, "Stable over versions; a dispatch id contains it"),
]
DelayText = Annotated[
    str,
    _parsed_by(grammar.parse_delay),
    _text_schema(grammar.DELAY_PATTERN, "3 minutes, 2 hours, 1 day, 3 business days"),
]
DateRule = Annotated[
    str,
    _parsed_by(grammar.parse_date),
    _text_schema(grammar.DATE_PATTERN, "2027-01-15, or a date of the prospect's: start_date - 3 days"),
]
AtText = Annotated[
    str,
    _parsed_by(grammar.parse_at),
    _text_schema(grammar.AT_PATTERN, "One time, 10:30, or a range, 09:00-11:00"),
]
WeekdaysText = Annotated[
    str | tuple[str, ...],
    _one_or_list(grammar.parse_days, "days", 7),
    _list_schema(grammar.DAYS_PATTERN, "tue-thu, or a list: [mon, wed]", 7),
]
MailboxText = Annotated[
    str | tuple[str, ...],
    _one_or_list(_check_mailboxes, "mailboxes", MAX_MAILBOXES),
    _list_schema("^[^@]+@[^@]+$", "A connected mailbox, or a list: a pool", MAX_MAILBOXES),
]
WindowsText = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(_check_windows),
    WithJsonSchema(
        {
            "type": "object",
            "description": "Open hours by days: {mon-fri: [09:00-12:00, 13:00-17:30]}; other days are closed",
            "propertyNames": {"pattern": grammar.DAYS_PATTERN},
            "minProperties": 1,
            "additionalProperties": {
                "type": "array",
                "items": {"type": "string", "pattern": grammar.WINDOW_PATTERN},
                "minItems": 1,
                "maxItems": grammar.MAX_WINDOWS_PER_DAY,
            },
        }
    ),
]
Calendars = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_check_calendars),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": [grammar.PROSPECT, grammar.SENDER, grammar.NONE]},
                {
                    "type": "array",
                    "items": {
                        "type": "string",
                        "pattern": f"{grammar.CALENDAR_PATTERN}|^(team|prospect|sender)$",
                    },
                    "minItems": 1,
                    "maxItems": grammar.MAX_CALENDARS,
                    "uniqueItems": True,
                },
            ],
            "description": "Whose holidays: prospect, sender, none, or a list such as [DE, US-CA, team]",
        }
    ),
]
ZoneText = Annotated[
    str,
    BeforeValidator(_string),
    AfterValidator(grammar.check_zone),
    _text_schema(grammar.ZONE_PATTERN, "A time zone: Europe/Berlin"),
]
TemplateText = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TEMPLATE_BYTES),
    AfterValidator(check_text),
    _bytes_at_most(MAX_TEMPLATE_BYTES),
]
SubjectText = Annotated[
    str,
    Field(min_length=1, max_length=MAX_SUBJECT_BYTES),
    AfterValidator(check_line),
    _bytes_at_most(MAX_SUBJECT_BYTES),
]


VariantId = Annotated[
    str,
    BeforeValidator(_string),
    AfterValidator(_check_stage_id),
    _text_schema(_STAGE_ID_PATTERN, "What it is called in numbers and events"),
]
PeopleText = Annotated[
    str,
    BeforeValidator(_check_people),
    _text_schema(_PEOPLE_PATTERN, "How many people get each variant before any is chosen: 100 people"),
]
Variants = Annotated[
    tuple["Variant", ...],
    BeforeValidator(_check_variant_count),
    Field(
        description="Other words for the stage; each person gets one of them",
        json_schema_extra={"minItems": MIN_VARIANTS, "maxItems": MAX_VARIANTS},
    ),
]


def _check_written_to_by_all(value: str) -> str:
    """One that any server takes (no SMTPUTF8), else `ValueError`."""
    if not value.rpartition("@")[0].isascii():
        raise ValueError("has other letters than a-z before the @, which many mail servers refuse")
    return value


def _check_bcc(items: list[str]) -> None:
    for item in items:
        _check_written_to_by_all(check_email(item))
    if len({item.lower() for item in items}) != len(items):
        raise ValueError("names an address twice")


BccText = Annotated[
    str | tuple[str, ...],
    _one_or_list(_check_bcc, "addresses", MAX_BCC),
    _list_schema("^[^@]+@[^@]+$", "Who gets a copy that does not name them: an address, or a list", MAX_BCC),
]


def _check_attachments(value: object) -> tuple[str, ...]:
    items = tuple(_string(item).lower() for item in _strings(value, "ids of attachments"))
    if not 1 <= len(items) <= MAX_ATTACHMENTS:
        raise ValueError(f"must name 1 to {MAX_ATTACHMENTS} attachments")
    for item in items:
        if not _ATTACHMENT_ID.fullmatch(item):
            raise ValueError("is no id of an attachment, such as the upload has answered with")
    if len(set(items)) != len(items):
        raise ValueError("names an attachment twice")
    return items


ReplyTo = Annotated[
    Email,
    AfterValidator(_check_written_to_by_all),
    Field(description="Where answers go, if not to the mailbox: Segue does not see those"),
]
_ATTACHMENT_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_ATTACHMENT_ID = re.compile(_ATTACHMENT_PATTERN)
AttachmentIds = Annotated[
    tuple[str, ...],
    BeforeValidator(_check_attachments),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"type": "string", "format": "uuid", "pattern": _ATTACHMENT_PATTERN},
            "minItems": 1,
            "maxItems": MAX_ATTACHMENTS,
            "uniqueItems": True,
            "description": "Ids of uploaded files, in the order in which the mail has them",
        }
    ),
]


class _Part(BaseModel):
    """A part of the document: frozen, and closed, so that a slip of the pen is found and not ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


class Holidays(_Part):
    """Whose holidays count, and what they mean to stages that are not counted in business days."""

    of: Calendars = grammar.PROSPECT
    plain_days: PlainDays = PlainDays.MOVE

    @property
    def calendars(self) -> tuple[str, ...]:
        """The calendars as a list: `prospect`, `sender`, `team`, `DE`, `US-CA`; empty for `none`."""
        if isinstance(self.of, str):
            return () if self.of == grammar.NONE else (self.of,)
        return self.of


class Timing(_Part):
    """What may be said for all stages and, in the same words, for one of them; absent is None."""

    zone: (
        Annotated[ZoneText, Field(description="prospect (default) or a time zone, which then wins")] | None
    ) = None
    fallback_zone: ZoneText | None = None
    windows: WindowsText | None = None
    holidays: Holidays | None = None
    catch_up: CatchUp | None = None

    @cached_property
    def open_windows(self) -> Windows:
        """The open hours in canonical form; always open where none are given."""
        return ALWAYS_OPEN if self.windows is None else grammar.parse_windows(self.windows)


class StageTiming(Timing):
    """When a stage is due, without what it says: all that planning needs of a stage."""

    after: DelayText | None = None
    date: DateRule | None = None
    at: AtText | None = None
    weekdays: WeekdaysText | None = None

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.after is not None and self.date is not None:
            raise found(("date", "a stage has either `after` or `date`: remove one of them"))
        return self

    def delay(self, *, first: bool) -> Delay:
        """The delay after the base; the default is 0 minutes for a first stage and 1 day for others."""
        if self.after is None:
            return FIRST_STAGE_DELAY if first else LATER_STAGE_DELAY
        return grammar.parse_delay(self.after)

    @property
    def on_date(self) -> AbsoluteDate | PersonalDate | None:
        """The date rule in canonical form, or None for a stage that counts from its base."""
        return None if self.date is None else grammar.parse_date(self.date)

    @property
    def at_time(self) -> TimeOfDay | TimeRange | None:
        """The time of day, or the range of times, in canonical form."""
        return None if self.at is None else grammar.parse_at(self.at)

    @cached_property
    def allowed_weekdays(self) -> frozenset[int]:
        """The weekdays (0 = Monday) on which the stage may be due; all of them where none are given."""
        if self.weekdays is None:
            return EVERY_DAY
        return grammar.parse_days([self.weekdays] if isinstance(self.weekdays, str) else self.weekdays)

    def with_defaults(self, timing: Timing) -> Timing:
        """The timing that holds for this stage: its own values, whole, before the sequence's."""
        return Timing.model_construct(
            zone=self.zone or timing.zone,
            fallback_zone=self.fallback_zone or timing.fallback_zone,
            windows=self.windows or timing.windows,
            holidays=self.holidays or timing.holidays or Holidays(),
            catch_up=self.catch_up or timing.catch_up or CatchUp.SHIFT,
        )


class Condition(_Part):
    """`when`: exactly one of its keys; looked at as the stage comes due."""

    has: Line | None = Field(
        default=None, description="A field, token or date of the prospect that must not be empty"
    )
    opened: StageId | None = Field(default=None, description="The id of an e-mail stage that was opened")
    clicked: StageId | None = Field(
        default=None, description="The id of an e-mail stage in which a link was clicked"
    )
    not_: "Condition | None" = Field(default=None, alias="not")
    all: Annotated[tuple["Condition", ...], BeforeValidator(_check_not_empty), _SOME] | None = None
    any: Annotated[tuple["Condition", ...], BeforeValidator(_check_not_empty), _SOME] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        parts = (self.has, self.opened, self.clicked, self.not_, self.all, self.any)
        if sum(part is not None for part in parts) != 1:
            raise found(
                ("", "must have exactly one of has, opened, clicked, not, all, any; combine several with all")
            )
        return self

    def children(self) -> "tuple[Condition, ...]":
        """The conditions directly inside this one."""
        return (self.not_,) if self.not_ is not None else self.all or self.any or ()

    def walk(self) -> "Iterator[Condition]":
        """This condition and all inside it."""
        yield self
        for child in self.children():
            yield from child.walk()

    def depth(self) -> int:
        """How many levels of conditions there are; 1 for a simple one."""
        return 1 + max((child.depth() for child in self.children()), default=0)


class Overdue(_Part):
    """What happens to a task that nobody did within `after` of its opening."""

    after: DelayText
    do: WhenOverdue = WhenOverdue.WAIT

    @property
    def delay(self) -> Delay:
        """`after` in canonical form."""
        return grammar.parse_delay(self.after)


class Variant(_Part):
    """Other words for a stage, for some of the people: what it leaves out is the stage's own.

    Text and HTML go together: a variant with either of them has no other body than its own.
    """

    id: VariantId
    weight: Annotated[
        int, Field(strict=True, ge=1, le=MAX_WEIGHT, description="Its share of the people beside the others'")
    ] = 1
    subject: SubjectText | None = None
    text: TemplateText | None = None
    html: TemplateText | None = None


class Winner(_Part):
    """When new people get one variant alone: the one that is clearly better at what counts."""

    by: WonBy
    after: PeopleText = "100 people"

    @property
    def people(self) -> int:
        """How many people each variant was sent to before the first look."""
        return int(self.after.removesuffix(" people"))


class Stage(StageTiming):
    """One step: a channel, a template, a timing."""

    id: StageId
    channel: Channel
    thread: Thread | None = None
    subject: SubjectText | None = None
    text: TemplateText | None = None
    html: (
        Annotated[TemplateText, Field(description="Beside the text, or alone: then the text follows from it")]
        | None
    ) = None
    attachments: AttachmentIds | None = None
    bcc: BccText | None = None
    reply_to: ReplyTo | None = None
    overdue: Overdue | None = None
    when: Condition | None = None
    variants: Variants | None = None
    winner: Winner | None = None

    @property
    def bcc_addresses(self) -> tuple[str, ...]:
        """Who gets a copy; mostly nobody."""
        if self.bcc is None:
            return ()
        return (self.bcc,) if isinstance(self.bcc, str) else self.bcc

    @property
    def is_manual(self) -> bool:
        """True for a task of a person's, False for what Segue sends itself."""
        return self.channel in MANUAL_CHANNELS

    @property
    def address_field(self) -> str | None:
        """The prospect's field that the channel needs (`email`, `phone`), or None."""
        return ADDRESS_OF_CHANNEL.get(self.channel)

    def worded(self, variant: Variant) -> "Stage":
        """The stage as those who get the variant have it, without any variants."""
        changed: dict[str, Any] = {"variants": None, "winner": None}
        if variant.subject is not None:
            changed["subject"] = variant.subject
        if variant.text is not None or variant.html is not None:
            changed |= {"text": variant.text, "html": variant.html}
        return self.model_copy(update=changed)

    def wordings(self) -> "Iterator[tuple[str | None, Stage]]":
        """Every way in which the stage may be worded, with the variant's id; None if it has no variants."""
        if self.variants is None:
            yield None, self
        for variant in self.variants or ():
            yield variant.id, self.worded(variant)

    def templates(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Where below the stage each of its templates stands, its variants' too, and the template."""
        parts: list[tuple[tuple[str | int, ...], Stage | Variant]] = [((), self)]
        parts += [(("variants", place), variant) for place, variant in enumerate(self.variants or ())]
        for path, part in parts:
            for name in WORDS:
                if (source := getattr(part, name)) is not None:
                    yield (*path, name), source

    @model_validator(mode="after")
    def _fits_channel(self) -> Self:
        problems = [*self._channel_problems(), *self._variant_problems()]
        if problems:
            raise found(*problems)
        return self

    def _channel_problems(self) -> Iterator[tuple[str, str]]:
        missing = self.text is None and self.html is None and self.channel in AUTOMATIC_CHANNELS
        if missing and self.variants is None:
            yield "text", f"is missing: a stage with channel {self.channel} needs a text to send"
        if self.thread is not None and self.channel is not Channel.EMAIL:
            yield "thread", f"is for e-mail stages: remove it from this {self.channel} stage"
        if self.subject is not None and self.channel not in SUBJECT_CHANNELS:
            yield "subject", f"a {self.channel} stage has no subject: remove it"
        if self.channel is not Channel.EMAIL:
            for name in MAIL_ONLY:
                if getattr(self, name) is not None:
                    yield name, f"is for e-mail stages: remove it from this {self.channel} stage"
        if self.overdue is not None and not self.is_manual:
            yield "overdue", f"is for stages that a person does: Segue sends this {self.channel} stage itself"

    def _variant_problems(self) -> Iterator[tuple[str, str]]:
        if self.variants is None:
            if self.winner is not None:
                yield "winner", "there is nothing to choose from: add variants"
            return
        measured = self.winner is not None and self.winner.by in MEASURED
        if self.winner is not None and measured and self.channel is not Channel.EMAIL:
            yield "winner.by", f"only e-mails are {self.winner.by}: use replied or interested"
        said: dict[tuple[str | None, ...], int] = {}
        known: dict[str, int] = {}
        for place, variant in enumerate(self.variants):
            here = f"variants[{place}]"
            if variant.id in known:
                taken = f"{variant.id} is the id of variants[{known[variant.id]}] too: make it unique"
                yield f"{here}.id", taken
            known.setdefault(variant.id, place)
            yield from self._misfits(here, variant)
            worded = self.worded(variant)
            words = (worded.subject, worded.text, worded.html)
            if words in said:
                yield here, f"says the same as variants[{said[words]}]: change its words, or remove it"
            said.setdefault(words, place)

    def _misfits(self, here: str, variant: Variant) -> Iterator[tuple[str, str]]:
        if variant.subject is not None and self.channel not in SUBJECT_CHANNELS:
            yield f"{here}.subject", f"a {self.channel} stage has no subject: remove it"
        if variant.html is not None and self.channel is not Channel.EMAIL:
            yield f"{here}.html", f"is for e-mail stages: remove it from this {self.channel} stage"
        worded = self.worded(variant)
        if worded.text is None and worded.html is None and self.channel in AUTOMATIC_CHANNELS:
            yield f"{here}.text", "is missing, and the stage has none of its own"


class Tracking(_Part):
    """What is measured of e-mails with HTML: nothing, unless it says so."""

    opens: Annotated[bool, Field(strict=True)] = False
    clicks: Annotated[bool, Field(strict=True)] = False


class Limits(_Part):
    """How fast people come in, and what happens to those who are in a sequence already."""

    new_people_per_day: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    already_in_a_sequence: AlreadyEnrolled = AlreadyEnrolled.WARN


class StopRules(_Part):
    """How far a reply or a bounce reaches, and what a mail written by hand does."""

    on_reply: Scope = Scope.PERSON
    on_bounce: Scope = Scope.ENROLLMENT
    on_manual_mail: ManualMail = ManualMail.HOLD


class SequenceDocument(_Part):
    """A whole sequence. `dump` gives back what the author wrote; methods give what it means."""

    name: Line
    tags: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64), AfterValidator(check_line)], ...],
        Field(max_length=MAX_TAGS),
    ] = ()
    access: Access = Access.PERSONAL
    mailbox: MailboxText | None = None
    on_behalf_of: Email | None = Field(default=None, description="A teammate who agreed; their mailbox sends")
    tokens: Tokens = {}
    timing: Timing = Timing()
    limits: Limits = Limits()
    stop: StopRules = StopRules()
    tracking: Tracking = Tracking()
    stages: Annotated[
        tuple[Stage, ...],
        BeforeValidator(_check_stage_count),
        Field(json_schema_extra={"minItems": 1, "maxItems": MAX_STAGES}),
    ]

    @model_validator(mode="after")
    def _stages_fit_together(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise found(*problems)
        return self

    @property
    def mailboxes(self) -> tuple[str, ...]:
        """The mailboxes named; empty means the owner's."""
        if self.mailbox is None:
            return ()
        return (self.mailbox,) if isinstance(self.mailbox, str) else self.mailbox

    def index_of(self, stage_id: str) -> int:
        """The position of a stage, from 0; raises `KeyError` for an id that the sequence does not have."""
        for index, stage in enumerate(self.stages):
            if stage.id == stage_id:
                return index
        raise KeyError(stage_id)

    def thread_of(self, index: int) -> Thread | None:
        """How an e-mail is threaded: as written, else reply after an earlier e-mail; None if it is none."""
        stage = self.stages[index]
        if stage.channel is not Channel.EMAIL:
            return None
        return stage.thread or (Thread.REPLY if self._has_email_before(index) else Thread.NEW)

    def delay_of(self, index: int) -> Delay:
        """The stage's delay after its base, with the default of its position; not used with `date`."""
        return self.stages[index].delay(first=index == 0)

    def timing_of(self, index: int) -> Timing:
        """The timing that holds for the stage, after defaults."""
        return self.stages[index].with_defaults(self.timing)

    def dump(self) -> dict[str, Any]:
        """The document as JSON data: the keys and strings that the author wrote, no defaults added."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def _has_email_before(self, index: int) -> bool:
        return any(stage.channel is Channel.EMAIL for stage in self.stages[:index])

    def _problems(self) -> Iterator[tuple[str, str]]:
        first_of: dict[str, int] = {}
        for index, stage in enumerate(self.stages):
            here = f"stages[{index}]"
            if stage.id in first_of:
                yield (
                    f"{here}.id",
                    f"{stage.id} is the id of stages[{first_of[stage.id]}] too: make it unique",
                )
            first_of.setdefault(stage.id, index)
            for path, message in (*self._thread_problems(index), *self._condition_problems(index)):
                yield f"{here}.{path}", message

    def _thread_problems(self, index: int) -> Iterator[tuple[str, str]]:
        stage, thread = self.stages[index], self.thread_of(index)
        if thread is Thread.REPLY and not self._has_email_before(index):
            yield "thread", "no e-mail comes before this stage, so there is nothing to reply to: use new"
        if thread is Thread.NEW:
            yield from self._missing_subjects(stage)
        if thread is Thread.REPLY:
            for place, variant in enumerate(stage.variants or ()):
                if variant.subject is not None:
                    kept = "a reply keeps the subject of its thread: remove it, or begin a new one"
                    yield f"variants[{place}].subject", kept

    def _missing_subjects(self, stage: Stage) -> Iterator[tuple[str, str]]:
        if stage.variants is None and stage.subject is None:
            yield "subject", "is missing: an e-mail that opens a thread needs a subject"
        for place, variant in enumerate(stage.variants or ()):
            if stage.worded(variant).subject is None:
                yield f"variants[{place}].subject", "is missing, and the stage has none of its own"

    def _condition_problems(self, index: int) -> Iterator[tuple[str, str]]:
        condition = self.stages[index].when
        if condition is None:
            return
        if condition.depth() > MAX_CONDITION_DEPTH:
            yield "when", f"is nested deeper than {MAX_CONDITION_DEPTH} levels: simplify it"
        emails = {stage.id for stage in self.stages[:index] if stage.channel is Channel.EMAIL}
        for part in condition.walk():
            stage_id = part.opened or part.clicked
            if stage_id is not None and stage_id not in emails:
                yield "when", f"{stage_id} is not an e-mail stage before this one"


def parse_sequence(data: Mapping[str, Any]) -> SequenceDocument:
    """Plain data (from JSON or YAML 1.2) to a document; raises `SequenceError` with every problem found."""
    if not isinstance(data, Mapping):
        raise SequenceError([Problem("", "a sequence must be a mapping with at least `name` and `stages`")])
    if nested_too_deeply(data):
        raise SequenceError([Problem("", "is nested too deeply")])
    try:
        return SequenceDocument.model_validate(data)
    except ValidationError as error:
        raise SequenceError(problems_of(error, SequenceDocument)) from None


def parse_part(part: type[T], data: Mapping[str, Any]) -> T:
    """One part alone (`Timing`, `StageTiming`, `Stage`), with the same errors as a whole document."""
    assert issubclass(part, BaseModel)
    if nested_too_deeply(data):
        raise SequenceError([Problem("", "is nested too deeply")])
    try:
        return part.model_validate(data)
    except ValidationError as error:
        raise SequenceError(problems_of(error, part)) from None
