"""Tells users of their tasks: a digest a day, tasks as they come up, overdue ones; by mail and by webhook."""

import asyncio
import logging
import secrets as randomness
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from chassis import faults
from chassis.clock import Clock
from chassis.documents import Document, PersonView, VersionView, version_id
from chassis.prompting import PromptedUser
from chassis.telemetry import fields
from chassis.zones import find_zone
from segue_contracts.events import TaskNotification
from segue_contracts.message import Channel, Message
from segue_contracts.sequence import WhenOverdue
from sender import metrics, model
from sender.notices import Notices, Post
from sender.prompt_store import PromptStore, Told
from sender.prompts import (
    MOST_LISTED,
    MOST_REMINDERS,
    REMIND_EVERY,
    Hours,
    Listed,
    Words,
    digest_words,
    due_words,
    overdue_words,
    payload,
)

log = logging.getLogger(__name__)

SWEEP_BATCH: Final = 200
AT_ONCE: Final = 8
UTC_ZONE: Final = ZoneInfo("UTC")


class Insists(Protocol):
    """What this module needs to publish: raises Retry until it is done."""

    async def insist(self, messages: Sequence[Message]) -> None: ...


class Knows(Protocol):
    """What it needs to know of a task's person and sequence."""

    async def people(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, PersonView]: ...
    async def versions(self, workspaces: Iterable[UUID], ids: Iterable[str]) -> dict[str, VersionView]: ...


@dataclass(frozen=True, slots=True)
class Assignee:
    """Somebody with tasks, and the hours in which they want to hear of them."""

    user: PromptedUser
    hours: Hours

    @property
    def zone(self) -> ZoneInfo:
        return self.hours.zone


