"""Rows of a list: from what came in to a prospect, its command, and what a check found; pure."""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from api.list_store import UNREADABLE, RowStatus, place, row_id
from api.problems import FieldError, field_errors
from chassis.inquiries import Rehearsed
from chassis.secrets import Secrets
from chassis.store import Document
from segue_contracts.commands import Enroll
from segue_contracts.prospect import Prospect, ProspectError, parse_prospect

MAX_ROW_BYTES: Final = 64 * 1024
MOST_FINDINGS: Final = 20
TWICE: Final = "twice"
SAME_ADDRESS: Final = "same_address"
IN_A_SEQUENCE: Final = "in_a_sequence"
_TOKEN: Final = re.compile(r"\{\{(\w+)\}\}")
SHARED: Final = (TWICE, SAME_ADDRESS)
"""What is found by comparing rows: it may change when another row does."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a row: `code` is stable, `pointer` leads to the field at fault if it is one."""

    code: str
    detail: str
    pointer: str = ""

    def document(self) -> Document:
        """As it is stored."""
        return {"code": self.code, "detail": self.detail, "pointer": self.pointer}


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: problems keep a row from being enrolled, warnings do not."""

    problems: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    first_at: datetime | None = None

    def fields(self, n: int, status: RowStatus | None = None) -> Document:
        """As they are stored in the row."""
        status = status or (RowStatus.PROBLEM if self.problems else RowStatus.READY)
        codes = dict.fromkeys(each.code for each in (*self.problems, *self.warnings))
        return {
            "status": status.value,
            "place": place(n, status, warned=bool(self.warnings)),
            "problems": [each.document() for each in self.problems[:MOST_FINDINGS]],
            "warnings": [each.document() for each in self.warnings[:MOST_FINDINGS]],
            "codes": list(codes),
            "first_at": self.first_at,
        }


def own_id(secrets: Secrets, workspace: UUID, email: str) -> str:
    """An opaque id for somebody who came without one: the same whenever the same address comes."""
    text = f"{workspace}/{email.strip().lower()}".encode()
    return f"a-{hmac.new(secrets.keyed('prospect-id'), text, hashlib.sha256).hexdigest()[:24]}"


def with_id(secrets: Secrets, workspace: UUID, data: Any) -> Any:
    """The same row with an id of ours, where it has an address and no id."""
    if not isinstance(data, dict) or data.get("external_id") or not isinstance(data.get("email"), str):
        return data
    return {**data, "external_id": own_id(secrets, workspace, data["email"])}


def unreadable(errors: Sequence[FieldError]) -> Checked:
    """What can't be a prospect."""
    return Checked(tuple(Finding(UNREADABLE, each.detail, each.pointer) for each in errors))


def first_look(data: Any, errors: Sequence[FieldError]) -> Checked | None:
    """What is wrong with a row as it stands; None if it can be read."""
    if errors:
        return unreadable(errors)
    try:
        parse_prospect(data)
    except ProspectError as error:
        return unreadable(field_errors(error.problems))
    return None


def content(data: Any, errors: Sequence[FieldError] = ()) -> tuple[Document, Sequence[FieldError]]:
    """What is kept of a row, and what is wrong with it; one that is no mapping or too large is not kept."""
    if not isinstance(data, dict):
        return {}, [FieldError(pointer="", detail="must be a mapping of names to values")]
    if len(orjson.dumps(data)) > MAX_ROW_BYTES:
        return {}, [FieldError(pointer="", detail=f"is larger than {MAX_ROW_BYTES} bytes, and was not kept")]
    return data, errors


def row_fields(n: int, data: Any, errors: Sequence[FieldError]) -> Document:
    """The fields of a row that follow from what stands in it."""
    kept, wrong = content(data, errors)
    found = first_look(kept, wrong)
    fields = found.fields(n) if found else Checked().fields(n, RowStatus.UNCHECKED)
    return {**fields, "data": kept, "keys": keys_of(kept)}


def row_document(it: Document, n: int, data: Any, errors: Sequence[FieldError]) -> Document:
    """A new row; `n` is its number from 1, in a CSV file its line."""
    return {
        "_id": row_id(it["_id"], n),
        "workspace_id": it["workspace_id"],
        "list_id": it["_id"],
        "n": n,
        "rev": 1,
        "expires_at": it["rows_expire_at"],
        **row_fields(n, data, errors),
    }


