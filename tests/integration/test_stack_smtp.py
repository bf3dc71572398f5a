"""The mail server: what it accepted is on disk, and it misbehaves exactly as told."""

import asyncio
import json
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import ValidationError

from stack.mail_script import Accept, Cut, Hang, Refuse, ScriptLine
from stack.maildir import Maildir
from stack.ports import free_port
from stack.processes import Process
from stack.smtp import Credentials, Options, SmtpServer, smtp_process

SENDER = "ada@sender.example"
ANNA = "anna@prospect.example"
BODY = b"Subject: Hello\r\n\r\nHi Anna\r\n..leading dot\r\n"
RECEIVED = b"Subject: Hello\r\n\r\nHi Anna\r\n..leading dot\r\n"


def send(
    server: SmtpServer | Options, recipient: str = ANNA, *, timeout: float = 5, body: bytes = BODY
) -> None:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=timeout) as client:
        client.sendmail(SENDER, [recipient], body)


def test_an_accepted_message_is_on_disk_with_its_envelope_and_its_times(smtp_server: SmtpServer) -> None:
    before = time.time()
    send(smtp_server)
    (message,) = smtp_server.messages()
    assert (message.sender, message.recipients, message.size) == (SENDER, (ANNA,), len(RECEIVED))
    assert before <= message.data_began <= message.accepted_at <= time.time()
    assert smtp_server.content(message) == RECEIVED
    assert Maildir(smtp_server.maildir.folder).messages() == [message]


@pytest.mark.parametrize("code", [450, 550])
@pytest.mark.parametrize("at", ["rcpt", "data"])
def test_a_refusal_comes_where_and_as_scripted_and_keeps_nothing(
    smtp_server: SmtpServer, code: int, at: Any
) -> None:
    smtp_server.answer(ANNA, Refuse(at=at, reply=f"{code} {code // 100}.2.2 Mailbox full"))
    kind = smtplib.SMTPRecipientsRefused if at == "rcpt" else smtplib.SMTPDataError
    with pytest.raises(kind) as refused:
        send(smtp_server)
    assert f"{code}, b'{code // 100}.2.2 Mailbox full'" in str(refused.value)
    assert smtp_server.messages() == []


def test_an_answer_holds_as_often_as_scripted(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Refuse(reply="451 4.7.1 Greylisted"), times=2)
    for _ in range(2):
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            send(smtp_server)
    send(smtp_server)
    assert len(smtp_server.messages(ANNA)) == 1


def test_the_most_precise_line_of_the_script_wins(smtp_server: SmtpServer) -> None:
    smtp_server.answer("*", Refuse(reply="450 4.0.0 everybody"))
    smtp_server.answer("@prospect.example", Refuse(reply="550 5.0.0 the domain"))
    smtp_server.answer(ANNA.upper(), Accept())
    send(smtp_server)
    for recipient, said in (("bob@prospect.example", "the domain"), ("bob@else.example", "everybody")):
        with pytest.raises(smtplib.SMTPRecipientsRefused, match=said):
            send(smtp_server, recipient)


def test_silence_before_data_ends_well_for_whoever_waits(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Hang(at="before_data", seconds=0.4))
    began = time.monotonic()
    send(smtp_server)
    assert time.monotonic() - began >= 0.4
    assert len(smtp_server.messages()) == 1


def test_silence_before_data_keeps_nothing_for_whoever_leaves(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Hang(at="before_data", seconds=60))
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        send(smtp_server, timeout=0.3)
    assert smtp_server.messages() == []


def test_silence_after_data_is_a_late_250_for_a_recorded_message(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Hang(seconds=0.4))
    began = time.monotonic()
    send(smtp_server)
    assert time.monotonic() - began >= 0.4
    assert len(smtp_server.messages()) == 1


def test_a_recorded_message_stays_when_the_client_gives_up_on_the_250(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Hang(seconds=60))
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        send(smtp_server, timeout=0.3)
    assert len(smtp_server.maildir.wait_for(1)) == 1


@pytest.mark.parametrize("recorded", [True, False])
def test_a_cut_after_data_keeps_the_message_or_not_as_scripted(
    smtp_server: SmtpServer, recorded: bool
) -> None:
    smtp_server.answer(ANNA, Cut(recorded=recorded))
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(smtp_server)
    assert len(smtp_server.messages()) == recorded


def test_unrecorded_silence_after_data_ends_in_a_cut(smtp_server: SmtpServer) -> None:
    smtp_server.answer(ANNA, Hang(seconds=0.2, recorded=False))
    with pytest.raises(smtplib.SMTPServerDisconnected):
        send(smtp_server)
    assert smtp_server.messages() == []


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "refuse", "reply": "250 2.0.0 not a refusal"},
        {"kind": "refuse", "reply": "550 5.1.1 two\r\n250 lines"},
        {"kind": "hang", "seconds": 86_400},
        {"kind": "cut"},
    ],
)
def test_a_script_line_that_makes_no_sense_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScriptLine.model_validate({"recipient": ANNA, "answer": answer})


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[SmtpServer]:
    options = Options(
        port=free_port(), credentials=Credentials("ada", "secret"), require_tls=True, size_limit=10_000
    )
    with SmtpServer(tmp_path / "guarded", options) as server:
        yield server


