"""How a mailbox is: fine, about to be in trouble, or at rest; why, since when, and what to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any, Literal
from uuid import UUID

from api.routing import Call, Shown
from api.waiting import OWNER_LEFT
from chassis.documents import MailboxStateView, WatchingView, hold_id, hold_is_active
from chassis.rates import BOUNCE, BY_SENDER, COMPLAINT, Limits, counted_from
from chassis.store import Document
from chassis.zones import find_zone
from segue_contracts.commands import HoldScope

MANY = 5
SHARE = 0.05
"""Fewer messages put off than this, or a smaller share of a day's, are everyday life."""

REFUSALS = {
    "login_refused": (
        "Its server does not accept the user name, password or token.",
        "Give the right ones: PUT /v1/mailboxes/{id}. It is tried again by itself.",
    ),
    "access_lost": (
        "Its provider gives no access to it any more.",
        "Its user connects it again. It is tried again by itself.",
    ),
    "server_refused": (
        "Its server does not let us in.",
        "Look at host, port and security (PUT /v1/mailboxes/{id}), or ask its provider.",
    ),
    "policy_refused": (
        "Its server refuses its messages by policy.",
        "Read the answer; its provider knows why. It is tried again by itself.",
    ),
}
RATES = {
    "bounce_rate": ("Too many of its messages came back.", BOUNCE),
    "complaint_rate": ("Too many people complained about its messages.", COMPLAINT),
}


class HealthReason(Shown):
    """What is the matter: a stable `code`, words, since and until when, and what to do."""

    code: str
    detail: str
    since: datetime | None
    until: datetime | None
    what_to_do: str


class HealthCounts(Shown):
    """`_today` is the mailbox's own day; `sent`, `bounces`, `complaints` are counted since `counted_since`.

    `deferred_today`: put off or refused for now by its server; of these `rate_limited_today` for their
    number, `unreachable_today` for want of an answer.
    """

    sent_today: int
    deferred_today: int
    rate_limited_today: int
    unreachable_today: int
    counted_since: datetime
    sent: int
    bounces: int
    complaints: int


