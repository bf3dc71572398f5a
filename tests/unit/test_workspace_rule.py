"""Nothing crosses a workspace: every query of a service names its workspace, but for a list of exceptions.

The sources are read, not run, so that a query counts whether or not some test reaches it. What this reader
can't follow counts as a query without a workspace.
"""

import ast
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOUSE = Path(__file__).parents[2]
SERVICES = ("scheduler/scheduler", "sender/sender", "reply-detector/reply_detector", "api/api")
READS = {"find", "stream", "find_one", "count", "find_one_and_update", "find_one_and_delete"}
WRITES = {"update_one", "update_many", "replace_one", "delete_one", "delete_many"}
OPERATIONS = {"UpdateOne", "UpdateMany", "ReplaceOne", "DeleteOne"}
FILTER_AT = {**dict.fromkeys(READS | WRITES | OPERATIONS, 0), "update_by_ids": 1, "read_page": 1}
QUERIES = {*FILTER_AT, "aggregate"}
FIELD = "workspace_id"

EVERYBODYS = {
    # The due loop, the replay and the sweeps serve all workspaces at once.
    *(f"scheduler.SchedulerStore.{name}" for name in ("due", "dispatch", "ask_again", "written_since")),
    *(f"scheduler.SchedulerStore.{name}" for name in ("untold", "told", "told_but", "whole")),
    *(f"scheduler.SchedulerStore.{name}" for name in ("parked_holds", "parked_under")),
    *(f"scheduler.SchedulerStore.{name}" for name in ("unapplied_stops", "open_replans")),
    # Whoever runs Segue looks at everybody, and restores everybody.
    *(f"scheduler.RestoreStore.{name}" for name in ("whole", "replace")),
    *(f"scheduler.Standing.{name}" for name in ("broken", "_count")),
    *(f"sender.Standing.{name}" for name in ("counts", "in_doubt", "_held")),
    # How long the oldest has been waiting, of all.
    *(f"scheduler.BacklogStore.{name}" for name in ("_first", "stopping_since")),
    *(f"reply_detector.BacklogStore.{name}" for name in ("received_since", "owing_since")),
    # Time zones are everybody's.
    *(f"scheduler.SchedulerStore.{name}" for name in ("tzdata", "save_tzdata", "workspaces")),
    "scheduler.SlotStore.forget",
    "sender.Store.overdue_transmissions",
    "sender.Store.overdue_tasks",
    *(f"sender.DoubtStore.{name}" for name in ("to_look_up", "waiting")),
    "sender.BodyStore.named",
    "reply_detector.RawStore.named",
    *(f"sender.PromptStore.{name}" for name in ("users_with_digest", "tasks_to_tell", "tasks_to_prompt")),
    *(f"sender.PromptStore.{name}" for name in ("take", "hooks")),
    *(f"sender.MailboxStates.{name}" for name in ("owing", "refused_count")),
    "reply_detector.DetectorStore.waiting",
    "reply_detector.WordStore.late",
    "reply_detector.Rates.charged",
    "reply_detector.CursorStore.watched",
    *(f"api.Commands.{name}" for name in ("lease", "published", "open", "forget_results")),
    "api.Sequences.untold",
    "api.Engagements.untold",
    "api.Comparisons.due",
    "api.Bulks.open",
    "api.Lists.open",
    "api.Webhooks.untold",
    "api.WebhookDeliveries.waiting",
    # A workspace is its own: its id is the key.
    "scheduler.SchedulerStore.workspace",
    "sender.Store.workspaces",
    "api.Members.workspace",
    "api.Members.workspace_named",
    "api.Members.limit_workspace",
    "api.Members.rename_workspace",
    "api.Members.set_footer",
    "api.Members.set_in_doubt_policy",
    "api.Members.set_retention",
    *(f"api.Members.{name}" for name in ("set_prompt_hook", "set_token", "rename_token", "remove_token")),
    # These say themselves which workspace they are of, and prove it by a secret.
    "api.Members.key",
    "api.Mailboxes.for_webhook",
    "api.Sessions.find",
    "api.SmsNumbers.for_webhook",
    # Signing in: which workspace is known by who they are.
    *(f"api.Sessions.{name}" for name in ("known_as", "of_identity", "same_person", "workspaces")),
    # On one machine, whoever signs in chooses who they are.
    "api.Sessions.everybody",
    # A page of what its caller has bound to a workspace: those calls are looked at.
    "api.read_page",
    # What their callers have bound to a workspace too.
    "api._check_size",
    "api._grouped",
}


