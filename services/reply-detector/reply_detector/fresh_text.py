"""Cuts a message down to what its writer wrote just now: no quotes, no signature, no disclaimer.

Own code rather than a library: it works line by line, so that its time is linear whatever arrives, and knows
the client conventions of the seven languages that the verdicts are judged in.
"""

import html
import itertools
import re
import unicodedata
from dataclasses import dataclass

TEXT_LIMIT_CHARS = 128 * 1024
LINE_LIMIT = 4_000
LINE_LIMIT_CHARS = 4_000
_HEAD_CHARS = 300  # of a line: enough for every pattern below, so that none of them sees more

QUOTE_MARK = "\x02"  # where HTML says: from here on it is quoted

_TAG = re.compile(
    r"<(/?)([a-zA-Z][a-zA-Z0-9:]{0,15})\b([^<>]{0,4000})>|<!--|<![^<>]{0,500}>"
    r"|<\?[^<>]{0,500}>"
)
_SPACES = re.compile(r"[ \t\f\v\u00a0\u200b\u200c\u200d\u2060\ufeff]{1,1000}")
_BLOCKS = "p div br tr li ul ol table blockquote hr pre section article dd dt h1 h2 h3 h4 h5 h6"
_BREAKING = frozenset(_BLOCKS.split())
_PARAGRAPH = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol"])
_SILENT = frozenset(("style", "script", "head", "title"))
_QUOTING = re.compile(
    r"gmail_quote|gmail_attr|divrplyfwdmsg|outlookmessageheader|moz-cite-prefix|yahoo_quoted|protonmail_quote"
    r"|x_divrplyfwdmsg|appendonsend|zmail_extra|reply-?intro|originalmessage|tutanota_quote"
    r"|quoted-?(?:text|message)",
    re.I,
)
_SIGNING = re.compile(
    r"gmail_signature|moz-signature|ms-outlook-mobile-signature|protonmail_signature_block", re.I
)

_WROTE = (
    r"(?:wrote|schrieb|a [ée]crit|escribi[óo]|schreef|escreveu|ha scritto|scrisse|skrev"
    r"|napisał\(?a?\)?|pisze|написал)"
)
_ATTRIBUTION_START = re.compile(
    r"(?:on|am|le|el|op|em|il|il giorno|in data|den|a|w dniu)\s.{0,40}?\d|.{0,120}?[<@]"
    r"|.{0,80}\b\d{4}\b|\[?\d{1,4}[-/.]\d",
    re.I,
)
_ATTRIBUTION_END = re.compile(_WROTE + r"\b.{0,150}?[:：]\s{0,5}$", re.I)
_DUTCH_GERMAN_WROTE = re.compile(r"(?:schreef|schrieb)\b.{1,140}(?:\d{4}|\d:\d\d)", re.I)
_GMAIL_DATE = re.compile(r"\d{4}-\d\d-\d\d \d{1,2}:\d\d.{0,30}<[^<>\s]{3,200}>:?$")

_SEPARATOR = re.compile(
    r"[-_=*\s]{0,40}(?:original (?:message|appointment|e?-?mail)|forwarded message"
    r"|mail (?:original|d.origine)|message (?:d.origine|original|transf[ée]r[ée])"
    r"|urspr[üu]ngliche (?:nachricht|e-?mail)|original-?nachricht|weitergeleitete nachricht"
    r"|mensaje (?:original|reenviado)"
    r"|oorspronkelijk(?:e)? (?:bericht|e-?mail)|doorgestuurd bericht|mensagem (?:original|encaminhada)"
    r"|messaggio (?:originale|inoltrato)|begin forwarded message|reply message"
    r"|d[ée]but du message (?:r[ée]exp[ée]di[ée]|transf[ée]r[ée])"
    r"|anfang der weitergeleiteten (?:nachricht|e-?mail)|inicio del mensaje reenviado"
    r"|begin doorgestuurd bericht"
    r"|in[íi]cio da mensagem (?:reencaminhada|encaminhada)"
    r"|inizio messaggio inoltrato)\s{0,3}:?\s{0,3}[-_=*]{0,40}\s{0,5}$",
    re.I,
)
_HEADER_NAME = re.compile(
    r"[>*_\s]{0,5}(from|sent|date|to|cc|subject|reply-to|von|gesendet|datum|an|betreff|de"
    r"|envoy[ée](?: le)?|[àa]|objet|cc|enviado(?: el| em)?"
    r"|enviada(?: em)?|fecha|para|asunto|assunto|data|van|verzonden|aan|onderwerp|da|inviato|a"
    r"|oggetto)\s?\*{0,2}\s?[:：]\*{0,2}\s",
    re.I,
)
_FIRST_HEADER = re.compile(
    r"[>*_\s]{0,5}(?:from|von|de|van|da|date|datum|fecha|data|sent|gesendet)\s?\*{0,2}\s?[:：]\*{0,2}\s", re.I
)

