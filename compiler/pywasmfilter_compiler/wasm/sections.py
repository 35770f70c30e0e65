"""The sections of a core module: for each one its decoder and, beside it, its encoder.

Function names are the spec's productions ("Binary Format > Modules"); a decoder's docstring is its grammar.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from . import cursor as encode
from .cursor import Cursor
from .module import (
    FUNCREF,
    VALTYPE_NAMES,
    Code,
    ConstExpr,
    ConstInstr,
    Custom,
    Data,
    Element,
    Export,
    FuncType,
    Global,
    GlobalType,
    Import,
    ImportDesc,
    Kind,
    Limits,
    TableType,
)
from .opcodes import END, I32_CONST, INSTRUCTIONS, REF_FUNC, REF_NULL, describe_unknown

T = TypeVar("T")

CUSTOM, TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, CODE, DATA, DATA_COUNT = range(13)

SECTION_NAMES: Final = (
    "custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code",
    "data", "data count",
)  # fmt: skip
SECTION_ORDER: Final = (TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, START, ELEMENT, DATA_COUNT, CODE, DATA)


# Types


def valtype(c: Cursor) -> int:
    """valtype ::= 0x7F i32 | 0x7E i64 | 0x7D f32 | 0x7C f64 | 0x70 funcref | 0x6F externref"""
    at, value = c.pos, c.byte()
    if value not in VALTYPE_NAMES:
        c.unsupported(f"unknown value type {value:#04x}", at)
    return value


def functype(c: Cursor) -> FuncType:
    """functype ::= 0x60 vec(valtype) vec(valtype)"""
    at, form = c.pos, c.byte()
    if form != 0x60:
        c.unsupported(f"unknown form of type {form:#04x}", at)
    return FuncType(tuple(c.vec(valtype)), tuple(c.vec(valtype)))


def encode_functype(t: FuncType) -> bytes:
    return b"\x60" + encode.sized(bytes(t.params)) + encode.sized(bytes(t.results))


def limits(c: Cursor) -> Limits:
    """limits ::= 0x00 min:u32 | 0x01 min:u32 max:u32"""
    at, flags = c.pos, c.byte()
    if flags & 0x04:
        c.unsupported("64-bit memories and tables are not supported", at)
    if flags & 0x02:
        c.unsupported("shared memories are not supported", at)
    if flags > 1:
        c.unsupported(f"unknown limits {flags:#04x}", at)
    return Limits(c.u32(), c.u32() if flags else None)


def encode_limits(value: Limits) -> bytes:
    if value.maximum is None:
        return b"\x00" + encode.u32(value.minimum)
    return b"\x01" + encode.u32(value.minimum) + encode.u32(value.maximum)


def reftype(c: Cursor) -> int:
    """reftype ::= 0x70 funcref | 0x6F externref"""
    at, value = c.pos, valtype(c)
    if value < 0x6F or value > FUNCREF:
        c.fail(f"expected a reference type, found {VALTYPE_NAMES[value]}", at)
    return value


def tabletype(c: Cursor) -> TableType:
    """tabletype ::= reftype limits"""
    return TableType(reftype(c), limits(c))


def encode_tabletype(t: TableType) -> bytes:
    return bytes([t.element]) + encode_limits(t.limits)


def globaltype(c: Cursor) -> GlobalType:
    """globaltype ::= valtype (0x00 const | 0x01 var)"""
    value, at, mut = valtype(c), c.pos, c.byte()
    if mut > 1:
        c.fail(f"unknown mutability {mut:#04x}", at)
    return GlobalType(value, mut == 1)


def encode_globaltype(t: GlobalType) -> bytes:
    return bytes([t.valtype, t.mutable])


# Constant expressions


def expr(c: Cursor) -> ConstExpr:
    """expr ::= in* 0x0B, of constant instructions (with those of the extended-const proposal)"""
    instructions = []
    while c.peek() != END:
        instructions.append(const_instr(c))
    c.byte()
    return tuple(instructions)


def const_instr(c: Cursor) -> ConstInstr:
    """A constant instruction: t.const, global.get, ref.func, ref.null, add, sub or mul of integers."""
    at, opcode = c.pos, c.byte()
    match opcode:
        case 0x41:
            return ConstInstr(opcode, c.s32())
        case 0x42:
            return ConstInstr(opcode, c.s64())
        case 0x43:
            return ConstInstr(opcode, int.from_bytes(c.take(4), "little"))
        case 0x44:
            return ConstInstr(opcode, int.from_bytes(c.take(8), "little"))
        case 0x23 | 0xD2:
            return ConstInstr(opcode, c.u32())
        case 0xD0:
            return ConstInstr(opcode, reftype(c))
        case 0x6A | 0x6B | 0x6C | 0x7C | 0x7D | 0x7E:
            return ConstInstr(opcode)
    name = INSTRUCTIONS[opcode].name if opcode in INSTRUCTIONS else describe_unknown(opcode)
    c.unsupported(f"a constant expression with {name}", at)


def i32_const(value: int) -> ConstInstr:
    """The constant instruction for a number of 32 bits, signed or unsigned."""
    return ConstInstr(I32_CONST, (value + 0x80000000) % 0x100000000 - 0x80000000)


def encode_expr(e: ConstExpr) -> bytes:
    return b"".join(encode_const_instr(instr) for instr in e) + bytes([END])


def encode_const_instr(instr: ConstInstr) -> bytes:
    opcode, value = instr
    match opcode:
        case 0x41 | 0x42:
            immediate = encode.signed(value)
        case 0x43:
            immediate = value.to_bytes(4, "little")
        case 0x44:
            immediate = value.to_bytes(8, "little")
        case 0x23 | 0xD0 | 0xD2:
            immediate = encode.u32(value)
        case _:
            immediate = b""
    return bytes([opcode]) + immediate


# Imports, functions, globals, exports


def import_(c: Cursor) -> Import:
    """import ::= mod:name nm:name (0x00 typeidx | 0x01 tabletype | 0x02 memtype | 0x03 globaltype)"""
    module, name, at, kind = c.name(), c.name(), c.pos, c.byte()
    readers: tuple[Callable[[Cursor], ImportDesc], ...] = (Cursor.u32, tabletype, limits, globaltype)
    if kind >= len(readers):
        c.unsupported(f"unknown kind of import {kind:#04x}: {module}.{name}", at)
    return Import(module, name, Kind(kind), readers[kind](c))


def encode_import(item: Import) -> bytes:
    match item.desc:
        case TableType():
            desc = encode_tabletype(item.desc)
        case Limits():
            desc = encode_limits(item.desc)
        case GlobalType():
            desc = encode_globaltype(item.desc)
        case index:
            desc = encode.u32(index)
    return encode.name(item.module) + encode.name(item.name) + bytes([item.kind]) + desc


def global_(c: Cursor) -> Global:
    """global ::= globaltype expr"""
    return Global(globaltype(c), expr(c))


def encode_global(item: Global) -> bytes:
    return encode_globaltype(item.type) + encode_expr(item.init)


def export(c: Cursor) -> Export:
    """export ::= nm:name (0x00 funcidx | 0x01 tableidx | 0x02 memidx | 0x03 globalidx)"""
    name, at, kind = c.name(), c.pos, c.byte()
    if kind > Kind.GLOBAL:
        c.unsupported(f"unknown kind of export {kind:#04x}: {name}", at)
    return Export(name, Kind(kind), c.u32())


def encode_export(item: Export) -> bytes:
    return encode.name(item.name) + bytes([item.kind]) + encode.u32(item.index)


# Segments


def element(c: Cursor) -> Element:
    """elem ::= flags:u32 …; bit 0 passive or declarative, bit 1 explicit table or declarative, bit 2 expressions"""
    at, flags = c.pos, c.u32()
    if flags > 7:
        c.fail(f"unknown element segment {flags}", at)
    active = not flags & 1
    table = c.u32() if active and flags & 2 else 0
    offset = expr(c) if active else None
    if flags & 3:
        _element_kind(c, expressions=bool(flags & 4))
    functions = c.vec(_function_reference if flags & 4 else Cursor.u32)
    return Element(list(functions), table if active else None, offset, declarative=flags & 3 == 3)


def _element_kind(c: Cursor, expressions: bool) -> None:
    at, kind = c.pos, c.byte()
    if kind != (FUNCREF if expressions else 0x00):
        c.unsupported("an element segment that does not hold functions", at)


def _function_reference(c: Cursor) -> int | None:
    at, value = c.pos, expr(c)
    match value:
        case (ConstInstr(0xD2, index),):
            return index
        case (ConstInstr(0xD0),):
            return None
    c.unsupported("an element that is neither ref.func nor ref.null", at)


def encode_element(item: Element) -> bytes:
    expressions = None in item.functions
    if expressions:
        null = ConstInstr(REF_NULL, FUNCREF)
        references = [null if index is None else ConstInstr(REF_FUNC, index) for index in item.functions]
        functions = encode.vec([encode_expr((reference,)) for reference in references])
    else:
        functions = encode.vec([encode.u32(index) for index in item.functions if index is not None])
    kind = bytes([FUNCREF if expressions else 0x00])
    if item.offset is None:
        return encode.u32((3 if item.declarative else 1) | 4 * expressions) + kind + functions
    if item.table:
        return encode.u32(2 | 4 * expressions) + encode.u32(item.table) + encode_expr(item.offset) + kind + functions
    return encode.u32(4 * expressions) + encode_expr(item.offset) + functions


def code(c: Cursor) -> Code:
    """code ::= size:u32 func; the function stays undecoded."""
    size = c.u32()
    offset = c.base + c.pos
    return Code(c.take(size), offset)


def data(c: Cursor) -> Data:
    """data ::= 0:u32 expr vec(byte) | 1:u32 vec(byte) | 2:u32 memidx expr vec(byte)"""
    at, flags = c.pos, c.u32()
    if flags > 2:
        c.fail(f"unknown data segment {flags}", at)
    if flags == 2 and (memory := c.u32()) != 0:
        c.unsupported(f"a data segment for memory {memory}: only one memory is supported", at)
    offset = None if flags == 1 else expr(c)
    return Data(c.take(c.u32()), offset)


def encode_data(item: Data) -> bytes:
    if item.offset is None:
        return b"\x01" + encode.sized(item.content)
    return b"\x00" + encode_expr(item.offset) + encode.sized(item.content)


def custom(c: Cursor) -> Custom:
    """customsec ::= name byte*"""
    return Custom(c.name(), c.rest())


def encode_custom(item: Custom) -> bytes:
    return encode.name(item.name) + item.content
