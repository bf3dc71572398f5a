"""Commands are documents first: stored, then answered with 202, then published, by whoever is alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from api import telemetry
from api.access import Right
from api.courier import Letter
from api.keys import KeyScope
from api.model import command_document
from api.problems import FieldError, field_errors, invalid
from api.routing import Answer, Call, Route, Shown, Takes
from chassis import faults
from segue_contracts.codec import MAX_VALUE_BYTES
from segue_contracts.message import Message
from segue_contracts.problems import problems_of

M = TypeVar("M", bound=Message)


class Accepted(Shown):
    """The 202: the wish is stored and will be carried out, or refused, as `status_url` tells."""

    command_id: UUID
    status_url: str


def command_route(
    method: str,
    path: str,
    handler: Any,
    summary: str,
    takes: Takes,
    tag: str,
    *,
    scope: KeyScope = KeyScope.WRITE,
    right: Right | None = None,
) -> Route:
    """The route of one command: whoever may write gives it, and a 202 answers."""
    return Route(
        method,
        path,
        handler,
        summary,
        scope,
        answer=Accepted,
        status=HTTPStatus.ACCEPTED,
        takes=takes,
        tag=tag,
        right=right,
    )


@dataclass(frozen=True, slots=True)
class Wish:
    """A command and the id of what it is about."""

    message: Message
    target: str


def wish_of(call: Call, kind: type[M], target: str, /, **fields: Any) -> Wish:
    """A command of the caller's; Problem 422 if the contract refuses it."""
    common = {
        "event_id": call.ids.next(),
        "occurred_at": call.api.clock.now(),
        "recorded_at": call.api.clock.real_now(),
        "workspace_id": call.caller.workspace,
        "issued_by": str(call.caller.user_id),
    }
    try:
        message = kind(**common, **fields)
    except ValidationError as error:
        raise invalid(field_errors(problems_of(error, kind))) from None
    if wrong := too_large(message):
        raise invalid([FieldError(pointer="", detail=wrong)])
    return Wish(message, target)


def too_large(message: Message) -> str | None:
    """Why no consumer would read the message, or None."""
    size = len(message.model_dump_json().encode())
    return (
        None
        if size <= MAX_VALUE_BYTES
        else f"is {size} bytes as a message; at most {MAX_VALUE_BYTES} are read"
    )


async def submit(call: Call, wishes: Sequence[Wish]) -> list[Accepted]:
    """Store the commands, durably, and hand them to the courier."""
    now, real_now = call.api.clock.now(), call.api.clock.real_now()
    await call.api.store.commands.add(
        [command_document(wish.message, wish.target, now, real_now) for wish in wishes]
    )
    await faults.point("api.command_stored")
    call.api.courier.take([Letter(wish.message, wish.message.event_id) for wish in wishes])
    for wish in wishes:
        telemetry.ACCEPTED.labels(wish.message.event_type).inc()
    return [accepted(call, wish.message.event_id) for wish in wishes]


async def submit_one(call: Call, kind: type[M], target: str, /, **fields: Any) -> Answer:
    """One command, answered with 202 and its status page."""
    [answer] = await submit(call, [wish_of(call, kind, target, **fields)])
    return Answer(answer, HTTPStatus.ACCEPTED, {"Location": answer.status_url})


def accepted(call: Call, command_id: UUID) -> Accepted:
    """The 202 of a stored command."""
    return Accepted(command_id=command_id, status_url=call.api.url(f"/v1/commands/{command_id}"))
