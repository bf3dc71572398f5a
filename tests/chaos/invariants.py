"""The one judge of a run: from what the outside can see and the documents, every broken promise by name.

`violations` is pure. `python tests/chaos/invariants.py --maildir DIR` gathers the world of a run from the
addresses in its environment, prints what is wrong, each with its trace, and exits 1, or prints one line of
counts.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.caps import Cap
from chassis.documents import hold_is_active
from chassis.settings import load
from segue_contracts.events import ANSWERED
from segue_contracts.ids import event_id, split_dispatch_id
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument
from segue_contracts.timing import MINUTES_PER_DAY, Windows
from world import Document, Event, Mail, World, WorldSettings, gather

CROSSING = timedelta(seconds=5)
"""How long after a stop, hold or window's end DATA may still begin (real): two seconds of read age, which the
design allows, and what a busy machine adds between an instant's reading and its write."""
SAME_INSTANT = timedelta(milliseconds=20)
"""Clock readings of two processes and documents that keep milliseconds (real)."""
PATIENCE = timedelta(seconds=60)
"""What is due, asked for or owed is taken up within this (real)."""

LIVE = frozenset({"scheduled", "dispatched", "awaiting_task", "in_doubt"})
COMPLETING = frozenset({"stage_sent", "task_done", "stage_skipped"})
ENDING = frozenset({"stopped", "finished", "failed"})
RESENDS = frozenset({"resend", "resend_policy"})
KNOWS_OF_ITS_MAIL = frozenset({"transmitting", "sent", "in_doubt", "skipped"})
BY_DECISION = "mark_sent"
HELD_BY = ("_id", "person_id", "company_id", "sequence_id", "mailbox_id", "workspace_id")


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: `rule` is stable, `subject` is what broke it, `trace` how it came to that."""

    rule: str
    subject: str
    detail: str
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(
            (f"{self.rule}: {self.subject}: {self.detail}", *(f"    {line}" for line in self.trace))
        )


def violations(world: World) -> list[Violation]:
    """Everything that is wrong in this world."""
    facts = Facts(world)
    return [violation for rule in RULES for violation in rule(facts)]


def counts(world: World) -> str:
    """One line about a world in which nothing is wrong."""
    stopped = sum(e["state"] == "stopped" for e in world.enrollments.values())
    return (
        f"mails {len(world.mails)} · dispatches {len(world.deliveries)} · "
        f"enrollments {len(world.enrollments)} · events {len(world.events)} · stops {stopped}"
    )


class Facts:
    """A world with the look-ups that the rules share."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mails: dict[str, list[Mail]] = defaultdict(list)
        for mail in sorted(world.mails, key=lambda m: m.data_began):
            if (dispatch := world.dispatches.get(mail.message_id)) is not None:
                self.mails[dispatch].append(mail)
        self.events: dict[UUID, list[Event]] = defaultdict(list)
        for event in world.events:
            self.events[event.enrollment_id].append(event)
        self._owed: dict[UUID, set[datetime]] = defaultdict(set)
        for batch in world.outbox.values():
            for owing in batch["owing"]:
                self._owed[owing["_id"]].add(batch["recorded_at"])

    def owed(self, e: Document) -> list[Document]:
        """The chapters that the brokers may not have: of a batch that is still in the outbox."""
        return [c for c in e["history"] if c["rec"] in self._owed[e["_id"]]]

    def enrollments(self) -> Iterator[Document]:
        """Those that began: tombstones have no course."""
        return (e for e in self.world.enrollments.values() if not e.get("tombstone"))

    def sent(self) -> Iterator[tuple[Document, str, str, list[Mail]]]:
        """Each enrollment, stage, dispatch and its mails, where there are any."""
        for dispatch, mails in self.mails.items():
            enrollment_id, stage = split_dispatch_id(dispatch)
            yield self.world.enrollments[enrollment_id], stage, dispatch, mails

    def broken(self, rule: str, e: Document, detail: str, subject: str = "") -> Violation:
        """A violation of an enrollment's, with its trace."""
        return Violation(rule, subject or str(e["_id"]), detail, tuple(self.trace(e)))

    def trace(self, e: Document) -> list[str]:
        """An enrollment's story in the order of real time: chapters, mails, and where it stands."""
        lines = [(c["rec"], f"{c['seq']:>3} {_words(c)}") for c in e.get("history", ())]
        lines += [
            (m.data_began, f"  - DATA for {dispatch}, accepted {m.accepted_at:%H:%M:%S.%f}")
            for dispatch, mails in self.mails.items()
            if dispatch.startswith(str(e["_id"]))
            for m in mails
        ]
        now = f"{e['state']} stage={e.get('stage_id')} attempt={e.get('attempt')} due_at={e.get('due_at')}"
        deliveries = [
            f"delivery {d['stage_id']}: {d['state']} attempt={d['attempt']} {d.get('reason', '')}"
            for d in self.world.deliveries.values()
            if d["enrollment_id"] == e["_id"]
        ]
        return [f"{at:%H:%M:%S.%f} {text}" for at, text in sorted(lines)] + [now, *deliveries]