_SENT_FROM = re.compile(
    r"[<(\[]{0,2}(?:sent (?:from|by) (?:my|outlook|yahoo|mail|proton|samsung|the all-new|windows|gmail"
    r"|galaxy|an? "
    r"(?:phone|mobile|iphone|ipad|android)|mobile|iphone|ipad|android|blackberry)|(?:get"
    r"|download) outlook for"
    r"|sent using |from my (?:i?phone|ipad|mobile|android)|diese nachricht wurde von mein|verzonden vanuit "
    r"|verstuurd (?:via|met) |t[ée]l[ée]charger outlook|outlook (?:downloaden|herunterladen)|從我的"
    r"|enviado (?:por|con|com|a partir) |enviado de samsung|envoy[ée] avec |inviato con "
    r"|sent via |sent with |von meinem .{1,40} gesendet|gesendet (?:von|mit|über) "
    r"|envoy[ée] (?:de(?:puis)? mon|à partir de|depuis)|obtenez outlook|enviado (?:desde|do"
    r"|de) (?:mi|meu|el|o)|verzonden vanaf|verstuurd vanaf|outlook voor"
    r"|inviato da(?:l mio)?|holen sie sich outlook|outlook für (?:ios|android)|scarica outlook"
    r"|obter o outlook|obtener outlook)",
    re.I,
)
_CLOSING = re.compile(
    r"(?:(?:best|kind(?:est)?|warm(?:est)?|many|with (?:best|kind)) (?:regards|wishes|thanks)"
    r"|kind regards|regards|best|cheers|sincerely|yours (?:sincerely|truly|faithfully)"
    r"|many thanks|thanks(?: and regards| again)?|thank you|thx|br|rgds"
    r"|(?:mit )?(?:freundlichen?|besten?|herzlichen?|sch[öo]nen?|viele[n]?"
    r"|liebe[n]?) (?:gr[üu](?:ß|ss)en?|dank)|mfg|vg|lg|gru(?:ß|ss)|danke"
    r"|(?:bien )?cordialement|(?:bien|tr[èe]s) (?:cordialement|[àa] vous)"
    r"|sinc[èe]res salutations|salutations(?: distingu[ée]es)?|meilleures salutations"
    r"|merci(?: d.avance)?|bonne journ[ée]e"
    r"|(?:un )?(?:cordial(?:es)? )?saludos?(?: cordial(?:es)?)?|atentamente|gracias|un abrazo"
    r"|(?:met )?(?:vriendelijke|hartelijke|beste) groet(?:en)?|mvg|groet(?:en|jes)?|bedankt"
    r"|atenciosamente|cumprimentos|(?:com os )?(?:melhores )?cumprimentos|abra[çc]os?"
    r"|obrigad[oa]|att|(?:cordiali|distinti) saluti|saluti|cordialmente|grazie"
    r"|un saluto)[\s,.!]{0,5}$",
    re.I,
)
_DISCLAIMER = re.compile(
    r"[*_\s]{0,5}(?:this (?:e-?mail|message|communication|transmission)\b.{0,80}(?:recipient|addressee"
    r"|individual)"
    r"|if you (?:are not the|have received this|received this|are not an) .{0,40}(?:recipient|addressee"
    r"|error|mistake)"
    r"|(?:this|the (?:information|contents?)|any) .{0,60}(?:confidential"
    r"|intended (?:only|solely)|privileged|disclos)|confidential(?:ity)? notice|disclaimer\b"
    r"|diese (?:e-?mail|nachricht) .{0,60}vertraulich|ce (?:message|courriel"
    r"|mail) .{0,80}confidentiel|este (?:mensaje|correo|e-?mail) .{0,80}confidencial"
    r"|(?:dit|deze) (?:bericht|e-?mail) .{0,80}vertrouwelijk|esta mensagem .{0,80}confidencial"
    r"|(?:questo messaggio|questa e-?mail|il presente messaggio) .{0,80}riservat"
    r"|(?:legal|confidentiality) (?:notice|disclaimer)|aviso (?:legal|de confiden)|avis de confidentialit"
    r"|aviso importante"
    r"|informaci[óo]n b[áa]sica sobre protecci[óo]n|de conformidad con el reglamento|en cumplimiento d"
    r"|avvertenza|ai sensi del|informativa (?:sulla )?privacy|vertraulichkeitshinweis|rechtlicher hinweis"
    r"|haftungsausschluss"
    r"|p?\s{0,2}please consider the environment|bitte (?:denken|prüfen) sie .{0,40}(?:umwelt|ausdruck))",
    re.I,
)
# `Cheers, Petra` on one line.
_CLOSING_WITH_NAME = re.compile(
    r"(?:(?:best|kind|warm) regards|regards|cheers|best wishes|(?:viele|liebe|beste|herzliche"
    r"|sch[öo]ne) gr[üu](?:ß|ss)e"
    r"|gr[üu](?:ß|ss)e?|lg|vg|cordialement|bien [àa] vous|saludos|un saludo|groet(?:en|jes)?|abra[çc]os?"
    r"|saluti)"
    r"(?:,? (?:aus|from|de|uit|da) [^\W\d_]{2,30}"
    r"|[,!.]? [^\W\d_][\w.-]{1,30}(?: [^\W\d_][\w.-]{1,30})?)\s{0,3}$",
    re.I,
)
# Gateways fold the block above a quote into one line; its labels, in their order.
_LABELS = tuple(
    re.compile(rf"{edge}(?:{names})\s?:", re.I)
    for edge, names in (
        ("", "from|von|de|van|da"),
        (
            r"\b",
            "sent|date|gesendet|datum|envoy[ée](?: le)?|enviado(?: el| em)?|enviada em|fecha|data"
            "|verzonden|inviato",
        ),
        (r"(?<!\w)", "to|an|[àa]|para|aan"),
        (r"\b", "subject|betreff|objet|asunto|assunto|onderwerp|oggetto"),
    )
)
_LABEL_REACH_CHARS = 160
_LABEL_TRIES = 5
_HEADER_LINE_LEAST_CHARS = 40
_FOLDED_SEARCH_CHARS = 1_500
_FOLDED_SEARCH_LINES = 100
_SEPARATOR_TAIL = re.compile(
    r"\s{0,3}-{0,6}\s?(?:mensaje|mensagem|message|messaggio) origina(?:l|le)\s{0,3}-{0,6}\s{0,3}$", re.I
)
_BLANK_LINES = re.compile(r"\n{3,5000}")
_SIGNATURE_MARK = re.compile(r"(?:--|—|__+|–)\s?$")
_SIGNATURE_LINES = 14
_SIGNATURE_REACH = 100  # lines looked at behind a mark: bounds the work when every line is one


