"""The example lets pass what a service allows, in a real Envoy; the service sees bodies before the upstream does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Answer, Fetch, ServeExample

pytestmark = pytest.mark.envoy

ALLOWED = {"authorization": "Bearer let-me-in", "x-user": "eve"}


def upstream_requests(envoy: EnvoyProcess) -> int:
    (line,) = envoy.admin("/stats?filter=cluster.web_service.upstream_rq_total").splitlines()
    return int(line.rpartition(" ")[2])


def user(answer: Answer) -> list[str]:
    """What the upstream got as x-user."""
    assert answer.status == 200
    return [value for name, value in json.loads(answer.body)["headers"] if name == "x-user"]


def test_allowed(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """With a body or without, the request goes on with the service's headers in the place of the client's."""
    assert user(fetch(envoy, headers=ALLOWED)) == ["ada"]
    for body in (b"." * 8192, iter([b"a" * 4000, b"b" * 4000]), b""):
        answer = fetch(envoy, method="POST", headers=ALLOWED, body=body)
        assert user(answer) == ["ada"]
        assert len(json.loads(answer.body)["body"]) in {8192, 8000, 0}


@pytest.mark.parametrize("body", [b"hello", iter([b"hel", b"lo"])])
def test_the_service_gets_the_body(envoy: EnvoyProcess, fetch: Fetch, body: bytes | Iterator[bytes]) -> None:
    """It may decide by it. A header that it does not give is nobody's."""
    answer = fetch(envoy, method="POST", headers={"x-user": "eve"}, body=body)
    assert user(answer) == []
    assert json.loads(answer.body)["body"] == "hello"


@pytest.mark.parametrize("body", [None, b"hi", iter([b"long", b"er"])])
def test_denied(envoy: EnvoyProcess, fetch: Fetch, body: bytes | Iterator[bytes] | None) -> None:
    """The client gets the service's answer, and the upstream nothing, not even headers."""
    before = upstream_requests(envoy)
    answer = fetch(envoy, method="POST", body=body)
    assert (answer.status, answer.body, answer.headers["www-authenticate"]) == (401, b"Who are you?\n", "Bearer")
    assert upstream_requests(envoy) == before


def test_too_large_a_body(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Is a 413, whoever asks; the upstream gets nothing."""
    before = upstream_requests(envoy)
    for body in (b"." * 8193, iter([b"." * 5000, b"." * 5000])):
        assert fetch(envoy, method="POST", headers=ALLOWED, body=body).status == 413
    assert upstream_requests(envoy) == before


@pytest.mark.parametrize(("fail_open", "status"), [(False, 503), (True, 200)])
def test_no_decision(serve_example: ServeExample, fetch: Fetch, fail_open: bool, status: int) -> None:
    """A service that is down lets nothing pass, unless the configuration says so."""
    configuration = json.dumps({"cluster": "auth", "fail_open": fail_open}).encode()
    envoy = serve_example(replace={"status: 401": "status: 500"}, plugin_configuration=configuration)
    assert fetch(envoy).status == status
    envoy.wait_for_log("the authorization service does not decide: status 500", 10)
