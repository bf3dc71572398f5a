"""Writes what could not be handled to the dead-letter topic, with where it came from and why."""

import logging
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime

from chassis.errors import Reject
from chassis.kafka.publisher import MAX_RECORD_BYTES, Publisher
from chassis.kafka.records import Headers, Received, Record
from chassis.telemetry import counter, fields
from segue_contracts.codec import UNKNOWN_TYPE
from segue_contracts.topics import DEAD_LETTERS

log = logging.getLogger(__name__)

PREFIX = "segue_dead_"
CEILING = 20
TRACE_BYTES = 4000
ERROR_BYTES = 500
SPARE_BYTES = 1000
"""Left free where a trace is carried."""
CUT = "cut"
CUT_BYTES = 64 * 1024

PARKED = counter("segue_dead_letters", "Records that were dead-lettered", ["group", "topic", "code"])


def is_of_a_newer_release(error: BaseException) -> bool:
    """Whether the record may be well: of a type that this release does not know. To stop for it would stop a
    rollout, so it does not count as one of many in a row.
    """
    return isinstance(error, Reject) and error.code == UNKNOWN_TYPE


class DeadLetters:
    """Parks records on the dead-letter topic; `ceiling` in a row are a bad deploy and stop the consumer."""

    def __init__(self, publisher: Publisher, *, ceiling: int = CEILING) -> None:
        self.ceiling = ceiling
        self._publisher = publisher

    async def put(self, received: Received, error: BaseException, *, group: str, attempts: int) -> None:
        """Returns when the letter is durable; raises Retry otherwise. Key, value and headers stay as they
        were.
        """
        labels = _labels(received, error, group, attempts)
        await self._publisher.publish([letter(received, labels)])
        code = labels["code"].decode()
        PARKED.labels(group, received.topic, code).inc()
        log.error(
            "record dead-lettered",
            extra=fields(
                "kafka.dead_letter",
                topic=received.topic,
                partition=received.partition,
                offset=received.offset,
                group=group,
                code=code,
                attempts=attempts,
            ),
        )


def letter(received: Received, labels: Mapping[str, bytes]) -> Record:
    """The dead letter of a record: itself, and labels in headers.

    A record that its labels would push over the size limit keeps the short ones only. One that is too large
    by itself is parked as its beginning and labelled `cut` with its size: to be looked at, not to be
    replayed.
    """
    # A letter that is replayed and fails again is labelled anew.
    original = tuple(each for each in received.headers if not each[0].startswith(PREFIX))
    size = len(received.key or b"") + len(received.value or b"") + _size(original)
    own = _headers(labels)
    if size + _size(own) + SPARE_BYTES > MAX_RECORD_BYTES:
        own = _headers({name: value for name, value in labels.items() if name != "trace"})
    if size + _size(own) > MAX_RECORD_BYTES:
        own = _headers({**labels, CUT: str(size).encode()})
        key, value = (part and part[:CUT_BYTES] for part in (received.key, received.value))
        return Record(DEAD_LETTERS.name, key, value, own)
    return Record(DEAD_LETTERS.name, received.key, received.value, (*original, *own))


def _headers(labels: Mapping[str, bytes]) -> Headers:
    return tuple((PREFIX + name, value) for name, value in labels.items())


def _size(headers: Headers) -> int:
    return sum(len(name) + len(value) for name, value in headers)


def _labels(received: Received, error: BaseException, group: str, attempts: int) -> dict[str, bytes]:
    labels = {
        "topic": received.topic.encode(),
        "partition": str(received.partition).encode(),
        "offset": str(received.offset).encode(),
        "group": group.encode(),
        "code": (error.code if isinstance(error, Reject) else type(error).__name__).encode(),
        "error": str(error).encode()[:ERROR_BYTES],
        "attempts": str(attempts).encode(),
        "at": datetime.now(UTC).isoformat().replace("+00:00", "Z").encode(),
    }
    if not isinstance(error, Reject):
        labels["trace"] = "".join(traceback.format_exception(error)).encode()[-TRACE_BYTES:]
    return labels
