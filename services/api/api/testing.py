"""An API for tests: its real parts over a real MongoDB, Kafka as nothing, and DNS that is written down."""

import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from uuid import UUID, uuid4

from aiohttp import ClientResponse, ClientSession, CookieJar
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from api.application import application
from api.bootstrap import Wanted, bootstrap
from api.deliverability import Address
from api.migrations import SCHEMA
from api.resolver import DnsTrouble
from api.routing import Api
from api.settings import ApiSettings
from api.wiring import assemble
from chassis import documents as names
from chassis.kafka import Record
from chassis.migrations import build
from chassis.store import Database
from chassis.testing import FrozenClock, fresh_database, fresh_name

LOCAL = "http://127.0.0.1:8080"
"""A public address of one machine."""


class Zone:
    """Answers from what it was given, counts what it was asked; a name in `silent` gets no answer."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.hosts: dict[str, list[str]] = {}
        self.exchanges: dict[str, list[str]] = {}
        self.silent: set[str] = set()
        self.asked: list[str] = []

    def text(self, name: str, *texts: str) -> None:
        """Publish TXT records at a name, instead of those before."""
        self.texts[name] = list(texts)

    async def txt(self, name: str) -> tuple[str, ...]:
        return tuple(self._answer(name, self.texts))

    async def mx(self, name: str) -> tuple[str, ...]:
        return tuple(self._answer(name, self.exchanges))

    async def addresses(self, name: str) -> tuple[Address, ...]:
        return tuple(ip_address(each) for each in self._answer(name, self.hosts))

    def _answer(self, name: str, records: dict[str, list[str]]) -> Iterable[str]:
        self.asked.append(name)
        if name in self.silent:
            raise DnsTrouble(name)
        return records.get(name, ())


class _Nowhere:
    async def publish(self, records: Sequence[Record]) -> None:
        return


@dataclass
class Browser:
    """What a person without JavaScript does: loads pages, sends forms, follows where they lead."""

    session: ClientSession
    url: str = ""

    async def get(self, path: str, *, status: int = 200) -> str:
        """The page's HTML; it must have that status."""
        async with self.session.get(path, headers={"Accept": "text/html"}) as response:
            return await self._shown(response, status)

    async def post(
        self, path: str, fields: dict[str, Any] | None = None, *, status: int = 200, signed: bool = True
    ) -> str:
        """Send a form with the session's token (unless not `signed`), and the page where it leads."""
        form = dict(fields or {})
        if signed:
            form["csrf"] = csrf_of(await self.get("/"))
        async with self.session.post(path, data=form) as response:
            return await self._shown(response, status)

    async def _shown(self, response: ClientResponse, status: int) -> str:
        self.url, text = response.url.path_qs, await response.text()
        assert response.status == status, text
        return text


def csrf_of(html: str) -> str:
    """The token in a page's forms."""
    return html.partition('name="csrf" value="')[2].partition('"')[0]


