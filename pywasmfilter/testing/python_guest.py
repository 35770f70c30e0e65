"""A filter as plain Python: the SDK runs here as it does in a module, and this stands where the compiled shim is there.

Each VM imports the filter's own modules anew, since a module begins its life afresh in each; what they import from
elsewhere is shared with the test. While a callback runs, the SDK's state is that of its VM (`sdk_state`), and the
filter finds what it would in a module (`surroundings`). A debugger, breakpoints and coverage work as everywhere.
"""

from __future__ import annotations

import bdb
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pywasmfilter import _callbacks, _dispatcher, registry
from pywasmfilter._state import contexts
from pywasmfilter.contexts import HttpContext, PluginContext, TcpContext
from pywasmfilter.types import Action, StreamType

from .filter_modules import FilterModules
from .plugin import Refused
from .python_host import PythonHost, Running
from .sdk_state import SdkState
from .surroundings import Surroundings

if TYPE_CHECKING:
    from .vm import VM

_PASSED_ON: Final = (KeyboardInterrupt, bdb.BdbQuit)
"""Exceptions that are not the filter's."""

_INTERNAL: Final = {
    "proxy_on_configure": "_on_configure",
    "proxy_on_done": "_on_done",
    "proxy_on_log": "_on_log",
    "proxy_on_http_call_response": "_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata": "_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive": "_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata": "_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close": "_on_grpc_close",
}
_METHODS: Final = {
    callback: method
    for methods in (_callbacks.METHODS[kind] for kind in (PluginContext, HttpContext, TcpContext))
    for callback, method in methods.items()
} | _INTERNAL
"""Callback → method of the context, as in the shim."""

_STREAMS: Final = {
    "proxy_on_request_headers": StreamType.HTTP_REQUEST,
    "proxy_on_request_body": StreamType.HTTP_REQUEST,
    "proxy_on_request_trailers": StreamType.HTTP_REQUEST,
    "proxy_on_response_headers": StreamType.HTTP_RESPONSE,
    "proxy_on_response_body": StreamType.HTTP_RESPONSE,
    "proxy_on_response_trailers": StreamType.HTTP_RESPONSE,
    "proxy_on_new_connection": StreamType.DOWNSTREAM,
    "proxy_on_downstream_data": StreamType.DOWNSTREAM,
    "proxy_on_upstream_data": StreamType.UPSTREAM,
}
"""Which stream a callback's answer can pause."""

_METADATA: Final = ("proxy_on_request_metadata", "proxy_on_response_metadata")
_BOOLEAN: Final = ("proxy_on_configure", "proxy_on_done")
_FLAG: Final = ("_headers", "_body", "_data")
"""Callbacks whose last argument is `end_of_stream`."""


