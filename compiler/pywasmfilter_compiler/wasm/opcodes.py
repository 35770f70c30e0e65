"""The instructions this compiler knows: one table, from which every reader and rewriter is made.

Each entry gives the spec's name of an instruction and the kinds of its immediates, in order. What is not listed here
(SIMD, threads, exceptions, tail calls, typed function references, …) is an error that names the opcode and the offset.
Opcodes behind the prefix 0xFC are written as 0xFC00 + number.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Imm(StrEnum):
    """The kinds of immediates. Those of the second group are indices that linking moves."""

    BLOCKTYPE = "blocktype"
    LABEL = "labelidx"
    LABELS = "vec(labelidx) labelidx"
    LOCAL = "localidx"
    MEMARG = "memarg"
    I32 = "s32"
    I64 = "s64"
    F32 = "4 bytes"
    F64 = "8 bytes"
    VALTYPES = "vec(valtype)"
    REFTYPE = "reftype"

    TYPE = "typeidx"
    FUNC = "funcidx"
    TABLE = "tableidx"
    MEMORY = "memidx"
    GLOBAL = "globalidx"
    ELEM = "elemidx"
    DATA = "dataidx"


class Instruction(NamedTuple):
    """One row of the table."""

    name: str
    immediates: tuple[Imm, ...] = ()


UNREACHABLE: Final = 0x00
END: Final = 0x0B
CALL: Final = 0x10
CALL_INDIRECT: Final = 0x11
LOCAL_GET: Final = 0x20
LOCAL_SET: Final = 0x21
LOCAL_TEE: Final = 0x22
GLOBAL_GET: Final = 0x23
GLOBAL_SET: Final = 0x24
I32_CONST: Final = 0x41
I64_CONST: Final = 0x42
F32_CONST: Final = 0x43
F64_CONST: Final = 0x44
REF_NULL: Final = 0xD0
REF_FUNC: Final = 0xD2
PREFIX: Final = 0xFC

_CONTROL: Final = {
    0x00: Instruction("unreachable"),
    0x01: Instruction("nop"),
    0x02: Instruction("block", (Imm.BLOCKTYPE,)),
    0x03: Instruction("loop", (Imm.BLOCKTYPE,)),
    0x04: Instruction("if", (Imm.BLOCKTYPE,)),
    0x05: Instruction("else"),
    0x0B: Instruction("end"),
    0x0C: Instruction("br", (Imm.LABEL,)),
    0x0D: Instruction("br_if", (Imm.LABEL,)),
    0x0E: Instruction("br_table", (Imm.LABELS,)),
    0x0F: Instruction("return"),
    0x10: Instruction("call", (Imm.FUNC,)),
    0x11: Instruction("call_indirect", (Imm.TYPE, Imm.TABLE)),
    0x1A: Instruction("drop"),
    0x1B: Instruction("select"),
    0x1C: Instruction("select", (Imm.VALTYPES,)),
}

_VARIABLES_AND_TABLES: Final = {
    0x20: Instruction("local.get", (Imm.LOCAL,)),
    0x21: Instruction("local.set", (Imm.LOCAL,)),
    0x22: Instruction("local.tee", (Imm.LOCAL,)),
    0x23: Instruction("global.get", (Imm.GLOBAL,)),
    0x24: Instruction("global.set", (Imm.GLOBAL,)),
    0x25: Instruction("table.get", (Imm.TABLE,)),
    0x26: Instruction("table.set", (Imm.TABLE,)),
}

_LOADS_AND_STORES: Final = """
    i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u
    i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u
    i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32
""".split()  # 0x28 to 0x3E

_CONSTANTS: Final = {
    0x3F: Instruction("memory.size", (Imm.MEMORY,)),
    0x40: Instruction("memory.grow", (Imm.MEMORY,)),
    0x41: Instruction("i32.const", (Imm.I32,)),
    0x42: Instruction("i64.const", (Imm.I64,)),
    0x43: Instruction("f32.const", (Imm.F32,)),
    0x44: Instruction("f64.const", (Imm.F64,)),
}

_NUMERIC: Final = """
    i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u
    i64.eqz i64.eq i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u
    f32.eq f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge
    i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u
    i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr
    i64.clz i64.ctz i64.popcnt i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u
    i64.and i64.or i64.xor i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr
    f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div
    f32.min f32.max f32.copysign
    f64.abs f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div
    f64.min f64.max f64.copysign
    i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u
    i64.extend_i32_s i64.extend_i32_u i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u
    f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote_f64
    f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote_f32
    i32.reinterpret_f32 i64.reinterpret_f64 f32.reinterpret_i32 f64.reinterpret_i64
    i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s
""".split()  # 0x45 to 0xC4

_REFERENCES: Final = {
    0xD0: Instruction("ref.null", (Imm.REFTYPE,)),
    0xD1: Instruction("ref.is_null"),
    0xD2: Instruction("ref.func", (Imm.FUNC,)),
}

_SATURATING: Final = """
    i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u
    i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u
""".split()  # 0xFC 0 to 0xFC 7

_BULK: Final = {
    0xFC08: Instruction("memory.init", (Imm.DATA, Imm.MEMORY)),
    0xFC09: Instruction("data.drop", (Imm.DATA,)),
    0xFC0A: Instruction("memory.copy", (Imm.MEMORY, Imm.MEMORY)),
    0xFC0B: Instruction("memory.fill", (Imm.MEMORY,)),
    0xFC0C: Instruction("table.init", (Imm.ELEM, Imm.TABLE)),
    0xFC0D: Instruction("elem.drop", (Imm.ELEM,)),
    0xFC0E: Instruction("table.copy", (Imm.TABLE, Imm.TABLE)),
    0xFC0F: Instruction("table.grow", (Imm.TABLE,)),
    0xFC10: Instruction("table.size", (Imm.TABLE,)),
    0xFC11: Instruction("table.fill", (Imm.TABLE,)),
}

INSTRUCTIONS: Final[dict[int, Instruction]] = {
    **_CONTROL,
    **_VARIABLES_AND_TABLES,
    **{0x28 + i: Instruction(name, (Imm.MEMARG,)) for i, name in enumerate(_LOADS_AND_STORES)},
    **_CONSTANTS,
    **{0x45 + i: Instruction(name) for i, name in enumerate(_NUMERIC)},
    **_REFERENCES,
    **{0xFC00 + i: Instruction(name) for i, name in enumerate(_SATURATING)},
    **_BULK,
}

_PROPOSALS: Final = {
    0x06: "exception handling",
    0x07: "exception handling",
    0x08: "exception handling",
    0x09: "exception handling",
    0x0A: "exception handling",
    0x12: "tail call",
    0x13: "tail call",
    0x14: "typed function references",
    0x15: "typed function references",
    0x18: "exception handling",
    0x19: "exception handling",
    0x1F: "exception handling",
    0xD3: "garbage collection",
    0xD4: "typed function references",
    0xD5: "typed function references",
    0xD6: "typed function references",
    0xFB: "garbage collection",
    0xFD: "SIMD",
    0xFE: "threads",
}


def describe_unknown(opcode: int) -> str:
    """What to say of an opcode that is not in the table; a prefixed one is given as 0xFC00 + number."""
    if opcode > 0xFF:
        return f"unknown opcode 0xfc {opcode - 0xFC00}"
    proposal = _PROPOSALS.get(opcode)
    return f"unknown opcode {opcode:#04x}" + (f" ({proposal} proposal)" if proposal else "")
