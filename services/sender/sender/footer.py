"""Where people unsubscribe from automatic e-mails."""

from urllib.parse import quote

from chassis.documents import Footer, MailboxView
from chassis.secrets import Secrets
from chassis.unsubscribing import PATH, Ticket, written
from sender.compose import ComposeError, wire_address


class Links:
    """Where people unsubscribe; without an https address of the API nowhere."""

    def __init__(self, secrets: Secrets, public_url: str | None) -> None:
        self._secrets = secrets
        is_https = public_url is not None and public_url.startswith("https://")
        self._base = public_url.rstrip("/") + PATH if public_url is not None and is_https else None

    def page(self, ticket: Ticket, footer: Footer) -> str | None:
        """The link of one message, if it has one."""
        if self._base is None or not footer.link:
            return None
        return self._base + written(ticket, self._secrets)


def unsubscribe_uris(page: str | None, mailbox: MailboxView, message_id: str) -> tuple[str, ...]:
    """The URIs of List-Unsubscribe: the link, and the mailbox itself where somebody reads what it gets.

    The subject names the message, so that the answer is known for what it is from whichever address.
    """
    if page is None:
        return ()
    if not mailbox.watched:
        return (page,)
    try:
        address = wire_address(mailbox.address)
    except ComposeError:
        return (page,)
    return page, f"mailto:{quote(address, safe='@')}?subject={quote(f'unsubscribe {message_id}', safe='')}"
