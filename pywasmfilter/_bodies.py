"""Bodies that are awaited: whole, or part by part; and what becomes of the headers meanwhile.

A body is only seen by who lets the headers go, unless the proxy is told otherwise (`HOLDS_HEADERS`). So headers leave
when a coroutine that has them awaits the body. Reading them goes on to work, since they are kept.

A reader looks at what the coroutine's task says of the message (`_callback_tasks`), each time that more has come.
"""

from __future__ import annotations

from . import _abi
from ._serialization import decode_pairs
from ._state import find_context
from ._tasks import Future
from ._timers import timers_of
from .buffers import EVERYTHING
from .exceptions import BadArgument, BodyTooLarge, MisuseError
from .types import LogLevel, MapType, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any  # noqa: F401  # in `Future["Any"]`

    from ._callback_tasks import CallbackTask

HOLDS_HEADERS = b"PYFILTER_ALLOW_ON_HEADERS_STOP_ITERATION"
"""The variable of the VM's environment that says that `allow_on_headers_stop_iteration` is set for the plugin."""

HOW_TO_HOLD = (
    "that takes `allow_on_headers_stop_iteration: true` in the proxy's configuration of the plugin, and the variable "
    f"{HOLDS_HEADERS.decode()}=true in its VM's environment"
)


def holds_headers() -> bool:
    """Whether the environment says that the proxy shows a body whose headers are held back."""
    variables = dict(entry.partition(b"=")[::2] for entry in _abi.host.environ())
    return variables.get(HOLDS_HEADERS, b"").lower() in (b"1", b"true")


def _headers_of(stream_type: int) -> int:
    return MapType.HTTP_RESPONSE_HEADERS if stream_type == StreamType.HTTP_RESPONSE else MapType.HTTP_REQUEST_HEADERS


def _give_up_length(task: CallbackTask) -> None:
    """Remove the header content-length, if it can be: the length will not be known when the headers leave."""
    if task.has_headers:
        _abi.host.remove_header_map_value(_headers_of(task.stream_type), "content-length")


def _keep_headers(task: CallbackTask) -> None:
    """The headers will leave before the body is there: keep a copy, since they can be read no more then."""
    map_type = _headers_of(task.stream_type)
    headers = decode_pairs(_abi.host.get_header_map_pairs(map_type))
    task.context._abi_headers = {**(task.context._abi_headers or {}), map_type: headers}


class Reader(Future["Any"]):
    """Somebody waits for more of a body."""

    __slots__ = ("_task", "lets_go")

    def __init__(self, task: CallbackTask) -> None:
        super().__init__()
        self._task = task
        self.lets_go = False
        """Whether what is held must leave, so that more comes."""

    def look(self) -> None:
        """See whether what has arrived is enough."""
        raise NotImplementedError


class WholeBody(Reader):
    """Somebody waits for a whole body of at most so many bytes."""

    __slots__ = ("_hold_headers", "_max_bytes")

    def __init__(self, task: CallbackTask, max_bytes: int, hold_headers: bool) -> None:
        super().__init__(task)
        self._max_bytes = max_bytes
        self._hold_headers = hold_headers

    def look(self) -> None:
        """The body is there when all of the message is. What is too large is not waited for."""
        task = self._task
        size = task.size or self._announced()
        self.lets_go = False
        if size > self._max_bytes:
            what = "response" if task.stream_type == StreamType.HTTP_RESPONSE else "request"
            self.set_exception(BodyTooLarge(what, self._max_bytes, size))
        elif task.ends:
            self.set_result(_abi.host.get_buffer_bytes(task.stream_type, 0, EVERYTHING) if task.size else b"")
        elif task.has_headers and not task.context.plugin.holds_headers:
            if self._hold_headers:
                raise MisuseError(f"the headers cannot be held back until the body is there: {HOW_TO_HOLD}")
            self.lets_go = True
            _keep_headers(task)
            _give_up_length(task)
        elif task.has_headers and not task.context.plugin._abi_shows_bodies:
            timers_of(task.context).call_later(_DOUBT, self._doubt, task.context)

    def _doubt(self) -> None:
        """No part of the body has come, perhaps because the proxy is not as the environment says."""
        plugin = self._task.context.plugin
        if self.done or self._task.size or plugin._abi_shows_bodies:
            return
        plugin._abi_shows_bodies = True  # said once
        _abi.host.log(
            LogLevel.WARN,
            f"{plugin._abi_name}: a body has not come in {_DOUBT} seconds while its headers were held back. Unless its "
            "sender is that slow, it never will, because the proxy's configuration of the plugin lacks "
            f"`allow_on_headers_stop_iteration: true`, which {HOLDS_HEADERS.decode()} says is there",
        )

    def _announced(self) -> int:
        """The size that the headers give; 0 if they do not, or are gone."""
        if not self._task.has_headers or self._task.ends:
            return 0
        length = _abi.host.get_header_map_value(_headers_of(self._task.stream_type), "content-length") or ""
        return int(length) if length.isascii() and length.isdecimal() and len(length) <= _MOST_DIGITS else 0


