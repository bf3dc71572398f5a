"""Sequences: written as JSON or YAML, checked, published as versions that never change."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from api.access import Right, best_right, check, right_to, visible_to
from api.auditing import audit
from api.comparing import compared_stages, comparison_document
from api.counted import SequenceCounts, counts_of
from api.crowd import submit_for_all
from api.keys import KeyScope
from api.mail_content import address_errors
from api.model import sequence_document, sequence_etag, version_document
from api.paging import Page, PageQuery
from api.preconditions import check_match
from api.problems import FieldError, conflict, invalid, not_found, refused
from api.routes.attachments import check_attachments
from api.routes.delegations import check_consents, teammates_mailbox
from api.routes.tokens import check_tokens
from api.routing import KIB, YAML, Answer, Call, Closed, Route, Shown, Takes
from api.store import SEQUENCE_ORDERS
from api.submitting import Accepted, submit, wish_of
from api.waiting import Wait, waits_of
from chassis import faults
from chassis.documents import WorkspaceView
from chassis.errors import Duplicate
from chassis.sms_text import AWAKE_MINUTES, cost
from chassis.store import Document
from chassis.templates import Kind, TemplateError, compile_template
from chassis.wording import KINDS
from chassis.zones import ZONE_NAMES
from segue_contracts.commands import Hold, HoldScope
from segue_contracts.events import SequenceEventType
from segue_contracts.message import Channel
from segue_contracts.sequence import (
    MEASURED,
    Access,
    SequenceDocument,
    SequenceError,
    Timing,
    WonBy,
    parse_sequence,
)
from segue_contracts.timing import PROSPECT, TimeOfDay, TimeRange

_TOKEN = re.compile(r"\{\{.*?\}\}")
MAX_SEQUENCE_BYTES = 512 * KIB
MAX_NAME_CHARS = 200
PUBLISH_TRIES = 5
NO_NUMBER = (
    "no number that can send text messages is connected: connect one (POST /v1/sms-numbers), "
    "or use manual_sms, a task for a person"
)
ONLY_QUIET_HOURS = (
    "would go out only in hours in which no country lets people be texted: let its time, or its windows, "
    "have some of the hours between 8:00 and 21:00"
)
NO_HTTPS = (
    "nothing can be tracked: set SEGUE_PUBLIC_URL, for api and sender alike, to the https address at which "
    "people reach the api, or leave it out"
)


class SequenceShown(Shown):
    """A sequence without its text."""

    id: UUID = Field(validation_alias="_id")
    name: str
    tags: list[str]
    access: str
    owner_id: UUID
    latest_version: int
    archived: bool
    created_at: datetime
    updated_at: datetime


class SequenceRow(SequenceShown):
    """A sequence in a list; `counts` are null until somebody has looked at it for a moment."""

    counts: SequenceCounts | None = None


class TagCount(Shown):
    """A tag, and how many sequences have it."""

    tag: str
    sequences: int


class Tags(Shown):
    """The tags of the sequences that one may see, the most used first."""

    tags: list[TagCount]


class VersionShown(Shown):
    """One version of a sequence: the document as it was written, and the mailboxes it sends from."""

    sequence_id: UUID
    version: int
    document: dict[str, Any]
    mailbox_ids: list[UUID]
    owner_id: UUID
    created_by: UUID
    created_at: datetime


class SequenceWhole(SequenceShown):
    """A sequence and its latest version; `waits`: what holds it as a whole, or that version's mailboxes;
    `right`: what the caller may do with it.
    """

    latest: VersionShown
    waits: list[Wait]
    right: Literal["read", "use", "edit"] | None = None


class CopyRequest(Closed):
    """What the copy is called; default: Copy of …"""

    name: str | None = Field(default=None, min_length=1, max_length=200)


class ArchiveRequest(Closed):
    """What becomes of those who are in the sequence."""

    people: Literal["finish", "hold", "stop"] = "finish"


class Archived(SequenceWhole):
    """A sequence that takes nobody new; `people` is the command that holds or stops those who are in it."""

    people: Accepted | None


class SequenceQuery(PageQuery):
    """Which sequences."""

    archived: bool | None = False
    tag: str | None = Field(default=None, max_length=64)
    of: Literal["me", "others"] | None = Field(
        default=None, description="me: those you own; others: what others share with you"
    )
    q: str | None = Field(default=None, max_length=100, description="Part of the name, in any case")
    sort: Literal["created", "changed", "name"] = Field(
        default="created",
        description="created, changed: the latest first; name: from A, capitals before small letters",
    )


# ---- what may be saved --------------------------------------------------------------------------------


def parsed(data: Any) -> SequenceDocument:
    """The document, its templates compiled; Problem 422 with every pointer."""
    try:
        document = parse_sequence(data)
    except SequenceError as error:
        raise refused(error) from None
    errors = [
        *_template_errors(document),
        *_zone_errors(document),
        *address_errors(document),
        *_untracked_errors(document),
    ]
    if errors:
        raise invalid(errors)
    return document


def template_error(pointer: str, source: str | None, kind: Kind) -> Iterator[FieldError]:
    """What is wrong with a template, if there is one."""
    if source is None:
        return
    try:
        compile_template(source, kind=kind)
    except TemplateError as error:
        yield FieldError(pointer=pointer, detail=str(error))


def _template_errors(document: SequenceDocument) -> Iterator[FieldError]:
    for index, stage in enumerate(document.stages):
        for path, source in stage.templates():
            pointer = "/".join(map(str, path))
            yield from template_error(f"/stages/{index}/{pointer}", source, KINDS[str(path[-1])])


def _timings(document: SequenceDocument) -> Iterator[tuple[str, Timing]]:
    yield "/timing", document.timing
    for index, stage in enumerate(document.stages):
        yield f"/stages/{index}", stage


def _zone_errors(document: SequenceDocument) -> Iterator[FieldError]:
    for place, timing in _timings(document):
        for name, zone in (("zone", timing.zone), ("fallback_zone", timing.fallback_zone)):
            if zone is None or (name == "zone" and zone == PROSPECT):
                continue
            if zone not in ZONE_NAMES:
                detail = f"{zone} is no time zone that is known: write one such as Europe/Berlin"
                yield FieldError(pointer=f"{place}/{name}", detail=detail)


def _untracked_errors(document: SequenceDocument) -> Iterator[FieldError]:
    """What stands on opens and clicks that nobody measures: conditions that would never be true, and variants
    of which none would ever win.
    """
    for index, stage in enumerate(document.stages):
        for part in stage.when.walk() if stage.when is not None else ():
            named = part.opened or part.clicked
            if named is not None:
                measure = "opens" if part.opened else "clicks"
                yield from _unmeasured(document, f"/stages/{index}/when", measure, named)
        if stage.winner is not None and stage.winner.by in MEASURED:
            measure = "opens" if stage.winner.by is WonBy.OPENED else "clicks"
            yield from _unmeasured(document, f"/stages/{index}/winner/by", measure, stage.id)


def _unmeasured(
    document: SequenceDocument, pointer: str, measure: str, stage_id: str
) -> Iterator[FieldError]:
    """Why opens, or clicks, of a stage are not known of everybody who gets it."""
    if not getattr(document.tracking, measure):
        detail = f"asks about {measure}, which are not tracked: add tracking: {{{measure}: true}}"
        yield FieldError(pointer=pointer, detail=detail)
    for variant, words in document.stages[document.index_of(stage_id)].wordings():
        if words.html is None:
            what = stage_id if variant is None else f"{stage_id}, variant {variant},"
            detail = f"{what} is plain text, in which nothing is tracked: give that stage an `html`"
            yield FieldError(pointer=pointer, detail=detail)


def check_tracking(call: Call, document: SequenceDocument) -> None:
    """Problem 422 where something is to be tracked and people can't reach us to be so."""
    is_asked = document.tracking.opens or document.tracking.clicks
    if is_asked and not call.api.settings.base_url.startswith("https://"):
        raise invalid([FieldError(pointer="/tracking", detail=NO_HTTPS)])


