"""Every service answers the same health and metrics pages: one implementation, on whatever port it has."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from api.application import application
from api.routing import Api
from api.settings import ApiSettings
from chassis.health import Health, listening
from chassis.settings import HttpSettings

SERVICES = Path(__file__).parents[2] / "services"
FINE = {"ok": True, "reasons": {}, "notes": {}}
JSON = "application/json"


def beside_the_routes_of_the_api() -> web.Application:
    settings = ApiSettings(
        kafka_bootstrap_servers="unused:9092",
        mongodb_uri="mongodb://unused",
        mongodb_database="unused",
        secret_keys="a key for tests of sixteen or more",
    )
    return application(cast(Api, SimpleNamespace(settings=settings)))  # health asks nothing of it


async def told(port: int, path: str) -> tuple[int, str, Any]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session, session.get(path) as answer:
        body = await answer.json() if answer.content_type == JSON else await answer.text()
        return answer.status, answer.content_type, body


@pytest.mark.parametrize("app", [lambda: None, beside_the_routes_of_the_api], ids=["alone", "api"])
async def test_health_and_metrics_are_the_same_alone_and_beside_the_routes_of_the_api(app: Any) -> None:
    health = Health()
    async with listening(HttpSettings(), health, app()) as port:
        starting = {"ok": False, "reasons": {"startup": "still starting"}, "notes": {}}
        assert await told(port, "/health/startup") == (503, JSON, starting)
        assert await told(port, "/health/live") == (200, JSON, FINE)
        health.started()
        for page in ("startup", "live", "ready"):
            assert await told(port, f"/health/{page}") == (200, JSON, FINE)
        health.check("clock", lambda: "off")
        health.note("kafka", lambda: "away")
        unready = {"ok": False, "reasons": {"clock": "off"}, "notes": {"kafka": "away"}}
        assert await told(port, "/health/ready") == (503, JSON, unready)
        status, kind, text = await told(port, "/metrics")
        assert (status, kind) == (200, "text/plain")
        assert "python_info" in text


@pytest.mark.parametrize("service", ["scheduler", "sender", "reply-detector", "api"])
def test_a_service_has_its_life_and_health_from_the_chassis_and_none_of_its_own(service: str) -> None:
    package = SERVICES / service / service.replace("-", "_")
    assert "service.main(" in (package / "__main__.py").read_text()
    wiring = (package / "wiring.py").read_text()
    assert ("listening(settings, service.health" in wiring) != ("service.serve(settings, " in wiring)
    for file in package.rglob("*.py"):
        text = file.read_text()
        for own in ("/health/", '"/metrics"', "AppRunner", "add_signal_handler"):
            assert own not in text, f"{file} has {own}"
