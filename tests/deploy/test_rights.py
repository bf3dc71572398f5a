"""The table of rights says what the programs' code does: not less, which stops them, and not more."""

import ast
import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from chassis import documents
from segue_contracts import commands, events
from segue_contracts.message import Message
from segue_contracts.topics import DEAD_LETTERS, TOPICS, Topic
from stack import node
from stack.manifests import kafka, mongodb
from stack.manifests.generated import DEPLOY
from stack.manifests.rights import ADD, CHANGE, OWN, READ, REMOVE, RIGHTS, Actions

OURS = ("chassis", "scheduler", "sender", "reply_detector", "api")
COLLECTION = re.compile(r"\.collection\(\s*(?:names\.)?([A-Z_]+)\s*\)")
BUCKET = re.compile(r"\.files\((?:\"(\w+)\")?\)")
CALLS = {
    "insert": "insert_one|insert_new|insert_many",
    "update": "update_one|update_many|update_by_ids|replace_one|find_one_and_update",
    "remove": "delete_one|delete_many",
}
USED_IN_PART = {
    # The scheduler makes an erasure; the others say of it that their part is done.
    ("segue-sender", "chassis.erasure"),
    ("segue-reply-detector", "chassis.erasure"),
    ("segue-api", "chassis.erasure"),
    # Who sends moves the mark on; these only look whether a restore is under way.
    ("segue-reply-detector", "chassis.restored"),
    ("segue-mailbox-watcher", "chassis.restored"),
    # Who looks at a mailbox tells of evidence, and leaves stops and holds to who judges.
    ("segue-mailbox-watcher", "reply_detector.outgoing"),
    ("segue-mailbox-watcher", "reply_detector.model"),
}
MESSAGES: dict[str, Topic] = {
    name: each.TOPIC
    for module in (commands, events)
    for name, each in vars(module).items()
    if isinstance(each, type) and issubclass(each, Message) and hasattr(each, "TOPIC")
}


def imported(source: str) -> Iterator[str]:
    """The modules that a text may import, also inside functions."""
    for part in ast.walk(ast.parse(source)):
        if isinstance(part, ast.Import):
            yield from (alias.name for alias in part.names)
        elif isinstance(part, ast.ImportFrom) and part.module:
            yield part.module
            yield from (f"{part.module}.{alias.name}" for alias in part.names)


def file_of(module: str) -> Path | None:
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # what was imported is a name in a module, and no module
        return None
    return Path(spec.origin) if spec and spec.origin else None


@cache
def sources(wiring: str) -> dict[str, str]:
    """Our modules that a program is made of, with their texts."""
    found: dict[str, str] = {}
    waiting = [wiring]
    while waiting:
        module = waiting.pop()
        if module.split(".")[0] not in OURS or module in found:
            continue
        file = file_of(module)
        if file is not None:
            found[module] = file.read_text()
            # A list of all indexes knows every store of its service; a program that asks for it uses none.
            waiting += imported(found[module]) if not module.endswith(".migrations") else ()
    return found


def built(text: str) -> Iterator[Topic]:
    """The topics of the messages that a text builds."""
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, ast.Call):
            called = part.func.value if isinstance(part.func, ast.Attribute) else part.func
            if isinstance(called, ast.Name) and called.id in MESSAGES:
                yield MESSAGES[called.id]


@pytest.mark.parametrize("program", RIGHTS)
def test_a_program_may_use_the_collections_that_its_code_names_and_no_others(program: str) -> None:
    named = {
        getattr(documents, constant)
        for text in sources(RIGHTS[program].wiring).values()
        for constant in COLLECTION.findall(text)
    }
    assert named == set(RIGHTS[program].collections)


@pytest.mark.parametrize("program", RIGHTS)
def test_a_program_may_use_the_files_that_its_code_names_and_no_others(program: str) -> None:
    buckets = {
        bucket or "files"
        for module, text in sources(RIGHTS[program].wiring).items()
        if module != "chassis.store" and "database" in text
        for bucket in BUCKET.findall(text)
        if not module.startswith("api.inbound_providers")  # a form's files
    }
    assert buckets == set(RIGHTS[program].buckets)


@pytest.mark.parametrize("program", RIGHTS)
def test_what_a_program_only_reads_no_class_of_it_writes(program: str) -> None:
    """As far as a text tells: the attribute that holds the collection, and what is called on it."""
    for module, text in sources(RIGHTS[program].wiring).items():
        for attribute, constant in re.findall(
            r"self\.(\w+) = database\.collection\(\s*(?:names\.)?([A-Z_]+)", text
        ):
            may = RIGHTS[program].collections[getattr(documents, constant)]
            for action, call in CALLS.items():
                called = re.search(rf"self\.{attribute}\.(?:{call})\(", text)
                if called and (program, module) not in USED_IN_PART:
                    assert action in may, f"{module} writes {constant}: {called.group()}"


