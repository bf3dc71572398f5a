"""Users hear of their tasks by real mail and a real webhook: once, in their hours, whatever fails."""

import asyncio
import email
import email.policy
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from email.message import EmailMessage
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from chassis import documents as names
from chassis.kafka import ensure_topics
from chassis.migrations import build
from chassis.prompting import PromptWishes
from chassis.settings import ServiceSettings
from chassis.testing import FrozenClock
from scheduler.testing import received
from segue_contracts import ids
from segue_contracts.commands import TaskReassign, TaskSnooze
from segue_contracts.events import Outcome, StageDue, TaskNotification
from segue_contracts.topics import TOPICS
from sender.migrations import SCHEMA
from sender.settings import SenderSettings
from sender.smtp_pool import Pool
from sender.wiring import assemble
from stack.client import eventually
from stack.mail_script import Cut, Refuse
from stack.ports import free_port
from stack.processes import Process
from stack.sending import SETTINGS, Capturing, World, a_world
from stack.smtp import SmtpServer
from stack.texts import Says, TextServer

pytestmark = pytest.mark.stack

ANA = "ana@ourco.example"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ALWAYS = PromptWishes(zone="UTC", workdays=tuple(range(7)), quiet=None)


@dataclass
class Desk:
    """Ana, whose tasks a sender tells her of; the clock stands at noon of a Monday until it is moved."""

    world: World
    hook: TextServer
    settings: SenderSettings
    clock: FrozenClock = field(default_factory=FrozenClock)
    published: Capturing = field(default_factory=Capturing)

    def __post_init__(self) -> None:
        pool = Pool("sender.example")
        self.sender = assemble(self.settings, self.clock, self.world.database, self.published, pool)

    async def furnish(self, wishes: PromptWishes | None = None, *, overdue: str = "notify") -> None:
        await self.user(self.world.owner, ANA, "Ana", wishes)
        await self.world.collection(names.SEQUENCE_VERSIONS).update_one(
            {"workspace_id": self.world.workspace},
            {"$set": {"document.stages.2.overdue": {"after": "2 hours", "do": overdue}}},
        )
        await build(self.world.database, SCHEMA)

    async def user(self, user_id: UUID, address: str, name: str, wishes: PromptWishes | None) -> None:
        user = {"_id": user_id, "workspace_id": self.world.workspace, "email": address, "name": name}
        kept = {"prompts": wishes.data()} if wishes else {}
        await self.world.collection(names.USERS).insert_one({**user, **kept})

    async def hooked(self) -> None:
        hook = {"url": f"{self.hook.url}/segue", "secret": self.world.secrets.encrypt(SECRET)}
        await self.world.collection(names.WORKSPACES).update_one(
            {"_id": self.world.workspace}, {"$set": {"prompt_hook": hook}}
        )

    async def task(self) -> UUID:
        """A call to make, opened now."""
        enrollment = await self.world.dispatch("ring")
        common = {"event_id": uuid4(), "occurred_at": self.clock.now(), "recorded_at": self.clock.now()}
        due = StageDue(
            **common,
            workspace_id=self.world.workspace,
            enrollment_id=enrollment,
            stage_id="ring",
            attempt=1,
            due_at=self.clock.now(),
        )
        await self.sender.on_stage_due([received(due)])
        await self.sender.work.quiet()
        return enrollment

    async def command(self, kind: Any, enrollment: UUID, **more: Any) -> None:
        now, dispatch = self.clock.now(), ids.dispatch_id(enrollment, "ring")
        common = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "dispatch_id": dispatch}
        command = kind(**common, workspace_id=self.world.workspace, **more)
        await self.sender.on_commands([received(command)])

    async def sweep(self, **passed: float) -> None:
        """Let time pass, then look."""
        self.clock.advance(**passed)
        await self.sender.prompter.sweep()

    def mails(self, to: str = ANA) -> list[EmailMessage]:
        smtp = self.world.smtp
        contents = [smtp.content(each) for each in smtp.messages(to)]
        return [email.message_from_bytes(each, policy=email.policy.default) for each in contents]

    def subjects(self, to: str = ANA) -> list[str]:
        return [str(each["Subject"]) for each in self.mails(to)]

    def heard(self) -> list[dict[str, Any]]:
        return [json.loads(each.raw) for each in self.hook.arrived]


