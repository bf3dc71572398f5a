"""Claims about what people and their absence notes write, on written messages in seven languages."""

import base64
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from reply_detector import fresh_text, opt_out, return_date
from reply_detector.classify import classify
from reply_detector.verdict import Kind, Verdict

DATA = Path(__file__).parents[1] / "data" / "answers"
LANGUAGES = sorted(file.stem for file in DATA.glob("*.txt"))
HEADERS = {
    "From": "Petra Prospect <petra@example.net>",
    "To": "Rita Recruiter <rita+t0k3n@segue.example>",
    "Date": "Wed, 29 Apr 2026 10:00:00 +0200",
    "Message-ID": "<in1@example.net>",
    "In-Reply-To": "<s1@segue.example>",
    "Subject": "Re: A role at Acme",
}
MACHINES = (Kind.AUTO_REPLY, Kind.BOUNCE, Kind.COMPLAINT)


@dataclass(frozen=True)
class Answer:
    expected: dict[str, Any]
    head: str
    body: str

    @property
    def raw(self) -> bytes:
        return f"{self.head}\n\n{self.body}".encode()


def _read(language: str) -> list[Answer]:
    found = []
    source = (DATA / f"{language}.txt").read_text("utf-8")
    for chunk in ("\n" + source).split("\n=== ")[1:]:
        first, _, message = chunk.partition("\n")
        head, _, body = ("\n" + message).partition("\n\n")
        given = {line.partition(":")[0] for line in head.split("\n")}
        added = [f"{name}: {value}" for name, value in HEADERS.items() if name not in given]
        found.append(Answer(json.loads(first), "\n".join([*added, *head.split("\n")[1:]]), body))
    return found


ANSWERS = {language: _read(language) for language in LANGUAGES}
each_language = pytest.mark.parametrize("language", LANGUAGES)


def _of(language: str, kind: Kind) -> list[Answer]:
    return [answer for answer in ANSWERS[language] if answer.expected["kind"] == kind]


def _rate(answers: list[Answer], right: Callable[[Answer, Verdict], bool]) -> float:
    return sum(right(answer, classify(answer.raw)) for answer in answers) / len(answers)


def test_seven_languages_have_enough_notes_and_replies_each() -> None:
    assert LANGUAGES == ["de", "en", "es", "fr", "it", "nl", "pt"]
    for language in LANGUAGES:
        assert len(_of(language, Kind.AUTO_REPLY)) >= 40
        assert len(_of(language, Kind.REPLY)) >= 60


@each_language
def test_no_reply_of_a_person_is_called_a_machines(language: str) -> None:
    wrong = [a.body for a in _of(language, Kind.REPLY) if classify(a.raw).kind in MACHINES]
    assert not wrong


@each_language
def test_nine_notes_of_ten_are_found_without_any_header_of_a_program(language: str) -> None:
    assert _rate(_of(language, Kind.AUTO_REPLY), lambda _, v: v.kind is Kind.AUTO_REPLY) >= 0.9


@each_language
def test_of_the_notes_found_nearly_all_have_the_day_that_they_name(language: str) -> None:
    found = [a for a in _of(language, Kind.AUTO_REPLY) if classify(a.raw).kind is Kind.AUTO_REPLY]
    rate = _rate(found, lambda a, v: (v.until.isoformat() if v.until else None) == a.expected["until"])
    assert rate >= 0.95


@each_language
def test_requests_to_stop_are_found(language: str) -> None:
    assert _rate(_of(language, Kind.OPT_OUT), lambda _, v: v.kind is Kind.OPT_OUT) >= 0.85


@each_language
def test_no_reply_becomes_an_opt_out(language: str) -> None:
    assert not [a.body for a in _of(language, Kind.REPLY) if classify(a.raw).kind is Kind.OPT_OUT]


def _crlf(answer: Answer) -> bytes:
    return answer.raw.replace(b"\n", b"\r\n")


def _cr(answer: Answer) -> bytes:
    return answer.raw.replace(b"\n", b"\r")


def _base64(answer: Answer) -> bytes:
    wrapped = base64.encodebytes(answer.body.encode())
    return f"{answer.head}\nContent-Transfer-Encoding: base64\n\n".encode() + wrapped


def _wrong_charset(answer: Answer) -> bytes:
    return f"{answer.head}\nContent-Type: text/plain; charset=x-unknown\n\n{answer.body}".encode()


def _latin(answer: Answer) -> bytes:
    head = f"{answer.head}\nContent-Type: text/plain; charset=utf-8\n\n".encode()
    return head + answer.body.encode("cp1252", "replace")


def _html(answer: Answer) -> bytes:
    lines = answer.body.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split("\n")
    body = "".join(f"<div>{line or '<br>'}</div>" for line in lines)
    return (
        f"{answer.head}\nContent-Type: text/html; charset=utf-8\n\n<html><body>{body}</body></html>".encode()
    )