def _words(chapter: Document) -> str:
    shown = ("stage_id", "attempt", "scheduled_for", "until", "reason", "reason_code")
    told = " ".join(f"{name}={chapter[name]}" for name in shown if chapter.get(name) is not None)
    return f"{chapter['type']} at={chapter['at']} {told}".rstrip()


# ---- mails -------------------------------------------------------------------------------------


def each_mail_belongs_to_one_dispatch(facts: Facts) -> Iterator[Violation]:
    """By its Message-ID, which only the key can make; and it went to whom the delivery names."""
    for mail in facts.world.mails:
        if mail.message_id not in facts.world.dispatches:
            yield Violation(
                "mail_of_no_dispatch", mail.message_id, f"to {len(mail.recipients)}, {mail.accepted_at}"
            )
    for e, _, dispatch, mails in facts.sent():
        delivery = facts.world.deliveries.get(dispatch)
        named = {str(delivery.get("recipient", "")).lower()} if delivery else set()
        if delivery and any({r.lower() for r in mail.recipients} != named for mail in mails):
            yield facts.broken("wrong_recipient", e, "a mail went to another address", dispatch)


def no_dispatch_has_two_mails(facts: Facts) -> Iterator[Violation]:
    """Unless somebody chose `resend`; then each has the same bytes."""
    for e, stage, dispatch, mails in facts.sent():
        allowed = 1 + _resends(e, stage)
        if len(mails) > allowed:
            yield facts.broken("sent_twice", e, f"{len(mails)} mails, {allowed} allowed", dispatch)
        if len({mail.digest for mail in mails}) > 1:
            yield facts.broken("resent_otherwise", e, "a second copy has other bytes", dispatch)


def the_delivery_knows_of_its_mail(facts: Facts) -> Iterator[Violation]:
    """What was accepted is sent, in doubt, or decided; nothing that would send it again.

    A resend that somebody chose may be recalled by a stop before it is told.
    """
    world = facts.world
    decided = {c["target"] for c in world.commands.values() if c["type"] == "decide_in_doubt"}
    for e, stage, dispatch, mails in facts.sent():
        delivery = world.deliveries.get(dispatch, {})
        chosen = delivery.get("reason") in RESENDS or (e["ended"] and dispatch in decided)
        state = delivery.get("state", "not there")
        if _resends(e, stage) or chosen or mails[0].accepted_at >= world.now:
            continue
        if state not in KNOWS_OF_ITS_MAIL:
            yield facts.broken("mail_unknown", e, f"accepted, but the delivery is {state}", dispatch)


def what_counts_as_sent_was_accepted(facts: Facts) -> Iterator[Violation]:
    """A delivery or a stage that says `sent`, of an e-mail, has its mail, unless a person decided so."""
    for delivery in facts.world.deliveries.values():
        decided = delivery.get("reason") == BY_DECISION
        if delivery["state"] != "sent" or delivery.get("channel") != Channel.EMAIL or decided:
            continue
        e = facts.world.enrollments.get(delivery["enrollment_id"])
        if delivery["_id"] not in facts.mails and e is not None:
            yield facts.broken("mail_lost", e, "sent, but nothing was accepted", delivery["_id"])
    for e in facts.enrollments():
        for c in _told(e, "stage_sent"):
            dispatch = f"{e['_id']}:{c['stage_id']}"
            if c.get("channel") != Channel.EMAIL or c.get("reason") == BY_DECISION:
                continue
            if dispatch not in facts.mails:
                yield facts.broken("mail_lost", e, "told as sent, but nothing was accepted", dispatch)


