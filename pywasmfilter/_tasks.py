"""Coroutines in a proxy: tasks, what they wait for, and the functions that go with them.

There is no event loop, since the proxy has one. A task runs until it awaits a `Future` that has no result yet. What
brings the result, which is a reply to a call or a timer, is a callback of the proxy; the task goes on in the middle of
it, with its own context as the effective one. What to do at the end of a stream's callback is in `_callback_tasks`.
"""

from __future__ import annotations

from . import _abi, _errors
from ._state import EffectiveContext, is_alive
from ._timers import timers_of
from .exceptions import CancelledError, MisuseError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from types import TracebackType
    from typing import Any, Generic, Self, TypeVar

    R = TypeVar("R")
else:  # `typing` is not worth its memory

    class Generic:
        __slots__ = ()

        def __class_getitem__(cls, _: object) -> type:
            return cls

    R = None

current: Task[Any] | None = None
"""The task that runs now."""

ready: list[Task[Any]] | None = None
"""Tasks whose turn comes when the one that runs waits or has ended; None if none runs.

They do not run in the middle of it, so that each finds things as others left them, and none is deep inside of others.
"""


class Future(Generic[R]):
    """A result that may not be there yet. Any number of coroutines can `await` it."""

    __slots__ = ("_exception", "_result", "_traceback", "_waiting", "done", "on_abandoned")

    def __init__(self) -> None:
        self.done = False
        """Whether there is a result, or an exception in its place."""
        self.on_abandoned: Callable[[], object] | None = None
        """What to do when nobody waits for it any more because those who did were cancelled."""
        self._waiting: tuple[Callable[[], object], ...] = ()
        self._exception: BaseException | None = None
        self._traceback: TracebackType | None = None

    def set_result(self, result: R) -> None:
        """Let those who wait go on. Does nothing if it is done already."""
        if not self.done:
            self._result = result
            self._finish()

    def set_exception(self, exception: BaseException) -> None:
        """Raise an exception in those who wait. Does nothing if it is done already."""
        if not self.done:
            self._exception = exception
            self._traceback = exception.__traceback__
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self.on_abandoned = None
        waiting, self._waiting = self._waiting, ()
        for go_on in waiting:
            try:
                go_on()
            except BaseException as error:  # the others have waited, too
                _errors.report_here("a function of when_done", error)

    def result(self) -> R:
        """The result, or the exception raised. Raises MisuseError if there is none yet."""
        if not self.done:
            raise MisuseError("there is no result yet: await it")
        if self._exception is not None:
            raise self._exception.with_traceback(self._traceback)  # which grows each time it is raised
        return self._result

    def when_done(self, function: Callable[[], object]) -> None:
        """Call a function as soon as it is done, which may be now."""
        if self.done:
            function()
        else:
            self._waiting = (*self._waiting, function)

    def do_not_call(self, function: Callable[[], object]) -> None:
        """Take back `when_done`."""
        if function in self._waiting:
            self._waiting = tuple([other for other in self._waiting if other != function])
            if not self._waiting and self.on_abandoned is not None:
                abandoned, self.on_abandoned = self.on_abandoned, None
                abandoned()

    def __await__(self) -> Generator[Any, None, R]:
        if not self.done:
            yield self
        return self.result()

    if not TYPE_CHECKING:  # type checkers say it better

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"a {type(self).__name__} has no {name}; what it gives has, so await it first")


