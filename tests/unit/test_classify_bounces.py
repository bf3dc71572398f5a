"""Claims about reports of failure and complaint: whom they name, how final they are, who may write them."""

import base64
import json
import quopri
import time
from collections.abc import Callable

import pytest

from reply_detector import delivery_report, severity
from reply_detector.classify import classify
from reply_detector.verdict import Kind, Severity, Verdict

REPORT = (
    b"From: MAILER-DAEMON@mx.example.net\n"
    b"To: rita@segue.example\n"
    b"Subject: Undelivered Mail Returned to Sender\n"
    b'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n'
    b"\n"
    b"--b\n"
    b"Content-Type: text/plain\n\n" + b"This is the mail system at host mx.example.net.\n" * 60 + b"--b\n"
    b"Content-Type: message/delivery-status\n\n"
    b"Reporting-MTA: dns; mx.example.net\n\n"
    b"Final-Recipient: rfc822; petra@example.net\nAction: failed\nStatus: 5.1.1\n\n"
    b"--b\n"
    b"Content-Type: message/rfc822\n\nTo: petra@example.net\nMessage-ID: <s1@segue.example>\n\n"
    + b"Hello\n" * 400
    + b"--b--\n"
)


def _failed(verdict: Verdict) -> dict[str, Severity]:
    return {recipient.address: recipient.severity for recipient in verdict.recipients}


@pytest.mark.parametrize(
    ("action", "status", "text", "expected"),
    [
        ("failed", "5.1.1", "", Severity.HARD),
        ("failed", "5.7.1", "550 5.7.1 blocked", Severity.HARD),
        ("failed", "5.2.2", "552 5.2.2 full", Severity.SOFT),
        ("failed", "4.4.7", "550 whatever", Severity.SOFT),
        ("failed", "5.0.0", "550 User has too many messages on the server", Severity.SOFT),
        ("failed", "5.0.0", "552 Account does not have enough space", Severity.SOFT),
        ("failed", "5.0.0", "421 try again later", Severity.SOFT),
        ("failed", "5.0.0", "connection timed out", Severity.HARD),
        ("failed", "", "connection timed out", Severity.SOFT),
        ("failed", "", "all hosts have been failing for a long time", Severity.SOFT),
        ("failed", "", "the mailbox does not exist", Severity.HARD),
        ("failed", "", "", Severity.HARD),
        ("failed", "", "ящик переполнен", Severity.SOFT),
        ("failed", "", "メールボックスが一杯です", Severity.SOFT),
        ("delayed", "5.1.1", "550 no such user", Severity.DELAYED),
        ("delayed", "", "", Severity.DELAYED),
        ("relayed (to non-DSN-aware mailer)", "2.1.5", "250 ok", None),
    ],
)
def test_severity(action: str, status: str, text: str, expected: Severity | None) -> None:
    assert severity.grade(action, status, text)[0] is expected


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("550 5.1.1 unknown", "5.1.1"),
        ("host 192.0.2.4[10.4.2.1] said 4.4.2", "4.4.2"),
        ("5.0.0 then 5.1.10", "5.1.10"),
        ("sent 2.0.0 ok", ""),
        ("version 8.14.4", ""),
    ],
)
def test_the_telling_status_of_a_text(text: str, status: str) -> None:
    assert severity.status_in(text) == status


@pytest.mark.parametrize(
    ("text", "goes_on"),
    [
        ("Delivery attempts will continue", True),
        ("Gmail will retry for 46 more hours.", True),
        ("hat sich verzögert", True),
        ("n'a pas encore été remis", True),
        ("配信が遅延しています", True),
        ("It was delayed, and could not be delivered: giving up", False),
        ("permanent error", False),
    ],
)
def test_a_delay_is_told_from_an_end(text: str, goes_on: bool) -> None:
    assert severity.tells_of_delay(text) is goes_on


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ("Final-Recipient: rfc822; petra@example.net", "petra@example.net"),
        ("Final-Recipient: RFC822;<petra@Example.NET>", "petra@example.net"),
        ("Final-Recipient: rfc822; petra+40example.net", "petra@example.net"),
        ("Final-Recipient: utf-8; j\\x{F6}rg@example.net", "jörg@example.net"),
        ("Final-Recipient: utf-8; пётр@пример.example", "пётр@пример.example"),
        ("Final-Recipient: rfc822; petra@mailhost", "petra@mailhost"),
        ("Final-Recipient: rfc822; petra@example.net (Petra)", "petra@example.net"),
        ("Final-Recipient: petra@example.net", "petra@example.net"),
        ("X-Actual-Recipient: rfc822; petra@example.net", "petra@example.net"),
        (
            "Final-Recipient: rfc822; work@x.example\nOriginal-Recipient: rfc822; p@example.net",
            "p@example.net",
        ),
        ("Original-Recipient: x400; /S=petra/\nFinal-Recipient: rfc822; p@example.net", "p@example.net"),
    ],
)
def test_whom_a_report_names(fields: str, address: str) -> None:
    raw = REPORT.replace(b"Final-Recipient: rfc822; petra@example.net", fields.encode())
    assert _failed(classify(raw)) == {address: Severity.HARD}


def test_every_recipient_of_a_report_is_named_once() -> None:
    group = "Final-Recipient: rfc822; {}@example.net\nAction: failed\nStatus: {}\n"
    many = "".join(
        group.format(name, status) for name, status in [("a", "5.1.1"), ("b", "4.2.1"), ("A", "5.1.1")]
    )
    raw = REPORT.replace(
        b"Final-Recipient: rfc822; petra@example.net\nAction: failed\nStatus: 5.1.1\n", many.encode()
    )
    assert _failed(classify(raw)) == {"a@example.net": Severity.HARD, "b@example.net": Severity.SOFT}


