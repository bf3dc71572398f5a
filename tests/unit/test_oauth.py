"""What a token endpoint's answer means, and what a mail server is told."""

import json

import pytest

from chassis.oauth import (
    AGAIN_SECONDS,
    DEFAULT_LIFE_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    MISCONFIGURED_SECONDS,
    Denied,
    Granted,
    judge,
    oauthbearer,
    xoauth2,
)


def said(status: int, **told: object) -> Granted | Denied:
    return judge(status, {}, json.dumps(told).encode())


def test_a_grant_is_read_as_rfc_6749_has_it() -> None:
    granted = said(200, access_token="at", token_type="bearer", expires_in=3599, refresh_token="rt")
    assert granted == Granted("at", 3599.0, "rt")


@pytest.mark.parametrize("expires_in", [None, "soon", -1, 0, 1e12, [1], float("nan")])
def test_a_life_that_is_not_told_is_an_hour(expires_in: object) -> None:
    assert said(200, access_token="at", token_type="Bearer", expires_in=expires_in) == Granted(
        "at", DEFAULT_LIFE_SECONDS
    )


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"access_token": "at"},
        {"access_token": "at", "token_type": "mac"},
        {"access_token": ["at"], "token_type": "Bearer"},
        {"access_token": "a\1t", "token_type": "Bearer"},
        {"access_token": "", "token_type": "Bearer"},
    ],
)
def test_a_grant_that_can_not_be_used_is_none(told: dict[str, object]) -> None:
    assert said(200, **told) == Denied("unusable_answer")


@pytest.mark.parametrize("status", [400, 401, 403])
def test_only_invalid_grant_means_that_access_was_taken_back(status: int) -> None:
    assert said(status, error="invalid_grant") == Denied("invalid_grant", lost=True)


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope"])
def test_an_error_of_ours_is_asked_for_again_after_a_while(error: str) -> None:
    assert said(400, error=error) == Denied(error, MISCONFIGURED_SECONDS)


@pytest.mark.parametrize(
    ("status", "retry_after", "seconds"),
    [
        (429, "120", 120.0),
        (503, "7", 7.0),
        (503, "999999", MAX_RETRY_AFTER_SECONDS),
        (503, "0", 1.0),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", AGAIN_SECONDS),
        (500, "", AGAIN_SECONDS),
        (302, "", AGAIN_SECONDS),
    ],
)
def test_what_is_temporary_says_when_to_come_again(status: int, retry_after: str, seconds: float) -> None:
    headers = {"Retry-After": retry_after} if retry_after else {}
    assert judge(status, headers, b"busy") == Denied(f"http_{status}", seconds)


def test_a_server_that_fails_takes_nothing_back() -> None:
    assert said(500, error="invalid_grant") == Denied("invalid_grant")
    assert said(400, error="temporarily_unavailable") == Denied("temporarily_unavailable")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 100_000])
def test_no_answer_is_taken_for_json_that_is_not(body: bytes) -> None:
    assert judge(200, {}, body) == Denied("unusable_answer")
    assert judge(400, {}, body) == Denied("http_400")


def test_what_a_mail_server_is_told() -> None:
    assert xoauth2("ana@x.example", "t") == "user=ana@x.example\1auth=Bearer t\1\1"
    told = oauthbearer("a=b,c@x.example", "mail.example", 587, "t")
    assert told == "n,a=a=3Db=2Cc@x.example,\1host=mail.example\1port=587\1auth=Bearer t\1\1"
