"""The route table: every resource's routes, in the order in which the OpenAPI document lists them."""

from api.routes import (
    ahead,
    answers,
    audit,
    commands,
    deliverability,
    enrollments,
    footer,
    mailboxes,
    mailgun_key,
    members,
    migration,
    rehearsal,
    sequences,
    signing,
    sms_numbers,
    suppressions,
    tasks,
)
from api.routing import Route

ROUTES: tuple[Route, ...] = (
    *members.ROUTES,
    *footer.ROUTES,
    *audit.ROUTES,
    *sequences.ROUTES,
    *migration.ROUTES,
    *rehearsal.ROUTES,
    *enrollments.ROUTES,
    *ahead.ROUTES,
    *commands.ROUTES,
    *tasks.ROUTES,
    *answers.ROUTES,
    *suppressions.ROUTES,
    *mailboxes.ROUTES,
    *deliverability.ROUTES,
    *signing.ROUTES,
    *mailgun_key.ROUTES,
    *sms_numbers.ROUTES,
)
