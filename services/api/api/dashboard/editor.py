"""The editor: a whole sequence as one form, which every button sends back with all that was typed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from api.access import Right
from api.bodies import check_tree
from api.dashboard.differences import Difference, difference
from api.dashboard.sentences import sentence
from api.dashboard.sheet import OTHER, WHEN_KIND, WHENS, Sheet, StageSheet, field_of, read_tokens
from api.dashboard.views import CHANNELS
from api.dashboard.visit import Fields, Note, Page, Visit
from api.keys import KeyScope
from api.problems import Problem, forbidden, too_large
from api.routes.preview import PreviewAnswer
from api.routes.sequences import MAX_SEQUENCE_BYTES, SequenceWhole
from chassis.wording import reply_subject
from segue_contracts.message import Channel
from segue_contracts.sequence import MANUAL_CHANNELS, SUBJECT_CHANNELS

NEW: Final = "/sequences/new"
EXAMPLE: Final = "first_name: Priya\nlast_name: Nair\ncompany: Initech\ntitle: Backend Engineer"
"""Whom the preview is for until somebody is chosen."""
_READ_ONLY: Final = "Your role lets you read sequences, not write them: ask an admin of the workspace."
_NOT_YOURS: Final = "You may see this sequence and not change it: ask its owner."
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "timing": ("timing",),
    "sends": ("mailbox", "on_behalf_of"),
    "sees": ("access", "tags", "tokens"),
    "limits": ("limits", "stop", "tracking"),
}
_PLACE: Final = re.compile(r"^([0-9]{1,4})(?:\.([0-9]{1,2}))?$")
_PEOPLE_TO_CHOOSE: Final = 20
_SHOWN_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Opened:
    """What the form was opened with: version `base` as it was `kept`, and the entity tag that a save names.

    A sequence to be has none of them.
    """

    sequence_id: UUID | None = None
    base: int = 0
    etag: str = ""
    kept: Mapping[str, Any] | None = None

    @property
    def path(self) -> str:
        """Where the form goes."""
        return f"/sequences/{self.sequence_id}/edit" if self.sequence_id else NEW

    @property
    def document(self) -> Mapping[str, Any]:
        """The document that it was opened with."""
        return self.kept or {}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody saved `version` meanwhile; `theirs` is what they changed."""

    version: int
    theirs: Difference


@dataclass(frozen=True, slots=True)
class Told:
    """What the form says beside what was typed."""

    problem: Problem | None = None
    conflict: Conflict | None = None
    note: str = ""
    status: HTTPStatus = HTTPStatus.OK


# ---- pages --------------------------------------------------------------------------------------------


async def new(visit: Visit) -> web.StreamResponse:
    """An empty form with one e-mail in it."""
    _check_role(visit)
    sheet = Sheet.of({})
    sheet.add("email")
    return await _shown(visit, Opened(), sheet, is_fresh=True)


async def edit(visit: Visit) -> web.StreamResponse:
    """The latest version as a form."""
    _check_role(visit)
    answer = await visit.answer(
        "GET /v1/sequences/{sequence_id}", sequence_id=visit.uuid("sequence_id", "sequence")
    )
    assert isinstance(answer.body, SequenceWhole)
    if answer.body.right != Right.EDIT.name.lower():
        raise forbidden(_NOT_YOURS)
    latest = answer.body.latest
    opened = Opened(answer.body.id, latest.version, answer.headers["ETag"], latest.document)
    return await _shown(visit, opened, Sheet.of(latest.document), is_fresh=True)


async def change(visit: Visit) -> web.StreamResponse:
    """A button of the form: save, or show it again with what the button did."""
    fields = await visit.form()
    _check_role(visit)
    opened, sheet = await _opened(visit, fields), Sheet.read(_pairs(fields))
    verb, _, what = str(fields.get("do", "")).partition(":")
    if verb == "save":
        return await _save(visit, opened, sheet, fields)
    _press(sheet, verb, what)
    note = f"Restored what you typed at {what}." if verb == "restored" else ""
    return await _shown(visit, opened, sheet, fields, Told(note=note))


async def preview(visit: Visit) -> web.StreamResponse:
    """Only the preview, for the form as it is."""
    fields = await visit.form()
    sheet = Sheet.read(_pairs(fields))
    return visit.part("editor_preview.html", preview=await _preview(visit, sheet, fields))


def _check_role(visit: Visit) -> None:
    if not visit.caller.may(KeyScope.WRITE):
        raise forbidden(_READ_ONLY)


def _pairs(fields: Fields) -> Iterable[tuple[str, str]]:
    return ((name, value) for name, value in fields.items() if isinstance(value, str))


