"""Nothing of a person is left after they were erased: every collection, topic and log is searched."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
import contextlib
import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from chassis import documents as names
from chassis.clock import Clock
from chassis.settings import ServiceSettings
from chassis.store import Database, connect
from segue_contracts.topics import TOPICS
from stack import prospects
from stack.brokers import Brokers
from stack.client import Client, eventually
from stack.runbooks import PAGES, Reader, blocks, reader
from stack.system import Access, System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(240)]

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]
MARK = "qzx"
"""Every word that is the person's begins with it; what a user wrote of them, as a reason, with `qzr`."""
WHO = "qzxid"
AT = "Qzx.First@qzxhome.example"
FACTS: dict[str, Any] = {
    "email": AT,
    "phone": "+49 30 765 4321",
    "first_name": "Qzxfirst",
    "last_name": "Qzxlast",
    "company": "Qzxcompany",
    "title": "Qzxtitle",
    "school": "Qzxschool",
    "location": "Qzxlocation",
    "zone": "Qzx/Zone",
    "country": "Qzxcountry",
    "tokens": {"pet": "qzxpet"},
}
PLANTED = sorted(
    {"qzxhome", "qzxpet", "qzxreply", "qzxlarge", "qzxloose", "qzxnote", "qzxedit", "qzrpause", WHO}
    | {value.lower() for name, value in FACTS.items() if name not in ("email", "phone", "tokens")}
)
"""What is searched for; the phone, which is not written everywhere as it came, has its digits."""
DIGITS = "7654321"
CALL = """
name: A mail and a call
mailbox: ana@ourco.example
tokens: {pet: your dog}
stages:
  - id: hello
    channel: email
    subject: "{{first_name|Hi}}: a job"
    text: "Hi {{first_name|there}} at {{company|home}}, how is {{pet|your dog}}?"
  - id: call
    channel: call
    after: 6 hours
    text: "Ask {{first_name|them}} about {{pet|the dog}}"
"""
WAIT = CALL.replace("A mail and a call", "A mail, and another one later").replace(
    "channel: call\n    after: 6 hours", "channel: email\n    after: 300 days"
)


@pytest.fixture(scope="module")
def clock_speed() -> float:
    """A day in four real seconds."""
    return 21_600.0


@pytest.fixture(scope="module")
def segue(tmp_path_factory: pytest.TempPathFactory, brokers: Brokers, clock_speed: float) -> Iterator[System]:
    quick = {
        "SEGUE_SWEEP_SECONDS": "0.3",
        "SEGUE_ERASURE_SWEEP_SECONDS": "0.3",
        "SEGUE_COMMAND_PATIENCE_SECONDS": "1",
        "SEGUE_INBOUND_PATIENCE_SECONDS": "0.5",
    }
    folder = tmp_path_factory.mktemp("segue")
    with system(
        folder, brokers, clock_speed=clock_speed, settings=quick, supervised=True, faults=True
    ) as running:
        yield running


@pytest.fixture
async def database(segue: System) -> AsyncIterator[Database]:
    told = {name.removeprefix("SEGUE_").lower(): value for name, value in segue.environment.items()}
    wanted = ("kafka_bootstrap_servers", "mongodb_uri", "mongodb_database")
    async with connect(ServiceSettings(**{name: told[name] for name in wanted})) as database:  # type: ignore[arg-type]
        yield database


