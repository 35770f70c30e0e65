"""The memory of a VM: how large it is, what is in it, and a limit above which garbage is collected.

Each worker of a proxy has a VM, and so a memory, of its own. It grows when what is free does not suffice, up to the
bound that the build was given (`--max-memory`), and never shrinks; what the filter frees is used again.
"""

from __future__ import annotations

import gc
import sys
import time

from . import _abi, log
from ._state import contexts
from ._timers import timers_of
from .contexts import PluginContext
from .metrics import Gauge

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_MIB = 1 << 20
_LITTLE = 16
"""A collection that frees less than this part of what is in use is not soon worth another."""
_LONGEST_REST = 63
"""So many checks in a row are left out at most."""


class MemoryStatistics:
    """What `statistics` gives: what a VM's memory held at one moment. `vars()` makes a dict of it.

    Under a plain Python no memory is one VM's alone: sizes are 0, and objects, blocks and collections are those of the
    whole process.
    """

    def __init__(self, memory_bytes: int, max_bytes: int, used_bytes: int, blocks: int, requests: int) -> None:
        self.memory_bytes = memory_bytes
        """The size of the memory now. It never shrinks, so this is also the most that there was."""
        self.max_bytes = max_bytes
        """What it can grow to before Python raises MemoryError. A proxy's own bound may be lower; Envoy's is 1 GiB."""
        self.used_bytes = used_bytes
        """What is in use of it, by Python and by everything else, as the C library's allocator has given it out. The
        interpreter's own data and stack, some 4 MiB, are not counted."""
        self.blocks = blocks
        """The pieces in which that was given out: about one for each Python object, and one for what a list or a dict
        holds."""
        self.requests = requests
        """The streams, HTTP and TCP, that began in this VM so far."""
        self.streams: int = sum(not hasattr(context, "_abi_new_stream") for context in contexts.values())
        """The streams that the proxy has not forgotten yet."""
        self.objects: int = len(gc.get_objects())
        """The objects that a garbage collection looks at: those that can hold others and were made since the build."""
        self.collections: int = sum(kind["collections"] for kind in gc.get_stats()) - _abi.collections_of_build
        """The garbage collections in this VM so far, most of which look at a part of the objects only."""

    def __repr__(self) -> str:
        return f"MemoryStatistics({', '.join(f'{name}={value}' for name, value in vars(self).items())})"


def statistics() -> MemoryStatistics:
    """What the VM's memory holds now. Allowed everywhere.

    All blocks and objects are counted one by one, about a millisecond for 100,000 of them: not for each request.
    """
    memory_bytes, max_bytes, used_bytes, blocks, requests = _abi.host.get_memory()
    return MemoryStatistics(memory_bytes, max_bytes, used_bytes, blocks or sys.getallocatedblocks(), requests)


class MemoryGuard:
    """What `guard` gives: it watches the memory of a VM."""

    def __init__(self, plugin: PluginContext, soft_limit_bytes: int, interval: float, *, publish: bool) -> None:
        self.soft_limit_bytes = soft_limit_bytes
        """May be changed."""
        self._plugin = plugin
        self._interval = interval
        self._published = _Published(plugin) if publish else None
        self._pause = 0  # how many checks to leave out after a collection
        self._left_out = 0
        self._timer = timers_of(plugin).call_later(interval, self._check)

    def stop(self) -> None:
        """Watch no longer, and take back what was published. Nothing happens if it has stopped already."""
        self._timer.cancel()
        if self._published is not None:
            self._published.withdraw()

    def _check(self) -> None:
        """On a tick, when no callback of a stream runs."""
        self._timer = timers_of(self._plugin).call_later(self._interval, self._check)
        used = _used_bytes()
        if used <= self.soft_limit_bytes:
            self._pause = self._left_out = 0
        elif self._left_out < self._pause:
            self._left_out += 1
        else:
            self._collect(used)
        if self._published is not None:
            self._published.update()

    def _collect(self, used: int) -> None:
        start = time.perf_counter()
        gc.collect()
        milliseconds = (time.perf_counter() - start) * 1000
        left = _used_bytes()
        freed_little = used - left < used // _LITTLE
        self._pause = min(2 * self._pause + 1, _LONGEST_REST) if freed_little else 0
        self._left_out = 0
        report = log.warn if left > self.soft_limit_bytes else log.info
        report(
            f"memory: {_mib(used)} in use, above the soft limit of {_mib(self.soft_limit_bytes)}; a garbage collection "
            f"took {milliseconds:.1f} ms and left {_mib(left)}"
        )


def guard(
    plugin: PluginContext, *, soft_limit_bytes: int, interval: float = 10.0, publish: bool = False
) -> MemoryGuard:
    """Watch the memory of the plugin's VM from now on; usually called in `on_plugin_start`.

    Every `interval` seconds, 1 or more, it is looked at, on a tick: between the callbacks of streams. If more than
    `soft_limit_bytes` bytes are in use then (`used_bytes` of the statistics), garbage is collected, and a line in the
    log says what came of it: at level warn if the limit is still exceeded, else at level info. As long as collections
    free little, they become rarer, down to one in 64 intervals.

    With `publish`, gauges have the sums over all VMs that publish: `pywasmfilter_memory_bytes`,
    `pywasmfilter_memory_used_bytes`, and `pywasmfilter_memory_vms`, how many those are. The proxy then tells the filter
    of each stream's end, which costs a little. What a VM that broke down has published stays in the sums.

    A VM has one guard: another one takes its place. Raises TypeError for what is no plugin's context, ValueError for
    numbers that make no sense. It stands on `proxy_set_tick_period_milliseconds`; the plugin's own `on_tick` goes on
    beside it. Under a plain Python it has nothing to look at, and collects nothing.
    """
    if not isinstance(plugin, PluginContext):
        raise TypeError(f"memory.guard takes the context of a plugin, not {plugin!r}; call it in on_plugin_start")
    if soft_limit_bytes < 1:
        raise ValueError(f"a soft limit is 1 byte or more, not {soft_limit_bytes!r}")
    if not interval >= 1:
        raise ValueError(f"an interval is 1 second or more, not {interval!r}")
    vm: Any = plugin.vm
    before: MemoryGuard | None = getattr(vm, "_abi_memory_guard", None)
    if before is not None:
        before.stop()
    made = vm._abi_memory_guard = MemoryGuard(plugin, soft_limit_bytes, interval, publish=publish)  # noqa: SLF001
    return made


class _Published:
    """One VM's part of gauges that are the proxy's: what it added is taken back when the plugin goes."""

    def __init__(self, plugin: PluginContext) -> None:
        self._added = {Gauge(f"pywasmfilter_memory_{name}"): 0 for name in ("bytes", "used_bytes", "vms")}
        self._on_delete: Callable[[], Any] = plugin._on_delete  # noqa: SLF001
        # The shim looks at the object first.
        plugin._on_delete = self._deleted  # type: ignore[method-assign]  # noqa: SLF001
        _abi.host.notify_deletes()

    def update(self) -> None:
        memory_bytes, _, used_bytes, *_ = _abi.host.get_memory()
        self._set(memory_bytes, used_bytes, 1)

    def withdraw(self) -> None:
        self._set(0, 0, 0)

    def _set(self, *values: int) -> None:
        for (gauge, added), value in zip(self._added.items(), values, strict=True):
            if value != added:
                gauge.add(value - added)
                self._added[gauge] = value

    def _deleted(self) -> Any:
        self.withdraw()
        return self._on_delete()


def _used_bytes() -> int:
    return _abi.host.get_memory()[2]


def _mib(size: int) -> str:
    return f"{size / _MIB:.1f} MiB"