def _resends(e: Document, stage: str) -> int:
    return sum(c.get("reason") in RESENDS and c.get("stage_id") == stage for c in _told(e, "stage_deferred"))


def _told(e: Document, *types: str) -> list[Document]:
    return [c for c in e.get("history", ()) if c["type"] in types]


# ---- never after, never before -----------------------------------------------------------------


def nothing_begins_after_the_end(facts: Facts) -> Iterator[Violation]:
    """No DATA on a read that could have seen the stop (or another end) of the enrollment."""
    for e, _, dispatch, mails in facts.sent():
        ends = [c["rec"] for c in _told(e, *ENDING)] or ([e["updated_at"]] if e.get("tombstone") else [])
        for mail in mails:
            if ends and mail.data_began > min(ends) + CROSSING:
                late = (mail.data_began - min(ends)).total_seconds()
                yield facts.broken(
                    "sent_after_stop", e, f"DATA {late:.1f} s after it had {e['state']}", dispatch
                )


def nothing_begins_under_a_hold(facts: Facts) -> Iterator[Violation]:
    """From the result of the command that set it to the command that lifted it."""
    pauses = list(_pauses(facts.world))
    for e, _, dispatch, mails in facts.sent():
        over = {str(e.get(part)) for part in HELD_BY}
        for mail in mails:
            for target, begins, ends in pauses:
                if (
                    target in over
                    and begins + CROSSING < mail.data_began
                    and (ends is None or mail.data_began < ends)
                ):
                    yield facts.broken("sent_while_held", e, f"held since {begins:%H:%M:%S.%f}", dispatch)


def _pauses(world: World) -> Iterator[tuple[str, datetime, datetime | None]]:
    """Real instants between which nothing under the target may be sent; holds with an end are left out."""
    wishes = sorted(
        (c for c in world.commands.values() if c["type"] in ("hold", "lift")), key=lambda c: c["created_at"]
    )
    for place, wish in enumerate(wishes):
        result = world.results.get(wish["_id"])
        if wish["type"] != "hold" or result is None:
            continue
        later = [w["created_at"] for w in wishes[place + 1 :] if w["target"] == wish["target"]]
        hold = next((h for h in world.holds.values() if str(h["scope_id"]) == wish["target"]), {})
        if hold.get("until") is None:
            yield wish["target"], world.real(result["at"]), world.real(later[0]) if later else None


def nothing_goes_to_a_suppressed_address(facts: Facts) -> Iterator[Violation]:
    """Not later than a read could have seen it."""
    for e, _, dispatch, mails in facts.sent():
        for mail in mails:
            for recipient in mail.recipients:
                since = facts.world.suppressed_at.get((e["workspace_id"], recipient.lower()))
                if since is not None and mail.data_began > facts.world.real(since) + CROSSING:
                    yield facts.broken("sent_to_suppressed", e, f"suppressed since {since}", dispatch)


def nothing_begins_before_it_is_due(facts: Facts) -> Iterator[Violation]:
    """The plan that held when DATA began: the last time told for the stage before that."""
    for e, stage, dispatch, mails in facts.sent():
        for mail in mails:
            plan = _plan(e, stage, mail)
            if plan is None:
                yield facts.broken("sent_unplanned", e, "DATA before any plan for the stage", dispatch)
                continue
            due: datetime = plan.get("scheduled_for") or plan["until"]
            if facts.world.real(due) > mail.data_began + SAME_INSTANT:
                yield facts.broken("sent_early", e, f"due {due}", dispatch)


