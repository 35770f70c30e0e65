"""A proxy in memory, and a registry of plugins that forgets what a test put there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pywasmfilter import _abi, _dispatcher, _state, registry
from pywasmfilter._serialization import decode_pairs, encode_pairs
from pywasmfilter.contexts import VMContext
from pywasmfilter.exceptions import raise_for_status
from pywasmfilter.types import BufferType, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

Pairs = list[tuple[bytes, bytes]]


def as_bytes(text: str | bytes) -> bytes:
    """What the shim makes of an argument."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


@dataclass
class MemoryHost:
    """What `_abi.host` stands for, with everything it holds as plain attributes. `calls` are (function, *arguments)."""

    headers: dict[int, Pairs] = field(default_factory=dict)
    properties: dict[bytes, bytes] = field(default_factory=dict)
    buffers: dict[int, bytes] = field(default_factory=dict)
    foreign: dict[str, bytes] = field(default_factory=dict)
    log_level: int = 2
    logged: list[tuple[int, str | bytes]] = field(default_factory=list)
    responses: list[tuple[int, str | bytes, str | bytes, Pairs, int]] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def log(self, level: int, message: str | bytes) -> None:
        self.logged.append((level, message))

    def get_log_level(self) -> int:
        return self.log_level

    def get_current_time_nanoseconds(self) -> int:
        return 1_234_567_890

    def get_property(self, path: bytes) -> bytes | None:
        return self.properties.get(path)

    def set_property(self, path: bytes, value: bytes) -> None:
        self.properties[path] = value

    def get_buffer_bytes(self, buffer_type: int, start: int, max_size: int) -> bytes:
        if buffer_type not in self.buffers:
            raise_for_status("proxy_get_buffer_bytes", Status.NOT_FOUND)
        return self.buffers[buffer_type][start : start + max_size]

    def call_foreign_function(self, name: str, arguments: str | bytes) -> bytes:
        if name not in self.foreign:
            raise_for_status("proxy_call_foreign_function", Status.NOT_FOUND)
        return self.foreign[name] + as_bytes(arguments)

    def send_local_response(
        self, status: int, details: str | bytes, body: str | bytes, headers: bytes, grpc_status: int
    ) -> None:
        self.responses.append((status, details, body, decode_pairs(headers), grpc_status))

    def set_tick_period_milliseconds(self, period: int) -> None:
        self.calls.append(("set_tick_period_milliseconds", period))

    def set_effective_context(self, context_id: int) -> None:
        self.calls.append(("set_effective_context", context_id))

    def done(self) -> None:
        self.calls.append(("done",))

    def continue_stream(self, stream_type: int) -> None:
        self.calls.append(("continue_stream", stream_type))

    # Header maps: a map that is not in `headers` is one that cannot be had in this callback.

    def _map(self, function: str, map_type: int) -> Pairs:
        if map_type not in self.headers:
            raise_for_status(function, Status.BAD_ARGUMENT)
        return self.headers[map_type]

    def get_header_map_pairs(self, map_type: int) -> bytes:
        return encode_pairs(self.headers[map_type]) if map_type in self.headers else b""

    def set_header_map_pairs(self, map_type: int, pairs: bytes) -> None:
        self._map("proxy_set_header_map_pairs", map_type)[:] = decode_pairs(pairs)

    def get_header_map_value(self, map_type: int, key: str | bytes) -> str | None:
        wanted = as_bytes(key).lower()
        found = [value for name, value in self._map("proxy_get_header_map_value", map_type) if name.lower() == wanted]
        return found[0].decode("utf-8", "surrogateescape") if found else None

    def add_header_map_value(self, map_type: int, key: str | bytes, value: str | bytes) -> None:
        self._map("proxy_add_header_map_value", map_type).append((as_bytes(key), as_bytes(value)))

    def replace_header_map_value(self, map_type: int, key: str | bytes, value: str | bytes) -> None:
        self.remove_header_map_value(map_type, key)
        self.add_header_map_value(map_type, key, value)

    def remove_header_map_value(self, map_type: int, key: str | bytes) -> None:
        pairs = self._map("proxy_remove_header_map_value", map_type)
        pairs[:] = [(name, value) for name, value in pairs if name.lower() != as_bytes(key).lower()]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> MemoryHost:
    """A proxy in memory, in its place; the VM and the plugin have no configuration."""
    memory_host = MemoryHost(buffers={BufferType.VM_CONFIGURATION: b"", BufferType.PLUGIN_CONFIGURATION: b""})
    monkeypatch.setattr(_abi, "host", memory_host)
    return memory_host


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts without plugins, contexts or a VM, and leaves none behind."""
    monkeypatch.setattr(registry, "plugins", {})
    monkeypatch.setattr(registry, "vm_context", VMContext)
    monkeypatch.setattr(_dispatcher._VM, "context", None)
    monkeypatch.setattr(_dispatcher._VM, "answer", True)
    monkeypatch.setattr(_dispatcher._VM, "started", False)
    _state.contexts.clear()
    yield
    _state.contexts.clear()
