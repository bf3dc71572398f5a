"""What the law asks for below a workspace's e-mails, and whether they offer a link to unsubscribe."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from api.auditing import audit
from api.keys import KeyScope
from api.mail_content import reply_warnings
from api.problems import not_found
from api.routing import Answer, Call, Closed, Route, Takes
from api.store import Store
from chassis.documents import Footer, WorkspaceView
from chassis.store import Workspace
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument
from segue_contracts.text import Line, check_text

MAX_ADDRESS_CHARS = 500
MAX_ADDRESS_LINES = 8
NO_ADDRESS = (
    "This sequence sends e-mails by itself, and the workspace has no postal address to put below them: many "
    "countries' law asks for one. Set it with PUT /v1/workspace/footer."
)


def _address(value: str) -> str:
    value = "\n".join(line.strip() for line in check_text(value).splitlines() if line.strip())
    if value.count("\n") >= MAX_ADDRESS_LINES:
        raise ValueError(f"must have at most {MAX_ADDRESS_LINES} lines")
    return value


class WorkspaceFooter(Closed):
    """The footer; without a postal address messages have none. `link` is also that of List-Unsubscribe."""

    postal_address: Annotated[str, Field(max_length=MAX_ADDRESS_CHARS), AfterValidator(_address)] = Field(
        default="", description="Who you are and where, on up to eight lines"
    )
    reason: Line | Literal[""] = Field(
        default="", description="Why people get this, in your words; empty: ours, in their language"
    )
    language: Literal["en", "de", "fr", "es", "nl", "pt", "it"] = Field(
        default="en", description="Of people whose own the token `locale` does not name"
    )
    link: bool = Field(default=True, strict=True, description="Offer a link to unsubscribe")


async def set_footer(call: Call) -> Answer:
    """Set the footer of all that is written from now on."""
    footer: WorkspaceFooter = call.body.data
    await audit(call, "footer.set", call.caller.workspace, language=footer.language, link=int(footer.link))
    await call.api.store.people.set_footer(call.caller.workspace, footer.model_dump())
    return Answer(footer)


async def get_footer(call: Call) -> Answer:
    """The footer."""
    stored = await footer_of(call.api.store, call.caller.workspace)
    if stored is None:
        raise not_found("workspace")
    return Answer(
        WorkspaceFooter.model_validate({name: getattr(stored, name) for name in WorkspaceFooter.model_fields})
    )


async def footer_of(store: Store, workspace: Workspace) -> Footer | None:
    """The footer as the sender reads it."""
    doc = await store.people.workspace(workspace)
    return WorkspaceView.read(doc).footer if doc else None


async def launch_warnings(call: Call, document: SequenceDocument) -> list[str]:
    """What should be mended before people are written to."""
    if not any(stage.channel is Channel.EMAIL for stage in document.stages):
        return []
    footer = await footer_of(call.api.store, call.caller.workspace)
    warnings = [] if footer is not None and footer.postal_address else [NO_ADDRESS]
    return warnings + await reply_warnings(call, document)


_ONE = "/v1/workspace/footer"
ROUTES = (
    Route("GET", _ONE, get_footer, "Read the footer", KeyScope.READ, answer=WorkspaceFooter, tag="Workspace"),
    Route(
        "PUT",
        _ONE,
        set_footer,
        "Set the footer that law asks for",
        KeyScope.ADMIN,
        answer=WorkspaceFooter,
        takes=Takes(WorkspaceFooter),
        tag="Workspace",
    ),
)