@pytest.mark.parametrize("program", RIGHTS)
def test_a_program_may_tell_what_its_code_builds(program: str) -> None:
    rights = RIGHTS[program]
    for module, text in sources(rights.wiring).items():
        for topic in built(text) if (program, module) not in USED_IN_PART else ():
            assert topic in rights.tells | rights.hears, f"{module} builds messages of {topic.name}"


@pytest.mark.parametrize("program", RIGHTS)
def test_a_program_may_hear_the_topics_that_it_subscribes_to_and_no_others(program: str) -> None:
    rights = RIGHTS[program]
    text = "".join(t for module, t in sources(rights.wiring).items() if "chassis" not in module)
    consumed = {
        topic
        for topic in TOPICS
        if re.search(
            rf"consumer\(\s*\"[\w-]+\",\s*{constant_of(topic)}\b|topics=\[{constant_of(topic)}\.name\]"
            rf"|app\.topic\(settings\.kafka_topic_prefix \+ {constant_of(topic)}\.name"
            rf"|^TOPICS: Final = \([^)]*\b{constant_of(topic)}\.name",
            text,
            re.MULTILINE,
        )
    }
    assert consumed == rights.hears
    assert re.search(rf'"{re.escape(rights.groups)}', text)


def constant_of(topic: Topic) -> str:
    """The name under which code knows a topic."""
    return topic.name.removeprefix("segue.").removesuffix(".v1").replace(".", "_").upper()


def grants(program: str, collection: str) -> Actions:
    (role,) = (each for each in mongodb.roles() if each["createRole"] == program)
    found = [p["actions"] for p in role["privileges"] if p["resource"]["collection"] == collection]
    return frozenset(found[0]) if found else frozenset()


def test_tokens_of_mailboxes_are_for_those_who_log_in() -> None:
    may = {program for program in RIGHTS if "find" in grants(program, documents.MAILBOX_TOKENS)}
    assert may == {"segue-sender", "segue-mailbox-watcher"}


def test_every_collection_has_one_owner_and_whoever_else_writes_is_an_exception() -> None:
    owners: dict[str, set[str]] = {}
    writers: dict[str, set[str]] = {}
    for program, rights in RIGHTS.items():
        for collection, may in rights.collections.items():
            if may >= OWN:
                owners.setdefault(collection, set()).add(program)
            elif may & ((ADD | CHANGE | REMOVE) - READ):
                writers.setdefault(collection, set()).add(program)
    assert [collection for collection, found in owners.items() if len(found) > 1] == []
    assert set(writers) == {
        documents.SLOTS,
        documents.SUPPRESSIONS,
        documents.INBOUND,
        documents.COMMAND_RESULTS,
        documents.MAILBOX_TOKENS,
        documents.MIGRATIONS,
        documents.MARKS,
        documents.ERASURES,
    }


def test_personal_commands_are_read_by_the_scheduler_alone() -> None:
    personal = [topic for topic in TOPICS if topic.personal_data and topic is not DEAD_LETTERS]
    readers = {
        topic.name: {
            user
            for user, acls in kafka.users().items()
            for acl in acls
            if acl.name == topic.name and "Read" in acl.operations
        }
        for topic in personal
    }
    assert readers == {
        "segue.enrollment.commands.v1": {"segue-scheduler"},
        "segue.delivery.commands.v1": {"segue-sender"},
        "segue.user.notifications.v1": {"segue-api"},
    }


def test_the_script_makes_the_roles_that_are_missing_and_changes_the_others() -> None:
    try:
        program = node.node()
    except node.NodeMissing as missing:
        pytest.skip(str(missing))
    shell = """
        const told = [];
        globalThis.db = { getSiblingDB: (name) => ({
          getRole: (role) => (role === "segue-api" ? {} : null),
          runCommand: (command) => (told.push([name, command]), { ok: 1 }),
        }) };
        require(process.argv[1]);
        console.log(JSON.stringify(told));
    """
    script = DEPLOY / "mongodb" / "roles.js"
    done = subprocess.run(
        [program, "-e", shell, script],
        env={**os.environ, "DATABASE": "other"},
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = [
        [
            "other",
            {
                "updateRole" if value == "segue-api" and key == "createRole" else key: value
                for key, value in role.items()
            },
        ]
        for role in mongodb.roles("other")
    ]
    assert json.loads(done.stdout) == wanted
