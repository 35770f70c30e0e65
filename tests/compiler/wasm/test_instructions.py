"""Function bodies: every instruction is walked, and indices are rewritten as if the text had named the new ones."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.errors import MalformedWasm, UnsupportedWasm
from pywasmfilter_compiler.wasm.binary import decode
from pywasmfilter_compiler.wasm.instructions import IndexMap, IndexOf, Stop, instructions, rewrite, stops
from pywasmfilter_compiler.wasm.module import Code
from pywasmfilter_compiler.wasm.opcodes import INSTRUCTIONS, Imm

SPACES = [Imm.TYPE, Imm.FUNC, Imm.TABLE, Imm.MEMORY, Imm.GLOBAL, Imm.ELEM, Imm.DATA, Imm.BLOCKTYPE]
IMMEDIATES = {
    Imm.MEMARG: "offset=300",
    Imm.I32: "-2147483648",
    Imm.I64: "-9223372036854775808",
    Imm.F32: "nan:0x200b0b",
    Imm.F64: "nan:0x40b0b0b0b0b0b",
    Imm.REFTYPE: "extern",
    Imm.LABEL: "0",
    Imm.LABELS: "0 0 0",
    Imm.LOCAL: "200",
    Imm.VALTYPES: "(result i64)",
    Imm.FUNC: "1",
    Imm.GLOBAL: "1",
    Imm.ELEM: "1",
    Imm.DATA: "1",
}
# Written in the text otherwise than as name and immediates.
SPECIAL = {
    "block": "block block (result i64) unreachable end drop i32.const 0 block (type 2) end drop end",
    "loop": "loop loop (result i64) unreachable end drop i32.const 0 loop (type 2) end drop end",
    "if": "if unreachable else nop end i32.const 0 i32.const 0 if (type 2) else end drop",
    "else": "",
    "end": "",
    "call_indirect": "call_indirect 0 (type 1) call_indirect 1 (type 1)",
    "memory.size": "memory.size",
    "memory.grow": "memory.grow",
    "memory.init": "memory.init 1",
    "memory.copy": "memory.copy",
    "memory.fill": "memory.fill",
    "table.init": "table.init 0 1 table.init 1 1",
    "table.copy": "table.copy 0 1",
}


def code_of(text: str, function: int = -1) -> Code:
    return decode(bytes(wasmtime.wat2wasm(text))).code[function]


def body(hexadecimal: str, offset: int = 0) -> Code:
    """A body without locals."""
    return Code(bytes.fromhex("00" + hexadecimal), offset)


def as_text(name: str, immediates: tuple[Imm, ...]) -> str:
    if name in SPECIAL:
        return SPECIAL[name]
    return " ".join([name, *("0" if imm is Imm.TABLE else IMMEDIATES[imm] for imm in immediates)])


def every_instruction() -> str:
    """The text of one function with each instruction of the table, behind an `unreachable` so that all are valid."""
    lines = [f"unreachable {as_text(*instruction)}" for instruction in INSTRUCTIONS.values()]
    return "\n".join(lines)


def module_text(instructions: str) -> str:
    """A module with two or more of each thing that has an index."""
    return f"""(module
        (type (func)) (type (func (result i32))) (type (func (param i32) (result i32)))
        (func) (func)
        (table 1 funcref) (table 1 funcref) (memory 1)
        (global (mut i32) (i32.const 0)) (global (mut i64) (i64.const 0))
        (elem func 0 1) (elem func 0 1)
        (func (local {"i32 " * 150} {"i64 " * 60}) block {instructions} end)
        (data "a") (data "b"))"""


def mapping(function: IndexOf) -> dict[Imm, IndexOf]:
    return dict.fromkeys(SPACES, function)


def kinds(code: Code) -> list[str]:
    return [INSTRUCTIONS[stop.opcode].name for stop in stops(code)]


def test_every_instruction_is_walked() -> None:
    """A function of all instructions is read to its end, with stops where one names an index or may be an address."""
    code = code_of(module_text(every_instruction()))
    walked = set(kinds(code))
    moving = {row.name for row in INSTRUCTIONS.values() if {*row.immediates} & {*SPACES, Imm.I32}}
    assert walked == moving


@pytest.mark.parametrize("row", INSTRUCTIONS.values(), ids=lambda row: row.name)
def test_each_instruction_is_skipped_exactly(row: tuple[str, tuple[Imm, ...]]) -> None:
    """After any instruction the walk goes on at the next: a call that follows is seen, and nothing else is."""
    code = code_of(module_text(f"unreachable {as_text(*row)} unreachable call 1"))
    last = list(stops(code))[-1]
    assert (last.opcode, last.operands) == (0x10, ((Imm.FUNC, 1),))
    assert code.body[last.end :] == b"\x0b\x0b"


def test_rewriting_with_the_same_numbers_changes_nothing() -> None:
    """The identity map gives the same bytes."""
    code = code_of(module_text(every_instruction()))
    assert rewrite(code, mapping(lambda index: index)) == code.body


def referring_text(shift: int) -> str:
    """A function that names the last item of each index space, where `shift` more items come first."""
    types = " ".join(f"(type (func (param {'i64 ' * (number + 3)})))" for number in range(shift))
    one = shift + 1
    return f"""(module {types} (type $t (func (result i32))) (type $u (func (param i32) (result i32)))
        {"(func)" * shift} (func $f) (func $g)
        {"(table 1 funcref)" * shift} (table $t 1 funcref) (table $s 1 funcref) (memory 1)
        {"(global i32 (i32.const 0))" * shift} (global $g (mut i32) (i32.const 0)) (global $h (mut i32) (i32.const 0))
        {"(elem func $f)" * shift} (elem $e func $f) (elem $x func $f)
        (func (local i32 f32)
          call $f call $g (global.set $h (global.get $g))
          (call_indirect $s (type $t) (i32.const 0)) (block (param i32) (result i32) (loop (type $u))) drop
          (block (result i32) (if (type $t) (i32.const 1) (then i32.const 2) (else i32.const 3))) drop
          (drop (ref.func {one})) (table.set $t (i32.const 0) (table.get $s (i32.const 0)))
          (table.init $s $x (i32.const 0) (i32.const 0) (i32.const 0)) (elem.drop $e)
          (table.copy $t $s (i32.const 0) (i32.const 0) (i32.const 0))
          (table.fill $t (i32.const 0) (ref.null func) (table.size $s))
          (drop (table.grow $s (ref.null func) (i32.const 1)))
          (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)) (data.drop $d)
          (br_if 0 (i32.const 1)) (br_table 0 0 (i32.const 100000)))
        {'(data "z")' * shift} (data $d "a"))"""


@pytest.mark.parametrize("shift", [1, 62, 63, 64, 127, 128, 300])
def test_shifted_indices_are_those_of_the_shifted_text(shift: int) -> None:
    """Moving every index by n gives what the assembler writes when n more of everything come first."""
    index_map = mapping(lambda index: index + shift) | {Imm.MEMORY: lambda index: index}
    assert rewrite(code_of(referring_text(0)), index_map).hex() == code_of(referring_text(shift)).body.hex()


BLOCK_TYPES = [(63, "3f"), (64, "c000"), (127, "ff00"), (128, "8001"), (8191, "ff3f"), (8192, "80c000")]


@pytest.mark.parametrize(("index", "encoded"), BLOCK_TYPES)
def test_block_types_are_signed_numbers(index: int, encoded: str) -> None:
    """A block's typeidx from 64 on takes a byte more than an unsigned number would, or it would be a value type."""
    code = body("02 00 0b 0b")
    assert rewrite(code, mapping(lambda _: index)).hex() == "0002" + encoded + "0b0b"