class MailboxHealth(Shown):
    """`paused`: nothing is sent now; `warning`: it sends, and somebody should look."""

    state: Literal["ok", "warning", "paused"]
    reasons: list[HealthReason]
    counts: HealthCounts


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a mailbox as of now; `holds` are the active ones over all that it sends."""

    mailbox_id: UUID
    owner_id: UUID
    holds: tuple[Mapping[str, Any], ...]
    state: MailboxStateView | None
    watching: WatchingView | None
    counts: HealthCounts


async def healths_of(
    call: Call, mailboxes: Sequence[Document], watching: Mapping[UUID, WatchingView]
) -> dict[UUID, MailboxHealth]:
    """The health of each, as of now."""
    limits, now = call.api.settings.mailbox_limits, call.api.clock.now()
    ids = [each["_id"] for each in mailboxes]
    states = await call.api.reads.mailbox_states(call.caller.workspace, ids)
    own = {each: hold_id(HoldScope.MAILBOX, each) for each in ids}
    scopes = {each: (own[each], hold_id(HoldScope.OWNERSHIP, each)) for each in ids}
    known = await call.api.reads.holds(
        call.caller.workspace, [name for two in scopes.values() for name in two]
    )
    since = {each: min(now, counted_from(known.get(own[each]), now - limits.window)) for each in ids}
    counts = await _counts(call, mailboxes, states, since, now)
    return {
        each["_id"]: health_of(
            Facts(
                each["_id"],
                each["owner_id"],
                tuple(
                    known[name]
                    for name in scopes[each["_id"]]
                    if name in known and hold_is_active(known[name], now)
                ),
                states.get(each["_id"]),
                watching.get(each["_id"]) if each.get("imap") else None,
                counts[each["_id"]],
            ),
            limits,
        )
        for each in mailboxes
    }


async def _counts(
    call: Call,
    mailboxes: Sequence[Document],
    states: Mapping[UUID, MailboxStateView],
    since: Mapping[UUID, datetime],
    now: datetime,
) -> dict[UUID, HealthCounts]:
    reads, workspace = call.api.reads, call.caller.workspace
    midnights = {each["_id"]: _midnight(each.get("zone"), now) for each in mailboxes}
    sent_today = await reads.sent_by_mailbox(workspace, midnights)
    sent = await reads.sent_by_mailbox(workspace, since)
    refused = await reads.refused_by_mailbox(workspace, since)
    bounced = await reads.charged_by_mailbox(workspace, BOUNCE, since)
    complaints = await reads.charged_by_mailbox(workspace, COMPLAINT, since)
    counts = {}
    for each, midnight in midnights.items():
        state = states.get(each)
        today = state if state is not None and state.day == midnight.date().isoformat() else None
        counts[each] = HealthCounts(
            sent_today=sent_today[each],
            deferred_today=today.deferred if today else 0,
            rate_limited_today=today.rate_limited if today else 0,
            unreachable_today=today.unreachable if today else 0,
            counted_since=since[each],
            sent=sent[each] + refused[each],
            bounces=bounced[each] + refused[each],
            complaints=complaints[each],
        )
    return counts


def _midnight(zone: str | None, now: datetime) -> datetime:
    here = find_zone(zone) or UTC
    return datetime.combine(now.astimezone(here).date(), time(), here)


def health_of(facts: Facts, limits: Limits) -> MailboxHealth:
    """The health that follows from the facts."""
    paused = [_paused(facts, hold) for hold in facts.holds]
    warnings = list(_warnings(facts, limits, {each.code for each in paused}))
    state: Literal["ok", "warning", "paused"] = "paused" if paused else "warning" if warnings else "ok"
    return MailboxHealth(state=state, reasons=[*paused, *warnings], counts=facts.counts)


def _paused(facts: Facts, hold: Mapping[str, Any]) -> HealthReason:
    reason, since, until = hold["reason"], hold.get("created_at"), hold.get("until")
    if hold.get("scope") == HoldScope.OWNERSHIP:
        back = f"let them come back: POST /v1/users/{facts.owner_id}/reactivate"
        do = f"Give it to somebody (POST /v1/mailboxes/{facts.mailbox_id}/transfer), or {back}."
        return HealthReason(
            code=OWNER_LEFT, detail="Its user has left.", since=since, until=None, what_to_do=do
        )
    if hold["by"] == BY_SENDER:
        refusal = facts.state.refusal if facts.state else None
        return _refused(facts, reason, refusal["since"] if refusal else since, until)
    resume = f"POST /v1/mailboxes/{facts.mailbox_id}/resume"
    if reason in RATES:
        do = f"Find out why, then {resume}; what was before counts no more."
        return HealthReason(code=reason, detail=RATES[reason][0], since=since, until=until, what_to_do=do)
    return HealthReason(
        code="paused",
        detail=reason or "Somebody paused it.",
        since=since,
        until=until,
        what_to_do=f"{resume}.",
    )


def _refused(facts: Facts, reason: str, since: datetime | None, until: datetime | None) -> HealthReason:
    detail, do = REFUSALS.get(reason, REFUSALS["server_refused"])
    refusal = facts.state.refusal if facts.state else None
    answer = f" It said: {refusal['code']}." if refusal and refusal["code"] else ""
    return HealthReason(
        code=reason,
        detail=detail + answer,
        since=since,
        until=until,
        what_to_do=do.format(id=facts.mailbox_id),
    )


def _warnings(facts: Facts, limits: Limits, known: set[str]) -> Iterator[HealthReason]:
    refusal = facts.state.refusal if facts.state else None
    if refusal and refusal["reason"] not in known:
        yield _refused(facts, refusal["reason"], refusal["since"], None)
    yield from _put_off(facts)
    counts = facts.counts
    counted = {BOUNCE: counts.bounces, COMPLAINT: counts.complaints}
    for code, (_, kind) in RATES.items():
        if code not in known and kind in limits.near(counted, counts.sent):
            detail = f"{counted[kind]} of {counts.sent} messages: twice as many would pause it."
            do = f"Look at whom it writes to: GET /v1/answers?kind={kind}."
            yield HealthReason(
                code=code, detail=detail, since=counts.counted_since, until=None, what_to_do=do
            )
    if facts.watching and facts.watching.trouble:
        yield HealthReason(
            code="not_watched",
            detail=f"Answers are not read: {facts.watching.trouble}. {facts.watching.words}".strip(),
            since=facts.watching.failing_since,
            until=None,
            what_to_do="See `watching`; docs/mailboxes.md says what each word means.",
        )


def _put_off(facts: Facts) -> Iterator[HealthReason]:
    counts = facts.counts
    tried = counts.sent_today + counts.deferred_today
    told = (
        (
            "rate_limited",
            counts.rate_limited_today,
            "put off today by its server, for their number",
            f"Set lower `limits`: PUT /v1/mailboxes/{facts.mailbox_id}.",
        ),
        (
            "unreachable",
            counts.unreachable_today,
            "put off today, for its server could not be reached",
            "They are tried again by themselves; look at host and port, or ask its provider.",
        ),
    )
    for code, number, words, do in told:
        if number >= MANY and number >= SHARE * tried:
            yield HealthReason(
                code=code, detail=f"{number} messages were {words}.", since=None, until=None, what_to_do=do
            )
