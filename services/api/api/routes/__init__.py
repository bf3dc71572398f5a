"""The route table: every resource's routes, in the order in which the OpenAPI document lists them."""

from api.routes import (
    ahead,
    commands,
    enrollments,
    mailboxes,
    members,
    migration,
    rehearsal,
    sequences,
    suppressions,
    tasks,
)
from api.routing import Route

ROUTES: tuple[Route, ...] = (
    *members.ROUTES,
    *sequences.ROUTES,
    *migration.ROUTES,
    *rehearsal.ROUTES,
    *enrollments.ROUTES,
    *ahead.ROUTES,
    *commands.ROUTES,
    *tasks.ROUTES,
    *suppressions.ROUTES,
    *mailboxes.ROUTES,
)