def _plan(e: Document, stage: str, mail: Mail) -> Document | None:
    """The chapter that said last when the stage of a mail is due."""
    told = [c for c in _told(e, "stage_scheduled", "stage_deferred") if c.get("stage_id") == stage]
    return next((c for c in reversed(told) if c["rec"] <= mail.data_began), None)


def nothing_begins_outside_its_window(facts: Facts) -> Iterator[Violation]:
    """By the person's clock, in the hours that the stage's version leaves open; nor is it planned outside.

    What may cross in seconds crosses hours on a clock that runs fast: there the plan is what tells.
    """
    grace = CROSSING.total_seconds() * facts.world.clock.speed / 60
    for e, stage, dispatch, mails in facts.sent():
        version = facts.world.version_of(facts.world.deliveries.get(dispatch, {}))
        index = _index(version, stage)
        if version is None or index is None or not _zone_is_known(e, stage, version):
            continue
        windows, zone = version.timing_of(index).open_windows, ZoneInfo(e["zone"])
        for mail in mails:
            at, plan = facts.world.business(mail.data_began).astimezone(zone), _plan(e, stage, mail)
            if not _is_open(windows, at, grace):
                yield facts.broken("sent_outside_window", e, f"at {at:%a %H:%M} {zone}", dispatch)
            if plan is not None and plan["type"] == "stage_scheduled" and not _told(e, "migrated"):
                planned = plan["scheduled_for"].astimezone(zone)
                if not _is_open(windows, planned, 0):
                    yield facts.broken(
                        "planned_outside_window", e, f"for {planned:%a %H:%M} {zone}", dispatch
                    )


def _zone_is_known(e: Document, stage: str, version: SequenceDocument) -> bool:
    """The document keeps the zone of the stage it is at, which is every stage's unless somebody said more."""
    if not e.get("zone") or any(c.get("reason") == "person_updated" for c in e["history"]):
        return False
    return e["stage_id"] == stage or len({version.timing_of(i).zone for i in range(len(version.stages))}) == 1


def _is_open(windows: Windows, at: datetime, grace_minutes: float) -> bool:
    minute = at.hour * 60 + at.minute + at.second / 60
    today, before = windows.days[at.weekday()], windows.days[at.weekday() - 1]
    return any(r.start <= minute < r.end + grace_minutes for r in today) or any(
        minute + MINUTES_PER_DAY < r.end + grace_minutes for r in before
    )


def _index(version: SequenceDocument | None, stage: str) -> int | None:
    stages = version.stages if version else ()
    return next((i for i, each in enumerate(stages) if each.id == stage), None)


def caps_hold(facts: Facts) -> Iterator[Violation]:
    """No window of a cap's length has more mails under its key than it allows, in business time."""
    under: dict[Cap, list[tuple[datetime, str, Document]]] = defaultdict(list)
    for e, _, dispatch, mails in facts.sent():
        for cap in facts.world.caps.get(dispatch, ()):
            under[cap] += [(facts.world.business(mail.data_began), dispatch, e) for mail in mails]
    for cap, sent in under.items():
        sent.sort(key=lambda s: s[0])
        window = timedelta(seconds=cap.seconds) - CROSSING * facts.world.clock.speed
        for first, last in zip(sent, sent[cap.count :], strict=False):
            if last[0] - first[0] < window:
                detail = f"more than {cap.count} in {cap.seconds} s under {cap.key}, since {first[0]}"
                yield facts.broken("cap_broken", last[2], detail, last[1])


def stages_go_out_in_order(facts: Facts) -> Iterator[Violation]:
    """When a stage's DATA begins, every stage before it is done; after a migration, as far as it was told."""
    for e, stage, dispatch, mails in facts.sent():
        version = facts.world.version_of(facts.world.deliveries.get(dispatch, {}))
        index = _index(version, stage)
        if version is None or index is None or _told(e, "migrated"):
            continue
        done = {c["stage_id"]: c["rec"] for c in reversed(_told(e, *COMPLETING))}
        for earlier in version.stages[:index]:
            if earlier.id not in done or done[earlier.id] > mails[0].data_began:
                yield facts.broken("out_of_order", e, f"{earlier.id} was not done before it", dispatch)


