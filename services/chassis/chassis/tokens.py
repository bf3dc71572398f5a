"""What the tokens of a template stand for, for one person: one look-up order for review, enroll and send."""

from collections.abc import Mapping
from typing import Any

PERSON_FIELDS = ("first_name", "last_name", "company", "title", "school", "location", "email", "phone")


def token_values(
    prospect: Mapping[str, Any],
    sequence_tokens: Mapping[str, str],
    sender_name: str,
    signature: str,
    workspace_tokens: Mapping[str, str],
) -> dict[str, str]:
    """Token name to value: the prospect, its tokens, the sequence's, the sender's, the workspace's defaults.

    The first non-blank value wins; a name without one is not in the result.
    """
    person = {name: prospect.get(name) for name in PERSON_FIELDS}
    sender = {"my_name": sender_name, "signature": signature}
    layers = (person, prospect.get("tokens") or {}, sequence_tokens, sender, workspace_tokens)
    values: dict[str, str] = {}
    for layer in reversed(layers):
        values.update({name: str(value) for name, value in layer.items() if value and str(value).strip()})
    return values
