"""No contract breaks unnoticed: what may be added passes, and what breaks somebody is told by its rule."""

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segue_contracts import compat, schemas
from segue_contracts.compat import Contract, Rule
from segue_contracts.topics import ENROLLMENT_COMMANDS, ENROLLMENT_EVENTS, STAGE_DUE

Json = dict[str, Any]
Change = Callable[[Json], object]

WRITTEN, READ, INTERNAL = ENROLLMENT_COMMANDS.name, ENROLLMENT_EVENTS.name, STAGE_DUE.name
EVERYWHERE = (WRITTEN, READ, INTERNAL)
READ_BACK = (READ, INTERNAL)
"""Where an old reader meets what a new writer writes."""
NULLABLE = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
MESSAGE: Json = {
    "type": "object",
    "properties": {
        "event_type": {"const": "sent", "type": "string"},
        "who": {"$ref": "#/$defs/Person"},
        "why": {"type": "string", "maxLength": 200, "minLength": 1, "default": ""},
        "open": {"type": "string", "enum": ["a", "b", "unknown"]},
        "closed": {"type": "string", "enum": ["a", "b"]},
        "place": {"type": "string", "pattern": "^[a-z]+$"},
        "places": {"type": "array", "items": {"type": "string", "maxLength": 9}, "maxItems": 3},
        "maybe": NULLABLE,
    },
    "required": ["event_type", "who", "open", "place"],
}
PERSON: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "friend": {"anyOf": [{"$ref": "#/$defs/Person"}, NULLABLE]}},
    "required": ["name"],
}
OTHER: Json = {"type": "object", "properties": {"event_type": {"const": "lost", "type": "string"}}}
SCHEMA: Json = {"oneOf": [{"$ref": "#/$defs/Sent"}, OTHER], "$defs": {"Sent": MESSAGE, "Person": PERSON}}


def a_topic(**values: Any) -> Json:
    keys = {"segue.stage.sent.v1": ["enrollment_id"], "segue.stage.lost.v1": ["enrollment_id"]}
    base = {"partitions": 12, "retention_ms": 1000, "compact": False, "public": True, "personal_data": False}
    return copy.deepcopy({**base, "keys": keys, **values})


def a_contract() -> Contract:
    topics = {name: a_topic(public=name is not INTERNAL) for name in EVERYWHERE}
    documents = {name: copy.deepcopy(SCHEMA) for name in EVERYWHERE}
    return Contract({**documents, "sequence.v1": {"type": "object"}}, topics)


def field(name: str, **values: Any) -> Change:
    """A field with these keywords; None takes one away."""

    def change(schema: Json) -> None:
        fields = schema["$defs"]["Sent"]["properties"]
        whole = {**fields.get(name, {}), **values}
        fields[name] = {word: value for word, value in whole.items() if value is not None}

    return change


def required(*names: str) -> Change:
    return lambda schema: schema["$defs"]["Sent"].update(required=list(names))


def without(name: str) -> Change:
    return lambda schema: schema["$defs"]["Sent"]["properties"].pop(name)


def both(*changes: Change) -> Change:
    return lambda schema: [change(schema) for change in changes]


def of_person(**values: Any) -> Change:
    return lambda schema: schema["$defs"]["Person"].update(values)