class Task(Future[R]):
    """A coroutine that runs by itself. Awaiting the task gives what the coroutine returns, or raises what it raises."""

    __slots__ = ("_awaited", "_cancelled", "_coroutine", "_heard", "context", "place")

    def __init__(self, context: Any, coroutine: Coroutine[Any, Any, R], place: str) -> None:
        super().__init__()
        self.context = context
        """The plugin or the stream whose task it is; it ends with that."""
        self.place = place
        """What it is called in the log."""
        self._coroutine: Coroutine[Any, Any, R] | None = coroutine
        self._awaited: Future[Any] | None = None
        self._cancelled: BaseException | None = None
        self._heard = 0
        """How many would hear of an exception, were there one now."""

    # What users call

    def cancel(self) -> None:
        """Throw CancelledError into the coroutine where it waits. Does nothing if it has ended."""
        self._throw(CancelledError("the task was cancelled"))

    def __await__(self) -> Generator[Any, None, R]:
        if not self.done:
            self._heard += 1
            try:
                yield self
            finally:
                self._heard -= 1
        return self.result()

    # How it runs

    def start(self) -> None:
        """Run to the first thing that has to be waited for."""
        if self.context._abi_tasks is None:
            self.context._abi_tasks = {}
        self.context._abi_tasks[self] = None
        self._run(None)

    def start_within(self) -> bool:
        """Run within a callback of the proxy to the first wait, or else to the end, with whose exception the caller
        deals then. Whether it has ended.
        """
        self._heard += 1
        self.start()
        if not self.done:
            self._heard -= 1
        return self.done

    def end(self) -> None:
        """The context is gone: nothing can be waited for any more."""
        for _ in range(_PATIENCE):
            self._throw(CancelledError(f"{self.place} waits for something, and its context is gone"))
            if self.done:
                return
        self._stop_waiting()
        self._let_go_of_coroutine()

    def _let_go_of_coroutine(self) -> None:
        """Let go of a coroutine that does not want to end, while it can still wait: else it might try that for ever."""
        global current  # noqa: PLW0603  # as in `_advance`
        outer, current = current, self
        try:
            if self._coroutine is not None:
                self._coroutine.close()
        except BaseException as error:  # such as "coroutine ignored GeneratorExit"
            _errors.report(self.context, self.place, error)
        finally:
            self._coroutine = None
            self.set_exception(CancelledError(f"{self.place} would not end"))
            current = outer

    def _throw(self, exception: BaseException) -> None:
        if self.done:
            return
        if self is current or self._awaited is None:
            self._cancelled = exception  # it is thrown at the next `await`
            return
        self._stop_waiting()
        with EffectiveContext(self._id()):
            self._run(exception)

    def _stop_waiting(self) -> None:
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.do_not_call(self._go_on)

    def _go_on(self) -> None:
        """What was waited for is there."""
        if ready is None:
            self._resume()
        else:
            ready.append(self)

    def _resume(self) -> None:
        """Run on, unless it has been cancelled meanwhile, and waits for something else.

        A stream's callback is no place for what other streams do: the proxy would mistake their answers for its own.
        """
        if self._awaited is None or not self._awaited.done:
            return
        context: Any = self.context
        if _abi.host.get_effective_context() == context.context_id:
            self._run(None)
        elif not is_alive(context):
            return
        elif _abi.host.get_answered_stream() < 0:
            with EffectiveContext(context.context_id):
                self._run(None)
        else:
            timers_of(context).call_later(0, self._resume, context)

    def _id(self) -> int:
        """The context to turn to: the plugin's, where a stream is gone."""
        context: Any = self.context
        if is_alive(context):
            return context.context_id  # type: ignore[no-any-return]
        return _abi.host.get_effective_context()

    def _run(self, exception: BaseException | None) -> None:
        """Go on to the next thing that has to be waited for, or to the end; then those that are ready do."""
        global ready  # noqa: PLW0603  # as `current`
        if ready is not None:
            self._advance(exception)
            return
        ready = []
        try:
            self._advance(exception)
            for task in ready:  # which grows meanwhile
                task._resume()
        finally:
            ready = None

    def _advance(self, exception: BaseException | None) -> None:
        global current  # noqa: PLW0603  # a VM runs one at a time
        outer, current = current, self
        coroutine = self._coroutine
        self._awaited = None
        result: Any = None
        failure: BaseException | None = None
        try:
            while True:
                if coroutine is None:
                    return
                awaited = coroutine.send(None) if exception is None else coroutine.throw(exception)
                exception = self._wait_for(awaited)
                if exception is None:
                    return
        except StopIteration as stop:
            result = stop.value
        except BaseException as error:  # it is raised where the task is awaited, or reported
            if _errors.is_of_a_test(error):
                self._coroutine = None
                raise
            failure = error.with_traceback(getattr(error.__traceback__, "tb_next", None))
            _errors.make_room(failure)
        finally:
            current = outer
        try:
            self._finish_with(result, failure)  # not within `except`: who waits would seem to fail because of that
        finally:
            del failure  # its traceback leads to this frame

    def _finish_with(self, result: Any, failure: BaseException | None) -> None:
        """The coroutine has ended: let go of it, and let no exception go unheard."""
        self._coroutine = None
        heard = self._heard > 0
        if failure is None:
            self.set_result(result)
        else:
            self._fail(failure)
        tasks = self.context._abi_tasks
        if tasks is not None:
            tasks.pop(self, None)
        if self._exception is not None and not heard and not isinstance(self._exception, CancelledError):
            _errors.report(self.context, self.place, self._exception)
            self._exception.__traceback__ = self._traceback = None  # it holds all that the frames have

    def _wait_for(self, awaited: object) -> BaseException | None:
        """Wait for what a coroutine awaits. Gives what to throw into it instead."""
        if not isinstance(awaited, Future):
            return RuntimeError(f"a filter cannot await {_described(awaited)}: {ADVICE}")
        if self._cancelled is not None:
            exception, self._cancelled = self._cancelled, None
            return exception
        if (refusal := self._refuses_to_wait()) is not None:
            return refusal
        self._awaited = awaited
        awaited.when_done(self._go_on)
        return None

    def _refuses_to_wait(self) -> BaseException | None:
        """Why nothing can be waited for here, if so."""
        return None

    def _fail(self, error: BaseException) -> None:
        if _misses_loop(error) or (type(error) is AttributeError and error.name == "create_future"):
            error.add_note(f"A filter has no event loop of asyncio: {ADVICE}")
        self.set_exception(error)


