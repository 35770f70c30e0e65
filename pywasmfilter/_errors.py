"""What becomes of exceptions that leave the user's code: they are logged, counted, and answered as the filter says.

Nothing leaves this module towards the proxy. What cannot even be described is counted, and the log says so.
"""

from __future__ import annotations

import time

from . import _abi, _traceback
from ._serialization import encode_pairs
from ._state import contexts, find_context
from .exceptions import BodyTooLarge
from .metrics import Counter
from .types import Action, LogLevel, StreamType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeAlias

    Text = str | bytes
    Policy: TypeAlias = "str | Deny | Callable[[Any, BaseException], int | None]"

COUNTER = "pywasmfilter_exceptions"
"""The metric that counts exceptions, with the tag `plugin`."""


def _never(_exception: BaseException) -> bool:
    return False


is_of_a_test: Callable[[BaseException], bool] = _never
"""Whether an exception is not the filter's but ends the test in which it runs; `testing` says so."""


# Reports


_QUIET = 10_000_000_000
"""For so many nanoseconds after an exception was logged, others from the same place are only counted."""
_MOST_PLACES = 64
"""How many places are told apart; what comes from further ones is one more place."""
_LONGEST_TEXT = 16_384
"""How many characters of a report are logged: messages of exceptions may be what a client has sent."""


def report(context: Any, callback: str, exception: BaseException) -> None:
    """Log and count an exception that left the user's code; `context` is a plugin, a stream, or None for the VM."""
    if is_of_a_test(exception):
        raise exception
    reports: Reports | None = None
    try:
        reports = getattr(getattr(context, "plugin", context), "_abi_reports", None) or Reports("")
        reports.uncounted += 1
        make_room(exception)
        reports.add(callback, exception)
        if _Reserve.memory is None:
            _keep_reserve()
    except BaseException as second:  # no memory, no stack, or an exception that cannot be described
        if reports is not None:
            reports.lost += 1
        if is_of_a_test(second):
            raise
        if reports is not None:
            reports.tell_lost()


class _Reserve:
    """Memory for dealing with the exception that says that there is none."""

    SIZE = 1 << 16
    memory: bytearray | None = bytearray(SIZE)


def make_room(exception: BaseException) -> None:
    """If the memory is used up: free what the exception's frames hold, so that there is some to deal with it."""
    if isinstance(exception, MemoryError):
        _Reserve.memory = None
        _traceback.let_go(exception)


def _keep_reserve() -> None:
    try:
        _Reserve.memory = bytearray(_Reserve.SIZE)
    except MemoryError:
        return  # the next report tries again


def report_here(callback: str, exception: BaseException) -> None:
    """Report what belongs to no callback that is known; it goes to the plugin of the effective context."""
    context = find_context(_abi.host.get_effective_context())
    if context is None:
        context = next((plugin for plugin in contexts.values() if hasattr(plugin, "_abi_reports")), None)
    report(context, callback, exception)


def report_unraisable(unraisable: Any) -> None:
    """sys.unraisablehook: an exception where nobody can catch it, such as in `__del__`."""
    report_here("a finalizer", unraisable.exc_value or unraisable.exc_type())


class _Place:
    """Where exceptions came from lately: since when, and how many were not logged."""

    __slots__ = ("level", "since", "title", "unlogged")

    def __init__(self, level: LogLevel, since: int, title: tuple[str, str]) -> None:
        self.level = level
        self.since = since
        self.title = title
        """What the log says before and after their number."""
        self.unlogged = 0


