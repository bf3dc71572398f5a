"""Mails with HTML, files and copies: read back equal by two other parsers, closed to what is smuggled in."""

import email
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import parseaddr
from html.parser import HTMLParser
from typing import cast
from uuid import uuid4

import fast_mail_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.as_text import as_text
from chassis.documents import AttachmentView, Footer, MailboxView, SmtpIdentity
from chassis.markup import ATTRIBUTES, TAGS, cleaned
from chassis.signatures import signature_html, signature_text
from chassis.templates import MAX_OUTPUT_BYTES, TemplateError, TokenMissing, ValueRefused, compile_template
from chassis.wording import html_of
from segue_contracts.sequence import SequenceError, parse_sequence
from sender.attachments import Attachments
from sender.compose import MAX_MAIL_BYTES, Address, ComposeError, Mail, attached, compose
from sender.content import Content, Writing, content_of
from sender.smtp import Envelope, _prepared

PLAIN = Mail(
    sender=Address("ana@ourco.example", "Ana Sousa"),
    to=Address("bob@acme.example", "Bob Ito"),
    subject="Backend Engineer",
    text="Hi Bob,\n\nhow are you?\n",
    date=datetime(2026, 10, 3, 9, 5, 7, tzinfo=UTC),
    message_id="<abc@ourco.example>",
)
SCRIPTS = {
    "latin": "Žluťoučký kůň příšerně úpěl",
    "greek": "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "cyrillic": "Съешь же ещё этих мягких булок",
    "hebrew": "דג סקרן שט בים מאוכזב",
    "arabic": "نص حكيم له سر قاطع وذو شأن",
    "persian": "می\u200cخواهم بنویسم",
    "devanagari": "ऋषियों को सताने वाले दुष्ट",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า",
    "han": "視野無限廣，窗外有藍天",
    "kana": "いろはにほへと ちりぬるを ガギグゲゴ",
    "hangul": "키스의 고유조건은 입술끼리",
    "georgian": "მართლმსაჯულება არის სიკეთე",
    "armenian": "Բել դղյակի ձախ ժամն օֆ",
    "tamil": "யாமறிந்த மொழிகளிலே",
    "ethiopic": "ሰማይ አይታረስ ንጉሥ አይከሰስ",
    "emoji": "👩🏽\u200d💻 🏳️\u200d🌈 👍🏿 🇩🇪",
    "beyond the first plane": "𝒜𝓃𝒶 𐌰𐌽𐌰 𠜎𠜱",
}


def by_stdlib(raw: bytes) -> EmailMessage:
    return email.message_from_bytes(raw, policy=policy.default)


def lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def name_in(raw: bytes) -> str:
    """The sender's name; the library's newer parser puts a blank between words that stand on two lines."""
    name, _ = parseaddr(str(email.message_from_bytes(raw)["From"]))
    return str(make_header(decode_header(name)))


def read_by_both(mail: Mail) -> list[tuple[str, str, str, str | None, list[tuple[str, str, bytes]]]]:
    """Subject, name, text, HTML and files, as each parser has them."""
    raw = compose(mail)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    message, other = by_stdlib(raw), fast_mail_parser.parse_email(raw)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert not any(part.defects for part in message.walk())
    assert other.from_ is not None
    return [
        (
            str(message["Subject"]),
            name_in(raw),
            lines(text.get_content()),
            lines(html.get_content()) if html is not None else None,
            [
                (
                    str(each.get_filename()),
                    each.get_content_type(),
                    cast(bytes, each.get_payload(decode=True)),
                )
                for each in message.iter_attachments()
            ],
        ),
        (
            other.subject,
            str(other.from_.display_name),
            lines(other.text_plain[0]),
            lines(other.text_html[0]) if other.text_html else None,
            [(each.filename, each.mimetype.partition(";")[0], each.content) for each in other.attachments],
        ),
    ]


# --- what two other parsers read


