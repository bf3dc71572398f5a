"""Who may do what: every route about a sequence or what belongs to it, for every role, right and access."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.access import Right
from api.keys import KeyScope, Role
from api.routes import ROUTES
from api.routing import Route
from api.testing import Served, serving_pages
from chassis import documents as names
from chassis.store import Document
from segue_contracts import ids
from segue_contracts.sequence import Access

pytestmark = pytest.mark.stack

MAILBOX = {"address": "ana@ourco.example", "smtp": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
DOCUMENT = {
    "name": "Berlin",
    "mailbox": "ana@ourco.example",
    "stages": [
        {
            "id": "hello",
            "channel": "email",
            "subject": "Hi",
            "text": "Hello",
            "variants": [{"id": "a"}, {"id": "b", "text": "Hi there"}],
        }
    ],
}
BELONGS = re.compile(r"\{(sequence_id|enrollment_id|dispatch_id|inbound_id)\}")
ABOUT = [route for route in ROUTES if BELONGS.search(route.path)]
BODIES: dict[str, Any] = {
    "PUT /v1/sequences/{sequence_id}": {**DOCUMENT, "access": "kept"},
    "PUT /v1/sequences/{sequence_id}/grants/{user_id}": {"right": "read"},
    "PUT /v1/sequences/{sequence_id}/stages/{stage_id}/winner": {"variant": "a"},
    "POST /v1/sequences/{sequence_id}/transfer": {"to": str(uuid4())},
    "POST /v1/sequences/{sequence_id}/migrate": {"to_version": 1},
    "POST /v1/sequences/{sequence_id}/people": {"do": "pause", "state": "live"},
    "POST /v1/sequences/{sequence_id}/dry-run": {"prospect": {"external_id": "p2"}},
    "POST /v1/sequences/{sequence_id}/enrollments": {"prospect": {"external_id": "p2"}},
    "POST /v1/sequences/{sequence_id}/lists": {"prospect": {"external_id": "p2"}},
    "POST /v1/enrollments/{enrollment_id}/reschedule": {"at": "2030-01-01T00:00:00Z"},
    "POST /v1/enrollments/{enrollment_id}/migrate": {"to_version": 1},
    "POST /v1/enrollments/{enrollment_id}/edit": {"stages": {"hello": {"text": "Hello you"}}},
    "POST /v1/tasks/{dispatch_id}/snooze": {"until": "2030-01-01T00:00:00Z"},
    "POST /v1/tasks/{dispatch_id}/reassign": {"assignee_id": str(uuid4())},
    "POST /v1/deliveries/{dispatch_id}/decide": {"decision": "mark_sent"},
    "POST /v1/answers/{inbound_id}/correction": {"kind": "other"},
}
"""What a route takes that takes anything; a new one needs a line here."""
HARMFUL = ("/archive", "/transfer")
"""Not done by those who may, so that the sequence stays as it is for the next caller."""

CAST: dict[str, tuple[Role, Right | None]] = {
    "owner": (Role.MEMBER, Right.EDIT),
    "reader": (Role.MEMBER, Right.READ),
    "user": (Role.MEMBER, Right.USE),
    "editor": (Role.MEMBER, Right.EDIT),
    "stranger": (Role.MEMBER, None),
    "limited": (Role.LIMITED, None),
    "limited editor": (Role.LIMITED, Right.EDIT),
    "admin": (Role.ADMIN, None),
}


class Office:
    """A workspace with one of each, and one sequence with a person, a task, a doubt and an answer."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.users: dict[str, UUID] = {}
        self.keys: dict[str, str] = {}
        self.paths: dict[str, str] = {}

    async def open(self) -> None:
        for who, (role, _) in CAST.items():
            new = {"email": f"{who.replace(' ', '.')}@ourco.example", "name": who, "role": role.value}
            user = await self.served.call("POST", "/v1/users", new, status=201)
            self.users[who] = UUID(user["id"])
            key = {"name": who, "scopes": ["admin"], "user_id": user["id"]}
            self.keys[who] = (await self.served.call("POST", "/v1/api-keys", key, status=201))["key"]
        await self.served.call("POST", "/v1/mailboxes", MAILBOX, status=201, key=self.keys["owner"])
        self.keys["outside"] = await self.served.other_workspace()

    async def sequence(self, access: Access) -> None:
        """A new sequence of the owner's, with grants as the cast has them."""
        made = await self.served.call(
            "POST", "/v1/sequences", {**DOCUMENT, "access": access.value}, status=201, key=self.keys["owner"]
        )
        sequence_id = UUID(made["id"])
        for who, (_, right) in CAST.items():
            if right is not None and who != "owner":
                path = f"/v1/sequences/{sequence_id}/grants/{self.users[who]}"
                await self.served.call("PUT", path, {"right": right.name.lower()}, key=self.keys["owner"])
        self.paths = {
            "sequence_id": str(sequence_id),
            "version": "1",
            "user_id": str(uuid4()),
            "stage_id": "hello",
        }
        await self._people(sequence_id)

    async def _people(self, sequence_id: UUID) -> None:
        at, workspace = datetime(2026, 11, 23, 9, tzinfo=UTC), self.served.workspace
        external_id = f"p-{sequence_id}"
        enrollment_id = ids.enrollment_id(workspace, sequence_id, external_id)
        common: Document = {
            "workspace_id": workspace,
            "sequence_id": sequence_id,
            "person_id": ids.person_id(workspace, external_id),
            "stage_id": "hello",
            "stage_index": 0,
            "attempt": 1,
            "owner_id": self.users["owner"],
            "mailbox_id": uuid4(),
        }
        enrollment = {
            **common,
            "_id": enrollment_id,
            "state": "scheduled",
            "ended": False,
            "channel": "email",
            "planned_at": at,
            "due_at": at,
            "zone": "UTC",
            "reasons": [],
            "sequence_version": 1,
            "external_id": external_id,
            "generation": 1,
            "is_test": False,
            "history": [],
            "created_at": at,
        }
        task = {"assignee_id": self.users["owner"], "text": "Ring", "due_at": at}
        deliveries = [
            {**common, "_id": ids.dispatch_id(enrollment_id, "ring"), "state": "task_open", "task": task},
            {**common, "_id": ids.dispatch_id(enrollment_id, "hello"), "state": "in_doubt"},
        ]
        for each in deliveries:
            each |= {"enrollment_id": enrollment_id, "channel": "call" if "task" in each else "email"}
            await self.served.database.collection(names.DELIVERIES).insert_one(each)
        await self.served.database.collection(names.ENROLLMENTS).insert_one(enrollment)
        inbound_id = uuid4()
        await self.served.database.collection(names.INBOUND).insert_one(
            an_answer(inbound_id, workspace, sequence_id, enrollment_id, common["person_id"], at)
        )
        self.paths |= {
            "enrollment_id": str(enrollment_id),
            "task": deliveries[0]["_id"],
            "doubt": deliveries[1]["_id"],
            "inbound_id": str(inbound_id),
        }

    async def status(self, who: str, route: Route, access: Access) -> int:
        """What this caller is answered."""
        paths = {**self.paths, "dispatch_id": self.paths["task" if "/tasks/" in route.path else "doubt"]}
        body = BODIES.get(f"{route.method} {route.path}")
        if body and body.get("access") == "kept":
            body = {**body, "access": access.value}
        headers = {"Authorization": f"Bearer {self.keys[who]}"}
        path = route.path.format_map(paths)
        async with self.served.client.request(route.method, path, json=body, headers=headers) as response:
            return response.status


