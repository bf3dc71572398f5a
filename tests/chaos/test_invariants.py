"""The checker names each kind of broken promise in a small world that has it, and none in a good one."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest

import invariants
from chassis.caps import Cap
from chassis.clock import Clock
from chassis.documents import hold_id
from invariants import counts, violations
from scheduler import model
from scheduler.model import Change, Step
from scheduler.story import event_of, number
from segue_contracts.events import EnrollmentEvent, EnrollmentEventType, Outcome, StageOutcome
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, parse_sequence
from world import Document, Event, Mail, World

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WORKSPACE, SEQUENCE, PERSON, MAILBOX, OWNER, COMMAND = (uuid4() for _ in range(6))
E = uuid5(SEQUENCE, "one")
HELLO, NUDGE = f"{E}:hello", f"{E}:nudge"
STAGES = [
    {"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi"},
    {"id": "nudge", "channel": "email", "after": "1 minute", "text": "Still there?"},
]
VERSION = f"{SEQUENCE}:1"


def at(seconds: float) -> datetime:
    """An instant of the small world, an hour before it is judged; business and real time are the same."""
    return NOW - timedelta(hours=1) + timedelta(seconds=seconds)


def step(stage: str, seconds: float) -> Step:
    index = [s["id"] for s in STAGES].index(stage)
    return Step(stage, index, Channel.EMAIL, at(seconds), at(seconds + 7200), "UTC", ())


def changed(e: Document, change: Change, seconds: float) -> Document:
    """The document after a write of the scheduler."""
    chapters = number(e, change, at(seconds))
    after = {k: v for k, v in {**e, **change.set}.items() if k not in change.unset}
    history = [*e["history"], *chapters]
    return {
        **after,
        "state": change.to.value,
        "history": history,
        "seq": len(history),
        "updated_at": at(seconds),
    }


def enrolled() -> Document:
    identity = {
        "_id": E,
        "workspace_id": WORKSPACE,
        "sequence_id": SEQUENCE,
        "sequence_version": 1,
        "person_id": PERSON,
        "owner_id": OWNER,
        "mailbox_id": MAILBOX,
        "company_key": "there.example",
        "command_id": COMMAND,
        "issued_at": at(0),
        "start_at": at(0),
    }
    return model.enrolled(identity, step("hello", 1), at(0), at(0))


def dispatched(e: Document, seconds: float) -> Document:
    return {**e, "state": "dispatched", "attempt": e["attempt"] + 1, "due_at": at(seconds + 3600 * 2)}


def outcome(kind: Outcome, stage: str, seconds: float, **more: Any) -> StageOutcome:
    return StageOutcome(
        event_id=uuid4(),
        event_type=kind,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        workspace_id=WORKSPACE,
        enrollment_id=E,
        stage_id=stage,
        attempt=1,
        **more,
    )


def first_sent() -> Document:
    """Waits for the second stage, which is due at 70."""
    sent = outcome(Outcome.SENT, "hello", 10)
    return changed(
        dispatched(enrolled(), 1), model.completed(dispatched(enrolled(), 1), sent, step("nudge", 70)), 10
    )


def finished() -> Document:
    e = dispatched(first_sent(), 70)
    return changed(e, model.completed(e, outcome(Outcome.SENT, "nudge", 80), None), 80)


def young(e: Document) -> Document:
    """Its end was written just now."""
    return {**e, "history": [{**c, "rec": NOW} if c["rec"] == at(80) else c for c in e["history"]]}


def owing(recorded_at: datetime) -> dict[UUID, Document]:
    """An outbox in which our enrollment's chapters of that instant are owed."""
    return by_id({"_id": uuid4(), "owing": [{"_id": E, "rev": 5}], "recorded_at": recorded_at})


def stopped(e: Document, seconds: float) -> Document:
    return changed(e, model.stopped(e, at(seconds), "replied", "", uuid4(), None), seconds)


def delivery(stage: str, state: str = "sent", **more: Any) -> Document:
    return {
        "_id": f"{E}:{stage}",
        "workspace_id": WORKSPACE,
        "enrollment_id": E,
        "stage_id": stage,
        "sequence_id": SEQUENCE,
        "sequence_version": 1,
        "channel": "email",
        "attempt": 1,
        "state": state,
        "recipient": "ana@there.example",
        **more,
    }