def test_a_thousand_recipients_are_cut_at_the_limit() -> None:
    group = b"Final-Recipient: rfc822; p%d@example.net\nAction: failed\nStatus: 5.1.1\n\n"
    raw = REPORT.replace(
        b"Final-Recipient: rfc822; petra@example.net\nAction: failed\nStatus: 5.1.1\n\n",
        b"".join(group % n for n in range(1_000)),
    )
    assert len(classify(raw).recipients) == delivery_report.RECIPIENT_LIMIT


def test_a_report_cut_after_its_headers_stays_a_bounce() -> None:
    headers = REPORT.index(b"\n\n")
    kinds = {classify(REPORT[:end]).kind for end in (headers, *range(headers, len(REPORT), 97))}
    assert kinds == {Kind.BOUNCE}


@pytest.mark.parametrize(
    ("encoding", "encode"), [(b"quoted-printable", quopri.encodestring), (b"base64", base64.encodebytes)]
)
def test_a_report_that_a_gateway_encoded_as_a_whole_is_read(
    encoding: bytes, encode: Callable[[bytes], bytes]
) -> None:
    head, _, body = REPORT.partition(b"\n\n")
    body = body.replace(b"text/plain\n", b"text/plain; charset=utf-8\n").replace(b"petra@", b"p=40=C3@")
    raw = head + b"\nContent-Transfer-Encoding: " + encoding + b"\n\n" + encode(body)
    assert _failed(classify(raw)) == {"p=40=C3@example.net": Severity.HARD}


@pytest.mark.parametrize(
    "headers",
    [
        b"From: Tom <tom@example.net>\nX-Mailer: Apple Mail (2.3774)\nSubject: Fwd: Undelivered Mail\n",
        b"From: Tom <tom@example.net>\nSubject: what is this?\n",
        b"From: Tom <tom@example.net>\nIn-Reply-To: <s1@segue.example>\nSubject: Re: A role\n",
    ],
)
def test_a_report_that_a_person_attaches_is_no_bounce(headers: bytes) -> None:
    body = REPORT[REPORT.index(b"Content-Type") :].replace(
        b"This is the mail system at host", b"It came from"
    )
    raw = headers + body.replace(b"multipart/report; report-type=delivery-status", b"multipart/mixed")
    assert classify(raw).kind is Kind.REPLY


def test_an_announcement_of_amazon_ses_in_an_envelope_of_sns() -> None:
    bounce = {
        "notificationType": "Bounce",
        "bounce": {
            "bounceType": "Transient",
            "bouncedRecipients": [{"emailAddress": "petra@example.net"}, {"emailAddress": 1}, "x"],
        },
        "mail": {"commonHeaders": {"messageId": "<s1@segue.example>"}},
    }
    raw = b"From: SES <no-reply@sns.amazonaws.com>\nSubject: AWS\n\n"
    verdict = classify(raw + json.dumps({"Type": "Notification", "Message": json.dumps(bounce)}).encode())
    assert (verdict.kind, verdict.original_message_ids) == (Kind.BOUNCE, ("<s1@segue.example>",))
    assert _failed(verdict) == {"petra@example.net": Severity.SOFT}


@pytest.mark.parametrize(
    "body",
    [
        b"{" * 200_000,
        b"[" * 200_000 + b"}",
        b'{"notificationType": "Bounce"}',
        b'{"notificationType": "Bounce", "bounce": []}',
        b'{"notificationType": "Complaint", "complaint": {"complainedRecipients": {}}}',
        b'{"Message": "{}"}',
        b"nothing",
    ],
)
def test_an_odd_announcement_is_no_defect(body: bytes) -> None:
    verdict = classify(b"From: SES <no-reply@sns.amazonaws.com>\nSubject: AWS\n\n" + body)
    assert not any(line.startswith("defect") for line in verdict.evidence)


DAEMON = b"From: MAILER-DAEMON@x.example\nSubject: failure notice\n"
HOSTILE = {
    "daemons-in-daemons": (
        DAEMON + b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n"
    )
    * 2_000,
    "rfc822-in-rfc822": (DAEMON + b"Content-Type: message/rfc822\n\n") * 4_000,
    "half-addresses": DAEMON + b"\nuser unknown " + b"a" * 500_000 + b"@" + b"b" * 500_000,
    "verp": DAEMON + b"\n" + b"a=b+c-d." * 100_000 + b"@x.example",
    "marks": DAEMON + b"\nx\n" + (b"> " * 400 + b"\n") * 1_000,
    "codes": DAEMON + b"\n" + b"550 5.1.1.1.1.1 " * 60_000,
    "bare-names": DAEMON + b"\nthe following recipients\n" + b" abc\n" * 200_000,
    "blank-groups": REPORT.replace(b"Action: failed\n", b"Action: failed\n" + b"\nX-A: b\n" * 100_000),
    "long-fields": REPORT.replace(b"Action: failed\n", b"Diagnostic-Code: " + b"(x" * 400_000 + b"\n"),
    "odd-address": REPORT.replace(b"petra@example.net", b"a@" * 300_000),
    "subject": b"From: MAILER-DAEMON@x.example\nSubject: " + b"[a] " * 200_000 + b"\n\nx",
    "feedback": b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n"
    b"Content-Type: message/feedback-report\n\n" + b"Original-Rcpt-To: redacted\n" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_reports_are_judged_in_bounded_time(name: str) -> None:
    """The bound is generous because machines differ; quadratic work on these would take minutes."""
    before = time.process_time()
    verdict = classify(HOSTILE[name])
    assert not any(line.startswith("defect") for line in verdict.evidence), verdict.evidence
    assert time.process_time() - before < 1.5
