"""A mailbox that bounces or annoys too much is paused, once, until a person resumes it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from chassis import documents as names
from chassis.rates import BOUNCE, COMPLAINT, Limits, Rate, counted_from
from reply_detector.testing import NOW, World, a_bounce, open_world
from segue_contracts.commands import Hold, HoldScope
from segue_contracts.events import MailboxNotification

LIMITS = Limits(timedelta(days=7), 20, {BOUNCE: Rate(5, 0.05), COMPLAINT: Rate(2, 0.003)})


@pytest.mark.parametrize(
    ("bounces", "complaints", "sent", "exceeded"),
    [
        (5, 0, 100, BOUNCE),
        (5, 0, 101, None),  # under the share
        (4, 0, 20, None),  # too few to say
        (5, 0, 19, None),  # too little sent
        (0, 2, 600, COMPLAINT),
        (0, 2, 700, None),
        (0, 1, 10, None),
        (0, 2, 5, COMPLAINT),  # two people of five
        (9, 9, 100, COMPLAINT),
    ],
)
def test_a_rate_needs_a_number_and_a_share(
    bounces: int, complaints: int, sent: int, exceeded: str | None
) -> None:
    assert LIMITS.exceeded({BOUNCE: bounces, COMPLAINT: complaints}, sent) == exceeded


def test_what_was_before_a_person_resumed_the_mailbox_is_forgiven() -> None:
    week_ago, lifted = NOW - timedelta(days=7), NOW - timedelta(hours=1)
    assert counted_from(None, week_ago) == week_ago
    assert counted_from({"lifted_at": lifted}, week_ago) == lifted
    assert counted_from({"lifted_at": week_ago - timedelta(days=1)}, week_ago) == week_ago
    assert counted_from({"lifted_at": None, "until": lifted}, week_ago) == lifted


def test_a_servers_refusal_forgives_nothing_and_takes_back_nothing_that_was_forgiven() -> None:
    week_ago, lifted = NOW - timedelta(days=7), NOW - timedelta(days=1)
    refused = {"by": "sender", "lifted_at": None, "until": NOW - timedelta(hours=1)}
    assert counted_from(refused, week_ago) == week_ago
    assert counted_from({**refused, "last_lifted_at": lifted}, week_ago) == lifted


@pytest.fixture
async def world(mongodb_uri: str) -> AsyncIterator[World]:
    async with open_world(mongodb_uri) as opened:
        yield opened


async def bounced(world: World, mails: int, bounces: int) -> None:
    """Mails of today, of which some came back."""
    for number in range(mails):
        enrollment = uuid4()
        await world.enroll(enrollment, person_id=uuid4())
        await world.deliver(enrollment, "hello", f"<{enrollment}@ourco.example>")
        if number < bounces:
            await world.settled(a_bounce(message_id=f"<{enrollment}@ourco.example>"))
    world.kafka.messages.clear()


@pytest.mark.stack
async def test_too_many_bounces_pause_the_mailbox_and_its_owner_hears_of_it_under_one_id(
    world: World,
) -> None:
    await bounced(world, 24, 4)
    await world.parts().mailboxes.sweep()
    assert world.kafka.messages == []
    refused = {"state": "rejected", "bounced": True, "settled_at": world.clock.now()}
    await world.deliver(uuid4(), "hello", "<refused@ourco.example>", **refused)  # by the server, at once
    await world.parts().mailboxes.sweep()
    await world.parts().mailboxes.sweep()
    hold, again = world.kafka.of(Hold)
    assert (hold.event_id, hold.until, hold.extends) == (again.event_id, None, True)
    assert (hold.scope, hold.scope_id, hold.reason) == (HoldScope.MAILBOX, world.mailbox, "bounce_rate")
    told = world.kafka.of(MailboxNotification)
    assert len({each.event_id for each in told}) == 1
    assert (told[0].owner_id, told[0].counted, told[0].sent) == (world.owner, 5, 26)


@pytest.mark.stack
async def test_a_paused_mailbox_is_left_alone_and_starts_anew_when_it_was_resumed(world: World) -> None:
    await bounced(world, 20, 5)
    hold = names.hold_id("mailbox", world.mailbox)
    fields = {"until": None, "lifted_at": None, "changed_at": world.clock.now(), "reason": "bounce_rate"}
    await world.insert(names.HOLDS, _id=hold, **fields)
    await world.parts().mailboxes.sweep()
    assert world.kafka.messages == []
    resumed = world.clock.advance(3600)
    await world.database.collection(names.HOLDS).update_one(
        {"_id": hold}, {"$set": {"lifted_at": resumed, "changed_at": resumed}}
    )
    world.clock.advance(60)
    await world.parts().mailboxes.sweep()
    assert world.kafka.messages == []
    await bounced(world, 20, 5)
    await world.parts().mailboxes.sweep()
    assert [told.counted for told in world.kafka.of(MailboxNotification)] == [5]


@pytest.mark.stack
async def test_what_is_older_than_the_window_counts_no_more(world: World) -> None:
    await bounced(world, 20, 5)
    world.clock.advance(days=8)
    await world.parts().mailboxes.sweep()
    assert world.kafka.messages == []