@pytest.mark.parametrize("mechanism", ["auth_plain", "auth_login"])
def test_starttls_and_a_login_open_the_door(guarded: SmtpServer, mechanism: str) -> None:
    with smtplib.SMTP("localhost", guarded.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(guarded.certificate)))
        client.ehlo()
        client.user, client.password = "ada", "secret"
        client.auth(mechanism.removeprefix("auth_").upper(), getattr(client, mechanism))
        client.sendmail(SENDER, [ANNA], BODY)
    assert len(guarded.messages()) == 1


def test_without_tls_without_a_login_and_with_a_wrong_one_the_door_stays_shut(guarded: SmtpServer) -> None:
    with pytest.raises(smtplib.SMTPSenderRefused, match="STARTTLS"):
        send(guarded)
    with smtplib.SMTP("localhost", guarded.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(guarded.certificate)))
        with pytest.raises(smtplib.SMTPSenderRefused, match="Authentication required"):
            client.sendmail(SENDER, [ANNA], BODY)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("ada", "wrong")
    assert guarded.messages() == []


def test_a_message_over_the_limit_is_refused(guarded: SmtpServer) -> None:
    with smtplib.SMTP("localhost", guarded.port, timeout=5) as client:
        client.starttls(context=ssl.create_default_context(cafile=str(guarded.certificate)))
        client.login("ada", "secret")
        with pytest.raises(smtplib.SMTPException, match="552"):
            client.sendmail(SENDER, [ANNA], b"x" * 11_000)


def test_many_clients_at_once_lose_nothing(smtp_server: SmtpServer) -> None:
    def session(number: int) -> None:
        with smtplib.SMTP("127.0.0.1", smtp_server.port, timeout=30) as client:
            for mail in range(25):
                client.sendmail(SENDER, [f"p{number}-{mail}@prospect.example"], BODY)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(session, range(8)))
    assert len({message.recipients for message in smtp_server.messages()}) == 200


async def test_a_simulated_prospect_hears_of_each_message(tmp_path: Path) -> None:
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/mail", hear)
    runner = web.AppRunner(app)
    await runner.setup()
    listener = free_port()
    await web.TCPSite(runner, "127.0.0.1", listener).start()
    options = Options(port=free_port(), notify_url=f"http://127.0.0.1:{listener}/mail")
    try:
        with SmtpServer(tmp_path, options) as server:
            await asyncio.to_thread(send, server)
            notice = await asyncio.wait_for(heard.get(), 5)
            (message,) = await server.arrived(1, ANNA)
        assert notice == json.loads(json.dumps(message.as_json()))
    finally:
        await runner.cleanup()


@pytest.fixture
def child(tmp_path: Path) -> Iterator[tuple[Process, Options]]:
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([{"recipient": "gone@prospect.example", "answer": {"kind": "refuse"}}]))
    options = Options(port=free_port(), control_port=free_port())
    process = smtp_process(tmp_path, options, answers=answers)
    process.start()
    yield process, options
    process.kill()


async def test_a_server_of_its_own_is_scripted_and_read_over_http(child: tuple[Process, Options]) -> None:
    _, options = child
    base = f"http://127.0.0.1:{options.control_port}"
    async with aiohttp.ClientSession(base) as control:
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="No such user here"):
            await asyncio.to_thread(send, options, "gone@prospect.example")
        line = {"recipient": ANNA, "answer": {"kind": "refuse", "reply": "451 4.3.0 later"}, "times": 1}
        async with control.post("/script", json=line) as response:
            assert response.status == 204
        async with control.post("/script", json={**line, "times": 0}) as response:
            assert response.status == 422
        with pytest.raises(smtplib.SMTPRecipientsRefused, match="later"):
            await asyncio.to_thread(send, options)
        await asyncio.to_thread(send, options)
        async with control.get("/messages") as response:
            listing = await response.json()
        assert [message["recipients"] for message in listing["messages"]] == [[ANNA]]
        async with control.get(f"/messages/{listing['messages'][0]['id']}") as response:
            assert await response.read() == RECEIVED
        async with control.get("/messages", params={"after": listing["next"]}) as response:
            assert (await response.json())["messages"] == []


def test_a_killed_server_still_has_every_message_it_answered_250(
    child: tuple[Process, Options], tmp_path: Path
) -> None:
    process, options = child
    send(options)
    process.kill()
    assert [message.recipients for message in Maildir(tmp_path / "maildir").messages()] == [(ANNA,)]
    process.start()
    send(options)
    assert process.stop() == 0
    assert len(Maildir(tmp_path / "maildir").messages()) == 2


def test_a_taken_port_is_an_error_at_the_start(smtp_server: SmtpServer, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="address already in use"):
        SmtpServer(tmp_path / "second", Options(port=smtp_server.port)).start()


def test_a_user_without_a_password_is_refused() -> None:
    command = [sys.executable, "-m", "stack.smtp", "--port", "1", "--maildir", "unused", "--user", "ada"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "STACK_SMTP_PASSWORD" in done.stderr
