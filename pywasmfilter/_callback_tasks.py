"""Callbacks that are coroutines: what the proxy hears while they wait, and what happens to the message meanwhile.

A stream's callback that waits answers PAUSE, and the stream goes on when its coroutine has ended. Until then the
callbacks that follow in the same direction come to the coroutine's task, which takes the place of the class's methods
on this one context: more of a body for instance, if that is what the coroutine waits for. What came meanwhile and the
coroutine did not ask for, the class's own callbacks see afterwards.

What it means to wait for a body is in `_bodies`.
"""

from __future__ import annotations

from . import _abi, _errors
from ._state import contexts, find_context
from ._tasks import Task
from ._timers import timers_of
from .exceptions import CancelledError, HostcallError, MisuseError
from .types import Action, LogLevel, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from ._bodies import Reader

_STREAMS = {
    "on_http_request_headers": StreamType.HTTP_REQUEST,
    "on_http_request_body": StreamType.HTTP_REQUEST,
    "on_http_request_trailers": StreamType.HTTP_REQUEST,
    "on_http_response_headers": StreamType.HTTP_RESPONSE,
    "on_http_response_body": StreamType.HTTP_RESPONSE,
    "on_http_response_trailers": StreamType.HTTP_RESPONSE,
    "on_new_connection": StreamType.DOWNSTREAM,
    "on_downstream_data": StreamType.DOWNSTREAM,
    "on_upstream_data": StreamType.UPSTREAM,
}
"""The callbacks whose stream can be held back, and which of its directions that is."""

_FOLLOWING = {
    StreamType.HTTP_REQUEST: ("on_http_request_body", "on_http_request_trailers"),
    StreamType.HTTP_RESPONSE: ("on_http_response_body", "on_http_response_trailers"),
    StreamType.DOWNSTREAM: ("on_downstream_data", ""),
    StreamType.UPSTREAM: ("on_upstream_data", ""),
}
"""The callbacks that may come while another one of the same direction waits: for data, and for trailers."""


def on_coroutine(context: Any, method: str, coroutine: Coroutine[Any, Any, Any], last_argument: object) -> object:
    """A callback has returned a coroutine: run it as far as it goes. Returns the answer for the proxy.

    `last_argument` is the callback's, which for headers and bodies is whether the message ends with them.
    """
    if not hasattr(coroutine, "send"):
        return coroutine  # the shim refuses it
    context = find_context(context.context_id, context)
    if method in _STREAMS:
        return CallbackTask(context, method, coroutine, bool(last_argument)).begin()
    return _run_beside(context, method, coroutine)


def _run_beside(context: Any, method: str, coroutine: Coroutine[Any, Any, Any]) -> object:
    """A callback that holds nothing back: what is left of it at its first wait goes on as a task of the plugin."""
    plugin = getattr(context, "plugin", context)
    task = Task(plugin, coroutine, public_name(context, method))
    _abi.host.notify_deletes()
    if task.start_within():
        return task.result()
    if method == "_on_done" and plugin is context:
        task.when_done(_say_done)
        return False
    return None


def _say_done() -> None:
    try:
        _abi.host.done()
    except HostcallError as error:  # the proxy has not waited
        _abi.host.log(LogLevel.DEBUG, f"on_plugin_done ends after its plugin: {error}")


def public_name(context: Any, method: str) -> str:
    """What users call a callback."""
    if method == "_on_log":
        if hasattr(context, "on_log"):
            return "on_log"
        return "on_http_stream_done" if hasattr(context, "on_http_stream_done") else "on_stream_done"
    return _PUBLIC_NAMES.get(method, method)


_PUBLIC_NAMES = {
    "_on_configure": "on_plugin_start",
    "_on_done": "on_plugin_done",
    "_on_delete": "on_delete",
    "_on_tick": "on_tick",
    "_on_http_call_response": "the callback of an HTTP call",
    "_on_grpc_receive_initial_metadata": "a callback of a gRPC stream",
    "_on_grpc_receive": "the callback of a gRPC call",
    "_on_grpc_receive_trailing_metadata": "a callback of a gRPC stream",
    "_on_grpc_close": "the callback of a gRPC call",
}


