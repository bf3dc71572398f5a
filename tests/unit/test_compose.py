"""The bytes of an e-mail: read back equal by another implementation, and closed to every injection."""

import email
import re
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email import policy
from email.header import decode_header
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sender.compose import Address, ComposeError, Mail, compose, message_id, wire_address

PLAIN = Mail(
    sender=Address("ana@ourco.example", "Ana Sousa"),
    to=Address("bob@acme.example", "Bob Ito"),
    subject="Backend Engineer, 4 days a week",
    text="Hi Bob,\n\nhow are you?\n",
    date=datetime(2026, 10, 3, 9, 5, 7, tzinfo=UTC),
    message_id="<abc@ourco.example>",
)
LONG_ID = f"<{'x' * 180}@ourco.example>"


def parsed(mail: Mail, *, smtputf8: bool = False) -> EmailMessage:
    return email.message_from_bytes(compose(mail, smtputf8=smtputf8), policy=policy.default)


def header_lines(data: bytes) -> list[bytes]:
    return data.partition(b"\r\n\r\n")[0].split(b"\r\n")


def body_text(message: EmailMessage) -> str:
    return cast(str, message.get_content()).replace("\r\n", "\n")


def assert_wellformed(data: bytes) -> None:
    assert data.isascii()
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert b"\r" not in data.replace(b"\r\n", b"")
    assert data.endswith(b"\r\n")
    assert max(map(len, data.split(b"\r\n"))) <= 998
    for line in header_lines(data):
        assert line.strip()
        assert b"=?" not in line or len(line) <= 76


def test_the_bytes_of_a_plain_mail() -> None:
    assert compose(PLAIN) == (
        b"From: Ana Sousa <ana@ourco.example>\r\n"
        b"To: Bob Ito <bob@acme.example>\r\n"
        b"Subject: Backend Engineer, 4 days a week\r\n"
        b"Date: Sat, 03 Oct 2026 09:05:07 +0000\r\n"
        b"Message-ID: <abc@ourco.example>\r\n"
        b"X-Segue-Dispatch: abc@ourco.example\r\n"
        b"MIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Hi Bob,\r\n\r\nhow are you?\r\n"
    )


def test_all_the_optional_headers() -> None:
    mail = replace(
        PLAIN,
        in_reply_to="<2@x.example>",
        references=("<0@x.example>", "<1@x.example>"),
        reply_to=Address("ana+r7@ourco.example"),
        unsubscribe=("https://u.example/u/abc?x=1", "mailto:ana@ourco.example?subject=unsubscribe"),
    )
    message = parsed(mail)
    assert message["In-Reply-To"] == "<2@x.example>"
    assert message["References"].split() == ["<0@x.example>", "<1@x.example>", "<2@x.example>"]
    assert message["Reply-To"] == "ana+r7@ourco.example"
    assert message["List-Unsubscribe"] == (
        "<https://u.example/u/abc?x=1>, <mailto:ana@ourco.example?subject=unsubscribe>"
    )
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert_wellformed(compose(mail))


def test_one_click_needs_https() -> None:
    mail = replace(PLAIN, unsubscribe=("mailto:ana@ourco.example",))
    assert parsed(mail)["List-Unsubscribe-Post"] is None