@pytest.mark.parametrize("index", [63, 64, 127, 128, 8191, 8192])
def test_block_types_read_back(index: int) -> None:
    """A block's typeidx that was written is the one that is read."""
    moved = rewrite(body("03 00 0b 0b"), mapping(lambda _: index))
    assert next(stops(Code(moved, 0))).operands == ((Imm.BLOCKTYPE, index),)


@pytest.mark.parametrize("valtype", ["40", "7f", "7e", "7d", "7c", "70", "6f"])
def test_block_types_without_an_index_are_left_alone(valtype: str) -> None:
    """Empty and single-value block types name no index, so nothing stops there."""
    assert list(stops(body(f"02 {valtype} 0b 0b"))) == []


def test_each_space_goes_its_own_way() -> None:
    """An IndexMap sends each kind of index, and block types with the types, through its own function."""
    index_map = IndexMap(
        type=lambda index: index + 1,
        func=lambda index: index + 2,
        table=lambda index: index + 3,
        memory=lambda index: index + 4,
        global_=lambda index: index + 5,
        data=lambda index: index + 6,
    ).by_immediate()
    code = body("11 00 00 10 00 23 00 02 00 0b fc 08 00 00 0b")
    assert rewrite(code, index_map).hex(" ") == "00 11 01 03 10 02 23 05 02 01 0b fc 08 06 04 0b"


