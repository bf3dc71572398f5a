"""Claims about verdicts, on written messages of every kind and language and on every mangling of them."""

import base64
import io
import json
import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reply_detector import fresh_text, mime, opt_out, return_date
from reply_detector.classify import classify
from reply_detector.cli import classify_files, main
from reply_detector.verdict import Kind, Severity, Verdict

DATA = Path(__file__).parents[1] / "data" / "inbound"
DEFAULTS = {
    "From": "Petra Prospect <petra@example.net>",
    "To": "Rita Recruiter <rita+t0k3n@segue.example>",
    "Date": "Wed, 29 Apr 2026 10:00:00 +0200",
    "Message-ID": "<in1@example.net>",
    "Subject": "Re: A role at Acme",
}


@dataclass(frozen=True)
class Case:
    name: str
    expected: dict[str, Any]
    raw: bytes


def _cases() -> list[Case]:
    found = []
    for file in sorted(DATA.glob("*.txt")):
        for chunk in ("\n" + file.read_text("utf-8")).split("\n=== ")[1:]:
            first, _, message = chunk.partition("\n")
            expected = json.loads(first)
            found.append(Case(f"{file.stem}/{expected['name']}", expected, _complete(message)))
    return found


def _complete(message: str) -> bytes:
    head, _, body = ("\n" + message).partition("\n\n")
    given = {line.partition(":")[0].lower() for line in head.split("\n")}
    added = [f"{name}: {value}" for name, value in DEFAULTS.items() if name.lower() not in given]
    head = "\n".join(line for line in (*added, *head.split("\n")) if line)
    return f"{head}\n\n{body}\n".encode()


CASES = _cases()
PLAIN = [case for case in CASES if b"\nContent-Type:" not in case.raw.partition(b"\n\n")[0]]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
MULTIPART = [case for case in CASES if "boundary" in mime.parse(case.raw).parameters]
each_multipart_case = pytest.mark.parametrize("case", MULTIPART, ids=lambda case: case.name)
each_plain_case = pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.name)


def _check(case: Case, verdict: Verdict) -> None:
    expected = case.expected
    assert verdict.kind == expected["kind"], verdict.evidence
    assert verdict.evidence
    if "recipients" in expected:
        assert {r.address: r.severity.value for r in verdict.recipients} == expected["recipients"]
    if "until" in expected:
        assert (verdict.until.isoformat() if verdict.until else None) == expected["until"]
    if "text" in expected:
        assert verdict.text == expected["text"]
    if "ids" in expected:
        assert list(verdict.original_message_ids) == expected["ids"]
    for name in ("feedback_type", "original_recipient"):
        if name in expected:
            assert getattr(verdict, name) == expected[name]


def _separated(raw: bytes) -> tuple[bytes, bytes]:
    head, _, body = raw.partition(b"\n\n")
    return head, body


def test_the_set_is_wide_enough_to_mean_something() -> None:
    kinds = Counter(case.expected["kind"] for case in CASES)
    assert len(CASES) >= 100
    assert min(kinds.values()) >= 4
    assert kinds["reply"] >= 40


@each_case
def test_verdict(case: Case) -> None:
    _check(case, classify(case.raw))


@each_case
@pytest.mark.parametrize("ending", [b"\r\n", b"\r", b"\r\r\n"], ids=["crlf", "cr", "crcrlf"])
def test_line_endings_change_nothing(case: Case, ending: bytes) -> None:
    _check(case, classify(case.raw.replace(b"\n", ending)))


@each_case
def test_a_body_wrapped_in_base64_changes_nothing(case: Case) -> None:
    head, body = _separated(case.raw)
    wrapped = head + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(body)
    _check(case, classify(wrapped))


def _with_parts_in_base64(raw: bytes) -> bytes:
    """Encodes each part of a multipart that has no encoding and no parts of its own."""
    head, body = _separated(raw)
    edge = b"\n--" + mime.parse(raw).parameters["boundary"].encode()
    first, *parts = (b"\n" + body).split(edge)
    wrapped = []
    for part in parts:
        fields, blank, text = part.partition(b"\n\n")
        if blank and not re.search(rb"(?i)content-transfer-encoding|content-type: *multipart", fields):
            part = fields + b"\nContent-Transfer-Encoding: base64\n\n" + base64.encodebytes(text)
        wrapped.append(part)
    return head + b"\n\n" + edge.join((first, *wrapped)).removeprefix(b"\n")