SCRIPTS = {
    "latin": "Zoë Müller-Ångström, où êtes-vous?",
    "greek": "Γιώργος Παπαδόπουλος",
    "cyrillic": "Здравствуйте, Наталья Сергеевна",
    "hebrew": "שלום דוד, מה שלומך",
    "arabic": "مرحبا يا أحمد، كيف حالك",
    "devanagari": "नमस्ते प्रिया, आप कैसी हैं",
    "bengali": "নমস্কার অনির্বাণ",
    "tamil": "வணக்கம் முருகன்",
    "thai": "สวัสดีครับ คุณสมชาย",
    "georgian": "გამარჯობა, ნინო",
    "armenian": "Բարեւ Արամ",
    "chinese": "你好，王小明，我们在招聘",
    "japanese": "こんにちは、山田さん",
    "korean": "안녕하세요 김민준님",
    "amharic": "ሰላም አበበ",
    "emoji": "Hi 👩‍👩‍👧‍👦 🏳️‍🌈 team",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_is_read_back_equal(text: str) -> None:
    mail = replace(
        PLAIN,
        subject=text,
        sender=Address("ana@ourco.example", text),
        to=Address("bob@acme.example", text),
        text=f"{text}\n\n{text * 20}\n",
    )
    message = parsed(mail)
    assert message["Subject"] == text
    # Not the policy's display_name: 3.11.7 leaves a blank between two encoded words of a phrase.
    assert decoded(compose(mail), "From") in {f"{text} <ana@ourco.example>", f'"{text}" <ana@ourco.example>'}
    assert message["To"].addresses[0].addr_spec == "bob@acme.example"
    assert body_text(message) == mail.text
    assert not message.defects
    assert_wellformed(compose(mail))


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_name_of_usual_length_is_one_word_to_the_standard_library_too(text: str) -> None:
    message = parsed(replace(PLAIN, to=Address("bob@acme.example", text[:12])))
    assert message["To"].addresses[0].display_name == text[:12].strip()


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_a_long_subject_is_folded_into_words_of_whole_characters(text: str) -> None:
    subject = (text + " ") * 40
    data = compose(replace(PLAIN, subject=subject))
    assert parsed(replace(PLAIN, subject=subject))["Subject"] == subject.strip()
    assert_wellformed(data)


def test_a_long_ascii_subject_is_folded_at_blanks() -> None:
    subject = "word " * 300 + "end"
    data = compose(replace(PLAIN, subject=subject))
    assert max(map(len, header_lines(data))) <= 78
    assert parsed(replace(PLAIN, subject=subject))["Subject"] == subject


@pytest.mark.parametrize(
    "subject", ["x" * 2000, "a  b", "a" + " " * 200 + "b", "word " * 20 + "y" * 900, "a= ?b"]
)
def test_odd_ascii_subjects_are_read_back_equal(subject: str) -> None:
    assert parsed(replace(PLAIN, subject=subject))["Subject"] == subject
    assert_wellformed(compose(replace(PLAIN, subject=subject)))


@pytest.mark.parametrize(
    "name",
    [
        "Sousa, Ana",
        'Ana "Nana" Sousa',
        "Ana (HR)",
        "a\\b",
        "ana@other.example",
        "O'Brien",
        "Dr. Ana",
        "<x@y.z>",
        "x" * 250,
        "Ana Sousa " * 20 + "x",
        "Acme: People;",
        "ü" * 10,
        "=",
        "a b  c",
    ],
)
def test_a_display_name_is_one_name_whatever_is_in_it(name: str) -> None:
    mail = replace(PLAIN, to=Address("bob@acme.example", name), sender=Address("ana@ourco.example", name))
    for field in ("To", "From"):
        (address,) = parsed(mail)[field].addresses
        assert address.display_name == name.strip()
    assert_wellformed(compose(mail))


def test_no_name_gives_the_bare_address() -> None:
    assert b"\r\nTo: bob@acme.example\r\n" in compose(replace(PLAIN, to=Address("bob@acme.example", " ")))


# --- threads


def test_references_keep_the_first_and_the_last_twenty() -> None:
    ids = tuple(f"<{number}@x.example>" for number in range(60))
    mail = replace(PLAIN, in_reply_to="<parent@x.example>", references=ids)
    kept = parsed(mail)["References"].split()
    assert kept == [ids[0], *ids[-19:], "<parent@x.example>"]


def test_a_short_list_of_references_is_kept_whole() -> None:
    ids = tuple(f"<{number}@x.example>" for number in range(20))
    assert parsed(replace(PLAIN, in_reply_to="<p@x>", references=ids))["References"].split() == [
        *ids,
        "<p@x>",
    ]


def test_long_references_are_never_encoded_and_never_too_long() -> None:
    mail = replace(PLAIN, in_reply_to=LONG_ID, references=tuple(f"<{n}{LONG_ID[1:]}" for n in range(40)))
    data = compose(mail)
    assert_wellformed(data)
    assert b"=?" not in data
    assert parsed(mail)["In-Reply-To"] == LONG_ID
    assert len(parsed(mail)["References"].split()) == 21


def test_the_parent_is_named_once() -> None:
    mail = replace(PLAIN, in_reply_to="<1@x>", references=("<0@x>", "<1@x>"))
    assert parsed(mail)["References"].split() == ["<0@x>", "<1@x>"]


# --- message ids


def test_a_message_id_is_the_dispatchs_own_and_always_the_same() -> None:
    first = message_id(b"k" * 32, "e:s", "ourco.example")
    assert first == message_id(b"k" * 32, "e:s", "ourco.example")
    assert re.fullmatch(r"<[a-z2-7]{32}@ourco\.example>", first)
    assert first != message_id(b"k" * 32, "e:t", "ourco.example")
    assert first != message_id(b"l" * 32, "e:s", "ourco.example")


@pytest.mark.parametrize("domain", ["münchen.example", "ourco.example", f"{'x' * 40}.example"])
def test_a_message_id_stays_under_70_octets_and_composes(domain: str) -> None:
    own = message_id(b"k", "e:s", domain)
    assert len(own.encode("ascii")) < 70
    assert parsed(replace(PLAIN, message_id=own))["Message-ID"] == own


@pytest.mark.parametrize("domain", ["", "a b", "x" * 60 + ".example", "x\r\n", "-x", "a..b", "=?x?="])
def test_a_message_id_refuses_a_useless_domain(domain: str) -> None:
    with pytest.raises(ComposeError):
        message_id(b"k", "e:s", domain)


# --- addresses


@pytest.mark.parametrize(
    ("written", "wire"),
    [
        ("bob@acme.example", "bob@acme.example"),
        ("bob@bücher.example", "bob@xn--bcher-kva.example"),
        ("bob@BÜCHER.example", "bob@xn--bcher-kva.example"),
        ("bob@例え.テスト", "bob@xn--r8jz45g.xn--zckzah"),
        ("bob+tag.x@localhost", "bob+tag.x@localhost"),
        ("o'brien{x}@acme.example", "o'brien{x}@acme.example"),
    ],
)
def test_a_domain_reaches_the_wire_in_ascii(written: str, wire: str) -> None:
    assert wire_address(written) == wire
    assert parsed(replace(PLAIN, to=Address(written, "Bob")))["To"].addresses[0].addr_spec == wire


def test_a_local_part_in_another_script_needs_smtputf8() -> None:
    mail = replace(PLAIN, to=Address("用户@bücher.example", "用户"))
    with pytest.raises(ComposeError, match="SMTPUTF8"):
        compose(mail)
    data = compose(mail, smtputf8=True)
    assert "<用户@xn--bcher-kva.example>\r\n".encode() in data
    assert wire_address("用户@bücher.example", smtputf8=True) == "用户@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "@",
        "bob",
        "bob@",
        "@acme.example",
        "b b@acme.example",
        "bob@acme..example",
        "bob@-acme.example",
        "a@b@c.example",
        "<bob@acme.example>",
        "bob@acme.example, eve@x.example",
        "bob@[127.0.0.1]",
        "bob.@acme.example",
        "b..b@acme.example",
        '"b b"@acme.example',
        "bob@acme.example>",
        "bob@acme_x.example",
        "bob(x)@acme.example",
        "x" * 65 + "@acme.example",
        "bob@" + "x" * 64 + ".example",
        "bob@" + "x.y" * 85,
        "b@" + "ü" * 300 + ".example",
        "bob@a\u200bb⁄.example",
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_what_is_no_address_is_refused(address: str, smtputf8: bool) -> None:
    with pytest.raises(ComposeError):
        wire_address(address, smtputf8=smtputf8)
    for field in ("sender", "to", "reply_to"):
        with pytest.raises(ComposeError):
            compose(replace(PLAIN, **{field: Address(address)}), smtputf8=smtputf8)  # type: ignore[arg-type]


# --- injection

UNFIT = [
    "\r",
    "\n",
    "\r\n",
    "\r\nBcc: evil@x.example",
    "\x00",
    "\t",
    "\x0b",
    "\x1b",
    "\x7f",
    "\x80",
    "\x85",
    "\x9f",
]
UNFIT += ["\u2028", "\u2029", "=?", "=?utf-8?q?hi=0ABcc:_evil@x?=", "\ud800"]

PLACES: dict[str, Callable[[str], Mail]] = {
    "subject": lambda x: replace(PLAIN, subject=f"a{x}b"),
    "sender name": lambda x: replace(PLAIN, sender=Address("ana@ourco.example", f"a{x}b")),
    "sender address": lambda x: replace(PLAIN, sender=Address(f"a{x}b@ourco.example")),
    "sender domain": lambda x: replace(PLAIN, sender=Address(f"a@our{x}co.example")),
    "to name": lambda x: replace(PLAIN, to=Address("bob@acme.example", f"a{x}b")),
    "to address": lambda x: replace(PLAIN, to=Address(f"a{x}b@acme.example")),
    "to domain": lambda x: replace(PLAIN, to=Address(f"bob@acme{x}x.example")),
    "to end": lambda x: replace(PLAIN, to=Address(f"bob@acme.example{x}")),
    "reply-to name": lambda x: replace(PLAIN, reply_to=Address("bob@acme.example", f"a{x}b")),
    "reply-to address": lambda x: replace(PLAIN, reply_to=Address(f"a{x}b@acme.example")),
    "message id": lambda x: replace(PLAIN, message_id=f"<a{x}b@ourco.example>"),
    "message id end": lambda x: replace(PLAIN, message_id=f"<ab@ourco.example>{x}"),
    "in-reply-to": lambda x: replace(PLAIN, in_reply_to=f"<a{x}b@ourco.example>"),
    "references": lambda x: replace(PLAIN, in_reply_to="<a@b>", references=(f"<a{x}b@ourco.example>",)),
    "unsubscribe https": lambda x: replace(PLAIN, unsubscribe=(f"https://u.example/{x}a",)),
    "unsubscribe mailto": lambda x: replace(PLAIN, unsubscribe=(f"mailto:u@u.example{x}",)),
}


@pytest.mark.parametrize("unfit", UNFIT)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_nothing_is_smuggled_into_a_header(place: Callable[[str], Mail], unfit: str) -> None:
    with pytest.raises(ComposeError) as caught:
        compose(place(unfit), smtputf8=True)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    "mail",
    [
        replace(PLAIN, message_id=f"<{'x' * 60}@ourco.example>"),
        replace(PLAIN, message_id="abc@ourco.example"),
        replace(PLAIN, message_id="<a b@ourco.example>"),
        replace(PLAIN, message_id="<ä@ourco.example>"),
        replace(PLAIN, message_id="<a@b> <c@d>"),
        replace(PLAIN, in_reply_to="<a@b><c@d>"),
        replace(PLAIN, in_reply_to=f"<{'x' * 900}@b>"),
        replace(PLAIN, references=("<a@b>",)),
        replace(PLAIN, subject=" "),
        replace(PLAIN, subject="x" * 4097),
        replace(PLAIN, to=Address("bob@acme.example", "x" * 256)),
        replace(PLAIN, unsubscribe=("https://u.example/a>b",)),
        replace(PLAIN, unsubscribe=("https://u.example/a b",)),
        replace(PLAIN, unsubscribe=("https://u.example/ä",)),
        replace(PLAIN, unsubscribe=("javascript:alert(1)",)),
        replace(PLAIN, unsubscribe=("https://u.example/" + "x" * 900,)),
        replace(PLAIN, unsubscribe=("mailto:a@b.example,c@d.example",)),
        replace(PLAIN, date=datetime(2026, 10, 3)),  # noqa: DTZ001 - what must be refused
        replace(PLAIN, text="x\ud800"),
    ],
)
def test_what_can_not_be_written_is_refused(mail: Mail) -> None:
    with pytest.raises(ComposeError):
        compose(mail)


