"""What operators run: a backup of one instant, secrets stored under a new key, what waits in the sender."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from pymongo import MongoClient

from api.__main__ import SECRETS
from chassis import backup, look
from chassis import documents as names
from chassis.errors import Fatal
from chassis.rekeying import renew
from chassis.secrets import Secrets, SecretSettings
from chassis.settings import MongoSettings, ServiceSettings
from chassis.store import Database, Index, connect
from chassis.testing import FrozenClock, fresh_database, fresh_name, fresh_settings
from sender.operations import Standing
from sender.store import INDEXES
from stack.brokers import Brokers

pytestmark = pytest.mark.stack

OLD, NEW = "the old key of this test", "the new key of this test"
WORKSPACE = UUID(int=1)


@pytest.fixture
def settings(mongodb_uri: str) -> ServiceSettings:
    return fresh_settings("unused:9092", mongodb_uri)


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    async with fresh_database(settings) as opened:
        yield opened


def secrets(*keys: str) -> Secrets:
    return Secrets(SecretSettings(secret_keys=SecretStr(",".join(keys))))


# ---- secrets ------------------------------------------------------------------------------------


async def test_every_stored_secret_is_under_the_newest_key_and_says_the_same(database: Database) -> None:
    old = secrets(OLD)
    kept: dict[str, dict[str, Any]] = {
        names.MAILBOXES: {
            "smtp": {"host": "smtp.example", "secret": old.encrypt("smtp")},
            "imap": {"secret": None},
            "inbound_secret": old.encrypt("inbound"),
            "oauth": {"client_secret": old.encrypt("client"), "refresh_token": old.encrypt("refresh")},
        },
        names.WEBHOOKS: {
            "secrets": [{"secret": old.encrypt("one"), "until": None}, {"secret": old.encrypt("two")}]
        },
        names.WORKSPACES: {"prompt_hook": {"url": "https://there.example", "secret": old.encrypt("hook")}},
    }
    for name, document in kept.items():
        await database.collection(name).insert_one({"_id": uuid4(), "workspace_id": WORKSPACE, **document})
    both = secrets(NEW, OLD)
    told = await renew(database, both, SECRETS)
    assert told == {**dict.fromkeys(SECRETS, 0), names.MAILBOXES: 4, names.WEBHOOKS: 2, names.WORKSPACES: 1}
    assert not any((await renew(database, both, SECRETS)).values())
    [webhook] = await database.collection(names.WEBHOOKS).find({})
    assert [secrets(NEW).decrypt(each["secret"]) for each in webhook["secrets"]] == ["one", "two"]


async def test_a_secret_that_no_key_fits_stays_and_is_said(database: Database) -> None:
    stored = {
        "_id": uuid4(),
        "workspace_id": WORKSPACE,
        "auth_token": secrets("another key that is gone").encrypt("x"),
    }
    await database.collection(names.SMS_NUMBERS).insert_one(stored)
    with pytest.raises(ValueError, match="does not fit"):
        await renew(database, secrets(NEW, OLD), SECRETS)
    assert await database.collection(names.SMS_NUMBERS).find({}) == [stored]


# ---- backup -------------------------------------------------------------------------------------


@pytest.fixture
def history(brokers: Brokers, mongodb_uri: str) -> Iterator[None]:
    """Tests of ours keep no history of the database; a snapshot needs some seconds of it."""
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=60)
        yield
        client.admin.command("setParameter", 1, minSnapshotHistoryWindowInSeconds=0)


def other(settings: ServiceSettings) -> MongoSettings:
    return settings.model_copy(update={"mongodb_database": fresh_name()})


async def test_a_backup_brings_back_documents_indexes_and_validators(
    settings: ServiceSettings, database: Database, history: None, tmp_path: Path
) -> None:
    things = database.collection("things")
    await things.ensure_validator({"bsonType": "object", "required": ["n"]})
    await things.ensure_indexes([Index((("n", 1),), "n", unique=True, partial={"n": {"$gt": 1}})])
    await things.insert_new([{"_id": uuid4(), "n": n, "raw": b"x" * n} for n in range(1500)])
    file, elsewhere = tmp_path / "backup", other(settings)
    assert backup.save(settings, file) == {"things": 1500}
    with pytest.raises(Fatal, match="there already"):
        backup.save(settings, file)
    async with fresh_database(elsewhere) as restored:
        assert backup.restore(elsewhere, file) == {"things": 1500}
        by_n = [("n", 1)]
        assert await restored.collection("things").find({}, sort=by_n) == await things.find({}, sort=by_n)
    with MongoClient[dict[str, Any]](settings.mongodb_uri.get_secret_value()) as client:
        there = client[settings.mongodb_database]["things"]
        assert set(there.index_information()) == {"_id_", "n"}
    with pytest.raises(Fatal, match="not empty"):
        backup.restore(settings, file)


@pytest.mark.parametrize("cut", [10, 200])
async def test_half_a_backup_is_refused_before_anything_is_written(
    settings: ServiceSettings, database: Database, history: None, tmp_path: Path, cut: int
) -> None:
    await database.collection("things").insert_new([{"_id": n, "n": uuid4()} for n in range(50)])
    whole, half = tmp_path / "whole", tmp_path / "half"
    backup.save(settings, whole)
    half.write_bytes(whole.read_bytes()[:-cut])
    elsewhere = other(settings)
    with pytest.raises(Fatal, match="ends in the middle"):
        backup.restore(elsewhere, half)
    async with connect(elsewhere) as empty:
        assert await empty.collection("things").find({}) == []


# ---- what waits in the sender -------------------------------------------------------------------


async def test_what_waits_in_the_sender_is_counted_and_what_is_in_doubt_listed(database: Database) -> None:
    clock = FrozenClock()

    def delivery(state: str, **more: Any) -> dict[str, Any]:
        enrollment = uuid4()
        owned = {"workspace_id": WORKSPACE, "enrollment_id": enrollment, "stage_id": "one"}
        return {"_id": f"{enrollment}:one", **owned, "state": state, "settled_at": clock.now(), **more}

    doubt = delivery("in_doubt", channel="email", mailbox_id=uuid4(), reason="deadline_passed")
    await database.collection(names.DELIVERIES).insert_new(
        [
            *(delivery("deferred", reason="unreachable") for _ in range(3)),
            delivery("in_doubt", recalled_at=clock.now()),
            delivery("sent"),
            doubt,
        ]
    )
    standing = Standing(database, clock)
    await database.collection(names.DELIVERIES).ensure_indexes(
        [each for each in INDEXES if each.name == "in_doubt"]
    )
    told = await standing.counts()
    assert (told["deferred_by_reason"], told["in_doubt"]) == ({"unreachable": 3}, 1)
    assert [each["dispatch_id"] async for each in standing.in_doubt()] == [doubt["_id"]]


def test_looking_where_nobody_listens_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_HTTP_PORT", "1")
    assert look.main(["health"]) == 1
    assert "nobody answers on 127.0.0.1:1" in capsys.readouterr().err