@dataclass
class Served:
    """A running API with a workspace and a key of every scope."""

    api: Api
    database: Database
    clock: FrozenClock
    zone: Zone
    client: TestClient[Any, Any]
    made: dict[str, str]
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def workspace(self) -> UUID:
        return UUID(self.made["workspace_id"])

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        key: str | None = None,
        **more: Any,
    ) -> Any:
        """The answer as data, or as text where it is no JSON; it must have that status."""
        headers = {"Authorization": f"Bearer {key or self.made['api_key']}"} | more.pop("headers", {})
        response = await self.client.request(method, path, json=body, headers=headers, **more)
        text = await response.text()
        assert response.status == status, text
        return await response.json(content_type=None) if "json" in response.content_type else text

    @contextlib.asynccontextmanager
    async def browser(self, user_id: UUID | None = None) -> AsyncIterator["Browser"]:
        """A browser in which a user (else the first one) is signed in."""
        jar = CookieJar(unsafe=True, treat_as_secure_origin=URL(str(self.client.make_url("/"))).origin())
        async with ClientSession(self.client.make_url("/"), cookie_jar=jar) as session:
            browser = Browser(session)
            await browser.post("/sign-in", {"user": str(user_id or self.made["user_id"])}, signed=False)
            yield browser

    async def csv(self, path: str, text: str, *, status: int = 200) -> Any:
        """POST a CSV file."""
        headers = {"Content-Type": "text/csv"}
        return await self.call("POST", path, data=text.encode(), headers=headers, status=status)

    async def key(self, *scopes: str) -> str:
        """Another key."""
        made = await self.call("POST", "/v1/api-keys", {"name": "k", "scopes": list(scopes)}, status=201)
        return str(made["key"])

    async def teammate(self, name: str, *scopes: str) -> tuple[str, str]:
        """Another user of the workspace: their id and a key of theirs."""
        new = {"email": f"{name.lower()}@ourco.example", "name": name}
        user = (await self.call("POST", "/v1/users", new, status=201))["id"]
        wanted = {"name": name, "user_id": user, "scopes": list(scopes) or ["write"]}
        made = await self.call("POST", "/v1/api-keys", wanted, status=201)
        return str(user), str(made["key"])

    async def mailbox(self, address: str, key: str | None = None) -> str:
        """Connect a mailbox of whose key it is; its id."""
        new = {"address": address, "smtp": {"host": "mx.ourco.example", "port": 587}}
        made = await self.call("POST", "/v1/mailboxes", new, status=201, key=key)
        return str(made["id"])

    async def commanded(self, *types: str) -> list[tuple[str, str, str]]:
        """The commands of these types that were stored: type, scope and target, in their order."""
        found = await self.database.collection(names.COMMANDS).find(
            {"workspace_id": self.workspace, "type": {"$in": list(types)}}, sort=[("next_at", 1)]
        )
        said = [(each["type"], json.loads(each["message"]), each["target"]) for each in found]
        return [(kind, str(message.get("scope", "")), target) for kind, message, target in said]

    async def other_workspace(self) -> str:
        """A key of every scope of another workspace."""
        wanted = Wanted(f"Other {uuid4()}", "eve@other.example", "Eve", False)
        return (await bootstrap(wanted, self.api.store.people, self.clock))["api_key"]

    async def audited(self) -> list[tuple[str, str]]:
        """What the audit log says was done, and to what, in that order."""
        found = await self.call("GET", "/v1/audit-log")
        return [(each["action"], each["target"]) for each in reversed(found["items"])]


@contextlib.asynccontextmanager
async def serving(
    mongodb_uri: str,
    public_url: str = "https://segue.example",
    clock: FrozenClock | None = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """An API over a database of its own, which is deleted at the end; `more` are settings.

    Give a clock of today where documents expire: MongoDB deletes them by its own.
    """
    settings = ApiSettings(
        kafka_bootstrap_servers="unused:9092",
        mongodb_uri=mongodb_uri,
        mongodb_database=fresh_name(),
        secret_keys="a key for tests of sixteen or more",  # noqa: S106 - it guards nothing
        public_url=public_url,
        **more,
    )
    clock, zone = clock or FrozenClock(), Zone()
    async with fresh_database(settings) as database:
        await build(database, SCHEMA)
        api = assemble(settings, clock, database, _Nowhere(), zone)
        made = await bootstrap(Wanted("Our Co", "ana@ourco.example", "Ana", False), api.store.people, clock)
        async with TestClient(TestServer(application(api))) as client:
            yield Served(api, database, clock, zone, client, made)
        await api.scheduler.close()


@contextlib.asynccontextmanager
async def serving_pages(mongodb_uri: str, **more: Any) -> AsyncIterator[Served]:
    """The API of today on this machine, where anybody signs in as whom they choose; live pages look often."""
    clock = FrozenClock(datetime.now(UTC).replace(microsecond=0))
    settings = {"sign_in": "dev", "live_page_seconds": 0.1, **more}
    async with serving(mongodb_uri, LOCAL, clock, **settings) as served:
        yield served
