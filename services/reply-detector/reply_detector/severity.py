"""Grades a failure: what may end a sequence, what is tried again, what only waits.

The rule: `hard` takes a failure with a 5.x.x status; 5.2.2 (mailbox full, by policy), every 4.x.x and every
delay is never hard, whatever the text around it says.
"""

import re

from reply_detector.fresh_text import fold
from reply_detector.verdict import Severity
from reply_detector.vocabulary import phrases

_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_WITHIN_NUMBERS = frozenset(
    "0123456789."
)  # asked afterwards: a look-behind makes the search three times as slow
_REPLY_CODE = re.compile(
    r"(?<![\d.:/-])([45][0-5]\d)(?=[ \t-][^\d\s]|[ \t-]#?[45]\.\d|[ \t]?\(#|$|[\])])", re.M
)
_FULL = re.compile(
    r"quota|mail ?box (?:is |was |has been )?(?:full|exceed|size)|mailbox for .{1,60} is full"
    r"|(?:mail ?box|mail ?folder|inbox|account|user|recipient)(?:'s)? .{0,30}(?:is |too |disk )full"
    r"|full mail ?box|mailbox exceeds|insufficient (?:system )?storage|disk (?:space|full)"
    r"|out of (?:storage|space|disk)|storage (?:limit|space)|box space not enough"
    r"|exceeded storage|not (?:have )?enough (?:storage|space|disk)|mail ?box .{0,20}overflow"
    r"|(?:has )?too (?:many messages|much mail)|messages in .{0,40}mail ?box exceed"
    r"|postfach (?:ist )?(?:voll|uberfullt)|zuviele mails|boite .{0,20}pleine|buzon .{0,20}lleno"
    r"|casella .{0,20}piena|caixa .{0,25}cheia|postvak .{0,15}vol\b",
)
_FULL_PHRASES = tuple(
    map(
        fold,
        phrases("""
メールボックスが一杯 | メールボックスの容量 | 容量を超 | 容量オーバー | 邮箱已满 | 邮箱空间不足 |
信箱已滿 | 空间不足 | 용량 초과 | 용량이 초과 | ящик переполнен | переполнен | превышена квота |
skrzynka jest pełna | skrzynka odbiorcza jest pełna | skrzynka przepełniona | postlådan är full |
inkorgen är full | postkassen er full | postilaatikko on täynnä | schránka je plná | kutusu dolu
"""),
    )
)
_TEMPORARY = re.compile(
    r"temporar|temp_fail|connection (?:was )?dropped|could not initiate|try (?:again )?later|greylist"
    r"|deferred|timed? ?-?out|timeout|retry time|connection refused|could ?n.?t connect"
    r"|unable to connect|not? (?:be )?respond|unreachable|not reachable|too many (?:connections"
    r"|hops retries)|unavailable or busy|within the allowed|queue period|have been failing for"
    r"|did not accept our requests to connect|lost connection|no route to host|host is down"
    r"|delivery expired|message expired|too busy|vorubergehend|temporaire|temporal|temporane|tijdelijk",
)
_UNKNOWN_RECIPIENT = re.compile(
    r"user unknown|unknown user|no such (?:user|mailbox|person|address|recipient)|does ?n.?t (?:exist"
    r"|have an? (?:.{1,60} )?(?:account|mailbox|address))|does not exist|invalid (?:recipient|mailbox"
    r"|address|final|user)|not (?:known|found|recognized|listed|a valid)|unknown (?:or illegal"
    r"|recipient|address|host|domain|local)|user not|no mailbox here|unrouteable|unroutable"
    r"|mailbox (?:not found|unavailable)|host (?:unknown|not found)|account (?:has been )?(?:disabled"
    r"|closed|suspended|deactivated)",
)
_DELAY = re.compile(
    r"(?:has|have|is|was|been|being) (?:been |being )?(?:temporarily )?(?:delayed|postponed"
    r"|queued for)|not yet been delivered|(?:has ?n.t|not) been delivered yet"
    r"|still (?:being )?(?:trying|queued|in (?:the )?queue|undelivered)|will (?:be retried|retry"
    r"|keep trying|continue (?:to|trying)(?: be)?)|(?:delivery )?attempts? will (?:continue|be made)"
    r"|will continue to be attempted|warning message only|this is (?:just |only )?a warning"
    r"|you do not need to (?:resend|take any action)|no action is required on your part"
    r"|could not be delivered (?:for|within) .{0,30}(?:hours?|days?).{0,60}(?:keep|continue|retr)"
    r"|delivery (?:status notification )?\(?delay(?:ed)?\)?|delivery delayed|(?:message|mail) delayed"
    r"|delayed (?:mail|delivery)|delay notification|noch nicht (?:zugestellt|ubermittelt)|verzogert"
    r"|weitere zustellversuche|weiterhin versucht|retarde de|retardee|differee|n'a pas encore"
    r"|se ha retrasado|retrasad|aun no se ha|sigue intent|vertraagd"
    r"|nog niet (?:worden )?(?:afgeleverd|bezorgd)|atrasad|ainda nao foi|in ritardo|ritardat"
    r"|non e ancora|forsenad|forsinket|fordrojd|viivastyn|opoznion|zpozden|отложена|задерживается"
    r"|gecikti",
)
_DELAY_PHRASES = tuple(
    map(
        fold,
        phrases("配信が遅延 | 配信の遅延 | 遅れています | 再送を試み | 传递延迟 | 延迟 | 傳遞延遲 | 지연"),
    )
)
_GAVE_UP = re.compile(
    r"permanent(?:ly)? (?:error|fail|fatal)|failed permanently|permanent failure|giving up|given up"
    r"|gave up|could not be delivered for .{0,20} (?:and|so) .{0,30}(?:return|remov)"
    r"|removed from the (?:mail )?queue|aborted after|(?:will )?not (?:be retried|continue)"
    r"|no further (?:delivery )?attempts|retry timeout exceeded|too old|final attempt|undeliverable",
)


