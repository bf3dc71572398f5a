"""Writes the pixel and the tracked links into a message's HTML, where its sequence asks for them."""

import re
from dataclasses import replace
from html import escape, unescape
from typing import Final
from urllib.parse import quote, urlsplit

from chassis.documents import Document
from chassis.secrets import Secrets
from chassis.tracking import MAX_LINKS, PIXEL_ENDING, Mark, written
from segue_contracts.sequence import Tracking

MAX_URL_CHARS: Final = 2000
"""A longer one is left as it is: the delivery keeps what is rewritten."""

# As cleaned HTML is written (HTML 13.3, serialising): double quotes around every value, no bare `<` in
# text and no bare `"` in a value.
_ANCHOR: Final = re.compile(r'<a(?=\s)[^<>"]*(?:"[^"]*"[^<>"]*)*>', re.IGNORECASE)
_HREF: Final = re.compile(r'(?<=\shref=")[^"]*(?=")', re.IGNORECASE)
_VISIBLE: Final = "".join(map(chr, range(0x21, 0x7F)))


class Tracker:
    """Tracks by way of the API's https address; without one, nothing."""

    def __init__(self, secrets: Secrets, public_url: str | None) -> None:
        self._secrets = secrets
        is_https = public_url is not None and public_url.startswith("https://")
        self._base = public_url.rstrip("/") if public_url is not None and is_https else None

    def pen(self, mark: Mark, tracking: Tracking) -> "Pen":
        """What writes into one message what is to be tracked of it."""
        return Pen(self, mark, tracking if self._base is not None else Tracking())

    def is_ours(self, url: str) -> bool:
        """Whether it leads to the API."""
        return url == self._base or url.startswith(f"{self._base}/")

    def url(self, mark: Mark) -> str:
        """Where the API is asked for it."""
        return f"{self._base}{mark.path}{written(mark, self._secrets)}"


class Pen:
    """For one message. `facts` is what its delivery keeps: nothing where nothing is tracked."""

    def __init__(self, tracker: Tracker, mark: Mark, tracking: Tracking) -> None:
        self._tracker = tracker
        self._mark = mark
        self._tracking = tracking
        self.facts: Document = {}

    def __call__(self, html: str) -> str:
        """The HTML, cleaned already, with what is to be tracked in it; the same for the same message.

        Only links to http and https are rewritten, and none that leads to us. Where they lead is in the facts
        and not in the message.
        """
        if not (self._tracking.opens or self._tracking.clicks):
            return html
        links: list[str] = []
        self.facts = {"tracking": {"opens": self._tracking.opens, "links": links}}
        if self._tracking.clicks:
            html = _ANCHOR.sub(lambda tag: self._rewritten(tag[0], links), html)
        return html + self._pixel() if self._tracking.opens else html

    def _rewritten(self, tag: str, links: list[str]) -> str:
        found = _HREF.search(tag)
        target = _target(found[0]) if found else None
        if found is None or target is None or len(links) >= MAX_LINKS or self._tracker.is_ours(target):
            return tag
        links.append(target)
        url = self._tracker.url(replace(self._mark, link=len(links)))
        return tag[: found.start()] + escape(url) + tag[found.end() :]

    def _pixel(self) -> str:
        url = escape(self._tracker.url(self._mark) + PIXEL_ENDING)
        return f'<img src="{url}" width="1" height="1" alt="" border="0">'


def _target(href: str) -> str | None:
    """The URL that a browser would ask for, in the ASCII of a Location header (RFC 3987 3.1), if it is one
    of the web's with a plain host.
    """
    url = unescape(href).strip()
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or not host.isascii():
        return None
    target = quote(url, safe=_VISIBLE)
    return target if len(target) <= MAX_URL_CHARS else None