@pytest.mark.parametrize("words", SCRIPTS.values(), ids=SCRIPTS)
def test_every_script_is_read_back_equal_by_two_parsers(words: str) -> None:
    long = " ".join([words] * 6)
    filename, content = f"{words}.pdf", words.encode() * 100
    html = f"<p>{words}</p>\n<p>{long}</p>\n"
    mail = replace(
        PLAIN,
        sender=Address("ana@ourco.example", long[:120].strip()),
        subject=long,
        text=f"{long}\n\n{words}\n",
        html=html,
        attachments=(attached(filename, "application/pdf", content),),
    )
    expected = (
        *(long, long[:120].strip(), f"{long}\n\n{words}\n", html),
        [(filename, "application/pdf", content)],
    )
    for found in read_by_both(mail):
        assert found == expected


# What neither parser is to blame for: blanks at the ends of headers are gone before they are written, and
# what is no text to a mail is refused, which other tests claim.
words = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="=?"), min_size=1, max_size=60
)
phrases = st.lists(words, min_size=1, max_size=8).map(" ".join)
bodies = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t"), max_size=400)


@given(phrases, phrases, bodies, bodies | st.none(), st.lists(st.binary(max_size=400), max_size=3))
def test_headers_bodies_and_files_are_read_back_equal_by_two_parsers(
    subject: str, name: str, text: str, html: str | None, files: list[bytes]
) -> None:
    text, html = f"{text}\n", f"{html}\n" if html is not None else None
    mail = replace(
        PLAIN,
        subject=subject,
        sender=Address("ana@ourco.example", name),
        text=text,
        html=html,
        attachments=tuple(attached(f"{n}.bin", "application/pdf", each) for n, each in enumerate(files)),
    )
    stdlib, other = read_by_both(mail)
    expected = [(f"{n}.bin", "application/pdf", each) for n, each in enumerate(files)]
    for found in (stdlib, other):
        assert found[0] == subject
        assert found[2:] == (text, html, expected)
    assert stdlib[1] == name


def test_the_same_parts_are_the_same_bytes() -> None:
    mail = replace(PLAIN, html="<p>x</p>", attachments=(attached("a.pdf", "application/pdf", b"%PDF-"),))
    assert compose(mail) == compose(replace(mail))
    assert b"multipart" not in compose(PLAIN)


def test_a_body_that_contains_its_own_boundary_is_still_one_part() -> None:
    html = "<p>x</p>\n"
    found = re.search(rb'boundary="=_a_([^"]+)"', compose(replace(PLAIN, html=html)))
    assert found is not None
    forged = f"--=_a_{found.group(1).decode()}\nContent-Type: text/html\n\nforged\n"
    for each in read_by_both(replace(PLAIN, text=forged, html=html)):
        assert each[2:4] == (forged, html)


def test_a_long_line_of_html_is_folded_for_the_wire_and_whole_again_for_the_reader() -> None:
    html = "<p>" + "long words " * 500 + "</p>\n"
    for found in read_by_both(replace(PLAIN, html=html)):
        assert found[3] == html


# --- headers that are forged


@pytest.mark.parametrize(
    "bad",
    [
        "a\r\nBcc: x@y.example",
        "a\nb",
        "a\x00b",
        "a\x85b",
        "a\u2028b",
        "=?utf-8?q?hi=0ABcc:_x@y?=",
        "a\x7fb",
        "\ud800",
    ],
)
def test_no_value_forges_a_header(bad: str) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: compose(replace(PLAIN, subject=bad)),
        lambda: compose(replace(PLAIN, sender=Address("ana@ourco.example", bad))),
        lambda: compose(replace(PLAIN, to=Address("bob@acme.example", bad))),
        lambda: compose(replace(PLAIN, reply_to=Address(f"{bad}@ourco.example"))),
        lambda: attached(f"{bad}.pdf", "application/pdf", b"x"),
        lambda: attached("a.pdf", f"application/{bad}", b"x"),
    ]
    for attempt in attempts:
        with pytest.raises(ComposeError):
            attempt()


@pytest.mark.parametrize(
    "bad", ["x@y.example>\r\nDATA", "x@y\n.example", "x y@z.example", "<x@y.example>", "x\x00@y.z"]
)
def test_no_copy_forges_a_command(bad: str) -> None:
    with pytest.raises(ValueError, match="envelope"):
        _prepared(Envelope("ana@ourco.example", "bob@acme.example", b"x\r\n", (bad,)))


