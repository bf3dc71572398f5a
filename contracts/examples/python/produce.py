"""Enrolls and stops people: python produce.py enroll:cand-81 stop:cand-81 ..."""

import asyncio
import sys
from datetime import UTC, datetime
from os import environ
from uuid import UUID, uuid4

from aiokafka import AIOKafkaProducer

from segue_contracts import Enroll, Prospect, Stop, encode
from segue_contracts.ids import enrollment_id

WORKSPACE, SEQUENCE = UUID(environ["WORKSPACE"]), UUID(environ["SEQUENCE"])


def command(wish: str, external_id: str) -> Enroll | Stop:
    now = datetime.now(UTC)
    base = {"event_id": uuid4(), "occurred_at": now, "recorded_at": now, "workspace_id": WORKSPACE}
    if wish == "stop":
        target = enrollment_id(WORKSPACE, SEQUENCE, external_id)
        return Stop(**base, issued_by="hiring-service", enrollment_id=target, reason_code="hired")
    prospect = Prospect(external_id=external_id, email=f"{external_id}@there.example")
    return Enroll(**base, issued_by="hiring-service", sequence_id=SEQUENCE, prospect=prospect)


async def main() -> None:
    # aiokafka hashes keys as Java's client does.
    async with AIOKafkaProducer(
        bootstrap_servers=environ["KAFKA"], acks="all", enable_idempotence=True
    ) as producer:
        for argument in sys.argv[1:]:
            wish, _, external_id = argument.partition(":")
            record = encode(command(wish, external_id), source="/hiring-service")
            topic = environ.get("PREFIX", "") + record.topic
            sent = await producer.send_and_wait(topic, record.value, record.key, headers=list(record.headers))
            print(wish, record.key.decode(), sent.partition)


asyncio.run(main())
