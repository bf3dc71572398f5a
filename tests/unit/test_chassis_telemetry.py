"""A log line is a constant message with fields, an action and a correlation id, in JSON."""

import asyncio
import logging
import sys
from typing import Any
from uuid import uuid4

import orjson
import pytest

from chassis.telemetry import (
    CORRELATION_HEADER,
    JsonFormatter,
    Latest,
    configure_logging,
    correlated,
    correlation_id,
    correlation_of,
    counter,
    exposition,
    fields,
    histogram,
    timed,
)


def line(**extra: Any) -> dict[str, Any]:
    record = logging.LogRecord("scheduler.due", logging.INFO, "due.py", 1, "batch handled", (), None)
    for name, value in extra.items():
        setattr(record, name, value)
    told: dict[str, Any] = orjson.loads(JsonFormatter("scheduler", "pod-1").format(record))
    return told


def test_a_line_carries_message_action_fields_and_where_it_comes_from() -> None:
    enrollment = uuid4()
    told = line(**fields("due.batch", records=3, enrollment_id=enrollment))
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "scheduler.due",
        "message": "batch handled",
        "service": "scheduler",
        "instance": "pod-1",
        "action": "due.batch",
        "records": 3,
        "enrollment_id": str(enrollment),
    }


def test_an_exception_is_told_with_its_traceback() -> None:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        told = line(exc_info=sys.exc_info())
    assert "ZeroDivisionError" in told["error"]


async def test_correlation_stays_within_its_block_and_its_task() -> None:
    async def other() -> str | None:
        return correlation_id()

    unrelated = asyncio.create_task(other())
    with correlated("c-1", group="workers"):
        assert line()["correlation_id"] == "c-1"
        with correlated("c-2", topic="things"):
            told = line()
        assert (told["correlation_id"], told["group"], told["topic"]) == ("c-2", "workers", "things")
        assert "topic" not in line()
    assert await unrelated is None
    assert "correlation_id" not in line()


def test_a_records_correlation_id_is_read_from_its_headers() -> None:
    assert correlation_of([("a", b"b"), (CORRELATION_HEADER, b"c-1")]) == "c-1"
    assert correlation_of([(CORRELATION_HEADER, b"\xff" * 500)]) is not None
    assert correlation_of([]) is None


def test_metrics_of_the_process_are_exposed() -> None:
    counter("segue_test_things", "Things", ["kind"]).labels("good").inc(2)
    with timed(histogram("segue_test_seconds", "Seconds")):
        pass
    told = exposition().decode()
    assert 'segue_test_things_total{kind="good"} 2.0' in told
    assert "segue_test_seconds_count 1.0" in told


def test_of_many_ids_only_those_counted_last_have_series() -> None:
    latest = Latest("segue_test_latest", "By mailbox", "mailbox_id", ["answer"], most=2)
    for mailbox, answer in (("a", "sent"), ("a", "soft"), ("b", "sent"), ("a", "sent"), ("c", "sent")):
        latest.count(mailbox, answer)
    told = exposition().decode()
    assert 'segue_test_latest_total{answer="sent",mailbox_id="a"} 2.0' in told
    assert 'segue_test_latest_total{answer="sent",mailbox_id="c"} 1.0' in told
    assert 'mailbox_id="b"' not in told
    assert "_created" not in told
    latest.count("d", "sent")
    assert 'mailbox_id="a"' not in exposition().decode()


def test_everything_is_logged_as_one_json_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("INFO", "scheduler", "pod-1")
        logging.getLogger("some.library").warning("%d of\n%d", 1, 2)
        logging.getLogger("aiokafka").info("chatter")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    (only,) = capsys.readouterr().err.splitlines()
    assert orjson.loads(only)["message"] == "1 of\n2"