def mail(stage: str, seconds: float, **more: Any) -> Mail:
    facts = {"recipients": ("ana@there.example",), "digest": stage, "message_id": f"<{stage}@ours>", **more}
    return Mail(data_began=at(seconds), accepted_at=at(seconds + 0.1), **facts)


def command(kind: str, target: object, seconds: float, state: str = "done", **more: Any) -> Document:
    result: Document = {"reasons": [], "enrollment_id": None}
    made = {"_id": uuid4(), "type": kind, "target": str(target), "state": state, "result": result}
    return {**made, "created_at": at(seconds), **more}


def world(e: Document | None, *mails: Mail, deliveries: list[Document] | None = None, **more: Any) -> World:
    """Everything told that the documents say."""
    enrollments = {} if e is None else {e["_id"]: e}
    if deliveries is None:
        deliveries = [delivery(m.message_id[1:].partition("@")[0]) for m in mails]
    given: dict[str, Any] = {
        "events": tuple(told(c, e) for c in e["history"]) if e is not None else (),
        "enrollments": enrollments,
        "deliveries": {d["_id"]: d for d in deliveries},
        "versions": {VERSION: parse_sequence({"name": "A", "mailbox": "x@y.example", "stages": STAGES})},
        "dispatches": {"<hello@ours>": HELLO, "<nudge@ours>": NUDGE},
        **more,
    }
    return World(NOW, Clock(1.0, at(-60)), mails, **given)


def told(chapter: Document, e: Document) -> Event:
    event = event_of(e, chapter)
    value = event.model_dump_json().encode()
    return Event(event.event_id, E, chapter["seq"], chapter["type"], value)


def both() -> tuple[Mail, Mail]:
    return mail("hello", 5), mail("nudge", 75)


def open_hours(hours: str) -> dict[str, SequenceDocument]:
    timing = {"windows": {"mon-fri": [hours]}}
    return {
        VERSION: parse_sequence({"name": "A", "mailbox": "x@y.example", "stages": STAGES, "timing": timing})
    }


def by_id(*documents: Document) -> dict[Any, Document]:
    return {d["_id"]: d for d in documents}


def without(e: Document, *fields: str, **more: Any) -> Document:
    return {**{k: v for k, v in e.items() if k not in fields}, **more}


def hold(**more: Any) -> Document:
    scope = {"_id": hold_id("sequence", SEQUENCE), "scope_id": SEQUENCE, "workspace_id": WORKSPACE}
    return {**scope, "until": None, "lifted_at": None, "changed_at": at(2), "created_at": at(2), **more}


def paused(lifted: bool = False) -> dict[str, Any]:
    wishes = [command("hold", SEQUENCE, 2)]
    if lifted:
        wishes.append(command("lift", SEQUENCE, 60))
    results = [
        {"_id": w["_id"], "status": "done", "at": w["created_at"], "enrollment_id": None} for w in wishes
    ]
    changed_at = wishes[-1]["created_at"]
    return {
        "commands": by_id(*wishes),
        "results": by_id(*results),
        "holds": by_id(hold(changed_at=changed_at, lifted_at=changed_at if lifted else None)),
    }


def scoped_stop(**more: Any) -> Document:
    stop = {"_id": uuid4(), "workspace_id": WORKSPACE, "scope": "person", "key": PERSON, "at": at(50)}
    return {**stop, "recorded_at": at(50), "applied": True, **more}


def resent(*, digest: str = "hello") -> World:
    """A person chose `resend` for the first mail."""
    e = dispatched(enrolled(), 1)
    e = changed(e, model.in_doubt(e, outcome(Outcome.IN_DOUBT, "hello", 10), at(3600)), 10)
    again = outcome(Outcome.DEFERRED, "hello", 20, reason="resend", until=at(20))
    e = dispatched(changed(e, model.returned(e, again, at(20), None), 20), 20)
    e = changed(e, model.completed(e, outcome(Outcome.SENT, "hello", 30), step("nudge", 7200)), 30)
    return world(
        e, mail("hello", 5), mail("hello", 25, digest=digest), deliveries=[delivery("hello", attempt=2)]
    )


def events_of(e: Document) -> tuple[Event, ...]:
    return tuple(told(c, e) for c in e["history"])


