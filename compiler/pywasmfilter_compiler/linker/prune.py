"""Take functions out of a linked module that nothing in it can call.

A call that is written in the code is seen; one through the table is not, since addresses of functions are in memory
too. So whoever prunes says which functions nobody calls that way any more: runs of them, each from a first to a last
name, in the order in which they were linked. They leave the table. Then everything goes that neither an export, nor
the table, nor a call leads to. Indices of the table and addresses in memory stay what they are: a memory may hold
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Final

from ..errors import LinkError
from ..wasm.instructions import IndexMap, Operands, Stop, rewrite, stops
from ..wasm.module import Code, Element, Export, FuncType, Kind, Module
from ..wasm.names import function_names
from ..wasm.opcodes import Imm

Run = tuple[str, str]
"""The first and the last name of functions that were linked one after the other."""


def prune(module: Module, absent: Iterable[Run], stand_in: str) -> Module:
    """The module without the functions of the runs `absent`, and without those that only they lead to.

    A slot of the table that held one of them holds the exported function `stand_in` if that has the same type, and
    nothing otherwise. A function that other code calls stays, whatever run it is in. The result has no names.

    Raises LinkError for a name that the module does not have, a run that ends before it begins, a stand-in that is no
    exported function, and a module with a start function.
    """
    return _Pruned(module, absent, stand_in).module()


class _Pruned:
    def __init__(self, module: Module, absent: Iterable[Run], stand_in: str) -> None:
        self.source = module
        self.imported = sum(item.kind is Kind.FUNC for item in module.imports)
        self.absent = frozenset(_functions(module, absent))
        exported = {item.name: item.index for item in module.exports if item.kind is Kind.FUNC}
        if stand_in not in exported:
            raise LinkError(f"the module exports no function {stand_in!r} to stand in for what is left out")
        if module.start is not None:
            raise LinkError("a module with a start function cannot be pruned")
        self.stand_in = exported[stand_in]
        self.stops: dict[int, list[Stop]] = {}

    def module(self) -> Module:
        """The new module, which shares with the old one what does not change."""
        source, kept = self.source, [index - self.imported for index in self.kept]
        return Module(
            types=source.types,
            imports=source.imports,
            functions=[source.functions[number] for number in kept],
            tables=source.tables,
            memories=source.memories,
            globals=source.globals,
            exports=[self._export(item) for item in source.exports],
            elements=[self._segment(*pair) for pair in zip(source.elements, self.slots, strict=True)],
            code=list(self._code(kept)),
            data=source.data,
        )

    def _segment(self, segment: Element, slots: list[int | None]) -> Element:
        if segment.declarative:  # it only says which functions the code makes references to
            return replace(segment, functions=[self.numbers[index] for index in slots if index in self.numbers])
        return replace(segment, functions=[None if index is None else self.numbers[index] for index in slots])

    def _code(self, kept: list[int]) -> Iterator[Code]:
        same = dict.fromkeys(("type", "table", "memory", "global_", "data"), _same)
        index_map = IndexMap(func=self.numbers.__getitem__, **same).by_immediate()
        memo: dict[tuple[int | Operands, ...], bytes] = {}
        for number in kept:
            code, known = self.source.code[number], self.stops[number + self.imported]
            yield Code(rewrite(code, index_map, known_stops=known, memo=memo), code.offset)

    def _export(self, item: Export) -> Export:
        return item._replace(index=self.numbers[item.index]) if item.kind is Kind.FUNC else item

    @cached_property
    def slots(self) -> list[list[int | None]]:
        """What each element segment holds from now on, by the old indices."""
        return [
            segment.functions if segment.declarative else [self._slot(function) for function in segment.functions]
            for segment in self.source.elements
        ]

    def _slot(self, function: int | None) -> int | None:
        if function not in self.absent or function is None:
            return function
        return self.stand_in if self._type(function) == self._type(self.stand_in) else None

    def _type(self, function: int | None) -> FuncType | None:
        if function is None or function < self.imported:
            return None
        return self.source.types[self.source.functions[function - self.imported]]

    @cached_property
    def kept(self) -> list[int]:
        """The old indices of the functions that stay, in order."""
        pending = list(self._roots())
        seen = set(pending)
        while pending:
            index = pending.pop()
            if index < self.imported:
                continue
            self.stops[index] = list(stops(self.source.code[index - self.imported]))
            called = {at for stop in self.stops[index] for imm, at in stop.operands if imm is Imm.FUNC} - seen
            seen |= called
            pending += called
        return sorted(index for index in seen if index >= self.imported)

    def _roots(self) -> Iterator[int]:
        yield from {item.index for item in self.source.exports if item.kind is Kind.FUNC}.union(
            function
            for segment, slots in zip(self.source.elements, self.slots, strict=True)
            for function in slots
            if function is not None and not segment.declarative
        )

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Old function index → new. All imports stay."""
        order = [*range(self.imported), *self.kept]
        return {old: new for new, old in enumerate(order)}


def _same(index: int) -> int:
    return index


_NAMES_MISSING: Final = "the module has no function {!r}: the list of what can be left out belongs to another version"


def _functions(module: Module, runs: Iterable[Run]) -> Iterator[int]:
    """The functions of the runs. Of functions with one name, a run begins and ends at the first."""
    first: dict[str, int] = {}
    for index, name in sorted(function_names(module).items()):
        first.setdefault(name, index)
    for run in runs:
        for name in run:
            if name not in first:
                raise LinkError(_NAMES_MISSING.format(name))
        if first[run[1]] < first[run[0]]:
            raise LinkError(f"the function {run[1]!r} stands before {run[0]!r}, with which its run is to begin")
        yield from range(first[run[0]], first[run[1]] + 1)
