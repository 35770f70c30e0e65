"""gRPC calls and streams to a real gRPC server, through the proxy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import TIMEOUT, request
from tests.e2e.scripting import INCLUDED, evaluate, failure, logged, run, script_header, value

if TYPE_CHECKING:
    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy


class Service(grpc.GenericRpcHandler):
    """What filters call; messages are bytes. `came` and `left` are set when a stream with the metadata `x-test: left`
    has come, and has ended, `abandoned` when a call has that waits.
    """

    def __init__(self) -> None:
        self.came, self.left, self.abandoned = threading.Event(), threading.Event(), threading.Event()

    def service(self, details: Any) -> Any:
        """The method of that name, or none."""
        unary = {"/test.Echo/Unary": self.unary, "/test.Echo/Fail": self.fail, "/test.Echo/Wait": self.wait}
        unary["/greeting.v1.Greeter/Hello"] = self.hello
        streams = {"/test.Echo/Talk": self.talk, "/test.Echo/FailTalking": self.fail_talking}
        if details.method in unary:
            return grpc.unary_unary_rpc_method_handler(unary[details.method])
        if details.method in streams:
            return grpc.stream_stream_rpc_method_handler(streams[details.method])
        return None

    def unary(self, message: bytes, context: Any) -> bytes:
        """The message, and the metadata with the prefix `x-`."""
        metadata = [f"{key}={value}" for key, value in context.invocation_metadata() if key.startswith("x-test")]
        return message + b" " + ",".join(metadata).encode()

    def fail(self, message: bytes, context: Any) -> bytes:
        """An error with details that are no ASCII."""
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not nöw")
        raise AssertionError

    def wait(self, message: bytes, context: Any) -> bytes:
        """No reply before the client cancels."""
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(TIMEOUT)
        self.abandoned.set()
        return b"too late"

    def hello(self, message: bytes, context: Any) -> bytes:
        """A greeting.v1.HelloReply to a HelloRequest with the name "nö" and the numbers 1, -2 and 2**40."""
        assert message == b"\n\x03n\xc3\xb6\x12\x11\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x80\x80\x80\x80\x80 "
        return b"\n\x0ahell\xc3\xb6 \xe2\x82\xac\x10\xff\xff\xff\xff\xff\x1f"

    def talk(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """Metadata, each message in capitals, a farewell when there are no more."""
        if ("x-test", "left") in context.invocation_metadata():
            context.add_callback(self.left.set)
            self.came.set()
        context.send_initial_metadata([("x-initial", "1"), ("x-initial", "2")])
        for message in messages:
            yield message.upper()
        context.set_trailing_metadata([("x-trailing", "3")])
        yield b""
        yield b"bye"

    def fail_talking(self, messages: Iterator[bytes], context: Any) -> Iterator[bytes]:
        """One message, then an error."""
        yield next(messages)
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no more")


@pytest.fixture(scope="module")
def service() -> Service:
    return Service()


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, service: Service) -> Iterator[EnvoyProcess]:
    """Listeners for the scripted plugins and the greeting one; clusters whose server is there, and is not."""
    scripted = build_filter("scripted", include=INCLUDED).path
    with ExitStack() as stack:
        server = grpc.server(ThreadPoolExecutor(4), handlers=[service])
        clusters = [cluster("grpc", "127.0.0.1", server.add_insecure_port("127.0.0.1:0"), http2=True)]
        server.start()
        stack.callback(lambda: server.stop(grace=None).wait())
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        dead = stack.enter_context(socket.socket())
        dead.bind(("127.0.0.1", 0))
        empty, full = (cluster(name, "127.0.0.1", 1, http2=True) for name in ("empty", "full"))
        empty["load_assignment"]["endpoints"] = []
        full["circuit_breakers"] = {"thresholds": [{"max_connections": 0, "max_pending_requests": 0}]}
        clusters += [empty, full]
        for name, listening in (("silent", silent), ("dead", dead)):
            clusters.append(cluster(name, "127.0.0.1", listening.getsockname()[1], http2=True))
        plugins = [WasmPlugin(scripted, root_id=name) for name in ("http", "http-continue")]
        plugins.append(WasmPlugin(build_filter("greeting").path, root_id="greeting"))
        listeners = [http_listener([plugin], [direct_response(200, "on")], name=plugin.root_id) for plugin in plugins]
        process = stack.enter_context(EnvoyProcess(bootstrap(listeners, clusters)))
        yield process
        assert evaluate(process.listener_port("http"), "callouts.pending") == {}


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    """The listener whose plugin does what requests bring."""
    return envoy.listener_port("http")


# Calls


def call(port: int, arguments: str, cluster_name: str = "grpc") -> Any:
    """Status, details and message of the reply to a call that a request waits for."""
    code = f"""
        def on_http_request_headers(self, *_):
            def reply(reply):
                answer = reply.status, reply.details, reply.message, self.request.path
                self.send_http_response(200, body=repr(answer))

            self.dispatch_grpc_call({cluster_name!r}, "test.Echo", {arguments.replace("REPLY", "reply")})
            return Action.PAUSE
    """
    return value(run(port, code, path="/waiting"))


def test_call(port: int) -> None:
    """A message and metadata arrive, and so does the reply, in a callback that can read the request."""
    metadata = "initial_metadata=[('x-test', '1'), ('x-test', '2')]"
    assert call(port, f"'Unary', b'\\x00message', REPLY, {metadata}") == (
        *(0, "", b"\x00message x-test=1,x-test=2"),
        "/waiting",
    )


def test_call_with_an_empty_message(port: int) -> None:
    """No bytes are a message too, both ways, and what has SerializeToString is one."""
    assert call(port, "'Unary', b'', REPLY")[:3] == (0, "", b" ")
    message = "type('Message', (), {'SerializeToString': lambda self: b'own'})()"
    assert call(port, f"'Unary', {message}, REPLY")[:3] == (0, "", b"own ")


@pytest.mark.parametrize(
    ("arguments", "cluster_name", "expected"),
    [
        ("'Fail', b'', REPLY", "grpc", (9, "not n%C3%B6w")),
        ("'Unknown', b'', REPLY", "grpc", (12, "Method not found!")),
        ("'Unary', b'', REPLY, timeout_milliseconds=100", "silent", (14, "upstream request timeout")),
        ("'Unary', b'', REPLY", "dead", (14, "upstream connect error or disconnect/reset before headers.")),
    ],
)
def test_call_that_fails(port: int, arguments: str, cluster_name: str, expected: tuple[int, str]) -> None:
    """An error of the server, a timeout and a server that is not there end the call with status and details."""
    status, details, message, path = call(port, arguments, cluster_name)
    assert (status, details[: len(expected[1])], message, path) == (*expected, b"", "/waiting")


@pytest.mark.parametrize("cluster_name", ["unknown", "\n\x02ab", "empty", "full"])
def test_call_that_fails_at_once(port: int, cluster_name: str) -> None:
    """What fails before it is on its way, since nobody is there to call, raises, and no callback is made for it."""
    http = [(":method", "GET"), (":path", "/"), (":authority", "")]
    never = "lambda *_: shared.setdefault('called', 1)"
    assert failure(port, f"self.dispatch_grpc_call({cluster_name!r}, 'a', 'b', b'', {never})") == (
        "InternalFailure: proxy_grpc_call: INTERNAL_FAILURE (10)"
    )
    assert failure(port, f"self.open_grpc_stream({cluster_name!r}, 'a', 'b', GrpcStream())") == (
        "InternalFailure: proxy_grpc_stream: INTERNAL_FAILURE (10)"
    )
    if cluster_name in {"empty", "full"}:
        assert failure(port, f"self.dispatch_http_call({cluster_name!r}, {http}, {never})") == (
            "InternalFailure: proxy_http_call: INTERNAL_FAILURE (10)"
        )
    assert evaluate(port, "(callouts.pending, 'called' in shared)") == ({}, False)


@pytest.mark.parametrize("target", ["''", "b''", "b'\\x1a\\x00'"])
def test_service_without_a_target_is_refused(envoy: EnvoyProcess, port: int, target: str) -> None:
    """A GrpcService that names no target would make the proxy abort: it never gets there."""
    assert failure(port, f"self.dispatch_grpc_call({target}, 'a', 'b', b'', print)").startswith("ValueError: ")
    assert failure(port, f"self.open_grpc_stream({target}, 'a', 'b', GrpcStream())").startswith("ValueError: ")
    assert evaluate(port, "1 + 1") == 2
    assert envoy.running


def test_what_is_no_message(port: int) -> None:
    """A message that cannot be serialized is a TypeError that says so."""
    for arguments in ("None, print", "'text', print", "b'', None"):
        assert failure(port, f"self.dispatch_grpc_call('grpc', 'a', 'b', {arguments})").startswith("TypeError: ")
    assert evaluate(port, "callouts.pending") == {}


def test_call_is_cancelled(envoy: EnvoyProcess, port: int) -> None:
    """A call that is cancelled is over, and its callback is not made."""
    code = """
        def on_http_request_headers(self, *_):
            def reply(reply):
                log.info("cancelled: called")

            token = self.dispatch_grpc_call("grpc", "test.Echo", "Wait", b"", reply)
            hostcalls.grpc_cancel(token)
            return self.send_http_response(200, body=repr((failure(hostcalls.grpc_cancel, token), callouts.pending)))
    """
    advice = "no gRPC call or stream with this token is open"
    assert value(run(port, code)) == (f"NotFound: proxy_grpc_cancel: NOT_FOUND (1); {advice}", {})
    assert logged(envoy, "cancelled: ") == []


def test_exception_in_the_callback(envoy: EnvoyProcess) -> None:
    """An exception while the reply is handled denies the stream that waits, or lets it go on."""
    code = """
        def on_http_request_headers(self, *_):
            def reply(reply):
                raise ValueError("as asked for")

            self.dispatch_grpc_call("grpc", "test.Echo", METHOD, b"", reply)
            return Action.PAUSE
    """
    for method in ("Unary", "Fail"):
        script = code.replace("METHOD", repr(method))
        assert run(envoy.listener_port("http"), script).status == 500
        assert run(envoy.listener_port("http-continue"), script).body == b"on"
    envoy.wait_for_log("http: uncaught exception in the callback of a gRPC call", 10)


# Streams

STREAM = """
    class Talk(GrpcStream):
        def __init__(self, context, events):
            self.context = context
            self.events = events
            self.effective = lambda: hostcalls._abi.host.get_effective_context() == context.context_id

        def add(self, *event):
            self.events.append(event if self.effective() else ("wrong context", event))

        def on_initial_metadata(self, metadata):
            self.add("initial", [pair for pair in metadata if pair[0].startswith("x-initial")])

        def on_message(self, message):
            self.add("message", message)
            if message == b"TWO":
                self.send(b"three", end_of_stream=True)

        def on_trailing_metadata(self, metadata):
            self.add("trailing", [pair for pair in metadata if pair[0].startswith("x-trailing")])

        def on_close(self, status, details):
            self.add("close", status, details, failure(self.close).partition(":")[0])
            self.context.send_http_response(200, body=repr(self.events))