class PythonGuest:
    """A VM's filter. Raises Refused if its modules cannot be imported, or register no plugin."""

    abi = "0.2.1"
    callbacks = frozenset({"proxy_on_context_create", "proxy_on_vm_start", "proxy_on_delete", *_METHODS})

    def __init__(self, paths: Sequence[Path], vm: VM) -> None:
        self._host = PythonHost(vm)
        self._calls = 0
        self._state = SdkState(self._host)
        self._modules = FilterModules(paths)
        self._surroundings = Surroundings(vm)
        with self._inside():
            known = _contexts()
            try:
                self._modules.load()
                _check_callbacks(_contexts() - known)
            except _PASSED_ON:
                raise
            except BaseException as error:
                raise Refused(f"{self._modules.name} cannot be imported: {type(error).__name__}: {error}") from error
            self._state.plugins_of_other_modules(self._modules)
            if not registry.plugins:
                raise Refused(f"{self._modules.name} registers no plugin")

    def call(self, callback: str, context_id: int, *arguments: int) -> int | None:
        """What a callback answers, which for an exception in it is what the dispatcher makes of that."""
        with self._inside():
            outer, self._host.running = self._host.running, self._running(callback, context_id)
            try:
                return self._call(callback, context_id, arguments)
            finally:
                self._host.running = outer

    def _running(self, callback: str, context_id: int) -> Running:
        self._calls += not self._host.running.calling
        return Running(context_id, context_id, int(_STREAMS.get(callback, -1)), self._calls)

    def _call(self, callback: str, context_id: int, arguments: tuple[int, ...]) -> int | None:
        if callback == "proxy_on_context_create":
            _dispatcher.on_context_create(context_id, *arguments)
            return None
        if callback == "proxy_on_vm_start":
            return int(_dispatcher.on_vm_start(context_id, *arguments))
        if callback == "proxy_on_delete":
            self._call_method("_on_delete", callback, context_id, ())
            contexts.pop(context_id, None)
            return None
        values: tuple[Any, ...] = arguments
        if callback.endswith(_FLAG):
            values = (*arguments[:-1], bool(arguments[-1]))
        return self._call_method(_METHODS[callback], callback, context_id, values)

    def _call_method(self, method: str, callback: str, context_id: int, arguments: tuple[Any, ...]) -> int | None:
        context = contexts.get(context_id)
        if context is None:
            return _answer_without(callback, known=context_id in contexts)
        try:
            answer = _number(callback, getattr(context, method)(*arguments))
        except _PASSED_ON:
            raise
        except BaseException as exception:  # noqa: BLE001  # nothing else passes, as in a module
            return _number(callback, _dispatcher.on_exception(context, method, exception))
        if answer == Action.PAUSE and (stream_type := _STREAMS.get(callback)) is not None:
            context._abi_paused |= 1 << stream_type  # noqa: SLF001  # as the shim does
        return answer

    def _inside(self) -> Any:
        return _Inside(self._state, self._modules, self._surroundings)

    def write_memory(self, _address: int, _data: bytes) -> None:
        """There is no memory to write to."""
        raise AssertionError("plain Python has no memory")

    def close(self) -> None:
        """Let go of the filter."""
        self._state.forget()


class _Inside:
    """For as long as a callback runs: the SDK's state, the filter's modules and its surroundings are in place."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __enter__(self) -> None:
        for part in self._parts:
            part.enter()

    def __exit__(self, *_: object) -> None:
        for part in reversed(self._parts):
            part.leave()


def _answer_without(callback: str, *, known: bool) -> int | None:
    """For a stream that its plugin does not look at, and one whose context could not be created."""
    if callback in _STREAMS or callback in _METADATA:
        return Action.CONTINUE if known else Action.PAUSE
    return int(callback == "proxy_on_done" or known) if callback in _BOOLEAN else None


def _number(callback: str, result: Any) -> int | None:
    """The number in a callback's answer; None means that it goes on. TypeError for what is none, as in the shim."""
    is_action = callback in _STREAMS or callback in _METADATA
    if not is_action and callback not in _BOOLEAN:
        return None
    if result is None:
        return Action.CONTINUE if is_action else 1
    expected = "an Action or None" if is_action else "True, False or None"
    wrong = not isinstance(result, int) or (is_action and (isinstance(result, bool) or result not in (0, 1)))
    if wrong:
        raise TypeError(f"the callback returned {result!r}, not {expected}")
    return int(result)


def _check_callbacks(classes: set[type[Any]]) -> None:
    """Raises TypeError for classes that a build would refuse."""
    for base in _callbacks.METHODS:
        for cls in classes:
            if issubclass(cls, base):
                _callbacks.check_names(cls, base)


def _contexts() -> set[type[Any]]:
    """All classes of contexts in this process, those of other VMs too."""
    found = set[type[Any]]()
    unseen: list[type[Any]] = list(_callbacks.METHODS)
    while unseen:
        subclasses = unseen.pop().__subclasses__()
        found.update(subclasses)
        unseen += subclasses
    return found