class Reports:
    """The exceptions of a plugin in one VM.

    Of each place the first one is logged, with its traceback. Those of the next ten seconds are counted; then their
    number is logged, and the place is forgotten. So neither the log nor the memory can be filled from outside.
    """

    __slots__ = ("_counter", "_later", "_name", "_places", "_prefix", "_told_lost", "_waits", "lost", "uncounted")

    def __init__(self, name: str, later: Callable[[float, Callable[[], None]], object] | None = None) -> None:
        """`later` calls a function in some seconds."""
        self._name = name
        self._prefix = f"{name}: " if name else ""
        self._later = later
        self._waits = False
        self._places: dict[object, _Place] = {}  # the oldest first
        self._counter: Counter | None = None
        self.uncounted = 0
        """How many exceptions the metric does not know of yet."""
        self.lost = 0
        """How many could not be described, and have not been mentioned yet."""
        self._told_lost = -_QUIET

    def add(self, callback: str, exception: BaseException) -> None:
        """Log or count an exception, whatever can be raised by looking at it."""
        self._count()
        now = time.monotonic_ns()
        self._close(now)
        ends = _traceback.ends(exception)
        key: object = callback, _traceback.type_name(exception), ends
        if key not in self._places and len(self._places) >= _MOST_PLACES:
            key = None
        place = self._places.get(key)
        if place is None:
            self._log_first(key, callback, exception, now)
        else:
            place.unlogged += 1
            self._wait()

    def _log_first(self, key: object, callback: str, exception: BaseException, now: int) -> None:
        too_large = isinstance(exception, BodyTooLarge)
        level = LogLevel.WARN if too_large else LogLevel.ERROR
        title = (f"in {callback}", _traceback.type_name(exception) + _traceback.innermost(exception))
        if key is None:
            title = (f"in more than {_MOST_PLACES} places", "the last traceback is of one of them")
        self._places[key] = _Place(level, now, title)
        if too_large:
            self._log(level, str(exception))
        else:
            self._log(level, f"uncaught exception in {callback}\n{_traceback.format_exception(exception)}")

    def _log(self, level: LogLevel, text: str) -> None:
        if len(text) > _LONGEST_TEXT:
            half = _LONGEST_TEXT // 2
            text = f"{text[:half]}\n… {len(text) - 2 * half} characters …\n{text[-half:]}"
        _abi.host.log(level, self._prefix + text)

    def _count(self) -> None:
        if not self._name:
            return
        try:
            if self._counter is None:
                self._counter = Counter(COUNTER, plugin=self._name)
            self._counter.increment(self.uncounted)
        except Exception:
            return  # an operator may forbid metrics; the log is more important
        self.uncounted = 0

    def tell_lost(self) -> None:
        """Say that there are exceptions which could not be described, unless that was said lately."""
        try:
            now = time.monotonic_ns()
            if self.lost and now - self._told_lost >= _QUIET:
                self._told_lost = now
                self._log(LogLevel.ERROR, f"uncaught exceptions that cannot be described: {self.lost}")
                self.lost = 0
            self._wait()
        except BaseException as second:  # said the next time
            if is_of_a_test(second):
                raise

    # What was not logged

    def _close(self, now: int) -> None:
        """Forget the places whose time is over, and log the numbers of those that were not logged."""
        while self._places:
            key, place = next(iter(self._places.items()))
            if now - place.since < _QUIET:
                break
            del self._places[key]
            if place.unlogged:
                before, after = place.title
                seconds = (now - place.since) // 1_000_000_000
                times = f"{place.unlogged} more {'time' if place.unlogged == 1 else 'times'} in {seconds} seconds"
                self._log(place.level, f"uncaught exception {before}, {times}: {after}")
        if self.lost:
            self.tell_lost()

    def _wait(self) -> None:
        """Make sure that `_close` is called when the oldest place's time is over."""
        if self._waits or self._later is None:
            return
        self._waits = True
        since = next((place.since for place in self._places.values() if place.unlogged), time.monotonic_ns())
        try:
            self._later(max(0, since + _QUIET - time.monotonic_ns()) / 1_000_000_000, self._time_is_over)
        except Exception:
            return  # an operator may forbid timers: then the next exception brings the number

    def _time_is_over(self) -> None:
        self._waits = False
        self._close(time.monotonic_ns())
        if self.lost or any(place.unlogged for place in self._places.values()):
            self._wait()


# Answers


class Deny:
    """What `on_error` may be: refuse a stream whose callback failed, with this response.

    A TCP connection is closed instead, and an HTTP stream whose response has begun is reset.
    """

    __slots__ = ("body", "details", "grpc_status", "headers", "status")

    def __init__(
        self,
        status: int = 500,
        headers: Iterable[tuple[Text, Text]] = (),
        body: Text = "Internal Server Error",
        *,
        grpc_status: int = -1,
        details: str = "pywasmfilter_exception",
    ) -> None:
        """The arguments are those of `HttpContext.send_http_response`. Raises ValueError or TypeError for others."""
        for name, number in ("status", status), ("grpc_status", grpc_status):
            if not isinstance(number, int):
                raise TypeError(f"Deny: {name} is a number, not {number!r}")
        for name, text in ("body", body), ("details", details):
            if not isinstance(text, str | bytes):
                raise TypeError(f"Deny: {name} is str or bytes, not {text!r}")
        if not 200 <= status <= 599:
            raise ValueError(f"the status of a response is 200 to 599, not {status}")
        if not -1 <= grpc_status <= 16:
            raise ValueError(f"a gRPC status is 0 to 16, or -1 for none, not {grpc_status}")
        self.status = status
        self.headers = encode_pairs(headers)
        self.body = body
        self.grpc_status = grpc_status
        self.details = details

    def __repr__(self) -> str:
        return f"Deny({self.status})"


