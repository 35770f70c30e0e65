"""Valid tokens pass, and nothing else; the issuer's keys are fetched as seldom as possible."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from examples.cookbook.jwt.tokens import (
    CLAIMS,
    CURVE_DER,
    ES256,
    ES256_DER,
    ISSUER,
    JWKS,
    ONE,
    SECRET,
    TWO,
    encode,
    hs256,
    rs256,
    token,
)
from pywasmfilter._protobuf import field, fields
from pywasmfilter.testing import Host, HttpStream, Refused, Response

RS256 = {
    "issuer": ISSUER,
    "audiences": ["shop", "stock"],
    "algorithms": ["RS256", "ES256"],
    "jwks": {"cluster": "issuer", "authority": "issuer.example"},
}
HS256 = {"issuer": ISSUER, "audiences": ["shop"], "algorithms": ["HS256"], "secret": encode(SECRET)}

pytestmark = pytest.mark.filter(configuration=RS256)
with_secret = pytest.mark.filter(configuration=HS256)


def verify_signature(arguments: bytes) -> bytes:
    """What the proxy's function does, for the keys of these tests."""
    found = fields(arguments)
    key, signature, text = (bytes(found[number]) for number in (2, 3, 4))
    if key == CURVE_DER:
        return field(1, signature == ES256_DER and text == ES256.rpartition(".")[0].encode())
    owner = next(owner for owner in (ONE, TWO) if owner.modulus.to_bytes(256, "big") in key)
    return field(1, owner.verifies(text, signature))


@pytest.fixture(autouse=True)
def proxy(host: Host) -> None:
    """The proxy has the function, and an issuer."""
    host.foreign_functions["verify_signature"] = verify_signature
    host.clusters["issuer"] = jwks(JWKS)


def jwks(document: Any) -> Response:
    return Response(body=json.dumps(document))


def send(host: Host, token: str, headers: Any = ()) -> HttpStream:
    return host.request("GET", "/", [("authorization", f"Bearer {token}"), *headers])


def reason(stream: HttpStream) -> str:
    """Why a token was refused."""
    assert stream.status == 401
    assert stream.sent is None
    _, _, description = stream.headers["www-authenticate"].partition("error_description=")
    return description.strip('"')


@pytest.mark.parametrize("made", [rs256(), ES256], ids=["RS256", "ES256"])
def test_a_valid_token_passes(host: Host, made: str) -> None:
    """The upstream learns who it is, and does not get the token."""
    stream = send(host, made, [("x-jwt-sub", "forged"), ("x-jwt-sub", "twice")])
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.headers.get_all("x-jwt-sub") == ["ada"]
    assert "authorization" not in stream.sent.headers


@with_secret
@pytest.mark.parametrize("name", ["x_jwt_sub", "x_jwt-sub", "X-JWT_Sub"])
def test_other_spellings_of_a_claims_header(host: Host, name: str) -> None:
    """An upstream that takes underscores for hyphens gets no claim that the client has made up."""
    stream = send(host, hs256(), [(name, "forged"), (name, "twice"), ("x_other", "mine")])
    assert stream.sent is not None
    assert [value for _, value in stream.sent.headers.items() if value in {"forged", "twice"}] == []
    assert (stream.sent.headers["x-jwt-sub"], stream.sent.headers["x_other"]) == ("ada", "mine")


@with_secret
def test_a_secret_needs_no_issuer(host: Host) -> None:
    """HS256 is checked in the filter itself."""
    assert send(host, hs256()).status == 200
    assert reason(send(host, hs256(secret=b"another secret of the same size."))) == "the signature is wrong"


@pytest.mark.parametrize("headers", [{}, {"x-authorization": "Bearer a.b.c"}])
def test_no_token(host: Host, headers: dict[str, str]) -> None:
    """A client that sends none is told to, without an error (RFC 6750)."""
    stream = host.request("GET", "/", headers)
    assert (stream.status, stream.headers["www-authenticate"]) == (401, 'Bearer realm="api"')


@with_secret
@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": 1}, "the token has expired"),
        ({"exp": None}, "a time is malformed"),
        ({"exp": "4102444800"}, "a time is malformed"),
        ({"exp": True}, "a time is malformed"),
        ({"exp": 10**400}, "a time is malformed"),
        ({"exp": -1}, "a time is malformed"),
        ({"nbf": 4102444000}, "the token is not valid yet"),
        ({"nbf": [1]}, "a time is malformed"),
        ({"iat": 4102444000}, "the token is not valid yet"),
        ({"iss": "https://issuer.example/"}, "the issuer is another"),
        ({"iss": [ISSUER]}, "the issuer is another"),
        ({"aud": "shop "}, "the audience is another"),
        ({"aud": ["stock", {"shop": 1}]}, "the audience is another"),
        ({"aud": {"shop": "shop"}}, "the audience is another"),
        ({"aud": None}, "the audience is another"),
        ({"sub": "a\r\nx-admin: 1"}, "a claim is malformed"),
        ({"sub": "\ud800"}, "a claim is malformed"),
    ],
)
def test_claims_that_do_not_count(host: Host, claims: dict[str, Any], why: str) -> None:
    """A good signature is not enough."""
    assert reason(send(host, hs256({**CLAIMS, **claims}))) == why