async def sms_segments(call: Call) -> int:
    """The most segments that the workspace lets a text message take."""
    workspace = await call.api.store.people.workspace(call.caller.workspace)
    return WorkspaceView.read(workspace or {"_id": call.caller.workspace}).limits.sms_segments


async def check_texts(call: Call, document: SequenceDocument) -> None:
    """Problem 422 for a text message that nobody could send, or that is too long whatever its values are."""
    stages = [(i, stage) for i, stage in enumerate(document.stages) if stage.channel is Channel.SMS]
    if not stages:
        return
    most, errors = await sms_segments(call), []
    if not await call.api.store.sms_numbers.any_sends(call.caller.workspace):
        errors = [FieldError(pointer=f"/stages/{i}/channel", detail=NO_NUMBER) for i, _ in stages]
    for i, stage in stages:
        for path, source in stage.templates():
            segments = len(cost(_TOKEN.sub("", source).strip()).segments)
            if segments > most:
                detail = (
                    f"takes {segments} segments of a text message without its values; at most {most} are sent"
                )
                pointer = "/".join(map(str, path))
                errors.append(FieldError(pointer=f"/stages/{i}/{pointer}", detail=detail))
    errors += [
        FieldError(pointer=f"/stages/{i}", detail=ONLY_QUIET_HOURS)
        for i, _ in stages
        if not may_text(document, i)
    ]
    if errors:
        raise invalid(errors)


