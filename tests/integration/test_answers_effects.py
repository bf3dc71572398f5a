"""What answers do beyond the stop: late ones, bounces for now, the Sent folder, text messages, owners."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis.errors import Retry
from reply_detector.testing import OUR_ID, OWN, PAT, REPLY, World, a_bounce, a_message, open_world
from segue_contracts.commands import Hold, HoldScope, NoteProviderId
from segue_contracts.events import AnswerEffect, AnswerKind, AnswerNotification, StopReason
from segue_contracts.message import Scope
from sender.store import INDEXES as SENDERS_INDEXES

pytestmark = pytest.mark.stack

PHONE = {"source": "sms", "from_phone": "+49 (0)30 1234", "to_phone": "+4930999", "keyword": "", "media": 0}


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    async with open_world(mongodb_uri) as opened:
        yield opened


# Whom it is from.


async def test_a_forwarded_answer_of_a_colleague_stops_the_person_who_was_written_to(world: World) -> None:
    """References go on through a forward; In-Reply-To names somebody else's message."""
    forwarded = a_message(REPLY, sender="boss@theirs.example", thread=None, References=f"{OUR_ID} <fwd@x>")
    stored = await world.settled(forwarded)
    assert stored["match"]["by"] == "thread"
    assert [stop.person_id for stop in world.kafka.wide()] == [world.person]


async def test_an_answer_to_the_first_stage_stops_at_whatever_stage_the_person_is_by_now(
    world: World,
) -> None:
    for stage in ("nudge", "last"):
        await world.deliver(world.enrollment, stage, f"<{stage}@ourco.example>")
    stored = await world.settled(a_message(REPLY, thread=OUR_ID))
    assert stored["match"]["deliveries"] == [f"{world.enrollment}:hello"]
    assert world.kafka.stops()[0].enrollment_id == world.enrollment


async def test_a_person_in_several_sequences_is_stopped_in_all_and_answers_only_one(world: World) -> None:
    other = uuid4()
    await world.enroll(other, sequence_id=uuid4())
    stored = await world.settled(a_message(REPLY))
    narrow, wide = world.kafka.stops()
    assert (narrow.scope, narrow.enrollment_id) == (Scope.ENROLLMENT, world.enrollment)
    assert (wide.scope, wide.person_id) == (Scope.PERSON, world.person)
    assert stored["answer"]["enrollments"] == [world.enrollment]


async def test_a_reply_that_names_the_providers_id_is_found(world: World) -> None:
    delivered = {"_id": f"{world.enrollment}:hello"}
    noted = {"$set": {"provider_message_id": "<new@provider.example>"}}
    await world.database.collection(names.DELIVERIES).update_one(delivered, noted)
    stored = await world.settled(a_message(REPLY, thread="<new@provider.example>"))
    assert stored["match"]["by"] == "thread"


# Late truth.


async def test_an_answer_to_a_finished_enrollment_is_owed_until_it_is_recorded(world: World) -> None:
    await world.end(world.enrollment, state="finished")
    stored = await world.settled(a_message(REPLY))
    (narrow,) = [stop for stop in world.kafka.stops() if stop.scope is Scope.ENROLLMENT]
    assert (narrow.event_type, narrow.enrollment_id) == (StopReason.REPLIED, world.enrollment)
    assert await world.pass_on(stored["_id"]) == "judged"
    await world.end(world.enrollment, narrow.event_id, state="finished")
    assert await world.pass_on(stored["_id"]) == "settled"


# Owners hear of it.


async def test_each_owner_hears_once_of_an_answer_when_its_effect_is_done(world: World) -> None:
    stored = await world.settled(a_message(REPLY))
    assert world.kafka.of(AnswerNotification) == []
    await world.end(world.enrollment, stored["effect"]["causes"][0]["event_id"])
    world.kafka.failures = 1
    with pytest.raises(Retry):
        await world.pass_on(stored["_id"])
    assert await world.pass_on(stored["_id"]) == "settled"
    (told,) = world.kafka.of(AnswerNotification)
    assert (told.event_type, told.owner_id, told.match) == (AnswerKind.REPLY, world.owner, "thread")
    assert (told.effect, told.sequence_ids) == (AnswerEffect.STOPPED, [world.sequence])
    assert (told.intent, told.from_address) == ("interested", PAT)
    assert "Can we talk on Thursday?" in told.text
    assert await world.pass_on(stored["_id"]) == "settled"
    assert len(world.kafka.of(AnswerNotification)) == 1


