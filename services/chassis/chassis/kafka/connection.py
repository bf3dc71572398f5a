"""How every aiokafka client is built, and how it is closed when the brokers are away."""

# aiokafka carries no annotations on most of its methods
# mypy: untyped-calls-exclude=aiokafka

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiokafka.helpers import create_ssl_context

from chassis.settings import KafkaSettings


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The connection arguments that producer, consumer and admin client share."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = create_ssl_context(
            cafile=settings.kafka_ssl_cafile,
            certfile=settings.kafka_ssl_certfile,
            keyfile=settings.kafka_ssl_keyfile,
        )
    if settings.kafka_security_protocol.startswith("SASL"):
        assert settings.kafka_sasl_password is not None, "settings check that SASL is complete"
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


async def ends_within(seconds: float, work: Coroutine[Any, Any, None]) -> bool:
    """Whether `work` came to a good end in time; it is cancelled otherwise, and its errors are dropped.

    It runs in a task of its own: aiokafka, closing without its brokers, waits for tasks it has cancelled,
    and a CancelledError of theirs must not look like ours.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    return task.done() and not task.cancelled() and task.exception() is None
