"""A pool's mailbox stays with the person: over generations, other sequences, and while it rests."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from chassis import documents as names
from chassis.store import Document
from scheduler.testing import MAILBOX, OWNER, SEQUENCE, TWO_MAILS, WORKSPACE, Bench, open_bench
from segue_contracts.commands import Enroll, Hold, HoldScope

pytestmark = pytest.mark.stack

OTHER = UUID(int=40)
SECOND = UUID(int=41)
PEOPLE = [f"p{n}" for n in range(12)]


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri, TWO_MAILS) as bench:
        mailboxes = bench.database.collection(names.MAILBOXES)
        first = await mailboxes.find_one({"_id": MAILBOX})
        assert first is not None
        await mailboxes.insert_one({**first, "_id": OTHER, "address": "ben@ourco.example"})
        await pool(bench, MAILBOX, OTHER)
        yield bench


async def pool(bench: Bench, *mailboxes: UUID) -> None:
    """The next version sends from these."""
    sequences = bench.database.collection(names.SEQUENCES)
    sequence = await sequences.find_one({"_id": SEQUENCE})
    assert sequence is not None
    number = sequence["latest_version"] + 1
    await bench.add_version(number, TWO_MAILS)
    versions = bench.database.collection(names.SEQUENCE_VERSIONS)
    await versions.update_one(
        {"_id": names.version_id(SEQUENCE, number)}, {"$set": {"mailbox_ids": list(mailboxes)}}
    )
    await sequences.update_one({"_id": SEQUENCE}, {"$set": {"latest_version": number}})


async def chosen(bench: Bench, enrolls: list[Enroll]) -> dict[str, UUID]:
    """From which mailbox each is written to."""
    await bench.command(*enrolls)
    found: list[Document] = [await bench.read(each.enrollment_id) for each in enrolls]
    return {e["external_id"]: e["mailbox_id"] for e in found}


async def test_a_person_keeps_the_mailbox_over_generations_although_the_pool_changes(bench: Bench) -> None:
    first = await chosen(bench, [bench.enroll(who) for who in PEOPLE])
    assert set(first.values()) == {MAILBOX, OTHER}
    await pool(bench, UUID(int=99), OTHER, MAILBOX)
    again = [bench.enroll(who).model_copy(update={"generation": 2}) for who in PEOPLE]
    assert await chosen(bench, again) == first
    await pool(bench, OTHER)  # the other one left: who knew it gets what there is
    third = [bench.enroll(who).model_copy(update={"generation": 3}) for who in PEOPLE]
    assert set((await chosen(bench, third)).values()) == {OTHER}


async def test_another_sequence_with_the_same_pool_writes_from_the_mailbox_that_the_person_knows(
    bench: Bench,
) -> None:
    await pool(bench, OTHER)
    assert set((await chosen(bench, [bench.enroll(who) for who in PEOPLE])).values()) == {OTHER}
    owned = {"workspace_id": WORKSPACE, "owner_id": OWNER}
    await bench.database.collection(names.SEQUENCES).insert_one({"_id": SECOND, **owned, "latest_version": 1})
    await bench.database.collection(names.SEQUENCE_VERSIONS).insert_one(
        {
            "_id": names.version_id(SECOND, 1),
            **owned,
            "sequence_id": SECOND,
            "version": 1,
            "document": TWO_MAILS,
            "mailbox_ids": [MAILBOX, OTHER],
        }
    )
    second = [bench.message(Enroll, sequence_id=SECOND, prospect=bench.prospect(who)) for who in PEOPLE]
    assert set((await chosen(bench, second)).values()) == {OTHER}


async def test_new_people_pass_a_mailbox_that_rests_and_its_own_wait_for_it(bench: Bench) -> None:
    known = await chosen(bench, [bench.enroll(who) for who in PEOPLE])
    await bench.command(
        bench.message(Hold, scope=HoldScope.MAILBOX, scope_id=MAILBOX, reason="paused", until=None)
    )
    new = await chosen(bench, [bench.enroll(f"new-{n}") for n in range(12)])
    assert set(new.values()) == {OTHER}
    again = [bench.enroll(who).model_copy(update={"generation": 2}) for who in PEOPLE]
    assert await chosen(bench, again) == known
    await bench.parts.due.tick()
    parked = [e for each in again if (e := await bench.read(each.enrollment_id)).get("parked_by")]
    assert {e["external_id"] for e in parked} == {who for who, mailbox in known.items() if mailbox == MAILBOX}
    assert {e["parked_by"] for e in parked} == {names.hold_id("mailbox", MAILBOX)}
