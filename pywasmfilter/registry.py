"""What the user's code registered: the VM context and the plugins by name.

The truth about a module's plugins. The decorators are thin sugar over `register_plugin` and `register_vm`, and the
compiler reads `describe` after importing the user's code.
"""

from __future__ import annotations

from . import _abi, _callbacks
from ._errors import check_policy
from .contexts import PluginContext, VMContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

plugins: dict[str, type[PluginContext]] = {}
vm_context: type[VMContext] = VMContext
upstreams: dict[str, Any] = {}
"""The services that the filter calls by name, as `upstreams.Upstream`."""


def register_plugin(name: str, plugin_context: type[PluginContext]) -> None:
    """Make a plugin context known under the plugin's name (Envoy: root_id, Istio: pluginName).

    Raises TypeError for a class that is not a PluginContext and for a `config_type` with annotations that a
    configuration cannot have, ValueError for a name in use or an unknown `on_error`.
    """
    if not (isinstance(plugin_context, type) and issubclass(plugin_context, PluginContext)):
        raise TypeError(f"plugin {name!r}: {plugin_context!r} is not a subclass of PluginContext")
    if name in plugins:
        raise ValueError(f"plugin {name!r} is registered twice: {plugins[name].__name__}, {plugin_context.__name__}")
    check_policy(f"plugin {name!r}", plugin_context.on_error)
    if plugin_context.config_type is not None:
        from .config import decoder  # noqa: PLC0415  # only filters that have such a type carry it

        try:
            plugin_context._abi_decode_config = staticmethod(decoder(plugin_context.config_type))  # noqa: SLF001
        except TypeError as error:
            raise TypeError(f"plugin {name!r}: {error}") from None
    plugins[name] = plugin_context


def register_vm(context: type[VMContext]) -> None:
    """Make a VM context known. Raises TypeError for another kind of class, ValueError for a second one."""
    global vm_context  # noqa: PLW0603  # there is one VM
    if not (isinstance(context, type) and issubclass(context, VMContext)):
        raise TypeError(f"{context!r} is not a subclass of VMContext")
    if vm_context is not VMContext:
        raise ValueError(f"a module has one VM context: {vm_context.__name__}, {context.__name__}")
    vm_context = context


def register_upstream(upstream: Any) -> None:
    """Make an upstream known. Raises ValueError for one that would be mistaken for another.

    The same one may be defined again, by filters that are built together for instance.
    """
    for other in upstreams.values():
        if other.name == upstream.name and other.describe() != upstream.describe():
            raise ValueError(f"upstream {upstream.name!r} is defined twice: as {other!r} and {upstream!r}")
        if other.name != upstream.name and other.variable == upstream.variable:
            raise ValueError(f"upstreams {other.name!r} and {upstream.name!r} share the variable {other.variable}")
    upstreams[upstream.name] = upstream


def describe() -> dict[str, object]:
    """What the compiler needs to know: the plugins' names, the ABI callbacks to export, and the upstreams to call.

    Raises TypeError for a class whose callbacks can never be made as they are written.
    """
    callbacks = _callbacks.overridden()
    _callbacks.exported = frozenset(callbacks)
    _callbacks.notifies_deletes = _callbacks.some_on_delete()
    if _callbacks.notifies_deletes:
        _abi.host.notify_deletes()
    called = [upstream.describe() for _, upstream in sorted(upstreams.items())]
    return {"plugins": sorted(plugins), "callbacks": callbacks, "upstreams": called}