@with_secret
@pytest.mark.parametrize("missing", ["exp", "iss", "aud"])
def test_claims_that_must_be_there(host: Host, missing: str) -> None:
    """A token that never expires, or is for anybody, does not count."""
    assert send(host, hs256({key: value for key, value in CLAIMS.items() if key != missing})).status == 401


@with_secret
def test_claims_that_count(host: Host) -> None:
    """Clocks may differ by the leeway; one audience of several is enough; a claim for a header may be missing."""
    now = host.clock.nanoseconds / 1e9
    assert (
        send(host, hs256({**CLAIMS, "aud": ["x", "shop"], "exp": now - 20, "nbf": now + 20, "iat": now + 20})).status
        == 200
    )
    stream = send(host, hs256({key: value for key, value in CLAIMS.items() if key != "sub"}), [("x-jwt-sub", "forged")])
    assert stream.status == 200
    assert stream.sent is not None
    assert "x-jwt-sub" not in stream.sent.headers
    assert reason(send(host, hs256({**CLAIMS, "exp": now - 31}))) == "the token has expired"


@pytest.mark.filter(configuration={**HS256, "claim_headers": {"x-roles": "roles", "x-name": "name"}, "forward": True})
def test_claims_become_headers(host: Host) -> None:
    """Text stays as it is, everything else is JSON."""
    stream = send(host, hs256({**CLAIMS, "roles": ["a", "b,c"], "name": "José"}))
    assert stream.sent is not None
    assert stream.sent.headers["x-roles"] == '["a","b,c"]'
    assert stream.sent.headers["x-name"] == "José"
    assert "authorization" in stream.sent.headers


PUBLIC = ONE.modulus.to_bytes(256, "big")


@pytest.mark.parametrize(
    "made",
    [
        token({"alg": "none"}, CLAIMS, lambda _: b""),
        token({"alg": "None", "kid": "one"}, CLAIMS, ONE.sign),
        token({"alg": "RS384", "kid": "one"}, CLAIMS, ONE.sign),
        token({"kid": "one"}, CLAIMS, ONE.sign),
        token({"alg": ["RS256"], "kid": "one"}, CLAIMS, ONE.sign),
        hs256(secret=PUBLIC, kid="one"),  # the public key as a secret
        rs256(crit=["b64"]),
        rs256(key=TWO, jwk=TWO.jwk),  # a key of the client's own
        rs256(key=TWO, kid="one"),
        rs256(kid={"one": 1}),
        rs256(kid="curve"),
        rs256()[:-4] + "AAAA",
        token({"alg": "ES256", "kid": "curve"}, CLAIMS, lambda _: bytes(64)),
        token({"alg": "ES256", "kid": "curve"}, CLAIMS, lambda _: ES256_DER),
        token({"alg": "ES256", "kid": "one"}, CLAIMS, ONE.sign),
    ],
)
def test_signatures_that_do_not_count(host: Host, made: str) -> None:
    """The token has no say in how it is verified, and with which key."""
    assert send(host, made).status == 401


@with_secret
@pytest.mark.parametrize(
    "made",
    [
        "",
        ".",
        "a.b",
        "a.b.c.d",
        "..",
        "é.é.é",
        "\udcff\udcfe.a.b",
        hs256() + "=",
        hs256() + "!",
        "." + hs256(),
        hs256().replace(".", ".\n."),
        "A" * 9000,
        hs256("[1]"),
        hs256('"text"'),
        hs256("{"),
        hs256('{"exp": NaN}'),
        hs256('{"exp": 4102444800, "exp": 1}'),
        hs256("[" * 2000 + "]" * 2000),
        hs256('{"exp": ' + "9" * 5000 + "}"),
        hs256("\udcff"),
        token("\udcff", CLAIMS, lambda _: b""),
        token('{"alg": "none", "alg": "HS256"}', CLAIMS, lambda _: b""),
    ],
)
def test_texts_that_are_no_tokens(host: Host, made: str) -> None:
    """Whatever a client sends, it is a 401, and no exception."""
    if "\n" in made:
        made = made.replace("\n", "")
    assert send(host, made).status == 401
    assert "Traceback" not in "".join(host.messages)