NEEDED = ("event_type", "who", "open", "place")
FIELD = {"type": "string", "default": ""}
ALLOWED: dict[str, Change] = {
    "an optional field is added": field("variant", **FIELD),
    "one that Segue always writes is added": both(
        field("variant", **FIELD), required(*NEEDED, "why", "variant")
    ),
    "a message is added": lambda schema: schema["oneOf"].append(
        {"type": "object", "properties": {"event_type": {"const": "erased", "type": "string"}}}
    ),
    "an open list grows": field("open", enum=["a", "b", "c", "unknown"]),
    "a description changes": field("why", description="what for"),
}
ONLY_WRITERS: dict[str, tuple[Rule, Change]] = {
    "a limit is raised": (Rule.LIMIT_WIDENED, field("why", maxLength=300)),
    "a lower limit is lowered": (Rule.LIMIT_WIDENED, field("why", minLength=None)),
    "a required field becomes optional": (Rule.FIELD_OPTIONAL, required("event_type", "who", "open")),
    "another type is taken, too": (
        Rule.TYPE_WIDENED,
        field("place", type=None, pattern=None, anyOf=[MESSAGE["properties"]["place"], {"type": "null"}]),
    ),
    "a list of words is opened to any": (Rule.TYPE_WIDENED, field("open", enum=None)),
    "a pattern is dropped": (Rule.FORM_CHANGED, field("place", pattern=None)),
}
BREAKING: dict[str, tuple[Rule, Change]] = {
    "a field is removed": (Rule.FIELD_REMOVED, without("closed")),
    "unknown fields are refused": (
        Rule.FIELD_REMOVED,
        lambda schema: schema["$defs"]["Sent"].update(additionalProperties=False),
    ),
    "a required field is added": (
        Rule.FIELD_REQUIRED,
        both(field("variant", type="string"), required(*NEEDED, "variant")),
    ),
    "an optional field becomes required": (Rule.FIELD_REQUIRED, required(*NEEDED, "closed")),
    "a required field is added deep inside": (
        Rule.FIELD_REQUIRED,
        of_person(properties={**PERSON["properties"], "zone": {"type": "string"}}, required=["name", "zone"]),
    ),
    "a type changes": (Rule.TYPE_CHANGED, field("place", type="integer", pattern=None)),
    "null is taken no more": (Rule.TYPE_CHANGED, field("maybe", type="string", anyOf=None)),
    "any word becomes words of a list": (Rule.TYPE_CHANGED, field("why", enum=["because"])),
    "a word is removed": (Rule.VALUE_REMOVED, field("open", enum=["a", "unknown"])),
    "a limit is lowered": (Rule.LIMIT_NARROWED, field("why", maxLength=100)),
    "a limit is new": (Rule.LIMIT_NARROWED, field("place", maxLength=100)),
    "a lower limit is raised": (Rule.LIMIT_NARROWED, field("why", minLength=2)),
    "a limit of an item is lowered": (
        Rule.LIMIT_NARROWED,
        field("places", items={"type": "string", "maxLength": 8}),
    ),
    "a pattern changes": (Rule.FORM_CHANGED, field("place", pattern="^[a-y]+$")),
    "a format is new": (Rule.FORM_CHANGED, field("why", format="uuid")),
    "a default changes": (Rule.DEFAULT_CHANGED, field("why", default="because")),
}
TOPIC_BREAKS: dict[str, tuple[Rule, Json]] = {
    "more partitions": (Rule.PARTITIONS_CHANGED, {"partitions": 24}),
    "kept for less time": (Rule.RETENTION_LOWERED, {"retention_ms": 999}),
    "compacted": (Rule.COMPACTION_CHANGED, {"compact": True, "retention_ms": None}),
    "Segue's own": (Rule.ACCESS_NARROWED, {"public": False}),
    "with personal data": (Rule.ACCESS_NARROWED, {"personal_data": True}),
    "another key": (
        Rule.KEY_CHANGED,
        {"keys": {"segue.stage.sent.v1": ["person_id"], "segue.stage.lost.v1": ["enrollment_id"]}},
    ),
    "a message less": (Rule.MESSAGE_REMOVED, {"keys": {"segue.stage.sent.v1": ["enrollment_id"]}}),
}


def rules_for(change: Change, name: str) -> set[Rule]:
    """The rules that a change of one topic's schema breaks."""
    new = a_contract()
    change(new.schemas[name])
    return {each.rule for each in compat.breaks(a_contract(), new)}


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED.keys())
def test_what_may_be_added_within_a_major_version_passes(change: Change, name: str) -> None:
    assert rules_for(change, name) == set()


