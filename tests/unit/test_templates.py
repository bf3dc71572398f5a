"""The template language: what it prints, what it refuses, and that nothing gets past the allow-list."""

import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import templates
from chassis.templates import (
    Kind,
    TemplateError,
    TokenMissing,
    ValueRefused,
    compile_template,
    header_problem,
)


def render(source: str, kind: Kind = "text", **values: Any) -> str:
    return compile_template(source, kind=kind).render(values)


def refusal(source: str, kind: Kind = "text") -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        compile_template(source, kind=kind)
    return caught.value


# --- tokens and fallbacks


@pytest.mark.parametrize(
    "source",
    ["{{first_name}}", "{{ first_name }}", "{{first_name }}", "{{\nfirst_name\n}}", "{{first_name|there}}"],
)
def test_a_token_with_a_value_is_replaced_by_it(source: str) -> None:
    assert render(f"Hi {source},", first_name="Zoë") == "Hi Zoë,"


@pytest.mark.parametrize(
    ("after_the_pipe", "printed"),
    [
        ("there", "there"),
        (" there ", "there"),
        ("Hi there", "Hi there"),
        ("you & your team!", "you & your team!"),
        ('it\'s "you"', 'it\'s "you"'),
        ("a|b", "a|b"),
        ("there|title", "there|title"),
        ("nächste Woche, 你好 👋", "nächste Woche, 你好 👋"),
        ("{%raw%} x", "{%raw%} x"),
        ("{{x", "{{x"),
        ("50% off", "50% off"),
        ("back\\slash\\n", "back\\slash\\n"),
        ("uppercase", "uppercase"),
        ("title case", "title case"),
        ("two\nlines", "two\nlines"),
        ('default "there"', 'default "there"'),
        ("{} x", "{} x"),
    ],
)
def test_what_is_no_filter_chain_is_a_literal_fallback(after_the_pipe: str, printed: str) -> None:
    assert render("<{{name|" + after_the_pipe + "}}>") == f"<{printed}>"
    assert render("<{{name|" + after_the_pipe + "}}>", name="Ana") == "<Ana>"


@pytest.mark.parametrize(
    ("chain", "value", "printed"),
    [
        ("upper", "ana", "ANA"),
        ("upper ", "ana", "ANA"),
        (" upper", "ana", "ANA"),
        ("upper()", "ana", "ANA"),
        ("lower", "ANA", "ana"),
        ("title", "ana maria", "Ana Maria"),
        ("capitalize", "ana maria", "Ana maria"),
        ("trim", " ana ", "ana"),
        ("trim|upper", " ana ", "ANA"),
        (" trim | upper ", " ana ", "ANA"),
        ("truncate(10)", "Backend Engineer", "Backend…"),
        ("truncate(5)", "Backend", "Back…"),
        ("truncate(7)", "Backend", "Backend"),
        ('default("there")', "Ana", "Ana"),
        ('default("there")', None, "there"),
        ("default('there')", None, "there"),
        ('default("there", true)', "", "there"),
        ('default("say \\"hi\\" }} | there")', None, 'say "hi" }} | there'),
        ("default(3)", None, "3"),
        ('default("")', None, ""),
        ('default("there")|upper', None, "THERE"),
        ('upper|default("there")', None, "there"),
        ('title|default("there")', "ana", "Ana"),
    ],
)
def test_filter_chain(chain: str, value: str | None, printed: str) -> None:
    assert render("{{name|" + chain + "}}", name=value) == printed


@pytest.mark.parametrize("name", templates._FILTERS)
def test_a_filter_name_after_the_pipe_is_never_a_fallback(name: str) -> None:
    try:
        template = compile_template("{{first_name|" + name + "}}", kind="text")
    except TemplateError:
        return
    assert template.missing({}) == ("first_name",)
    assert "not a text to fall back on" in template.cautions[0].problem


