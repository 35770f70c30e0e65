"""The host's callbacks on the Python side: which contexts there are, and what happens to exceptions.

The shim looks a context up in `contexts` and calls its method itself; it comes here for what is not plain: a new
context, the start of the VM, an exception. Importing this module binds the shim to it.
"""

from __future__ import annotations

from . import _abi, _callbacks, _traceback, registry
from .contexts import HttpContext, PluginContext, VMContext
from .types import LogLevel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

contexts: dict[int, Any] = {}
"""Context id → context, None for a stream that its plugin does not look at.

The shim reads it, and deletes from it in proxy_on_delete. It refuses a stream or a plugin that is not in it: its
context could not be created.
"""

before_start: list[Callable[[], None]] = []
"""What to do when the VM's first callback comes, before any of the user's code (see `_runtime`)."""


class _VM:
    """The VM's own context, created at its start, and what its on_vm_start answered."""

    context: VMContext | None = None
    started = False
    answer = True


def on_context_create(context_id: int, parent_id: int) -> None:
    """proxy_on_context_create: a plugin (no parent) or a stream begins.

    Every request passes here, so a stream takes the shortest way: one look-up, and one call of the user's code.
    """
    plugin = contexts.get(parent_id)
    if plugin is None:
        _begin_plugin(context_id, parent_id)
        return
    try:
        context = plugin.new_http_context(context_id)
        if context is not None:
            if type(context) not in _stream_classes:
                _check_stream(context)
            context.context_id = context_id
            context.plugin = plugin
    except BaseException as exception:  # noqa: BLE001  # nothing may pass: it would be a trap
        _log_exception(_name(plugin), "new_http_context", exception)
        context = None if plugin.on_error == "continue" else _RefusedStream()
    contexts[context_id] = context


_stream_classes: set[type] = set()
"""The classes that `new_http_context` has returned an instance of."""

_MOST_CLASSES = 64


def _check_stream(context: object) -> None:
    cls = type(context)
    if not isinstance(context, HttpContext):
        raise TypeError(f"new_http_context returned {context!r}, not an HttpContext")
    if _callbacks.exported and (late := _callbacks.of_class(cls) - _callbacks.exported):
        raise TypeError(
            f"{cls.__name__} has {', '.join(sorted(late))}, which no class had when the filter was built: "
            "define it where the build imports it"
        )
    if len(_stream_classes) < _MOST_CLASSES:  # classes that are made for each stream must not pile up
        _stream_classes.add(cls)


def _begin_plugin(context_id: int, parent_id: int) -> None:
    if _VM.context is None:
        try:
            for prepare in before_start:
                prepare()
        except BaseException as exception:
            _log_exception("", "the start of the VM", exception)
            raise
        _VM.context = _new_vm_context()
    if parent_id == 0:
        contexts[context_id] = _new_plugin_context(context_id)


def _new_vm_context() -> VMContext:
    try:
        return registry.vm_context()
    except BaseException as exception:  # noqa: BLE001
        _log_exception("", f"{registry.vm_context.__name__}()", exception)
        _VM.answer = False
        return VMContext()


def _new_plugin_context(context_id: int) -> object:
    name, plugin_class = _select_plugin()
    if plugin_class is None:
        return _RefusedPlugin(name)
    try:
        plugin = plugin_class()
        plugin.context_id = context_id
    except BaseException as exception:  # noqa: BLE001
        _log_exception(name, f"{plugin_class.__name__}()", exception)
        return _RefusedPlugin(name)
    return plugin


def _select_plugin() -> tuple[str, type[PluginContext] | None]:
    """With one plugin in the module any name is accepted; with several the host's root id says which."""
    if len(registry.plugins) == 1:
        return next(iter(registry.plugins.items()))
    name = (_abi.host.get_property(b"plugin_root_id") or b"").decode("utf-8", "replace")
    found = registry.plugins.get(name)
    if found is None:
        known = ", ".join(sorted(registry.plugins)) or "none"
        _log(LogLevel.CRITICAL, f"this module has no plugin {name!r}; its plugins (root_id, pluginName) are: {known}")
    return name, found


class _RefusedPlugin:
    """Stands where a plugin could not be created, and makes the proxy refuse the configuration."""

    on_error = "deny"

    def __init__(self, name: str) -> None:
        self.name = name

    def new_http_context(self, _context_id: int) -> None:
        """Its streams come to no host that keeps to the ABI; if one does, it is refused too."""
        raise RuntimeError(f"the plugin {self.name!r} was refused")

    def _on_configure(self, _size: int) -> bool:
        return False

    def _on_done(self) -> bool:
        return True

    def on_tick(self) -> None:
        pass

    def _on_log(self) -> None:
        pass


class _RefusedStream:
    """Stands where a stream's context could not be created, and answers 500 in whichever callback comes first."""

    def _refuse(self, *_: object) -> int:
        return _deny()

    on_http_request_headers = on_http_request_body = on_http_request_trailers = _refuse
    on_http_response_headers = on_http_response_body = on_http_response_trailers = _refuse

    def _on_done(self) -> bool:
        return True

    def _on_log(self) -> None:
        pass


def on_vm_start(_context_id: int, vm_configuration_size: int) -> bool:
    """proxy_on_vm_start: the host says so for each plugin of a VM; the VM's context hears it once."""
    if _VM.context is not None and not _VM.started:
        _VM.started = True
        try:
            _VM.answer = _VM.answer and _VM.context.on_vm_start(vm_configuration_size) is not False
        except BaseException as exception:  # noqa: BLE001
            _log_exception("", "on_vm_start", exception)
            _VM.answer = False
    return _VM.context is not None and _VM.answer


def on_exception(context: object, method: str, exception: BaseException) -> int:
    """Log an exception that left a callback, and give the callback's answer in its place."""
    plugin = context if isinstance(context, PluginContext) else getattr(context, "plugin", None)
    _log_exception(_name(plugin), _PUBLIC_NAMES.get(method, method), exception)
    if method.startswith("on_http_"):
        if plugin is not None and plugin.on_error == "continue":
            return 0
        # The callback may have turned to another stream before it failed.
        _abi.host.set_effective_context(getattr(context, "context_id", 0))
        return _deny()
    return 1 if method == "_on_done" else 0


def _name(plugin: object) -> str:
    return next((name for name, cls in registry.plugins.items() if type(plugin) is cls), "")


_PUBLIC_NAMES = {"_on_configure": "on_plugin_start", "_on_done": "on_plugin_done", "_on_log": "on_http_stream_done"}


def _deny() -> int:
    """Answer 500; the proxy resets the stream if a response is on its way already. Returns Action.PAUSE."""
    _abi.host.send_local_response(500, "pywasmfilter_exception", "Internal Server Error", b"\0\0\0\0", -1)
    return 1


def _log_exception(plugin: str, place: str, exception: BaseException) -> None:
    prefix = f"{plugin}: " if plugin else ""
    _log(LogLevel.ERROR, f"{prefix}uncaught exception in {place}\n{_traceback.format_exception(exception)}")


def _log(level: LogLevel, message: str) -> None:
    _abi.host.log(level, message)
