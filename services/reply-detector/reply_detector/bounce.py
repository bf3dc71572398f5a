"""Recognises that a message of ours was not delivered, to whom, and how final that is.

Reports after RFC 3464 are read field by field; the many that are none are weighed like an automatic answer
is, so that a person who quotes or forwards a bounce stays a person. Own code, because flufl.bounce, measured
beside it, finds no delays and no severity.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from reply_detector import mime, severity
from reply_detector.autoreply import null_return_path, subject_core, written_in_client
from reply_detector.fresh_text import fold, html_to_text
from reply_detector.mime import Part
from reply_detector.verdict import FailedRecipient, Severity

ENOUGH = 5
ENOUGH_WITHOUT_SENDER = 6  # a person, too, writes `undeliverable` in a subject
NOTICE_LIMIT_CHARS = 32_000
LINE_LIMIT = 400
RECIPIENT_LIMIT = 200
REASON_LIMIT_CHARS = 400
_RETURNED = (
    "message/rfc822",
    "text/rfc822-headers",
    "message/rfc822-headers",
    "message/global",
    "message/global-headers",
    "message/partial",
)

_FIELD = re.compile(r"^([A-Za-z][A-Za-z-]{2,40})[ \t]{0,5}:[ \t]{0,20}(.*)$")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_DAEMON = re.compile(
    r"mailer-?daemon|mdaemon|mail[ .]?delivery[ .]?(?:sub)?[ .-]?system|delivery[ .]subsystem"
    r"|maildelivery|bounce[sd]?@|ndr@|delivery[- ]?(?:failure|status)",
    re.I,
)
_MASTER = re.compile(
    r"postmaster|mail ?(?:system )?admin|system ?admin|mail ?gateway|smtp[_ ]?(?:mail|gateway"
    r"|server)|imss@|mail ?system|jetmail|microsoftexchange|mail ?server",
    re.I,
)
_SUBJECT = re.compile(
    r"(?:\*+\s?spam\s?\*+\s?)?(?:\[\w{1,20}\] )?(?:un(?:delivered|deliverable|able to deliver"
    r"|zustellbar)|returned (?:mail|e-?mail|message|to sender)|return(?:ed|ing) mail"
    r"|non[- ]?(?:delivery|remis|remise)|delivery (?:status|failure|failed|report|problem"
    r"|error|notification|has failed|incomplete|unsuccessful|delayed)"
    r"|(?:permanent )?delivery failure"
    r"|mail (?:delivery|system error|could not|failed|failure|error|not delivered|returned"
    r"|status)|e-?mail (?:delivery|could not|not delivered|failure)|message (?:delivery"
    r"|could not|not delivered|status|undeliverable|delayed)|failure (?:notice|delivery)"
    r"|failed mail|failed delivery|failed:|could not (?:deliver|be delivered)|cannot deliver"
    r"|can't deliver|processing error|warning: (?:message|could not|.{1,60}user unknown|mail)"
    r"|delivery$|delayed (?:mail|delivery)|automatically rejected"
    r"|unzustellbar|nicht zustellbar|nachricht unzustellbar|mail nicht|zustellung"
    r"|fehler bei der zustellung|ruckmeldung|uebermittlung|non remis|echec de|message non"
    r"|notification d'echec|no se (?:puede|pudo)|no entregad|mensaje no|error de entrega"
    r"|notificacion del estado de entrega|devuelto|onbestelbaar|niet bezorgd|niet afgeleverd"
    r"|mislukt|bezorging|falha|nao entreg|mensagem nao|nao foi possivel|devolvid"
    r"|mancata consegna|impossibile recapitare|messaggio non|non recapitabile|notifica (?:di"
    r"|dello) (?:mancat|stato)|consegna)",
    re.I,
)
_SUBJECT_ANYWHERE = re.compile(
    r"could not be delivered|not delivered|delivery failure|undeliverable|: non remis"
    r"|delivery (?:has )?failed",
    re.I,
)
_FORMULA = re.compile(
    r"could ?n[o']t be delivered|could not (?:be )?deliver|cannot be delivered"
    r"|can ?not deliver|was not delivered|not been delivered|been delayed|was undeliverable"
    r"|were undeliverable|undeliverable to|undeliverable address|unable to (?:deliver|send"
    r"|relay|route)|wasn't able to deliver|not able to deliver|couldn't be delivered"
    r"|wasn't delivered|delivery (?:has |have )?failed|delivery to (?:the|this|these|that)"
    r"|did not reach|did not receive|has been returned|returned to (?:sender|you)|(?:following"
    r"|these) (?:address|recipient)|(?:failed|failing) (?:address|recipient)|fatal errors"
    r"|delivery errors|failure notice|delivery (?:failure|status) notification"
    r"|no valid recipients|invalid final delivery|delivery failed|message not delivered"
    r"|not delivered to|automatically rejected|was rejected|blocked|user unknown|unknown user"
    r"|no such user"
    r"|mail delivery software|the mail system at|qmail-send program|deliver program"
    r"|delivery of (?:email|your|this)|intended recipient|error-for:|did not exactly match"
    r"|encountered delivery problems|mailbox (?:is full|unavailable|not found)"
    r"|address (?:not found|couldn't be found)|wasn't found|problem delivering"
    r"|delivery incomplete|message blocked|has not been delivered|rejected your message"
    r"|konnte nicht zugestellt|nicht zugestellt werden|nicht zustellbar|unzustellbar"
    r"|nicht erreicht|n'a pas pu etre|n'a pu etre|n'ont pas pu|non remis|pas ete (?:remis"
    r"|distribue|delivre)|no (?:se )?(?:pudo|ha podido|puede|se ha podido) (?:ser )?(?:entreg"
    r"|enviar)|no pudo ser entregado|no se entreg|kon niet worden (?:bezorgd|afgeleverd)"
    r"|niet (?:worden )?(?:bezorgd|afgeleverd)|nao (?:pode|foi possivel|foi entregue|pode ser)"
    r"|nao foi entregue|non (?:e stato|e stata|puo essere) (?:possibile )?(?:recapit|consegn)"
    r"|impossibile (?:recapitare|consegnare)|mancato recapito|не может быть доставлено",
    re.I,
)
_RETURN_MARK = re.compile(
    r"[\s>|*#=_+.-]{0,60}(?:(?:this is a copy of|here is a copy|a copy of|below (?:this"
    r"|the next) line is|included is a copy|copy of (?:your|the)) .{0,60}(?:message|mail"
    r"|header|line)|(?:the )?(?:header|first \d{1,4} lines|body) (?:and .{1,30} )?of (?:the"
    r"|your) .{0,12}(?:message|mail)|(?:your )?(?:original|returned|unsent|undelivered|source"
    r"|old) (?:message|mail|text)\b(?! (?:was|could|has|is|to|did|not|id|information|att))"
    r"|message (?:text|headers?) (?:follows?)|the following mail|start of returned"
    r"|your message reads|--- (?:mensaje|message|mail|original|header)"
    r"|original message (?:follows|headers?)|returned mail follows|message body"
    r"|header of the source|attached is (?:a copy of )?(?:the|your)|forwarded message"
    r"|urspr.ngliche (?:nachricht|mail)|message d.origine|mensaje original|messaggio originale"
    r"|mensagem original|oorspronkelijk bericht)",
    re.I,
)
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
_STRONG_BEFORE = re.compile(
    r"(?:^[\s>*•|#=.-]{0,40}[\"'<(\[]{0,3}|rcpt to: ?<?|(?:to|recipients?|addressee|address"
    r"|user|mailbox|error-for|for|addressed to"
    r"|address\(?e?s?\)?)[ :=]{1,4}[\"'<\[(]{0,3}(?:smtp:)?|smtp[:=]|rfc822;\s?"
    r"|generated from |originally addressed to |undeliverable (?:to|address:) |attempts?: "
    r"|userid: |unknown user: |to this address\s{0,5})$",
    re.I,
)
_LINE_OF_ADDRESS = re.compile(r"^\s{0,5}<[^<>\s@]{1,64}@[^<>\s]{3,250}>:\s{0,5}$", re.M)
_ROUTE = re.compile(r"^.{0,40}?(?:smtp|rfc822|mailto)[=:;]", re.I)
_LIST_BEGINS = re.compile(
    r"(?:following|these) (?:e-?mail )?(?:recipient|address|user|person|mailbox|group)"
    r"|did not receive|failed (?:address|recipient)|(?:folgende\w? (?:empf.nger|adress"
    r"|person))|destinataires? suivant|adresses? suivante|siguientes? (?:destinatario|direcci"
    r"|persona)|seguent[ei] (?:destinatar|indirizz)|seguintes? (?:destinat|endere)"
    r"|volgende (?:geadresseerde|ontvanger|adres)",
    re.I,
)
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
    report = _report(message, parts)
    groups = list(_groups(report)) if report is not None else []
    if report is not None:
        evidence.append("delivery status report (RFC 3464)")
    elif not _is_notice(message, parts, notice, evidence):
        return None
    original = _original(parts)
    recipients = _reported(groups, notice)
    if (
        not recipients
        and groups
        and all(group.get("action", "").startswith(("deliv", "relay", "expan")) for group in groups)
    ):
        evidence.append("all recipients got the message")
        return Bounce((), _message_ids(original, notice), delivered=True)
    if not recipients:
        recipients = _read_in_text(message, notice, original, ours, evidence)
    evidence += [f"{r.severity.value}: status {r.status or 'none'}" for r in recipients[:10]]
    return Bounce(tuple(recipients[:RECIPIENT_LIMIT]), _message_ids(original, notice))


def returned_ids(parts: list[Part]) -> tuple[str, ...]:
    """Message-IDs of attached or returned messages."""
    original = _original(parts)
    return tuple(mime.message_ids(original.get("message-id"))) if original is not None else ()


def _notice(parts: list[Part]) -> _Notice:
    plain, rich = [], []
    for part in parts:
        if part.content_type in _RETURNED:
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
            and (_RETURN_MARK.match(head) or _HEADER_START.match(head))
            and any(each.strip() for each in lines[:index])
        ):
            return _Notice("\n".join(lines[:index]), "\n".join(lines[index:]))
    return _Notice("\n".join(lines), "")


def _report(message: Part, parts: list[Part]) -> Part | None:
    for part in parts:
        if part.content_type in ("message/delivery-status", "message/global-delivery-status"):
            return part
    declared = message.parameters.get("report-type", "").lower() == "delivery-status"
    for part in parts if declared or _from_daemon(message) else ():
        lowered = part.text[:8_000].lower() if not part.parts and part.content_type not in _RETURNED else ""
        if "final-recipient:" in lowered and ("\nstatus:" in lowered or "\naction:" in lowered):
            return part
    return None


def _groups(report: Part) -> Iterator[dict[str, str]]:
    """The per-recipient groups of a delivery status: blank lines between them, sometimes none."""
    group: dict[str, str] = {}
    last = ""
    for line in report.text.split("\n", 4_000)[:4_000]:
        if line[:1] in (" ", "\t") and last and line.strip():
            group[last] = f"{group[last]} {line.strip()}"[:2_000]
            continue
        match = _FIELD.match(line[:2_000])
        name = match[1].lower() if match else ""
        if not line.strip() or (name == "final-recipient" and name in group):
            if _names_recipient(group):
                yield group
            group, last = {}, ""
        if match:
            group.setdefault(name, match[2].strip())
            last = name
    if _names_recipient(group):
        yield group


def _names_recipient(group: dict[str, str]) -> bool:
    return "final-recipient" in group or "original-recipient" in group or "x-actual-recipient" in group


def _reported(groups: Iterable[dict[str, str]], notice: _Notice) -> list[FailedRecipient]:
    found: dict[str, FailedRecipient] = {}
    for group in groups:
        address = _reported_address(group)
        if not address or len(found) >= RECIPIENT_LIMIT:
            continue
        diagnostic = group.get("diagnostic-code", "")
        status = _STATUS.search(group.get("status", ""))
        action = group.get("action", "").lower()
        text = (
            diagnostic
            if diagnostic or (status and not severity.is_generic(status[0]))
            else notice.text[:4_000]
        )
        if not action and (group.get("will-retry-until") or severity.tells_of_delay(notice.text)):
            action = "delayed"
        graded, code = severity.grade(action, status[0] if status else "", text)
        if graded is not None:
            reason = (diagnostic.partition(";")[2] or diagnostic).strip() or _reason(notice.text, address)
            found.setdefault(address.lower(), FailedRecipient(address, graded, code, _plain(reason)))
    return list(found.values())


def _reported_address(group: dict[str, str]) -> str:
    """Whom we wrote to, so Original-Recipient before the address that it was forwarded to."""
    for name in ("original-recipient", "final-recipient", "x-actual-recipient"):
        value = group.get(name, "")
        kind, semicolon, address = value.partition(";")
        if semicolon and "x400" in kind.lower():
            continue
        found = mime.addresses(
            _XTEXT.sub(_from_xtext, address) if semicolon and "+" in address and "@" not in address else value
        )
        if found:
            return found[0]
    return ""


def _from_xtext(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _from_daemon(message: Part) -> bool:
    return bool(
        _DAEMON.search(message.get("from")[:400]) or _MASTER.search(message.get("from")[:400])
    ) or null_return_path(message)


def _is_notice(message: Part, parts: list[Part], notice: _Notice, evidence: list[str]) -> bool:
    """Weighs a notice that is no RFC 3464 report. The words alone never reach the mark."""
    sender = envelope = _weigh_sender(message, evidence)
    subject = message.get("subject")[:300]
    core, answered = subject_core(subject)
    named = not answered and bool(_SUBJECT.match(core))
    if named:
        envelope += _point(3, "subject of a delivery notice", evidence)
    elif envelope and _SUBJECT_ANYWHERE.search(subject):
        envelope += _point(2, "subject tells of a failure", evidence)
    words = 0
    if _FORMULA.search(fold(notice.text[:3_000])) or _LINE_OF_ADDRESS.search(notice.text[:3_000]):
        words += _point(2, "words of a delivery notice", evidence)
    if envelope and (notice.returned or any(part.content_type in _RETURNED for part in parts)):
        words += _point(1, "returns the message", evidence)
    if envelope and words and written_in_client(message):
        words += _point(-3, "written in a mail program for people", evidence)
    if not words and not (named and sender):  # words in a language not known here
        return False
    return envelope >= 2 and envelope + words >= (ENOUGH if sender else ENOUGH_WITHOUT_SENDER)


def _weigh_sender(message: Part, evidence: list[str]) -> int:
    points = 0
    sender = message.get("from")[:400]
    if message.headers.get("x-failed-recipients"):
        points += _point(5, "X-Failed-Recipients", evidence)
    if _DAEMON.search(sender):
        points += _point(3, "sent by a mail daemon", evidence)
    elif _MASTER.search(sender):
        points += _point(2, "sent by a mail system", evidence)
    if null_return_path(message) or any(
        "mailer-daemon" in value.lower()[:200] for value in message.headers.get("return-path", ())[:2]
    ):
        points += _point(2, "null return path", evidence)
    if (
        message.content_type == "multipart/report"
        and message.parameters.get("report-type", "").lower() != "disposition-notification"
    ):
        points += _point(2, "multipart/report", evidence)
    return points


def _point(points: int, why: str, evidence: list[str]) -> int:
    evidence.append(f"bounce {points:+d}: {why}")
    return points


def _read_in_text(
    message: Part, notice: _Notice, original: Part | None, ours: tuple[str, ...], evidence: list[str]
) -> list[FailedRecipient]:
    """Recipients named in words: by the header made for it, by their place in the notice, by the
    original's To.
    """
    own = {address.lower() for address in ours}
    begins = _LIST_BEGINS.search(notice.text)
    spans = (_spans(notice.text[begins.end() :], own) if begins else []) or _spans(notice.text, own)
    named = mime.addresses(", ".join(message.get_all("x-failed-recipients")))
    if named:
        evidence.append("recipients from X-Failed-Recipients")
    else:
        named = list(dict.fromkeys(span for span, _ in spans))
    if not named:
        named = _returned_to(original, notice, ours)
        if named:
            evidence.append("recipient from the returned message's To")
    texts = dict(reversed(spans))
    delayed = severity.tells_of_delay(notice.text + "\n" + message.get("subject")[:200])
    return [
        _graded(address, texts.get(address, ""), notice.text, delayed) for address in named[:RECIPIENT_LIMIT]
    ]


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


def _original(parts: list[Part]) -> Part | None:
    for part in parts:
        if part.content_type in _RETURNED:
            return part.enclosed
    return None


def _message_ids(original: Part | None, notice: _Notice) -> tuple[str, ...]:
    found = mime.message_ids(original.get("message-id")) if original is not None else []
    for text in (notice.returned, notice.text) if not found else ():
        found += _MESSAGE_ID_LINE.findall(text[:NOTICE_LIMIT_CHARS])[:3]
    return tuple(dict.fromkeys(found))