@pytest.mark.parametrize("fallback", ["uper", "Title", "default there", "a|b", "trim x"])
def test_the_editor_is_told_of_a_fallback_that_looks_like_a_filter(fallback: str) -> None:
    (caution,) = compile_template("one\n{{name|" + fallback + "}}", kind="text").cautions
    assert "sent as a text" in caution.problem
    assert caution.line == 2


@pytest.mark.parametrize(
    "source", ["{{name|there}}", "{{name}}", '{{name|default("title")}}', "{{name|you}}"]
)
def test_an_ordinary_template_has_no_cautions(source: str) -> None:
    assert compile_template(source, kind="text").cautions == ()


fallbacks = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1).filter(
    lambda text: text.strip() and "}}" not in text + "}"
)


@given(fallbacks)
def test_every_literal_fallback_is_printed_as_written(fallback: str) -> None:
    if templates._CHAIN_AHEAD.match(fallback + "}}"):
        return
    assert render("{{name|" + fallback + "}}") == fallback.strip()


@given(fallbacks)
def test_every_fallback_survives_the_html_variant_escaped(fallback: str) -> None:
    if templates._CHAIN_AHEAD.match(fallback + "}}"):
        return
    printed = render("{{name|" + fallback + "}}", "html")
    assert not set("<>\"'") & set(printed)


# --- missing


@pytest.mark.parametrize("value", [None, "", " ", "\t\n", "\u00a0", "\u200b", "\ufeff", "\x00"])
def test_nothing_to_see_counts_as_no_value(value: str | None) -> None:
    template = compile_template("Hi {{name}}", kind="text")
    assert template.missing({"name": value}) == ("name",)
    with pytest.raises(TokenMissing) as caught:
        template.render({"name": value})
    assert caught.value.names == ("name",)


def test_missing_lists_each_name_once_in_order_of_first_use() -> None:
    template = compile_template("{{b}} {{a}} {{b|upper}} {{c|there}} {{d}}", kind="text")
    assert template.missing({"d": "x"}) == ("b", "a")
    assert template.tokens == {"a", "b", "c", "d"}


def test_a_token_in_a_branch_not_taken_is_not_missing() -> None:
    template = compile_template(
        "{% if company %}at {{company}} in {{city}}{% else %}{{x}}{% endif %}", kind="text"
    )
    assert template.missing({}) == ("x",)
    assert template.missing({"company": "Acme"}) == ("city",)
    assert template.missing({"company": "Acme", "city": "Berlin"}) == ()


def test_a_filter_does_not_hide_that_a_token_is_missing() -> None:
    assert compile_template("{{a|upper|trim|truncate(5)|title}}", kind="text").missing({}) == ("a",)


@pytest.mark.parametrize(
    ("condition", "taken"),
    [
        ("company", False),
        ("not company", True),
        ('company == ""', True),
        ('company != "Acme"', True),
        ('company in ["Acme"]', False),
        ('"A" in company', False),
        ("company in role", True),
        ("company == other", True),
        ("role", True),
        ('role == "Engineer"', True),
        ('role|lower == "engineer"', True),
        ("role in ('Engineer', 'Designer')", True),
        ('role not in ["Engineer"]', False),
        ("role and not company", True),
        ("(company or role) and not (company)", True),
        ('company|default("x") == "x"', True),
        ('"%" in role', False),
        ('role == "a %} b"', False),
    ],
)
def test_condition(condition: str, taken: bool) -> None:
    source = "{% if " + condition + " %}yes{% else %}no{% endif %}"
    assert render(source, role="Engineer") == ("yes" if taken else "no")


def test_elif_and_nesting() -> None:
    source = "{% if a == '1' %}one{% elif a == '2' %}two{% if b %}!{% endif %}{% else %}more{% endif %}"
    assert [render(source, a=a, b="x") for a in ("1", "2", "3")] == ["one", "two!", "more"]


def test_a_tag_alone_on_its_line_leaves_no_empty_line() -> None:
    source = "Hi,\n\n  {% if company %}  \nHow is {{company}}?\n{% endif %}\nBye\n"
    assert render(source, company="Acme") == "Hi,\n\nHow is Acme?\nBye\n"
    assert render(source) == "Hi,\n\nBye\n"


