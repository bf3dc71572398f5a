"""Measures the classifier on the written messages: confusion table, precision and recall, messages a second.

Run: `python tests/bench/classify_messages.py [SECONDS]`; needs nothing but the repository.
"""

import json
import sys
import time
from collections import Counter
from pathlib import Path

from reply_detector.classify import classify
from reply_detector.verdict import Kind

DATA = Path(__file__).parents[1] / "data" / "inbound"
DATE = b"Date: Wed, 29 Apr 2026 10:00:00 +0200\n"


def messages() -> list[tuple[str, bytes]]:
    """The written messages as (expected kind, raw), with a Date where one is left out."""
    found = []
    for file in sorted(DATA.glob("*.txt")):
        for chunk in ("\n" + file.read_text("utf-8")).split("\n=== ")[1:]:
            first, _, message = chunk.partition("\n")
            raw = message.encode()
            headers = b"" if raw.startswith(b"Date:") else DATE
            if b"\nFrom:" not in raw and not raw.startswith(b"From:"):
                headers += b"From: Petra <petra@example.net>\nTo: Rita <rita@segue.example>\n"
            found.append((json.loads(first)["kind"], headers + raw))
    return found


def print_confusion(pairs: Counter[tuple[str, str]]) -> None:
    kinds = [kind.value for kind in Kind]
    print(
        f"{'expected / judged':20}"
        + "".join(f"{kind:>12}" for kind in kinds)
        + f"{'precision':>12}{'recall':>12}"
    )
    for kind in kinds:
        right = pairs[kind, kind]
        judged = sum(pairs[other, kind] for other in kinds)
        expected = sum(pairs[kind, other] for other in kinds)
        row = "".join(f"{pairs[kind, other]:12}" for other in kinds)
        print(f"{kind:20}{row}{right / (judged or 1):12.3f}{right / (expected or 1):12.3f}")


def main(seconds: float) -> None:
    every = messages()
    print_confusion(Counter((expected, classify(raw).kind.value) for expected, raw in every))
    count, begin = 0, time.process_time()
    while time.process_time() - begin < seconds:
        for _, raw in every:
            classify(raw)
        count += len(every)
    print(f"{count / (time.process_time() - begin):,.0f} messages/s on one core")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