def shouting(event: Event) -> Event:
    return replace(event, value=event.value.replace(b"hello", b"HELLO"))


def refusal(seconds: float) -> Event:
    event = EnrollmentEvent(
        event_id=uuid5(COMMAND, "refused"),
        event_type=EnrollmentEventType.REFUSED,
        occurred_at=at(seconds),
        recorded_at=at(seconds),
        workspace_id=WORKSPACE,
        enrollment_id=E,
        seq=0,
        person_id=PERSON,
        sequence_id=SEQUENCE,
    )
    return Event(event.event_id, E, 0, "refused", event.model_dump_json().encode())


GOOD: dict[str, Callable[[], World]] = {
    "nothing at all": lambda: world(None),
    "two mails, finished": lambda: world(finished(), *both()),
    "waiting for the second": lambda: world(without(first_sent(), due_at=NOW), mail("hello", 5)),
    "stopped before the second": lambda: world(stopped(first_sent(), 60), mail("hello", 5)),
    "a stop that crossed the mail": lambda: world(stopped(dispatched(enrolled(), 1), 4), mail("hello", 5)),
    "a resend that somebody chose": resent,
    "a resend of what was stopped meanwhile": lambda: world(
        stopped(dispatched(enrolled(), 1), 60),
        mail("hello", 5),
        deliveries=[delivery("hello", "deferred", reason="resend")],
    ),
    "a resend that a stop recalled": lambda: world(
        stopped(dispatched(enrolled(), 1), 60),
        mail("hello", 5),
        deliveries=[delivery("hello", "released")],
        commands=by_id(command("decide_in_doubt", HELLO, 50)),
    ),
    "an attempt beside a lost guard, given back": lambda: world(
        stopped(enrolled(), 60), deliveries=[delivery("hello", "released", attempt=1)]
    ),
    "a mail younger than its document": lambda: world(
        without(dispatched(first_sent(), 70), due_at=NOW),
        mail("hello", 5),
        mail("nudge", 3601),
        deliveries=[delivery("hello"), delivery("nudge", "claimed")],
    ),
    "two mails in an hour that allows two": lambda: world(
        finished(), *both(), caps=dict.fromkeys((HELLO, NUDGE), (Cap("mailbox:x", 2, 3600),))
    ),
    "a pause around a dispatch": lambda: world(
        finished(), mail("hello", 65), mail("nudge", 75), **paused(lifted=True)
    ),
    "a refusal told twice": lambda: world(
        None,
        events=(refusal(1), refusal(1)),
        results=by_id({"_id": COMMAND, "status": "refused", "enrollment_id": E, "at": at(1)}),
    ),
    "an event still owed": lambda: world(
        young(finished()), *both(), events=events_of(finished())[:4], outbox=owing(NOW)
    ),
}


