"""Each runbook in the state that it is about: its lines are run, nothing else is done, and it is over."""

import asyncio
import email.policy
import json
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from chassis import documents as names
from chassis.kafka import Record
from rig import SHORT, SPEED, Office, Rig, sequence
from segue_contracts.commands import Hold, HoldScope
from segue_contracts.topics import ENROLLMENT_COMMANDS
from stack.brokers import Brokers
from stack.mail_script import Cut, Refuse
from stack.prospects import reply
from stack.runbooks import PAGES, Reader, blocks, reader
from stack.system import System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(180)]

IN_AN_HOUR = "60 minutes"


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers) -> Iterator[System]:
    """Nobody starts again what ends: that is what the pages are for."""
    with system(
        tmp_path_factory.mktemp("segue"), brokers, clock_speed=SPEED, settings=SHORT, faults=True
    ) as running:
        yield running


@pytest.fixture
def me(segue: System, office: Office, tmp_path: Path) -> Iterator[Reader]:
    with reader(segue, office.access, tmp_path) as following:
        yield following


async def follow(me: Reader, page: str, *sections: str, **variables: str) -> str:
    return await asyncio.to_thread(me.follow, page, *sections, **variables)


async def told(me: Reader, line: str) -> dict[str, Any]:
    """The JSON that a line prints."""
    found: dict[str, Any] = json.loads(await asyncio.to_thread(me.run, line))
    return found


async def arrived(scene: Rig, person: str) -> EmailMessage:
    """The one mail that this person has got."""
    (mail,) = await scene.mail.arrived(1, f"{person}@there.example", seconds=30)
    content = scene.mail.content(mail)
    sent = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(sent, EmailMessage)
    return sent


async def test_stages_late(scene: Rig, me: Reader) -> None:
    await scene.enroll(await scene.client.publish(sequence("0 minutes", "60 minutes")), "late")
    await scene.until(lambda: scene.documents(names.ENROLLMENTS, state="scheduled", stage_id="two"))
    scene.segue.processes["scheduler"].pause()
    await scene.until(lambda: overdue(scene))
    await follow(me, "stages-late")
    await scene.settled()
    assert scene.mails_to("late") == [2]


async def overdue(scene: Rig) -> bool:
    """Whether something is due, and nobody takes it up."""
    late = {"$lt": scene.settings.clock().now()}
    return bool(await scene.documents(names.ENROLLMENTS, state="scheduled", due_at=late))


async def test_due_not_sent(scene: Rig, me: Reader) -> None:
    await asyncio.to_thread(scene.segue.processes["sender"].stop)
    (waiting,) = await scene.enroll(await scene.client.publish(sequence("0 minutes")), "unsent")
    await scene.client.reached(waiting, "dispatched")
    await follow(me, "due-not-sent")
    await scene.settled()
    assert scene.mails_to("unsent") == [1]


async def test_stops_slow(scene: Rig, me: Reader) -> None:
    (answered,) = await scene.enroll(
        await scene.client.publish(sequence("0 minutes", "20 days")), "answering"
    )
    sent = await arrived(scene, "answering")
    scene.segue.processes["reply_detector"].pause()
    await scene.client.receive(scene.mailbox, reply(sent, "Yes!", at=scene.settings.clock().now()))
    await follow(me, "stops-slow")
    await scene.client.reached(answered, "stopped")


async def test_stops_unconfirmed(scene: Rig, me: Reader) -> None:
    await asyncio.to_thread(scene.segue.processes["sender"].stop)
    (flying,) = await scene.enroll(await scene.client.publish(sequence("0 minutes")), "flying")
    await scene.client.reached(flying, "dispatched")
    await scene.client.post(f"/v1/enrollments/{flying}/stop")
    await scene.client.reached(flying, "stopped")
    assert (await told(me, "segue-run scheduler standing"))["recalls_owed"] == 1
    await follow(me, "stops-unconfirmed")
    await scene.settled()
    assert scene.mails_to("flying") == [0]


async def test_in_doubt(scene: Rig, me: Reader) -> None:
    scene.mail.answer("doubted@there.example", Cut(recorded=True), times=1)
    (doubted,) = await scene.enroll(await scene.client.publish(sequence("0 minutes")), "doubted")
    await scene.client.reached(doubted, "in_doubt")
    await follow(me, "in-doubt")
    await scene.client.reached(doubted, "finished")
    assert (await told(me, "segue-run sender standing"))["in_doubt"] == 0
    assert scene.mails_to("doubted") == [1]


async def test_consumer_stuck(scene: Rig, me: Reader) -> None:
    scene.segue.processes["sender"].pause()
    await scene.enroll(await scene.client.publish(sequence("0 minutes")), "stuck")
    await follow(me, "consumer-stuck")
    await scene.settled()
    assert scene.mails_to("stuck") == [1]


async def test_poison_message(scene: Rig, me: Reader) -> None:
    await scene.publisher.publish([Record(ENROLLMENT_COMMANDS.name, b"key", b"no command", ())])

    async def listed() -> bool:
        return bool(await asyncio.to_thread(me.run, "segue-run chassis.dead_letters list"))

    await scene.until(listed)
    said = await follow(me, "poison-message")
    assert ": replayed" in said


