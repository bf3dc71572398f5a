"""Recognises that a message of ours was not delivered, to whom, and how final that is.

Reports after RFC 3464 are read field by field; the many that are none are weighed like an automatic answer
is, so that a person who quotes or forwards a bounce stays a person. Own code, because flufl.bounce, measured
beside it, finds no delays and no severity.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from reply_detector import delivery_report, mime, notice_words, severity
from reply_detector.autoreply import null_return_path, subject_core, written_in_client
from reply_detector.delivery_report import REASON_LIMIT_CHARS, RECIPIENT_LIMIT
from reply_detector.fresh_text import fold, html_to_text
from reply_detector.mime import Part
from reply_detector.verdict import FailedRecipient, Severity

ENOUGH = 5
ENOUGH_WITHOUT_SENDER = 6  # a person, too, writes `undeliverable` in a subject
NOTICE_LIMIT_CHARS = 32_000
LINE_LIMIT = 400

_HEADER_START = re.compile(
    r"(?:return-path:|received: (?:from|by|\()|x-[a-z-]{1,30}: |message-id: ?<|mime-version: )", re.I
)
_NOT_RECIPIENT = re.compile(
    r"^(?:postmaster|mailer-daemon|abuse|support|help|helpdesk|hostmaster|webmaster|noreply"
    r"|no-reply|mdaemon)@",
    re.I,
)
_CONTACT = re.compile(
    r"(?:contact|questions?|assistance|help|forward|complain|send (?:mail|an? e-?mail"
    r"|e-?mail) to|write to|reply to|kontakt|sender|from|reporting-mta|received-from"
    r"|https?://)[^@]{0,80}$",
    re.I,
)
_WRITE_TO = re.compile(
    r"(?<!not )(?<!to )\bsend (?:an? )?(?:e-?mail|mail"
    r"|message)(?: message)?(?: from .{1,40})? to[ :]{1,3}[\"'<]{0,2}$",
    re.I,
)
_STRONG_BEFORE = re.compile(
    r"(?:^[\s>*•|#=.-]{0,40}[\"'<(\[]{0,3}|rcpt to: ?<?|(?:to|recipients?|addressee|address"
    r"|user|mailbox|error-for|for|addressed to"
    r"|address\(?e?s?\)?)[ :=]{1,4}[\"'<\[(]{0,3}(?:smtp:)?|smtp[:=]|rfc822;\s?"
    r"|generated from |originally addressed to |undeliverable (?:to|address:) |attempts?: "
    r"|userid: |unknown user: |to this address\s{0,5})$",
    re.I,
)
_LINE_OF_ADDRESS = re.compile(r"^\s{0,5}<[^<>\s@]{1,64}@[^<>\s]{3,250}>:\s{0,5}$", re.M)
_SALUTATION = re.compile(
    r"\s{0,20}(?:hi|hello|hey|dear|hallo|liebe[rs]?|guten tag|bonjour|salut|hola|beste|ol[aá]|oi|ciao"
    r"|gentile)\b[ ,]{1,3}[^\W\d_]{2,30}",
    re.I,
)
_BARE_NAME = re.compile(r"^[ \t]{1,20}([A-Za-z0-9][\w.-]{1,63})[ \t]{0,5}$", re.M)
_ROUTE = re.compile(r"^.{0,40}?(?:smtp|rfc822|mailto)[=:;]", re.I)
_OUR_LINE = re.compile(r"^\s{0,10}(?:from|reply-to|sender|von|de|subject|betreff|cc)\s{0,3}:", re.I)
_MESSAGE_ID_LINE = re.compile(
    r"^[> \t]{0,5}message-id:[ \t]{0,5}\n?[ \t]{0,8}(<[^<>\s]{3,250}>)", re.I | re.M
)
_TO_LINE = re.compile(r"^[> \t]{0,5}to:[ \t]{0,10}(.{3,400})$", re.I | re.M)


@dataclass(frozen=True, slots=True)
class Bounce:
    """Recipients may be empty: some notices name none. `delivered` marks a report of success only (RFC
    3464).
    """

    recipients: tuple[FailedRecipient, ...]
    message_ids: tuple[str, ...]
    delivered: bool = False


@dataclass(frozen=True, slots=True)
class _Notice:
    """What a daemon wrote: `text` up to the returned message, `returned` what follows of it in the same
    text.
    """

    text: str
    returned: str


def find(message: Part, parts: list[Part], ours: tuple[str, ...], evidence: list[str]) -> Bounce | None:
    """The bounce in `message`; `ours` are the addresses that it was sent to, which can't be the failed
    ones.

    What was weighed is added to `evidence`, also when it was too little.
    """
    notice = _notice(parts)
    report = delivery_report.find(message, parts, trusted=_from_daemon(message))
    if report is not None and not _passed_on(message, parts):
        evidence.append("delivery status report (RFC 3464)")
    elif not _is_notice(message, parts, notice, evidence):
        return None
    groups = delivery_report.groups(report) if report is not None else []
    message_ids = _message_ids(mime.returned(parts), notice)
    if groups and delivery_report.all_got_it(groups):
        evidence.append("all recipients got the message")
        return Bounce((), message_ids, delivered=True)
    recipients = _reported(groups, notice) or _named_in_text(message, notice, ours, evidence)
    if not recipients:
        inner = _wrapped(message, parts, ours, evidence)
        if inner is not None:
            return inner
        recipients = _taken_from_original(mime.returned(parts), message, notice, ours, evidence)
    evidence += [f"{r.severity.value}: status {r.status or 'none'}" for r in recipients[:10]]
    return Bounce(tuple(recipients[:RECIPIENT_LIMIT]), message_ids)


def returned_ids(parts: list[Part]) -> tuple[str, ...]:
    """Message-IDs of attached or returned messages."""
    original = mime.returned(parts)
    return tuple(mime.message_ids(original.get("message-id"))) if original is not None else ()


def _notice(parts: list[Part]) -> _Notice:
    plain, rich = [], []
    for part in parts:
        if part.content_type in mime.RETURNED_TYPES:
            break
        if part.parts or part.is_attachment:
            continue
        if part.content_type == "text/html":
            rich.append(html_to_text(part.text[: NOTICE_LIMIT_CHARS * 2]))
        elif part.content_type.startswith("text/"):
            plain.append(part.text[:NOTICE_LIMIT_CHARS])
    whole = "\n".join(plain).strip() or "\n".join(rich)
    return _cut(whole[:NOTICE_LIMIT_CHARS])


def _cut(text: str) -> _Notice:
    lines = text.split("\n", LINE_LIMIT)[:LINE_LIMIT]
    for index, line in enumerate(lines):
        head = line[:200]
        if (
            index
            and (notice_words.RETURN_MARK.match(head) or _HEADER_START.match(head))
            and any(each.strip() for each in lines[:index])
        ):
            return _Notice("\n".join(lines[:index]), "\n".join(lines[index:]))
    return _Notice("\n".join(lines), "")


def _from_daemon(message: Part) -> bool:
    sender = message.get("from")[:400]
    return (
        bool(notice_words.DAEMON.search(sender) or notice_words.MASTER.search(sender))
        or null_return_path(message)
        or bool(message.headers.get("x-failed-recipients"))
    )


def _passed_on(message: Part, parts: list[Part]) -> bool:
    """Whether a report may have come by way of a person, who forwards or attaches one.

    Then the rest of the message has to tell.
    """
    if _from_daemon(message):
        return False
    if message.content_type == "multipart/report":
        return written_in_client(message)
    inner = any(part.content_type == "multipart/report" for part in parts)  # what a list or a scanner wraps
    return not inner or written_in_client(message) or subject_core(message.get("subject")[:300])[1]


def _reported(groups: list[dict[str, str]], notice: _Notice) -> list[FailedRecipient]:
    return [
        found if found.reason else replace(found, reason=_plain(_reason(notice.text, found.address)))
        for found in delivery_report.failures(groups, notice.text)
    ]


def _wrapped(message: Part, parts: list[Part], ours: tuple[str, ...], evidence: list[str]) -> Bounce | None:
    """The bounce that a gateway returned as if it were the message itself."""
    for part in parts if message.depth < mime.DEPTH_LIMIT else ():
        if part.content_type in ("message/rfc822", "message/global"):
            inner = part.enclosed
            addressed = (*ours, *mime.addresses(inner.get("to")))
            return find(inner, list(inner.walk()), addressed, evidence) if _from_daemon(inner) else None
    return None


def _is_notice(message: Part, parts: list[Part], notice: _Notice, evidence: list[str]) -> bool:
    """Weighs a notice that is no RFC 3464 report. The words alone never reach the mark."""
    sender = envelope = _weigh_sender(message, evidence)
    subject = message.get("subject")[:300]
    core, answered = subject_core(subject)
    named = not answered and notice_words.names_failure(core)
    if named:
        envelope += _point(3, "subject of a delivery notice", evidence)
    elif envelope and not answered and notice_words.mentions_failure(subject):
        envelope += _point(2, "subject tells of a failure", evidence)
    words = _weigh_words(notice, sender, evidence)
    if envelope and (notice.returned or any(part.content_type in mime.RETURNED_TYPES for part in parts)):
        words += _point(1, "returns the message", evidence)
    if envelope and words and written_in_client(message):
        words += _point(-3, "written in a mail program for people", evidence)
    if envelope and words and not sender:
        words += _weigh_person(message, notice, evidence)
    if not words and not (sender and (named or delivery_report.declares(message))):
        return False  # words in a language not known here need more than a sender
    return envelope >= 2 and envelope + words >= (ENOUGH if sender else ENOUGH_WITHOUT_SENDER)


def _weigh_person(message: Part, notice: _Notice, evidence: list[str]) -> int:
    """What speaks against a notice of which nobody knows that a program sent it."""
    points = 0
    if message.headers.get("in-reply-to") or message.headers.get("references"):
        points += _point(-2, "answers a message", evidence)
    if _SALUTATION.match(notice.text[:200]):
        points += _point(-2, "greets somebody", evidence)
    return points


def _weigh_words(notice: _Notice, sender: int, evidence: list[str]) -> int:
    text = notice.text[:3_000]
    words = 0
    if notice_words.says_failure(fold(text)) or _LINE_OF_ADDRESS.search(text):
        words += _point(2, "words of a delivery notice", evidence)
    if sender and notice_words.SERVER_SAID.search(text):
        words += _point(1, "an answer of a mail server", evidence)
    if sender and notice_words.COMMAND_SENT.search(text):
        words += _point(1, "a command to a mail server", evidence)
    return words


def _weigh_sender(message: Part, evidence: list[str]) -> int:
    points = 0
    sender = message.get("from")[:400]
    if message.headers.get("x-failed-recipients"):
        points += _point(5, "X-Failed-Recipients", evidence)
    if notice_words.DAEMON.search(sender):
        points += _point(3, "sent by a mail daemon", evidence)
    elif notice_words.MASTER.search(sender):
        points += _point(2, "sent by a mail system", evidence)
    if null_return_path(message) or any(
        "mailer-daemon" in value.lower()[:200] for value in message.headers.get("return-path", ())[:2]
    ):
        points += _point(2, "null return path", evidence)
    if delivery_report.declares(message):
        points += _point(3, "declared a delivery report", evidence)
    elif (
        message.content_type == "multipart/report"
        and message.parameters.get("report-type", "").lower() != "disposition-notification"
    ):
        points += _point(2, "multipart/report", evidence)
    return points


def _point(points: int, why: str, evidence: list[str]) -> int:
    evidence.append(f"bounce {points:+d}: {why}")
    return points


def _named_in_text(
    message: Part, notice: _Notice, ours: tuple[str, ...], evidence: list[str]
) -> list[FailedRecipient]:
    """Recipients named in words: by the header made for it, or by their place in the notice."""
    own = {address.lower() for address in ours}
    begins = notice_words.LIST_BEGINS.search(notice.text)
    listed = notice.text[begins.end() :] if begins else ""
    spans = _spans(listed, own)
    named = mime.addresses(", ".join(message.get_all("x-failed-recipients")))
    if named:
        evidence.append("recipients from X-Failed-Recipients")
    elif not spans:
        named = _bare_names(message, listed)
    if not named:
        spans = spans or _spans(notice.text, own)
        named = list(dict.fromkeys(span for span, _ in spans))
    return _graded_all(named, dict(reversed(spans)), message, notice)


def _taken_from_original(
    original: Part | None, message: Part, notice: _Notice, ours: tuple[str, ...], evidence: list[str]
) -> list[FailedRecipient]:
    """The recipient that the notice leaves unsaid: the returned To, if it has one address."""
    named = _returned_to(original, notice, ours)
    if named:
        evidence.append("recipient from the returned message's To")
    return _graded_all(named, {}, message, notice)


def _graded_all(
    named: list[str], texts: dict[str, str], message: Part, notice: _Notice
) -> list[FailedRecipient]:
    delayed = severity.tells_of_delay(notice.text + "\n" + message.get("subject")[:200])
    return [
        _graded(address, texts.get(address, ""), notice.text, delayed) for address in named[:RECIPIENT_LIMIT]
    ]


def _bare_names(message: Part, listed: str) -> list[str]:
    """Mailboxes of the daemon's own domain, which it names without it."""
    sender = message.get("from")[:400]
    domain = mime.sender(sender).rpartition("@")[2]
    if not domain or not notice_words.DAEMON.search(sender):
        return []
    return [f"{name}@{domain}" for name in _BARE_NAME.findall(listed[:2_000])[:10]]