async def test_whose_mailbox_sent_for_somebody_else_hears_of_the_answer_too(world: World) -> None:
    user = uuid4()
    await world.database.collection(names.MAILBOXES).update_one(
        {"_id": world.mailbox}, {"$set": {"owner_id": user}}
    )
    stored = await world.settled(a_message(REPLY))
    await world.end(world.enrollment, stored["effect"]["causes"][0]["event_id"])
    assert await world.pass_on(stored["_id"]) == "settled"
    told = {each.owner_id: each for each in world.kafka.of(AnswerNotification)}
    assert {owner: each.as_sender for owner, each in told.items()} == {world.owner: False, user: True}
    assert len({each.event_id for each in told.values()}) == 2


async def test_nobody_hears_of_a_message_that_is_about_no_sequence(world: World) -> None:
    stranger = a_message(REPLY, sender="who@x.example", thread=None)
    assert "answer" not in await world.settled(stranger)
    assert world.kafka.messages == []


# Bounces for now.


async def test_soft_bounces_hold_the_person_and_the_third_message_in_a_row_ends_it(world: World) -> None:
    for number in (1, 2, 3):
        dispatch = f"<{number}@ourco.example>"
        await world.deliver(world.enrollment, f"stage{number}", dispatch)
        stored = await world.settled(a_bounce("4.2.2", dispatch))
        await world.settled(a_bounce("4.2.2", dispatch).replace(b"could not", b"can not"))  # told twice
        world.clock.advance(days=1)
    holds = {hold.event_id: hold for hold in world.kafka.of(Hold)}
    assert {hold.scope_id for hold in holds.values()} == {world.person}
    first = next(iter(holds.values()))
    assert (first.reason, first.until) == ("soft_bounce", first.occurred_at + timedelta(days=3))
    assert all(hold.extends for hold in holds.values())
    bounced = {stop.event_type for stop in world.kafka.stops()}
    assert bounced == {StopReason.BOUNCED}
    assert stored["effect"]["causes"][0]["reason_code"] == "4.2.2"
    assert await world.suppressed(PAT) is None


async def test_a_sign_of_life_between_soft_bounces_starts_the_count_anew(world: World) -> None:
    for number in (1, 2, 3):
        await world.deliver(world.enrollment, f"stage{number}", f"<{number}@ourco.example>")
    await world.settled(a_bounce("4.2.2", "<1@ourco.example>"))
    world.clock.advance(days=1)
    await world.settled(a_message("I am out of the office.", Auto_Submitted="auto-replied"))
    world.clock.advance(days=1)
    for number in (2, 3):
        await world.settled(a_bounce("4.2.2", f"<{number}@ourco.example>"))
    assert [stop.event_type for stop in world.kafka.stops()] == [StopReason.AUTO_REPLY]


# The Sent folder.


def by_hand(**headers: str) -> bytes:
    written = {"To": PAT, "Message_ID": f"<{uuid4()}@ourco.example>"}
    return a_message("Hi Pat, a short word from me.", sender=OWN, thread=None, **(written | headers))


async def test_a_mail_by_hand_holds_the_sequence_and_its_owner_hears_of_it(world: World) -> None:
    stored = await world.settled(by_hand(), source="imap", folder="sent")
    assert (stored["match"]["by"], stored["answer"]["kind"]) == ("manual_mail", "manual_mail")
    (hold,) = world.kafka.of(Hold)
    assert (hold.scope, hold.scope_id, hold.reason) == (
        HoldScope.ENROLLMENT,
        world.enrollment,
        "manual_mail",
    )
    assert hold.until == world.clock.now() + timedelta(days=3)
    await world.insert(
        names.HOLDS,
        _id=names.hold_id("enrollment", world.enrollment),
        until=hold.until,
        changed_at=hold.occurred_at,
        lifted_at=None,
    )
    assert await world.pass_on(stored["_id"]) == "settled"
    (told,) = world.kafka.of(AnswerNotification)
    assert (told.event_type, told.effect, told.until) == (
        AnswerKind.MANUAL_MAIL,
        AnswerEffect.HELD,
        hold.until,
    )