@pytest.mark.parametrize("page", ["bounce-rate", "complaint-rate", "mailbox-revoked", "cap-starvation"])
async def test_a_mailbox_that_is_held(scene: Rig, me: Reader, page: str) -> None:
    clock, mailbox = scene.settings.clock(), scene.mailbox["id"]
    await scene.publish(
        Hold(
            event_id=uuid4(),
            occurred_at=clock.now(),
            recorded_at=clock.real_now(),
            workspace_id=scene.workspace,
            scope=HoldScope.MAILBOX,
            scope_id=UUID(mailbox),
            reason=page.replace("-", "_"),
        )
    )
    await scene.until(lambda: scene.documents(names.HOLDS, scope_id=UUID(mailbox)))
    await scene.enroll(await scene.client.publish(sequence("0 minutes")), page)
    assert mailbox in (await told(me, "segue-run sender standing"))["mailboxes_held"]
    await follow(me, page)
    await scene.settled()
    assert scene.mails_to(page) == [1]


async def test_provider_down(scene: Rig, me: Reader) -> None:
    people = [f"provider{n}" for n in range(10)]
    for person in people:
        scene.mail.answer(f"{person}@there.example", Refuse(at="rcpt", reply="451 4.3.0 later"), times=2)
    await scene.enroll(await scene.client.publish(sequence("0 minutes")), *people)

    async def put_off() -> bool:
        return len(await scene.documents(names.DELIVERIES, state="deferred")) > 0

    await scene.until(put_off)
    await follow(me, "provider-down")
    await scene.settled()
    assert scene.mails_to(*people) == [1] * len(people)


async def test_clock_wrong(scene: Rig, me: Reader) -> None:
    await follow(me, "clock-wrong")


async def test_broken_enrollment(scene: Rig, me: Reader) -> None:
    (broken,) = await scene.enroll(await scene.client.publish(sequence("0 minutes", IN_AN_HOUR)), "broken")
    await scene.until(lambda: asyncio.sleep(0, scene.mails_to("broken") == [1]))
    enrollments, one = scene.database.collection(names.ENROLLMENTS), {"_id": UUID(broken)}
    await scene.until(lambda: scene.documents(names.ENROLLMENTS, **one, state="scheduled"))
    await enrollments.update_one(one, {"$set": {"stage_index": 99}})
    await scene.until(lambda: scene.documents(names.ENROLLMENTS, **one, broken={"$exists": True}))
    looked = await follow(me, "broken-enrollment", "Look")
    assert broken in looked
    assert "IndexError" in looked
    await enrollments.update_one(one, {"$set": {"stage_index": 1}})  # the release that mends it
    await follow(me, "broken-enrollment", "Do")
    await scene.client.reached(broken, "stopped")
    assert await follow(me, "broken-enrollment", "Over when") == ""


async def test_service_down(scene: Rig, me: Reader) -> None:
    await asyncio.to_thread(scene.segue.processes["api"].kill)
    await follow(me, "service-down")


async def test_stop_everything_and_resume_without_a_burst(scene: Rig, me: Reader) -> None:
    people = [f"p{n}" for n in range(40)]
    await scene.enroll(await scene.client.publish(sequence("0 minutes", "300 minutes")), *people)
    await scene.until(lambda: asyncio.sleep(0, sum(scene.mails_to(*people)) > len(people) // 2))
    hold, *rest = [b for b in blocks_of("stop-everything") if "hold-everything" in b or "scale" in b]
    await asyncio.to_thread(me.run, hold)
    (held,) = await scene.documents(names.HOLDS, scope="operations", workspace_id=scene.workspace)
    await scene.until(lambda: parked(scene))
    after = sum(scene.mails_to(*people))
    for lines in rest:
        assert sum(scene.mails_to(*people)) == after or "lift-everything" in lines
        await asyncio.to_thread(me.run, lines)
    await scene.settled()
    assert scene.mails_to(*people) == [2] * len(people)
    world = await scene.judged()
    assert world.holds[held["_id"]]["lifted_at"] is not None


async def parked(scene: Rig) -> bool:
    """Whether everything that was due waits for the hold."""
    moving = await scene.moving()
    return not any(each.startswith(("dispatched", "in flight")) for each in moving) and bool(
        await scene.documents(names.ENROLLMENTS, parked_by={"$exists": True})
    )


def blocks_of(page: str) -> list[str]:
    return [block.lines for block in blocks(PAGES / f"{page}.md")]


async def test_secrets_and_keys(scene: Rig, me: Reader) -> None:
    for process in scene.segue.processes.values():
        process.env["SEGUE_SECRET_KEYS"] = f"the new key of this test,{process.env['SEGUE_SECRET_KEYS']}"
    await follow(me, "secrets-and-keys")
    assert not any((await told(me, "segue-run api renew-secrets")).values())
    (stopped,) = await scene.enroll(await scene.client.publish(sequence("0 minutes", "20 days")), "rotated")
    raw = reply(await arrived(scene, "rotated"), "Yes!", at=scene.settings.clock().now())
    await scene.client.receive(scene.mailbox, raw)  # signed with a secret that was stored under the old key
    await scene.client.reached(stopped, "stopped")


async def test_region_move(scene: Rig, me: Reader) -> None:
    people = [f"mover{n}" for n in range(20)]
    await scene.enroll(await scene.client.publish(sequence("0 minutes", "20 minutes")), *people)
    await follow(me, "region-move")
    await scene.settled()
    assert scene.mails_to(*people) == [2] * len(people)
