"""Import the user's filter inside the runtime image, and take a copy of the memory: that copy is the module.

The image runs in wasmtime, in a host of our own that is no proxy: host calls answer 12, Unimplemented, except that a
foreign function finds sources (`pyfilter.find_module`), takes output (`pyfilter.output`) and the report
(`pyfilter.report`). Clock and random numbers of this host are constants, so the same input gives the same bytes; the
finished module gets its own from the proxy before any of the user's code runs.
"""

from __future__ import annotations

import ctypes
import marshal
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import wasmtime

from . import unread
from .errors import BuildStopped
from .hosts import AbiVersion
from .sources import NOT_FOLLOWED, Sources

_UNIMPLEMENTED: Final = 12
_OK: Final = 0
_BUILD_TIME: Final = 315_532_800_000_000_000  # 1980-01-01 in nanoseconds: what the clock says during a build

# A build runs deeper than a request: packages are imported from within packages. Wasmtime takes 2 MiB at most.
_WASM_STACK: Final = 2 << 20
_THREAD_STACK: Final = 16 << 20


class Request(NamedTuple):
    """What to build, for a version of the ABI: `modules` to import in order, `include` further ones to keep,
    `keep_docs`, whether with docstrings and columns, `record` what is compiled.
    """

    abi: AbiVersion
    modules: Iterable[str] = ()
    include: Iterable[str] = ()
    keep_docs: bool = False
    record: bool = False

    def to_bytes(self, max_memory: int) -> bytes:
        """As `pywasmfilter/_runtime/build.py` takes it. `max_memory` in bytes bounds the memory of each VM."""
        names = {"modules": list(self.modules), "include": list(self.include), "not_followed": sorted(NOT_FOLLOWED)}
        options = {"abi": self.abi, "keep_docs": self.keep_docs, "record": self.record, "max_memory": max_memory}
        return marshal.dumps({**names, **options}, 2)


class Limits(NamedTuple):
    """What a build may take: `timeout` in seconds, `memory` in MiB."""

    timeout: float
    memory: int


