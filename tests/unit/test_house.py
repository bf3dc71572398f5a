"""The house's own rules: nothing of anybody's machine in it, and what its pages name is there."""

import importlib
import pkgutil
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pydantic_settings import BaseSettings

import api
import chassis
import reply_detector
import scheduler
import sender
from chassis.settings import PREFIX
from chassis.templates import TemplateError, compile_template
from segue_contracts.prospect import ProspectError, parse_prospect
from segue_contracts.text import RESERVED_TOKEN_NAMES
from segue_contracts.topics import TOPICS

HOUSE = Path(__file__).parents[2]
FAULTS = {"SEGUE_ALLOW_FAULTS", "SEGUE_FAULTS"}  # read by chassis.faults, which knows no settings

MACHINES = re.compile(r"(?<![\w.$}-])/(?:[w]ork|[r]oot|home/[a-z]\w*)\b")
REGISTRIES = re.compile(
    r"(?i)\b(?:[p]ypi\.org|files\.[p]ythonhosted|registry\.[n]pmjs|repo1?\.[m]aven|proxy\.[g]olang)"
    r"|[a]rtifactory|[j]frog|[i]ndex[-_]url"
)
WORKPLACE = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b|(?i:\bthe [b]rief\b|\bthis [s]ession\b|\bthe [l]ead\b)")


def tracked(*endings: str) -> list[Path]:
    """The files under version control that end so (all), without those that were just deleted."""
    told = subprocess.run(
        ["git", "ls-files", "-z"], cwd=HOUSE, capture_output=True, check=True, text=True
    ).stdout
    paths = [HOUSE / name for name in told.split("\0") if name.endswith(endings or ("",))]
    return [path for path in paths if path.is_file()]


def found(pattern: re.Pattern[str], files: list[Path]) -> list[str]:
    """Where a pattern occurs, as file:line."""
    return [
        f"{file.relative_to(HOUSE)}:{number}: {line.strip()[:100]}"
        for file in files
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize(
    "pattern", [MACHINES, REGISTRIES, WORKPLACE], ids=["machine", "registry", "workplace"]
)
def test_no_file_speaks_of_where_it_was_written(pattern: re.Pattern[str]) -> None:
    assert found(pattern, tracked()) == []


# ---- pages --------------------------------------------------------------------------------------------

PAGES = tracked(".md")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The fragments that a page's headings have."""
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(page.read_text()))
    return {each.strip().replace(" ", "-") for each in words}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(HOUSE)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        path, _, fragment = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


def test_every_make_target_that_a_page_names_is_there_and_the_described_ones_are_phony() -> None:
    makefile = (HOUSE / "Makefile").read_text()
    targets = set(TARGET.findall(makefile))
    for page in (*PAGES, HOUSE / ".ci" / "run"):
        named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
        assert named <= targets, page.relative_to(HOUSE)
    (phony,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) <= set(phony.split())


def test_every_topic_stands_in_the_tables_of_the_contracts_page_and_no_other() -> None:
    rows = [
        line
        for line in (HOUSE / "contracts" / "README.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    told = {
        name: row.split("|")[4].strip() for row in rows for name in re.findall(r"`(segue\.[a-z.]+v\d)`", row)
    }
    assert set(told) == {topic.name for topic in TOPICS}
    for topic in TOPICS:
        assert told[topic.name].startswith("yes" if topic.personal_data else "no"), topic.name


# ---- settings -----------------------------------------------------------------------------------------


def modules(package: ModuleType) -> Iterator[ModuleType]:
    """A package's modules, but for programs: they would run."""
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not info.name.endswith("__main__"):
            yield importlib.import_module(info.name)


def variables() -> set[str]:
    """The environment variables that some settings class reads."""
    packages = (chassis, scheduler, sender, reply_detector, api)
    classes = {
        value
        for package in packages
        for module in modules(package)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings)
    }
    return {PREFIX + name.upper() for each in classes for name in each.model_fields}


def test_every_variable_that_is_named_outside_the_code_is_read_by_some_settings_class() -> None:
    known = variables() | FAULTS
    for file in tracked(".md", ".yaml", ".yml", ".sh", "Makefile", "Dockerfile", ".env"):
        named = set(re.findall(rf"\b{PREFIX}[A-Z][A-Z_]*[A-Z]\b", file.read_text()))
        assert named <= known, file.relative_to(HOUSE)


def test_every_variable_that_a_test_or_the_stack_sets_is_read_by_some_settings_class() -> None:
    known = variables() | FAULTS
    for file in [file for file in tracked(".py") if file.is_relative_to(HOUSE / "deploy")]:
        named = set(re.findall(rf'"({PREFIX}[A-Z_]+)"', file.read_text()))
        assert named <= known, file.relative_to(HOUSE)


# ---- token names --------------------------------------------------------------------------------------

NAMES = [
    *sorted(RESERVED_TOKEN_NAMES),
    *(
        "first_name",
        "_private",
        "__class__",
        "__x",
        "a",
        "A9",
        "9a",
        "a-b",
        "a.b",
        "ü",
        "for",
        "set",
        "x" * 64,
    ),
    *("x" * 65, "range", "namespace", "upper", "import", "block", "macro", "endfor"),
]


def is_a_name_for_prospects(name: str) -> bool:
    try:
        parse_prospect({"external_id": "cand-81", "tokens": {name: "value"}})
    except ProspectError:
        return False
    return True


def is_a_name_in_templates(name: str) -> bool:
    try:
        template = compile_template(f"{{{{ {name} }}}}", kind="text")
    except TemplateError:
        return False
    return template.tokens == {name}


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_and_the_templates_agree_on_what_a_token_may_be_called(name: str) -> None:
    assert is_a_name_for_prospects(name) == is_a_name_in_templates(name)
