"""A Proxy-Wasm host in wasmtime that keeps everything in memory: a module runs without a proxy.

    host = WasmtimeHost(Path("filter.wasm"), plugin_configuration=b"{}")
    stream = host.http(Message([(b":method", b"GET"), (b":path", b"/"), (b":authority", b"example")]))
    stream.response.passed.headers
    host.log

The host offers the functions of one version of the ABI and four of WASI, and wasmtime refuses a module that imports
others. Calls to other services go on when a test says what comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pywasmfilter_compiler import hosts

from .abi import BufferType, MapType, Pairs, Status
from .guest import Functions, Guest
from .host_functions import ROOT, HostFunctions
from .streams import HttpStream, Message, Stream, TcpStream, Upstream

_WASI: Final = ("clock_time_get", "environ_get", "environ_sizes_get", "random_get")

_NOTHING: Final[Mapping[int, Any]] = MappingProxyType({})


class Refused(Exception):
    """The module is not one for this host, or does not take its configuration."""


def ok(_: Message) -> Message:
    """An upstream that answers every request with an empty 200."""
    return Message([(b":status", b"200")])


class WasmtimeHost(HostFunctions):
    """One VM with one plugin, which is started. Raises Refused, or wasmtime's error for an import it does not have.

    `native_stack` is how many bytes of stack the module may use, if that is not to be wasmtime's default.
    """

    def __init__(
        self,
        module: Path,
        abi: str = "0.2.1",
        *,
        root_id: str = "",
        plugin_configuration: bytes = b"",
        vm_configuration: bytes = b"",
        environment: Mapping[str, str] | None = None,
        native_stack: int | None = None,
    ) -> None:
        super().__init__(abi, vm_configuration)
        self.properties[("plugin_root_id",)] = root_id.encode()
        self.environment = dict(environment or {})
        self._depth = 0
        self._next_context = ROOT + 1
        self.guest = Guest(module.read_bytes(), self.functions(), native_stack)
        self._callbacks = self._checked_callbacks()
        self._start(len(vm_configuration), plugin_configuration)

    def http(self, request: Message, upstream: Upstream = ok) -> HttpStream:
        """Begin an HTTP stream; what has passed of it, and what waits, is in the result."""
        stream = HttpStream(self, request, upstream)
        self.drain()
        return stream

    def tcp(self) -> TcpStream:
        """Begin a TCP stream."""
        stream = TcpStream(self)
        self.drain()
        return stream

    def tick(self) -> None:
        """The tick period has passed."""
        self._event("proxy_on_tick")

    def shut_down(self) -> None:
        """The plugin is to go; if it is not done, it goes when it calls proxy_done."""
        if "proxy_on_done" not in self._callbacks or self.call("proxy_on_done", ROOT):
            self.call("proxy_on_delete", ROOT)
        else:
            self._deletes_root = True
        self.drain()

    # What comes back from other services

    def http_call_response(self, token: int, response: Message) -> None:
        """The answer to a call of `http_calls`; one without headers says that the call failed."""
        del self.http_calls[token]
        if not response.headers:
            self.call_status = Status.BROKEN_CONNECTION, b"reset"
        maps = {
            MapType.HTTP_CALL_RESPONSE_HEADERS: response.headers,
            MapType.HTTP_CALL_RESPONSE_TRAILERS: response.trailers,
        }
        sizes = len(response.headers), len(response.body), len(response.trailers)
        buffers = {BufferType.HTTP_CALL_RESPONSE_BODY: response.body}
        self._later("proxy_on_http_call_response", token, *sizes, maps=maps, buffers=buffers)

    def grpc_initial_metadata(self, token: int, pairs: Pairs) -> None:
        """The first metadata of a stream; from within `on_grpc` the callback comes at once, as in Envoy."""
        maps = {MapType.GRPC_INITIAL_METADATA: pairs}
        self._event("proxy_on_grpc_receive_initial_metadata", token, len(pairs), maps=maps)

    def grpc_message(self, token: int, message: bytes) -> None:
        """A message of a stream, or the answer to a call, which is then over."""
        call = self.grpc_calls[token]
        if not call.is_stream:
            del self.grpc_calls[token]
        self._later("proxy_on_grpc_receive", token, len(message), buffers={BufferType.GRPC_MESSAGE: message})

    def grpc_trailing_metadata(self, token: int, pairs: Pairs) -> None:
        """The last metadata of a stream; from within `on_grpc` the callback comes at once, as in Envoy."""
        maps = {MapType.GRPC_TRAILING_METADATA: pairs}
        self._event("proxy_on_grpc_receive_trailing_metadata", token, len(pairs), maps=maps)

    def grpc_closed(self, token: int, status: int, message: bytes = b"") -> None:
        """A stream has ended, or a call has failed."""
        del self.grpc_calls[token]
        self.call_status = status, message
        self._later("proxy_on_grpc_close", token, status)

    # For streams

    def add_context(self, stream: Stream) -> int:
        """The id of a new context."""
        context_id, self._next_context = self._next_context, self._next_context + 1
        self.streams[context_id] = stream
        self.call("proxy_on_context_create", context_id, ROOT)
        return context_id

    def remove_context(self, context_id: int) -> None:
        """The last callback of a context."""
        self.call("proxy_on_delete", context_id)
        del self.streams[context_id]

    def call(self, callback: str, context_id: int, *arguments: int) -> int:
        """What a callback of the module answers; 0 if there is none, or none to answer.

        Local responses wait until the outermost callback has returned.
        """
        if callback not in self._callbacks:
            return 0
        saved = self._context, self._effective_context
        self._context = self._effective_context = context_id
        self._depth += 1
        try:
            answer = self.guest.call(callback, context_id, *arguments)
        finally:
            self._depth -= 1
            self._context, self._effective_context = saved
        while self._after_call and not self._depth:
            self._after_call.popleft()()
        return answer or 0

    def drain(self) -> None:
        """Do what was put off until no callback runs."""
        while self._posted and not self._depth:
            self._posted.popleft()()

    def _event(self, callback: str, *arguments: int, **shown: Any) -> None:
        """A callback of the plugin, with the maps and buffers that it may read."""
        with self._showing(**shown):
            self.call(callback, ROOT, *arguments)
        self.drain()

    def _later(self, callback: str, *arguments: int, **shown: Any) -> None:
        """The same, once no other callback runs."""
        event = partial(self._event, callback, *arguments, **shown)
        if self._depth:
            self._after_call.append(event)
        else:
            event()

    @contextmanager
    def _showing(self, maps: Mapping[int, Pairs] = _NOTHING, buffers: Mapping[int, bytes] = _NOTHING) -> Iterator[None]:
        saved = self._maps, self._buffers
        self._maps, self._buffers = {**self._maps, **maps}, {**self._buffers, **buffers}
        try:
            yield
        finally:
            self._maps, self._buffers = saved

    # Loading and starting

    def functions(self) -> Functions:
        """All that a module may import here."""
        of_wasi = {("wasi_snapshot_preview1", name): getattr(self, name) for name in _WASI}
        return {("env", name): getattr(self, name) for name in hosts.functions(self.abi)} | of_wasi

    def _checked_callbacks(self) -> set[str]:
        """The callbacks that the module has, of which each must have its type, as must the version."""
        exports = self.guest.exports()
        marker = next((name for name in exports if name in hosts.ABI_MARKERS), "no version")
        if hosts.ABI_MARKERS.get(marker) != self.abi:
            raise Refused(f"this is a host of ABI {self.abi}, and the module exports {marker}")
        types = hosts.callbacks(self.abi)
        for name in exports.keys() & types.keys():
            if exports[name] != types[name]:
                raise Refused(f"{name} is {exports[name]}, and should be {types[name]}")
        return exports.keys() & types.keys()

    def _start(self, vm_configuration_size: int, plugin_configuration: bytes) -> None:
        self.call("proxy_on_context_create", ROOT, 0)
        started = self._succeeds("proxy_on_vm_start", vm_configuration_size)
        with self._showing(buffers={BufferType.PLUGIN_CONFIGURATION: plugin_configuration}):
            started = started and self._succeeds("proxy_on_configure", len(plugin_configuration))
        if not started:
            raise Refused("\n".join(["the module does not start", *(line.message for line in self.log)]))
        self.drain()

    def _succeeds(self, callback: str, size: int) -> bool:
        return callback not in self._callbacks or bool(self.call(callback, ROOT, size))