def a_stage_is_completed_once(facts: Facts) -> Iterator[Violation]:
    """And a finished enrollment has completed every stage of its version."""
    for e in facts.enrollments():
        told = Counter(c["stage_id"] for c in _told(e, *COMPLETING))
        for stage, times in told.items():
            if times > 1:
                yield facts.broken("completed_twice", e, f"{stage} {times} times")
        version = facts.world.version_of(e)
        if e["state"] == "finished" and version is not None and not _told(e, "migrated"):
            for missing in [s.id for s in version.stages if s.id not in told]:
                yield facts.broken("finished_without", e, f"{missing} was never completed")


# ---- somebody must act -------------------------------------------------------------------------


def every_live_enrollment_has_a_deadline(facts: Facts) -> Iterator[Violation]:
    """Or a hold that parks it; and whoever has a deadline is seen to in time."""
    world = facts.world
    for e in facts.enrollments():
        due, hold = e.get("due_at"), world.holds.get(e.get("parked_by", ""))
        if e["state"] in LIVE and due is None and e.get("parked_by") is None:
            yield facts.broken("stuck", e, "live, and nobody must act")
        if e.get("parked_by") is not None and due is None and not _still_held(world, hold):
            yield facts.broken("parked_for_ever", e, f"its hold {e['parked_by']} is over")
        if due is not None and world.real(due) < world.now - PATIENCE:
            yield facts.broken("asleep", e, f"due since {due}")
        if e["state"] not in LIVE and due is not None and not e.get("owes_recall"):
            yield facts.broken("restless", e, "ended, and still due")
        if e.get("owes_recall") and due is None:
            yield facts.broken("recall_forgotten", e, "owes a recall that nobody will ask for")
        if bool(e.get("ended")) != (e["state"] not in LIVE):
            yield facts.broken("end_unclear", e, f"ended is {e.get('ended')}")


def _still_held(world: World, hold: Document | None) -> bool:
    if hold is None:
        return False
    if hold_is_active(hold, world.business(world.now)):
        return True
    ended: datetime = hold.get("lifted_at") or hold["until"]
    return world.real(ended) > world.now - PATIENCE


def every_delivery_can_go_on(facts: Facts) -> Iterator[Violation]:
    """None transmits past its deadline, and no task outlives its enrollment."""
    for delivery in facts.world.deliveries.values():
        e = facts.world.enrollments.get(delivery["enrollment_id"])
        if e is None:
            yield Violation("delivery_of_nobody", delivery["_id"], "there is no such enrollment")
            continue
        if delivery["state"] == "transmitting" and delivery["deadline"] < facts.world.now - PATIENCE:
            yield facts.broken("transmits_for_ever", e, f"deadline {delivery['deadline']}", delivery["_id"])
        alone = e.get("ended") and not e.get("owes_recall") and e["updated_at"] < facts.world.now - PATIENCE
        if delivery["state"] == "task_open" and alone:
            yield facts.broken(
                "task_outlives", e, "the task is open, the enrollment has ended", delivery["_id"]
            )
        ahead = delivery["attempt"] > e.get("attempt", 0) and e.get("stage_id") == delivery["stage_id"]
        # What was published beside a lost guard may be claimed and given back, but not carried out.
        if ahead and delivery["state"] not in ("claimed", "released", "deferred"):
            yield facts.broken("attempt_ahead", e, "an attempt that nobody asked for", delivery["_id"])


# ---- every 202 ---------------------------------------------------------------------------------


def every_202_has_its_effect_or_its_refusal(facts: Facts) -> Iterator[Violation]:
    """No command stays open; what is done shows in its document; what is refused says why."""
    world = facts.world
    for command in world.commands.values():
        subject = f"{command['type']} {command['_id']}"
        if command["state"] == "accepted":
            if world.real(command["created_at"]) < world.now - PATIENCE:
                yield Violation("unanswered", subject, f"accepted {command['created_at']}")
        elif command["state"] == "refused":
            if not (command.get("result") or {}).get("reasons"):
                yield Violation("refused_without_reason", subject, "nobody knows why")
            e = _enrollment(world, command["target"])
            if e is not None and e.get("command_id") == command["_id"]:
                yield facts.broken("refused_and_done", e, "refused, and yet enrolled", subject)
        elif wrong := _missing_effect(world, command):
            yield Violation("no_effect", subject, wrong)
    for inbound in world.inbound.values():
        if inbound["state"] != "settled" and world.real(inbound["received_at"]) < world.now - PATIENCE:
            yield Violation("unanswered", f"inbound {inbound['_id']}", f"{inbound['state']} for too long")


