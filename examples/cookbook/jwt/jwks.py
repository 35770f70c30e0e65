"""The issuer's public keys: a JSON Web Key Set, fetched from a cluster, kept, and fetched again when keys change."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pywasmfilter import CallError, HostcallError, PluginContext, Task, foreign_functions, log


class NoKeys(Exception):
    """The issuer's keys cannot be had, so nothing can be said of any token."""


@dataclass(frozen=True)
class Source:
    """Where the keys are, and how long they are kept. Durations are seconds, or text such as "5m"."""

    cluster: str
    """The proxy's cluster for the issuer, with TLS if it is not on this machine."""
    authority: str
    """The issuer's host name."""
    path: str = "/.well-known/jwks.json"
    timeout: timedelta = timedelta(seconds=2)
    refresh: timedelta = timedelta(minutes=5)
    """Keys of this age are fetched again."""
    keep: timedelta = timedelta(hours=1)
    """Keys are used up to this age if the issuer does not answer."""
    pause: timedelta = timedelta(seconds=5)
    """Keys are not fetched more often, whatever tokens clients send."""


@dataclass(frozen=True)
class Key:
    """A public key. It is for one algorithm only, so no token can choose what its key is used for."""

    kid: str | None
    algorithm: str
    der: bytes

    def verifies(self, text: bytes, signature: bytes) -> bool:
        """Whether a signature is that of `text`; the proxy computes it."""
        if self.algorithm == "ES256":
            if len(signature) != 64:
                return False
            signature = der(0x30, der_integer(signature[:32]), der_integer(signature[32:]))
        return foreign_functions.verify_signature("sha256", self.der, signature, text)


class KeySet:
    """The keys of one issuer, as this worker has them."""

    def __init__(self, plugin: PluginContext, source: Source) -> None:
        self._plugin = plugin
        self._source = source
        self._keys: list[Key] = []
        self._fetched = self._tried = -1e9  # on the monotonic clock, in seconds
        self._fetching: Task[None] | None = None

    async def find(self, algorithm: str, kid: str | None) -> Key | None:
        """The key for a token, None if the issuer has none. Raises NoKeys."""
        if self._age() > self._source.refresh.total_seconds() or self._match(algorithm, kid) is None:
            await self._fetch()
        if self._age() > self._source.keep.total_seconds():
            raise NoKeys
        return self._match(algorithm, kid)

    def _age(self) -> float:
        return time.monotonic() - self._fetched

    def _match(self, algorithm: str, kid: str | None) -> Key | None:
        """A token may leave out which key it is, where there is no choice."""
        keys = [key for key in self._keys if key.algorithm == algorithm and kid in (None, key.kid)]
        return keys[0] if len(keys) == 1 else None

    async def _fetch(self) -> None:
        """Fetch the keys, unless that has just been done. Requests that need them at the same time wait for one call.

        The task is the plugin's: it goes on if the client whose request began it goes away.
        """
        if self._fetching is None or self._fetching.done:
            if time.monotonic() - self._tried < self._source.pause.total_seconds():
                return
            self._tried = time.monotonic()
            self._fetching = self._plugin.create_task(self._call())
        await self._fetching

    async def _call(self) -> None:
        where, timeout = self._source, self._source.timeout.total_seconds()
        try:
            reply = await self._plugin.http_call(
                where.cluster, path=where.path, authority=where.authority, timeout=timeout
            )
            keys = read_keys(reply.json()) if reply.status == 200 else []
        except (HostcallError, CallError, ValueError, RecursionError) as error:
            log.error(f"the keys of {where.authority} cannot be had: {error}")
            return
        if keys:
            self._keys, self._fetched = keys, time.monotonic()
        else:
            log.error(f"the keys of {where.authority} cannot be had: status {reply.status}, no keys for this filter")


def read_keys(document: Any) -> list[Key]:
    """The keys of a set that this filter can use. Raises ValueError for what is no set."""
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        raise ValueError("not a JSON Web Key Set")  # noqa: TRY004  # as for all that is wrong with it
    return [key for jwk in document["keys"] if (key := read_key(jwk)) is not None]


def read_key(jwk: Any) -> Key | None:
    """A key, or None for one that this filter cannot use; one that is malformed does not spoil the others."""
    try:
        return signature_key(jwk)
    except (ValueError, OverflowError):  # no base64url, or too large
        return None


def signature_key(jwk: Any) -> Key | None:
    """A key for signatures: RSA of 2048 bits or more, or on the curve P-256. Others, and secrets, are passed over.

    Raises ValueError, OverflowError for one that is malformed.
    """
    match jwk:
        case {"kty": "RSA", "n": str(n), "e": str(e)}:
            modulus, exponent, algorithm = decode(n), decode(e), "RS256"
            spki = RSA, der(0x30, der_integer(modulus), der_integer(exponent))
            usable = int.from_bytes(modulus, "big").bit_length() >= 2048
        case {"kty": "EC", "crv": "P-256", "x": str(x), "y": str(y)}:
            point, algorithm = decode(x) + decode(y), "ES256"
            spki = P_256, b"\4" + point
            usable = len(point) == 64
        case _:
            return None
    if not usable or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        return None
    kid = jwk.get("kid")
    return Key(kid if isinstance(kid, str) else None, algorithm, der(0x30, spki[0], der(0x03, b"\0", spki[1])))


RSA: Final = bytes.fromhex("300d06092a864886f70d0101010500")
P_256: Final = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
"""What a SubjectPublicKeyInfo (RFC 5280) says of its algorithm."""


def der(tag: int, *parts: bytes) -> bytes:
    """A value in DER, with at most 65,535 bytes."""
    body = b"".join(parts)
    size = len(body)
    length = (
        bytes([size]) if size < 0x80 else bytes([0x81, size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    )
    return bytes([tag]) + length + body


def der_integer(data: bytes) -> bytes:
    """An INTEGER: as short as possible, and with a bit for the sign."""
    number = int.from_bytes(data, "big")
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def decode(text: str) -> bytes:
    """Base64url without padding. Raises ValueError for everything else, such as two ways to write the same bytes."""
    data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise ValueError("not base64url")
    return data


def strict_json(data: bytes) -> Any:
    """JSON that everybody reads alike: UTF-8, no key twice, no NaN. Raises ValueError for other JSON."""
    try:
        return json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
