"""Walking and rewriting function bodies, fast, in pure Python.

Nearly all instructions carry nothing that linking moves. One regular expression, made from the opcode table, swallows
a whole run of them at once; the reader stops only at an instruction that names a function, global, type, table, memory
or segment. Six megabytes of code take about a quarter of a second this way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from . import cursor as encode
from .cursor import Cursor
from .module import Code
from .opcodes import END, GLOBAL_GET, INSTRUCTIONS, PREFIX, Imm, Instruction, describe_unknown

_LEB: Final = rb"[\x80-\xff]{0,9}+[\x00-\x7f]"
_PLAIN_IMMEDIATES: Final = {
    Imm.LABEL: _LEB,
    Imm.LOCAL: _LEB,
    Imm.MEMARG: rb"[\x00-\x3f]" + _LEB,
    Imm.I32: _LEB,
    Imm.I64: _LEB,
    Imm.F32: rb".{4}",
    Imm.F64: rb".{8}",
    Imm.REFTYPE: rb"[\x6f\x70]",
    # Only block types that are a value type or empty; those that name a typeidx are read one by one.
    Imm.BLOCKTYPE: rb"[\x40\x6f\x70\x7b-\x7f]",
}


def _opcode_bytes(opcode: int) -> bytes:
    return bytes([opcode]) if opcode <= 0xFF else bytes([PREFIX]) + encode.u32(opcode - 0xFC00)


def _plain_run() -> re.Pattern[bytes]:
    """Compile the expression that matches the longest run of instructions without movable indices."""
    by_immediates: dict[tuple[Imm, ...], list[bytes]] = {}
    for opcode, instruction in INSTRUCTIONS.items():
        if all(imm in _PLAIN_IMMEDIATES for imm in instruction.immediates):
            by_immediates.setdefault(instruction.immediates, []).append(_opcode_bytes(opcode))
    alternatives = []
    for immediates, opcodes in by_immediates.items():
        single = b"".join(re.escape(o) for o in opcodes if len(o) == 1)
        choice = b"|".join([b"[" + single + b"]"] * bool(single) + [re.escape(o) for o in opcodes if len(o) > 1])
        alternatives.append(b"(?:" + choice + b")" + b"".join(_PLAIN_IMMEDIATES[imm] for imm in immediates))
    return re.compile(b"(?:" + b"|".join(alternatives) + b")*+", re.DOTALL)


_PLAIN_RUN: Final = _plain_run()
_LOCAL_DECLARATION: Final = re.compile(_LEB + rb"[\x6f\x70\x7b-\x7f]")


class Stop(NamedTuple):
    """An instruction that names movable indices: `[start, end)` in the body, and each index with its kind."""

    start: int
    end: int
    opcode: int
    operands: tuple[tuple[Imm, int], ...]


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
    match_run, size = _PLAIN_RUN.match, len(body)
    while True:
        if run := match_run(body, cursor.pos):  # always: a run may be empty
            cursor.pos = run.end()
        start = cursor.pos
        if start >= size:
            break
        opcode, instruction = _read_opcode(cursor)
        operands = tuple(_read_operands(cursor, instruction))
        if operands:
            yield Stop(start, cursor.pos, opcode, operands)
    if not body or body[-1] != END:
        cursor.fail("a function body does not end with the end instruction")


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
) -> bytes:
    """The body with every movable index passed through `index_map` (see `IndexMap.by_immediate`).

    A `global.get` of a global in `constants` becomes the instruction given there. `known_stops` are the body's
    `stops`, for a caller that has walked it already.
    """
    body, out, done = code.body, [], 0
    constants = constants or {}
    for start, end, opcode, operands in stops(code) if known_stops is None else known_stops:
        out.append(body[done:start])
        done = end
        if opcode == GLOBAL_GET and operands[0][1] in constants:
            out.append(constants[operands[0][1]])
            continue
        out.append(_opcode_bytes(opcode))
        for imm, index in operands:
            number = encode.signed if imm is Imm.BLOCKTYPE else encode.u32
            out.append(number(index_map[imm](index)))
    out.append(body[done:])
    return b"".join(out)
