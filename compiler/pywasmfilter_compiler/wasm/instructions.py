"""Walking and rewriting function bodies, fast, in pure Python.

Nearly all instructions carry nothing that linking moves. One regular expression, made from the opcode table, swallows
a whole run of them at once, and with it the instruction that ends the run: one that names a function, global, type,
table, memory or segment. What it cannot match is read byte by byte. The same few thousand instructions come again and
again, so each is understood once. Six megabytes of code take about a quarter of a second this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

from . import cursor as encode
from .cursor import Cursor
from .module import Code
from .opcodes import END, GLOBAL_GET, I32_CONST, INSTRUCTIONS, PREFIX, Imm, Instruction, describe_unknown

_LEB: Final = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
_PLAIN_IMMEDIATES: Final = {
    Imm.LABEL: _LEB,
    Imm.LOCAL: _LEB,
    Imm.MEMARG: rb"[\x00-\x3f]" + _LEB,
    Imm.I64: _LEB,
    Imm.F32: rb".{4}",
    Imm.F64: rb".{8}",
    Imm.REFTYPE: rb"[\x6f\x70]",
    # Only block types that are a value type or empty; those that name a typeidx are read one by one.
    Imm.BLOCKTYPE: rb"[\x40\x6f\x70\x7b-\x7f]",
}
# A linker leaves five bytes for an address that it writes: such a constant is a reference, and read like one.
_PADDED: Final = bytes([I32_CONST]) + rb"[\x80-\xff]{4}[\x00-\x7f]"
_UNPADDED: Final = bytes([I32_CONST]) + rb"[\x80-\xff]{0,3}+[\x00-\x7f]"
# Numbers that fit 32 bits, also when a linker padded them to five bytes.
_U32: Final = rb"(?:[\x80-\xff]{4}[\x00-\x0f]|[\x80-\xff]{0,3}+[\x00-\x7f])"
_INDICES: Final = dict.fromkeys((Imm.TYPE, Imm.FUNC, Imm.TABLE, Imm.MEMORY, Imm.GLOBAL, Imm.ELEM, Imm.DATA), _U32)


def _opcode_bytes(opcode: int) -> bytes:
    return bytes([opcode]) if opcode <= 0xFF else bytes([PREFIX]) + encode.u32(opcode - 0xFC00)


def _any_instruction(immediates: Mapping[Imm, bytes]) -> bytes:
    """An expression that matches each instruction whose immediates are all among these."""
    by_immediates: dict[tuple[Imm, ...], list[bytes]] = {}
    for opcode, instruction in INSTRUCTIONS.items():
        if all(imm in immediates for imm in instruction.immediates):
            by_immediates.setdefault(instruction.immediates, []).append(_opcode_bytes(opcode))
    alternatives = []
    for kinds, opcodes in by_immediates.items():
        single = b"".join(re.escape(o) for o in opcodes if len(o) == 1)
        choice = b"|".join([b"[" + single + b"]"] * bool(single) + [re.escape(o) for o in opcodes if len(o) > 1])
        alternatives.append(b"(?:" + choice + b")" + b"".join(immediates[imm] for imm in kinds))
    return b"|".join(alternatives)


_PLAIN: Final = _any_instruction(_PLAIN_IMMEDIATES) + b"|" + _UNPADDED
_MOVED: Final = _any_instruction(_INDICES) + b"|" + _PADDED
_STEP: Final = re.compile(b"(?:" + _PLAIN + b")*+(" + _MOVED + b")?+", re.DOTALL)
_LOCAL_DECLARATION: Final = re.compile(_LEB + rb"[\x6f\x70\x7b-\x7f]")

Operands: TypeAlias = tuple[tuple[Imm, int], ...]


class Stop(NamedTuple):
    """An instruction that names something linking moves: `[start, end)` in the body, and each index with its kind.

    Such a thing is also an `i32.const` of five bytes: a linker has left the room, so it is an address, of memory or in
    the table. (Or it is a large number, which nobody can tell.)
    """

    start: int
    end: int
    opcode: int
    operands: Operands


def _skip_locals(cursor: Cursor) -> None:
    for _ in range(cursor.u32()):
        match = _LOCAL_DECLARATION.match(cursor.data, cursor.pos, cursor.end)
        if match is None:
            cursor.u32()
            cursor.unsupported(f"a local of an unknown type {cursor.peek():#04x}")
        cursor.pos = match.end()


def _read_opcode(cursor: Cursor) -> tuple[int, Instruction]:
    start = cursor.pos
    opcode = cursor.byte()
    if opcode == PREFIX:
        opcode = 0xFC00 + cursor.u32()
    instruction = INSTRUCTIONS.get(opcode)
    if instruction is None:
        cursor.unsupported(describe_unknown(opcode), start)
    return opcode, instruction


@lru_cache(maxsize=1 << 16)
def _read_indices(instruction: bytes) -> tuple[int, Operands]:
    """Opcode and operands of an instruction that the second half of `_STEP` has matched."""
    opcode, row = _read_opcode(cursor := Cursor(instruction))
    return opcode, tuple(_read_operands(cursor, row))


def _read_operands(cursor: Cursor, instruction: Instruction) -> Iterator[tuple[Imm, int]]:
    for imm in instruction.immediates:
        match imm:
            case Imm.TYPE | Imm.FUNC | Imm.TABLE | Imm.MEMORY | Imm.GLOBAL | Imm.ELEM | Imm.DATA:
                yield imm, cursor.u32()
            case Imm.BLOCKTYPE:
                at, index = cursor.pos, cursor.s33()
                if index < 0:
                    cursor.unsupported(f"block type {index} is not supported", at)
                yield imm, index
            case Imm.I32:
                yield imm, cursor.s32()
            case Imm.LABELS:
                cursor.vec(Cursor.u32)
                cursor.u32()
            case Imm.VALTYPES:
                cursor.vec(Cursor.byte)
            case Imm.MEMARG:  # here its alignment is not the shortest number
                _read_memarg(cursor)
            case Imm.REFTYPE:
                cursor.unsupported(f"a reference of type {cursor.peek():#04x}")
            case _:
                cursor.fail(f"malformed immediate of {instruction.name}")


def _read_memarg(cursor: Cursor) -> None:
    at, alignment = cursor.pos, cursor.u32()
    if alignment & 0x40:
        cursor.unsupported("an instruction that names its memory: only one memory is supported", at)
    if alignment > 0x3F:
        cursor.fail(f"malformed alignment {alignment}", at)
    cursor.u32()


def stops(code: Code) -> Iterator[Stop]:
    """Each instruction of a body that names something linking moves, in order. Positions count from the body's start.

    Raises MalformedWasm or UnsupportedWasm, with the offset in the file, when the body cannot be read to its end.
    """
    body = code.body
    cursor = Cursor(body, base=code.offset)
    _skip_locals(cursor)
    match_step, position = _STEP.match, cursor.pos
    while step := match_step(body, position):  # always: it may match nothing
        start, position = step.span(1)
        if start >= 0:
            yield Stop(start, position, *_read_indices(step[1]))
            continue
        start = cursor.pos = step.end()
        if not cursor:
            break
        opcode, instruction = _read_opcode(cursor)
        operands = tuple(_read_operands(cursor, instruction))
        position = cursor.pos
        if operands:
            yield Stop(start, position, opcode, operands)
    if not body or body[-1] != END:
        cursor.fail("a function body does not end with the end instruction")


_ONE: Final = re.compile(b"(?:" + _PLAIN + b"|" + _MOVED + b")", re.DOTALL)


def instructions(code: Code) -> Iterator[tuple[int, int, int]]:
    """(where, opcode, operand) of each instruction of a body, far slower than `stops`.

    The operand is the index of an instruction that names one local or global, and 0 for any other.
    """
    cursor = Cursor(code.body, base=code.offset)
    _skip_locals(cursor)
    while cursor:
        start = cursor.pos
        if match := _ONE.match(cursor.data, start):
            cursor.pos = match.end()
            opcode, operand = _simple(match[0])
        else:
            opcode, instruction = _read_opcode(cursor)
            tuple(_read_operands(cursor, instruction))
            operand = 0
        yield start, opcode, operand


@lru_cache(maxsize=1 << 16)
def _simple(instruction: bytes) -> tuple[int, int]:
    opcode, row = _read_opcode(cursor := Cursor(instruction))
    return opcode, cursor.u32() if row.immediates in ((Imm.LOCAL,), (Imm.GLOBAL,)) else 0


IndexOf: TypeAlias = Callable[[int], int]


@dataclass(slots=True)
class IndexMap:
    """Where each index space of a module goes: one function per space, from old index to new.

    Element segments have none: instructions that name one change a table, which no user of this class allows.
    """

    type: IndexOf
    func: IndexOf
    table: IndexOf
    memory: IndexOf
    global_: IndexOf
    data: IndexOf

    def by_immediate(self) -> dict[Imm, IndexOf]:
        """The same, keyed by the kind of immediate."""
        return {
            Imm.TYPE: self.type,
            Imm.BLOCKTYPE: self.type,
            Imm.FUNC: self.func,
            Imm.TABLE: self.table,
            Imm.MEMORY: self.memory,
            Imm.GLOBAL: self.global_,
            Imm.DATA: self.data,
        }


def rewrite(
    code: Code,
    index_map: Mapping[Imm, IndexOf],
    constants: Mapping[int, bytes] | None = None,
    known_stops: Iterable[Stop] | None = None,
    memo: dict[tuple[int | Operands, ...], bytes] | None = None,
) -> bytes:
    """The body with every movable index passed through `index_map` (see `IndexMap.by_immediate`).

    Constants that were padded get their shortest form.

    A `global.get` of a global in `constants` becomes the instruction given there. `known_stops` are the body's
    `stops`, for a caller that has walked it already; `memo` keeps what instructions became, for a caller that rewrites
    many bodies with one map.
    """
    body, done = code.body, 0
    out: list[bytes] = []
    memo = {} if memo is None else memo
    for stop in stops(code) if known_stops is None else known_stops:
        instruction = stop[2:]
        if instruction not in memo:
            memo[instruction] = _moved(stop, index_map, constants or {})
        out += body[done : stop[0]], memo[instruction]
        done = stop[1]
    out.append(body[done:])
    return b"".join(out)


def _moved(stop: Stop, index_map: Mapping[Imm, IndexOf], constants: Mapping[int, bytes]) -> bytes:
    if stop.opcode == GLOBAL_GET and (constant := constants.get(stop.operands[0][1])):
        return constant
    out = _opcode_bytes(stop.opcode)
    for imm, number in stop.operands:
        if imm is Imm.I32:
            out += encode.signed(number)
        elif imm is Imm.BLOCKTYPE:
            out += encode.signed(index_map[imm](number))
        else:
            out += encode.u32(index_map[imm](number))
    return out