def test_a_header_in_the_text_stays_in_the_text() -> None:
    mail = replace(PLAIN, text="\r\nBcc: evil@x.example\r\n\r\nhello\n.\n")
    assert parsed(mail)["Bcc"] is None
    assert body_text(parsed(mail)) == "\nBcc: evil@x.example\n\nhello\n.\n"


# --- dates and bodies


def test_a_date_is_written_in_utc() -> None:
    at = datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert b"\r\nDate: Thu, 31 Dec 2026 22:30:00 +0000\r\n" in compose(replace(PLAIN, date=at))


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_every_date_is_read_back_equal(at: datetime) -> None:
    assert parsed(replace(PLAIN, date=at))["Date"].datetime == at.replace(microsecond=0)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain", "7bit"),
        ("x" * 998, "7bit"),
        ("x" * 999, "quoted-printable"),
        ("tab\tand ~", "7bit"),
        ("Grüße aus München, herzlich", "quoted-printable"),
        ("你好，王小明，我们在招聘", "base64"),
        ("a\x00b, with much ASCII around it", "quoted-printable"),
        ("line\n" * 10_000, "7bit"),
    ],
)
def test_the_encoding_is_the_plainest_that_carries_the_text(text: str, encoding: str) -> None:
    message = parsed(replace(PLAIN, text=text))
    assert message["Content-Transfer-Encoding"] == encoding
    assert body_text(message) == text.removesuffix("\n") + "\n"


