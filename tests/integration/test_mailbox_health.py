"""What mail servers say of a mailbox becomes its health, for people to see, and is told when it turns."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from api.mailbox_health import Facts, HealthCounts, health_of
from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import MailboxStateView, MailboxView, SmtpIdentity, WatchingView, hold_id
from chassis.migrations import build
from chassis.rates import RateSettings, counted_from
from chassis.testing import NOON, FrozenClock
from scheduler.testing import MAILBOX as BOX
from scheduler.testing import open_bench
from segue_contracts.commands import Hold, HoldScope, Lift
from segue_contracts.events import MailboxNotification, MailboxTurn
from sender import model
from sender.mailbox_health import HOLD_HOURS, MailboxHealth, MailboxStates, kind_of
from sender.migrations import SCHEMA
from sender.model import Settlement
from sender.settings import SenderSettings
from stack.mail_script import Refuse
from stack.sending import ANNA, SETTINGS, Capturing, World, a_sender, a_world
from stack.smtp import SmtpServer

LATER = NOON + timedelta(minutes=5)
RESTED = timedelta(hours=HOLD_HOURS)


def put_off(reason: str, code: str = "") -> Settlement:
    return model.deferred(NOON, LATER, reason, code)


def refused(at: datetime, reason: str = "login_refused") -> Settlement:
    return model.deferred(at, at + RESTED, reason, "535 5.7.8", hold_reason=reason)


# ---- what an answer counts as -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settlement", "kind"),
    [
        (put_off("server_busy", "421 4.7.0"), "rate_limit"),
        (put_off("soft_failure", "450 4.2.1"), "rate_limit"),
        (put_off("soft_failure", "451 4.7.1"), "rate_limit"),
        (put_off("soft_failure", "452 4.2.2"), "soft"),
        (put_off("connection_connect"), "unreachable"),
        (refused(NOON), "refused"),
        (model.sent(NOON, "250"), None),
        (model.rejected(NOON, "recipient_refused", "550 5.1.1", bounced=True), None),
    ],
)
def test_an_answer_is_about_our_number_our_server_or_the_mailbox(
    settlement: Settlement, kind: str | None
) -> None:
    assert kind_of(settlement) == kind


# ---- what the sender keeps and tells ------------------------------------------------------------------


@pytest.fixture(scope="module")
def smtp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmtpServer]:
    with SmtpServer(Path(tmp_path_factory.mktemp("mail"))) as server:
        yield server


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as built:
        yield built


class Keeper:
    """The sender's eyes over a clock moved by hand."""

    def __init__(self, world: World) -> None:
        self.world, self.clock, self.kafka = world, FrozenClock(), Capturing()
        self.states = MailboxStates(world.database)
        self.health = MailboxHealth(self.states, self.kafka, self.clock)
        smtp = SmtpIdentity("127.0.0.1", 25, "none", None, None)
        own = (world.mailbox, world.workspace, "ana@ourco.example", "Ana", world.owner, "")
        self.mailbox = MailboxView(*own, "Europe/Berlin", None, None, (), smtp)

    async def saw(self, *settlements: Settlement) -> None:
        for settlement in settlements:
            self.health.saw(self.mailbox, settlement)
        await self.health.flush()

    async def view(self) -> MailboxStateView:
        found = await self.world.database.collection(names.MAILBOX_STATES).find_one({"_id": self.mailbox.id})
        assert found is not None
        return MailboxStateView.read(found)

    def told(self) -> list[tuple[MailboxTurn, str]]:
        found = [each for each in self.kafka.messages if isinstance(each, MailboxNotification)]
        return [(each.event_type, each.reason) for each in found]


@pytest.fixture
async def keeper(world: World) -> Keeper:
    keeper = Keeper(world)
    await build(world.database, SCHEMA)
    return keeper


@pytest.mark.stack
async def test_what_is_put_off_is_counted_by_the_mailboxs_own_day(keeper: Keeper) -> None:
    await keeper.saw(put_off("soft_failure", "450 4.2.1"), put_off("connection_connect"))
    await keeper.saw(put_off("soft_failure", "452 4.2.2"))
    view = await keeper.view()
    assert (view.day, view.deferred, view.rate_limited, view.unreachable) == ("2026-03-02", 3, 1, 1)
    keeper.clock.advance(hours=11.5)  # half past midnight in Berlin
    await keeper.saw(put_off("soft_failure", "450 4.2.1"))
    view = await keeper.view()
    assert (view.day, view.deferred, view.rate_limited, view.unreachable) == ("2026-03-03", 1, 1, 0)


