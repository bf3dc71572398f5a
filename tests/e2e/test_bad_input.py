"""Bad input on every way in: a clear answer or a labelled dead letter, and what comes behind it is served."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from chassis import dead_letters
from chassis.clock import Clock
from chassis.dead_letters import Letter
from chassis.settings import ServiceSettings, load
from chassis.store import Database, connect
from segue_contracts import Enroll, EnrollmentStop, Prospect
from segue_contracts.codec import decode, encode
from segue_contracts.commands import Edit, Migrate, Reschedule
from segue_contracts.events import InboundMessage, StopReason
from segue_contracts.message import Message, Scope
from segue_contracts.topics import (
    DELIVERY_COMMANDS,
    ENROLLMENT_COMMANDS,
    ENROLLMENT_EVENTS,
    ENROLLMENT_STOPS,
    INBOUND_MESSAGES,
    STAGE_DUE,
    STAGE_OUTCOMES,
    Topic,
)
from stack import prospects
from stack.client import Client, Refused, eventually
from stack.smtp import SmtpServer
from stack.system import Access, System

pytestmark = pytest.mark.stack

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
Changes = dict[str, Any]
Header = tuple[str, bytes | None]  # Kafka allows one without a value
ADDRESS = "ana@ourco.example"
ONE_MAIL = """
name: Backend engineers
mailbox: ana@ourco.example
tokens: {role: A job}
stages:
  - id: hello
    channel: email
    subject: "{{role|A job}} for {{first_name|you}}"
    text: "Hi {{first_name|there}}, four days a week."
  - id: nudge
    channel: email
    after: 30 days
    text: "Hi {{first_name|there}}, did you see this?"
"""


@dataclass(frozen=True)
class Place:
    """Where a record lies; as a letter's labels say it."""

    topic: str
    partition: str
    offset: str


@dataclass(frozen=True)
class Wire:
    """Kafka and MongoDB as other services and operators see them."""

    settings: ServiceSettings
    producer: AIOKafkaProducer
    database: Database

    async def send(self, topic: Topic, value: bytes | None, key: bytes | None, *headers: Header) -> Place:
        name = self.settings.kafka_topic_prefix + topic.name
        sent = await self.producer.send_and_wait(name, value, key, headers=list(headers))
        return Place(topic.name, str(sent.partition), str(sent.offset))

    async def say(self, message: Message) -> Place:
        encoded = encode(message)
        return await self.send(message.TOPIC, encoded.value, encoded.key, *encoded.headers)

    async def letter(self, place: Place) -> Letter:
        """The dead letter of a record."""

        async def look() -> list[Letter]:
            found = await dead_letters.letters(self.settings, topic=place.topic)
            return [each for each in found if Place(each.topic, each.partition, each.offset) == place]

        (letter,) = await eventually(look, until=bool)
        return letter

    async def event(self, enrollment: UUID) -> Any:
        """The first public event of an enrollment."""
        consumer = AIOKafkaConsumer(
            self.settings.kafka_topic_prefix + ENROLLMENT_EVENTS.name,
            bootstrap_servers=self.settings.kafka_bootstrap_servers,
            auto_offset_reset="earliest",
        )
        async with consumer, asyncio.timeout(30):
            async for record in consumer:
                if record.key == str(enrollment).encode():
                    return decode(ENROLLMENT_EVENTS.name, record.headers, record.value)
        raise AssertionError("a consumer has no end")

    async def result(self, command: UUID) -> dict[str, Any]:
        """What the owner of a command's topic says became of it."""
        results = self.database.collection("command_results")
        found = await eventually(lambda: results.find_one({"_id": command}), until=bool)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def access(segue: System) -> Access:
    return segue.bootstrap("Our Co", ADDRESS)


@pytest.fixture(scope="module")
def prepared(segue: System, access: Access, mail: SmtpServer) -> tuple[dict[str, Any], str]:
    """The one mailbox and sequence that all these tests use."""

    async def prepare() -> tuple[dict[str, Any], str]:
        async with Client(segue.url, access) as client:
            connected = await client.connect(ADDRESS, mail.host, mail.port)
            return connected, await client.publish(ONE_MAIL)

    return asyncio.run(prepare())


@pytest.fixture
def mailbox(prepared: tuple[dict[str, Any], str]) -> dict[str, Any]:
    return prepared[0]


