"""What a host of Proxy-Wasm keeps, all of it in memory, and the functions through which a module uses it.

A host function is the method of its name; its annotations are its type (see `guest`). What the functions do is what
Envoy does. Calls to other services are recorded; what becomes of them is for the driver to say.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Final, NamedTuple, TypeVar

from .abi import BufferType, HostError, MapType, MetricType, Pairs, Status, StreamType, decode_pairs, encode_pairs, u32
from .guest import I64, U64, Guest
from .streams import LocalResponse, Stream

T = TypeVar("T")

ROOT: Final = 1
"""The id of the plugin's context."""

_LEVELS: Final = 6
_GRPC_STATUSES: Final = 17
_PSEUDO_HEADERS: Final = {b":method", b":path", b":authority"}


class LogLine(NamedTuple):
    """What the module logged; levels are 0 (trace) to 5 (critical)."""

    level: int
    message: str


@dataclass
class Metric:
    """A counter or gauge has a value, a histogram what was recorded."""

    kind: MetricType
    value: int = 0
    recorded: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class HttpCall:
    """A request that the module sent with proxy_http_call."""

    token: int
    cluster: bytes
    headers: Pairs
    body: bytes
    trailers: Pairs
    timeout_milliseconds: int


@dataclass
class GrpcCall:
    """A call or a stream that the module opened. `messages` are those it sent."""

    token: int
    service: bytes
    service_name: bytes
    method: bytes
    initial_metadata: Pairs
    is_stream: bool
    timeout_milliseconds: int = 0
    messages: list[bytes] = field(default_factory=list)
    half_closed: bool = False
    cancelled: bool = False


@dataclass
class SharedQueue:
    """A queue that the module registered."""

    name: bytes
    items: deque[bytes] = field(default_factory=deque)


