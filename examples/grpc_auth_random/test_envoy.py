"""The example asks a gRPC service whether a gRPC request may pass; here the service answers as the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from pywasmfilter_compiler.envoy.log import WasmLogLine
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ModuleBuilder

pytestmark = pytest.mark.envoy

FOLDER = Path(__file__).parent
RANDOM_ERROR = "/grpcbin.GRPCBin/RandomError"


class GrpcBin(grpc.GenericRpcHandler):
    """A gRPC server: RandomError ends with the status that `decision` says, every other method echoes its request."""

    def __init__(self) -> None:
        self.decision = grpc.StatusCode.OK
        self.asked: list[bytes] = []

    def service(self, call_details: Any) -> Any:
        behaviour = self.decide if call_details.method == RANDOM_ERROR else self.echo
        return grpc.unary_unary_rpc_method_handler(behaviour)

    def decide(self, request: bytes, context: Any) -> bytes:
        self.asked.append(request)
        if self.decision is not grpc.StatusCode.OK:
            context.abort(self.decision, "as the test wants")
        return b""

    def echo(self, request: bytes, context: Any) -> bytes:
        return request


@pytest.fixture(scope="module")
def grpcbin() -> GrpcBin:
    return GrpcBin()


@pytest.fixture(scope="module")
def envoy(build_example: ModuleBuilder, grpcbin: GrpcBin) -> Iterator[EnvoyProcess]:
    """The example with `grpcbin` as its upstream."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[grpcbin])
    upstream = server.add_insecure_port("127.0.0.1:0")
    server.start()

    config = yaml.safe_load((FOLDER / "envoy.yaml").read_text(encoding="utf-8"))
    (listener,), (cluster,) = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    for place, port in ((config["admin"], 0), (listener, 0), (endpoint, upstream)):
        place["address"]["socket_address"]["port_value"] = port
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    code = manager["http_filters"][0]["typed_config"]["config"]["vm_config"]["code"]
    code["local"]["filename"] = str(build_example(FOLDER))
    with EnvoyProcess(config) as process:
        yield process
    server.stop(grace=None).wait()


@pytest.fixture(scope="module")
def channel(envoy: EnvoyProcess) -> Iterator[grpc.Channel]:
    """A gRPC client of the proxy."""
    with grpc.insecure_channel(f"127.0.0.1:{envoy.listener_port('main')}") as channel:
        yield channel


@pytest.mark.parametrize("decision", [grpc.StatusCode.OK, grpc.StatusCode.UNKNOWN, grpc.StatusCode.ABORTED])
def test_an_even_status_grants_access(
    envoy: EnvoyProcess, grpcbin: GrpcBin, channel: grpc.Channel, decision: grpc.StatusCode
) -> None:
    """The service is asked with an empty message, the call goes on and is answered, with the filter's header."""
    grpcbin.decision = decision
    before = len(envoy.wasm_log())
    grpcbin.asked.clear()

    reply, call = method(channel, "/grpcbin.GRPCBin/DummyUnary").with_call(b"\x0a\x02hi", timeout=30)

    assert reply == b"\x0a\x02hi"
    assert ("powered-by", "proxy-wasm") in call.initial_metadata()
    assert grpcbin.asked == [b""]
    assert next_line(envoy, before) == ("info", "Access granted.")


@pytest.mark.parametrize("decision", [grpc.StatusCode.CANCELLED, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS])
def test_an_odd_status_forbids_it(
    envoy: EnvoyProcess, grpcbin: GrpcBin, channel: grpc.Channel, decision: grpc.StatusCode
) -> None:
    """The client's call ends with Aborted and the filter's message; the upstream does not see it."""
    grpcbin.decision = decision
    before = len(envoy.wasm_log())

    with pytest.raises(grpc.RpcError) as failure:
        method(channel, "/grpcbin.GRPCBin/DummyUnary")(b"\x0a\x02hi", timeout=30)

    error: Any = failure.value
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "Aborted by Proxy-Wasm!")
    assert ("powered-by", "proxy-wasm") in (*error.initial_metadata(), *error.trailing_metadata())
    assert next_line(envoy, before) == ("info", "Access forbidden.")


def test_reflection_always_passes(grpcbin: GrpcBin, channel: grpc.Channel) -> None:
    """A call of the reflection API reaches the upstream, and the service is not asked."""
    grpcbin.decision = grpc.StatusCode.CANCELLED
    grpcbin.asked.clear()
    call = method(channel, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")

    assert call(b"\x3a\x00", timeout=30) == b"\x3a\x00"
    assert grpcbin.asked == []


def test_other_clients_are_turned_away(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Who sends no gRPC gets a 503 that says so."""
    answer = fetch(envoy)

    assert (answer.status, answer.body) == (503, b"Service accessible only to gRPC clients.\n")
    assert answer.headers.get_all("powered-by") == ["proxy-wasm"]


def method(channel: grpc.Channel, path: str) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(path)


def next_line(envoy: EnvoyProcess, before: int) -> WasmLogLine:
    """What the filter has logged after `before` lines."""
    envoy.wait_for_log("Access ", 10, count=before + 1)
    (line,) = envoy.wasm_log()[before:]
    return line
