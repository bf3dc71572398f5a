"""What the stages say to one person: the same words when an enroll is checked, rehearsed and sent."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chassis.templates import Kind, TemplateError, TokenMissing, compile_template
from segue_contracts.message import Channel
from segue_contracts.sequence import SequenceDocument, Stage


@dataclass(frozen=True, slots=True)
class Words:
    """A stage's own subject and text, rendered; what could not be is None and a problem (code, detail)."""

    subject: str | None
    text: str | None
    problems: tuple[tuple[str, str], ...] = ()


def words_of(stage: Stage, values: Mapping[str, str]) -> Words:
    """What a stage says with these values."""
    problems: list[tuple[str, str]] = []

    def render(source: str | None, kind: Kind) -> str | None:
        if source is None:
            return None
        try:
            return compile_template(source, kind=kind).render(values)
        except TemplateError as error:
            problems.extend(_problems(error))
            return None

    subject, text = render(stage.subject, "header"), render(stage.text, "text")
    return Words(subject, text, tuple(problems))


def reply_subject(thread_subject: str) -> str:
    """Give the subject of a reply in a thread: the thread's own, with one `Re:` before it."""
    if re.match(r"re\s?:", thread_subject, re.IGNORECASE):
        return thread_subject
    return f"Re: {thread_subject}"


def first_subject(document: SequenceDocument) -> str:
    """The subject of the sequence's first e-mail that has one; empty if none has."""
    return next((s.subject for s in document.stages if s.channel is Channel.EMAIL and s.subject), "")


def _problems(error: TemplateError) -> Iterator[tuple[str, str]]:
    if isinstance(error, TokenMissing):
        for name in error.names:
            yield "token_missing", f"{{{{{name}}}}} has no value and no fallback"
    else:
        yield "template", str(error)
