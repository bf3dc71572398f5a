"""SMTP on the wire: what was known when it failed, what the connection became, and the pool of them."""

import asyncio
import contextlib
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.smtp import (
    Aborted,
    Accepted,
    Broken,
    Connection,
    Deferred,
    Envelope,
    Fault,
    Outcome,
    Phase,
    Rejected,
    Reply,
    Target,
    Timeouts,
    classify,
    dot_stuffed,
)
from sender.smtp_pool import Busy, Pool
from stack.certificate import server_context

DATA = b"Subject: x\r\n\r\nHello\r\n.\r\n..dots\r\n"
FROM, TO = "ana@ourco.example", "bob@acme.example"
PATIENT = Timeouts(connect=30, banner=30, command=30, data=30, body=30, dot=30, reset=30, total=60)
QUICK = Timeouts(connect=30, banner=0.4, command=0.4, data=0.4, body=0.4, dot=0.4, reset=0.4, total=60)
"""Only where a time is to run out: a busy machine is slower than this."""


# --- a server that does as it is told


@dataclass(frozen=True)
class Silence:
    """Say nothing, read nothing, until the test is over."""


@dataclass(frozen=True)
class Cut:
    """Cut the connection, after these words if there are any."""

    words: str = ""


@dataclass(frozen=True)
class CutInBody:
    """Answer 354, read a little of the message, then cut, after these words if there are any."""

    words: str = ""


@dataclass(frozen=True)
class StallInBody:
    """Answer 354, read nothing until released, then everything."""


Act = str | Silence | Cut | CutInBody | StallInBody
OFFERS = ("8BITMIME", "SIZE 10000000", "AUTH PLAIN LOGIN")
DEFAULTS: dict[str, Act] = {
    "banner": "220 test ESMTP",
    "starttls": "220 2.0.0 go on",
    "auth": "235 2.7.0 welcome",
    "mail": "250 2.1.0 ok",
    "rcpt": "250 2.1.5 ok",
    "data": "354 go on",
    "dot": "250 2.0.0 queued as 42",
    "rset": "250 2.0.0 ok",
    "quit": "221 bye",
}


class Over(Exception):
    """The conversation is over."""


