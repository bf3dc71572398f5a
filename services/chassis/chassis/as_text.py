"""HTML as the text that stands beside it in a mail: for programs and people who read no HTML."""

import re
from html.parser import HTMLParser
from typing import Final

_BLANKS = re.compile(r"[ \t\r\n\f]+")
_MANY_BREAKS = re.compile(r"\n{3,}")
_PARAGRAPHS: Final = frozenset(
    {"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "table", "hr"}
)
_LINES: Final = frozenset({"div", "li", "tr", "caption"})
_CELLS: Final = frozenset({"td", "th"})
_RULE: Final = "----------"


def as_text(html: str) -> str:
    """The words of cleaned HTML (`chassis.markup`): a line for each line, `words (address)` for a link.

    A link whose words are its address stands once; an image is its `alt`; items of a list begin with `- ` or
    their number.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._out: list[str] = []
        self._lists: list[int | None] = []  # the number of the last item; None: not numbered
        self._links: list[tuple[str, int]] = []  # the address, and where in `_out` its words begin
        self._kept_blanks = 0  # how many <pre> are open

    def text(self) -> str:
        lines = "".join(self._out).split("\n")
        return _MANY_BREAKS.sub("\n\n", "\n".join(line.rstrip(" ") for line in lines)).strip("\n ") + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._break_at(tag)
        match tag:
            case "br":
                self._out.append("\n")
            case "hr":
                self._out.append(f"{_RULE}\n\n")
            case "img":
                self._words(given.get("alt") or "")
            case "a":
                self._links.append((given.get("href") or "", len(self._out)))
            case "ul":
                self._lists.append(None)
            case "ol":
                start = given.get("start") or ""
                self._lists.append(int(start) - 1 if start.isdecimal() and len(start) < 6 else 0)
            case "li":
                self._begin_item()
            case "pre":
                self._kept_blanks += 1

    def handle_endtag(self, tag: str) -> None:
        match tag:
            case "a":
                self._end_link()
            case "ul" | "ol":
                self._lists = self._lists[:-1]
            case "pre":
                self._kept_blanks = max(0, self._kept_blanks - 1)
        self._break_at(tag)

    def handle_data(self, data: str) -> None:
        if self._kept_blanks:
            self._out.append(data)
        else:
            self._words(_BLANKS.sub(" ", data))

    def _words(self, words: str) -> None:
        words = words.replace("\u00a0", " ")
        if self._ends_with(("", "\n", " ")):
            words = words.lstrip(" ")
        if words:
            self._out.append(words)

    def _break_at(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._line()
            if tag not in ("ul", "ol") or not self._lists:  # a list within a list goes on in it
                self._out.append("\n")
        elif tag in _LINES:
            self._line()
        elif tag in _CELLS and not self._ends_with(("", "\n", " ")):
            self._out.append(" ")

    def _line(self) -> None:
        """Begin a line, unless nothing stands on this one."""
        if not self._ends_with(("", "\n")):
            self._out.append("\n")

    def _begin_item(self) -> None:
        mark = "- "
        if self._lists and self._lists[-1] is not None:
            self._lists[-1] += 1
            mark = f"{self._lists[-1]}. "
        self._out.append("  " * (len(self._lists) - 1) + mark)

    def _end_link(self) -> None:
        if not self._links:
            return
        address, began = self._links.pop()
        words = "".join(self._out[began:]).strip()
        shown = address.removeprefix("mailto:").removeprefix("tel:")
        if not words:
            self._words(shown)
        elif shown and _bare(words) != _bare(shown):
            self._out.append(f" ({shown})")

    def _ends_with(self, ends: tuple[str, ...]) -> bool:
        last = self._out[-1][-1:] if self._out else ""
        return last in ends


def _bare(address: str) -> str:
    """As people compare addresses: without scheme, `www.` and the last slash."""
    return re.sub(r"^(?:https?://)?(?:www\.)?", "", address.strip(), flags=re.IGNORECASE).rstrip("/").lower()
