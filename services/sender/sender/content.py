"""What a mail says to one person: its words as text and as HTML, signed, with the footer below them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chassis.as_text import as_text
from chassis.documents import Footer, MailboxView
from chassis.footing import with_footer, with_html_footer
from chassis.signatures import TOKEN, signature_html, signature_text
from chassis.templates import TemplateError, TokenMissing, compile_template
from chassis.wording import html_of

Rewrite = Callable[[str], str]
"""Makes of the cleaned HTML of a mail, without its footer, the HTML that is sent."""


@dataclass(frozen=True, slots=True)
class Content:
    """The same words twice; a mail without HTML is a plain text."""

    text: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Writing:
    """Whom the words are for and who says them.

    `signer_tokens`: the workspace's and the sender's own, which a signature is made of. `page`: where the
    person unsubscribes.
    """

    values: Mapping[str, str]
    mailbox: MailboxView
    signer_tokens: Mapping[str, str]
    footer: Footer
    page: str | None


def content_of(
    text: str | None, html: str | None, writing: Writing, rewrite: Rewrite | None = None
) -> Content:
    """Fill in the templates, at least one; HTML alone gets a text derived from it, a text alone stays one.

    Raises TemplateError.
    """
    if html is None:
        return Content(_below(_written(text or "", writing), writing))
    rendered = _written_html(html, writing)
    words = as_text(rendered) if text is None else _written(text, writing)
    if not words.strip():
        raise TemplateError("the HTML says nothing")
    # The one place where something may be made of the HTML: it is final but for the footer, whose link to
    # unsubscribe must stay as it is. The text has been derived before.
    final = rewrite(rendered) if rewrite is not None else rendered
    return Content(_below(words, writing), _document(with_html_footer(final, *_footer_of(writing))))


def _written(source: str, writing: Writing) -> str:
    template = compile_template(source, kind="text")
    text = template.render(writing.values)
    if not writing.mailbox.signature_at_end or TOKEN in template.tokens:
        return text
    return f"{text.rstrip()}\n\n{_signature(writing)}\n"


def _written_html(source: str, writing: Writing) -> str:
    tokens = compile_template(source, kind="html").tokens
    at_end = writing.mailbox.signature_at_end and TOKEN not in tokens
    if not at_end and TOKEN not in tokens:
        return html_of(source, writing.values)
    signed = {**writing.values, TOKEN: _signature_html(writing)}
    html = html_of(source, signed)
    return f"{html}<div><br>{signed[TOKEN]}</div>" if at_end else html


def _signature(writing: Writing) -> str:
    if TOKEN not in writing.values:
        raise TokenMissing((TOKEN,))
    return writing.values[TOKEN]


def _signature_html(writing: Writing) -> str:
    """As HTML only where it is the mailbox's: a token of the same name may come before it."""
    mailbox, tokens, text = writing.mailbox, writing.signer_tokens, _signature(writing)
    if text != signature_text(mailbox.signature, mailbox.display_name, tokens):
        return text
    return signature_html(mailbox.signature_html, text, mailbox.display_name, tokens)


def _below(text: str, writing: Writing) -> str:
    return with_footer(text, *_footer_of(writing))


def _footer_of(writing: Writing) -> tuple[Footer, str | None, Mapping[str, str]]:
    return writing.footer, writing.page, writing.values


def _document(html: str) -> str:
    """A whole document: some filters think ill of HTML that begins anywhere."""
    return f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>\n{html}\n</body></html>\n'