@pytest.fixture
def sequence(prepared: tuple[dict[str, Any], str]) -> str:
    return prepared[1]


@pytest.fixture
async def client(segue: System, access: Access) -> AsyncIterator[Client]:
    async with Client(segue.url, access) as client:
        yield client


@pytest.fixture
async def wire(segue: System, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    for name, value in segue.environment.items():
        monkeypatch.setenv(name, value)
    settings = load(ServiceSettings)
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        acks="all",
        # The brokers' limit is one of compressed bytes.
        compression_type="gzip",
        max_request_size=10_000_000,
    )
    async with connect(settings) as database, producer:
        yield Wire(settings, producer, database)


@pytest.fixture
def command(access: Access, sequence: str) -> Callable[..., Enroll]:
    """A good enroll of somebody new, with `changes`."""

    def enroll(who: str = "", changes: Changes | None = None, **fields: Any) -> Enroll:
        who = who or f"p{uuid4().hex[:8]}"
        now = datetime.now(UTC)
        prospect = Prospect(
            **{"external_id": who, "email": f"{who}@there.example", "first_name": "Pat", **fields}
        )
        whole: Changes = {
            "event_id": uuid4(),
            "occurred_at": now,
            "recorded_at": now,
            "workspace_id": access.workspace_id,
            "sequence_id": UUID(sequence),
            "prospect": prospect,
        }
        return Enroll(**(whole | (changes or {})))

    return enroll


def with_changes(message: Message, **changes: Any) -> bytes:
    return orjson.dumps({**orjson.loads(message.model_dump_json()), **changes})


def about(**fields: Any) -> Changes:
    person = {"external_id": "cand-81", "email": "priya@there.example", **fields}
    return {"prospect": person}


# ---- Kafka: what can't be read ------------------------------------------------------------------------

UNREADABLE: dict[str, tuple[bytes | None, str]] = {
    "no JSON": (b'{"event_type": "enroll"', "invalid"),
    "not UTF-8": (b'{"event_type": "\xff\xfe"}', "invalid"),
    "a bottomless list": (b"[" * 100_000, "invalid"),
    "no object": (b'"enroll"', "invalid"),
    "no value": (None, "empty"),
    "too large to read": (b'{"event_type": "%s"}' % (b"x" * 600_000), "too_large"),
}
WRONG: dict[str, tuple[Changes, str]] = {
    "an unknown type": ({"event_type": "enrol"}, "unknown_type"),
    "a later major version": ({"schema_version": "2.0"}, "unknown_version"),
    "a number for an id": ({"sequence_id": 7}, "invalid"),
    "a time without its zone": ({"occurred_at": "2026-11-23T10:00:00"}, "invalid"),
    "an address as external id": (about(external_id="priya@there.example"), "invalid"),
    "no e-mail address": (about(email="priya at there.example"), "invalid"),
    "a header in a name": (about(first_name="Priya\r\nBcc: all@there.example"), "invalid"),
    "a name without end": (about(first_name="P" * 201), "invalid"),
    "a value without end": (about(tokens={"role": "r" * 3000}), "invalid"),
}
WRONG_HEADERS: dict[str, tuple[Header, str]] = {
    "another CloudEvents version": (("ce_specversion", b"2.0"), "unknown_version"),
    "a later version of the topic": (("ce_type", b"segue.enrollment.enroll.v2"), "unknown_version"),
    "another content type": (("content-type", b"application/avro"), "unknown_content_type"),
    "a header without a value": (("content-type", None), "unknown_content_type"),
}


@pytest.mark.parametrize("case", [*UNREADABLE, *WRONG, *WRONG_HEADERS])
async def test_a_record_that_is_no_command_is_parked_with_labels_and_the_next_one_is_served(
    case: str, wire: Wire, command: Callable[..., Enroll], mails: Mails
) -> None:
    good = command()
    key = str(good.enrollment_id).encode()
    headers: tuple[Header, ...] = ()
    if case in UNREADABLE:
        value, code = UNREADABLE[case]
    elif case in WRONG:
        changes, code = WRONG[case]
        value = with_changes(command(), **changes)
    else:
        header, code = WRONG_HEADERS[case]
        value, headers = with_changes(command()), (header,)
    place = await wire.send(ENROLLMENT_COMMANDS, value, key, *headers)
    behind = await wire.say(good)
    assert behind.partition == place.partition
    await mails(f"{good.prospect.external_id}@there.example", 1)
    letter = await wire.letter(place)
    assert (letter.code, letter.group, letter.attempts) == (code, "segue.scheduler.commands", "1")
    assert letter.error
    assert "there.example" not in letter.error


