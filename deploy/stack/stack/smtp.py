"""The mail server of the demo and the tests: keeps what it accepts, durably, and misbehaves when told to.

Three ways to run it: `python -m stack.smtp` (a process of its own), `smtp_process` (the same as a child that
tests may kill), `SmtpServer` (a thread of this process).
"""

import argparse
import asyncio
import contextlib
import hmac
import os
import signal
import sys
import threading
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import TypeAdapter

from stack.certificate import server_context
from stack.mail_control import LOOPBACK, control, notices
from stack.mail_script import Accept, Answer, Cut, Hang, Misstep, Refuse, Script, ScriptLine, Step
from stack.maildir import Accepted, Maildir, MaildirFull
from stack.ports import free_port
from stack.processes import Process, http_ok, tcp

PASSWORD_VARIABLE = "STACK_SMTP_PASSWORD"  # noqa: S105  (the name of a variable; argv would show the value to everybody)
SIZE_LIMIT = 25 * 1024 * 1024
MAX_RECIPIENTS = 100
IDLE_SECONDS = 700  # longer than the longest scripted silence
START_SECONDS = 10.0
BEARERS = {"XOAUTH2", "OAUTHBEARER"}

LINES: TypeAdapter[list[ScriptLine]] = TypeAdapter(list[ScriptLine])


@dataclass(frozen=True)
class Credentials:
    """The only login that is let in."""

    user: str
    password: str


@dataclass(frozen=True)
class Options:
    """How one server behaves; `port` and `control_port` must be free."""

    port: int
    control_port: int | None = None
    credentials: Credentials | None = None
    """With them, mail is refused before a login; without them, any login is welcome and none is needed."""
    tokens: Callable[[str, str], bool] | None = None
    """Whether an access token is good for a user: then `bearer` is offered, and no mail taken before it."""
    bearer: Literal["XOAUTH2", "OAUTHBEARER"] = "XOAUTH2"
    require_tls: bool = False
    pipelining: bool = False
    """Offered, that is; they are answered one by one in any case."""
    size_limit: int = SIZE_LIMIT
    notify_url: str | None = None
    """Each accepted message is announced there: a POST of the JSON of `Accepted`, three tries, then dropped.
    """

    @property
    def needs_login(self) -> bool:
        """Whether mail is refused before a login."""
        return self.credentials is not None or self.tokens is not None


class SmtpServer:
    """The server in a thread of this process, for tests and simulated prospects; a context manager.

    `on_accepted` is called in the server's thread after each message is durable: quick, please, no
    exceptions.
    """

    def __init__(
        self,
        folder: Path,
        options: Options | None = None,
        on_accepted: Callable[[Accepted], None] = lambda _: None,
    ) -> None:
        self.options = options or Options(port=free_port())
        self.maildir = Maildir(folder / "maildir")
        self.script = Script()
        self.certificate = folder / "certificate.pem"
        self._folder = folder
        self._on_accepted = on_accepted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._running = threading.Event()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def port(self) -> int:
        return self.options.port

    def __enter__(self) -> "SmtpServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; raises what the server's start raised (a taken port: OSError)."""
        self._running.clear()
        self._failure = None
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="smtp-server", daemon=True
        )
        self._thread.start()
        if not self._running.wait(START_SECONDS):
            raise TimeoutError("the mail server did not start")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Close every connection and stop listening; a later start serves the same port and messages."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(START_SECONDS)
        self._loop = self._stop = self._thread = None

    def answer(self, recipient: str, answer: Answer, times: int | None = None) -> None:
        """Script what an address (or `@domain`, or `*`) is answered, `times` times or from now on."""
        self.script.add(ScriptLine(recipient=recipient, answer=answer, times=times))

    def misstep(self, step: Step, misstep: Misstep) -> None:
        """Have something go wrong, once, the next time that a conversation comes to `step`."""
        self.script.misstep(step, misstep)

    def messages(self, recipient: str | None = None) -> list[Accepted]:
        """What was accepted, in that order."""
        return self.maildir.messages(recipient)

    def content(self, message: Accepted) -> bytes:
        """Exactly the bytes that were received."""
        return self.maildir.content(message)

    async def arrived(
        self, count: int, recipient: str | None = None, seconds: float = 10.0
    ) -> list[Accepted]:
        """Wait until so many messages were accepted, and return them; raises TimeoutError."""
        return await asyncio.to_thread(self.maildir.wait_for, count, recipient, seconds)

    async def _serve(self) -> None:
        try:
            async with serving(self._folder, self.options, self.maildir, self.script, self._on_accepted):
                self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
                self._running.set()
                await self._stop.wait()
        except OSError as error:
            self._failure = error
            self._running.set()


