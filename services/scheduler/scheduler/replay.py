"""Writes a range of the story again: Kafka's retention is a cost choice, the documents are the archive."""

from datetime import datetime

from chassis.kafka import Publisher, Record
from chassis.store import connect
from scheduler.settings import SchedulerSettings
from scheduler.store import SchedulerStore
from scheduler.story import event_of

BATCH = 500


async def replay(settings: SchedulerSettings, since: datetime, until: datetime) -> int:
    """Publish every event recorded in [since, until) again, with the same ids; returns how many."""
    told = 0
    async with connect(settings) as database, Publisher(settings) as publisher:
        records: list[Record] = []
        async for e in SchedulerStore(database).written_since(since):
            records += [Record.of(event_of(e, c)) for c in e["history"] if since <= c["rec"] < until]
            if len(records) >= BATCH:
                await publisher.publish(records)
                told, records = told + len(records), []
        await publisher.publish(records)
    return told + len(records)