@dataclass(frozen=True, slots=True)
class FreshText:
    """`text` is what was written now; `quotes` tells that something quoted was cut away."""

    text: str
    quotes: bool


def fold(text: str) -> str:
    """Lower case without diacritics, typographic marks made plain, spaces collapsed: what phrases are
    compared in.
    """
    text = (
        text.replace("’", "'")
        .replace("‘", "'")
        .replace("´", "'")
        .replace("ß", "ss")
        .replace("–", "-")
        .replace("—", "-")
    )
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(text.lower().split())


def html_to_text(source: str) -> str:
    """Readable lines of an HTML body; quoted blocks get `> `, a client's quote container gets the quote
    mark.
    """
    writer = _Writer()
    position, source = 0, source[: TEXT_LIMIT_CHARS * 2]
    for tag in _TAG.finditer(source):
        if tag.start() < position:
            continue
        writer.words(source[position : tag.start()])
        position = tag.end()
        if tag[0] == "<!--":
            end = source.find("-->", position)
            position = end + 3 if end >= 0 else len(source)
        elif tag[2]:
            writer.tag(tag[2].lower(), bool(tag[1]), tag[3])
    writer.words(source[position:])
    return writer.finish()


class _Writer:
    """Collects the lines of an HTML body while its tags go by."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._depth = 0
        self._silent = ""

    def words(self, raw: str) -> None:
        if raw and not self._silent:
            self._line.append(html.unescape(raw).replace("\n", " ").replace("\r", " "))

    def tag(self, name: str, closing: bool, attributes: str) -> None:
        if name in _SILENT:
            self._silent = "" if closing else self._silent or name
        if self._silent:
            return
        if name in _BREAKING:
            self._break()
            if name in _PARAGRAPH and self._lines and self._lines[-1]:
                self._lines.append("")
        elif name in ("td", "th"):
            self._line.append(" ")
        if name == "blockquote":
            self._depth = max(0, min(20, self._depth + (-1 if closing else 1)))
        elif not closing and attributes:
            self._container(name, attributes)

    def _container(self, name: str, attributes: str) -> None:
        if _QUOTING.search(attributes[:600]):
            self._break()
            self._lines.append(QUOTE_MARK)
        elif name in ("div", "span", "pre") and _SIGNING.search(attributes[:600]):
            self._break()
            self._lines.append("-- ")

    def _break(self) -> None:
        line = _SPACES.sub(" ", "".join(self._line)).strip()
        self._line = []
        if line or (self._lines and self._lines[-1]):
            self._lines.append(("> " if self._depth else "") + line)

    def finish(self) -> str:
        self._break()
        return "\n".join(self._lines)[:TEXT_LIMIT_CHARS]


def cut(text: str) -> FreshText:
    """The fresh part of a plain text."""
    lines = [
        line[:LINE_LIMIT_CHARS].rstrip()
        for line in text[:TEXT_LIMIT_CHARS].split("\n", LINE_LIMIT)[:LINE_LIMIT]
    ]
    unquoted, quotes = _without_quotes(lines)
    text = "\n".join(_without_signature(unquoted)).strip()
    return FreshText(_BLANK_LINES.sub("\n\n", text), quotes)


def _without_quotes(lines: list[str]) -> tuple[list[str], bool]:
    """Drops quoted lines and their attributions; ends at the first block that quotes without a mark."""
    kept: list[str] = []
    quotes = False
    skip_to = 0
    folded_in, cut_at = _header_in_a_line(lines)
    for index, line in enumerate(lines):
        if index < skip_to:
            continue
        if line.lstrip().startswith(">"):
            quotes = True
            continue
        length = _attribution(lines, index)
        if length and _quoted_follows(lines, index + length):
            quotes, skip_to = True, index + length
            continue
        if length or _ends_fresh_text(lines, index):
            return kept, True
        if index == folded_in:
            return [*kept, _SEPARATOR_TAIL.sub("", line[:cut_at])], True
        kept.append(line.replace(QUOTE_MARK, ""))
    return kept, quotes


def _header_in_a_line(lines: list[str]) -> tuple[int, int]:
    """Which line holds a whole block of From, Sent, To, Subject, and from where on; -1 if none does."""
    for index, line in enumerate(lines[:_FOLDED_SEARCH_LINES]):
        if len(line) <= _HEADER_LINE_LEAST_CHARS:
            continue
        for found in itertools.islice(_LABELS[0].finditer(line, 0, _FOLDED_SEARCH_CHARS), _LABEL_TRIES):
            if _labels_follow(line, found.end()):
                return index, found.start()
    return -1, 0


def _labels_follow(line: str, at: int) -> bool:
    for label in _LABELS[1:]:
        found = label.search(line, at, at + _LABEL_REACH_CHARS)
        if found is None:
            return False
        at = found.end()
    return True


def _attribution(lines: list[str], index: int) -> int:
    """How many lines from `index` on say who wrote what follows; 0 if they don't."""
    head = lines[index].strip()[:_HEAD_CHARS]
    if not head or not _ATTRIBUTION_START.match(head):
        return 0
    if _GMAIL_DATE.match(head):
        return 1
    joined = ""
    for count, line in enumerate(lines[index : index + 4], start=1):
        if not line.strip():
            break
        joined = f"{joined} {line.strip()[:_HEAD_CHARS]}"
        if _ATTRIBUTION_END.search(joined) or (joined.endswith(":") and _DUTCH_GERMAN_WROTE.search(joined)):
            return count
    return 0