@pytest.mark.stack
async def test_a_refusal_is_told_once_to_its_user_and_its_end_too(keeper: Keeper) -> None:
    now = keeper.clock.now()
    await keeper.saw(refused(now))
    await keeper.saw(refused(now + timedelta(minutes=10)), refused(now + timedelta(minutes=11)))
    refusal = (await keeper.view()).refusal
    assert refusal is not None
    assert (refusal["since"], refusal["at"]) == (now, now + timedelta(minutes=11))
    assert keeper.told() == [(MailboxTurn.PAUSED, "login_refused")]
    keeper.clock.advance(hours=2)
    await keeper.saw(model.sent(keeper.clock.now(), "250"))
    assert (await keeper.view()).refusal is None
    assert keeper.told()[1:] == [(MailboxTurn.RECOVERED, "login_refused")]
    (told, _) = [each for each in keeper.kafka.messages if isinstance(each, MailboxNotification)]
    assert (told.owner_id, told.mailbox_id) == (keeper.world.owner, keeper.world.mailbox)


@pytest.mark.stack
async def test_a_message_that_went_out_beside_the_refusal_is_no_recovery(keeper: Keeper) -> None:
    now = keeper.clock.now()
    await keeper.saw(refused(now, "policy_refused"))
    await keeper.saw(model.sent(now + timedelta(seconds=5), "250"))
    assert keeper.told() == [(MailboxTurn.PAUSED, "policy_refused")]


@pytest.mark.stack
async def test_what_kafka_did_not_take_is_told_by_the_next_round_under_the_same_id(keeper: Keeper) -> None:
    keeper.kafka.failures = 1
    with pytest.raises(Exception, match="no broker"):
        await keeper.saw(refused(keeper.clock.now()))
    other = MailboxHealth(keeper.states, keeper.kafka, keeper.clock)
    await other.flush()
    await other.flush()
    assert keeper.told() == [(MailboxTurn.PAUSED, "login_refused")]


@pytest.mark.stack
async def test_a_refusing_server_shows_in_the_state_that_the_api_reads(
    world: World, mongodb_uri: str, smtp_server: SmtpServer
) -> None:
    smtp_server.answer(ANNA, Refuse(at="data", reply="550 5.7.1 Not today"), times=1)
    settings = SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)
    async with a_sender(world, settings) as sender:
        await sender.due(await world.dispatch())
        await sender.health.flush()
    found = await world.database.collection(names.MAILBOX_STATES).find_one({"_id": world.mailbox})
    assert found is not None
    view = MailboxStateView.read(found)
    assert view.refusal is not None
    assert (view.refusal["reason"], view.refusal["code"], view.deferred) == (
        "policy_refused",
        "550 5.7.1",
        1,
    )


@pytest.mark.stack
async def test_the_next_hold_of_a_mailbox_remembers_when_a_person_resumed_it(mongodb_uri: str) -> None:
    async with open_bench(mongodb_uri) as bench:
        scope = {"scope": HoldScope.MAILBOX, "scope_id": BOX}
        await bench.command(bench.message(Hold, reason="bounce_rate", **scope))
        resumed = bench.clock.advance(minutes=1)
        await bench.command(bench.message(Lift, issued_by="ana", **scope))
        bench.clock.advance(minutes=1)
        until = bench.clock.now() + RESTED
        await bench.command(bench.message(Hold, issued_by="sender", until=until, extends=True, **scope))
        found = await bench.database.collection(names.HOLDS).find_one({"_id": hold_id("mailbox", BOX)})
        assert found is not None
        assert (found["lifted_at"], found["until"]) == (None, until)
        assert counted_from(found, resumed - timedelta(days=7)) == resumed


# ---- what people see ----------------------------------------------------------------------------------

LIMITS = RateSettings().mailbox_limits
MAILBOX, USER = uuid4(), uuid4()


def counts(**values: int) -> HealthCounts:
    zero = dict.fromkeys(
        (
            *("sent_today", "deferred_today", "rate_limited_today", "unreachable_today"),
            *("sent", "bounces", "complaints"),
        ),
        0,
    )
    return HealthCounts(counted_since=NOON - timedelta(days=7), **{**zero, **values})


def state_of(refusal: Any = None) -> MailboxStateView:
    return MailboxStateView(MAILBOX, refusal, "2026-03-02", 0, 0, 0)


def facts(*holds: dict[str, Any], state: Any = None, watching: Any = None, **values: int) -> Facts:
    return Facts(MAILBOX, USER, holds, state, watching, counts(**values))


def hold(scope: str = "mailbox", **values: Any) -> dict[str, Any]:
    return {"scope": scope, "reason": "", "by": "ana", "until": None, "created_at": NOON} | values


REFUSAL = {"reason": "login_refused", "code": "535 5.7.8", "since": NOON, "at": NOON, "until": NOON + RESTED}
TROUBLE = WatchingView(MAILBOX, NOON, NOON, "credentials", "LOGIN failed")


