"""Each read model against its owner's writer: the api, the scheduler and the sender write, the others read.

One workspace goes its whole way through the real handlers on a real MongoDB: published over HTTP, enrolled,
sent, a task opened, stopped. What one service reads of it must be all there, of the right type, and mean what
the owner meant.
"""

import dataclasses
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import TypeAdapter

from api import wiring as api_wiring
from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.engagement_store import Request
from api.machines import Verdict
from api.migrations import SCHEMA as API_SCHEMA
from api.model import CommandState, message_of, settled
from api.settings import ApiSettings
from api.store import Store as ApiStore
from chassis import documents as names
from chassis.documents import (
    CalendarView,
    ComparisonView,
    DeliveryStory,
    DeliveryView,
    DoubtView,
    EngagementView,
    EnrollmentStory,
    EnrollmentView,
    Footer,
    ImapIdentity,
    MailboxLimits,
    MailboxStateView,
    MailboxView,
    NumberLimits,
    PersonView,
    RetentionView,
    SentView,
    SequenceView,
    SmsNumberView,
    SmtpIdentity,
    StoppedView,
    VersionView,
    WatchedMailbox,
    WatchingView,
    WorkspaceLimits,
    WorkspaceView,
)
from chassis.migrations import build
from chassis.secrets import Secrets
from chassis.store import Database, Document, Workspace
from chassis.testing import NOON, FrozenClock, fresh_database, fresh_name
from chassis.tracking import Mark
from chassis.variants import comparison_id
from reply_detector.cursors import CursorStore
from reply_detector.imap import Trouble
from scheduler import wiring as scheduler_wiring
from scheduler.course import sender_of
from scheduler.migrations import SCHEMA as SCHEDULER_SCHEMA
from scheduler.settings import SchedulerSettings
from scheduler.store import ALL_SHARDS
from scheduler.testing import Captured, received
from segue_contracts import ids
from segue_contracts.commands import (
    Edit,
    Evidence,
    Hold,
    HoldScope,
    Lift,
    NoteEvidence,
    NoteProviderId,
    SetCalendar,
    Stop,
)
from segue_contracts.events import StageDue, StageOutcome
from segue_contracts.message import Message
from segue_contracts.prospect import Prospect
from segue_contracts.sequence import parse_sequence
from segue_contracts.topics import STAGE_DUE, STAGE_OUTCOMES
from sender import wiring as sender_wiring
from sender.migrations import SCHEMA as SENDER_SCHEMA
from sender.model import deferred
from sender.settings import SenderSettings
from stack.carried import carried
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack

SEQUENCE: Document = {
    "name": "Backend engineers",
    "tokens": {"role": "Backend Engineer"},
    "stages": [
        {"id": "hello", "channel": "email", "subject": "{{role}}", "text": "Hi {{first_name}}"},
        {"id": "ring", "channel": "call", "text": "Ask {{first_name}} about {{role}}"},
    ],
}
MAILBOX: Document = {
    "address": "Ana@ourco.example",
    "display_name": "Ana",
    "signature": "Ana\nOur Co",
    "zone": "Europe/Berlin",
    "country": "DE",
    "windows": {"mon-fri": ["09:00-18:00"]},
    "time_off": ["2027-01-01", "2027-02-01/2027-02-07"],
    "limits": {"per_day": 200, "per_hour": 30, "gap_seconds": 60},
}
PROSPECT: Document = {
    "external_id": "p1",
    "email": "Priya@there.example",
    "phone": "+49 30 123456",
    "first_name": "Priya",
    "tokens": {"stack": "Go"},
    "dates": {"start_date": "2027-01-04"},
}


NOBODY = UUID(int=0)
DOUBTED = {"looks", "evidence", "decision", "decided_by", "erased_at", "person_erased_at", "variant"}
"""What a delivery has only if it was in doubt, was erased, or its stage has variants."""


