"""A MongoDB replica set of several nodes, of which tests and drills kill the primary, or most."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from stack.local_mongo import LOOPBACK, PROBE_MILLISECONDS, REPLICA_SET, START_SECONDS, LocalMongo, initiate
from stack.processes import ProcessFailed, stop_all, wait_until

ELECTION_MILLIS = 2000
"""How long a primary may be silent: less, and a busy machine elects for no reason."""
PRIMARY, SECONDARY = 1, 2


class ReplicaSet:
    """Nodes on loopback, without passwords, their data under `folder`.

    Each of `members` may be killed (SIGKILL) and started again: it comes back on its port with its data.
    Every method blocks.
    """

    def __init__(self, folder: Path, members: int = 3) -> None:
        self.members = [LocalMongo(folder / f"mongod-{n}", alone=False) for n in range(1, members + 1)]

    @property
    def uri(self) -> str:
        """What clients connect to: every node, and the set's name."""
        return f"mongodb://{','.join(map(_address, self.members))}/?replicaSet={REPLICA_SET}"

    def start(self) -> None:
        """Start all nodes, make them a set unless they are one, and wait until each has its part in it."""
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_until_ready()
        with _asking(self.members[0]) as client:
            initiate(client, *map(_address, self.members), election_millis=ELECTION_MILLIS)
        self.wait_until_whole()

    def stop(self) -> None:
        stop_all(member.process for member in self.members)

    def primary(self) -> LocalMongo | None:
        """The node that takes writes; None while there is none."""
        alive = (member for member in self.members if member.process.alive)
        return next((member for member in alive if _takes_writes(member)), None)

    def wait_for_primary(self, seconds: float = START_SECONDS) -> LocalMongo:
        """The node that takes writes, once there is one; ProcessFailed if none does in time."""
        found: list[LocalMongo] = []

        def elected() -> bool:
            found[:] = filter(None, [self.primary()])
            return bool(found)

        if not wait_until(elected, seconds):
            raise ProcessFailed(f"the set has no primary after {seconds:g} s")
        return found[0]

    def kill_primary(self) -> LocalMongo:
        """Power cut of the node that takes writes; the others elect one of theirs. Returns the dead one."""
        primary = self.wait_for_primary()
        primary.kill()
        return primary

    def wait_until_whole(self, seconds: float = START_SECONDS) -> None:
        """Wait until one node is primary and each other one follows it."""
        if not wait_until(self._is_whole, seconds):
            raise ProcessFailed(f"the set is not whole after {seconds:g} s: {self._states()}")

    def _is_whole(self) -> bool:
        return sorted(self._states()) == [PRIMARY] + [SECONDARY] * (len(self.members) - 1)

    def _states(self) -> list[int]:
        """Of each node, as the primary sees it; empty without one."""
        primary = self.primary()
        if primary is None:
            return []
        try:
            with _asking(primary) as client:
                return [int(each["state"]) for each in client.admin.command("replSetGetStatus")["members"]]
        except PyMongoError:
            return []


def _address(member: LocalMongo) -> str:
    return f"{LOOPBACK}:{member.port}"


@contextmanager
def _asking(member: LocalMongo) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of this node alone."""
    with MongoClient[dict[str, Any]](
        LOOPBACK,
        member.port,
        directConnection=True,
        serverSelectionTimeoutMS=PROBE_MILLISECONDS,
        socketTimeoutMS=5 * PROBE_MILLISECONDS,
    ) as client:
        yield client


def _takes_writes(member: LocalMongo) -> bool:
    try:
        with _asking(member) as client:
            return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
