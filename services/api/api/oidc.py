"""What an OpenID provider vouches for: people who sign in (authorization code with PKCE; OpenID Connect Core
3.1, RFC 7636), and access tokens that programs send in their name (RFC 9068).

What a sign-in needs on its way back (state, nonce, code verifier, where to go on) travels in a sealed cookie
of ten minutes, so that no server remembers it.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp import web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from chassis.clock import Clock
from chassis.secrets import Secrets

LOGIN_COOKIE: Final = "__Host-segue-login"
LOGIN_SECONDS: Final = 600
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
KEPT: Final = timedelta(hours=1)
NEW_KEYS_AFTER: Final = timedelta(minutes=1)
"""Between two looks for new keys that tokens of nobody may cause."""
SECONDS: Final = 10.0
LEEWAY_SECONDS: Final = 60
NO_PROVIDER: Final = "Your organisation's sign-in can't be reached at the moment. Try again in a minute."
NOT_FINISHED: Final = "That sign-in was not finished in time, or began in another browser. Begin again."
NOT_TRUSTED: Final = "What your organisation's sign-in said can't be trusted, so nobody was signed in."


class SignInFailed(Exception):
    """Nobody is signed in; the text says why, to whoever tried."""


class ProviderAway(SignInFailed):
    """It can't be asked at the moment."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in on its way."""

    state: str
    nonce: str
    verifier: str
    then: str
    began: float


@dataclass(frozen=True, slots=True)
class Subject:
    """Who somebody is, by the word of the provider."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Identity(Subject):
    """Who signs in; the e-mail address in lower case, and verified."""

    email: str


class Provider:
    """The organisation's provider; its configuration and keys are kept for an hour."""

    def __init__(
        self, issuer: str, client_id: str, client_secret: str, back: str, secrets: Secrets, clock: Clock
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._back = back
        self._secrets = secrets
        self._clock = clock
        self._known: Mapping[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at: datetime | None = None

    async def begin(self, then: str) -> tuple[str, str]:
        """Where to send the browser, and the sealed cookie to send with it."""
        await self._read()
        now = self._clock.real_now().timestamp()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._back,
            "scope": "openid email profile",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        begun = Begun(state, nonce, verifier, then, now)
        where = self._known["authorization_endpoint"]
        joint = "&" if "?" in where else "?"
        sealed = self._secrets.encrypt(orjson.dumps(asdict(begun)).decode())
        return f"{where}{joint}{urlencode(asked)}", sealed

    async def finish(self, query: Mapping[str, str], cookie: str) -> tuple[Identity, str]:
        """Who came back, and where they wanted to go; raises SignInFailed."""
        begun = self._begun(cookie)
        if not hmac.compare_digest(begun.state.encode(), query.get("state", "").encode("utf-8", "replace")):
            raise SignInFailed(NOT_FINISHED)
        if "code" not in query:
            said = query.get("error_description") or query.get("error") or "no code"
            raise SignInFailed(f"Your organisation's sign-in said no: {said[:200]}")
        await self._read()
        if query.get("iss", self._known["issuer"]) != self._known["issuer"]:  # RFC 9207
            raise SignInFailed(NOT_TRUSTED)
        token = await self._exchange(query["code"], begun.verifier)
        return self._identity(await self._claims(token), begun.nonce), begun.then

    async def bearer(self, token: str, audience: str) -> Subject:
        """Whose access token for `audience` it is; raises SignInFailed."""
        await self._read()
        claims = await self._claims(token, NEW_KEYS_AFTER)
        self._check(claims, aud={"essential": True, "value": audience})
        return Subject(self._known["issuer"], str(claims["sub"]))

    def _begun(self, cookie: str) -> Begun:
        try:
            begun = Begun(**orjson.loads(self._secrets.decrypt(cookie)))
        except (ValueError, TypeError):
            raise SignInFailed(NOT_FINISHED) from None
        if self._clock.real_now().timestamp() - begun.began > LOGIN_SECONDS:
            raise SignInFailed(NOT_FINISHED)
        return begun

    async def _exchange(self, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "code_verifier": verifier,
        }
        # RFC 6749 2.3.1: both are form-encoded first.
        proof = aiohttp.encode_basic_auth(
            quote(self._client_id, safe=""), quote(self._client_secret, safe="")
        )
        headers = {"Authorization": proof}
        answer = await self._fetch("POST", self._known["token_endpoint"], data=form, headers=headers)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInFailed(NOT_TRUSTED)
        return token

    async def _claims(self, token: str, new_keys_after: timedelta = timedelta(0)) -> Mapping[str, Any]:
        """The claims of a token with a good signature; a key that is not known yet is looked up once."""
        for fresh in (False, True):
            if fresh:
                await self._read(kept=new_keys_after)
            assert self._keys is not None
            try:
                return jwt.decode(token, self._keys, algorithms=list(ALGORITHMS)).claims
            except (JoseError, ValueError):
                continue
        raise SignInFailed(NOT_TRUSTED)

    def _identity(self, claims: Mapping[str, Any], nonce: str) -> Identity:
        """OpenID Connect Core 3.1.3.7."""
        self._check(
            claims,
            aud={"essential": True, "value": self._client_id},
            nonce={"essential": True, "value": nonce},
        )
        others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if others and claims.get("azp") != self._client_id:
            raise SignInFailed(NOT_TRUSTED)
        # Providers of one organisation often leave the second out: the issuer is the operator's own choice.
        email, verified = claims.get("email"), claims.get("email_verified", True)
        if not isinstance(email, str) or verified is not True:
            raise SignInFailed("Your organisation's sign-in gave no e-mail address that it has verified.")
        return Identity(self._known["issuer"], str(claims["sub"]), email.lower())

    def _check(self, claims: Mapping[str, Any], **more: Any) -> None:
        """Who issued it, for whom, and until when; raises SignInFailed."""
        registry = JWTClaimsRegistry(
            now=lambda: int(self._clock.real_now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._known["issuer"]},
            sub={"essential": True},
            exp={"essential": True},
            **more,
        )
        try:
            registry.validate(dict(claims))
        except JoseError:
            raise SignInFailed(NOT_TRUSTED) from None

    async def _read(self, *, kept: timedelta = KEPT) -> None:
        now = self._clock.real_now()
        if self._read_at is not None and now - self._read_at < kept:
            return
        known = await self._fetch("GET", f"{self._issuer}/.well-known/openid-configuration")
        # OpenID Connect Discovery 4.3: otherwise one provider could speak for another.
        if str(known.get("issuer", "")).rstrip("/") != self._issuer:
            raise SignInFailed(NOT_TRUSTED)
        keys = await self._fetch("GET", known["jwks_uri"])
        self._known, self._keys, self._read_at = known, KeySet.import_key_set(keys), now  # type: ignore[arg-type]

    async def _fetch(self, method: str, url: str, **more: Any) -> Mapping[str, Any]:
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, allow_redirects=False, **more) as response,
            ):
                if response.status >= 500:
                    raise ProviderAway(NO_PROVIDER)
                if response.status != 200:
                    raise SignInFailed(NOT_TRUSTED)
                answer: Any = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            raise ProviderAway(NO_PROVIDER) from None
        if not isinstance(answer, dict):
            raise SignInFailed(NOT_TRUSTED)
        return answer


ProviderKey: Final = web.AppKey("provider", Provider)
