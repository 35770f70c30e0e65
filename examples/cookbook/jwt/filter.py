"""Lets requests pass that carry a valid JSON Web Token, and tells the upstream who sends them.

The token is that of the header `authorization: Bearer …`. Its signature is RS256 or ES256, by a key that its issuer
publishes (a JWKS), or HS256, by a secret; issuer, audience and times must be right. Everything else gets a 401, and a
503 while the keys cannot be had. There are no encrypted tokens, no opaque ones, no cookies, and no list of revoked
tokens: a token counts until it expires. Paths without tokens are the proxy's matter: switch the filter off there.
"""

# Modules beside a filter are not modules of the repository.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import hmac
import json
import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from jwks import KeySet, NoKeys, Source, decode, strict_json

from pywasmfilter import Action, HeaderMap, HttpContext, PluginContext, log, plugin

if TYPE_CHECKING:
    from collections.abc import Collection

LONGEST_TOKEN = 8192
LATEST_TIME = 1 << 40  # seconds since 1970, which is far enough


@dataclass(frozen=True)
class Config:
    """The plugin's configuration."""

    issuer: str
    """What the claim `iss` must be."""
    audiences: list[str]
    """One of these must be in the claim `aud`."""
    algorithms: list[Literal["RS256", "ES256", "HS256"]] = field(default_factory=lambda: ["RS256"])
    """The algorithms that are accepted."""
    jwks: Source | None = None
    """Where the issuer's keys are, for RS256 and ES256."""
    secret: str = ""
    """The secret for HS256, 32 bytes or more in base64url. It is for HS256 only, and HS256 takes no other key."""
    leeway: timedelta = timedelta(seconds=30)
    """How much clocks may differ."""
    claim_headers: dict[str, str] = field(default_factory=lambda: {"x-jwt-sub": "sub"})
    """Header of the request to the upstream → claim. What clients send in these headers is removed."""
    forward: bool = False
    """Whether the upstream gets the token, too."""

    def __post_init__(self) -> None:
        if not self.issuer or not self.audiences or not self.algorithms:
            raise ValueError("issuer, audiences and algorithms cannot be empty")
        if ("HS256" in self.algorithms) != bool(self.secret) or (self.secret and len(decode(self.secret)) < 32):
            raise ValueError("HS256 and a secret of 32 bytes or more, in base64url, go together")
        if (set(self.algorithms) != {"HS256"}) != bool(self.jwks):
            raise ValueError("RS256 or ES256 and jwks go together")
        if wrong := [name for name in self.claim_headers if not re.fullmatch("[a-z0-9-]+", name)]:
            raise ValueError(f"not the name of a header, in lower case: {wrong[0]}")


class Invalid(Exception):
    """The token does not count. The text is for the client, and has nothing in it that the client sent."""


@plugin("jwt", config=Config)
class Jwt(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        self.keys = KeySet(self, self.config.jwks) if self.config.jwks else None
        self.secret = decode(self.config.secret)

    def new_http_context(self, context_id: int) -> HttpContext:
        return Verify(context_id)


class Verify(HttpContext):
    plugin: Jwt
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.request.headers
        remove_all(headers, self.config.claim_headers)
        values = headers.get_all("authorization")
        if not values:
            return self.refuse("")
        try:
            claims = await self.verified(values)
            found = [
                (name, header_value(claims[claim]))
                for name, claim in self.config.claim_headers.items()
                if claim in claims
            ]
        except Invalid as error:
            log.info(f"refused a token: {error}")
            return self.refuse(f', error="invalid_token", error_description="{error}"')
        except NoKeys:
            return self.send_http_response(503, [("retry-after", "5")], "The keys of the issuer are not there.\n")
        for name, value in found:
            headers[name] = value
        if not self.config.forward:
            headers.remove("authorization")
        return None

    def refuse(self, why: str) -> Action:
        challenge = f'Bearer realm="api"{why}'
        return self.send_http_response(401, [("www-authenticate", challenge)], "Unauthorized\n")

    async def verified(self, values: list[str]) -> dict[str, Any]:
        """The claims of the request's token. Raises Invalid, NoKeys."""
        scheme, _, token = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer":
            raise Invalid("one bearer token is needed")
        try:
            text, header, claims, signature = parts_of(token.strip())
        except ValueError:
            raise Invalid("the token is malformed") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self.config.algorithms or "crit" in header:
            raise Invalid("the algorithm is not accepted")
        if not await self.is_signed(algorithm, kid, text, signature):
            raise Invalid("the signature is wrong")
        self.check(claims)
        return claims

    async def is_signed(self, algorithm: str, kid: Any, text: bytes, signature: bytes) -> bool:
        if algorithm == "HS256":
            return hmac.compare_digest(hmac.digest(self.plugin.secret, text, "sha256"), signature)
        if self.plugin.keys is None or not isinstance(kid, str | None):
            return False
        key = await self.plugin.keys.find(algorithm, kid)
        return key is not None and key.verifies(text, signature)

    def check(self, claims: dict[str, Any]) -> None:
        """Whether the token is for us, and for now. Raises Invalid."""
        now, leeway = time.time(), self.config.leeway.total_seconds()
        times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
        if not all(type(value) in (int, float) and 0 <= value <= LATEST_TIME for value in times.values()):
            raise Invalid("a time is malformed")
        if times.get("exp", 0) <= now - leeway:
            raise Invalid("the token has expired")
        if max(times.get("nbf", 0), times.get("iat", 0)) > now + leeway:
            raise Invalid("the token is not valid yet")
        if claims.get("iss") != self.config.issuer:
            raise Invalid("the issuer is another")
        audiences = claims.get("aud")
        if not any(
            name in self.config.audiences for name in (audiences if isinstance(audiences, list) else [audiences])
        ):
            raise Invalid("the audience is another")


def parts_of(token: str) -> tuple[bytes, dict[str, Any], dict[str, Any], bytes]:
    """What is signed, the header, the claims and the signature. Raises ValueError for what is no token."""
    if len(token) > LONGEST_TOKEN:
        raise ValueError("too long")
    header, claims, signature = token.split(".")
    values = [strict_json(decode(part)) for part in (header, claims)]
    if not all(isinstance(value, dict) for value in values):
        raise ValueError("not objects")
    return f"{header}.{claims}".encode(), values[0], values[1], decode(signature)


def header_value(claim: Any) -> str:
    """A claim as a header: text as it is, everything else as JSON. Raises Invalid for what no header can have."""
    value = claim if isinstance(claim, str) else json.dumps(claim, separators=(",", ":"))
    if not value.isprintable():
        raise Invalid("a claim is malformed")
    return value


def remove_all(headers: HeaderMap, names: Collection[str]) -> None:
    """Remove headers, also in spellings such as `x_user`, which servers in the manner of CGI take for `x-user`."""
    for name in list(headers):
        if name.lower().replace("_", "-") in names:
            headers.remove(name)
