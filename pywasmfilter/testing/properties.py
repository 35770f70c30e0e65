"""Properties of plugins and streams, as tests give them and as the ABI puts them into bytes.

    host.properties["source.address"] = "10.0.0.1:1234"
    host.properties["metadata.filter_metadata"] = {"envoy.lb": {"canary": True}}
    host.properties["xds", "route_metadata", "filter_metadata", "a.name.with.dots"] = {"auth": "cookie"}

A path is a tuple of names, or one text with dots between them. Values are text, bytes, numbers, booleans, lists and
dicts; what is inside a dict can be asked for by a longer path.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from .abi import encode_pairs
from .messages import as_bytes, as_text

Path: TypeAlias = tuple[str, ...]


class Properties:
    """Values by their paths; what is not here is looked for in `behind`."""

    def __init__(self, values: Mapping[Any, Any], behind: Properties | None = None) -> None:
        self._values: dict[Path, Any] = {}
        self._behind = behind
        for path, value in values.items():
            self[path] = value

    def __setitem__(self, path: str | Path, value: Any) -> None:
        self._values[tuple(path.split(".")) if isinstance(path, str) else tuple(path)] = value

    def __delitem__(self, path: str | Path) -> None:
        del self._values[tuple(path.split(".")) if isinstance(path, str) else tuple(path)]

    def find(self, path: Path) -> bytes | None:
        """The value at a path as the ABI has it, None if there is none."""
        for size in range(len(path), 0, -1):
            if path[:size] in self._values:
                value = _inside(self._values[path[:size]], path[size:])
                return None if value is None else encode(value)
        return None if self._behind is None else self._behind.find(path)

    def text(self, path: str) -> str:
        """The value at a path as text; "" if there is none."""
        return as_text(self.find(tuple(path.split("."))) or b"")


def _inside(value: Any, path: Path) -> Any:
    for name in path:
        if isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes) and name.isdecimal():
            value = value[int(name)] if int(name) < len(value) else None
        else:
            return None
    return value


def encode(value: Any) -> bytes:
    """A value as `proxy_get_property` gives it: numbers as 8 bytes, maps and lists as pairs.

    Raises TypeError for a value that no property has.
    """
    if isinstance(value, str | bytes):
        return as_bytes(value)
    if isinstance(value, bool):
        return bytes([value])
    if isinstance(value, int):
        return (value % 2**64).to_bytes(8, "little")
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Mapping):
        return encode_pairs((as_bytes(key), encode(inner)) for key, inner in value.items())
    if isinstance(value, Sequence):
        return encode_pairs((encode(inner), b"") for inner in value)
    raise TypeError(f"a property is text, bytes, a number, a list or a dict, not {value!r}")