def _quoted_follows(lines: list[str], index: int) -> bool:
    for line in lines[index : index + 4]:
        if line.strip():
            return line.lstrip().startswith(">")
    return False


def _ends_fresh_text(lines: list[str], index: int) -> bool:
    line = lines[index]
    if line.startswith(QUOTE_MARK):
        # A mark with marked lines behind it leaves room for answers below the quote.
        return not _quoted_within(lines, index + 1)
    head = line.strip()[:_HEAD_CHARS]
    return bool(head) and (bool(_SEPARATOR.match(head)) or _header_block(lines, index))


def _quoted_within(lines: list[str], index: int) -> bool:
    return any(line.lstrip().startswith(">") for line in lines[index : index + 8])


def _header_block(lines: list[str], index: int) -> bool:
    """A block of From, Sent, To, Subject as Outlook writes it above what it quotes, in any of the
    languages.
    """
    if not _FIRST_HEADER.match(lines[index][:_HEAD_CHARS] + " "):
        return False
    names = set()
    for line in lines[index : index + 9]:
        match = _HEADER_NAME.match(line[:_HEAD_CHARS] + " ")
        if match:
            names.add(match[1].lower())
    return len(names) >= 3


def _without_signature(lines: list[str]) -> list[str]:
    begun = False
    for index, line in enumerate(lines):
        stripped = line.strip()[:_HEAD_CHARS]
        if not stripped:
            continue
        if _SIGNATURE_MARK.match(stripped) and (index or line.startswith("--")) and _short_rest(lines, index):
            return lines[:index]
        if _SENT_FROM.match(stripped) or _DISCLAIMER.match(stripped):
            return lines[:index]
        closing = _CLOSING.match(stripped[:80]) or _CLOSING_WITH_NAME.match(stripped[:80])
        if begun and closing and _short_closing(lines, index):
            return lines[:index]
        begun = True
    return lines


def _short_rest(lines: list[str], index: int) -> bool:
    rest = lines[index + 1 : index + _SIGNATURE_REACH]
    return sum(1 for line in rest if line.strip()) <= _SIGNATURE_LINES * 2


def _short_closing(lines: list[str], index: int) -> bool:
    """Only a short block behind a `Best regards`: a name, a title, a telephone; no sentences."""
    rest = [line.strip() for line in lines[index + 1 : index + _SIGNATURE_REACH] if line.strip()]
    before_disclaimer = []
    for line in rest:
        if (
            _DISCLAIMER.match(line[:_HEAD_CHARS])
            or _SENT_FROM.match(line[:_HEAD_CHARS])
            or _SIGNATURE_MARK.match(line)
        ):
            break
        before_disclaimer.append(line)
    if len(before_disclaimer) > _SIGNATURE_LINES:
        return False
    first = before_disclaimer[0] if before_disclaimer else ""
    return len(first) <= 60 and not first.endswith("?")
