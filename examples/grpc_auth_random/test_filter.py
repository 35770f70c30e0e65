"""The filter asks a gRPC service whether a gRPC request may pass; here the service answers as the test wants."""

from __future__ import annotations

import pytest

from pywasmfilter import GrpcStatus, LogLevel, StreamType
from pywasmfilter.testing import GrpcError, Host, HttpStream


def call(host: Host, path: str = "/grpcbin.GRPCBin/DummyUnary") -> HttpStream:
    """Send a gRPC request."""
    return host.request("POST", path, {"content-type": "application/grpc", "te": "trailers"}, b"\0\0\0\0\2hi")


def test_the_service_is_asked(host: Host) -> None:
    """With an empty message, and the request waits for the reply, which may take a second."""
    host.clusters["grpcbin"] = None  # no reply yet
    stream = call(host)
    (question,) = host.grpc_calls
    assert (question.method, question.messages) == ("grpcbin.GRPCBin/RandomError", [b""])
    assert question.timeout == 1
    assert stream.paused == StreamType.HTTP_REQUEST
    assert stream.sent is None


@pytest.mark.parametrize("reply", [b"", GrpcError(GrpcStatus.UNKNOWN), GrpcError(GrpcStatus.ABORTED)])
def test_an_even_status_grants_access(host: Host, reply: bytes | GrpcError) -> None:
    """The request goes on to the upstream, and the response gets the filter's header."""
    host.clusters["grpcbin"] = reply
    stream = call(host)
    assert stream.sent
    assert stream.sent.body == b"\0\0\0\0\2hi"
    assert stream.headers.get_all("powered-by") == ["proxy-wasm"]
    assert host.log == [(LogLevel.INFO, "Access granted.")]


@pytest.mark.parametrize("status", [GrpcStatus.CANCELLED, GrpcStatus.NOT_FOUND, GrpcStatus.DATA_LOSS])
def test_an_odd_status_forbids_it(host: Host, status: int) -> None:
    """The client's call ends with Aborted and the filter's message; the upstream does not see it."""
    host.clusters["grpcbin"] = GrpcError(status)
    stream = call(host)
    assert stream.headers["grpc-status"] == str(int(GrpcStatus.ABORTED))
    assert stream.headers["grpc-message"] == "Aborted by Proxy-Wasm!"
    assert stream.headers.get_all("powered-by") == ["proxy-wasm"]
    assert stream.sent is None
    assert host.log == [(LogLevel.INFO, "Access forbidden.")]


def test_a_service_that_does_not_answer(host: Host) -> None:
    """After a second the call has failed with Unavailable, which is even."""
    host.clusters["grpcbin"] = None
    stream = call(host)
    host.advance(1)
    assert stream.sent
    assert host.logged("Access granted.")


def test_reflection_always_passes(host: Host) -> None:
    """A call of the reflection API reaches the upstream, and the service is not asked."""
    host.clusters["grpcbin"] = None
    assert call(host, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo").sent
    assert host.grpc_calls == []


def test_other_clients_are_turned_away(host: Host) -> None:
    """Who sends no gRPC gets a 503 that says so."""
    stream = host.request()
    assert (stream.status, stream.text) == (503, "Service accessible only to gRPC clients.\n")
    assert stream.headers.get_all("powered-by") == ["proxy-wasm"]
