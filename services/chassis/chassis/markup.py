"""What HTML a mail may have: refused by its line when it is written, cleaned again when it is rendered."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import nh3

MAX_DEPTH: Final = 50
SCHEMES: Final = ("https:", "http:", "mailto:", "tel:")
_STYLED: Final = frozenset(
    {"p", "div", "span", "a", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "img", "hr"}
    | {"table", "thead", "tbody", "tfoot", "tr", "td", "th", "b", "strong", "i", "em", "u", "s", "small"}
)
_PLAIN: Final = frozenset({"br", "sub", "sup", "pre", "code", "caption"})
_OWN: Final[Mapping[str, frozenset[str]]] = {
    "a": frozenset({"href", "title"}),
    "img": frozenset({"src", "alt", "title", "width", "height"}),
    "table": frozenset({"width", "align", "border", "cellpadding", "cellspacing", "role"}),
    "td": frozenset({"width", "align", "valign", "colspan", "rowspan"}),
    "th": frozenset({"width", "align", "valign", "colspan", "rowspan"}),
    "tr": frozenset({"align", "valign"}),
    "p": frozenset({"align"}),
    "div": frozenset({"align"}),
    "ol": frozenset({"start"}),
}
TAGS: Final = _STYLED | _PLAIN
ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    tag: _OWN.get(tag, frozenset()) | (frozenset({"style"} if tag in _STYLED else ())) | {"dir", "lang"}
    for tag in TAGS
}
VOID: Final = frozenset({"br", "hr", "img"})
WITH_TOKENS: Final = frozenset({"href", "alt", "title"})
"""The attributes in which a token may stand."""
STYLE_PROPERTIES: Final = frozenset(
    {"color", "background-color", "font", "font-family", "font-size", "font-style", "font-weight"}
    | {"line-height", "letter-spacing", "text-align", "text-decoration", "text-transform", "vertical-align"}
    | {"white-space", "direction", "width", "max-width", "min-width", "height", "border-collapse"}
    | {"border-spacing", "border-radius", "list-style-type", "display"}
    | {f"{box}{side}" for box in ("margin", "padding") for side in ("", "-top", "-right", "-bottom", "-left")}
    | {f"border{side}" for side in ("", "-top", "-right", "-bottom", "-left", "-color", "-style", "-width")}
)
_STYLE_VALUE: Final = re.compile(
    r"(?:[A-Za-z0-9#%.,!'\" _+-]|(?:rgb|rgba|hsl|hsla)\([0-9.,% /]{1,40}\)){1,200}"
)


class MarkupError(ValueError):
    """HTML that no mail may have: a sentence for its author, and its line from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


# --- what is written


def check_markup(source: str) -> None:
    """Refuse (MarkupError) what is not on the allow-list, or not closed as it was opened.

    `source` is a template as the template language has rewritten it. What passes stays well-formed whatever
    its values and whichever of its conditions hold; values are escaped, and stand in text or in the quotes of
    an `href`, `alt` or `title` only. What scheme a link gets from a value is for `cleaned` to see.
    """
    _Checker(source).run()


@dataclass(frozen=True, slots=True)
class _Element:
    tag: str
    line: int


# Only of rewritten sources this is true: there no text inside {{ }} has a brace, and every quote is closed.
_TEMPLATE_TAG = r"""\{\{(?:(?!\}\}).)*\}\}|\{%(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^"'%]|%(?!\}))*%\}"""
_PIECE = re.compile(rf"{_TEMPLATE_TAG}|<", re.DOTALL)
_TOKEN = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)(?:(?!\}\}).)*\}\}", re.DOTALL)
_WORD = re.compile(r"\{%[-+]?\s*([a-z]+)")
_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,30})")
_QUOTED = (
    "".join((r'"(?:', _TEMPLATE_TAG, r'|[^"<{]|\{(?![{%]))*"')),
    "".join((r"'(?:", _TEMPLATE_TAG, r"|[^'<{]|\{(?![{%]))*'")),
)
_ATTRIBUTE = re.compile(rf"\s+([A-Za-z][A-Za-z0-9:-]*)\s*=\s*({_QUOTED[0]}|{_QUOTED[1]})", re.DOTALL)
_END = re.compile(r"\s*/?>")