def test_a_tag_beside_text_keeps_the_line_break() -> None:
    assert render("Hi{% if a %} {{a}}{% endif %}\nBye", a="x") == "Hi x\nBye"


def test_jinja_whitespace_control_is_understood_in_tags() -> None:
    assert render("a \n {%- if x -%} \n b{%+ endif %}", x="1") == "ab"


def test_line_ends_become_newlines_and_the_last_is_kept() -> None:
    assert render("a\r\nb\rc\r\n") == "a\nb\nc\n"


# --- values


def test_values_are_never_read_as_templates() -> None:
    assert render("{{a}}", a="{{b}}{% if c %}") == "{{b}}{% if c %}"


def test_numbers_are_printed() -> None:
    assert render("{{years}} {{share}}", years=3, share=0.5) == "3 0.5"
    assert render("{{zero}}", zero=0) == "0"


@pytest.mark.parametrize("value", [True, False, b"x", ["x"], {"a": 1}, object()])
def test_a_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueRefused, match="neither a text nor a number"):
        render("{{a}}", a=value)


@pytest.mark.parametrize("value", ["x" * 2049, "ä" * 1025, "👋" * 513])
def test_a_value_over_2_kib_is_refused(value: str) -> None:
    with pytest.raises(ValueRefused, match="2 KiB"):
        render("{{a}}", a=value)
    assert render("{{a}}", a=value[: len(value) // 2])


def test_a_value_of_exactly_2_kib_is_printed() -> None:
    assert len(render("{{a}}", a="x" * 2048)) == 2048


def test_a_lone_surrogate_is_refused_in_values_and_templates() -> None:
    with pytest.raises(ValueRefused, match="broken character"):
        render("{{a}}", a="x\ud800")
    assert "broken character" in refusal("x\udfff").problem


def test_output_is_bounded() -> None:
    source = "{{a}}" * 500
    assert len(render(source, a="x" * 524)) == 262_000
    with pytest.raises(TemplateError, match="256 KiB"):
        render(source, a="x" * 2048)
    with pytest.raises(TemplateError, match="256 KiB"):
        render(source, a="ä" * 500)


# --- html


def test_html_escapes_values_and_text_does_not() -> None:
    assert render("<b>{{a}}</b>", "html", a="<script>&\"'") == "<b>&lt;script&gt;&amp;&#34;&#39;</b>"
    assert render("<b>{{a}}</b>", a="<script>&") == "<b><script>&</b>"


@pytest.mark.parametrize(
    "chain", ["upper", "title", "trim", "truncate(20)", "default('x')", "lower|capitalize"]
)
def test_no_filter_undoes_html_escaping(chain: str) -> None:
    assert "<" not in render("{{a|" + chain + "}}", "html", a="<img src=x onerror=alert(1)>")


def test_html_escapes_a_fallback() -> None:
    assert render("{{a|<b>you</b>}}", "html") == "&lt;b&gt;you&lt;/b&gt;"
    assert render('{{a|default("<b>")}}', "html") == "&lt;b&gt;"


# --- headers

UNFIT = ["\r", "\n", "\x00", "\t", "\x1b", "\x7f", "\x85", "\x9f", "\u2028", "\u2029", "=?", "\ud800"]


@pytest.mark.parametrize("unfit", UNFIT)
def test_a_header_refuses_what_could_forge_another(unfit: str) -> None:
    with pytest.raises(ValueRefused, match="the value of role"):
        render("{{first_name}}: {{role}}", "header", first_name="Ana", role=f"a{unfit}b")
    assert header_problem(f"a{unfit}b")
    assert "contains" in refusal(f"a{unfit}b", "header").problem


def test_a_header_refuses_an_encoded_word_put_together_from_parts() -> None:
    with pytest.raises(TemplateError, match=r"=\?"):
        render("={{a}}", "header", a="?utf-8?q?hi=0ABcc:_evil@x?=")


def test_a_header_ignores_the_unfit_value_of_a_branch_not_taken() -> None:
    assert render("{% if a %}{{b}}{% endif %}Hi", "header", b="x\ny") == "Hi"


def test_a_header_is_trimmed_and_never_empty() -> None:
    assert render("{{a}} ", "header", a=" Hello ") == "Hello"
    with pytest.raises(TemplateError, match="empty"):
        render("{% if a %}x{% endif %}", "header")


def test_a_header_escapes_nothing() -> None:
    assert render("{{a}} & co", "header", a="<Ana>") == "<Ana> & co"


# --- what is refused

BYPASSES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ name.__class__ }}",
    "{{ name['x'] }}",
    "{{ name() }}",
    "{{ name.upper() }}",
    "{{ self }}",
    "{{ self.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id') }}",
    "{{ lipsum.__globals__ }}",
    "{{ super() }}",
    "{{ loop }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ [1, 2] }}",
    "{{ {'a': 1} }}",
    "{{ 1 }}",
    "{{ 'text' }}",
    "{{ 'x' * 1000000000 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ name * 1000000000 }}",
    "{{ name ~ name }}",
    "{{ name % 'x' }}",
    "{{ -name }}",
    "{{ name if name else name }}",
    "{{ name is defined }}",
    "{{ not name }}",
    "{{ name or 'there' }}",
    "{{ __class__ }}",
    "{{ __import__ }}",
    "{{ true }}",
    "{{ none }}",
    "{{ na-me }}",
    "{{ first name }}",
    "{{ ﬁrst_name }}",
    "{{}}",
    "{{ }}",
    "{{ | }}",
    "{{ |there }}",
    "{{name|}}",
    "{{name| }}",
    "{{name",
    "{{name|there",
    "{{name|there}",
    "{{- name }}",
    "{{ name -}}",
    "{{ '{0.__class__}'.format(name) }}",
    "{{ name|upper|format }}",
    "{{ name|upper|attr('__class__') }}",
    "{{ name|upper|map('upper') }}",
    "{{ name|upper|safe }}",
    "{{ name|upper|replace('a', 'b') }}",
    "{{ name|upper|there }}",
    "{{ name|upper('x') }}",
    "{{ name|default(x) }}",
    "{{ name|default(x.__class__) }}",
    "{{ name|default(value='x') }}",
    "{{ name|default() }}",
    "{{ name|default }}",
    "{{ name|default(“there”) }}",
    "{{ name|truncate }}",
    "{{ name|truncate(1) }}",
    "{{ name|truncate(2049) }}",
    "{{ name|truncate(999999999) }}",
    "{{ name|truncate(9999999999) }}",
    "{{ name|truncate(-5) }}",
    "{{ name|truncate('5') }}",
    "{{ name|truncate(5, true, 'x') }}",
    "{{ name|default('x', false) }}",
    "{{ name" + "|upper" * 9 + " }}",
    "{% for x in name %}{{x}}{% endfor %}",
    "{% set x = 1 %}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block x %}{% endblock %}",
    "{% macro x() %}{% endmacro %}",
    "{% call x() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% raw %}{{x}}{% endraw %}",
    "{%- raw -%}{{x}}{%- endraw -%}",
    "{% with %}{% endwith %}",
    "{% autoescape false %}{{x}}{% endautoescape %}",
    "{% do x %}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    "{% print x %}",
    "{% iffy %}{% endif %}",
    "{% if.x %}{% endif %}",
    "{% %}",
    "{% 1 %}",
    "{%",
    "{% if a",
    "{% if 'a %}{% endif %}",
    "{# a comment #}",
    "{#",
    "{% if %}x{% endif %}",
    "{% if a %}x",
    "{% endif %}",
    "{% else %}",
    "{% elif a %}",
    "{% if a %}{% else %}{% else %}{% endif %}",
    "{% if a %}{% else %}{% elif b %}{% endif %}",
    "{% if a %}{% else x %}{% endif %}",
    "{% if a %}{% endif a %}",
    "{% if a %}" * 11 + "{% endif %}" * 11,
    "{{a}}" * 501,
    "x" * 65_537,
    "ä" * 32_769,
]


