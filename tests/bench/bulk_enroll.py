"""Measures how fast people are enrolled over one NDJSON stream, against the bare writes that it needs.

Run: `python tests/bench/bulk_enroll.py [PEOPLE]`. The API runs in a process of its own beside a real MongoDB;
nothing is published, as while Kafka is away. The client sends everything over one connection and reads an
answer for each line. The peer inserts the very same command documents with `insert_many`, 500 at a time, as
the API stores them: no HTTP, no JSON, no checks.
"""

import asyncio
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import uuid4

import aiohttp

from api.migrations import SCHEMA
from api.testing import serving
from chassis import documents as names
from chassis.migrations import build
from chassis.store import Document, connect
from chassis.testing import fresh_settings
from stack.local_mongo import LocalMongo

PEOPLE = 20_000
AT_ONCE = 500
SENT_AT_ONCE = 200
SEQUENCE = {
    "name": "Many people",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi {{first_name|there}}"}],
}


def main(people: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        mongo = LocalMongo(Path(folder))
        mongo.start()
        try:
            seconds, api_cpu, documents = streamed(mongo.uri, people)
            bare = asyncio.run(inserted(mongo.uri, documents))
        finally:
            mongo.stop()
    print(f"{'':32}{'people':>8}{'seconds':>10}{'people/s':>10}")
    for name, taken in (("Segue, one NDJSON stream", seconds), ("insert_many of the same", bare)):
        print(f"{name:32}{people:8,}{taken:10.2f}{people / taken:10,.0f}")
    print(f"the API's CPU: {1e6 * api_cpu / people:.0f} us a person")
    print(f"ratio: {seconds / bare:.1f} times the bare writes")


def streamed(uri: str, people: int) -> tuple[float, float, list[Document]]:
    """Seconds until the last answer, CPU seconds of the API, and the documents that it stored."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(uri, theirs), daemon=True)
    process.start()
    try:
        url, key = ours.recv()
        seconds = asyncio.run(send(url, key, people))
        ours.send("over")
        api_cpu, documents = ours.recv()
    finally:
        process.join(30)
    return seconds, api_cpu, documents


def serve(uri: str, pipe: Connection) -> None:
    """The API's process: until it is told that all was answered."""
    asyncio.run(_serve(uri, pipe))


async def _serve(uri: str, pipe: Connection) -> None:
    async with serving(uri, key_stream_bytes_per_second=1e12) as served:
        await served.mailbox("ana@ourco.example")
        sequence = await served.call("POST", "/v1/sequences", SEQUENCE, status=201)
        path = f"/v1/sequences/{sequence['id']}/enrollments"
        began = time.process_time()
        pipe.send((str(served.client.make_url(path)), served.made["api_key"]))
        await asyncio.to_thread(pipe.recv)
        cpu = time.process_time() - began
        stored = await served.database.collection(names.COMMANDS).find({"workspace_id": served.workspace})
        pipe.send((cpu, stored))


async def send(url: str, key: str, people: int) -> float:
    """Seconds from the first byte to the last answer."""
    headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {key}"}
    began, answered = time.perf_counter(), 0
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body(people), headers=headers) as got,
    ):
        async for line in got.content:
            answered += b'"command_id"' in line
    assert answered == people, f"{answered} of {people} were accepted"
    return time.perf_counter() - began


async def body(people: int) -> AsyncIterator[bytes]:
    for start in range(0, people, SENT_AT_ONCE):
        yield b"".join(map(line, range(start, min(people, start + SENT_AT_ONCE))))


def line(number: int) -> bytes:
    person = {
        "external_id": f"cand-{number}",
        "email": f"person.{number}@company{number % 900}.example",
        "first_name": f"First{number}",
        "last_name": f"Last{number}",
        "company": f"Company {number % 900}",
        "zone": "Europe/Berlin",
    }
    return json.dumps(person).encode() + b"\n"


async def inserted(uri: str, documents: list[Document]) -> float:
    """Seconds for the bare writes, with the collection's indexes and the write concern of the API."""
    settings = fresh_settings("unused:9092", uri)
    async with connect(settings) as database:
        await build(database, SCHEMA)
        commands = database.collection(names.COMMANDS)
        fresh = [{**each, "_id": uuid4()} for each in documents]
        began = time.perf_counter()
        for start in range(0, len(fresh), AT_ONCE):
            await commands.insert_new(fresh[start : start + AT_ONCE])
        seconds = time.perf_counter() - began
        await database.drop()
    return seconds


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE)
