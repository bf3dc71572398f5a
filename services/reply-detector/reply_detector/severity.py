"""Grades a failure: what may end a sequence, what is tried again, what only waits.

The rule: `hard` takes a failure with a 5.x.x status; 5.2.2 (mailbox full, by policy), every 4.x.x and every
delay is never hard, whatever the text around it says.
"""

import re

from reply_detector.verdict import Severity

_ENHANCED = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?!\.?\d)")
_REPLY_CODE = re.compile(
    r"(?<![\d.:/-])([45][0-5]\d)(?=[ \t-][^\d\s]|[ \t-]#?[45]\.\d|[ \t]?\(#|$|[\])])", re.M
)
_FULL = re.compile(
    r"quota|mail ?box (?:is |was |has been )?(?:full|exceed|size)|mailbox for .{1,60} is full"
    r"|(?:mailbox|inbox|account|user|recipient)(?:'s)? .{0,30}(?:is |too |disk )full"
    r"|full mailbox|insufficient (?:system )?storage|disk (?:space|full)"
    r"|out of (?:storage|space|disk)|over ?quota|storage (?:limit|space)|box space not enough"
    r"|exceeded storage|not enough (?:storage|space|disk)|mailbox .{0,20}overflow"
    r"|postfach (?:ist )?voll|bo[iî]te .{0,20}pleine|buz[oó]n .{0,20}lleno"
    r"|casella .{0,20}piena|caixa .{0,25}cheia|postvak .{0,15}vol\b",
    re.I,
)
_TEMPORARY = re.compile(
    r"temporar|try (?:again )?later|greylist|deferred|timed? ?-?out|timeout|retry time"
    r"|connection refused|could ?n.?t connect|unable to connect|not? (?:be )?respond"
    r"|unreachable|not reachable|too many (?:connections|hops retries)|unavailable or busy"
    r"|within the allowed|queue period|vor[üu]bergehend|temporaire|temporal",
    re.I,
)
_UNKNOWN_RECIPIENT = re.compile(
    r"user unknown|unknown user|no such (?:user|mailbox|person|address|recipient)"
    r"|does ?n.?t (?:exist|have a)|does not exist|invalid (?:recipient|mailbox|address|final"
    r"|user)|not (?:known|found|recognized|listed|a valid)|unknown (?:or illegal|recipient"
    r"|address|host|domain|local)|user not|no mailbox here|unrouteable|unroutable"
    r"|mailbox (?:not found|unavailable)|host (?:unknown|not found)"
    r"|account (?:has been )?(?:disabled|closed|suspended|deactivated)",
    re.I,
)
_DELAY = re.compile(
    r"(?:has|have|is|was|been|being) (?:been |being )?(?:temporarily )?(?:delayed|postponed"
    r"|queued for)|not yet been delivered|still (?:being )?(?:trying|queued|in (?:the )?queue"
    r"|undelivered)|will (?:be retried|retry|keep trying|continue to (?:be )?(?:try|attempt"
    r"|retr))|(?:delivery )?attempts will continue"
    r"|warning message only|this is (?:just |only )?a warning|you do not need to (?:resend"
    r"|take any action)|no action is required on your part|could not be delivered (?:for"
    r"|within) .{0,30}(?:hours?|days?).{0,60}(?:keep|continue|retr)"
    r"|delivery (?:status notification )?\(?delay(?:ed)?\)?|delivery delayed|message delayed"
    r"|delay notification|noch nicht zugestellt|verz[öo]gert|weitere zustellversuche"
    r"|retard(?:é|e) de|n'a pas encore|se ha retrasado|a[úu]n no se ha|sigue intent|vertraagd"
    r"|nog niet (?:worden )?(?:afgeleverd|bezorgd)|atrasad|ainda n[ãa]o foi|in ritardo"
    r"|non [èe] ancora",
    re.I,
)
_GAVE_UP = re.compile(
    r"permanent(?:ly)? (?:error|fail|fatal)|failed permanently|permanent failure|giving up"
    r"|given up|gave up|could not be delivered for .{0,20} (?:and|so) .{0,30}(?:return|remov)"
    r"|removed from the (?:mail )?queue|aborted after|will not be retried|no further attempts"
    r"|retry timeout exceeded|too old|final attempt|undeliverable",
    re.I,
)


def status_in(text: str) -> str:
    """The most telling enhanced status code in a text: a specific one before `5.0.0`, or empty."""
    found = _ENHANCED.findall(text[:4_000])
    found = [code for code in found if not code.startswith("2.")]
    return next((code for code in found if not is_generic(code)), found[0] if found else "")


def is_generic(status: str) -> bool:
    return status.endswith(".0.0") or not status


def tells_of_delay(text: str) -> bool:
    """Whether a notice says that delivery goes on, and not that it ended."""
    text = text[:6_000]
    return bool(_DELAY.search(text)) and not _GAVE_UP.search(text)


def grade(action: str, status: str, text: str) -> tuple[Severity | None, str]:
    """The severity and the status to report; None when the recipient did get the message (RFC 3464,
    2.3.3).

    `action` and `status` as reported, or empty; `text` is what the reporting host said.
    """
    if action.startswith(("delivered", "relayed", "expanded")):
        return None, status
    best = status_in(text) if is_generic(status) else status
    best = best or status
    if action.startswith("delay"):
        return Severity.DELAYED, best
    return _graded_failure(status, best, text[:4_000]), best


def _graded_failure(reported: str, status: str, text: str) -> Severity:
    if reported.startswith("4") or status.startswith("4"):
        return Severity.SOFT
    if status == "5.2.2":
        return Severity.SOFT
    if not is_generic(status):
        return Severity.SOFT if status == "5.2.0" and _FULL.search(text) else Severity.HARD
    return _graded_text(text, has_status=bool(reported))


def _graded_text(text: str, *, has_status: bool) -> Severity:
    """No telling status: the SMTP reply code, then the words, then the fact that somebody gave up."""
    if _FULL.search(text):
        return Severity.SOFT
    codes = _REPLY_CODE.findall(text)
    if codes:
        return Severity.HARD if codes[-1].startswith("5") and codes[-1] != "552" else Severity.SOFT
    if _UNKNOWN_RECIPIENT.search(text) or has_status:
        return Severity.HARD
    return Severity.SOFT if _TEMPORARY.search(text) else Severity.HARD