def keys_of(data: Mapping[str, Any]) -> list[str]:
    """By what two rows are recognised as one person, or maybe one."""
    external_id, email = data.get("external_id"), data.get("email")
    keys = [f"id:{external_id}"] if isinstance(external_id, str) else []
    return [*keys, f"at:{email.lower()}"] if isinstance(email, str) else keys


def merged(data: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """A JSON merge patch (RFC 7396) applied."""
    result = {name: value for name, value in data.items() if patch.get(name, ...) is not None}
    for name, value in patch.items():
        if isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        elif value is not None:
            result[name] = value
    return result


def enroll_of(it: Document, row: Document, version: int | None, now: datetime, real_now: datetime) -> Enroll:
    """The command of a readable row: the same id however often it is made."""
    prospect: Prospect = parse_prospect(row["data"])
    options = it["options"]
    return Enroll(
        event_id=command_id(it["_id"], row["n"]),
        occurred_at=now,
        recorded_at=real_now,
        workspace_id=it["workspace_id"],
        issued_by=str(it["launched_by"] or it["created_by"]),
        sequence_id=it["sequence_id"],
        sequence_version=version,
        prospect=prospect,
        start_at=options["start_at"],
        generation=options["generation"],
        is_test=options["is_test"],
    )


def command_id(list_id: UUID, n: int) -> UUID:
    """The id of a row's command."""
    return uuid5(list_id, str(n))


# ---- what a rehearsal found ---------------------------------------------------------------------------


def judged(told: Rehearsed, row: Document, alike: Sequence[Document]) -> Checked:
    """What the scheduler said of a row, and its list: `alike` are the included rows that share a key."""
    first = next((each for each in told.stages if not each.skipped), None)
    problems = [Finding(each.code, each.detail, _pointer(each.code, each.detail)) for each in told.problems]
    return Checked(
        tuple(dict.fromkeys((*_twice(row, alike), *problems))),
        tuple(dict.fromkeys(_warnings(told, row, alike))),
        first.planned_at if first else None,
    )


def _pointer(code: str, detail: str) -> str:
    """The field that would mend it, where the code or its words name one."""
    if code in ("email_missing", "phone_missing"):
        return f"/{code.partition('_')[0]}"
    token = _TOKEN.search(detail) if code == "token_missing" else None
    if token is None:
        return ""
    return f"/{token[1]}" if token[1] in Prospect.model_fields else f"/tokens/{token[1]}"


def _twice(row: Document, alike: Sequence[Document]) -> Iterator[Finding]:
    """One of those with the same id goes on: who was found ready first, else the first of the list."""
    for other in alike:
        same = _id_of(other) == _id_of(row) and other["n"] != row["n"]
        if same and (other["n"] < row["n"] or other["status"] == RowStatus.READY.value):
            yield Finding(TWICE, f"row {other['n']} is the same person", "/external_id")
            return


def _warnings(told: Rehearsed, row: Document, alike: Sequence[Document]) -> Iterator[Finding]:
    for each in told.same_address:
        detail = f"{each.external_id} has the same address: maybe the same person"
        yield Finding(SAME_ADDRESS, detail, "/email")
    for other in alike:
        if other["n"] != row["n"] and _id_of(other) != _id_of(row):
            yield Finding(SAME_ADDRESS, f"row {other['n']} has the same address", "/email")
    if told.collisions:
        since = min(each.since for each in told.collisions)
        yield Finding(IN_A_SEQUENCE, f"is in a sequence already, since {since:%Y-%m-%d}")
    for warning in told.warnings:
        yield Finding(warning.code, warning.detail)
    known = {"not_reached", *(each.code for each in told.problems)}
    for stage in told.stages:
        if stage.refused is not None and stage.refused.code not in known and not stage.skipped:
            yield Finding(stage.refused.code, f"stage {stage.stage_id}: {stage.refused.detail}")


def _id_of(row: Document) -> Any:
    return row["data"].get("external_id")
