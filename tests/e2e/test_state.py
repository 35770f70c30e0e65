"""Caches, limits, timers and queues in Envoy, with two workers that work at the same time."""

from __future__ import annotations

import ast
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler import build
from pywasmfilter_compiler.envoy.bootstrap import WasmPlugin, bootstrap, direct_response, http_listener
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

PATIENCE = 20  # seconds


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """The filter, in two workers."""
    plugin = WasmPlugin(build_filter("state").path, vm_id="state")
    listener = http_listener([plugin], [direct_response(200, "direct")], name="main")
    with EnvoyProcess(bootstrap([listener]), concurrency=2) as process:
        yield process


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("main")


def text(port: int, code: str) -> str:
    """What the filter makes of an expression."""
    response = request(port, headers=[("x-code", code)])
    assert response.status == 200, response
    return response.body.decode()


def value(port: int, code: str) -> Any:
    """The value of an expression in one of the workers."""
    return ast.literal_eval(text(port, code))


def of_both_workers(port: int, code: str) -> list[Any]:
    """The value of an expression in each worker."""
    found: dict[str, Any] = {}
    deadline = time.monotonic() + PATIENCE
    while len(found) < 2:
        assert time.monotonic() < deadline, "one worker gets all the connections"
        worker, answer = value(port, f"(WORKER, {code})")
        found[worker] = answer
    return list(found.values())


def at_once(port: int, code: str, times: int) -> list[Any]:
    """The values of an expression, asked for by eight clients at the same time."""
    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(lambda _: value(port, code), range(times)))


def test_workers_have_one_cache(port: int) -> None:
    """What one has put into it both get, until its time is up."""
    assert value(port, "VALUES.set('k', {'a': 1})") is True
    assert of_both_workers(port, "VALUES.get('k')") == [{"a": 1}] * 2
    value(port, "VALUES.set('short', 1, ttl=0.2)")
    deadline = time.monotonic() + PATIENCE
    while value(port, "VALUES.get('short')") is not None:
        assert time.monotonic() < deadline
    assert of_both_workers(port, "(VALUES.get('short'), VALUES.get('k'))") == [(None, {"a": 1})] * 2
    value(port, "VALUES.delete('k')")
    assert of_both_workers(port, "VALUES.get('k')") == [None] * 2


@pytest.mark.parametrize("attempt", range(5))
def test_no_update_is_lost(port: int, attempt: int) -> None:
    """Not even one of the first, which find nothing: the key is new in each attempt."""
    values = at_once(port, f"[VALUES.update('n {attempt}', lambda old: (old or 0) + 1) for _ in range(20)]", 40)
    assert sorted(number for numbers in values for number in numbers) == list(range(1, 801))


def test_a_shared_limit_is_exact(port: int) -> None:
    """However many ask at once, as many as there are tokens get one."""
    code = "NAMES.setdefault('hundred', SharedTokenBucket('hundred', rate=0.001, burst=100)).take('k')"
    assert sum(at_once(port, code, 300)) == 100
    first, second = of_both_workers(port, "hundred.retry_after('k')")
    assert 900 < first <= 1000
    assert abs(first - second) < PATIENCE


def test_a_workers_limit_is_for_each_worker(port: int) -> None:
    """Both let their own hundred pass, and no more."""
    code = "(WORKER, NAMES.setdefault('own', TokenBucket(rate=0.001, burst=100)).take())"
    answers = at_once(port, code, 600)
    workers = {worker for worker, _ in answers}
    for worker in workers:
        assert sum(passed for name, passed in answers if name == worker) <= 100
    assert 100 <= sum(passed for _, passed in answers) <= 200
    assert len(workers) == 2


def beats(envoy: EnvoyProcess) -> list[int]:
    """How often each VM's timer has called."""
    return [int(number) for number in re.findall(r"wasmcustom\.beats_worker=\w+: (\d+)", envoy.admin("/stats"))]


