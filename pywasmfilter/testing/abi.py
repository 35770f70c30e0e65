"""How host functions are described, and how a host puts pairs into bytes.

A host function is a method, and its annotations say how the ABI passes its arguments and results:

    def proxy_get_shared_data(self, key: bytes) -> tuple[bytes, int]: ...

| annotation | a parameter is         | of a result, the guest gets                                     |
|------------|------------------------|-----------------------------------------------------------------|
| `bytes`    | an address and a size  | address and size of a copy that its own allocator made room for |
| `int`      | an i32, taken as a u32 | a u32                                                           |
| `I64`      | an i64                 |                                                                 |
| `U64`      |                        | a u64                                                           |

Results are written to addresses, which follow the parameters. What the guest gets back is a status: 0, or that of the
`HostError` which the method raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple, NewType, get_args, get_origin, get_type_hints

from pywasmfilter._serialization import decode_pairs as decode

from .messages import Pairs

I64 = NewType("I64", int)
U64 = NewType("U64", int)

BROKEN_CONNECTION: Final = 11
"""What `proxy_get_status` says of an HTTP call that failed; no host function answers it."""


class HostError(Exception):
    """A host function fails: the guest gets this status and no result."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status: Final = status


class Shape(NamedTuple):
    """The annotations of a host function, and the names of its parameters."""

    names: tuple[str, ...]
    parameters: tuple[Any, ...]
    results: tuple[Any, ...]

    @staticmethod
    @lru_cache(maxsize=256)
    def of(function: Callable[..., Any]) -> Shape:
        """What the annotations of a function are."""
        hints = get_type_hints(function)
        result = hints.pop("return")
        results = get_args(result) if get_origin(result) is tuple else (result,)
        return Shape(tuple(hints), tuple(hints.values()), () if result is type(None) else results)


def encode_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """count (size of name, size of value)* (name NUL value NUL)*, sizes being u32; nothing for no pairs.

    Unlike the SDK's function of this name it takes whatever a peer may have sent.
    """
    pairs = list(pairs)
    if not pairs:
        return b""
    sizes = [len(text) for pair in pairs for text in pair]
    return b"".join([*map(u32, [len(pairs), *sizes]), *(text + b"\0" for pair in pairs for text in pair)])


def decode_pairs(data: bytes) -> Pairs:
    """The pairs that a guest sends; none at all if they are malformed, as proxies read them."""
    try:
        return decode(data)
    except ValueError:
        return []


def u32(value: int) -> bytes:
    """As the guest reads it."""
    return (value & 0xFFFF_FFFF).to_bytes(4, "little")
