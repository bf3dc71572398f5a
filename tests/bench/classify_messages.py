"""Measures the classifier on the written messages: kinds, severities, intents, return dates, and its speed.

Run: `python tests/bench/classify_messages.py [SECONDS]`; needs nothing but the repository.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reply_detector.classify import classify
from reply_detector.verdict import Intent, Kind, Severity, Verdict

DATA = Path(__file__).parents[1] / "data"
DATE = b"Date: Wed, 29 Apr 2026 10:00:00 +0200\n"
MISSED = "none"


def messages() -> list[tuple[dict[str, Any], bytes]]:
    """The written messages as (what is expected, raw), with a Date where one is left out."""
    found = []
    for file in sorted((*DATA.glob("inbound/*.txt"), *DATA.glob("answers/*.txt"))):
        for chunk in ("\n" + file.read_text("utf-8")).split("\n=== ")[1:]:
            first, _, message = chunk.partition("\n")
            raw = message.encode()
            headers = b"" if raw.startswith(b"Date:") else DATE
            if b"\nFrom:" not in raw and not raw.startswith(b"From:"):
                headers += b"From: Petra <petra@example.net>\nTo: Rita <rita@segue.example>\n"
            found.append((json.loads(first), headers + raw))
    return found


def recipients(expected: dict[str, Any], verdict: Verdict) -> Iterable[tuple[str, str]]:
    """Each bounced recipient, expected or found, as (expected severity, found severity)."""
    found = {recipient.address: recipient.severity.value for recipient in verdict.recipients}
    named = expected.get("recipients", {})
    for address in named.keys() | found.keys():
        yield named.get(address, MISSED), found.get(address, MISSED)


def print_table(title: str, names: list[str], pairs: Counter[tuple[str, str]]) -> None:
    """`pairs` counts (expected, judged); a name's precision and recall stand at the end of its row."""
    print(f"{title:20}" + "".join(f"{name:>12}" for name in names) + f"{'precision':>12}{'recall':>12}")
    for name in (name for name in names if name != MISSED):
        right = pairs[name, name]
        judged = sum(pairs[other, name] for other in names)
        expected = sum(pairs[name, other] for other in names)
        row = "".join(f"{pairs[name, other]:12}" for other in names)
        print(f"{name:20}{row}{right / (judged or 1):12.3f}{right / (expected or 1):12.3f}")


def print_share(title: str, right: int, of: int) -> None:
    print(f"{title}: {right} of {of} ({right / (of or 1):.1%})")


def print_quality(judged: list[tuple[dict[str, Any], Verdict]]) -> None:
    kinds = Counter((expected["kind"], verdict.kind.value) for expected, verdict in judged)
    print_table("expected / judged", [kind.value for kind in Kind], kinds)
    bounced = Counter(pair for expected, verdict in judged for pair in recipients(expected, verdict))
    print_table("bounced recipients", [*(severity.value for severity in Severity), MISSED], bounced)
    named = {pair: count for pair, count in bounced.items() if pair[0] != MISSED}
    print_share(
        "recipients found", sum(n for (_, found), n in named.items() if found != MISSED), sum(named.values())
    )
    print_share(
        "with the right severity", sum(n for (a, b), n in named.items() if a == b), sum(named.values())
    )
    complained = [
        expected["original_recipient"] == verdict.original_recipient
        for expected, verdict in judged
        if "original_recipient" in expected
    ]
    print_share("complaints with their recipient", sum(complained), len(complained))
    print_answers(judged)


def print_answers(judged: list[tuple[dict[str, Any], Verdict]]) -> None:
    """What replies want, and the days that notes name."""
    intents = Counter(
        (expected["intent"], verdict.intent.value if verdict.intent else MISSED)
        for expected, verdict in judged
        if "intent" in expected
    )
    print_table("intents", [*(intent.value for intent in Intent), MISSED], intents)
    days = [
        expected["until"] == (verdict.until.isoformat() if verdict.until else None)
        for expected, verdict in judged
        if "until" in expected
    ]
    print_share("notes with the right return date", sum(days), len(days))


def main(seconds: float) -> None:
    every = messages()
    print_quality([(expected, classify(raw)) for expected, raw in every])
    count, begin = 0, time.process_time()
    while time.process_time() - begin < seconds:
        for _, raw in every:
            classify(raw)
        count += len(every)
    print(f"{count / (time.process_time() - begin):,.0f} messages/s on one core (CPU time)")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