def status_in(text: str) -> str:
    """The most telling enhanced status code in a text: a specific one before `5.0.0`, or empty."""
    found = [
        match[0]
        for match in _ENHANCED.finditer(text, 0, 4_000)
        if match[0][0] != "2" and text[match.start() - 1 : match.start()] not in _WITHIN_NUMBERS
    ]
    return next((code for code in found if not is_generic(code)), found[0] if found else "")


def is_generic(status: str) -> bool:
    return status.endswith(".0.0") or not status


def tells_of_delay(text: str) -> bool:
    """Whether a notice says that delivery goes on, and not that it ended."""
    folded = fold(text[:6_000])
    goes_on = _DELAY.search(folded) or any(phrase in folded for phrase in _DELAY_PHRASES)
    return bool(goes_on) and not _GAVE_UP.search(folded)


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
        return Severity.SOFT if status == "5.2.0" and _tells_of_full(fold(text)) else Severity.HARD
    return _graded_text(text, has_status=bool(reported))


def _tells_of_full(folded: str) -> bool:
    return bool(_FULL.search(folded)) or any(phrase in folded for phrase in _FULL_PHRASES)


def _graded_text(text: str, *, has_status: bool) -> Severity:
    """No telling status: the SMTP reply code, then the words, then the fact that somebody gave up."""
    folded = fold(text)
    if _tells_of_full(folded):
        return Severity.SOFT
    unknown = _UNKNOWN_RECIPIENT.search(folded)
    codes = _REPLY_CODE.findall(text)
    if codes and not (unknown and "550" in codes):
        return Severity.HARD if codes[-1].startswith("5") and codes[-1] != "552" else Severity.SOFT
    if unknown or has_status:
        return Severity.HARD
    return Severity.SOFT if _TEMPORARY.search(folded) else Severity.HARD