def may_text(document: SequenceDocument, index: int) -> bool:
    """Whether a text message at `index` may go at all: in the prospect's own zone some of its time must lie
    within the hours that some country allows. In a fixed zone that depends on where the phone is.
    """
    stage, timing = document.stages[index], document.timing_of(index)
    if timing.zone not in (None, PROSPECT):
        return True
    at = stage.at_time
    if isinstance(at, TimeOfDay):
        minute = 60 * at.at.hour + at.at.minute
        wanted = TimeRange(minute, minute + 1)
    else:
        wanted = at or TimeRange(0, 24 * 60)
    ranges = (each for day in stage.allowed_weekdays for each in timing.open_windows.days[day])
    begin, end = max(wanted.start, AWAKE_MINUTES[0]), min(wanted.end, AWAKE_MINUTES[1])
    return any(max(each.start, begin) < min(each.end, end) for each in ranges)


async def mailbox_ids(call: Call, document: SequenceDocument, owner_id: UUID) -> list[UUID]:
    """The mailboxes that send: the ones named, a teammate's, or the owner's own; Problem 422 for one that is
    not connected, or whose user has not agreed.
    """
    if document.on_behalf_of is not None:
        return [(await teammates_mailbox(call, document, owner_id))["_id"]]
    mailboxes, workspace = call.api.store.mailboxes, call.caller.workspace
    if not document.mailboxes:
        own = await mailboxes.first_of(workspace, owner_id)
        if own is None:
            detail = "is missing, and the owner has no mailbox: connect one (POST /v1/mailboxes), or name one"
            raise invalid([FieldError(pointer="/mailbox", detail=detail)])
        return [own]
    known = await mailboxes.at(workspace, [each.lower() for each in document.mailboxes])
    errors = [
        FieldError(pointer="/mailbox", detail=f"{each} is not connected: connect it with POST /v1/mailboxes")
        for each in document.mailboxes
        if each.lower() not in known
    ]
    if errors:
        raise invalid(errors)
    named = [known[each.lower()] for each in document.mailboxes]
    if not call.caller.may(KeyScope.ADMIN):  # who answers for the workspace decides about its mailboxes
        await check_consents(call, named, owner_id, "/mailbox")
    return [each["_id"] for each in named]


# ---- reading ------------------------------------------------------------------------------------------


async def existing(call: Call) -> Document:
    """The sequence that the path names; Problem 404, or 403 where the caller's right does not reach."""
    sequence_id = call.uuid("sequence_id", "sequence")
    sequence = await call.api.store.sequences.one(call.caller.workspace, sequence_id)
    if sequence is None:
        raise not_found("sequence")
    check(right_to(call.caller, sequence), call.need)
    return sequence


