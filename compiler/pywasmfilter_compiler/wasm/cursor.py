"""Reading the WebAssembly binary format: one cursor over bytes, whose errors say where.

A `Cursor` is a window `[pos, end)` on a larger buffer. A nested section or a module inside a component gets its own
window on the same buffer, and bytes that were cut out remember their `base`, so that an offset in an error message
always counts from the start of the file the user has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, TypeVar

from ..errors import MalformedWasm, UnsupportedWasm

T = TypeVar("T")


class Cursor:
    """A reading position in `data`, which never passes `end`."""

    __slots__ = ("base", "data", "end", "pos")

    def __init__(self, data: bytes, pos: int = 0, end: int | None = None, base: int = 0) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end
        self.base = base

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self.pos < self.end

    def fail(self, message: str, at: int | None = None) -> NoReturn:
        """Raise MalformedWasm at offset `at`, by default the current position."""
        raise MalformedWasm(message, self.base + (self.pos if at is None else at))

    def unsupported(self, message: str, at: int | None = None) -> NoReturn:
        """Raise UnsupportedWasm at offset `at`, by default the current position."""
        raise UnsupportedWasm(message, self.base + (self.pos if at is None else at))

    def peek(self) -> int:
        """The next byte, without moving."""
        if self.pos >= self.end:
            self.fail("unexpected end")
        return self.data[self.pos]

    def byte(self) -> int:
        """byte"""
        value = self.peek()
        self.pos += 1
        return value

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.skip(size)
        return self.data[start : self.pos]

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(self.end - self.pos)

    def skip(self, size: int) -> int:
        """Move over `size` bytes and return where they start."""
        start = self.pos
        if size > self.end - start:
            self.fail(f"unexpected end: {size} bytes wanted, {self.end - start} left")
        self.pos = start + size
        return start

    def u32(self) -> int:
        """u32: an unsigned LEB128 number of at most 32 bits."""
        start = self.pos
        if start < self.end and (byte := self.data[start]) < 0x80:  # nine in ten: indices of one byte
            self.pos = start + 1
            return byte
        result, _ = self._leb(32)
        if result >> 32:
            self.fail("LEB128 number does not fit 32 bits", start)
        return result

    def s32(self) -> int:
        """s32: a signed LEB128 number of at most 32 bits."""
        return self._signed(32)

    def s33(self) -> int:
        """s33: as in blocktype, where negative values are value types."""
        return self._signed(33)

    def s64(self) -> int:
        """s64: a signed LEB128 number of at most 64 bits."""
        return self._signed(64)

    def _signed(self, bits: int) -> int:
        start = self.pos
        result, width = self._leb(bits)
        if result >> (width - 1):
            result -= 1 << width
        if not -(1 << (bits - 1)) <= result < 1 << (bits - 1):
            self.fail(f"LEB128 number does not fit {bits} bits", start)
        return result

    def _leb(self, bits: int) -> tuple[int, int]:
        """The groups of a LEB128 number put together, unsigned, and how many bits they have."""
        data, start, end = self.data, self.pos, self.end
        result = shift = 0
        for pos in range(start, min(end, start + -(-bits // 7))):
            byte = data[pos]
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.pos = pos + 1
                return result, shift
        if start + shift // 7 >= end:
            self.fail("unexpected end", end)
        self.fail(f"LEB128 number is longer than {bits} bits", start)

    def name(self) -> str:
        """name ::= b*:vec(byte), which must be UTF-8."""
        size = self.u32()
        start = self.skip(size)
        try:
            return self.data[start : self.pos].decode()
        except UnicodeDecodeError:
            self.fail("a name is not UTF-8", start)

    def vec(self, item: Callable[[Cursor], T]) -> list[T]:
        """vec(item) ::= n:u32 item^n"""
        return [item(self) for _ in range(self.count())]

    def count(self) -> int:
        """How many items a vector has; each takes a byte at least."""
        count = self.u32()
        if count > self.end - self.pos:
            self.fail(f"a vector of {count} items cannot fit the {self.end - self.pos} bytes left")
        return count

    def window(self) -> Cursor:
        """size:u32 followed by that many bytes, as a cursor of their own; this one moves past them."""
        size = self.u32()
        start = self.skip(size)
        return Cursor(self.data, start, self.pos, self.base)

    def expect(self, expected: int, what: str) -> None:
        """One byte that must have the value `expected`."""
        at, value = self.pos, self.byte()
        if value != expected:
            self.fail(f"{what}: expected {expected:#04x}, found {value:#04x}", at)

    def expect_end(self, what: str) -> None:
        """Nothing may be left."""
        if self.pos != self.end:
            self.fail(f"{what}: {self.end - self.pos} bytes too many")


def u32(value: int) -> bytes:
    """Encode an unsigned LEB128 number, shortest form."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value: int) -> bytes:
    """Encode a signed LEB128 number, shortest form."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


def name(value: str) -> bytes:
    """Encode a name: its size and its UTF-8 bytes."""
    data = value.encode()
    return u32(len(data)) + data


def vec(items: Sequence[bytes]) -> bytes:
    """Encode a vector: its count and its items, which are encoded already."""
    return u32(len(items)) + b"".join(items)


def sized(data: bytes) -> bytes:
    """Encode bytes with their size in front."""
    return u32(len(data)) + data
