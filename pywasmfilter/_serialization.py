"""How the ABI puts lists of pairs into bytes (header maps, and properties that are maps or lists).

u32 n · n × (u32 key size, u32 value size) · n × (key, NUL, value, NUL), all little-endian; a list has empty values

In a module the shim does what is plain. It gives None for all else, right or wrong, which is then done here.
"""

from __future__ import annotations

from . import _abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What proxies accept; beyond it they take the map for an empty one, and so clear it.
MOST_PAIRS = 1024
MOST_BYTES = 1 << 20


def _not_here(_: object) -> None:
    """Under a plain Python all is done here."""


_encode_plain: Callable[[object], bytes | None] = getattr(_abi.shim, "encode_pairs", _not_here)
_decode_plain: Callable[[bytes], list[tuple[bytes, bytes]] | None] = getattr(_abi.shim, "decode_pairs", _not_here)
_decode_plain_texts: Callable[[bytes], list[tuple[str, str]] | None] = getattr(_abi.shim, "decode_texts", _not_here)


def encode_pairs(pairs: Iterable[tuple[str | bytes, str | bytes]]) -> bytes:
    """Serialize pairs. Raises ValueError for what a proxy would refuse or misread."""
    if (encoded := _encode_plain(pairs)) is not None:
        return encoded
    if isinstance(pairs, dict | str | bytes):
        raise TypeError(
            f"header pairs are (name, value) tuples, not a {type(pairs).__name__}; of a dict, pass .items()"
        )
    texts: list[bytes] = []
    for key, value in pairs:
        texts += (_encode(key), _encode(value))
    count = len(texts) // 2
    if count > MOST_PAIRS:
        raise ValueError(f"{count} header pairs, a proxy takes {MOST_PAIRS} at most")
    data = b"".join([text + b"\0" for text in texts])
    if b"\n" in data or b"\r" in data or data.count(b"\0") != len(texts):
        bad = next(text for text in texts if any(byte in text for byte in (b"\n", b"\r", b"\0")))
        raise ValueError(f"a header must not contain a line break or NUL: {bad.decode('utf-8', 'surrogateescape')!r}")
    sizes = b"".join([len(text).to_bytes(4, "little") for text in texts])
    serialized = count.to_bytes(4, "little") + sizes + data
    if len(serialized) > MOST_BYTES:
        raise ValueError(f"header pairs of {len(serialized)} bytes, a proxy takes {MOST_BYTES} at most")
    return serialized


def _encode(text: str | bytes) -> bytes:
    if isinstance(text, str):
        return text.encode("utf-8", "surrogateescape")
    if isinstance(text, bytes):
        return text
    raise TypeError(f"a header is str or bytes, not {text!r}")


def decode_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    """Read serialized pairs as bytes. An empty map may be no bytes at all. Raises ValueError for what are no pairs."""
    if (decoded := _decode_plain(data)) is not None:
        return decoded
    if not data:
        return []
    number = int.from_bytes
    count = number(data[:4], "little")
    if 4 + 10 * count > len(data):
        raise ValueError(f"these {len(data)} bytes are no serialized pairs")
    position = 4 + 8 * count
    pairs = []
    for at in range(4, position, 8):
        middle = position + number(data[at : at + 4], "little")
        end = middle + 1 + number(data[at + 4 : at + 8], "little")
        pairs.append((data[position:middle], data[middle + 1 : end]))
        position = end + 1
    if position != len(data):
        raise ValueError(f"these {len(data)} bytes are no serialized pairs")
    return pairs


def decode_texts(data: bytes) -> list[tuple[str, str]]:
    """The same as text; any bytes come through unchanged."""
    if (decoded := _decode_plain_texts(data)) is not None:
        return decoded
    return [(as_text(key), as_text(value)) for key, value in decode_pairs(data)]


def as_text(data: bytes) -> str:
    """Bytes of a header as text; any bytes come through unchanged."""
    return data.decode("utf-8", "surrogateescape")


def decode_list(data: bytes) -> list[bytes]:
    """Read a serialized list: pairs whose values are empty."""
    return [item for item, _ in decode_pairs(data)]