async def check_right(call: Call, sequence_ids: Iterable[UUID | None], what: str) -> None:
    """Problem unless the caller has the route's right to one of the sequences that something is of."""
    ids = [each for each in sequence_ids if each is not None]
    sequences = await call.api.store.sequences.some(call.caller.workspace, ids) if ids else []
    check(best_right(call.caller, sequences), call.need, what)


async def visible_ids(call: Call) -> list[UUID] | None:
    """The sequences that the caller may see; None is all of them."""
    which = visible_to(call.caller)
    return await call.api.store.sequences.ids(call.caller.workspace, which) if which else None


async def list_sequences(call: Call) -> Answer:
    """Sequences, the newest first unless `sort` says otherwise; archived ones with `archived=true`."""
    query: SequenceQuery = call.query
    which = {**_which(call, query.of), **_named(query.q)}
    found, cursor = await call.api.store.sequences.page(
        call.caller.workspace, which, query.archived, query.tag, SEQUENCE_ORDERS[query.sort], query
    )
    known = await call.api.counting.known(call.caller.workspace, [each["_id"] for each in found])
    shown = [
        SequenceRow.model_validate({**each, "counts": counts_of(known.get(each["_id"]))}) for each in found
    ]
    return Answer(Page[SequenceRow](items=shown, next_cursor=cursor))


def _named(part: str | None) -> Document:
    """What matches sequences with this in their name. A workspace has few enough of them to look through."""
    return {"name": {"$regex": re.escape(part), "$options": "i"}} if part else {}


async def list_tags(call: Call) -> Answer:
    """The tags of the sequences that the caller may see."""
    found = await call.api.store.sequences.tags(call.caller.workspace, visible_to(call.caller))
    return Answer(Tags(tags=[TagCount(tag=tag, sequences=number) for tag, number in found]))


def _which(call: Call, of: str | None) -> Document:
    own = call.caller.user_id
    seen = visible_to(call.caller)
    if of == "me":
        return {"owner_id": own}
    if of == "others":
        shared = {"$or": [{"access": Access.SHARED.value}, {"grants.user_id": own}]}
        return {"owner_id": {"$ne": own}, **shared}
    return seen


async def get_sequence(call: Call) -> Answer:
    """A sequence with its latest version."""
    return await whole(call, await existing(call))


async def get_version(call: Call) -> Answer:
    """One version."""
    sequence = await existing(call)
    number = call.number("version", "version")
    version = await call.api.store.sequences.version(call.caller.workspace, sequence["_id"], number)
    if version is None or number > sequence["latest_version"]:
        raise not_found("version")
    return Answer(VersionShown.model_validate(version))