def smtp_process(
    folder: Path, options: Options, *, answers: Path | None = None, log_folder: Path | None = None
) -> Process:
    """The server as a child process (not started yet) whose Maildir is `<folder>/maildir`."""
    command: list[str | Path] = [sys.executable, "-m", "stack.smtp", "--port", str(options.port)]
    command += ["--maildir", folder / "maildir", "--size-limit", str(options.size_limit)]
    if options.control_port is not None:
        command += ["--control-port", str(options.control_port)]
    if options.notify_url is not None:
        command += ["--notify-url", options.notify_url]
    if options.require_tls:
        command += ["--require-tls"]
    if answers is not None:
        command += ["--answers", answers]
    env = {}
    if options.credentials is not None:
        command += ["--user", options.credentials.user]
        env[PASSWORD_VARIABLE] = options.credentials.password
    ready = tcp(options.port)
    if options.control_port is not None:
        ready = http_ok(f"http://{LOOPBACK}:{options.control_port}/health/ready")
    return Process("smtp", command, log_folder=log_folder or folder, env=env, ready=ready)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    options: Options,
    maildir: Maildir,
    script: Script,
    on_accepted: Callable[[Accepted], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Serve on the running loop for the time of the block; connections that are open at its end are cut."""
    context, _ = server_context(folder)
    async with contextlib.AsyncExitStack() as running:
        announce = await running.enter_async_context(notices(options.notify_url))

        def accepted(message: Accepted) -> None:
            on_accepted(message)
            announce(message)

        handler = _Handler(maildir, script, options, accepted)
        listener = _Listener(handler, script, options, context)
        await running.enter_async_context(listener.listening())
        if options.control_port is not None:
            await running.enter_async_context(control(options.control_port, maildir, script))
        yield


class _Protocol(SMTP):
    """aiosmtpd's server, plus missteps, and what happens between DATA and the 354; knows when it is over."""

    script: Script
    on_lost: Callable[["_Protocol"], None] | None = None
    instead: Misstep | None = None
    """Of what is said next."""
    are_good: Callable[[str, str], bool] | None = None
    _greeted = False

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self.on_lost is not None:
            self.on_lost(self)

    async def push(self, status: Any) -> None:
        if not self._greeted:
            self._greeted = True
            self.instead = self.script.take_misstep(Step.BANNER)
        misstep, self.instead = self.instead, None
        if misstep is None:
            await super().push(status)
        else:
            await self._commit(misstep)

    async def smtp_EHLO(self, hostname: str) -> None:
        await self._step(Step.EHLO, partial(super().smtp_EHLO, hostname))

    async def smtp_STARTTLS(self, arg: str) -> None:
        await self._step(Step.STARTTLS, partial(super().smtp_STARTTLS, arg))

    async def smtp_AUTH(self, arg: str) -> None:
        await self._step(Step.AUTH, partial(super().smtp_AUTH, arg))

    async def auth_XOAUTH2(self, _: SMTP, args: list[str]) -> AuthResult:
        """As Google documents it: what is wrong is told in a challenge, which is answered with nothing."""
        fields = dict(part.partition("=")[::2] for part in b64decode(args[1]).decode().split("\1") if part)
        return await self._with_token(fields.get("user", ""), fields.get("auth", ""))

    async def auth_OAUTHBEARER(self, _: SMTP, args: list[str]) -> AuthResult:
        """RFC 7628."""
        header, *parts = b64decode(args[1]).decode().split("\1")
        fields = dict(part.partition("=")[::2] for part in parts if part)
        user = header.split(",")[1].removeprefix("a=").replace("=2C", ",").replace("=3D", "=")
        return await self._with_token(user, fields.get("auth", ""))

    async def _with_token(self, user: str, authorization: str) -> AuthResult:
        assert self.are_good is not None, "it was offered"
        if self.are_good(user, authorization.removeprefix("Bearer ")):
            return AuthResult(success=True)
        await self.challenge_auth('{"status":"401","schemes":"bearer"}')
        return AuthResult(success=False, handled=False)

    async def smtp_MAIL(self, arg: str | None) -> None:
        await self._step(Step.MAIL, partial(super().smtp_MAIL, arg))

    async def smtp_RCPT(self, arg: str | None) -> None:
        await self._step(Step.RCPT, partial(super().smtp_RCPT, arg))

    async def smtp_DATA(self, arg: str) -> None:
        await self._step(Step.DATA, partial(self._data, arg))

    async def _step(self, step: Step, take: Callable[[], Awaitable[None]]) -> None:
        misstep = self.script.take_misstep(step)
        if misstep is None or misstep.is_done:
            self.instead = misstep
            await take()
        else:
            await self._commit(misstep)

    async def _commit(self, misstep: Misstep) -> None:
        if misstep.byte_seconds:
            for byte in misstep.words.encode():
                self._writer.write(bytes([byte]))
                await asyncio.sleep(misstep.byte_seconds)
        else:
            self._writer.write(misstep.words.encode())
            await self._writer.drain()
        if misstep.then == "cut":
            await _cut(self)
        if misstep.then == "silence":
            await asyncio.Event().wait()  # the loss of the connection cancels it

    async def _data(self, arg: str) -> None:
        if isinstance(self.envelope, _Envelope):
            self.envelope.data_began = time.time()
            for answer in self.envelope.answers:
                if isinstance(answer, Hang) and answer.at == "before_data":
                    await asyncio.sleep(answer.seconds)
        await super().smtp_DATA(arg)

    def _create_envelope(self) -> Envelope:
        return _Envelope()


class _Envelope(Envelope):
    def __init__(self) -> None:
        super().__init__()
        self.data_began = 0.0
        self.answers: list[Answer] = []

    def after_data(self) -> Answer:
        """The first answer that concerns the received message."""
        later = (answer for answer in self.answers if not isinstance(answer, Accept))
        return next((answer for answer in later if not _is_before_data(answer)), Accept())


def _is_before_data(answer: Answer) -> bool:
    return isinstance(answer, Hang) and answer.at == "before_data"


class _Handler:
    """The hooks that aiosmtpd calls by name; what they return goes over the wire."""

    def __init__(
        self, maildir: Maildir, script: Script, options: Options, on_accepted: Callable[[Accepted], None]
    ) -> None:
        self._maildir = maildir
        self._script = script
        self._options = options
        self._on_accepted = on_accepted

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, offers: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [*offers[:-1], "250-PIPELINING", offers[-1]] if self._options.pipelining else offers

    async def handle_MAIL(
        self, _server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._options.needs_login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: _Envelope, address: str, _options: list[str]
    ) -> str:
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            return "452 4.5.3 Too many recipients"
        answer = self._script.take(address)
        if isinstance(answer, Refuse) and answer.at == "rcpt":
            return answer.reply
        envelope.rcpt_tos.append(address)
        envelope.answers.append(answer)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: _Protocol, _session: Session, envelope: _Envelope) -> str:
        server.instead = self._script.take_misstep(Step.DOT)
        if server.instead is not None:
            return await self._record(envelope) if server.instead.is_done else ""
        match envelope.after_data():
            case Refuse(reply=reply):
                return reply
            case Hang(seconds=seconds, recorded=recorded):
                late = await self._record(envelope) if recorded else None
                await asyncio.sleep(seconds)
                return late or await _cut(server)
            case Cut(recorded=recorded):
                if recorded:
                    await self._record(envelope)
                return await _cut(server)
            case _:
                return await self._record(envelope)

    async def _record(self, envelope: _Envelope) -> str:
        """Runs to its end even if the client leaves meanwhile: a real server that has it all keeps it."""
        return await asyncio.shield(asyncio.create_task(self._keep(envelope)))

    async def _keep(self, envelope: _Envelope) -> str:
        content = envelope.original_content or b""
        sender, recipients = envelope.mail_from or "", list(envelope.rcpt_tos)
        try:
            message = await asyncio.to_thread(
                self._maildir.add, sender, recipients, envelope.data_began, content
            )
        except MaildirFull:
            return "452 4.3.1 Mail system full"
        self._on_accepted(message)
        return f"250 2.0.0 OK {message.id}"


