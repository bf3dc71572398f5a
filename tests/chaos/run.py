"""Random schedules of every fault over a crowd: the same seed is the same schedule, and the judge decides.

`python tests/chaos/run.py --seed N --runs K` plays the seeds N .. N+K-1 and exits 1 at the first broken
promise, with the schedule and the violations; the same seed alone plays that schedule again.
"""

import argparse
import asyncio
import email.policy
import logging
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import aiohttp

from chassis import documents as names
from chassis.errors import Retry
from invariants import counts, violations
from rig import CALL, Rig, broken_in, open_office, rig, sequence
from segue_contracts import ids
from segue_contracts.events import EnrollmentStop, StopReason
from segue_contracts.message import Scope
from stack.brokers import Brokers
from stack.client import Refused
from stack.local_kafka import LocalKafka
from stack.local_mongo import LocalMongo
from stack.mail_script import Answer, Cut, Hang, Refuse
from stack.prospects import reply
from stack.smtp import SmtpServer
from world import World, gather

PEOPLE = 200
SECONDS = 20.0
END_SECONDS = 150.0
INSIST_SECONDS = 60.0
LOOK_SECONDS = 0.5
PAIRS = {"scheduler": 2, "sender": 2}
PROCESSES = ("scheduler", "scheduler-2", "sender", "sender-2", "reply_detector", "api")
POINTS = {
    "scheduler": ("scheduler.after_dispatched",),
    "sender": (
        "sender.after_claim",
        "sender.after_release",
        "sender.after_journal",
        "sender.before_data",
        "sender.after_250",
        "sender.after_record",
    ),
    "reply_detector": ("reply_detector.after_stop_publish",),
    "api": ("api.command_stored", "api.inbound_stored"),
}
COURSES = {
    "mails": sequence("0 minutes", "20 minutes", "20 minutes"),
    "calls": sequence("0 minutes", before=CALL),
    "later": sequence("0 minutes", "30 days"),
}
DECISIONS = ("resend", "mark_sent", "skip_stage", "stop")
ANSWERS: tuple[Answer, ...] = (
    Refuse(at="rcpt", reply="451 4.3.0 later"),
    Refuse(at="data", reply="451 4.3.0 later"),
    Refuse(at="rcpt", reply="550 5.1.1 no such user"),
    Cut(recorded=True),
    Cut(recorded=False),
    Hang(at="before_data", seconds=1),
    Hang(at="after_data", seconds=2),
    Hang(at="after_data", seconds=5),
    Hang(at="after_data", seconds=2, recorded=False),
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens `at` seconds after the beginning, to `who`."""

    at: float
    what: str
    who: str = ""
    more: str = ""

    def __str__(self) -> str:
        return f"{self.at:6.2f} {self.what} {self.who} {self.more}".rstrip()


def schedule(seed: int, people: int = PEOPLE, seconds: float = SECONDS) -> list[Act]:
    """What happens in the run of a seed, in order."""
    chance = random.Random(seed)
    crowd = [f"p{n}" for n in range(people)]
    acts = [Act(chance.uniform(0, seconds * 0.6), "enroll", p, chance.choice(list(COURSES))) for p in crowd]
    # They come in waves, as lists do.
    acts = [Act(round(a.at / seconds * 10) * seconds / 10, a.what, a.who, a.more) for a in acts]
    for person in chance.sample(crowd, people // 10):
        acts.append(Act(0.0, "script", person, str(chance.randrange(len(ANSWERS)))))
    for what, share in (("reply", 8), ("stop", 12), ("stop_first", 25)):
        acts += [Act(chance.uniform(0, seconds), what, p) for p in chance.sample(crowd, people // share)]
    for course in COURSES:
        begins = chance.uniform(0, seconds * 0.7)
        acts += [Act(begins, "pause", course), Act(begins + chance.uniform(0.5, 4), "resume", course)]
    acts += _harm(chance, seconds)
    return sorted(acts, key=lambda a: a.at)


def _harm(chance: random.Random, seconds: float) -> list[Act]:
    """What is done to processes and brokers."""
    acts = []
    for _ in range(chance.randint(4, 8)):
        victim = chance.choice(PROCESSES)
        if chance.random() < 0.4:
            acts.append(Act(chance.uniform(0, seconds), "kill", victim))
        else:
            point = chance.choice(POINTS[victim.partition("-")[0]])
            acts.append(Act(chance.uniform(0, seconds), "kill_at", victim, point))
    for _ in range(chance.randint(1, 2)):
        begins, victim = chance.uniform(0, seconds * 0.7), chance.choice(("sender", "sender-2"))
        acts += [Act(begins, "freeze", victim), Act(begins + chance.uniform(1, 10), "thaw", victim)]
    kafka = chance.choice(("", "kill_kafka", "wipe_kafka"))
    return [*acts, Act(chance.uniform(seconds * 0.2, seconds * 0.8), kafka)] if kafka else acts


class Storm:
    """One run: plays its acts, heals everything, lets it end, and has it judged."""

    def __init__(self, scene: Rig, kafka: LocalKafka, seed: int) -> None:
        self._scene = scene
        self._kafka = kafka
        self._chance = random.Random(f"people of {seed}")
        self._sequences: dict[str, str] = {}
        self._enrollments: dict[str, str] = {}
        self._courses: dict[str, str] = {}
        self._stops: list[EnrollmentStop] = []
        self._wiped = False

    async def play(self, acts: Sequence[Act]) -> World:
        """The world at the end."""
        self._sequences = {name: await self._scene.client.publish(text) for name, text in COURSES.items()}
        self._courses = {act.who: act.more for act in acts if act.what == "enroll"}
        began = time.monotonic()
        for wave in _waves(acts):
            await asyncio.sleep(max(0.0, began + wave[0].at - time.monotonic()))
            await self._do(wave)
        await self._heal()
        await self._end()
        if self._wiped:
            await asyncio.to_thread(replay_everything, self._scene)
        return await gather(self._scene.settings, self._scene.mail.maildir.folder)

    async def _do(self, wave: Sequence[Act]) -> None:
        act = wave[0]
        processes, client = self._scene.segue.processes, self._scene.client
        match act.what:
            case "enroll":
                await self._enroll([each.who for each in wave], act.more)
            case "script":
                self._scene.mail.answer(f"{act.who}@there.example", ANSWERS[int(act.more)], times=1)
            case "reply":
                await self._reply(act.who)
            case "stop" if (enrollment := self._enrollments.get(act.who)) is not None:
                await insist(lambda: client.post(f"/v1/enrollments/{enrollment}/stop"))
            case "stop_first" if act.who not in self._enrollments:
                self._stops.append(self._early_stop(act.who))
                await self._tell_stops()
            case "pause" | "resume":
                await insist(lambda: client.post(f"/v1/sequences/{self._sequences[act.who]}/{act.what}"))
            case "kill":
                await asyncio.to_thread(processes[act.who].kill)
            case "kill_at":
                self._scene.segue.plan_fault(act.who, act.more)
            case "freeze":
                processes[act.who].pause()
            case "thaw":
                processes[act.who].resume()
            case "kill_kafka" | "wipe_kafka":
                await asyncio.to_thread(self._kill_kafka, act.what == "wipe_kafka")

    async def _enroll(self, people: Sequence[str], course: str) -> None:
        accepted = await insist(lambda: self._scene.enroll(self._sequences[course], *people))
        self._enrollments.update(zip(people, accepted, strict=True))

    async def _reply(self, person: str) -> None:
        mails = self._scene.mail.messages(f"{person}@there.example")
        if not mails:
            return
        content = self._scene.mail.maildir.content(mails[-1])
        sent = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(sent, EmailMessage)
        raw = reply(sent, "Yes, let us talk!", at=self._scene.settings.clock().now())
        await insist(lambda: self._scene.client.receive(self._scene.mailbox, raw))

    def _early_stop(self, person: str) -> EnrollmentStop:
        clock, scene = self._scene.settings.clock(), self._scene
        chosen = UUID(self._sequences[self._courses[person]])
        return EnrollmentStop(
            event_id=uuid4(),
            event_type=StopReason.REQUESTED,
            occurred_at=clock.now(),
            recorded_at=clock.real_now(),
            workspace_id=scene.workspace,
            scope=Scope.ENROLLMENT,
            enrollment_id=ids.enrollment_id(scene.workspace, chosen, person),
            reason_code="hired",
        )

    async def _tell_stops(self) -> None:
        """Whoever puts a stop on Kafka repeats it until it has ended what it is about."""
        if self._stops:
            await insist(lambda: self._scene.publish(*self._stops))

    def _kill_kafka(self, wipe: bool) -> None:
        self._kafka.kill()
        if wipe:
            self._wiped = True
            self._kafka.wipe()
        self._kafka.start()

    async def _heal(self) -> None:
        for name, process in self._scene.segue.processes.items():
            process.resume()
            self._scene.segue.forget_faults(name)
        for course in COURSES:
            await self._do([Act(0.0, "resume", course)])

    async def _end(self) -> None:
        """People do what waits for them, until nothing does and nothing moves."""
        ends = time.monotonic() + END_SECONDS
        while waiting := [*await self._waiting(), *await self._scene.moving()]:
            assert time.monotonic() < ends, f"after {END_SECONDS} s still: {waiting[:20]}"
            await self._tell_stops()
            await self._stand_in()
            await asyncio.sleep(LOOK_SECONDS)

    async def _waiting(self) -> list[str]:
        found = await self._scene.documents(names.ENROLLMENTS, state={"$in": ["awaiting_task", "in_doubt"]})
        return [f"{e['state']} {e['_id']}" for e in found]

    async def _stand_in(self) -> None:
        """Every open task is done, every doubt decided."""
        for delivery in await self._scene.documents(
            names.DELIVERIES, state={"$in": ["task_open", "in_doubt"]}
        ):
            path = f"/v1/tasks/{delivery['_id']}/done"
            body = {"result": "reached"}
            if delivery["state"] == "in_doubt":
                path, body = (
                    f"/v1/deliveries/{delivery['_id']}/decide",
                    {"decision": self._chance.choice(DECISIONS)},
                )
            try:
                await self._scene.client.post(path, body)
            except (Refused, aiohttp.ClientError):
                continue  # decided meanwhile, or the api is away; the next look tells


def _waves(acts: Sequence[Act]) -> list[list[Act]]:
    """Enrolls of one instant and course together, everything else alone."""
    waves: dict[object, list[Act]] = {}
    for n, act in enumerate(acts):
        waves.setdefault((act.at, act.more) if act.what == "enroll" else n, []).append(act)
    return list(waves.values())


async def insist(work: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the other side is away, as every client should."""
    ends = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            return await work()
        except (aiohttp.ClientError, TimeoutError, Retry):
            if time.monotonic() > ends:
                raise
        except Refused as refused:
            if refused.status < 500 or time.monotonic() > ends:
                raise
        await asyncio.sleep(LOOK_SECONDS)


def replay_everything(scene: Rig) -> int:
    """Write every event again, from the documents, as an operator does; how many."""
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)
    command = [sys.executable, "-m", "scheduler", "replay"]
    command += ["--since", since.isoformat(), "--until", until.isoformat()]
    done = subprocess.run(
        command, env=dict(scene.segue.environment), capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])


