"""A message as one person would get it, while it is still being written: nothing is stored or sent."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from api.keys import KeyScope
from api.problems import not_found
from api.routes.sequences import check_right
from api.routing import Answer, Call, Closed, Route, Shown, Takes
from chassis.documents import MailboxView, WorkspaceView
from chassis.store import Document
from chassis.templates import MAX_TEMPLATE_BYTES, Template, TemplateError, compile_template
from chassis.tokens import PERSON_FIELDS, token_values
from chassis.wording import KINDS, words_of
from segue_contracts.message import Channel
from segue_contracts.sequence import Stage
from segue_contracts.text import Email, Tokens

Source = Annotated[str, Field(max_length=MAX_TEMPLATE_BYTES)]


class PreviewRequest(Closed):
    """Templates, and for whom: somebody enrolled, or `values` by the names of tokens.

    `tokens` are the sequence's; `mailbox` is whose sender's name and signature stand in it, by default the
    enrollment's, else the caller's own.
    """

    subject: Source | None = None
    text: Source | None = None
    html: Source | None = None
    tokens: Tokens = Field(default={})
    mailbox: Email | None = None
    enrollment_id: UUID | None = None
    values: Tokens = Field(default={})


class Remark(Shown):
    """Something about one of the templates (`field`); `line` counts from 1."""

    field: str
    detail: str
    line: int | None = None


class PreviewAnswer(Shown):
    """The words; a template that can't be rendered is null, and `problems` say why.

    Where `html` stands alone, `text` follows from it. `missing`: tokens that would be printed and have
    neither a value nor a fallback; they stand in the words as `{{name}}`, and such a message is never sent.
    `cautions`: what is allowed and probably not meant.
    """

    subject: str | None
    text: str | None
    html: str | None
    tokens: list[str]
    missing: list[str]
    problems: list[Remark]
    cautions: list[Remark]


async def preview(call: Call) -> Answer:
    """Render a message."""
    body: PreviewRequest = call.body.data
    prospect, enrolled_with = await _prospect(call, body)
    mailbox = await _mailbox(call, body.mailbox, enrolled_with)
    workspace = WorkspaceView.read(
        await call.api.store.people.workspace(call.caller.workspace) or {"_id": call.caller.workspace}
    )
    values = token_values(
        prospect,
        body.tokens,
        mailbox.display_name if mailbox else "",
        mailbox.signature if mailbox else "",
        workspace.tokens,
        mailbox.owner_tokens if mailbox else {},
    )
    sources = {name: getattr(body, name) for name in KINDS}
    return Answer(rendered({name: source for name, source in sources.items() if source}, values))


def rendered(sources: Mapping[str, str], values: Mapping[str, str]) -> PreviewAnswer:
    """The templates, by the names in `KINDS`, with these values; pure."""
    problems: list[Remark] = []
    templates = {name: found for name in sources if (found := _compiled(name, sources[name], problems))}
    missing = list(dict.fromkeys(_missing(templates, values)))
    shown = {**values, **{name: f"{{{{{name}}}}}" for name in missing}}
    subject, text, html = (sources[name] if name in templates else None for name in KINDS)
    stage = Stage.model_construct(id="preview", channel=Channel.EMAIL, subject=subject, text=text, html=html)
    words = words_of(stage, shown)
    problems += [Remark(field="", detail=detail) for _, detail in words.problems]
    return PreviewAnswer(
        subject=words.subject,
        text=words.text,
        html=words.html,
        tokens=sorted({token for template in templates.values() for token in template.tokens}),
        missing=missing,
        problems=problems,
        cautions=[
            Remark(field=name, detail=caution.problem, line=caution.line)
            for name, template in templates.items()
            for caution in template.cautions
        ],
    )


def _compiled(name: str, source: str, problems: list[Remark]) -> Template | None:
    try:
        return compile_template(source, kind=KINDS[name])
    except TemplateError as error:
        problems.append(Remark(field=name, detail=error.problem, line=error.line))
        return None


def _missing(templates: Mapping[str, Template], values: Mapping[str, str]) -> Iterator[str]:
    for template in templates.values():
        try:
            yield from template.missing(values)
        except TemplateError:
            continue  # the rendering tells what it is


async def _prospect(call: Call, body: PreviewRequest) -> tuple[Document, UUID | None]:
    """The person's fields and tokens, and the mailbox that writes to them."""
    if body.enrollment_id is None:
        fields: dict[str, Any] = {name: body.values.get(name) for name in PERSON_FIELDS}
        return {**fields, "tokens": body.values}, None
    workspace = call.caller.workspace
    story = await call.api.reads.enrollment(workspace, body.enrollment_id)
    if story is None:
        raise not_found("enrollment")
    await check_right(call, [story.sequence_id], "enrollment")
    people = await call.api.reads.people(workspace, [story.person_id])
    person = people.get(story.person_id)
    return (person.prospect if person else {}), story.mailbox_id


async def _mailbox(call: Call, address: str | None, enrolled_with: UUID | None) -> MailboxView | None:
    mailboxes, workspace = call.api.store.mailboxes, call.caller.workspace
    if address is not None:
        at = (await mailboxes.at(workspace, [address.lower()])).get(address.lower())
        found = at["_id"] if at else None
    else:
        found = enrolled_with or await mailboxes.first_of(workspace, call.caller.user_id)
    mailbox = await mailboxes.one(workspace, found) if found else None
    return MailboxView.read(mailbox) if mailbox else None


ROUTES = (
    Route(
        "POST",
        "/v1/preview",
        preview,
        "Render a message for one person",
        KeyScope.READ,
        answer=PreviewAnswer,
        takes=Takes(PreviewRequest),
        tag="Sequences",
    ),
)
