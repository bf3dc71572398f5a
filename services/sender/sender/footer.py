"""What the law asks for below every automatic e-mail, and where people unsubscribe from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from chassis.documents import Footer, MailboxView
from chassis.secrets import Secrets
from chassis.unsubscribing import LANGUAGES, LOCALE_TOKEN, PATH, Ticket, language_of, written
from sender.compose import ComposeError, wire_address

MARK = "-- "
"""Alone on its line: mail programs, and our own reading of answers, leave out what is below it."""


@dataclass(frozen=True, slots=True)
class Words:
    """A footer's sentences in one language. `answer`: how to be left alone where there is no link."""

    reason: str
    link: str
    answer: str


WORDS: Mapping[str, Words] = {
    "en": Words(
        "You get this message because your professional profile fits what we are looking for.",
        "No more messages from us:",
        "No more messages from us: answer with the one word “stop”.",
    ),
    "de": Words(
        "Sie erhalten diese Nachricht, weil Ihr berufliches Profil zu dem passt, was wir suchen.",
        "Keine Nachrichten mehr von uns:",
        "Keine Nachrichten mehr von uns: Antworten Sie nur mit dem Wort „Stop“.",
    ),
    "fr": Words(
        "Vous recevez ce message parce que votre profil professionnel correspond à ce que nous recherchons.",
        "Ne plus recevoir de messages de notre part :",
        "Ne plus recevoir de messages de notre part : répondez par le seul mot « stop ».",
    ),
    "es": Words(
        "Recibe este mensaje porque su perfil profesional encaja con lo que buscamos.",
        "No recibir más mensajes nuestros:",
        "No recibir más mensajes nuestros: responda solo con la palabra «stop».",
    ),
    "nl": Words(
        "U ontvangt dit bericht omdat uw professionele profiel past bij wat wij zoeken.",
        "Geen berichten meer van ons:",
        "Geen berichten meer van ons: antwoord met alleen het woord ‘stop’.",
    ),
    "pt": Words(
        "Recebe esta mensagem porque o seu perfil profissional corresponde ao que procuramos.",
        "Não receber mais mensagens nossas:",
        "Não receber mais mensagens nossas: responda apenas com a palavra “stop”.",
    ),
    "it": Words(
        "Riceve questo messaggio perché il suo profilo professionale corrisponde a ciò che cerchiamo.",
        "Non ricevere più nostri messaggi:",
        "Non ricevere più nostri messaggi: risponda con la sola parola «stop».",
    ),
}
assert set(WORDS) == set(LANGUAGES)


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


def with_footer(text: str, footer: Footer, page: str | None, values: Mapping[str, str]) -> str:
    """The text with the footer below it, in the language that the person's tokens name; once, if set up."""
    if not footer.postal_address:
        return text
    language = language_of(values.get(LOCALE_TOKEN, "")) or footer.language
    words = WORDS[language]
    opt_out = f"{words.link} {page}" if page else words.answer
    lines = (MARK, footer.reason or words.reason, opt_out, footer.postal_address)
    return "\n".join((text.rstrip(), "", *lines)) + "\n"
