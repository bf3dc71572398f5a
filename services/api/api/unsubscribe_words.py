"""What the page that unsubscribes says, in the languages of those whom we write to."""

from collections.abc import Mapping
from dataclasses import dataclass

from chassis.unsubscribing import LANGUAGES, language_of


@dataclass(frozen=True, slots=True)
class Words:
    """The page in one language; `{sender}` and `{workspace}` are names."""

    title: str
    question: str
    sender: str
    sender_note: str
    everything: str
    everything_note: str
    sender_done: str
    everything_done: str
    unknown: str
    later: str


WORDS: Mapping[str, Words] = {
    "en": Words(
        "Unsubscribe",
        "From whom do you want no more messages?",
        "Only from {sender}",
        "Others at {workspace} may still write to you.",
        "From everybody at {workspace}",
        "Nobody there writes to your address through this service again.",
        "Done. {sender} will not write to you again.",
        "Done. Nobody at {workspace} will write to you again.",
        "This link is not valid. Perhaps a part of it is missing: copy all of it, or answer the message.",
        "This did not work just now, and nothing was changed. Please try again in a minute.",
    ),
    "de": Words(
        "Abmelden",
        "Von wem möchten Sie keine Nachrichten mehr?",
        "Nur von {sender}",
        "Andere bei {workspace} können Ihnen weiterhin schreiben.",
        "Von allen bei {workspace}",
        "Niemand dort schreibt Ihrer Adresse über diesen Dienst noch einmal.",
        "Erledigt. {sender} schreibt Ihnen nicht mehr.",
        "Erledigt. Niemand bei {workspace} schreibt Ihnen mehr.",
        "Dieser Link ist nicht gültig. Vielleicht fehlt ein Teil: Kopieren Sie ihn ganz, oder antworten Sie "
        "auf die Nachricht.",
        "Das hat eben nicht geklappt, und nichts wurde geändert. Bitte versuchen Sie es in einer Minute "
        "noch einmal.",
    ),
    "fr": Words(
        "Se désabonner",
        "De qui ne souhaitez-vous plus recevoir de messages ?",
        "Seulement de {sender}",
        "D’autres personnes chez {workspace} pourront encore vous écrire.",
        "De toutes les personnes chez {workspace}",
        "Plus personne n’y écrira à votre adresse par ce service.",
        "C’est fait. {sender} ne vous écrira plus.",
        "C’est fait. Plus personne chez {workspace} ne vous écrira.",
        "Ce lien n’est pas valable. Il en manque peut-être une partie : copiez-le en entier, ou répondez "
        "au message.",
        "Cela n’a pas fonctionné, et rien n’a été modifié. Veuillez réessayer dans une minute.",
    ),
    "es": Words(
        "Darse de baja",
        "¿De quién no quiere recibir más mensajes?",
        "Solo de {sender}",
        "Otras personas de {workspace} podrán seguir escribiéndole.",
        "De todas las personas de {workspace}",
        "Nadie de allí volverá a escribir a su dirección mediante este servicio.",
        "Hecho. {sender} no le escribirá más.",
        "Hecho. Nadie de {workspace} le escribirá más.",
        "Este enlace no es válido. Quizá falte una parte: cópielo entero o responda al mensaje.",
        "No ha funcionado y no se ha cambiado nada. Inténtelo de nuevo dentro de un minuto.",
    ),
    "nl": Words(
        "Afmelden",
        "Van wie wilt u geen berichten meer ontvangen?",
        "Alleen van {sender}",
        "Anderen bij {workspace} kunnen u nog wel schrijven.",
        "Van iedereen bij {workspace}",
        "Niemand daar schrijft via deze dienst nog naar uw adres.",
        "Gedaan. {sender} schrijft u niet meer.",
        "Gedaan. Niemand bij {workspace} schrijft u nog.",
        "Deze link is niet geldig. Misschien ontbreekt er een deel: kopieer hem helemaal, of beantwoord het "
        "bericht.",
        "Dat is niet gelukt, en er is niets veranderd. Probeer het over een minuut nog eens.",
    ),
    "pt": Words(
        "Cancelar mensagens",
        "De quem não quer receber mais mensagens?",
        "Só de {sender}",
        "Outras pessoas de {workspace} ainda lhe podem escrever.",
        "De todas as pessoas de {workspace}",
        "Ninguém de lá volta a escrever para o seu endereço através deste serviço.",
        "Feito. {sender} não lhe escreverá mais.",
        "Feito. Ninguém de {workspace} lhe escreverá mais.",
        "Esta ligação não é válida. Talvez falte uma parte: copie-a por inteiro ou responda à mensagem.",
        "Não funcionou e nada foi alterado. Tente novamente dentro de um minuto.",
    ),
    "it": Words(
        "Annulla l’iscrizione",
        "Da chi non vuole più ricevere messaggi?",
        "Solo da {sender}",
        "Altre persone di {workspace} potranno ancora scriverle.",
        "Da tutti di {workspace}",
        "Nessuno di loro scriverà più al suo indirizzo tramite questo servizio.",
        "Fatto. {sender} non le scriverà più.",
        "Fatto. Nessuno di {workspace} le scriverà più.",
        "Questo link non è valido. Forse ne manca una parte: lo copi per intero o risponda al messaggio.",
        "Non ha funzionato e nulla è stato modificato. Riprovi tra un minuto.",
    ),
}
assert set(WORDS) == set(LANGUAGES)
_MOST_LANGUAGES = 50


def language_for(accept_language: str) -> str:
    """The first of our languages that a browser asks for (RFC 9110 12.5.4), else English."""
    wanted: list[tuple[float, str]] = []
    for each in accept_language[:1000].split(",")[:_MOST_LANGUAGES]:
        locale, _, parameter = each.partition(";")
        language, weight = language_of(locale), _weight(parameter)
        if language is not None and weight > 0:
            wanted.append((weight, language))
    return max(wanted, key=lambda pair: pair[0], default=(0.0, "en"))[1]


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
