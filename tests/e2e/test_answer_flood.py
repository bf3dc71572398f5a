"""Many answers at a steady rate, some of them poison: each one is accounted for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stack.brokers import Brokers

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]


def test_of_many_answers_with_poison_among_them_none_is_lost_and_none_keeps_others(brokers: Brokers) -> None:
    """The benchmark of answers, smaller; it fails if a stop, a message or a dead letter is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.answers", "--rate", "100", "--seconds", "5"],
        cwd=ROOT,
        env={**os.environ, **brokers.environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("500 answers")
