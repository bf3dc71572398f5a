"""Spellings of one domain are one suppression, and what was kept before that is still found."""

from uuid import UUID

import idna
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chassis.secrets import Secrets, SecretSettings

WORKSPACE = UUID(int=1)
SECRETS = Secrets(SecretSettings(secret_keys="a key for tests of sixteen or more"))
LABELS = st.text(st.sampled_from("abcxyzäöüéñçøłαβγдежüß0123-"), min_size=1, max_size=12)
DOMAINS = st.builds(".".join, st.lists(LABELS, min_size=2, max_size=3))


def one(kind: str, value: str) -> str:
    return SECRETS.suppression_id(WORKSPACE, kind, value)


def all_of(kind: str, value: str) -> tuple[str, ...]:
    return SECRETS.suppression_ids(WORKSPACE, kind, value)


def as_before(kind: str, value: str) -> str:
    """The hash of a spelling alone, as it was kept before all of them were one."""
    return SECRETS._suppression_id(WORKSPACE, kind, value.strip().casefold())


@given(DOMAINS)
def test_every_spelling_of_a_domain_is_one_suppression(domain: str) -> None:
    try:
        ascii_spelling = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        assume(False)
    unicode_spelling = idna.decode(ascii_spelling)
    spellings = {domain, domain.upper(), ascii_spelling, ascii_spelling.upper(), unicode_spelling}
    # ß has no capital of its own: upper() makes it two letters, of another domain.
    assume("ß" not in domain)
    assert len({one("domain", f" {each} ") for each in spellings}) == 1
    assert len({one("address", f"Ana@{each}") for each in spellings}) == 1
    assert len({one("sender", f"{WORKSPACE}/ana@{each}") for each in spellings}) == 1


@given(DOMAINS)
def test_what_was_kept_in_either_spelling_is_found_by_both(domain: str) -> None:
    try:
        ascii_spelling = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        assume(False)
    for spelling in (ascii_spelling, idna.decode(ascii_spelling)):
        for kind, value in (("domain", "{}"), ("address", "ana@{}")):
            kept = as_before(kind, value.format(idna.decode(ascii_spelling)))
            assert kept in all_of(kind, value.format(spelling))
        assert one("domain", domain) in all_of("domain", spelling)


@given(st.text(max_size=60), st.sampled_from(["address", "domain", "company", "phone", "sender"]))
def test_whatever_it_is_it_has_a_hash_and_finds_itself(value: str, kind: str) -> None:
    value = value.encode("utf-8", "replace").decode()
    assert one(kind, value) in all_of(kind, value)


@pytest.mark.parametrize("value", ["Ana@There.example", "there.example", "A Company Ltd"])
def test_what_is_ascii_has_one_hash_the_one_that_it_always_had(value: str) -> None:
    assert all_of("address", value) == (as_before("address", value),)


def test_two_domains_that_only_look_folded_alike_are_two() -> None:
    assert one("domain", "straße.example") != one("domain", "strasse.example")
