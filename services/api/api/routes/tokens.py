"""Custom tokens: what a workspace's templates may name beside the fields that everybody has."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.auditing import audit
from api.keys import KeyScope
from api.problems import FieldError, conflict, invalid, invalid_at, not_found
from api.prospects_csv import plain
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.store import Document
from chassis.templates import compile_template
from chassis.tokens import BUILT_IN, OWN_TOKENS, wrong_values
from chassis.wording import KINDS
from segue_contracts.problems import did_you_mean
from segue_contracts.sequence import SequenceDocument, parse_sequence
from segue_contracts.text import Line, TokenName, Tokens, TokenValue
from segue_contracts.tokens import TokenScope, TokenType, check_token

MAX_TOKENS = 200
USERS_NAMED = 10


class TokenDefinition(Closed):
    """A token: whose it is, of what type, and what stands for it where nobody has a value.

    `columns`: headers of CSV files that mean it, beside its name.
    """

    type: TokenType = TokenType.TEXT
    scope: TokenScope = TokenScope.PERSON
    default: TokenValue | None = None
    description: Annotated[str, Field(max_length=200)] = ""
    columns: Annotated[list[Line], Field(max_length=20)] = Field(default=[])


class TokenShown(TokenDefinition):
    """A token with its name."""

    name: str


class TokensShown(Shown):
    """All custom tokens by name, and the names that everybody has."""

    tokens: list[TokenShown]
    built_in: list[str]


class RenameRequest(Closed):
    """What it is to be called."""

    name: TokenName


class OwnTokens(Closed):
    """Your own values: `my_title`, `my_phone`, and tokens of scope `sender`."""

    values: Tokens = Field(default={})


# ---- what a sequence may name -------------------------------------------------------------------------


async def definitions(call: Call) -> dict[str, Document]:
    """The custom tokens of the workspace by name."""
    workspace = await call.api.store.people.workspace(call.caller.workspace) or {}
    return dict(workspace.get("token_definitions") or {})


def types_of(defined: Mapping[str, Document]) -> dict[str, str]:
    """Their types by name."""
    return {name: each["type"] for name, each in defined.items()}


async def columns_of(call: Call) -> dict[str, str]:
    """Which token a CSV column means, by its header in plain spelling (`prospects_csv.plain`)."""
    defined = await definitions(call)
    columns = {plain(each): name for name, token in defined.items() for each in token["columns"]}
    return {**columns, **{plain(name): name for name in defined}}


async def check_tokens(call: Call, document: SequenceDocument) -> None:
    """Problem 422 for a token that nobody has, with the nearest name, and for values of another type."""
    defined = await definitions(call)
    known = {*BUILT_IN, *defined, *document.tokens}
    errors = [
        FieldError(pointer=pointer, detail=f"{name} is no token: {did_you_mean(name, known)}")
        for pointer, names in named(document)
        for name in sorted(names)
        if name not in known
    ]
    wrong = wrong_values(document.tokens, types_of(defined))
    errors += [FieldError(pointer=f"/tokens/{name}", detail=detail) for name, detail in wrong]
    if errors:
        raise invalid(errors)


def named(document: SequenceDocument) -> Iterator[tuple[str, Iterable[str]]]:
    """Where a sequence's templates name tokens, and which."""
    for index, stage in enumerate(document.stages):
        for path, source in stage.templates():
            pointer = "/".join(map(str, path))
            yield f"/stages/{index}/{pointer}", compile_template(source, kind=KINDS[str(path[-1])]).tokens


async def users_of(call: Call, name: str) -> list[str]:
    """The sequences that name a token and still write to somebody, in words; at most some of them."""
    found: list[str] = []
    async for version in in_use(call):
        document = parse_sequence(version["document"])
        if any(name in names for _, names in named(document)):
            found.append(f"{document.name} (version {version['version']})")
    return found[:USERS_NAMED]


async def in_use(call: Call) -> AsyncIterator[Document]:
    """The versions that take people or have somebody in them."""
    workspace = call.caller.workspace
    wanted = await call.api.reads.versions_with_people(workspace)
    wanted |= await call.api.store.sequences.open_versions(workspace)
    for sequence_id, number in sorted(wanted):
        version = await call.api.store.sequences.version(workspace, sequence_id, number)
        if version is not None:
            yield version


# ---- the workspace's tokens ---------------------------------------------------------------------------


async def list_tokens(call: Call) -> Answer:
    """All of them, by name."""
    defined = await definitions(call)
    shown = [TokenShown(name=name, **each) for name, each in sorted(defined.items())]
    return Answer(TokensShown(tokens=shown, built_in=sorted(BUILT_IN)))


async def put_token(call: Call) -> Answer:
    """Define a token, or change it. A default that templates stand on stays."""
    name, wanted = call.path["name"], _checked(call)
    defined = await definitions(call)
    if name not in defined and len(defined) >= MAX_TOKENS:
        raise conflict("too-many", f"There are {MAX_TOKENS} tokens: remove one that nothing names.")
    before = defined.get(name)
    if before is not None and before["default"] is not None and wanted.default is None:
        await _check_unused(call, name, "lose its default")
    await audit(call, "token.defined", name)
    data = wanted.model_dump(mode="json")
    await call.api.store.people.set_token(call.caller.workspace, name, data)
    status = HTTPStatus.OK if before is not None else HTTPStatus.CREATED
    return Answer(TokenShown(name=name, **data), status)


