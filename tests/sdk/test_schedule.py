"""Methods that are called by the clock and for what comes into queues, in both bodies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import HttpContext, LogLevel, PluginContext, _callbacks, every, on_queue
from pywasmfilter.testing import Body, Host
from tests.e2e.conftest import FILTERS
from tests.sdk.stateful import value


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Host:
    """A new host with the filter: `tick` every 10 seconds, `slow` after 1 or 2 and then every 10 to 12."""
    body: Body = request.param
    return Host(FILTERS / "state.py", body=body)


def messages(host: Host, *beginnings: str) -> list[str]:
    """What was logged with one of these beginnings."""
    return [message for message in host.messages if message.startswith(beginnings)]


def put(host: Host, queue: str, *items: str) -> None:
    """Put items into a shared queue, in one callback."""
    value(
        host,
        f"[hostcalls.enqueue_shared_queue(hostcalls.resolve_shared_queue('', {queue!r}), i) for i in {items}] and 0",
    )


def test_a_method_is_called_every_so_many_seconds(host: Host) -> None:
    """It first comes after its seconds, and then again and again; its failures are logged and do not end it."""
    host.advance(9.9)
    assert messages(host, "tick") == []
    host.advance(0.2)
    assert messages(host, "tick") == ["tick"]
    host.advance(40)
    assert messages(host, "tick") == ["tick"] * 5
    assert host.logged("uncaught exception in tick", LogLevel.ERROR)
    assert host.logged("ValueError: every tick fails")


def test_failures_are_counted(host: Host) -> None:
    """The metric of exceptions has each of them, logged or not."""
    host.advance(50.1)
    assert host.metrics["pywasmfilter_exceptions_plugin=state"].value == 5


def test_an_async_method_does_not_overlap_itself(host: Host) -> None:
    """`slow` takes 25 seconds: two of its calls are left out meanwhile, and the third one comes."""
    host.advance(1)
    assert messages(host, "slow") == []
    host.advance(2.1)
    assert messages(host, "slow") == ["slow begins"]
    host.advance(22.8)
    assert messages(host, "slow") == ["slow begins"]
    host.advance(2.2)
    assert messages(host, "slow") == ["slow begins", "slow ends"]
    host.advance(12)
    assert messages(host, "slow") == ["slow begins", "slow ends", "slow begins"]


def test_workers_do_not_call_at_once(host: Host) -> None:
    """With jitter each has a moment of its own."""
    for _ in range(4):
        host.start(new_vm=True)
    begins = set()
    for step in range(300):
        before = len(messages(host, "slow begins"))
        host.advance(0.011)
        if len(messages(host, "slow begins")) > before:
            begins.add(step)
    host.advance(1)
    assert len(messages(host, "slow begins")) == 5
    assert len(begins) > 1


def test_a_plugin_that_is_gone_is_not_called(host: Host) -> None:
    """Its timers end with it, and its coroutines too."""
    host.advance(4)
    host.close()
    before = len(host.log)
    host.advance(100)
    assert len(host.log) == before


def test_a_method_gets_the_items_of_a_queue(host: Host) -> None:
    """All of them, in order, as bytes; one that fails is logged, and the next ones come."""
    put(host, "plain", "one", "bad", "", "\udcff")
    assert messages(host, "plain") == ["plain b'one'", "plain b''", "plain b'\\xff'"]
    assert host.logged("uncaught exception in take", LogLevel.ERROR)
    assert host.metrics["pywasmfilter_exceptions_plugin=state"].value == 1


def test_other_queues_go_to_on_queue_ready(host: Host) -> None:
    """A queue that the plugin registers itself is not taken away from its own callback."""
    value(host, "hostcalls.set_effective_context(self.plugin.context_id) or hostcalls.register_shared_queue('own') * 0")
    put(host, "own", "item")
    assert messages(host, "raw", "plain", "begins") == ["raw b'item'"]


def test_an_async_method_works_on_so_many_items(host: Host) -> None:
    """Two at a time here, begun in order, each as soon as one has ended."""
    put(host, "async", "1", "3", "0.5", "0.25")
    assert messages(host, "begins", "ends") == ["begins b'1'", "begins b'3'"]
    host.advance(1)
    assert messages(host, "begins", "ends")[2:] == ["ends b'1'", "begins b'0.5'"]
    host.advance(5)
    assert messages(host, "begins", "ends")[4:] == ["ends b'0.5'", "begins b'0.25'", "ends b'0.25'", "ends b'3'"]


def test_failures_of_an_async_method(host: Host) -> None:
    """They are logged and counted, and the next items come."""
    put(host, "async", "no number", "no number", "no number", "1")
    host.advance(1)
    assert messages(host, "ends") == ["ends b'1'"]
    assert host.logged("ValueError: could not convert string to float")
    assert host.metrics["pywasmfilter_exceptions_plugin=state"].value == 3


def test_many_items_give_others_their_turn(host: Host) -> None:
    """A callback takes a hundred items, and the rest comes soon after it: none is left over."""
    value(
        host, "hostcalls.set_effective_context(self.plugin.context_id) or hostcalls.register_shared_queue('plain') * 0"
    )
    items = [str(number) for number in range(250)]
    queue = next(queue for queue in host.queues.values() if queue.key[1] == "plain")
    queue.items.extend(item.encode() for item in items)
    put(host, "plain", "last")
    assert len(messages(host, "plain")) == 100
    host.advance(0.1)
    assert messages(host, "plain") == [f"plain {item.encode()!r}" for item in [*items, "last"]]


def test_what_is_in_a_queue_already_is_taken(host: Host) -> None:
    """A plugin that starts takes over what another one has left; the last to start has the queue."""
    queue = next(queue for queue in host.queues.values() if queue.key[1] == "plain")
    queue.items.append(b"left over")
    worker = host.start(new_vm=True)
    host.advance(0.1)
    assert messages(host, "plain") == ["plain b'left over'"]
    value(worker, "seen.clear()")
    put(host, "plain", "new")
    assert messages(host, "plain")[1:] == ["plain b'new'"]


def test_the_end_of_a_plugin_leaves_the_queue_alone(host: Host) -> None:
    """What its coroutines did not come to stays for another one."""
    put(host, "async", "5", "5", "1")
    host.close()
    queue = next(queue for queue in host.queues.values() if queue.key[1] == "async")
    assert list(queue.items) == [b"1"]
    assert messages(host, "ends") == []


@pytest.mark.parametrize(
    ("decorate", "error", "message"),
    [
        (lambda: every(0), ValueError, r"@every\(0, first=None, jitter=0.0\): it is 0.001 to 2147483 seconds"),
        (lambda: every(float("nan")), ValueError, "it is 0.001 to 2147483 seconds"),
        (lambda: every(30 * 86400, first=0), ValueError, "it is 0.001 to 2147483 seconds"),
        (lambda: every(1, first=float("inf")), ValueError, "it is 0.001 to 2147483 seconds"),
        (lambda: every(1, first=-1), ValueError, ", 0 or more for the others"),
        (lambda: every(1, jitter=-1), ValueError, ", 0 or more for the others"),
        (lambda: every(print), TypeError, r"@every needs its seconds: @every\(60\)"),  # type: ignore[arg-type]
        (lambda: on_queue(print), TypeError, "@on_queue needs the name of the queue"),  # type: ignore[arg-type]
        (lambda: on_queue(""), TypeError, "@on_queue needs the name of the queue"),
        (lambda: on_queue("q", concurrency=0), ValueError, "concurrency is 1 or more, not 0"),
    ],
)
def test_wrong_decorators(decorate: Callable[[], object], error: type[Exception], message: str) -> None:
    """They are refused where they stand, which is when the filter is built."""
    with pytest.raises(error, match=message):
        decorate()


def test_a_method_of_a_stream_is_refused() -> None:
    """Streams come and go: only a plugin can have methods that are called by themselves. The build says so."""

    class Stream(HttpContext):
        @every(1)
        def refresh(self) -> None: ...

    with pytest.raises(TypeError, match=r"Stream\.refresh: @every and @on_queue are for methods of a PluginContext"):
        _callbacks.check_names(Stream, HttpContext)


def test_the_callbacks_that_are_exported() -> None:
    """proxy_on_queue_ready is there for a method with @on_queue, of the class or of what it inherits."""

    class Mixin:
        @on_queue("jobs")
        def work(self, item: bytes) -> None: ...

    class WithQueue(Mixin, PluginContext): ...

    class WithTimer(PluginContext):
        @every(1)
        def refresh(self) -> None: ...

    class Overridden(WithQueue):
        def work(self, item: bytes) -> None: ...

    assert _callbacks.of_class(WithQueue) == {"proxy_on_queue_ready"}
    assert _callbacks.of_class(WithTimer) == set()
    assert _callbacks.of_class(Overridden) == set()
