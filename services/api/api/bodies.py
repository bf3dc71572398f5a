"""Turns bytes from outside into plain data, and refuses there what no later layer could carry."""

import re
from http import HTTPStatus
from typing import Any

import orjson

from api import yaml_core
from api.problems import FieldError, Problem, bad_request, escape, invalid

MAX_DEPTH = 20
MAX_NODES = 400_000  # what 5,000 prospects with every field and many tokens need
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL: no header, no BSON key; surrogates: no encoding


def read_json(raw: bytes) -> Any:
    """The data of a JSON body; Problem 400 if it is none, 422 if it holds what can't be kept."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise bad_request("malformed-json", f"The body is not JSON: {error}.") from None
    check_tree(data)
    return data


def read_yaml(raw: bytes) -> Any:
    """The data of a YAML body; Problem 400 with the line if it is none, 422 as for JSON."""
    try:
        data = yaml_core.load(read_text(raw))
    except yaml_core.YamlProblem as error:
        raise bad_request("malformed-yaml", f"The body is not YAML: {error}.") from None
    check_tree(data)
    return data


def read_text(raw: bytes) -> str:
    """UTF-8 text, with or without a byte order mark; Problem 400 otherwise."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise bad_request(
            "not-utf-8", f"The body is not UTF-8 text: byte {error.start} does not fit."
        ) from None


def check_tree(data: Any) -> None:
    """Problem 422 unless the data is a JSON value of bounded size whose text can be kept."""
    errors = list(_Walk().errors(data))
    if errors:
        raise invalid(errors)


def check_string(value: str, place: str) -> None:
    """Problem 422 unless a string from the path or the query can be kept."""
    if UNSTORABLE.search(value):
        raise invalid([FieldError(pointer=place, detail="must not contain NUL or half a surrogate pair")])


class _Walk:
    """Visits a tree once, within bounds of depth and number of values."""

    def __init__(self) -> None:
        self._nodes = 0

    def errors(self, data: Any) -> list[FieldError]:
        level: list[tuple[str, Any]] = [("", data)]
        errors: list[FieldError] = []
        for _ in range(MAX_DEPTH):
            errors += [
                FieldError(pointer=at, detail=wrong) for at, value in level if (wrong := _wrong(value))
            ]
            level = [child for at, value in level for child in self._children(at, value)]
            if errors or not level:
                return errors
        return [FieldError(pointer=level[0][0], detail=f"is nested more than {MAX_DEPTH} levels deep")]

    def _children(self, at: str, value: Any) -> list[tuple[str, Any]]:
        if isinstance(value, dict):
            self._count(2 * len(value))
            return [(f"{at}/{escape(key)}", each) for key, each in value.items()]
        if isinstance(value, list):
            self._count(len(value))
            return [(f"{at}/{index}", each) for index, each in enumerate(value)]
        return []

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise invalid([FieldError(pointer="", detail=f"holds more than {MAX_NODES} values")])


def _wrong(value: Any) -> str | None:
    if isinstance(value, str):
        return "must not contain NUL or half a surrogate pair" if UNSTORABLE.search(value) else None
    if isinstance(value, dict):
        return _wrong_keys(value)
    if isinstance(value, float):
        return None if abs(value) <= 1.7e308 else "must be a finite number"
    if isinstance(value, int):
        return None if abs(value) < 2**63 else "is too large a number"
    return None if value is None or isinstance(value, list) else "must be text, a number, a list or a mapping"


def _wrong_keys(mapping: dict[Any, Any]) -> str | None:
    for key in mapping:
        if not isinstance(key, str):
            return "has a name that is not text: write it in quotes"
        if UNSTORABLE.search(key):
            return "has a name that contains NUL or half a surrogate pair"
    return None


def unsupported(content_type: str, known: tuple[str, ...]) -> Problem:
    """415 that names what is understood."""
    return Problem(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        f"Content-Type {content_type!r} is not read here; send {' or '.join(known)}.",
    )