@dataclass
class World:
    """The three services over one database, with Kafka between them carried by hand."""

    database: Database
    clock: FrozenClock
    kafka: Captured
    http: TestClient[Any, Any]
    made: dict[str, str]
    scheduler: scheduler_wiring.Parts
    sender: sender_wiring.Sender
    secrets: Secrets
    mailbox: UUID = NOBODY
    sequence: UUID = NOBODY
    enrollment: UUID = NOBODY

    @property
    def workspace(self) -> UUID:
        return UUID(self.made["workspace_id"])

    @property
    def user(self) -> UUID:
        return UUID(self.made["user_id"])

    async def furnished(self, smtp: SmtpServer) -> "World":
        """With a mailbox, a sequence and a person in it, all by way of the api."""
        server = {"host": smtp.host, "port": smtp.port, "security": "none"}
        mailbox = await self.post("/v1/mailboxes", {**MAILBOX, "smtp": server}, 201)
        sequence = await self.post("/v1/sequences", SEQUENCE, 201)
        path = f"/v1/sequences/{sequence['id']}/enrollments"
        enroll = (await self.post(path, {"prospect": PROSPECT}, 202))["accepted"][0]
        self.mailbox, self.sequence = UUID(mailbox["id"]), UUID(sequence["id"])
        self.enrollment = UUID(enroll["enrollment_id"])
        stored = await self.one(names.COMMANDS, UUID(enroll["command_id"]))
        await self.scheduler.commands.handle([received(message_of(stored))])
        return self

    async def post(self, path: str, body: Document, status: int, method: str = "POST") -> Any:
        headers = {"Authorization": f"Bearer {self.made['api_key']}"}
        answer = await self.http.request(method, path, json=body, headers=headers)
        assert answer.status == status, await answer.text()
        return await answer.json()

    async def one(self, collection: str, _id: object, projection: Document | None = None) -> Document:
        found = await self.database.collection(collection).find_one({"_id": _id}, projection=projection)
        assert found is not None
        return found

    async def command(self, kind: type[Message], **values: Any) -> Any:
        """A command to the scheduler."""
        now = self.clock.advance(1)
        base = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": self.workspace}
        command = kind(**(base | values))
        await self.scheduler.commands.handle([received(command)])
        return command

    async def carry(self) -> None:
        """What is due, to the sender; what it says of it, to the scheduler."""
        before = len(self.kafka.messages)
        await self.scheduler.due.tick()
        due = [m for m in self.kafka.messages[before:] if m.TOPIC is STAGE_DUE]
        assert [type(m) for m in due] == [StageDue]
        await self.sender.on_stage_due([received(m) for m in due])
        await self.sender.work.quiet()
        said = [m for m in self.kafka.messages[before:] if m.TOPIC is STAGE_OUTCOMES]
        assert [type(m) for m in said] == [StageOutcome]
        await self.scheduler.outcomes.handle([received(m) for m in said])


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    common: dict[str, Any] = {
        "kafka_bootstrap_servers": "unused:9092",
        "mongodb_uri": mongodb_uri,
        "mongodb_database": fresh_name(),
        "secret_keys": "a key for tests of sixteen or more",
    }
    clock, kafka = FrozenClock(NOON), Captured()
    api_settings, sender_settings = ApiSettings(**common), SenderSettings(**common)
    async with fresh_database(api_settings) as database:
        for schema in (API_SCHEMA, SENDER_SCHEMA, SCHEDULER_SCHEMA):
            await build(database, schema)
        api = api_wiring.assemble(api_settings, clock, database, kafka)
        wanted = Wanted("Our Co", "ana@ourco.example", "Ana", False)
        made = await bootstrap(wanted, api.store.people, clock)
        pool = sender_wiring.smtp_pool(sender_settings)
        sender = sender_wiring.assemble(sender_settings, clock, database, kafka, pool)
        scheduler = scheduler_wiring.assemble(
            SchedulerSettings(**common), clock, database, kafka, lambda: ALL_SHARDS
        )
        async with TestClient(TestServer(application(api))) as http:
            built = World(database, clock, kafka, http, made, scheduler, sender, Secrets(api_settings))
            yield await built.furnished(smtp_server)
        await sender.work.quiet()
        await pool.close()