async def _cut(server: SMTP) -> str:
    """Break the connection without a reply. Never returns: the loss of the connection cancels its handler."""
    transport = server.transport
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
    await asyncio.Event().wait()
    return ""


class _Listener:
    """The listening socket and its open connections."""

    def __init__(self, handler: _Handler, script: Script, options: Options, context: Any) -> None:
        self._handler = handler
        self._script = script
        self._options = options
        self._context = context
        self._open: set[_Protocol] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connection, LOOPBACK, self._options.port, backlog=1024)
        try:
            yield
        finally:
            server.close()
            for connection in list(self._open):
                if isinstance(connection.transport, asyncio.WriteTransport):
                    connection.transport.abort()
            await server.wait_closed()

    def _connection(self) -> _Protocol:
        protocol = _Protocol(
            self._handler,
            data_size_limit=self._options.size_limit,
            enable_SMTPUTF8=True,
            hostname="localhost",  # else it asks the resolver, for every connection
            ident="Segue mail sink",
            tls_context=self._context,
            require_starttls=self._options.require_tls,
            timeout=IDLE_SECONDS,
            auth_require_tls=False,
            authenticator=self._authenticate,
            auth_exclude_mechanism=BEARERS - ({self._options.bearer} if self._options.tokens else set()),
            loop=asyncio.get_running_loop(),
        )
        protocol.script = self._script
        protocol.are_good = self._options.tokens
        protocol.on_lost = self._open.discard
        self._open.add(protocol)
        return protocol

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, login: LoginPassword
    ) -> AuthResult:
        wanted = self._options.credentials
        if wanted is None:
            return AuthResult(success=True)
        right = hmac.compare_digest(login.login, wanted.user.encode())
        right &= hmac.compare_digest(login.password, wanted.password.encode())
        return AuthResult(success=right, handled=False)


