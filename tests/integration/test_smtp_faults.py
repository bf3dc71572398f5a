"""What a mail server may do wrong at any step: what becomes of the message, its mailbox, its recipient."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr

from chassis import documents as names
from segue_contracts.commands import Hold
from segue_contracts.events import Outcome
from sender import steps
from sender.settings import SenderSettings
from sender.smtp import Timeouts
from sender.smtp_pool import Pool
from stack.mail_script import Misstep, Step
from stack.ports import free_port
from stack.sending import SETTINGS, Sender, World, a_sender, a_world
from stack.smtp import Options, SmtpServer

pytestmark = pytest.mark.stack


@dataclass(frozen=True)
class Fate:
    """What becomes of a message; `held`: its mailbox is, `suppressed`: its recipient's address is."""

    outcome: Outcome
    reason: str
    held: bool = False
    suppressed: bool = False

    def __str__(self) -> str:
        words = f"`{self.outcome.value}({self.reason})`" if self.reason else f"`{self.outcome.value}`"
        return words + ", hold" * self.held + ", bounced" * self.suppressed


def deferred(reason: str, *, held: bool = False) -> Fate:
    return Fate(Outcome.DEFERRED, reason, held=held)


def rejected(reason: str, *, suppressed: bool = False) -> Fate:
    return Fate(Outcome.REJECTED, reason, suppressed=suppressed)


SENT = Fate(Outcome.SENT, "")
SOFT = deferred("soft_failure")
POLICY = deferred("policy_refused", held=True)
BOUNCED = rejected("recipient_refused", suppressed=True)
DOUBT = Fate(Outcome.IN_DOUBT, "no_reply")


# The table of docs/sender.md: a 4xx, a 5xx that says no more, and no reply that can be believed.
TABLE: dict[Step, tuple[Fate, Fate, Fate]] = {
    Step.BANNER: (
        deferred("server_busy"), deferred("server_refused", held=True), deferred("connection_banner")
    ),
    Step.EHLO: (deferred("server_busy"), deferred("server_refused", held=True), deferred("connection_ehlo")),
    Step.STARTTLS: (
        deferred("server_busy"), deferred("server_refused", held=True), deferred("connection_starttls")
    ),
    Step.AUTH: (deferred("server_busy"), deferred("login_refused", held=True), deferred("connection_auth")),
    Step.MAIL: (SOFT, POLICY, deferred("connection_mail")),
    Step.RCPT: (SOFT, BOUNCED, deferred("connection_rcpt")),
    Step.DATA: (SOFT, rejected("other_refused"), deferred("connection_data")),
    Step.DOT: (SOFT, rejected("content_refused"), DOUBT),
}  # fmt: skip

# A byte each so many seconds, for longer than anybody may wait: under the sender's own deadline of 75 s this
# is more than a byte a second.
DRIP_SECONDS = 0.02
DRIPPING = "x" * 1000
DEADLINES = (0.25, 1.0, 8.0)
"""Total seconds. The shortest in which a server of a busy machine is reached at all tells."""

SOFTLY = {
    "4xx": Misstep("451 try later\r\n"),
    "4xx in lines": Misstep("451-try\r\n451-a little\r\n451 later\r\n"),
    "421": Misstep("421 closing\r\n"),
    "421, then a cut": Misstep("421 closing\r\n", "cut"),
}
HARDLY = {
    "5xx": Misstep("554 no\r\n"),
    "5xx in lines": Misstep("554-no\r\n554-never\r\n554 ever\r\n"),
    "5xx, then a cut": Misstep("554 no\r\n", "cut"),
}
NEVER = {
    "silence": Misstep(then="silence"),
    "drip": Misstep(f"250-{DRIPPING}", "silence", DRIP_SECONDS),
    "drip in lines": Misstep("250-a\r\n" * 200, "silence", DRIP_SECONDS),
}
NOWISE = {
    "cut": Misstep(then="cut"),
    "cut in a word": Misstep("25", "cut"),
    "cut in lines": Misstep("250-ok\r\n", "cut"),
    "garbage": Misstep("hello there\r\n"),
    "an empty line": Misstep("\r\n"),
    "half a code": Misstep("25\r\n"),
    "out of place": Misstep("199 what\r\n"),
    "another protocol": Misstep("HTTP/1.1 400 Bad Request\r\n\r\n"),
    "lines that disagree": Misstep("250-ok\r\n554 no\r\n"),
    "an overlong line": Misstep("250 " + "x" * 200_000 + "\r\n"),
    "lines without end": Misstep("250-x\r\n" * 20_000),
}
COLUMNS = (SOFTLY, HARDLY, NOWISE | NEVER)
EVERY = {name: (column, each) for column, named in enumerate(COLUMNS) for name, each in named.items()}
CONVERSATIONS = [(step, False) for step in Step]
CONVERSATIONS += [(step, True) for step in (Step.MAIL, Step.RCPT)]  # which go in one write then