async def read(
    world: World, view: type[Any], collection: str, _id: object, *, lacks: AbstractSet[str] = frozenset()
) -> Any:
    """The view of a document as its owner left it.

    Everything that the view fetches is there, but for what it may lack; it needs nothing that it does not
    fetch; and each of its fields has the type that it says.
    """
    whole = await world.one(collection, _id)
    assert {name.partition(".")[0] for name in view.PROJECTION} - whole.keys() <= lacks
    found = view.read(await world.one(collection, _id, view.PROJECTION))
    assert found == view.read(whole)
    check_types(found)
    return found


def check_types(view: Any) -> None:
    hints = get_type_hints(type(view))
    for each in dataclasses.fields(view):
        value = getattr(view, each.name)
        TypeAdapter(hints[each.name]).validate_python(value, strict=True)
        if dataclasses.is_dataclass(value):
            check_types(value)


# ---- what the api writes ------------------------------------------------------------------------------


async def test_a_version(world: World) -> None:
    _id = names.version_id(world.sequence, 1)
    view = await read(world, VersionView, names.SEQUENCE_VERSIONS, _id)
    assert view == VersionView(world.workspace, world.sequence, 1, SEQUENCE, (world.mailbox,), world.user)
    assert parse_sequence(view.document).stages[1].id == "ring"


async def test_a_comparison_of_variants_open_and_decided(world: World) -> None:
    variants = [{"id": "a"}, {"id": "b", "subject": "For you"}]
    document = {"name": "Two", "stages": [{**SEQUENCE["stages"][0], "subject": "Hi", "variants": variants}]}
    sequence = await world.post("/v1/sequences", document, 201)
    _id = comparison_id(UUID(sequence["id"]), parse_sequence(document).stages[0])
    assert _id is not None
    view = await read(world, ComparisonView, names.COMPARISONS, _id, lacks={"decision"})
    assert view == ComparisonView(_id, None)
    path = f"/v1/sequences/{sequence['id']}/stages/hello/winner"
    await world.post(path, {"variant": "b"}, 200, method="PUT")
    assert (await read(world, ComparisonView, names.COMPARISONS, _id)).winner == "b"
    await world.post(path, {"variant": None}, 200, method="PUT")
    assert (await read(world, ComparisonView, names.COMPARISONS, _id)).winner is None


async def test_a_sequence_open_and_archived(world: World) -> None:
    view = await read(world, SequenceView, names.SEQUENCES, world.sequence)
    assert view == SequenceView(world.sequence, world.workspace, 1, False, world.user)
    await world.post(f"/v1/sequences/{world.sequence}/archive", {}, 200)
    assert (await read(world, SequenceView, names.SEQUENCES, world.sequence)).archived


async def test_a_mailbox_and_the_password_that_only_the_sender_reads(world: World) -> None:
    plain = await read(world, MailboxView, names.MAILBOXES, world.mailbox)
    assert (plain.address, plain.owner_id) == ("ana@ourco.example", world.user)
    assert (plain.signature, plain.zone, plain.country) == ("Ana\nOur Co", "Europe/Berlin", "DE")
    assert (plain.windows, plain.time_off) == (MAILBOX["windows"], tuple(MAILBOX["time_off"]))
    assert len(sender_of(plain).time_off) == 8
    assert (plain.limits, plain.watched) == (MailboxLimits(200, 30, 60), False)

    smtp = {"host": "mail.example", "port": 587, "username": "ana", "password": "s3cret"}
    other = await world.post("/v1/mailboxes", {"address": "ben@ourco.example", "smtp": smtp}, 201)
    secret = await read(world, MailboxView, names.MAILBOXES, UUID(other["id"]))
    assert (secret.windows, secret.zone, secret.time_off) == (None, None, ())
    assert secret.limits == MailboxLimits()
    assert secret.smtp == SmtpIdentity("mail.example", 587, "starttls", "ana", secret.smtp.secret)
    assert world.secrets.decrypt(secret.smtp.secret) == "s3cret"


