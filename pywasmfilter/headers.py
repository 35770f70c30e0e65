"""Header maps: headers and trailers.

These objects hold nothing: each access is a host call on the stream whose callback is running, so a look-up costs no
more than the call. Names are matched ignoring case. Values are text decoded as UTF-8 with "surrogateescape": whatever
bytes a peer sends come through unchanged, and `text.encode("utf-8", "surrogateescape")` gives them back.
"""

from __future__ import annotations

from . import _abi
from ._serialization import as_text, decode_pairs, decode_texts, encode_pairs
from ._state import find_context
from .exceptions import BadArgument
from .types import MapType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import overload


class _WholeMap:
    # What a header map does with all of its headers, and with those that have left.

    __slots__ = ()

    _map: int

    def __init__(self, map_type: MapType) -> None:
        self._map = int(map_type)  # type: ignore[misc]  # the slot is HeaderMap's

    def _find_kept(self, key: str | bytes, error: Exception) -> str | None:
        """A header that has left and was kept. Raises the error of its look-up if there are none."""
        kept = self._kept(error)
        wanted = _as_bytes(key).lower()
        return next((as_text(value) for name, value in kept if name.lower() == wanted), None)

    def _kept(self, error: Exception) -> list[tuple[bytes, bytes]]:
        """What was kept of headers that have left. Raises the error if nothing was, or it says something else."""
        context = find_context(_abi.host.get_effective_context())
        kept: list[tuple[bytes, bytes]] | None = (getattr(context, "_abi_headers", None) or {}).get(self._map)
        if kept is None or not isinstance(error, BadArgument):
            raise error
        return list(kept)

    def get_all(self, key: str | bytes) -> list[str]:
        """All values of a header, in order; an empty list if there is none."""
        wanted = _as_bytes(key).lower()
        return [as_text(value) for name, value in self.raw_items() if name.lower() == wanted]

    def items(self) -> list[tuple[str, str]]:
        """All names and values in order, repeated names included (`proxy_get_header_map_pairs`)."""
        found = decode_texts(_abi.host.get_header_map_pairs(self._map))
        return found or [(as_text(key), as_text(value)) for key, value in self.raw_items()]

    def keys(self) -> list[str]:
        """The names in order, each once."""
        return list(self)

    def values(self) -> list[str]:
        """All values in order."""
        return [value for _, value in self.items()]

    def raw_items(self) -> list[tuple[bytes, bytes]]:
        """All names and values as the bytes that the proxy has."""
        pairs = decode_pairs(_abi.host.get_header_map_pairs(self._map))
        if not pairs and self._map <= MapType.HTTP_RESPONSE_TRAILERS:
            # Hosts say so too of a map that is not available now; a look-up tells one from the other.
            try:
                _abi.host.get_header_map_value(self._map, ":path")
            except BadArgument as error:
                return self._kept(error)
        return pairs

    def byte_size(self) -> int:
        """How many bytes all names and values take (`proxy_get_header_map_size`)."""
        return _abi.host.get_header_map_size(self._map)

    def replace_all(self, pairs: Iterable[tuple[str | bytes, str | bytes]]) -> None:
        """Replace the whole map (`proxy_set_header_map_pairs`).

        Raises ValueError for more than 1024 pairs, more than 1 MiB, or a line break or NUL in any of them.
        """
        _abi.host.set_header_map_pairs(self._map, encode_pairs(pairs))

    def __iter__(self) -> Iterator[str]:
        """The names in order, each once."""
        return iter(dict.fromkeys(name for name, _ in self.items()))

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.raw_items())

    def __repr__(self) -> str:
        return f"<HeaderMap {MapType(self._map).name}>"


class HeaderMap(_WholeMap):
    """One header map of the current stream (`proxy_header_map_type_t`), usable like a dict of str to str.

    Reading works in the map's own callback, while the stream is paused from it, and in `on_http_stream_done`; changing
    only in its own callback and while paused from it. Elsewhere all of it raises BadArgument. Headers that had to leave
    before a body could be awaited can still be read.
    """

    __slots__ = ("_map",)

    def __getitem__(self, key: str | bytes) -> str:
        """The first value of a header (`proxy_get_header_map_value`). Raises KeyError if there is none."""
        value = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    if TYPE_CHECKING:

        @overload
        def get(self, key: str | bytes) -> str | None: ...
        @overload
        def get(self, key: str | bytes, default: str) -> str: ...
        @overload
        def get(self, key: str | bytes, default: None) -> str | None: ...

    def get(self, key: str | bytes, default: str | None = None) -> str | None:
        """The first value of a header, or `default`."""
        try:
            value = _abi.host.get_header_map_value(self._map, key)
        except BadArgument as error:
            value = self._find_kept(key, error)
        return default if value is None else value

    def __contains__(self, key: str | bytes) -> bool:
        """Whether the header is there, even with an empty value."""
        return self.get(key) is not None

    def __setitem__(self, key: str | bytes, value: str | bytes) -> None:
        """Make `value` the only value of the header (`proxy_replace_header_map_value`).

        Raises ValueError if the name or the value holds a line break or NUL.
        """
        _abi.host.replace_header_map_value(self._map, key, value)

    def add(self, key: str | bytes, value: str | bytes) -> None:
        """Append a value, keeping those that are there (`proxy_add_header_map_value`).

        Raises ValueError if the name or the value holds a line break or NUL.
        """
        _abi.host.add_header_map_value(self._map, key, value)

    def __delitem__(self, key: str | bytes) -> None:
        """Remove all values of a header. Raises KeyError if there is none."""
        if key not in self:
            raise KeyError(key)
        _abi.host.remove_header_map_value(self._map, key)

    def remove(self, key: str | bytes) -> None:
        """Remove all values of a header, if there are any (`proxy_remove_header_map_value`)."""
        _abi.host.remove_header_map_value(self._map, key)


if _abi.shim is not None:  # filters spend much of their time in these methods, so a module has them in C
    HeaderMap = _abi.shim.header_map(_WholeMap, HeaderMap.__doc__)  # type: ignore[misc]


def _as_bytes(key: str | bytes) -> bytes:
    return key if isinstance(key, bytes) else key.encode("utf-8", "surrogateescape")
