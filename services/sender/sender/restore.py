"""Makes the deliveries again that a restored backup lacks, from what the brokers remember of them.

What the sender was asked for and said is in `stage.due` and `stage.outcomes`. What it was asked for without
an answer may have been sent: it is in doubt, looked for in the Sent folders, and else a person decides.
"""

import secrets as randomness
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from chassis import documents as names
from chassis.clock import Clock
from chassis.documents import EnrollmentView, MailboxView, PersonView
from chassis.errors import Fatal
from chassis.kafka import Received
from chassis.kafka.since import read_since
from chassis.restored import PAGE, Marks
from chassis.restored import Stage as Progress
from chassis.secrets import Secrets
from chassis.store import Database
from chassis.tokens import token_values
from chassis.wording import words_of
from segue_contracts import codec
from segue_contracts.events import Outcome, StageDue, StageOutcome
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, Stage, parse_sequence
from segue_contracts.topics import STAGE_DUE, STAGE_OUTCOMES
from sender.compose import message_id
from sender.model import Document, State
from sender.settings import SenderSettings
from sender.store import Store

MARGIN: Final = timedelta(minutes=10)
BATCH: Final = 500
REASON: Final = "restored"
FINAL: Final = {
    Outcome.SENT: State.SENT,
    Outcome.REJECTED: State.REJECTED,
    Outcome.TASK_DONE: State.DONE,
    Outcome.TASK_SKIPPED: State.SKIPPED,
}
GIVEN_BACK: Final = {Outcome.DEFERRED: State.DEFERRED, Outcome.WITHDRAWN: State.RELEASED}