async def test_a_record_that_is_too_large_to_be_parked_is_parked_as_its_beginning_and_stops_nobody(
    wire: Wire, command: Callable[..., Enroll], mails: Mails
) -> None:
    good = command()
    value = with_changes(command(), padding="x" * 5_000_000)
    place = await wire.send(ENROLLMENT_COMMANDS, value, str(good.enrollment_id).encode())
    await wire.say(good)
    await mails(f"{good.prospect.external_id}@there.example", 1)
    letter = await wire.letter(place)
    assert (letter.code, int(letter.cut) > len(value)) == ("too_large", True)


async def test_a_command_without_headers_and_with_a_foreign_key_is_taken_by_its_value(
    wire: Wire, command: Callable[..., Enroll], mails: Mails
) -> None:
    good = command()
    await wire.send(ENROLLMENT_COMMANDS, encode(good).value, b"\xff any key")
    await mails(f"{good.prospect.external_id}@there.example", 1)


@pytest.mark.parametrize(
    ("topic", "value", "code"),
    [
        pytest.param(STAGE_DUE, b'{"event_type": "due", "attempt": 0}', "invalid", id="stage.due"),
        pytest.param(STAGE_OUTCOMES, b"sent", "invalid", id="stage.outcomes"),
        pytest.param(ENROLLMENT_STOPS, b'{"scope": "planet"}', "invalid", id="enrollment.stops"),
        pytest.param(DELIVERY_COMMANDS, None, "empty", id="delivery.commands"),
        pytest.param(INBOUND_MESSAGES, b"\xff", "invalid", id="inbound.messages"),
    ],
)
async def test_poison_on_any_topic_is_parked_and_the_way_from_enroll_to_stop_stays_open(
    topic: Topic,
    value: bytes | None,
    code: str,
    wire: Wire,
    client: Client,
    mailbox: dict[str, Any],
    command: Callable[..., Enroll],
    mails: Mails,
    clock: Clock,
) -> None:
    good = command()
    place = await wire.send(topic, value, str(good.enrollment_id).encode(), ("correlation_id", None))
    assert (await wire.letter(place)).code == code
    await wire.say(good)
    (hello,) = await mails(f"{good.prospect.external_id}@there.example", 1)
    await client.receive(mailbox, prospects.reply(hello, "Yes, let us talk!", at=clock.now()))
    stopped = await client.reached(str(good.enrollment_id), "stopped")
    assert stopped["stop"]["reason"] == "replied"


async def test_a_pointer_to_a_message_that_nobody_stored_is_parked(
    wire: Wire, access: Access, mailbox: dict[str, Any]
) -> None:
    now = datetime.now(UTC)
    place = await wire.say(
        InboundMessage(
            event_id=uuid4(),
            occurred_at=now,
            recorded_at=now,
            workspace_id=access.workspace_id,
            inbound_id=uuid4(),
            mailbox_id=UUID(mailbox["id"]),
        )
    )
    assert (await wire.letter(place)).code == "unknown_inbound"


# ---- Kafka: commands that can be read and not obeyed --------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "fields", "code"),
    [
        ({"workspace_id": uuid4()}, {}, "unknown_sequence"),
        ({"sequence_id": uuid4()}, {}, "unknown_sequence"),
        ({"sequence_version": 9}, {}, "unknown_version"),
        ({}, {"email": None}, "email_missing"),
        ({}, {"tokens": {"role": "Chef\nBcc: all@there.example"}}, "template"),
        ({}, {"tokens": {"role": "=?utf-8?q?Chef?="}}, "template"),
    ],
    ids=[
        "unknown workspace",
        "unknown sequence",
        "unknown version",
        "no address",
        "a line break for the subject",
        "an encoded word for the subject",
    ],
)
async def test_an_enroll_that_can_not_be_obeyed_is_refused_with_its_reason_told_twice(
    changes: Changes, fields: Changes, code: str, wire: Wire, command: Callable[..., Enroll]
) -> None:
    bad = command(changes=changes, **fields)
    await wire.say(bad)
    event = await wire.event(bad.enrollment_id)
    assert (event.event_type, event.reason, event.seq) == ("refused", code, 0)
    result = await wire.result(bad.event_id)
    assert result["status"] == "refused"
    assert result["reasons"][0]["code"] == code
    assert result["reasons"][0]["detail"]


