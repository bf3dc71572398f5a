"""Spans: none without an endpoint or a context, each within or linked to what it goes on from."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from pydantic import HttpUrl

from chassis import tracing
from chassis.kafka import Received
from chassis.settings import TracingSettings
from stack.collector import Collector, Told

GIVEN = f"00-{'a1' * 16}-{'b2' * 8}-01"
NOT_SAMPLED = GIVEN.removesuffix("01") + "00"
ENROLLMENT = "3f3d9524-016e-5dad-9cb1-bb237edb785b"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


def settings(url: str, share: float = 1.0) -> TracingSettings:
    return TracingSettings(otlp_endpoint=HttpUrl(url), traced_share=share)


def received(key: str, context: str | None) -> Received:
    headers = ((tracing.HEADER, context.encode()),) if context else ()
    return Received("segue.stage.due.v1", 0, 0, key.encode(), b"{}", headers, 0)


def by_name(collector: Collector) -> dict[str, Told]:
    return {each.name: each for each in collector.spans()}


def test_without_an_endpoint_nothing_of_opentelemetry_is_imported() -> None:
    program = """
import sys
from chassis import tracing
from chassis.settings import TracingSettings
import chassis.service  # everything else of OpenTelemetry an import rule forbids
with tracing.telling(TracingSettings(), "x", "1"):
    span = tracing.begin("step", entry=True)
assert span is tracing.NONE
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("context", [None, "", NOT_SAMPLED, "00-zz-1-01", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_step_that_goes_on_from_nothing_is_no_span(collector: Collector, context: str | None) -> None:
    with tracing.telling(settings(collector.url), "x", "1"):
        assert tracing.begin("step", parent=context, links=[context]) is tracing.NONE
    assert not collector.spans()


def test_only_an_entry_begins_a_trace_and_only_for_its_share(collector: Collector) -> None:
    with tracing.telling(settings(collector.url, share=0.0), "x", "1"):
        tracing.begin("left out", entry=True).end()
        tracing.begin("went on", parent=GIVEN, entry=True).end()
        tracing.begin("not chosen before", parent=NOT_SAMPLED, entry=True).end()
    with tracing.telling(settings(collector.url), "x", "1"):
        tracing.begin("began", entry=True).end()
    assert by_name(collector).keys() == {"went on", "began"}
    assert by_name(collector)["went on"].parent == "b2" * 8


def test_a_link_begins_a_trace_of_its_own(collector: Collector) -> None:
    with tracing.telling(settings(collector.url), "x", "1"):
        context = tracing.moment("later", links=[None, GIVEN], attempt=1)
    (later,) = collector.spans()
    assert later.links == ("b2" * 8,)
    assert later.trace != "a1" * 16
    assert context == f"00-{later.trace}-{later.id}-01"
    assert later.attributes == {"segue.attempt": 1}


def test_what_is_published_about_a_record_goes_on_from_its_span_and_from_no_other(
    collector: Collector,
) -> None:
    other = "6fbc950a-49e8-5218-a30c-c14710605d0c"
    with (
        tracing.telling(settings(collector.url), "x", "1"),
        tracing.handling([received(ENROLLMENT, GIVEN), received(other, None)]),
    ):
        ((name, value),) = tracing.headers(ENROLLMENT.encode(), ())
        assert tracing.headers(other.encode(), ()) == ()
        assert tracing.headers(ENROLLMENT.encode(), ((name, b"its own"),)) == ()
        assert tracing.context(other) is None
        assert tracing.kept(other) == {}  # type: ignore[arg-type]  # ids are their words
    (span,) = collector.spans()
    assert (span.name, span.parent) == ("segue.stage.due.v1 process", "b2" * 8)
    assert value.decode() == f"00-{span.trace}-{span.id}-01"


def test_a_key_that_is_no_id_of_ours_is_not_told(collector: Collector) -> None:
    with (
        tracing.telling(settings(collector.url), "x", "1"),
        tracing.handling([received("ana@there.example", GIVEN)]),
    ):
        pass
    (span,) = collector.spans()
    assert span.attributes["segue.key"] == ""


def test_both_records_of_one_key_have_their_spans_and_a_failure_is_told_by_its_kind(
    collector: Collector,
) -> None:
    batch = [received(ENROLLMENT, GIVEN), received(ENROLLMENT, GIVEN)]
    with (
        tracing.telling(settings(collector.url), "x", "1"),
        pytest.raises(ValueError, match="secret"),
        tracing.handling(batch),
    ):
        raise ValueError("a secret")
    assert [each.attributes["segue.error"] for each in collector.spans()] == ["ValueError"] * 2


def test_a_collector_that_never_answers_holds_up_neither_the_work_nor_the_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with tracing.telling(settings(url), "x", "1"):
            began = time.monotonic()
            for _ in range(5000):  # more than the queue holds
                tracing.begin("step", entry=True).end()
            worked = time.monotonic() - began
        closed = time.monotonic() - began - worked
    assert worked < tracing.EXPORT_SECONDS
    assert closed < tracing.CLOSING_SECONDS + 1