class Prompter:
    """One for the process. Its sweeps may run in several processes at once: each prompt has one id."""

    def __init__(
        self,
        store: PromptStore,
        known: Knows,
        publisher: Insists,
        notices: Notices,
        clock: Clock,
        public_url: str | None,
    ) -> None:
        self._store = store
        self._known = known
        self._publisher = publisher
        self._notices = notices
        self._clock = clock
        self._public_url = public_url.rstrip("/") if public_url else None

    async def close(self) -> None:
        """End what is left of connections."""
        await self._notices.close()

    async def sweep(self) -> None:
        """Find out what is to be told, and tell it."""
        await self.overdue()
        await self.come_up()
        await self.digests()
        await self.tell()

    # ---- overdue tasks ----

    async def overdue(self) -> None:
        """Tell of tasks that are overdue: the story at once, the assignee (with `notify`) when not quiet."""
        now = self._clock.now()
        while found := await self._store.tasks_to_tell(now, SWEEP_BATCH):
            assignees = await self._assignees(found)
            for delivery in found:
                await self._overdue(delivery, assignees.get(delivery["task"]["assignee_id"]), now)

    async def _overdue(self, delivery: Document, assignee: Assignee | None, now: datetime) -> None:
        task = delivery["task"]
        if not task.get("overdue_told"):
            await self._publisher.insist([model.overdue(delivery, self._clock.real_now())])
        told, notify = {"overdue_told": True}, task["when_overdue"] == WhenOverdue.NOTIFY
        if assignee is None or not notify:
            await self._store.task_is(delivery, "tell_at", **told, tell_at=None)
        elif (later := _not_before(delivery, assignee, now)) > now:
            await self._store.task_is(delivery, "tell_at", **told, tell_at=later)
        else:
            times = task.get("reminders", 0) + 1
            await self._remind(delivery, assignee, times, now)
            again = now + REMIND_EVERY if times < MOST_REMINDERS else None
            await self._store.task_is(delivery, "tell_at", **told, reminders=times, tell_at=again)

    async def _remind(self, delivery: Document, assignee: Assignee, times: int, now: datetime) -> None:
        [task] = await self._listed([delivery], now)
        words = overdue_words(assignee.user.name, task, assignee.zone, times, self._inbox)
        prompt = f"overdue/{delivery['_id']}/{delivery['attempt']}/{times}"
        await self._add(prompt, "task.overdue", assignee, words, [task], 1, now)
        await self._publisher.insist([self._notification(prompt, delivery, assignee, times, now)])

    def _notification(
        self, prompt: str, delivery: Document, assignee: Assignee, times: int, now: datetime
    ) -> TaskNotification:
        return TaskNotification(
            event_id=uuid5(delivery["enrollment_id"], prompt),
            occurred_at=now,
            recorded_at=self._clock.real_now(),
            workspace_id=delivery["workspace_id"],
            dispatch_id=delivery["_id"],
            enrollment_id=delivery["enrollment_id"],
            assignee_id=assignee.user.id,
            sequence_id=delivery["sequence_id"],
            person_id=delivery["person_id"],
            channel=Channel(delivery["channel"]),
            overdue_since=delivery["task"]["overdue_at"],
            times=times,
        )

    # ---- tasks that have come up ----

    async def come_up(self) -> None:
        """Prompt for tasks that were opened, given to somebody, or have slept until now."""
        now = self._clock.now()
        while found := await self._store.tasks_to_prompt(now, SWEEP_BATCH):
            assignees = await self._assignees(found)
            for delivery in found:
                await self._come_up(delivery, assignees.get(delivery["task"]["assignee_id"]), now)

    async def _come_up(self, delivery: Document, assignee: Assignee | None, now: datetime) -> None:
        if assignee is None or not assignee.user.wishes.when_due:
            await self._store.task_is(delivery, "prompt_at", prompt_at=None)
        elif (later := _not_before(delivery, assignee, now)) > now:
            await self._store.task_is(delivery, "prompt_at", prompt_at=later)
        else:
            [task] = await self._listed([delivery], now)
            words = due_words(assignee.user.name, task, assignee.zone, self._inbox)
            at = int(delivery["task"]["prompt_at"].timestamp() * 1000)
            prompt = f"due/{delivery['_id']}/{delivery['attempt']}/{at}"
            await self._add(prompt, "task.due", assignee, words, [task], 1, now)
            await self._store.task_is(delivery, "prompt_at", prompt_at=None)

    # ---- digests ----

    async def digests(self) -> None:
        """One for each user and local day, at their time; a day without tasks has none."""
        now = self._clock.now()
        everybody = await self._hours(await self._store.users_with_digest())
        due = {
            f"digest/{each.user.id}/{day}": (each, day)
            for each in everybody
            if (day := each.hours.digest_day(now)) is not None
        }
        if not due:
            return
        settled = await self._store.known({each.user.workspace_id for each, _ in due.values()}, list(due))
        for prompt, (assignee, day) in due.items():
            if prompt not in settled:
                await self._digest(prompt, assignee, day, now)

    async def _digest(self, prompt: str, assignee: Assignee, day: date, now: datetime) -> None:
        """The mark that the day is settled comes last: after a crash it is made again, under the same ids."""
        user = assignee.user
        found, total = await self._store.open_tasks(user.workspace_id, user.id, now, MOST_LISTED)
        if found:
            tasks = await self._listed(found, now)
            words = digest_words(user.name, tasks, assignee.zone, total, self._inbox)
            await self._add(prompt, "tasks.digest", assignee, words, tasks, total, now)
        mark = {
            "_id": prompt,
            "workspace_id": user.workspace_id,
            "user_id": user.id,
            "state": Told.NOTHING.value,
            "day": day.isoformat(),
            "tasks": total,
            "created_at": self._clock.real_now(),
        }
        await self._store.add([mark])

    # ---- what is told ----

    async def _add(
        self,
        prompt: str,
        kind: str,
        assignee: Assignee,
        words: Words,
        tasks: Sequence[Listed],
        total: int,
        now: datetime,
    ) -> None:
        """Store a prompt once for each way in which it is to be told."""
        user, real_now = assignee.user, self._clock.real_now()
        common = {
            "workspace_id": user.workspace_id,
            "user_id": user.id,
            "kind": kind,
            "state": Told.OPEN.value,
            "next_at": real_now,
            "created_at": real_now,
            "at": now,
            "tries": 0,
            "doubts": 0,
            "dispatches": [task.dispatch_id for task in tasks],
        }
        ways: list[Document] = []
        if self._notices.mails:
            mail = {"email": user.email, "name": user.name, "subject": words.subject, "text": words.text}
            ways.append({**common, "_id": f"{prompt}/mail", "way": "mail", **mail})
        if user.workspace_id in await self._store.hooks([user.workspace_id]):
            body = payload(kind, now, user.id, user.email, tasks, total)
            ways.append({**common, "_id": f"{prompt}/webhook", "way": "webhook", "body": body})
        await self._store.add(ways)

    async def tell(self) -> None:
        """Tell what is open, several at once, until nothing is."""
        ended = await asyncio.gather(*(self._tell_open() for _ in range(AT_ONCE)), return_exceptions=True)
        for error in ended:
            if error is not None:
                raise error

    async def _tell_open(self) -> None:
        while True:
            now, token = self._clock.real_now(), randomness.token_hex(16)
            lease = timedelta(seconds=self._notices.lease_seconds)
            prompt = await self._store.take(now, token, now + lease)
            if prompt is None:
                return
            await faults.point("sender.prompt_taken")
            await self._tell(prompt)

    async def _tell(self, prompt: Document) -> None:
        post = await self._notices.tell(prompt, self._store)
        if post is Post.SENT:
            await faults.point("sender.prompt_sent")
        metrics.PROMPTS.labels(prompt["kind"], prompt["way"], post.value).inc()
        next_at, state = None, Told.SENT if post is Post.SENT else Told.FAILED
        if post in (Post.LATER, Post.IN_DOUBT):
            again = self._notices.again_seconds(prompt)
            state = Told.TRANSMITTING if post is Post.IN_DOUBT else Told.OPEN
            next_at = self._clock.real_now() + timedelta(seconds=again) if again is not None else None
            state = state if next_at is not None else Told.FAILED
        if state is Told.FAILED:
            log.warning(
                "prompt given up",
                extra=fields("sender.prompt_failed", prompt_id=prompt["_id"], tries=prompt["tries"]),
            )
        await self._store.move(prompt, state, next_at)

    # ---- who and what ----

    @property
    def _inbox(self) -> str | None:
        return f"{self._public_url}/tasks" if self._public_url else None

    async def _assignees(self, deliveries: Sequence[Document]) -> Mapping[UUID, Assignee]:
        if not deliveries:
            return {}
        users = await self._store.users(
            (each["workspace_id"] for each in deliveries),
            (each["task"]["assignee_id"] for each in deliveries),
        )
        return {each.user.id: each for each in await self._hours(list(users.values()))}

    async def _hours(self, users: Sequence[PromptedUser]) -> list[Assignee]:
        without = [user for user in users if user.wishes.zone is None]
        zones = (
            await self._store.zones((u.workspace_id for u in without), (u.id for u in without))
            if without
            else {}
        )
        return [
            Assignee(user, Hours(user.wishes, find_zone(user.wishes.zone or zones.get(user.id)) or UTC_ZONE))
            for user in users
        ]

    async def _listed(self, deliveries: Sequence[Document], now: datetime) -> list[Listed]:
        workspaces = {each["workspace_id"] for each in deliveries}
        people = await self._known.people(workspaces, (each["person_id"] for each in deliveries))
        plans = await self._known.versions(workspaces, map(_version_of, deliveries))
        return [
            Listed(
                dispatch_id=each["_id"],
                channel=Channel(each["channel"]),
                who=_who(people.get(each["person_id"])),
                sequence=plans[_version_of(each)].document["name"] if _version_of(each) in plans else "",
                due_at=each["task"]["due_at"],
                overdue=(each["task"].get("overdue_at") or now) < now,
                url=f"{self._inbox}/{each['_id']}" if self._inbox else None,
            )
            for each in deliveries
        ]


def _not_before(delivery: Document, assignee: Assignee, now: datetime) -> datetime:
    """From when on the assignee may hear of the task: awake themselves, and not asked to be left alone."""
    snoozed = delivery["task"].get("snoozed_until")
    return assignee.hours.quiet_until(max(snoozed or now, now))


def _version_of(delivery: Document) -> str:
    return version_id(delivery["sequence_id"], delivery["sequence_version"])


def _who(person: PersonView | None) -> str:
    prospect = person.prospect if person else {}
    name = " ".join(filter(None, (prospect.get("first_name"), prospect.get("last_name"))))
    company = prospect.get("company")
    return f"{name or 'somebody'} ({company})" if company else name or "somebody"
