"""A filter as a compiled module: its memory and exports in wasmtime, and the host functions it is linked with.

A new instance takes a few milliseconds, since compiled code is kept; see `compiled`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import wasmtime
from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.wasm.module import I32, FuncType

from pywasmfilter.types import Status

from .abi import I64, U64, HostError, Shape, u32
from .compiled import Compiled, load
from .functions import HostFunctions
from .plugin import Refused, Trapped

if TYPE_CHECKING:
    from .vm import VM

WASI: Final = ("clock_time_get", "environ_get", "environ_sizes_get", "random_get")
"""The functions of WASI that this host has."""

_ALLOCATORS: Final = ("malloc", "proxy_on_memory_allocate")
_ALLOCATOR: Final = FuncType((I32,), (I32,))
_STARTS: Final = ("_initialize", "_start")
_START: Final = FuncType((), ())


def module_abi(module: Path) -> str:
    """The version of the ABI that a module declares. Raises Refused if it declares none."""
    marker = next((name for name in sorted(load(module).names) if name in hosts.ABI_MARKERS), None)
    if marker is None:
        raise Refused(f"{module}: not a Proxy-Wasm module of a version that is known")
    return hosts.ABI_MARKERS[marker]


class WasmGuest:
    """One instance of a module.

    `native_stack` is how many bytes of stack it may use, if that is not to be wasmtime's default. Raises Refused for a
    module of another version, one that needs a function which this version lacks, and one whose memory, allocator or
    callbacks are missing or of another type; Trapped if it breaks down as it starts.
    """

    def __init__(self, module: Path, vm: VM, native_stack: int | None = None) -> None:
        compiled = load(module, native_stack)
        self.abi = vm.abi
        self.store = wasmtime.Store(compiled.engine)
        self._memory: Any = None  # a start function has none yet
        linker = wasmtime.Linker(compiled.engine)
        for (namespace, name), functype in imports(vm.abi).items():
            shape = Shape.of(getattr(HostFunctions, name))
            # Weak references, since wasmtime keeps every host function until the store is gone.
            entry = _entry(weakref.proxy(self), weakref.proxy(vm), name, shape)
            linker.define_func(namespace, name, _wasmtime_type(functype), entry)
        self._exports = self._instantiate(compiled, linker)
        self.callbacks = self._checked_callbacks()
        self._memory = self._exports.get("memory")
        if not isinstance(self._memory, wasmtime.Memory):
            raise Refused("the module exports no memory")
        allocate = self._function(_ALLOCATORS, _ALLOCATOR)
        if allocate is None:
            raise Refused(f"the module exports no allocator, which is {' or '.join(_ALLOCATORS)}")
        self._allocate = allocate
        vm.guest = self  # which a start may need already
        self._start()

    def _instantiate(self, compiled: Compiled, linker: wasmtime.Linker) -> dict[str, Any]:
        try:
            return compiled.instantiate(self.store, linker)
        except wasmtime.Trap as error:
            raise Trapped(f"the start function: {error}") from error
        except wasmtime.WasmtimeError as error:
            raise Refused(f"the module cannot be instantiated: {error}") from error

    def _start(self) -> None:
        """Modules of other languages have something to start."""
        start = self._function(_STARTS, _START)
        if start is None:
            return
        try:
            start(self.store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise Trapped(f"the start of the module: {error}") from error

    def _function(self, names: Sequence[str], functype: FuncType) -> wasmtime.Func | None:
        """The first of some exports that is there. Raises Refused if it is no function of a type."""
        name = next((name for name in names if name in self._exports), None)
        if name is None:
            return None
        function, expected = self._exports[name], _texts(_wasmtime_type(functype))
        if not isinstance(function, wasmtime.Func):
            raise Refused(f"{name} is no function, and should be {expected}")
        if (found := _texts(function.type(self.store))) != expected:
            raise Refused(f"{name} is {found}, and should be {expected}")
        return function

    def _checked_callbacks(self) -> frozenset[str]:
        functions = {name: item for name, item in self._exports.items() if isinstance(item, wasmtime.Func)}
        marker = next((name for name in functions if name in hosts.ABI_MARKERS), "no version")
        if hosts.ABI_MARKERS.get(marker) != self.abi:
            raise Refused(f"this is a host of ABI {self.abi}, and the module exports {marker}")
        types = hosts.callbacks(self.abi)
        for name in functions.keys() & types.keys():
            self._function([name], types[name])
        return frozenset(functions.keys() & types.keys())

    def call(self, callback: str, context_id: int, *arguments: int) -> int | None:
        """What a callback answers. Raises Trapped if it takes the VM down."""
        try:
            result: int | None = self._exports[callback](self.store, context_id, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise Trapped(f"{callback} of context {context_id}: {error}") from error
        return result

    def close(self) -> None:
        """Give the memory back now."""
        self._exports.clear()
        self.store.close()

    def read(self, address: int, size: int) -> bytes:
        """A copy of a piece of memory."""
        self._check(address, size)
        return bytes(self._memory.read(self.store, address, address + size))

    def write_memory(self, address: int, data: bytes) -> None:
        """Overwrite a piece of memory."""
        self._check(address, len(data))
        self._memory.write(self.store, data, address)

    def _check(self, address: int, size: int) -> None:
        if self._memory is None or address + size > self._memory.data_len(self.store):
            raise HostError(Status.INVALID_MEMORY_ACCESS)

    def allocate(self, data: bytes) -> int:
        """The address of a copy of `data`, which the guest has to free; 0 if there is nothing to copy."""
        if not data:
            return 0
        address = _unsigned(self._allocate(self.store, len(data)))
        if not address:
            raise HostError(Status.INVALID_MEMORY_ACCESS)
        self.write_memory(address, data)
        return address

    def take(self, annotations: tuple[Any, ...], values: Sequence[int]) -> tuple[tuple[Any, ...], list[int]]:
        """The arguments of a host function, and the addresses that follow them, which are where its results go."""
        rest = iter(values)
        arguments: list[Any] = []
        for annotation in annotations:
            if annotation is bytes:
                arguments.append(self.read(_unsigned(next(rest)), _unsigned(next(rest))))
            else:
                arguments.append(next(rest) if annotation is I64 else _unsigned(next(rest)))
        return tuple(arguments), list(map(_unsigned, rest))

    def give(self, annotations: tuple[Any, ...], results: tuple[Any, ...], addresses: list[int]) -> None:
        """Write the results of a host function to where the guest wants them, which may be nowhere."""
        rest = iter(addresses)
        for annotation, result in zip(annotations, results, strict=True):
            if annotation is bytes:
                fields = [u32(self.allocate(result)), u32(len(result))]
            else:
                fields = [result.to_bytes(8 if annotation is U64 else 4, "little")]
            for address, field in zip(islice(rest, len(fields)), fields, strict=True):
                if address:
                    self.write_memory(address, field)


def imports(abi: str) -> dict[tuple[str, str], FuncType]:
    """All that a module may import here."""
    functions = {("env", name): functype for name, functype in hosts.functions(abi).items()}
    return functions | {("wasi_snapshot_preview1", name): hosts.WASI_PREVIEW_1[name] for name in WASI}


def _entry(guest: WasmGuest, vm: VM, function: str, shape: Shape) -> Callable[..., int]:
    """What wasmtime calls for a host function."""

    def enter(*values: int) -> int:
        try:
            arguments, addresses = guest.take(shape.parameters, values)
            status, results = vm.answer(function, arguments)
            if status == Status.OK:
                guest.give(shape.results, results, addresses)
        except HostError as error:
            return error.status
        return status

    return enter


def _unsigned(value: int) -> int:
    """The u32 behind an i32, which wasmtime gives with a sign."""
    return value & 0xFFFF_FFFF


def _texts(of: wasmtime.FuncType) -> str:
    return f"{[str(value) for value in of.params]} → {[str(value) for value in of.results]}"


def _wasmtime_type(of: FuncType) -> wasmtime.FuncType:
    # The numbers of the binary format: i32 is 0x7f, i64 0x7e.
    kinds = {0x7F: wasmtime.ValType.i32, 0x7E: wasmtime.ValType.i64}
    params, results = ([kinds[value]() for value in values] for values in (of.params, of.results))
    return wasmtime.FuncType(params, results)