async def run(folder: Path, options: Options, lines: Sequence[ScriptLine]) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    script = Script()
    for line in lines:
        script.add(line)
    maildir = Maildir(folder)
    async with serving(folder.parent, options, maildir, script):
        print(f"mail on {LOOPBACK}:{options.port}, kept in {folder}", flush=True)
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m stack.smtp", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--maildir", type=Path, required=True)
    parser.add_argument("--control-port", type=int)
    parser.add_argument("--answers", type=Path, help="a JSON list of script lines")
    parser.add_argument("--notify-url", help="told of each accepted message")
    parser.add_argument("--user", help=f"the only user let in; the password is in {PASSWORD_VARIABLE}")
    parser.add_argument("--require-tls", action="store_true")
    parser.add_argument("--size-limit", type=int, default=SIZE_LIMIT)
    given = parser.parse_args(arguments)
    if given.user and PASSWORD_VARIABLE not in os.environ:
        parser.error(f"--user needs {PASSWORD_VARIABLE}")
    options = Options(
        port=given.port,
        control_port=given.control_port,
        credentials=Credentials(given.user, os.environ[PASSWORD_VARIABLE]) if given.user else None,
        require_tls=given.require_tls,
        size_limit=given.size_limit,
        notify_url=given.notify_url,
    )
    lines = LINES.validate_json(given.answers.read_bytes()) if given.answers else []
    asyncio.run(run(given.maildir, options, lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