_PATIENCE = 8
"""How often a coroutine whose context is gone may go on to await, or its tasks start others, in `finally` blocks."""

ADVICE = (
    "use what pywasmfilter has, such as http_call, grpc_call, sleep, gather, timeout and create_task; asyncio's need "
    "an event loop of its own"
)


def _misses_loop(error: BaseException) -> bool:
    """Whether asyncio found no loop, which it says in another way if there was one in the process before."""
    text = str(error) if type(error) is RuntimeError else ""
    return text.startswith(("no running event loop", "There is no current event loop"))


def _described(awaited: object) -> str:
    return "nothing (a bare yield, or asyncio.sleep(0))" if awaited is None else f"a {type(awaited).__name__}"


def create_task(context: Any, coroutine: Coroutine[Any, Any, R]) -> Task[R]:
    """Run a coroutine as a task of a context; see `Context.create_task`."""
    if not hasattr(coroutine, "send"):
        raise TypeError(
            f"create_task takes a coroutine, which calling an `async def` function gives, not {coroutine!r}"
        )
    if context._abi_over or not is_alive(context):
        coroutine.close()
        raise MisuseError(
            "no task can begin: its context is over, or still being created; `self.plugin` may have tasks"
        )
    task = Task(context, coroutine, f"the task {getattr(coroutine, '__qualname__', 'of a generator')}")
    _abi.host.notify_deletes()
    with EffectiveContext(context.context_id):
        task.start()
    return task


def end_all(context: Any) -> None:
    """A context is gone: its tasks are cancelled, so that their `finally` blocks run, and those that these start."""
    for _ in range(_PATIENCE):
        tasks, context._abi_tasks = context._abi_tasks, None
        for task in tasks or ():
            task.end()


def running_context(function: str) -> Any:
    """The context of the coroutine that runs. Raises MisuseError if none does."""
    if current is None:
        raise MisuseError(f"{function} is for coroutines: callbacks that are `async def`, and tasks")
    return current.context