async def test_a_number_that_only_receives_and_one_that_sends(world: World) -> None:
    token = {"auth_token": "token of the account"}
    receives = await world.post("/v1/sms-numbers", {"number": "+4930998", **token}, 201)
    _id, lacks = UUID(receives["id"]), {"provider", "account_sid", "url", "idempotent", "limits"}
    plain = await read(world, SmsNumberView, names.SMS_NUMBERS, _id, lacks=lacks)
    assert (plain.provider, plain.account, plain.can_send) == ("twilio", None, False)
    account = "AC" + "0" * 32
    settings: Document = {"provider": "twilio", "account_sid": account, "url": "https://api.example"}
    settings |= {"idempotent": True, "limits": {"per_day": 9, "per_hour": None}}
    sends = await world.post("/v1/sms-numbers", {"number": "+4930999", **token, **settings}, 201)
    view = await read(world, SmsNumberView, names.SMS_NUMBERS, UUID(sends["id"]))
    assert (view.number, view.owner_id, view.account) == ("+4930999", world.user, account)
    assert (view.receipts_url, view.can_send) == (sends["receipts_url"], True)
    assert (view.idempotent, view.limits) == (True, NumberLimits(per_day=9))
    assert world.secrets.decrypt(view.secret) == "token of the account"


async def test_a_mailbox_as_its_watcher_sees_it_and_what_the_watcher_says_of_it(world: World) -> None:
    imap = {"host": "imap.example", "username": "ana", "password": "s3cret"}
    smtp = {"host": "mail.example", "port": 587}
    made = await world.post(
        "/v1/mailboxes", {"address": "eva@ourco.example", "smtp": smtp, "imap": imap}, 201
    )
    assert (await read(world, MailboxView, names.MAILBOXES, UUID(made["id"]))).watched
    view = await read(world, WatchedMailbox, names.MAILBOXES, UUID(made["id"]))
    assert (view.workspace_id, view.imap.since) == (world.workspace, world.clock.real_now())
    assert (view.imap.host, view.imap.port, view.imap.security) == ("imap.example", 993, "tls")
    assert (view.imap.auth, view.imap.username) == ("password", "ana")
    assert world.secrets.decrypt(view.imap.secret) == "s3cret"

    cursors = CursorStore(world.database)
    assert await cursors.watched() == [view]
    await cursors.well(view, world.clock.real_now())
    well = {"failing_since", "trouble", "words"}
    told = await read(world, WatchingView, names.MAILBOX_CURSORS, view.id, lacks=well)
    assert (told.looked_at, told.trouble) == (world.clock.real_now(), None)
    began = world.clock.real_now() + timedelta(hours=1)
    for minutes in (0, 1):
        await cursors.failing(view, Trouble.CREDENTIALS, "no", began + timedelta(minutes=minutes))
    told = await read(world, WatchingView, names.MAILBOX_CURSORS, view.id)
    assert (told.failing_since, told.trouble, told.words) == (began, "credentials", "no")


async def test_a_workspace(world: World) -> None:
    lacks = {"limits", "footer", "token_definitions"}
    view = await read(world, WorkspaceView, names.WORKSPACES, world.workspace, lacks=lacks)
    assert (view.id, view.name, view.tokens) == (world.workspace, "Our Co", {})
    assert (view.in_doubt_policy, view.limits) == ("wait", WorkspaceLimits())
    await world.post("/v1/workspace/limits", {"per_person_per_day": 2}, 200, method="PUT")
    await world.post("/v1/tokens/salary", {"type": "number", "default": "1"}, 201, method="PUT")
    limited = await read(world, WorkspaceView, names.WORKSPACES, world.workspace, lacks={"footer"})
    assert (limited.tokens, limited.token_types) == ({"salary": "1"}, {"salary": "number"})
    assert (limited.limits, limited.footer) == (WorkspaceLimits(2), Footer())
    footer: dict[str, Any] = {
        "postal_address": "Our Co\nBerlin",
        "reason": "We met.",
        "language": "de",
        "link": False,
    }
    await world.post("/v1/workspace/footer", footer, 200, method="PUT")
    assert (await read(world, WorkspaceView, names.WORKSPACES, world.workspace)).footer == Footer(**footer)


