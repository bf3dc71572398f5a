"""A stranger's way, from docs/joining.md alone: each block as it stands, in an empty folder."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from segue_contracts import schemas
from stack.client import Client
from stack.sequences import TWO_MAILS
from stack.smtp import SmtpServer
from stack.system import System

pytestmark = [pytest.mark.stack, pytest.mark.slow, pytest.mark.timeout(400)]

PAGE = Path(__file__).parents[2] / "docs" / "joining.md"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "ana@ourco.example"
LATER = TWO_MAILS.replace("2 days", "30 days")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as it is published."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=schemas.HOME, check=True, capture_output=True, timeout=60)
    return folder


def script(folder: Path) -> str:
    """What a reader would type; the files that they would save are there."""
    lines = []
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["file"]:
            (folder / block["file"]).write_text(block["text"])
        else:
            assert block["kind"] == "bash", block["kind"]
            lines.append(block["text"])
    return "".join(lines)


async def test_a_stranger_enrolls_hears_and_stops_by_the_page_alone(
    segue: System, mail: SmtpServer, wheels: Path, tmp_path: Path
) -> None:
    access = segue.bootstrap("Joining", ADDRESS)
    async with Client(segue.url, access) as client:
        await client.connect(ADDRESS, mail.host, mail.port)
        sequence = await client.publish(LATER)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PIP_FIND_LINKS": str(wheels),
        "KAFKA": segue.environment["SEGUE_KAFKA_BOOTSTRAP_SERVERS"],
        "PREFIX": segue.environment["SEGUE_KAFKA_TOPIC_PREFIX"],
        "SEGUE": segue.url,
        "KEY": access.api_key,
        "SEQUENCE": sequence,
    }
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script(tmp_path)),
        cwd=tmp_path,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    assert process.returncode == 0, wrong.decode()
    story = [line.split()[1:] for line in said.decode().splitlines()]
    assert [words[0] for words in story[:3]] == ["enrolled", "stage_scheduled", "stage_sent"]
    assert story[-1] == ["stopped", "requested", "hired"]
