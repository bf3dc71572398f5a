"""Attachments: uploaded once, named by stages, deleted only while no published version names them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.attachments import (
    MAX_FILE_BYTES,
    TYPES,
    attachment_document,
    check_filename,
    file_problem,
    ids_in,
    naming_errors,
)
from api.auditing import audit
from api.keys import KeyScope
from api.paging import Page, PageQuery
from api.problems import conflict, invalid, invalid_at, not_found
from api.routing import Answer, Call, Route, Shown, Takes
from chassis.store import Document
from segue_contracts.sequence import SequenceDocument


class UploadQuery(BaseModel):
    """What the file is called."""

    model_config = ConfigDict(extra="forbid")
    filename: Annotated[str, AfterValidator(check_filename)] = Field(
        description="As people will see it; its ending must fit the Content-Type", examples=["Offer.pdf"]
    )


class AttachmentShown(Shown):
    """A file that mails can take along. `used`: a published version names it, so it stays."""

    id: UUID = Field(validation_alias="_id")
    filename: str
    content_type: str
    size: int
    sha256: str
    used: bool
    created_by: UUID
    created_at: datetime


async def upload(call: Call) -> Answer:
    """Upload a file, as the body, of at most 10 MiB; 200 with the earlier one if it is there already."""
    query: UploadQuery = call.query
    content_type, content = call.body.content_type, call.body.data
    if problem := file_problem(query.filename, content_type, content):
        raise invalid_at("", problem)
    attachment = {
        **attachment_document(call.ids.next(), call.caller.workspace, query.filename, content_type, content),
        "created_by": call.caller.user_id,
        "created_at": call.api.clock.real_now(),
    }
    kept, is_new = await call.api.store.attachments.add(attachment)
    headers = {"Location": call.api.url(f"/v1/attachments/{kept['_id']}")}
    status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
    return Answer(AttachmentShown.model_validate(kept), status, headers)


async def list_them(call: Call) -> Answer:
    """Attachments, the newest first."""
    found, cursor = await call.api.store.attachments.page(call.caller.workspace, call.query)
    shown = [AttachmentShown.model_validate(each) for each in found]
    return Answer(Page[AttachmentShown](items=shown, next_cursor=cursor))


async def get(call: Call) -> Answer:
    """What is known of an attachment; not the file itself."""
    return Answer(AttachmentShown.model_validate(await _existing(call)))


async def delete(call: Call) -> Answer:
    """Delete an attachment; 409 if a published version names it, since people may be in that for long."""
    attachment = await _existing(call)
    await audit(call, "attachment.deleted", attachment["_id"])
    if not await call.api.store.attachments.remove(call.caller.workspace, attachment["_id"]):
        await _existing(call)  # somebody else has deleted it meanwhile
        raise conflict("used", "A published version of a sequence names this attachment: it stays.")
    return Answer(status=HTTPStatus.NO_CONTENT)


async def _existing(call: Call) -> Document:
    attachment_id = call.uuid("attachment_id", "attachment")
    found = await call.api.store.attachments.one(call.caller.workspace, attachment_id)
    if found is None:
        raise not_found("attachment")
    return found


async def check_attachments(call: Call, document: SequenceDocument) -> None:
    """Problem 422 for attachments that are not there, or too much for one mail; the others stay for good."""
    ids = ids_in(document)
    if not ids:
        return
    workspace, store = call.caller.workspace, call.api.store.attachments
    if errors := list(naming_errors(document, await store.sizes(workspace, ids))):
        raise invalid(errors)
    if not await store.use(workspace, ids):
        raise invalid(list(naming_errors(document, await store.sizes(workspace, ids))))


_ONE = "/v1/attachments/{attachment_id}"

ROUTES = (
    Route(
        "GET",
        "/v1/attachments",
        list_them,
        "List attachments",
        KeyScope.READ,
        answer=Page[AttachmentShown],
        query=PageQuery,
        tag="Attachments",
    ),
    Route(
        "POST",
        "/v1/attachments",
        upload,
        "Upload an attachment",
        KeyScope.WRITE,
        answer=AttachmentShown,
        status=HTTPStatus.CREATED,
        also=(HTTPStatus.OK,),
        query=UploadQuery,
        takes=Takes(files=tuple(TYPES), limit=MAX_FILE_BYTES),
        tag="Attachments",
    ),
    Route("GET", _ONE, get, "Read an attachment", KeyScope.READ, answer=AttachmentShown, tag="Attachments"),
    Route(
        "DELETE",
        _ONE,
        delete,
        "Delete an attachment",
        KeyScope.WRITE,
        status=HTTPStatus.NO_CONTENT,
        tag="Attachments",
    ),
)
