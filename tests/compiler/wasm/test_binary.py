"""Whole modules: what is read is written back, and what cannot be read is refused at the right offset."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.errors import BinaryError, MalformedWasm, UnsupportedWasm
from pywasmfilter_compiler.wasm import cursor as encode_
from pywasmfilter_compiler.wasm.binary import (
    COMPONENT_HEADER,
    MODULE_HEADER,
    decode,
    encode,
    raw_sections,
    section_sizes,
)
from pywasmfilter_compiler.wasm.cursor import Cursor
from pywasmfilter_compiler.wasm.instructions import stops
from pywasmfilter_compiler.wasm.module import (
    EXTERNREF,
    FUNCREF,
    I32,
    I64,
    Code,
    ConstInstr,
    Custom,
    Element,
    Export,
    FuncType,
    Kind,
    Limits,
    Module,
)

EVERY_SECTION = """
(module $all
  (import "env" "log" (func $log (param i32 i64) (result i32)))
  (import "env" "table" (table $imported 1 5 externref))
  (import "env" "base" (global $base i32))
  (import "env" "counter" (global $counter (mut i64)))
  (func $start)
  (func $f (param i32 f32) (result f64) (local i32 i64) f64.const 1)
  (table $t 2 funcref)
  (memory $m 1 4)
  (global $g (mut i32) (i32.const -5))
  (global $h f64 (f64.const nan:0x4000000000001))
  (global $i f32 (f32.const -0))
  (global $j i64 (i64.const -9223372036854775808))
  (global $k funcref (ref.func $start))
  (global $l externref (ref.null extern))
  (export "f" (func $f))
  (export "t" (table $t))
  (export "m" (memory $m))
  (export "g" (global $g))
  (start $start)
  (elem $e (table $t) (i32.const 0) func $f)
  (elem $passive func $f $log)
  (elem $declared declare func $start)
  (elem $nulls funcref (ref.func $f) (ref.null func))
  (func $init i32.const 0 i32.const 0 i32.const 0 memory.init $d)
  (data $d "passive")
  (data $a (i32.const 8) "active\\00\\ff"))
"""
SMALL = """
(module
  (import "m" "f" (func (param i32)))
  (memory 1 2)
  (table 1 funcref)
  (global (mut i32) (i32.const 1))
  (export "g" (func 1))
  (start 1)
  (elem (i32.const 0) func 1)
  (func (local i32) i32.const 7 call 0 (block (result i32) i32.const 1) drop
    i32.const 0 i32.const 0 i32.const 1 memory.init 0)
  (data "xy"))