async def whole(call: Call, sequence: Document, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """The answer that shows a sequence and its latest version, with its entity tag."""
    version = await call.api.store.sequences.version(
        call.caller.workspace, sequence["_id"], sequence["latest_version"]
    )
    assert version is not None, "a version is stored before the sequence points at it"
    headers = {"ETag": sequence_etag(sequence)}
    if status is HTTPStatus.CREATED:
        headers["Location"] = call.api.url(f"/v1/sequences/{sequence['_id']}")
    waits = await waits_of(call, sequence, version)
    right = right_to(call.caller, sequence)
    told = SequenceWhole.model_validate(
        {**sequence, "latest": version, "waits": waits, "right": right.name.lower() if right else None}
    )
    return Answer(told, status, headers)


# ---- writing ------------------------------------------------------------------------------------------


async def create(call: Call) -> Answer:
    """Save a new sequence; it is published as version 1."""
    return await _saved(call, parsed(call.body.data))


async def copy(call: Call) -> Answer:
    """Save the latest version of a sequence as a new one of the caller's own, personal again.

    Somebody else's mailboxes stay theirs: the copy is sent from the caller's own, unless it is their copy.
    """
    sequence = await existing(call)
    version = await call.api.store.sequences.version(
        call.caller.workspace, sequence["_id"], sequence["latest_version"]
    )
    assert version is not None, "a version is stored before the sequence points at it"
    theirs = () if sequence["owner_id"] == call.caller.user_id else ("mailbox", "on_behalf_of")
    data = {name: value for name, value in version["document"].items() if name not in ("access", *theirs)}
    return await _saved(call, parsed({**data, "name": call.body.data.name or _copy_name(data["name"])}))


def _copy_name(name: str) -> str:
    return f"Copy of {name}"[:MAX_NAME_CHARS]


async def _saved(call: Call, document: SequenceDocument) -> Answer:
    check_tracking(call, document)
    await check_tokens(call, document)
    owner_id = call.caller.user_id
    mailboxes = await mailbox_ids(call, document, owner_id)
    await check_texts(call, document)
    await check_attachments(call, document)
    sequence_id, workspace = call.ids.next(), call.caller.workspace
    version = version_document(
        sequence_id, workspace, 1, document, mailboxes, owner_id, owner_id, call.api.clock.now()
    )
    await audit(call, "sequence.published", sequence_id, version=1)
    await _open_comparisons(call, sequence_id, document)
    try:
        await call.api.store.sequences.add_version(version)
    except Duplicate:
        # An earlier try of the same request: go on with what it stored.
        stored = await call.api.store.sequences.version(workspace, sequence_id, 1)
        assert stored is not None
        version = stored
    events = (SequenceEventType.CREATED, SequenceEventType.PUBLISHED)
    await call.api.store.sequences.add(sequence_document(version, events, call.api.clock.real_now()))
    call.api.courier.sequence_changed(workspace, sequence_id)
    sequence = await call.api.store.sequences.one(workspace, sequence_id)
    assert sequence is not None
    return await whole(call, sequence, HTTPStatus.CREATED)


async def replace(call: Call) -> Answer:
    """Save the next version, if the document changed. People go on with the version they have."""
    document = parsed(call.body.data)
    check_tracking(call, document)
    await check_tokens(call, document)
    await check_texts(call, document)
    await check_attachments(call, document)
    for _ in range(PUBLISH_TRIES):
        sequence = await existing(call)
        _check_match(call, sequence)
        if sequence["archived"]:
            raise conflict("archived", "This sequence is archived: it takes no new versions.")
        mailboxes = await mailbox_ids(call, document, sequence["owner_id"])
        if await _is_latest(call, sequence, document, mailboxes):
            return await whole(call, sequence)
        if await _publish(call, sequence, document, mailboxes):
            return await whole(call, await existing(call))
    raise conflict("busy", "Others are publishing this sequence at this moment: try again.")


async def _is_latest(
    call: Call, sequence: Document, document: SequenceDocument, mailboxes: list[UUID]
) -> bool:
    latest = await call.api.store.sequences.version(
        call.caller.workspace, sequence["_id"], sequence["latest_version"]
    )
    return latest is not None and latest["document"] == document.dump() and latest["mailbox_ids"] == mailboxes


async def _publish(call: Call, sequence: Document, document: SequenceDocument, mailboxes: list[UUID]) -> bool:
    """Whether our document became the next version; if another took its number, that one is published."""
    store, clock = call.api.store.sequences, call.api.clock
    number = sequence["latest_version"] + 1
    owner, by = sequence["owner_id"], call.caller.user_id
    version = version_document(
        sequence["_id"], call.caller.workspace, number, document, mailboxes, owner, by, clock.now()
    )
    ours = True
    await audit(call, "sequence.published", sequence["_id"], version=number)
    await _open_comparisons(call, sequence["_id"], document)
    try:
        await store.add_version(version)
    except Duplicate:
        stored = await store.version(call.caller.workspace, sequence["_id"], number)
        assert stored is not None
        version, ours = stored, False
    await faults.point("api.version_stored")
    published = await store.publish(version, clock.real_now())
    call.api.courier.sequence_changed(call.caller.workspace, sequence["_id"])
    if ours and not published:
        current = await store.one(call.caller.workspace, sequence["_id"])
        # Somebody who found our number taken may have published our version for us.
        return current is not None and current["latest_version"] >= number
    return ours


async def _open_comparisons(call: Call, sequence_id: UUID, document: SequenceDocument) -> None:
    """Before the version is published: nothing of it goes out uncompared."""
    workspace, real_now = call.caller.workspace, call.api.clock.real_now()
    opened = [
        comparison_document(workspace, sequence_id, each, real_now)
        for each in compared_stages(sequence_id, document)
    ]
    await call.api.store.comparisons.open(opened, real_now)


async def archive(call: Call) -> Answer:
    """Take no more people; those who are in it finish, are held, or are stopped."""
    request: ArchiveRequest = call.body.data
    answer = await _archive(call)
    # Archived first: nobody comes in behind the stops.
    command = await _settle_people(call, request.people)
    assert isinstance(answer.body, SequenceWhole)
    return Answer(Archived(**dict(answer.body), people=command), answer.status, answer.headers)


async def _settle_people(call: Call, people: str) -> Accepted | None:
    sequence_id = call.uuid("sequence_id", "sequence")
    if people == "stop":
        return await submit_for_all(call, "stop", sequence_id, reason_code="archived")
    if people == "hold":
        scope = HoldScope.SEQUENCE
        wish = wish_of(call, Hold, str(sequence_id), scope=scope, scope_id=sequence_id, reason="archived")
        return (await submit(call, [wish]))[0]
    return None


async def _archive(call: Call) -> Answer:
    for _ in range(PUBLISH_TRIES):
        sequence = await existing(call)
        if sequence["archived"]:
            return await whole(call, sequence)
        _check_match(call, sequence)
        version = await call.api.store.sequences.version(
            call.caller.workspace, sequence["_id"], sequence["latest_version"]
        )
        assert version is not None
        now, real_now = call.api.clock.now(), call.api.clock.real_now()
        await audit(call, "sequence.archived", sequence["_id"])
        if await call.api.store.sequences.archive(sequence, version, now, real_now):
            call.api.courier.sequence_changed(call.caller.workspace, sequence["_id"])
            return await whole(call, await existing(call))
    raise conflict("busy", "Others are changing this sequence at this moment: try again.")


def _check_match(call: Call, sequence: Document) -> None:
    check_match(call.if_match or call.request.headers.get("If-Match"), sequence_etag(sequence), "sequence")


_TAKES = Takes(schema_of=SequenceDocument, also=(YAML,), limit=MAX_SEQUENCE_BYTES)
_ONE = "/v1/sequences/{sequence_id}"

ROUTES = (
    Route(
        "GET",
        "/v1/sequences",
        list_sequences,
        "List sequences",
        KeyScope.READ,
        answer=Page[SequenceRow],
        query=SequenceQuery,
        tag="Sequences",
    ),
    Route(
        "GET",
        "/v1/sequence-tags",
        list_tags,
        "List the tags of sequences",
        KeyScope.READ,
        answer=Tags,
        tag="Sequences",
    ),
    Route(
        "POST",
        "/v1/sequences",
        create,
        "Save a new sequence",
        KeyScope.WRITE,
        answer=SequenceWhole,
        status=HTTPStatus.CREATED,
        takes=_TAKES,
        tag="Sequences",
    ),
    Route("GET", _ONE, get_sequence, "Read a sequence", KeyScope.READ, answer=SequenceWhole, tag="Sequences"),
    Route(
        "PUT",
        _ONE,
        replace,
        "Save the next version of a sequence",
        KeyScope.WRITE,
        right=Right.EDIT,
        answer=SequenceWhole,
        takes=_TAKES,
        tag="Sequences",
    ),
    Route(
        "GET",
        _ONE + "/versions/{version}",
        get_version,
        "Read a version",
        KeyScope.READ,
        answer=VersionShown,
        tag="Sequences",
    ),
    Route(
        "POST",
        _ONE + "/copy",
        copy,
        "Copy a sequence",
        KeyScope.WRITE,
        right=Right.READ,
        answer=SequenceWhole,
        status=HTTPStatus.CREATED,
        takes=Takes(CopyRequest, optional=True),
        tag="Sequences",
    ),
    Route(
        "POST",
        _ONE + "/archive",
        archive,
        "Archive a sequence",
        KeyScope.WRITE,
        right=Right.EDIT,
        answer=Archived,
        takes=Takes(ArchiveRequest, optional=True),
        tag="Sequences",
    ),
)