@pytest.mark.parametrize("source", BYPASSES, ids=lambda source: source[:50])
def test_refused_with_a_sentence_and_a_line(source: str) -> None:
    error = refusal("one\ntwo " + source)
    assert len(error.problem) < 300
    assert error.line == 2 or len(source) > 30_000


CONDITIONS = [
    "''.__class__",
    "''.__class__.__mro__[1].__subclasses__()",
    "name.upper() == 'X'",
    "name[0] == 'X'",
    "name[0:1] == 'X'",
    "cycler()",
    "cycler.__init__",
    "self",
    "self._TemplateReference__context",
    "loop",
    "true",
    "none",
    "1",
    "1.5",
    "[]",
    "{}",
    "('a', 'b')",
    "name == 1",
    "name == None",
    "name > 'a'",
    "name < 'a'",
    "name >= 'a' and name <= 'b'",
    "name is defined",
    "name is sameas name",
    "name is callable",
    "name ~ 'x' == 'ax'",
    "name + 'x' == 'ax'",
    "'x' * 1000000000",
    "'x' * 1000000000 == 'x'",
    "'x' * 99999 * 99999 * 99999",
    "9 ** 9 ** 9 ** 9",
    "-name",
    "name % name",
    "'%s' % name",
    "'{0.__class__}'.format(name)",
    "name|format",
    "name|attr('__class__')",
    "name|list",
    "name|upper(1)",
    "name|upper(*name)",
    "name|upper(**name)",
    "name|default(name)",
    "name|truncate(-1)",
    "name|truncate(99999999999)",
    "'x'|upper",
    "(name == name)|upper",
    "name in [name]",
    "name in ['a', 1]",
    "name in 5",
    "['a'] in name",
    "['a'] == name",
    "(not name) in 'True'",
    "(name == 'x') in 'True'",
    "(name and not name) in name",
    "name == 'a' if name else name",
    "name if name",
    "name = 'x'",
    "name := 'x'",
    "name; name",
    "lambda: name",
    "name; import os",
    "__builtins__",
    "ﬁrst_name",
    "name == “x”",
    "name == 'x",
    "(name",
    "name)",
    "name name",
    "name & name",
    "name ! name",
    "\\",
    "name == '\\x'",
    "name == '\\N{nonsense}'",
    "(" * 31 + "name" + ")" * 31,
    "(" * 200 + "name" + ")" * 200,
    "not " * 31 + "name",
    " or ".join(["name"] * 60),
    "name == '" + "x" * 500 + "'",
    "name" * 100,
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition[:50])
def test_refused_in_a_condition(condition: str) -> None:
    error = refusal("one\n{% if " + condition + " %}x{% endif %}")
    assert error.line == 2
    error = refusal("{% if a %}{% elif " + condition + " %}x{% endif %}")
    assert error.line == 1


