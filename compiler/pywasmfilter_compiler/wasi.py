"""What takes the place of the operating system inside a module: the table between WASI 0.2 and the shim.

The interpreter's C library calls functions of WASI 0.2. The shim exports a replacement for each that can be reached,
under the name `interface#function`. The rest are methods of things that cannot be opened in a module, so nobody ever
holds a handle to call them with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .component.model import Component, HostFunction, InlineExports

_WITHOUT_HANDLES: Final = (
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:filesystem/types",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/tcp",
    "wasi:sockets/udp",
)


def replacements(component: Component) -> dict[HostFunction, str | None]:
    """For each function of the component's host: the export that replaces it, or None if it cannot be called.

    A function that is in neither group is left out; linking then names it, if it is used.
    """
    exported = {export.name for module in component.modules for export in module.exports}
    found: dict[HostFunction, str | None] = {}
    for function in _host_functions(component):
        name = f"{function.interface}#{function.name}"
        if name in exported:
            found[function] = name
        elif function.interface in _WITHOUT_HANDLES:
            found[function] = None
    return found


def _host_functions(component: Component) -> Iterable[HostFunction]:
    for instance in component.instances:
        if isinstance(instance, InlineExports):
            for _, definition in instance.exports.values():
                if isinstance(definition, HostFunction):
                    yield definition
