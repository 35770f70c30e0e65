"""One VM: a guest, the host functions it is given, and the callbacks that it is called for.

A guest is a filter in one of two bodies, `python_guest.PythonGuest` or `wasm_guest.WasmGuest`. To both the VM is the
same: they call `answer` for each host function, and are called by `call` for each callback.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from pywasmfilter.types import BufferType, Status

from .abi import HostError, Shape
from .functions import HostFunctions
from .messages import Pairs, Text, as_bytes
from .plugin import Plugin, Refused
from .properties import Properties
from .trace import HostCall

if TYPE_CHECKING:
    from .proxy import Proxy
    from .streams import Stream

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Guest(Protocol):
    """A filter, in one of its bodies."""

    abi: str
    """The version of the ABI that it speaks."""

    callbacks: frozenset[str]
    """The callbacks that it has, by the ABI's names."""

    def call(self, callback: str, context_id: int, *arguments: int) -> int | None:
        """What a callback answers."""

    def write_memory(self, _address: int, _data: bytes) -> None:
        """Overwrite a piece of memory, if it has any."""

    def close(self) -> None:
        """Let go of everything."""


class VM(HostFunctions):
    """One VM with its plugins and their streams. `new_guest` makes its guest, which may call `answer`."""

    def __init__(
        self,
        proxy: Proxy,
        new_guest: Callable[[VM], Guest],
        *,
        abi: str = "0.2.1",
        vm_id: str = "",
        vm_configuration: bytes = b"",
        environment: Mapping[str, str] = _NOTHING,
    ) -> None:
        entries = [_variable(name, value) for name, value in environment.items()]
        super().__init__(proxy, abi, vm_id, vm_configuration, entries)
        self._depth = 0
        self._after_call: deque[Callable[[], object]] = deque()
        self._error: BaseException | None = None
        self._next_context = 1
        self._vm_configuration_size = len(vm_configuration)
        self.guest = new_guest(self)

    # The guest calls the host

    def answer(self, function: str, arguments: tuple[Any, ...]) -> tuple[int, tuple[Any, ...]]:
        """What a host function answers: its status, and its results if that is OK.

        An exception of the test's own code is kept, and raised to the test when the callback has returned.
        """
        call = HostCall(function, Shape.of(getattr(HostFunctions, function)).names, arguments)
        self.proxy.trace.add(call)
        try:
            self.proxy.check_failure(function)
            result = self.perform(function, arguments)
        except HostError as error:
            call.status = error.status
        except BaseException as error:  # noqa: BLE001  # it is raised in `call`
            self._error = self._error or error
            call.status = Status.INTERNAL_FAILURE
        else:
            call.results = () if result is None else result if isinstance(result, tuple) else (result,)
        return call.status, call.results

    def perform(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """What a host function returns: None, its result, or several. Raises HostError."""
        return getattr(self, function)(*arguments)

    def after_call(self, action: Callable[[], object]) -> None:
        """Do something as soon as the outermost callback has returned."""
        self._after_call.append(action)

    def write_memory(self, address: int, data: bytes) -> None:
        """Write to the guest's memory."""
        self.guest.write_memory(address, data)

    # The host calls the guest

    def call(self, callback: str, context_id: int, *arguments: int) -> int:
        """What a callback answers; 0 if there is none, or none to answer.

        What was put off, local responses for instance, is done when the outermost callback has returned.
        """
        if callback not in self.guest.callbacks:
            return 0
        arguments = tuple(map(int, arguments))  # of enumerations only the numbers, as they pass the ABI
        saved = self._context, self._effective_context
        self._context = self._effective_context = context_id
        self._depth += 1
        traced = self.proxy.trace.begin(callback, context_id, arguments)
        start = time.perf_counter()
        try:
            traced.answer = self.guest.call(callback, context_id, *arguments)
        except BaseException as error:
            own = self._forget_what_waits()
            if own is not None and isinstance(error, Exception):
                raise own from error
            raise
        finally:
            traced.seconds = time.perf_counter() - start
            self.proxy.trace.end()
            self._depth -= 1
            self._context, self._effective_context = saved
        self._finish_call()
        return traced.answer or 0

    def _forget_what_waits(self) -> BaseException | None:
        """The outermost callback breaks off: nothing of it may hit the next one. The error of the test's own code."""
        if self._depth > 1:
            return None
        self._after_call.clear()
        error, self._error = self._error, None
        return error

    def _finish_call(self) -> None:
        if self._depth:
            return
        if (error := self._forget_what_waits() if self._error is not None else None) is not None:
            raise error
        while self._after_call:
            self._after_call.popleft()()

    def has(self, callback: str) -> bool:
        """Whether the guest has a callback."""
        return callback in self.guest.callbacks

    @contextmanager
    def showing(self, maps: Mapping[Any, Pairs] = _NOTHING, buffers: Mapping[Any, bytes] = _NOTHING) -> Iterator[None]:
        """Let the guest read these, in the callbacks that are made meanwhile."""
        saved = self._maps, self._buffers
        self._maps, self._buffers = {**self._maps, **maps}, {**self._buffers, **buffers}
        try:
            yield
        finally:
            self._maps, self._buffers = saved

    @property
    def running(self) -> bool:
        """Whether a callback runs."""
        return self._depth > 0

    # Contexts

    def start_plugin(self, root_id: str, configuration: bytes, properties: Properties) -> Plugin:
        """Create and start a plugin. Raises Refused if it does not start, with what was logged."""
        plugin = Plugin(self, self._new_id(), root_id, properties)
        self.plugins[plugin.context_id] = plugin
        logged = len(self.proxy.log)
        self.call("proxy_on_context_create", plugin.context_id, 0)
        started = self._succeeds("proxy_on_vm_start", plugin, self._vm_configuration_size)
        with self.showing(buffers={BufferType.PLUGIN_CONFIGURATION: configuration}):
            started = started and self._succeeds("proxy_on_configure", plugin, len(configuration))
        if not started:
            raise Refused("\n".join(["the plugin does not start", *map(str, self.proxy.log[logged:])]))
        self.proxy.drain()
        return plugin

    def _succeeds(self, callback: str, plugin: Plugin, size: int) -> bool:
        return not self.has(callback) or bool(self.call(callback, plugin.context_id, size))

    def add_stream(self, stream: Stream) -> int:
        """The id of a new stream's context."""
        context_id = self._new_id()
        self.streams[context_id] = stream
        self.call("proxy_on_context_create", context_id, stream.plugin.context_id)
        return context_id

    def remove_stream(self, context_id: int) -> None:
        """The last callback of a stream's context."""
        self.call("proxy_on_delete", context_id)
        del self.streams[context_id]

    def _new_id(self) -> int:
        context_id, self._next_context = self._next_context, self._next_context + 1
        return context_id


def _variable(name: str, value: str) -> bytes:
    """A variable of the environment as the guest gets it. Raises ValueError for what can be none."""
    if not name or "=" in name or "\0" in name + value:
        raise ValueError(f"no variable of an environment: {name!r}={value!r}")
    return as_bytes(f"{name}={value}")


def configuration_bytes(configuration: Text | Mapping[str, Any] | list[Any] | None) -> bytes:
    """A configuration as the proxy hands it on: JSON for what is no text."""
    if configuration is None:
        return b""
    if isinstance(configuration, str | bytes):
        return as_bytes(configuration)
    return json.dumps(configuration).encode()
