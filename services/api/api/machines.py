"""Who asks for a pixel or a link: a person, a person behind a proxy, or a machine that nobody told to.

What is known of a request by itself is judged here; what only several of them tell, in `engagements`. The
addresses that requests come from are not looked at.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chassis.tracking import Kind

MAX_USER_AGENT_CHARS: Final = 500
BURST_SECONDS: Final = 3.0
"""Nobody follows so many links of a message in so short a time.
Source: suped.com "How to identify and filter out email bot clicks from newsletter reports".
"""
BURST_LINKS: Final = 3
"""Different links; all of them, where there are two."""
HEAD_SECONDS: Final = 10.0
"""A HEAD is a program that looks at a link; a GET so soon behind it is the same one."""
APPLE: Final = "Mozilla/5.0"
"""All that Apple's proxy says (Mail Privacy Protection): it fetches images whether or not anybody looks.
Source: bird.com "4 Insights on the Not-Immediately-Obvious Impacts of iOS 15 Mail Privacy Protection
Changes", help.socketlabs.com "Identifying Apple MPP opens".
"""
PREFETCH: Final = frozenset({"prefetch", "preview", "prerender"})
"""What a browser says in these fields when it loads ahead. Source: W3C Prefetch, `Sec-Purpose`; the others
are its predecessors in Chromium, Safari and Firefox.
"""
PURPOSE_FIELDS: Final = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: how a machine is known, or through whose proxy a person came; empty for a browser."""

    machine: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What a user agent is known by (in lower case); `only`: of which requests that is true."""

    pattern: re.Pattern[str]
    reason: str
    machine: bool = True
    only: Kind | None = None


def _known(pattern: str, reason: str, *, machine: bool = True, only: Kind | None = None) -> Known:
    return Known(re.compile(pattern), reason, machine, only)


TABLE: Final = (
    # Gmail loads images ahead while somebody has it open, before they see the message, under this name.
    # Source: bird.com (SparkPost) "Gmail is prefetching images".
    _known(r"chrome/42\.0\.2311\.135 safari/537\.36 edge/12\.246 mozilla/5\.0$", "gmail_prefetch"),
    # Google and Yahoo fetch when the person opens the message, and keep the image: a person, whose address
    # and device stay hidden. Source: knowledge.validity.com "provider categories in Platform Distribution".
    _known("googleimageproxy|ggpht", "gmail_proxy", machine=False),
    _known("yahoomailproxy", "yahoo_proxy", machine=False),
    # Security gateways that name themselves.
    # Source: live-direct-marketing.online "Bot clicks from security scanners: a field guide"; for Barracuda
    # also docs of Braze "Bot filtering" (`Barracuda Sentinel (EE)`).
    _known("barracuda", "barracuda"),
    _known("proofpoint|urldefense", "proofpoint"),
    _known("mimecast", "mimecast"),
    _known("safelinks|safe links", "safe_links"),
    _known(r"\bcisco|ironport", "cisco"),
    _known(r"trend ?micro|\btmes\b", "trend_micro"),
    _known("fortinet|forti(?:mail|sandbox|guard)", "fortinet"),
    _known("sophos|symantec|messagelabs|fireeye|trellix|cloudmark|check ?point|zscaler|netskope", "gateway"),
    # Office asks for a link before it hands it to the browser, which then comes itself; Outlook that shows
    # images also says `ms-office`, and that is a person.
    # Source: learn.microsoft.com KB 838028 (Protocol and Existence Discovery).
    _known(r"microsoft office (?:existence|protocol) discovery", "office_probe"),
    _known("ms-office|microsoft office", "office_probe", only=Kind.CLICKED),
    # Programs that show a preview of a link that somebody passed on, and those that walk the web.
    # Source: their operators' pages (api.slack.com/robots, developers.facebook.com "crawler").
    _known("slackbot|facebookexternal|whatsapp/|telegrambot|discordbot|skypeuripreview", "link_preview"),
    _known("linkedinbot|twitterbot|bingpreview|snap url preview|preview service", "link_preview"),
    # `Cubot` is a brand of phones.
    _known(r"(?<!cu)bot\b|crawler|spider|scanner", "crawler"),
    # Libraries and browsers without a screen.
    # Source: suped.com "How can I identify bot user agents in my email click data?".
    _known("headlesschrome|phantomjs|puppeteer|playwright|selenium|lighthouse", "script"),
    _known(
        r"^(?:curl|wget|java|ruby|axios|node|undici|httpx|scrapy|guzzlehttp|lua-resty-http|jetty)\b", "script"
    ),
    _known(r"^(?:python|go-http-client|apache-httpclient|libwww-perl|node-fetch)", "script"),
)


def judged(kind: Kind, headers: Mapping[str, str], seconds_since_sent: float | None, soon: float) -> Verdict:
    """What a GET tells by itself.

    `soon`: so many real seconds after the message has gone out nobody has read it yet.
    """
    agent = headers.get("User-Agent", "").strip()[:MAX_USER_AGENT_CHARS]
    if not agent:
        return Verdict(True, "no_user_agent")
    if any(headers.get(field, "").partition(";")[0].strip().lower() in PREFETCH for field in PURPOSE_FIELDS):
        return Verdict(True, "prefetch")
    if agent == APPLE:
        return Verdict(True, "apple_privacy")
    known = next(
        (row for row in TABLE if row.only in (None, kind) and row.pattern.search(agent.lower())), None
    )
    if known is not None and known.machine:
        return Verdict(True, known.reason)
    if seconds_since_sent is not None and seconds_since_sent < soon:
        return Verdict(True, "too_soon")
    return Verdict(False, known.reason) if known else Verdict(False)
