"""Judges message files on the command line, so that a verdict can be looked into without a system around
it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from reply_detector.classify import classify
from reply_detector.verdict import Kind, Verdict


def classify_files(paths: Sequence[str], out: TextIO) -> int:
    """Writes one JSON object a line to `out` for each file; 1 if one could not be read, else 0."""
    failed = False
    for path in paths:
        try:
            found = as_document(path, classify(Path(path).read_bytes()))
        except OSError as error:
            failed = True
            found = {"file": path, "error": error.strerror or type(error).__name__}
        out.write(json.dumps(found, ensure_ascii=False) + "\n")
    return int(failed)


def as_document(path: str, verdict: Verdict) -> dict[str, Any]:
    """The verdict as the JSON object that the command prints: only the fields of its kind."""
    found: dict[str, Any] = {"file": path, "kind": verdict.kind.value, "evidence": list(verdict.evidence)}
    match verdict.kind:
        case Kind.BOUNCE:
            found["recipients"] = [
                {"address": r.address, "severity": r.severity.value, "status": r.status, "reason": r.reason}
                for r in verdict.recipients
            ]
        case Kind.AUTO_REPLY:
            found["until"] = verdict.until.isoformat() if verdict.until else None
        case Kind.COMPLAINT:
            found["feedback_type"] = verdict.feedback_type
            found["original_recipient"] = verdict.original_recipient
        case Kind.REPLY:
            found["text"] = verdict.text
            found["intent"] = verdict.intent.value if verdict.intent else None
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="reply_detector")
    commands = parser.add_subparsers(dest="command", required=True)
    judge = commands.add_parser("classify", help="judge message files")
    judge.add_argument("--json", action="store_true", help="one JSON object a line (the only format)")
    judge.add_argument("files", nargs="+", metavar="FILE")
    return classify_files(parser.parse_args(arguments).files, sys.stdout)


if __name__ == "__main__":
    sys.exit(main())
