"""The language recruiters write in: Jinja narrowed so far that whatever was saved can also be rendered."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, Final, Literal

from jinja2 import Environment, StrictUndefined, TemplateSyntaxError, nodes
from jinja2 import Template as JinjaTemplate
from jinja2.filters import do_title
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from chassis.markup import MarkupError, check_markup
from segue_contracts.text import RESERVED_TOKEN_NAMES

Kind = Literal["text", "html", "header"]
Value = str | int | float | None

MAX_TEMPLATE_BYTES: Final = 64 * 1024
MAX_VALUE_BYTES: Final = 2 * 1024
MAX_OUTPUT_BYTES: Final = 256 * 1024
# The rest bounds the work of Jinja's recursive parser and of Python's compiler, whatever stack is left them.
MAX_TAGS: Final = 500
MAX_IF_DEPTH: Final = 10
MAX_CONDITION_CHARS: Final = 500
MAX_CONDITION_WORDS: Final = 30
MAX_FILTERS_IN_CHAIN: Final = 8
MAX_TRUNCATE_CHARS: Final = 2048


class TemplateError(ValueError):
    """A template, or a value put into it, that can't be used; `problem` is a sentence for its author.

    `line` counts from 1 in the template's source; None where the problem has no place in it.
    """

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.problem = problem
        self.line = line


class TokenMissing(TemplateError):
    """This person has no value for `names` (in order of first use), and the template no fallback for them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(f"no value and no fallback for {', '.join(names)}")
        self.names = names


