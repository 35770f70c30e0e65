"""The protobuf encoding: what the reference implementation writes, and no crash for what it would not.

The vectors were made with the protobuf package 6 from messages with fields of these numbers.
"""

from __future__ import annotations

import pytest

from pywasmfilter._protobuf import field, fields

MIXED = bytes.fromhex("08ffffffffffffffffff01 110100000000000000 1d0000803f 22ac02") + b"x" * 300


@pytest.mark.parametrize(
    ("number", "value", "encoded"),
    [
        (1, 1, "0801"),
        (1, 127, "087f"),
        (1, 128, "088001"),
        (1, 300, "08ac02"),
        (1, (1 << 64) - 1, "08ffffffffffffffffff01"),
        (2, True, "1001"),
        (1, b"\0\xff", "0a0200ff"),
        (2, "é", "1202c3a9"),
        (15, b"a", "7a0161"),
        (16, b"a", "82010161"),
    ],
)
def test_a_field(number: int, value: str | bytes | int, encoded: str) -> None:
    """Numbers are varints; text and bytes have their length before them."""
    assert field(number, value) == bytes.fromhex(encoded)


@pytest.mark.parametrize("value", [0, False, b"", ""])
def test_what_is_empty_is_left_out(value: str | bytes | int) -> None:
    """As proto3 does it."""
    assert field(3, value) == b""


def test_a_long_field() -> None:
    """The length of a field is a varint too."""
    assert field(4, b"x" * 300) == MIXED[-303:]


def test_fields_of_every_wire_type() -> None:
    """VARINT, I64, I32 and LEN are read; fixed sizes stay bytes."""
    assert fields(MIXED) == {
        1: (1 << 64) - 1,
        2: bytes.fromhex("0100000000000000"),
        3: bytes.fromhex("0000803f"),
        4: b"x" * 300,
    }
    assert fields(b"") == {}


def test_the_last_of_a_field_counts() -> None:
    """A field that comes twice has its last value, as the specification says."""
    assert fields(field(1, 5) + field(2, b"a") + field(1, 6)) == {1: 6, 2: b"a"}


def test_what_is_written_is_read() -> None:
    """Fields with large numbers and sizes come back."""
    message = field(536870911, b"a" * 70000) + field(2, 1 << 63)
    assert fields(message) == {536870911: b"a" * 70000, 2: 1 << 63}


@pytest.mark.parametrize("wire_type", [3, 4, 6, 7])
def test_other_wire_types_are_refused(wire_type: int) -> None:
    """Groups are of another time, and the rest is no wire type."""
    with pytest.raises(ValueError, match=f"no protobuf message: wire type {wire_type} at byte 1"):
        fields(bytes([1 << 3 | wire_type]))


@pytest.mark.parametrize("end", range(1, len(MIXED)))
def test_a_message_that_ends_too_early_is_refused(end: int) -> None:
    """Cut off anywhere but between two fields it is no message."""
    between = {11, 20, 25}
    if end in between:
        assert len(fields(MIXED[:end])) == sorted(between).index(end) + 1
    else:
        with pytest.raises(ValueError, match="no protobuf message: "):
            fields(MIXED[:end])


def test_a_number_without_an_end_is_refused() -> None:
    """A varint has ten bytes at most, however many there are."""
    with pytest.raises(ValueError, match="no protobuf message: a number is cut off at byte 10"):
        fields(b"\xff" * 100)


@pytest.mark.parametrize("message", [b"\x0a\xff\xff\xff\xff\x0f", b"\x0a" + b"\xff" * 9 + b"\x01"])
def test_a_size_beyond_the_message_is_refused(message: bytes) -> None:
    """A length that promises more than there is is an error, and takes no memory."""
    with pytest.raises(ValueError, match="no protobuf message: it ends in the middle of a field"):
        fields(message)