def test_globals_may_become_constants() -> None:
    """A `global.get` of a global with a known value is replaced; other globals and `global.set` are renumbered."""
    code = body("23 07 23 08 24 07 0b")
    moved = rewrite(code, mapping(lambda index: index + 1), constants={7: bytes.fromhex("41 2a")})
    assert moved.hex(" ") == "00 41 2a 23 09 24 08 0b"


def test_a_body_need_not_be_walked_twice() -> None:
    """Stops that were found before give the same result as walking anew."""
    code = code_of(referring_text(0))
    index_map = mapping(lambda index: index + 70)
    assert rewrite(code, index_map, known_stops=list(stops(code))) == rewrite(code, index_map)


@pytest.mark.parametrize("row", INSTRUCTIONS.values(), ids=lambda row: row.name)
def test_single_steps_stand_where_stops_do(row: tuple[str, tuple[Imm, ...]]) -> None:
    """Read one by one, the instructions are those that stops say, and between them only such as move nothing."""
    code = code_of(module_text(f"unreachable {as_text(*row)} unreachable call 1 local.get 3 global.get 1"))
    single = list(instructions(code))
    moving = {(stop.start, stop.opcode) for stop in stops(code)}
    assert moving <= {(start, opcode) for start, opcode, _ in single}
    others = {opcode for start, opcode, _ in single if (start, opcode) not in moving}
    assert not [opcode for opcode in others if {*INSTRUCTIONS[opcode].immediates} & {*SPACES} - {Imm.BLOCKTYPE}]
    assert [(opcode, operand) for _, opcode, operand in single[-5:]] == [
        *((0x10, 0), (0x20, 3), (0x23, 1), (0x0B, 0), (0x0B, 0))
    ]


def test_single_steps_tell_locals_and_globals() -> None:
    """An instruction that names one local or global comes with its index, however that is written."""
    code = body("20 05 21 86 00 22 c8 01 23 80 80 00 24 07 41 08 0b")
    assert list(instructions(code)) == [
        *((1, 0x20, 5), (3, 0x21, 6), (6, 0x22, 200), (9, 0x23, 0), (13, 0x24, 7), (15, 0x41, 0), (17, 0x0B, 0)),
    ]


PADDED = [0, 1, 63, 64, 127, 128, 8192, (1 << 31) - 1, -1, -64, -65, -(1 << 31)]


@pytest.mark.parametrize("number", PADDED)
def test_padded_constants_are_stops_and_get_shorter(number: int) -> None:
    """A constant of five bytes may be an address, so it is told with its value; rewritten it gets shorter."""
    five = bytes(number >> 7 * k & 0x7F | (k < 4) << 7 for k in range(5))
    code = body(f"01 41 {five.hex()} 1a 10 00 0b")
    assert next(stops(code)) == Stop(2, 8, 0x41, ((Imm.I32, number),))
    shortest = code_of(f"(module (func (drop (i32.const {number}))))").body[1:-2]
    assert rewrite(code, mapping(lambda index: index)) == b"\0\x01" + shortest + b"\x1a\x10\0\x0b"


