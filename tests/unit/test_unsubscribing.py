"""The link to unsubscribe, the footer with it, and that neither is ever read as an answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.unsubscribe_words import WORDS as PAGE_WORDS
from api.unsubscribe_words import language_for
from chassis.documents import Footer, MailboxView, SmtpIdentity
from chassis.footing import with_footer
from chassis.secrets import Secrets, SecretSettings
from chassis.unsubscribing import LANGUAGES, Ticket, language_of, read, written
from reply_detector.classify import classify
from reply_detector.verdict import Kind
from segue_contracts.ids import dispatch_id
from sender.compose import Address, Mail, compose, message_id
from sender.footer import Links, unsubscribe_uris
from stack import prospects

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
OLD, NEW = "an old key of sixteen or more", "a new key of sixteen or more"
TICKET = Ticket(UUID(int=1), UUID(int=2), dispatch_id(UUID(int=3), "hello"))
FOOTER = Footer(postal_address="Our Co\n1 Main Street, Berlin")
PAGE = "https://segue.example/u/" + "abc234" * 20
MAILBOX = MailboxView(
    uuid4(), uuid4(), "ana@ourco.example", "Ana", uuid4(), "", None, None, None, (),
    SmtpIdentity("mail.example", 587, "tls", None, None), watched=True,
)  # fmt: skip


def secrets(*keys: str) -> Secrets:
    return Secrets(SecretSettings(secret_keys=",".join(keys)))


# ---- the ticket -------------------------------------------------------------------------------------


@given(st.uuids(), st.uuids(), st.uuids(), st.from_regex(r"[a-z][a-z0-9_-]{0,63}", fullmatch=True))
def test_a_ticket_is_read_as_it_was_written(workspace: UUID, person: UUID, one: UUID, stage: str) -> None:
    ticket = Ticket(workspace, person, dispatch_id(one, stage))
    text = written(ticket, secrets(OLD))
    assert read(text, secrets(OLD)) == ticket
    assert text == written(ticket, secrets(OLD))
    assert text.isalnum()
    assert text.islower()


def test_new_keys_sign_and_old_ones_hold_as_long_as_they_are_there() -> None:
    before = written(TICKET, secrets(OLD))
    after = written(TICKET, secrets(NEW, OLD))
    assert read(before, secrets(NEW, OLD)) == read(after, secrets(NEW, OLD)) == TICKET
    assert before != after
    assert read(after, secrets(OLD)) is None
    assert read(before, secrets(NEW)) is None


@given(st.data())
def test_a_ticket_of_which_any_part_was_changed_is_none(data: st.DataObject) -> None:
    text = written(TICKET, secrets(OLD))
    at = data.draw(st.integers(0, len(text) - 2))  # the last character has bits that say nothing
    other = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz234567").filter(lambda c: c != text[at]))
    assert read(text[:at] + other + text[at + 1 :], secrets(OLD)) is None


@given(st.text(max_size=500) | st.from_regex(r"[a-z2-7]{0,450}", fullmatch=True))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert read(text, secrets(OLD)) is None


@pytest.mark.parametrize("keys", [(OLD,), (NEW, OLD)])
def test_a_signature_is_good_for_its_purpose_alone_and_never_short(keys: tuple[str, ...]) -> None:
    signer = secrets(*keys)
    signature = signer.sign("one", b"data")
    assert signer.has_signed("one", b"data", signature)
    assert signer.has_signed("one", b"data", signature[:16])
    assert not signer.has_signed("other", b"data", signature)
    assert not signer.has_signed("one", b"data", signature[:15])
    assert not signer.has_signed("one", b"data", b"")


# ---- the fields -------------------------------------------------------------------------------------


def a_mail(text: str, **more: object) -> bytes:
    mail = Mail(
        Address("ana@ourco.example", "Ana"),
        Address("priya@there.example", "Priya"),
        "A job",
        text,
        NOW,
        message_id(b"k" * 32, TICKET.dispatch_id, "ourco.example"),
    )
    return compose(replace(mail, **more))  # type: ignore[arg-type]


def test_the_fields_survive_every_parser_on_one_line_each() -> None:
    own_id = message_id(b"k" * 32, TICKET.dispatch_id, "ourco.example")
    page = Links(secrets(OLD), "https://segue.example/").page(TICKET, FOOTER)
    assert page is not None
    uris = unsubscribe_uris(page, MAILBOX, own_id)
    message = message_from_bytes(a_mail("Hi", unsubscribe=uris), policy=default)
    assert message["List-Unsubscribe"] == ", ".join(f"<{uri}>" for uri in uris)
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert parse_qs(urlsplit(uris[1]).query) == {"subject": [f"unsubscribe {own_id}"]}
    assert "priya" not in "".join(uris)


@pytest.mark.parametrize("url", [None, "http://segue.example/", "ftp://segue.example"])
def test_without_an_https_address_there_is_no_link(url: str | None) -> None:
    assert Links(secrets(OLD), url).page(TICKET, FOOTER) is None
    assert unsubscribe_uris(None, MAILBOX, "<a@b.example>") == ()


def test_a_mailbox_that_nobody_reads_or_that_no_field_can_hold_offers_the_link_alone() -> None:
    for mailbox in (replace(MAILBOX, watched=False), replace(MAILBOX, address="äna@ourco.example")):
        assert unsubscribe_uris(PAGE, mailbox, "<a@b.example>") == (PAGE,)


def test_the_mail_that_a_program_sends_to_the_offered_address_is_an_opt_out_of_that_message() -> None:
    own_id = message_id(b"k" * 32, TICKET.dispatch_id, "ourco.example")
    _, mailto = unsubscribe_uris(PAGE, MAILBOX, own_id)
    parts = urlsplit(mailto)
    mail = EmailMessage()
    mail["From"], mail["To"] = "priya@elsewhere.example", parts.path
    mail["Subject"] = parse_qs(parts.query)["subject"][0]
    for text in ("", "This message was sent automatically by the mail program.\n"):
        mail.set_content(text)
        verdict = classify(mail.as_bytes())
        assert (verdict.kind, verdict.facts.references) == (Kind.OPT_OUT, (own_id,))


# ---- the footer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("page", [PAGE, None])
@pytest.mark.parametrize(
    "answered",
    [
        lambda sent: prospects.reply(sent, "Yes, let us talk on Monday!", at=NOW),
        lambda sent: outlook(sent, "Yes, let us talk on Monday!"),
        lambda sent: outlook(sent, "Yes, let us talk on Monday!").replace(b"-- \n", b""),
    ],
    ids=["quoted", "below its header", "without the mark"],
)
def test_our_footer_in_an_answer_is_never_read_as_an_opt_out(
    language: str, page: str | None, answered: Callable[[EmailMessage], bytes]
) -> None:
    text = with_footer("Hi Priya, a job?", FOOTER, page, {"locale": language})
    verdict = classify(answered(message_from_bytes(a_mail(text), policy=default)))
    assert verdict.kind is Kind.REPLY, verdict.evidence
    assert verdict.text == "Yes, let us talk on Monday!"


def outlook(sent: EmailMessage, text: str) -> bytes:
    """An answer above the whole message, which is not marked as a quote."""
    answer = EmailMessage()
    answer["From"], answer["To"] = sent["To"], sent["From"]
    answer["Subject"], answer["In-Reply-To"] = f"Re: {sent['Subject']}", sent["Message-ID"]
    head = f"From: {sent['From']}\nSent: Monday, November 23, 2026 9:30 AM\nTo: {sent['To']}\nSubject: A job"
    answer.set_content(f"{text}\n\n{head}\n\n{sent.get_content()}")
    return answer.as_bytes()


@pytest.mark.parametrize("language", LANGUAGES)
def test_who_answers_as_the_footer_says_is_unsubscribed(language: str) -> None:
    sent = message_from_bytes(a_mail(with_footer("Hi", FOOTER, None, {"locale": language})), policy=default)
    assert "stop" in sent.get_content().lower()
    assert classify(prospects.reply(sent, "Stop", at=NOW)).kind is Kind.OPT_OUT


def test_the_footer_is_in_the_persons_language_else_the_workspaces_and_in_its_own_words() -> None:
    french = replace(FOOTER, language="fr", reason="Nous nous sommes vus à Berlin.")
    for locale, words in (("de_AT", "Keine Nachrichten"), ("tlh", "Ne plus"), ("", "Ne plus")):
        text = with_footer("Hi", french, PAGE, {"locale": locale})
        assert words in text
        assert "Nous nous sommes vus" in text
        assert text.count(PAGE) == 1
    assert with_footer("Hi\n\n\n", replace(FOOTER, postal_address=""), PAGE, {}) == "Hi\n\n\n"


# ---- languages --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("locale", "language"), [("de", "de"), ("pt-BR", "pt"), ("DE_at", "de"), ("", None), ("deu", None)]
)
def test_languages_by_their_locale(locale: str, language: str | None) -> None:
    assert language_of(locale) == language


@pytest.mark.parametrize("words", PAGE_WORDS.values(), ids=PAGE_WORDS)
def test_the_page_is_whole_in_every_language(words: object) -> None:
    said = {name: getattr(words, name) for name in PAGE_WORDS["en"].__slots__}
    english = {name: getattr(PAGE_WORDS["en"], name) for name in said}
    assert all(said.values())
    for name, text in said.items():
        assert [mark in text for mark in ("{sender}", "{workspace}")] == [
            mark in english[name] for mark in ("{sender}", "{workspace}")
        ]


@given(st.text(max_size=300))
def test_any_wish_for_a_language_is_answered_in_one_of_ours(wish: str) -> None:
    assert language_for(wish) in LANGUAGES
