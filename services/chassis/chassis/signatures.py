"""How a mailbox signs: its signature as text and as HTML, both templates of the sender's own tokens."""

from collections.abc import Mapping

from markupsafe import Markup, escape

from chassis.templates import TemplateError, compile_template
from chassis.wording import html_of

TOKEN = "signature"  # noqa: S105 - a token of templates


def signer_values(sender_name: str, tokens: Mapping[str, str]) -> dict[str, str]:
    """What the tokens in a signature stand for; `tokens`: the workspace's and the sender's own."""
    return {**tokens, "my_name": sender_name}


def signature_text(source: str, sender_name: str, tokens: Mapping[str, str]) -> str:
    """The signature as text; empty where there is none, or a token in it has no value any more."""
    if "{" not in source:
        return source
    try:
        return compile_template(source, kind="text").render(signer_values(sender_name, tokens))
    except TemplateError:
        return ""


def signature_html(source: str, text: str, sender_name: str, tokens: Mapping[str, str]) -> Markup:
    """The signature as HTML; the lines of `text` where it has no HTML of its own. Raises TemplateError."""
    if not source:
        return Markup("<br>").join(escape(line) for line in text.splitlines())
    return Markup(html_of(source, signer_values(sender_name, tokens)))  # noqa: S704 - cleaned
