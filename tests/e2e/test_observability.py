"""Who watches a running Segue: the alerts that are shipped fire in a real Prometheus, and the whole way of an
enrollment is one chain of traces. One system for both, for starting it is most of the time.
"""

import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
import yaml

from chassis.clock import Clock
from chassis.kafka import Publisher, Record
from chassis.settings import KafkaSettings
from segue_contracts.topics import ENROLLMENT_COMMANDS
from stack import prospects
from stack.brokers import Brokers
from stack.client import Client, eventually
from stack.collector import Collector, Told
from stack.mail_script import Refuse
from stack.ports import free_port
from stack.processes import Process, http_ok
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer
from stack.system import System, system

pytestmark = [pytest.mark.stack, pytest.mark.slow]

Mails = Callable[[str, int], Awaitable[list[EmailMessage]]]

RULES = Path(__file__).parents[2] / "deploy" / "monitoring" / "rules" / "segue.yaml"
JOBS = {"reply_detector": "segue-reply-detector", "watcher": "segue-mailbox-watcher"}
LATER = TWO_MAILS.replace("2 days", "30 days")
OUTCOME = "segue.stage.outcomes.v1 process"
STOPPED = "segue.enrollment.stops.v1 process"
WORDS = "Yes, let us talk on Monday!"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def segue(
    tmp_path_factory: pytest.TempPathFactory, brokers: Brokers, collector: Collector
) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("segue")
    settings = {"SEGUE_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with system(folder, brokers, clock_speed=600.0, settings=settings, watcher=True) as running:
        yield running


# ---- traces -------------------------------------------------------------------------------------------


@pytest.fixture
async def answered(
    client: Client,
    mailbox: dict[str, Any],
    mails: Mails,
    clock: Clock,
    collector: Collector,
    request: pytest.FixtureRequest,
) -> tuple[str, Sequence[Told]]:
    """An enrollment that an answer has stopped, and every span until then."""
    who = f"noor{len(request.node.name)}"  # the mail server is everybody's
    enrollment = await client.enroll(await client.publish(LATER), who)
    (hello,) = await mails(f"{who}@there.example", 1)
    await client.receive(mailbox, prospects.reply(hello, WORDS, at=clock.now()))
    await client.reached(enrollment, "stopped")

    async def spans() -> Sequence[Told]:
        return collector.spans()

    def are_all(told: Sequence[Told]) -> bool:
        ends = {each.name for each in told if each.attributes.get("segue.key") == enrollment}
        return {STOPPED, OUTCOME} <= ends and {"smtp", "message judged"} <= {each.name for each in told}

    return enrollment, await eventually(spans, until=are_all)


def the_only(spans: Sequence[Told], name: str, *, trace: str = "", **attributes: str) -> Told:
    """The span of that name, in that trace, with these attributes."""
    wanted = {f"segue.{key}": value for key, value in attributes.items()}
    (found,) = [
        each
        for each in spans
        if each.name == name and trace in ("", each.trace) and wanted.items() <= each.attributes.items()
    ]
    return found


async def test_from_the_request_over_the_mail_to_the_stop_every_step_names_the_one_before(
    answered: tuple[str, Sequence[Told]],
) -> None:
    enrollment, spans = answered
    request = the_only(spans, "POST /v1/sequences/{sequence_id}/enrollments")
    enrolled = the_only(spans, "segue.enrollment.commands.v1 process", key=enrollment)
    assert (request.service, enrolled.service) == ("segue-api", "segue-scheduler")
    assert (enrolled.trace, enrolled.parent) == (request.trace, request.id)
    # Days may lie between: the dispatch has a trace of its own, linked to the enroll.
    due = the_only(spans, "stage due", enrollment_id=enrollment)
    assert due.links == (enrolled.id,)
    claimed = the_only(spans, "segue.stage.due.v1 process", key=enrollment)
    smtp = the_only(spans, "smtp", trace=due.trace)
    outcome = the_only(spans, OUTCOME, trace=due.trace)
    assert (claimed.parent, smtp.parent, outcome.parent) == (due.id, claimed.id, claimed.id)
    assert claimed.trace == due.trace
    assert smtp.attributes["segue.answer"] == "Accepted"
    # So has the answer, linked to the delivery that it names.
    arrived = the_only(spans, "POST /v1/inbound/{mailbox_id}")
    judged = the_only(spans, "message judged")
    stopped = the_only(spans, STOPPED, key=enrollment)
    assert judged.links == (claimed.id,)
    assert judged.service == "segue-reply-detector"
    assert {each.trace for each in (judged, stopped)} == {arrived.trace}


async def test_no_span_holds_what_people_wrote_or_are_called(answered: tuple[str, Sequence[Told]]) -> None:
    _, spans = answered
    told = " ".join(f"{each.name} {each.attributes}" for each in spans).lower()
    for personal in ("noor", "there.example", "ana@", "monday", "49 30"):
        assert personal not in told


# ---- alerts -------------------------------------------------------------------------------------------


def target(process: Process) -> str:
    return f"127.0.0.1:{process.env['SEGUE_HTTP_PORT']}"


@pytest.fixture(scope="module")
def prometheus(segue: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that looks at Segue each second, and whose alerts wait for nothing; its address."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is missing: apt-get install prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    rules = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.pop("for", None)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    scraped = [
        {
            "job_name": JOBS.get(name, f"segue-{name}"),
            "static_configs": [{"targets": [target(process)]}],
        }
        for name, process in segue.processes.items()
    ]
    often = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": often, "rule_files": ["rules.yaml"], "scrape_configs": scraped}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = free_port()
    process = Process(
        "prometheus",
        [
            "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        log_folder=folder,
        ready=http_ok(f"http://127.0.0.1:{port}/-/ready"),
    )
    process.start()
    yield f"http://127.0.0.1:{port}"
    process.stop()


async def ask(prometheus: str, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{prometheus}/api/v1/{path}") as answer:
        return (await answer.json())["data"]


async def metrics(process: Process) -> str:
    url = f"http://{target(process)}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def fires(prometheus: str, alert: str, **labels: str) -> None:
    """Wait for it."""
    wanted = {"alertname": alert, **labels}

    async def look() -> list[dict[str, str]]:
        return [each["labels"] for each in (await ask(prometheus, "alerts"))["alerts"]]

    await eventually(look, until=lambda firing: any(wanted.items() <= each.items() for each in firing))


async def test_every_rule_has_its_numbers_and_a_segue_at_rest_fires_none(
    segue: System, prometheus: str
) -> None:
    async def up() -> int:
        found = (await ask(prometheus, "query?query=sum(up)"))["result"]
        return int(found[0]["value"][1]) if found else 0

    await eventually(up, until=lambda count: count == len(segue.processes))

    async def rules() -> list[dict[str, Any]]:
        return [rule for group in (await ask(prometheus, "rules"))["groups"] for rule in group["rules"]]

    def judged(found: list[dict[str, Any]]) -> bool:
        return all(rule["health"] == "ok" and rule["state"] == "inactive" for rule in found)

    found: list[dict[str, Any]] = await eventually(rules, until=judged)
    assert len(found) == 17
    told = "".join([await metrics(process) for process in segue.processes.values()])
    served = set(re.findall(r"^# TYPE (segue_[a-z_]+) ", told, re.MULTILINE))
    asked = re.findall(r"segue_[a-z_]+", " ".join(rule["query"] for rule in found))
    assert {name.removesuffix("_bucket") for name in asked} <= served


async def test_a_record_that_is_none_fires_dead_letters(segue: System, prometheus: str) -> None:
    settings = KafkaSettings(
        kafka_bootstrap_servers=segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        kafka_topic_prefix=segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"],
    )
    async with Publisher(settings) as publisher:
        await publisher.publish([Record(ENROLLMENT_COMMANDS.name, str(uuid4()).encode(), b"no JSON")])
    await fires(prometheus, "SegueDeadLetters", topic=ENROLLMENT_COMMANDS.name)


async def test_a_mailbox_that_its_server_refuses_fires_mailbox_held(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, prometheus: str
) -> None:
    mail.answer("iris@there.example", Refuse(at="rcpt", reply="550 5.7.1 this sender is blocked"))
    await client.enroll(await client.publish(TWO_MAILS), "iris")
    await fires(prometheus, "SegueMailboxHeld")


async def test_a_bounce_at_the_server_is_counted_and_charged_to_its_mailbox(
    client: Client, mailbox: dict[str, Any], mail: SmtpServer, segue: System
) -> None:
    mail.answer("gone@there.example", Refuse(at="rcpt", reply="550 5.1.1 no such user"))
    stopped = await client.enroll(await client.publish(TWO_MAILS), "gone")
    await client.reached(stopped, "stopped")
    told = await metrics(segue.processes["sender"])
    assert "segue_sender_bounced_total 1.0" in told
    answer = f'{{answer="rejected",mailbox_id="{mailbox["id"]}"}} 1.0'
    assert f"segue_sender_mailbox_answers_total{answer}" in told


# ---- what goes away, in the end -----------------------------------------------------------------------


async def test_a_collector_that_is_away_keeps_nobody_waiting(
    client: Client, mailbox: dict[str, Any], mails: Mails, clock: Clock, collector: Collector, segue: System
) -> None:
    collector.__exit__(None, None, None)
    enrollment = await client.enroll(await client.publish(LATER), "omar")
    (hello,) = await mails("omar@there.example", 1)
    await client.receive(mailbox, prospects.reply(hello, WORDS, at=clock.now()))
    await client.reached(enrollment, "stopped")
    sender = segue.processes["sender"]
    assert sender.stop() == 0


async def test_a_service_that_is_gone_fires_service_down(segue: System, prometheus: str) -> None:
    segue.processes["sender"].stop()
    await fires(prometheus, "SegueServiceDown", job="segue-sender")
