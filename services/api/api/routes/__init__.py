"""The route table: every resource's routes, in the order in which the OpenAPI document lists them."""

from api.routes import (
    commands,
    enrollments,
    mailboxes,
    members,
    sequences,
    suppressions,
    tasks,
)
from api.routing import Route

ROUTES: tuple[Route, ...] = (
    *members.ROUTES,
    *sequences.ROUTES,
    *enrollments.ROUTES,
    *commands.ROUTES,
    *tasks.ROUTES,
    *suppressions.ROUTES,
    *mailboxes.ROUTES,
)
