"""A sequence's variants side by side, and the choice of one for everybody who comes next."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from api.dashboard.views import CHANNELS
from api.dashboard.visit import Note, Page, Visit
from api.problems import Problem
from api.routes.sequences import SequenceWhole
from api.routes.variants import ComparisonsShown

DID: Final[Mapping[str, str]] = {
    "replied": "answered",
    "interested": "are interested",
    "clicked": "clicked a link",
    "opened": "opened it",
}
"""What counts, of people."""
_WINNER: Final = "/v1/sequences/{sequence_id}/stages/{stage_id}/winner"


async def page(visit: Visit) -> web.StreamResponse:
    """What became of those who got each variant."""
    return await _shown(visit)


async def _shown(visit: Visit, problem: Problem | None = None) -> web.StreamResponse:
    sequence_id = visit.uuid("sequence_id", "sequence")
    sequence: SequenceWhole = await visit.ask("GET /v1/sequences/{sequence_id}", sequence_id=sequence_id)
    compared: ComparisonsShown = await visit.ask(
        "GET /v1/sequences/{sequence_id}/variants", sequence_id=sequence_id
    )
    return visit.page(
        "variants.html",
        title=f"Variants of {sequence.name}",
        status=problem.status if problem else HTTPStatus.OK,
        sequence=sequence,
        stages=compared.stages,
        channels={name: said for name, (said, _) in CHANNELS.items()},
        did=DID,
        may_edit=sequence.right == "edit",
        problem=problem.details if problem else None,
    )


async def choose(visit: Visit) -> web.StreamResponse:
    """Everybody who comes next gets one variant, or (none) people are split whatever the numbers say."""
    variant = str((await visit.form()).get("variant", "")) or None
    said = f"Everybody gets {variant} from now on." if variant else "People go on being split, and none wins."
    return await _done(visit, f"PUT {_WINNER}", said, {"variant": variant})


async def reopen(visit: Visit) -> web.StreamResponse:
    """Take a decision back."""
    await visit.form()
    return await _done(visit, f"DELETE {_WINNER}", "People are split again.")


async def _done(
    visit: Visit, route: str, said: str, data: Mapping[str, object] | None = None
) -> web.StreamResponse:
    """Choices can be undone."""
    sequence_id, stage_id = visit.uuid("sequence_id", "sequence"), visit.request.match_info["stage_id"]
    try:
        await visit.ask(route, data, sequence_id=sequence_id, stage_id=stage_id)
    except Problem as problem:
        if problem.status is not HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return await _shown(visit, problem)
    undo = f"/sequences/{sequence_id}/stages/{stage_id}/winner/undo"
    note = Note(said) if data is None else Note(said, undo_path=undo, undo_fields={})
    return visit.go(f"/sequences/{sequence_id}/variants", note)


PAGES = (
    Page("GET", "/sequences/{sequence_id}/variants", page),
    Page("POST", "/sequences/{sequence_id}/stages/{stage_id}/winner", choose),
    Page("POST", "/sequences/{sequence_id}/stages/{stage_id}/winner/undo", reopen),
)
