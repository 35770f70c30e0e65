"""Calls of filters to other services, and the services that a test puts there.

    host.clusters["auth"] = Response(200)                          # always the same answer
    host.clusters["auth"] = [Response(500), Response(200)]         # one for each call, in order
    host.clusters["auth"] = lambda request: Response(200, body=request.path)
    host.clusters["auth"] = None                                   # calls wait until the test answers: host.http_calls

A gRPC service answers with bytes, or a `GrpcError`; a function gets the `GrpcCall`. What opens a stream is a function:
it is called when the stream opens, whenever the filter sends a message, and when it says that it sends no more, from
within that host call. As in Envoy, a call to a cluster that is not there fails at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from pywasmfilter._protobuf import fields
from pywasmfilter.types import BufferType, GrpcStatus, MapType, Status

from .abi import BROKEN_CONNECTION, HostError
from .messages import Headers, HeadersLike, Pairs, Request, Response, Text, as_bytes, as_text

if TYPE_CHECKING:
    from .plugin import Plugin
    from .proxy import Proxy


class GrpcError(NamedTuple):
    """How a gRPC call fails."""

    status: int
    details: str = ""


Answer: TypeAlias = "Response | bytes | GrpcError | None"
Service: TypeAlias = "Answer | Sequence[Answer] | Callable[[Any], Answer]"
"""What answers the calls to a cluster; None leaves that to the test."""

_TIMEOUT = Response(504, {"content-length": "24", "content-type": "text/plain"}, b"upstream request timeout")


class _Call:
    """What calls have in common."""

    def __init__(self, plugin: Plugin, token: int, cluster: str, timeout: float) -> None:
        self.plugin = plugin
        self.token = token
        self.cluster = cluster
        self.timeout = timeout
        """In seconds; 0 means none."""
        self.open = True
        """Whether the filter still waits for it."""
        self._timer: int | None = None

    def start_timer(self, time_out: Callable[[], object]) -> None:
        """Time out when the time is over."""
        if self.timeout:
            self._timer = self.plugin.proxy.clock.call_later(self.timeout, time_out)

    def _close(self) -> None:
        if not self.open:
            raise AssertionError(f"{self} is over already")
        self.open = False
        if self._timer is not None:
            self.plugin.proxy.clock.cancel(self._timer)


class HttpCall(_Call):
    """A request that a filter sent with `proxy_http_call`."""

    def __init__(self, plugin: Plugin, token: int, cluster: str, request: Request, timeout: float) -> None:
        super().__init__(plugin, token, cluster, timeout)
        self.request = request

    def reply(self, response: Response) -> None:
        """Let the response arrive. AssertionError if the call is over."""
        self._reply(response)

    def fail(self) -> None:
        """Let the call break off, as when the connection is lost in the middle of the response."""
        nothing = Response()
        nothing.headers = Headers()
        self._reply(nothing, status=(BROKEN_CONNECTION, b"reset"))

    def _reply(self, response: Response, **status: tuple[int, bytes]) -> None:
        self._close()
        maps = {
            MapType.HTTP_CALL_RESPONSE_HEADERS: response.headers.raw,
            MapType.HTTP_CALL_RESPONSE_TRAILERS: response.trailers.raw,
        }
        sizes = len(response.headers), len(response.body), len(response.trailers)
        buffers = {BufferType.HTTP_CALL_RESPONSE_BODY: response.body} if response.headers else {}
        self.plugin.later("proxy_on_http_call_response", self.token, *sizes, maps=maps, buffers=buffers, **status)

    def time_out(self) -> None:
        """Let the proxy answer as it does when the timeout is over."""
        self.reply(_TIMEOUT)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        self._close()

    def __repr__(self) -> str:
        return f"<HttpCall to {self.cluster!r}: {self.request.method} {self.request.path}>"


class GrpcCall(_Call):
    """A unary call, or a stream, that a filter opened. `messages` are those that the filter sent."""

    def __init__(
        self, plugin: Plugin, token: int, cluster: str, method: str, metadata: Pairs, is_stream: bool, timeout: float
    ) -> None:
        super().__init__(plugin, token, cluster, timeout)
        self.method = method
        """The full name, such as "grpc.health.v1.Health/Check"."""
        self.initial_metadata = Headers(metadata)
        self.is_stream = is_stream
        self.messages: list[bytes] = []
        self.half_closed = False
        """Whether the filter said that it sends no more."""

    def send_initial_metadata(self, metadata: HeadersLike) -> None:
        """The first metadata of a stream; from within a service the callback comes at once, as in Envoy."""
        pairs = Headers(metadata).raw
        maps = {MapType.GRPC_CALL_INITIAL_METADATA: pairs}
        self.plugin.callback("proxy_on_grpc_receive_initial_metadata", self.token, len(pairs), maps=maps)

    def send_message(self, message: Text) -> None:
        """A message of a stream, or the answer to a call, which is then over."""
        if not self.is_stream:
            self._close()
        data = as_bytes(message)
        self.plugin.later("proxy_on_grpc_receive", self.token, len(data), buffers={BufferType.GRPC_CALL_MESSAGE: data})

    def send_trailing_metadata(self, metadata: HeadersLike) -> None:
        """The last metadata of a stream; from within a service the callback comes at once, as in Envoy."""
        pairs = Headers(metadata).raw
        maps = {MapType.GRPC_CALL_TRAILING_METADATA: pairs}
        self.plugin.callback("proxy_on_grpc_receive_trailing_metadata", self.token, len(pairs), maps=maps)

    def close(self, status: int = GrpcStatus.OK, details: str = "") -> None:
        """A stream has ended, or a call has failed. AssertionError if it is over."""
        self._close()
        self.plugin.later("proxy_on_grpc_close", self.token, status, status=(int(status), as_bytes(details)))

    def cancel(self) -> None:
        """The filter wants no more of it."""
        self._close()

    def time_out(self) -> None:
        """Let the proxy end it as it does when the timeout is over."""
        self.close(GrpcStatus.UNAVAILABLE, "upstream request timeout{response_timeout}")

    def __repr__(self) -> str:
        return f"<GrpcCall to {self.cluster!r}: {self.method}>"


class Clusters:
    """The services by the names of their clusters, and all calls that were made."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._services: dict[str, Service] = {}
        self.http_calls: list[HttpCall] = []
        self._grpc_calls: list[GrpcCall] = []

    def __setitem__(self, name: str, service: Service) -> None:
        self._services[name] = list(service) if isinstance(service, list) else service

    def __delitem__(self, name: str) -> None:
        del self._services[name]

    def __contains__(self, name: str) -> bool:
        return name in self._services

    def __iter__(self) -> Iterator[str]:
        return iter(self._services)

    @property
    def grpc_calls(self) -> dict[int, GrpcCall]:
        """The gRPC calls and streams that are open, by token."""
        return {call.token: call for call in self._grpc_calls if call.open}

    def open_calls(self) -> list[HttpCall | GrpcCall]:
        """The calls that filters wait for."""
        calls: list[HttpCall | GrpcCall] = [*self.http_calls, *self._grpc_calls]
        return [call for call in calls if call.open]

    def ask(self, call: HttpCall) -> None:
        """A filter sends a request; the answer comes when no callback runs."""
        self.http_calls.append(call)
        call.start_timer(call.time_out)
        self._proxy.post(lambda: self._answer(call))

    def _answer(self, call: HttpCall) -> None:
        response = self._take(call.cluster, call.request)
        if response is None or not call.open:
            return
        if not isinstance(response, Response):
            raise TypeError(f"the cluster {call.cluster!r} answers an HTTP request with {response!r}, not a Response")
        if response.delay:
            self._proxy.clock.call_later(response.delay, lambda: self._reply(call, response))
        else:
            call.reply(response)

    def _reply(self, call: HttpCall, response: Response) -> None:
        if call.open:
            call.reply(response)

    def ask_grpc(self, call: GrpcCall) -> None:
        """A filter makes a call, or opens a stream."""
        self._grpc_calls.append(call)
        call.start_timer(call.time_out)
        if call.is_stream:
            self.send_grpc(call)
        else:
            self._proxy.post(lambda: self._answer_grpc(call))

    def send_grpc(self, call: GrpcCall) -> None:
        """A stream is open, or the filter has sent a message on it, or has said that it sends no more."""
        service = self._services.get(call.cluster)
        if callable(service):
            service(call)

    def _answer_grpc(self, call: GrpcCall) -> None:
        answer = self._take(call.cluster, call)
        if answer is None or not call.open:
            return
        if isinstance(answer, GrpcError):
            call.close(answer.status, answer.details)
        elif isinstance(answer, bytes):
            call.send_message(answer)
        else:
            raise TypeError(f"the cluster {call.cluster!r} answers a gRPC call with {answer!r}, not bytes or GrpcError")

    def _take(self, cluster: str, call: Request | GrpcCall) -> object:
        service = self._services.get(cluster)
        if isinstance(service, list):
            if not service:
                raise AssertionError(f"the cluster {cluster!r} is asked more often than it has answers: {call}")
            return service.pop(0)
        return service(call) if callable(service) else service


def cluster_of(service: bytes) -> str:
    """The cluster that a gRPC call names: as envoy.config.core.v3.GrpcService, or else as it is.

    Raises HostError for a message that names none.
    """
    try:
        target = fields(service).get(1, b"")
        name = fields(target).get(1) if isinstance(target, bytes) else None
    except ValueError:
        return as_text(service)
    if not isinstance(name, bytes):
        raise HostError(Status.PARSE_FAILURE)
    return as_text(name)