class CallbackTask(Task["int | None"]):
    """A callback of a stream that is a coroutine, and what it holds back."""

    __slots__ = (
        *("_answering", "_arrived", "_ended_before", "_ends", "_headers_gone", "_holding", "_reader", "_replaces"),
        *("seen", "size", "stream_type"),
    )

    def __init__(
        self,
        context: Any,
        method: str,
        coroutine: Coroutine[Any, Any, int | None],
        ends: bool,
        arrived: list[tuple[str, tuple[Any, ...]]] | None = None,
    ) -> None:
        super().__init__(context, coroutine, method)
        self._heard = 1
        self.stream_type = _STREAMS[method]
        self._arrived = arrived or []
        """Callbacks with what has arrived since, and the coroutine has not asked for: their names and arguments."""
        self._ends = ends or method.endswith("_trailers") or bool(self._arrived)
        """Whether all of the message has arrived."""
        self._headers_gone = not method.endswith("_headers")
        self.size: int | None = None if self._headers_gone else 0
        """How many bytes of the body the proxy holds; None if it has to be asked."""
        self.seen = 0
        """How many of these the coroutine has been given as chunks."""
        self._reader: Reader | None = None
        self._answering = False
        """Whether a callback runs whose answer says how the message goes on."""
        self._holding = False
        """Whether the last answer was PAUSE, and nothing has let go since."""
        self._replaces = False
        """Whether the callbacks that follow come here."""
        self._ended_before = context._abi_ended

    # What the proxy hears

    def begin(self) -> int:
        """Run within the callback itself. Returns its answer."""
        if self.context._abi_waiting is None:
            self.context._abi_waiting = {}
        self.context._abi_waiting[self.stream_type] = self
        return self._step(self.start)

    def _step(self, go_on: Callable[[], object]) -> int:
        self._answering = True
        try:
            go_on()
        finally:
            self._answering = False
        action = self._close() if self.done else self._wait()
        self._holding = action == Action.PAUSE
        if action == Action.CONTINUE:
            self._has_left()
        self._watch_for_trailers()
        return action

    def _wait(self) -> int:
        """The answer while the coroutine waits."""
        if not self._replaces:
            self._take_place()
        reader = self._reader
        return Action.CONTINUE if reader is not None and not reader.done and reader.lets_go else Action.PAUSE

    def _take_place(self) -> None:
        self._replaces = True
        _abi.host.notify_deletes()
        data, trailers = _FOLLOWING[self.stream_type]
        setattr(self.context, data, self._on_data)
        if trailers:
            setattr(self.context, trailers, self._on_trailers)

    def _give_place(self) -> None:
        self.context._abi_waiting.pop(self.stream_type, None)
        if self._replaces:
            self._replaces = False
            data, trailers = _FOLLOWING[self.stream_type]
            delattr(self.context, data)
            if trailers:
                delattr(self.context, trailers)

    def _refuses_to_wait(self) -> BaseException | None:
        if self.stream_type is StreamType.UPSTREAM:
            return MisuseError("on_upstream_data cannot wait: proxies have no way to let it go on later")
        return None

    # What arrives while the coroutine waits

    def _on_data(self, size: int, end_of_stream: bool) -> int:
        self.size, self._ends = size, end_of_stream
        if not self._headers_gone:
            self.context.plugin._abi_shows_bodies = True
        if self._reader is None or self._reader.done:
            self._arrived = [(_FOLLOWING[self.stream_type][0], (size, end_of_stream))]
            return self._hold()
        return self._step(self._reader.look)

    def _on_trailers(self, num_trailers: int) -> int:
        self._ends = True
        self._arrived.append((_FOLLOWING[self.stream_type][1], (num_trailers,)))
        if self._reader is None or self._reader.done:
            return self._hold()
        return _after_resumed_headers(self.context, self.stream_type, self._step(self._reader.look))

    def _hold(self) -> int:
        self._holding = True
        return Action.PAUSE

    # The end

    def _finish_with(self, result: Any, failure: BaseException | None) -> None:
        super()._finish_with(result, failure)
        if self._replaces and not self._answering:
            if self.context._abi_over:
                self._give_place()
                if self._exception is not None and not isinstance(self._exception, CancelledError):
                    _errors.report(self.context, self.place, self._exception)
                return
            try:
                if self._close() == Action.CONTINUE:
                    self._let_go()
                self._watch_for_trailers()
            except HostcallError as error:  # the stream has gone in this very callback
                _abi.host.log(LogLevel.DEBUG, f"{self.place} has nothing to let go on: {error}")

    def _let_go(self) -> None:
        if self._holding:
            self._holding = False
            if not self._headers_gone and not self.context.plugin.holds_headers:
                self.context._abi_resumed |= 1 << self.stream_type
            _resume(self.context, self.stream_type)
        self._has_left()

    def _watch_for_trailers(self) -> None:
        """See `_after_resumed_headers`."""
        if self._ends or not self.context._abi_resumed & 1 << self.stream_type:
            return
        name = _FOLLOWING[self.stream_type][1]
        if name not in vars(self.context):
            setattr(self.context, name, _WATCHES[self.stream_type])

    def was_let_go(self) -> None:
        """Somebody else has let the message go on."""
        self._holding = False
        self._has_left()

    def _has_left(self) -> None:
        self._headers_gone = True
        self.size = self.seen = 0

    def _close(self) -> int:
        """What the coroutine's end means for the message; the class's own callbacks see now what has arrived."""
        self._give_place()
        action = self._action()
        while self._arrived and not self._was_ended():
            name, arguments = self._arrived.pop(0)
            action = _make(self.context, self.stream_type, name, arguments, self._arrived)
            if self.stream_type in self.context._abi_waiting:
                return action  # that callback waits in turn, and has the rest
        return Action.PAUSE if self._was_ended() else action

    def _was_ended(self) -> bool:
        """Whether the stream has been answered or closed since the callback began."""
        return self.context._abi_ended != self._ended_before  # type: ignore[no-any-return]

    def _action(self) -> int:
        error, self._exception, self._traceback = self._exception, None, None  # its frames lead to this task
        try:
            if error is None:
                return _checked(self.result())
        except TypeError as wrong:
            error = wrong.with_traceback(None)  # it has no place in the user's code
        return _failed(self.context, self.stream_type, self.place, error)

    # Bodies

    def read(self, reader: Reader) -> None:
        """Begin to read the body. Raises MisuseError if it is being read already."""
        if self._reader is not None and not self._reader.done:
            raise MisuseError("this body is being read already")
        if self.size is None:
            self.size = _abi.host.get_buffer_size(self.stream_type)
        reader.look()
        self._reader = reader
        self._arrived = [callback for callback in self._arrived if callback[0].endswith("_trailers")]
        if not reader.done and not self._answering and reader.lets_go:
            self._let_go()

    @property
    def ends(self) -> bool:
        """Whether all of the message has arrived."""
        return self._ends

    @property
    def has_headers(self) -> bool:
        """Whether the headers have not left yet, so that they can be changed."""
        return not self._headers_gone