BAD: list[tuple[str, str, Callable[[], World]]] = [
    (
        "mail_of_no_dispatch",
        "a mail that nobody can have sent",
        lambda: world(None, mail("other", 5), deliveries=[]),
    ),
    (
        "wrong_recipient",
        "a mail to somebody else",
        lambda: world(finished(), both()[0], mail("nudge", 75, recipients=("bob@there.example",))),
    ),
    (
        "sent_twice",
        "the same mail twice",
        lambda: world(finished(), mail("hello", 5), mail("hello", 6), mail("nudge", 75)),
    ),
    ("resent_otherwise", "a second copy in other words", lambda: resent(digest="other")),
    (
        "mail_unknown",
        "a mail whose delivery would be sent again",
        lambda: world(
            stopped(first_sent(), 60), mail("hello", 5), deliveries=[delivery("hello", "released")]
        ),
    ),
    ("mail_lost", "told as sent, and nothing arrived", lambda: world(finished(), mail("hello", 5))),
    (
        "mail_lost",
        "a delivery that says sent, and nothing arrived",
        lambda: world(stopped(enrolled(), 60), deliveries=[delivery("hello")]),
    ),
    (
        "sent_after_stop",
        "a mail after a stop",
        lambda: world(stopped(first_sent(), 60), mail("hello", 5), mail("nudge", 75)),
    ),
    (
        "sent_while_held",
        "a mail in a pause",
        lambda: world(finished(), mail("hello", 30), mail("nudge", 75), **paused(lifted=True)),
    ),
    ("sent_while_held", "a mail in a pause that goes on", lambda: world(finished(), *both(), **paused())),
    (
        "sent_to_suppressed",
        "a mail to a suppressed address",
        lambda: world(finished(), *both(), suppressed_at={(WORKSPACE, "ana@there.example"): at(60)}),
    ),
    (
        "sent_unplanned",
        "a mail before its plan",
        lambda: world(finished(), mail("hello", 5), mail("nudge", 9)),
    ),
    ("sent_early", "a mail before it is due", lambda: world(finished(), mail("hello", 5), mail("nudge", 60))),
    (
        "sent_outside_window",
        "a mail at eleven where only the morning is open",
        lambda: world(finished(), *both(), versions=open_hours("08:00-10:00")),
    ),
    (
        "planned_outside_window",
        "a plan for eleven where only the morning is open, on a fast clock",
        lambda: replace(
            world(finished(), *both(), versions=open_hours("08:00-10:00")), clock=Clock(20_000.0, at(0))
        ),
    ),
    (
        "cap_broken",
        "two mails in an hour that allows one",
        lambda: world(finished(), *both(), caps=dict.fromkeys((HELLO, NUDGE), (Cap("mailbox:x", 1, 3600),))),
    ),
    ("out_of_order", "the second mail alone", lambda: world(enrolled(), mail("nudge", 75))),
    (
        "completed_twice",
        "one stage, completed twice",
        lambda: world(
            without(finished(), history=[*finished()["history"][:3], finished()["history"][2]]), *both()
        ),
    ),
    (
        "finished_without",
        "finished after the first of two stages",
        lambda: world(without(first_sent(), "due_at", state="finished", ended=True), mail("hello", 5)),
    ),
    ("stuck", "live, and nobody must act", lambda: world(without(first_sent(), "due_at"), mail("hello", 5))),
    (
        "parked_for_ever",
        "parked under a hold that is over",
        lambda: world(
            without(first_sent(), "due_at", parked_by=hold()["_id"]),
            mail("hello", 5),
            holds=by_id(hold(lifted_at=at(60))),
        ),
    ),
    ("asleep", "due for an hour", lambda: world(first_sent(), mail("hello", 5))),
    ("restless", "ended and due", lambda: world(without(finished(), due_at=NOW), *both())),
    (
        "recall_forgotten",
        "a recall that nobody asks for again",
        lambda: world(without(stopped(first_sent(), 60), owes_recall=HELLO), mail("hello", 5)),
    ),
    ("end_unclear", "finished and not ended", lambda: world(without(finished(), ended=False), *both())),
    (
        "delivery_of_nobody",
        "a delivery without an enrollment",
        lambda: world(None, deliveries=[delivery("hello", "claimed")]),
    ),
    (
        "transmits_for_ever",
        "a transmission that nobody ends",
        lambda: world(
            without(first_sent(), due_at=NOW),
            mail("hello", 5),
            deliveries=[delivery("hello"), delivery("nudge", "transmitting", deadline=at(100))],
        ),
    ),
    (
        "task_outlives",
        "a task of somebody who answered",
        lambda: world(stopped(enrolled(), 60), deliveries=[delivery("hello", "task_open", channel="call")]),
    ),
    (
        "attempt_ahead",
        "an attempt that nobody asked for",
        lambda: world(stopped(enrolled(), 60), deliveries=[delivery("hello", "rejected", attempt=3)]),
    ),
    (
        "unanswered",
        "a command that nobody took",
        lambda: world(None, commands=by_id(command("stop", E, 1, "accepted"))),
    ),
    (
        "unanswered",
        "an answer that nobody judged",
        lambda: world(None, inbound=by_id({"_id": COMMAND, "state": "received", "received_at": at(1)})),
    ),
    (
        "answer_unknown",
        "an answer to the last mail that only its message knows of",
        lambda: world(
            finished(),
            *both(),
            inbound=by_id(
                {
                    "_id": COMMAND,
                    "state": "settled",
                    "received_at": at(90),
                    "effect": {
                        "causes": [
                            {"reason": "replied", "scope": "enrollment", "target": E, "event_id": uuid4()}
                        ]
                    },
                }
            ),
        ),
    ),
    (
        "refused_without_reason",
        "a refusal that says nothing",
        lambda: world(None, commands=by_id(command("stop", E, 1, "refused"))),
    ),
    (
        "refused_and_done",
        "an enroll that is refused and done",
        lambda: world(
            finished(), *both(), commands=by_id({**command("enroll", E, 0, "refused"), "_id": COMMAND})
        ),
    ),
    (
        "no_effect",
        "an enroll without enrollment",
        lambda: world(None, commands=by_id(command("enroll", E, 1))),
    ),
    (
        "no_effect",
        "a stop that stopped nothing",
        lambda: world(
            without(first_sent(), due_at=NOW), mail("hello", 5), commands=by_id(command("stop", E, 50))
        ),
    ),
    (
        "no_effect",
        "a pause without a hold",
        lambda: world(None, commands=by_id(command("hold", SEQUENCE, 1))),
    ),
    (
        "no_effect",
        "a task that is done and open",
        lambda: world(
            without(enrolled(), due_at=NOW),
            deliveries=[delivery("hello", "task_open", channel="call")],
            commands=by_id(command("task_done", HELLO, 1)),
        ),
    ),
    (
        "history_gap",
        "a chapter that is gone",
        lambda: world(without(finished(), history=finished()["history"][1:]), *both()),
    ),
    (
        "untold",
        "owed for an hour",
        lambda: world(finished(), *both(), outbox=owing(at(80))),
    ),
    (
        "completed_differs",
        "a counter that is not the documents'",
        lambda: world(without(finished(), completed=["hello"]), *both()),
    ),
    (
        "event_changed",
        "one event id, two meanings",
        lambda: world(
            finished(), *both(), events=(*events_of(finished()), shouting(events_of(finished())[1]))
        ),
    ),
    (
        "event_id_wrong",
        "an event with an id of its own",
        lambda: world(
            finished(),
            *both(),
            events=(*events_of(finished()), replace(events_of(finished())[0], event_id=COMMAND)),
        ),
    ),
    (
        "event_missing",
        "a chapter that was never told",
        lambda: world(finished(), *both(), events=events_of(finished())[:-1]),
    ),
    (
        "event_differs",
        "an event that tells another stage",
        lambda: world(
            finished(), *both(), events=(shouting(events_of(finished())[1]), *events_of(finished())[2:])
        ),
    ),
    ("event_of_nothing", "an event without a document", lambda: world(None, events=events_of(finished()))),
    ("refusal_of_nothing", "a refusal without a result", lambda: world(None, events=(refusal(1),))),
    (
        "stop_missed",
        "somebody whom a person's stop passed by",
        lambda: world(without(first_sent(), due_at=NOW), mail("hello", 5), stops=by_id(scoped_stop())),
    ),
    (
        "stop_unapplied",
        "a stop that nobody carries on",
        lambda: world(None, stops=by_id(scoped_stop(applied=False))),
    ),
]


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_nothing_is_found_where_nothing_is_wrong(make: Callable[[], World]) -> None:
    assert [str(v) for v in violations(make())] == []


@pytest.mark.parametrize(("rule", "make"), [(r, m) for r, _, m in BAD], ids=[name for _, name, _ in BAD])
def test_a_broken_promise_is_named(rule: str, make: Callable[[], World]) -> None:
    assert rule in {v.rule for v in violations(make())}


def test_every_kind_of_violation_has_a_world_that_shows_it() -> None:
    source = inspect.getsource(invariants)
    named = set(re.findall(r'(?:Violation|broken)\(\s*"([a-z0-9_]+)"', source))
    assert named == {rule for rule, _, _ in BAD}


def test_a_violation_is_told_with_its_trace() -> None:
    (found,) = violations(world(stopped(first_sent(), 60), mail("hello", 5), mail("nudge", 75)))[:1]
    lines = str(found).splitlines()
    assert lines[0].startswith("sent_after_stop: ")
    story = "\n".join(lines[1:])
    assert story.index("stopped") < story.index(f"DATA for {NUDGE}")
    assert "delivery nudge: sent" in story


def test_the_counts_are_one_line() -> None:
    assert counts(world(finished(), *both())) == "mails 2 · dispatches 2 · enrollments 1 · events 6 · stops 0"
