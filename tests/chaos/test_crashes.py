"""Real processes, killed and frozen at the named points of the protocol: nothing lost, nothing doubled."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import email.policy
from email.message import EmailMessage
from typing import Any, Literal
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from chassis import documents as names
from chassis.kafka.connection import client_options
from rig import CALL, Rig, sequence
from segue_contracts import ids
from segue_contracts.events import EnrollmentStop, StopReason
from segue_contracts.message import Scope
from segue_contracts.topics import STAGE_OUTCOMES
from stack.mail_script import Cut, Hang, Refuse
from stack.prospects import reply

pytestmark = pytest.mark.stack

NOW, SOON, LATER = "0 minutes", "10 minutes", "30 days"
FROZEN_SECONDS = 10.0
BULK = 1200
"""More than the API stores at once."""


def crowd(count: int) -> list[str]:
    """Names that no other test has."""
    name = uuid4().hex[:8]
    return [f"p{n}-{name}" for n in range(count)]


def killed_at(scene: Rig, name: str, point: str, nth: int = 1) -> int:
    """Plan the kill; how often the process was started before it."""
    scene.segue.plan_fault(name, point, "kill", nth)
    return scene.segue.processes[name].starts


async def states(scene: Rig, enrollments: list[str], stage: str = "one") -> set[str]:
    return {(await scene.delivery(each, stage))["state"] for each in enrollments}


async def decided(scene: Rig, enrollment: str, decision: str) -> None:
    path = f"/v1/deliveries/{enrollment}:one/decide"
    await scene.done(await scene.client.post(path, {"decision": decision}))


@pytest.mark.parametrize(
    ("process", "point", "count"),
    [
        ("scheduler", "scheduler.after_dispatched", 5),
        ("sender", "sender.after_claim", 5),
        ("sender", "sender.after_record", 1),  # others might be in the middle of their transmission
    ],
)
async def test_a_kill_between_two_steps_loses_and_doubles_nothing(
    scene: Rig, process: str, point: str, count: int
) -> None:
    people = crowd(count)
    before = killed_at(scene, process, point)
    await scene.enroll(await scene.client.publish(sequence(NOW, SOON)), *people)
    await scene.restarted(process, before)
    await scene.settled()
    assert scene.mails_to(*people) == [2] * len(people)


async def test_a_kill_in_transmitting_ends_in_doubt_and_waits_for_a_person(scene: Rig) -> None:
    people = crowd(2)
    chosen = await scene.client.publish(sequence(NOW, SOON))
    enrollments = []
    for person, point in zip(people, ("sender.before_data", "sender.after_250"), strict=True):
        before = killed_at(scene, "sender", point)
        enrollments += await scene.enroll(chosen, person)
        await scene.restarted("sender", before)
    for enrollment in enrollments:
        await scene.client.reached(enrollment, "in_doubt")
    assert scene.mails_to(*people) == [0, 1]
    await decided(scene, enrollments[0], "resend")
    await decided(scene, enrollments[1], "mark_sent")
    await scene.settled()
    assert scene.mails_to(*people) == [2, 2]


async def test_a_kill_while_the_server_has_the_message_ends_in_doubt(scene: Rig) -> None:
    kept, _ = people = crowd(2)
    for person in people:
        hang = Hang(at="after_data", seconds=2, recorded=person == kept)
        scene.mail.answer(f"{person}@there.example", hang)
    enrollments = await scene.enroll(await scene.client.publish(sequence(NOW)), *people)

    async def in_data() -> bool:
        return scene.mails_to(kept) == [1] and await states(scene, enrollments) == {"transmitting"}

    await scene.until(in_data)
    await asyncio.to_thread(scene.segue.processes["sender"].kill)
    for enrollment in enrollments:
        await scene.client.reached(enrollment, "in_doubt")
    assert scene.mails_to(*people) == [1, 0]


async def test_a_release_that_was_never_told_is_told_when_asked_again_and_a_pause_sends_nothing(
    scene: Rig,
) -> None:
    (person,) = people = crowd(1)
    chosen = await scene.client.publish(sequence(NOW))
    sender = scene.segue.processes["sender"]
    sender.pause()
    (enrollment,) = await scene.enroll(chosen, *people)
    await scene.client.reached(enrollment, "dispatched")
    await scene.done(await scene.client.post(f"/v1/sequences/{chosen}/pause"))
    before = killed_at(scene, "sender", "sender.after_release")
    sender.resume()
    await scene.restarted("sender", before)

    async def parked() -> bool:
        return "held" in [h["type"] for h in (await scene.client.enrollment(enrollment))["history"]]

    await scene.until(parked)
    assert scene.mails_to(person) == [0]
    await scene.done(await scene.client.post(f"/v1/sequences/{chosen}/resume"))
    await scene.client.reached(enrollment, "finished")
    assert scene.mails_to(person) == [1]


async def test_a_sender_frozen_between_its_read_and_data_sees_the_stop_that_came_meanwhile(
    scene: Rig,
) -> None:
    stopped, other = people = crowd(2)
    chosen = await scene.client.publish(sequence(NOW))
    sender = scene.segue.processes["sender"]
    scene.segue.plan_fault("sender", "sender.before_data", "stop")
    enrollments = await scene.enroll(chosen, *people)

    async def frozen() -> bool:
        return "transmitting" in await states(scene, enrollments)

    await scene.until(frozen)
    since = asyncio.get_running_loop().time()
    await scene.done(await scene.client.post(f"/v1/enrollments/{enrollments[0]}/stop"))

    async def long_frozen() -> bool:
        return asyncio.get_running_loop().time() - since > FROZEN_SECONDS

    await scene.until(long_frozen)
    scene.segue.forget_faults("sender")
    sender.resume()
    await scene.settled()
    assert scene.mails_to(stopped) == [0]
    if "in_doubt" in await states(scene, enrollments[1:]):  # its deadline passed while it was frozen
        await decided(scene, enrollments[1], "resend")
        await scene.settled()
    assert scene.mails_to(other) == [1]


async def test_a_stop_that_the_detector_published_before_it_was_killed_stops_once(scene: Rig) -> None:
    (person,) = people = crowd(1)
    (enrollment,) = await scene.enroll(await scene.client.publish(sequence(NOW, LATER)), *people)
    (sent,) = await scene.mail.arrived(1, f"{person}@there.example", seconds=30)
    before = killed_at(scene, "reply_detector", "reply_detector.after_stop_publish")
    await scene.client.receive(scene.mailbox, answer_to(scene, sent))
    await scene.restarted("reply_detector", before)
    stopped = await scene.client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "replied"
    await scene.settled()
    assert [h["type"] for h in stopped["history"]].count("stopped") == 1


async def test_an_answer_that_was_stored_before_the_api_was_killed_is_judged(scene: Rig) -> None:
    (person,) = people = crowd(1)
    (enrollment,) = await scene.enroll(await scene.client.publish(sequence(NOW, LATER)), *people)
    (sent,) = await scene.mail.arrived(1, f"{person}@there.example", seconds=30)
    before = killed_at(scene, "api", "api.inbound_stored")
    with pytest.raises(aiohttp.ClientError):
        await scene.client.receive(scene.mailbox, answer_to(scene, sent))
    await scene.restarted("api", before)
    assert (await scene.client.reached(enrollment, "stopped"))["stop"]["reason"] == "replied"


async def test_an_api_killed_in_the_middle_of_a_bulk_may_be_asked_again(scene: Rig) -> None:
    chosen = await scene.client.publish(sequence(LATER))
    people = crowd(BULK)
    rows = "\n".join(f"{p},{p}@there.example" for p in people)
    before = killed_at(scene, "api", "api.command_stored", nth=2)

    async def upload() -> Any:
        path = f"/v1/sequences/{chosen}/enrollments"
        return await scene.client.post_text(path, f"external_id,email\n{rows}\n", "text/csv")

    with pytest.raises(aiohttp.ClientError):
        await upload()
    await scene.restarted("api", before)
    assert len((await upload())["accepted"]) == BULK
    await scene.settled()
    planned = await scene.documents(names.ENROLLMENTS, sequence_id=UUID(chosen), state="scheduled")
    assert sorted(e["external_id"] for e in planned) == sorted(people)


async def test_a_stop_before_its_enroll_leaves_nobody_to_write_to(scene: Rig) -> None:
    (person,) = crowd(1)
    chosen = await scene.client.publish(sequence(NOW))
    enrollment = ids.enrollment_id(scene.workspace, UUID(chosen), person)
    now = scene.settings.clock()
    await scene.publish(
        EnrollmentStop(
            event_id=uuid4(),
            event_type=StopReason.REQUESTED,
            occurred_at=now.now(),
            recorded_at=now.real_now(),
            workspace_id=scene.workspace,
            scope=Scope.ENROLLMENT,
            enrollment_id=enrollment,
            reason_code="hired",
        )
    )
    await scene.until(lambda: scene.documents(names.ENROLLMENTS, _id=enrollment, tombstone=True))
    assert [r["code"] for r in await scene.client.refusal(chosen, person)] == ["stopped"]
    assert scene.mails_to(person) == [0]


async def test_a_task_that_was_done_goes_on_although_its_outcome_was_lost(scene: Rig) -> None:
    (person,) = people = crowd(1)
    (enrollment,) = await scene.enroll(await scene.client.publish(sequence(NOW, before=CALL)), *people)
    await scene.client.reached(enrollment, "awaiting_task")
    scheduler = scene.segue.processes["scheduler"]
    scheduler.pause()
    try:
        lost = Outcomes(scene)
        await scene.until(lost.nobody_reads)
        ends = await lost.ends()
        await scene.client.post(f"/v1/tasks/{enrollment}:ring/done", {"result": "reached"})

        async def told() -> bool:
            return await lost.ends() != ends

        await scene.until(told)
        await lost.delete()
    finally:
        scheduler.resume()
    await scene.client.reached(enrollment, "finished")
    assert scene.mails_to(person) == [1]


async def test_a_4xx_is_tried_again_and_sent_once(scene: Rig) -> None:
    people = crowd(2)
    places: tuple[Literal["rcpt", "data"], ...] = ("rcpt", "data")
    for person, at in zip(people, places, strict=True):
        scene.mail.answer(f"{person}@there.example", Refuse(at=at, reply="451 4.3.0 later"), times=1)
    await scene.enroll(await scene.client.publish(sequence(NOW)), *people)
    await scene.settled()
    assert scene.mails_to(*people) == [1, 1]


async def test_a_connection_cut_after_the_dot_is_in_doubt_and_never_silently_resent(scene: Rig) -> None:
    kept, _ = people = crowd(2)
    for person in people:
        scene.mail.answer(f"{person}@there.example", Cut(recorded=person == kept), times=1)
    for enrollment in await scene.enroll(await scene.client.publish(sequence(NOW)), *people):
        await scene.client.reached(enrollment, "in_doubt")
    assert scene.mails_to(*people) == [1, 0]


def answer_to(scene: Rig, sent: Any) -> bytes:
    """What the person writes back."""
    found = email.message_from_bytes(scene.mail.maildir.content(sent), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return reply(found, "Yes, let us talk!", at=scene.settings.clock().now())


class Outcomes:
    """The topic of outcomes as an operator sees it, who may lose what is in it."""

    def __init__(self, scene: Rig) -> None:
        self._settings = scene.settings
        prefix = scene.settings.kafka_topic_prefix
        self._group = f"{prefix}segue.scheduler.outcomes"
        self._partitions = [
            TopicPartition(prefix + STAGE_OUTCOMES.name, n) for n in range(STAGE_OUTCOMES.partitions)
        ]

    async def nobody_reads(self) -> bool:
        """Whether the group has thrown out its frozen member, whose last fetch is answered by then."""
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            (answer,) = await admin.describe_consumer_groups([self._group])
            (group,) = answer.to_object()["groups"]
            return bool(group["state"] == "Empty")
        finally:
            await admin.close()

    async def ends(self) -> dict[Any, int]:
        """Where each partition ends."""
        consumer = AIOKafkaConsumer(**client_options(self._settings))
        await consumer.start()
        try:
            found: dict[Any, int] = await consumer.end_offsets(self._partitions)
            return found
        finally:
            await consumer.stop()

    async def delete(self) -> None:
        """Lose every outcome that is there."""
        admin = AIOKafkaAdminClient(**client_options(self._settings))
        await admin.start()
        try:
            await admin.delete_records({p: RecordsToDelete(end) for p, end in (await self.ends()).items()})
        finally:
            await admin.close()
