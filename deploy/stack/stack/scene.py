"""A week at a recruiter's desk, played over the services at a fixed date: what the dashboard's pages show."""

import contextlib
import email
import email.policy
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from api.checking import Checker
from api.model import message_of
from api.testing import LOCAL, Served
from chassis import documents as names
from chassis.desk import Desk
from chassis.health import Health, listening
from chassis.inbound import Inbound, inbound_document
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.settings import HttpSettings
from chassis.testing import FrozenClock
from reply_detector.classify import classify
from reply_detector.migrations import SCHEMA as DETECTOR_SCHEMA
from reply_detector.settings import DetectorSettings
from reply_detector.wiring import Parts as DetectorParts
from reply_detector.wiring import assemble as detector_over
from scheduler.testing import received
from scheduler.wiring import open_desk
from segue_contracts.events import EnrollmentStop
from segue_contracts.message import Message
from segue_contracts.topics import DELIVERY_COMMANDS, ENROLLMENT_COMMANDS, STAGE_DUE
from stack import prospects
from stack.carried import COMMON, Carried, carried
from stack.demo.cast import PROSPECTS
from stack.mail_script import Cut, Refuse
from stack.ports import free_port

BEGIN: Final = datetime(2030, 3, 4, 7, 30, tzinfo=UTC)
"""A Monday. Later than any run, so that MongoDB, which goes by its own clock, deletes nothing meanwhile."""
NOW: Final = datetime(2030, 3, 12, 9, 40, tzinfo=UTC)
TOGETHER: Final = timedelta(minutes=10)
"""What is due within it goes out in one step."""

PAGES: Final[Mapping[str, str]] = {
    "today": "/",
    "tasks": "/tasks",
    "tasks-everybody": "/tasks?tab=everybody",
    "task": "/tasks/{task}",
    "doubts": "/doubts",
    "answers": "/answers",
    "answer": "/answers/{answer}",
    "sequences": "/sequences",
    "sequence": "/sequences/{sequence}",
    "person": "/enrollments/{enrollment}",
    "editor": "/sequences/{sequence}/edit",
    "editor-new": "/sequences/new",
    "versions": "/sequences/{sequence}/versions",
    "apply": "/sequences/{sequence}/apply",
    "sharing": "/sequences/{sequence}/sharing",
    "archive": "/sequences/{sequence}/archive",
    "enroll": "/sequences/{sequence}/enroll",
    "review": "/lists/{list}",
    "review-person": "/lists/{list}/rows/6",
    "stats": "/stats",
    "mailboxes": "/mailboxes",
    "mailbox": "/mailboxes/{mailbox}",
    "mailbox-settings": "/mailboxes/{mailbox}/settings",
    "mailbox-new": "/mailboxes/new",
    "numbers": "/numbers",
    "suppressions": "/suppressions",
    "settings": "/settings",
    "settings-workspace": "/settings/workspace",
    "settings-holidays": "/settings/holidays",
    "settings-footer": "/settings/footer",
    "settings-rules": "/settings/rules",
    "settings-people": "/settings/people",
    "settings-colleague": "/settings/people/{colleague}",
    "settings-keys": "/settings/keys",
    "settings-tokens": "/settings/tokens",
    "settings-signing": "/settings/signing",
    "settings-webhooks": "/settings/webhooks",
    "settings-webhook": "/settings/webhooks/{webhook}",
    "settings-task-webhook": "/settings/webhook",
    "settings-attachments": "/settings/attachments",
    "settings-audit": "/settings/audit",
    "reference": "/reference",
    "reference-webhooks": "/reference/webhooks",
}
"""Each page by a name, with the words of `Scene.ids` in its path."""

