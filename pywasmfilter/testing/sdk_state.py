"""What the SDK keeps of a VM in its modules, taken out and put in when another VM of this process is called.

In a module there is one VM and one copy of the SDK. Under a plain Python the test's process has one copy for all VMs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pywasmfilter import _abi, _callbacks, _dispatcher, _errors, _state, _tasks, callouts, metrics, registry, upstreams
from pywasmfilter.contexts import VMContext

if TYPE_CHECKING:
    from collections.abc import Callable

    from .filter_modules import FilterModules
    from .python_host import PythonHost

_VALUES = (
    (registry, "plugins"),
    (registry, "vm_context"),
    (callouts, "delivering"),
    (_dispatcher._VM, "context"),  # noqa: SLF001  # this is the SDK's own test kit
    (_dispatcher._VM, "started"),  # noqa: SLF001
    (_dispatcher._VM, "answer"),  # noqa: SLF001
    (_callbacks, "exported"),
    (_callbacks, "notifies_deletes"),
    (_tasks, "current"),
    (_tasks, "ready"),
    (_errors, "is_of_a_test"),
    (_abi, "host"),
)
"""What is looked up where it stands, and can be replaced there."""

_TABLES: tuple[Any, ...] = (
    _state.contexts,
    callouts.pending,
    _dispatcher.stream_classes,
    metrics._known,  # noqa: SLF001
    registry.upstreams,
    upstreams.of_vms,
)
"""Dictionaries and sets that other modules have imported by name: only what is in them can be exchanged."""


class SdkState:
    """The state of one VM. `enter` puts it in place and remembers what was there, `leave` puts that back."""

    _current: ClassVar[SdkState | None] = None

    def __init__(self, host: PythonHost, is_of_a_test: Callable[[BaseException], bool]) -> None:
        values = [{}, VMContext, None, None, False, True, frozenset(), False, None, None, is_of_a_test, host]
        self._values: list[Any] = values
        self._tables: list[Any] = [{}, {}, set(), {}, {}, {}]
        self._outer: list[SdkState | None] = []

    def enter(self) -> None:
        """The SDK works for this VM from now on."""
        self._outer.append(SdkState._current)
        if SdkState._current is not self:
            self._exchange()
            SdkState._current = self

    def leave(self) -> None:
        """It works for whom it did before."""
        outer = self._outer.pop()
        if outer is not self:
            self._exchange()
            SdkState._current = outer

    def _exchange(self) -> None:
        """Swap what is in place with what is kept here."""
        for index, (owner, name) in enumerate(_VALUES):
            kept, self._values[index] = self._values[index], getattr(owner, name)
            setattr(owner, name, kept)
        for index, table in enumerate(_TABLES):
            kept, self._tables[index] = self._tables[index], table.copy()
            table.clear()
            table.update(kept)

    def plugins_of_other_modules(self, modules: FilterModules) -> None:
        """Plugins that a package registered which is imported once per process belong to every VM that uses it."""
        found = {name: plugin for name, plugin in registry.plugins.items() if not modules.owns(plugin.__module__)}
        _of_packages.update(found)
        for name, plugin in _of_packages.items():
            if modules.uses(plugin.__module__):
                registry.plugins.setdefault(name, plugin)

    def forget(self) -> None:
        """Keep nothing alive."""
        if SdkState._current is not self:
            self._tables = [{}, {}, set(), {}, {}, {}]


_of_packages: dict[str, Any] = {}