def _graded(address: str, own: str, whole: str, delayed: bool) -> FailedRecipient:
    """Judges by the words next to the address; by all the words where those say nothing."""
    telling = own if severity.status_in(own) or len(own.strip()) > 15 else whole
    text = telling.replace(address, " ")
    graded, status = severity.grade("delayed" if delayed else "failed", severity.status_in(text), text)
    if telling is own and graded is Severity.HARD and not status:
        graded, status = severity.grade("failed", severity.status_in(whole), whole)
    return FailedRecipient(address, graded or Severity.HARD, status, _plain(_reason(telling, address)))


def _spans(text: str, ours: set[str]) -> list[tuple[str, str]]:
    """Each address that is placed like a failed one (or else each), with the words up to the next one."""
    strong: list[tuple[int, str]] = []
    weak: list[tuple[int, str]] = []
    own: list[tuple[int, str]] = []
    offset = 0
    for line in text.split("\n"):
        for match in _addresses_in(line[:1_000]):
            address = mime.normal_address(_ROUTE.sub("", match[0]).lstrip("='*|/"))
            before = line[: match.start()]
            rank = _placed(before, line[match.end() : match.end() + 60], address)
            if address.lower() in ours:
                own.append((offset + match.start(), address))
            elif rank and not _OUR_LINE.match(line):
                (strong if rank == 2 else weak).append((offset + match.start(), address))
        offset += len(line) + 1
    chosen = strong or weak or own[:1]
    ends = [position for position, _ in chosen[1:]] + [len(text)]
    return [(address, text[start:end][:2_000]) for (start, address), end in zip(chosen, ends, strict=False)]


