"""What the stages say to one person: the same words when an enroll is checked, rehearsed and sent."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chassis.as_text import as_text
from chassis.markup import cleaned, dead_links
from chassis.templates import Kind, TemplateError, TokenMissing, compile_template
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, Stage

KINDS: Final[Mapping[str, Kind]] = {"subject": "header", "text": "text", "html": "html"}
"""What each template of a stage is."""


@dataclass(frozen=True, slots=True)
class Words:
    """A stage's own subject and text, rendered; what could not be is None and a problem (code, detail).

    `html`: of an e-mail that has it; where it stands alone, `text` is derived from it.
    """

    subject: str | None
    text: str | None
    problems: tuple[tuple[str, str], ...] = ()
    html: str | None = None


def words_of(stage: Stage, values: Mapping[str, str]) -> Words:
    """What a stage says with these values."""
    problems: list[tuple[str, str]] = []

    def render(source: str | None, kind: Kind) -> str | None:
        if source is None:
            return None
        try:
            if kind == "html":
                return html_of(source, values)
            return compile_template(source, kind=kind).render(values)
        except TemplateError as error:
            problems.extend(_problems(error))
            return None

    subject, text = render(stage.subject, "header"), render(stage.text, "text")
    html = render(stage.html, "html")
    if text is None and html is not None:
        text = as_text(html)
    return Words(subject, text, tuple(problems), html)


def html_of(source: str, values: Mapping[str, str]) -> str:
    """Render a template of HTML: what a mail may have, as an HTML parser writes it. Raises TemplateError."""
    html = cleaned(compile_template(source, kind="html").render(values))
    if any(dead_links(html)):
        raise TemplateError("a value makes a link that is none: it begins with https://, mailto: or tel:")
    return html


def reply_subject(thread_subject: str) -> str:
    """Give the subject of a reply in a thread: the thread's own, with one `Re:` before it."""
    if re.match(r"re\s?:", thread_subject, re.IGNORECASE):
        return thread_subject
    return f"Re: {thread_subject}"


def first_subject(document: SequenceDocument) -> str:
    """The subject of the sequence's first e-mail that has one, or whose first variant has; empty if none."""
    worded = (words for s in document.stages if s.channel is Channel.EMAIL for _, words in s.wordings())
    return next((words.subject for words in worded if words.subject), "")


def _problems(error: TemplateError) -> Iterator[tuple[str, str]]:
    if isinstance(error, TokenMissing):
        for name in error.names:
            yield "token_missing", f"{{{{{name}}}}} has no value and no fallback"
    else:
        yield "template", str(error)