class ValueRefused(TemplateError):
    """The value that this person has for the token `name` can't be sent."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"the value of {name} {problem}")
        self.name = name


@dataclass(frozen=True, slots=True)
class Caution:
    """Something allowed that is probably not what was meant; the editor shows it at `line` (from 1)."""

    problem: str
    line: int


# Encoded words are refused by their first two characters: decoded again by a careless writer they smuggle
# headers in (CVE-2024-6923, CVE-2026-1299), and half of one in a value may meet the other half elsewhere.
_NOT_IN_HEADERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]|=\\?")


def header_problem(text: str) -> str | None:
    """Say why `text` must not reach a mail header, or None if it may.

    Refused are C0/C1 controls (CR, LF, NUL, NEL and TAB among them), U+2028/9, `=?` and lone surrogates.
    """
    if text.isprintable() and "=?" not in text:
        return None  # what is refused is all unprintable; asked for every header of every message
    found = _NOT_IN_HEADERS.search(text)
    if found is not None:
        return _describe_forbidden(found.group())
    if not _encodable(text):
        return "contains a broken character"
    return None


class Template:
    """A checked and compiled template; immutable, shareable between tasks and threads.

    `tokens`: every name used anywhere in it. `cautions`: what the editor should point at.
    """

    __slots__ = ("_jinja", "_names", "cautions", "kind", "tokens")

    def __init__(
        self, kind: Kind, jinja: JinjaTemplate, names: tuple[str, ...], cautions: tuple[Caution, ...]
    ) -> None:
        self.kind = kind
        self.tokens = frozenset(names)
        self.cautions = cautions
        self._jinja = jinja
        self._names = names

    def missing(self, values: Mapping[str, Value]) -> tuple[str, ...]:
        """Name, in order, the tokens that would be printed and have neither a value here nor a fallback.

        A token that only a condition looks at, or that stands in a branch not taken, is not missing.
        Raises ValueRefused and TemplateError as `render` does.
        """
        return self._run(values)[1]

    def render(self, values: Mapping[str, Value]) -> str:
        """Fill in the values; text keeps `\\n` line ends, a header comes without surrounding blanks.

        In HTML they are escaped, but for one that is `Markup`, which is ours: `chassis.wording.html_of` makes
        of the outcome what may be sent. None, an empty text and one of blanks or invisible characters count
        as no value.
        Raises TokenMissing; ValueRefused (over 2 KiB, not a text or number, or unfit for a header);
        TemplateError (output over 256 KiB, a header that is empty or unfit).
        """
        output, missing = self._run(values)
        if missing:
            raise TokenMissing(missing)
        return self._checked_header(output, values) if self.kind == "header" else output

    def _run(self, values: Mapping[str, Value]) -> tuple[str, tuple[str, ...]]:
        noted: list[str] = []
        context = {name: _usable(name, values.get(name), noted) for name in self._names}
        jinja = self._jinja
        # The steps of jinja2.Template.render, without its traceback rewriting and with a bound on the output.
        output = _join_bounded(jinja.root_render_func(jinja.new_context(context, shared=True)))
        return output, tuple(dict.fromkeys(noted)) if noted else ()

    def _checked_header(self, output: str, values: Mapping[str, Value]) -> str:
        problem = header_problem(output)
        if problem is None:
            if output := output.strip():
                return output
            raise TemplateError("the header is empty")
        for name in self._names:
            if own := header_problem(str(values.get(name) or "")):
                raise ValueRefused(name, own)
        raise TemplateError(f"the header {problem}")


@lru_cache(maxsize=512)
def compile_template(source: str, *, kind: Kind) -> Template:
    """Check and compile; cached, so the sender may call it for every message.

    `html` escapes every value and is held against its own allow-list (`chassis.markup`); `header` (a subject)
    is one line. Nothing of `source` reaches Jinja's compiler
    before each node of its parsed tree was found on the allow-list. Raises TemplateError.
    """
    source = _checked_source(source, kind)
    rewriter = _Rewriter(source)
    rewritten = rewriter.run()
    environment = _HTML if kind == "html" else _TEXT
    try:
        tree = environment.parse(rewritten)
    except TemplateSyntaxError as error:
        raise TemplateError(f"this condition can't be read: {error.message}", error.lineno) from None
    names: list[str] = []
    _check_body(tree.body, names)
    if kind == "html":
        _check_html(rewritten)
    return Template(
        kind, environment.from_string(tree), tuple(dict.fromkeys(names)), tuple(rewriter.cautions)
    )


def _check_html(source: str) -> None:
    try:
        check_markup(source)
    except MarkupError as error:
        raise TemplateError(error.problem, error.line) from None


def _checked_source(source: str, kind: Kind) -> str:
    if not _encodable(source):
        raise TemplateError("the template contains a broken character")
    if len(source.encode()) > MAX_TEMPLATE_BYTES:
        raise TemplateError(f"the template is longer than {MAX_TEMPLATE_BYTES // 1024} KiB")
    if kind == "header" and (problem := header_problem(source)):
        raise TemplateError(f"the header {problem}", 1)
    return source.replace("\r\n", "\n").replace("\r", "\n")


# --- values


class _Blank(str):
    """A token without a value: empty and false to a condition, noted by name where it would be printed."""

    __slots__ = ("name", "noted")
    name: str
    noted: list[str]


_PRINTS = re.compile("[^\\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060\ufeff]")


def _usable(name: str, value: Value, noted: list[str]) -> str:
    if type(value) is not str:
        if type(value) is Markup and value:
            return value
        value = _number_text(name, value)
    if _PRINTS.search(value) is None:
        blank = _Blank()
        blank.name, blank.noted = name, noted
        return blank
    if not _encodable(value):
        raise ValueRefused(name, "contains a broken character")
    if len(value) * 4 > MAX_VALUE_BYTES and len(value.encode()) > MAX_VALUE_BYTES:
        raise ValueRefused(name, f"is longer than {MAX_VALUE_BYTES // 1024} KiB")
    return value


def _number_text(name: str, value: Value) -> str:
    if value is None:
        return ""
    # bool is an int to Python; "True" in a letter is nobody's intention.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueRefused(name, "is neither a text nor a number")
    return str(value)


def _note_blank(value: str) -> str:
    """Jinja's `finalize`: it sees every token just before it is printed."""
    if type(value) is _Blank:
        value.noted.append(value.name)
    return value


def _join_bounded(pieces: Iterable[str]) -> str:
    kept: list[str] = []
    chars = 0
    for piece in pieces:
        chars += len(piece)
        if chars > MAX_OUTPUT_BYTES:
            break
        kept.append(piece)
    output = "".join(kept)
    if chars * 4 > MAX_OUTPUT_BYTES and (chars > MAX_OUTPUT_BYTES or len(output.encode()) > MAX_OUTPUT_BYTES):
        raise TemplateError(f"the message is longer than {MAX_OUTPUT_BYTES // 1024} KiB")
    return output


