"""A Proxy-Wasm module in wasmtime: its memory, its exports, and the host functions it is linked with.

A host function is a method, and its annotations say how the ABI passes its arguments and results:

    def proxy_get_shared_data(self, key: bytes) -> tuple[bytes, int]: ...

| annotation | a parameter is         | of a result, the guest gets                                |
|------------|------------------------|------------------------------------------------------------|
| `bytes`    | an address and a size  | address and size of a copy that its own allocator made room for |
| `int`      | an i32, taken as a u32 | a u32                                                      |
| `I64`      | an i64                 |                                                            |
| `U64`      |                        | a u64                                                      |

Results are written to addresses, which follow the parameters.
What the guest gets back is a status: 0, or that of the `HostError` which the method raises.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final, NamedTuple, NewType, get_args, get_origin, get_type_hints

import wasmtime
from pywasmfilter_compiler.wasm import module as core

from .abi import HostError, Status, u32

I64 = NewType("I64", int)
U64 = NewType("U64", int)

Functions = Mapping[tuple[str, str], Callable[..., Any]]
"""Host functions by module and name."""

_ALLOCATORS: Final = ("malloc", "proxy_on_memory_allocate")
_AS_PARAMETER: Final[Mapping[Any, tuple[int, ...]]] = {
    bytes: (core.I32, core.I32),
    int: (core.I32,),
    I64: (core.I64,),
}
_ADDRESSES: Final[Mapping[Any, int]] = {bytes: 2, int: 1, U64: 1}


class Shape(NamedTuple):
    """The annotations of a host function."""

    parameters: tuple[Any, ...]
    results: tuple[Any, ...]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Shape:
        """What the annotations of a method are."""
        hints = get_type_hints(function)
        result = hints.pop("return")
        if result is type(None):
            return cls(tuple(hints.values()), ())
        return cls(tuple(hints.values()), get_args(result) if get_origin(result) is tuple else (result,))

    @property
    def type(self) -> core.FuncType:
        """The type under which the guest imports such a function."""
        values = [value for annotation in self.parameters for value in _AS_PARAMETER[annotation]]
        addresses = [core.I32] * sum(_ADDRESSES[annotation] for annotation in self.results)
        return core.FuncType((*values, *addresses), (core.I32,))


class Guest:
    """One instance of a module. `functions` is all that it may import; wasmtime refuses it if it needs another one.

    `native_stack` is how many bytes of stack it may use, if that is not to be wasmtime's default.
    """

    def __init__(self, wasm: bytes, functions: Functions, native_stack: int | None = None) -> None:
        engine, module = _compile(wasm, native_stack)
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        for (namespace, name), function in functions.items():
            shape = Shape.of(function)
            # Weak references, since wasmtime keeps every host function until the store is gone.
            entry = _entry(weakref.proxy(self), weakref.WeakMethod(function), shape)
            linker.define_func(namespace, name, _wasmtime_type(shape.type), entry)
        self._exports: dict[str, Any] = dict(linker.instantiate(self.store, module).exports(self.store).items())
        self._memory = self._exports["memory"]
        self._allocate = next(self._exports[name] for name in _ALLOCATORS if name in self._exports)

    def exports(self) -> dict[str, core.FuncType]:
        """The exported functions and their types."""
        functions = {name: item for name, item in self._exports.items() if isinstance(item, wasmtime.Func)}
        return {name: _core_type(item.type(self.store)) for name, item in functions.items()}

    def call(self, name: str, *arguments: int) -> int | None:
        """What an exported function answers. Raises wasmtime.Trap if it takes the VM down."""
        result: int | None = self._exports[name](self.store, *arguments)
        return result

    def read(self, address: int, size: int) -> bytes:
        """A copy of a piece of memory."""
        self._check(address, size)
        return bytes(self._memory.read(self.store, address, address + size))

    def write(self, address: int, data: bytes) -> None:
        """Overwrite a piece of memory."""
        self._check(address, len(data))
        self._memory.write(self.store, data, address)

    def allocate(self, data: bytes) -> int:
        """The address of a copy of `data`, which the guest has to free; 0 if there is nothing to copy."""
        if not data:
            return 0
        address = _unsigned(self._allocate(self.store, len(data)))
        if not address:
            raise HostError(Status.INVALID_MEMORY_ACCESS)
        self.write(address, data)
        return address

    def _check(self, address: int, size: int) -> None:
        if address + size > self._memory.data_len(self.store):
            raise HostError(Status.INVALID_MEMORY_ACCESS)

    def take(self, annotations: tuple[Any, ...], values: Sequence[int]) -> tuple[list[Any], list[int]]:
        """The arguments of a host function, and the addresses that follow them, which are where its results go."""
        rest = iter(values)
        arguments: list[Any] = []
        for annotation in annotations:
            if annotation is bytes:
                arguments.append(self.read(_unsigned(next(rest)), _unsigned(next(rest))))
            else:
                arguments.append(next(rest) if annotation is I64 else _unsigned(next(rest)))
        return arguments, list(map(_unsigned, rest))

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
                    self.write(address, field)


def _entry(guest: Guest, method: weakref.WeakMethod[Callable[..., Any]], shape: Shape) -> Callable[..., int]:
    """What wasmtime calls for a host function."""

    def enter(*values: int) -> int:
        function = method()
        assert function is not None
        try:
            arguments, addresses = guest.take(shape.parameters, values)
            result = function(*arguments)
            results = result if isinstance(result, tuple) else (result,)
            guest.give(shape.results, results if shape.results else (), addresses)
        except HostError as error:
            return error.status
        return Status.OK

    return enter


def _unsigned(value: int) -> int:
    """The u32 behind an i32, which wasmtime gives with a sign."""
    return value & 0xFFFF_FFFF


@lru_cache(maxsize=4)
def _compile(wasm: bytes, native_stack: int | None) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """Kept, since it takes seconds."""
    config = wasmtime.Config()
    if native_stack is not None:
        config.max_wasm_stack = native_stack
    engine = wasmtime.Engine(config)
    return engine, wasmtime.Module(engine, wasm)


def _wasmtime_type(of: core.FuncType) -> wasmtime.FuncType:
    params, results = ([_TO_WASMTIME[value]() for value in values] for values in of)
    return wasmtime.FuncType(params, results)


def _core_type(of: wasmtime.FuncType) -> core.FuncType:
    params, results = (tuple(_FROM_WASMTIME[str(value)] for value in values) for values in (of.params, of.results))
    return core.FuncType(params, results)


_TO_WASMTIME: Final = {core.I32: wasmtime.ValType.i32, core.I64: wasmtime.ValType.i64}
_FROM_WASMTIME: Final = {"i32": core.I32, "i64": core.I64}