@pytest.fixture
async def desk(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[Desk]:
    async with a_world(mongodb_uri, smtp_server) as world, TextServer() as hook:
        settings = SenderSettings(
            mongodb_uri=SecretStr(mongodb_uri),
            public_url="https://segue.example",
            notify_smtp_host=smtp_server.host,
            notify_smtp_port=smtp_server.port,
            notify_smtp_security="none",
            notify_from="segue@ourco.example",
            allowed_private_networks=(ip_network("127.0.0.0/8"),),
            **SETTINGS,
        )
        built = Desk(world, hook, settings)
        yield built
        await built.sender.prompter.close()
        await built.sender.sms.close()


# ---- digests ----


async def test_a_digest_lists_what_waits_and_comes_once_a_day(desk: Desk) -> None:
    await desk.furnish(overdue="wait")
    late = await desk.task()
    await desk.sweep(days=1, hours=-5)  # Tuesday, 07:00
    assert desk.mails() == []
    fresh = await desk.task()
    await asyncio.gather(*(desk.sender.prompter.sweep() for _ in range(2)))
    await desk.sweep(hours=2)  # 09:00
    await asyncio.gather(*(desk.sweep(hours=1) for _ in range(3)))
    [mail] = desk.mails()
    assert (mail["Subject"], mail["From"], mail["Auto-Submitted"]) == (
        "2 tasks for you, 1 overdue",
        "Segue <segue@ourco.example>",
        "auto-generated",
    )
    text = mail.get_content()
    assert f"https://segue.example/tasks/{late}:ring" in text
    assert text.index(str(late)) < text.index(str(fresh))
    assert "Call Anna (Backend engineers), overdue since Mon 02 Mar, 14:00" in text
    await desk.sweep(days=1)
    assert len(desk.mails()) == 2


async def test_a_day_without_tasks_has_no_digest_also_when_one_comes_up_later(desk: Desk) -> None:
    await desk.furnish()
    await desk.sweep()
    await desk.task()
    await desk.sweep()
    assert desk.mails() == []


async def test_everybody_hears_of_their_own_tasks_alone(desk: Desk) -> None:
    await desk.furnish()
    ben = uuid4()
    await desk.user(ben, "ben@ourco.example", "Ben", None)
    hers, his = await desk.task(), await desk.task()
    await desk.command(TaskReassign, his, assignee_id=ben)
    await desk.sweep()
    [to_ana], [to_ben] = desk.mails(), desk.mails("ben@ourco.example")
    assert str(hers) in to_ana.get_content()
    assert str(his) not in to_ana.get_content()
    assert str(his) in to_ben.get_content()
    assert str(hers) not in to_ben.get_content()


async def test_who_wants_no_digest_and_tasks_that_sleep_are_left_alone(desk: Desk) -> None:
    await desk.furnish(PromptWishes(digest=False))
    ben = uuid4()
    await desk.user(ben, "ben@ourco.example", "Ben", None)
    await desk.task()
    asleep = await desk.task()
    await desk.command(TaskReassign, asleep, assignee_id=ben)
    await desk.command(TaskSnooze, asleep, until=desk.clock.now() + timedelta(days=3))
    await desk.sweep()
    assert desk.mails() == desk.mails("ben@ourco.example") == []


# ---- tasks that come up ----


async def test_a_task_that_comes_up_is_told_at_once_to_who_wants_it_and_after_the_quiet(desk: Desk) -> None:
    await desk.furnish(PromptWishes(digest=False, when_due=True, zone="UTC"), overdue="wait")
    await desk.task()
    await desk.sweep()
    await desk.sweep()
    assert desk.subjects() == ["New task: Call Anna"]
    await desk.sweep(hours=8)  # 20:00: quiet
    asleep = await desk.task()
    await desk.command(TaskSnooze, asleep, until=desk.clock.now() + timedelta(hours=1))
    await desk.sweep(hours=2)
    assert len(desk.mails()) == 1
    await desk.sweep(hours=9)  # Tuesday, 07:00
    await desk.sweep()
    assert len(desk.mails()) == 2


# ---- overdue ----


async def test_an_overdue_task_is_told_in_the_story_and_every_day_for_a_week_to_its_assignee(
    desk: Desk,
) -> None:
    await desk.furnish(PromptWishes(digest=False, zone="UTC", workdays=tuple(range(7)), quiet=None))
    enrollment = await desk.task()
    await desk.sweep(minutes=119)
    assert desk.published.kinds() == ["task_opened"]
    for _ in range(10):
        await desk.sweep(days=1)
        await desk.sweep()
    assert desk.published.kinds() == ["task_opened", "task_overdue"]
    told = [each for each in desk.published.messages if isinstance(each, TaskNotification)]
    assert [each.times for each in told] == list(range(1, 8))
    assert {(each.enrollment_id, each.assignee_id) for each in told} == {(enrollment, desk.world.owner)}
    assert desk.subjects() == ["Overdue: Call Anna"] * 7


async def test_with_wait_only_the_story_says_that_a_task_is_overdue(desk: Desk) -> None:
    await desk.furnish(PromptWishes(digest=False), overdue="wait")
    await desk.task()
    await desk.sweep(hours=3)
    assert desk.published.last().event_type is Outcome.TASK_OVERDUE
    assert not any(isinstance(each, TaskNotification) for each in desk.published.messages)
    assert desk.mails() == []


async def test_what_kafka_did_not_take_is_told_at_the_next_look(desk: Desk) -> None:
    await desk.furnish(ALWAYS)
    await desk.task()
    desk.published.failures = 10
    with pytest.raises(Exception, match="no broker"):
        await desk.sweep(hours=3)
    desk.published.failures = 0
    await desk.sweep()
    assert desk.published.last().event_type is Outcome.TASK_OVERDUE


# ---- the webhook ----


async def test_a_webhook_is_signed_names_nobody_and_is_asked_again_under_the_same_id(desk: Desk) -> None:
    await desk.furnish()
    await desk.hooked()
    desk.hook.answers += [Says(500), Says(503)]
    enrollment = await desk.task()
    for _ in range(4):
        await desk.sweep(minutes=5)
    [arrived] = desk.hook.arrived
    assert desk.hook.requests == 3
    headers = {name.lower(): value for name, value in arrived.headers.items()}
    assert headers["webhook-id"] == f"digest/{desk.world.owner}/2026-03-02/webhook"
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    expected = Webhook(SECRET).sign(headers["webhook-id"], at, arrived.raw.decode())
    assert headers["webhook-signature"] == expected
    [said] = desk.heard()
    assert (said["type"], said["data"]["email"], said["data"]["total"]) == ("tasks.digest", ANA, 1)
    assert said["data"]["tasks"][0]["dispatch_id"] == f"{enrollment}:ring"
    assert b"Anna" not in arrived.raw


async def test_a_webhook_inside_our_own_network_is_never_called(desk: Desk) -> None:
    desk = Desk(desk.world, desk.hook, desk.settings.model_copy(update={"allowed_private_networks": ()}))
    await desk.furnish()
    await desk.hooked()
    await desk.task()
    await desk.sweep()
    assert (desk.hook.requests, len(desk.mails())) == (0, 1)
    await desk.sender.prompter.close()


# ---- what fails ----


async def test_a_mail_server_that_is_away_for_a_while_loses_and_doubles_nothing(desk: Desk) -> None:
    await desk.furnish()
    await desk.task()
    desk.world.smtp.answer(ANA, Refuse(reply="451 4.3.0 Not now"), times=2)
    for _ in range(4):
        await desk.sweep(minutes=10)
    assert len(desk.mails()) == 1


async def test_a_mail_in_doubt_is_sent_again_as_the_same_message_and_not_for_ever(desk: Desk) -> None:
    await desk.furnish(overdue="wait")
    await desk.task()
    desk.world.smtp.answer(ANA, Cut(recorded=True))
    for _ in range(8):
        await desk.sweep(minutes=30)
    assert len(desk.mails()) == 3
    assert len({each["Message-ID"] for each in desk.mails()}) == 1
    prompts = await desk.world.collection(names.PROMPTS).find({"way": "mail"})
    assert [each["state"] for each in prompts] == ["failed"]


async def test_an_address_that_the_server_refuses_is_given_up(desk: Desk) -> None:
    await desk.furnish()
    await desk.task()
    desk.world.smtp.answer(ANA, Refuse())
    await desk.sweep()
    prompts = await desk.world.collection(names.PROMPTS).find({"way": "mail"})
    assert [(each["state"], "next_at" in each) for each in prompts] == [("failed", False)]


# ---- the process ----


@asynccontextmanager
async def a_process(
    world: World, kafka_bootstrap: str, mongodb_uri: str, folder: Path
) -> AsyncIterator[Process]:
    run, port = uuid4().hex[:12], free_port()
    database = world.database.name
    environment = {
        "SEGUE_REDELIVERY_SECONDS": "5",
        "SEGUE_CLAIM_LEASE_SECONDS": "4",
        "SEGUE_SMTP_TOTAL_SECONDS": "2.5",
        "SEGUE_BATCH_SECONDS": "1",
        "SEGUE_ROOM_SECONDS": "0.5",
        "SEGUE_DOUBT_MARGIN_SECONDS": "0.2",
        "SEGUE_SHUTDOWN_SECONDS": "15",
        "SEGUE_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "SEGUE_KAFKA_TOPIC_PREFIX": f"{run}.",
        "SEGUE_MONGODB_URI": mongodb_uri,
        "SEGUE_MONGODB_DATABASE": database,
        "SEGUE_SECRET_KEYS": SETTINGS["secret_keys"].get_secret_value(),
        "SEGUE_HTTP_PORT": str(port),
        "SEGUE_ALLOW_FAULTS": "1",
        "SEGUE_NOTIFY_SMTP_HOST": world.smtp.host,
        "SEGUE_NOTIFY_SMTP_PORT": str(world.smtp.port),
        "SEGUE_NOTIFY_SMTP_SECURITY": "none",
        "SEGUE_NOTIFY_FROM": "segue@ourco.example",
    }
    process = Process(
        "sender",
        [sys.executable, "-m", "sender"],
        log_folder=folder,
        env=environment,
    )
    settings = ServiceSettings(
        kafka_bootstrap_servers=kafka_bootstrap,
        kafka_topic_prefix=f"{run}.",
        mongodb_uri=SecretStr(mongodb_uri),
        mongodb_database=database,
    )
    await ensure_topics(settings, TOPICS)
    try:
        yield process
    finally:
        await asyncio.to_thread(process.kill)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "mails"),
    [("sender.prompt_journaled", 1), ("sender.prompt_sent", 2)],
)
async def test_killed_in_the_middle_a_digest_is_not_lost_and_doubled_only_where_it_was_in_doubt(
    desk: Desk, kafka_bootstrap: str, mongodb_uri: str, tmp_path: Path, point: str, mails: int
) -> None:
    await desk.furnish(replace(ALWAYS, digest_at=time(0)), overdue="wait")
    await desk.task()
    async with a_process(desk.world, kafka_bootstrap, mongodb_uri, tmp_path) as process:
        process.env["SEGUE_FAULTS"] = json.dumps({point: "kill"})
        await asyncio.to_thread(process.launch)
        assert await asyncio.to_thread(process.wait, 45) == -signal.SIGKILL
        process.env["SEGUE_FAULTS"] = "{}"
        await asyncio.to_thread(process.launch)

        async def states() -> list[str]:
            found = await desk.world.collection(names.PROMPTS).find({"way": "mail"})
            return [each["state"] for each in found]

        assert await eventually(states, until=lambda each: each == ["sent"], seconds=60)
    assert len(desk.mails()) == mails
    assert len({each["Message-ID"] for each in desk.mails()}) == 1
