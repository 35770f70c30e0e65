"""A proxy in memory, and a registry of plugins that forgets what a test put there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pywasmfilter import _abi, _callbacks, _dispatcher, _state, callouts, registry
from pywasmfilter._serialization import decode_pairs, encode_pairs
from pywasmfilter.contexts import HttpContext, VMContext
from pywasmfilter.exceptions import raise_for_status
from pywasmfilter.types import Action, BufferType, MapType, MetricType, Status, StreamType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter._abi import Host

Text = str | bytes
Pairs = list[tuple[bytes, bytes]]


PAUSES = {
    **{name: StreamType.HTTP_REQUEST for name in _callbacks.METHODS[HttpContext].values() if "_request_" in name},
    **{name: StreamType.HTTP_RESPONSE for name in _callbacks.METHODS[HttpContext].values() if "_response_" in name},
    **dict.fromkeys(("on_new_connection", "on_downstream_data"), StreamType.DOWNSTREAM),
    "on_upstream_data": StreamType.UPSTREAM,
}
"""What a callback's PAUSE holds; the shim tells the context."""


def as_bytes(text: Text) -> bytes:
    """What the shim makes of an argument."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def require(function: str, allowed: object, status: Status) -> None:
    """Answer a status as the shim does, unless something is so."""
    if not allowed:
        raise_for_status(f"proxy_{function}", status)


@dataclass
class MemoryHost:
    """What `_abi.host` stands for, as Envoy answers, with everything it holds as plain attributes.

    `calls` are (function, context it acts on, *arguments), for what a test cannot see otherwise; `responses` are the
    arguments of local responses.
    """

    headers: dict[int, Pairs] = field(default_factory=dict)
    properties: dict[bytes, bytes] = field(default_factory=dict)
    buffers: dict[int, bytes] = field(default_factory=dict)
    foreign: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    environment: list[bytes] = field(default_factory=list)
    log_level: int = 2
    logged: list[tuple[int, Text]] = field(default_factory=list)
    responses: list[tuple[int, Text, Text, Pairs, int]] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    clusters: frozenset[str] = frozenset({"web"})
    open: set[int] = field(default_factory=set)
    """The tokens of calls and streams that are on their way; the low two bits say which kind."""
    status: tuple[int, str] = (0, "")
    during_send: Callable[[], object] = lambda: None
    """What happens in the middle of `grpc_send`."""
    data: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    queues: dict[tuple[bytes, bytes], list[bytes]] = field(default_factory=dict)
    metrics: list[tuple[int, bytes]] = field(default_factory=list)
    """Type and name of each id, from 0 on."""
    values: defaultdict[bytes, int] = field(default_factory=lambda: defaultdict(int))
    recorded: defaultdict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    """The values of histograms."""
    running: tuple[int, int] = (0, 0)
    """The context of the callback that runs, and the one that calls act on."""
    running_stream: int = -1
    """The stream type that the running callback's answer can pause."""
    call_number: int = 0
    """Counts the calls of the host into the module, callbacks inside them not."""
    notifies_deletes: bool = False
    memory: list[int] = field(default_factory=lambda: [0, 0, 0, 0, 0])
    """The size of the VM's memory and its bound, bytes and blocks in use, and how many streams have begun."""

    # Callbacks

    def run(self, context_id: int, method: str, *arguments: object) -> Any:
        """Make a callback as the shim does, also in the middle of another one; gives the method's answer."""
        context = _state.contexts[context_id]
        if context is None:
            return None
        outer = self.running, self.running_stream
        self.call_number += outer[0] == (0, 0)
        self.running, self.running_stream = (context_id, context_id), PAUSES.get(method, -1)
        try:
            answer = getattr(context, method)(*arguments)
        except BaseException as exception:  # noqa: BLE001  # as in the shim
            return _dispatcher.on_exception(context, method, exception)
        else:
            if answer == Action.PAUSE and method in PAUSES:
                context._abi_paused |= 1 << PAUSES[method]
            return answer
        finally:
            self.running, self.running_stream = outer

    def reply(self, token: int, method: str, *arguments: int) -> None:
        """Answer a call; replies come to the plugin, which is context 1 in these tests."""
        if method in ("_on_http_call_response", "_on_grpc_close"):
            self.open.discard(token)
        self.run(1, method, token, *arguments)

    def _record(self, function: str, *arguments: object) -> None:
        self.calls.append((function, self.running[1], *arguments))

    # Logging, clocks and timers

    def log(self, level: int, message: Text) -> None:
        self.logged.append((level, message))

    def get_log_level(self) -> int:
        return self.log_level

    def get_current_time_nanoseconds(self) -> int:
        return 1_234_567_890

    def set_tick_period_milliseconds(self, period: int) -> None:
        self._record("set_tick_period_milliseconds", period)

    # Contexts and streams

    def set_effective_context(self, context_id: int) -> None:
        require("set_effective_context", context_id == 0 or context_id in _state.contexts, Status.BAD_ARGUMENT)
        calling, _ = self.running
        self.running = calling, context_id or calling

    def get_effective_context(self) -> int:
        return self.running[1]

    def get_running_stream(self) -> int:
        return self.running_stream if self.running[0] == self.running[1] else -1

    def get_answered_stream(self) -> int:
        return self.running_stream

    def get_call_number(self) -> int:
        return self.call_number

    def notify_deletes(self) -> None:
        self.notifies_deletes = True

    def get_memory(self) -> list[int]:
        return self.memory

    def done(self) -> None:
        self._record("done")

    def continue_stream(self, stream_type: int) -> None:
        require("continue_stream", stream_type != StreamType.UPSTREAM, Status.UNIMPLEMENTED)
        self._record("continue_stream", stream_type)

    def close_stream(self, stream_type: int) -> None:
        self._record("close_stream", stream_type)

    def clear_route_cache(self) -> None:
        raise_for_status("proxy_clear_route_cache", Status.UNIMPLEMENTED)  # ABI 0.1.0 only

    def send_local_response(self, status: int, details: Text, body: Text, headers: bytes, grpc_status: int) -> None:
        self._record("send_local_response", status)
        self.responses.append((status, details, body, decode_pairs(headers), grpc_status))

    # Buffers: a body or a connection's data that is not there is empty, any other is NotFound.

    def get_buffer_bytes(self, buffer_type: int, start: int, max_size: int) -> bytes:
        is_data = buffer_type <= BufferType.UPSTREAM_DATA
        require("get_buffer_bytes", is_data or buffer_type in self.buffers, Status.NOT_FOUND)
        return self.buffers.get(buffer_type, b"")[start : start + max_size]

    def get_buffer_size(self, buffer_type: int) -> int:
        return len(self.get_buffer_bytes(buffer_type, 0, 1 << 32))

    def set_buffer_bytes(self, buffer_type: int, start: int, size: int, data: Text) -> None:
        allowed = buffer_type <= BufferType.UPSTREAM_DATA and buffer_type in self.buffers
        old = self.buffers.get(buffer_type, b"")
        require("set_buffer_bytes", allowed and (start == 0 or start >= len(old)), Status.BAD_ARGUMENT)
        self.buffers[buffer_type] = old + as_bytes(data) if start else as_bytes(data) + old[size:]

    # Header maps: a map that is not in `headers` is one that cannot be had in this callback.

    def _map(self, function: str, map_type: int) -> Pairs:
        require(function, map_type in self.headers, Status.BAD_ARGUMENT)
        return self.headers[map_type]

    def get_header_map_size(self, map_type: int) -> int:
        require("get_header_map_size", map_type <= MapType.HTTP_RESPONSE_TRAILERS, Status.BAD_ARGUMENT)
        return sum(len(name) + len(value) for name, value in self._map("get_header_map_size", map_type))

    def get_header_map_pairs(self, map_type: int) -> bytes:
        return encode_pairs(self.headers[map_type]) if self.headers.get(map_type) else b""

    def set_header_map_pairs(self, map_type: int, pairs: bytes) -> None:
        self._map("set_header_map_pairs", map_type)[:] = decode_pairs(pairs)

    def get_header_map_value(self, map_type: int, key: Text) -> str | None:
        wanted = as_bytes(key).lower()
        found = [value for name, value in self._map("get_header_map_value", map_type) if name.lower() == wanted]
        return found[0].decode("utf-8", "surrogateescape") if found else None

    def add_header_map_value(self, map_type: int, key: Text, value: Text) -> None:
        self._map("add_header_map_value", map_type).append((as_bytes(key), as_bytes(value)))

    def replace_header_map_value(self, map_type: int, key: Text, value: Text) -> None:
        self.remove_header_map_value(map_type, key)
        self.add_header_map_value(map_type, key, value)

    def remove_header_map_value(self, map_type: int, key: Text) -> None:
        pairs = self._map("remove_header_map_value", map_type)
        pairs[:] = [(name, value) for name, value in pairs if name.lower() != as_bytes(key).lower()]

    # Properties and foreign functions

    def get_property(self, path: bytes) -> bytes | None:
        return self.properties.get(path)

    def set_property(self, path: bytes, value: Text) -> None:
        self.properties[path] = as_bytes(value)

    def call_foreign_function(self, name: Text, arguments: Text) -> bytes:
        function = self.foreign.get(as_bytes(name).decode())
        if function is None:
            raise_for_status("proxy_call_foreign_function", Status.NOT_FOUND)
        return function(as_bytes(arguments))

    # HTTP and gRPC calls

    def _open(self, kind: int) -> int:
        token = 4 * (len(self.calls) + 1) + kind
        self.open.add(token)
        return token

    def http_call(self, cluster: Text, headers: bytes, body: Text, trailers: bytes, timeout: int) -> int:
        pairs = decode_pairs(headers)
        named = {b":method", b":path", b":authority"} <= {name for name, _ in pairs}
        require("http_call", named and as_bytes(cluster).decode() in self.clusters, Status.BAD_ARGUMENT)
        self._record("http_call", cluster, pairs, body, decode_pairs(trailers), timeout)
        return self._open(0)

    def grpc_call(
        self, service: bytes, service_name: Text, method: Text, initial_metadata: bytes, message: bytes, timeout: int
    ) -> int:
        self._check_service("grpc_call", service)
        self._record("grpc_call", service, service_name, method, decode_pairs(initial_metadata), message, timeout)
        return self._open(1)

    def grpc_stream(self, service: bytes, service_name: Text, method: Text, initial_metadata: bytes) -> int:
        self._check_service("grpc_stream", service)
        self._record("grpc_stream", service, service_name, method, decode_pairs(initial_metadata))
        return self._open(2)

    def _check_service(self, function: str, service: bytes) -> None:
        require(function, any(cluster.encode() in service for cluster in self.clusters), Status.PARSE_FAILURE)

    def _check_token(self, function: str, token: int) -> None:
        require(function, token & 3 and (function != "grpc_send" or token & 3 == 2), Status.BAD_ARGUMENT)
        require(function, token in self.open, Status.NOT_FOUND)

    def grpc_send(self, token: int, message: bytes, end_of_stream: bool) -> None:
        self._check_token("grpc_send", token)
        self._record("grpc_send", token, message, end_of_stream)
        self.during_send()

    def grpc_close(self, token: int) -> None:
        self._check_token("grpc_close", token)
        self._record("grpc_close", token)
        if token & 3 == 1:
            self.open.discard(token)  # a call is cancelled, a stream half-closed

    def grpc_cancel(self, token: int) -> None:
        self._check_token("grpc_cancel", token)
        self._record("grpc_cancel", token)
        self.open.discard(token)

    def get_status(self) -> tuple[int, str]:
        return self.status

    # Shared data and queues

    def get_shared_data(self, key: Text) -> tuple[bytes, int]:
        require("get_shared_data", as_bytes(key) in self.data, Status.NOT_FOUND)
        return self.data[as_bytes(key)]

    def set_shared_data(self, key: Text, value: Text, cas: int) -> None:
        current = self.data.get(as_bytes(key), (b"", cas))[1]
        require("set_shared_data", cas in (0, current), Status.CAS_MISMATCH)
        self._record("set_shared_data", key, value)
        self.data[as_bytes(key)] = as_bytes(value), len(self.calls)

    def register_shared_queue(self, name: Text) -> int:
        self.queues.setdefault((b"", as_bytes(name)), [])
        return self.resolve_shared_queue("", name)

    def resolve_shared_queue(self, vm_id: Text, name: Text) -> int:
        key = as_bytes(vm_id), as_bytes(name)
        require("resolve_shared_queue", key in self.queues, Status.NOT_FOUND)
        return list(self.queues).index(key) + 1

    def _queue(self, function: str, queue_id: int) -> list[bytes]:
        require(function, 0 < queue_id <= len(self.queues), Status.NOT_FOUND)
        return list(self.queues.values())[queue_id - 1]

    def enqueue_shared_queue(self, queue_id: int, data: Text) -> None:
        self._queue("enqueue_shared_queue", queue_id).append(as_bytes(data))

    def dequeue_shared_queue(self, queue_id: int) -> bytes:
        queue = self._queue("dequeue_shared_queue", queue_id)
        require("dequeue_shared_queue", queue, Status.EMPTY)
        return queue.pop(0)

    # Metrics: of one name there is one, whatever its ids.

    def _metric(self, function: str, metric_id: int, *, histogram: bool) -> tuple[int, bytes]:
        require(function, 0 <= metric_id < len(self.metrics), Status.NOT_FOUND)
        metric = self.metrics[metric_id]
        require(function, histogram or metric[0] != MetricType.HISTOGRAM, Status.BAD_ARGUMENT)
        return metric

    def define_metric(self, metric_type: int, name: Text) -> int:
        require("define_metric", metric_type in tuple(MetricType), Status.BAD_ARGUMENT)
        self.metrics.append((metric_type, as_bytes(name)))
        return len(self.metrics) - 1

    def increment_metric(self, metric_id: int, offset: int) -> None:
        kind, name = self._metric("increment_metric", metric_id, histogram=False)
        require("increment_metric", offset > 0 or kind == MetricType.GAUGE, Status.BAD_ARGUMENT)
        self.values[name] += offset

    def record_metric(self, metric_id: int, value: int) -> None:
        kind, name = self._metric("record_metric", metric_id, histogram=True)
        if kind == MetricType.HISTOGRAM:
            self.recorded[name].append(value)
        else:
            self.values[name] = value + (self.values[name] if kind == MetricType.COUNTER else 0)

    def get_metric(self, metric_id: int) -> int:
        return self.values[self._metric("get_metric", metric_id, histogram=False)[1]]

    def environ(self) -> list[bytes]:
        return self.environment


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> MemoryHost:
    """A proxy in memory, in its place; the VM and the plugin have no configuration."""
    memory_host = MemoryHost(buffers={BufferType.VM_CONFIGURATION: b"", BufferType.PLUGIN_CONFIGURATION: b""})
    typed: Host = memory_host
    monkeypatch.setattr(_abi, "host", typed)
    return memory_host


def begin(stream_id: int | None = 2) -> Any:
    """Start the only plugin as context 1 and a stream of it; gives the stream's context, or the plugin's."""
    if 1 not in _state.contexts:
        _dispatcher.on_context_create(1, 0)
        assert _dispatcher.on_vm_start(1, 0) in {True, False}
    if stream_id is None:
        return _state.contexts[1]
    _dispatcher.on_context_create(stream_id, 1)
    return _state.contexts[stream_id]


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts without plugins, contexts, calls or a VM, and leaves none behind."""
    monkeypatch.setattr(registry, "plugins", {})
    monkeypatch.setattr(registry, "vm_context", VMContext)
    monkeypatch.setattr(_dispatcher._VM, "context", None)
    monkeypatch.setattr(_dispatcher._VM, "answer", True)
    monkeypatch.setattr(_dispatcher._VM, "started", False)
    monkeypatch.setattr(_dispatcher, "stream_classes", set())
    monkeypatch.setattr(_callbacks, "exported", frozenset())
    monkeypatch.setattr(callouts, "delivering", None)
    yield
    _state.contexts.clear()
    callouts.pending.clear()
