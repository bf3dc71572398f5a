"""Tracking: what is written into a message, whom a request is from, and what a signed id is worth."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from html import unescape
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from api.engagements import second_thought
from api.machines import TABLE, judged
from chassis.documents import Document
from chassis.secrets import Secrets, SecretSettings
from chassis.testing import NOON
from chassis.tracking import LINK_PATH, MAX_LINKS, PIXEL_ENDING, PIXEL_PATH, Kind, Mark, read, written
from segue_contracts.sequence import SequenceError, Tracking, parse_sequence
from sender.tracking import MAX_URL_CHARS, Tracker

WORKSPACE, ENROLLMENT = UUID(int=1), UUID(int=2)
MESSAGE = Mark(WORKSPACE, f"{ENROLLMENT}:hello")
BOTH = Tracking(opens=True, clicks=True)
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 "
    "Safari/537.36"
)
GMAIL_PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"
GMAIL_PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/42.0.2311.135 "
    "Safari/537.36 Edge/12.246 Mozilla/5.0"
)
YAHOO_PROXY = "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"
OUTLOOK = (
    "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Microsoft Outlook 16.0; ms-office; MSOffice 16)"
)


def secrets(keys: str = "a key for tests of sixteen or more") -> Secrets:
    return Secrets(SecretSettings(secret_keys=keys))


def link(number: int) -> Mark:
    return Mark(WORKSPACE, MESSAGE.dispatch_id, number)


@dataclass(frozen=True)
class Tracked:
    """A message as it is sent, and what its delivery keeps."""

    html: str
    facts: Document


def tracked(html: str, tracking: Tracking = BOTH, url: str | None = "https://segue.example") -> Tracked:
    pen = Tracker(secrets(), url).pen(MESSAGE, tracking)
    return Tracked(pen(html), pen.facts)


def hrefs(html: str) -> list[str]:
    return [unescape(href) for href in re.findall(r'href="([^"]*)"', html)]


# ---- signed ids -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [MESSAGE, link(1), link(MAX_LINKS)])
def test_an_id_reads_back_and_is_good_for_its_own_kind_alone(mark: Mark) -> None:
    text = written(mark, secrets())
    assert re.fullmatch("[a-z2-7]{80,220}", text)
    assert read(mark.kind, text, secrets()) == mark
    (other,) = set(Kind) - {mark.kind}
    assert read(other, text, secrets()) is None


def test_an_id_that_was_changed_or_signed_by_nobody_of_ours_is_none() -> None:
    text = written(link(1), secrets())
    changed = text[:60] + ("a" if text[60] != "a" else "b") + text[61:]
    for wrong in (changed, text[:-1], text.upper(), "", "a" * 90, "a" * 401, "é" * 90):
        assert read(Kind.CLICKED, wrong, secrets()) is None
    assert read(Kind.CLICKED, text, secrets("another key of sixteen or more")) is None


def test_an_id_outlives_a_rotation_of_the_keys_as_long_as_its_key_is_kept() -> None:
    text = written(link(1), secrets("the older key of sixteen or more"))
    rotated = secrets("the newer key of sixteen or more,the older key of sixteen or more")
    assert read(Kind.CLICKED, text, rotated) == link(1)


# ---- what is written into the message ---------------------------------------------------------------

LETTER = (
    '<p>Hi <a href="https://jobs.example/1?a=b&amp;c=d" rel="noopener">the job</a>, '
    '<a title="x > y" href="http://team.example/">us</a>, <a href="mailto:ana@ourco.example">mail</a>, '
    '<a href="tel:+4930123">call</a>, <a href="https://segue.example/u/abc">no more</a>, <abbr>CV</abbr></p>'
)


def test_links_to_the_web_are_rewritten_in_their_order_and_nothing_else_is() -> None:
    done = tracked(LETTER)
    first, second, *rest = hrefs(done.html)
    for number, url in enumerate((first, second), 1):
        path = urlsplit(url).path
        assert url.startswith(f"https://segue.example{LINK_PATH}")
        assert read(Kind.CLICKED, path.removeprefix(LINK_PATH), secrets()) == link(number)
    assert rest == ["mailto:ana@ourco.example", "tel:+4930123", "https://segue.example/u/abc"]
    assert done.facts == {
        "tracking": {"opens": True, "links": ["https://jobs.example/1?a=b&c=d", "http://team.example/"]}
    }
    assert 'rel="noopener"' in done.html
    assert 'title="x > y"' in done.html


def test_no_address_of_a_link_is_left_in_the_message() -> None:
    assert "jobs.example" not in tracked(LETTER).html


def test_the_pixel_is_the_last_thing_in_the_message() -> None:
    done = tracked("<p>Hi</p>", Tracking(opens=True)).html
    found = re.fullmatch(r'<p>Hi</p><img src="([^"]*)" width="1" height="1" alt="" border="0">', done)
    assert found
    text = urlsplit(found[1]).path.removeprefix(PIXEL_PATH).removesuffix(PIXEL_ENDING)
    assert read(Kind.OPENED, text, secrets()) == MESSAGE


@pytest.mark.parametrize(
    ("tracking", "url"),
    [
        (Tracking(), "https://segue.example"),
        (BOTH, None),
        (BOTH, "http://127.0.0.1:8080"),
    ],
)
def test_where_nothing_is_asked_for_or_nobody_could_reach_us_the_message_stays_as_it_is(
    tracking: Tracking, url: str | None
) -> None:
    assert tracked(LETTER, tracking, url) == Tracked(LETTER, {})


def test_each_of_the_two_can_be_had_alone() -> None:
    opens, clicks = tracked(LETTER, Tracking(opens=True)), tracked(LETTER, Tracking(clicks=True))
    assert hrefs(opens.html) == hrefs(LETTER)
    assert opens.facts == {"tracking": {"opens": True, "links": []}}
    assert "<img" not in clicks.html
    assert clicks.facts["tracking"]["opens"] is False


@pytest.mark.parametrize(
    "href",
    [
        "/relative",
        "#there",
        "//no.scheme.example",
        "javascript:alert(1)",
        "ftp://files.example",
        "https://",
        "https://[broken",
        "https://jöbs.example/",
        "https://jobs.example/" + "a" * MAX_URL_CHARS,
        "https://segue.example",
    ],
)
def test_a_link_that_we_could_not_lead_on_stays_as_it_is(href: str) -> None:
    html = f'<a href="{href}">x</a>'
    assert tracked(html, Tracking(clicks=True)).html == html


def test_a_link_is_kept_as_a_browser_would_ask_for_it() -> None:
    done = tracked('<a href=" https://jobs.example/Köln?q=a b&amp;x=%C3%B6\r\nSet-Cookie:a ">x</a>')
    assert done.facts["tracking"]["links"] == [
        "https://jobs.example/K%C3%B6ln?q=a%20b&x=%C3%B6%0D%0ASet-Cookie:a"
    ]


def test_links_beyond_the_most_lead_where_they_say() -> None:
    done = tracked("".join(f'<a href="https://jobs.example/{n}">x</a>' for n in range(MAX_LINKS + 2)))
    assert len(done.facts["tracking"]["links"]) == MAX_LINKS
    assert hrefs(done.html)[MAX_LINKS:] == [f"https://jobs.example/{MAX_LINKS + n}" for n in range(2)]


def test_the_same_message_is_written_the_same_again() -> None:
    assert tracked(LETTER) == tracked(LETTER)


# ---- the sequence -----------------------------------------------------------------------------------

STAGES = [{"id": "hello", "channel": "email", "subject": "Hi", "text": "Hi"}]


def test_nothing_is_tracked_unless_the_sequence_says_so() -> None:
    document = parse_sequence({"name": "n", "stages": STAGES})
    assert document.tracking == Tracking(opens=False, clicks=False)
    assert "tracking" not in document.dump()
    asked = parse_sequence({"name": "n", "stages": STAGES, "tracking": {"opens": True}})
    assert asked.tracking == Tracking(opens=True, clicks=False)
    assert asked.dump()["tracking"] == {"opens": True}


@pytest.mark.parametrize("tracking", [{"opens": "yes"}, {"clicks": 1}, {"open": True}, True])
def test_tracking_is_written_as_yes_or_no(tracking: object) -> None:
    with pytest.raises(SequenceError):
        parse_sequence({"name": "n", "stages": STAGES, "tracking": tracking})


# ---- who asks ---------------------------------------------------------------------------------------


def verdict(
    agent: str, kind: Kind = Kind.OPENED, seconds: float | None = 3600.0, **headers: str
) -> tuple[bool, str]:
    found = judged(kind, {"User-Agent": agent, **headers}, seconds, 10.0)
    return found.machine, found.reason


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        ("", "no_user_agent"),
        ("Mozilla/5.0", "apple_privacy"),
        (GMAIL_PREFETCH, "gmail_prefetch"),
        ("Barracuda Sentinel (EE)", "barracuda"),
        ("Mozilla/5.0 (compatible; ProofPoint URL Defense)", "proofpoint"),
        ("Mimecast Link Protection", "mimecast"),
        ("Mozilla/5.0 SafeLinks Scanner", "safe_links"),
        ("CiscoSecureEmail/1.0", "cisco"),
        ("TMES-URL-Check/1.0", "trend_micro"),
        ("Mozilla/5.0 FortiSandbox", "fortinet"),
        ("MessageLabs/2.0", "gateway"),
        ("Microsoft Office Existence Discovery", "office_probe"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "link_preview"),
        ("WhatsApp/2.23.20.0 A", "link_preview"),
        ("facebookexternalhit/1.1", "link_preview"),
        ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "crawler"),
        (CHROME.replace("Chrome", "HeadlessChrome"), "script"),
        ("python-requests/2.32.3", "script"),
        ("curl/8.4.0", "script"),
        ("Go-http-client/2.0", "script"),
    ],
)
def test_machines_that_name_themselves_are_known(agent: str, reason: str) -> None:
    assert verdict(agent) == (True, reason)


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (CHROME, ""),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148", ""),
        ("Mozilla/5.0 (Linux; Android 12; CUBOT X50) AppleWebKit/537.36 Mobile Safari/537.36", ""),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0", ""),
        (OUTLOOK, ""),
        (GMAIL_PROXY, "gmail_proxy"),
        (YAHOO_PROXY, "yahoo_proxy"),
    ],
)
def test_people_stay_people_also_behind_a_proxy_that_fetches_when_they_look(agent: str, reason: str) -> None:
    assert verdict(agent) == (False, reason)


def test_offices_probe_of_a_link_is_a_machine_though_its_look_at_an_image_is_a_person() -> None:
    assert verdict(OUTLOOK, Kind.CLICKED) == (True, "office_probe")


@pytest.mark.parametrize("agent", [CHROME, GMAIL_PROXY])
def test_nobody_has_read_it_the_moment_it_went_out(agent: str) -> None:
    assert verdict(agent, seconds=9.9) == (True, "too_soon")
    assert verdict(agent, seconds=-0.1) == (True, "too_soon")
    assert not verdict(agent, seconds=10.0)[0]
    assert not verdict(agent, seconds=None)[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("Sec-Purpose", "prefetch;prerender"),
        ("Purpose", "prefetch"),
        ("X-Purpose", "preview"),
        ("X-Moz", "Prefetch"),
    ],
)
def test_what_a_browser_loads_ahead_is_no_click(field: str, value: str) -> None:
    found = judged(Kind.CLICKED, {"User-Agent": CHROME, field: value}, 3600.0, 10.0)
    assert (found.machine, found.reason) == (True, "prefetch")


def test_every_row_of_the_table_matches_in_lower_case() -> None:
    assert all(row.pattern.pattern == row.pattern.pattern.lower() for row in TABLE)


def asked(*seconds_ago: float, field: str = "asked_at") -> Sequence[Document]:
    return [{field: NOON - timedelta(seconds=seconds)} for seconds in seconds_ago]


@pytest.mark.parametrize(
    ("found", "links", "reason"),
    [
        (asked(0), 1, None),
        (asked(0), 5, None),
        (asked(0, 1), 2, "many_links"),
        (asked(0, 1), 3, None),
        (asked(0, 1, 2.5), 3, "many_links"),
        (asked(0, 1, 2.5), 20, "many_links"),
        (asked(0, 1, 4), 3, None),
        (asked(9, field="head_at"), 1, "head_first"),
        (asked(11, field="head_at"), 1, None),
    ],
)
def test_what_several_requests_tell_together(
    found: Sequence[Document], links: int, reason: str | None
) -> None:
    assert second_thought(found, NOON, links) == reason