def sleep(seconds: float) -> Future[None]:
    """Wait without holding up the proxy: `await sleep(0.5)`. In coroutines only; the least is a millisecond.

    Raises ValueError for a negative number, MisuseError outside of a coroutine (`proxy_set_tick_period_milliseconds`).
    """
    context = running_context("sleep")
    future = Future[None]()
    timer = timers_of(context).call_later(seconds, _Resolve(future), context)
    future.on_abandoned = timer.cancel
    return future


class _Resolve:
    """What a timer calls to end a sleep."""

    __slots__ = ("_future",)

    def __init__(self, future: Future[None]) -> None:
        self._future = future

    def __call__(self) -> None:
        self._future.set_result(None)


def gather(*awaitables: Awaitable[Any], return_exceptions: bool = False) -> Future[list[Any]]:
    """Wait for several things at once: `a, b = await gather(self.http_call(…), self.http_call(…))`.

    Gives the results in the order of the arguments: coroutines, which run as tasks, calls, other futures. If one
    raises, the others are cancelled and its exception is raised; with `return_exceptions` it stands in its place, as
    in asyncio. In coroutines only.
    """
    return _Gathering(running_context("gather"), awaitables, return_exceptions)


class _Gathering(Future["list[Any]"]):
    """The results of several futures."""

    __slots__ = ("_context", "_heard", "_members", "_missing", "_return_exceptions")

    def __init__(self, context: Any, awaitables: tuple[Awaitable[Any], ...], return_exceptions: bool) -> None:
        super().__init__()
        self._context = context
        self._heard = False
        self._return_exceptions = return_exceptions
        self._missing = len(awaitables)
        self._members: list[Future[Any]] = []
        self._members = [_as_future(context, awaitable) for awaitable in awaitables]
        self.on_abandoned = self._cancel
        for member in self._members:
            member.when_done(self._one_is_done)
        if not awaitables:
            self.set_result([])

    def _one_is_done(self) -> None:
        self._missing -= 1
        if self.done:
            return
        failed = next((m._exception for m in self._members if m.done and m._exception is not None), None)
        if failed is not None and not self._return_exceptions:
            heard = bool(self._waiting)
            self.set_exception(failed)
            self._cancel()
            if not heard:
                timers_of(self._context).call_later(0, self._report_unheard)
        elif not self._missing:
            self.set_result([member._result if (e := member._exception) is None else e for member in self._members])

    def _cancel(self) -> None:
        members, self._members = self._members, []
        for member in members:
            if not isinstance(member, Task):
                member.do_not_call(self._one_is_done)
            elif not member.done:
                member._heard -= 1  # what else it raises is heard by nobody here
                member.cancel()

    def result(self) -> list[Any]:
        """As of every future."""
        self._heard = True
        return super().result()

    def _report_unheard(self) -> None:
        """It had failed before anybody could await it, and nobody has done so since."""
        if self._exception is not None and not self._heard and not isinstance(self._exception, CancelledError):
            _errors.report(self._context, "gather", self._exception)


def _as_future(context: Any, awaitable: Any) -> Future[Any]:
    if isinstance(awaitable, Task):
        awaitable._heard += 1
    if isinstance(awaitable, Future):
        return awaitable
    task = Task(context, awaitable if hasattr(awaitable, "send") else _awaiting(awaitable), "a coroutine in gather")
    task._heard += 1
    task.start()
    return task


async def _awaiting(awaitable: Awaitable[R]) -> R:
    return await awaitable


class timeout:  # noqa: N801  # as asyncio's
    """Limit the time of a block: `async with timeout(0.5): …`. In coroutines only.

    When the time is up the block is cancelled where it waits, and TimeoutError is raised in its place.
    """

    __slots__ = ("_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> Self:
        context = running_context("timeout")
        self._task: Any = current
        self._timer = timers_of(context).call_later(self._seconds, self._expire, context)
        return self

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._timer.cancel()
        if self._expired and kind is not None and issubclass(kind, CancelledError):
            raise TimeoutError(f"it took longer than {self._seconds} seconds") from error
