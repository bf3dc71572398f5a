"""The accepted messages on disk: each durable before its 250, so that they can judge a crash test."""

import json
import os
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HEADER = b"X-Accepted: "
MAX_MESSAGES = 200_000


class MaildirFull(OSError):
    """No more messages are kept; the server answers with a temporary failure."""


@dataclass(frozen=True)
class Accepted:
    """One accepted message. Times are Unix seconds, from the clock of the mail server's machine."""

    id: str
    sender: str
    recipients: tuple[str, ...]
    data_began: float
    """When the client asked to send the message (DATA)."""
    accepted_at: float
    """When all of it was received, just before it was made durable and the 250 went out."""
    size: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Maildir:
    """A Maildir whose messages begin with one header line of ours, `X-Accepted`, the JSON of `Accepted`.

    What was there before is there again after a restart. Safe to use from several threads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for part in ("tmp", "new", "cur"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        self._arrived = threading.Condition()
        self._accepted = sorted(self._kept(), key=lambda message: message.accepted_at)

    def add(self, sender: str, recipients: Sequence[str], data_began: float, content: bytes) -> Accepted:
        """Keep a message; when this returns, it survives a power cut. Blocks for the disk. Raises
        MaildirFull.
        """
        if len(self._accepted) >= MAX_MESSAGES:
            raise MaildirFull(f"{MAX_MESSAGES} messages are kept already")
        now = time.time()
        name = f"{now:.6f}.{uuid.uuid4().hex}.stack"
        accepted = Accepted(name, sender, tuple(recipients), data_began, now, len(content))
        self._write(name, HEADER + json.dumps(accepted.as_json()).encode() + b"\r\n" + content)
        with self._arrived:
            self._accepted.append(accepted)
            self._arrived.notify_all()
        return accepted

    def messages(self, recipient: str | None = None) -> list[Accepted]:
        """What was accepted, in that order; for one recipient only, if named."""
        with self._arrived:
            return _for(recipient, self._accepted)

    def after(self, count: int, limit: int) -> list[Accepted]:
        """At most `limit` messages, without the first `count`: one page of a listing."""
        with self._arrived:
            return self._accepted[count : count + limit]

    def wait_for(self, count: int, recipient: str | None = None, seconds: float = 10.0) -> list[Accepted]:
        """Block until so many messages are there, and return them; raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(_for(recipient, self._accepted)) >= count, seconds):
                found = len(_for(recipient, self._accepted))
                raise TimeoutError(f"{found} of {count} messages after {seconds:g} s")
            return _for(recipient, self._accepted)

    def content(self, message: Accepted) -> bytes:
        """The message's bytes exactly as they were received."""
        return self.file(message).read_bytes().partition(b"\r\n")[2]

    def file(self, message: Accepted) -> Path:
        return self.folder / "new" / message.id

    def _write(self, name: str, content: bytes) -> None:
        unfinished, finished = self.folder / "tmp" / name, self.folder / "new" / name
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(finished)
        _sync_folder(finished.parent)

    def _kept(self) -> list[Accepted]:
        return [_read(file) for file in (self.folder / "new").iterdir()]


def _for(recipient: str | None, accepted: list[Accepted]) -> list[Accepted]:
    if recipient is None:
        return list(accepted)
    return [message for message in accepted if recipient in message.recipients]


def _read(file: Path) -> Accepted:
    with file.open("rb") as content:
        fields = json.loads(content.readline().removeprefix(HEADER))
    return Accepted(**{**fields, "recipients": tuple(fields["recipients"])})


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