async def test_a_wish_that_can_not_be_obeyed_is_refused(
    wire: Wire, client: Client, access: Access, sequence: str
) -> None:
    now = datetime.now(UTC)

    async def refusal(kind: type[Message], **fields: Any) -> str:
        common = {"occurred_at": now, "recorded_at": now, "workspace_id": access.workspace_id}
        wish = kind(event_id=uuid4(), **common, **fields)
        await wire.say(wish)
        result = await wire.result(wish.event_id)
        assert result["status"] == "refused"
        return str(result["reasons"][0]["code"])

    enrollment = UUID(await client.enroll(sequence, "wished"))
    await client.reached(str(enrollment), "scheduled", "dispatched")
    loop = {"nudge": {"text": "{% for x in y %}{{x}}{% endfor %}"}}
    assert await refusal(Reschedule, enrollment_id=uuid4(), at=now) == "unknown_enrollment"
    assert await refusal(Edit, enrollment_id=enrollment, stages=loop) == "template"
    assert await refusal(Edit, enrollment_id=enrollment, stages={"x": {"text": "a"}}) == "unknown_stage"
    assert await refusal(Migrate, enrollment_id=enrollment, to_version=9) == "unknown_version"


async def test_an_unknown_zone_drops_nobody_and_the_plan_says_so(
    wire: Wire, client: Client, command: Callable[..., Enroll], mails: Mails
) -> None:
    lost = command(zone="Mars/Olympus")
    await wire.say(lost)
    await mails(f"{lost.prospect.external_id}@there.example", 1)
    enrollment = await client.reached(str(lost.enrollment_id), "scheduled")
    assert "Mars/Olympus does not exist" in str(enrollment["next"]["reasons"])


async def test_a_stop_for_a_reason_that_this_release_does_not_know_still_stops(
    wire: Wire, client: Client, access: Access, sequence: str
) -> None:
    enrollment = await client.enroll(sequence, "promoted")
    await client.reached(enrollment, "scheduled", "dispatched")
    now = datetime.now(UTC)
    stop = EnrollmentStop(
        event_id=uuid4(),
        event_type=StopReason.REPLIED,
        occurred_at=now,
        recorded_at=now,
        workspace_id=access.workspace_id,
        scope=Scope.ENROLLMENT,
        enrollment_id=UUID(enrollment),
    )
    await wire.send(ENROLLMENT_STOPS, with_changes(stop, event_type="promoted"), enrollment.encode())
    stopped = await client.reached(enrollment, "stopped")
    assert stopped["stop"]["reason"] == "unknown"


# ---- dead letters -------------------------------------------------------------------------------------


async def tool(segue: System, *arguments: str) -> str:
    """What `python -m chassis.dead_letters` prints."""
    done = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "chassis.dead_letters", *arguments),
        env=dict(segue.environment),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await done.communicate()
    assert done.returncode == 0
    return told.decode()


async def test_a_command_that_met_a_defect_is_carried_out_when_it_is_replayed_after_the_cure(
    segue: System, wire: Wire, client: Client, command: Callable[..., Enroll], mails: Mails
) -> None:
    broken = await client.publish(ONE_MAIL)
    versions = wire.database.collection("sequence_versions")
    version = await versions.find_one({"_id": f"{broken}:1"})
    assert version is not None
    await versions.update_one({"_id": version["_id"]}, {"$set": {"document.stages": "lost"}})
    enroll = command(changes={"sequence_id": UUID(broken)})
    place = await wire.say(enroll)
    letter = await wire.letter(place)
    assert (letter.code, letter.attempts) == ("SequenceError", "3")

    await versions.replace_one({"_id": version["_id"]}, version)
    listed = [orjson.loads(line) for line in (await tool(segue, "list")).splitlines()]
    assert letter.letter in [each["letter"] for each in listed if each["topic"] == place.topic]
    assert await tool(segue, "replay", "--letter", letter.letter) == f"{letter.letter}: replayed\n"
    await mails(f"{enroll.prospect.external_id}@there.example", 1)


