"""Filters whose source is text in their configuration, as Lua's is in Envoy. Only the module that runs them has this.

That module has one plugin, which the host finds under any name. Its configuration is the JSON of an object:

    {"code": "…Python…", "config": {…} or "text"}

`code` is what the file of a filter would be, with one plugin, and `config`, if it is there, that plugin's own
configuration. Each source is a Python module of its own, for as long as the proxy has the plugin, and goes by the rules
of a build: what that refuses is refused when the plugin is configured, and so is the configuration then.
"""

from __future__ import annotations

import gc
import itertools
import json
import linecache
import sys
from dataclasses import dataclass
from typing import Any  # not for type checkers alone: `config` looks it up

from . import _abi, _callback_tasks, _callbacks, _dispatcher, _errors, _traceback, hostcalls, log, registry
from ._state import is_alive
from .callouts import GrpcStream
from .config import decoder
from .contexts import HttpContext, PluginContext, TcpContext, VMContext
from .exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from .contexts import BooleanAnswer

__all__ = ["check", "register"]


@dataclass
class InlineConfig:
    """The configuration of an inline filter."""

    code: str
    config: dict[str, Any] | str = ""

    def own(self) -> bytes:
        """What the plugin of the source has as its configuration."""
        text = self.config if isinstance(self.config, str) else json.dumps(self.config, ensure_ascii=False)
        return text.encode()


def register(name: str = "python") -> tuple[type[Any], ...]:
    """Make a module serve inline filters. Returns classes to keep until it is built, so that it has all callbacks."""
    registry.register_vm(InlineVM)
    registry.register_plugin(name, NoPlugin)
    return tuple(
        type(f"All{base.__name__}", (base,), dict.fromkeys(methods.values(), _nothing))
        for base, methods in _callbacks.METHODS.items()
    )


def _nothing(*_: object) -> None: ...


# Contexts


class InlineVM(VMContext):
    """Knows the plugins of sources, by the names of their modules."""

    def __init__(self) -> None:
        self.plugins: dict[str, PluginContext] = {}

    def forget_deleted_plugins(self) -> None:
        """Drop the modules of plugins that are gone."""
        for name in [name for name, plugin in self.plugins.items() if not is_alive(plugin)]:
            del self.plugins[name]
            _drop(name)
        _dispatcher.stream_classes.clear()
        gc.collect()  # a module and its functions know each other


class InlinePlugin(PluginContext):
    """Takes the configuration apart. The source's own plugin, once it is there, stands below this in one class."""

    vm: InlineVM
    _abi_code: str | None = None
    """The source of which this is the plugin."""

    _abi_own = b""
    """The configuration for it."""

    def _on_configure(self, plugin_configuration_size: int) -> BooleanAnswer:
        where = _place()
        try:
            inline: InlineConfig = _decode(hostcalls.get_plugin_configuration() if plugin_configuration_size else b"")
        except ConfigError as error:
            log.error(f"{where or 'inline'}: bad configuration: {error}")
            return False
        self._abi_own = inline.own()
        original = hostcalls.get_plugin_configuration
        hostcalls.get_plugin_configuration = lambda: self._abi_own  # what the source may ask for in this callback
        try:
            return self._abi_start(inline.code, where)
        finally:
            hostcalls.get_plugin_configuration = original

    def _abi_start(self, code: str, where: str) -> BooleanAnswer:
        if self._abi_code is None and not _load(self, code, where):
            return False
        if self._abi_code != code:
            log.error(f"{where or 'inline'}: a plugin keeps its source; for another one the proxy makes another plugin")
            return False
        answer: Any = super()._on_configure(len(self._abi_own))
        return _callback_tasks.on_coroutine(self, "_on_configure", answer, None)  # type: ignore[return-value]


_decode: Callable[[bytes], Any] = decoder(InlineConfig)


class NoPlugin(InlinePlugin):
    """Stands where there is no source yet, or none that could be taken, and refuses all streams."""

    def new_http_context(self, _context_id: int) -> HttpContext:
        """Not before there is a source."""
        raise RuntimeError("the inline filter was refused")

    def new_tcp_context(self, _context_id: int) -> TcpContext:
        """Not before there is a source."""
        raise RuntimeError("the inline filter was refused")


def _place() -> str:
    """What the proxy calls the plugin: its root id or else its name."""
    texts = (_abi.host.get_property(path) for path in (b"plugin_root_id", b"plugin_name"))
    return next(filter(None, texts), b"").decode("utf-8", "replace")


# Sources