def _missing_effect(world: World, command: Document) -> str:
    """What a command that is done should have done and did not; empty where all is well."""
    target = command["target"]
    match command["type"]:
        case "enroll":
            e = world.enrollments.get(UUID(target))
            return "" if e is not None and not e.get("tombstone") else "there is no enrollment"
        case "stop" | "mark_replied" if (e := _enrollment(world, target)) is not None:
            return "" if e["ended"] else f"the enrollment is {e['state']}"
        case "hold" | "lift":
            hold = next((h for h in world.holds.values() if str(h["scope_id"]) == target), None)
            made = world.real(command["created_at"])
            newer = hold is not None and world.real(hold["changed_at"]) >= made - CROSSING
            return "" if newer else "the hold's document does not know of it"
        case "correct":
            answer = world.inbound.get(UUID(target), {})
            applied = {each["command_id"] for each in answer.get("corrections", ())}
            return "" if command["_id"] in applied else "the answer does not know of it"
        case "task_done" | "task_skip":
            delivery = world.deliveries.get(target, {})
            return "" if delivery.get("state") in ("done", "skipped") else "the task is not closed"
    return ""


def _enrollment(world: World, target: str) -> Document | None:
    try:
        return world.enrollments.get(UUID(target))
    except ValueError:
        return None


# ---- the story ---------------------------------------------------------------------------------


def the_history_is_whole(facts: Facts) -> Iterator[Violation]:
    """Numbers without gaps, as many as `seq` says; `completed` is what the history completes."""
    for e in facts.world.enrollments.values():
        numbers = [c["seq"] for c in e["history"]]
        if numbers != list(range(1, e["seq"] + 1)):
            yield facts.broken("history_gap", e, f"seq is {e['seq']}, the history has {numbers}")
        late = [c["seq"] for c in facts.owed(e) if c["rec"] < facts.world.now - PATIENCE]
        if late:
            yield facts.broken("untold", e, f"owes {late}")
        told = [c["stage_id"] for c in _told(e, *COMPLETING)]
        if not e.get("tombstone") and sorted(e["completed"]) != sorted(told):
            yield facts.broken(
                "completed_differs", e, f"{e['completed']} in the document, {told} in its history"
            )


def every_event_id_has_one_meaning(facts: Facts) -> Iterator[Violation]:
    """The same id is the same event to the letter, however often it is told; a replay changes nothing."""
    values: dict[UUID, bytes] = {}
    for event in facts.world.events:
        first = values.setdefault(event.event_id, event.value)
        if first != event.value:
            trace = (first.decode(), event.value.decode())
            yield Violation("event_changed", str(event.event_id), "told twice, differs", trace)
        if event.seq and event.event_id != event_id(event.enrollment_id, event.seq):
            yield Violation("event_id_wrong", str(event.event_id), f"{event.type} {event.seq}")


def the_topic_tells_the_history(facts: Facts) -> Iterator[Violation]:
    """Each chapter that is not owed any more is in the topic, and nothing else is."""
    for e in facts.world.enrollments.values():
        told = {event.seq: event for event in facts.events.get(e["_id"], ()) if event.seq}
        owed = {c["seq"] for c in facts.owed(e)}
        for c in e["history"]:
            event = told.get(c["seq"])
            if event is None and c["seq"] not in owed:
                yield facts.broken("event_missing", e, f"{c['type']} {c['seq']} is not in the topic")
            elif event is not None and (wrong := _differs(event, c)):
                yield facts.broken("event_differs", e, f"{c['seq']}: {wrong}")
    for event in facts.world.events:
        known = facts.world.enrollments.get(event.enrollment_id, {"seq": 0})["seq"]
        if _recorded_at(event) < facts.world.now - CROSSING and event.seq > known:
            yield Violation(
                "event_of_nothing", str(event.event_id), f"{event.type} {event.seq}, in no history"
            )


