"""Apache Flink for one test: too large for everybody's environment, it has one of its own in the cache."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from stack.jars import fetch, java, locked

VERSION: Final = "2.3.0"
CONNECTOR: Final = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
FETCH_SECONDS: Final = 600
RUN_SECONDS: Final = 300

PROGRAM: Final = """
import json, sys
from pyflink.table import EnvironmentSettings, TableEnvironment
asked = json.load(sys.stdin)
tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
tables.get_config().set("pipeline.jars", asked["connector"]).set("parallelism.default", "1")
tables.get_config().set("table.local-time-zone", "UTC")
for statement in asked["statements"]:
    tables.execute_sql(statement)
found = []
for query in asked["queries"]:
    table = tables.sql_query(query)
    names = table.get_schema().get_field_names()
    with table.execute().collect() as rows:
        found.append([dict(zip(names, row)) for row in rows])
print()
print(json.dumps(found, default=str))
"""


class FlinkFailed(RuntimeError):
    """Flink could not be fetched, or did not run what it was given; the message has its last words."""


def ask(statements: Sequence[str], queries: Sequence[str]) -> list[list[dict[str, Any]]]:
    """The rows of each query, in batch mode, after the statements. Blocks; fetches 730 MB the first time."""
    python, connector = _ready()
    asked = {"connector": connector.as_uri(), "statements": statements, "queries": queries}
    environment = {**os.environ, "JAVA_HOME": str(java().parents[1])}
    told = _run([str(python), "-c", PROGRAM], RUN_SECONDS, json.dumps(asked), environment)
    rows: list[list[dict[str, Any]]] = json.loads(told.splitlines()[-1])
    return rows


def _ready() -> tuple[Path, Path]:
    """The interpreter that has Flink, and the jar of its connector."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segue" / f"flink-{VERSION}"
    python, installed = root / "venv" / "bin" / "python", root / "installed"
    root.mkdir(parents=True, exist_ok=True)
    with locked("flink"):
        if not installed.exists():
            _run([sys.executable, "-m", "venv", "--clear", str(root / "venv")], FETCH_SECONDS)
            _run([str(python), "-m", "pip", "install", "--quiet", f"apache-flink=={VERSION}"], FETCH_SECONDS)
            fetch(root, CONNECTOR)
            installed.touch()
    (connector,) = root.glob(".jgo/*/*.jar")
    return python, connector


def _run(
    command: Sequence[str], seconds: float, given: str = "", environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise FlinkFailed(f"{command[0]}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
