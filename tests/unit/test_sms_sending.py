"""What is decided about a text message before and after it is handed to a provider."""

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from chassis.documents import SmsNumberView
from chassis.sms_text import zones_of
from chassis.standard_webhooks import sign
from sender.sms import next_awake
from sender.sms_provider import PROVIDERS, Said, Text, callback_url

TWILIO, WEBHOOK = PROVIDERS["twilio"], PROVIDERS["webhook"]


def text(url: str | None, receipts_url: str | None) -> Text:
    number = SmsNumberView(
        uuid4(), uuid4(), "+4930999", uuid4(), "twilio", "AC1", url, receipts_url, "secret"
    )
    return Text("d:s", "+4915112345678", "Hi", number)


def test_a_webhook_is_signed_as_standard_webhooks_says() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries
    signed = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("receipts", "provider", "told"),
    [
        ("https://segue.example/r", "https://api.twilio.com", True),
        ("http://127.0.0.1:8080/r", "https://api.twilio.com", False),
        ("http://127.0.0.1:8080/r", "http://localhost:9000", True),
        (None, "https://api.twilio.com", False),
    ],
)
def test_a_provider_is_told_only_a_callback_that_it_can_reach(
    receipts: str | None, provider: str, told: bool
) -> None:
    assert callback_url(text(provider, receipts), provider) == (f"{receipts}?dispatch=d:s" if told else None)


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"null", b"[]", b'"x"', b"[" * 100_000, b'{"sid": 1}', b"1e999"]
)
def test_an_answer_that_can_not_be_read_is_no_acceptance_of_twilios(body: bytes) -> None:
    assert TWILIO.judge(201, {}, body).said is Said.UNKNOWN
    assert TWILIO.judge(400, {}, body).said is Said.REFUSED
    assert TWILIO.judge(500, {}, body).said is Said.UNKNOWN
    assert WEBHOOK.judge(204, {}, body).said is Said.ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (409, None, Said.BUSY),
        (429, None, Said.BUSY),
        (400, "opted_out", Said.OPTED_OUT),
        (422, "invalid_number", Said.NO_SUCH_PHONE),
        (401, None, Said.MISCONFIGURED),
        (400, None, Said.REFUSED),
        (502, "opted_out", Said.UNKNOWN),
    ],
)
def test_what_a_webhook_answers(status: int, code: str | None, said: Said) -> None:
    assert WEBHOOK.judge(status, {}, json.dumps({"code": code}).encode()).said is said


@pytest.mark.parametrize(("given", "seconds"), [("30", 30), ("999999", 3600), ("-1", None), ("soon", None)])
def test_retry_after_is_believed_up_to_an_hour(given: str, seconds: float | None) -> None:
    assert TWILIO.judge(429, {"Retry-After": given}, b"").retry_after == seconds


@pytest.mark.parametrize(
    ("country", "zones", "now", "awake"),
    [
        ("DE", ("Europe/Berlin",), (12, 0), (12, 0)),
        ("DE", ("Europe/Berlin",), (6, 0), (8, 0)),
        ("DE", ("Europe/Berlin",), (19, 0), (8, 0)),
        # Both coasts: 8 in Los Angeles is 16:00, 21 in New York 2:00 of the next day.
        ("US", ("America/New_York", "America/Los_Angeles"), (14, 0), (16, 0)),
        ("US", ("America/New_York", "America/Los_Angeles"), (1, 0), (1, 0)),
        ("US", ("America/New_York", "America/Los_Angeles"), (2, 0), (16, 0)),
        # No hour suits both: the first one counts.
        ("XX", ("Europe/Berlin", "Pacific/Auckland"), (12, 0), (12, 0)),
    ],
)
def test_a_text_waits_until_all_zones_of_a_number_are_awake(
    country: str, zones: tuple[str, ...], now: tuple[int, int], awake: tuple[int, int]
) -> None:
    at = datetime(2026, 1, 14, *now, tzinfo=UTC)
    until = next_awake(country, zones, at)
    assert until >= at
    assert (until.astimezone(UTC).hour, until.astimezone(UTC).minute) == awake


def test_a_number_says_in_which_zones_it_may_be() -> None:
    assert zones_of("+4915112345678") == ("Europe/Berlin",)
    assert len(zones_of("+18005550199")) > 1
