"""What the pages of the settings have in common: their list, and forms that one may use or only read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from api.dashboard.colleagues import colleagues, locked_for, names_by_id
from api.dashboard.fields import Form, Tried, loose, status_of, with_tried
from api.dashboard.visit import Visit
from api.keys import KeyScope
from api.routes.members import UserShown

SECTIONS: Final = (
    ("/settings", "You"),
    ("/settings/workspace", "Workspace"),
    ("/settings/holidays", "Days off"),
    ("/settings/footer", "Footer"),
    ("/settings/rules", "In doubt, retention"),
    ("/suppressions", "Not to be written to"),
    ("/settings/people", "People"),
    ("/settings/keys", "API keys"),
    ("/settings/tokens", "Tokens"),
    ("/settings/signing", "Signing domains"),
    ("/settings/webhooks", "Webhooks"),
    ("/settings/webhook", "Task webhook"),
    ("/settings/attachments", "Attachments"),
    ("/settings/audit", "Audit log"),
)


async def section(
    visit: Visit,
    title: str,
    tab: str,
    forms: Sequence[Form] = (),
    tried: Tried | None = None,
    *,
    template: str = "settings.html",
    needs: KeyScope = KeyScope.ADMIN,
    users: Sequence[UserShown] | None = None,
    **values: Any,
) -> web.Response:
    """A page of the settings. Forms are locked for whoever may not do what `needs` says."""
    users = await colleagues(visit) if users is None else users
    locked = locked_for(visit, needs, users)
    return visit.page(
        template,
        title=title,
        status=status_of(tried),
        sections=SECTIONS,
        tab=tab,
        forms=with_tried([_locked(visit, each, needs, users) for each in forms], tried),
        problem=loose(forms, tried),
        locked=locked,
        names=names_by_id(users),
        **values,
    )


def _locked(visit: Visit, form: Form, needs: KeyScope, users: Sequence[UserShown]) -> Form:
    return replace(form, locked=locked_for(visit, form.needs or needs, users))


async def only_admins(visit: Visit, title: str, tab: str, tried: Tried | None = None) -> web.Response:
    """In place of a page that only admins see: who they are."""
    return await section(visit, title, tab, tried=tried, template="settings_closed.html")
