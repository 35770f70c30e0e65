"""Take functions out of a linked module that nothing can call.

What can be called is what the exports lead to, by calls in code and by addresses that code or data know
(`references`). Some functions are *cut*: whoever prunes knows that they are not wanted. They stay, but all they do is
to call a function that refuses, and what only they lead to goes.

Words of memory that could be addresses count, unless no code that ever ran can have known such an address. Indices of
the table and addresses in memory stay what they are, since memory holds them; a slot whose function goes gets one that
says its name and traps (`missing`).
Static data that is not in use any more is not taken out but named, since memory is not the linker's to change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final, NamedTuple

from ..errors import LinkError
from ..wasm.binary import raw_sections
from ..wasm.cursor import Cursor, signed, u32, vec
from ..wasm.instructions import IndexMap, Operands, Stop, rewrite, stops
from ..wasm.module import I32, Code, Custom, Element, Export, FuncType, Kind, Module
from ..wasm.names import function_names
from ..wasm.opcodes import Imm
from ..wasm.sections import CUSTOM
from .missing import Telling, tell_missing
from .references import SECTION, References, Uses

_REFUSES: Final = FuncType((), (I32,))


class Cut(NamedTuple):
    """In place of a function: call the exported function `refusal`, of type () -> i32, and return `value`."""

    refusal: str
    value: int = 0


def prune(module: Module, exports: Collection[str], cut: Mapping[str, Cut], telling: Telling) -> Module:
    """The module with these exports only, and without its data and the functions that they do not lead to.

    `cut` names the functions to cut, `telling` those that report a call of what is not there. The result has no names,
    cannot be pruned again, and says in a custom section where static data is that nothing uses; see `unused_data`.

    Raises LinkError for a module that was linked without a layout, or that has a start function; for an export or a
    function that it does not have or that has another type, and for a function to cut that returns no i32.
    """
    content = module.custom(SECTION)
    if content is None:
        raise LinkError("the module was linked without a layout, so what it refers to is not known")
    if module.start is not None:
        raise LinkError("a module with a start function cannot be pruned")
    cuts = _Cuts(module, cut)
    reach = _Reach(module, References.decode(content), cuts)
    roots = [item for item in module.exports if item.name in exports]
    missing = set(exports) - {item.name for item in roots}
    if missing:
        raise LinkError(f"the module does not export {', '.join(sorted(missing))}")
    return _Pruned(module, roots, cuts, reach, telling).module()


_UNUSED: Final = "linker.unused"
_WORTHWHILE: Final = 64


def unused_data(module: bytes) -> list[tuple[int, int]]:
    """(address, size) of the static data that nothing in a pruned module uses, so that memory can do without it."""
    for number, _, content in raw_sections(Cursor(module)):
        if number == CUSTOM and content.name() == _UNUSED:
            return content.vec(lambda c: (c.u32(), c.u32()))
    return []


class _Cuts:
    """The functions that are cut, by funcidx, each with the function that refuses and what is returned."""

    def __init__(self, module: Module, cut: Mapping[str, Cut]) -> None:
        types = module.function_types()
        exported = {item.name: item.index for item in module.exports if item.kind is Kind.FUNC}
        self.refusals: dict[int, tuple[int, int]] = {}
        for name, index in _named(module, cut):
            refusal = exported.get(cut[name].refusal)
            if refusal is None or module.types[types[refusal]] != _REFUSES:
                raise LinkError(f"the module exports no function {cut[name].refusal!r} with the type {_REFUSES}")
            if module.types[types[index]].results != _REFUSES.results:
                raise LinkError(f"{name!r} cannot be cut: its type is {module.types[types[index]]}")
            self.refusals[index] = refusal, cut[name].value

    def body(self, index: int, number: Mapping[int, int]) -> bytes:
        """No locals, call the refusal, drop what it returns, i32.const value, end."""
        refusal, value = self.refusals[index]
        return b"\0\x10" + u32(number[refusal]) + b"\x1a\x41" + signed(value) + b"\x0b"


def _named(module: Module, names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The first function of each name. Other files may have functions of their own that share it."""
    first: dict[str, int] = {}
    for index, name in sorted(function_names(module).items()):
        first.setdefault(name, index)
    for name in sorted(names):
        if name not in first:
            raise LinkError(f"the module has no function {name!r} to cut: the list of them belongs to another version")
        yield name, first[name]