@dataclass(frozen=True)
class Module:
    """One source file and its functions by name; methods among them."""

    tree: ast.Module

    @property
    def functions(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        return {
            node.name: node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    def unbound(self) -> Iterator[str]:
        """The functions, with their class, that make a query without a workspace."""
        for node in self.tree.body:
            members = node.body if isinstance(node, ast.ClassDef) else [node]
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            for member in members:
                if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                if not all(self._is_bound(query, member) for query in queries(member)):
                    yield prefix + member.name

    def _is_bound(self, query: ast.Call, function: ast.AST) -> bool:
        if called(query) == "aggregate":
            return self._matches_first(query.args[0], function)
        position = FILTER_AT[called(query)]
        named = [keyword.value for keyword in query.keywords if keyword.arg == "filter"]
        given = [*query.args[position : position + 1], *named]
        return bool(given) and self._names_it(given[0], function)

    def _matches_first(self, pipeline: ast.expr, function: ast.AST) -> bool:
        first = pipeline.elts[0] if isinstance(pipeline, ast.List) and pipeline.elts else None
        if not isinstance(first, ast.Dict) or ast.unparse(first.keys[0] or first) != "'$match'":
            return False
        return self._names_it(first.values[0], function)

    def _names_it(self, query: ast.expr, function: ast.AST) -> bool:
        """Whether an expression is a filter on the workspace wherever it may come from."""
        match query:
            case ast.Dict(keys=keys, values=values):
                return any(
                    self._names_it(value, function) if key is None else ast.unparse(key) == f"'{FIELD}'"
                    for key, value in zip(keys, values, strict=True)
                )
            case ast.Name(id=name):
                return all_of(self._names_it(value, function) for value in assigned(name, function))
            case ast.Call() if called(query) in self.functions:
                maker = self.functions[called(query)]
                return all_of(self._names_it(value, maker) for value in returned(maker))
        return False


def queries(function: ast.AST) -> Iterator[ast.Call]:
    """The calls that read, change or delete what matches a filter."""
    for node in ast.walk(function):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        on_collection = isinstance(node.func, ast.Attribute) and is_collection(node.func.value)
        if name in (OPERATIONS | {"read_page"}) or (on_collection and name in QUERIES):
            yield node


def is_collection(receiver: ast.expr) -> bool:
    """`self._something`, or a parameter called `collection`; not a file store."""
    text = ast.unparse(receiver)
    return (text.startswith("self._") or text == "collection") and not text.endswith("files")


def called(call: ast.Call) -> str:
    """The last name of what is called."""
    return ast.unparse(call.func).rpartition(".")[2]


def assigned(name: str, function: ast.AST) -> Iterator[ast.expr]:
    """Everything that a name is assigned in a function; what is merged into it only narrows a filter."""
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=targets, value=value):
                if any(isinstance(each, ast.Name) and each.id == name for each in targets):
                    yield value
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                yield value


def returned(function: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def all_of(found: Iterator[bool]) -> bool:
    """Whether there is at least one, and all are true."""
    listed = list(found)
    return bool(listed) and all(listed)


def users_of_the_store() -> Iterator[tuple[str, Path, str]]:
    """Service, file and source of what could make a query: whatever imports chassis.store."""
    for each in SERVICES:
        folder = HOUSE / "services" / each
        for file in sorted(folder.rglob("*.py")):
            if "chassis.store" in (source := file.read_text()):
                yield folder.name, file, source


def test_every_query_names_its_workspace_but_for_the_listed_ones() -> None:
    found = {
        f"{service}.{name}"
        for service, _, source in users_of_the_store()
        for name in Module(ast.parse(source)).unbound()
    }
    assert found == EVERYBODYS


def test_collections_are_opened_by_stores_alone() -> None:
    opened = {
        f"{service}/{file.name}"
        for service, file, source in users_of_the_store()
        if ".collection(" in source and file.name != "testing.py"
    }
    stores = {f"{service}/store.py" for service in ("scheduler", "sender", "reply_detector", "api")}
    assert opened == stores | {
        *(f"{service}/erasure.py" for service in ("scheduler", "sender", "reply_detector", "api")),
        "api/personal.py",
        "scheduler/backlog.py",
        "scheduler/slot_store.py",
        "scheduler/operations.py",
        "scheduler/restore.py",
        "sender/restore.py",
        "sender/operations.py",
        "reply_detector/backlog.py",
        "sender/prompt_store.py",
        "sender/mailbox_health.py",
        "sender/doubts.py",
        "sender/retention.py",
        "reply_detector/cursors.py",
        "reply_detector/rates.py",
        "reply_detector/retention.py",
        "api/attachment_store.py",
        "api/count_store.py",
        "api/delegations.py",
        "api/comparison_store.py",
        "api/engagement_store.py",
        "api/list_store.py",
        "api/outgoing_store.py",
        "api/reads.py",
        "api/statistics.py",
        "api/sessions.py",
    }


def test_a_query_without_a_workspace_is_found_however_it_is_written() -> None:
    source = """
    class Store:
        async def literal(self):
            await self._things.find_one({"_id": 1})
        async def named(self, workspace):
            found = {"state": "x"}
            await self._things.update_one(found, {"$set": {"workspace_id": workspace}})
        async def sometimes(self, workspace):
            found = {"workspace_id": workspace}
            if not workspace:
                found = {}
            await self._things.find(found)
        async def given(self, found):
            await self._things.delete_many(found)
        async def made(self):
            await self._things.find(_made())
        async def bulk(self):
            await self._things.bulk([UpdateOne({"_id": 1}, {"$set": {}})])
        async def pipeline(self):
            await self._things.aggregate([{"$group": {"_id": "$workspace_id"}}])
        async def keyword(self):
            await self._things.find_one(filter={"_id": 1}, projection={"workspace_id": 1})

    def _made():
        return {"_id": 1}
    """
    found = set(Module(ast.parse(textwrap.dedent(source))).unbound())
    every = ("literal", "named", "sometimes", "given", "made", "bulk", "pipeline", "keyword")
    assert found == {f"Store.{name}" for name in every}


def test_a_query_with_its_workspace_is_recognised_however_it_is_written() -> None:
    source = """
    class Store:
        async def literal(self, workspace):
            await self._things.find_one({"_id": 1, "workspace_id": workspace})
        async def named(self, workspace):
            found: Document = {"workspace_id": workspace}
            found |= {"state": "x"}
            await self._things.find(found)
        async def spread(self, claim):
            await self._things.update_one({**_key(claim), "state": "x"}, {})
        async def bulk(self, claim):
            await self._things.bulk([UpdateOne(_key(claim), {})])
        async def pipeline(self, workspace):
            await self._things.aggregate([{"$match": {"workspace_id": workspace}}, {"$limit": 1}])
        async def insert(self, document):
            await self._things.insert_one(document)

    def _key(claim):
        return {"_id": claim.id, "workspace_id": claim.workspace}
    """
    assert list(Module(ast.parse(textwrap.dedent(source))).unbound()) == []