"""


def talk(port: int, actions: str, method: str = "Talk", cluster_name: str = "grpc") -> Any:
    """The events of a stream that a request waits for, after some actions on it."""
    code = f"""{STREAM}
    def on_http_request_headers(self, *_):
        stream = Talk(self, [])
        self.open_grpc_stream({cluster_name!r}, "test.Echo", {method!r}, stream)
        {actions}
        return Action.PAUSE
    """
    return value(run(port, code))


def test_stream(port: int) -> None:
    """Messages go both ways, also from callbacks; metadata come before and after; the end says how it ended."""
    assert talk(port, "stream.send(b'one'); stream.send(b'two')") == [
        ("initial", [("x-initial", "1"), ("x-initial", "2")]),
        *(("message", message) for message in (b"ONE", b"TWO", b"THREE", b"", b"bye")),
        ("trailing", [("x-trailing", "3")]),
        ("close", 0, "via_upstream", "MisuseError"),
    ]


def test_half_close(port: int) -> None:
    """After closing its side a stream still hears all that the server has to say."""
    events = talk(port, "stream.send(b'one'); stream.close()")
    assert [event[1] for event in events if event[0] == "message"] == [b"ONE", b"", b"bye"]
    assert events[-1] == ("close", 0, "via_upstream", "MisuseError")


def test_stream_that_the_server_ends(port: int) -> None:
    """An error of the server closes the stream, after the messages that came before."""
    events = talk(port, "stream.send(b'one')", method="FailTalking")
    assert [event for event in events if event[0] in {"message", "close"}] == [
        ("message", b"one"),
        ("close", 8, "no more{via_upstream}", "MisuseError"),
    ]


@pytest.mark.parametrize("actions", ["pass", "stream.send(b'one')", "stream.close()"])
def test_stream_to_a_dead_server(port: int, actions: str) -> None:
    """A stream that cannot be opened is closed with a status, whatever was done with it in the meantime."""
    events = talk(port, actions, cluster_name="dead")
    assert [event[:2] for event in events if event[0] not in {"initial", "trailing"}] == [("close", 14)]


def test_stream_is_cancelled(port: int) -> None:
    """A stream that is cancelled is not open any more, and hears nothing."""
    code = f"""{STREAM}
    def on_http_request_headers(self, *_):
        stream = Talk(self, [])
        self.open_grpc_stream("grpc", "test.Echo", "Talk", stream)
        stream.send(b"one")
        again = failure(self.open_grpc_stream, "grpc", "test.Echo", "Talk", stream)
        stream.cancel()
        stream.cancel()
        return self.send_http_response(200, body=repr((again, failure(stream.send, b""), stream.events)))
    """
    again, sending, events = value(run(port, code))
    assert again == "MisuseError: this gRPC stream is open already"
    assert sending == "MisuseError: this gRPC stream is not open: it was not opened yet, or has ended"
    assert events == []


def test_stream_ends_with_its_context(envoy: EnvoyProcess, port: int, service: Service) -> None:
    """When the client goes away the gRPC stream hears nothing more, and is cancelled at its next event."""
    code = f"""{STREAM}
    def on_http_request_headers(self, *_):
        shared["stream"] = Talk(self, [])
        self.open_grpc_stream("grpc", "test.Echo", "Talk", shared["stream"], initial_metadata=[("x-test", "left")])
        log.info("left: opened")
        return Action.PAUSE

    def on_delete(self):
        log.info("left: deleted")
    """
    name, encoded = (text.decode() if isinstance(text, bytes) else text for text in script_header(code))
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nhost: a\r\n{name}: {encoded}\r\n\r\n".encode())
        envoy.wait_for_log("left: opened", 10)
        assert service.came.wait(10)  # or else it could be cancelled before the server knows of it
    envoy.wait_for_log("left: deleted", 10)
    before = evaluate(port, "len(shared['stream'].events)")
    evaluate(port, "failure(shared['stream'].send, b'one')")  # an event, unless the first metadata came just now
    assert service.left.wait(10)
    after = "(len(shared['stream'].events), failure(shared['stream'].close), callouts.pending)"
    ended = "MisuseError: this gRPC stream is not open: it was not opened yet, or has ended"
    assert evaluate(port, after) == (before, ended, {})


def test_exception_in_a_callback_of_a_stream(envoy: EnvoyProcess) -> None:
    """An exception in a callback of a gRPC stream denies the stream that waits for it, or lets it go on."""
    for callback in ("on_initial_metadata", "on_message", "on_trailing_metadata", "on_close"):
        code = f"""
            class Talk(GrpcStream):
                def {callback}(self, *_):
                    raise ValueError("as asked for")

            def on_http_request_headers(self, *_):
                stream = Talk()
                self.open_grpc_stream("grpc", "test.Echo", "Talk", stream)
                stream.send(b"one", end_of_stream=True)
                return Action.PAUSE
        """
        assert run(envoy.listener_port("http"), code).status == 500
        assert run(envoy.listener_port("http-continue"), code).body == b"on"


# Messages of protoc


def test_generated_messages(envoy: EnvoyProcess) -> None:
    """The classes that protoc generates work, with protobuf's Python implementation, as nothing native is there."""
    response = request(envoy.listener_port("greeting"), headers=[("x-name", "n\xc3\xb6")])
    assert response.body.decode() == f"python: hellö € {2**40 - 1}"


