"""A module and its recorder become one module.

What the module has keeps its number, except that functions move behind the imports which the recorder adds. What the
recorder has follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import wasmtime

from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.errors import LinkError
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.cursor import u32
from pywasmfilter_compiler.wasm.instructions import IndexMap, IndexOf, Operands, rewrite
from pywasmfilter_compiler.wasm.module import (
    Code,
    Custom,
    Element,
    Export,
    FuncType,
    Global,
    Import,
    Kind,
    Limits,
    Module,
)
from pywasmfilter_compiler.wasm.names import SECTION, encode_function_names, function_names
from pywasmfilter_compiler.wasm.opcodes import CALL, REF_FUNC, Imm

from .functions import FUNCTIONS
from .program import PAGES, Exported, HostFunction, OwnImports, source

_MEMORY_SIZE: Final = 0x3F
_MEMORY_GROW: Final = 0x40
_MOST_PAGES: Final = 65536

_LOG: Final = ("env", "proxy_log")
_RANDOM: Final = ("wasi_snapshot_preview1", "random_get")
_ENVIRON_SIZES: Final = ("wasi_snapshot_preview1", "environ_sizes_get")

_CALLBACKS: Final = {
    item
    for callbacks in (*map(hosts.callbacks, hosts.ABI_VERSIONS), hosts.ENVOY_CALLBACKS)
    for item in callbacks.items()
}
_ALLOCATORS: Final = {(name, hosts.ALLOCATOR) for name in hosts.ALLOCATORS}


def instrument(module: bytes) -> bytes:
    """The module with a recorder in it; see the package. What has another type than hosts expect is left alone.

    Raises MalformedWasm or UnsupportedWasm for a module that cannot be read, LinkError for one that has no memory, or
    so much that there is no room for the recorder's.
    """
    return binary.encode(_Instrumented(binary.decode(module)).module())


class _Part(NamedTuple):
    """The recorder as a module of its own: what it imports, and where its own functions begin, in the finished one."""

    module: Module
    imports: list[int]
    base: int

    def function(self, index: int) -> int:
        """The number that a function of the recorder gets."""
        imported = len(self.imports)
        return self.imports[index] if index < imported else self.base + index - imported

    def export(self, name: str) -> int:
        """The number that an exported function of the recorder gets."""
        return next(self.function(item.index) for item in self.module.exports if item.name == name)


class _Instrumented:
    def __init__(self, module: Module) -> None:
        self.source = module
        self.types = list(module.types)
        self.functypes = [module.types[index] for index in module.function_types()]
        self.imports = module.imported(Kind.FUNC)
        self.numbers = {(item.module, item.name): number for number, item in enumerate(self.imports)}
        self.added = list(self._add())
        functions = list(self._host_functions())
        callbacks, allocators = list(self._exported(_CALLBACKS)), list(self._exported(_ALLOCATORS))
        own = OwnImports(self.numbers[_LOG], self.numbers[_RANDOM], self.numbers.get(_ENVIRON_SIZES))
        self.part = self._assemble(source(own, functions, callbacks, allocators))
        self.wrappers = {item.index: self.part.export(str(item.index)) for item in functions}
        self.exported = {item.name: self.part.export(item.name) for item in (*callbacks, *allocators)}

    # What to record

    def _add(self) -> Iterator[Import]:
        """The imports that the recorder needs and the module does not have."""
        needed = [_LOG, _RANDOM]
        if any(name == "environ_get" for _, name in self.numbers):
            needed.append(_ENVIRON_SIZES)
        missing = [name for name in needed if name not in self.numbers]
        for number, name in enumerate(missing, len(self.imports)):
            self.numbers[name] = number
            yield Import(*name, Kind.FUNC, self._type(FUNCTIONS[name].type))

    def _host_functions(self) -> Iterator[HostFunction]:
        for index, item in enumerate(self.imports):
            signature = FUNCTIONS.get((item.module, item.name))
            if signature is not None and self.functypes[index] == signature.type:
                yield HostFunction(item.name, index, signature)

    def _exported(self, wanted: set[tuple[str, FuncType]]) -> Iterator[Exported]:
        for item in self.source.exports:
            if item.kind is Kind.FUNC and (item.name, self.functypes[item.index]) in wanted:
                yield Exported(item.name, self._moved(item.index), self.functypes[item.index])

    def _assemble(self, text: str) -> _Part:
        module = binary.decode(bytes(wasmtime.wat2wasm(text)))
        imports = [int(item.name) for item in module.imported(Kind.FUNC)]
        return _Part(module, imports, len(self.functypes) + len(self.added))

    # The numbers of functions and types

    def _moved(self, index: int) -> int:
        """The number that a function of the module gets."""
        return index if index < len(self.imports) else index + len(self.added)

    def _called(self, index: int) -> int:
        """The number of what is called in its place."""
        return self.wrappers.get(index, self._moved(index))

    def _type(self, functype: FuncType) -> int:
        if functype not in self.types:
            self.types.append(functype)
        return self.types.index(functype)

    # The module

    def module(self) -> Module:
        """The new module, which shares with the old one what does not change."""
        old, part = self.source, self.part.module
        return Module(
            types=self.types,
            imports=[*map(_with_room, old.imports), *self.added],
            functions=[*old.functions, *(self._type(part.types[index]) for index in part.functions)],
            tables=old.tables,
            memories=self._memories(),
            globals=[*map(self._global, old.globals), *part.globals],
            exports=[self._export(item) for item in old.exports],
            start=None if old.start is None else self._called(old.start),
            elements=[self._element(item) for item in old.elements],
            code=[*self._code(), *self._code_of_part()],
            data=[*old.data, *part.data],
            customs=list(self._names()),
        )

    def _memories(self) -> list[Limits]:
        if not self.source.memories and not self.source.imported(Kind.MEMORY):
            raise LinkError("a module without memory cannot be recorded")
        return [_more(limits) for limits in self.source.memories]

    def _global(self, item: Global) -> Global:
        init = (
            step._replace(value=self._called(step.value)) if step.opcode == REF_FUNC else step for step in item.init
        )
        return Global(item.type, tuple(init))

    def _export(self, item: Export) -> Export:
        if item.kind is not Kind.FUNC:
            return item
        return item._replace(index=self.exported.get(item.name, self._called(item.index)))

    def _element(self, item: Element) -> Element:
        return replace(item, functions=[None if index is None else self._called(index) for index in item.functions])

    def _code(self) -> Iterator[Code]:
        """The module's own code, in which the size of memory is that without the recorder's pages."""
        index_map = _index_map(func=self._called)
        memo: dict[tuple[int | Operands, ...], bytes] = {
            (opcode, ((Imm.MEMORY, 0),)): bytes([CALL]) + u32(self.part.export(name))
            for opcode, name in ((_MEMORY_SIZE, "size"), (_MEMORY_GROW, "grow"))
        }
        for code in self.source.code:
            yield Code(rewrite(code, index_map, memo=memo), code.offset)

    def _code_of_part(self) -> Iterator[Code]:
        own, part = self.source, self.part.module
        globals_before = len(own.imported(Kind.GLOBAL)) + len(own.globals)
        index_map = _index_map(
            func=self.part.function,
            type=lambda index: self._type(part.types[index]),
            global_=lambda index: globals_before + index,
            data=lambda index: len(own.data) + index,
        )
        for code in part.code:
            yield Code(rewrite(code, index_map), code.offset)

    def _names(self) -> Iterator[Custom]:
        """Only names: what other custom sections say of the code is no longer true."""
        if self.source.custom(SECTION) is not None:
            own = {self._moved(index): name for index, name in function_names(self.source).items()}
            part = {self.part.function(index): name for index, name in function_names(self.part.module).items()}
            yield encode_function_names({index: f"recorder.{name}" for index, name in part.items()} | own)


def _index_map(**changed: IndexOf) -> Mapping[Imm, IndexOf]:
    same: dict[str, IndexOf] = dict.fromkeys(("type", "table", "memory", "global_", "data"), _same)
    return {**IndexMap(**{**same, **changed}).by_immediate(), Imm.ELEM: _same}


def _same(index: int) -> int:
    return index


def _with_room(item: Import) -> Import:
    return item._replace(desc=_more(item.desc)) if isinstance(item.desc, Limits) else item


def _more(limits: Limits) -> Limits:
    if limits.minimum + PAGES > _MOST_PAGES:
        raise LinkError(f"a module that begins with {limits.minimum} pages of memory leaves no room for the recorder")
    maximum = None if limits.maximum is None else min(limits.maximum + PAGES, _MOST_PAGES)
    return Limits(limits.minimum + PAGES, maximum)