@each_multipart_case
def test_parts_wrapped_in_base64_change_nothing(case: Case) -> None:
    _check(case, classify(_with_parts_in_base64(case.raw)))


@each_plain_case
@pytest.mark.parametrize(
    "charset", ["x-unknown", "us-ascii", "iso-8859-1", "punycode", "utf-16", '"', "utf-8' x"]
)
def test_a_wrong_charset_label_changes_nothing(case: Case, charset: str) -> None:
    head, body = _separated(case.raw)
    _check(case, classify(head + f"\nContent-Type: text/plain; charset={charset}\n\n".encode() + body))


@each_plain_case
def test_latin_text_that_calls_itself_utf_8_changes_nothing(case: Case) -> None:
    head, body = _separated(case.raw)
    latin = body.decode().encode("cp1252", "replace")
    _check(case, classify(head + b"\nContent-Type: text/plain; charset=utf-8\n\n" + latin))


@each_case
def test_an_mbox_line_and_a_byte_order_mark_change_nothing(case: Case) -> None:
    _check(case, classify(b"From petra@example.net Wed Apr 29 10:00:00 2026\n" + case.raw))
    _check(case, classify(b"\xef\xbb\xbf" + case.raw))


@each_case
def test_a_message_cut_anywhere_gets_a_verdict_without_a_defect(case: Case) -> None:
    padded = case.raw.replace(b"\n\n", b"\n\n" + b"filler\n" * 400, 1)
    for raw in (case.raw, padded):
        for end in (*range(0, len(raw), 1024), *range(0, len(raw), 211)):
            _no_defect(classify(raw[:end]))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.expected["kind"] == "reply"], ids=lambda case: case.name
)
def test_a_reply_cut_anywhere_is_never_called_a_report(case: Case) -> None:
    kinds = {classify(case.raw[:end]).kind for end in range(0, len(case.raw), 97)}
    assert not kinds & {Kind.BOUNCE, Kind.COMPLAINT}


def _no_defect(verdict: Verdict) -> None:
    assert not any(line.startswith("defect") for line in verdict.evidence), verdict.evidence


@given(st.binary(max_size=4_000))
@settings(max_examples=200, deadline=None)
def test_random_bytes_have_no_defect(raw: bytes) -> None:
    _no_defect(classify(raw))


_SNIPPETS = [
    b"From: ",
    b"MAILER-DAEMON@x",
    b"\n",
    b"\n\n",
    b"\r",
    b"Content-Type: multipart/report; boundary=b; report-type=",
    b"delivery-status",
    b"feedback-report",
    b"\n--b\n",
    b"\n--b--\n",
    b"Content-Type: message/delivery-status\n\n",
    b"Content-Type: message/rfc822\n\n",
    b"Final-Recipient: rfc822;a@b.c\n",
    b"Action: failed\n",
    b"Status: 5.1.1\n",
    b"Subject: =?utf-8?q?=ff?= =?x?b?a?=",
    b'charset="',
    b"Content-Transfer-Encoding: base64\n",
    b"Date: ",
    b"99 99 9999",
    b"> ",
    b"On 1 wrote:",
    b"<a@b>",
    b"<blockquote",
    b"\xff\xfe",
    b"\x00",
    b"31/02/2026 back on",
    b"out of the office until ",
    b"unsubscribe",
    b"Auto-Submitted: auto-replied\n",
    b"Message-ID: <",
    b"-- \n",
    b"=?utf-16?b?AAA?=",
    b"Return-Path: <>\n",
]


@given(st.lists(st.sampled_from(_SNIPPETS) | st.binary(max_size=8), max_size=60))
@settings(max_examples=400, deadline=None)
def test_shuffled_pieces_of_mail_have_no_defect(pieces: list[bytes]) -> None:
    _no_defect(classify(b"".join(pieces)))


def _nested(depth: int) -> bytes:
    raw = b"Content-Type: text/plain\n\nhello\n"
    for level in range(depth):
        edge = f"b{level}".encode()
        raw = (
            b"Content-Type: multipart/mixed; boundary="
            + edge
            + b"\n\n--"
            + edge
            + b"\n"
            + raw
            + b"\n--"
            + edge
            + b"--\n"
        )
    return raw


