"""Spans of the few steps that a message passes, told over OTLP; without an endpoint, nothing is imported.

A context is its `traceparent` (W3C Trace Context): a header between services, and a field of the documents
that wait for days between two steps. A span has ids and names of steps, and never what people wrote.

Only an entry begins a trace by itself, for a share of what comes in. Every other step goes on with a context
that it was given, or begins a trace that is linked to one; without any there is no span, and no cost.
"""

import contextlib
import random
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol
from uuid import UUID

from chassis.settings import TracingSettings

HEADER: Final = "traceparent"
FIELD: Final = "traceparent"
CONTEXT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f][13579bdf]")
"""A sampled one; another one is as good as none."""
EXPORT_SECONDS: Final = 5.0
CLOSING_SECONDS: Final = 2.0

Headers = tuple[tuple[str, bytes], ...]


class Carried(Protocol):
    """What a span needs of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class Span:
    """A step that has begun; without a context it is none."""

    __slots__ = ("_span", "context")

    def __init__(self, span: Any = None, context: str | None = None) -> None:
        self._span = span
        self.context = context

    def note(self, **attributes: object) -> None:
        """Say more about the step."""
        if self._span is not None:
            self._span.set_attributes(_plain(attributes))

    def end(self) -> None:
        """The step is over."""
        if self._span is not None:
            self._span.end()


NONE: Final = Span()

_tracing: "_Tracing | None" = None
_in_hand: ContextVar[Mapping[bytes | None, str]] = ContextVar("segue_traces", default={})  # noqa: B039 - never changed


def begin(
    name: str,
    *,
    parent: str | None = None,
    links: Iterable[str | None] = (),
    entry: bool = False,
    **attributes: object,
) -> Span:
    """A span within `parent`; or the first of a trace that is linked to others, or that an entry begins."""
    if _tracing is None:
        return NONE
    return _tracing.begin(name, parent, [link for link in links if link], entry, attributes)


def moment(name: str, **how: Any) -> str | None:
    """The context of a step that takes no time; see `begin`."""
    span = begin(name, **how)
    span.end()
    return span.context


def context(key: object = None) -> str | None:
    """The context of what is in hand: of the record with this key, or of the only thing there is."""
    in_hand = _in_hand.get()
    if key is not None:
        return in_hand.get(str(key).encode())
    return next(iter(in_hand.values())) if len(in_hand) == 1 else None


def kept(key: UUID) -> dict[str, str]:
    """What a document keeps of the context of the record with this key: one field, or none."""
    found = context(key)
    return {FIELD: found} if found else {}


def headers(record_key: bytes | None, present: Headers) -> Headers:
    """What a record to be published lacks: the context of the record in hand with its key."""
    if _tracing is None or record_key is None or any(name == HEADER for name, _ in present):
        return ()
    found = _in_hand.get().get(record_key)
    return ((HEADER, found.encode()),) if found else ()


@contextlib.contextmanager
def working(span: Span) -> Iterator[Span]:
    """Within the block this is what is in hand; then it ends."""
    if span.context is None:
        yield span
        return
    token = _in_hand.set({None: span.context})
    try:
        yield span
    except BaseException as error:
        span.note(error=type(error).__name__)
        raise
    finally:
        _in_hand.reset(token)
        span.end()


@contextlib.contextmanager
def handling(records: Sequence[Carried]) -> Iterator[None]:
    """Within the block these records are in hand: a span for each that came with a context."""
    if _tracing is None:
        yield
        return
    begun = [(record.key, span) for record in records if (span := _of_record(record)) is not NONE]
    token = _in_hand.set({key: span.context for key, span in begun if span.context is not None})
    try:
        yield
    except BaseException as error:
        for _, span in begun:
            span.note(error=type(error).__name__)
        raise
    finally:
        _in_hand.reset(token)
        for _, span in begun:
            span.end()


def _of_record(record: Carried) -> Span:
    raw = next((value for name, value in record.headers if name == HEADER), None)
    if raw is None:
        return NONE
    parent = raw.decode("ascii", "replace")
    return begin(f"{record.topic} process", parent=parent, topic=record.topic, key=_key(record.key))


def _key(key: bytes | None) -> str:
    """Only an id of ours is told: a producer may put anything there."""
    try:
        return str(UUID((key or b"").decode("ascii", "replace")))
    except ValueError:
        return ""


# ---- telling ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def telling(settings: TracingSettings, service: str, instance: str) -> Iterator[None]:
    """Within the block spans go to the endpoint, if there is one; at the end what waits has 2 s.

    They are told by a thread of its own from a bounded queue: what does not fit, or is not taken, is lost,
    and nobody waits for it.
    """
    global _tracing
    if settings.otlp_endpoint is None:
        yield
        return
    _tracing = _Tracing(settings, service, instance)
    try:
        yield
    finally:
        closing, _tracing = _tracing, None
        closing.close()


class _Tracing:
    """OpenTelemetry's SDK, imported here and nowhere else."""

    def __init__(self, settings: TracingSettings, service: str, instance: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        named = {"service.name": f"segue-{service}", "service.instance.id": instance}
        endpoint = f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces"
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS)
        # What is told is decided here: a linked trace goes on with the decision of the one before it.
        self._provider = TracerProvider(ALWAYS_ON, Resource(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("segue")
        self._share = settings.traced_share
        self._trace = trace

    def begin(
        self,
        name: str,
        parent: str | None,
        links: Sequence[str],
        entry: bool,
        attributes: Mapping[str, object],
    ) -> Span:
        within = self._read(parent) if parent else None
        linked = [found for link in links if (found := self._read(link)) is not None]
        chosen = entry and not parent and random.random() < self._share  # noqa: S311 - no secret
        if within is None and not linked and not chosen:
            return NONE
        span = self._tracer.start_span(
            name,
            context=self._trace.set_span_in_context(self._trace.NonRecordingSpan(within)) if within else None,
            attributes=_plain(attributes),
            links=[self._trace.Link(each) for each in linked],
        )
        made = span.get_span_context()
        return Span(span, f"00-{made.trace_id:032x}-{made.span_id:016x}-01")

    def _read(self, context: str) -> Any:
        found = CONTEXT.fullmatch(context)
        if found is None:
            return None
        trace_id, span_id = (int(part, 16) for part in found.groups())
        sampled = self._trace.TraceFlags(self._trace.TraceFlags.SAMPLED)
        made = self._trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=sampled)
        return made if made.is_valid else None

    def close(self) -> None:
        """The SDK's own way may wait half a minute for a collector that is away."""
        closing = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        closing.start()
        closing.join(CLOSING_SECONDS)


def _plain(attributes: Mapping[str, object]) -> dict[str, Any]:
    """As OpenTelemetry takes them."""
    return {
        f"segue.{name}": value if isinstance(value, int | float | bool) else str(value)
        for name, value in attributes.items()
    }
