"""What the tokens of a template stand for, for one person: one look-up order for review, enroll and send."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chassis.signatures import signature_text
from chassis.unsubscribing import LOCALE_TOKEN
from segue_contracts.tokens import TokenType, check_token

PERSON_FIELDS: Final = (
    *("first_name", "last_name", "company", "title", "school", "location", "email", "phone"),
)
OWN_TOKENS: Final = ("my_title", "my_phone")
"""What every user may say of themselves, without a definition."""
MAILBOX_TOKENS: Final = ("my_name", "signature")
BUILT_IN: Final = frozenset({*PERSON_FIELDS, *OWN_TOKENS, *MAILBOX_TOKENS, LOCALE_TOKEN})
"""Names that no definition may take."""


def token_values(
    prospect: Mapping[str, Any],
    sequence_tokens: Mapping[str, str],
    sender_name: str,
    signature: str,
    workspace_tokens: Mapping[str, str],
    sender_tokens: Mapping[str, str],
) -> dict[str, str]:
    """Token name to value: the prospect, its tokens, the sequence's, the sender's, the workspace's defaults.

    `signature` is a template of the sender's tokens and the workspace's. The first non-blank value wins; a
    name without one is not in the result.
    """
    person = {name: prospect.get(name) for name in PERSON_FIELDS}
    sender = {
        **sender_tokens,
        "my_name": sender_name,
        "signature": signature_text(signature, sender_name, {**workspace_tokens, **sender_tokens}),
    }
    layers = (person, prospect.get("tokens") or {}, sequence_tokens, sender, workspace_tokens)
    values: dict[str, str] = {}
    for layer in reversed(layers):
        values.update({name: str(value) for name, value in layer.items() if value and str(value).strip()})
    return values


def wrong_values(given: Mapping[str, str], types: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The names of tokens whose value is none of their type, and why; a blank one is no value."""
    for name, value in given.items():
        if name not in types or not value.strip():
            continue
        try:
            check_token(TokenType(types[name]), value)
        except ValueError as error:
            yield name, str(error)
