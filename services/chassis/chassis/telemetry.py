"""Logs and metrics with a closed vocabulary: a log line is a constant message plus fields with a stable
`action`.

Never log bodies, names or addresses: ids only.

    log.info("batch handled", extra=fields("kafka.batch", records=12))
"""

import contextlib
import logging
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
# A further series for each counter, which nothing asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]

CORRELATION_HEADER = "segue_correlation_id"
SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LATEST_IDS = 2000
"""Of mailboxes, or of sequences, in one process."""

_correlation: ContextVar[str | None] = ContextVar("segue_correlation_id", default=None)
_bound: ContextVar[dict[str, Any] | None] = ContextVar("segue_log_fields", default=None)


def fields(action: str, **values: Any) -> dict[str, Any]:
    """What a log call passes as `extra`: a stable action and its fields."""
    return {"action": action, "fields": values}


def correlation_id() -> str | None:
    """The id that ties the log lines and records of one piece of work together, if any is set."""
    return _correlation.get()


@contextlib.contextmanager
def correlated(correlation: str | None, **values: Any) -> Iterator[None]:
    """Within the block every log line carries `correlation_id` and `values`, and published records the id."""
    tokens = _correlation.set(correlation), _bound.set({**(_bound.get() or {}), **values})
    try:
        yield
    finally:
        _correlation.reset(tokens[0])
        _bound.reset(tokens[1])


def correlation_of(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The correlation id that a record's producer had, if it sent one that can be read."""
    for name, value in headers:
        if name == CORRELATION_HEADER:
            return value.decode("ascii", "replace")[:100]
    return None


class JsonFormatter(logging.Formatter):
    """One JSON object per line; libraries' own messages are formatted into `message`."""

    def __init__(self, service: str, instance: str) -> None:
        super().__init__()
        self._fixed = {"service": service, "instance": instance}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._fixed,
            **(_bound.get() or {}),
        }
        if (correlation := _correlation.get()) is not None:
            line["correlation_id"] = correlation
        if (action := getattr(record, "action", None)) is not None:
            line["action"] = action
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = "".join(traceback.format_exception(*record.exc_info))[-8000:]
        return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def configure_logging(level: str, service: str, instance: str) -> None:
    """Send every logger's lines to stderr as JSON; the clients' chatter only from WARNING up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service, instance))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("aiokafka", "pymongo", "aiohttp.access", "asyncio", "faust", "mode"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
    """A counter of this process; `name` begins with `segue_`, Prometheus adds `_total`."""
    return Counter(name, documentation, labels, registry=REGISTRY)


def gauge(name: str, documentation: str, labels: Sequence[str] = ()) -> Gauge:
    """A gauge of this process."""
    return Gauge(name, documentation, labels, registry=REGISTRY)


def histogram(
    name: str,
    documentation: str,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = SECONDS_BUCKETS,
) -> Histogram:
    """A histogram of this process, of seconds unless `buckets` say otherwise."""
    return Histogram(name, documentation, labels, registry=REGISTRY, buckets=buckets)


class Latest:
    """A counter by an id of which there are many: only the ids that were counted last have a series here.

    Series are what a metrics server pays for, and each process has its own. An id that was left out begins
    anew at zero, as after a restart.
    """

    def __init__(
        self, name: str, documentation: str, id_label: str, labels: Sequence[str], *, most: int = LATEST_IDS
    ) -> None:
        self._counter = counter(name, documentation, (id_label, *labels))
        self._most = most
        self._kinds: OrderedDict[str, set[tuple[str, ...]]] = OrderedDict()

    def count(self, of: object, *labels: str, by: int = 1) -> None:
        """Add to the id's series."""
        name = str(of)
        self._kinds.setdefault(name, set()).add(labels)
        self._kinds.move_to_end(name)
        self._counter.labels(name, *labels).inc(by)
        if len(self._kinds) > self._most:
            oldest, kinds = self._kinds.popitem(last=False)
            for each in kinds:
                self._counter.remove(oldest, *each)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(REGISTRY)


@contextlib.contextmanager
def timed(metric: Histogram) -> Iterator[None]:
    """Observe how many seconds the block took, also when it raised."""
    began = time.perf_counter()
    try:
        yield
    finally:
        metric.observe(time.perf_counter() - began)
