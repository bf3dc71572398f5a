"""Runs the lines of a runbook against a system, as somebody would who follows the page and nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stack.cluster import Cluster, kubectl
from stack.system import Access, System

HOUSE: Final = Path(__file__).parents[3]
PAGES: Final = HOUSE / "docs" / "runbooks"
SECTIONS: Final = ("What users notice", "Look", "Do", "Over when", "Do not")
SECONDS: Final = 240.0
_BLOCK: Final = re.compile(r"^## (?P<section>[^\n]+)$|^```bash\n(?P<lines>.*?)^```$", re.M | re.S)


class LineFailed(AssertionError):
    """A line of a page ended with an error; the message has the script's trace."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of shell, and the section of the page that they stand in."""

    section: str
    lines: str


def blocks(page: Path) -> list[Block]:
    """The shell of a page, in order."""
    section, found = "", []
    for match in _BLOCK.finditer(page.read_text()):
        section = match["section"] or section
        if match["lines"] is not None:
            found.append(Block(section, match["lines"]))
    return found


@dataclass(slots=True)
class Reader:
    """Follows pages with one shell's variables: what a block sets, the next ones have."""

    environment: Mapping[str, str]
    folder: Path
    done: list[str] = field(default_factory=list)

    def follow(self, page: str, *sections: str, **variables: str) -> str:
        """Run the page's lines (of these sections, or all) in order; what they print.

        `variables` are what the reader fills in. LineFailed at the first line that fails.
        """
        told = [
            self.run(block.lines, **variables)
            for block in blocks(PAGES / f"{page}.md")
            if not sections or block.section in sections
        ]
        return "\n".join(told)

    def run(self, lines: str, **variables: str) -> str:
        """Lines as the reader's shell runs them after all that it ran before."""
        kept = self.folder / "shell"
        before = f". {kept}" if kept.exists() else ""
        after = f"{{ declare -p | grep -v '^declare -[^ ]*r'; declare -f; }} > {kept} 2>/dev/null"
        script = f"set +x\n{before}\nset -eo pipefail; set -x\n{lines}\n{{ set +x; }} 2>/dev/null\n{after}\n"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=HOUSE,
            env={**os.environ, **self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            raise LineFailed(f"{lines}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        self.done.append(lines)
        return done.stdout


@contextmanager
def reader(system: System, access: Access, folder: Path) -> Iterator[Reader]:
    """Somebody at a shell with kubectl, the API's address and an admin's key, who has read the first page."""
    with kubectl(Cluster(system), folder / "bin") as programs:
        environment = {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "API": system.url,
            "KEY": access.api_key,
        }
        following = Reader(environment, folder)
        following.follow("README")
        yield following
