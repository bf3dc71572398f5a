"""Addresses, domains and phones that must not be written to; only keyed hashes of them are kept."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self
from uuid import UUID

from pydantic import AfterValidator, Field, model_validator

from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import not_found
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.store import Document
from segue_contracts.message import ShortText
from segue_contracts.problems import found
from segue_contracts.prospect import check_phone
from segue_contracts.text import Email, Line


class NewSuppression(Closed):
    """Exactly one of address, domain and phone."""

    address: Email | None = None
    domain: Line | None = Field(default=None, pattern=r"^[^@\s]+\.[^@\s]+$", examples=["ourco.example"])
    phone: Annotated[Line, AfterValidator(check_phone)] | None = None
    reason: ShortText = "requested"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.address, self.domain, self.phone)) != 1:
            raise found(("", "has exactly one of address, domain and phone"))
        return self

    def what(self) -> tuple[str, str]:
        """The kind and the value."""
        if self.address is not None:
            return "address", self.address
        if self.domain is not None:
            return "domain", self.domain
        assert self.phone is not None
        return "phone", self.phone


class SuppressionShown(Shown):
    """A suppression; what it is about can't be read back, only asked for with the same value again."""

    id: str = Field(validation_alias="_id")
    kind: str
    reason: str
    by: str
    at: datetime


async def add(call: Call) -> Answer:
    """Suppress; the same value again finds the suppression that is there."""
    new: NewSuppression = call.body.data
    kind, value = new.what()
    suppression: Document = {
        "_id": call.api.secrets.suppression_id(call.caller.workspace, kind, value),
        "workspace_id": call.caller.workspace,
        "kind": kind,
        "reason": new.reason,
        "by": str(call.caller.user_id),
        "at": call.api.clock.now(),
    }
    is_new = await call.api.store.suppressions.add(suppression)
    stored = await call.api.store.suppressions.one(call.caller.workspace, suppression["_id"]) or suppression
    return Answer(SuppressionShown.model_validate(stored), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def list_them(call: Call) -> Answer:
    """Suppressions, the newest first."""
    rows, cursor = await call.api.store.suppressions.page(call.caller.workspace, call.query)
    shown = [SuppressionShown.model_validate({**each, "by": _text(each.get("by"))}) for each in rows]
    return Answer(Page[SuppressionShown](items=shown, next_cursor=cursor))


async def remove(call: Call) -> Answer:
    """Allow writing again."""
    if not await call.api.store.suppressions.remove(call.caller.workspace, call.path["suppression_id"]):
        raise not_found("suppression")
    return Answer(status=HTTPStatus.NO_CONTENT)


def _text(value: str | UUID | None) -> str:
    return "" if value is None else str(value)


ROUTES = (
    Route(
        "GET",
        "/v1/suppressions",
        list_them,
        "List suppressions",
        KeyScope.READ,
        answer=Page[SuppressionShown],
        query=PageQuery,
        tag="Suppressions",
    ),
    Route(
        "POST",
        "/v1/suppressions",
        add,
        "Suppress an address, a domain or a phone",
        KeyScope.WRITE,
        answer=SuppressionShown,
        status=HTTPStatus.CREATED,
        takes=Takes(NewSuppression),
        also=(HTTPStatus.OK,),
        tag="Suppressions",
    ),
    Route(
        "DELETE",
        "/v1/suppressions/{suppression_id}",
        remove,
        "Remove a suppression",
        KeyScope.ADMIN,
        status=HTTPStatus.NO_CONTENT,
        tag="Suppressions",
    ),
)