"""


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def validate(data: bytes) -> None:
    wasmtime.Module.validate(wasmtime.Engine(), data)


def section(number: int, content: bytes) -> bytes:
    return bytes([number]) + encode_.sized(content)


def module(*sections: tuple[int, str]) -> bytes:
    """A module of sections given as number and hexadecimal content."""
    return MODULE_HEADER + b"".join(section(number, bytes.fromhex(content)) for number, content in sections)


def refusal(data: bytes) -> BinaryError | None:
    """The error of reading a module with all its code, or None. Any other exception comes through."""
    try:
        for code in decode(data).code:
            list(stops(code))
    except BinaryError as error:
        return error
    return None


def small_module() -> bytes:
    """A module of all sections, without the names that wat2wasm adds."""
    decoded = decode(wasm(SMALL))
    decoded.customs = [Custom("c", b"\x01\x02")]
    return encode(decoded)


# What is read is written back


def test_every_section_survives_byte_for_byte() -> None:
    """A module of all sections, in the shortest encoding, is written back as it was."""
    data = wasm(EVERY_SECTION)
    numbers = [number for number, _, _ in raw_sections(Cursor(data))]
    assert sorted(set(numbers)) == list(range(13))
    assert encode(decode(data)) == data


def test_the_empty_module_survives() -> None:
    """No sections are written when there is nothing to write."""
    assert encode(decode(MODULE_HEADER)) == MODULE_HEADER == encode(Module())


def test_the_module_is_what_the_text_says() -> None:
    """Imports, types, limits, constants and segments are read as they were written in the text."""
    decoded = decode(wasm(EVERY_SECTION))
    assert [item.name for item in decoded.imported(Kind.GLOBAL)] == ["base", "counter"]
    assert decoded.types[0] == FuncType((I32, I64), (I32,))
    assert str(decoded.types[0]) == "(i32, i64) -> (i32)"
    assert decoded.memories == [Limits(1, 4)]
    assert decoded.exports[0] == Export("f", Kind.FUNC, 2)
    assert decoded.start == 1
    assert [(item.table, item.declarative) for item in decoded.elements] == [
        (1, False),
        (None, False),
        (None, True),
        (None, False),
    ]
    assert decoded.elements[3].functions == [2, None]
    assert [(item.content, item.offset) for item in decoded.data] == [
        (b"passive", None),
        (b"active\0\xff", (ConstInstr(0x41, 8),)),
    ]


def test_constants_keep_their_bits() -> None:
    """The payload of a NaN, the sign of zero and the smallest number are kept."""
    values = [item.init[0] for item in decode(wasm(EVERY_SECTION)).globals]
    assert values == [
        ConstInstr(0x41, -5),
        ConstInstr(0x44, 0x7FF4000000000001),
        ConstInstr(0x43, 0x80000000),
        ConstInstr(0x42, -(2**63)),
        ConstInstr(0xD2, 1),
        ConstInstr(0xD0, EXTERNREF),
    ]


def test_extended_constants_survive() -> None:
    """Constant expressions may add, subtract and multiply."""
    data = wasm("""(module (import "e" "g" (global i32))
        (global i32 (i32.add (global.get 0) (i32.mul (i32.const 2) (i32.sub (i32.const 3) (i32.const 1)))))
        (global i64 (i64.add (i64.const 1) (i64.mul (i64.const 2) (i64.sub (i64.const 3) (i64.const 1))))))""")
    assert encode(decode(data)) == data


def test_function_types_line_up_with_indices() -> None:
    """A funcidx finds the type of imported and of defined functions alike."""
    decoded = decode(wasm(EVERY_SECTION))
    assert len(decoded.function_types()) == 1 + len(decoded.functions)
    assert str(decoded.types[decoded.function_types()[2]]) == "(i32, f32) -> (f64)"


def test_custom_sections_are_kept_and_come_last() -> None:
    """A custom section keeps its content, and moves behind the others."""
    data = wasm('(module (@custom "first" (before first) "one") (@custom "last" "two") (memory 1))')
    decoded = decode(data)
    assert (decoded.custom("first"), decoded.custom("last"), decoded.custom("none")) == (b"one", b"two", None)
    assert [label for label, _ in section_sizes(encode(decoded))] == ["memory", 'custom "first"', 'custom "last"']


def test_awkward_numbers_are_written_short() -> None:
    """Padded numbers are read; the module is written in the short form, and is the same to wasmtime."""
    long_one, long_zero = "81 80 80 80 00", "80 80 80 80 00"
    data = module(
        (1, f"{long_one} 60 {long_zero} {long_zero}"),
        (3, f"{long_one} {long_zero}"),
        (5, f"{long_one} 01 {long_one} {long_one}"),
        (6, f"{long_one} 7f 00 41 ff ff ff ff 7f 0b"),
        (10, f"{long_one} 82 80 00 00 0b"),
    )
    validate(data)
    again = encode(decode(data))
    validate(again)
    function, memory, minus_one = (3, "01 00"), (5, "01 01 01 01"), (6, "01 7f 00 41 7f 0b")
    assert again == module((1, "01 60 00 00"), function, memory, minus_one, (10, "01 02 00 0b"))


def test_empty_sections_are_left_out() -> None:
    """A section with a count of zero says nothing and is not written."""
    data = module((1, "00"), (2, "00"), (3, "00"), (7, "00"), (9, "00"), (12, "00"), (10, "00"), (11, "00"))
    validate(data)
    assert encode(decode(data)) == MODULE_HEADER


@pytest.mark.parametrize(
    ("flags", "segment"),
    [
        (0, "00 41 00 0b 01 00"),
        (1, "01 00 01 00"),
        (2, "02 00 41 00 0b 00 01 00"),
        (3, "03 00 01 00"),
        (4, "04 41 00 0b 01 d2 00 0b"),
        (5, "05 70 01 d2 00 0b"),
        (6, "06 00 41 00 0b 70 01 d2 00 0b"),
        (7, "07 70 01 d2 00 0b"),
    ],
)
def test_each_form_of_element_segment_means_the_same_afterwards(flags: int, segment: str) -> None:
    """All eight encodings of a segment that holds one function are read; mode, table and functions are kept."""
    data = module((1, "01 60 00 00"), (3, "01 00"), (4, "01 70 00 01"), (9, "01" + segment), (10, "01 02 00 0b"))
    validate(data)
    again = encode(decode(data))
    validate(again)
    mode = Element([0], 0, (ConstInstr(0x41),)) if flags % 2 == 0 else Element([0], declarative=flags & 3 == 3)
    assert decode(data).elements == decode(again).elements == [mode]


def test_element_segments_for_a_second_table_keep_it() -> None:
    """An explicit table index survives, with indices and with expressions."""
    data = wasm("""(module (table 1 funcref) (table 2 funcref) (func)
        (elem (table 1) (i32.const 0) func 0)
        (elem (table 1) (i32.const 0) funcref (ref.null func) (ref.func 0))
        (elem (i32.const 0) funcref (ref.null func))
        (elem declare funcref (ref.null func) (ref.func 0)))""")
    assert encode(decode(data)) == data
    assert [item.table for item in decode(data).elements] == [1, 1, 0, None]


def test_an_explicit_memory_zero_is_read() -> None:
    """A data segment may name memory 0; it is written without the name."""
    data = module((5, "01 00 01"), (11, "01 02 00 41 00 0b 01 61"))
    validate(data)
    again = encode(decode(data))
    validate(again)
    assert decode(data).data == decode(again).data


def test_a_data_count_is_written_with_data() -> None:
    """The writer always says how many data segments follow, which old modules leave out."""
    data = wasm('(module (memory 1) (data (i32.const 0) "a"))')
    again = encode(decode(data))
    validate(again)
    assert [label for label, _ in section_sizes(again)] == ["memory", "data count", "data"]


def test_section_sizes_are_in_file_order() -> None:
    """Each section is named, custom ones with their own name, and measured without its header."""
    data = small_module()
    sizes = section_sizes(data)
    assert sizes[0] == ("type", 8)
    assert sizes[-1] == ('custom "c"', 4)
    assert len(data) == 8 + sum(2 + size for _, size in sizes)
    assert section_sizes(MODULE_HEADER + section(13, b"\x00")) == [("unknown 13", 1)]


def test_code_remembers_where_it_stood() -> None:
    """A body's offset is where its bytes are in the file, also for a module inside another file."""
    data = wasm("(module (func) (func i32.const 1 drop))")
    for code in decode(data).code:
        assert data[code.offset : code.offset + len(code.body)] == code.body
    inside = decode(Cursor(b"outer" + data, 5, base=100))
    assert inside.code[1].offset == decode(data).code[1].offset + 105