def _differs(event: Event, chapter: Document) -> str:
    told = json.loads(event.value)
    for name in ("stage_id", "attempt", "reason"):
        if told.get(name) != chapter.get(name):
            return f"{name} is {told.get(name)}, in the history {chapter.get(name)}"
    return "" if event.type == chapter["type"] else f"told as {event.type}, in the history {chapter['type']}"


def _recorded_at(event: Event) -> datetime:
    return datetime.fromisoformat(json.loads(event.value)["recorded_at"])


def a_refused_enroll_is_told(facts: Facts) -> Iterator[Violation]:
    """A refusal is a result with its reason; its event names a command that was refused."""
    refused = {r["enrollment_id"] for r in facts.world.results.values() if r["status"] == "refused"}
    for event in facts.world.events:
        young = _recorded_at(event) >= facts.world.now - CROSSING
        if event.seq == 0 and event.enrollment_id not in refused and not young:
            yield Violation("refusal_of_nothing", str(event.event_id), "told as refused, without a result")


def scoped_stops_have_ended_their_matches(facts: Facts) -> Iterator[Violation]:
    """A stop of a person or company that counts as applied leaves none alive that was asked for before it."""
    fields = {"person": "person_id", "company": "company_key"}
    for stop in facts.world.stops.values():
        if not stop["applied"]:
            if stop["recorded_at"] < facts.world.now - PATIENCE:
                yield Violation("stop_unapplied", str(stop["_id"]), f"since {stop['recorded_at']}")
            continue
        for e in facts.enrollments():
            match = e["workspace_id"] == stop["workspace_id"] and e.get(fields[stop["scope"]]) == stop["key"]
            if match and e["issued_at"] <= stop["at"] and e["state"] in LIVE:
                yield facts.broken("stop_missed", e, f"{stop['scope']} stopped at {stop['at']}")


def what_was_answered_knows_it(facts: Facts) -> Iterator[Violation]:
    """Once an answer is settled, each enrollment that it answers has ended and counts as answered."""
    for inbound in facts.world.inbound.values():
        causes = (inbound.get("effect") or {}).get("causes", ()) if inbound["state"] == "settled" else ()
        for cause in causes:
            e = facts.world.enrollments.get(cause["target"])
            if cause["scope"] != "enrollment" or cause["reason"] not in ANSWERED or e is None:
                continue
            counted = (e.get("stop") or {}).get("reason") in ANSWERED
            taken_back = cause["event_id"] in e.get("revoked", ())
            if not e["ended"] or not (counted or taken_back):
                yield facts.broken("answer_unknown", e, f"{cause['reason']}, and it does not know of it")


RULES: Sequence[Callable[[Facts], Iterable[Violation]]] = (
    each_mail_belongs_to_one_dispatch,
    no_dispatch_has_two_mails,
    the_delivery_knows_of_its_mail,
    what_counts_as_sent_was_accepted,
    nothing_begins_after_the_end,
    nothing_begins_under_a_hold,
    nothing_goes_to_a_suppressed_address,
    nothing_begins_before_it_is_due,
    nothing_begins_outside_its_window,
    caps_hold,
    stages_go_out_in_order,
    a_stage_is_completed_once,
    every_live_enrollment_has_a_deadline,
    every_delivery_can_go_on,
    every_202_has_its_effect_or_its_refusal,
    the_history_is_whole,
    every_event_id_has_one_meaning,
    the_topic_tells_the_history,
    a_refused_enroll_is_told,
    scoped_stops_have_ended_their_matches,
    what_was_answered_knows_it,
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Judge a run by what it left behind.")
    parser.add_argument("--maildir", type=Path, required=True, help="the recorded mails")
    given = parser.parse_args(arguments)
    world = asyncio.run(gather(load(WorldSettings), given.maildir))
    found = violations(world)
    for violation in found:
        print(violation)
    print(f"{len(found)} violations" if found else counts(world))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
