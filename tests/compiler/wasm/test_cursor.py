"""The cursor: numbers, names and vectors of the binary format, and where its errors point."""

from __future__ import annotations

import pytest
from pywasmfilter_compiler.errors import BinaryError, MalformedWasm, UnsupportedWasm
from pywasmfilter_compiler.wasm import cursor as encode
from pywasmfilter_compiler.wasm.cursor import Cursor

UNSIGNED = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "80 01"),
    (624485, "e5 8e 26"),
    (2**31, "80 80 80 80 08"),
    (2**32 - 1, "ff ff ff ff 0f"),
]
SIGNED = [
    (0, "00"),
    (63, "3f"),
    (64, "c0 00"),
    (-1, "7f"),
    (-64, "40"),
    (-65, "bf 7f"),
    (-123456, "c0 bb 78"),
    (2**31 - 1, "ff ff ff ff 07"),
    (-(2**31), "80 80 80 80 78"),
]


def cursor(hexadecimal: str) -> Cursor:
    return Cursor(bytes.fromhex(hexadecimal))


def offset_of(error: pytest.ExceptionInfo[BinaryError]) -> int:
    return error.value.offset


@pytest.mark.parametrize(("value", "encoded"), UNSIGNED)
def test_unsigned_numbers_follow_the_spec_both_ways(value: int, encoded: str) -> None:
    """An unsigned number reads as the spec's LEB128 says, and is written in its shortest form."""
    assert cursor(encoded).u32() == value
    assert encode.u32(value) == bytes.fromhex(encoded)


@pytest.mark.parametrize(("value", "encoded"), SIGNED)
def test_signed_numbers_follow_the_spec_both_ways(value: int, encoded: str) -> None:
    """A signed number reads as the spec's LEB128 says, and is written in its shortest form."""
    assert cursor(encoded).s32() == value
    assert encode.signed(value) == bytes.fromhex(encoded)


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 2**62, -1, 0, 64, -65])
def test_64_bit_numbers_survive(value: int) -> None:
    """The whole range of 64-bit numbers reads back as written."""
    assert Cursor(encode.signed(value)).s64() == value


@pytest.mark.parametrize("value", [2**32 - 1, -(2**32), 64])
def test_33_bit_numbers_hold_every_typeidx(value: int) -> None:
    """A block type has room for each unsigned 32-bit index, and for as many negative numbers."""
    assert Cursor(encode.signed(value)).s33() == value


@pytest.mark.parametrize("encoded", ["80 00", "80 80 80 80 00"])
def test_padding_that_fits_is_allowed(encoded: str) -> None:
    """Zero may be padded up to the five bytes that 32 bits need."""
    assert cursor(encoded).u32() == 0


def test_negative_padding_that_fits_is_allowed() -> None:
    """Minus one may be padded with bytes of ones."""
    assert cursor("ff ff ff ff 7f").s32() == -1


@pytest.mark.parametrize("encoded", ["80 80 80 80 80 00", "ff ff ff ff ff 0f"])
def test_numbers_of_too_many_bytes_are_malformed(encoded: str) -> None:
    """A sixth byte is an error at the start of the number, even when it adds nothing."""
    with pytest.raises(MalformedWasm, match="longer than 32 bits") as error:
        cursor(encoded).u32()
    assert offset_of(error) == 0


@pytest.mark.parametrize("encoded", ["ff ff ff ff 1f", "80 80 80 80 10"])
def test_unsigned_numbers_beyond_32_bits_are_malformed(encoded: str) -> None:
    """The unused bits of the fifth byte must be zero."""
    with pytest.raises(MalformedWasm, match="does not fit 32 bits"):
        cursor(encoded).u32()


@pytest.mark.parametrize("encoded", ["ff ff ff ff 0f", "80 80 80 80 70", "80 80 80 80 08"])
def test_signed_numbers_beyond_32_bits_are_malformed(encoded: str) -> None:
    """The unused bits of the fifth byte must repeat the sign."""
    with pytest.raises(MalformedWasm, match="does not fit 32 bits"):
        cursor(encoded).s32()


def test_64_bit_numbers_of_too_many_bytes_are_malformed() -> None:
    """64 bits take ten bytes at most."""
    with pytest.raises(MalformedWasm, match="longer than 64 bits"):
        Cursor(b"\x80" * 10 + b"\x00").s64()