class _Reach:
    """What leads where, from function to function, slot and object."""

    def __init__(self, module: Module, references: References, cuts: _Cuts) -> None:
        self.module = module
        self.references = references
        self.cuts = cuts
        self.imported = len(module.imported(Kind.FUNC))
        self._table = dict(_table(module))
        self._stops: dict[int, list[Stop]] = {}

    def stops(self, function: int) -> list[Stop]:
        """Where a function names what pruning moves."""
        if function not in self._stops:
            self._stops[function] = list(stops(self.module.code[function - self.imported]))
        return self._stops[function]

    def kept(self, roots: Iterable[int]) -> tuple[list[int], set[int]]:
        """The functions and objects that some functions lead to, or what memory may hold does.

        The functions are in order, without imports.
        """
        functions, objects = self._closure(Uses(frozenset(roots)), self._plausible)
        return sorted(function for function in functions if function >= self.imported), objects

    def unused(self, kept: set[int]) -> Iterator[tuple[int, int]]:
        """(address, size) of all other objects; those side by side are one, and a few bytes do not count."""
        start = end = 0
        for number, (address, size) in enumerate(self.references.extents):
            if size == 0 or number in kept:
                continue
            if address != end:
                if end - start >= _WORTHWHILE:
                    yield start, end - start
                start = address
            end = address + size
        if end - start >= _WORTHWHILE:
            yield start, end - start

    @cached_property
    def _plausible(self) -> Uses:
        """What words of memory may really mean: what code that ran could have stored there."""
        exported = frozenset(item.index for item in self.module.exports if item.kind is Kind.FUNC)
        functions, objects = self._closure(Uses(exported), self.references.start)
        slots = frozenset(slot for slot, function in self._table.items() if function in functions)
        memory = self.references.memory
        return Uses(slots=memory.slots & slots, objects=memory.objects & frozenset(objects))

    def _closure(self, *roots: Uses) -> tuple[set[int], set[int]]:
        """All functions and objects that some lead to."""
        functions: set[int] = set()
        objects: set[int] = set()
        pending = list(roots)
        while pending:
            uses = pending.pop()
            called = uses.functions.union(self._table[slot] for slot in uses.slots if slot in self._table)
            for function in called - functions:
                functions.add(function)
                pending.append(Uses(self._calls(function)))
                if function in self.references.functions and function not in self.cuts.refusals:
                    pending.append(self.references.functions[function])
            for number in uses.objects - objects:
                objects.add(number)
                pending.append(self.references.objects[number])
        return functions, objects

    def _calls(self, function: int) -> frozenset[int]:
        if function in self.cuts.refusals:
            return frozenset([self.cuts.refusals[function][0]])
        if function < self.imported:
            return frozenset()
        return frozenset(index for stop in self.stops(function) for imm, index in stop.operands if imm is Imm.FUNC)


def _table(module: Module) -> Iterator[tuple[int, int]]:
    """(slot, function) of all that the table holds."""
    for segment in module.elements:
        if segment.offset is not None:
            start = segment.offset[0].value
            yield from ((start + k, index) for k, index in enumerate(segment.functions) if index is not None)


class _Pruned:
    """Writes the module; what stays is known by now."""

    def __init__(self, module: Module, exports: list[Export], cuts: _Cuts, reach: _Reach, telling: Telling) -> None:
        self.source = module
        self.telling = telling
        self.exports = exports
        self.cuts = cuts
        self.reach = reach
        roots = [item.index for item in exports if item.kind is Kind.FUNC]
        self.kept, objects = reach.kept([*roots, *telling.functions(module)])
        unused = [u32(address) + u32(size) for address, size in reach.unused(objects)]
        self.unused = Custom(_UNUSED, vec(unused))
        self.numbers = {old: new for new, old in enumerate([*range(reach.imported), *self.kept])}

    def module(self) -> Module:
        """The new module, which shares with the old one what does not change."""
        source, positions = self.source, [index - self.reach.imported for index in self.kept]
        module = Module(
            types=source.types,
            imports=source.imports,
            functions=[source.functions[position] for position in positions],
            tables=source.tables,
            memories=source.memories,
            globals=source.globals,
            exports=[self._export(item) for item in self.exports],
            code=list(self._code()),
            customs=[self.unused],
        )
        missing = self._missing()
        types = source.function_types()
        buffer, report = (self.numbers[index] for index in self.telling.functions(source))
        told = tell_missing(module, {what: types[index] for index, what in missing.items()}, buffer, report)
        stand_ins = {index: told[what] for index, what in missing.items()}
        module.elements = [self._segment(segment, self.numbers | stand_ins) for segment in source.elements]
        return module

    def _missing(self) -> dict[int, str]:
        """The functions that go and were in the table, with what to tell of each. No two types have the same text."""
        names, types = function_names(self.source), self.source.function_types()
        missing = {
            index
            for segment in self.source.elements
            for index in segment.functions
            if index is not None and index not in self.numbers and not segment.declarative
        }
        texts = {index: f"of type {self.source.types[types[index]]}" for index in sorted(missing)}
        if self.telling.names:
            return {index: f"{self._name(index, names)} {text}" for index, text in texts.items()}
        return texts

    def _name(self, index: int, names: Mapping[int, str]) -> str:
        """A wrapper of the stack guard has no name; the last function that it calls has."""
        if index in names:
            return names[index]
        called = [number for stop in self.reach.stops(index) for imm, number in stop.operands if imm is Imm.FUNC]
        return names.get(called[-1], f"function {index}") if called else f"function {index}"

    def _segment(self, segment: Element, functions: Mapping[int, int]) -> Element:
        numbers = [None if index is None else functions.get(index) for index in segment.functions]
        if segment.declarative:  # it only says which functions the code makes references to
            numbers = [number for number in numbers if number is not None]
        return replace(segment, functions=numbers)

    def _code(self) -> Iterator[Code]:
        same = dict.fromkeys(("type", "table", "memory", "global_", "data"), _same)
        index_map = IndexMap(func=self.numbers.__getitem__, **same).by_immediate()
        memo: dict[tuple[int | Operands, ...], bytes] = {}
        for index in self.kept:
            code = self.source.code[index - self.reach.imported]
            if index in self.cuts.refusals:
                yield Code(self.cuts.body(index, self.numbers), code.offset)
            else:
                yield Code(rewrite(code, index_map, known_stops=self.reach.stops(index), memo=memo), code.offset)

    def _export(self, item: Export) -> Export:
        return item._replace(index=self.numbers[item.index]) if item.kind is Kind.FUNC else item


def _same(index: int) -> int:
    return index