BACKEND: Final[dict[str, Any]] = {
    "name": "Backend engineers, Berlin",
    "tags": ["backend", "berlin"],
    "access": "shared",
    "mailbox": "ana@ourco.example",
    "tokens": {"role": "Backend Engineer", "city": "Berlin"},
    "timing": {
        "zone": "prospect",
        "fallback_zone": "Europe/Berlin",
        "windows": {"mon-fri": ["09:00-17:30"]},
        "holidays": {"of": "prospect"},
    },
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "{{first_name|Hi}}: {{role}} in {{city}}, four days a week",
            "text": "Hi {{first_name|there}},\n\nwe look for a {{role}}, and what you do at "
            "{{company|your company}} reads like it.\nWould you have a quarter of an hour this week?\n\nAna",
        },
        {
            "id": "nudge",
            "channel": "email",
            "after": "3 business days",
            "at": "09:00-11:00",
            "text": "Hi {{first_name|there}},\n\ndid you have a moment to think about it? "
            "Remote is fine, too.\n\nAna",
        },
        {
            "id": "ring",
            "channel": "call",
            "after": "2 business days",
            "when": {"has": "phone"},
            "text": "Ask {{first_name|them}} whether the job in {{city}} is of interest. "
            "What they do at {{company}} is the way in.",
        },
        {
            "id": "connect",
            "channel": "linkedin_connect",
            "after": "2 business days",
            "text": "Hi {{first_name|there}}, I wrote to you about the {{role}}: shall we connect?",
        },
    ],
}
DESIGNERS: Final[dict[str, Any]] = {
    "name": "Product designers, remote",
    "tags": ["design"],
    "mailbox": "ana@ourco.example",
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "Design at Ourco, from where you are",
            "text": "Hi {{first_name|there}},\n\nour design team works from six countries. "
            "Would you tell me what you look for?\n\nAna",
        },
        {"id": "nudge", "channel": "email", "after": "4 business days", "text": "Is it worth a talk?\n\nAna"},
    ],
}
RELIABILITY: Final[dict[str, Any]] = {
    **DESIGNERS,
    "name": "Site reliability, Zürich",
    "tags": ["sre"],
    "mailbox": "jobs@ourco.example",
}
DESIGN_CROWD: Final = (
    ("dora@kreis.example", "Dora", "Vogel", "Kreis", "Europe/Vienna"),
    ("femi@lagoon.example", "Femi", "Adeyemi", "Lagoon", "Africa/Lagos"),
    ("hana@sumi.example", "Hana", "Mori", "Sumi", "Asia/Tokyo"),
    ("jonas@linie.example", "Jonas", "Keller", "Linie", "Europe/Zurich"),
)
REVIEW: Final = """\
email,first_name,last_name,company,phone,zone
amir@vertex.example,Amir,Shah,Vertex,+49 30 5550201,Europe/Berlin
chloe@marine.example,Chloé,Martin,Marine,+33 1 55500202,Europe/Paris
ravi@indus.example,Ravi,Menon,Indus,+91 80 5550 203,Asia/Kolkata
grace@kite.example,Grace,Obi,Kite,+44 20 5550 204,Europe/London
nobody,Olga,Petrova,Volga,+49 30 5550205,Europe/Berlin
emma@garonne.example,Emma,Petit,Garonne,+33 1 55 50 01 13,Europe/Paris
"""

Answer = Callable[[EmailMessage, datetime], bytes]


def _says(text: str) -> Answer:
    return lambda sent, at: prospects.reply(sent, text, at=at)


FIRST_DAYS: Final[Mapping[str, Answer]] = {
    "tom@harbor.example": _says("Yes, sounds interesting. Thursday at 10 would suit me."),
    "jack@prairie.example": _says("Thanks, but I am happy where I am. Not interested."),
    "wei@banyan.example": _says("Could you tell me the salary range first? Then yes, let us talk."),
    "noor@delta.example": lambda sent, at: prospects.out_of_office(sent, date(2030, 3, 18), at=at),
    "marco@ponte.example": lambda sent, at: prospects.bounce(sent, at=at),
    "emma@garonne.example": lambda sent, at: prospects.opt_out(sent, at=at),
}
LAST_DAYS: Final[Mapping[str, Answer]] = {
    "aoife@curragh.example": _says("Good timing! Call me any day after four, +353 1 555 0111."),
    "diego@pampa.example": _says("Not now, please try again in autumn."),
}