@pytest.mark.parametrize("encoded", ["", "80", "ff ff ff ff"])
def test_numbers_that_stop_early_point_at_the_end(encoded: str) -> None:
    """A number without its last byte is malformed where that byte is missing."""
    with pytest.raises(MalformedWasm, match="unexpected end") as error:
        cursor(encoded).u32()
    assert offset_of(error) == len(bytes.fromhex(encoded))


@pytest.mark.parametrize("text", ["", "a", "proxy_on_log", "naïve ✓ 𝄞", "nul\0inside"])
def test_names_survive(text: str) -> None:
    """Any text is a name, its size counted in bytes."""
    encoded = encode.name(text)
    assert encoded[0] == len(text.encode())
    assert Cursor(encoded).name() == text


@pytest.mark.parametrize("content", ["ff", "c0 80", "ed a0 80", "e2 9c", "f5 80 80 80"])
def test_names_must_be_utf_8(content: str) -> None:
    """Stray bytes, overlong forms, surrogates and cut characters are malformed, at the first byte of the text."""
    with pytest.raises(MalformedWasm, match="not UTF-8") as error:
        Cursor(encode.sized(bytes.fromhex(content))).name()
    assert offset_of(error) == 1


def test_names_longer_than_the_input_are_malformed() -> None:
    """The message tells how much was wanted and how much is there."""
    with pytest.raises(MalformedWasm, match="5 bytes wanted, 2 left") as error:
        cursor("05 61 62").name()
    assert offset_of(error) == 1


def test_vectors_read_their_items_in_order() -> None:
    """A vector is its count and then its items."""
    assert cursor("03 01 80 01 02").vec(Cursor.u32) == [1, 128, 2]
    assert encode.vec([b"\x01", b"\x80\x01", b"\x02"]) == bytes.fromhex("03 01 80 01 02")


def test_vectors_that_cannot_fit_fail_before_any_item() -> None:
    """A count of four billion is refused at once: an item takes at least one byte."""
    with pytest.raises(MalformedWasm, match="4294967295 items cannot fit the 1 bytes left") as error:
        cursor("ff ff ff ff 0f 00").vec(Cursor.byte)
    assert offset_of(error) == 5


def test_windows_end_where_their_size_says() -> None:
    """Reading in a window stops at its end, and the outer cursor continues after it."""
    outer = cursor("02 0a 0b 0c")
    inner = outer.window()
    assert (inner.byte(), inner.byte(), bool(inner), outer.byte()) == (0x0A, 0x0B, False, 0x0C)
    with pytest.raises(MalformedWasm, match="unexpected end"):
        inner.byte()


def test_offsets_count_from_the_outermost_file() -> None:
    """A window within cut out bytes within a file reports the offset in the file."""
    cut_out = Cursor(bytes.fromhex("03 00 00 80"), base=0x1000)
    inner = cut_out.window()
    inner.take(2)
    with pytest.raises(MalformedWasm) as error:
        inner.u32()
    assert offset_of(error) == 0x1004
    assert str(error.value) == "unexpected end (at offset 0x1004)"


def test_errors_may_point_back() -> None:
    """Both kinds of error take a position of their own, and add the base to it."""
    with pytest.raises(MalformedWasm) as malformed:
        Cursor(b"abc", 2, base=16).fail("bad", 1)
    with pytest.raises(UnsupportedWasm) as unsupported:
        Cursor(b"abc", 2, base=16).unsupported("odd", 1)
    assert (offset_of(malformed), offset_of(unsupported)) == (17, 17)


def test_an_expected_byte_is_taken() -> None:
    """The byte that had to come is consumed; another one is malformed, and both are named."""
    reader = cursor("60 61")
    reader.expect(0x60, "form")
    with pytest.raises(MalformedWasm, match="form: expected 0x60, found 0x61") as error:
        reader.expect(0x60, "form")
    assert offset_of(error) == 1


def test_bytes_left_over_are_counted() -> None:
    """What should have ended but has not is malformed, and the rest is counted."""
    cursor("").expect_end("type section")
    with pytest.raises(MalformedWasm, match="type section: 2 bytes too many") as error:
        cursor("00 00").expect_end("type section")
    assert offset_of(error) == 0


def test_a_cursor_is_true_while_bytes_are_left() -> None:
    """A cursor may stand in a condition; peeking does not move it."""
    reader = cursor("07")
    assert (bool(reader), reader.peek(), bool(reader), reader.byte(), bool(reader)) == (True, 7, True, 7, False)