_DENY = Deny()
_TOO_LARGE = {
    StreamType.HTTP_REQUEST: Deny(413, body="Payload Too Large", details="pywasmfilter_body_too_large"),
    StreamType.HTTP_RESPONSE: Deny(502, body="Bad Gateway", details="pywasmfilter_body_too_large"),
}
_NOT_PLAIN = 0x20 | 0x80 | 0x100 | 0x200
"""CO_GENERATOR, CO_COROUTINE, CO_ITERABLE_COROUTINE, CO_ASYNC_GENERATOR"""


def is_plain(function: object) -> bool:
    """Whether calling a function runs it, which is not so for coroutine functions and generators."""
    return not getattr(getattr(function, "__code__", None), "co_flags", 0) & _NOT_PLAIN


def check_policy(where: str, policy: object) -> None:
    """Raises ValueError for what `on_error` cannot be."""
    if isinstance(policy, Deny) or policy in ("deny", "continue"):
        return
    is_function = callable(policy) and not isinstance(policy, type)
    if not is_function:
        raise ValueError(f'{where}: on_error is "deny", "continue", a Deny or a function, not {policy!r}')
    if not is_plain(policy):
        raise ValueError(
            f"{where}: a function for on_error is a plain one, since the proxy waits for the answer. It can answer "
            "PAUSE and leave the rest to a coroutine: context.create_task(…)"
        )


def on_error(policy: Policy) -> Callable[[Any], Any]:
    """Decorate a callback of a stream with what an exception in it does, whatever the plugin's own `on_error` says.

    "deny", "continue", a `Deny`, or a function of the stream's context and the exception; see `http_filter`. The
    callback may also be that of a call (`dispatch_http_call`), or one of a `GrpcStream`. Raises ValueError for another
    policy, TypeError for what is no function.
    """
    check_policy("@on_error", policy)

    def decorate(callback: Any) -> Any:
        if isinstance(callback, staticmethod | classmethod) or not callable(callback):
            raise TypeError(f"@on_error is for functions, and stands below @staticmethod and its like: {callback!r}")
        if hasattr(callback, "_on_error"):
            raise TypeError(f"there is another @on_error at {callback!r}, or at the function that it is made of")
        callback._on_error = policy
        return callback

    return decorate


def answer(context: Any, callback: object, exception: BaseException, stream_type: StreamType) -> int:
    """Do with a stream whose callback failed what its policy says. Returns the Action in place of the callback's.

    The stream's context is the effective one. What cannot be answered any more, since it was answered or closed in
    this very callback, stays as it is.
    """
    if _was_ended(context):
        return Action.PAUSE
    own = getattr(callback, "_on_error", None)
    policy: Policy = context.plugin.on_error if own is None else own
    if policy == "continue":
        return Action.CONTINUE
    if isinstance(policy, Deny):
        return deny(context, policy, stream_type)
    if callable(policy):
        action = _ask(policy, context, exception)
        if _was_ended(context):
            return Action.PAUSE
        if action is not None:
            return action
    is_too_large = isinstance(exception, BodyTooLarge) and stream_type in _TOO_LARGE
    return deny(context, _TOO_LARGE[stream_type] if is_too_large else _DENY, stream_type)


def _was_ended(context: Any) -> bool:
    """Whether the running callback has answered or closed its stream."""
    return context._abi_ended == _abi.host.get_call_number()  # type: ignore[no-any-return]


def _ask(policy: Callable[[Any, BaseException], object], context: Any, exception: BaseException) -> int | None:
    """The Action that a function answers; None if it fails, or answers what is none: the stream must not pass then."""
    try:
        action = policy(context, exception)
        if action is None:
            return Action.CONTINUE
        if type(action) is not bool and action in (Action.CONTINUE, Action.PAUSE):
            return action  # type: ignore[return-value]  # it is 0 or 1
        wrong: BaseException = TypeError(f"on_error returned {action!r}, not an Action or None")
        if hasattr(action, "close"):
            action.close()  # a coroutine, which nobody will run
    except BaseException as second:
        wrong = second
    report(context, "on_error", wrong)
    return None


def deny(context: Any, response: Deny, stream_type: StreamType) -> int:
    """Answer, or close the client's connection. Returns Action.PAUSE. `context` None is a stream without one.

    The proxy resets an HTTP stream whose response is on its way already.
    """
    if stream_type > StreamType.HTTP_RESPONSE:
        _abi.host.close_stream(StreamType.DOWNSTREAM)
        return Action.PAUSE
    if context is not None:
        context.answered = True
        context._abi_ended = _abi.host.get_call_number()
    _abi.host.send_local_response(
        response.status, response.details, response.body, response.headers, response.grpc_status
    )
    return Action.PAUSE


def deny_unknown(stream_type: StreamType, policy: object = None) -> int:
    """Refuse a stream that has no context."""
    return deny(None, policy if isinstance(policy, Deny) else _DENY, stream_type)
