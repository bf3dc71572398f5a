"""What people read who follow a tracked link that leads nowhere, in the languages of those we write to."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.unsubscribing import LANGUAGES


@dataclass(frozen=True, slots=True)
class Words:
    """The page in one language. `gone`: whatever is wrong with the link; `later`: nothing is."""

    title: str
    gone: str
    later: str


WORDS: Mapping[str, Words] = {
    "en": Words(
        "This link",
        "It leads nowhere. Perhaps a part of it is missing, or the message is too old. Copy all of it, or "
        "answer the message and ask for the address.",
        "This did not work just now. Please try again in a minute.",
    ),
    "de": Words(
        "Dieser Link",
        "Er führt ins Leere. Vielleicht fehlt ein Teil, oder die Nachricht ist zu alt. Kopieren Sie ihn "
        "ganz, oder antworten Sie auf die Nachricht und fragen Sie nach der Adresse.",
        "Das hat eben nicht geklappt. Bitte versuchen Sie es in einer Minute noch einmal.",
    ),
    "fr": Words(
        "Ce lien",
        "Il ne mène nulle part. Il en manque peut-être une partie, ou le message est trop ancien. Copiez-le "
        "en entier, ou répondez au message et demandez l’adresse.",
        "Cela n’a pas fonctionné. Veuillez réessayer dans une minute.",
    ),
    "es": Words(
        "Este enlace",
        "No lleva a ninguna parte. Quizá falte una parte o el mensaje sea demasiado antiguo. Cópielo entero, "
        "o responda al mensaje y pida la dirección.",
        "No ha funcionado. Inténtelo de nuevo dentro de un minuto.",
    ),
    "nl": Words(
        "Deze link",
        "Hij leidt nergens heen. Misschien ontbreekt er een deel of is het bericht te oud. Kopieer hem "
        "helemaal, of beantwoord het bericht en vraag om het adres.",
        "Dat is niet gelukt. Probeer het over een minuut nog eens.",
    ),
    "pt": Words(
        "Esta ligação",
        "Não leva a lado nenhum. Talvez falte uma parte ou a mensagem seja demasiado antiga. Copie-a por "
        "inteiro, ou responda à mensagem e peça o endereço.",
        "Não funcionou. Tente novamente dentro de um minuto.",
    ),
    "it": Words(
        "Questo link",
        "Non porta da nessuna parte. Forse ne manca una parte o il messaggio è troppo vecchio. Lo copi per "
        "intero, oppure risponda al messaggio e chieda l’indirizzo.",
        "Non ha funzionato. Riprovi tra un minuto.",
    ),
}
assert set(WORDS) == set(LANGUAGES)
