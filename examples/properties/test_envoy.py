"""The example lets a request through if it has the header that its route's metadata names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


@pytest.mark.parametrize(
    ("path", "headers", "status", "log"),
    [
        ("/one", {}, 401, 'auth header is "cookie"'),
        ("/one", {"cookie": "value"}, 200, 'auth header is "cookie"'),
        ("/one", {"authorization": "token"}, 401, 'auth header is "cookie"'),
        ("/two", {}, 401, 'auth header is "authorization"'),
        ("/two", {"authorization": "token"}, 200, 'auth header is "authorization"'),
        ("/three", {}, 200, "no auth header for route"),
    ],
)
def test_each_route_wants_its_header(
    envoy: EnvoyProcess, fetch: Fetch, path: str, headers: dict[str, str], status: int, log: str
) -> None:
    """The status, and the log: what the route wants, then that the stream is finished. A 401 has no body."""
    before = len(envoy.wasm_log())

    answer = fetch(envoy, path, headers=headers)

    assert (answer.status, answer.body) == (status, b"" if status == 401 else b"example body\n")
    envoy.wait_for_log("finished", 10, count=before // 2 + 1)
    wanted, finished = envoy.wasm_log()[before:]
    assert wanted == ("info", log)
    assert finished.level == "info"
    assert finished.message.removesuffix(" finished").isdecimal()


def test_a_grpc_client_is_told_that_it_is_not_authenticated(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A refused gRPC request gets the status 16, UNAUTHENTICATED, in the form that gRPC has for it."""
    before = len(envoy.wasm_log())

    answer = fetch(envoy, "/one", method="POST", headers={"content-type": "application/grpc", "te": "trailers"})

    assert answer.status == 200
    assert answer.headers["grpc-status"] == "16"
    envoy.wait_for_log("finished", 10, count=before // 2 + 1)