def test_other_constants_are_no_stops() -> None:
    """A number in fewer bytes is one that no linker wrote, whatever else is padded."""
    assert list(stops(body("41 05 41 85 80 80 00 42 85 80 80 80 00 0b"))) == []


def test_stops_tell_where_they_stand() -> None:
    """A stop has its range in the body, its opcode and its operands in order."""
    code = body("01 41 0b 11 05 06 0b")
    assert list(stops(code)) == [Stop(4, 7, 0x11, ((Imm.TYPE, 5), (Imm.TABLE, 6)))]


def test_locals_are_no_instructions() -> None:
    """Declarations of locals are stepped over, also when their counts look like a call."""
    assert list(stops(Code(bytes.fromhex("02 10 7f 10 6f 0b"), 0))) == []


# Awkward encodings


def test_padded_indices_are_written_short() -> None:
    """Linkers pad indices to five bytes; they are read, and written in the short form."""
    code = body("10 83 80 80 80 00 11 81 80 80 80 00 80 80 80 80 00 0b")
    assert rewrite(code, mapping(lambda index: index)).hex(" ") == "00 10 03 11 01 00 0b"


@pytest.mark.parametrize("padded", ["28 82 00 00", "41 80 00", "fc 87 00", "20 80 80 00", "42 ff 7f", "0c 80 00"])
def test_padded_immediates_are_skipped(padded: str) -> None:
    """An immediate or opcode number in a longer form than needed is still stepped over, and kept as it is."""
    code = body(padded + "10 01 0b")
    assert kinds(code) == ["call"]
    assert rewrite(code, mapping(lambda index: index)) == code.body


# What is refused

MALFORMED = {
    "nothing at all": ("", 0, "unexpected end"),
    "locals cut": ("01", 1, "unexpected end"),
    "local without type": ("01 01", 2, "unexpected end"),
    "no end": ("00 01", 2, "does not end with the end instruction"),
    "call cut": ("00 10", 2, "unexpected end"),
    "call index cut": ("00 10 80", 3, "unexpected end"),
    "constant cut": ("00 44 00 00 0b", 2, "malformed immediate of f64.const"),
    "constant too long": ("00 42 80 80 80 80 80 80 80 80 80 80 0b", 2, "malformed immediate of i64.const"),
    "alignment": ("00 28 80 01 00 0b", 2, "malformed alignment 128"),
    "load cut": ("00 28 02", 3, "unexpected end"),
    "reference cut": ("00 d0", 2, "unexpected end"),
    "labels": ("00 0e 7f 00 0b", 3, "a vector of 127 items cannot fit"),
    "prefix alone": ("00 fc", 2, "unexpected end"),
}
UNSUPPORTED = {
    "unknown local": ("01 01 6e 0b", "a local of an unknown type 0x6e", 2),
    "typed reference as block": ("00 02 64 00 0b 0b", "block type -28", 2),
    "reference to anything": ("00 d0 6e 0b", "a reference of type 0x6e", 2),
    "explicit memory": ("00 28 42 00 00 0b", "names its memory: only one memory", 2),
}


@pytest.mark.parametrize(("content", "position", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_bodies_are_refused(content: str, position: int, message: str) -> None:
    """A body that cannot be read to its end is malformed, at the fault's offset in the file."""
    with pytest.raises(MalformedWasm, match=message) as error:
        list(stops(Code(bytes.fromhex(content), 0x1000)))
    assert error.value.offset == 0x1000 + position


@pytest.mark.parametrize(("content", "message", "position"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unsupported_bodies_are_refused(content: str, message: str, position: int) -> None:
    """A type that is not handled is unsupported, and named, at its offset in the file."""
    with pytest.raises(UnsupportedWasm, match=message) as error:
        list(stops(Code(bytes.fromhex(content), 0x1000)))
    assert error.value.offset == 0x1000 + position


def test_rewriting_refuses_what_walking_refuses() -> None:
    """No half-rewritten body is returned when an instruction is unknown."""
    with pytest.raises(UnsupportedWasm, match="unknown opcode 0xfe"):
        rewrite(body("10 00 fe 00 0b"), mapping(lambda index: index))