async def test_a_mail_by_hand_stops_where_the_sequence_says_so(world: World) -> None:
    await world.says(on_manual_mail="stop")
    await world.settled(by_hand(), source="imap", folder="sent")
    (stop,) = world.kafka.stops()
    assert (stop.event_type, stop.reason_code) == (StopReason.REQUESTED, "manual_mail")


async def test_the_sender_learns_under_which_id_a_provider_sent_a_message(world: World) -> None:
    copy = by_hand(Message_ID="<new@provider.example>", X_Segue_Dispatch=OUR_ID.strip("<>"))
    stored = await world.settled(copy, source="imap", folder="sent")
    (note,) = world.kafka.of(NoteProviderId)
    dispatch = f"{world.enrollment}:hello"
    assert (note.dispatch_id, note.provider_message_id) == (dispatch, "<new@provider.example>")
    assert world.kafka.messages == [note], "the copy of a stage holds nothing"
    assert await world.pass_on(stored["_id"]) == "judged"
    noted = {"$set": {"provider_message_id": note.provider_message_id}}
    await world.database.collection(names.DELIVERIES).update_one({"_id": dispatch}, noted)
    assert await world.pass_on(stored["_id"]) == "settled"


async def test_a_mark_in_the_inbox_is_believed_by_nobody(world: World) -> None:
    forged = by_hand(Message_ID="<new@evil.example>", X_Segue_Dispatch=OUR_ID.strip("<>"))
    assert (await world.settled(forged))["state"] == "settled"
    assert world.kafka.messages == []


# Text messages.


async def test_stop_by_text_message_ends_everything_of_the_person_and_suppresses_the_phone(
    world: World,
) -> None:
    elsewhere = uuid4()
    await world.enroll(elsewhere, mailbox_id=uuid4())
    stored = await world.settled(b"the provider's form", **PHONE, text="STOP please")
    assert (stored["match"]["by"], stored["verdict"]["kind"]) == ("phone", "opt_out")
    assert {stop.event_type for stop in world.kafka.stops()} == {StopReason.UNSUBSCRIBED}
    assert {stop.enrollment_id for stop in world.kafka.stops()} == {world.enrollment, elsewhere, None}
    suppressed = await world.suppressed("+49 30 1234", "phone")
    assert suppressed is not None
    assert (suppressed["kind"], suppressed["reason"]) == ("phone", "unsubscribed")


async def test_a_text_message_from_a_known_phone_is_a_reply_and_from_another_one_nothing(
    world: World,
) -> None:
    await world.settled(b"1", **PHONE, text="Sounds good, call me")
    assert {stop.event_type for stop in world.kafka.stops()} == {StopReason.REPLIED}
    world.kafka.messages.clear()
    stranger = await world.settled(b"2", **{**PHONE, "from_phone": "+4940777"}, text="Who is this?")
    assert (stranger["state"], stranger["match"]["by"]) == ("settled", "none")
    assert world.kafka.messages == []


async def test_lists_of_answers_and_ids_of_providers_use_their_indexes(world: World) -> None:
    """Without a sort in memory: an inbox with a hundred thousand answers opens as fast as one with ten."""
    deliveries, inbound = (world.database.collection(name) for name in (names.DELIVERIES, names.INBOUND))
    await deliveries.ensure_indexes(SENDERS_INDEXES)
    answers = {"workspace_id": world.workspace, "answer": {"$exists": True}}
    newest = [("received_at", -1), ("_id", -1)]
    named = {"$in": [OUR_ID], "$type": "string"}
    plans = {
        "answers": await inbound.explain(answers, sort=newest),
        "answers_by_state": await inbound.explain(answers | {"answer.open": True}, sort=newest),
        "answers_of_person": await inbound.explain(answers | {"answer.people": world.person}, sort=newest),
        "provider_message_id": await deliveries.explain(
            {"workspace_id": world.workspace, "provider_message_id": named}
        ),
    }
    for name, plan in plans.items():
        index = name.partition("_by_")[0].partition("_of_")[
            0
        ]  # of an empty collection any of them may be chosen
        assert f"'indexName': '{index}" in str(plan), plan
        assert "'stage': 'SORT'" not in str(plan)