async def test_what_a_workspace_rules(world: World) -> None:
    usual = await read(world, RetentionView, names.WORKSPACES, world.workspace, lacks={"retention"})
    assert (usual.bodies_days, usual.inbound_days) == (365, 365)
    await world.post("/v1/workspace/retention", {"bodies_days": 90, "inbound_days": None}, 200, method="PUT")
    ruled = await read(world, RetentionView, names.WORKSPACES, world.workspace)
    assert (ruled.id, ruled.bodies_days, ruled.inbound_days) == (world.workspace, 90, None)
    await world.post("/v1/workspace/in-doubt", {"policy": "resend"}, 200, method="PUT")
    lacks = {"limits", "footer", "token_definitions"}
    view = await read(world, WorkspaceView, names.WORKSPACES, world.workspace, lacks=lacks)
    assert view.in_doubt_policy == "resend"


async def test_a_suppression_is_found_by_scheduler_and_sender_under_the_id_that_the_api_gave_it(
    world: World,
) -> None:
    await world.post("/v1/suppressions", {"address": "Priya@There.example"}, 201)
    _id = world.secrets.suppression_id(world.workspace, "address", PROSPECT["email"])
    assert await world.scheduler.store.suppressed([world.workspace], [_id]) == {_id}
    assert await world.sender.store.suppressed([world.workspace], [_id]) == {_id}


# ---- what the scheduler writes ------------------------------------------------------------------------


async def test_a_person(world: World) -> None:
    person = ids.person_id(world.workspace, "p1")
    view = await read(world, PersonView, names.PEOPLE, person)
    assert (view.id, view.workspace_id, view.company_key) == (person, world.workspace, "there.example")
    assert Prospect.model_validate(view.prospect) == Prospect.model_validate(PROSPECT)


async def test_an_enrollment_as_the_sender_reads_it(world: World) -> None:
    words = {"ring": {"text": "Ask for Priya"}}
    await world.command(Edit, enrollment_id=world.enrollment, stages=words)
    await world.scheduler.due.tick()
    view = await read(world, EnrollmentView, names.ENROLLMENTS, world.enrollment)
    assert (view.state, view.stage_id, view.stage_index, view.attempt) == ("dispatched", "hello", 0, 1)
    assert (view.sequence_id, view.sequence_version) == (world.sequence, 1)
    assert (view.mailbox_id, view.owner_id) == (world.mailbox, world.user)
    assert (view.company_key, view.is_test, view.ended) == ("there.example", False, False)
    assert view.edits == words
    assert view.send_before > world.clock.now()
    assert (await world.one(names.COMPANIES, view.company_id))["key"] == "there.example"


@pytest.mark.parametrize("scope", sorted(HoldScope))
async def test_a_hold_holds_for_the_sender_until_it_is_lifted_or_over(world: World, scope: HoldScope) -> None:
    whole = await world.one(names.ENROLLMENTS, world.enrollment)
    over = next(each for each in EnrollmentView.read(whole).hold_ids() if each.startswith(f"{scope}:"))
    target = UUID(over.partition(":")[2])

    async def holds(ahead: timedelta = timedelta()) -> bool:
        at = world.clock.now() + ahead
        return await world.sender.store.active_holds([world.workspace], [over], at) == {over}

    await world.command(Hold, scope=scope, scope_id=target, until=world.clock.now() + timedelta(hours=1))
    assert [await holds(), await holds(timedelta(hours=2))] == [True, False]
    await world.command(Lift, scope=scope, scope_id=target)
    assert not await holds()


