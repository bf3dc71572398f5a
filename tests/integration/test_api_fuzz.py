"""What nobody would send: requests made from the OpenAPI document, and some that it forbids.

Whatever comes in, the answer is one that the document promises, and never a fault of ours.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import CheckContext, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.openapi import document
from api.testing import Served, serving

pytestmark = pytest.mark.stack

EXAMPLES = {GenerationMode.POSITIVE: 2, GenerationMode.NEGATIVE: 2}
"""Of each operation: few, since there are many."""
SEED = 1
SEQUENCE = {
    "name": "Backend engineers",
    "stages": [{"id": "hello", "channel": "email", "subject": "Hello", "text": "Hi"}],
}
MADE_ELSEWHERE = ("/v1/inbound/", "/v1/sms-numbers/{number_id}/")
"""Posts of providers, which are no clients of ours: they have tests of their own."""


def no_fault_of_ours(context: CheckContext, response: Response, case: Case[Any]) -> bool | None:
    """503 is no fault: in these tests no scheduler is asked."""
    return None if response.status_code == 503 else not_a_server_error(context, response, case)


CHECKS = [
    no_fault_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri, key_requests_per_second=1e6, key_burst=1_000_000) as served:
        yield served


async def things(served: Served) -> dict[str, str]:
    """Something for ids to name, so that not every answer is a 404."""
    mailbox = await served.mailbox("ana@ourco.example")
    sequence = await served.call("POST", "/v1/sequences", SEQUENCE, status=201)
    webhook = await served.call("POST", "/v1/webhooks", {"url": "https://8.8.8.8/"}, status=201)
    return {"mailbox_id": mailbox, "sequence_id": sequence["id"], "webhook_id": webhook["id"]}


def operations(kept: dict[str, str]) -> Iterator[tuple[Any, dict[str, str]]]:
    """Every operation, and what its path is to name."""
    schema = openapi.from_dict(document())
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path.startswith(MADE_ELSEWHERE) and operation.method == "post":
            continue
        yield operation, {name: kept[name] for name in kept if f"{{{name}}}" in operation.path}


def fuzz(url: str, key: str, kept: dict[str, str]) -> None:
    """Send them all; raises what a check says of the first answer that is wrong."""
    headers = {"Authorization": f"Bearer {key}"}
    for operation, path in operations(kept):
        for mode, examples in EXAMPLES.items():
            more = {"path_parameters": path} if path and mode is GenerationMode.POSITIVE else {}

            @seed(SEED)
            @settings(
                max_examples=examples,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode, **more))
            def send(case: Case[Any]) -> None:
                case.call_and_validate(base_url=url, headers=headers, checks=CHECKS)

            send()


async def test_no_request_gets_an_answer_that_the_document_does_not_promise(served: Served) -> None:
    url = str(served.client.make_url("")).rstrip("/")
    await asyncio.to_thread(fuzz, url, served.made["api_key"], await things(served))
