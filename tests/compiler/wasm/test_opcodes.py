"""The opcode table against the specification: nothing missing, nothing extra, everything named."""

from __future__ import annotations

import pytest
from pywasmfilter_compiler.errors import UnsupportedWasm
from pywasmfilter_compiler.wasm.instructions import stops
from pywasmfilter_compiler.wasm.module import Code
from pywasmfilter_compiler.wasm.opcodes import INSTRUCTIONS, Imm, describe_unknown

MVP = {*range(0x06), *range(0x0B, 0x12), 0x1A, 0x1B, *range(0x20, 0x25), *range(0x28, 0xC0)}
SIGN_EXTENSION = set(range(0xC0, 0xC5))
SATURATING = {0xFC00 + number for number in range(8)}
BULK_MEMORY = {0xFC00 + number for number in range(8, 15)}
REFERENCE_TYPES = {0x1C, 0x25, 0x26, 0xD0, 0xD1, 0xD2, 0xFC0F, 0xFC10, 0xFC11}

# Spot checks from the spec's index of instructions: each end of each block of the table, and the odd ones.
NAMED = {
    0x00: "unreachable",
    0x0B: "end",
    0x11: "call_indirect",
    0x1C: "select",
    0x28: "i32.load",
    0x2A: "f32.load",
    0x2C: "i32.load8_s",
    0x35: "i64.load32_u",
    0x36: "i32.store",
    0x3E: "i64.store32",
    0x3F: "memory.size",
    0x44: "f64.const",
    0x45: "i32.eqz",
    0x50: "i64.eqz",
    0x5B: "f32.eq",
    0x61: "f64.eq",
    0x67: "i32.clz",
    0x6A: "i32.add",
    0x79: "i64.clz",
    0x7C: "i64.add",
    0x8B: "f32.abs",
    0x99: "f64.abs",
    0xA7: "i32.wrap_i64",
    0xB2: "f32.convert_i32_s",
    0xBF: "f64.reinterpret_i64",
    0xC0: "i32.extend8_s",
    0xC4: "i64.extend32_s",
    0xD2: "ref.func",
    0xFC00: "i32.trunc_sat_f32_s",
    0xFC07: "i64.trunc_sat_f64_u",
    0xFC0A: "memory.copy",
    0xFC11: "table.fill",
}

UNKNOWN = [
    ("06 40", "0x06", "exception handling"),
    ("12 00", "0x12", "tail call"),
    ("14 00", "0x14", "typed function references"),
    ("1f 40 00", "0x1f", "exception handling"),
    ("d3", "0xd3", "garbage collection"),
    ("fb 00 00", "0xfb", "garbage collection"),
    ("fd 0c", "0xfd", "SIMD"),
    ("fe 03 00", "0xfe", "threads"),
]


def test_the_table_is_the_spec_and_the_four_proposals() -> None:
    """The opcodes are those of MVP, sign extension, saturating conversion, bulk memory and reference types."""
    assert set(INSTRUCTIONS) == MVP | SIGN_EXTENSION | SATURATING | BULK_MEMORY | REFERENCE_TYPES


@pytest.mark.parametrize(("opcode", "name"), NAMED.items())
def test_opcodes_have_the_names_of_the_spec(opcode: int, name: str) -> None:
    """A name stands at the opcode that the spec gives it."""
    assert INSTRUCTIONS[opcode].name == name


def test_names_are_unique() -> None:
    """Only `select`, with and without types, has two opcodes."""
    names = [instruction.name for instruction in INSTRUCTIONS.values() if instruction.name != "select"]
    assert len(names) == len(set(names))


def test_indices_stand_in_the_order_of_the_binary() -> None:
    """Where an instruction has two indices, they are listed as the binary format has them."""
    assert INSTRUCTIONS[0x11].immediates == (Imm.TYPE, Imm.TABLE)
    assert INSTRUCTIONS[0xFC08].immediates == (Imm.DATA, Imm.MEMORY)
    assert INSTRUCTIONS[0xFC0C].immediates == (Imm.ELEM, Imm.TABLE)


@pytest.mark.parametrize(("instruction", "opcode", "proposal"), UNKNOWN)
def test_unknown_opcodes_are_named_with_their_proposal(instruction: str, opcode: str, proposal: str) -> None:
    """An opcode that is not handled is unsupported: the error has the opcode, the proposal and the file's offset."""
    body = bytes.fromhex("00 01 01" + instruction + "0b")
    with pytest.raises(UnsupportedWasm, match=rf"unknown opcode {opcode} \({proposal} proposal\)") as error:
        list(stops(Code(body, 0x200)))
    assert error.value.offset == 0x203


def test_unknown_numbers_behind_the_prefix_are_told() -> None:
    """A number behind 0xFC that is not in the table is named by that number."""
    with pytest.raises(UnsupportedWasm, match=r"unknown opcode 0xfc 300 \(at offset 0x11\)"):
        list(stops(Code(bytes.fromhex("00 fc ac 02 0b"), 0x10)))


def test_reserved_opcodes_have_no_proposal() -> None:
    """An opcode that no proposal claims is told alone."""
    assert describe_unknown(0xFF) == "unknown opcode 0xff"