def _addresses_in(line: str) -> Iterator[re.Match[str]]:
    return mime.ADDRESS.finditer(line) if "@" in line else iter(())


def _placed(before: str, after: str, address: str) -> int:
    """2 if an address stands where notices put the failed one, 1 if it may be, 0 if it is somebody to ask."""
    if _NOT_RECIPIENT.match(address) or before.endswith(("message-id: <", "mailto:")):
        return 0
    if _WRITE_TO.search(before[-120:]):
        return 0
    if _STRONG_BEFORE.search(before[-120:]):
        return 2
    if _CONTACT.search(before[-120:]):
        return 0
    return 2 if after.startswith((">:", "...", ": ")) or after.strip() == ":" else 1


def _returned_to(original: Part | None, notice: _Notice, ours: tuple[str, ...]) -> list[str]:
    found = mime.addresses(original.get("to")) if original is not None else []
    if not found:
        line = _TO_LINE.search(notice.returned[:NOTICE_LIMIT_CHARS]) or _TO_LINE.search(notice.text)
        found = mime.addresses(line[1]) if line else []
    lowered = {address.lower() for address in ours}
    found = [address for address in found if address.lower() not in lowered]
    return found[:1] if len(found) == 1 else []


def _reason(text: str, address: str) -> str:
    """The line that says why: the one with a code, or the first words after the address."""
    lines = [" ".join(line.split()) for line in text[:4_000].split("\n")]
    lines = [line for line in lines if line]
    for line in lines:
        if severity.status_in(line) or re.search(r"(?<!\d)[45]\d\d[ -]", line[:300]):
            return line
    rest = [line for line in lines if address not in line]
    return rest[0] if rest else lines[0] if lines else ""


def _plain(text: str) -> str:
    return " ".join(text.split())[:REASON_LIMIT_CHARS]


def _message_ids(original: Part | None, notice: _Notice) -> tuple[str, ...]:
    found = mime.message_ids(original.get("message-id")) if original is not None else []
    for text in (notice.returned, notice.text) if not found else ():
        found += _MESSAGE_ID_LINE.findall(text[:NOTICE_LIMIT_CHARS])[:3]
    return tuple(dict.fromkeys(found))