@with_secret
@pytest.mark.parametrize(
    "values",
    [["Basic YTpi"], ["Bearer"], [f"Bearer {hs256()}", f"Bearer {hs256()}"], [f"Bearer {hs256()}, Basic YTpi"]],
)
def test_one_bearer_token_is_needed(host: Host, values: list[str]) -> None:
    """Another scheme, or more than one header, does not count."""
    assert host.request("GET", "/", [("authorization", value) for value in values]).status == 401


def test_keys_are_fetched_once(host: Host) -> None:
    """Requests that need the keys at the same time wait for one call; later ones need none."""
    host.clusters["issuer"] = None
    streams = [send(host, rs256()) for _ in range(3)]
    (call,) = host.http_calls
    assert (call.request.headers[":authority"], call.request.path) == ("issuer.example", "/.well-known/jwks.json")
    streams[0].abort()  # whoever came first may leave
    call.reply(jwks(JWKS))
    host.advance(0.01)
    assert [stream.status for stream in streams[1:]] == [200, 200]
    assert send(host, rs256()).status == 200
    assert host.http_calls == []


def test_a_new_key_is_found(host: Host) -> None:
    """A token with a new key makes the filter look for it, but not more often than every five seconds."""
    assert send(host, rs256()).status == 200
    host.clusters["issuer"] = jwks({"keys": [TWO.jwk]})
    assert send(host, rs256(key=TWO)).status == 401
    host.advance(5)
    assert send(host, rs256(key=TWO)).status == 200
    assert send(host, rs256(key=ONE)).status == 401  # which is not a key any more


def test_unknown_keys_are_no_flood(host: Host) -> None:
    """Tokens with made-up keys do not make a call each."""
    calls = []
    host.clusters["issuer"] = lambda request: calls.append(request) or jwks(JWKS)  # type: ignore[func-returns-value]
    for number in range(20):
        assert send(host, rs256(kid=f"made up {number}")).status == 401
    assert len(calls) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Response(503),
        Response(200, body="<html>"),
        Response(200, body="[" * 5000),
        jwks([]),
        jwks({"keys": "one"}),
        jwks({"keys": []}),
        jwks({"keys": [1, None, {}, {"kty": "oct", "k": encode(SECRET)}, {**ONE.jwk, "use": "enc"}]}),
        jwks({"keys": [{**ONE.jwk, "n": encode(bytes(200) + b"\1" * 56)}]}),
        jwks({"keys": [{**ONE.jwk, "n": "!"}]}),
    ],
)
def test_without_keys_nothing_passes(host: Host, answer: Response) -> None:
    """An issuer that is down, or says something else, is not the client's fault; later it may work."""
    host.clusters["issuer"] = answer
    assert [send(host, rs256()).status for _ in range(2)] == [503, 503]
    host.clusters["issuer"] = jwks(JWKS)
    host.advance(5)
    assert send(host, rs256()).status == 200


@pytest.mark.parametrize(
    "bad",
    [
        {**TWO.jwk, "n": "!"},
        {**TWO.jwk, "n": "AAA=A"},
        {**TWO.jwk, "n": "é"},
        {**TWO.jwk, "n": encode(b"\1" * 70_000)},
    ],
    ids=range(4),
)
def test_a_malformed_key_does_not_spoil_the_others(host: Host, bad: dict[str, Any]) -> None:
    """It is passed over, wherever it stands."""
    for keys in ([bad, ONE.jwk], [ONE.jwk, bad]):
        host.clusters["issuer"] = jwks({"keys": keys})
        host.advance(3601)
        assert send(host, rs256()).status == 200
        assert send(host, rs256(key=TWO)).status == 401


def test_without_a_cluster_nothing_passes(host: Host) -> None:
    """A call that cannot be made is the same."""
    del host.clusters["issuer"]
    assert send(host, rs256()).status == 503


def test_old_keys_are_good_for_a_while(host: Host) -> None:
    """If the issuer is down its keys count on for an hour."""
    assert send(host, rs256()).status == 200
    host.clusters["issuer"] = Response(503)
    host.advance(3599)
    assert send(host, rs256()).status == 200
    host.advance(5)
    assert send(host, rs256()).status == 503


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"audiences": []}, "cannot be empty"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["RS256", "HS256"]}, "HS256 and a secret"),
        ({"secret": encode(SECRET)}, "HS256 and a secret"),
        ({"algorithms": ["RS256", "HS256"], "secret": "c2hvcnQ"}, "32 bytes"),
        ({"jwks": None}, "jwks go together"),
        ({"claim_headers": {":path": "sub"}}, "not the name of a header"),
        ({"isuer": "x"}, "issuer"),
    ],
)
def test_a_bad_configuration_is_refused(new_host: Callable[..., Host], change: dict[str, Any], problem: str) -> None:
    """What would not protect anything does not start."""
    with pytest.raises(Refused, match=problem):
        new_host(configuration={**RS256, **change})
