"""A prospect: the person we write to, as an internal service or a recruiter tells us about them."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from segue_contracts.free_mail import is_free_mail
from segue_contracts.problems import DocumentError, Problem, did_you_mean, problems_of
from segue_contracts.text import Email, Line, TokenName, Tokens, check_line

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MIN_PHONE_DIGITS = 3


class ProspectError(DocumentError):
    """A prospect that can't be accepted; `problems` says why, each with a path such as `dates.start_date`."""


def check_external_id(value: str) -> str:
    """The producer's own opaque id; one with `@` is an address in disguise and raises `ValueError`."""
    check_line(value)
    if "@" in value:
        raise ValueError(
            "must be an opaque id, not an e-mail address: it appears in events that hold no addresses"
        )
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    return value


def check_date(value: str) -> str:
    """A calendar date written `2027-01-04`, else `ValueError`."""
    if not _DATE.fullmatch(value):
        raise ValueError("must be a date written like 2027-01-04")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value} is not a day of the calendar") from None
    return value


def check_phone(value: str) -> str:
    """A phone number as people write it (`+49 30 123456`, `0800 FLOWERS 1`), else `ValueError`."""
    check_line(value)
    if sum(char.isdigit() for char in value) < MIN_PHONE_DIGITS:
        raise ValueError("must be a phone number such as +49 30 123456")
    return value


DateText = Annotated[
    str,
    AfterValidator(check_date),
    WithJsonSchema({"type": "string", "format": "date", "description": "A calendar date: 2027-01-04"}),
]


ExternalId = Annotated[
    str,
    Field(min_length=1, max_length=200, description="Your own opaque id of the person, without @"),
    AfterValidator(check_external_id),
]


class Prospect(BaseModel):
    """One person. Only `external_id` is required; what is given is kept as written.

    A zone or country that nobody knows is no error: planning says so and goes on with the next best.
    Messages may carry fields of a later minor version, so unknown ones are ignored here; `parse_prospect`
    refuses them.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    external_id: ExternalId
    email: Email | None = None
    phone: Annotated[str, Field(max_length=50), AfterValidator(check_phone)] | None = None
    first_name: Line | None = None
    last_name: Line | None = None
    company: Line | None = None
    company_key: Line | None = Field(
        default=None, description="What makes two people colleagues; default: the address's domain"
    )
    title: Line | None = None
    school: Line | None = None
    location: Line | None = None
    zone: Line | None = Field(default=None, description="IANA time zone: Europe/Berlin")
    country: Line | None = Field(default=None, description="ISO 3166: DE, or with a subdivision DE-BY")
    tokens: Tokens = {}
    dates: Annotated[dict[TokenName, DateText], Field(max_length=50)] = {}

    @property
    def effective_company_key(self) -> str | None:
        """`company_key`, else the address's domain in lower case unless it is a free-mail one, else None."""
        if self.company_key or not self.email:
            return self.company_key
        domain = self.email.rpartition("@")[2].lower()
        return None if is_free_mail(domain) else domain


def parse_prospect(data: Mapping[str, Any]) -> Prospect:
    """Plain data to a prospect; raises `ProspectError` with every problem, unknown keys included."""
    if not isinstance(data, Mapping):
        raise ProspectError([Problem("", "must be a mapping of names to values")])
    names = list(Prospect.model_fields)
    unknown = [
        Problem(str(key), f"unknown key: {did_you_mean(key, names)}") for key in data if key not in names
    ]
    try:
        prospect = Prospect.model_validate(dict(data))
    except ValidationError as error:
        raise ProspectError([*unknown, *problems_of(error, Prospect)]) from None
    if unknown:
        raise ProspectError(unknown)
    return prospect
