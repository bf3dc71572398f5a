"""Checks of single values that come from outside: lines that can't forge a header, addresses, names."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

MAX_EMAIL_CHARS = 254  # RFC 3696 erratum 1690: what fits into an SMTP path
MAX_EMAIL_LOCAL_CHARS = 64
MAX_VALUE_BYTES = 2048

# C0, DEL, C1 and the two Unicode line ends: all of them end a header line for some reader.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_EMAIL_LOCAL = re.compile(r"[^\s@()<>\[\],;:\\\"]+")
_EMAIL_LABEL = re.compile(r"[^\W_](?:[\w-]{0,61}[^\W_])?")
_TOKEN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

# Words that mean something else in a template; names with two underscores in front are its own.
RESERVED_TOKEN_NAMES = frozenset(
    {"and", "or", "not", "in", "is", "if", "else", "elif", "endif", "true", "false", "none", "True", "False"}
    | {"None", "self", "super", "loop", "caller", "varargs", "kwargs"}
)


def check_line(value: str) -> str:
    """One line without control characters, else `ValueError`: the value may end up in a mail header."""
    if _CONTROL.search(value):
        raise ValueError("must be a single line without control characters")
    return value


def check_text(value: str) -> str:
    """Text of several lines: tabs and line ends are the only control characters, else `ValueError`."""
    if _UNPRINTABLE.search(value):
        raise ValueError("must not contain control characters other than tabs and line ends")
    return value


def check_email(value: str) -> str:
    """An address that can be written to, unchanged, else `ValueError`."""
    check_line(value)
    local, at, domain = value.rpartition("@")
    if not at or "@" in local:
        raise ValueError("must be one e-mail address with one @, such as ana@ourco.example")
    if len(value) > MAX_EMAIL_CHARS or len(local.encode()) > MAX_EMAIL_LOCAL_CHARS:
        raise ValueError("is too long for an e-mail address")
    dots_ok = not (local.startswith(".") or local.endswith(".") or ".." in local)
    if not (_EMAIL_LOCAL.fullmatch(local) and dots_ok):
        raise ValueError("must be an e-mail address: what stands before the @ is not one")
    labels = domain.split(".")
    if len(labels) < 2 or not all(_EMAIL_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be an e-mail address: what stands after the @ is not a domain")
    return value


def check_value_size(value: str) -> str:
    """A token's value of at most 2 KiB (UTF-8), else `ValueError`."""
    if len(value.encode()) > MAX_VALUE_BYTES:
        raise ValueError(f"is longer than {MAX_VALUE_BYTES} bytes")
    return value


def check_token_name(value: str) -> str:
    """A name that a template can use (`first_name`), else `ValueError`."""
    if not _TOKEN_NAME.fullmatch(value):
        raise ValueError("is not a name: use letters, digits and _ (at most 64), not starting with a digit")
    if value in RESERVED_TOKEN_NAMES or value.startswith("__"):
        raise ValueError("is a word of the template language and can't be a name: choose another one")
    return value


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(check_line)]
Email = Annotated[
    str,
    AfterValidator(check_email),
    WithJsonSchema({"type": "string", "format": "email", "maxLength": MAX_EMAIL_CHARS}),
]
TokenName = Annotated[str, AfterValidator(check_token_name)]
TokenValue = Annotated[str, AfterValidator(check_text), AfterValidator(check_value_size)]
Tokens = Annotated[dict[TokenName, TokenValue], Field(max_length=200)]