async def everything(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All documents of all collections, the pieces of files among them."""
    collections = await database._raw.list_collection_names()
    return {name: await database.collection(name).find({}) for name in collections}


def found_in(value: object, words: list[str]) -> set[str]:
    text = str(value).lower()
    return {word for word in words if word in text}


async def marks_in_documents(database: Database) -> dict[str, set[str]]:
    """By collection, the words that are somewhere in it."""
    marks = {
        name: set().union(*(found_in(doc, [*PLANTED, DIGITS]) for doc in docs))
        for name, docs in (await everything(database)).items()
    }
    return {name: words for name, words in marks.items() if words}


async def marks_in_topics(segue: System) -> dict[str, set[str]]:
    """By topic, the words that are in its records."""
    prefix = segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"], auto_offset_reset="earliest"
    )
    await consumer.start()
    marks: dict[str, set[str]] = {}
    try:
        for topic in TOPICS:
            own = [TopicPartition(prefix + topic.name, n) for n in range(topic.partitions)]
            consumer.assign(own)
            ends = await consumer.end_offsets(own)
            await consumer.seek_to_beginning(*own)
            while any([await consumer.position(each) < ends[each] for each in own]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    for record in records:
                        words = found_in((record.key, record.value, record.headers), PLANTED)
                        marks.setdefault(topic.name, set()).update(words)
    finally:
        await consumer.stop()
    return {name: words for name, words in marks.items() if words}


def marks_in_logs(segue: System) -> set[str]:
    logs = list((segue.folder / "logs").iterdir())
    assert logs, "the services write logs"
    return set().union(*(found_in(log.read_text(errors="replace"), PLANTED) for log in logs))


async def plant(
    client: Client, mailbox: Mapping[str, Any], mails: Mails, clock: Clock, database: Database
) -> str:
    """The person in every place that knows people; the enrollment that waits."""
    called = await client.publish(CALL)
    first = await client.enroll(called, WHO, **FACTS)
    (hello,) = await mails(AT, 1)
    await client.reached(first, "awaiting_task")
    task = f"/v1/tasks/{first}:call/done"
    await client.post(task, {"result": "no_answer", "note": "qzxnote: her dog barked"})
    await client.reached(first, "finished")
    await client.receive(mailbox, prospects.reply(hello, "qzxreply: yes, on Monday", at=clock.now()))
    large = prospects.reply(hello, "qzxlarge: " + "all of my letters\n" * 8000, at=clock.now())
    await client.receive(mailbox, large)
    loose = EmailMessage()
    loose["From"], loose["To"], loose["Subject"] = AT, mailbox["address"], "qzxloose"
    loose.set_content("qzxloose: another matter")
    await client.receive(mailbox, loose.as_bytes())
    # What they said stops whatever they are enrolled in until it has taken effect.
    await eventually(
        lambda: database.collection(names.INBOUND).find({"state": "settled"}, projection={"_id": 1}),
        until=lambda settled: len(settled) == 3,
    )
    waiting = await client.publish(WAIT)
    second = await client.enroll(waiting, WHO, **FACTS)
    await mails(AT, 2)
    await client.reached(second, "scheduled")
    await client.post(f"/v1/enrollments/{second}/edit", {"stages": {"call": {"text": "qzxedit {{pet}}"}}})
    await client.post(f"/v1/enrollments/{second}/pause", {"reason": "qzrpause"})
    rows = f"external_id,email,first_name\nother,other@there.example,Olga\n,{AT},Qzxfirst\n{WHO},,Qzxfirst\n"
    made = await client.post_text(f"/v1/sequences/{waiting}/lists", rows, "text/csv")
    await eventually(
        lambda: client.get(f"/v1/lists/{made['id']}"), until=lambda each: not each["counts"].get("unchecked")
    )
    await client.post(f"/v1/lists/{made['id']}/test", {"row": 4})
    return second


@pytest.fixture
async def access(segue: System) -> Access:
    return segue.bootstrap("erasing", "ana@ourco.example")


@pytest.fixture
async def client(segue: System, access: Access) -> AsyncIterator[Client]:
    async with Client(segue.url, access) as client:
        yield client


@pytest.fixture
def me(segue: System, access: Access, tmp_path: Path) -> Iterator[Reader]:
    with reader(segue, access, tmp_path) as following:
        yield following


async def test_an_erased_person_is_nowhere_whatever_is_killed_meanwhile_and_a_restored_backup_stays_clean(
    client: Client,
    mailbox: dict[str, Any],
    mails: Mails,
    clock: Clock,
    segue: System,
    database: Database,
    me: Reader,
    tmp_path: Path,
) -> None:
    waiting = await plant(client, mailbox, mails, clock, database)
    other = await client.enroll(await client.publish(WAIT), "other")
    await mails("other@there.example", 1)
    before = await everything(database)
    taken = str(tmp_path / "taken")
    await asyncio.to_thread(me.run, f"mkdir {taken}; cd {taken}; PERSON={WHO}")
    await asyncio.to_thread(follow, me, taken, "Look")
    exported = orjson.loads((tmp_path / "taken" / "person.json").read_bytes())
    assert words_in_export(exported) >= {*PLANTED, DIGITS}

    for service, point in (
        ("scheduler", "scheduler.enrollments_forgotten"),
        ("sender", "sender.delivery_forgotten"),
        ("reply_detector", "reply_detector.person_raw_deleted"),
        ("api", "api.rows_forgotten"),
    ):
        segue.plan_fault(service, point)
    await asyncio.to_thread(follow, me, taken, "Do")
    erased = await erasure_done(client, WHO)
    await asyncio.to_thread(follow, me, taken, "Over when")
    assert await marks_in_documents(database) == {}
    assert (await client.enrollment(waiting))["stop"]["reason"] == "erased"
    assert erased["erased"]["reply_detector"]["messages"] >= 3
    assert (await client.enrollment(other))["prospect"]["first_name"] == "Other"
    personal = {topic.name for topic in TOPICS if topic.personal_data}
    assert {
        name: words for name, words in (await marks_in_topics(segue)).items() if name not in personal
    } == {}
    assert marks_in_logs(segue) == set()
    history = [chapter["type"] for chapter in (await client.enrollment(waiting))["history"]]
    assert history[-2:] == ["stopped", "erased"]
    sequence = await client.publish(WAIT)
    assert [r["code"] for r in await client.refusal(sequence, WHO)] == ["erased"]
    assert [r["code"] for r in await client.refusal(sequence, "qzxelse", email=AT)] == ["suppressed"]

    await restore(database, before)
    assert await marks_in_documents(database) != {}
    await asyncio.to_thread(follow, me, taken, "After a restore")
    await erasure_done(client, WHO)
    assert await marks_in_documents(database) == {}


def follow(me: Reader, folder: str, section: str) -> None:
    """The lines of a section of the page, in a folder of the reader's own."""
    for block in blocks(PAGES / "erasure.md"):
        if block.section == section:
            me.run(f"cd {folder}\n{block.lines}")


async def restore(database: Database, before: Mapping[str, list[dict[str, Any]]]) -> None:
    """What stood in the backup stands there again, and what came after it is gone.

    But for the marks by which the services notice a restore: what is to be done then is another page's.
    """
    for name in set(await database._raw.list_collection_names()) - {names.MARKS}:
        collection = database._raw[name]
        await collection.delete_many({})
        if before.get(name):
            await collection.insert_many(before[name])


def words_in_export(exported: Mapping[str, Any]) -> set[str]:
    """In the export, and in the messages in it as a mail program shows them."""
    words = found_in(orjson.dumps(exported).decode(), [*PLANTED, DIGITS])
    for message in exported["kept"]["inbound"]:
        mail = email.message_from_string(message["raw"], policy=email.policy.default)
        words |= found_in(mail.as_string(), PLANTED)
    return words


async def erasure_done(client: Client, who: str) -> dict[str, Any]:
    path = f"/v1/people/{who}/erasure"

    async def look() -> dict[str, Any]:
        with contextlib.suppress(aiohttp.ClientError):  # the API was killed, and comes back
            return await client.get(path)
        return {"state": "unknown"}

    return await eventually(look, until=lambda shown: shown["state"] == "erased", seconds=90)
