"""What becomes of exceptions that leave the user's code: they are logged, counted, and answered as the filter says.

Nothing leaves this module towards the proxy: a failure to report a failure is dropped.
"""

from __future__ import annotations

import time

from . import _abi, _traceback
from ._serialization import encode_pairs
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
_MOST_PLACES = 256
_MOST_FRAMES = 32


class _Place:
    """Where exceptions came from: when one was last logged, and how many have come since."""

    __slots__ = ("logged_at", "unlogged")

    def __init__(self, now: int) -> None:
        self.logged_at = now
        self.unlogged = 0


def report(context: Any, callback: str, exception: BaseException) -> None:
    """Log and count an exception that left a callback of a plugin or a stream; `context` None is the VM.

    Of one place the traceback is logged once, and after a while again, with the number of those in between.
    """
    if is_of_a_test(exception):
        raise exception
    plugin = getattr(context, "plugin", context)
    try:
        _count(plugin)
        repeated = _repeated(plugin, callback, exception)
        if repeated is not None:
            _log(getattr(plugin, "_abi_name", ""), callback, exception, repeated)
    except BaseException as second:  # such as no memory
        if is_of_a_test(second):
            raise


def _log(plugin: str, callback: str, exception: BaseException, repeated: str) -> None:
    prefix = f"{plugin}: " if plugin else ""
    if isinstance(exception, BodyTooLarge):
        _abi.host.log(LogLevel.WARN, f"{prefix}{exception}{repeated}")
        return
    text = _traceback.format_exception(exception)
    _abi.host.log(LogLevel.ERROR, f"{prefix}uncaught exception in {callback}{repeated}\n{text}")


def _count(plugin: Any) -> None:
    if plugin is None or not hasattr(plugin, "_abi_exceptions"):
        return
    try:
        if plugin._abi_exceptions is None:
            plugin._abi_exceptions = Counter(COUNTER, plugin=plugin._abi_name)
        plugin._abi_exceptions.increment()
    except Exception:  # noqa: S110  # an operator may forbid metrics; the log is more important
        pass


def _repeated(plugin: Any, callback: str, exception: BaseException) -> str | None:
    """What to add to the log's line, None if it is too early for another one."""
    places: dict[object, _Place] | None = getattr(plugin, "_abi_places", None)
    if places is None:
        return ""
    now = time.monotonic_ns()
    key = callback, type(exception), _frames(exception)
    place = places.get(key)
    if place is None:
        if len(places) >= _MOST_PLACES:
            places.clear()
        places[key] = _Place(now)
        return ""
    if now - place.logged_at < _QUIET:
        place.unlogged += 1
        return None
    seconds = (now - place.logged_at) // 1_000_000_000
    repeated = f", and {place.unlogged} more times in the last {seconds} seconds" if place.unlogged else ""
    place.logged_at, place.unlogged = now, 0
    return repeated


def _frames(exception: BaseException) -> tuple[tuple[str, int], ...]:
    """Where it came from, in short: the innermost frames may be another's for each of many recursions."""
    frames: list[tuple[str, int]] = []
    step = exception.__traceback__
    while step is not None and len(frames) < _MOST_FRAMES:
        frames.append((step.tb_frame.f_code.co_filename, step.tb_lineno or 0))
        step = step.tb_next
    return tuple(frames)


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
        """The arguments are those of `HttpContext.send_http_response`. Raises ValueError for wrong ones."""
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


def check_policy(where: str, policy: object) -> None:
    """Raises ValueError for what `on_error` cannot be."""
    if policy not in ("deny", "continue") and not isinstance(policy, Deny) and not callable(policy):
        raise ValueError(f'{where}: on_error is "deny", "continue", a Deny or a function, not {policy!r}')


def on_error(policy: Policy) -> Callable[[Any], Any]:
    """Decorate a callback of a stream with what an exception in it does, whatever the plugin's own `on_error` says.

    "deny", "continue", a `Deny`, or a function of the stream's context and the exception; see `http_filter`. Raises
    ValueError for anything else.
    """
    check_policy("@on_error", policy)

    def decorate(callback: Any) -> Any:
        callback._on_error = policy
        return callback

    return decorate


def policy_of(context: Any, method: str) -> Policy:
    """What an exception in a stream's callback does."""
    own = getattr(getattr(type(context), method, None), "_on_error", None)
    policy: Policy = context.plugin.on_error if own is None else own
    return policy


def answer(context: Any, method: str, exception: BaseException, stream_type: StreamType) -> int:
    """Do with a stream whose callback failed what its policy says. Returns the Action in place of the callback's.

    The stream's context is the effective one. What cannot be answered any more, since it was answered or closed in
    this very callback, stays as it is.
    """
    if context._abi_ended == _abi.host.get_call_number():
        return Action.PAUSE
    policy = policy_of(context, method)
    if policy == "continue":
        return Action.CONTINUE
    if callable(policy):
        try:
            action = policy(context, exception)
        except BaseException as second:  # the stream must not pass because of that
            report(context, "on_error", second)
        else:
            if action is None or (type(action) is not bool and action in (Action.CONTINUE, Action.PAUSE)):
                return action or Action.CONTINUE
            report(context, "on_error", TypeError(f"on_error returned {action!r}, not an Action or None"))
        if context._abi_ended == _abi.host.get_call_number():
            return Action.PAUSE
        policy = _DENY
    if isinstance(policy, Deny):
        return deny(context, policy, stream_type)
    is_too_large = isinstance(exception, BodyTooLarge) and stream_type in _TOO_LARGE
    return deny(context, _TOO_LARGE[stream_type] if is_too_large else _DENY, stream_type)


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


def deny_unknown(stream_type: StreamType) -> int:
    """Refuse a stream that has no context."""
    return deny(None, _DENY, stream_type)
