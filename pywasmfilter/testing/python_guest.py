"""A filter as plain Python: the SDK runs here as it does in a module, and this stands where the compiled shim is there.

Each VM imports the filter's own modules anew, since a module begins its life afresh in each; what they import from
elsewhere is shared with the test. While a callback runs, the SDK's state is that of its VM (`sdk_state`), and the
filter finds what it would in a module (`surroundings`). A debugger, breakpoints and coverage work as everywhere.
"""

from __future__ import annotations

import bdb
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pywasmfilter import _abi, _callback_tasks, _callbacks, _dispatcher, registry
from pywasmfilter._state import contexts
from pywasmfilter.callouts import GrpcStream
from pywasmfilter.contexts import Context, HttpContext, PluginContext, TcpContext, VMContext
from pywasmfilter.types import Action, LogLevel, StreamType

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
    "proxy_on_tick": "_on_tick",
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
_ACTIONS: Final = {*_STREAMS, *_METADATA}
_BASES: Final[tuple[type[Any], ...]] = (VMContext, GrpcStream, *_callbacks.METHODS)
_SDK: Final = "pywasmfilter."
_FAILED: Final = b"a callback failed, and so did the handling of its exception"
_BOOLEAN: Final = ("proxy_on_configure", "proxy_on_done")
_FLAG: Final = ("_headers", "_body", "_data")
"""Callbacks whose last argument is `end_of_stream`."""


class PythonGuest:
    """A VM's filter. Raises Refused if its modules cannot be imported, or register no plugin."""

    abi = "0.2.1"

    def __init__(self, paths: Sequence[Path], vm: VM) -> None:
        self._vm = vm
        self._host = PythonHost(vm, self._outside)
        self._calls = 0
        self._state = SdkState(self._host, _is_of_the_test)
        self._modules = FilterModules(paths)
        self._surroundings = Surroundings(vm)
        self.callbacks = self._load()

    def _load(self) -> frozenset[str]:
        """Import the filter as a build does; gives the callbacks that a module of it would export."""
        known = _contexts()
        _abi.building = True
        try:
            with self._inside():
                self._modules.load()
                self._state.plugins_of_other_modules(self._modules)
                _check_plugins(self._modules.name)
                return _export(_contexts() - known | _of_packages())
        except Refused:
            raise
        except BaseException as error:
            if _is_of_the_test(error):
                raise
            raise Refused(f"{self._modules.place_of(error)}: {type(error).__name__}: {error}") from error
        finally:
            _abi.building = False

    def call(self, callback: str, context_id: int, *arguments: int) -> int | None:
        """What a callback answers, which for an exception in it is what the dispatcher makes of that."""
        with self._inside():
            outer, self._host.running = self._host.running, self._running(callback, context_id)
            try:
                return self._call(callback, context_id, arguments)
            except Exception:  # noqa: BLE001  # as in the shim, what could slip through is stopped
                return self._fall_back(callback, context_id)
            finally:
                self._host.running = outer

    def _running(self, callback: str, context_id: int) -> Running:
        self._calls += not self._host.running.calling
        return Running(context_id, context_id, int(_STREAMS.get(callback, -1)), self._calls)

    def _call(self, callback: str, context_id: int, arguments: tuple[int, ...]) -> int | None:
        if callback == "proxy_on_context_create":
            self._host.streams_begun += arguments[0] != 0
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
            return self._answer_without(callback, context_id)
        try:
            result = getattr(context, method)(*arguments)
            if result is not None and not isinstance(result, int):
                last_argument = arguments[-1] if arguments else None
                result = _callback_tasks.on_coroutine(context, method, result, last_argument)
            answer = _number(callback, result)
        except BaseException as exception:
            if _is_of_the_test(exception):
                raise
            below = exception.__traceback__.tb_next if exception.__traceback__ is not None else None
            return _number(callback, _dispatcher.on_exception(context, method, exception.with_traceback(below)))
        if answer == Action.PAUSE and (stream_type := _STREAMS.get(callback)) is not None:
            context._abi_paused |= 1 << stream_type  # noqa: SLF001  # as the shim does
        return answer

    def _answer_without(self, callback: str, context_id: int) -> int | None:
        """For a stream that its plugin does not look at, and for a context that could not be created."""
        if context_id not in contexts and (callback in _ACTIONS or callback == "proxy_on_configure"):
            return self._fall_back(callback, context_id)
        if callback in _ACTIONS:
            return Action.CONTINUE
        return 1 if callback in _BOOLEAN else None

    def _fall_back(self, callback: str, context_id: int) -> int | None:
        """A callback's answer if Python gives none that can be used; the shim's function of that name."""
        self._vm.answer("proxy_log", (LogLevel.CRITICAL, _FAILED))
        if callback not in _ACTIONS:
            return int(callback == "proxy_on_done")
        self._vm.answer("proxy_set_effective_context", (context_id,))
        if callback in _METADATA or _STREAMS[callback] <= StreamType.HTTP_RESPONSE:
            self._vm.answer("proxy_send_local_response", (500, b"", b"", b"", 0xFFFF_FFFF))
        else:
            self._vm.answer("proxy_close_stream", (int(StreamType.DOWNSTREAM),))
        return Action.PAUSE

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """For as long as the filter runs: the SDK's state, the filter's modules and its surroundings are in place."""
        with ExitStack() as stack:
            for part in self._parts():
                stack.callback(part.leave)
                part.enter()
            yield

    @contextmanager
    def _outside(self) -> Iterator[None]:
        """For as long as a host function runs code of the test: all is as the test left it."""
        for part in reversed(self._parts()):
            part.leave()
        try:
            yield
        finally:
            for part in self._parts():
                part.enter()

    @contextmanager
    def plugins(self) -> Iterator[dict[str, type[PluginContext]]]:
        """The filter's plugins by name, for as long as its modules are those that imports give."""
        with self._inside():
            yield registry.plugins

    def _parts(self) -> tuple[SdkState, FilterModules, Surroundings]:
        return self._state, self._modules, self._surroundings

    def write_memory(self, _address: int, _data: bytes) -> None:
        """There is no memory to write to."""
        raise AssertionError("plain Python has no memory")

    def close(self) -> None:
        """Let go of the filter."""
        self._state.forget()


