"""What `pywasmfilter._abi.host` stands for under a plain Python: the ABI's functions, answered by a VM.

It does what the compiled shim does in a module (`runtime_shim/hostcalls.c`): checks and converts arguments, and turns
statuses into exceptions. Each method calls the host function of its name.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pywasmfilter import _abi
from pywasmfilter.exceptions import raise_for_status
from pywasmfilter.types import Status

from .abi import I64, Shape
from .functions import HostFunctions
from .messages import as_bytes, as_text

if TYPE_CHECKING:
    from .vm import VM

_CALL_THE_TEST: Final = ("proxy_call_foreign_function", "proxy_grpc_stream", "proxy_grpc_send")
"""Host functions that call functions of the test."""

_FORBIDDEN: Final = (b"\n", b"\r", b"\0")
_I32_OR_U32: Final = (-(1 << 31), 1 << 32)
_I64_OR_U64: Final = (-(1 << 63), 1 << 64)


class Running(NamedTuple):
    """The callback that runs: whose it is, what calls act on, the stream its answer can pause, the host's call."""

    calling: int
    effective: int
    stream: int
    number: int


class PythonHost:
    """One VM's host. What is not a method here is the host function of that name, called as it is.

    `outside` makes everything as the test left it, for host functions that call functions of the test.
    """

    def __init__(self, vm: VM, outside: Callable[[], AbstractContextManager[None]]) -> None:
        self._vm = vm
        self._outside = outside
        self.running = Running(0, 0, -1, 0)
        self.streams_begun = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = f"proxy_{name}"
        if not hasattr(HostFunctions, function):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            results = self._call(function, *arguments)
            return results[0] if len(results) == 1 else results or None

        setattr(self, name, call)
        return call

    def _call(self, function: str, *arguments: Any) -> tuple[Any, ...]:
        """The results of a host function. Raises the exception for a status other than OK."""
        status, results = self._ask(function, *arguments)
        if status != Status.OK:
            raise_for_status(function, status)
        return results

    def _ask(self, function: str, *arguments: Any) -> tuple[int, tuple[Any, ...]]:
        shape = Shape.of(getattr(HostFunctions, function))
        if len(arguments) != len(shape.parameters):
            raise TypeError(f"{function} takes {len(shape.parameters)} arguments, {len(arguments)} were given")
        values = [_converted(kind, value) for kind, value in zip(shape.parameters, arguments, strict=True)]
        if _abi.building:
            return Status.UNIMPLEMENTED, ()
        if function in _CALL_THE_TEST:
            with self._outside():
                return self._vm.answer(function, tuple(values))
        return self._vm.answer(function, tuple(values))

    # What the shim adds to the ABI

    def log(self, level: int, message: str | bytes) -> None:
        """Any text can be logged; an operator who forbids to log does not want exceptions."""
        data = message.encode("utf-8", "backslashreplace") if isinstance(message, str) else message
        status, _ = self._ask("proxy_log", level, data)
        if status not in (Status.OK, Status.INTERNAL_FAILURE):
            raise_for_status("proxy_log", status)

    def set_effective_context(self, context_id: int) -> None:
        """0 means the context that the callback was made for."""
        self._call("proxy_set_effective_context", context_id)
        self.running = self.running._replace(effective=context_id or self.running.calling)

    def get_effective_context(self) -> int:
        """The context that calls act on."""
        return self.running.effective

    def get_running_stream(self) -> int:
        """The stream type that the running callback's answer can pause, if calls act on its context; else -1."""
        return self.running.stream if self.running.effective == self.running.calling else -1

    def get_answered_stream(self) -> int:
        """The same, whatever calls act on."""
        return self.running.stream

    def get_call_number(self) -> int:
        """Another number for each call of the host."""
        return self.running.number

    def notify_deletes(self) -> None:
        """Here contexts always hear of proxy_on_delete."""

    def get_memory(self) -> list[int]:
        """No figures but the number of streams: a plain Python has no memory that is one VM's alone."""
        return [0, 0, 0, 0, self.streams_begun]

    def get_buffer_size(self, buffer_type: int) -> int:
        """The size of a buffer."""
        size: int = self._call("proxy_get_buffer_status", buffer_type)[0]
        return size

    def get_header_map_value(self, map_type: int, key: str | bytes) -> str | None:
        """A header as text, None if it is not there."""
        found = self._find("proxy_get_header_map_value", map_type, key)
        return None if found is None else as_text(found)

    def add_header_map_value(self, map_type: int, key: str | bytes, value: str | bytes) -> None:
        """What would let a header break out of its line is refused."""
        self._call("proxy_add_header_map_value", map_type, _header(key), _header(value))

    def replace_header_map_value(self, map_type: int, key: str | bytes, value: str | bytes) -> None:
        """What would let a header break out of its line is refused."""
        self._call("proxy_replace_header_map_value", map_type, _header(key), _header(value))

    def get_property(self, path: bytes) -> bytes | None:
        """A property, None if it is not there."""
        return self._find("proxy_get_property", path)

    def _find(self, function: str, *arguments: Any) -> bytes | None:
        status, results = self._ask(function, *arguments)
        if status == Status.NOT_FOUND:
            return None
        if status != Status.OK:
            raise_for_status(function, status)
        found: bytes = results[0]
        return found

    def record_metric(self, metric_id: int, value: int) -> None:
        """No metric takes what is negative, as the shim says."""
        if value < 0:
            raise OverflowError("can't convert negative int to unsigned")
        self._call("proxy_record_metric", metric_id, value)

    def get_status(self) -> tuple[int, str]:
        """Code and message of what failed last."""
        code, message = self._call("proxy_get_status")
        return code, as_text(message)

    def clear_route_cache(self) -> None:
        """In ABI 0.1.0 only, which plain Python does not speak."""
        raise_for_status("proxy_clear_route_cache", Status.UNIMPLEMENTED)

    def environ(self) -> list[bytes]:
        """The environment that the proxy gives."""
        return self._vm.environment


def _converted(kind: Any, value: Any) -> int | bytes:
    if kind is bytes:
        if not isinstance(value, str | bytes):
            raise TypeError(f"expected str or bytes, not {value!r}")
        return as_bytes(value)
    number = value.__index__()
    lowest, end = _I64_OR_U64 if kind is I64 else _I32_OR_U32
    if not lowest <= number < end:
        raise OverflowError(f"{number} does not fit into {64 if kind is I64 else 32} bits")
    return int(number) if kind is I64 else number & 0xFFFF_FFFF


def _header(text: str | bytes) -> bytes:
    data = _converted(bytes, text)
    if isinstance(data, bytes) and not any(byte in data for byte in _FORBIDDEN):
        return data
    raise ValueError(f"a header must not contain a line break or NUL: {text!r}")