@dataclass
class Mailing:
    """A mailbox that goes through TLS and a login, and a new person for each message."""

    world: World
    tls: ssl.SSLContext
    settings: SenderSettings
    numbers: "count[int]"

    @property
    def server(self) -> SmtpServer:
        return self.world.smtp

    def sender(
        self, total_seconds: float = DEADLINES[-1], connections: int = 2
    ) -> AbstractAsyncContextManager[Sender]:
        pool = Pool("me.example", Timeouts(total=total_seconds), per_mailbox=connections, tls=self.tls)
        return a_sender(self.world, self.settings, pool)

    async def person(self) -> tuple[UUID, str]:
        """Somebody to write to, dispatched: the enrollment and the address."""
        person, address = uuid4(), f"bob{next(self.numbers)}@prospect.example"
        await self.world.add_person(person, first_name="Bob", email=address)
        return await self.world.dispatch(person_id=person), address

    async def fate(self, sender: Sender, enrollment: UUID, address: str) -> Fate:
        """What was made of the message, and is true of delivery, commands and suppressions."""
        (outcome,) = [each for each in sender.published.outcomes() if each.enrollment_id == enrollment]
        assert (await self.world.delivery(enrollment))["state"] == outcome.event_type.value
        suppression = self.world.secrets.suppression_id(self.world.workspace, "address", address)
        suppressed = await self.world.collection(names.SUPPRESSIONS).find_one({"_id": suppression})
        holds = [m for m in sender.published.messages if isinstance(m, Hold)]
        assert {(hold.scope_id, hold.reason) for hold in holds} <= {(self.world.mailbox, outcome.reason)}
        assert outcome.bounced == (suppressed is not None)
        return Fate(outcome.event_type, outcome.reason, bool(holds), suppressed is not None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mailings(
    mongodb_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[bool, Mailing]]:
    """Over a server without and one with pipelining."""
    settings = SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)
    numbers = count()
    async with AsyncExitStack() as opened:
        patches = opened.enter_context(pytest.MonkeyPatch.context())
        patches.setattr(steps, "TELL_TOGETHER_SECONDS", 0.0)

        async def mailing(pipelining: bool) -> Mailing:
            options = Options(port=free_port(), require_tls=True, pipelining=pipelining)
            server = SmtpServer(tmp_path_factory.mktemp("smtp"), options)
            opened.enter_context(server)
            world = await opened.enter_async_context(a_world(mongodb_uri, server))
            smtp = {"smtp.security": "starttls", "smtp.username": "ana"}
            smtp["smtp.secret"] = world.secrets.encrypt("secret")
            await world.collection(names.MAILBOXES).update_one({}, {"$set": smtp})
            tls = ssl.create_default_context(cafile=str(server.certificate))
            return Mailing(world, tls, settings, numbers)

        yield {pipelining: await mailing(pipelining) for pipelining in (False, True)}


@pytest.fixture
def mailing(mailings: dict[bool, Mailing], pipelining: bool) -> Mailing:
    return mailings[pipelining]


async def fate_after(mailing: Mailing, step: Step, misstep: Misstep) -> tuple[Fate, int]:
    """What becomes of a message when this goes wrong, and how many of it arrived; the next one is sent."""
    for seconds in DEADLINES if misstep.then == "silence" else DEADLINES[-1:]:
        met = mailing.server.script.taken_missteps
        mailing.server.misstep(step, misstep)
        async with mailing.sender(seconds) as sender:
            enrollment, address = await mailing.person()
            await sender.due(enrollment)
            fate = await mailing.fate(sender, enrollment, address)
            taken = mailing.server.script.taken_missteps - met
            mailing.server.script.clear()
        if taken:
            break
    assert taken == 1, "the step was reached"
    async with mailing.sender() as sender:
        await sender.due((await mailing.person())[0])
        assert sender.published.kinds() == ["sent"]
    return fate, len(mailing.server.messages(address))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(("step", "pipelining"), CONVERSATIONS)
async def test_what_goes_wrong_at_a_step_has_the_fate_of_the_table(
    mailing: Mailing, step: Step, name: str
) -> None:
    column, misstep = EVERY[name]
    fate, arrived = await fate_after(mailing, step, misstep)
    assert fate == TABLE[step][column]
    assert arrived == (fate == DOUBT and misstep.is_done)


def test_the_table_of_the_documentation_is_this_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sender.md").read_text()
    titles = {Step.EHLO: "EHLO", Step.DOT: "final dot"}
    for step, fates in TABLE.items():
        title = titles.get(step, step.name if step is not Step.BANNER else "banner")
        assert f"| {title} | {' | '.join(map(str, fates))} |" in page


