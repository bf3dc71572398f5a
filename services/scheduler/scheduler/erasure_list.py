"""The list of who was erased, as it is kept beside the backups, and what it is kept for.

It has no names and no addresses: ids, instants, and the keyed hashes of what must not be written to.
"""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.erasure import Erasures, Sought
from chassis.errors import Fatal

REPLAYED_BY = "erase-again"


async def listed(erasures: Erasures) -> AsyncIterator[str]:
    """One JSON object for each."""
    async for each in erasures.every():
        yield json.dumps(
            {
                "workspace_id": str(each["workspace_id"]),
                "person_id": str(each["_id"]),
                "asked_at": each["asked_at"].isoformat(),
                "by": each["by"],
                "hashes": each["hashes"],
            }
        )


async def ask_again(erasures: Erasures, lines: Iterable[str]) -> int:
    """Ask for all of them once more; how many there were. From then on nobody writes to them; the sweeps of
    the services erase them as soon as they run. Raises Fatal for a line that is none of such a list.
    """
    entries = [_entry(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    for entry in entries:
        await erasures.ask(
            UUID(entry["workspace_id"]),
            UUID(entry["person_id"]),
            Sought(),
            datetime.fromisoformat(entry["asked_at"]),
            entry["by"] or REPLAYED_BY,
            hashes=entry["hashes"],
        )
    return len(entries)


def _entry(number: int, line: str) -> dict[str, Any]:
    """All lines are read before the first is carried out."""
    try:
        entry: dict[str, Any] = json.loads(line)
        UUID(entry["workspace_id"]), UUID(entry["person_id"])
        datetime.fromisoformat(entry["asked_at"])
        return {"by": "", "hashes": {}, **entry}
    except (ValueError, KeyError, TypeError) as error:
        raise Fatal(f"line {number} is no line of a list of erasures: {type(error).__name__}") from None