def _checked(call: Call) -> TokenDefinition:
    wanted: TokenDefinition = call.body.data
    _check_name(call.path["name"], "")
    if wanted.default is not None:
        try:
            check_token(wanted.type, wanted.default)
        except ValueError as error:
            raise invalid_at("/default", str(error)) from None
    return wanted


def _check_name(name: str, pointer: str) -> None:
    try:
        RenameRequest(name=name)
    except ValueError:
        raise invalid_at(pointer, "is no name: letters, digits and _, and no word of the language") from None
    if name in BUILT_IN:
        raise invalid_at(pointer, f"{name} is there for everybody: choose another name")


async def rename(call: Call) -> Answer:
    """Call a token something else, as long as nothing names it."""
    name, to = call.path["name"], str(call.body.data.name)
    _check_name(to, "/name")
    defined = await definitions(call)
    if name not in defined:
        raise not_found("token")
    if to in defined:
        raise conflict("exists", f"There is a token {to} already.")
    await _check_unused(call, name, "be renamed")
    await audit(call, "token.renamed", name, to=to)
    if not await call.api.store.people.rename_token(call.caller.workspace, name, to):
        raise conflict("changed-meanwhile", "Somebody else changed the tokens at this moment: try again.")
    return Answer(TokenShown(name=to, **defined[name]))


async def remove(call: Call) -> Answer:
    """Remove a token that nothing names."""
    name = call.path["name"]
    if name not in await definitions(call):
        raise not_found("token")
    await _check_unused(call, name, "be removed")
    await audit(call, "token.removed", name)
    await call.api.store.people.remove_token(call.caller.workspace, name)
    return Answer(status=HTTPStatus.NO_CONTENT)


async def _check_unused(call: Call, name: str, what: str) -> None:
    if users := await users_of(call, name):
        raise conflict("in-use", f"{name} can't {what}: it is named in {', '.join(users)}.")


# ---- a user's own values ------------------------------------------------------------------------------


async def own_tokens(call: Call) -> Answer:
    """Your own values."""
    return Answer(OwnTokens(values=await tokens_of(call, call.caller.user_id)))


async def set_own_tokens(call: Call) -> Answer:
    """Replace your own values; what your mailboxes send from now on has them."""
    values: dict[str, str] = dict(call.body.data.values)
    defined = await definitions(call)
    own = {name for name, each in defined.items() if each["scope"] == TokenScope.SENDER} | set(OWN_TOKENS)
    errors = [
        FieldError(pointer=f"/values/{name}", detail=f"is no token of yours: {did_you_mean(name, own)}")
        for name in values
        if name not in own
    ]
    wrong = wrong_values(values, types_of(defined))
    errors += [FieldError(pointer=f"/values/{name}", detail=detail) for name, detail in wrong]
    if errors:
        raise invalid(errors)
    workspace, user_id = call.caller.workspace, call.caller.user_id
    await call.api.store.people.set_own_tokens(workspace, user_id, values)
    await call.api.store.mailboxes.owner_has(workspace, user_id, values)
    return Answer(OwnTokens(values=values))


async def tokens_of(call: Call, user_id: UUID) -> dict[str, Any]:
    """A user's own values, as a mailbox of theirs keeps them in `owner_tokens`."""
    user = await call.api.store.people.user(call.caller.workspace, user_id)
    return dict((user or {}).get("tokens") or {})


_TOKEN = "/v1/tokens/{name}"  # noqa: S105 - a path

ROUTES = (
    Route(
        "GET", "/v1/tokens", list_tokens, "List tokens", KeyScope.READ, answer=TokensShown, tag="Workspace"
    ),
    Route(
        "PUT",
        _TOKEN,
        put_token,
        "Define a token",
        KeyScope.WRITE,
        answer=TokenShown,
        takes=Takes(TokenDefinition, optional=True),
        tag="Workspace",
        also=(HTTPStatus.CREATED,),
    ),
    Route(
        "POST",
        _TOKEN + "/rename",
        rename,
        "Rename a token",
        KeyScope.WRITE,
        answer=TokenShown,
        takes=Takes(RenameRequest),
        tag="Workspace",
    ),
    Route(
        "DELETE",
        _TOKEN,
        remove,
        "Remove a token",
        KeyScope.WRITE,
        status=HTTPStatus.NO_CONTENT,
        tag="Workspace",
    ),
    Route(
        "GET",
        "/v1/me/tokens",
        own_tokens,
        "Read your own values of tokens",
        KeyScope.READ,
        answer=OwnTokens,
        tag="Workspace",
    ),
    Route(
        "PUT",
        "/v1/me/tokens",
        set_own_tokens,
        "Say your own values of tokens",
        KeyScope.WRITE,
        answer=OwnTokens,
        takes=Takes(OwnTokens),
        tag="Workspace",
    ),
)