async def _opened(visit: Visit, fields: Fields) -> Opened:
    if "sequence_id" not in visit.request.match_info:
        return Opened()
    sequence_id = visit.uuid("sequence_id", "sequence")
    version = await visit.ask(
        "GET /v1/sequences/{sequence_id}/versions/{version}",
        sequence_id=sequence_id,
        version=str(fields.get("base", "")),
    )
    return Opened(sequence_id, version.version, str(fields.get("etag", "")), version.document)


def _press(sheet: Sheet, verb: str, what: str) -> None:
    """What a button does to the stages; unknown ones do nothing."""
    if verb == "add" and what in set(Channel):
        sheet.add(what)
    place, variant = _place_of(what)
    if place is None:
        return
    match verb:
        case "up":
            sheet.move(place, -1)
        case "down":
            sheet.move(place, 1)
        case "copy":
            sheet.duplicate(place)
        case "remove":
            sheet.remove(place)
        case "undo":
            sheet.remove(place, is_removed=False)
        case "preview" if place < len(sheet.stages):
            sheet.stages[place].is_open = True
        case "vary" if place < len(sheet.stages):
            sheet.stages[place].add_variant()
        case "unvary" | "revary" if place < len(sheet.stages) and variant is not None:
            if variant < len(sheet.stages[place].variants):
                sheet.stages[place].variants[variant].is_removed = verb == "unvary"


def _place_of(word: str) -> tuple[int | None, int | None]:
    """Of `3` the stage, of `3.1` the stage and the variant that are meant."""
    found = _PLACE.match(word)
    if found is None:
        return None, None
    return int(found[1]), int(found[2]) if found[2] else None


# ---- saving -------------------------------------------------------------------------------------------


async def _save(visit: Visit, opened: Opened, sheet: Sheet, fields: Fields) -> web.StreamResponse:
    """Save it and go on; `saved` in the address tells the browser which draft it need not keep any more."""
    try:
        saved = await _saved(visit, opened, sheet.data(opened.document))
    except Problem as problem:
        return await _not_saved(visit, opened, sheet, fields, problem)
    here = f"/sequences/{saved.id}"
    if opened.sequence_id is None:
        return visit.go(here, Note("Saved. Enroll the first person, and it begins."), saved="new")
    draft = str(saved.id)
    if saved.latest_version == opened.base:
        return visit.go(here, Note("Nothing has changed, so nothing was saved."), saved=draft)
    note = Note(f"Saved as version {saved.latest_version}.")
    live = await visit.ask(
        "GET /v1/sequences/{sequence_id}/enrollments",
        query={"state": "live", "limit": 1},
        sequence_id=saved.id,
    )
    return visit.go(f"{here}/apply" if live.items else here, note, saved=draft)


async def _saved(visit: Visit, opened: Opened, data: dict[str, Any]) -> SequenceWhole:
    check_tree(data)
    if len(orjson.dumps(data)) > MAX_SEQUENCE_BYTES:
        raise too_large(MAX_SEQUENCE_BYTES)
    if opened.sequence_id is None:
        made: SequenceWhole = await visit.ask("POST /v1/sequences", data)
        return made
    saved: SequenceWhole = await visit.ask(
        "PUT /v1/sequences/{sequence_id}", data, if_match=opened.etag, sequence_id=opened.sequence_id
    )
    return saved


async def _not_saved(
    visit: Visit, opened: Opened, sheet: Sheet, fields: Fields, problem: Problem
) -> web.StreamResponse:
    if problem.status is not HTTPStatus.PRECONDITION_FAILED:
        return await _shown(visit, opened, sheet, fields, Told(problem, status=problem.status))
    latest = (await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=opened.sequence_id)).latest
    conflict = Conflict(latest.version, difference(opened.document, latest.document))
    # The next save names their version: whoever has read what they changed may put their own over it.
    reopened = Opened(opened.sequence_id, opened.base, problem.headers["ETag"], opened.kept)
    return await _shown(visit, reopened, sheet, fields, Told(conflict=conflict, status=problem.status))


# ---- showing ------------------------------------------------------------------------------------------


async def _shown(
    visit: Visit,
    opened: Opened,
    sheet: Sheet,
    fields: Mapping[str, Any] | None = None,
    told: Told = Told(),
    *,
    is_fresh: bool = False,
) -> web.Response:
    typed = fields or {}
    errors, other_errors = _errors(told.problem, sheet)
    name = opened.document.get("name")
    return visit.page(
        "editor.html",
        title=f"Edit {name}" if name else "New sequence",
        status=told.status,
        opened=opened,
        sheet=sheet,
        is_fresh=is_fresh,
        cards=_cards(sheet, errors),
        errors=errors,
        other_errors=other_errors,
        opened_groups=_opened_groups(errors),
        told=told,
        tokens=await _token_names(visit, sheet),
        mailboxes=await _mailboxes(visit, sheet),
        files=await _files(visit) if any("attachments" in each.fields for each in sheet.stages) else {},
        people=await _people(visit, opened),
        preview=await _preview(visit, sheet, typed),
        channels=[(each.value, CHANNELS[each.value][0]) for each in Channel],
        manual=MANUAL_CHANNELS,
        with_subject=SUBJECT_CHANNELS,
    )


