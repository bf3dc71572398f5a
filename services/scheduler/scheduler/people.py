"""People: what is known of them, and the company that they and their live enrollments belong to now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from chassis.secrets import plain_phone
from scheduler import model
from scheduler.model import LIVE, Document, State
from scheduler.outbox import Outbox, persist
from scheduler.stops import Stops
from scheduler.store import SchedulerStore, Write
from segue_contracts.ids import person_id
from segue_contracts.prospect import Prospect


@dataclass(frozen=True, slots=True)
class Told:
    """What a command tells of a person, whole, at a business instant; the newest word holds."""

    workspace_id: UUID
    prospect: Prospect
    at: datetime

    @property
    def person_id(self) -> UUID:
        return person_id(self.workspace_id, self.prospect.external_id)


class People:
    """Stores what is told of people, and lets their enrollments follow them to another company."""

    def __init__(self, store: SchedulerStore, outbox: Outbox, stops: Stops) -> None:
        self._store = store
        self._outbox = outbox
        self._stops = stops

    async def save(self, told: Sequence[Told]) -> dict[UUID, Document]:
        """Store each person's facts unless newer ones are there; the people as they are then."""
        if not told:
            return {}
        companies = await self._companies(told)
        people = {t.person_id: _person(t, companies) for t in sorted(told, key=lambda t: t.at)}
        new = await self._store.save_people(list(people.values()))
        known = await self._store.people({t.workspace_id for t in told}, people.keys() - new)
        return {**people, **known}

    async def follow(self, workspaces: Iterable[UUID], ids: Iterable[UUID]) -> dict[UUID, Document]:
        """Give the live enrollments of these people their person's company, then look for its stops.

        Called after the facts, and after the enrollments, were written: whichever came first, one sees the
        other. The same holds for a company's stop that was stored meanwhile. Returns the people.
        """
        workspaces = set(workspaces)
        people = await self._store.people(workspaces, ids)
        live = await self._store.live_of_people(workspaces, people)
        moving = [e for e in live if company_of(e) != company_of(people[e["person_id"]])]
        if moving:
            await self._move(workspaces, [e["_id"] for e in moving], people)
            await self._see_stops(workspaces, [people[e["person_id"]] for e in moving])
        return people

    async def _move(
        self, workspaces: Iterable[UUID], ids: Sequence[UUID], people: Mapping[UUID, Document]
    ) -> None:
        async def decide(found: Mapping[UUID, Document]) -> Sequence[Write]:
            live = [(e, people[e["person_id"]]) for e in found.values() if State(e["state"]) in LIVE]
            return [
                Write(e, model.moved(e, *company_of(person), person["facts_at"]))
                for e, person in live
                if company_of(e) != company_of(person)
            ]

        await persist(self._store, self._outbox, workspaces, ids, decide)

    async def _see_stops(self, workspaces: Iterable[UUID], moved: Sequence[Document]) -> None:
        """A company's stop that is not older than the news that the person is there reaches them."""
        since = min(person["facts_at"] for person in moved)
        for stop in await self._store.stops_since(workspaces, {p["company_key"] for p in moved}, since):
            if any(_reaches(stop, person) for person in moved):
                await self._stops.apply(stop)

    async def _companies(self, told: Sequence[Told]) -> dict[tuple[UUID, str], UUID]:
        keys = {(t.workspace_id, key) for t in told if (key := t.prospect.effective_company_key)}
        return await self._store.companies(
            [{"_id": uuid4(), "workspace_id": workspace, "key": key} for workspace, key in sorted(keys)]
        )


def _person(told: Told, companies: Mapping[tuple[UUID, str], UUID]) -> Document:
    """The person as stored: with the addresses that answers are matched by, and a company as they work there.

    The company is the producer's `company_key`, else the address's domain, else none: like every fact it is
    replaced with the whole prospect, and the same prospect has the same company however it was told.
    """
    prospect, key = told.prospect, told.prospect.effective_company_key
    phone = plain_phone(prospect.phone or "")
    return {
        "_id": told.person_id,
        "workspace_id": told.workspace_id,
        "external_id": prospect.external_id,
        "prospect": prospect.model_dump(mode="json"),
        "addresses": [prospect.email.lower()] if prospect.email else [],
        "phones": [phone] if phone else [],
        "company_key": key,
        "company_id": companies[(told.workspace_id, key)] if key else None,
        "facts_at": told.at,
    }


def _reaches(stop: Document, person: Document) -> bool:
    here = (person["workspace_id"], person["company_key"]) == (stop["workspace_id"], stop["key"])
    return bool(here and stop["at"] >= person["facts_at"])


def company_of(doc: Document) -> tuple[str | None, UUID | None]:
    """The company, by key and id, of a person or of an enrollment."""
    return doc.get("company_key"), doc.get("company_id")