def an_answer(
    inbound_id: UUID, workspace: UUID, sequence_id: UUID, enrollment_id: UUID, person_id: UUID, at: datetime
) -> Document:
    """A settled answer about one sequence."""
    return {
        "_id": inbound_id,
        "workspace_id": workspace,
        "mailbox_id": uuid4(),
        "source": "webhook",
        "received_at": at,
        "state": "settled",
        "verdict": {"kind": "reply", "intent": None},
        "match": {"by": "thread"},
        "effect": {"review": False, "causes": [], "waits": [], "suppress": [], "suppress_phones": []},
        "corrections": [],
        "answer": {
            "open": True,
            "kind": "reply",
            "intent": None,
            "people": [person_id],
            "enrollments": [enrollment_id],
            "sequences": [sequence_id],
            "owners": [],
            "from_address": "pat@x.example",
            "subject": "Re: Hi",
            "text": "Yes",
        },
    }


@pytest.fixture
async def office(mongodb_uri: str) -> AsyncIterator[Office]:
    async with serving_pages(mongodb_uri) as served:
        office = Office(served)
        await office.open()
        yield office


def right_of(who: str, access: Access) -> Right | None:
    """What the rules give, said apart from the code that applies them."""
    role, granted = CAST.get(who, (None, None))
    if role is None:
        return None
    if role is Role.ADMIN:
        return Right.EDIT
    shared = Right.USE if access is Access.SHARED else None
    best = max((each for each in (granted, shared) if each), default=None)
    return Right.READ if best and role is Role.LIMITED else best


def expected(who: str, route: Route, access: Access) -> int | None:
    """403 or 404, or None for an answer that is neither."""
    role, _ = CAST.get(who, (Role.ADMIN, None))
    reach = {Role.LIMITED: (KeyScope.READ, KeyScope.TASKS)}.get(role)
    if reach and route.scope not in reach:
        return 403
    if role is Role.MEMBER and route.scope is KeyScope.ADMIN:
        return 403
    right = right_of(who, access)
    if right is None:
        return 404
    return 403 if right < route.need else None