# Awaited


def test_awaited_calls(port: int) -> None:
    """A coroutine has the reply, or what the call failed with, and the request is still its own."""
    code = """
        async def on_http_request_headers(self, *_):
            well, badly = await gather(
                self.grpc_call("grpc", "test.Echo", "Unary", b"message", initial_metadata=[("x-test", "1")]),
                self.grpc_call("grpc", "test.Echo", "Fail", b""),
            )
            answer = well.status, well.message, badly.status, badly.details[:3], self.request.path
            return self.send_http_response(200, body=repr(answer))
    """
    assert value(run(port, code, path="/waiting")) == (0, b"message x-test=1", 9, "not", "/waiting")


def test_a_call_that_nobody_awaits_any_more(port: int, service: Service) -> None:
    """Whose time is up cancels its call, and the server hears of that."""
    service.abandoned.clear()
    code = """
        async def on_http_request_headers(self, *_):
            try:
                async with timeout(0.2):
                    await self.grpc_call("grpc", "test.Echo", "Wait", b"")
            except TimeoutError:
                return self.send_http_response(504, body=repr(len(callouts.pending)))
    """
    response = run(port, code)
    assert (response.status, response.body) == (504, b"0")
    assert service.abandoned.wait(10)


TALKING = """
    async def on_http_request_headers(self, *_):
        stream = self.grpc_stream("grpc", "test.Echo", METHOD)
        stream.send(b"one")
        said = []
        try:
            async for message in stream:
                said.append(message)
                if message == b"ONE":
                    stream.send(b"two")
                    stream.close()
        except GrpcError as error:
            said.append((error.status, error.details[:7]))
        metadata = [pair for pair in stream.initial_metadata + stream.trailing_metadata if "x-" in pair[0]]
        return self.send_http_response(200, body=repr((said, metadata, stream.grpc_token)))
"""


def test_awaited_messages(port: int) -> None:
    """A stream's messages come one after the other, until it ends or fails."""
    metadata = [("x-initial", "1"), ("x-initial", "2"), ("x-trailing", "3")]
    assert value(run(port, TALKING.replace("METHOD", "'Talk'"))) == ([b"ONE", b"TWO", b"", b"bye"], metadata, None)
    assert value(run(port, TALKING.replace("METHOD", "'FailTalking'"))) == ([b"one", (8, "no more")], [], None)
