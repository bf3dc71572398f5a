"""The API's pure parts: YAML, CSV, cursors, keys, pointers, and what became of a command."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import yaml_core
from api.bodies import check_tree, read_json, read_yaml
from api.keys import (
    Caller,
    KeyScope,
    Role,
    bearer_from_header,
    caller_by_key,
    caller_signed_in,
    fits,
    key_document,
    key_text,
    parse_key,
)
from api.model import CommandState, patience, settled
from api.paging import Kind, Order
from api.problems import Problem, pointer
from api.prospects_csv import Column, column, rows
from chassis.store import Workspace

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def refusal(read: Callable[..., object], *arguments: Any) -> int | None:
    try:
        read(*arguments)
    except Problem as problem:
        return problem.status
    return None


# ---- YAML -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10:30", "10:30"),
        ("NO", "NO"),
        ("2027-01-15", "2027-01-15"),
        ("yes", "yes"),
        ("true", True),
        ("'true'", "true"),
        ("null", None),
        ("~", None),
        ("", None),
        ("-12", -12),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1.5e3", 1500.0),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("! 3", "3"),
        ("9" * 30, "9" * 30),
    ],
)
def test_scalars_are_read_by_the_core_schema(text: str, value: Any) -> None:
    assert yaml_core.load(f"a: {text}\n") == {"a": value}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line 1"),
        ("a: 1\na: 2", "line 2"),
        ("a: &x 1\nb: *x", "anchors"),
        ("%YAML 1.1\n---\na: no", "YAML 1.2"),
        ("a: 1\n---\nb: 2", "one document"),
        ("a: !!python/object:os.system x", "tag"),
        ("a: !!binary aGk=", "tag"),
        ("? [1, 2]\n: 3", "quotes"),
        ("1: 2", "quotes"),
        ("[" * 5000, "levels deep"),
        ("\x01", "special characters"),
        ('"\\UFFFFFFFF"', "can't be read"),
    ],
)
def test_what_is_no_plain_yaml_says_where(text: str, words: str) -> None:
    with pytest.raises(yaml_core.YamlProblem, match=words):
        yaml_core.load(text)


@given(st.text(max_size=200))
def test_no_text_breaks_the_yaml_reader(text: str) -> None:
    try:
        yaml_core.load(text)
    except yaml_core.YamlProblem:
        return


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(raw: bytes) -> None:
    assert refusal(read_json, raw) in (None, 400, 422)
    assert refusal(read_yaml, raw) in (None, 400, 422)


@given(JSON)
def test_a_tree_is_refused_exactly_when_some_text_can_not_be_kept(data: Any) -> None:
    def strings(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(text for each in value.values() for text in strings(each))]
        if isinstance(value, list):
            return [text for each in value for text in strings(each)]
        return [value] if isinstance(value, str) else []

    bad = any("\0" in text or any("\ud800" <= c <= "\udfff" for c in text) for text in strings(data))
    try:
        check_tree(data)
    except Problem:
        assert bad
    else:
        assert not bad


# ---- CSV --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("First Name", Column("", "first_name")),
        ("E-Mail", Column("", "email")),
        ("ID", Column("", "external_id")),
        ("dates.start_date", Column("dates", "start_date")),
        ("tokens.Role", Column("tokens", "Role")),
        ("Fun fact", Column("tokens", "fun_fact")),
        ("tokens", Column("tokens", "tokens")),
        ("  ", Column("tokens", "")),
    ],
)
def test_a_column_means_a_field_a_date_or_a_token(name: str, expected: Column) -> None:
    assert column(name, {}) == expected


def test_a_column_that_a_token_claims_is_that_token_whatever_it_would_mean_else() -> None:
    tokens = {"gehalt_brutto": "salary", "title": "job"}
    assert column("Gehalt-Brutto", tokens) == Column("tokens", "salary")
    assert column("Title", tokens) == Column("tokens", "job")
    assert column("tokens.Gehalt", tokens) == Column("tokens", "Gehalt")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_know_the_line_on_which_they_begin(separator: str) -> None:
    text = 'external_id,note\n1,"two\nlines"\n\n2,x\n'.replace(",", separator)
    found = list(rows(text, 10, {}))
    assert [(row.line, row.data["external_id"]) for row in found] == [(2, "1"), (5, "2")]
    assert found[0].data["tokens"] == {"note": "two\nlines"}


def test_more_rows_than_allowed_are_refused() -> None:
    with pytest.raises(Problem):
        list(rows("external_id\na\nb\nc\n", 2, {}))


@given(st.text(max_size=300))
def test_no_text_breaks_the_csv_reader(text: str) -> None:
    assert refusal(lambda: list(rows("external_id,a\n" + text, 100, {}))) in (None, 400, 422)


# ---- cursors ----------------------------------------------------------------------------------------

ORDER = Order((("task.due_at", 1, Kind.INSTANT), ("_id", -1, Kind.TEXT)))


def test_a_cursor_continues_after_its_row() -> None:
    cursor = ORDER.cursor_after({"_id": "x", "task": {"due_at": NOW}})
    assert ORDER.filter_after(cursor) == {
        "task.due_at": {"$gte": NOW},
        "$or": [
            {"task.due_at": {"$gt": NOW}},
            {"task.due_at": {"$eq": NOW}, "_id": {"$lt": "x"}},
        ],
    }


@given(st.text(max_size=100))
def test_no_text_but_a_cursor_is_a_cursor(text: str) -> None:
    with pytest.raises(Problem, match="bad-cursor"):
        ORDER.filter_after(text)


def test_another_lists_cursor_is_refused() -> None:
    other = Order((("_id", 1, Kind.UUID),))
    with pytest.raises(Problem, match="bad-cursor"):
        ORDER.filter_after(other.cursor_after({"_id": uuid4()}))
    with pytest.raises(Problem, match="bad-cursor"):
        other.filter_after(Order((("_id", 1, Kind.TEXT),)).cursor_after({"_id": "no id"}))


# ---- keys -------------------------------------------------------------------------------------------

WORKSPACE = Workspace(uuid4())
SECRET = b"\xfb" * 32  # its text holds the characters that also separate


def stored_key(*scopes: KeyScope) -> dict[str, Any]:
    return key_document(uuid4(), SECRET, WORKSPACE, uuid4(), "ci", scopes or (KeyScope.READ,), NOW)


def test_a_key_is_known_by_its_secret_alone() -> None:
    stored = stored_key(KeyScope.WRITE)
    presented = parse_key(key_text(stored["_id"], SECRET))
    assert presented is not None
    assert fits(stored, presented)
    other = parse_key(key_text(stored["_id"], b"x" * 32))
    assert other is not None
    assert not fits(stored, other)
    assert not fits(None, presented)
    assert not fits({**stored, "revoked_at": NOW}, presented)
    assert presented.secret not in str(stored)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading_of_keys(text: str) -> None:
    assert parse_key(text) is None
    assert bearer_from_header(f"Basic {text}") is None
    assert bearer_from_header(f"bearer {text}") == text.strip()


def test_a_caller_without_scopes_may_nothing() -> None:
    caller = Caller(uuid4(), WORKSPACE, uuid4(), frozenset(), Role.ADMIN)
    assert not any(caller.may(scope) for scope in KeyScope)


def user_of(role: Role) -> dict[str, Any]:
    return {"_id": uuid4(), "workspace_id": WORKSPACE, "role": role.value}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("scope", KeyScope)
def test_a_key_reaches_as_far_as_its_scope_and_its_users_role(role: Role, scope: KeyScope) -> None:
    by_key = caller_by_key(stored_key(scope), user_of(role))
    order = list(KeyScope)
    for asked in order:
        reach = min(order.index(scope), order.index(role.scope))
        assert by_key.may(asked) == (order.index(asked) <= reach)
        assert caller_signed_in(user_of(role)).may(asked) == (order.index(asked) <= order.index(role.scope))


# ---- pointers, commands -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", ""),
        ("name", "/name"),
        ("stages[1].after", "/stages/1/after"),
        ("stages[0].when.all[2].has", "/stages/0/when/all/2/has"),
        ("a/b~c", "/a~1b~0c"),
    ],
)
def test_a_contract_path_is_a_json_pointer(path: str, expected: str) -> None:
    assert pointer(path) == expected


ENROLL = {"_id": uuid4(), "type": "enroll", "target": str(uuid4())}


@pytest.mark.parametrize(
    ("command", "result", "enrollment", "state"),
    [
        (ENROLL, None, None, None),
        (ENROLL, None, {"_id": UUID(ENROLL["target"])}, CommandState.DONE),  # type: ignore[arg-type]
        (ENROLL, None, {"_id": uuid4(), "tombstone": True}, None),
        (ENROLL, {"status": "refused", "reasons": []}, {"_id": uuid4()}, CommandState.REFUSED),
        ({**ENROLL, "type": "stop"}, None, {"_id": uuid4()}, None),
        ({**ENROLL, "type": "stop"}, {"status": "done"}, None, CommandState.DONE),
    ],
)
def test_what_became_of_a_command(command: Any, result: Any, enrollment: Any, state: Any) -> None:
    found = settled(command, result, enrollment)
    assert (found.state if found else None) == state


def test_patience_grows_to_a_ceiling() -> None:
    waits = [patience(n, 5.0) for n in range(1, 30)]
    assert waits[:3] == [timedelta(seconds=5), timedelta(seconds=10), timedelta(seconds=20)]
    assert waits == sorted(waits)
    assert waits[-1] == timedelta(minutes=10)
