"""Whom a message is from, and how far that lets it reach: matching and the decision, without a database."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis.documents import DeliveryView, EnrollmentView, SentView
from reply_detector.decision import Found, Policy, decide, hold_until
from reply_detector.kept import verdict_document, verdict_of
from reply_detector.match import MOST_IDS, By, Match, find, find_by_phone, named_ids
from reply_detector.model import (
    TRANSITIONS,
    Arrival,
    Cause,
    Effect,
    IllegalMove,
    State,
    StopRules,
    again_seconds,
    failure_seconds,
    move,
)
from reply_detector.verdict import Facts, FailedRecipient, Kind, Severity, Verdict
from segue_contracts.commands import HoldScope
from segue_contracts.events import StopReason
from segue_contracts.message import Scope
from segue_contracts.sequence import ManualMail

WORKSPACE, MAILBOX = uuid4(), uuid4()
OWN = "ana@ourco.example"
PROSPECT = "pat@theirs.example"
RECEIVED = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
THREE_DAYS = timedelta(days=3)
POLICY = Policy(absence=THREE_DAYS, soft=THREE_DAYS, soft_limit=3, manual=THREE_DAYS)
ARRIVAL = Arrival(INBOUND := uuid4(), WORKSPACE, MAILBOX, RECEIVED, seed=INBOUND)


def an_enrollment(**changed: Any) -> EnrollmentView:
    made = EnrollmentView(
        id=uuid4(),
        workspace_id=WORKSPACE,
        state="scheduled",
        stage_id="nudge",
        stage_index=1,
        attempt=0,
        send_before=None,
        sequence_id=uuid4(),
        sequence_version=1,
        person_id=uuid4(),
        company_id=None,
        company_key="theirs.example",
        mailbox_id=MAILBOX,
        owner_id=uuid4(),
        is_test=False,
        ended=False,
        edits={},
    )
    return replace(made, **changed)


def a_delivery(
    enrollment: EnrollmentView, message_id: str = "<one@ourco.example>", **changed: Any
) -> DeliveryView:
    made = DeliveryView(
        id=f"{enrollment.id}:hello",
        workspace_id=WORKSPACE,
        enrollment_id=enrollment.id,
        stage_id="hello",
        message_id=message_id,
        mailbox_id=enrollment.mailbox_id,
        recipient=PROSPECT,
    )
    return replace(made, **changed)


def a_verdict(kind: Kind, *references: str, sender: str = PROSPECT, **fields: Any) -> Verdict:
    facts = Facts(
        message_id="<theirs@theirs.example>", references=references, from_address=sender, to_addresses=(OWN,)
    )
    return Verdict(kind, ("test",), facts, **fields)


@dataclass
class InMemory:
    """What matching reads, as lists."""

    deliveries_: list[DeliveryView] = field(default_factory=list)
    enrollments_: list[EnrollmentView] = field(default_factory=list)
    people: dict[str, list[UUID]] = field(default_factory=dict)
    sent: list[tuple[datetime, SentView]] = field(default_factory=list)

    async def mailbox_address(self, workspace_id: UUID, mailbox_id: UUID) -> str | None:
        return OWN if mailbox_id == MAILBOX else None

    async def deliveries(self, workspace_id: UUID, message_ids: Collection[str]) -> list[DeliveryView]:
        return [d for d in self.deliveries_ if d.is_named(message_ids) and d.workspace_id == workspace_id]

    async def enrollments(self, workspace_id: UUID, ids: Collection[UUID]) -> list[EnrollmentView]:
        return [e for e in self.enrollments_ if e.id in ids]

    async def people_at(self, workspace_id: UUID, addresses: Collection[str]) -> list[UUID]:
        return [person for address in addresses for person in self.people.get(address, [])]

    async def live_in_mailbox(
        self, workspace_id: UUID, people: Collection[UUID], mailbox_id: UUID
    ) -> list[EnrollmentView]:
        return [
            e
            for e in self.enrollments_
            if e.person_id in people and e.mailbox_id == mailbox_id and not e.ended
        ]

    async def people_with_phone(self, workspace_id: UUID, phone: str) -> list[UUID]:
        return self.people.get(phone, [])

    async def live_of(self, workspace_id: UUID, people: Collection[UUID]) -> list[EnrollmentView]:
        return [e for e in self.enrollments_ if e.person_id in people and not e.ended]

    async def sent_between(
        self, workspace_id: UUID, enrollments: Collection[UUID], since: datetime, until: datetime
    ) -> list[SentView]:
        return [v for at, v in self.sent if v.delivery.enrollment_id in enrollments and since <= at <= until]


async def matched(verdict: Verdict, reads: InMemory) -> Match:
    return await find(WORKSPACE, MAILBOX, verdict, reads)


def decided(
    verdict: Verdict,
    match: Match,
    rules: dict[UUID, StopRules] | None = None,
    arrival: Arrival = ARRIVAL,
    soft_before: Collection[str] = (),
) -> Effect:
    return decide(Found(arrival, verdict, match, rules or {}, soft_before), POLICY)


def targets(effect: Effect) -> list[tuple[StopReason, Scope, UUID | str]]:
    return [(cause.reason, cause.scope, cause.target) for cause in effect.causes]


# Matching.


@pytest.fixture
def enrollment() -> EnrollmentView:
    return an_enrollment()


@pytest.fixture
def reads(enrollment: EnrollmentView) -> InMemory:
    return InMemory([a_delivery(enrollment)], [enrollment], {PROSPECT: [enrollment.person_id]})


async def test_an_id_of_ours_among_many_matches_the_thread(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    found = await matched(a_verdict(Kind.REPLY, "<a@x>", "<one@ourco.example>", "<b@x>"), reads)
    assert (found.by, found.enrollments, found.people) == (By.THREAD, (enrollment,), (enrollment.person_id,))


async def test_a_reply_from_another_address_in_the_thread_counts_for_the_person_written_to(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    verdict = a_verdict(Kind.REPLY, "<one@ourco.example>", sender="assistant@elsewhere.example")
    found = await matched(verdict, reads)
    assert (found.by, found.people) == (By.THREAD, (enrollment.person_id,))


async def test_a_thread_reaches_everybody_who_is_written_to_at_the_same_address(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    twin = uuid4()
    reads.people[PROSPECT].append(twin)
    found = await matched(a_verdict(Kind.REPLY, "<one@ourco.example>"), reads)
    assert found.people == (enrollment.person_id, twin)


async def test_without_an_id_the_address_matches_live_enrollments_of_that_mailbox_only(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    reads.enrollments_ += [
        an_enrollment(person_id=enrollment.person_id, mailbox_id=uuid4()),
        an_enrollment(person_id=enrollment.person_id, ended=True),
        an_enrollment(),
    ]
    found = await matched(a_verdict(Kind.REPLY, "<unknown@x>", sender="PAT@theirs.example"), reads)
    assert (found.by, found.enrollments) == (By.ADDRESS, (enrollment,))


async def test_a_stranger_matches_nothing(reads: InMemory) -> None:
    found = await matched(a_verdict(Kind.REPLY, sender="who@x.example"), reads)
    assert found == Match(By.NONE)


@pytest.mark.parametrize("kind", [Kind.BOUNCE, Kind.COMPLAINT])
async def test_a_bounce_or_complaint_never_matches_by_address(reads: InMemory, kind: Kind) -> None:
    assert (await matched(a_verdict(kind), reads)).by is By.NONE


async def test_a_message_from_the_mailbox_itself_is_an_own_copy_even_in_the_thread(reads: InMemory) -> None:
    found = await matched(a_verdict(Kind.REPLY, "<one@ourco.example>", sender="Ana@OurCo.example"), reads)
    assert (found.by, found.deliveries) == (By.OWN_COPY, ())


async def test_the_copy_of_one_of_our_messages_is_recognised_by_its_id(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    verdict = Verdict(Kind.REPLY, (), Facts(message_id="<one@ourco.example>", from_address=OWN))
    found = await matched(verdict, reads)
    assert (found.by, found.enrollments) == (By.OWN_COPY, (enrollment,))


async def test_a_copy_whose_id_the_provider_has_rewritten_is_known_by_its_mark(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    facts = Facts(message_id="<new@provider.example>", from_address=OWN, dispatch_mark="one@ourco.example")
    verdict = Verdict(Kind.REPLY, (), facts)
    found = await matched(verdict, reads)
    assert (found.by, found.enrollments) == (By.OWN_COPY, (enrollment,))
    sent = replace(ARRIVAL, is_sent=True)
    (note,) = decided(verdict, found, arrival=sent).notes
    assert (note.dispatch_id, note.message_id) == (f"{enrollment.id}:hello", "<new@provider.example>")
    assert decided(verdict, found).notes == (), "what comes to the inbox, anybody can have written"


async def test_a_reply_that_names_the_providers_id_is_in_the_thread(enrollment: EnrollmentView) -> None:
    delivery = a_delivery(enrollment, provider_message_id="<new@provider.example>")
    reads = InMemory([delivery], [enrollment])
    assert (await matched(a_verdict(Kind.REPLY, "<new@provider.example>"), reads)).by is By.THREAD


def by_hand(*references: str, to: str = PROSPECT, kind: Kind = Kind.REPLY, **more: Any) -> Verdict:
    facts = Facts("<hand@ourco.example>", references, OWN, (to,), "Re: A job", RECEIVED, **more)
    return Verdict(kind, (), facts)


async def test_a_mail_of_the_mailboxs_owner_to_somebody_in_a_sequence_is_written_by_hand(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    reads.enrollments_.append(an_enrollment(person_id=enrollment.person_id, ended=True))
    found = await matched(by_hand(), reads)
    assert (found.by, found.enrollments) == (By.MANUAL_MAIL, (enrollment,))
    (wait,) = decided(by_hand(), found).waits
    assert (wait.scope, wait.target, wait.reason) == (HoldScope.ENROLLMENT, enrollment.id, "manual_mail")
    stop, ignore = (StopRules(on_manual_mail=each) for each in (ManualMail.STOP, ManualMail.IGNORE))
    stopped = decided(by_hand(), found, {enrollment.id: stop})
    assert targets(stopped) == [(StopReason.REQUESTED, Scope.ENROLLMENT, enrollment.id)]
    assert decided(by_hand(), found, {enrollment.id: ignore}) == Effect()


async def test_a_mail_by_hand_in_the_thread_counts_wherever_outside_it_goes(reads: InMemory) -> None:
    in_thread = "<one@ourco.example>"
    to_assistant = await matched(by_hand(in_thread, to="assistant@elsewhere.example"), reads)
    to_colleague = await matched(by_hand(in_thread, to="boss@ourco.example"), reads)
    assert (to_assistant.by, to_colleague.by) == (By.MANUAL_MAIL, By.OWN_COPY)


async def test_what_a_program_sends_from_the_mailbox_is_not_written_by_hand(reads: InMemory) -> None:
    assert (await matched(by_hand(kind=Kind.AUTO_REPLY), reads)).by is By.OWN_COPY


@pytest.mark.parametrize(
    ("minutes", "subject", "by"),
    [(1, "Re: A job", By.OWN_COPY), (60, "Re: A job", By.MANUAL_MAIL), (1, "Lunch?", By.MANUAL_MAIL)],
)
async def test_what_a_provider_has_wholly_rewritten_is_known_by_person_subject_and_time(
    reads: InMemory, enrollment: EnrollmentView, minutes: int, subject: str, by: By
) -> None:
    at = RECEIVED - timedelta(minutes=minutes)
    reads.sent.append((at, SentView(a_delivery(enrollment), subject)))
    assert (await matched(by_hand(), reads)).by is by


# Text messages.


async def test_a_text_message_reaches_everything_live_of_whose_phone_it_is(
    reads: InMemory, enrollment: EnrollmentView
) -> None:
    elsewhere = an_enrollment(person_id=enrollment.person_id, mailbox_id=uuid4())
    reads.enrollments_ += [elsewhere, an_enrollment(person_id=enrollment.person_id, ended=True)]
    reads.people["+49301234"] = [enrollment.person_id]
    found = await find_by_phone(WORKSPACE, "+49301234", reads)
    assert (found.by, found.enrollments) == (By.PHONE, (enrollment, elsewhere))
    assert (await find_by_phone(WORKSPACE, "+49309999", reads)).by is By.NONE
    stop = a_verdict(Kind.OPT_OUT, sender="+49301234")
    effect = decided(stop, found)
    assert (effect.suppress, effect.suppress_phones) == ((), ("+49301234",))
    assert targets(effect)[-1] == (StopReason.UNSUBSCRIBED, Scope.PERSON, enrollment.person_id)
    assert targets(decided(a_verdict(Kind.REPLY), found))[0][0] is StopReason.REPLIED
    assert decided(a_verdict(Kind.OTHER), found) == Effect()


async def test_of_a_returned_message_only_its_own_id_counts(reads: InMemory) -> None:
    """The recruiter's own mail in the thread bounced: its References name the prospect's messages."""
    returned = ("<recruiters-own@ourco.example>",)
    verdict = a_verdict(Kind.BOUNCE, "<one@ourco.example>", original_message_ids=returned)
    assert (await matched(verdict, reads)).by is By.NONE


async def test_a_delivery_of_another_workspace_is_not_found(enrollment: EnrollmentView) -> None:
    reads = InMemory([a_delivery(enrollment, workspace_id=uuid4())], [enrollment])
    assert (await matched(a_verdict(Kind.REPLY, "<one@ourco.example>"), reads)).by is By.NONE


def test_a_flood_of_ids_is_cut_and_keeps_both_ends() -> None:
    ids = [f"<{n}@x>" for n in range(10_000)]
    named = named_ids(a_verdict(Kind.REPLY, *ids, *ids))
    assert len(named) == MOST_IDS
    assert (named[0], named[-1]) == (ids[0], ids[-1])


# What a match allows.


def thread(*enrollments: EnrollmentView, **delivery: Any) -> Match:
    deliveries = tuple(a_delivery(e, f"<{n}@ourco.example>", **delivery) for n, e in enumerate(enrollments))
    return Match(By.THREAD, deliveries, enrollments, tuple(e.person_id for e in enrollments))


def test_a_reply_in_the_thread_stops_the_person_by_default(enrollment: EnrollmentView) -> None:
    effect = decided(a_verdict(Kind.REPLY), thread(enrollment))
    assert targets(effect) == [
        (StopReason.REPLIED, Scope.ENROLLMENT, enrollment.id),
        (StopReason.REPLIED, Scope.PERSON, enrollment.person_id),
    ]
    assert (effect.suppress, effect.review) == ((), False)


def test_a_reply_in_the_thread_stops_as_far_as_the_version_says(enrollment: EnrollmentView) -> None:
    match = thread(enrollment)
    only = {enrollment.id: StopRules(on_reply=Scope.ENROLLMENT)}
    all_of_them = {enrollment.id: StopRules(on_reply=Scope.COMPANY)}
    assert targets(decided(a_verdict(Kind.REPLY), match, only)) == [
        (StopReason.REPLIED, Scope.ENROLLMENT, enrollment.id)
    ]
    assert targets(decided(a_verdict(Kind.REPLY), match, all_of_them)) == [
        (StopReason.REPLIED, Scope.ENROLLMENT, enrollment.id),
        (StopReason.REPLIED, Scope.COMPANY, "theirs.example"),
    ]


def test_a_company_stop_of_a_person_without_a_company_reaches_the_person() -> None:
    alone = an_enrollment(company_key=None)
    effect = decided(a_verdict(Kind.REPLY), thread(alone), {alone.id: StopRules(on_reply=Scope.COMPANY)})
    assert targets(effect)[-1] == (StopReason.REPLIED, Scope.PERSON, alone.person_id)


def test_the_same_cause_of_two_enrollments_is_one_cause() -> None:
    person = uuid4()
    match = thread(an_enrollment(person_id=person), an_enrollment(person_id=person))
    scopes = [scope for _, scope, _ in targets(decided(a_verdict(Kind.REPLY), match))]
    assert scopes == [Scope.ENROLLMENT, Scope.ENROLLMENT, Scope.PERSON]


def test_causes_have_the_same_ids_whenever_they_are_decided(enrollment: EnrollmentView) -> None:
    first, second = (decided(a_verdict(Kind.REPLY), thread(enrollment)) for _ in range(2))
    other = decided(a_verdict(Kind.REPLY), thread(enrollment), arrival=replace(ARRIVAL, seed=uuid4()))
    assert first == second
    assert first.causes[0].event_id != other.causes[0].event_id


def test_a_reply_by_address_stops_only_what_was_found_and_asks_for_review() -> None:
    live = [an_enrollment(), an_enrollment()]
    match = Match(By.ADDRESS, enrollments=tuple(live), people=(live[0].person_id,))
    effect = decided(a_verdict(Kind.REPLY), match, {e.id: StopRules(on_reply=Scope.COMPANY) for e in live})
    assert targets(effect) == [(StopReason.REPLIED, Scope.ENROLLMENT, e.id) for e in live]
    assert effect.review


def test_an_opt_out_suppresses_by_id_and_not_by_address(enrollment: EnrollmentView) -> None:
    verdict = a_verdict(Kind.OPT_OUT, sender="Pat.Private@home.example")
    by_id = decided(verdict, thread(enrollment))
    by_address = decided(verdict, Match(By.ADDRESS, enrollments=(enrollment,)))
    assert targets(by_id) == [
        (StopReason.UNSUBSCRIBED, Scope.ENROLLMENT, enrollment.id),
        (StopReason.UNSUBSCRIBED, Scope.PERSON, enrollment.person_id),
    ]
    assert by_id.suppress == (PROSPECT, "pat.private@home.example")
    assert targets(by_address) == [(StopReason.UNSUBSCRIBED, Scope.ENROLLMENT, enrollment.id)]
    assert by_address.suppress == ()


@pytest.mark.parametrize(
    ("feedback_type", "acts"),
    [("abuse", True), ("Opt-Out", True), ("not-spam", False), ("auth-failure", False)],
)
def test_only_what_a_person_complains_about_acts(
    enrollment: EnrollmentView, feedback_type: str, acts: bool
) -> None:
    effect = decided(a_verdict(Kind.COMPLAINT, feedback_type=feedback_type), thread(enrollment))
    expected = [
        (StopReason.COMPLAINED, Scope.ENROLLMENT, enrollment.id),
        (StopReason.COMPLAINED, Scope.PERSON, enrollment.person_id),
    ]
    assert targets(effect) == (expected if acts else [])
    assert effect.suppress == ((PROSPECT,) if acts else ())


def failed(address: str, severity: Severity = Severity.HARD, status: str = "5.1.1") -> FailedRecipient:
    return FailedRecipient(address, severity, status)


@pytest.mark.parametrize("kind", [Kind.REPLY, Kind.AUTO_REPLY, Kind.OPT_OUT])
def test_whoever_only_got_a_copy_answers_for_themselves(enrollment: EnrollmentView, kind: Kind) -> None:
    match = thread(enrollment, bcc=("Boss@ourco.example",))
    effect = decided(a_verdict(kind, sender="boss@ourco.example"), match)
    assert targets(effect) == []
    assert effect.suppress == (("boss@ourco.example",) if kind is Kind.OPT_OUT else ())
    assert targets(decided(a_verdict(kind), match)) != []


def test_a_copy_that_can_not_be_delivered_is_no_bounce_of_the_person(enrollment: EnrollmentView) -> None:
    match = thread(enrollment, bcc=("crm@ourco.example",))
    ids: dict[str, Any] = {"original_message_ids": ("<0@ourco.example>",)}
    gone = a_verdict(Kind.BOUNCE, recipients=(failed("CRM@ourco.example"),), **ids)
    assert not decided(gone, match).is_owed
    both = a_verdict(Kind.BOUNCE, recipients=(failed("crm@ourco.example"), failed(PROSPECT)), **ids)
    assert targets(decided(both, match)) == [(StopReason.BOUNCED, Scope.ENROLLMENT, enrollment.id)]


def test_a_hard_bounce_stops_the_enrollment_and_suppresses_the_address(enrollment: EnrollmentView) -> None:
    effect = decided(a_verdict(Kind.BOUNCE, recipients=(failed("PAT@theirs.example"),)), thread(enrollment))
    assert targets(effect) == [(StopReason.BOUNCED, Scope.ENROLLMENT, enrollment.id)]
    assert effect.causes[0].reason_code == "5.1.1"
    assert effect.suppress == (PROSPECT,)


def test_a_delay_does_nothing(enrollment: EnrollmentView) -> None:
    told = a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT, Severity.DELAYED),))
    assert decided(told, thread(enrollment)) == Effect()


@pytest.mark.parametrize("before", [(), ("other:hello",), ("same",)])
def test_a_bounce_for_now_holds_the_person_for_some_days(
    enrollment: EnrollmentView, before: tuple[str, ...]
) -> None:
    """The same message twice is one bounce."""
    told = a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT, Severity.SOFT, "4.2.2"),))
    match = thread(enrollment)
    known = {f"{enrollment.id}:hello", "other:hello"} if before == ("same",) else before
    effect = decided(told, match, soft_before=known)
    assert (effect.causes, effect.suppress) == ((), ())
    (wait,) = effect.waits
    assert (wait.scope, wait.target, wait.until) == (
        HoldScope.PERSON,
        enrollment.person_id,
        RECEIVED + THREE_DAYS,
    )


def test_bounces_for_now_of_three_messages_in_a_row_end_it_and_suppress_nothing(
    enrollment: EnrollmentView,
) -> None:
    told = a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT, Severity.SOFT, "4.2.2"),))
    effect = decided(told, thread(enrollment), soft_before=("other:hello", "other:nudge"))
    assert targets(effect) == [(StopReason.BOUNCED, Scope.ENROLLMENT, enrollment.id)]
    assert (effect.causes[0].reason_code, effect.waits, effect.suppress) == ("4.2.2", (), ())


def test_the_bounce_of_an_alias_counts_when_the_returned_message_is_ours(enrollment: EnrollmentView) -> None:
    returned: dict[str, Any] = {"original_message_ids": ("<0@ourco.example>",)}
    inside = a_verdict(Kind.BOUNCE, recipients=(failed("p.smith@theirs.example"),), **returned)
    outside = a_verdict(Kind.BOUNCE, recipients=(failed("pat@forwarded.example"),), **returned)
    assert decided(inside, thread(enrollment)).suppress == (PROSPECT,)
    assert decided(outside, thread(enrollment)).suppress == ()
    assert len(decided(outside, thread(enrollment)).causes) == 1


def test_a_bounce_about_somebody_else_does_nothing_when_the_returned_message_is_not_ours(
    enrollment: EnrollmentView,
) -> None:
    verdict = a_verdict(Kind.BOUNCE, recipients=(failed("colleague@theirs.example"),))
    assert decided(verdict, thread(enrollment)) == Effect()


def test_a_refusal_by_policy_stops_and_does_not_suppress(enrollment: EnrollmentView) -> None:
    verdict = a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT, status="5.7.1"),))
    effect = decided(verdict, thread(enrollment))
    assert [cause.reason for cause in effect.causes] == [StopReason.BOUNCED]
    assert effect.suppress == ()


def test_an_absence_holds_the_person_until_the_named_day_is_over(enrollment: EnrollmentView) -> None:
    effect = decided(a_verdict(Kind.AUTO_REPLY, until=date(2026, 12, 1)), thread(enrollment))
    (cause,) = effect.causes
    assert (cause.reason, cause.scope, cause.target) == (
        StopReason.AUTO_REPLY,
        Scope.PERSON,
        enrollment.person_id,
    )
    assert cause.until == datetime(2026, 12, 2, tzinfo=UTC)


@pytest.mark.parametrize("returns", [None, date(2026, 11, 1), date(2062, 1, 1)])
def test_an_absence_without_a_believable_day_holds_for_the_default(returns: date | None) -> None:
    assert hold_until(returns, RECEIVED, THREE_DAYS) == RECEIVED + THREE_DAYS


def test_an_absence_by_address_holds_only_the_enrollments_found(enrollment: EnrollmentView) -> None:
    effect = decided(a_verdict(Kind.AUTO_REPLY), Match(By.ADDRESS, enrollments=(enrollment,)))
    assert targets(effect) == [(StopReason.AUTO_REPLY, Scope.ENROLLMENT, enrollment.id)]


@pytest.mark.parametrize("match", [Match(By.NONE), Match(By.OWN_COPY)])
@pytest.mark.parametrize("kind", list(Kind))
def test_without_a_match_or_from_ourselves_nothing_happens(kind: Kind, match: Match) -> None:
    assert not decided(a_verdict(kind), match).is_owed


def test_what_comes_back_with_the_id_of_a_dispatch_in_doubt_proves_that_it_was_sent() -> None:
    doubted, sent = an_enrollment(), an_enrollment()
    match = thread(doubted, sent, state="sent")
    match = replace(match, deliveries=(replace(match.deliveries[0], state="in_doubt"), match.deliveries[1]))
    for kind in Kind:
        assert decided(a_verdict(kind), match).sent == (f"{doubted.id}:hello",)
    own = Match(By.OWN_COPY, match.deliveries, match.enrollments)
    in_sent = replace(ARRIVAL, is_sent=True)
    assert decided(a_verdict(Kind.REPLY), own, arrival=in_sent).sent == (f"{doubted.id}:hello",)
    assert decided(a_verdict(Kind.REPLY), own).sent == ()  # anybody could have put it there


def test_stop_rules_are_read_from_the_sequence_document() -> None:
    assert StopRules.read({}) == StopRules(Scope.PERSON, Scope.ENROLLMENT, ManualMail.HOLD)
    said = {"on_reply": "company", "on_bounce": "person", "on_manual_mail": "stop"}
    assert StopRules.read({"stop": said}) == StopRules(Scope.COMPANY, Scope.PERSON, ManualMail.STOP)


# As the database keeps it.


def test_an_effect_is_read_as_it_was_written(enrollment: EnrollmentView) -> None:
    for verdict in (
        a_verdict(Kind.AUTO_REPLY, until=date(2026, 12, 1)),
        a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT),)),
        a_verdict(Kind.BOUNCE, recipients=(failed(PROSPECT, Severity.SOFT, "4.2.2"),)),
        a_verdict(Kind.OPT_OUT),
    ):
        effect = decided(verdict, thread(enrollment))
        assert Effect.read(effect.document()) == effect


def test_a_cause_makes_the_message_of_its_scope() -> None:
    company = Cause(uuid4(), StopReason.REPLIED, Scope.COMPANY, "theirs.example")
    message = company.message(ARRIVAL, RECEIVED)
    assert (message.company_key, message.person_id, message.enrollment_id) == ("theirs.example", None, None)
    assert (message.event_id, message.occurred_at) == (company.event_id, RECEIVED)


def test_a_stored_verdict_is_bounded_and_can_be_written_as_utf_8() -> None:
    verdict = a_verdict(Kind.REPLY, *(f"<{n}@x>" for n in range(1000)), text="\ud800" + "x" * 100_000)
    document = verdict_document(verdict)
    document["text"].encode()
    assert len(document["text"]) == 20_000
    assert len(document["references"]) == 50


def test_a_stored_verdict_decides_as_the_verdict_did(enrollment: EnrollmentView) -> None:
    first = a_verdict(Kind.BOUNCE, "<one@ourco.example>", recipients=(failed(PROSPECT),))
    again = verdict_of(verdict_document(first), Kind.BOUNCE)
    assert decided(again, thread(enrollment)) == decided(first, thread(enrollment))
    reply = verdict_of(verdict_document(first), Kind.REPLY)
    assert decided(reply, thread(enrollment)) == decided(a_verdict(Kind.REPLY), thread(enrollment))


# States and pauses.


@pytest.mark.parametrize("to", list(State))
@pytest.mark.parametrize("state", list(State))
def test_only_the_moves_of_the_table_are_legal(state: State, to: State) -> None:
    if to in TRANSITIONS[state]:
        assert move(state, to) is to
    else:
        with pytest.raises(IllegalMove):
            move(state, to)


def test_pauses_grow_and_are_bounded() -> None:
    assert [again_seconds(n) for n in (1, 2, 3, 50)] == [1, 2, 4, 60]
    assert [failure_seconds(n) for n in (1, 2, 50)] == [2, 4, 600]