async def test_an_enrollment_as_people_see_it(world: World) -> None:
    await world.carry()
    never = {"parked_by", "stop", "failure", "edits", "ended_at", "tombstone", "broken", "warnings"}
    story = await read(world, EnrollmentStory, names.ENROLLMENTS, world.enrollment, lacks=never)
    assert (story.state, story.stage_id, story.stage_index, story.channel) == ("scheduled", "ring", 1, "call")
    assert (story.external_id, story.generation, story.company_key) == ("p1", 1, "there.example")
    assert {step["rule"] for step in story.reasons} >= {"zone", "after"}
    told = [c["type"] for c in story.history]
    assert told == ["enrolled", "stage_scheduled", "stage_sent", "stage_scheduled"]
    last = await world.one(names.ENROLLMENTS, world.enrollment, EnrollmentStory.LAST_EVENT)
    assert EnrollmentStory.read(last) == dataclasses.replace(story, history=story.history[-1:])

    await world.command(Stop, enrollment_id=world.enrollment, reason_code="hired")
    ended = await read(
        world, EnrollmentStory, names.ENROLLMENTS, world.enrollment, lacks=never - {"stop", "ended_at"}
    )
    assert (ended.state, ended.ended, ended.ended_at) == ("stopped", True, world.clock.now())
    assert (ended.stop["reason"], ended.stop["reason_code"]) == ("requested", "hired")


async def test_the_teams_days_off_as_the_api_shows_them(world: World) -> None:
    told = await world.command(SetCalendar, days=["2026-12-31", "2026-12-24"])
    view = await read(world, CalendarView, names.CALENDARS, world.workspace)
    assert view == CalendarView(world.workspace, ("2026-12-24", "2026-12-31"), told.occurred_at)
    assert await world.scheduler.store.calendar(world.workspace) == view


async def test_a_stopped_enrollment_as_the_reply_detector_measures_it(world: World) -> None:
    stop = await world.command(Stop, enrollment_id=world.enrollment)
    view = await read(world, StoppedView, names.ENROLLMENTS, world.enrollment)
    assert view == StoppedView(world.enrollment, stop.event_id, world.clock.real_now())


async def test_a_result_settles_the_apis_command(world: World) -> None:
    answer = await world.post(f"/v1/enrollments/{world.enrollment}/stop", {}, 202)
    stored = await world.one(names.COMMANDS, UUID(answer["command_id"]))
    await world.scheduler.commands.handle([received(message_of(stored))])
    results = await ApiStore(world.database).commands.results([stored])
    found = settled(stored, results[stored["_id"]], None)
    assert found is not None
    assert (found.state, found.enrollment_id) == (CommandState.DONE, world.enrollment)


# ---- what the sender writes ---------------------------------------------------------------------------


async def test_a_sent_delivery_as_the_reply_detector_and_people_read_it(world: World) -> None:
    await world.carry()
    _id = ids.dispatch_id(world.enrollment, "hello")
    provider_id = "<new@provider.example>"
    now, facts = world.clock.now(), {"dispatch_id": _id, "provider_message_id": provider_id}
    base = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": world.workspace}
    await world.sender.on_commands([received(NoteProviderId(**base, **facts))])
    # Only what is traced has a context: tests/e2e/test_observability.py follows one.
    view = await read(world, DeliveryView, names.DELIVERIES, _id, lacks={"traceparent"})
    assert view.is_named({provider_id})
    sent = await read(world, SentView, names.DELIVERIES, _id, lacks={"traceparent"})
    assert (sent.delivery, sent.subject) == (view, "Backend Engineer")
    assert (view.enrollment_id, view.stage_id) == (world.enrollment, "hello")
    assert (view.mailbox_id, view.recipient) == (world.mailbox, "Priya@there.example")
    story = await read(world, DeliveryStory, names.DELIVERIES, _id, lacks={"until", "task"} | DOUBTED)
    assert (story.state, story.channel, story.attempt) == ("sent", "email", 1)
    assert (story.message_id, story.subject) == (view.message_id, "Backend Engineer")
    assert story.text.startswith("Hi Priya")
    assert story.sent_at == story.settled_at == world.clock.now()
    assert (story.person_id, story.owner_id) == (ids.person_id(world.workspace, "p1"), world.user)