@pytest.mark.parametrize(("rule", "change"), ONLY_WRITERS.values(), ids=ONLY_WRITERS.keys())
def test_what_may_be_written_can_grow_but_what_is_read_cannot(rule: Rule, change: Change) -> None:
    assert rules_for(change, WRITTEN) == set()
    for name in READ_BACK:
        assert rules_for(change, name) == {rule}


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize(("rule", "change"), BREAKING.values(), ids=BREAKING.keys())
def test_what_breaks_writers_or_kept_records_is_told_everywhere(
    rule: Rule, change: Change, name: str
) -> None:
    assert rules_for(change, name) == {rule}


def test_a_closed_list_must_not_grow_where_others_read_it() -> None:
    grown = field("closed", enum=["a", "b", "c"])
    assert rules_for(grown, READ) == {Rule.VALUE_ADDED}
    assert rules_for(grown, WRITTEN) == rules_for(grown, INTERNAL) == set()


@pytest.mark.parametrize(("rule", "values"), TOPIC_BREAKS.values(), ids=TOPIC_BREAKS.keys())
def test_a_topic_stays_what_it_is(rule: Rule, values: Json) -> None:
    old = a_contract()
    new = Contract(old.schemas, {**old.topics, READ: a_topic(**values)})
    assert [each.rule for each in compat.breaks(old, new)] == [rule]


def test_a_topic_may_be_kept_longer_be_opened_and_carry_more() -> None:
    old, new = a_contract(), a_contract()
    new.topics[INTERNAL].update(public=True, retention_ms=2000)
    new.topics[INTERNAL]["keys"]["segue.stage.found.v1"] = ["enrollment_id"]
    assert list(compat.breaks(old, new)) == []


def test_a_topic_that_is_gone_is_told_once_and_a_schema_too() -> None:
    old = a_contract()
    fewer = {name: topic for name, topic in old.topics.items() if name != READ}
    gone = compat.breaks(old, Contract({name: old.schemas[name] for name in fewer}, fewer))
    assert [each.rule for each in gone] == [Rule.TOPIC_REMOVED, Rule.SCHEMA_REMOVED]


def test_every_rule_has_a_change_that_breaks_it_and_a_row_in_the_table() -> None:
    tried = {rule for table in (ONLY_WRITERS, BREAKING, TOPIC_BREAKS) for rule, _ in table.values()}
    elsewhere = {Rule.VALUE_ADDED, Rule.TOPIC_REMOVED, Rule.SCHEMA_REMOVED}
    assert tried | elsewhere == set(Rule)
    rows = re.findall(r"^\| .*\| `([a-z_]+)` \|$", (schemas.HOME / "README.md").read_text(), re.MULTILINE)
    assert set(rows) == {str(rule) for rule in Rule}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the contract's generated files and its releases."""
    shutil.copytree(schemas.HOME / "released", tmp_path / "released")
    assert schemas.main(["--home", str(tmp_path)]) == 0
    return tmp_path


def test_todays_contract_keeps_every_release(home: Path) -> None:
    assert sorted((home / "released").iterdir())
    assert compat.main(["--home", str(home)]) == 0


def test_a_planted_break_fails_and_names_the_release_the_place_and_the_rule(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "schemas" / "segue.enrollment.commands.v1.json"
    schema = json.loads(path.read_text())
    schema["$defs"]["Enroll"]["required"].append("start_at")
    schema["$defs"]["Enroll"]["properties"]["start_at"].pop("default")
    path.write_text(json.dumps(schema))
    assert compat.main(["--home", str(home), "--release", "9.9.9"]) == 1
    told = capsys.readouterr().err
    assert "breaks 0.1.0: segue.enrollment.commands.v1/enroll/start_at: must be given now" in told
    assert not (home / "released" / "9.9.9").exists()


def test_a_release_is_kept_once_and_only_when_the_files_are_up_to_date(home: Path) -> None:
    assert compat.main(["--home", str(home), "--release", "9.9.9"]) == 0
    assert compat.read_release(home / "released" / "9.9.9") == compat.read(home)
    assert compat.main(["--home", str(home), "--release", "9.9.9"]) == 1
    assert compat.main(["--home", str(home), "--release", "v10"]) == 1
    (home / "asyncapi.yaml").write_text("")
    assert compat.main(["--home", str(home), "--release", "9.10.0"]) == 1
