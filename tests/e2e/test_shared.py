"""What VMs share: data under keys, counted by workers at the same time, and queues from one VM to another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    WasmPlugin,
    bootstrap,
    direct_response,
    http_listener,
    wasm_service,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request
from tests.e2e.scripting import INCLUDED, evaluate, failure, logged, run, script, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

RECEIVER = script("""
    def on_plugin_start(self, plugin_configuration_size):
        self.queue = hostcalls.register_shared_queue("work")
        again = hostcalls.register_shared_queue("work")
        log.info(f"receiver: registered {self.queue == again} {properties.plugin.vm_id}")

    def take(queue_id):
        try:
            item = hostcalls.dequeue_shared_queue(queue_id)
        except Empty as error:
            log.info(f"received {error}")
        else:
            log.info(f"received {item}")
            return item

    def on_queue_ready(self, queue_id):
        item = take(queue_id)
        if item == b"take both":
            hostcalls.enqueue_shared_queue(queue_id, "first")
            hostcalls.enqueue_shared_queue(queue_id, "second")
        if item == b"first":
            take(queue_id)
""")

COUNTING = script("""
    def on_http_request_headers(self, *_):
        shared.setdefault("worker", self.request.headers["x-request-id"])
        for _ in range(10):
            new = hostcalls.update_shared_data("count", lambda old: str(int(old) + 1))
        return self.send_http_response(200, body=repr((int(new), shared["worker"])))
""")


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """Two workers; plugins of two vm_ids, and a service that receives what the others put into its queue."""
    module = build_filter("scripted", include=INCLUDED).path
    plugins = {
        "one": WasmPlugin(module, root_id="http", vm_id="one"),
        "other": WasmPlugin(module, root_id="http", vm_id="other"),
        "counting": WasmPlugin(module, root_id="http", vm_id="one", configuration=COUNTING),
    }
    listeners = [
        http_listener([plugin], [direct_response(200, "direct")], name=name) for name, plugin in plugins.items()
    ]
    receiver = WasmPlugin(module, root_id="http", vm_id="receiver", configuration=RECEIVER)
    with EnvoyProcess(bootstrap(listeners, services=[wasm_service(receiver)]), concurrency=2) as process:
        yield process


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("one")


def test_shared_data(port: int) -> None:
    """A value is stored under its key with a number; the number of an old one is refused, and 0 stores in any case."""
    code = """
        def on_http_request_headers(self, *_):
            missing = failure(hostcalls.get_shared_data, "key")
            hostcalls.set_shared_data("key", b"a\\0b")
            value, cas = hostcalls.get_shared_data("key")
            hostcalls.set_shared_data(b"key", "text", cas)
            old = failure(hostcalls.set_shared_data, "key", "late", cas)
            kept = hostcalls.get_shared_data("key")[0]
            hostcalls.set_shared_data("key", "", 0)
            answer = missing, value, cas > 0, old, kept, hostcalls.get_shared_data("key")[0]
            return self.send_http_response(200, body=repr(answer))
    """
    assert value(run(port, code)) == (
        "NotFound: proxy_get_shared_data: NOT_FOUND (1)",
        b"a\0b",
        True,
        "CasMismatch: proxy_set_shared_data: CAS_MISMATCH (8)",
        b"text",
        b"",
    )


def test_update_shared_data(port: int) -> None:
    """A value is replaced by what the function makes of it, of None at first; somebody else's change calls it again."""
    code = """
        def on_http_request_headers(self, *_):
            seen = []

            def update(old):
                seen.append(old)
                if len(seen) == 2:
                    hostcalls.set_shared_data("updated", "somebody else's")
                return (old or b"") + b"!"

            answer = hostcalls.update_shared_data("updated", update), hostcalls.update_shared_data("updated", update)
            return self.send_http_response(200, body=repr((*answer, seen)))
    """
    assert value(run(port, code)) == (b"!", b"somebody else's!", [None, b"!", b"somebody else's"])


def test_data_are_shared_by_vm_id(envoy: EnvoyProcess, port: int) -> None:
    """Plugins with one vm_id see each other's data; others do not."""
    evaluate(port, "hostcalls.set_shared_data('mine', '1')")
    assert evaluate(port, "hostcalls.get_shared_data('mine')[0]") == b"1"
    assert failure(envoy.listener_port("other"), "hostcalls.get_shared_data('mine')").startswith("NotFound")


def test_workers_count_together(envoy: EnvoyProcess, port: int) -> None:
    """No update is lost when both workers change the same value at the same time."""
    evaluate(port, "hostcalls.set_shared_data('count', '0')")
    counting = envoy.listener_port("counting")
    with ThreadPoolExecutor(8) as clients:
        answers = [value(answer) for answer in clients.map(lambda _: request(counting), range(200))]
    assert evaluate(port, "hostcalls.get_shared_data('count')[0]") == b"2000"
    assert len({worker for _, worker in answers}) == 2
    assert len({count for count, _ in answers}) == len(answers)


def test_items_go_from_one_vm_to_another(envoy: EnvoyProcess, port: int) -> None:
    """What is put into a queue is taken out in order, in the plugin that registered it."""
    envoy.wait_for_log("receiver: registered True receiver", 10)
    code = """
        def on_http_request_headers(self, *_):
            queue = hostcalls.resolve_shared_queue("receiver", "work")
            for item in ITEMS:
                hostcalls.enqueue_shared_queue(queue, item)
            return self.send_http_response(200)
    """
    run(port, code.replace("ITEMS", "['one', b'two\\0', '']"))
    envoy.wait_for_log("received b''", 10)
    assert logged(envoy, "received ") == ["b'one'", "b'two\\x00'", "b''"]


def test_queue_may_be_empty_when_it_is_ready(envoy: EnvoyProcess, port: int) -> None:
    """on_queue_ready comes for each item; when somebody took one before, the queue is empty then, and says so."""
    code = """
        def on_http_request_headers(self, *_):
            queue = hostcalls.resolve_shared_queue("receiver", "work")
            hostcalls.enqueue_shared_queue(queue, "take both")
            return self.send_http_response(200)
    """
    run(port, code)
    envoy.wait_for_log("received proxy", 10)
    assert logged(envoy, "received ")[-4:] == [
        "b'take both'",
        "b'first'",
        "b'second'",
        "proxy_dequeue_shared_queue: EMPTY (7)",
    ]


def test_wrong_queues(port: int) -> None:
    """A queue that nobody registered, and an id that no queue has, are NotFound, with advice."""
    for expression, advice in [
        ("hostcalls.resolve_shared_queue('receiver', 'unknown')", "no VM with this vm_id has registered a queue of"),
        ("hostcalls.resolve_shared_queue('', 'work')", "no VM with this vm_id has registered a queue of"),
        ("hostcalls.enqueue_shared_queue(4711, 'item')", "no queue has this id"),
        ("hostcalls.dequeue_shared_queue(4711)", "no queue has this id"),
    ]:
        name = expression.partition("(")[0].removeprefix("hostcalls.")
        assert failure(port, expression).startswith(f"NotFound: proxy_{name}: NOT_FOUND (1); {advice}")