@each_language
@pytest.mark.parametrize("mangled", [_crlf, _cr, _base64, _wrong_charset, _latin, _html])
def test_the_form_of_a_message_does_not_change_its_verdict(
    language: str, mangled: Callable[[Answer], bytes]
) -> None:
    for answer in ANSWERS[language]:
        plain, other = classify(answer.raw), classify(mangled(answer))
        assert (other.kind, other.until, other.intent) == (plain.kind, plain.until, plain.intent), answer.body


@each_language
def test_a_message_cut_at_each_kibibyte_has_a_verdict_and_no_defect(language: str) -> None:
    raw = b"\n\n".join(answer.raw for answer in ANSWERS[language])
    for end in range(0, len(raw), 1024):
        assert not any(line.startswith("defect") for line in classify(raw[:end]).evidence)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("vom 3.8. bis einschließlich 14.8. im Urlaub", date(2026, 8, 14)),
        ("vom 4.-8.5.2026 nicht im Büro", date(2026, 5, 8)),
        ("bis Ende der Woche", date(2026, 5, 3)),
        ("bis Mitte Juni", date(2026, 6, 15)),
        ("am Montag wieder da", date(2026, 5, 4)),
        ("jusqu'au lundi 4 mai inclus", date(2026, 5, 4)),
        ("jusqu'à la fin du mois de mai", date(2026, 5, 31)),
        ("hasta el día 20", date(2026, 5, 20)),
        ("até o dia 20", date(2026, 5, 20)),
        ("fino al 1° giugno", date(2026, 6, 1)),
        ("tot 14-05 afwezig", date(2026, 5, 14)),
        ("maandag 4 mei zijn we er weer", date(2026, 5, 4)),
        ("back in the office next Monday", date(2026, 5, 4)),
        ("away for two weeks", date(2026, 5, 13)),
        ("back on the 20th", date(2026, 5, 20)),
        ("returning in September", date(2026, 9, 1)),
        ("out until the end of May", date(2026, 5, 31)),
        ("I may be slow to answer", None),
        ("until further notice", None),
        ("I only work Tuesdays to Thursdays", None),
        ("je travaille du lundi au mercredi", None),
    ],
)
def test_return_dates_of_notes(text: str, day: date | None) -> None:
    found = return_date.find(fresh_text.fold(text), date(2026, 4, 29), cue_needed=True)
    assert found == day


@pytest.mark.parametrize(
    "below",
    [
        "Diese Nachricht wurde von meinem Android-Mobiltelefon gesendet.",
        "(sent from a phone)",
        "Download Outlook for iOS",
        "Cheers, Petra",
        "Viele Grüße, Petra",
        "Grüße aus Berlin\nPetra",
        "AVISO LEGAL: Este mensaje es confidencial.",
        "De: Rita Enviado el: martes, 28 de abril de 2026 9:27 Para: Petra Asunto: una idea\nHola",
        "From: Rita Sent: Tuesday, 28 April 2026 To: Petra Subject: a role\nHi Petra",
        "W dniu 28.04.2026 o 09:12, Rita pisze:\n> Hi",
        "----- Mail original -----\nDe: Rita",
    ],
)
def test_what_mail_programs_and_gateways_put_below_is_not_fresh(below: str) -> None:
    assert fresh_text.cut(f"Yes, Thursday works for me.\n\n{below}").text == "Yes, Thursday works for me."


def test_a_header_block_folded_into_the_line_of_the_answer_ends_it() -> None:
    line = "No, thank you. De: Rita Enviado el: lunes 11:56 Para: Petra Asunto: una idea Hola, ¿hablamos?"
    assert fresh_text.cut(line) == fresh_text.FreshText("No, thank you.", True)


@pytest.mark.parametrize(
    "text",
    [
        "Do not contact us about casino topics, everything else is fine.",
        "Please remove me from CC, my colleague Jan handles this.",
        "Please stop sending drafts as PDF, use a shared document.",
        "Merci de ne pas nous envoyer d'articles sur ce sujet.",
        "We publiceren geen berichten meer over dit onderwerp.",
    ],
)
def test_a_limit_to_the_subject_is_no_opt_out(text: str) -> None:
    assert opt_out.by_text(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "This is the third email. Stop.",
        "Do not contact me or anyone at this company again.",
        "Ich widerspreche der Nutzung meiner Daten.",
        "Merci de ne plus m'envoyer de mails.",
        "Dadme de baja.",
        "Stop met mij te benaderen.",
        "Parem de me escrever.",
        "Vorrei disiscrivermi.",
    ],
)
def test_requests_in_other_words_are_opt_outs(text: str) -> None:
    assert opt_out.by_text(text)


def test_kinds_are_spread_over_the_set() -> None:
    kinds = Counter(answer.expected["kind"] for answers in ANSWERS.values() for answer in answers)
    assert kinds.keys() == {Kind.REPLY, Kind.AUTO_REPLY, Kind.OPT_OUT}