def _errors(problem: Problem | None, sheet: Sheet) -> tuple[dict[str, list[str]], list[str]]:
    """What is wrong by the fields that it is about, and what is about none."""
    beside: dict[str, list[str]] = {}
    other: list[str] = []
    if problem is None:
        return beside, other
    for error in problem.details.errors:
        name = field_of(error.pointer, sheet)
        if name:
            beside.setdefault(name, []).append(error.detail)
        else:
            other.append(f"{error.pointer} {error.detail}".strip())
    return beside, other if problem.details.errors else [problem.details.detail]


def _opened_groups(errors: Iterable[str]) -> dict[str, bool]:
    """The groups of fields below the stages in which something is wrong."""
    wrong = {name.partition(".")[0] for name in errors}
    return {group: bool(wrong.intersection(names)) for group, names in _GROUPS.items()}


@dataclass(frozen=True, slots=True)
class Card:
    """A stage on the page: `place` in the form, `number` among those that are there."""

    place: int
    number: int
    stage: StageSheet
    sentence: str
    is_open: bool
    has_errors: bool

    @property
    def whens(self) -> list[tuple[str, str]]:
        """The conditions to choose from; one that the form can't build only where it is there."""
        chosen = self.stage.fields[WHEN_KIND]
        return [(kind, word) for kind, word in WHENS.items() if kind != OTHER or chosen == OTHER]


def _cards(sheet: Sheet, errors: Iterable[str]) -> list[Card]:
    wrong = {int(name.split(".")[1]) for name in errors if name.startswith("stages.")}
    cards: list[Card] = []
    number = 0
    for place, stage in enumerate(sheet.stages):
        number += not stage.is_removed
        said = sentence(
            stage.fields,
            is_first=number == 1,
            is_reply=_is_reply(sheet, place),
            zone=sheet.fields["timing.zone"],
            variants=len(stage.present()),
        )
        is_open = stage.is_open or place in wrong
        cards.append(Card(place, number, stage, said, is_open, place in wrong))
    return cards


def _is_reply(sheet: Sheet, place: int) -> bool:
    """Whether a stage is an e-mail that goes on with a conversation, as written or by default."""
    stage = sheet.stages[place]
    if stage.fields["channel"] != Channel.EMAIL:
        return False
    return stage.fields["thread"] == "reply" or (
        not stage.fields["thread"] and bool(_mails_before(sheet, place))
    )


def _mails_before(sheet: Sheet, place: int) -> list[int]:
    return [
        earlier
        for earlier, stage in enumerate(sheet.stages[:place])
        if not stage.is_removed and stage.fields["channel"] == Channel.EMAIL
    ]


async def _token_names(visit: Visit, sheet: Sheet) -> list[str]:
    """What may stand between double braces: everybody's, the workspace's, this sequence's."""
    known = await visit.ask("GET /v1/tokens")
    own = [name for name in read_tokens(sheet.fields["tokens"]) if name]
    return list(dict.fromkeys([*own, *(each.name for each in known.tokens), *known.built_in]))


async def _mailboxes(visit: Visit, sheet: Sheet) -> list[tuple[str, str, bool]]:
    """Address, what it is called, and whether it is chosen; those that are, first, in their order."""
    page = await visit.ask("GET /v1/mailboxes", query={"limit": _SHOWN_AT_ONCE})
    connected = {each.address: each.display_name for each in page.items}
    chosen = [line for line in sheet.fields["mailbox"].split("\n") if line]
    lowered = {each.lower() for each in chosen}
    return [
        *((each, connected.get(each.lower(), ""), True) for each in chosen),
        *((each, name, False) for each, name in connected.items() if each not in lowered),
    ]


async def _files(visit: Visit) -> dict[str, str]:
    """The workspace's uploaded files: id to name."""
    page = await visit.ask("GET /v1/attachments", query={"limit": _SHOWN_AT_ONCE})
    return {str(each.id): each.filename for each in page.items}