@pytest.mark.parametrize("access", Access)
async def test_every_route_about_a_sequence_asks_for_the_right_to_it(office: Office, access: Access) -> None:
    await office.sequence(access)
    wrong: list[tuple[object, ...]] = []
    for route in ABOUT:
        for who in (*CAST, "outside"):
            want = expected(who, route, access)
            if want is None and (route.method == "DELETE" or route.path.endswith(HARMFUL)):
                continue
            got = await office.status(who, route, access)
            # A route may answer 404 of its own to those who may: about the user it was not given, for one.
            if got in (401, 500, 503) and "schedule" not in route.path and "dry-run" not in route.path:
                wrong.append((who, route.method, route.path, got))
            elif want is not None and got != want:
                wrong.append((who, route.method, route.path, got, want))
            elif want is None and got == 403:
                wrong.append((who, route.method, route.path, got, "allowed"))
    assert wrong == []


LISTS = ("/v1/sequences", "/v1/tasks", "/v1/deliveries", "/v1/answers")


@pytest.mark.parametrize("access", Access)
async def test_lists_have_what_one_may_see_and_no_more(office: Office, access: Access) -> None:
    await office.sequence(access)
    for path in LISTS:
        for who in (*CAST, "outside"):
            shown = await office.served.call("GET", path, key=office.keys[who])
            assert len(shown["items"]) == (right_of(who, access) is not None), (who, path)


@pytest.mark.parametrize("access", Access)
async def test_pages_and_their_streams_hide_what_routes_hide(office: Office, access: Access) -> None:
    await office.sequence(access)
    path = f"/sequences/{office.paths['sequence_id']}"
    for who in CAST:
        seen = right_of(who, access) is not None
        async with office.served.browser(office.users[who]) as browser:
            await browser.get(path, status=200 if seen else 404)
            async with browser.session.get(f"{path}/live") as stream:
                assert stream.status == (200 if seen else 404)
            tabs = [await browser.get(f"/sequences?of={of}") for of in ("me", "others", "all")]
            assert any("Berlin" in each for each in tabs) == seen


async def test_a_live_page_ends_when_its_right_is_taken_back(office: Office) -> None:
    await office.sequence(Access.PERSONAL)
    path = f"/sequences/{office.paths['sequence_id']}"
    async with office.served.browser(office.users["reader"]) as browser:
        async with browser.session.get(f"{path}/live") as stream:
            await stream.content.readuntil(b"\n\n")
            grant = f"/v1{path}/grants/{office.users['reader']}"
            await office.served.call("DELETE", grant, key=office.keys["owner"], status=204)
            async for _ in stream.content:
                pass  # the server ends it
        await browser.get(path, status=404)


async def test_whoever_has_a_task_may_do_it_and_only_that(office: Office) -> None:
    await office.sequence(Access.PERSONAL)
    task = office.paths["task"]
    await office.served.database.collection(names.DELIVERIES).update_one(
        {"_id": task}, {"$set": {"task.assignee_id": office.users["limited"]}}
    )
    [own] = (await office.served.call("GET", "/v1/tasks", key=office.keys["limited"]))["items"]
    assert own["dispatch_id"] == task
    await office.served.call("POST", f"/v1/tasks/{task}/done", {}, key=office.keys["limited"], status=202)
    gone = f"/v1/sequences/{office.paths['sequence_id']}"
    await office.served.call("GET", gone, key=office.keys["limited"], status=404)


async def test_a_command_is_shown_to_whoever_gave_it_and_to_admins(office: Office) -> None:
    await office.sequence(Access.PERSONAL)
    pause = f"/v1/enrollments/{office.paths['enrollment_id']}/pause"
    given = await office.served.call("POST", pause, {}, key=office.keys["user"], status=202)
    path = f"/v1/commands/{given['command_id']}"
    for who in (*CAST, "outside"):
        status = 200 if who in ("user", "admin") else 404
        await office.served.call("GET", path, key=office.keys[who], status=status)


async def test_the_last_admin_stays_one_and_a_role_holds_at_once(office: Office) -> None:
    admin, first = office.users["admin"], office.served.made["user_id"]
    await office.served.call("PUT", f"/v1/users/{admin}/role", {"role": "limited"})
    await office.served.call("POST", "/v1/workspace/pause", {}, key=office.keys["admin"], status=403)
    await office.served.call("PUT", f"/v1/users/{first}/role", {"role": "member"}, status=409)
    assert ("user.role_set", str(admin)) in await office.served.audited()


async def test_a_key_reaches_no_further_than_its_user(office: Office) -> None:
    for who, status in (("limited", 403), ("stranger", 403), ("admin", 200)):
        await office.served.call("GET", "/v1/api-keys", key=office.keys[who], status=status)