HOSTILE = {
    "nested": _nested(300),
    "many-headers": b"".join(b"X-%d: y\n" % n for n in range(10_000)) + b"\nhello",
    "one-header-often": b"To: a@b.example\n" * 10_000 + b"\nhello",
    "long-header": b"Subject: " + b"re: " * 300_000 + b"\n\nhello",
    "long-references": b"References: " + b"<a@b" * 300_000 + b"\n\nhello",
    "long-line": b"Subject: x\n\n" + b"a" * 1_000_000,
    "long-address-like": b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n\nuser unknown "
    + b"a.@" * 300_000,
    "many-addresses": b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n\n"
    + b"<a@b.example>:\n" * 60_000,
    "deep-quotes": b"Subject: x\n\n" + b"".join(b">" * (n % 500) + b" q\n" for n in range(4_000)),
    "attributions": b"Subject: x\n\n" + b"On 1 Jan 2026 <a@b> foo\n" * 40_000,
    "closings": b"Subject: x\n\n" + b"Best regards,\n" * 70_000,
    "signature-marks": b"Subject: x\n\n" + b"hello\n" + b"--\n" * 300_000,
    "header-blocks": b"Subject: x\n\n" + b"From: a\n" * 100_000,
    "tags": b"Content-Type: text/html\n\n" + b"<a " * 300_000,
    "open-comments": b"Content-Type: text/html\n\n" + b"<!--" * 250_000,
    "blockquotes": b"Content-Type: text/html\n\n" + b"<blockquote>x" * 80_000,
    "entities": b"Content-Type: text/html\n\n" + b"&amp;" * 200_000,
    "many-parts": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 100_000,
    "alike-boundaries": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--bc\nx\n" * 100_000,
    "encoded-words": b"Subject: " + b"=?utf-8?q?a?= " * 70_000 + b"\n\nx",
    "parameters": b"Content-Type: text/plain" + b"; a=b" * 200_000 + b"\n\nx",
    "escapes": b'Content-Type: text/plain; a="' + b"\\a" * 400_000 + b"\n\nx",
    "status-groups": b"Content-Type: multipart/report; boundary=b\n"
    b"\n--b\nContent-Type: message/delivery-status\n"
    b"\n" + b"Final-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n\n" * 15_000,
    "dates": b"Auto-Submitted: auto-replied\nDate: Wed, 29 Apr 2026 10:00:00 +0200\n\n"
    + b"back 1/2 may 3 " * 60_000,
    "soft-breaks": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=\n" * 500_000,
    "combining": b"Subject: x\n\nout of office " + "e\u0301\ufdfa".encode() * 150_000,
    "newlines": b"\n" * 1_000_000,
    "opt-out": b"Subject: x\n\n" + b"please remove me my name " * 40_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_judged_in_bounded_time(name: str) -> None:
    """The bound is generous because machines differ; quadratic work on these would take minutes."""
    before = time.process_time()
    _no_defect(classify(HOSTILE[name]))
    assert time.process_time() - before < 1.5


def test_work_stops_at_the_limits() -> None:
    many = mime.parse(HOSTILE["many-headers"])
    assert len(many.headers) <= mime.HEADER_LIMIT_COUNT
    assert len(list(mime.parse(HOSTILE["many-parts"]).walk())) <= mime.PART_LIMIT + 1
    assert max(part.depth for part in mime.parse(HOSTILE["nested"]).walk()) <= mime.DEPTH_LIMIT
    assert len(mime.parse(HOSTILE["long-line"]).text) <= mime.TEXT_LIMIT_BYTES


def test_facts_keep_what_matching_needs() -> None:
    raw = (
        b"From: =?utf-8?q?P=C3=A9tra=2C_x?= <petra@Example.NET>\n"
        b"To: rita+t0k3n@segue.example, tom@x.example\n"
        b"Delivered-To: rita@segue.example\nX-Original-To: r@segue.example\nMessage-ID: <a@b>\n"
        b"In-Reply-To: <s2@segue.example>\nReferences: <s1@segue.example>\n <s2@segue.example>\n"
        b"Subject: Re:\n hello\nDate: Wed, 29 Apr 2026 23:30:00 -0700\n\nYes"
    )
    facts = classify(raw).facts
    assert facts.from_address == "petra@example.net"
    assert facts.to_addresses == (
        "rita@segue.example",
        "r@segue.example",
        "rita+t0k3n@segue.example",
        "tom@x.example",
    )
    assert facts.references == ("<s2@segue.example>", "<s1@segue.example>")
    assert (facts.message_id, facts.subject) == ("<a@b>", "Re: hello")
    assert facts.date is not None
    assert facts.date.date() == date(2026, 4, 29)


def test_a_forwarded_original_gives_its_message_id() -> None:
    raw = (
        b"From: a@b.example\nSubject: Fwd: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below\n"
        b"--b\nContent-Type: message/rfc822\n\nMessage-ID: <s1@segue.example>\n"
        b"From: r@segue.example\n\nHi\n--b--\n"
    )
    assert classify(raw).facts.references == ("<s1@segue.example>",)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("out of office until May 5th, 2026", date(2026, 5, 5)),
        ("away from 1 May to 8 May, back on 11 May", date(2026, 5, 11)),
        ("will not return until 05/04/2026", date(2026, 5, 4)),
        ("bis einschließlich 8. Mai", date(2026, 5, 8)),
        ("vom 01.05. bis 08.05.2026", date(2026, 5, 8)),
        ("ab Montag wieder da", date(2026, 5, 4)),
        ("du 1er au 8 mai inclus", date(2026, 5, 8)),
        ("jusqu'à lundi", date(2026, 5, 4)),
        ("hasta el 8 de mayo", date(2026, 5, 8)),
        ("t/m 8 mei", date(2026, 5, 8)),
        ("terug op 11-05-2026", date(2026, 5, 11)),
        ("até segunda-feira", date(2026, 5, 4)),
        ("fino all'8 maggio, rientrerò l'11 maggio", date(2026, 5, 11)),
        ("back tomorrow", date(2026, 4, 30)),
        ("I am away until 3 January", date(2027, 1, 3)),
        ("I was out until 20 April", None),
        ("until 31.02.2026", None),
        ("call +49 30 12.34", None),
    ],
)
def test_return_dates(text: str, day: date | None) -> None:
    assert return_date.find(fresh_text.fold(text), date(2026, 4, 29)) == day


