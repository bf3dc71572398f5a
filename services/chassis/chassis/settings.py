"""Settings that several services share, as mixins; each service adds its own fields and reads them once."""

import os
import socket
import sys
from datetime import datetime
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import AwareDatetime, Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from chassis.clock import Clock

PREFIX = "SEGUE_"
CLOSING_SECONDS = 10.0
"""Of the time to stop, what is kept for closing the clients: a publisher without brokers takes nine."""

S = TypeVar("S", bound=BaseSettings)


class _Base(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    secrets_dir: Path | None = Field(
        default=None, description="a folder with files named as variables; a variable that is set wins"
    )


class KafkaSettings(_Base):
    """How to reach Kafka."""

    kafka_bootstrap_servers: str = Field(min_length=1, description="host:port, several with commas")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_cafile: Path | None = None
    kafka_ssl_certfile: Path | None = None
    kafka_ssl_keyfile: Path | None = None
    kafka_topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=100,
        description="set before every topic and group by environments that share a cluster",
    )
    kafka_replication_factor: int = Field(default=-1, ge=-1, description="-1 is the broker's default")
    kafka_session_seconds: float = Field(
        default=10.0, ge=3.0, description="a member of a group that is silent for so long is replaced"
    )
    kafka_delivery_seconds: float = Field(
        default=30.0, gt=0, description="a record not acknowledged by then counts as maybe written"
    )

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and (
            self.kafka_sasl_username is None or self.kafka_sasl_password is None
        ):
            raise ValueError(
                f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD belong to a SASL protocol"
            )
        return self


class MongoSettings(_Base):
    """How to reach MongoDB."""

    mongodb_uri: SecretStr = Field(description="mongodb://host:port/?replicaSet=name")
    mongodb_database: str = Field(default="segue", pattern=r"^[A-Za-z0-9_-]{1,60}$")
    mongodb_tls_cafile: Path | None = None
    mongodb_timeout_seconds: float = Field(
        default=20.0, gt=0, description="one operation, the driver's own retries included"
    )


class ClockSettings(_Base):
    """The business clock; a demo speeds it up."""

    clock_speed: float = Field(default=1.0, gt=0)
    clock_origin: AwareDatetime | None = None

    @model_validator(mode="after")
    def _scaled_clocks_share_an_origin(self) -> Self:
        if self.clock_speed != 1.0 and self.clock_origin is None:
            raise ValueError(
                f"{PREFIX}CLOCK_ORIGIN (an instant with its zone) belongs to {PREFIX}CLOCK_SPEED other than 1"
            )
        return self

    def clock(self) -> Clock:
        """The clock that these settings describe."""
        origin: datetime | None = self.clock_origin
        return Clock(self.clock_speed, origin)


class HttpSettings(_Base):
    """Where the service listens: health and metrics, and the api's own pages."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535, description="0 lets the system choose; the log tells")


class TracingSettings(_Base):
    """Where spans are told, if anywhere."""

    otlp_endpoint: HttpUrl | None = Field(
        default=None, description="of a collector that takes OTLP over HTTP, without /v1/traces"
    )
    traced_share: float = Field(
        default=1.0, ge=0, le=1, description="of the requests and messages that come in without a trace"
    )


class ServiceSettings(KafkaSettings, MongoSettings, ClockSettings, HttpSettings, TracingSettings):
    """What every service needs."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    instance_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}", min_length=1)
    shutdown_seconds: float = Field(
        default=25.0, gt=0, description="from the signal to the exit; below the supervisor's grace period"
    )

    @property
    def draining_seconds(self) -> float:
        """Of `shutdown_seconds`, what the service's parts have together, before its clients are closed."""
        return max(self.shutdown_seconds - CLOSING_SECONDS, self.shutdown_seconds / 2)


def problems(error: ValidationError) -> list[str]:
    """One sentence per wrong setting, naming the variable and never its value."""
    return [
        _sentence(".".join(map(str, problem["loc"])), problem["type"], problem["msg"])
        for problem in error.errors(include_input=False, include_url=False)
    ]


def load(settings_class: type[S]) -> S:
    """The settings from the environment and the files of `SEGUE_SECRETS_DIR`; prints what is wrong and raises
    SystemExit(2) otherwise.
    """
    folder = os.environ.get(f"{PREFIX}SECRETS_DIR") or None
    wrong = _wrong_files(Path(folder)) if folder else []
    if not wrong:
        try:
            return settings_class(_secrets_dir=folder)
        except ValidationError as error:
            wrong = problems(error)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    raise SystemExit(2)


def _wrong_files(folder: Path) -> list[str]:
    """An empty variable counts as not set; an empty file is a secret that never arrived."""
    if not folder.is_dir():
        return [f"{PREFIX}SECRETS_DIR is wrong: there is no folder {folder}."]
    files = sorted(file for file in folder.glob(f"{PREFIX}*") if file.is_file())
    return [f"{file} {wrong}." for file in files if (wrong := _wrong_file(file))]


def _wrong_file(file: Path) -> str | None:
    try:
        return None if file.read_text().strip() else "is empty"
    except (OSError, UnicodeDecodeError) as error:
        return f"can't be read: {error}"


def _sentence(field: str, kind: str, message: str) -> str:
    variable = f"{PREFIX}{field.upper()}"
    if kind == "missing":
        return f"{variable} is not set and has no default: set it, or put it into a file of that name."
    if not field:
        return f"{message.removeprefix('Value error, ')}."
    return f"{variable} is wrong: {message}."
