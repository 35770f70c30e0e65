"""The example lets requests with a known API key through, in a real Envoy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

KEY = "k3y-of-ada"


@pytest.mark.parametrize(
    ("path", "headers"), [("/a?x=1", {"x-api-key": KEY}), (f"/a?api_key={KEY}&x=1", {}), ("/a?x=1", {"X-API-KEY": KEY})]
)
def test_a_known_key_passes(envoy: EnvoyProcess, fetch: Fetch, path: str, headers: dict[str, str]) -> None:
    """The upstream learns whose it is, and sees the key nowhere."""
    answer = fetch(envoy, path, method="POST", headers={"x-api-owner": "forged", **headers}, body=b"." * 100_000)
    assert answer.status == 200
    received = json.loads(answer.body)
    assert (received["path"], len(received["body"])) == ("/a?x=1", 100_000)
    assert [value for name, value in received["headers"] if name == "x-api-owner"] == ["ada"]
    assert KEY not in str(received)


@pytest.mark.parametrize(
    ("path", "headers"), [("/", {}), ("/", {"x-api-key": "unknown"}), (f"/?api_key={KEY}", {"x-api-key": KEY})]
)
def test_anything_else_does_not(envoy: EnvoyProcess, fetch: Fetch, path: str, headers: dict[str, str]) -> None:
    """No key, an unknown one, or two."""
    answer = fetch(envoy, path, headers=headers)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'ApiKey realm="api", header="x-api-key"')


def test_the_service_is_asked_once(serve_example: ServeExample, fetch: Fetch) -> None:
    """Its answers are kept in the worker."""
    envoy = serve_example()
    for _ in range(3):
        assert fetch(envoy, headers={"x-api-key": KEY}).status == 200
        assert fetch(envoy, headers={"x-api-key": "unknown"}).status == 401
    assert "cluster.keys.upstream_rq_total: 2\n" in envoy.admin("/stats")


def test_without_the_service_nothing_passes(serve_example: ServeExample, fetch: Fetch) -> None:
    """A key that cannot be checked is a 503, and the log says why."""
    envoy = serve_example(replace={"status: 200": "status: 500"})
    assert fetch(envoy, headers={"x-api-key": KEY}).status == 503
    assert envoy.wait_for_log("the service for API keys does not say: status 500", 10).level == "error"
