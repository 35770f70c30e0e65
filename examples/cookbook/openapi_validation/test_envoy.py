"""The example lets pass what its OpenAPI document describes, in a real Envoy, and the upstream sees nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

JSON = {"content-type": "application/json"}
ORDER = b'{"items": [{"sku": "ABC-1", "quantity": 1}]}'


def upstream_requests(envoy: EnvoyProcess) -> int:
    (line,) = envoy.admin("/stats?filter=cluster.web_service.upstream_rq_total").splitlines()
    return int(line.rpartition(" ")[2])


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/orders?limit=1&tag=a&tag=b", None),
        ("GET", "/v1/orders/17", None),
        ("POST", "/v1/orders", ORDER),
        ("POST", "/v1/orders", iter([ORDER[:5], ORDER[5:]])),
        ("POST", "/v1/orders", b'{"items": [' + b", ".join([ORDER[11:-2]] * 1000) + b"]}"),
    ],
)
def test_what_is_described_passes(
    envoy: EnvoyProcess, fetch: Fetch, method: str, path: str, body: bytes | Iterator[bytes] | None
) -> None:
    """The upstream gets path and body as they were sent."""
    answer = fetch(envoy, path, method=method, headers=JSON if body else {}, body=body)
    assert answer.status == 200
    received = json.loads(answer.body)
    assert (received["path"], received["body"]) == (
        path,
        body.decode() if isinstance(body, bytes) else ORDER.decode() if body else "",
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/v2/orders", None, 404, "there is no such path"),
        ("PUT", "/v1/orders", None, 405, "PUT is not for this path"),
        ("GET", "/v1/orders?limit=1000", None, 400, "query.limit must be smaller than or equal to 100"),
        ("GET", "/v1/orders/%2e%2e", None, 400, "path.id is no name"),
        ("DELETE", "/v1/orders/1", None, 400, "header.If-Match is missing"),
        ("POST", "/v1/orders", None, 400, "there must be a body"),
        ("POST", "/v1/orders", b'{"items": []}', 400, "body.items must contain at least 1 items"),
        ("POST", "/v1/orders", iter([b'{"items"', b": []}"]), 400, "body.items must contain at least 1 items"),
        ("POST", "/v1/orders", b"[" * 50_000, 400, "body is not JSON: it is nested too deeply"),
        ("POST", "/v1/orders", b" " * 70_000, 413, "the body has more than 65536 bytes"),
    ],
)
def test_anything_else_does_not(
    envoy: EnvoyProcess,
    fetch: Fetch,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None,
    status: int,
    detail: str,
) -> None:
    """The client learns why, and the upstream nothing, not even headers."""
    before = upstream_requests(envoy)
    answer = fetch(envoy, path, method=method, headers=JSON if body else {}, body=body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(answer.body)["detail"] == detail
    assert upstream_requests(envoy) == before


def test_headers_may_go_ahead(serve_example: ServeExample, fetch: Fetch) -> None:
    """A proxy that does not hold headers back works, too: the upstream never gets a whole request that is refused."""
    envoy = serve_example(
        replace={"allow_on_headers_stop_iteration: true": "allow_on_headers_stop_iteration: false", '"true"': '"false"'}
    )
    assert fetch(envoy, "/v1/orders", method="POST", headers=JSON, body=ORDER).status == 200
    assert fetch(envoy, "/v1/orders", method="POST", headers=JSON, body=b"{}").status == 400
