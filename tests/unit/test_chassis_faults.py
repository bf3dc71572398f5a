"""Fault points act only where a crash test asked for it, and only with the permission to."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from chassis.faults import Fault, Faults, parse


def test_faults_without_permission_are_ignored() -> None:
    assert parse({"SEGUE_FAULTS": '{"a": "kill"}'}) == {}
    assert parse({"SEGUE_FAULTS": '{"a": "kill"}', "SEGUE_ALLOW_FAULTS": "0"}) == {}
    assert parse({"SEGUE_ALLOW_FAULTS": "1"}) == {}


def test_both_spellings_are_understood() -> None:
    allowed = {"SEGUE_ALLOW_FAULTS": "1"}
    assert parse({**allowed, "SEGUE_FAULTS": '{"a": "kill"}'}) == {"a": Fault("kill", 1)}
    planned = json.dumps([{"point": "a", "do": "stop", "nth": 3}, {"point": "b", "do": "kill"}])
    assert parse({**allowed, "SEGUE_FAULTS": planned}) == {"a": Fault("stop", 3), "b": Fault("kill", 1)}


async def test_a_file_of_faults_may_come_and_go_while_the_process_runs(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    faults = Faults(parse({"SEGUE_ALLOW_FAULTS": "1", "SEGUE_FAULTS": f"@{file}"}))
    await faults.point("a")
    file.write_text('{"a": "error"}')
    with pytest.raises(RuntimeError, match="fault at a"):
        await faults.point("a")
    file.unlink()
    await faults.point("a")


async def test_only_the_nth_hit_of_the_named_point_acts() -> None:
    faults = Faults({"a": Fault("error", 2)})
    await faults.point("b")
    await faults.point("a")
    with pytest.raises(RuntimeError, match="fault at a"):
        await faults.point("a")
    await faults.point("a")


async def test_a_hang_tells_that_it_is_reached_and_ends_when_its_file_goes(tmp_path: Path) -> None:
    reached = tmp_path / "reached"
    hanging = asyncio.create_task(Faults({"a": Fault(f"hang:{reached}")}).point("a"))
    async with asyncio.timeout(5):
        while not reached.exists():  # noqa: ASYNC110 - the fault speaks through the file system
            await asyncio.sleep(0)
        assert not hanging.done()
        reached.unlink()
        await hanging


async def test_an_unknown_fault_is_an_error_and_not_silence() -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        await Faults({"a": Fault("explode")}).point("a")


def test_kill_ends_the_process_at_once() -> None:
    script = "import asyncio; from chassis import faults; asyncio.run(faults.point('a')); print('alive')"
    environment = {"SEGUE_ALLOW_FAULTS": "1", "SEGUE_FAULTS": '{"a": "kill"}'}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert ended.returncode == -9
    assert ended.stdout == b""