@pytest.mark.parametrize("text", ["a\r\nb\rc\nd", "é\r\nb\rc\nd"])
def test_every_line_end_becomes_crlf(text: str) -> None:
    assert body_text(parsed(replace(PLAIN, text=text))).split("\n")[1:] == ["b", "c", "d", ""]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
ascii_texts = st.text(string.printable, max_size=1200)


@given(st.one_of(texts, ascii_texts, texts.map(lambda text: text * 30)))
@example("é \n \n\t\né\t")
@example("é\n.\n..\nFrom x\n")
@example("é\x00\x0c\x85\u2028")
@example("=" * 500 + "é")
def test_every_text_is_read_back_equal(text: str) -> None:
    data = compose(replace(PLAIN, text=text))
    assert_wellformed(data)
    head, _, body = data.partition(b"\r\n\r\n")
    if b"7bit" not in head:
        assert max(map(len, body.split(b"\r\n"))) <= 76
    # Not get_content(): it takes a form feed or U+2028 for a line end.
    payload = cast(bytes, email.message_from_bytes(data).get_payload(decode=True))
    expected = re.sub(r"\r\n|\r|\n", "\n", text)
    expected += "" if expected.endswith("\n") else "\n"
    assert payload.decode() == expected.replace("\n", "\r\n")


