"""Says what is wrong with a document so that its author can mend it: a path and a sentence per problem."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

MAX_DEPTH = 20
MAX_PROBLEMS = 100
_MESSAGES = {
    "missing": "is missing: please add it",
    "string_type": "must be text: write it in quotes",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of names to values",
    "model_attributes_type": "must be a mapping of names to values",
    "invalid_key": "is not a name: names are text",
    "recursion_loop": "is nested too deeply",
}


@dataclass(frozen=True)
class Problem:
    """One thing to mend: `path` such as `stages[1].after` (empty for the whole document) and a sentence."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class DocumentError(ValueError):
    """A document that can't be accepted; `problems` holds at least one, in the document's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))


def found(*problems: tuple[str, str]) -> PydanticCustomError:
    """For model validators: several (path below the model, message) at once, as one pydantic error."""
    text = "; ".join(f"{path}: {message}" if path else message for path, message in problems)
    return PydanticCustomError("problems", "{text}", {"text": text, "problems": list(problems)})


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The nearest of the known names as a hint, or the list of them; never empty."""
    names = sorted(set(known))
    near = difflib.get_close_matches(str(name)[:100].lower(), names, n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else "known here: " + ", ".join(names)


def nested_too_deeply(data: object, limit: int = MAX_DEPTH) -> bool:
    """True if lists and mappings are nested deeper than `limit`; goes level by level, without recursion."""
    level: list[object] = [data]
    for _ in range(limit):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def problems_of(error: ValidationError, model: type[BaseModel]) -> tuple[Problem, ...]:
    """The problems behind a pydantic error, with unknown keys explained by the nearest name of `model`."""
    problems = [one for detail in error.errors(include_url=False) for one in _explain(detail, model)]
    return tuple(problems[:MAX_PROBLEMS])


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def _explain(detail: ErrorDetails, model: type[BaseModel]) -> Iterator[Problem]:
    loc = detail["loc"]
    if detail["type"] == "problems":
        for path, message in detail["ctx"]["problems"]:
            yield Problem(_join(_path(loc), path), message)
    elif detail["type"] == "extra_forbidden":
        owner = _model_at(model, loc[:-1])
        hint = did_you_mean(loc[-1], _known_names(owner)) if owner else "it is not known here"
        yield Problem(_path(loc), f"unknown key: {hint}")
    else:
        yield Problem(_path(loc), _sentence(detail))


def _sentence(detail: ErrorDetails) -> str:
    kind, ctx = detail["type"], detail.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"must be one of {ctx['expected']}"
    if kind == "value_error":
        return str(ctx["error"])
    return _MESSAGES.get(kind) or detail["msg"].removeprefix("Input ").removeprefix("Value ")


def _path(loc: Sequence[int | str]) -> str:
    path = ""
    for part in loc:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part.removesuffix(".[key]"))
    return path.removesuffix(".[key]")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name


def _known_names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    current: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int) or current is None:
            continue
        field = next(
            (field for name, field in current.model_fields.items() if part in (name, field.alias)), None
        )
        current = _model_in(field.annotation) if field else None
    return current


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _model_in(arg))), None)