# ---- HTTP ---------------------------------------------------------------------------------------------


async def test_bad_rows_of_a_csv_are_named_by_line_and_only_the_good_ones_get_mail(
    client: Client, sequence: str, mails: Mails, mail: SmtpServer
) -> None:
    text = (
        "external_id,email,first_name\n"
        "row2,row2@rows.example,Ann\n"
        "row3@rows.example,row3@rows.example,Ben\n"
        "row4,nowhere,Cleo\n"
        "row5,row5@rows.example,Dan,surplus\n"
        "row2,twice@rows.example,Ann\n"
        "row7,row7@rows.example,Eve\n"
    )
    answer = await client.post_text(f"/v1/sequences/{sequence}/enrollments", text, "text/csv")
    assert [each["row"] for each in answer["accepted"]] == [2, 7]
    assert [each["row"] for each in answer["refused"]] == [3, 4, 5, 6]
    assert all(each["errors"] for each in answer["refused"])
    for who in ("row2", "row7"):
        await mails(f"{who}@rows.example", 1)
    received = {r for m in mail.messages() for r in m.recipients if r.endswith("@rows.example")}
    assert received == {"row2@rows.example", "row7@rows.example"}


@pytest.mark.parametrize(
    "text",
    [
        "{% for x in y %}a{% endfor %}",
        "{{ range(9) }}",
        "{{ first_name.__class__ }}",
        "{{ first_name|upper|attr('x') }}",
        "{{ first_name",
        "x" * 70_000,
    ],
    ids=["loop", "call", "attribute", "unknown filter", "unclosed", "too large"],
)
async def test_a_template_that_is_no_template_is_refused_where_it_stands(client: Client, text: str) -> None:
    document = {"name": "Bad", "stages": [{"id": "hello", "channel": "email", "subject": "S", "text": text}]}
    with pytest.raises(Refused) as refused:
        await client.post("/v1/sequences", document)
    assert refused.value.status == 422
    assert refused.value.problem["errors"][0]["pointer"] == "/stages/0/text"


async def test_an_unknown_key_is_refused_with_the_nearest_name(client: Client) -> None:
    with pytest.raises(Refused) as refused:
        await client.publish(ONE_MAIL.replace("after:", "afetr:"))
    (error,) = refused.value.problem["errors"]
    assert (refused.value.status, error["pointer"]) == (422, "/stages/1/afetr")
    assert "`after`" in error["detail"]


async def test_nobody_without_the_right_key_reaches_an_enrollment(
    segue: System, client: Client, sequence: str, mails: Mails
) -> None:
    enrollment = await client.enroll(sequence, "guarded")
    await mails("guarded@there.example", 1)
    stranger = segue.bootstrap("Other Co", "eve@other.example")
    for access, status in ((stranger, 404), (Access(stranger.workspace_id, "sgk_wrong"), 401)):
        async with Client(segue.url, access) as other:
            for attempt in (
                other.get(f"/v1/enrollments/{enrollment}"),
                other.post(f"/v1/enrollments/{enrollment}/stop"),
                other.post(f"/v1/sequences/{sequence}/pause"),
            ):
                with pytest.raises(Refused) as refused:
                    await attempt
                assert refused.value.status == status
    await client.reached(enrollment, "scheduled")


async def test_a_forged_or_stale_answer_stops_nobody_and_the_real_one_does(
    client: Client, sequence: str, mailbox: dict[str, Any], mails: Mails, clock: Clock
) -> None:
    enrollment = await client.enroll(sequence, "forged")
    (hello,) = await mails("forged@there.example", 1)
    raw = prospects.reply(hello, "Yes, let us talk!", at=clock.now())
    for forged, signed_at in (
        ({**mailbox, "inbound_secret": "a guess"}, time.time()),
        (mailbox, time.time() - 3600),
        (mailbox, time.time() + 3600),
    ):
        with pytest.raises(Refused) as refused:
            await client.receive(forged, raw, at=signed_at)
        assert refused.value.status == 401
    await client.reached(enrollment, "scheduled")
    await client.receive(mailbox, raw)
    await client.reached(enrollment, "stopped")
