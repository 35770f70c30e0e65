"""The example lets requests with a valid token through, in a real Envoy, which verifies the signatures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from examples.cookbook.jwt.tokens import CLAIMS, ES256, ONE, SECRET, TWO, encode, hs256, rs256, token

if TYPE_CHECKING:
    from examples.conftest import Answer, Fetch, ServeExample

pytestmark = pytest.mark.envoy


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}", "x-jwt-sub": "forged"}


def received(answer: Answer) -> list[tuple[str, str]]:
    """The headers that the upstream got."""
    assert answer.status == 200
    return [(name.lower(), value) for name, value in json.loads(answer.body)["headers"]]


@pytest.mark.parametrize("made", [rs256(), ES256], ids=["RS256", "ES256"])
def test_a_valid_token_passes(envoy: EnvoyProcess, fetch: Fetch, made: str) -> None:
    """The upstream learns who it is, gets the whole body, and not the token."""
    answer = fetch(envoy, method="POST", headers=bearer(made), body=b"." * 100_000)
    headers = received(answer)
    assert [value for name, value in headers if name == "x-jwt-sub"] == ["ada"]
    assert "authorization" not in dict(headers)
    assert len(json.loads(answer.body)["body"]) == 100_000


@pytest.mark.parametrize(
    "made",
    [
        rs256(key=TWO, kid="one"),
        rs256(kid="curve"),
        rs256({**CLAIMS, "exp": 1}),
        ES256[:-4] + "AAAA",
        token({"alg": "ES256", "kid": "curve"}, CLAIMS, lambda _: bytes(64)),
        token({"alg": "ES256", "kid": "curve"}, CLAIMS, lambda _: b"\xff" * 64),
        token({"alg": "RS256", "kid": "one"}, CLAIMS, lambda _: b""),
        token({"alg": "none", "kid": "one"}, CLAIMS, lambda _: b""),
        hs256(secret=ONE.modulus.to_bytes(256, "big"), kid="one"),
        "no.token",
    ],
)
def test_other_tokens_do_not(envoy: EnvoyProcess, fetch: Fetch, made: str) -> None:
    """A signature of another key, for another text, or none; a token that has expired."""
    answer = fetch(envoy, headers=bearer(made))
    assert (answer.status, answer.body) == (401, b"Unauthorized\n")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="api", error="invalid_token"')


def test_no_token(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A client that sends none is told to."""
    answer = fetch(envoy, headers={"x-jwt-sub": "forged"})
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="api"')


def test_without_the_issuer_nothing_passes(serve_example: ServeExample, fetch: Fetch) -> None:
    """Keys that cannot be had are a 503, and the log says why."""
    envoy = serve_example(replace={"path: /.well-known/jwks.json": "path: /elsewhere"})
    assert fetch(envoy, headers=bearer(rs256())).status == 503
    assert envoy.wait_for_log("the keys of issuer.example cannot be had: status 404", 10).level == "error"


def test_a_secret(serve_example: ServeExample, fetch: Fetch) -> None:
    """HS256 is checked in the filter itself."""
    configuration = {
        "issuer": CLAIMS["iss"],
        "audiences": ["shop"],
        "algorithms": ["HS256"],
        "secret": encode(SECRET),
    }
    envoy = serve_example(plugin_configuration=json.dumps(configuration).encode())
    assert ("x-jwt-sub", "ada") in received(fetch(envoy, headers=bearer(hs256())))
    assert fetch(envoy, headers=bearer(hs256(secret=b"?" * 32))).status == 401
    assert fetch(envoy, headers=bearer(rs256())).status == 401