class _Checker:
    """One pass over a template; what is open at an `{% if %}` must be open again at its ends."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._open: list[_Element] = []
        self._ifs: list[int] = []  # how many elements were open where each began

    def run(self) -> None:
        while piece := _PIECE.search(self._source, self._at):
            self._at = piece.start()
            if piece.group() == "<":
                self._element()
            else:
                self._template_tag(piece.group())
                self._at = piece.end()
        if self._open:
            left = self._open[-1]
            raise MarkupError(f"<{left.tag}> is never closed: write </{left.tag}> where it ends", left.line)

    def _template_tag(self, text: str) -> None:
        word = _WORD.match(text)
        if word is None:
            return
        if word.group(1) == "if":
            self._ifs.append(len(self._open))
            return
        if len(self._open) != self._ifs[-1]:
            raise self._error(
                f"what is opened inside {{% if %}} must be closed before {{% {word.group(1)} %}}: "
                f"<{self._open[-1].tag}> is not"
            )
        if word.group(1) == "endif":
            self._ifs.pop()

    def _element(self) -> None:
        named = _NAME.match(self._source, self._at)
        if named is None:
            raise self._error("this < begins no tag: write &lt; for the sign; comments are not possible")
        closing, tag = bool(named.group(1)), named.group(2).lower()
        if tag not in TAGS:
            raise self._error(f"<{tag}> is not possible in a mail")
        attributes, end = self._attributes(tag, named.end())
        ended = _END.match(self._source, end)
        if ended is None:
            raise self._error(
                f'<{tag}> can\'t be read: attributes are written name="value", in quotes, without < and '
                "without conditions"
            )
        if closing:
            self._close(tag, bool(attributes))
        else:
            self._check_attributes(tag, attributes)
            if tag not in VOID:
                if ended.group().strip() == "/>":
                    raise self._error(f"<{tag}/> closes nothing in HTML: write <{tag}></{tag}>")
                self._open.append(_Element(tag, self._line()))
                if len(self._open) > MAX_DEPTH:
                    raise self._error(f"more than {MAX_DEPTH} elements inside each other")
        self._at = ended.end()

    def _attributes(self, tag: str, at: int) -> tuple[dict[str, str], int]:
        found: dict[str, str] = {}
        while attribute := _ATTRIBUTE.match(self._source, at):
            name = attribute.group(1).lower()
            if name in found:
                raise self._error(f"<{tag}> has {name} twice")
            found[name] = attribute.group(2)[1:-1]
            at = attribute.end()
        return found, at

    def _close(self, tag: str, has_attributes: bool) -> None:
        if tag in VOID or has_attributes:
            raise self._error(f"</{tag}> can't be written like this")
        if len(self._open) <= (self._ifs[-1] if self._ifs else 0):
            inside = " inside this {% if %}" if self._ifs and self._open else ""
            raise self._error(f"</{tag}> closes nothing that was opened{inside}")
        top = self._open.pop()
        if top.tag != tag:
            raise self._error(f"</{tag}> comes while <{top.tag}> of line {top.line} is open: close it first")

    def _check_attributes(self, tag: str, attributes: Mapping[str, str]) -> None:
        for name, value in attributes.items():
            if name not in ATTRIBUTES[tag]:
                raise self._error(f"<{tag}> can't have {name}")
            self._check_tokens(name, value)
            if name == "style":
                self._check_style(value)
        if tag == "a":
            self._check_link(attributes.get("href"))
        if tag == "img":
            self._check_image(attributes)

    def _check_tokens(self, name: str, value: str) -> None:
        if "{%" in value:
            raise self._error(f"a condition can't stand in {name}: put it around the whole element")
        for token in _TOKEN.finditer(value):
            if name not in WITH_TOKENS:
                raise self._error(f"a token can't stand in {name}, only in href, alt and title")
            if token.group(1) == "signature":
                raise self._error("the signature is HTML of its own and can't stand in an attribute")

    def _check_style(self, style: str) -> None:
        for declaration in style.split(";"):
            name, _, value = declaration.partition(":")
            if not declaration.strip():
                continue
            if name.strip().lower() not in STYLE_PROPERTIES:
                raise self._error(f"{name.strip()[:40] or 'this'} can't be set in style")
            if not _STYLE_VALUE.fullmatch(value.strip()):
                raise self._error(f"this value of {name.strip()} can't be set in style")

    def _check_link(self, href: str | None) -> None:
        if not href:
            raise self._error("<a> needs an href")
        if not href.startswith("{{") and not href.lower().startswith(SCHEMES):
            raise self._error("a link begins with https://, http://, mailto: or tel:, or with a token")

    def _check_image(self, attributes: Mapping[str, str]) -> None:
        if not attributes.get("src", "").lower().startswith("https://"):
            raise self._error("an image is named by its address: src begins with https://")
        if "alt" not in attributes:
            raise self._error('an image needs alt, what it says where it is not shown: alt="" if nothing')

    def _line(self) -> int:
        return self._source.count("\n", 0, self._at) + 1

    def _error(self, problem: str) -> MarkupError:
        return MarkupError(problem, self._line())


# --- what is rendered


def _kept(tag: str, name: str, value: str) -> str | None:
    if name == "src" and not value.lower().startswith("https://"):
        return None
    if name == "style" and not all(_fit(each) for each in value.split(";")):
        return None
    return value


def _fit(declaration: str) -> bool:
    value = declaration.partition(":")[2].strip()
    return not value or _STYLE_VALUE.fullmatch(value) is not None


_cleaner = nh3.Cleaner(
    tags=set(TAGS),
    clean_content_tags={"script", "style"},
    attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
    attribute_filter=_kept,
    link_rel=None,
    url_schemes={scheme.rstrip(":") for scheme in SCHEMES},
    url_relative="deny",
    filter_style_properties=set(STYLE_PROPERTIES),
)
_ANCHOR = re.compile(r'<a((?:\s[a-z-]+="[^"]*")*)>')


def cleaned(html: str) -> str:
    """Rendered HTML as an HTML parser writes it, with nothing in it that is not on the allow-list."""
    return _cleaner.clean(html)


def dead_links(html: str) -> Iterator[str]:
    """The links of cleaned HTML whose address was taken away, because a value gave it no scheme of ours."""
    for anchor in _ANCHOR.finditer(html):
        if ' href="' not in anchor.group(1):
            yield anchor.group()