async def test_a_delivery_in_doubt_as_the_watcher_and_people_read_it_and_how_it_ends(world: World) -> None:
    await world.carry()
    _id = ids.dispatch_id(world.enrollment, "hello")
    deliveries = world.database.collection(names.DELIVERIES)
    await deliveries.update_one({"_id": _id}, {"$set": {"state": "in_doubt"}})
    login = ImapIdentity("", 143, "", "", "", "", since=world.clock.now())
    mailbox = WatchedMailbox(world.mailbox, world.workspace, login)
    assert await CursorStore(world.database).doubts(mailbox, 9) == [
        await read(world, DoubtView, names.DELIVERIES, _id)
    ]
    now = world.clock.now()
    base = {"occurred_at": now, "recorded_at": now, "workspace_id": world.workspace, "dispatch_id": _id}
    for found in (False, True):
        noted = NoteEvidence(
            event_id=uuid4(), evidence=Evidence.SENT_COPY, found=found, places=["Sent"], **base
        )
        await world.sender.on_commands([received(noted)])
    lacks = {"until", "task", "decision", "decided_by", "erased_at", "person_erased_at", "variant"}
    story = await read(world, DeliveryStory, names.DELIVERIES, _id, lacks=lacks)
    assert story.looks == {"sent_copy": {"at": now, "times": 1, "places": ["Sent"]}}
    assert story.evidence == {"kind": "sent_copy", "at": now, "was": "in_doubt"}
    assert (story.state, story.reason) == ("sent", "sent_copy")


async def test_what_a_server_said_of_a_mailbox_as_people_see_it(world: World) -> None:
    now = world.clock.now()
    for settlement in (
        deferred(now, now, "soft_failure", "450 4.2.1"),
        deferred(now, now, "login_refused", "535 5.7.8", hold_reason="login_refused"),
    ):
        mailbox = await world.one(names.MAILBOXES, world.mailbox)
        world.sender.health.saw(MailboxView.read(mailbox), settlement)
    await world.sender.health.flush()
    view = await read(world, MailboxStateView, names.MAILBOX_STATES, world.mailbox)
    assert (view.deferred, view.rate_limited, view.unreachable) == (2, 1, 0)
    assert (view.refusal["reason"], view.refusal["since"], view.refusal["at"]) == ("login_refused", now, now)


async def test_an_open_task_as_people_read_it(world: World) -> None:
    await world.carry()
    world.clock.advance(days=1)
    await world.carry()
    _id = ids.dispatch_id(world.enrollment, "ring")
    never = {"recipient", "subject", "text", "message_id", "until", "sent_at", "transmitted_at"} | DOUBTED
    story = await read(world, DeliveryStory, names.DELIVERIES, _id, lacks=never)
    assert (story.state, story.channel) == ("task_open", "call")
    assert story.task["assignee_id"] == world.user
    assert story.task["text"] == "Ask Priya about Backend Engineer"
    assert story.task["opened_at"] == world.clock.now()


async def test_a_tracked_delivery_as_the_api_reads_it_and_its_opens_as_the_scheduler_does(
    mongodb_uri: str, tmp_path: Path
) -> None:
    html = '<p><a href="https://jobs.example/?a=b&amp;c=d">A job</a></p>'
    hello = {"id": "hello", "channel": "email", "subject": "Hi", "html": html}
    sequence = {"name": "n", "tracking": {"opens": True, "clicks": True}, "stages": [hello]}
    async with carried(mongodb_uri, tmp_path) as world:
        await world.connect()
        enrollment = await world.enroll(sequence)
        assert await world.carry(enrollment) == "sent"
        workspace, _id = world.api.workspace, ids.dispatch_id(enrollment, "hello")
        view = await world.api.api.reads.tracked(Workspace(workspace), _id)
        assert view is not None
        check_types(view)
        assert (view.links, view.opens) == (("https://jobs.example/?a=b&c=d",), True)
        assert (view.enrollment_id, view.sent_at) == (enrollment, world.api.clock.now())

        store, mark = world.api.api.store.engagements, Mark(workspace, _id, link=1)
        now, real_now = world.api.clock.now(), world.api.clock.real_now()
        await store.looked(Mark(workspace, _id), view, real_now)
        await store.count(Request(mark, view, now, real_now, Verdict(machine=False)))
        (engagement,) = await world.scheduler.store.engagements([workspace], [_id])
        check_types(engagement)
        assert engagement == EngagementView(_id, "clicked", 1)
