"""Erasing a person: what each service forgets and keeps, when it waits, and what can't come back."""

from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from api.erasure import Forgetting as ApiForgetting
from api.erasure import WordStore as ApiWords
from api.idempotency import Answers
from api.testing import Served, serving_pages
from chassis import documents as names
from chassis.clock import Clock
from chassis.erasure import Erasures, Owner, Sought
from chassis.errors import Fatal, Retry
from chassis.personal import IMPERSONAL, PERSONAL
from chassis.secrets import Secrets
from chassis.store import Database
from chassis.telemetry import REGISTRY
from reply_detector.erasure import Forgetting as DetectorForgetting
from reply_detector.erasure import WordStore as DetectorWords
from reply_detector.testing import PAT, REPLY, a_bounce, a_message, open_world
from reply_detector.testing import World as Inbox
from scheduler.erasure_list import ask_again, listed
from scheduler.testing import SEQUENCE, WORKSPACE, Bench, open_bench, settings_for
from segue_contracts import ids
from segue_contracts.commands import Edit, Enroll, Erase, Hold, HoldScope, UpdatePerson
from segue_contracts.events import Outcome
from segue_contracts.topics import DELIVERY_COMMANDS, ENROLLMENT_EVENTS
from sender.erasure import Forgetting as SenderForgetting
from sender.erasure import WordStore as SenderWords
from sender.prompt_store import Told
from sender.settings import SenderSettings
from stack.sending import ANNA, SETTINGS, Sender, World, a_sender, a_world
from stack.smtp import SmtpServer

pytestmark = pytest.mark.stack

PRIYA = ids.person_id(WORKSPACE, "priya")


@pytest.fixture
async def bench(mongodb_uri: str) -> AsyncIterator[Bench]:
    async with open_bench(mongodb_uri) as opened:
        yield opened


@pytest.fixture
async def world(mongodb_uri: str, smtp_server: SmtpServer) -> AsyncIterator[World]:
    async with a_world(mongodb_uri, smtp_server) as built:
        yield built


@pytest.fixture
async def sender(world: World, mongodb_uri: str) -> AsyncIterator[Sender]:
    async with a_sender(world, SenderSettings(mongodb_uri=SecretStr(mongodb_uri), **SETTINGS)) as built:
        yield built


@pytest.fixture
async def inbox(mongodb_uri: str) -> AsyncIterator[Inbox]:
    async with open_world(mongodb_uri) as built:
        yield built


