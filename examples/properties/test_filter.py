"""The filter lets a request through if it has the header that its route's metadata names."""

from __future__ import annotations

import pytest

from pywasmfilter import GrpcStatus
from pywasmfilter.testing import Host

AUTH = ("xds", "route_metadata", "filter_metadata", "envoy.filters.http.wasm", "auth")
"""Where a route's configuration has it."""


@pytest.mark.parametrize(
    ("wanted", "headers", "status"),
    [
        ("cookie", {}, 401),
        ("cookie", {"cookie": "value"}, 200),
        ("cookie", {"authorization": "token"}, 401),
        ("authorization", {}, 401),
        ("authorization", {"authorization": "token"}, 200),
    ],
)
def test_a_route_wants_its_header(host: Host, wanted: str, headers: dict[str, str], status: int) -> None:
    """Requests without it get a 401 that has no body; the log says what the route wants, then that all is over."""
    host.properties[AUTH] = wanted
    stream = host.request(headers=headers)
    assert (stream.status, stream.body) == (status, b"")
    assert (stream.sent is None) == (status == 401)
    assert host.messages == [f'auth header is "{wanted}"', "2 finished"]


def test_a_route_without_metadata_wants_nothing(host: Host) -> None:
    """All requests pass."""
    assert host.request("GET", "/three").status == 200
    assert host.messages == ["no auth header for route", "2 finished"]


def test_a_grpc_client_is_told_that_it_is_not_authenticated(host: Host) -> None:
    """A refused gRPC request gets the status UNAUTHENTICATED, in the form that gRPC has for it."""
    host.properties[AUTH] = "cookie"
    stream = host.request("POST", "/one", {"content-type": "application/grpc", "te": "trailers"})
    assert (stream.status, stream.headers["grpc-status"]) == (200, str(int(GrpcStatus.UNAUTHENTICATED)))