@pytest.mark.parametrize("field", ["bcc", "reply_to"])
@pytest.mark.parametrize(
    "bad",
    ["x", "x@y.example\r\nSubject: z", "a@b.example, c@d.example", "A <a@b.example>", "ü@b.example", ""],
)
def test_no_stage_names_an_address_that_is_none(field: str, bad: str) -> None:
    stage = {"id": "a", "channel": "email", "subject": "s", "text": "t", field: bad}
    with pytest.raises(SequenceError) as caught:
        parse_sequence({"name": "x", "stages": [stage]})
    assert [each.path for each in caught.value.problems] == [f"stages[0].{field}"]


@pytest.mark.parametrize("field", ["html", "attachments", "bcc", "reply_to"])
def test_what_only_a_mail_has_is_refused_elsewhere(field: str) -> None:
    given = {
        "html": "<p>x</p>",
        "attachments": [str(uuid4())],
        "bcc": "a@b.example",
        "reply_to": "a@b.example",
    }
    for channel in ("sms", "manual_email", "task"):
        stage = {"id": "a", "channel": channel, "text": "t", field: given[field]}
        with pytest.raises(SequenceError) as caught:
            parse_sequence({"name": "x", "stages": [stage]})
        assert [each.path for each in caught.value.problems] == [f"stages[0].{field}"]


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana@аррӏе.example", "ana@xn--80ak6aa92e.example"),  # Cyrillic letters that look like Latin ones
        ("ana@ＯＵＲＣＯ.example", "ana@ourco.example"),
    ],
)
def test_a_domain_is_written_as_what_it_is_and_not_as_what_it_looks_like(typed: str, written: str) -> None:
    message = by_stdlib(compose(replace(PLAIN, reply_to=Address(typed))))
    assert str(message["Reply-To"]) == written


@pytest.mark.parametrize(
    "bad", ["ana@a..example", "ana@\u202eexample.com", "ana@exa\u200bmple..com", "ana@-x-.example"]
)
def test_a_domain_that_can_not_be_is_refused(bad: str) -> None:
    with pytest.raises(ComposeError):
        compose(replace(PLAIN, reply_to=Address(bad)))


# --- too much


