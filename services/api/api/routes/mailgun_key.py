"""The key with which a mailbox's Mailgun account signs what it forwards."""

from http import HTTPStatus

from pydantic import Field, SecretStr

from api.auditing import audit
from api.keys import KeyScope
from api.problems import conflict
from api.routes.mailboxes import existing
from api.routing import Answer, Call, Closed, Route, Takes


class MailgunKey(Closed):
    """Mailgun's HTTP webhook signing key; null takes it away."""

    signing_key: SecretStr | None = Field(min_length=8, max_length=200)


async def put(call: Call) -> Answer:
    """Set the key; the one before ends at once, and nobody is shown either."""
    mailbox, new = await existing(call), call.body.data
    key = call.api.secrets.encrypt(new.signing_key.get_secret_value()) if new.signing_key else None
    fields = {"mailgun_key": key, "updated_at": call.api.clock.real_now()}
    await audit(call, "mailbox.mailgun_key_set", mailbox["_id"])
    if await call.api.store.mailboxes.change(mailbox, fields) is None:
        raise conflict("changed-meanwhile", "Somebody else changed this mailbox at this moment: try again.")
    return Answer(status=HTTPStatus.NO_CONTENT)


ROUTES = (
    Route(
        "PUT",
        "/v1/mailboxes/{mailbox_id}/mailgun-key",
        put,
        "Set the Mailgun key of a mailbox",
        KeyScope.WRITE,
        status=HTTPStatus.NO_CONTENT,
        takes=Takes(MailgunKey),
        tag="Mailboxes",
    ),
)