# What is refused

MALFORMED = {
    "empty file": (b"", 0, "not WebAssembly"),
    "text": (b"(module)", 0, "not WebAssembly"),
    "cut magic": (b"\0as", 0, "not WebAssembly"),
    "cut header": (b"\0asm\x01\0", 0, "unexpected end: 8 bytes wanted, 6 left"),
    "component": (COMPONENT_HEADER, 0, "expected a core module, found a component"),
    "section without size": (MODULE_HEADER + b"\x01", 9, "unexpected end"),
    "section beyond the file": (MODULE_HEADER + b"\x01\x05\x00", 10, "unexpected end: 5 bytes wanted, 1 left"),
    "sections out of order": (module((3, "00"), (1, "00")), 11, "the type section is out of order"),
    "section twice": (module((1, "00"), (1, "00")), 11, "the type section is out of order"),
    "data count after code": (module((10, "00"), (12, "00")), 11, "the data count section is out of order"),
    "bytes too many": (module((1, "00 00")), 11, "type section: 1 bytes too many"),
    "count too large": (module((1, "05 60")), 11, "a vector of 5 items cannot fit"),
    "item cut": (module((3, "02 00 80")), 13, "unexpected end"),
    "mutability": (module((6, "01 7f 02 41 00 0b")), 12, "unknown mutability 0x02"),
    "table of numbers": (module((4, "01 7f 00 00")), 11, "expected a reference type, found i32"),
    "element flags": (module((9, "01 08")), 11, "unknown element segment 8"),
    "data flags": (module((11, "01 03")), 11, "unknown data segment 3"),
    "functions without code": (module((1, "01 60 00 00"), (3, "01 00")), 18, "1 functions are declared, 0 have code"),
    "code without functions": (module((10, "01 02 00 0b")), 14, "0 functions are declared, 1 have code"),
    "data count differs": (module((12, "02"), (11, "00")), 14, "the data count section says 2, there are 0"),
    "import without a kind": (module((2, "01 01 6d 01 66")), 15, "unexpected end"),
    "name not UTF-8": (module((7, "01 01 ff 00 00")), 12, "a name is not UTF-8"),
    "custom name cut": (module((0, "05 61")), 11, "unexpected end"),
}
UNSUPPORTED = {
    "version 2": (b"\0asm\x02\0\0\0", 0, "unknown WebAssembly version 02000000"),
    "tag section": (module((13, "00")), 8, "unknown section 13"),
    "v128": (module((1, "01 60 01 7b 00")), 13, "unknown value type 0x7b"),
    "struct type": (module((1, "01 5f 00")), 11, "unknown form of type 0x5f"),
    "tag import": (module((2, "01 01 6d 01 66 04 00 00")), 15, "unknown kind of import 0x04: m.f"),
    "tag export": (module((7, "01 01 66 04 00")), 13, "unknown kind of export 0x04: f"),
    "shared memory": (module((5, "01 03 01 01")), 11, "shared memories"),
    "64-bit memory": (module((5, "01 04 01")), 11, "64-bit memories"),
    "page size": (module((5, "01 08 01 00")), 11, "unknown limits 0x08"),
    "two memories": (module((5, "02 00 01 00 01")), 15, "more than one memory"),
    "table with an initial value": (module((4, "01 40 00 70 00 01 d0 70 0b")), 11, "unknown value type 0x40"),
    "SIMD constant": (module((6, "01 7f 00 fd 0c")), 13, r"constant expression with unknown opcode 0xfd \(SIMD"),
    "division in a constant": (module((6, "01 7f 00 6d 0b")), 13, "a constant expression with i32.div_s"),
    "elements of externref": (module((9, "01 05 6f 00")), 12, "does not hold functions"),
    "element from a global": (module((9, "01 05 70 01 23 00 0b")), 14, "neither ref.func nor ref.null"),
    "data for a second memory": (module((11, "01 02 01 41 00 0b 00")), 11, "a data segment for memory 1"),
}