@dataclass
class Scene:
    """The services as the week left them; `ids` are the words of `PAGES`."""

    world: Carried
    detector: DetectorParts
    ids: dict[str, str] = field(default_factory=dict)
    _carried: set[UUID] = field(default_factory=set)

    @property
    def served(self) -> Served:
        return self.world.api

    def path(self, page: str) -> str:
        """Where a page of `PAGES` is."""
        return PAGES[page].format_map(self.ids)

    async def sequence(self, document: Mapping[str, Any]) -> str:
        return str((await self.served.call("POST", "/v1/sequences", document, status=201))["id"])

    async def enroll(self, sequence: str, table: str) -> None:
        await self.served.csv(f"/v1/sequences/{sequence}/enrollments", table, status=202)
        await self.carry_commands()

    async def carry_commands(self) -> None:
        """What the api has stored goes to whom it is for, once."""
        found = await self.served.database.collection(names.COMMANDS).find({"state": "accepted"})
        for each in found:
            if each["_id"] in self._carried:
                continue
            self._carried.add(each["_id"])
            message = message_of(each)
            if message.TOPIC is ENROLLMENT_COMMANDS:
                await self.world.scheduler.commands.handle([received(message)])
            elif message.TOPIC is DELIVERY_COMMANDS:
                await self.world.tell_sender(message)
        await self.served.api.courier.sweep()

    async def play(self, until: datetime) -> None:
        """Carry whatever is due until then, in its order."""
        enrollments = self.served.database.collection(names.ENROLLMENTS)
        clock = self.served.clock
        while clock.now() < until:
            due = await enrollments.find_one({"due_at": {"$lte": until}}, sort=[("due_at", 1)])
            soon = max(due["due_at"], clock.now()) + TOGETHER if due else until
            clock.advance((min(soon, until) - clock.now()).total_seconds())
            await self._tick()

    async def _tick(self) -> None:
        """What is due goes to the sender, what it says of it back."""
        world, before = self.world, len(self.world.kafka.messages)
        await world.scheduler.due.tick()
        due = [m for m in world.kafka.messages[before:] if m.TOPIC is STAGE_DUE]
        await world.sender.on_stage_due([received(m) for m in due])
        await world.sender.work.quiet()
        await world.hear(before)
        await self._tell_scheduler(world.kafka.messages[before:])

    async def answer(self, mailbox: str, answers: Mapping[str, Answer]) -> None:
        """These people write back to what they got last; stops are carried out."""
        clock, before = self.served.clock, len(self.world.kafka.messages)
        for address, answer in answers.items():
            sent = self.world.smtp.messages(address)[-1]
            message = email.message_from_bytes(self.world.smtp.content(sent), policy=email.policy.default)
            assert isinstance(message, EmailMessage)
            raw = answer(message, clock.now())
            stored = inbound_document(
                UUID(mailbox), self.served.workspace, raw, clock.now(), source="webhook"
            )
            await Inbound(self.served.database).add(stored, raw)
            await self.detector.detector.settle(self.served.workspace, stored["_id"])
            clock.advance(minutes=7)
        await self._tell_scheduler(self.world.kafka.messages[before:])
        clock.advance(minutes=2)
        await self.detector.sweep.once()

    async def _tell_scheduler(self, said: Iterable[Message]) -> None:
        stops = [each for each in said if isinstance(each, EnrollmentStop)]
        commands = [each for each in said if each.TOPIC is ENROLLMENT_COMMANDS]
        await self.world.scheduler.stop_records.handle([received(each) for each in stops])
        await self.world.scheduler.commands.handle([received(each) for each in commands])


@contextlib.asynccontextmanager
async def scene(mongodb_uri: str, folder: Path) -> AsyncIterator[Scene]:
    """The week, played; the pages are served at the fixed date to whoever signs in."""
    port = free_port()
    settings = {
        "public_url": LOCAL,
        "clock": FrozenClock(BEGIN),
        "sign_in": "dev",
        "scheduler_url": f"http://127.0.0.1:{port}",
    }
    async with contextlib.AsyncExitStack() as stack:
        world = await stack.enter_async_context(carried(mongodb_uri, folder, **settings))
        own = world.api.api.settings
        desk = Desk(Secrets(own))
        open_desk(desk, world.scheduler.inquiries)
        http = HttpSettings(http_host="127.0.0.1", http_port=port)
        await stack.enter_async_context(listening(http, Health(), desk.app))
        await build(world.api.database, DETECTOR_SCHEMA)
        detector_settings = DetectorSettings(**{each: getattr(own, each) for each in COMMON[:-1]})
        detector = detector_over(
            detector_settings, world.api.clock, world.api.database, world.kafka, classify
        )
        week = Scene(world, detector)
        await _play(week)
        yield week


async def _play(scene: Scene) -> None:
    await _move_in(scene)
    world = scene.world
    backend = await scene.sequence(BACKEND)
    scene.ids["sequence"] = backend
    await scene.enroll(backend, PROSPECTS.read_text(encoding="utf-8"))
    await scene.play(BEGIN + timedelta(days=1, hours=3))
    await scene.answer(scene.ids["mailbox"], FIRST_DAYS)
    await scene.play(BEGIN + timedelta(days=6, hours=23))
    world.smtp.answer("jonas@linie.example", Cut(recorded=False), times=1)
    designers = await scene.sequence(DESIGNERS)
    await scene.enroll(designers, _table(DESIGN_CROWD))
    await scene.play(NOW - timedelta(hours=22))
    await scene.answer(scene.ids["mailbox"], LAST_DAYS)
    await _make_calls(scene)
    await scene.play(NOW - timedelta(minutes=8))
    blocked = Refuse(reply="550 5.7.1 This account was blocked: sign in and confirm that it is you")
    world.smtp.answer("iris@gipfel.example", blocked, times=1)
    reliability = await scene.sequence(RELIABILITY)
    await scene.enroll(
        reliability, _table([("iris@gipfel.example", "Iris", "Frei", "Gipfel", "Europe/Zurich")])
    )
    await scene.play(NOW)
    await _look_ahead(scene, reliability)
    await scene.served.call("GET", "/v1/sequences")  # what nobody looks at is not counted
    await scene.served.api.counting.sweep()