@pytest.mark.parametrize(
    ("known", "state", "codes"),
    [
        (facts(sent_today=40, deferred_today=2, rate_limited_today=2), "ok", []),
        (facts(sent_today=40, deferred_today=5, rate_limited_today=5), "warning", ["rate_limited"]),
        (facts(sent_today=400, deferred_today=5, rate_limited_today=5), "ok", []),
        (facts(sent_today=0, deferred_today=5, unreachable_today=5), "warning", ["unreachable"]),
        (facts(sent=100, bounces=2), "ok", []),
        (facts(sent=100, bounces=3), "warning", ["bounce_rate"]),
        (facts(sent=300, complaints=1), "warning", ["complaint_rate"]),
        (facts(watching=TROUBLE), "warning", ["not_watched"]),
        (facts(state=state_of(REFUSAL)), "warning", ["login_refused"]),
        (
            facts(hold(by="sender", reason="login_refused"), state=state_of(REFUSAL)),
            "paused",
            ["login_refused"],
        ),
        (facts(hold(reason="bounce_rate"), sent=100, bounces=9), "paused", ["bounce_rate"]),
        (facts(hold(reason="on leave")), "paused", ["paused"]),
        (facts(hold(), hold("ownership", reason="owner_left")), "paused", ["paused", "owner_left"]),
    ],
)
def test_the_state_follows_from_what_is_known(known: Facts, state: str, codes: list[str]) -> None:
    health = health_of(known, LIMITS)
    assert (health.state, [each.code for each in health.reasons]) == (state, codes)
    assert all(each.detail and each.what_to_do for each in health.reasons)


def test_a_refusal_says_what_the_server_said_since_when_and_until_when() -> None:
    held = hold(by="sender", reason="login_refused", until=NOON + RESTED)
    (reason,) = health_of(facts(held, state=state_of(REFUSAL)), LIMITS).reasons
    assert (reason.since, reason.until) == (NOON, NOON + RESTED)
    assert "535 5.7.8" in reason.detail
    assert f"PUT /v1/mailboxes/{MAILBOX}" in reason.what_to_do


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


@pytest.mark.stack
async def test_health_is_in_both_answers_with_its_counts_and_what_a_person_forgave_is_not_counted(
    api: Served,
) -> None:
    mailbox, other = await api.mailbox("ana@ourco.example"), await api.mailbox("bob@ourco.example")
    now = api.clock.now()
    own = {"workspace_id": api.workspace, "mailbox_id": UUID(mailbox)}
    deliveries = api.database.collection(names.DELIVERIES)
    for number in range(3):
        await deliveries.insert_one(
            {"_id": f"new{number}", **own, "state": "sent", "sent_at": now - timedelta(minutes=number)}
        )
    old = now - timedelta(days=2)
    await deliveries.insert_one({"_id": "old", **own, "state": "sent", "sent_at": old})
    await deliveries.insert_one(
        {"_id": "bounced", **own, "state": "rejected", "bounced": True, "settled_at": now}
    )
    await api.database.collection(names.INBOUND).insert_one(
        {"_id": uuid4(), **own, "answer": {"charge": "complaint"}, "received_at": now}
    )
    await api.database.collection(names.MAILBOX_STATES).insert_one(
        {
            "_id": UUID(mailbox),
            "workspace_id": api.workspace,
            "deferrals": {
                "day": now.astimezone(UTC).date().isoformat(),
                "deferred": 7,
                "rate_limited": 6,
                "unreachable": 1,
            },
        }
    )
    listed = {each["id"]: each for each in (await api.call("GET", "/v1/mailboxes"))["items"]}
    health = (await api.call("GET", f"/v1/mailboxes/{mailbox}"))["health"]
    assert listed[mailbox]["health"] == health
    assert listed[other]["health"]["state"] == "ok"
    shown = health["counts"]
    assert (shown["sent_today"], shown["deferred_today"], shown["rate_limited_today"]) == (3, 7, 6)
    assert (shown["sent"], shown["bounces"], shown["complaints"]) == (5, 1, 1)
    assert [each["code"] for each in health["reasons"]] == ["rate_limited", "complaint_rate"]
    await api.database.collection(names.HOLDS).insert_one(
        {
            "_id": hold_id("mailbox", UUID(mailbox)),
            "workspace_id": api.workspace,
            "scope": "mailbox",
            "scope_id": UUID(mailbox),
            "reason": "complaint_rate",
            "by": "reply-detector",
            "until": None,
            "created_at": old,
            "lifted_at": now - timedelta(days=1),
        }
    )
    counted = (await api.call("GET", f"/v1/mailboxes/{mailbox}"))["health"]["counts"]
    assert (counted["sent"], counted["counted_since"][:10]) == (
        4,
        (now - timedelta(days=1)).date().isoformat(),
    )