def test_the_deepest_allowed_condition_compiles_far_down_the_stack() -> None:
    source = "{% if " + "(" * 30 + "name" + ")" * 30 + " %}x{% endif %}"

    def far_down(frames: int) -> str:
        return far_down(frames - 1) if frames else render(source, name="1")

    assert far_down(200) == "x"


def test_the_tree_is_checked_before_anything_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(*_: object, **__: object) -> None:
        raise AssertionError("reached Jinja's compiler")

    monkeypatch.setattr(templates._TEXT, "from_string", compiled)
    for condition in CONDITIONS:
        refusal("{% if " + condition + " %}x{% endif %}")


@pytest.mark.parametrize(
    "name", ["cycler", "joiner", "namespace", "lipsum", "_own", "range", "dict", "context"]
)
def test_jinjas_globals_are_ordinary_names(name: str) -> None:
    template = compile_template("{{ " + name + " }}", kind="text")
    assert template.missing({}) == (name,)
    assert template.render({name: "mine"}) == "mine"


@pytest.mark.parametrize("environment", [templates._TEXT, templates._HTML])
def test_the_environment_itself_is_bare(environment: Any) -> None:
    assert not environment.globals
    assert not environment.tests
    assert set(environment.filters) == set(templates._FILTERS)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("{{first name}}", "{{first_name}}"),
        ("{{name|upper|there}}", 'default("there")'),
        ("{{name|}}", 'default("")'),
        ("{% if a == 1 %}{% endif %}", '"1" in quotes'),
        ("{% if a is defined %}{% endif %}", "{% if token %}"),
        ("{{name|default(“x”)}}", "straight quotes"),
        ("{% if a == “x” %}{% endif %}", "straight quotes"),
        ("{% for x in y %}", "{% if token %}"),
    ],
)
def test_the_error_says_what_to_write(source: str, hint: str) -> None:
    assert hint in refusal(source).problem


