"""Custom tokens: of what type they are, whose they are, and which values they take."""

import re
from enum import StrEnum
from typing import Final

from segue_contracts.prospect import check_date
from segue_contracts.text import check_text

_NUMBER: Final = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)*")
_URL: Final = re.compile(r"https?://[^\s<>\"/]+(?:/[^\s<>\"]*)?")


class TokenType(StrEnum):
    """What a token's values are; all of them are text in a template."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    URL = "url"
    BOOL = "bool"


class TokenScope(StrEnum):
    """Who has a value of their own."""

    PERSON = "person"
    SENDER = "sender"
    SEQUENCE = "sequence"


def check_token(kind: TokenType, value: str) -> str:
    """A value of that type, unchanged; else `ValueError`, which does not quote it."""
    match kind:
        case TokenType.NUMBER if not _NUMBER.fullmatch(value):
            raise ValueError("must be a number such as 42 or 55,000.50")
        case TokenType.DATE:
            check_date(value)
        case TokenType.URL if not _URL.fullmatch(value):
            raise ValueError("must be an address that begins with https:// or http://")
        case TokenType.BOOL if value != "true":
            raise ValueError("must be true: leave it out for false, so that `if` is false")
    return check_text(value)