def _number(callback: str, result: Any) -> int | None:
    """The number in a callback's answer; None means that it goes on. TypeError for what is none, as in the shim."""
    is_action = callback in _ACTIONS
    if not is_action and callback not in _BOOLEAN:
        return None
    if result is None:
        return Action.CONTINUE if is_action else 1
    expected = "an Action or None" if is_action else "True, False or None"
    wrong = not isinstance(result, int) or (is_action and (isinstance(result, bool) or result not in (0, 1)))
    if wrong:
        raise TypeError(f"the callback returned {result!r}, not {expected}")
    return int(result)


def _check_plugins(name: str) -> None:
    if not registry.plugins:
        raise Refused(f"{name} registers no plugin")


def _export(classes: set[type[Any]]) -> frozenset[str]:
    """The callbacks that a module with these classes exports. Raises TypeError for classes that a build refuses."""
    names = set(_callbacks.ALWAYS)
    for cls in classes:
        _callbacks.check_names(cls, next(base for base in _BASES if issubclass(cls, base)))
        names |= _callbacks.of_class(cls)
    _callbacks.exported = frozenset(names)
    _callbacks.notifies_deletes = any(
        issubclass(cls, Context) and cls.on_delete is not Context.on_delete for cls in classes
    )
    return _callbacks.exported


def _of_packages() -> set[type[Any]]:
    """The classes of contexts in modules that all VMs share, such as those of installed packages."""
    found = {(cls, sys.modules.get(cls.__module__)) for cls in _contexts() if not cls.__module__.startswith(_SDK)}
    return {cls for cls, module in found if getattr(module, cls.__qualname__, None) is cls}


def _is_of_the_test(error: BaseException) -> bool:
    """Whether an exception ends the test, and is not the filter's: a debugger's, a user's, pytest's own."""
    outcomes = sys.modules.get("_pytest.outcomes")
    return isinstance(error, (*_PASSED_ON, *([outcomes.OutcomeException] if outcomes else [])))


def _contexts() -> set[type[Any]]:
    """All classes of contexts in this process, those of other VMs too."""
    found = set[type[Any]]()
    unseen: list[type[Any]] = list(_BASES)
    while unseen:
        subclasses = unseen.pop().__subclasses__()
        found.update(subclasses)
        unseen += subclasses
    return found