def _encodable(text: str) -> bool:
    """Say whether `text` has no lone surrogate, which no encoding could carry."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _describe_forbidden(found: str) -> str:
    if found in "\r\n\x85\u2028\u2029":
        return "contains a line break"
    if found == "=?":
        return "contains =?, which mail programs would try to decode"
    return f"contains the control character U+{ord(found):04X}"


# --- filters


def _truncate(value: str, length: int) -> str:
    if len(value) <= length:
        return value
    cut = value[: length - 1]
    return f"{cut.rsplit(None, 1)[0].rstrip() if ' ' in cut.strip() else cut}…"


def _default(value: str, fallback: str | int, even_if_blank: bool = True) -> str:
    return str(fallback) if type(value) is _Blank else value


def _of_a_value(function: Callable[..., str]) -> Callable[..., str]:
    """Let two things pass a filter untouched: a token without a value, so that what comes after still knows
    its name, and what is HTML already, in which a filter would spoil tags and links.
    """

    def applied(value: str, *arguments: int) -> str:
        return value if type(value) in (_Blank, Markup) else function(value, *arguments)

    return applied


_FILTERS: Final[dict[str, Callable[..., str]]] = {
    "capitalize": _of_a_value(str.capitalize),
    "default": _default,
    "lower": _of_a_value(str.lower),
    "title": _of_a_value(do_title),
    "trim": _of_a_value(str.strip),
    "truncate": _of_a_value(_truncate),
    "upper": _of_a_value(str.upper),
}
_FILTER_LIST = ", ".join(_FILTERS)


def _environment(*, autoescape: bool) -> Environment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=autoescape,
        undefined=StrictUndefined,
        finalize=_note_blank,
        keep_trailing_newline=True,
        cache_size=0,
    )
    environment.globals.clear()
    environment.tests.clear()
    environment.filters.clear()
    environment.filters.update(_FILTERS)
    return environment


_TEXT = _environment(autoescape=False)
_HTML = _environment(autoescape=True)


# --- from the recruiters' form to Jinja's

_STRING = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_ANY_STRING = re.compile(_STRING, re.DOTALL)
_OPENING = re.compile(r"\{\{|\{%|\{#")
_NAME = r"(?!__)[A-Za-z_][A-Za-z0-9_]{0,63}"
_TOKEN = re.compile(rf"\s*({_NAME})\s*(\||\}}\}})")
_CHAIN_AHEAD = re.compile(rf"\s*(?:{'|'.join(_FILTERS)})\s*(?=\}}\}}|\(|\|)")
_FILTER = re.compile(
    rf"\s*([A-Za-z_]\w*)\s*(?:\(\s*((?:{_STRING}|\d{{1,9}})?)\s*(?:,\s*[Tt]rue\s*)?\))?\s*(\||\}}\}})",
    re.DOTALL,
)
_TAG = re.compile(rf"\{{%([-+]?)\s*([A-Za-z]*)((?:{_STRING}|[^\"'%]|%(?!\}}))*?)([-+]?)%\}}", re.DOTALL)
_REST_OF_LINE = re.compile(r"[ \t]*(?:\n|\Z)")
_CONDITION_WORD = re.compile(r"[(\[|]|\b(?:and|or|not|in|is|if)\b|[=<>!]=?|[-+*/~.]")
_CURLY_QUOTES = re.compile("[\u2018-\u201f]")


class _Rewriter:
    """One pass over a source: own words for what people get wrong, and `{{name|there}}` made Jinja's.

    Each `{{ }}` is parsed and written anew; of `{% %}` the condition goes to Jinja's parser as it stands.
    Line breaks are kept in number, so that Jinja's line numbers are the source's.
    """

    def __init__(self, source: str) -> None:
        self.cautions: list[Caution] = []
        self._source = source
        self._out: list[str] = []
        self._at = 0
        self._tags = 0
        self._open_ifs: list[tuple[int, bool]] = []  # where each began, and whether its else was seen

    def run(self) -> str:
        while opening := _OPENING.search(self._source, self._at):
            self._out.append(self._source[self._at : opening.start()])
            self._at = opening.start()
            self._count_tag()
            if opening.group() == "{{":
                self._rewrite_token()
            elif opening.group() == "{%":
                self._rewrite_tag()
            else:
                raise self._error("{# comments #} are not possible here: delete it")
        if self._open_ifs:
            self._at = self._open_ifs[-1][0]
            raise self._error("this {% if %} is never closed: write {% endif %} where it ends")
        self._out.append(self._source[self._at :])
        return "".join(self._out)

    def _count_tag(self) -> None:
        self._tags += 1
        if self._tags > MAX_TAGS:
            raise self._error(f"more than {MAX_TAGS} tokens and conditions in one template")

    def _rewrite_token(self) -> None:
        found = _TOKEN.match(self._source, self._at + 2)
        if found is None:
            raise self._error(self._explain_token())
        name, then = found.groups()
        if name in RESERVED_TOKEN_NAMES:
            raise self._error(f"{name} can't be the name of a token")
        if then == "}}":
            self._emit(f"{{{{ {name}", " }}", found.end())
        elif _CHAIN_AHEAD.match(self._source, found.end()):
            self._rewrite_chain(name, found.end())
        else:
            self._rewrite_fallback(name, found.end())

    def _explain_token(self) -> str:
        inside, closed, _ = self._source[self._at + 2 : self._at + 102].partition("}}")
        if not closed:
            return "{{ is never closed: write the name of a token and }}"
        spelled = "_".join(re.findall("[A-Za-z0-9]+", inside.partition("|")[0]))
        hint = f"; did you mean {{{{{spelled}}}}}?" if spelled[:1].isalpha() else ""
        shown = inside.strip()[:40]
        return f"between {{{{ and }}}} stands the name of a token, such as first_name, not {shown!r}{hint}"

    def _rewrite_chain(self, name: str, start: int) -> None:
        filters: list[str] = []
        at, then = start, "|"
        while then == "|":
            found = _FILTER.match(self._source, at)
            if found is None:
                raise self._error(self._explain_filter(at))
            if found.group(1) not in _FILTERS:
                raise self._error(self._explain_unknown_filter(name, found.group(1)))
            filters.append(_filter_source(*found.group(1, 2)))
            at, then = found.end(), found.group(3)
        if len(filters) > MAX_FILTERS_IN_CHAIN:
            raise self._error(f"more than {MAX_FILTERS_IN_CHAIN} filters after one token")
        if "(" not in filters[0]:
            self._caution(f"{filters[0]} changes how {name} is written; it is not a text to fall back on")
        self._emit(f"{{{{ {name}|{'|'.join(filters)}", " }}", at)

    def _explain_filter(self, at: int) -> str:
        inside = self._source[at : at + 80].partition("}}")[0].strip()
        quotes = " (use straight quotes)" if _CURLY_QUOTES.search(inside) else ""
        return f"the filter {inside[:40]!r} can't be read{quotes}"

    def _explain_unknown_filter(self, name: str, unknown: str) -> str:
        instead = f'{{{{{name}|default("{unknown}")}}}}'
        return (
            f"{unknown[:40]} is not a filter (there are {_FILTER_LIST}); to fall back on it write {instead}"
        )

    def _rewrite_fallback(self, name: str, start: int) -> None:
        end = self._source.find("}}", start)
        if end < 0:
            raise self._error("{{ is never closed: write }} after the fallback")
        fallback = self._source[start:end].strip()
        if not fallback:
            raise self._error(f'the fallback of {name} is empty; to print nothing write {name}|default("")')
        self._caution_fallback(fallback)
        self._emit(f"{{{{ {name}|default({_literal(fallback)})", " }}", end + 2)

    def _caution_fallback(self, fallback: str) -> None:
        word = re.match(r"\w*", fallback)
        first = word.group().lower() if word else ""
        near = [first] if first in _FILTERS else get_close_matches(first, _FILTERS, n=1, cutoff=0.8)
        if near:
            self._caution(f"{fallback[:40]!r} is sent as a text; the filter is written {near[0]}")
        elif "|" in fallback:
            self._caution(f"{fallback[:40]!r} is sent as a text, the | too")

    def _rewrite_tag(self) -> None:
        found = _TAG.match(self._source, self._at)
        if found is None:
            raise self._error("{% is never closed: write %} after it, and close every quote between")
        before, word, condition, after = found.groups()
        self._check_tag(word, condition)
        if not before and not after and self._alone_on_line(found.end()):
            self._out[-1] = self._out[-1].rstrip(" \t")
            rest = _REST_OF_LINE.match(self._source, found.end())
            assert rest is not None, "the tag was just found alone on its line"
            self._emit(f"{{% {word} {condition.rstrip()}", " %}", rest.end())
        else:
            self._emit(f"{{%{before} {word} {condition.rstrip()}", f" {after}%}}", found.end())

    def _alone_on_line(self, end: int) -> bool:
        before = self._source[self._source.rfind("\n", 0, self._at) + 1 : self._at]
        return not before.strip(" \t") and bool(_REST_OF_LINE.match(self._source, end))

    def _check_tag(self, word: str, condition: str) -> None:
        if word in ("if", "elif"):
            self._check_condition(word, condition)
        elif word in ("else", "endif"):
            if condition.strip():
                raise self._error(f"nothing can follow {word} in {{% {word} %}}")
        else:
            raise self._error(
                f"{{% {word or condition.strip()[:20]} %}} is not possible here; {{% if token %}} is"
            )
        self._nest(word)

    def _check_condition(self, word: str, condition: str) -> None:
        if not condition.strip():
            raise self._error(f"{{% {word} %}} needs a condition, such as {{% {word} company %}}")
        if not condition[0].isspace() and condition[0] != "(":
            raise self._error(f"{{% {word}{condition[:20]} %}} is not possible here; {{% if token %}} is")
        if _CURLY_QUOTES.search(condition):
            raise self._error("use straight quotes in a condition")
        if len(condition) > MAX_CONDITION_CHARS:
            raise self._error(f"a condition of more than {MAX_CONDITION_CHARS} characters")
        if len(_CONDITION_WORD.findall(_ANY_STRING.sub("", condition))) > MAX_CONDITION_WORDS:
            raise self._error("this condition is too complicated")

    def _nest(self, word: str) -> None:
        if word == "if":
            self._open_ifs.append((self._at, False))
            if len(self._open_ifs) > MAX_IF_DEPTH:
                raise self._error(f"more than {MAX_IF_DEPTH} conditions inside each other")
            return
        if not self._open_ifs:
            raise self._error(f"{{% {word} %}} without an {{% if %}} before it")
        began, else_seen = self._open_ifs.pop()
        if word == "endif":
            return
        if else_seen:
            raise self._error(f"{{% {word} %}} after {{% else %}}")
        self._open_ifs.append((began, word == "else"))

    def _emit(self, opening: str, closing: str, end: int) -> None:
        """Write a tag and the line breaks that its source, up to `end`, has more than it."""
        breaks = self._source.count("\n", self._at, end) - opening.count("\n")
        self._out.append(f"{opening}{chr(10) * breaks}{closing}")
        self._at = end

    def _line(self) -> int:
        return self._source.count("\n", 0, self._at) + 1

    def _error(self, problem: str) -> TemplateError:
        return TemplateError(problem, self._line())

    def _caution(self, problem: str) -> None:
        self.cautions.append(Caution(problem, self._line()))


def _filter_source(name: str, argument: str | None) -> str:
    if argument is None:
        return name
    if argument[:1] in ('"', "'"):
        argument = _literal(re.sub(r"\\([\\\"'])", r"\1", argument[1:-1]))
    return f"{name}({argument})"


def _literal(text: str) -> str:
    """Spell `text` as a Jinja string of letters, digits, blanks and escapes only."""
    return '"' + re.sub(r"[^A-Za-z0-9 ]", lambda found: f"\\U{ord(found.group()):08x}", text) + '"'


# --- the allow-list over the parsed tree


def _check_body(body: Iterable[nodes.Node], names: list[str]) -> None:
    """Allow text, tokens and conditions, and add each token's name to `names`; else raise TemplateError."""
    for node in body:
        if isinstance(node, nodes.Output):
            for printed in node.nodes:
                if not isinstance(printed, nodes.TemplateData):
                    _check_printed(printed, names)
        elif isinstance(node, nodes.If):
            _check_condition(node.test, names)
            _check_body(node.body, names)
            _check_body(node.elif_, names)
            _check_body(node.else_, names)
        else:
            raise _refused(node)


