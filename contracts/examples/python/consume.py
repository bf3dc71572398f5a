"""Prints what happens to enrollments, each event once: python consume.py"""

import asyncio
from os import environ

from aiokafka import AIOKafkaConsumer

from segue_contracts import DecodeError, decode

TOPIC = "segue.enrollment.events.v1"


async def main() -> None:
    seen = set()  # in a service: a unique key in its database
    async with AIOKafkaConsumer(
        environ.get("PREFIX", "") + TOPIC,
        bootstrap_servers=environ["KAFKA"],
        group_id=environ["GROUP"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    ) as consumer:
        async for record in consumer:
            try:
                event = decode(TOPIC, record.headers, record.value)
            except DecodeError as error:
                print("left out:", error, flush=True)
                continue
            if event.event_id not in seen:
                seen.add(event.event_id)
                print(event.event_type, event.enrollment_id, event.seq, flush=True)
            await consumer.commit()  # last: a record that was not handled comes again


asyncio.run(main())
