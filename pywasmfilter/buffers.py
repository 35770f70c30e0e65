"""Buffers: the bytes of a body or a connection that the proxy holds at this moment.

Like header maps they hold nothing themselves; each access is a host call on the stream whose callback is running.
"""

from __future__ import annotations

from . import _abi
from .types import BufferType

EVERYTHING = 0x7FFFFFFF
"""As a size: all there is. As a start: behind the end."""


class Buffer:
    """One buffer of the current stream (`proxy_buffer_type_t`).

    A body's bytes are there in its own callback, and after that while the stream is paused from it; then each callback
    sees all that was held back. Elsewhere reading gives b"" and changing raises BadArgument. A filter that changes the
    size of a body removes the header `content-length` before, in the callback for the headers.
    """

    __slots__ = ("_buffer",)

    def __init__(self, buffer_type: BufferType) -> None:
        self._buffer = int(buffer_type)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        """`size` bytes from `start` on, or all that follow; fewer if there are fewer (`proxy_get_buffer_bytes`)."""
        if start < 0 or (size is not None and size < 0):
            raise ValueError(f"start and size are not negative: {start}, {size}")
        return _abi.host.get_buffer_bytes(self._buffer, start, EVERYTHING if size is None else size)

    def append(self, data: str | bytes) -> None:
        """Add bytes at the end (`proxy_set_buffer_bytes`)."""
        _abi.host.set_buffer_bytes(self._buffer, EVERYTHING, 0, data)

    def prepend(self, data: str | bytes) -> None:
        """Add bytes before the first (`proxy_set_buffer_bytes`)."""
        _abi.host.set_buffer_bytes(self._buffer, 0, 0, data)

    def replace(self, data: str | bytes) -> None:
        """Put bytes in place of all that are there (`proxy_set_buffer_bytes`)."""
        _abi.host.set_buffer_bytes(self._buffer, 0, EVERYTHING, data)

    def __len__(self) -> int:
        """How many bytes are there (`proxy_get_buffer_status`)."""
        return _abi.host.get_buffer_size(self._buffer)

    def __bytes__(self) -> bytes:
        return self.read()

    def __repr__(self) -> str:
        return f"<Buffer {BufferType(self._buffer).name}>"
