"""What the mail server answers to whom: the misbehaviour of real servers, on demand."""

import threading
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_SECONDS = 600
MAX_RECIPIENTS = 100_000  # scripted at the same time
MAX_LINES_EACH = 1_000
EVERYBODY = "*"

Reply = Annotated[str, Field(pattern=r"^[45][0-9]{2} [ -~]{1,400}$")]
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Accept(_Answer):
    """250, once the message is durable: the answer to everybody without a script."""

    kind: Literal["accept"] = "accept"


class Refuse(_Answer):
    """A 4xx or 5xx, to RCPT or after the message was received; `reply` as it goes over the wire."""

    kind: Literal["refuse"] = "refuse"
    at: Literal["rcpt", "data"] = "rcpt"
    reply: Reply = "550 5.1.1 No such user here"


class Hang(_Answer):
    """Silence. `before_data`: before the 354, then all is well. `after_data`: when the message was received.

    After it, a `recorded` message (durable before the silence) still gets its late 250; otherwise the
    connection is cut and nothing is kept.
    """

    kind: Literal["hang"] = "hang"
    at: Literal["before_data", "after_data"] = "after_data"
    seconds: Seconds
    recorded: bool = True


class Cut(_Answer):
    """The connection breaks when the message was received, before any reply; it was `recorded` or was not."""

    kind: Literal["cut"] = "cut"
    recorded: bool


Answer = Annotated[Accept | Refuse | Hang | Cut, Field(discriminator="kind")]


class Step(StrEnum):
    """Where a conversation is, by what the server is to answer."""

    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


@dataclass(frozen=True, slots=True)
class Misstep:
    """What the server does at a step, whoever asks, in place of its answer.

    `words` go out as they are, with `byte_seconds` after each byte of them. Words that begin with 2 or 3
    answer what was done (the recipient is noted, the message is kept), any others what was not.
    """

    words: str = ""
    then: Literal["go on", "silence", "cut"] = "go on"
    byte_seconds: float = 0.0

    @property
    def is_done(self) -> bool:
        """Say whether the step is taken all the same."""
        return self.words.startswith(("2", "3"))


class ScriptLine(BaseModel):
    """One line of a script: the body of `POST /script` and an item of an answers file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipient: Annotated[str, Field(min_length=1, max_length=320)]
    """An address, `@domain`, or `*` for everybody; the most precise one wins."""
    answer: Answer
    times: Annotated[int, Field(ge=1)] | None = None
    """How many messages get this answer before the next line counts; None: all from then on."""


class ScriptFull(ValueError):
    """The script holds as many lines as it may."""


@dataclass
class _Line:
    answer: Answer
    left: int | None


@dataclass
class Script:
    """The lines in force; safe to use from several threads."""

    taken_missteps: int = 0
    _lines: dict[str, deque[_Line]] = field(default_factory=dict)
    _missteps: dict[Step, deque[Misstep]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, line: ScriptLine) -> None:
        """Append a line for its recipient; raises ScriptFull."""
        key = line.recipient.lower()
        with self._lock:
            if key not in self._lines and len(self._lines) >= MAX_RECIPIENTS:
                raise ScriptFull("too many recipients are scripted")
            lines = self._lines.setdefault(key, deque())
            if len(lines) >= MAX_LINES_EACH:
                raise ScriptFull("too many lines for this recipient")
            lines.append(_Line(line.answer, line.times))

    def clear(self) -> None:
        """Accept everything again."""
        with self._lock:
            self._lines.clear()
            self._missteps.clear()

    def misstep(self, step: Step, misstep: Misstep) -> None:
        """Have it happen once, the next time that a conversation comes to `step`."""
        with self._lock:
            self._missteps.setdefault(step, deque()).append(misstep)

    def take_misstep(self, step: Step) -> Misstep | None:
        """What goes wrong at this step now, which counts as having gone wrong."""
        with self._lock:
            if not self._missteps.get(step):
                return None
            self.taken_missteps += 1
            return self._missteps[step].popleft()

    def take(self, recipient: str) -> Answer:
        """The answer to the next message for this address, which counts as given."""
        address = recipient.lower()
        with self._lock:
            for key in (address, "@" + address.rpartition("@")[2], EVERYBODY):
                if key in self._lines:
                    return self._take(key)
        return Accept()

    def _take(self, key: str) -> Answer:
        lines = self._lines[key]
        line = lines[0]
        if line.left is not None:
            line.left -= 1
            if line.left == 0:
                lines.popleft()
                if not lines:
                    del self._lines[key]
        return line.answer