@pytest.mark.parametrize(("data", "offset", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_modules_are_refused(data: bytes, offset: int, message: str) -> None:
    """Bytes that break the format are malformed, at the offset of the fault."""
    with pytest.raises(MalformedWasm, match=message) as error:
        decode(data)
    assert error.value.offset == offset


@pytest.mark.parametrize(("data", "offset", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unsupported_features_are_named(data: bytes, offset: int, message: str) -> None:
    """A feature that is not handled is unsupported, not malformed, at the offset where it is used."""
    with pytest.raises(UnsupportedWasm, match=message) as error:
        decode(data)
    assert error.value.offset == offset


def test_offsets_inside_a_component_count_from_its_start() -> None:
    """A fault in a module that lies inside a component is told at the offset in the component's file."""
    inner = module((5, "01 04 01"))
    outer = COMPONENT_HEADER + section(1, inner)
    (_, _, content) = next(raw_sections(Cursor(outer), COMPONENT_HEADER))
    with pytest.raises(UnsupportedWasm) as error:
        decode(content)
    assert error.value.offset == 8 + 2 + 11


def test_a_module_where_a_component_is_wanted_is_refused() -> None:
    """The reader of components says what it found instead."""
    with pytest.raises(MalformedWasm, match="expected a component, found a core module"):
        list(raw_sections(Cursor(MODULE_HEADER), COMPONENT_HEADER))


@pytest.mark.parametrize("size", range(len(small_module())))
def test_truncation_anywhere_is_a_clean_error(size: int) -> None:
    """A module cut after any byte is refused inside the file, unless the cut falls between two sections."""
    data = small_module()
    ends = [8, *(content.end for _, _, content in raw_sections(Cursor(data)))]
    error = refusal(data[:size])
    if error is None:
        assert size in ends
    else:
        assert 0 <= error.offset <= size


@pytest.mark.parametrize("position", range(len(small_module())))
def test_a_changed_byte_never_surprises(position: int) -> None:
    """Whatever value one byte takes, the module is read and can be written, or is refused with an offset."""
    for value in range(256):
        data = bytearray(small_module())
        data[position] = value
        if refusal(bytes(data)) is None:
            encode(decode(bytes(data)))


def test_writing_what_was_read_is_stable() -> None:
    """Writing, reading and writing again changes nothing any more."""
    once = encode(decode(wasm(SMALL)))
    assert encode(decode(once)) == once
    validate(once)


def test_an_element_without_functions_survives() -> None:
    """An empty segment keeps its table and offset."""
    item = Element([], 0, (ConstInstr(0x41, 3),))
    data = encode(Module(elements=[item]))
    assert decode(data).elements == [item]


def test_functions_may_be_built_by_hand() -> None:
    """A module put together from its parts is one that wasmtime accepts."""
    built = Module(
        types=[FuncType((), ())], functions=[0], code=[Code(b"\x00\x0b", 0)], exports=[Export("f", Kind.FUNC, 0)]
    )
    validate(encode(built))
    assert FUNCREF in decode(wasm("(module (table 1 funcref))")).tables[0]
