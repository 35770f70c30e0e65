"""The example asks another service about each request and lets the hash of the answer decide, in a real Envoy."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

EVEN = "7b10a67a-1c67-4199-835b-cbefcd4a63d4"  # as the uuid of the answer, which then has an even hash
ODD = "aaaaaaaa-1c67-4199-835b-cbefcd4a63d4"
FORBIDDEN = (403, b"access forbidden")


def test_chance_decides(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """As the file says it, some requests are granted and get the upstream's answer, and others are forbidden."""
    answers = [fetch(envoy, "/uuid") for _ in range(64)]  # all of one kind: once in 2^63 runs
    granted = [answer for answer in answers if answer.status == 200]
    assert {(answer.status, answer.body) for answer in answers if answer not in granted} == {FORBIDDEN}
    assert len({uuid.UUID(json.loads(answer.body)["uuid"]) for answer in granted}) == len(granted) > 0

    envoy.wait_for_log("access granted", 10, count=len(granted))
    envoy.wait_for_log("access forbidden", 10, count=len(answers) - len(granted))
    assert {line.level for line in envoy.wasm_log()} == {"info"}


def test_even_hash_grants(serve_example: ServeExample, fetch: Fetch) -> None:
    """The request waits for the answer, whose headers are logged after its own, and then goes on to the upstream."""
    envoy = serve_example(replace={"%UNIQUE_ID%": EVEN})
    answer = fetch(envoy, "/uuid", headers={"this-is-key": "this-is-value"})
    assert (answer.status, json.loads(answer.body)) == (200, {"uuid": EVEN})

    envoy.wait_for_log("access granted", 10)
    lines = [line.message for line in envoy.wasm_log()]
    order = [
        "request header: :path: /uuid",
        "request header: this-is-key: this-is-value",
        "http call dispatched to httpbin",
        "response header from httpbin: :status: 200",
        "response header from httpbin: content-type: application/json",
        "access granted",
    ]
    assert [line for line in lines if line in order] == order
    assert lines[-1] == "access granted"


def test_odd_hash_forbids(serve_example: ServeExample, fetch: Fetch) -> None:
    """The client gets a 403 with a header and a body of the filter's, and no answer of the upstream."""
    envoy = serve_example(replace={"%UNIQUE_ID%": ODD})
    answer = fetch(envoy, "/uuid")
    assert (answer.status, answer.body) == FORBIDDEN
    assert answer.headers.get_all("powered-by") == ["proxy-wasm-go-sdk!!"]

    envoy.wait_for_log("access forbidden", 10)
    assert "access granted" not in envoy.log_text


def test_unknown_cluster_lets_requests_through(serve_example: ServeExample, fetch: Fetch) -> None:
    """If the call cannot even be made, that is logged at critical and the request goes on."""
    envoy = serve_example(replace={"httpbin": "another", "%UNIQUE_ID%": ODD})
    assert fetch(envoy, "/uuid").status == 200
    assert envoy.wait_for_log("dipatch httpcall failed: proxy_http_call", 10).level == "critical"