@dataclass
class Server:
    """`script`: what to do at each step instead of DEFAULTS; of a list the n-th item the n-th time."""

    script: dict[str, Act | list[Act]] = field(default_factory=dict)
    offers: tuple[str, ...] = OFFERS
    context: ssl.SSLContext | None = None
    implicit_tls: bool = False
    port: int = 0
    connections: int = 0
    open_now: int = 0
    most_open: int = 0
    lines: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    after_release: bytes = b""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Condition = field(default_factory=asyncio.Condition)
    reached: dict[str, asyncio.Event] = field(default_factory=dict)
    _times: dict[str, int] = field(default_factory=dict)

    def verbs(self) -> list[str]:
        return [line.partition(" ")[0] for line in self.lines]

    def event(self, step: str) -> asyncio.Event:
        """Is set when the conversation reaches `step`."""
        return self.reached.setdefault(step, asyncio.Event())

    async def all_ended(self, count: int = 1) -> None:
        """Wait until `count` connections have come and all have gone."""
        async with self.ended:
            await self.ended.wait_for(lambda: self.connections >= count and not self.open_now)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        with contextlib.suppress(Over, OSError, asyncio.IncompleteReadError):
            await self.act("banner", reader, writer)
            while raw := (await reader.readline()).decode():
                line = raw.rstrip("\r\n")
                self.lines.append(line)
                await self.step(line, reader, writer)
        writer.transport.abort()
        async with self.ended:
            self.open_now -= 1
            self.ended.notify_all()

    async def step(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb = line.partition(" ")[0].lower()
        await self.act(verb if verb in DEFAULTS or verb == "ehlo" else "more", reader, writer)
        if verb == "quit":
            raise Over
        if verb == "starttls":
            if self.context is None:
                await self.over.wait()
                raise Over
            await writer.start_tls(self.context)
        if verb == "data" and self.last.startswith("354"):
            self.messages.append(await read_message(reader))
            await self.act("dot", reader, writer)

    async def act(self, step: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.event(step).set()
        act = self.chosen(step)
        self.last = act if isinstance(act, str) else ""
        match act:
            case Silence():
                await self.over.wait()
                raise Over
            case Cut(words):
                await self.say(writer, words)
                raise Over
            case CutInBody(words):
                await self.say(writer, "354 go on")
                await reader.readexactly(10_000)
                await self.say(writer, words)
                raise Over
            case StallInBody():
                await self.say(writer, "354 go on")
                await self.released.wait()
                self.after_release = await reader.read(-1)
                raise Over
            case str(words):
                await self.say(writer, words)

    def chosen(self, step: str) -> Act:
        if step == "ehlo" and "ehlo" not in self.script:
            return "\n".join(["250-test", *(f"250-{offer}" for offer in self.offers), "250 HELP"])
        acts = self.script.get(step, DEFAULTS.get(step, "500 what?"))
        if not isinstance(acts, list):
            return acts
        time = self._times[step] = self._times.get(step, -1) + 1
        return acts[min(time, len(acts) - 1)]

    async def say(self, writer: asyncio.StreamWriter, words: str) -> None:
        if words:
            writer.write("".join(f"{line}\r\n" for line in words.split("\n")).encode())
            await writer.drain()


async def read_message(reader: asyncio.StreamReader) -> bytes:
    lines = []
    while (line := await reader.readline()) != b".\r\n":
        if not line:
            raise Over
        lines.append(line.removeprefix(b"."))
    return b"".join(lines)


@contextlib.asynccontextmanager
async def running(server: Server) -> AsyncIterator[Server]:
    """Let `server` listen on loopback; at the end everything it waits for comes."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await server.serve(reader, writer)

    context = server.context if server.implicit_tls else None
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.over.set()
        server.released.set()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="session")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS context for 127.0.0.1, and a client's that trusts it."""
    server, file = server_context(tmp_path_factory.mktemp("tls"))
    return server, ssl.create_default_context(cafile=file)


def target(server: Server, **changes: Any) -> Target:
    return replace(Target("127.0.0.1", server.port, "none"), **changes)


@contextlib.asynccontextmanager
async def connected(
    server: Server, timeouts: Timeouts = PATIENT, tls: ssl.SSLContext | None = None, **changes: Any
) -> AsyncIterator[Connection]:
    connection = Connection(target(server, **changes), "me.example", timeouts, tls)
    assert await connection.connect() is None
    try:
        yield connection
    finally:
        connection.close()


async def carry(
    server: Server, timeouts: Timeouts = PATIENT, tls: ssl.SSLContext | None = None, **changes: Any
) -> Outcome:
    """Connect and send once."""
    connection = Connection(target(server, **changes), "me.example", timeouts, tls)
    failure = await connection.connect()
    outcome = failure or await connection.send(Envelope(FROM, TO, DATA))
    if isinstance(outcome, Broken):
        assert not connection.usable
    connection.close()
    return outcome


# --- deadlines


async def test_a_deadline_already_past_writes_nothing() -> None:
    async with running(Server()) as server, connected(server) as connection:
        outcome = await connection.send(Envelope(FROM, TO, DATA), deadline=asyncio.get_running_loop().time())
        assert outcome == Broken(Phase.MAIL, "no answer in time", timed_out=True)
    assert server.verbs() == ["EHLO"]


async def test_a_deadline_that_passes_in_the_hook_sends_no_data() -> None:
    async with running(Server()) as server, connected(server) as connection:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.1

        async def slow() -> bool:
            passed = loop.create_future()
            loop.call_at(deadline, passed.set_result, None)
            await passed
            return True

        outcome = await connection.send(Envelope(FROM, TO, DATA), slow, deadline)
        assert outcome == Broken(Phase.DATA, "no answer in time", timed_out=True)
        assert not outcome.maybe_accepted
    assert "DATA" not in server.verbs()


async def test_nobody_listening_is_broken_at_connect() -> None:
    async with running(Server()) as server:
        pass
    outcome = await carry(server)
    assert isinstance(outcome, Broken)
    assert outcome.phase is Phase.CONNECT


# --- the body and the dot

BIG = b"x" * 70 + b"\r\n"
BIG *= 200_000


async def test_a_body_the_server_does_not_read_is_surely_not_accepted() -> None:
    async with (
        running(Server({"data": StallInBody()}, offers=())) as server,
        connected(server, QUICK) as connection,
    ):
        outcome = await connection.send(Envelope(FROM, TO, BIG))
        assert outcome == Broken(Phase.BODY, "no answer in time", timed_out=True)
        assert not outcome.maybe_accepted
        server.released.set()
        await server.all_ended()
    assert 0 < len(server.after_release) < len(BIG)
    assert b"\r\n.\r\n" not in server.after_release


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_a_cut_within_the_body_is_surely_not_accepted(
    secure: bool, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server = Server({"data": CutInBody()}, (), contexts[0], implicit_tls=secure)
    changes: dict[str, Any] = {"security": "tls"} if secure else {}
    async with running(server), connected(server, tls=contexts[1], **changes) as connection:
        outcome = await connection.send(Envelope(FROM, TO, BIG))
    assert isinstance(outcome, Broken)
    assert outcome.phase is Phase.BODY
    assert not outcome.maybe_accepted


@pytest.mark.parametrize(
    "data", [DATA, b".\r\n", b"..\r\n.\r\n", b"no end", b"\r\n\r\n", b"", b".", BIG[:7200] + b".x\r\n"]
)
async def test_the_message_arrives_as_it_was(data: bytes) -> None:
    async with running(Server()) as server, connected(server) as connection:
        assert isinstance(await connection.send(Envelope(FROM, TO, data)), Accepted)
    assert server.messages == [data if data.endswith(b"\r\n") or not data else data + b"\r\n"]


lines = st.lists(st.text("ab. ", max_size=5).map(str.encode), min_size=1).map(
    lambda ls: b"".join(x + b"\r\n" for x in ls)
)


@given(lines)
def test_dot_stuffing_is_undone_by_the_receivers_rule(data: bytes) -> None:
    stuffed = dot_stuffed(data)
    received = [line.removeprefix(b".") for line in stuffed.split(b"\r\n")]
    assert b"\r\n".join(received) == data
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed


@pytest.mark.parametrize("data", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\n\n.\r\n", b"\r\r\n", b"x" * 999 + b"\r\n"])
def test_data_that_could_end_early_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="the message has"):
        dot_stuffed(data)


# --- the hook before DATA


async def test_the_hook_is_asked_between_the_recipient_and_data() -> None:
    async with running(Server()) as server, connected(server) as connection:
        seen: list[list[str]] = []

        async def hook() -> bool:
            seen.append(server.verbs())
            return True

        assert isinstance(await connection.send(Envelope(FROM, TO, DATA), hook), Accepted)
    assert seen == [["EHLO", "MAIL", "RCPT"]]


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT])
async def test_the_hook_is_not_asked_for_a_refused_envelope(phase: Phase) -> None:
    async def hook() -> bool:
        raise AssertionError("asked")

    async with running(Server({phase.value: "550 no"})) as server, connected(server) as connection:
        assert isinstance(await connection.send(Envelope(FROM, TO, DATA), hook), Rejected)


async def test_a_hook_that_says_no_resets_and_the_connection_serves_again() -> None:
    async with running(Server()) as server, connected(server) as connection:
        assert await connection.send(Envelope(FROM, TO, DATA), no) == Aborted()
        assert isinstance(await connection.send(Envelope(FROM, TO, DATA)), Accepted)
    assert server.verbs() == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("act", ["500 no", Silence(), Cut(), "garbage"])
async def test_a_reset_that_fails_closes_the_connection_and_changes_no_outcome(act: Act) -> None:
    async with running(Server({"rset": act})) as server, connected(server, QUICK) as connection:
        assert await connection.send(Envelope(FROM, TO, DATA), no) == Aborted()
        assert not connection.usable


async def test_a_hook_that_raises_closes_the_connection() -> None:
    async def hook() -> bool:
        raise TimeoutError("the database")

    async with running(Server()) as server, connected(server) as connection:
        with pytest.raises(TimeoutError, match="the database"):
            await connection.send(Envelope(FROM, TO, DATA), hook)
        assert not connection.usable


async def test_a_connection_lost_while_the_hook_is_asked_is_surely_not_accepted() -> None:
    async with running(Server({"rcpt": Cut("250 ok")})) as server, connected(server) as connection:

        async def hook() -> bool:
            await server.all_ended()
            return True

        outcome = await connection.send(Envelope(FROM, TO, DATA), hook)
    assert isinstance(outcome, Broken)
    assert outcome.phase is Phase.DATA
    assert not outcome.maybe_accepted


async def test_a_cancelled_transaction_closes_the_connection() -> None:
    async with running(Server({"dot": Silence()})) as server, connected(server) as connection:
        sending = asyncio.create_task(connection.send(Envelope(FROM, TO, DATA)))
        await server.event("dot").wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.usable


async def no() -> bool:
    return False


# --- the connection after a refusal


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("step", ["mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("refusal", ["450 later", "550 no", "552 full"])
async def test_the_next_message_goes_after_a_refused_one(step: str, refusal: str, pipelining: bool) -> None:
    good = DEFAULTS[step]
    server = Server({step: [refusal, good]}, OFFERS + ("PIPELINING",) * pipelining)
    async with running(server), connected(server) as connection:
        assert isinstance(await connection.send(Envelope(FROM, TO, DATA)), Deferred | Rejected)
        assert isinstance(await connection.send(Envelope(FROM, TO, DATA)), Accepted)
    assert len(server.messages) == 2 if step == "dot" else 1


async def test_many_messages_share_a_connection() -> None:
    async with running(Server(offers=(*OFFERS, "PIPELINING"))) as server, connected(server) as connection:
        for number in range(50):
            outcome = await connection.send(Envelope(FROM, f"bob{number}@acme.example", DATA))
            assert isinstance(outcome, Accepted)
    assert server.connections == 1
    assert len(server.messages) == 50


# --- copies

COPIED = Envelope(FROM, TO, DATA, ("crm@ourco.example", "boss@ourco.example"))


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("refusal", ["450 later", "550 5.1.1 no", "552 full", "571 never"])
async def test_a_copy_that_is_refused_changes_nothing_for_the_recipient(
    refusal: str, pipelining: bool
) -> None:
    good = DEFAULTS["rcpt"]
    server = Server({"rcpt": [good, refusal, good]}, OFFERS + ("PIPELINING",) * pipelining)
    async with running(server), connected(server) as connection:
        outcome = await connection.send(COPIED)
        assert isinstance(outcome, Accepted)
        assert outcome.copies_refused == 1
        following = await connection.send(Envelope(FROM, TO, DATA))
        assert isinstance(following, Accepted)
        assert following.copies_refused == 0
    assert server.messages == [DATA, DATA]


@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize("step", ["mail", "rcpt"])
async def test_nobody_gets_a_copy_of_what_the_recipient_does_not_get(step: str, pipelining: bool) -> None:
    good = DEFAULTS[step]
    server = Server({step: ["550 5.1.1 no", good]}, OFFERS + ("PIPELINING",) * pipelining)
    async with running(server), connected(server) as connection:
        outcome = await connection.send(COPIED)
        assert isinstance(outcome, Rejected)
        assert outcome.phase == step
        assert server.messages == []
        assert isinstance(await connection.send(COPIED), Accepted)
    assert server.connections == 1
    assert server.messages == [DATA]


@pytest.mark.parametrize("pipelining", [False, True])
async def test_a_server_that_closes_at_a_copy_closes_for_all_and_is_tried_again(pipelining: bool) -> None:
    server = Server({"rcpt": [DEFAULTS["rcpt"], "421 bye"]}, OFFERS + ("PIPELINING",) * pipelining)
    async with running(server), connected(server) as connection:
        outcome = await connection.send(COPIED)
        assert isinstance(outcome, Deferred)
        assert not connection.usable
    assert server.messages == []


# --- what a refusal means


@pytest.mark.parametrize(
    ("reply", "phase", "meaning"),
    [
        ("550 5.1.1", Phase.RCPT, Fault.RECIPIENT),
        ("550", Phase.RCPT, Fault.RECIPIENT),
        ("551", Phase.RCPT, Fault.RECIPIENT),
        ("553", Phase.RCPT, Fault.RECIPIENT),
        ("554", Phase.RCPT, Fault.RECIPIENT),
        ("556", Phase.RCPT, Fault.RECIPIENT),
        ("550 5.5.0", Phase.RCPT, Fault.RECIPIENT),
        ("550 5.2.1", Phase.RCPT, Fault.RECIPIENT),
        ("550 5.4.1", Phase.RCPT, Fault.RECIPIENT),
        ("556 5.1.10", Phase.RCPT, Fault.RECIPIENT),
        ("550 5.1.1", Phase.DOT, Fault.RECIPIENT),
        ("501 5.1.3", Phase.RCPT, Fault.RECIPIENT),
        ("550 5.7.1", Phase.RCPT, Fault.POLICY),
        ("550 5.7.26", Phase.DOT, Fault.POLICY),
        ("554 5.7.0", Phase.DATA, Fault.POLICY),
        ("552 5.7.0", Phase.DOT, Fault.POLICY),
        ("550", Phase.MAIL, Fault.POLICY),
        ("553 5.1.8", Phase.RCPT, Fault.POLICY),
        ("530", Phase.MAIL, Fault.POLICY),
        ("535 5.7.8", Phase.AUTH, Fault.POLICY),
        ("554", Phase.BANNER, Fault.POLICY),
        ("550", Phase.EHLO, Fault.POLICY),
        ("554", Phase.DOT, Fault.CONTENT),
        ("550", Phase.DOT, Fault.CONTENT),
        ("554 5.6.0", Phase.DOT, Fault.CONTENT),
        ("552 5.3.4", Phase.MAIL, Fault.CONTENT),
        ("552 5.2.3", Phase.RCPT, Fault.CONTENT),
        ("554", Phase.DATA, Fault.OTHER),
        ("503 5.5.1", Phase.RCPT, Fault.OTHER),
        ("501", Phase.MAIL, Fault.OTHER),
        ("552", Phase.RCPT, None),
        ("552", Phase.DOT, None),
        ("552 5.2.2", Phase.RCPT, None),
        ("550 5.2.2", Phase.RCPT, None),
        ("421", Phase.DOT, None),
        ("450 4.2.1", Phase.RCPT, None),
        ("451 4.7.1", Phase.RCPT, None),
        ("452 4.5.3", Phase.RCPT, None),
        ("454 4.7.0", Phase.AUTH, None),
    ],
)
def test_classification(reply: str, phase: Phase, meaning: Fault | None) -> None:
    code, _, enhanced = reply.partition(" ")
    failure = classify(Reply(int(code), enhanced, "text"), phase)
    if meaning is None:
        assert failure == Deferred(int(code), enhanced, "text", phase)
    else:
        assert failure == Rejected(int(code), enhanced, "text", phase, meaning)


@pytest.mark.parametrize(
    ("words", "enhanced", "text"),
    [
        ("550 5.1.1 no such user", "5.1.1", "5.1.1 no such user"),
        ("550-5.1.1 no such\n550 5.1.1 user", "5.1.1", "5.1.1 no such 5.1.1 user"),
        ("550 no such user", "", "no such user"),
        ("550 4.1.1 confused", "", "4.1.1 confused"),
        ("550 5.1.1.1 an address?", "", "5.1.1.1 an address?"),
        ("550", "", ""),
        ("550 \x1b[31mred\x00", "", " [31mred "),
        ("550 " + "x" * 900, "", "x" * 500),
    ],
)
async def test_a_refusal_says_what_the_server_said(words: str, enhanced: str, text: str) -> None:
    async with running(Server({"rcpt": words})) as server:
        outcome = await carry(server)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.enhanced, outcome.text) == (550, enhanced, text)


# --- what is offered


@pytest.mark.parametrize(
    ("offers", "rcpt", "data", "parameters"),
    [
        ((), TO, DATA, ""),
        (("SIZE",), TO, DATA, f" SIZE={len(dot_stuffed(DATA))}"),
        (("SIZE 0", "8bitmime"), TO, DATA, f" SIZE={len(dot_stuffed(DATA))}"),
        (("8BITMIME",), TO, "é\r\n".encode(), " BODY=8BITMIME"),
        (("8BITMIME", "SMTPUTF8"), "用户@acme.example", "é\r\n".encode(), " BODY=8BITMIME SMTPUTF8"),
    ],
)
async def test_only_what_is_offered_and_needed_is_asked_for(
    offers: tuple[str, ...], rcpt: str, data: bytes, parameters: str
) -> None:
    async with running(Server(offers=offers)) as server, connected(server) as connection:
        assert isinstance(await connection.send(Envelope(FROM, rcpt, data)), Accepted)
    assert server.lines[1:3] == [f"MAIL FROM:<{FROM}>{parameters}", f"RCPT TO:<{rcpt}>"]


@pytest.mark.parametrize(
    ("offers", "rcpt", "data", "enhanced", "kind"),
    [
        (("SIZE 20",), TO, DATA, "5.3.4", Fault.CONTENT),
        (("8BITMIME",), "用户@acme.example", DATA, "5.6.7", Fault.OTHER),
        ((), TO, "é\r\n".encode(), "5.6.3", Fault.OTHER),
    ],
)
async def test_what_the_server_can_not_take_is_not_begun(
    offers: tuple[str, ...], rcpt: str, data: bytes, enhanced: str, kind: Fault
) -> None:
    async with running(Server(offers=offers)) as server, connected(server) as connection:
        outcome = await connection.send(Envelope(FROM, rcpt, data))
        assert isinstance(outcome, Rejected)
        assert (outcome.enhanced, outcome.kind, outcome.phase) == (enhanced, kind, Phase.MAIL)
        assert isinstance(await connection.send(Envelope(FROM, TO, b"x\r\n")), Accepted)
    assert server.verbs() == ["EHLO", "MAIL", "RCPT", "DATA"]


async def test_the_null_sender() -> None:
    async with running(Server()) as server, connected(server) as connection:
        assert isinstance(await connection.send(Envelope("", TO, b"x\r\n")), Accepted)
    assert server.lines[1].startswith("MAIL FROM:<> ")


@pytest.mark.parametrize(
    "address", ["a\r\nRCPT TO:<eve@x>", "a b@c", "a>@c", "<a@c", "a\x00@c", "x" * 400, "\ud800"]
)
async def test_an_address_that_would_break_the_protocol_is_refused(address: str) -> None:
    async with running(Server()) as server, connected(server) as connection:
        for envelope in ((FROM, address), (address, TO), (FROM, "")):
            with pytest.raises(ValueError, match="address"):
                await connection.send(Envelope(*envelope, DATA))
    assert server.verbs() == ["EHLO"]


@pytest.mark.parametrize("name", ["", "a b", "a\r\nMAIL", "ü.example"])
def test_an_ehlo_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="EHLO"):
        Connection(Target("h", 25), name, PATIENT)


# --- TLS and login


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_message_through_tls(security: str, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    server = Server({}, (*OFFERS, "STARTTLS"), contexts[0], implicit_tls=security == "tls")
    async with running(server), connected(server, tls=contexts[1], security=security) as connection:
        for _ in range(3):
            assert isinstance(await connection.send(Envelope(FROM, TO, BIG[:720_000])), Accepted)
    assert [len(message) for message in server.messages] == [720_000] * 3
    assert server.verbs()[:3] == (
        ["EHLO", "STARTTLS", "EHLO"] if security == "starttls" else ["EHLO", "MAIL", "RCPT"]
    )


@pytest.mark.parametrize(("security", "phase"), [("starttls", Phase.STARTTLS), ("tls", Phase.CONNECT)])
async def test_a_certificate_nobody_vouches_for_ends_it(
    security: str, phase: Phase, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server = Server({}, (*OFFERS, "STARTTLS"), contexts[0], implicit_tls=security == "tls")
    async with running(server):
        outcome = await carry(server, security=security, username="ana", password="secret")
    assert isinstance(outcome, Broken)
    assert outcome.phase is phase
    assert "certificate" in outcome.text.lower()
    assert "AUTH" not in server.verbs()


async def test_starttls_is_never_done_without() -> None:
    async with running(Server()) as server:
        outcome = await carry(server, security="starttls", username="ana", password="secret")
    assert outcome == Broken(Phase.STARTTLS, "the server does not offer STARTTLS")
    assert server.verbs() == ["EHLO"]


@pytest.mark.parametrize(("security", "phase"), [("starttls", Phase.STARTTLS), ("tls", Phase.CONNECT)])
async def test_a_handshake_without_an_answer_ends_in_time(security: str, phase: Phase) -> None:
    async with running(Server({}, ("STARTTLS",) * (security == "starttls"))) as server:
        server.script["banner"] = DEFAULTS["banner"] if security == "starttls" else Silence()
        outcome = await carry(server, replace(PATIENT, connect=0.4), security=security)
    assert outcome == Broken(phase, "no answer in time", timed_out=True)


async def test_what_is_injected_before_tls_is_not_believed() -> None:
    async with running(Server({"starttls": "220 go on\n550 5.1.1 injected"}, ("STARTTLS",))) as server:
        outcome = await carry(server, security="starttls")
    assert outcome == Broken(Phase.STARTTLS, "the server spoke on before TLS began")


class Token:
    """Always the same access token."""

    async def token(self, *, refused: str = "") -> str:
        return "secret"


def login(oauth: bool) -> dict[str, Any]:
    """How a target logs in: with a password, or a token."""
    return {"username": "ana", **({"tokens": Token()} if oauth else {"password": "secret"})}


@pytest.mark.parametrize(
    ("offered", "oauth", "script", "sent"),
    [
        ("AUTH PLAIN LOGIN", False, {}, ["AUTH PLAIN \0ana\0secret"]),
        (
            "AUTH LOGIN",
            False,
            {"auth": "334 VXNlcm5hbWU6", "more": ["334 x", "235 ok"]},
            ["AUTH LOGIN ", "ana", "secret"],
        ),
        ("AUTH PLAIN XOAUTH2 OAUTHBEARER", True, {}, ["AUTH XOAUTH2 user=ana\1auth=Bearer secret\1\1"]),
    ],
)
async def test_login(offered: str, oauth: bool, script: dict[str, Act | list[Act]], sent: list[str]) -> None:
    async with running(Server(script, (offered,))) as server:
        assert isinstance(await carry(server, **login(oauth)), Accepted)
    said = server.lines[1 : 1 + len(sent)]
    heads = [
        line[: len(line) - len(line.rpartition(" ")[2])] if line.startswith("AUTH") else "" for line in said
    ]
    shown = [
        line + " " if line == "AUTH LOGIN" else head + b64decode(line.removeprefix(head)).decode()
        for line, head in zip(said, heads, strict=True)
    ]
    assert shown == sent


@pytest.mark.parametrize(
    ("offered", "oauth", "script"),
    [
        ("AUTH PLAIN", False, {"auth": "535 5.7.8 no"}),
        ("AUTH LOGIN", False, {"auth": "334 x", "more": "535 5.7.8 no"}),
        ("AUTH XOAUTH2", True, {"auth": "535 5.7.8 no"}),
        ("AUTH XOAUTH2", True, {"auth": "334 eyJzdGF0dXMiOiI0MDEifQ==", "more": "535 5.7.8 no"}),
        ("AUTH OAUTHBEARER", True, {"auth": "334 eyJzdGF0dXMiOiI0MDEifQ==", "more": "535 5.7.8 no"}),
        ("AUTH CRAM-MD5", False, {}),
        ("AUTH PLAIN", True, {}),
        ("HELP", False, {}),
    ],
)
async def test_a_login_refused_is_our_fault(
    offered: str, oauth: bool, script: dict[str, Act | list[Act]]
) -> None:
    async with running(Server(script, (offered,))) as server:
        outcome = await carry(server, **login(oauth))
    assert isinstance(outcome, Rejected)
    assert (outcome.phase, outcome.kind) == (Phase.AUTH, Fault.POLICY)


@pytest.mark.parametrize("host", ["mail.example", "10.0.0.1", "127.0.0.1.example"])
def test_a_password_never_travels_in_clear(host: str) -> None:
    with pytest.raises(ValueError, match="TLS"):
        Target(host, 25, "none", "ana", "secret")


def test_a_target_does_not_show_its_password() -> None:
    assert "secret" not in repr(Target("mail.example", 587, "tls", "ana", "secret"))


# --- the pool


@dataclass(eq=False)
class Letter:
    """A message for the pool, without a hook, and what became of it."""

    target: Target
    envelope: Envelope = Envelope(FROM, TO, DATA)  # noqa: RUF009 - frozen
    result: "asyncio.Future[Outcome | Busy | Exception]" = field(default_factory=asyncio.Future)

    async def before_data(self) -> bool:
        return True

    async def ended(self, result: Outcome | Busy | Exception) -> None:
        if not self.result.done():
            self.result.set_result(result)


async def posted(pool: Pool, mailbox: Target) -> Outcome | Busy | Exception:
    letter = Letter(mailbox)
    pool.post(letter)
    return await letter.result


@contextlib.asynccontextmanager
async def pooled(
    server: Server, **changes: Any
) -> AsyncIterator[Callable[[], Coroutine[Any, Any, Outcome | Busy | Exception]]]:
    """A function that sends one message through a pool."""
    options: dict[str, Any] = {"timeouts": PATIENT, "idle_seconds": 60, "room_seconds": 5, **changes}
    pool = Pool("me.example", **options)
    try:
        yield lambda: posted(pool, target(server))
    finally:
        await pool.close()
        assert pool.idle_connections == 0
        assert not pool._mailboxes
        assert not pool._hosts


async def test_the_pool_uses_a_connection_again() -> None:
    async with running(Server()) as server, pooled(server) as send:
        for _ in range(5):
            assert isinstance(await send(), Accepted)
        assert server.connections == 1


async def test_the_pool_keeps_mailboxes_apart() -> None:
    async with running(Server()) as server:
        pool = Pool("me.example", PATIENT)
        for username in ("ana", "eve", "ana"):
            mailbox = target(server, username=username, password="secret")
            assert isinstance(await posted(pool, mailbox), Accepted)
        assert server.connections == 2
        assert pool.idle_connections == 2
        await pool.close()
        await server.all_ended(2)


@pytest.mark.parametrize("act", [Cut(), Cut("421 too long idle"), "421 too many messages"])
async def test_a_kept_connection_given_up_before_mail_is_replaced_unseen(act: Act) -> None:
    script: dict[str, Act | list[Act]] = {"mail": ["250 ok", act, "250 ok"]}
    async with running(Server(script)) as server, pooled(server) as send:
        assert isinstance(await send(), Accepted)
        assert isinstance(await send(), Accepted)
        assert server.connections == 2
        assert len(server.messages) == 2


@pytest.mark.parametrize("words", ["", "421 idle"])
async def test_a_connection_closed_while_idle_is_replaced_unseen(words: str) -> None:
    server = Server({"dot": [f"250 ok\n{words}" if words else Cut("250 ok"), "250 ok"]})
    async with running(server), pooled(server) as send:
        assert isinstance(await send(), Accepted)
        if not words:
            await server.all_ended()
        assert isinstance(await send(), Accepted)
        assert server.connections == 2
        assert len(server.messages) == 2


@pytest.mark.parametrize(
    ("script", "connections"),
    [
        ({"mail": Cut()}, 2),
        ({"mail": ["250 ok", Cut()]}, 2),
        ({"mail": ["250 ok", Silence()]}, 1),
        ({"rcpt": ["250 ok", Cut()]}, 1),
        ({"data": ["354 go on", Cut()]}, 1),
        ({"dot": ["250 ok", Cut()]}, 1),
        ({"dot": ["250 ok", Silence()]}, 1),
    ],
)
async def test_the_pool_tries_nothing_twice_but_a_connection_given_up(
    script: dict[str, Act | list[Act]], connections: int
) -> None:
    async with running(Server(script)) as server, pooled(server, timeouts=QUICK) as send:
        await send()
        assert isinstance(await send(), Broken)
        assert server.connections == connections


async def test_a_failure_to_connect_is_an_outcome() -> None:
    async with running(Server({"banner": "554 go away"})) as server, pooled(server) as send:
        assert isinstance(await send(), Rejected)


async def test_an_idle_connection_is_closed() -> None:
    async with running(Server()) as server, pooled(server, idle_seconds=0.02) as send:
        assert isinstance(await send(), Accepted)
        await server.all_ended()
        assert server.verbs()[-1] == "QUIT"


async def test_a_worn_connection_is_closed() -> None:
    async with running(Server()) as server, pooled(server, messages_per_connection=2) as send:
        for _ in range(5):
            assert isinstance(await send(), Accepted)
        assert server.connections == 3


@pytest.mark.parametrize(("limit", "most"), [("per_mailbox", 3), ("per_host", 2)])
async def test_transactions_at_a_time_are_bounded(limit: str, most: int) -> None:
    limits = {"per_mailbox": 3, "per_host": 10} | {limit: most}
    async with running(Server()) as server, pooled(server, **limits) as send:
        outcomes = await asyncio.gather(*(send() for _ in range(20)))
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        assert server.most_open == most


async def test_no_room_in_time_is_busy_and_begins_nothing() -> None:
    async with running(Server({"dot": Silence()})) as server:
        options: dict[str, Any] = {"per_mailbox": 1, "room_seconds": 0.01}
        async with pooled(server, **options) as send:
            first = asyncio.create_task(send())
            await server.event("dot").wait()
            assert await send() == Busy()
            assert server.connections == 1
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first


async def test_a_slow_host_does_not_delay_another() -> None:
    async with running(Server({"dot": Silence()})) as slow, running(Server()) as quick:
        pool = Pool("me.example", PATIENT, per_mailbox=1)
        waiting = asyncio.create_task(posted(pool, target(slow)))
        await slow.event("dot").wait()
        assert isinstance(await posted(pool, target(quick)), Accepted)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await pool.close()
        await quick.all_ended()


async def test_a_burst_through_a_server_that_goes_on_is_never_told_busy() -> None:
    async with running(Server()) as server, pooled(server, per_mailbox=1, waiting_per_host=1) as send:
        outcomes = await asyncio.gather(*(send() for _ in range(50)))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)


async def test_what_comes_for_a_slow_server_is_busy_at_once_when_enough_wait() -> None:
    async with running(Server({"dot": Silence()})) as server:
        pool = Pool("me.example", PATIENT, per_mailbox=1, waiting_per_host=1, room_seconds=60)
        pool.post(Letter(target(server)))
        await server.event("dot").wait()
        waiting = Letter(target(server))
        pool.post(waiting)
        (lane,) = pool._mailboxes.values()
        lane.letters[0] = (lane.letters[0][0] - 31, waiting)
        assert await posted(pool, target(server)) == Busy()
        assert not waiting.result.done()
        await pool.close()


@pytest.mark.parametrize("pipelining", [False, True])
async def test_the_next_envelope_goes_along_with_the_dot_where_the_server_takes_it(pipelining: bool) -> None:
    server = Server(offers=OFFERS + ("PIPELINING",) * pipelining)
    seen: list[list[str]] = []

    async def hook() -> bool:
        seen.append(server.verbs()[1:])
        return True

    async with running(server), connected(server) as connection:
        second = Envelope(FROM, "eve@acme.example", DATA)
        assert isinstance(await connection.send(Envelope(FROM, TO, DATA), following=lambda: second), Accepted)
        assert isinstance(await connection.send(second, hook), Accepted)
    assert seen == [["MAIL", "RCPT", "DATA", "MAIL", "RCPT"]]
    assert server.messages == [DATA, DATA]


@pytest.mark.parametrize("step", ["mail", "rcpt", "dot"])
@pytest.mark.parametrize("refusal", ["450 later", "550 no"])
async def test_a_refusal_is_of_the_message_that_it_answers(step: str, refusal: str) -> None:
    refused = {"dot": 0}.get(step, 1)
    good = DEFAULTS[step]
    acts: list[Act] = [refusal, good] if step == "dot" else [good, refusal, good]
    async with (
        running(Server({step: acts}, (*OFFERS, "PIPELINING"))) as server,
        connected(server) as connection,
    ):
        letters = [Envelope(FROM, f"bob{number}@acme.example", DATA) for number in range(3)]
        rest = iter(letters[1:])
        outcomes = [await connection.send(each, following=lambda: next(rest, None)) for each in letters]
    kinds = [isinstance(outcome, Accepted) for outcome in outcomes]
    assert kinds == [number != refused for number in range(3)]


async def test_a_connection_cut_after_the_dot_leaves_the_message_behind_it_unsent() -> None:
    server = Server({"dot": Cut()}, (*OFFERS, "PIPELINING"))
    async with running(server), connected(server) as connection:
        second = Envelope(FROM, TO, DATA)
        first = await connection.send(Envelope(FROM, TO, DATA), following=lambda: second)
        assert isinstance(first, Broken)
        assert first.maybe_accepted
        after = await connection.send(second)
    assert isinstance(after, Broken)
    assert not after.maybe_accepted
    assert after.phase is Phase.MAIL
