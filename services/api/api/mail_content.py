"""What a mail says beside a stage's words: how its sender signs, and the other addresses in it."""

from collections.abc import Iterator, Mapping
from typing import Final

from api.problems import FieldError
from api.routing import Call
from api.signing import ascii_domain
from chassis.as_text import as_text
from chassis.documents import WorkspaceView
from chassis.markup import cleaned
from chassis.signatures import signer_values
from chassis.templates import Kind, TemplateError, compile_template
from chassis.wording import html_of
from segue_contracts.sequence import SequenceDocument

ANSWERS_ELSEWHERE: Final = (
    "Answers to the stage {} go to an address that is no mailbox connected here, so nobody is stopped by "
    "them: leave `reply_to` out, or connect that mailbox."
)


def address_errors(document: SequenceDocument) -> Iterator[FieldError]:
    """Addresses of stages whose domain can't be written in a mail (RFC 5891)."""
    for index, stage in enumerate(document.stages):
        named = [("bcc", each) for each in stage.bcc_addresses]
        named += [("reply_to", stage.reply_to)] if stage.reply_to else []
        for name, address in named:
            if not has_domain(address):
                detail = "stands at a domain that can't exist: see how it is spelled"
                yield FieldError(pointer=f"/stages/{index}/{name}", detail=detail)


def has_domain(address: str) -> bool:
    """Whether what stands after the @ can be looked up."""
    try:
        return bool(ascii_domain(address.rpartition("@")[2]))
    except ValueError:
        return False


async def reply_warnings(call: Call, document: SequenceDocument) -> list[str]:
    """Stages whose answers Segue will not see."""
    elsewhere = {stage.id: stage.reply_to.lower() for stage in document.stages if stage.reply_to}
    known = await call.api.store.mailboxes.at(call.caller.workspace, list(elsewhere.values()))
    return [ANSWERS_ELSEWHERE.format(stage) for stage, address in elsewhere.items() if address not in known]


def reply_errors(reply_to: str | None) -> Iterator[FieldError]:
    """What is wrong with where a mailbox's answers go."""
    if reply_to is not None and not has_domain(reply_to):
        yield FieldError(pointer="/reply_to", detail="stands at a domain that can't exist")


async def values_of_signer(call: Call, sender_name: str, own_tokens: Mapping[str, str]) -> Mapping[str, str]:
    """What the tokens in a mailbox's signature stand for now."""
    workspace = await call.api.store.people.workspace(call.caller.workspace)
    tokens = WorkspaceView.read(workspace).tokens if workspace else {}
    return signer_values(sender_name, {**tokens, **own_tokens})


def signature_errors(
    text: str, html: str, values: Mapping[str, str], *, at_end: bool
) -> Iterator[FieldError]:
    """Why a signature can't be written with these values."""
    yield from _unwritable("/signature", text, "text", values)
    yield from _unwritable("/signature_html", html, "html", values)
    if at_end and not (text or html):
        yield FieldError(pointer="/signature_at_end", detail="there is no signature to put there")


def _unwritable(pointer: str, source: str, kind: Kind, values: Mapping[str, str]) -> Iterator[FieldError]:
    if not source:
        return
    try:
        if kind == "html":
            html_of(source, values)
        else:
            compile_template(source, kind=kind).render(values)
    except TemplateError as error:
        yield FieldError(pointer=pointer, detail=str(error))


def signature_text_of(html: str) -> str:
    """The template of a signature's text, where only its HTML is given."""
    return as_text(cleaned(html)).strip() if html else ""