class HostFunctions:
    """The public attributes are the host's state, which a test may read, and set before it matters."""

    guest: Guest

    def __init__(self, abi: str, vm_configuration: bytes) -> None:
        self.abi = abi
        self.log: list[LogLine] = []
        self.log_level = 0
        self.clock: Callable[[], int] = time.time_ns
        self.environment: dict[str, str] = {}
        self.properties: dict[tuple[str, ...], bytes] = {}
        self.foreign_functions: dict[str, Callable[[bytes], bytes]] = {}
        self.tick_period = 0
        self.route_cache_clears = 0
        self.shared_data: dict[bytes, tuple[bytes, int]] = {}
        self.queues: dict[int, SharedQueue] = {}
        self.metrics: dict[str, Metric] = {}
        self.http_calls: dict[int, HttpCall] = {}
        self.grpc_calls: dict[int, GrpcCall] = {}
        self.clusters: set[bytes] | None = None  # those that exist; None for any
        self.on_grpc: Callable[[GrpcCall], None] = lambda _: None  # called from within proxy_grpc_stream and _send
        self.streams: dict[int, Stream] = {}
        self.call_status = (0, b"")
        self._buffers: dict[int, bytes] = {BufferType.VM_CONFIGURATION: vm_configuration}
        self._maps: dict[int, Pairs] = {}
        self._metric_ids: dict[int, Metric] = {}
        self._numbers = count(1)
        self._context = self._effective_context = 0
        self._deletes_root = False
        self._after_call: deque[Callable[[], object]] = deque()
        self._posted: deque[Callable[[], object]] = deque()

    # Where the driver comes in

    def call(self, callback: str, context_id: int, *arguments: int) -> int:
        """Call a callback of the module."""
        raise NotImplementedError

    def _stream(self) -> Stream | None:
        return self.streams.get(self._effective_context)

    # Logging, clocks and timers

    def proxy_log(self, level: int, message: bytes) -> None:
        _check(level < _LEVELS)
        self.log.append(LogLine(level, message.decode("utf-8", "surrogateescape")))

    def proxy_get_log_level(self) -> int:
        return self.log_level

    def proxy_get_current_time_nanoseconds(self) -> U64:
        return U64(self.clock())

    def proxy_set_tick_period_milliseconds(self, period: int) -> None:
        self.tick_period = period

    # Contexts and streams

    def proxy_set_effective_context(self, context_id: int) -> None:
        _check(context_id in {0, ROOT} or context_id in self.streams)
        self._effective_context = context_id or self._context

    def proxy_done(self) -> None:
        _check(self._deletes_root, Status.NOT_FOUND)
        self._deletes_root = False
        self._after_call.append(partial(self.call, "proxy_on_delete", ROOT))

    def proxy_continue_stream(self, stream_type: int) -> None:
        _check(stream_type <= StreamType.UPSTREAM)
        _check(stream_type != StreamType.UPSTREAM, Status.UNIMPLEMENTED)
        if (stream := self._stream()) is not None:
            stream.hide(stream_type)
            self._posted.append(partial(stream.resume, stream_type))

    def proxy_continue_request(self) -> None:
        self.proxy_continue_stream(StreamType.HTTP_REQUEST)

    def proxy_continue_response(self) -> None:
        self.proxy_continue_stream(StreamType.HTTP_RESPONSE)

    def proxy_close_stream(self, stream_type: int) -> None:
        _check(stream_type <= StreamType.UPSTREAM)
        if (stream := self._stream()) is not None:
            self._posted.append(partial(stream.close, stream_type))

    def proxy_clear_route_cache(self) -> None:
        self.route_cache_clears += 1

    def proxy_send_local_response(
        self, status: int, details: bytes, body: bytes, headers: bytes, grpc_status: int
    ) -> None:
        if (stream := self._stream()) is not None:
            known = grpc_status if grpc_status < _GRPC_STATUSES else None
            response = LocalResponse(status, details, body, decode_pairs(headers), known)
            self._after_call.append(partial(stream.answer, response))

    # Buffers

    def proxy_get_configuration(self) -> bytes:
        return self._buffers.get(BufferType.PLUGIN_CONFIGURATION, self._buffers[BufferType.VM_CONFIGURATION])

    def proxy_get_buffer_bytes(self, buffer_type: int, start: int, size: int) -> bytes:
        return bytes(self._buffer(buffer_type)[start : start + size])

    def proxy_get_buffer_status(self, buffer_type: int) -> tuple[int, int]:
        return len(self._buffer(buffer_type)), 0

    def proxy_set_buffer_bytes(self, buffer_type: int, start: int, size: int, data: bytes) -> None:
        _check(buffer_type < len(BufferType))
        stream = self._stream()
        buffer = _present(None if stream is None else stream.buffer(buffer_type, to_write=True), Status.BAD_ARGUMENT)
        _check(start == 0 or start >= len(buffer))
        buffer[start : start + size] = data

    def _buffer(self, buffer_type: int) -> bytes | bytearray:
        _check(buffer_type < len(BufferType))
        if buffer_type in self._buffers:
            return self._buffers[buffer_type]
        stream = self._stream()
        return _present(None if stream is None else stream.buffer(buffer_type), Status.NOT_FOUND)

    # Header maps

    def proxy_get_header_map_pairs(self, map_type: int) -> bytes:
        _check(map_type < len(MapType))
        return encode_pairs(self._map(map_type) or [])

    def proxy_set_header_map_pairs(self, map_type: int, pairs: bytes) -> None:
        self._map_to_write(map_type)[:] = [(name.lower(), value) for name, value in decode_pairs(pairs)]

    def proxy_get_header_map_value(self, map_type: int, name: bytes) -> bytes:
        values = [value for key, value in _present(self._map(map_type), Status.BAD_ARGUMENT) if key == name.lower()]
        if not values and self.abi == "0.1.0":
            return b""
        return _present(next(iter(values), None))

    def proxy_add_header_map_value(self, map_type: int, name: bytes, value: bytes) -> None:
        self._map_to_write(map_type).append((name.lower(), value))

    def proxy_replace_header_map_value(self, map_type: int, name: bytes, value: bytes) -> None:
        pairs = self._map_to_write(map_type)
        places = [index for index, (key, _) in enumerate(pairs) if key == name.lower()]
        for index in reversed(places[1:]):
            del pairs[index]
        first = places[0] if places else len(pairs)
        pairs[first : first + 1] = [(name.lower(), value)]

    def proxy_remove_header_map_value(self, map_type: int, name: bytes) -> None:
        pairs = self._map_to_write(map_type)
        pairs[:] = [pair for pair in pairs if pair[0] != name.lower()]

    def proxy_get_header_map_size(self, map_type: int) -> int:
        return sum(len(name) + len(value) for name, value in self._map_to_write(map_type))

    def _map(self, map_type: int) -> Pairs | None:
        if map_type in self._maps:
            return self._maps[map_type]
        stream = self._stream()
        return None if stream is None else stream.map(map_type)

    def _map_to_write(self, map_type: int) -> Pairs:
        stream = self._stream()
        return _present(None if stream is None else stream.map(map_type, to_write=True), Status.BAD_ARGUMENT)

    # Properties and foreign functions

    def proxy_get_property(self, path: bytes) -> bytes:
        parts = tuple(path.removesuffix(b"\0").decode("utf-8", "surrogateescape").split("\0"))
        stream = self._stream()
        of_stream = {} if stream is None else stream.properties
        return _present(of_stream.get(parts, self.properties.get(parts)))

    def proxy_set_property(self, path: bytes, value: bytes) -> None:
        _present(self._stream()).properties[(path.decode("utf-8", "surrogateescape"),)] = value

    def proxy_call_foreign_function(self, name: bytes, arguments: bytes) -> bytes:
        return _present(self.foreign_functions.get(name.decode("utf-8", "surrogateescape")))(arguments)

    # HTTP and gRPC calls

    def proxy_http_call(self, cluster: bytes, headers: bytes, body: bytes, trailers: bytes, timeout: int) -> int:
        pairs = decode_pairs(headers)
        _check(self._has_cluster(cluster) and {name for name, _ in pairs} >= _PSEUDO_HEADERS)
        token = 4 * next(self._numbers)
        self.http_calls[token] = HttpCall(token, cluster, pairs, body, decode_pairs(trailers), timeout)
        return token

    def proxy_grpc_call(
        self, service: bytes, service_name: bytes, method: bytes, metadata: bytes, message: bytes, timeout: int
    ) -> int:
        token = 4 * next(self._numbers) + 1
        pairs = decode_pairs(metadata)
        self.grpc_calls[token] = GrpcCall(token, service, service_name, method, pairs, False, timeout, [message])
        return token

    def proxy_grpc_stream(self, service: bytes, service_name: bytes, method: bytes, metadata: bytes) -> int:
        token = 4 * next(self._numbers) + 2
        call = GrpcCall(token, service, service_name, method, decode_pairs(metadata), is_stream=True)
        self.grpc_calls[token] = call
        self.on_grpc(call)
        return token

    def proxy_grpc_send(self, token: int, message: bytes, end_of_stream: int) -> None:
        call = _present(self.grpc_calls.get(token))
        _check(call.is_stream)
        call.messages.append(message)
        call.half_closed = bool(end_of_stream)
        self.on_grpc(call)

    def proxy_grpc_close(self, token: int) -> None:
        call = _present(self.grpc_calls.get(token))
        call.half_closed = True
        if not call.is_stream:
            self.proxy_grpc_cancel(token)

    def proxy_grpc_cancel(self, token: int) -> None:
        _present(self.grpc_calls.pop(token, None)).cancelled = True

    def proxy_get_status(self) -> tuple[int, bytes]:
        return self.call_status

    def _has_cluster(self, name: bytes) -> bool:
        return self.clusters is None or name in self.clusters

    # Shared data and queues

    def proxy_get_shared_data(self, key: bytes) -> tuple[bytes, int]:
        return _present(self.shared_data.get(key))

    def proxy_set_shared_data(self, key: bytes, value: bytes, cas: int) -> None:
        current = self.shared_data.get(key)
        _check(not cas or current is None or current[1] == cas, Status.CAS_MISMATCH)
        self.shared_data[key] = value, next(self._numbers)

    def proxy_register_shared_queue(self, name: bytes) -> int:
        known = [queue_id for queue_id, queue in self.queues.items() if queue.name == name]
        queue_id = known[0] if known else len(self.queues) + 1
        self.queues.setdefault(queue_id, SharedQueue(name))
        return queue_id

    def proxy_resolve_shared_queue(self, vm_id: bytes, name: bytes) -> int:
        own = vm_id in {b"", self.properties.get(("plugin_vm_id",), b"")}
        return _present(next((key for key, queue in self.queues.items() if own and queue.name == name), None))

    def proxy_enqueue_shared_queue(self, queue_id: int, data: bytes) -> None:
        _present(self.queues.get(queue_id)).items.append(data)
        self._posted.append(partial(self.call, "proxy_on_queue_ready", ROOT, queue_id))

    def proxy_dequeue_shared_queue(self, queue_id: int) -> bytes:
        items = _present(self.queues.get(queue_id)).items
        _check(bool(items), Status.EMPTY)
        return items.popleft()

    # Metrics

    def proxy_define_metric(self, kind: int, name: bytes) -> int:
        _check(kind < len(MetricType))
        metric_id = 4 * next(self._numbers) + kind
        metric = self.metrics.setdefault(name.decode("utf-8", "surrogateescape"), Metric(MetricType(kind)))
        self._metric_ids[metric_id] = metric
        return metric_id

    def proxy_increment_metric(self, metric_id: int, offset: I64) -> None:
        metric = _present(self._metric_ids.get(metric_id))
        _check(metric.kind == MetricType.GAUGE or (metric.kind == MetricType.COUNTER and offset > 0))
        metric.value = _unsigned(metric.value + offset)

    def proxy_record_metric(self, metric_id: int, value: I64) -> None:
        metric = _present(self._metric_ids.get(metric_id))
        if metric.kind == MetricType.HISTOGRAM:
            metric.recorded.append(_unsigned(value))
        else:
            metric.value = _unsigned(value + (metric.value if metric.kind == MetricType.COUNTER else 0))

    def proxy_get_metric(self, metric_id: int) -> U64:
        metric = _present(self._metric_ids.get(metric_id))
        _check(metric.kind != MetricType.HISTOGRAM)
        return U64(metric.value)

    # The functions of WASI that every module may use

    def clock_time_get(self, clock: int, precision: I64) -> U64:
        return U64(self.clock())

    def random_get(self, address: int, size: int) -> None:
        self.guest.write(address, os.urandom(size))

    def environ_sizes_get(self) -> tuple[int, int]:
        entries = self._environ()
        return len(entries), sum(map(len, entries))

    def environ_get(self, addresses: int, data: int) -> None:
        for index, entry in enumerate(self._environ()):
            self.guest.write(addresses + 4 * index, u32(data))
            self.guest.write(data, entry)
            data += len(entry)

    def _environ(self) -> list[bytes]:
        return [f"{name}={value}\0".encode() for name, value in self.environment.items()]


def _check(condition: bool, status: Status = Status.BAD_ARGUMENT) -> None:
    if not condition:
        raise HostError(status)


def _present(value: T | None, status: Status = Status.NOT_FOUND) -> T:
    if value is None:
        raise HostError(status)
    return value


def _unsigned(value: int) -> int:
    return value % 2**64
