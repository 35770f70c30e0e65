"""Methods of a plugin that are called by the clock, or for what comes into a queue: `@every` and `@on_queue`.

Both begin when the plugin starts, in every VM: that of each worker, and that of the proxy's main thread. A plugin may
have any number of them beside `on_tick` and `on_queue_ready`. What a method raises is logged and counted as for every
callback, and the next time comes all the same.
"""

from __future__ import annotations

import os

from . import _abi, _errors
from ._tasks import Task, create_task
from ._timers import LONGEST, timers_of
from .exceptions import Empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])


def every(seconds: float, *, first: float | None = None, jitter: float = 0.0) -> Callable[[F], F]:
    """Call a method of a PluginContext again and again, each time so many seconds after the time before.

        @every(60, first=0, jitter=5)
        async def refresh(self) -> None: ...

    It is called first after `first` seconds, by default `seconds`, and each time up to `jitter` seconds later, by
    chance, so that not all workers call at the same moment. While an async method is still waiting, its next calls are
    left out. Raises ValueError for numbers that are no times.
    """
    if not isinstance(seconds, int | float):
        raise TypeError("@every needs its seconds: @every(60)")
    begins = seconds if first is None else first
    if not (seconds >= _SHORTEST and jitter >= 0 <= begins and max(seconds, begins) + jitter <= LONGEST):
        times = f"@every({seconds!r}, first={first!r}, jitter={jitter!r})"
        raise ValueError(f"{times}: it is {_SHORTEST} to {LONGEST} seconds with the jitter, 0 or more for the others")
    return _Mark(lambda plugin, method: _Repeated(plugin, method, seconds, jitter).wait(begins))


def on_queue(name: str, *, concurrency: int = 1) -> Callable[[F], F]:
    """Call a method of a PluginContext with each item of a shared queue, as bytes.

        @on_queue("jobs")
        async def send(self, item: bytes) -> None: ...

    The queue is registered when the plugin starts, which makes this VM the one that hears of its items
    (`proxy_register_shared_queue`); the last VM to register a queue has it. Items that are in it already come too. An
    item has left the queue when the method gets it (`proxy_dequeue_shared_queue`), and is not put back if that fails.
    An async method works on up to `concurrency` items at a time, and they begin in order.
    """
    if not isinstance(name, str) or not name:
        raise TypeError('@on_queue needs the name of the queue: @on_queue("jobs")')
    if concurrency < 1:
        raise ValueError(f"@on_queue({name!r}): concurrency is 1 or more, not {concurrency!r}")
    return _Mark(
        lambda plugin, method: _consume(plugin, name, _Consumer(plugin, method, concurrency)), "proxy_on_queue_ready"
    )


_SHORTEST = 0.001


class _Mark:
    """What is left at a method: how the plugin's start begins it, and the callback of the ABI that it needs, if any."""

    def __init__(self, begin: Callable[[Any, str], object], callback: str | None = None) -> None:
        self.begin = begin
        self.callback = callback

    def __call__(self, method: F) -> F:
        marks = (*getattr(method, "_abi_marks", ()), self)
        method._abi_marks = marks  # type: ignore[attr-defined]  # noqa: SLF001  # `contexts` looks for it
        return method


class _Method:
    """A marked method of a plugin that runs."""

    def __init__(self, plugin: Any, name: str) -> None:
        self.plugin = plugin
        self.name = name

    def call(self, *arguments: object) -> Task[Any] | None:
        """Call it, whatever it raises. Gives the task if it is async and waits for something."""
        try:
            result = getattr(self.plugin, self.name)(*arguments)
            if hasattr(result, "send"):
                task = create_task(self.plugin, result)
                return None if task.done else task
        except BaseException as error:  # noqa: BLE001  # the next call must come
            _errors.report(self.plugin, self.name, error)
        return None

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Call a function of this object in some seconds."""
        timers_of(self.plugin).call_later(seconds, function)


class _Repeated(_Method):
    """A method that is called every so many seconds."""

    def __init__(self, plugin: Any, name: str, seconds: float, jitter: float) -> None:
        super().__init__(plugin, name)
        self._seconds = seconds
        self._jitter = jitter
        self._task: Task[Any] | None = None

    def wait(self, seconds: float) -> None:
        """Call it in so many seconds, or a little later."""
        by_chance = int.from_bytes(os.urandom(4), "little") / (1 << 32) if self._jitter else 0
        self.later(seconds + self._jitter * by_chance, self._run)

    def _run(self) -> None:
        self.wait(self._seconds)
        if self._task is None or self._task.done:
            self._task = self.call()


_AT_ONCE = 100
"""How many items are taken before others have their turn."""


class _Consumer(_Method):
    """A method that is called with the items of a queue."""

    queue_id: int

    def __init__(self, plugin: Any, name: str, concurrency: int) -> None:
        super().__init__(plugin, name)
        self._free = concurrency
        self._comes_again = False

    def come_soon(self) -> None:
        """Look into the queue when others have had their turn."""
        if not self._comes_again:
            self._comes_again = True
            self.later(0, self._come)

    def _come(self) -> None:
        self._comes_again = False
        self.take()

    def take(self) -> None:
        """Take what is in the queue, as far as it can be worked on now."""
        for _ in range(_AT_ONCE):
            if not self._free or self.plugin._abi_over:  # noqa: SLF001  # see `contexts.Context`
                return
            try:
                item = _abi.host.dequeue_shared_queue(self.queue_id)
            except Empty:
                return
            task = self.call(item)
            if task is not None:
                self._free -= 1
                task.when_done(self._one_is_done)
        self.come_soon()

    def _one_is_done(self) -> None:
        self._free += 1
        self.take()


def _consume(plugin: Any, queue: str, consumer: _Consumer) -> None:
    """Register a queue, and let the consumer hear of it in place of the plugin's own `on_queue_ready`."""
    consumer.queue_id = _abi.host.register_shared_queue(queue)  # the same id for the same queue
    if "_abi_consumers" not in vars(plugin):
        plugin._abi_consumers = {}  # noqa: SLF001
        own = plugin.on_queue_ready

        def on_queue_ready(queue_id: int) -> object:
            found = plugin._abi_consumers.get(queue_id)  # noqa: SLF001
            return own(queue_id) if found is None else found.take()

        plugin.on_queue_ready = on_queue_ready
    if consumer.queue_id in plugin._abi_consumers:  # noqa: SLF001
        raise ValueError(f"@on_queue({queue!r}) is at two methods of {type(plugin).__name__}, and an item is for one")
    plugin._abi_consumers[consumer.queue_id] = consumer  # noqa: SLF001
    consumer.come_soon()