header_texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=200
).filter(lambda text: text.strip() and "=?" not in text)


@given(header_texts)
@example("a  b")
@example("é  é")
@example("a é b " * 30)
def test_every_subject_is_read_back_equal(subject: str) -> None:
    data = compose(replace(PLAIN, subject=subject))
    assert_wellformed(data)
    assert decoded(data, "Subject") == subject.strip()


@given(header_texts)
def test_every_display_name_is_read_back_equal(name: str) -> None:
    data = compose(replace(PLAIN, to=Address("bob@acme.example", name)))
    assert_wellformed(data)
    value = decoded(data, "To")
    assert value.endswith("bob@acme.example>")
    shown = value.removesuffix("<bob@acme.example>").removesuffix(" ")
    if name.strip().isascii() and shown.startswith('"'):
        shown = re.sub(r"\\(.)", r"\1", shown[1:-1])
    assert shown == name.strip()


def decoded(data: bytes, field: str) -> str:
    """Decode a header by RFC 2047 alone: the default policy also normalises blanks."""
    (start,) = [n for n, line in enumerate(header_lines(data)) if line.startswith(field.encode() + b": ")]
    lines = header_lines(data)[start:]
    end = next((n for n, line in enumerate(lines) if n and not line.startswith(b" ")), len(lines))
    value = b"\r\n".join(lines[:end]).decode("ascii").partition(": ")[2]
    joined = re.sub(r"\?=\r\n =\?", "?==?", value).replace("\r\n", "")
    return re.sub(r"=\?utf-8\?[bq]\?[^?]*\?=", lambda word: _decoded_word(word.group()), joined)


def _decoded_word(word: str) -> str:
    ((data, charset),) = decode_header(word)
    assert isinstance(data, bytes)
    return data.decode(str(charset))


@given(texts, header_texts)
def test_equal_parts_give_equal_bytes(text: str, subject: str) -> None:
    mail = replace(PLAIN, text=text, subject=subject)
    assert compose(mail) == compose(replace(mail))


@given(st.text(), st.text(), st.text(), st.text())
def test_any_parts_are_composed_or_refused(subject: str, name: str, address: str, text: str) -> None:
    mail = replace(PLAIN, subject=subject, to=Address(f"b{address}@acme.example", name), text=text)
    try:
        data = compose(mail)
    except ComposeError:
        return
    assert_wellformed(data)
    names = [line.partition(b":")[0] for line in header_lines(data) if not line.startswith(b" ")]
    assert names[:6] == [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"X-Segue-Dispatch"]
    assert names[6:] == [b"MIME-Version", b"Content-Type", b"Content-Transfer-Encoding"]