def test_methods_are_called_by_the_clock(envoy: EnvoyProcess) -> None:
    """In both workers and on the main thread, again and again, beside a method that fails and one that waits."""
    deadline = time.monotonic() + PATIENCE
    while len([number for number in beats(envoy) if number >= 3]) < 3:
        assert time.monotonic() < deadline, beats(envoy)
    envoy.wait_for_log("tick", PATIENCE, count=3)
    envoy.wait_for_log("uncaught exception in tick\nTraceback", PATIENCE, count=3)
    envoy.wait_for_log("slow begins", PATIENCE, count=3)
    assert [line for line in envoy.wasm_log() if line.message == "slow ends"] == []


def put(port: int, queue: str, items: list[str]) -> None:
    """Put items into a shared queue."""
    value(
        port,
        f"[hostcalls.enqueue_shared_queue(hostcalls.resolve_shared_queue('', {queue!r}), i) for i in {items}] and 0",
    )


def test_methods_get_the_items_of_queues(envoy: EnvoyProcess, port: int) -> None:
    """Each item once, in order, whichever of three VMs has the queue; a failure is logged and the next one comes."""
    items = [str(number) for number in range(300)]
    put(port, "plain", [*items[:150], "bad", *items[150:]])
    envoy.wait_for_log("plain ", PATIENCE, count=300)
    logged = [line.message for line in envoy.wasm_log() if line.message.startswith("plain ")]
    assert logged == [f"plain {item.encode()!r}" for item in items]
    envoy.wait_for_log("uncaught exception in take\nTraceback", PATIENCE)
    put(port, "async", ["0.02"] * 20)
    envoy.wait_for_log("ends b'0.02'", PATIENCE, count=20)


def test_concurrent_callers_share_a_call(port: int) -> None:
    """In each worker there is one call for all that ask meanwhile, and later ones get what the first had kept."""
    value(port, "seen.clear()")
    answers = set(at_once(port, "looked_up(self, 'shared')", 16))
    assert 1 <= len(answers) <= 2
    assert len(set(at_once(port, "looked_up(self, 'shared')", 16)) - answers) == 0


def test_a_caller_that_leaves_is_replaced(port: int) -> None:
    """Clients that go away while a call is on its way leave nobody waiting."""
    message = b"GET / HTTP/1.1\r\nhost: test.local\r\nx-code: looked_up(self, 'left')\r\n\r\n"
    leaving = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in leaving:
        connection.sendall(message)
    with ThreadPoolExecutor(8) as clients:
        waiting = [clients.submit(value, port, "looked_up(self, 'left')") for _ in range(8)]
        for connection in leaving:
            connection.close()
        assert all(client.result(PATIENCE).startswith("left ") for client in waiting)


def test_what_is_not_logged_is_not_formatted(envoy: EnvoyProcess, port: int) -> None:
    """Envoy's level is info here."""
    code = (
        "(seen.clear(), logger.debug('%r', Expensive()), list(seen), logger.isEnabledFor(10), logger.isEnabledFor(20))"
    )
    assert value(port, code) == (None, None, [], False, True)
    assert value(port, "(seen.clear(), logger.info('%r', Expensive()), list(seen))")[2] == ["formatted"]
    envoy.wait_for_log("state: expensive", PATIENCE)


OPTIONAL = {f"pywasmfilter.{name}" for name in ("_slots", "cache", "rate_limit", "schedule")}
USES_ALL = """
from pywasmfilter import Cache, HttpContext, TokenBucket, every, http_filter

@http_filter("uses-all")
class UsesAll(HttpContext): ...
"""


def test_a_filter_carries_what_it_uses(build_filter: FilterBuilder) -> None:
    """Caches, limits and schedules are in a module whose code imports them, and in no other."""
    assert {name for name, _ in build_filter("state").modules} >= OPTIONAL
    assert not OPTIONAL & {name for name, _ in build_filter("services").modules}


def test_that_is_all_it_carries(tmp_path: Path) -> None:
    """None of them brings more of the standard library with it."""
    (tmp_path / "filter.py").write_text(USES_ALL, encoding="utf-8")
    modules = {name for name, _ in build(tmp_path / "filter.py", tmp_path / "filter.wasm").modules}
    assert {name for name in modules if not name.startswith("encodings.")} == {"filter", "copyreg", *OPTIONAL}
