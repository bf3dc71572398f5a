"""What we publish and what we consume, as plain values."""

from collections.abc import Iterable
from dataclasses import dataclass

from chassis.tracing import HEADER
from segue_contracts.codec import encode
from segue_contracts.message import Message

Headers = tuple[tuple[str, bytes], ...]
Place = tuple[str, int]
"""A declared topic's name (without any prefix) and a partition."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record to publish; `topic` is the declared name, without any prefix.

    Without `partition`, the key chooses it as Java's default partitioner does.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None

    @classmethod
    def of(cls, message: Message, context: str | None = None) -> "Record":
        """The record of a message of the contract, in a trace if `context` names one."""
        encoded = encode(message)
        headers = encoded.headers if context is None else (*encoded.headers, (HEADER, context.encode()))
        return cls(encoded.topic, encoded.key, encoded.value, headers)


@dataclass(frozen=True, slots=True)
class Received:
    """A consumed record; `topic` is the declared name, without any prefix. `value` is None for a
    tombstone.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def place(self) -> Place:
        """Where it came from."""
        return self.topic, self.partition

    def header(self, name: str) -> bytes | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


def headers_of(raw: Iterable[tuple[str, bytes | None]]) -> Headers:
    """Headers as a client library hands them over: Kafka allows one without a value, here it is empty."""
    return tuple((name, value or b"") for name, value in raw)
