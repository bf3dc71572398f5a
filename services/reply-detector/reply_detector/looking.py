"""Looks into a stored message: its verdict, whom it is from, and the rules that apply."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from chassis.documents import EnrollmentView, VersionView, version_id
from chassis.errors import Reject
from chassis.secrets import plain_phone
from chassis.telemetry import timed
from reply_detector import sms, telemetry
from reply_detector.decision import Found, failures
from reply_detector.kept import verdict_of
from reply_detector.match import By, Match, Reads, find, find_by_phone
from reply_detector.model import Arrival, Document, StopRules
from reply_detector.verdict import Facts, Kind, Severity, Verdict

Classify = Callable[[bytes], Verdict]

THREAD_FROM_BYTES = 64 * 1024
"""Judging a larger message takes long enough to be felt by whoever shares the event loop."""
LARGE_AT_ONCE = 4
"""One may have 25 MiB."""
RULES_KEPT = 10_000
"""Versions never change."""
IN_A_ROW = timedelta(days=30)
"""An older soft bounce is not in a row with a new one."""


class Sources(Reads, Protocol):
    """What looking asks of the database."""

    async def raw(self, workspace_id: UUID, inbound_id: UUID) -> bytes | None: ...

    async def matched(self, workspace_id: UUID, kept: Mapping[str, Any]) -> Match: ...

    async def versions(self, workspace_id: UUID, ids: Collection[str]) -> dict[str, VersionView]: ...

    async def soft_bounces(self, arrival: Arrival, people: Collection[UUID], age: timedelta) -> set[str]: ...


class Looking:
    """Reads only. Raises Reject for a message whose bytes are not stored."""

    def __init__(self, sources: Sources, classify: Classify) -> None:
        self._sources = sources
        self._classify = classify
        self._known: dict[str, StopRules] = {}
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def into(self, inbound: Document) -> Found:
        """All that can be found out about a message that just came, but for what was judged before it."""
        arrival = Arrival.read(inbound)
        workspace = arrival.workspace_id
        if inbound.get("source") == "sms":
            verdict, match = await self._text_message(inbound)
        else:
            if inbound.get("size", 0) < THREAD_FROM_BYTES:
                verdict = await self._verdict(arrival)
            else:
                async with self._large:
                    verdict = await self._verdict(arrival)
            match = await find(workspace, arrival.mailbox_id, verdict, self._sources)
        return Found(arrival, verdict, match, await self._rules(workspace, match.enrollments))

    async def again(self, inbound: Document, arrival: Arrival, kind: Kind) -> Found:
        """What was found then, as a person calls it now; the enrollments as they are."""
        verdict = verdict_of(inbound["verdict"], kind)
        match = await self._sources.matched(arrival.workspace_id, inbound["match"])
        return Found(arrival, verdict, match, await self._rules(arrival.workspace_id, match.enrollments))

    async def _verdict(self, arrival: Arrival) -> Verdict:
        raw = await self._sources.raw(arrival.workspace_id, arrival.id)
        if raw is None:
            raise Reject("raw_missing", f"the bytes of message {arrival.id} are not stored")
        with timed(telemetry.CLASSIFY_SECONDS):
            if len(raw) < THREAD_FROM_BYTES:
                return self._classify(raw)
            return await asyncio.to_thread(self._classify, raw)

    async def _text_message(self, inbound: Document) -> tuple[Verdict, Match]:
        """What is a reply by its words alone is one from a known phone only."""
        phone = plain_phone(inbound["from_phone"])
        facts = Facts(
            message_id=inbound.get("provider_id", ""),
            from_address=phone,
            to_addresses=(inbound.get("to_phone", ""),),
        )
        keyword, media = inbound.get("keyword", ""), inbound.get("media", 0)
        verdict = sms.judge(inbound["text"], keyword=keyword, media=media, facts=facts)
        return verdict, await find_by_phone(inbound["workspace_id"], phone, self._sources)

    async def _rules(self, workspace: UUID, enrollments: Sequence[EnrollmentView]) -> dict[UUID, StopRules]:
        """How far the stops of each enrollment reach, as the version that it pins says."""
        pinned = {e.id: version_id(e.sequence_id, e.sequence_version) for e in enrollments}
        if missing := set(pinned.values()) - self._known.keys():
            if len(self._known) > RULES_KEPT:
                self._known.clear()
            found = await self._sources.versions(workspace, missing)
            self._known |= {name: StopRules.read(version.document) for name, version in found.items()}
        return {e: self._known[version] for e, version in pinned.items() if version in self._known}

    async def back(self, found: Found) -> Found:
        """With the soft bounces that were judged before it."""
        before = await self._sources.soft_bounces(found.arrival, found.match.people, IN_A_ROW)
        return replace(found, soft_before=before)


def is_soft(found: Found) -> bool:
    """Whether it is a bounce that may be one in a row."""
    by_id = found.verdict.kind is Kind.BOUNCE and found.match.by is By.THREAD
    return by_id and bool(failures(found.verdict, found.match, Severity.SOFT))