def test_the_line_of_an_unclosed_if_is_where_it_begins() -> None:
    assert refusal("a\n{% if a %}\nb\n{% if c %}\nd\n{% endif %}\n").line == 2


def test_the_line_is_right_after_fallbacks_over_several_lines() -> None:
    assert refusal("{{a|x\ny}}\n{{\nb\n}}\n{% if x.y %}{% endif %}").line == 6


@pytest.mark.parametrize("source", ["{name}", "}}", "%}", "#}", "{", "100 %", "a { b", "{ {x} }", "$x"])
def test_lone_brackets_are_text(source: str) -> None:
    assert render(source) == source


def test_a_template_is_compiled_once() -> None:
    assert compile_template("Hi {{a}}", kind="text") is compile_template("Hi {{a}}", kind="text")
    assert compile_template("Hi {{a}}", kind="text") is not compile_template("Hi {{a}}", kind="html")


# --- any text at all

PIECES = [
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "-",
        "|",
        "(",
        ")",
        "'",
        '"',
        "\\",
        "\n",
        " ",
        ".",
        "=",
        "==",
        ",",
        "[",
    ),
    *(
        "if ",
        "elif ",
        "else",
        "endif",
        "and ",
        "not ",
        "in ",
        "is ",
        "raw",
        "default",
        "upper",
        "truncate",
        "self",
    ),
    *(
        "name",
        "x",
        "_",
        "1",
        "é",
        "]",
        "{",
        "}",
        "%",
        "{% if name %}",
        "{% endif %}",
        "{{name|there}}",
        "\ud800",
    ),
]
fragments = st.sampled_from(PIECES)
templates_like = st.one_of(st.text(), st.lists(fragments, max_size=30).map("".join))
kinds: st.SearchStrategy[Kind] = st.sampled_from(["text", "html", "header"])


@given(templates_like, kinds, st.text() | st.none())
def test_any_text_renders_or_is_refused(source: str, kind: Kind, value: str | None) -> None:
    try:
        template = compile_template(source, kind=kind)
        output = template.render(dict.fromkeys(template.tokens, value))
    except TemplateError:
        return
    assert len(output.encode()) <= templates.MAX_OUTPUT_BYTES
    assert kind != "header" or header_problem(output) is None


@given(st.text(st.characters(exclude_characters="{\r", exclude_categories=["Cs"])))
def test_text_without_brackets_is_left_alone(text: str) -> None:
    assert render(text) == text


@given(st.text(string.ascii_letters + " {}%<>&'\"é👋\n", max_size=100))
def test_a_value_is_printed_as_it_is(value: str) -> None:
    if value.strip():
        assert render("a{{x}}b", x=value) == f"a{value}b"


@pytest.mark.parametrize("function", [str.upper, str.lower, str.title, str.capitalize])
def test_no_case_filter_outgrows_the_bound(function: Callable[[str], str]) -> None:
    assert len(function("ΐ" * 1024).encode()) <= 3 * templates.MAX_VALUE_BYTES
