"""The footer that the law asks for below every automatic e-mail, in the reader's language."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup, escape

from chassis.documents import Footer
from chassis.unsubscribing import LANGUAGES, LOCALE_TOKEN, language_of

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


def with_footer(text: str, footer: Footer, page: str | None, values: Mapping[str, str]) -> str:
    """The text with the footer below it, in the language that the person's tokens name; once, if set up."""
    if not footer.postal_address:
        return text
    words = _words(footer, values)
    opt_out = f"{words.link} {page}" if page else words.answer
    lines = (MARK, footer.reason or words.reason, opt_out, footer.postal_address)
    return "\n".join((text.rstrip(), "", *lines)) + "\n"


def with_html_footer(html: str, footer: Footer, page: str | None, values: Mapping[str, str]) -> str:
    """The HTML with the same footer below it; what leaves out a text's footer finds its mark here too."""
    if not footer.postal_address:
        return html
    words = _words(footer, values)
    opt_out = escape(words.answer)
    if page:
        opt_out = Markup('<a href="{}">{}</a>').format(page, words.link.rstrip(" :"))
    address = map(escape, footer.postal_address.splitlines())
    lines = (MARK, escape(footer.reason or words.reason), opt_out, *address)
    return f'{html}<div style="color:#666666;font-size:12px"><br>{"<br>".join(lines)}</div>'


def _words(footer: Footer, values: Mapping[str, str]) -> Words:
    return WORDS[language_of(values.get(LOCALE_TOKEN, "")) or footer.language]
