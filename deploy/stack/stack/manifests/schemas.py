"""Whether objects have the shape that the API server takes: Kubernetes' own kinds and the operators'."""

import functools
from collections.abc import Iterator
from typing import Any, Final

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from stack.manifests.rendering import K8S, Manifest

KUBERNETES: Final = "1.37"
INNER: Final = frozenset({"items", "additionalProperties"})
"""Keys that hold further schemas. Alternatives are left as they are: each names only what it is about."""


def problems(manifests: list[Manifest]) -> Iterator[str]:
    """One line for each object that is refused; a kind that nobody declares is refused too."""
    for manifest in manifests:
        kind = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
        validator = _custom_kinds().get(kind)
        yield from _custom(validator, manifest) if validator else _built_in(manifest)


def title(manifest: Manifest) -> str:
    """Kind and name, as problems begin."""
    return f"{manifest.get('kind')} {manifest.get('metadata', {}).get('name')}"


def _built_in(manifest: Manifest) -> Iterator[str]:
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(map(str, error.path))
        yield f"{title(manifest)}: {place or 'top'}: {error.message[:300]}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{title(manifest)}: nobody declares {manifest.get('apiVersion')} {manifest.get('kind')}"


def _custom(validator: Draft202012Validator, manifest: Manifest) -> Iterator[str]:
    for error in validator.iter_errors(manifest):
        yield f"{title(manifest)}: {error.json_path.removeprefix('$.')}: {error.message[:300]}"


@functools.cache
def _custom_kinds() -> dict[tuple[str, str], Draft202012Validator]:
    """By apiVersion and kind."""
    found = {}
    for file in sorted((K8S / "crds").glob("*.yaml")):
        spec = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)["spec"]
        for version in spec["versions"]:
            kind = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            found[kind] = Draft202012Validator(_closed(version["schema"]["openAPIV3Schema"], top=True))
    return found


def _closed(schema: Any, *, top: bool = False) -> Any:
    """The same schema refusing what it does not name, as the server does where it is asked to be strict."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {key: _closed(value) if key in INNER else value for key, value in schema.items()}
    if "properties" in schema:
        closed["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        if top:  # what every object has in it is not spelt out in these schemas
            closed["properties"]["metadata"] = {"type": "object"}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            closed.setdefault("additionalProperties", False)
    return closed