@dataclass(slots=True)
class Snapshot:
    """What a build reported and, unless that is an error, the memory of the instance after it."""

    report: dict[str, Any]
    memory_pages: int
    memory: unread.Memory | None = None

    def segments(self, unused: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        """(address, content) of what is in memory, without the parts of which (address, size) is given."""
        if self.memory is not None:
            for start, size in unused:
                self.memory.clear(start, start + size)
            yield from segments(self.memory.bytes)

    def bytes_of_heap(self, segments: Iterable[tuple[int, bytes]]) -> int:
        """How much of such segments is on the heap."""
        heap = self.memory.heap if self.memory else 0
        return sum(len(content) for address, content in segments if address >= heap)


def new_engine() -> wasmtime.Engine:
    """The engine for images. Its settings are part of compiled code, so all uses share them."""
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.max_wasm_stack = _WASM_STACK
    return wasmtime.Engine(config)


def take(
    engine: wasmtime.Engine,
    module: wasmtime.Module,
    sources: Sources,
    request: Request,
    limits: Limits,
    output: Callable[[str], None],
) -> Snapshot:
    """Run a build in a fresh instance of the image.

    `output` gets each line that the user's code prints. The report of a failed build has an "error".
    Raises BuildStopped if the build does not end in time or brings the interpreter down.
    """
    host = _BuildHost(sources, output)
    store = wasmtime.Store(engine)
    store.set_epoch_deadline(1)
    store.set_limits(memory_size=max(limits.memory << 20, _initial_memory(module)))
    exports = host.linker(engine, module).instantiate(store, module).exports(store)
    data = request.to_bytes(limits.memory << 20)
    _interruptible(engine, limits.timeout, lambda: _call_build(store, exports, data))
    memory = exports["memory"]
    assert isinstance(memory, wasmtime.Memory)
    snapshot = Snapshot(host.report, memory.size(store))
    if "error" not in host.report:
        store.set_limits(memory_size=memory.data_len(store))
        copy = _scrubbed(engine, store, exports, limits.timeout)
        unread.clear(copy, host.report, keep_docs=request.keep_docs)
        snapshot.memory = copy
    return snapshot


def _scrubbed(engine: wasmtime.Engine, store: wasmtime.Store, exports: Any, timeout: float) -> unread.Memory:
    """The memory of a build that is over, with zeros where nothing is kept."""
    heap: list[int] = []
    _interruptible(engine, timeout, lambda: heap.append(exports["pyfilter_scrub"](store)))
    return unread.Memory(_copy(store, exports["memory"]), exports["__stack_pointer"].value(store), heap[0])


def _initial_memory(module: wasmtime.Module) -> int:
    """How many bytes of memory an image begins with."""
    types = [export.type for export in module.exports if isinstance(export.type, wasmtime.MemoryType)]
    return sum(memory.limits.min for memory in types) << 16


def _call_build(store: wasmtime.Store, exports: Any, data: bytes) -> None:
    address = exports["malloc"](store, len(data))
    exports["memory"].write(store, data, address)
    exports["pyfilter_build"](store, address, len(data))


def _interruptible(engine: wasmtime.Engine, timeout: float, run: Callable[[], None]) -> None:
    """Run Wasm code on a thread with a large stack; end it after `timeout` seconds or at Ctrl-C."""
    failure: list[BaseException] = []

    def target() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  # raised again in the calling thread
            failure.append(error)

    previous = threading.stack_size(_THREAD_STACK)
    thread = threading.Thread(target=target, name="pyfilter-build")
    try:
        thread.start()
    finally:
        threading.stack_size(previous)
    try:
        thread.join(timeout)
    finally:
        timed_out = thread.is_alive()
        if timed_out:
            engine.increment_epoch()
            thread.join()
    if timed_out:
        raise BuildStopped(f"importing it took more than {timeout:g} seconds; does it loop at import time?")
    if failure:
        raise _explain(failure[0])


def _explain(error: BaseException) -> BaseException:
    if isinstance(error, wasmtime.WasmtimeError | wasmtime.Trap):
        return BuildStopped(f"the interpreter broke down while it imported this: {error}")
    return error


class _BuildHost:
    """The host functions for a build."""

    def __init__(self, sources: Sources, output: Callable[[str], None]) -> None:
        self.sources = sources
        self.output = output
        self.report: dict[str, Any] = {"error": {"message": "the build ended without a report", "places": []}}
        self._channels = {
            b"pyfilter.find_module": self._find_module,
            b"pyfilter.output": self._output,
            b"pyfilter.report": self._report,
        }

    def linker(self, engine: wasmtime.Engine, module: wasmtime.Module) -> wasmtime.Linker:
        """A linker that knows every import of the image."""
        linker = wasmtime.Linker(engine)
        implemented = {
            "proxy_call_foreign_function": self.call_foreign_function,
            "proxy_log": self.log,
            "clock_time_get": self.clock_time_get,
            "random_get": self.random_get,
            "environ_sizes_get": self.environ_sizes_get,
        }
        for item in module.imports:
            name = item.name or ""
            function = implemented.get(name, _unimplemented)
            linker.define_func(item.module, name, item.type, function, access_caller=True)  # type: ignore[arg-type]
        return linker

    def call_foreign_function(
        self, caller: wasmtime.Caller, name: int, name_size: int, data: int, size: int, out: int, out_size: int
    ) -> int:
        memory = _memory(caller)
        channel = self._channels.get(bytes(memory.read(caller, name, name + name_size)))
        if channel is None:
            return _UNIMPLEMENTED
        answer = channel(bytes(memory.read(caller, data, data + size)))
        address = caller["malloc"](caller, len(answer)) if answer else 0  # type: ignore[operator]
        memory.write(caller, answer, address)
        memory.write(caller, address.to_bytes(4, "little"), out)
        memory.write(caller, len(answer).to_bytes(4, "little"), out_size)
        return _OK

    def _find_module(self, name: bytes) -> bytes:
        return marshal.dumps(tuple(self.sources.find(name.decode("utf-8", "surrogateescape"))), 2)

    def _output(self, line: bytes) -> bytes:
        self.output(line.decode("utf-8", "replace"))
        return b""

    def _report(self, report: bytes) -> bytes:
        self.report = marshal.loads(report)  # noqa: S302  # our own image made it
        return b""

    def log(self, caller: wasmtime.Caller, _level: int, message: int, size: int) -> int:
        """What C code prints; the SDK turns the status into an error for a caller in Python."""
        self.output(bytes(_memory(caller).read(caller, message, message + size)).decode("utf-8", "replace"))
        return _UNIMPLEMENTED

    def clock_time_get(self, caller: wasmtime.Caller, _clock: int, _precision: int, out: int) -> int:
        _memory(caller).write(caller, _BUILD_TIME.to_bytes(8, "little"), out)
        return _OK

    def random_get(self, caller: wasmtime.Caller, out: int, size: int) -> int:
        """Zeros. Only seeds that the module replaces when a VM starts come from here; see `_runtime/environment.py`."""
        _memory(caller).write(caller, bytes(size), out)
        return _OK

    def environ_sizes_get(self, caller: wasmtime.Caller, entries: int, size: int) -> int:
        memory = _memory(caller)
        memory.write(caller, bytes(4), entries)
        memory.write(caller, bytes(4), size)
        return _OK


def _unimplemented(_caller: wasmtime.Caller, *_arguments: int) -> int:
    return _UNIMPLEMENTED


def _memory(caller: wasmtime.Caller) -> wasmtime.Memory:
    memory = caller["memory"]
    assert isinstance(memory, wasmtime.Memory)
    return memory


def _copy(store: wasmtime.Store, memory: wasmtime.Memory) -> bytearray:
    return bytearray(ctypes.string_at(memory.data_ptr(store), memory.data_len(store)))


# A segment costs about eight bytes; and V8 refuses a module with more than 100,000 of them.
_GAP: Final = bytes(32)
_ZEROS: Final = re.compile(rb"\0*+")


def segments(memory: bytes | bytearray) -> Iterator[tuple[int, bytes]]:
    """(address, content) of everything in a memory that is not zero; short runs of zeros stay inside a segment."""
    position = 0
    while True:
        start = _ZEROS.match(memory, position).end()  # type: ignore[union-attr]  # it matches anywhere
        if start == len(memory):
            return
        end = memory.find(_GAP, start)
        position = len(memory) if end < 0 else end
        yield start, bytes(memory[start:position]).rstrip(b"\0")