def check(code: str, place: str = "") -> None:
    """Run a source and hold it to the rules while a module is built, whose plugin and upstreams are then the source's.

    Raises what the source raises, and ValueError or TypeError for what the rules refuse.
    """
    registry.plugins = {}
    _run(_new_module(place, code), code)


def _load(plugin: InlinePlugin, code: str, place: str) -> bool:
    """Make a plugin that has no source yet the one of a source. False, and it stays what it is, if that is refused."""
    plugin.vm.forget_deleted_plugins()
    module = _new_module(place, code)
    plugin.vm.plugins[module.__name__] = plugin
    try:
        name, cls = _registered_by(module, code)
        plugin.__class__ = type(cls.__name__, (InlinePlugin, cls), {"__module__": cls.__module__, "__doc__": None})
        _dispatcher.begin_plugin(plugin, name)
        plugin._abi_code = code  # noqa: SLF001  # its own
    except BaseException as exception:
        if _errors.is_of_a_test(exception):
            raise
        _errors.make_room(exception)
        plugin.__class__ = NoPlugin
        log.error(f"{place or 'inline'}: the source is refused: {_reason(exception, module)}")
        del plugin.vm.plugins[module.__name__]
        _drop(module.__name__)
        return False
    return True


def _registered_by(module: ModuleType, code: str) -> tuple[str, type[PluginContext]]:
    """The name and the class of the one plugin that a source registers. What the module itself has stays apart."""
    plugins, upstreams = registry.plugins, dict(registry.upstreams)
    registry.plugins = {}
    registry.upstreams.clear()
    try:
        _run(module, code)
        return next(iter(registry.plugins.items()))
    finally:
        registry.plugins = plugins
        registry.upstreams.clear()
        registry.upstreams.update(upstreams)


def _run(module: ModuleType, code: str) -> None:
    """Run a source in its module. Raises what it raises, and ValueError or TypeError for what a build refuses."""
    exec(compile(code, str(module.__file__), "exec", dont_inherit=True), vars(module))  # noqa: S102  # that it is for
    if not registry.plugins:
        raise ValueError('registers no plugin: decorate a class with @http_filter("name") or @plugin("name")')
    if len(registry.plugins) > 1:
        names = ", ".join(map(repr, registry.plugins))
        raise ValueError(f"registers several plugins, {names}: each inline filter has one")
    bases: tuple[type[Any], ...] = (GrpcStream, *_callbacks.METHODS)
    for base in bases:
        for cls in _callbacks.subclasses(base):
            if cls.__module__ == module.__name__:
                _callbacks.check_names(cls, base)
    if not _callbacks.notifies_deletes and _callbacks.some_on_delete():
        _callbacks.notifies_deletes = True
        _abi.host.notify_deletes()


def _new_module(place: str, code: str) -> ModuleType:
    """An empty module for a source, under a name that is free, and with the lines for tracebacks."""
    base = "inline_" + "".join(char if char.isalnum() else "_" for char in place) if place else "inline"
    candidates = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(2)))
    module = type(sys)(next(name for name in candidates if name not in sys.modules))
    lines = code.splitlines(keepends=True)
    module.__file__ = f"<inline {place}>" if place else "<inline>"
    module.__pyfilter_source__ = lines  # type: ignore[attr-defined]  # see `_traceback`
    linecache.cache[module.__file__] = (len(code), None, lines, module.__file__)  # for `logging` and `traceback`
    sys.modules[module.__name__] = module
    return module


def _drop(name: str) -> None:
    """Forget a module, and its lines, unless a plugin that came later has its own in their place."""
    module = sys.modules.pop(name, None)
    names: dict[str, Any] = {} if module is None else vars(module)
    lines, file = names.get("__pyfilter_source__"), names.get("__file__", "")
    if any(part is lines for part in linecache.cache.get(file, ())):
        del linecache.cache[file]


def _reason(exception: BaseException, module: ModuleType) -> str:
    """Why a source is refused: file, line, what is wrong, and the traceback, unless the line is all that it has."""
    file = module.__file__
    if isinstance(exception, SyntaxError) and exception.filename == file:
        text = f"\n    {exception.text.strip()}" if exception.text else ""
        return f"{file}:{exception.lineno}: {type(exception).__name__}: {exception.msg}{text}"
    lines = [line for path, line, _ in _traceback.frame_places(exception) if path == file]
    if not lines:
        return f"{file}: {_traceback.describe(exception)}"
    return f"{file}:{lines[-1]}: {_traceback.describe(exception)}\n{_traceback.format_exception(exception)}"