def _make(
    context: Any,
    stream_type: StreamType,
    name: str,
    arguments: tuple[Any, ...],
    later: list[tuple[str, tuple[Any, ...]]],
) -> int:
    """Make a callback that was put off. Returns its answer. A coroutine takes what has come `later`."""
    try:
        answer = getattr(context, name)(*arguments)
        if hasattr(answer, "send"):
            taken, later[:] = later[:], []
            return CallbackTask(context, name, answer, bool(arguments[-1]), taken).begin()
        return _checked(answer)
    except BaseException as error:  # as for every callback
        return _failed(context, stream_type, name, error)


def _failed(context: Any, stream_type: StreamType, method: str, error: BaseException) -> int:
    _errors.report(context, method, error)
    return _errors.answer(context, getattr(type(context), method, None), error, stream_type)


def _resume(context: Any, stream_type: StreamType) -> None:
    """Let a stream go on, unless somebody has already done so."""
    if context._abi_paused & 1 << stream_type:
        context._abi_paused &= ~(1 << stream_type)
        _abi.host.continue_stream(stream_type)


def _after_resumed_headers(context: Any, stream_type: StreamType, action: int) -> int:
    """The answer for trailers whose callback has answered `action`.

    Envoy loses a body that was held back, if headers were resumed, the trailers had arrived by then, and they go on at
    once. So they go on a little later.
    """
    bit = 1 << stream_type
    if action == Action.CONTINUE and context._abi_resumed & bit and context._abi_paused & bit:
        timers_of(context).call_later(0, _Resume(context, stream_type), context)
        return Action.PAUSE
    return action


class _Resume:
    """What a timer calls to let a stream go on."""

    __slots__ = ("_context", "_stream_type")

    def __init__(self, context: Any, stream_type: StreamType) -> None:
        self._context = context
        self._stream_type = stream_type

    def __call__(self) -> None:
        _resume(self._context, self._stream_type)


def _watching_trailers(stream_type: StreamType) -> Callable[[int], int]:
    """What stands in place of a context's callback for trailers once its headers were resumed."""
    name = _FOLLOWING[stream_type][1]

    def on_trailers(num_trailers: int) -> int:
        context = contexts[_abi.host.get_effective_context()]  # no reference to it, which would be one to itself
        delattr(context, name)
        return _after_resumed_headers(context, stream_type, _make(context, stream_type, name, (num_trailers,), []))

    return on_trailers


_WATCHES = {
    stream_type: _watching_trailers(stream_type) for stream_type in (StreamType.HTTP_REQUEST, StreamType.HTTP_RESPONSE)
}


def _checked(answer: object) -> int:
    """An answer as an Action. Raises TypeError for what is none."""
    if answer is None:
        return Action.CONTINUE
    if type(answer) is bool or answer not in (Action.CONTINUE, Action.PAUSE):
        raise TypeError(f"the callback returned {answer!r}, not an Action or None")
    return answer  # type: ignore[return-value]  # it is 0 or 1
