"""The reference pages: everything that the OpenAPI document has, open to anybody, without JavaScript."""

import re
from collections.abc import AsyncIterator

import pytest

from api import openapi
from api.dashboard.reference import pages
from api.routes import ROUTES
from api.testing import Served, serving

MOST_BYTES = 100_000


@pytest.fixture
async def served(mongodb_uri: str) -> AsyncIterator[Served]:
    async with serving(mongodb_uri) as served:
        yield served


def test_every_operation_stands_on_one_page_and_in_the_index_with_a_working_anchor() -> None:
    found = {slug: html.decode() for slug, html in pages().items()}
    for path in openapi.document()["paths"].values():
        for operation in path.values():
            name = operation["operationId"]
            [slug] = [slug for slug, html in found.items() if f'id="{name}"' in html]
            assert f'href="/reference/{slug}#{name}"' in found[""]


def test_every_page_is_light_and_holds_no_script_and_no_style() -> None:
    for html in pages().values():
        assert len(html) < MOST_BYTES
        assert b"<script" not in html
        assert b"style=" not in html


def test_a_body_is_explained_field_by_field_with_an_example_to_send() -> None:
    html = pages()["webhooks"].decode()
    assert "curl -s -X POST &#34;$SEGUE/v1/webhooks&#34;" in html
    assert "https://ats.ourco.example/segue" in html
    assert re.search(r"<code>url</code> <small>required</small></th><td>uri, at most 1000 characters", html)
    assert len(re.findall(r"curl -s", "".join(page.decode() for page in pages().values()))) >= len(ROUTES)


@pytest.mark.stack
async def test_it_is_read_without_signing_in_and_kept_by_caches(served: Served) -> None:
    response = await served.client.get("/reference")
    assert (response.status, response.content_type) == (200, "text/html")
    assert response.headers["Cache-Control"] == "public, max-age=300"
    same = await served.client.get("/reference", headers={"If-None-Match": response.headers["ETag"]})
    assert same.status == 304
    assert (await served.client.get("/reference/webhooks")).status == 200
    assert (await served.client.get("/reference/nothing")).status == 404