async def _make_calls(scene: Scene) -> None:
    """Ana calls the first three on her list."""
    calls = (await scene.served.call("GET", "/v1/tasks?state=open"))["items"]
    for task, result in zip(calls, ("reached", "voicemail", "no_answer"), strict=False):
        path = f"/v1/tasks/{task['dispatch_id']}/done"
        await scene.served.call("POST", path, {"result": result}, status=202)
    await scene.carry_commands()


def _table(crowd: Iterable[tuple[str, ...]]) -> str:
    rows = "\n".join(",".join((row[1].lower(), *row)) for row in crowd)
    return f"external_id,email,first_name,last_name,company,zone\n{rows}\n"


async def _move_in(scene: Scene) -> None:
    """Who works here, their mailboxes and what else is set once."""
    served, ids = scene.served, scene.ids
    await served.call("PUT", "/v1/workspace", {"name": "Ourco"})
    await served.call("PUT", "/v1/me/preferences", {"tasks": {"zone": "Europe/Berlin"}})
    for name, role in (("Ben Okafor", "member"), ("Lea Brandt", "limited")):
        new = {"email": f"{name.split()[0].lower()}@ourco.example", "name": name, "role": role}
        ids["colleague"] = str((await served.call("POST", "/v1/users", new, status=201))["id"])
    signature = "Ana Weber, Ourco\nTorstraße 1, Berlin"
    ids["mailbox"] = await scene.world.connect(
        display_name="Ana Weber", zone="Europe/Berlin", signature=signature
    )
    await scene.world.connect(
        address="jobs@ourco.example", display_name="Jobs at Ourco", zone="Europe/Berlin"
    )
    footer = {"postal_address": "Ourco GmbH\nTorstraße 1, 10119 Berlin"}
    await served.call("PUT", "/v1/workspace/footer", footer)
    token = {"type": "number", "scope": "person", "description": "Months of notice"}
    await served.call("PUT", "/v1/tokens/notice_period", token, status=201)
    for address in ("legal@rival.example", "pat@there.example"):
        await served.call("POST", "/v1/suppressions", {"address": address}, status=201)
    await served.call("POST", "/v1/api-keys", {"name": "nightly import", "scopes": ["write"]}, status=201)
    await served.call("POST", "/v1/signing-domains", {"domain": "ourco.example"}, status=201)


async def _look_ahead(scene: Scene, paused: str) -> None:
    """What waits to be looked at today: a list before its launch, a paused sequence, a webhook that fails."""
    served, ids = scene.served, scene.ids
    await served.call("POST", f"/v1/sequences/{paused}/pause", {"reason": "the role is on hold"}, status=202)
    await scene.carry_commands()
    made = await served.csv(f"/v1/sequences/{ids['sequence']}/lists", REVIEW, status=201)
    ids["list"] = str(made["id"])
    await Checker(served.clock, served.api.store, served.api.scheduler).sweep()
    hook = {"url": "https://ats.ourco.example/segue", "events": ["answer.*"], "description": "The ATS"}
    ids["webhook"] = str((await served.call("POST", "/v1/webhooks", hook, status=201))["id"])
    await served.call("POST", f"/v1/webhooks/{ids['webhook']}/test", status=202)
    tried = {"at": served.clock.real_now(), "seconds": 0.31, "status": 503, "error": None}
    await served.database.collection(names.WEBHOOK_DELIVERIES).update_many(
        {"workspace_id": served.workspace}, {"$set": {"attempts": 1, "tries": [tried]}}
    )
    await served.database.collection(names.WEBHOOKS).update_many(
        {"workspace_id": served.workspace}, {"$set": {"failing_since": served.clock.real_now()}}
    )
    [enrollment] = (await served.call("GET", f"/v1/sequences/{ids['sequence']}/enrollments?person=cand-11"))[
        "items"
    ]
    ids["enrollment"] = enrollment["id"]
    ids["answer"] = (await served.call("GET", "/v1/answers"))["items"][0]["id"]
    ids["task"] = (await served.call("GET", "/v1/tasks?state=open"))["items"][0]["dispatch_id"]