# What a reply's codes say more precisely, and replies that come where none, or another, was due.
OTHERS: dict[str, tuple[Step, str, Fate]] = {
    "login refused": (Step.AUTH, "535 5.7.8 no", deferred("login_refused", held=True)),
    "login for now": (Step.AUTH, "454 4.7.0 later", deferred("server_busy")),
    "no TLS for now": (Step.STARTTLS, "454 4.7.0 later", deferred("server_busy")),
    "our grammar": (Step.MAIL, "501 5.5.4 what", rejected("other_refused")),
    "too large": (Step.MAIL, "552 5.3.4 too large", rejected("content_refused")),
    "greylisted": (Step.RCPT, "451 4.7.1 greylisted", SOFT),
    "full mailbox": (Step.RCPT, "552 5.2.2 full", SOFT),
    "unknown at RCPT": (Step.RCPT, "550 5.1.1 no such user", BOUNCED),
    "unknown in lines": (Step.RCPT, "550-5.1.1 no such\r\n550 5.1.1 user", BOUNCED),
    "unknown after the dot": (Step.DOT, "550 5.1.1 no such user", BOUNCED),
    "policy at RCPT": (Step.RCPT, "550 5.7.1 blocked", POLICY),
    "policy after the dot": (Step.DOT, "550 5.7.26 not aligned", POLICY),
    "full after the dot": (Step.DOT, "552 full", SOFT),
    "many lines of greeting": (Step.BANNER, "220-a\r\n220-b\r\n220 c", SENT),
    "many lines of welcome": (Step.RCPT, "250-2.1.5 a\r\n250-2.1.5 b\r\n250 2.1.5 c", SENT),
    "many lines of thanks": (Step.DOT, "250-2.0.0 a\r\n250 2.0.0 b", SENT),
    "a code alone": (Step.DOT, "250", SENT),
    "line feeds alone": (Step.DOT, "250-a\n250 b", SENT),
    "a reply too many": (Step.RCPT, "250 ok\r\n250 ok", deferred("connection_data")),
    "a 421 in the middle": (Step.RCPT, "250 ok\r\n421 4.3.2 shutting down", SOFT),
    "a 250 for DATA": (Step.DATA, "250 ok", deferred("connection_data")),
    "a 250 before the message": (Step.DATA, "354 go on\r\n250 done already", deferred("connection_body")),
    "a 554 before the message": (Step.DATA, "354 go on\r\n554 5.7.1 seen enough", POLICY),
    "a 354 for the message": (Step.DOT, "354 go on", DOUBT),
    "a reply too many for the message": (Step.DOT, "250 ok\r\n550 5.1.1 no", SENT),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("pipelining", [True])
@pytest.mark.parametrize("name", OTHERS)
async def test_a_reply_means_what_its_code_and_its_place_say(mailing: Mailing, name: str) -> None:
    step, words, wanted = OTHERS[name]
    fate, arrived = await fate_after(mailing, step, Misstep(f"{words}\r\n"))
    assert fate == wanted
    assert arrived == (wanted in (SENT, DOUBT))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("pipelining", [False])
async def test_a_reply_that_drips_but_ends_in_time_is_a_reply(mailing: Mailing) -> None:
    dripping = Misstep("250-2.0.0 a\r\n250 2.0.0 b\r\n", byte_seconds=0.005)
    assert await fate_after(mailing, Step.DOT, dripping) == (SENT, 1)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("pipelining", [False, True])
@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Step.MAIL, "250 ok\r\n250 ok\r\n"),
        (Step.MAIL, "250 ok\r\n550 5.1.1 no\r\n"),
        (Step.RCPT, "250 ok\r\n354 go on\r\n"),
        (Step.RCPT, "550 5.1.1 no\r\n250 ok\r\n"),
        (Step.DOT, "250 ok\r\n250 ok\r\n"),
        (Step.DOT, "250 ok\r\n550 5.1.1 no\r\n"),
        (Step.DOT, "451 later\r\n250 ok\r\n"),
    ],
)
async def test_out_of_step_nothing_is_sent_twice_and_nothing_is_called_sent_that_was_not(
    mailing: Mailing, step: Step, words: str
) -> None:
    mailing.server.misstep(step, Misstep(words))
    async with mailing.sender(connections=1) as sender:
        people = [await mailing.person() for _ in range(4)]
        for enrollment, _ in people:
            await sender.take(enrollment)
        await sender.work.quiet()
    told = {outcome.enrollment_id: outcome.event_type for outcome in sender.published.outcomes()}
    arrived = [len(mailing.server.messages(address)) for _, address in people]
    assert arrived == [told[enrollment] is Outcome.SENT for enrollment, _ in people]
    assert sum(arrived) >= 2, "at most the one that met it and the one after it are not sent"
