"""Settings come from the environment; what is wrong is said in sentences that name the variable."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from chassis.settings import ClockSettings, KafkaSettings, MongoSettings, ServiceSettings, load


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("SEGUE_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")
    monkeypatch.setenv("SEGUE_MONGODB_URI", "mongodb://user:hush@mongo/?replicaSet=rs0")
    return monkeypatch


def test_two_addresses_are_all_a_service_needs() -> None:
    settings = load(ServiceSettings)
    assert settings.kafka_bootstrap_servers == "kafka:9092"
    assert settings.mongodb_database == "segue"
    assert settings.http_host == "127.0.0.1"
    assert settings.clock().speed == 1


@pytest.mark.parametrize(("shutdown", "draining"), [(95, 85), (25, 15), (10, 5), (1, 0.5)])
def test_the_time_to_stop_is_kept_in_part_for_closing_the_clients(shutdown: float, draining: float) -> None:
    assert ServiceSettings(shutdown_seconds=shutdown).draining_seconds == draining


def test_a_missing_setting_ends_the_process_with_a_sentence(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("SEGUE_MONGODB_URI")
    environment.setenv("SEGUE_HTTP_PORT", "http")
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert any(line.startswith("SEGUE_MONGODB_URI is not set and has no default") for line in told)
    assert any(line.startswith("SEGUE_HTTP_PORT is wrong: ") for line in told)


def test_an_empty_variable_counts_as_missing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("SEGUE_MONGODB_URI", "")
    with pytest.raises(SystemExit):
        load(MongoSettings)
    assert "SEGUE_MONGODB_URI is not set" in capsys.readouterr().err


def test_a_secret_may_be_a_file_named_as_its_variable_and_the_variable_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "SEGUE_MONGODB_URI").write_text("mongodb://from-the-file/\n")
    (tmp_path / "ca.crt").write_text("what else is mounted there is nobody's setting")
    environment.setenv("SEGUE_SECRETS_DIR", str(tmp_path))
    assert "user:hush" in load(ServiceSettings).mongodb_uri.get_secret_value()
    environment.delenv("SEGUE_MONGODB_URI")
    assert load(ServiceSettings).mongodb_uri.get_secret_value() == "mongodb://from-the-file/"


@pytest.mark.parametrize(
    ("folder", "told"),
    [
        ("missing", r"SEGUE_SECRETS_DIR is wrong: there is no folder /.*/missing\."),
        ("empty", r"/.*/empty/SEGUE_SECRET_KEYS is empty\."),
        ("binary", r"/.*/binary/SEGUE_SECRET_KEYS can't be read: .*"),
        ("without", r"SEGUE_MONGODB_URI is not set and has no default: .*file of that name\."),
    ],
)
def test_a_secret_that_did_not_arrive_ends_the_process_with_one_line(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    folder: str,
    told: str,
) -> None:
    for name, content in (("empty", b"\n"), ("binary", b"\xff\xfe")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "SEGUE_SECRET_KEYS").write_bytes(content)
    (tmp_path / "without").mkdir()
    environment.delenv("SEGUE_MONGODB_URI")
    environment.setenv("SEGUE_SECRETS_DIR", str(tmp_path / folder))
    with pytest.raises(SystemExit) as ended:
        load(ServiceSettings)
    assert ended.value.code == 2
    assert re.fullmatch(told + "\n", capsys.readouterr().err)


def test_secrets_are_neither_shown_nor_told_in_problems(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "hush" not in repr(load(ServiceSettings))
    environment.setenv("SEGUE_KAFKA_SASL_PASSWORD", "hush")
    environment.setenv("SEGUE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SystemExit):
        load(KafkaSettings)
    told = capsys.readouterr().err
    assert "SEGUE_KAFKA_SASL_USERNAME" in told
    assert "hush" not in told


def test_a_scaled_clock_needs_the_shared_origin(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEGUE_CLOCK_SPEED", "86400")
    with pytest.raises(ValidationError, match="SEGUE_CLOCK_ORIGIN"):
        ClockSettings()
    environment.setenv("SEGUE_CLOCK_ORIGIN", "2026-03-02T13:00:00+01:00")
    assert ClockSettings().clock().origin == datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_an_origin_without_a_zone_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("SEGUE_CLOCK_ORIGIN", "2026-03-02T13:00:00")
    with pytest.raises(ValidationError):
        ClockSettings()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load(ServiceSettings).http_port = 1  # type: ignore[misc]