async def _people(visit: Visit, opened: Opened) -> list[tuple[str, str]]:
    """Some of those enrolled, for the preview: id and name."""
    if opened.sequence_id is None:
        return []
    page = await visit.ask(
        "GET /v1/sequences/{sequence_id}/enrollments",
        query={"limit": _PEOPLE_TO_CHOOSE},
        sequence_id=opened.sequence_id,
    )
    return [(str(each.id), each.name or each.external_id) for each in page.items]


# ---- preview ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Preview:
    """One stage, or one of its variants, as somebody would get it; `trouble`: why not.

    `subject` and `words` are in pieces, each with whether it is a token that is missing.
    """

    place: int
    person: str
    values: str
    variant: int | None = None
    stage_id: str = ""
    subject: tuple[tuple[str, bool], ...] = ()
    words: tuple[tuple[str, bool], ...] = ()
    html: str = ""
    answer: PreviewAnswer | None = None
    trouble: str = ""


async def _preview(visit: Visit, sheet: Sheet, fields: Mapping[str, Any]) -> Preview:
    place, variant = _previewed(sheet, fields)
    person, values = str(fields.get("preview.person", "")), str(fields.get("preview.values", EXAMPLE))
    if place is None:
        return Preview(0, person, values, trouble="Add a stage to see how it reads.")
    stage = _worded(sheet.stages[place], variant)
    asked = _asked(sheet, place, stage, person, values)
    try:
        answer: PreviewAnswer = await visit.ask("POST /v1/preview", asked)
    except Problem as problem:
        return Preview(place, person, values, variant, stage["id"], trouble=_why(problem))
    subject = reply_subject(answer.subject) if answer.subject and _is_reply(sheet, place) else answer.subject
    return Preview(
        place,
        person,
        values,
        variant,
        stage["id"],
        marked(subject or "", answer.missing),
        marked(answer.text or "", answer.missing),
        answer.html or "",
        answer,
    )


def _previewed(sheet: Sheet, fields: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The stage, and its variant, that were chosen, by a button or in the panel, else the first stage."""
    verb, _, what = str(fields.get("do", "")).partition(":")
    word = what if verb == "preview" and what else str(fields.get("preview.stage", ""))
    there = [place for place, stage in enumerate(sheet.stages) if not stage.is_removed]
    place, variant = _place_of(word)
    if place not in there:
        return next(iter(there), None), None
    variants = [n for n, each in enumerate(sheet.stages[place].variants) if not each.is_removed]
    return place, variant if variant in variants else None


def _worded(stage: StageSheet, variant: int | None) -> dict[str, str]:
    """The stage's fields in the words of one of its variants."""
    if variant is None:
        return stage.fields
    own = stage.variants[variant].fields
    body = ("text", "html") if own["text"] or own["html"] else ()
    names = [*body, *(["subject"] if own["subject"] else [])]
    return {**stage.fields, **{name: own[name] for name in names}, "id": f"{stage.fields['id']}, {own['id']}"}


def _asked(sheet: Sheet, place: int, stage: Mapping[str, str], person: str, values: str) -> dict[str, Any]:
    mailbox = sheet.fields["mailbox"].split("\n")[0]
    return {
        "subject": (_thread_subject(sheet, place) if _is_reply(sheet, place) else stage["subject"]) or None,
        "text": stage["text"] or None,
        "html": stage.get("html") or None,
        "tokens": read_tokens(sheet.fields["tokens"]),
        "mailbox": mailbox or None,
        "enrollment_id": person or None,
        "values": read_tokens(values.replace("\r\n", "\n")),
    }


def _thread_subject(sheet: Sheet, place: int) -> str:
    """The subject of the thread that a reply goes on with: where it has variants, the first one's."""
    openers = [each for each in _mails_before(sheet, place) if not _is_reply(sheet, each)]
    if not openers:
        return ""
    opener = sheet.stages[openers[-1]]
    first = next((n for n, each in enumerate(opener.variants) if not each.is_removed), None)
    return _worded(opener, first)["subject"]


def _why(problem: Problem) -> str:
    details = problem.details
    return (
        " ".join(f"{each.pointer.rpartition('/')[2]} {each.detail}." for each in details.errors)
        or details.detail
    )


def marked(text: str, missing: Iterable[str]) -> tuple[tuple[str, bool], ...]:
    """The text in pieces; tokens that are missing stand alone, marked."""
    names = [re.escape(f"{{{{{name}}}}}") for name in missing]
    if not names:
        return ((text, False),) if text else ()
    pieces = re.split(f"({'|'.join(names)})", text)
    return tuple((piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece)


PAGES = (
    Page("GET", NEW, new),
    Page("POST", NEW, change),
    Page("POST", "/sequences/preview", preview),
    Page("GET", "/sequences/{sequence_id}/edit", edit),
    Page("POST", "/sequences/{sequence_id}/edit", change),
)
