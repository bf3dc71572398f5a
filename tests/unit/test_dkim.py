"""Our DKIM signatures, read by an implementation that is not ours."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

import dkim as independent
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.compose import Address, ComposeError, Mail, compose
from sender.dkim import Key, Signer, StoredKey, canonical_body, read_key, sign

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
PLAIN = Mail(
    sender=Address("ana@ourco.example", "Ana Sousa"),
    to=Address("bob@acme.example", "Bob Ito"),
    subject="Backend Engineer, 4 days a week",
    text="Hi Bob,\n\nhow are you?  \n\n\n",
    date=AT,
    message_id="<abc@ourco.example>",
    unsubscribe=("https://u.example/u/abc?x=1", "mailto:ana@ourco.example?subject=unsubscribe"),
)


@lru_cache(maxsize=1)
def keys() -> tuple[Key, ...]:
    return (
        Key("ourco.example", "one-rsa", generate_rsa(65537, 2048)),
        Key("ourco.example", "one-ed", Ed25519PrivateKey.generate()),
    )


def record(key: Key) -> bytes:
    """What the domain publishes for a key."""
    public = key.private.public_key()
    if isinstance(key.private, RSAPrivateKey):
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)


def dns(name: bytes | str, timeout: int = 5) -> bytes | None:
    text = name.decode() if isinstance(name, bytes) else name
    records = {f"{key.selector}._domainkey.{key.domain}.": record(key) for key in keys()}
    return records.get(text)


def verdicts(message: bytes) -> list[bool]:
    """Whether each signature holds, by the independent verifier."""
    found = []
    for index in range(message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")):
        try:
            found.append(bool(independent.DKIM(message).verify(idx=index, dnsfunc=dns)))
        except independent.DKIMException:
            found.append(False)
    return found


def test_both_signatures_hold_and_stand_before_the_unchanged_message() -> None:
    message = compose(PLAIN)
    signed = sign(message, keys(), AT)
    assert verdicts(signed) == [True, True]
    assert signed.endswith(message)
    assert signed.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=ourco.example;\r\n")
    assert b"a=ed25519-sha256" in signed
    assert max(map(len, signed.split(b"\r\n\r\n")[0].split(b"\r\n"))) <= 100


def test_without_a_key_nothing_is_added() -> None:
    assert sign(compose(PLAIN), (), AT) == compose(PLAIN)


@pytest.mark.parametrize("index", [0, 1], ids=["rsa", "ed25519"])
def test_one_key_is_one_signature(index: int) -> None:
    assert verdicts(sign(compose(PLAIN), keys()[index : index + 1], AT)) == [True]


LINE = st.text(st.characters(blacklist_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1, max_size=60).filter(
    lambda text: text.strip()
)
MAILS = st.builds(
    Mail,
    sender=st.builds(Address, st.just("ana@ourco.example"), LINE),
    to=st.builds(Address, st.sampled_from(["bob@acme.example", "bob@münchen.example"]), LINE),
    subject=LINE,
    text=st.text(st.characters(blacklist_categories=["Cs"]) | st.sampled_from(" \t\n\r."), max_size=300),
    date=st.just(AT),
    message_id=st.just("<abc@ourco.example>"),
    in_reply_to=st.none() | st.just(f"<{'x' * 180}@ourco.example>"),
    unsubscribe=st.sampled_from([(), ("mailto:ana@ourco.example",), ("https://u.example/" + "a" * 300,)]),
)


def composed(mail: Mail) -> bytes | None:
    try:
        return compose(mail)
    except ComposeError:
        return None


@settings(deadline=None)
@given(MAILS)
def test_any_mail_that_can_be_composed_verifies(mail: Mail) -> None:
    message = composed(mail)
    if message is not None:
        assert verdicts(sign(message, keys(), AT)) == [True, True]


@settings(deadline=None)
@given(MAILS, st.data())
def test_a_changed_byte_of_the_body_breaks_both(mail: Mail, data: st.DataObject) -> None:
    message = composed(mail)
    if message is None:
        return
    signed = sign(message, keys(), AT)
    begin = signed.index(b"\r\n\r\n") + 4
    solid = [at for at in range(begin, len(signed)) if signed[at] not in b" \t\r\n"]
    if solid:
        at = data.draw(st.sampled_from(solid))
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
        assert verdicts(changed) == [False, False]


ADDED = ("From", "Subject", "To", "Date", "Message-ID", "In-Reply-To", "References", "Reply-To", "Cc")


@pytest.mark.parametrize("name", [*ADDED, "List-Unsubscribe", "List-Unsubscribe-Post", "Content-Type"])
@pytest.mark.parametrize("mail", [PLAIN, replace(PLAIN, unsubscribe=())], ids=["all", "few"])
def test_a_field_that_is_added_later_breaks_both(name: str, mail: Mail) -> None:
    signed = sign(compose(mail), keys(), AT)
    assert verdicts(signed) == [True, True]
    assert verdicts(f"{name}: added@evil.example\r\n".encode() + signed) == [False, False]
    head, rest = signed.split(b"\r\nMIME-Version:", 1)
    below = head + f"\r\n{name}: added@evil.example\r\nMIME-Version:".encode() + rest
    assert verdicts(below) == [False, False]


@pytest.mark.parametrize(
    "change",
    [
        lambda message: message.replace(b"Subject: Backend", b"Subject: Frontend"),
        lambda message: message.replace(b"<https://u.example/u/abc", b"<https://evil.example/u/abc"),
        lambda message: message.replace(b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click", b""),
        lambda message: message.replace(b"d=ourco.example", b"d=other.example"),
    ],
    ids=["subject", "unsubscribe", "one-click", "domain"],
)
def test_a_changed_or_removed_field_breaks_both(change: Callable[[bytes], bytes]) -> None:
    assert verdicts(change(sign(compose(PLAIN), keys(), AT))) == [False, False]


def test_what_relays_do_to_blanks_breaks_nothing() -> None:
    signed = sign(compose(PLAIN), keys(), AT)
    relayed = signed.replace(b"Subject: Backend ", b"SUBJECT:   Backend\r\n\t").replace(b"you?  ", b"you? \t")
    assert relayed != signed
    assert verdicts(b"Received: from a by b\r\n" + relayed + b"\r\n\r\n") == [True, True]


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n\r\n", b""),
        (b" \r\n \r\n", b""),
        (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.6
        (b"no end", b"no end\r\n"),
        (b"no end  ", b"no end\r\n"),
    ],
)
def test_the_relaxed_body(body: bytes, canonical: bytes) -> None:
    assert canonical_body(body) == canonical


# ---- keys ---------------------------------------------------------------------------------------------


def pem(key: Key) -> str:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_stored_key_is_decrypted_once() -> None:
    asked: list[str] = []

    def decrypt(secret: str) -> str:
        asked.append(secret)
        return pem(keys()[int(secret)])

    signer = Signer(decrypt)
    stored = [StoredKey(key.domain, key.selector, str(at)) for at, key in enumerate(keys())]
    for _ in range(3):
        assert verdicts(signer.sign(compose(PLAIN), stored, AT)) == [True, True]
    assert asked == ["0", "1"]


def test_a_key_of_another_kind_is_refused() -> None:
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (other.decode(), "no key"):
        with pytest.raises(ValueError):
            read_key(StoredKey("ourco.example", "one", ""), text)