@pytest.fixture
async def api(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving_pages(mongodb_uri) as served:
        yield served


async def left(database: Database, word: str) -> set[str]:
    """The collections in which the word is somewhere."""
    collections = await database._raw.list_collection_names()
    return {name for name in collections if word in str(await database.collection(name).find({})).lower()} - {
        names.ERASURES
    }


async def one(database: Database, name: str, _id: object) -> dict[str, Any]:
    found = await database.collection(name).find_one({"_id": _id})
    assert found is not None
    return found


async def waiting_for(database: Database, person: UUID) -> list[str]:
    waiting: list[str] = (await one(database, names.ERASURES, person))["open"]
    return waiting


# ---- the scheduler ------------------------------------------------------------------------------------


def erase(bench: Bench) -> Any:
    return bench.message(Erase, external_id="priya", issued_by="ana")


async def test_an_erase_stops_at_once_then_forgets_and_tells_and_stays_done(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    await bench.command(bench.message(Edit, enrollment_id=enrollment, stages={"nudge": {"text": "priya!"}}))
    hold = bench.message(Hold, scope=HoldScope.PERSON, scope_id=PRIYA, reason="priya asked")
    await bench.command(hold)
    command = erase(bench)
    await bench.command(command)
    assert (await bench.read(enrollment))["state"] == "stopped"
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    e = await bench.read(enrollment)
    assert (e["stop"]["reason"], e["external_id"]) == ("erased", str(PRIYA))
    assert bench.kafka.kinds(ENROLLMENT_EVENTS)[-2:] == ["stopped", "erased"]
    assert [c["seq"] for c in e["history"]] == list(range(1, e["seq"] + 1))
    assert await left(bench.database, "priya") == set()
    assert await waiting_for(bench.database, PRIYA) == ["sender", "reply_detector", "api"]
    before = await bench.database.collection(names.ERASURES).find({})
    await bench.database.collection(names.COMMAND_RESULTS).delete_many({})
    await bench.command(command)
    assert await bench.database.collection(names.ERASURES).find({}) == before


async def test_whoever_was_erased_is_refused_and_their_facts_do_not_come_back(bench: Bench) -> None:
    await bench.enrolled("priya")
    await bench.command(erase(bench))
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    bench.clock.advance(60)
    update = bench.message(UpdatePerson, prospect=bench.prospect())
    again = bench.message(Enroll, sequence_id=SEQUENCE, prospect=bench.prospect(), generation=2)
    other = bench.enroll("else", email="PRIYA@there.example")
    await bench.command(update, again, other)
    results = [await one(bench.database, names.COMMAND_RESULTS, c.event_id) for c in (update, again, other)]
    assert [r["reasons"][0]["code"] for r in results] == ["erased", "erased", "suppressed"]
    person = await one(bench.database, names.PEOPLE, PRIYA)
    assert (
        await bench.parts.store.save_people([{**person, "prospect": {}, "facts_at": bench.clock.now()}])
        == set()
    )
    assert (await one(bench.database, names.PEOPLE, PRIYA))["prospect"] == {"external_id": str(PRIYA)}


async def test_an_enroll_that_was_checked_before_the_erasure_is_stopped_and_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.command(erase(bench))
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    whole, looks = Erasures.among, iter([True, False])

    async def among(self: Erasures, workspaces: Iterable[UUID], people: Iterable[UUID]) -> set[UUID]:
        return set() if next(looks) else await whole(self, workspaces, people)

    monkeypatch.setattr(Erasures, "among", among)
    bench.clock.advance(60)
    late = bench.enroll(email="priya@moved.example")
    await bench.command(late)
    assert (await bench.read(late.enrollment_id))["stop"]["reason"] == "erased"
    assert "scheduler" in await waiting_for(bench.database, PRIYA)
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    assert await left(bench.database, "priya") == set()


async def test_an_enroll_whose_first_try_broke_off_behind_its_insert_is_stopped_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.command(erase(bench))
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    whole, looks = Erasures.among, iter([set[UUID](), None])

    async def among(self: Erasures, workspaces: Iterable[UUID], people: Iterable[UUID]) -> set[UUID]:
        if (found := next(looks, set[UUID]())) is None:
            raise Retry("the database went away")
        return found

    monkeypatch.setattr(Erasures, "among", among)
    late = bench.enroll(email="priya@moved.example")
    with pytest.raises(Retry):
        await bench.command(late)
    monkeypatch.setattr(Erasures, "among", whole)
    await bench.command(late)
    assert (await bench.read(late.enrollment_id))["stop"]["reason"] == "erased"


async def test_an_erasure_waits_for_what_is_on_its_way(bench: Bench) -> None:
    (enrollment,) = await bench.enrolled("priya")
    await bench.parts.due.tick()
    await bench.command(erase(bench))
    assert "recall" in bench.kafka.kinds(DELIVERY_COMMANDS)
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    assert "scheduler" in await waiting_for(bench.database, PRIYA)
    bench.clock.advance(60)
    await bench.parts.forgetting.sweep()
    assert REGISTRY.get_sample_value("segue_scheduler_oldest_erasure_seconds") == 60
    await bench.outcome(Outcome.RECALLED, enrollment)
    await bench.parts.forgetting.sweep()
    assert "scheduler" not in await waiting_for(bench.database, PRIYA)


async def test_a_company_goes_with_its_only_person_and_stays_while_somebody_else_is_there(
    bench: Bench,
) -> None:
    await bench.command(bench.enroll(), bench.enroll("alone", email="alone@own.example"), bench.enroll("sam"))
    await bench.command(erase(bench), bench.message(Erase, external_id="alone"))
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    kept = await bench.database.collection(names.COMPANIES).find({})
    assert [company["key"] for company in kept] == ["there.example"]


async def test_a_test_with_the_facts_of_a_person_goes_with_them_and_its_user_is_written_to_again(
    bench: Bench,
) -> None:
    copy = f"test-{PRIYA.hex}-{uuid4().hex}"
    await bench.command(
        bench.enroll(), bench.enroll(copy, email="ana@ourco.example", last_name="Priyasdottir")
    )
    await bench.command(erase(bench))
    for _ in range(5):
        await bench.parts.forgetting.sweep()
    assert await left(bench.database, "priya") == set()
    assert len(await bench.database.collection(names.SUPPRESSIONS).find({})) == 1


async def test_a_list_of_erasures_has_everybody_erased_once_more_in_a_database_that_knows_them_again(
    bench: Bench,
) -> None:
    await bench.enrolled("priya")
    backup = await bench.database.collection(names.PEOPLE).find({})
    await bench.command(erase(bench))
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    settings = settings_for("mongodb://unused")
    erasures = erasures_of(bench.database, settings, bench.clock)
    lines = [line async for line in listed(erasures)]
    assert "priya" not in "".join(lines)
    for name in (names.ERASURES, names.SUPPRESSIONS, names.PEOPLE):
        await bench.database.collection(name).delete_many({})
    await bench.database.collection(names.PEOPLE).insert_new(backup)
    with pytest.raises(Fatal, match="line 2"):
        await ask_again(erasures, [*lines, "priya"])
    assert await bench.database.collection(names.ERASURES).find({}) == []
    for _ in range(2):
        assert await ask_again(erasures, lines) == 1
    other = bench.enroll("else", email="priya@there.example")
    await bench.command(other)
    refused = await one(bench.database, names.COMMAND_RESULTS, other.event_id)
    assert refused["reasons"][0]["code"] == "suppressed"
    for _ in range(3):
        await bench.parts.forgetting.sweep()
    assert await left(bench.database, "priya") == set()


# ---- the sender ---------------------------------------------------------------------------------------


def erasures_of(database: Database, settings: Any, clock: Clock) -> Erasures:
    return Erasures(database, Secrets(settings), clock)


async def test_deliveries_rest_before_they_are_forgotten_and_every_address_is_suppressed(
    world: World, sender: Sender
) -> None:
    words = "word " * 13_000
    await world.collection(names.SEQUENCE_VERSIONS).update_one(
        {}, {"$set": {"document.stages.0.text": words}}
    )
    sent = await world.dispatch()
    await sender.due(sent)
    moving = await world.dispatch()
    await sender.due(moving)
    await world.delivery_is(moving, state="transmitting")
    for enrollment in (sent, moving):
        await world.enrollment_is(enrollment, ended=True, state="stopped")
    erasures = erasures_of(world.database, sender.settings, sender.clock)
    forgetting = SenderForgetting(erasures, SenderWords(world.database), sender.clock)
    await erasures.ask(world.workspace, world.person, Sought(), sender.clock.now(), "ana")
    for _ in range(2):
        await forgetting.sweep()
    assert Owner.SENDER in await waiting_for(world.database, world.person)
    before, after = await world.delivery(moving), await world.delivery(sent)
    assert before["recipient"] == ANNA
    assert not {"body", "body_file", "text", "recipient", "tracking"} & after.keys()
    assert (after["state"], after["subject"]) == ("sent", "")
    await world.delivery_is(moving, state="sent")
    await forgetting.sweep()
    assert Owner.SENDER not in await waiting_for(world.database, world.person)
    assert await world.collection("bodies.chunks").find({}) == []
    hashed = Secrets(sender.settings).suppression_id(world.workspace, "address", ANNA)
    assert [each["_id"] for each in await world.collection(names.SUPPRESSIONS).find({})] == [hashed]


async def test_a_delivery_that_gets_words_again_is_forgotten_again(world: World, sender: Sender) -> None:
    sent = await world.dispatch()
    await sender.due(sent)
    erasures = erasures_of(world.database, sender.settings, sender.clock)
    forgetting = SenderForgetting(erasures, SenderWords(world.database), sender.clock)
    await erasures.ask(world.workspace, world.person, Sought(), sender.clock.now(), "ana")
    for _ in range(2):
        await forgetting.sweep()
    assert Owner.SENDER in await waiting_for(world.database, world.person)
    assert "recipient" not in await world.delivery(sent)
    await world.delivery_is(sent, recipient=ANNA, body=b"Hi Anna")
    await world.enrollment_is(sent, ended=True, state="stopped")
    for _ in range(2):
        await forgetting.sweep()
    assert Owner.SENDER not in await waiting_for(world.database, world.person)
    assert not {"recipient", "body"} & (await world.delivery(sent)).keys()


async def test_what_a_user_is_just_being_told_of_the_person_is_not_told(world: World, sender: Sender) -> None:
    sent = await world.dispatch()
    await sender.due(sent)
    await world.enrollment_is(sent, ended=True, state="stopped")
    common = {"workspace_id": world.workspace, "state": Told.OPEN.value, "next_at": sender.clock.now()}
    dispatch = ids.dispatch_id(sent, "hello")
    for name, about in (("theirs", [dispatch, "x:y"]), ("others", ["x:y"])):
        prompt = {"_id": name, **common, "text": "Call Anna", "dispatches": about}
        await world.collection(names.PROMPTS).insert_one(prompt)
    erasures = erasures_of(world.database, sender.settings, sender.clock)
    await erasures.ask(world.workspace, world.person, Sought(), sender.clock.now(), "ana")
    for _ in range(2):
        await SenderForgetting(erasures, SenderWords(world.database), sender.clock).sweep()
    prompts = {doc["_id"]: doc for doc in await world.collection(names.PROMPTS).find({})}
    assert (prompts["theirs"]["state"], "text" in prompts["theirs"]) == (Told.FAILED.value, False)
    assert prompts["others"]["text"] == "Call Anna"


# ---- the reply detector -------------------------------------------------------------------------------


def forgetting_in(inbox: Inbox) -> tuple[Erasures, DetectorForgetting]:
    erasures = erasures_of(inbox.database, inbox.settings, inbox.clock)
    return erasures, DetectorForgetting(erasures, DetectorWords(inbox.database), inbox.clock)


async def test_messages_from_to_and_about_the_person_are_forgotten_with_what_they_did_kept(
    inbox: Inbox,
) -> None:
    reply = await inbox.settled(a_message(REPLY))
    await inbox.end(inbox.enrollment, *inbox.kafka.causes())
    await inbox.pass_on(reply["_id"])
    loose = await inbox.settled(a_message("Another matter", sender="Pat <PAT@Theirs.example>", thread=None))
    report = await inbox.settled(a_bounce(message_id="<unknown@elsewhere.example>"))
    odd = await inbox.arrives(b'{"from": "pat@theirs.example"}', state="settled", unreadable="no mail")
    other = await inbox.settled(a_message("Not theirs", sender="sam@theirs.example", thread=None))
    unjudged = await inbox.arrives(a_message("And this"))
    erasures, forgetting = forgetting_in(inbox)
    await erasures.ask(inbox.workspace, inbox.person, Sought(addresses=(PAT,)), inbox.clock.now(), "ana")
    await forgetting.sweep()
    assert Owner.REPLY_DETECTOR in await waiting_for(inbox.database, inbox.person)
    await inbox.pass_on(unjudged)
    await inbox.pass_on(unjudged)
    await forgetting.sweep()
    assert Owner.REPLY_DETECTOR not in await waiting_for(inbox.database, inbox.person)
    for inbound in (reply["_id"], loose["_id"], report["_id"], odd, unjudged):
        doc = await inbox.inbound(inbound)
        assert "pat@theirs" not in str(doc).lower()
        assert "raw" not in doc
    assert (await inbox.inbound(reply["_id"]))["answer"]["kind"] == "reply"
    assert "raw" in await inbox.inbound(other["_id"])


async def test_who_was_tried_at_a_mailboxs_own_address_takes_nobody_elses_answers_along(inbox: Inbox) -> None:
    [mailbox] = await inbox.database.collection(names.MAILBOXES).find({"workspace_id": inbox.workspace})
    reply = await inbox.settled(a_message("Thank you", sender="sam@else.example", thread=None))
    assert mailbox["address"] in reply["addresses"]
    erasures, forgetting = forgetting_in(inbox)
    sought = Sought(addresses=(mailbox["address"],))
    await erasures.ask(inbox.workspace, uuid4(), sought, inbox.clock.now(), "ana")
    for _ in range(2):
        await forgetting.sweep()
    assert "raw" in await inbox.inbound(reply["_id"])


async def test_what_an_erased_person_writes_later_stops_what_it_should_and_is_forgotten(
    inbox: Inbox,
) -> None:
    erasures, forgetting = forgetting_in(inbox)
    await erasures.ask(inbox.workspace, inbox.person, Sought(), inbox.clock.now(), "ana")
    await forgetting.sweep()
    late = await inbox.settled(a_message(REPLY))
    assert inbox.kafka.causes()
    await inbox.end(inbox.enrollment, *inbox.kafka.causes())
    await inbox.pass_on(late["_id"])
    await forgetting.sweep()
    doc = await inbox.inbound(late["_id"])
    assert (doc["verdict"]["kind"], doc["verdict"]["text"], "raw" in doc) == ("reply", "", False)


# ---- the API ------------------------------------------------------------------------------------------


MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hello {{first_name|there}}"}]
PATH = "/v1/people/priya"


async def known(api: Served) -> UUID:
    """Priya, as the scheduler has stored her."""
    person = ids.person_id(api.workspace, "priya")
    await api.database.collection(names.PEOPLE).insert_one(
        {
            "_id": person,
            "workspace_id": api.workspace,
            "external_id": "priya",
            "prospect": {"external_id": "priya", "first_name": "Priya", "email": "priya@there.example"},
            "addresses": ["priya@there.example"],
            "phones": [],
        }
    )
    return person


def forgetting_by(api: Served) -> ApiForgetting:
    answers = Answers(api.api.store.idempotency, api.clock, api.api.secrets)
    return ApiForgetting(api.api.erasures, ApiWords(api.database), answers, api.api.secrets, api.clock)


async def test_erasing_is_an_admins_is_audited_and_has_a_page_that_tells_how_far_it_is(api: Served) -> None:
    person = await known(api)
    _, member = await api.teammate("Max")
    for method, path in (("POST", "/erasure"), ("GET", "/erasure"), ("GET", "/export")):
        await api.call(method, PATH + path, status=403, key=member)
    assert (await api.call("GET", f"{PATH}/erasure"))["state"] == "known"
    told = await api.call("POST", f"{PATH}/erasure", status=202)
    assert told["status_url"].endswith(f"/v1/people/{person}/erasure")
    assert (await api.call("GET", f"/v1/people/{person}/erasure"))["state"] == "asked"
    assert (await api.call("GET", f"{PATH}/export"))["kept"]["people"][0]["external_id"] == "priya"
    assert {("person.erased", str(person)), ("person.exported", str(person))} <= set(await api.audited())
    eve = await api.other_workspace()
    for path in ("/erasure", "/export"):
        await api.call("GET", PATH + path, status=404, key=eve)
        await api.call("GET", "/v1/people/nobody" + path, status=404)
    await api.api.erasures.ask(api.workspace, person, Sought(), api.clock.now(), "ana")
    await api.call("POST", f"/v1/people/{person}/erasure", status=409)
    shown = await api.call("GET", f"{PATH}/erasure")
    assert (shown["state"], shown["waiting_for"]) == ("erasing", [owner.value for owner in Owner])


async def test_rows_answers_and_refusals_forget_the_person_and_a_repetition_is_told_so(api: Served) -> None:
    person = await known(api)
    await api.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    sequence = (await api.call("POST", "/v1/sequences", {"name": "B", "stages": STAGES}, status=201))["id"]
    row = {"prospects": [{"external_id": "priya", "email": "priya@old.example"}, {"external_id": "sam"}]}
    lists = f"/v1/sequences/{sequence}/lists"
    made = await api.call("POST", lists, row, status=201)
    one_row = f"/v1/lists/{made['id']}/rows/1"
    once = {"Idempotency-Key": "once"}
    looked = {"text": "{{email}}", "values": {"email": "Priya@there.example"}}
    preview = "/v1/preview"
    assert "Priya@" in str(await api.call("POST", preview, looked, headers=once))
    enroll = {"prospect": {"external_id": "priya", "email": "priya@there.example"}}
    enrollments = f"/v1/sequences/{sequence}/enrollments"
    command = (await api.call("POST", enrollments, enroll, status=202))["accepted"][0]
    sought = Sought(external_id="priya", addresses=("priya@there.example",))
    await api.api.erasures.ask(api.workspace, person, sought, api.clock.now(), "ana")
    forgetting = forgetting_by(api)
    for _ in range(2):
        await forgetting.sweep()
    assert Owner.API in await waiting_for(api.database, person), "a command still says something"
    refused = {"code": "erased", "detail": "priya was erased"}
    await api.database.collection(names.COMMAND_RESULTS).insert_one(
        {
            "_id": UUID(command["command_id"]),
            "workspace_id": api.workspace,
            "status": "refused",
            "reasons": [refused],
        }
    )
    api.clock.advance(60)
    await api.api.courier.sweep_commands()
    await forgetting.sweep()
    assert Owner.API not in await waiting_for(api.database, person)
    assert await left(api.database, "priya") == {names.PEOPLE}
    old = await one(api.database, names.ERASURES, person)
    hashed = api.api.secrets.suppression_id(api.workspace, "address", "priya@old.example")
    assert hashed in old["hashes"]
    shown = await api.call("GET", one_row + "?")
    assert (shown["status"], shown["prospect"]) == ("excluded", {})
    gone = await api.call("POST", preview, looked, status=410, headers=once)
    assert gone["type"].endswith("erased")


async def test_an_admin_erases_from_the_persons_page_by_typing_their_name(api: Served) -> None:
    person = await known(api)
    enrollment = await enrolled(api, person)
    page = f"/enrollments/{enrollment}"
    async with api.browser() as ana:
        assert "Erase this person" in await ana.get(page)
        assert '"first_name":"Priya"' in await ana.get(f"{page}/everything")
        assert "What stays" in await ana.get(f"{page}/erase")
        wrong = await ana.post(f"{page}/erase", {"name": "Pria"}, status=422)
        assert "Priya" in wrong
        await ana.post(f"{page}/erase", {"name": " priya "})
        assert "is being erased" in await ana.get(f"{page}/erase")
    assert [(kind, target) for kind, _, target in await api.commanded("erase")] == [("erase", str(person))]
    user, _ = await api.teammate("Max")
    async with api.browser(UUID(user)) as max_:
        await max_.get(f"{page}/erase", status=404)


async def enrolled(api: Served, person: UUID) -> UUID:
    await api.call("POST", "/v1/mailboxes", MAILBOX, status=201)
    sequence = (await api.call("POST", "/v1/sequences", {"name": "B", "stages": STAGES}, status=201))["id"]
    enrollment = uuid4()
    now = api.clock.now()
    await api.database.collection(names.ENROLLMENTS).insert_one(
        {
            **{"_id": enrollment, "workspace_id": api.workspace, "sequence_id": UUID(sequence)},
            **{"person_id": person, "external_id": "priya", "sequence_version": 1, "mailbox_id": uuid4()},
            **{"owner_id": UUID(api.made["user_id"]), "state": "finished", "ended": True, "created_at": now},
            **{"ended_at": now, "history": [{"seq": 1, "type": "enrolled", "at": now}]},
        }
    )
    return enrollment


# ---- where there is something of a person --------------------------------------------------------------


def test_every_collection_says_whether_it_can_name_a_person() -> None:
    collections = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    assert not collections - PERSONAL.keys() - IMPERSONAL.keys()
    assert not PERSONAL.keys() & IMPERSONAL.keys()
