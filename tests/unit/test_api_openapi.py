"""The OpenAPI document: valid, complete, and the one that is checked in."""

import json
from pathlib import Path

from openapi_spec_validator import validate

from api import openapi
from api.routes import ROUTES

CHECKED_IN = Path(__file__).parents[2] / "services" / "api" / "openapi.json"


def test_the_document_is_valid_openapi() -> None:
    validate(json.loads(openapi.text()))


def test_the_checked_in_document_is_current() -> None:
    assert CHECKED_IN.read_bytes() == openapi.text(), "run: python -m api openapi > services/api/openapi.json"


def test_every_route_is_described_once_with_an_id_of_its_own() -> None:
    document = openapi.document()
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }
    assert {(route.method, route.path) for route in ROUTES} <= described
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