_MOST_DIGITS = 18
_DOUBT = 5
"""For how many seconds a body may not come before it is said that this may have a reason."""


class Chunk:
    """A part of a body, as it has come. It leaves, as it is or replaced, when the next one is awaited."""

    __slots__ = ("_start", "_stop", "_task", "data")

    def __init__(self, task: CallbackTask, start: int, stop: int) -> None:
        self._task = task
        self._start = start
        self._stop = stop
        self.data: bytes = _abi.host.get_buffer_bytes(task.stream_type, start, stop - start)
        """The bytes that have come."""

    def replace(self, data: str | bytes) -> None:
        """Let these bytes go on in the chunk's place; b"" for none (`proxy_set_buffer_bytes`)."""
        new = data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")
        task = self._task
        held = _abi.host.get_buffer_bytes(task.stream_type, 0, EVERYTHING)
        _abi.host.set_buffer_bytes(task.stream_type, 0, EVERYTHING, held[: self._start] + new + held[self._stop :])
        grown = len(new) - (self._stop - self._start)
        self._stop += grown
        self.data = new
        task.seen += grown
        task.size = (task.size or 0) + grown

    def __bytes__(self) -> bytes:
        return self.data

    def __len__(self) -> int:
        return len(self.data)


class NextChunk(Reader):
    """Somebody waits for the next part of a body; None is the end of it."""

    __slots__ = ()

    def look(self) -> None:
        """What has come since the last part, if anything."""
        task = self._task
        size = task.size or 0
        _give_up_length(task)
        if size > task.seen:
            chunk = Chunk(task, task.seen, size)
            task.seen = size
            self.set_result(chunk)
        elif task.ends:
            self.set_result(None)
        else:
            self.lets_go = True
            if task.has_headers:
                _keep_headers(task)


def task_of(stream_type: StreamType) -> CallbackTask:
    """The coroutine that has the message of the effective context. Raises MisuseError if there is none."""
    context = find_context(_abi.host.get_effective_context())
    task: CallbackTask | None = (getattr(context, "_abi_waiting", None) or {}).get(stream_type)
    if task is None:
        direction = "response" if stream_type == StreamType.HTTP_RESPONSE else "request"
        raise MisuseError(
            f"a body can be awaited in `async def on_http_{direction}_headers`, `…_body` and `…_trailers`, and in "
            "coroutines that these await"
        )
    return task


def change_body(stream_type: StreamType, start: int, size: int, data: str | bytes) -> None:
    """Change the body that the proxy holds, and its length in the headers if they are held, too."""
    try:
        _abi.host.set_buffer_bytes(stream_type, start, size, data)
    except BadArgument:
        raise MisuseError(
            "there is no body here that could be changed: it is not held back by this callback, or the message has "
            "none, and a proxy adds none"
        ) from None
    context = find_context(_abi.host.get_effective_context())
    task: CallbackTask | None = (getattr(context, "_abi_waiting", None) or {}).get(stream_type)
    if task is None or task.size is None:
        return
    new_size = _abi.host.get_buffer_size(stream_type)
    task.seen = new_size if task.seen == task.size else min(task.seen, new_size)
    task.size = new_size
    if task.has_headers:
        name = _headers_of(stream_type)
        if _abi.host.get_header_map_value(name, "content-length") is not None:
            _abi.host.replace_header_map_value(name, "content-length", str(new_size))
