"""The functions of a Proxy-Wasm host, as Envoy implements them, for the guest of one VM.

A host function is the method of its name; its annotations are its type (see `abi`). `VM` in `vm` adds the callbacks.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from pywasmfilter.types import BufferType, LogLevel, MapType, MetricType, Status, StreamType

from . import header_maps
from .abi import I64, U64, HostError, decode_pairs, encode_pairs, u32
from .calls import GrpcCall, HttpCall, cluster_of
from .messages import LocalResponse, Message, Pairs, Request, as_text
from .proxy import LogLine, Metric, Proxy, SharedQueue

if TYPE_CHECKING:
    from .plugin import Plugin
    from .streams import Stream

T = TypeVar("T")

_GRPC_STATUSES: Final = 17
_EMPTY_BUFFERS: Final = {BufferType.GRPC_CALL_MESSAGE, BufferType.FOREIGN_FUNCTION_ARGUMENTS}
"""Those that are empty, rather than not there, outside of their callbacks."""

_PSEUDO_HEADERS: Final = {":method", ":path", ":authority"}


class HostFunctions:
    """What a guest may call. `proxy` is what all VMs share, the other attributes are this VM's own."""

    def __init__(self, proxy: Proxy, abi: str, vm_id: str, vm_configuration: bytes, environment: list[bytes]) -> None:
        self.proxy = proxy
        self.abi = abi
        self.vm_id = vm_id
        self.environment = environment
        self.plugins: dict[int, Plugin] = {}
        self.streams: dict[int, Stream] = {}
        self._buffers: dict[int, bytes] = {BufferType.VM_CONFIGURATION: vm_configuration}
        self._maps: dict[int, Pairs] = {}
        self._metric_ids: dict[int, Metric] = {}
        self._context = self._effective_context = 0

    # Where the rest of the VM comes in

    def after_call(self, action: Callable[[], object]) -> None:
        """Do something as soon as the outermost callback has returned."""
        raise NotImplementedError

    def write_memory(self, address: int, data: bytes) -> None:
        """Write to the guest's memory."""
        raise NotImplementedError

    def _stream(self) -> Stream | None:
        return self.streams.get(self._effective_context)

    def _plugin(self) -> Plugin:
        stream = self._stream()
        return self.plugins[self._effective_context] if stream is None else stream.plugin

    # Logging, clocks and timers

    def proxy_log(self, level: int, message: bytes) -> None:
        _check(level <= LogLevel.CRITICAL)
        self.proxy.log.append(LogLine(LogLevel(level), as_text(message)))

    def proxy_get_log_level(self) -> int:
        return self.proxy.log_level

    def proxy_get_current_time_nanoseconds(self) -> U64:
        return U64(self.proxy.clock.nanoseconds)

    def proxy_set_tick_period_milliseconds(self, period: int) -> None:
        self._plugin().set_tick_period(period)

    # Contexts and streams

    def proxy_set_effective_context(self, context_id: int) -> None:
        _check(context_id == 0 or context_id in self.plugins or context_id in self.streams)
        self._effective_context = context_id or self._context

    def proxy_done(self) -> None:
        _check(self._plugin().finish(), Status.NOT_FOUND)

    def proxy_continue_stream(self, stream_type: int) -> None:
        _check(stream_type <= StreamType.UPSTREAM)
        _check(stream_type != StreamType.UPSTREAM, Status.UNIMPLEMENTED)
        if (stream := self._stream()) is not None:
            stream.hide(stream_type)
            self.after_call(lambda: stream.resume(stream_type))

    def proxy_continue_request(self) -> None:
        self.proxy_continue_stream(StreamType.HTTP_REQUEST)

    def proxy_continue_response(self) -> None:
        self.proxy_continue_stream(StreamType.HTTP_RESPONSE)

    def proxy_close_stream(self, stream_type: int) -> None:
        _check(stream_type <= StreamType.UPSTREAM)
        if (stream := self._stream()) is not None:
            self.after_call(lambda: stream.close_by_filter(stream_type))

    def proxy_clear_route_cache(self) -> None:
        self.proxy.route_cache_clears += 1

    def proxy_send_local_response(
        self, status: int, details: bytes, body: bytes, headers: bytes, grpc_status: int
    ) -> None:
        if (running := self.streams.get(self._context)) is not None:
            running.hold()
        if (stream := self._stream()) is not None:
            known = grpc_status if grpc_status < _GRPC_STATUSES else None
            text = "_".join(as_text(details).split())
            response = LocalResponse(status, text, body, decode_pairs(headers), known)
            self.after_call(lambda: stream.answer(response))

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
        if buffer_type > BufferType.UPSTREAM_DATA:
            self._buffer(buffer_type)  # one that there is cannot be changed
        buffer = _present(None if stream is None else stream.buffer(buffer_type), Status.BAD_ARGUMENT)
        _check(start == 0 or start >= len(buffer))
        buffer[start : start + size] = data

    def _buffer(self, buffer_type: int) -> bytes | bytearray:
        _check(buffer_type < len(BufferType))
        if buffer_type > BufferType.UPSTREAM_DATA:
            return _present(self._buffers.get(buffer_type, b"" if buffer_type in _EMPTY_BUFFERS else None))
        stream = self._stream()
        return b"" if stream is None else stream.buffer(buffer_type) or b""

    # Header maps

    def proxy_get_header_map_pairs(self, map_type: int) -> bytes:
        _check(map_type < len(MapType))
        return encode_pairs(self._map(map_type) or [])

    def proxy_set_header_map_pairs(self, map_type: int, pairs: bytes) -> None:
        self._map_to_write(map_type)[:] = header_maps.arrived(map_type, decode_pairs(pairs))

    def proxy_get_header_map_value(self, map_type: int, name: bytes) -> bytes:
        found = header_maps.find(map_type, _present(self._map(map_type), Status.BAD_ARGUMENT), name)
        return b"" if found is None and self.abi == "0.1.0" else _present(found)

    def proxy_add_header_map_value(self, map_type: int, name: bytes, value: bytes) -> None:
        header_maps.add(map_type, self._map_to_write(map_type), name, value)

    def proxy_replace_header_map_value(self, map_type: int, name: bytes, value: bytes) -> None:
        header_maps.replace(map_type, self._map_to_write(map_type), name, value)

    def proxy_remove_header_map_value(self, map_type: int, name: bytes) -> None:
        header_maps.remove(map_type, self._map_to_write(map_type), name)

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
        parts = tuple(as_text(path.removesuffix(b"\0")).split("\0"))
        _check(parts != ("",), Status.SERIALIZATION_FAILURE)
        return _present((self._stream() or self._plugin()).property(parts))

    def proxy_set_property(self, path: bytes, value: bytes) -> None:
        _present(self._stream()).properties[(as_text(path),)] = value

    def proxy_call_foreign_function(self, name: bytes, arguments: bytes) -> bytes:
        result = _present(self.proxy.foreign_functions.get(as_text(name)))(arguments)
        if not isinstance(result, bytes):
            raise TypeError(f"the foreign function {as_text(name)!r} returned {result!r}, not bytes")
        return result

    # HTTP and gRPC calls

    def proxy_http_call(self, cluster: bytes, headers: bytes, body: bytes, trailers: bytes, timeout: int) -> int:
        request = Request.of(Message(decode_pairs(headers), [body] if body else [], decode_pairs(trailers)))
        _check(as_text(cluster) in self.proxy.clusters and set(request.headers) >= _PSEUDO_HEADERS)
        call = HttpCall(self._plugin(), 4 * self.proxy.number(), as_text(cluster), request, timeout / 1000)
        self.proxy.clusters.ask(call)
        return call.token

    def proxy_grpc_call(
        self, service: bytes, service_name: bytes, method: bytes, metadata: bytes, message: bytes, timeout: int
    ) -> int:
        call = self._grpc_call(1, service, service_name, method, metadata, timeout)
        call.messages.append(message)
        self.proxy.clusters.ask_grpc(call)
        return call.token

    def proxy_grpc_stream(self, service: bytes, service_name: bytes, method: bytes, metadata: bytes) -> int:
        call = self._grpc_call(2, service, service_name, method, metadata, 0)
        self.proxy.clusters.ask_grpc(call)
        return call.token

    def _grpc_call(
        self, kind: int, service: bytes, service_name: bytes, method: bytes, metadata: bytes, timeout: int
    ) -> GrpcCall:
        cluster = cluster_of(service)
        _check(cluster in self.proxy.clusters, Status.INTERNAL_FAILURE)
        token = 4 * self.proxy.number() + kind
        name = f"{as_text(service_name)}/{as_text(method)}"
        return GrpcCall(self._plugin(), token, cluster, name, decode_pairs(metadata), kind == 2, timeout / 1000)

    def proxy_grpc_send(self, token: int, message: bytes, end_of_stream: int) -> None:
        _check(token & 3 == 2)
        call = self._open_call(token)
        call.messages.append(message)
        call.half_closed = bool(end_of_stream)
        self.proxy.clusters.send_grpc(call)

    def proxy_grpc_close(self, token: int) -> None:
        call = self._open_call(token)
        call.half_closed = True
        if call.is_stream:
            self.proxy.clusters.send_grpc(call)
        else:
            call.cancel()

    def proxy_grpc_cancel(self, token: int) -> None:
        self._open_call(token).cancel()

    def _open_call(self, token: int) -> GrpcCall:
        _check(token & 3 in {1, 2})
        return _present(self.proxy.clusters.grpc_calls.get(token))

    def proxy_get_status(self) -> tuple[int, bytes]:
        return self._plugin().call_status

    # Shared data and queues

    def proxy_get_shared_data(self, key: bytes) -> tuple[bytes, int]:
        return _present(self.proxy.shared(self.vm_id).get(key))

    def proxy_set_shared_data(self, key: bytes, value: bytes, cas: int) -> None:
        data = self.proxy.shared(self.vm_id)
        _check(not cas or key not in data or data[key][1] == cas, Status.CAS_MISMATCH)
        data[key] = value, self.proxy.number()

    def proxy_register_shared_queue(self, name: bytes) -> int:
        queues = self.proxy.queues
        key = self.vm_id, as_text(name)
        queue_id = next((number for number, queue in queues.items() if queue.key == key), len(queues) + 1)
        queues.setdefault(queue_id, SharedQueue(key)).listener = weakref.ref(self._plugin())
        return queue_id

    def proxy_resolve_shared_queue(self, vm_id: bytes, name: bytes) -> int:
        key = as_text(vm_id) or self.vm_id, as_text(name)
        return _present(next((number for number, queue in self.proxy.queues.items() if queue.key == key), None))

    def proxy_enqueue_shared_queue(self, queue_id: int, data: bytes) -> None:
        queue = _present(self.proxy.queues.get(queue_id))
        queue.items.append(data)
        self.proxy.post(lambda: queue.notify(queue_id))

    def proxy_dequeue_shared_queue(self, queue_id: int) -> bytes:
        items = _present(self.proxy.queues.get(queue_id)).items
        _check(bool(items), Status.EMPTY)
        return items.popleft()

    # Metrics

    def proxy_define_metric(self, kind: int, name: bytes) -> int:
        _check(kind < len(MetricType))
        metric_id = 4 * self.proxy.number() + kind
        self._metric_ids[metric_id] = self.proxy.metrics.setdefault(as_text(name), Metric(MetricType(kind)))
        return metric_id

    def proxy_increment_metric(self, metric_id: int, offset: I64) -> None:
        metric = _present(self._metric_ids.get(metric_id))
        _check(metric.kind == MetricType.GAUGE or (metric.kind == MetricType.COUNTER and offset > 0))
        metric.value = _u64(metric.value + offset)

    def proxy_record_metric(self, metric_id: int, value: I64) -> None:
        metric = _present(self._metric_ids.get(metric_id))
        if metric.kind == MetricType.HISTOGRAM:
            metric.recorded.append(_u64(value))
        else:
            metric.value = _u64(value + (metric.value if metric.kind == MetricType.COUNTER else 0))

    def proxy_get_metric(self, metric_id: int) -> U64:
        metric = _present(self._metric_ids.get(metric_id))
        _check(metric.kind != MetricType.HISTOGRAM)
        return U64(metric.value)

    # The functions of WASI that every module may use

    def clock_time_get(self, clock: int, precision: I64) -> U64:  # noqa: ARG002  # all clocks are one
        return U64(self.proxy.clock.nanoseconds)

    def random_get(self, address: int, size: int) -> None:
        self.write_memory(address, os.urandom(size))

    def environ_sizes_get(self) -> tuple[int, int]:
        return len(self.environment), sum(len(entry) + 1 for entry in self.environment)

    def environ_get(self, addresses: int, data: int) -> None:
        for index, entry in enumerate(self.environment):
            self.write_memory(addresses + 4 * index, u32(data))
            self.write_memory(data, entry + b"\0")
            data += len(entry) + 1


def _check(condition: bool, status: Status = Status.BAD_ARGUMENT) -> None:
    if not condition:
        raise HostError(status)


def _present(value: T | None, status: Status = Status.NOT_FOUND) -> T:
    if value is None:
        raise HostError(status)
    return value


def _u64(value: int) -> int:
    return value % 2**64
