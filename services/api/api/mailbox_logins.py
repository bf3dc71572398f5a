"""How a mailbox's servers are logged in to by OAuth 2.0: what a user gave us at the mailbox's provider."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, model_validator

from api.problems import invalid_at
from api.routing import Call, Closed, Shown
from chassis.store import Document
from segue_contracts.problems import found
from segue_contracts.text import Line

MAX_SCOPES: Final = 20
Scope = Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]+$", max_length=300)]
"""A scope-token (RFC 6749 3.3)."""
Endpoint = Annotated[str, StringConstraints(pattern=r"^https?://[^\s#@]+$", max_length=500)]


@dataclass(frozen=True, slots=True)
class Preset:
    """What is known of a provider, so that nobody need look it up."""

    token_endpoint: str
    scopes: tuple[str, ...]
    smtp_host: str
    imap_host: str
    smtp_port: int = 587
    imap_port: int = 993


PRESETS: Final = {
    # https://developers.google.com/workspace/gmail/imap/xoauth2-protocol (scope),
    # https://developers.google.com/workspace/gmail/imap/imap-smtp (hosts and ports),
    # https://accounts.google.com/.well-known/openid-configuration (token_endpoint)
    "google": Preset(
        "https://oauth2.googleapis.com/token",
        ("https://mail.google.com/",),
        "smtp.gmail.com",
        "imap.gmail.com",
    ),
    # https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/
    # how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth (scopes),
    # https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-auth-code-flow (token endpoint; an
    # application of one tenant has the tenant's id in place of `common`)
    "microsoft": Preset(
        "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        (
            "https://outlook.office.com/IMAP.AccessAsUser.All",
            "https://outlook.office.com/SMTP.Send",
            "offline_access",
        ),
        "smtp.office365.com",
        "outlook.office365.com",
    ),
}


class OAuth(Closed):
    """Access that was given at the mailbox's provider, for `auth: oauth2`. With a `provider`, what is left
    out is filled in, `smtp` and `imap` too. `client_secret` and `refresh_token` are kept encrypted and never
    shown; leave them out of a PUT to keep them.
    """

    provider: Literal["google", "microsoft"] | None = None
    token_endpoint: Endpoint | None = Field(default=None, description="https; the provider's, if left out")
    client_id: Line
    client_secret: SecretStr | None = Field(default=None, min_length=1, max_length=1000)
    refresh_token: SecretStr | None = Field(default=None, min_length=1, max_length=8000)
    scopes: list[Scope] | None = Field(default=None, max_length=MAX_SCOPES)

    @model_validator(mode="after")
    def _has_an_endpoint(self) -> Self:
        if self.provider is None and self.token_endpoint is None:
            raise found(("token_endpoint", "is missing: only a known provider's can be left out"))
        return self

    @property
    def preset(self) -> Preset | None:
        """What is known of the provider."""
        return PRESETS[self.provider] if self.provider else None

    @property
    def endpoint(self) -> str:
        """The token endpoint, the provider's if none is given."""
        preset = self.preset
        return self.token_endpoint or (preset.token_endpoint if preset else "")


class OAuthShown(Shown):
    """The access, without its secrets; `granted_at`: since when it is this one."""

    provider: str | None
    token_endpoint: str
    client_id: str
    scopes: list[str]
    granted_at: datetime


def oauth_of(call: Call, oauth: OAuth, before: Document | None, now: datetime) -> Document:
    """What is stored of it; Problem 422 without the secrets, or if the stored ones would go elsewhere."""
    same = before is not None and (before["token_endpoint"], before["client_id"]) == (
        oauth.endpoint,
        oauth.client_id,
    )
    kept = before if before is not None and same else {}
    refresh_token, client_secret = (
        _encrypted(call, oauth.refresh_token),
        _encrypted(call, oauth.client_secret),
    )
    if refresh_token is None and not kept:
        raise invalid_at(
            "/oauth/refresh_token", "is missing: give it for this token endpoint and this client"
        )
    return {
        "provider": oauth.provider,
        "token_endpoint": oauth.endpoint,
        "client_id": oauth.client_id,
        "client_secret": client_secret or kept.get("client_secret"),
        "refresh_token": refresh_token or kept["refresh_token"],
        "scopes": list(
            oauth.scopes if oauth.scopes is not None else oauth.preset.scopes if oauth.preset else ()
        ),
        "granted_at": now if refresh_token else kept["granted_at"],
    }


def check_same_servers(settings: Document, before: Document, oauth: OAuth | None) -> None:
    """Problem 422 if tokens would go to another server or user than access was given for."""
    if oauth is None or oauth.refresh_token is not None or before.get("oauth") is None:
        return
    for name in ("smtp", "imap"):
        server, earlier = settings[name] or {}, before.get(name) or {}
        if server.get("auth") == "oauth2" and any(
            server[part] != earlier.get(part) for part in ("host", "port", "security", "username", "auth")
        ):
            raise invalid_at("/oauth/refresh_token", f"is missing: give it again for another {name} login")


def _encrypted(call: Call, secret: SecretStr | None) -> str | None:
    return call.api.secrets.encrypt(secret.get_secret_value()) if secret is not None else None