async def storm(
    seed: int,
    kafka: LocalKafka,
    mongodb: str,
    folder: Path,
    *,
    people: int = PEOPLE,
    seconds: float = SECONDS,
) -> World:
    """Play the schedule of a seed; the world that it leaves. `kafka` may be killed and wiped."""
    own = Brokers(kafka=kafka.address, mongodb=mongodb, local_kafka=kafka)
    with SmtpServer(folder / "mail") as mail, broken_in(folder, own, instances=PAIRS) as segue:
        async with rig(segue, mail, await open_office(segue, mail)) as scene:
            return await Storm(scene, kafka, seed).play(schedule(seed, people, seconds))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--runs", type=int, default=1, help="how many seeds, one after another")
    parser.add_argument("--people", type=int, default=PEOPLE)
    parser.add_argument("--folder", type=Path, help="keep logs, mails and data there")
    given = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers that go away are the point
    with tempfile.TemporaryDirectory(prefix="segue-chaos-") as temporary:
        folder: Path = given.folder or Path(temporary)
        kafka, mongo = LocalKafka(folder), LocalMongo(folder)
        try:
            kafka.start()
            mongo.start()
            for seed in range(given.seed, given.seed + given.runs):
                if not passes(seed, kafka, mongo.uri, folder / str(seed), given.people):
                    return 1
        finally:
            kafka.stop()
            mongo.stop()
    return 0


def passes(seed: int, kafka: LocalKafka, mongodb: str, folder: Path, people: int) -> bool:
    """Play a seed and print how it ended; whether every promise was kept."""
    began = time.monotonic()
    try:
        world = asyncio.run(storm(seed, kafka, mongodb, folder, people=people))
        wrong = [str(violation) for violation in violations(world)]
    except AssertionError as error:
        wrong = [str(error)]
    if not wrong:
        print(f"seed {seed}: {counts(world)} · {time.monotonic() - began:.0f} s", flush=True)
        return True
    print(*wrong, f"seed {seed}: {len(wrong)} violations in this schedule:", sep="\n")
    print(*schedule(seed, people), sep="\n")
    return False


if __name__ == "__main__":
    sys.exit(main())