def _check_printed(node: nodes.Node, names: list[str]) -> None:
    while isinstance(node, nodes.Filter):
        _check_filter(node)
        assert node.node is not None, "_check_filter refuses a filter block"
        node = node.node
    _check_name(node, names)


def _check_condition(node: nodes.Node | None, names: list[str]) -> None:
    match node:
        case nodes.And() | nodes.Or():
            _check_condition(node.left, names)
            _check_condition(node.right, names)
        case nodes.Not():
            _check_condition(node.node, names)
        case nodes.Compare():
            _check_comparable(node.expr, names)
            for operand in node.ops:
                _check_operand(operand, names)
        case nodes.Const():
            _check_text(node)
        case nodes.Filter():
            _check_printed(node, names)
        case _:
            _check_name(node, names)


def _check_operand(operand: nodes.Operand, names: list[str]) -> None:
    if operand.op not in ("eq", "ne", "in", "notin"):
        raise TemplateError("values are texts: compare with ==, !=, in or not in", operand.expr.lineno)
    if isinstance(operand.expr, nodes.List | nodes.Tuple) and operand.op in ("in", "notin"):
        for item in operand.expr.items:
            _check_text(item)
        return
    _check_comparable(operand.expr, names)


def _check_comparable(node: nodes.Node, names: list[str]) -> None:
    """Allow what is a text when rendered, so that no comparison can raise there (`True in "a"` would)."""
    if isinstance(node, nodes.Const):
        _check_text(node)
    elif isinstance(node, nodes.And | nodes.Or | nodes.Not | nodes.Compare):
        raise TemplateError("compare a token with a text or another token", node.lineno)
    else:
        _check_printed(node, names)