@pytest.mark.parametrize(
    "text",
    [
        "Please don't stop.",
        "I did not unsubscribe, why did you ask?",
        "Don't remove me from the list!",
        "Can we stop by?",
        "Our customers opt out of tracking.",
        "Bitte löschen Sie mich nicht aus dem Verteiler.",
        "Ich habe keine Zeit mehr heute.",
        "No me interesa, pero gracias.",
        "I'd like to subscribe.",
        "Remove the second paragraph, then it is fine.",
    ],
)
def test_no_opt_out(text: str) -> None:
    assert opt_out.by_text(text) == ""


def test_only_failed_five_is_hard() -> None:
    def grade(action: str, status: str) -> Severity:
        raw = (
            b"From: MAILER-DAEMON@x.example\nContent-Type: multipart/report; boundary=b;\n"
            b" report-type=delivery-status\n\n"
            b"--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns;x\n\n"
            b"Final-Recipient: rfc822;a@b.example\n"
            + f"Action: {action}\nStatus: {status}\n\n--b--\n".encode()
        )
        return classify(raw).recipients[0].severity

    assert grade("failed", "5.1.1") is Severity.HARD
    assert grade("failed", "5.2.2") is Severity.SOFT
    assert grade("failed", "4.4.7") is Severity.SOFT
    assert grade("delayed", "5.1.1") is Severity.DELAYED
    assert grade("delayed", "4.4.1") is Severity.DELAYED


def test_the_command_prints_one_object_a_line_and_reports_what_it_cannot_read(tmp_path: Path) -> None:
    files = []
    for kind in (Kind.BOUNCE, Kind.AUTO_REPLY, Kind.COMPLAINT, Kind.REPLY):
        case = next(case for case in CASES if case.expected["kind"] == kind)
        files.append(tmp_path / f"{kind.value}.eml")
        files[-1].write_bytes(case.raw)
    out = io.StringIO()
    assert classify_files([*map(str, files), str(tmp_path / "missing")], out) == 1
    bounced, away, complained, replied, missing = map(json.loads, out.getvalue().splitlines())
    assert bounced["recipients"][0].keys() == {"address", "severity", "status", "reason"}
    assert "until" in away
    assert complained["original_recipient"] == "petra@example.net"
    assert replied["text"] == "ok"
    assert missing["error"]
    assert main(["classify", "--json", os.fspath(files[0])]) == 0
