"""Lists of pairs as bytes: what goes out is what the ABI says, and what comes in is read back."""

from __future__ import annotations

import pytest

from pywasmfilter._serialization import MOST_BYTES, MOST_PAIRS, decode_pairs, encode_pairs

METHOD = bytes.fromhex("01000000 07000000 03000000 3a6d6574686f64 00 474554 00")


def test_one_pair_is_the_bytes_of_the_abi() -> None:
    """Number of pairs, the two sizes, then key and value, each with a NUL behind it; numbers are little-endian."""
    assert encode_pairs([(":method", "GET")]) == METHOD
    assert decode_pairs(METHOD) == [(b":method", b"GET")]


def test_several_pairs_have_all_sizes_first() -> None:
    """The sizes of all pairs come before the first of them."""
    encoded = encode_pairs([("a", "1"), (b"bb", b"")])
    assert encoded == bytes.fromhex("02000000 01000000 01000000 02000000 00000000 61 00 31 00 6262 00 00")
    assert decode_pairs(encoded) == [(b"a", b"1"), (b"bb", b"")]


@pytest.mark.parametrize("empty", [b"", bytes(4)], ids=["no bytes", "a count of 0"])
def test_an_empty_map_has_two_forms(empty: bytes) -> None:
    """Hosts write an empty map as nothing or as a zero; both are read as no pairs."""
    assert decode_pairs(empty) == []


def test_no_pairs_are_a_count_of_zero() -> None:
    """What goes out for an empty map is the form that every host reads."""
    assert encode_pairs([]) == bytes(4)


def test_order_and_repeated_names_are_kept() -> None:
    """A header map is a list of pairs: nothing is merged or sorted."""
    pairs = [(b"b", b"1"), (b"a", b"2"), (b"b", b"3")]
    assert decode_pairs(encode_pairs(pairs)) == pairs


def test_every_byte_but_three_survives() -> None:
    """Bytes that are no UTF-8 go through as str with surrogates, and as bytes."""
    value = bytes(byte for byte in range(256) if byte not in b"\r\n\0")
    text = value.decode("utf-8", "surrogateescape")
    assert decode_pairs(encode_pairs([("x", text)])) == decode_pairs(encode_pairs([("x", value)])) == [(b"x", value)]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", b"\n", b"\r\n", b"\0"])
def test_a_line_break_or_nul_is_refused(bad: str | bytes) -> None:
    """Neither a name nor a value can end its line, or be cut short by the C string that some hosts take it for."""
    for pair in ((bad, "value"), ("name", bad)):
        with pytest.raises(ValueError, match="must not contain a line break or NUL"):
            encode_pairs([pair])


def test_a_lone_surrogate_is_refused() -> None:
    """A surrogate that stands for no byte has no form in a header."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode_pairs([("x", "\ud800")])


@pytest.mark.parametrize("bad", [5, None, 1.5])
def test_other_types_are_named(bad: object) -> None:
    """A number is no header: it is named, and not turned into text in some form or other."""
    with pytest.raises(TypeError, match=rf"a header is str or bytes, not {bad}"):
        encode_pairs([("content-length", bad)])  # type: ignore[list-item]


@pytest.mark.parametrize("bad", [{"te": "x"}, "te", b"te"], ids=["dict", "str", "bytes"])
def test_what_is_no_list_of_pairs_is_refused(bad: object) -> None:
    """The two letters of a dict's key are not taken for a name and a value."""
    with pytest.raises(TypeError, match=r"header pairs are \(name, value\) tuples, not a "):
        encode_pairs(bad)  # type: ignore[arg-type]


def test_the_number_of_pairs_is_limited() -> None:
    """As many pairs as a proxy takes are encoded; with one more it would clear the map, so that is an error."""
    pairs = [("x", "y")] * MOST_PAIRS
    assert len(decode_pairs(encode_pairs(pairs))) == 1024
    with pytest.raises(ValueError, match="1025 header pairs, a proxy takes 1024 at most"):
        encode_pairs([*pairs, ("x", "y")])


def test_the_number_of_bytes_is_limited() -> None:
    """The whole map may be a mebibyte, with counts and NULs, and not a byte more."""
    overhead = 4 + 8 + 1 + 2
    assert len(encode_pairs([("x", "y" * (MOST_BYTES - overhead))])) == 1 << 20
    with pytest.raises(ValueError, match="header pairs of 1048577 bytes, a proxy takes 1048576 at most"):
        encode_pairs([("x", "y" * (MOST_BYTES - overhead + 1))])


def test_any_iterable_will_do() -> None:
    """Pairs may come from a generator, which is read once."""
    assert encode_pairs((name, "v") for name in ("a", "b")) == encode_pairs([("a", "v"), ("b", "v")])
