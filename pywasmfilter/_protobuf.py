"""As much of the protobuf encoding as talking to the proxy itself takes (https://protobuf.dev/programming-guides/encoding).

Filters that speak gRPC bring the classes generated for their messages; nothing here is needed for that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5


def field(number: int, value: str | bytes | int) -> bytes:
    """One field: bytes and text as LEN, a number or bool as VARINT; nothing for what is empty or 0, as proto3 does."""
    if not value:
        return b""
    if isinstance(value, int):
        return _varint(number << 3 | _VARINT) + _varint(value)
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    return _varint(number << 3 | _LEN) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def fields(message: bytes) -> dict[int, bytes | int]:
    """The fields of a message by number, the last one of each. Raises ValueError for what is no message."""
    return dict(_fields(message))


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            yield key >> 3, value
            continue
        if kind == _LEN:
            size, position = _read_varint(message, position)
        elif kind in (_I64, _I32):
            size = 8 if kind == _I64 else 4
        else:
            raise ValueError(f"no protobuf message: wire type {kind} at byte {position}")
        if position + size > len(message):
            raise ValueError(f"no protobuf message: it ends in the middle of a field at byte {position}")
        yield key >> 3, message[position : position + size]
        position += size


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError(f"no protobuf message: a number is cut off at byte {position}")