def _check_text(node: nodes.Node) -> None:
    if not isinstance(node, nodes.Const):
        raise _refused(node)
    if not isinstance(node.value, str):
        raise TemplateError(f'values are texts: write "{node.value}" in quotes', node.lineno)


def _check_name(node: nodes.Node | None, names: list[str]) -> None:
    if not isinstance(node, nodes.Name) or node.ctx != "load":
        raise _refused(node)
    if node.name in RESERVED_TOKEN_NAMES or not re.fullmatch(_NAME, node.name):
        raise TemplateError(f"{node.name[:64]} can't be the name of a token", node.lineno)
    names.append(node.name)


def _check_filter(node: nodes.Filter) -> None:
    if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise _refused(node)
    if node.name not in _FILTERS:
        raise TemplateError(f"{node.name[:64]} is not a filter (there are {_FILTER_LIST})", node.lineno)
    arguments = [_constant(argument) for argument in node.args]
    if node.name == "default":
        fits = len(arguments) in (1, 2) and type(arguments[0]) in (str, int) and arguments[1:] in ([], [True])
        wanted = 'default("a text")'
    elif node.name == "truncate":
        fits = len(arguments) == 1 and type(arguments[0]) is int and 2 <= arguments[0] <= MAX_TRUNCATE_CHARS
        wanted = f"truncate(n) with n from 2 to {MAX_TRUNCATE_CHARS}"
    else:
        fits, wanted = not arguments, node.name
    if not fits:
        raise TemplateError(f"this filter is written {wanted}", node.lineno)


def _constant(node: nodes.Node) -> Any:
    if not isinstance(node, nodes.Const):
        raise _refused(node)
    return node.value


_NODE_WORDS: Final[dict[type[nodes.Node], str]] = {
    nodes.Call: "calls",
    nodes.CondExpr: "if inside {{ }}",
    nodes.Getattr: "dots",
    nodes.Getitem: "square brackets after a name",
    nodes.BinExpr: "arithmetic",
    nodes.UnaryExpr: "arithmetic",
    nodes.Concat: "~",
    nodes.Test: "tests with is (write {% if token %})",
    nodes.Literal: "values other than texts",
}


def _refused(node: nodes.Node | None) -> TemplateError:
    words = next((words for kind, words in _NODE_WORDS.items() if isinstance(node, kind)), "this")
    return TemplateError(
        f"only tokens, {{% if %}} and filters are possible here, not {words}", getattr(node, "lineno", None)
    )
