"""Answers over HTTP, as the reply detector wrote them: what recruiters find, and their word on it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from api.model import message_of
from api.testing import Served, serving
from chassis import documents as names
from chassis.documents import AnswerView
from chassis.migrations import build
from chassis.store import Document
from reply_detector.migrations import SCHEMA
from reply_detector.settings import DetectorSettings
from reply_detector.testing import PAT, REPLY, World, a_message
from segue_contracts.events import CorrectAnswer
from segue_contracts.ids import person_id

pytestmark = pytest.mark.stack


@dataclass
class Desk:
    """An API and a reply detector over one database."""

    api: Served
    world: World

    async def list(self, **where: str) -> list[dict[str, Any]]:
        found = await self.api.call("GET", "/v1/answers", params=where)
        items: list[dict[str, Any]] = found["items"]
        return items

    async def carry(self, told: dict[str, Any]) -> None:
        """The command of a 202, as Kafka brings it to the detector."""
        commands = self.api.database.collection(names.COMMANDS)
        stored = await commands.find_one({"_id": UUID(told["command_id"])})
        assert stored is not None
        command = message_of(stored)
        assert isinstance(command, CorrectAnswer)
        await self.world.parts().detector.correct(command)

    async def settled(self, raw: bytes) -> Document:
        """An answer whose effect is done, if it had one."""
        stored = await self.world.settled(raw)
        causes = stored["effect"]["causes"]
        if causes:
            await self.world.end(self.world.enrollment, causes[0]["event_id"])
            await self.world.pass_on(stored["_id"])
        return await self.world.inbound(stored["_id"])


@pytest.fixture
async def desk(mongodb_uri: str) -> AsyncIterator[Desk]:
    async with serving(mongodb_uri) as api:
        settings = DetectorSettings(
            kafka_bootstrap_servers="unused:9092",
            mongodb_uri=SecretStr(mongodb_uri),
            secret_keys=SecretStr("a key for tests of sixteen or more"),
        )
        world = World(api.database, settings, api.clock, workspace=api.workspace)
        world.owner = UUID(api.made["user_id"])
        world.person = person_id(api.workspace, "pat")
        await build(api.database, SCHEMA)
        await world.furnish()
        yield Desk(api, world)


async def test_an_answer_is_shown_as_the_detector_left_it(desk: Desk) -> None:
    stored = await desk.settled(a_message("Please unsubscribe me."))
    view = AnswerView.read(stored)
    assert AnswerView.PROJECTION.keys() - {"match.by", "verdict.kind", "verdict.intent"} - stored.keys() == {
        "corrections",
        "erased_at",
        "person_erased_at",
    }
    shown = await desk.api.call("GET", f"/v1/answers/{stored['_id']}")
    assert (shown["kind"], shown["judged_kind"], shown["match"]) == (
        view.answer["kind"],
        "opt_out",
        "thread",
    )
    assert (shown["from_address"], shown["state"], shown["settled"]) == (PAT, "open", True)
    assert {each["reason"] for each in shown["stopped"]} == {"unsubscribed"}
    assert shown["text"] == "Please unsubscribe me."
    for suppression in shown["suppressions"]:
        await desk.api.call("DELETE", f"/v1/suppressions/{suppression}", status=204)
    assert await desk.world.suppressed(PAT) is None


async def test_answers_are_found_by_what_they_are_and_whom_they_are_about(desk: Desk) -> None:
    away = a_message("I am out of the office.", Auto_Submitted="auto-replied")
    reply = await desk.settled(a_message(REPLY))
    absence = await desk.world.settled(away)
    await desk.world.settled(a_message(REPLY, sender="who@x.example", thread=None))
    both = [str(absence["_id"]), str(reply["_id"])]
    for where, expected in (
        ({}, both),
        ({"kind": "reply"}, both[1:]),
        ({"kind": "auto_reply"}, both[:1]),
        ({"intent": "interested"}, both[1:]),
        ({"person": "pat"}, both),
        ({"person": "wei"}, []),
        ({"sequence": str(desk.world.sequence), "state": "open"}, both),
        ({"sequence": str(uuid4())}, []),
        ({"owner": "me"}, both),
        ({"state": "reviewed"}, []),
    ):
        found = [each["id"] for each in await desk.list(**where)]
        assert sorted(found) == sorted(expected), where
    first = await desk.api.call("GET", "/v1/answers", params={"limit": "1"})
    second = await desk.api.call("GET", "/v1/answers", params={"cursor": first["next_cursor"]})
    assert sorted(each["id"] for each in first["items"] + second["items"]) == sorted(both)


async def test_a_correction_is_a_command_that_is_applied_once_and_audited(desk: Desk) -> None:
    stored = await desk.settled(a_message(REPLY))
    path = f"/v1/answers/{stored['_id']}"
    said = {"kind": "auto_reply"}
    told = await desk.api.call("POST", f"{path}/correction", said, status=202)
    await desk.carry(told)
    await desk.carry(told)
    status = await desk.api.call("GET", f"/v1/commands/{told['command_id']}")
    assert (status["type"], status["state"]) == ("correct", "done")
    shown = await desk.api.call("GET", path)
    assert (shown["kind"], shown["judged_kind"], shown["state"]) == ("auto_reply", "reply", "reviewed")
    (correction,) = shown["corrections"]
    assert (correction["was"], correction["by"]) == ("reply", desk.api.made["user_id"])
    assert ("answer.corrected", str(stored["_id"])) in await desk.api.audited()


async def test_an_answer_can_be_marked_as_looked_at(desk: Desk) -> None:
    stored = await desk.settled(a_message(REPLY))
    await desk.carry(await desk.api.call("POST", f"/v1/answers/{stored['_id']}/review", status=202))
    (reviewed,) = await desk.list(state="reviewed")
    assert (reviewed["kind"], reviewed["intent"]) == ("reply", "interested")
    assert reviewed["reviewed_by"] == desk.api.made["user_id"]


async def test_answers_stay_in_their_workspace_and_corrections_need_a_key_that_writes(desk: Desk) -> None:
    stored = await desk.settled(a_message(REPLY))
    path, other = f"/v1/answers/{stored['_id']}", await desk.api.other_workspace()
    await desk.api.call("GET", path, key=other, status=404)
    await desk.api.call("POST", f"{path}/correction", {"kind": "other"}, key=other, status=404)
    reader = await desk.api.key("read")
    await desk.api.call("POST", f"{path}/correction", {"kind": "other"}, key=reader, status=403)
    await desk.api.call("POST", f"{path}/correction", {"kind": "bounce"}, status=422)
    await desk.api.call("POST", f"{path}/correction", {"intent": "Not Now!"}, status=422)
    assert (await desk.api.call("GET", "/v1/answers", key=other))["items"] == []


async def test_a_mailbox_shows_why_it_rests_and_can_be_resumed_unless_its_server_refuses_it(
    desk: Desk,
) -> None:
    # The world's own has no more than what the detector reads.
    await desk.api.database.collection(names.MAILBOXES).delete_many({"_id": desk.world.mailbox})
    made = await desk.api.call(
        "POST",
        "/v1/mailboxes",
        {"address": "bo@ourco.example", "smtp": {"host": "127.0.0.1", "port": 25, "security": "none"}},
        status=201,
    )
    path, hold = f"/v1/mailboxes/{made['id']}", names.hold_id("mailbox", UUID(made["id"]))
    fields = {"scope": "mailbox", "until": None, "lifted_at": None}
    await desk.world.insert(names.HOLDS, _id=hold, reason="bounce_rate", by="reply-detector", **fields)
    shown = await desk.api.call("GET", path)
    assert shown["hold"] == {"reason": "bounce_rate", "by": "reply-detector", "until": None}
    listed = (await desk.api.call("GET", "/v1/mailboxes"))["items"]
    assert [each["hold"] for each in listed if each["id"] == made["id"]] == [shown["hold"]]
    await desk.api.call("POST", f"{path}/resume", status=202)
    refused = {"$set": {"by": "sender", "reason": "login_refused"}}
    await desk.api.database.collection(names.HOLDS).update_one({"_id": hold}, refused)
    await desk.api.call("POST", f"{path}/resume", status=409)
