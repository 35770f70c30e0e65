"""What the Proxy-Wasm ABI calls by number, and how it writes pairs: the vocabulary of a host."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, TypeAlias

Pairs: TypeAlias = list[tuple[bytes, bytes]]


class Status(IntEnum):
    """What a host function answers."""

    OK = 0
    NOT_FOUND = 1
    BAD_ARGUMENT = 2
    INVALID_MEMORY_ACCESS = 6
    EMPTY = 7
    CAS_MISMATCH = 8
    INTERNAL_FAILURE = 10
    BROKEN_CONNECTION = 11
    UNIMPLEMENTED = 12


class Action(IntEnum):
    """What a callback of a stream answers."""

    CONTINUE = 0
    PAUSE = 1


class MapType(IntEnum):
    """The header maps."""

    HTTP_REQUEST_HEADERS = 0
    HTTP_REQUEST_TRAILERS = 1
    HTTP_RESPONSE_HEADERS = 2
    HTTP_RESPONSE_TRAILERS = 3
    GRPC_INITIAL_METADATA = 4
    GRPC_TRAILING_METADATA = 5
    HTTP_CALL_RESPONSE_HEADERS = 6
    HTTP_CALL_RESPONSE_TRAILERS = 7


class BufferType(IntEnum):
    """The buffers."""

    HTTP_REQUEST_BODY = 0
    HTTP_RESPONSE_BODY = 1
    DOWNSTREAM_DATA = 2
    UPSTREAM_DATA = 3
    HTTP_CALL_RESPONSE_BODY = 4
    GRPC_MESSAGE = 5
    VM_CONFIGURATION = 6
    PLUGIN_CONFIGURATION = 7
    FOREIGN_FUNCTION_ARGUMENTS = 8


class StreamType(IntEnum):
    """The directions of a stream."""

    HTTP_REQUEST = 0
    HTTP_RESPONSE = 1
    DOWNSTREAM = 2
    UPSTREAM = 3


class MetricType(IntEnum):
    """The kinds of metrics."""

    COUNTER = 0
    GAUGE = 1
    HISTOGRAM = 2


class HostError(Exception):
    """A host function fails: the guest gets this status and no result."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status: Final = status


def encode_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """count (size of name, size of value)* (name NUL value NUL)*, sizes being u32; nothing for no pairs."""
    pairs = list(pairs)
    if not pairs:
        return b""
    sizes = [len(text) for pair in pairs for text in pair]
    return b"".join([*map(u32, [len(pairs), *sizes]), *(text + b"\0" for pair in pairs for text in pair)])


def decode_pairs(data: bytes) -> Pairs:
    """The pairs that `encode_pairs` writes. Raises HostError for anything else, where proxies see no pairs at all."""
    if data in {b"", bytes(4)}:
        return []
    count = int.from_bytes(data[:4], "little")
    position = 4 + 8 * count
    texts = []
    for index in range(2 * count):
        start = 4 + 4 * index
        end = position + int.from_bytes(data[start : start + 4], "little")
        texts.append(data[position:end])
        if data[end : end + 1] != b"\0":
            raise HostError(Status.BAD_ARGUMENT)
        position = end + 1
    if position != len(data):
        raise HostError(Status.BAD_ARGUMENT)
    return list(zip(texts[::2], texts[1::2], strict=True))


def u32(value: int) -> bytes:
    """As the guest reads it."""
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")