@dataclass(slots=True)
class Known:
    """What the brokers know of a dispatch: the last attempt that was asked for, what was said, in order."""

    enrollment_id: UUID
    stage_id: str
    workspace_id: UUID
    attempt: int = 0
    said: list[StageOutcome] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of a dispatch, as far as that is known."""

    state: State
    attempt: int
    outcome: StageOutcome | None
    recalled: bool = False


def standing(known: Known, *, manual: bool) -> Standing:
    """The state that its delivery must have. `manual`: a person carries it out, nothing can go out twice."""
    for outcome in known.said:
        if outcome.event_type in FINAL:
            return Standing(FINAL[outcome.event_type], outcome.attempt, outcome)
    last = [each for each in known.said if each.attempt >= known.attempt]
    recalled = any(each.event_type is Outcome.RECALLED for each in known.said)
    attempt = max([known.attempt, *(each.attempt for each in last)])
    for outcome in reversed(last):
        if outcome.event_type in GIVEN_BACK:
            return Standing(GIVEN_BACK[outcome.event_type], attempt, outcome, recalled)
    if manual:  # the task is lost, and opened again
        return Standing(State.RELEASED, attempt, None, recalled)
    doubted = next((each for each in last if each.event_type is Outcome.IN_DOUBT), None)
    return Standing(State.IN_DOUBT, attempt, doubted, recalled)


class RestoreStore:
    """Writes of a restore, when nobody else writes."""

    def __init__(self, database: Database) -> None:
        self._deliveries = database.collection(names.DELIVERIES)

    async def put(self, deliveries: Sequence[Document]) -> None:
        """Insert what is not there, and overwrite what was not settled for good."""
        new = await self._deliveries.insert_new(deliveries)
        unsettled = {"$nin": [state.value for state in FINAL.values()]}
        for each in deliveries:
            if each["_id"] not in new:
                same = {"_id": each["_id"], "workspace_id": each["workspace_id"], "state": unsettled}
                await self._deliveries.update_one(same, {"$set": each})


class Rebuilding:
    """One run over what came after the backup."""

    def __init__(self, settings: SenderSettings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._store = Store(database, lease_seconds=1.0, doubt_seconds=1.0)
        self._writes = RestoreStore(database)
        self._secrets = Secrets(settings)
        self._clock = clock
        self._versions: dict[str, SequenceDocument] = {}
        self._report: Counter[str] = Counter()

    async def run(self, known: Mapping[str, Known]) -> dict[str, int]:
        """How many deliveries are in which state now."""
        listed = list(known.items())
        for at in range(0, len(listed), BATCH):
            await self._some(dict(listed[at : at + BATCH]))
        return dict(self._report)

    async def _some(self, known: Mapping[str, Known]) -> None:
        workspaces = {each.workspace_id for each in known.values()}
        enrollments = await self._store.enrollments(workspaces, (k.enrollment_id for k in known.values()))
        people = await self._store.people(workspaces, (e.person_id for e in enrollments.values()))
        mailboxes = await self._store.mailboxes(workspaces, (e.mailbox_id for e in enrollments.values()))
        await self._read_versions(workspaces, enrollments.values())
        deliveries = []
        for dispatch, each in known.items():
            e = enrollments.get(each.enrollment_id)
            if e is None:
                self._report["unknown_enrollments"] += 1
                continue
            made = self._delivery(dispatch, each, e, people.get(e.person_id), mailboxes.get(e.mailbox_id))
            deliveries.append(made)
            self._report[made["state"]] += 1
        await self._writes.put(deliveries)

    async def _read_versions(self, workspaces: Iterable[UUID], enrollments: Iterable[EnrollmentView]) -> None:
        wanted = {names.version_id(e.sequence_id, e.sequence_version) for e in enrollments}
        for name, view in (await self._store.versions(workspaces, wanted - self._versions.keys())).items():
            self._versions[name] = parse_sequence(view.document)

    def _delivery(
        self,
        dispatch: str,
        known: Known,
        e: EnrollmentView,
        person: PersonView | None,
        mailbox: MailboxView | None,
    ) -> Document:
        document = self._versions.get(names.version_id(e.sequence_id, e.sequence_version))
        stages = {stage.id: (n, stage) for n, stage in enumerate(document.stages)} if document else {}
        index, stage = stages.get(known.stage_id, (0, None))
        channel = stage.channel if stage else Channel.EMAIL
        found = standing(known, manual=channel not in (Channel.EMAIL, Channel.SMS))
        made: Document = {
            **_claimed(dispatch, known, found.attempt),
            **_settled(found, self._clock),
            "restored": True,
            "channel": channel.value,
            "stage_index": index,
            **{name: getattr(e, name) for name in ("sequence_id", "sequence_version", "person_id")},
            **{name: getattr(e, name) for name in ("owner_id", "mailbox_id", "is_test")},
        }
        if channel is Channel.EMAIL and mailbox is not None and found.state in (State.SENT, State.IN_DOUBT):
            made |= self._as_mail(dispatch, mailbox, person.prospect if person else {}, document, stage)
        return made

    def _as_mail(
        self,
        dispatch: str,
        mailbox: MailboxView,
        prospect: Document,
        document: SequenceDocument | None,
        stage: Stage | None,
    ) -> Document:
        """What answers are matched by and later mails go on from; its Message-ID follows from the key."""
        domain, key = mailbox.address.rpartition("@")[2], self._secrets.keyed("message-id")
        subject = ""
        if document is not None and stage is not None:
            name, signature = mailbox.display_name, mailbox.signature
            values = token_values(prospect, document.tokens, name, signature, {}, mailbox.owner_tokens)
            subject = words_of(stage, values).subject or ""
        return {
            "message_id": message_id(key, dispatch, domain),
            "recipient": prospect.get("email"),
            "references": [],
            "subject": subject,
        }


async def rebuild(settings: SenderSettings, database: Database) -> Document:
    """Catch up with the brokers; how many of what. May be run again after a try that broke off."""
    marks, clock = Marks(database), settings.clock()
    mark = await marks.read()
    if mark.stage not in (Progress.ENROLLMENTS, Progress.DELIVERIES) or mark.since is None:
        raise Fatal(f"The enrollments come first: `restore rebuild` of the scheduler ({PAGE}).")
    known: dict[str, Known] = {}
    async for received in read_since(settings, STAGE_DUE, mark.since - MARGIN):
        due: StageDue = _decoded(received)
        about = _about(known, due)
        about.attempt = max(about.attempt, due.attempt)
    async for received in read_since(settings, STAGE_OUTCOMES, mark.since - MARGIN):
        outcome: StageOutcome = _decoded(received)
        _about(known, outcome).said.append(outcome)
    report = await Rebuilding(settings, database, clock).run(known)
    await marks.restore(Progress.DELIVERIES, mark.since)
    return {"since": mark.since.isoformat(), **report}


def _about(known: dict[str, Known], message: StageDue | StageOutcome) -> Known:
    fresh = Known(message.enrollment_id, message.stage_id, message.workspace_id)
    return known.setdefault(message.dispatch_id, fresh)


def _claimed(dispatch: str, known: Known, attempt: int) -> Document:
    return {
        "_id": dispatch,
        "workspace_id": known.workspace_id,
        "enrollment_id": known.enrollment_id,
        "stage_id": known.stage_id,
        "attempt": attempt,
        "token": f"restored:{randomness.token_hex(16)}",
    }


def _settled(found: Standing, clock: Clock) -> Document:
    said = found.outcome
    at = said.occurred_at if said else clock.now()
    settled: Document = {
        "state": found.state.value,
        "settled_at": at,
        "reason": said.reason if said else REASON,
        "code": said.code if said else "",
    }
    if found.state is State.SENT:
        settled |= {"sent_at": at, "transmitted_at": at}
    if found.state is State.REJECTED and said is not None:
        settled["bounced"] = said.bounced
    if found.state is State.DEFERRED and said is not None:
        settled["until"] = said.until or at
    if found.recalled:
        settled["recalled_at"] = at
    return settled


def _decoded(received: Received) -> Any:
    return codec.decode(received.topic, received.headers, received.value)