def test_a_mail_that_is_too_large_is_not_written() -> None:
    part = attached("a.pdf", "application/pdf", b"x" * 10 * 1024 * 1024)
    compose(replace(PLAIN, attachments=(part,)))
    with pytest.raises(ComposeError, match="larger than 26 MiB"):
        compose(replace(PLAIN, attachments=(part,) * (MAX_MAIL_BYTES // len(part) + 1)))


def test_templates_values_and_outputs_have_their_limits_in_html_too() -> None:
    with pytest.raises(TemplateError, match="longer than 64 KiB"):
        compile_template(f"<p>{'x' * 65536}</p>", kind="html")
    with pytest.raises(ValueRefused, match="longer than 2 KiB"):
        html_of("<p>{{a}}</p>", {"a": "x" * 2049})
    with pytest.raises(TemplateError, match="longer than 256 KiB"):
        html_of("<p>{{a}}</p>" * 140, {"a": "&" * 2000})
    assert MAX_OUTPUT_BYTES < MAX_MAIL_BYTES


def test_nul_reaches_no_mail() -> None:
    with pytest.raises(SequenceError):
        parse_sequence(
            {"name": "x", "stages": [{"id": "a", "channel": "email", "subject": "s", "html": "<p>\x00</p>"}]}
        )
    assert "\x00" not in html_of("<p>{{a}}</p>", {"a": "a\x00b"})


# --- HTML that is broken, or not for a mail


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("<p>one\n<b>two</p>", 2, "comes while <b> of line 2 is open"),
        ("<p>one", 1, "<p> is never closed"),
        ("a\n</p>", 2, "closes nothing"),
        ("<a href='https://x.example>x</a>", 1, "can't be read"),
        ("<a href=https://x.example>x</a>", 1, "in quotes"),
        ("1 < 2", 1, "&lt;"),
        ("<!-- note -->", 1, "comments are not possible"),
        ("<p>\n<script>alert(1)</script></p>", 2, "<script> is not possible"),
        ("<style>p {color: red}</style>", 1, "<style> is not possible"),
        ("<form><input></form>", 1, "<form> is not possible"),
        ("<iframe src='https://x.example'></iframe>", 1, "<iframe> is not possible"),
        ("<svg><a xlink:href='javascript:x'></a></svg>", 1, "<svg> is not possible"),
        ("<math></math>", 1, "<math> is not possible"),
        ("<meta http-equiv='refresh'>", 1, "<meta> is not possible"),
        ("<base href='https://x.example/'>", 1, "<base> is not possible"),
        ("<p onclick='x()'>x</p>", 1, "can't have onclick"),
        ("<p ONCLICK='x()'>x</p>", 1, "can't have onclick"),
        ("<p class='x'>x</p>", 1, "can't have class"),
        ("<a href='javascript:alert(1)'>x</a>", 1, "a link begins with"),
        ("<a href='JaVaScRiPt:alert(1)'>x</a>", 1, "a link begins with"),
        ("<a href='java&#115;cript:alert(1)'>x</a>", 1, "a link begins with"),
        ("<a href='data:text/html,x'>x</a>", 1, "a link begins with"),
        ("<a href='//x.example'>x</a>", 1, "a link begins with"),
        ("<a href='/jobs'>x</a>", 1, "a link begins with"),
        ("<a href=''>x</a>", 1, "needs an href"),
        ("<a>x</a>", 1, "needs an href"),
        ("<img src='http://x.example/a.png' alt=''>", 1, "src begins with https://"),
        ("<img src='data:image/png;base64,AA' alt=''>", 1, "src begins with https://"),
        ("<img src='cid:logo' alt=''>", 1, "src begins with https://"),
        ("<img src='https://x.example/a.png'>", 1, "needs alt"),
        ("<p style='position: fixed'>x</p>", 1, "position can't be set"),
        ("<p style='color: expression(x)'>x</p>", 1, "this value of color"),
        ("<p style='background-color: url(https://x.example)'>x</p>", 1, "this value of background-color"),
        ("<p style='color: re\\64'>x</p>", 1, "this value of color"),
        ("<p lang='de' lang='en'>x</p>", 1, "has lang twice"),
        ("<b/>", 1, "closes nothing in HTML"),
        ("<div>" * 51 + "</div>" * 51, 1, "more than 50 elements inside each other"),
        ("{% if a %}<b>{% endif %}x</b>", 1, "must be closed before {% endif %}"),
        ("<b>{% if a %}</b>{% endif %}", 1, "closes nothing that was opened inside this {% if %}"),
        ("{% if a %}<b>x{% else %}</b>{% endif %}", 1, "must be closed before {% else %}"),
    ],
)
def test_html_that_is_broken_or_not_for_a_mail_is_refused_at_its_place(
    source: str, line: int, says: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template(source, kind="html")
    assert caught.value.line == line
    assert says in caught.value.problem


@pytest.mark.parametrize(
    "source",
    [
        "<p style='color: {{a}}'>x</p>",
        "<p {{a}}>x</p>",
        "<p{{a}}>x</p>",
        "<{{a}}>x",
        "<p title={{a}}>x</p>",
        "<a href={{a}}>x</a>",
        "<a href='https://x.example' {% if a %}title='x'{% endif %}>x</a>",
        "<a href='https://x.example/{% if a %}a{% endif %}'>x</a>",
        "<img src='https://x.example/{{a}}.png' alt=''>",
        "<script>{{a}}</script>",
        "<style>{{a}}</style>",
        "<p lang='{{a}}'>x</p>",
        "<img src='https://x.example/a.png' alt='{{signature}}'>",
        "<a href='https://x.example/{{signature}}'>x</a>",
        "<!--{{a}}-->",
        "<p onclick='{{a}}'>x</p>",
        "<a href='{{a}}'\x0bonclick='x'>x</a>",
        '<a href="https://x.example/{{a|default(\'"><script>\')}}" x>x</a>',
    ],
)
def test_a_token_stands_in_text_or_in_the_quotes_of_a_few_attributes_only(source: str) -> None:
    with pytest.raises(TemplateError):
        compile_template(source, kind="html")


LINK = """<p>Hi {{name|you}}, <a href="{{url}}" title="{{name}}">{{name}}</a>
<img src="https://x.example/a.png" alt="{{name}}"></p>"""


class Shape(HTMLParser):
    """The tags and the names of their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Iterable[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


HARMLESS = Shape(html_of(LINK, {"name": "x", "url": "https://x.example/"})).found
attacks = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            '"',
            "'",
            "&",
            "=",
            " ",
            "/",
            "\n",
            "{{",
            "}}",
            "`",
            "-->",
            "<script>",
            "onerror=",
            "&quot;",
            "javascript:",
        ]
    )
    | st.text(max_size=5),
    max_size=12,
).map("".join)


@given(attacks, attacks)
def test_no_value_adds_a_tag_or_an_attribute(name: str, path: str) -> None:
    values = {"name": f"x{name}", "url": f"https://x.example/{path}"}
    try:
        html = html_of(LINK, values)
    except (ValueRefused, TemplateError):
        return
    assert Shape(html).found == HARMLESS
    assert cleaned(html) == html


@pytest.mark.parametrize(
    "value",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "&#106;avascript:alert(1)",
        "data:text/html,<script>x</script>",
        "vbscript:x",
        "//evil.example",
        "/relative",
        "evil.example",
        "file:///etc/passwd",
    ],
)
def test_a_value_that_makes_a_link_of_another_scheme_sends_nothing(value: str) -> None:
    with pytest.raises(TemplateError, match="a value makes a link that is none"):
        html_of('<a href="{{url}}">x</a>', {"url": value})


@pytest.mark.parametrize(
    "value", ["https://x.example/?a=1&b=2", "http://x.example", "mailto:a@b.example", "tel:+491"]
)
def test_a_value_that_is_a_link_is_one(value: str) -> None:
    html = html_of('<a href="{{url}}">x</a>', {"url": value})
    assert f'href="{value.replace("&", "&amp;")}"' in html


SOUP = [
    *("<p>", "</p>", "<b", "<a href='", "<img src=x onerror='", "<svg>", "<math>", "<style>", "</style>"),
    *("<script>", "</script>", "<!--", "-->", "<![CDATA[", "<noscript>", "<textarea>", "<title>", "<table>"),
    *("<td>", "javascript:", "https://x.example", "'", '"', ">", "/>", "&lt;", "\x00", " style='", "url(x)"),
]


@given(st.lists(st.sampled_from(SOUP) | st.text(max_size=4), max_size=25).map("".join))
def test_the_cleaner_leaves_nothing_that_is_not_on_the_allow_list(soup: str) -> None:
    for tag, names in Shape(cleaned(soup)).found:
        assert tag in TAGS
        assert ATTRIBUTES[tag].issuperset(names)


def test_conditions_may_hold_whole_elements() -> None:
    source = "<ul>{% if a %}<li>{{a}}</li>{% else %}<li>none</li>{% endif %}</ul>"
    assert html_of(source, {"a": "1"}) == "<ul><li>1</li></ul>"
    assert html_of(source, {}) == "<ul><li>none</li></ul>"


def test_a_text_in_a_condition_that_looks_like_a_tag_closes_nothing() -> None:
    source = '{% if a == "%}{% endif %}<b>" %}<p>x</p>{% endif %}<p>y</p>'
    assert html_of(source, {}) == "<p>y</p>"


# --- the text beside it


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hi  Bob,</p><p>how\nare you?</p>", "Hi Bob,\n\nhow are you?\n"),
        ("one<br>two", "one\ntwo\n"),
        ("<div>one</div><div>two</div>", "one\ntwo\n"),
        (
            'see <a href="https://x.example/a?b=1&amp;c=2">the job</a>.',
            "see the job (https://x.example/a?b=1&c=2).\n",
        ),
        ('<a href="https://www.x.example/">x.example</a>', "x.example\n"),
        ('<a href="mailto:ana@x.example">write me</a>', "write me (ana@x.example)\n"),
        ('<a href="https://x.example"><img src="https://x.example/a.png" alt=""></a>', "https://x.example\n"),
        ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>", "- a\n- b\n  - c\n"),
        ('<ol start="3"><li>a</li><li>b</li></ol>', "3. a\n4. b\n"),
        ("<table><tbody><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></tbody></table>", "a b\nc\n"),
        ("<pre>a\n  b</pre>", "a\n  b\n"),
        ("a<hr>b", "a\n\n----------\n\nb\n"),
        ('<img src="https://x.example/a.png" alt="Our Co">', "Our Co\n"),
        ("a&nbsp;b &lt;c&gt; &amp;", "a b <c> &\n"),
        ("", "\n"),
    ],
)
def test_html_as_text(html: str, text: str) -> None:
    assert as_text(html) == text


# --- content


MAILBOX = MailboxView(
    *(uuid4(), uuid4(), "ana@ourco.example", "Ana", uuid4(), "", None, None, None, ()),
    SmtpIdentity("mx", 587, "starttls", None, None),
)


def writing(mailbox: MailboxView = MAILBOX, **values: str) -> Writing:
    signed = signature_text(mailbox.signature, mailbox.display_name, {})
    return Writing({**values, **({"signature": signed} if signed else {})}, mailbox, {}, Footer(), None)


def test_the_html_passes_one_place_before_its_footer_and_its_text_does_not() -> None:
    seen: list[str] = []

    def rewrite(html: str) -> str:
        seen.append(html)
        return html.replace("https://x.example", "https://t.example/1")

    given = replace(writing(), footer=Footer("Our Co", "", "en"), page="https://x.example/u")
    content = content_of(None, '<a href="https://x.example">x</a>', given, rewrite)
    assert seen == ['<a href="https://x.example">x</a>']
    assert content.html is not None
    assert '<a href="https://t.example/1">x</a>' in content.html
    assert 'href="https://x.example/u"' in content.html
    assert content.text.startswith("x (https://x.example)\n")
    assert content_of("plain", None, given, rewrite).html is None
    assert seen == ['<a href="https://x.example">x</a>']


def test_html_that_says_nothing_is_no_mail() -> None:
    with pytest.raises(TemplateError, match="says nothing"):
        content_of(None, "<p>{% if a %}x{% endif %}</p>", writing())


def test_a_signature_that_has_lost_its_words_is_missing_and_never_a_blank() -> None:
    mailbox = replace(MAILBOX, signature="{{phone_of_office}}", signature_at_end=True)
    assert signature_text(mailbox.signature, "Ana", {}) == ""
    with pytest.raises(TokenMissing):
        content_of("Hi", None, writing(mailbox))
    with pytest.raises(TokenMissing):
        content_of("Hi {{signature}}", None, writing(mailbox))
    assert content_of("Hi", None, writing(replace(mailbox, signature_at_end=False))) == Content("Hi")


def test_no_filter_spoils_the_html_of_a_signature() -> None:
    mailbox = replace(MAILBOX, signature="x", signature_html='<a href="https://x.example/A">x</a>')
    content = content_of("t", "<p>{{signature|upper|truncate(5)}}</p>", writing(mailbox))
    assert content.html is not None
    assert '<p><a href="https://x.example/A">x</a></p>' in content.html


def test_a_value_in_a_signature_is_escaped() -> None:
    assert signature_html("<b>{{my_name}}</b>", "", "<i>Ana</i>", {}) == "<b>&lt;i&gt;Ana&lt;/i&gt;</b>"


class Uploads:
    """Two files of a kilobyte each; counts what it was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.there = {uuid4(): b"a" * 1000, uuid4(): b"b" * 1000}

    async def attachment(self, workspace: object, attachment_id: object) -> AttachmentView | None:
        self.asked += 1
        for known, content in self.there.items():
            if known == attachment_id:
                return AttachmentView(known, uuid4(), "a.pdf", "application/pdf", content)
        return None


async def test_a_file_is_read_once_while_there_is_room_for_it() -> None:
    uploads, workspace = Uploads(), uuid4()
    one, two = uploads.there
    attachments = Attachments(uploads, kept_bytes=2000)
    first = await attachments.entities(workspace, [one])
    assert await attachments.entities(workspace, [one]) == first
    assert uploads.asked == 1
    await attachments.entities(workspace, [two])
    await attachments.entities(workspace, [one])
    assert uploads.asked == 3
    assert await attachments.entities(workspace, [one, uuid4()]) is None
