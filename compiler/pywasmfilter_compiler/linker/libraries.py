"""The position-independent libraries of a program, and the addresses that their code and static data are made with.

An address in such a library ("Dynamic Linking" of the Wasm tool conventions) is not a number like others:

* In code it is a global of the module `GOT.mem` or `GOT.func`, or an `i32.const` padded to five bytes, which is added
  to `__memory_base` or `__table_base`.
* In static data it is what `__wasm_apply_data_relocs` stores there.

So the addresses of data, and the slots of functions in the table, that a library knows are known exactly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..errors import LinkError
from ..wasm.cursor import Cursor
from ..wasm.instructions import Stop, instructions
from ..wasm.module import Code, Kind
from ..wasm.opcodes import GLOBAL_GET, I32_CONST, LOCAL_GET, LOCAL_SET, LOCAL_TEE
from .constants import Constants
from .flatten import Instance, Item, Program

_RELOCATIONS: Final = "__wasm_apply_data_relocs"


class Addresses(NamedTuple):
    """Addresses of static data, and slots of the table."""

    data: frozenset[int] = frozenset()
    slots: frozenset[int] = frozenset()


class Relocation(NamedTuple):
    """A word of static data, at `where`, that holds an address of static data or a slot of the table."""

    where: int
    is_slot: bool
    value: int


class _Base(NamedTuple):
    """What an address is counted from: the start of the library's static data, or of its part of the table."""

    is_slot: bool
    value: int


@dataclass(slots=True)
class Library:
    """A library, and what its globals mean: `bases` those that addresses are counted from, `known` whole addresses."""

    number: int
    instance: Instance
    bases: dict[int, _Base]
    known: dict[int, _Base] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)
    """Where the data symbols stand that the library exports."""

    @property
    def memory_base(self) -> int:
        """Where the library's static data begins."""
        return next(base.value for base in self.bases.values() if not base.is_slot)

    def relocations(self) -> Iterator[Relocation]:
        """All addresses in the library's static data. Raises LinkError if they are not stored as wasm-ld does it."""
        target = self.instance.exports.get(_RELOCATIONS)
        if not isinstance(target, Item) or target.instance != self.number:
            return
        body = self.instance.module.code[target.index - self.instance.imported[Kind.FUNC]].body
        globals_ = self.bases | self.known
        position = 1  # there are no locals
        while match := _RELOCATION.match(body, position):
            where, where_from, value, addend = (Cursor(number) for number in match.groups(b"\0"))
            base, start = globals_.get(where_from.u32()), globals_.get(value.u32())
            if base is None or start is None:
                break
            yield Relocation(base.value + where.s32(), start.is_slot, start.value + addend.s32())
            position = match.end()
        if body[position:] != b"\x0b":
            raise LinkError(f"{_RELOCATIONS} of instance {self.number} is not as expected at byte {position}")

    def addresses(self, code: Code, stops: Iterable[Stop]) -> Addresses:
        """The addresses that a function knows. Where it is not clear what a constant is added to, it counts as both."""
        found: list[_Base] = []
        padded: list[Stop] = []
        tables = False
        for stop in stops:
            if stop.opcode == I32_CONST:
                padded.append(stop)
            elif stop.opcode == GLOBAL_GET:
                index = stop.operands[0][1]
                if index in self.known:
                    found.append(self.known[index])
                tables = tables or (index in self.bases and self.bases[index].is_slot)
        bases = self._bases_of_constants(code) if padded and tables else {}
        data_only = [base for base in self.bases.values() if not base.is_slot]
        for stop in padded:
            constant = stop.operands[0][1]
            found += [_Base(base.is_slot, base.value + constant) for base in bases.get(stop.start, data_only)]
        return Addresses(
            frozenset(address for is_slot, address in found if not is_slot and address >= 0),
            frozenset(slot for is_slot, slot in found if is_slot and slot >= 0),
        )

    def _bases_of_constants(self, code: Code) -> dict[int, Iterable[_Base]]:
        """What each constant of a body may be added to, by its place: it stands before it, or a local holds it."""
        before: tuple[int, int] = 0, 0
        held: dict[int, set[_Base]] = {}
        constants: dict[int, tuple[int, int]] = {}
        for start, opcode, index in instructions(code):
            if opcode in (LOCAL_SET, LOCAL_TEE) and before[0] == GLOBAL_GET and before[1] in self.bases:
                held.setdefault(index, set()).add(self.bases[before[1]])
            elif opcode == I32_CONST:
                constants[start] = before
            before = opcode, index
        return {start: self._meant(before, held) for start, before in constants.items()}

    def _meant(self, before: tuple[int, int], held: Mapping[int, set[_Base]]) -> Iterable[_Base]:
        opcode, index = before
        if opcode == GLOBAL_GET and index in self.bases:
            return (self.bases[index],)
        if opcode in (LOCAL_GET, LOCAL_SET, LOCAL_TEE) and index in held:
            return held[index]
        return self.bases.values()


# i32.const offset, global.get __memory_base, i32.add, global.get base, [i32.const addend, i32.add], i32.store offset=0
_LEB: Final = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
_RELOCATION: Final = re.compile(rb"\x41%b\x23%b\x6a\x23%b(?:\x41%b\x6a)?\x36\x02\x00" % (_LEB, _LEB, _LEB, _LEB))


def libraries(program: Program, constants: Constants) -> dict[int, Library]:
    """The libraries of a program, by the number of their instance."""
    found = (_library(program.instances[number], constants, number) for number in range(len(program.instances)))
    return {library.number: library for library in found if library is not None}


def _library(instance: Instance, constants: Constants, number: int) -> Library | None:
    imports = list(enumerate(instance.module.imported(Kind.GLOBAL)))
    named = {item.name: index for index, item in imports}
    memory, table = named.get("__memory_base"), named.get("__table_base")
    if memory is None or table is None:
        return None

    def value(index: int) -> int:
        return constants.of_global(instance.item(Kind.GLOBAL, index)).value & 0xFFFFFFFF

    library = Library(number, instance, {memory: _Base(False, value(memory)), table: _Base(True, value(table))})
    for index, item in imports:
        if item.module in ("GOT.mem", "GOT.func"):
            library.known[index] = _Base(item.module == "GOT.func", value(index))
    for index, own in enumerate(instance.module.globals, len(imports)):
        for base in {instr.value for instr in own.init if instr.opcode == GLOBAL_GET} & library.bases.keys():
            library.known[index] = _Base(library.bases[base].is_slot, value(index))
    for export in instance.module.exports:
        if export.kind is Kind.GLOBAL and export.index >= len(imports):
            library.symbols[export.name] = library.memory_base + value(export.index)
    return library
