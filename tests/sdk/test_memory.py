"""What a VM says of its memory, and what watches it: against the memory itself, and in both bodies where it can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler import build

from pywasmfilter import HttpContext, LogLevel, PluginContext, memory
from pywasmfilter.testing import Body, Host, Plugin, Unfinished
from tests.e2e.conftest import FILTERS

if TYPE_CHECKING:
    from tests.sdk.conftest import MemoryHost

FILTER = FILTERS / "memory_use.py"
MIB = 1 << 20
LIMIT = {"soft_limit_bytes": 16 * MIB}
SOAK = Path(__file__).parents[2] / "benchmarks" / "soak_filter.py"


@pytest.fixture
def module() -> Host:
    """The filter as a module."""
    return Host(FILTER, body="wasm")


def use(worker: Host | Plugin, path: str = "/", count: int = 1) -> dict[str, int]:
    """What the memory holds after a request that does something with it."""
    found: dict[str, int] = worker.request(path=path, headers={"x-count": str(count)}).json()
    return found


def linear_memory(plugin: Plugin) -> int:
    """The size of a module's memory, as its host sees it."""
    guest: Any = plugin.vm.guest
    size: int = guest._memory.data_len(guest.store)
    return size


# Statistics


def streams(host: Host) -> tuple[int, int]:
    """How many have begun, and how many there are, with the one that asks."""
    found = use(host)
    return found["requests"], found["streams"]


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_requests_and_streams(body: Body) -> None:
    """Each stream that begins is a request, and is a stream until it is over; a plugin is neither."""
    with Host(FILTER, body=body) as host:
        assert streams(host) == (1, 1)
        waiting = [host.open_http(lambda _: None) for _ in range(3)]
        for stream in waiting:
            stream.send_headers({":method": "GET", ":path": "/pass", ":authority": "x"}, end_of_stream=True)
        host.start()
        assert streams(host) == (5, 4)
        for stream in waiting:
            stream.abort()
        assert streams(host) == (6, 1)


def test_sizes_under_a_plain_python() -> None:
    """Where no memory is a VM's own, sizes are 0; objects and blocks are those of the process."""
    with Host(FILTER, body="python") as host:
        found = use(host, "/objects", 10_000)
        assert (found["memory_bytes"], found["max_bytes"], found["used_bytes"]) == (0, 0, 0)
        assert found["objects"] > 10_000
        assert found["blocks"] > 10_000


def test_size_of_the_memory(module: Host) -> None:
    """It is that of the linear memory; its bound is the one of the build, and more than that is a MemoryError."""
    found = use(module)
    assert found["memory_bytes"] == linear_memory(module.plugin)
    assert found["max_bytes"] == 256 * MIB
    assert module.request(path="/bytes", headers={"x-count": str(256 * MIB)}).status == 500
    assert module.logged("MemoryError")


def test_bound_of_the_build(tmp_path: Path) -> None:
    """`--max-memory` is what `max_bytes` says, also where it does not fit into 32 bits."""
    for mebibytes in (32, 4096):
        with Host(build(FILTER, tmp_path / "bounded.wasm", max_memory=mebibytes).path, body="wasm") as host:
            assert use(host)["max_bytes"] == mebibytes * MIB


def test_large_blocks_come_and_go(module: Host) -> None:
    """10 MB more are 10 MB more in use, in one block, and in use no longer when they are freed. The memory stays."""
    before = use(module)
    kept = use(module, "/bytes", 10_000_000)
    assert 10_000_000 <= kept["used_bytes"] - before["used_bytes"] < 10_050_000
    assert kept["memory_bytes"] == linear_memory(module.plugin) > before["memory_bytes"]
    freed = use(module, "/free")
    assert abs(freed["used_bytes"] - before["used_bytes"]) < 50_000
    assert freed["memory_bytes"] == kept["memory_bytes"]
    again = use(module, "/bytes", 10_000_000)
    assert again["memory_bytes"] == kept["memory_bytes"]  # what was freed is used again


def test_objects_come_and_go(module: Host) -> None:
    """Lists are objects and blocks, until they are freed: the lists themselves, and what holds their items."""
    before = use(module)
    kept = use(module, "/objects", 10_000)
    assert 10_000 <= kept["objects"] - before["objects"] < 10_100
    assert 20_000 <= kept["blocks"] - before["blocks"] < 31_000  # most of the numbers are objects too
    assert kept["used_bytes"] - before["used_bytes"] > 10_000 * 32
    freed = use(module, "/free")
    assert abs(freed["objects"] - before["objects"]) < 100
    assert abs(freed["blocks"] - before["blocks"]) < 500


def test_what_is_in_the_module_is_no_work_for_collections(module: Host) -> None:
    """The objects of the build are not among those that a collection looks at."""
    assert use(module)["objects"] < 200


def test_collections(module: Host) -> None:
    """They count from the start of the VM: none at first, then the one that is asked for."""
    assert use(module)["collections"] == 0
    assert use(module, "/collect")["collections"] == 1


def test_statistics_show_themselves(host: MemoryHost) -> None:
    """`repr` names every figure."""
    host.memory = [65536, 1 << 28, 1000, 10, 7]
    found = repr(memory.statistics())
    assert found.startswith(
        "MemoryStatistics(memory_bytes=65536, max_bytes=268435456, used_bytes=1000, blocks=10, requests=7, "
    )
    assert re.search(r", streams=0, objects=\d+, collections=\d+\)$", found)


# The guard


def guarded(**arguments: Any) -> Host:
    """The filter as a module, with a guard."""
    return Host(FILTER, body="wasm", configuration=LIMIT | arguments)


def collections(host: Host) -> list[str]:
    """What was logged of garbage collections."""
    return [message for message in host.messages if message.startswith("memory: ")]


def test_garbage_is_collected_above_the_limit() -> None:
    """After the interval, on a tick: a line in the log says how much there was, and how much is left."""
    with guarded() as host:
        full = use(host, "/garbage", 2000)
        assert full["used_bytes"] > 20 * MIB
        host.advance(9.9)
        assert collections(host) == []
        host.advance(0.2)
        (line,) = collections(host)
        left = use(host)
        assert re.fullmatch(
            r"memory: 2\d\.\d MiB in use, above the soft limit of 16\.0 MiB; "
            r"a garbage collection took 0\.0 ms and left (\d\.\d) MiB",
            line,
        )
        assert left["used_bytes"] < 16 * MIB
        assert host.logged("memory: ", LogLevel.INFO)
        assert [callback.name for callback in host.trace if callback.calls and "soft limit" in str(callback.calls)] == [
            "proxy_on_tick"
        ]


def test_nothing_happens_below_the_limit() -> None:
    """Garbage stays where it is as long as there is room for it."""
    with guarded() as host:
        before = use(host, "/garbage", 100)
        host.advance(1000)
        assert collections(host) == []
        assert use(host)["collections"] == before["collections"]


def test_collections_that_free_little_become_rarer() -> None:
    """They come at the checks 1, 3, 7, … 63, 127, and then at each 64th; each is a warning."""
    with guarded() as host:
        use(host, "/bytes", 20 * MIB)
        for checks, expected in ((1, 1), (1, 1), (1, 2), (3, 2), (1, 3), (120, 7), (63, 7), (1, 8), (63, 8), (1, 9)):
            host.advance(checks * 10)
            assert len(collections(host)) == expected
        assert not host.logged("memory: ", LogLevel.INFO)


def test_a_fall_below_the_limit_begins_afresh() -> None:
    """Once the memory was below the limit, the next rise is worth a collection at once."""
    with guarded() as host:
        use(host, "/bytes", 20 * MIB)
        host.advance(500)
        use(host, "/free")
        host.advance(10)
        before = len(collections(host))
        use(host, "/garbage", 2000)
        host.advance(10)
        assert len(collections(host)) == before + 1


def test_collections_that_free_much_do_not_become_rarer() -> None:
    """Where each of them finds something they come at each check, also if the limit stays exceeded."""
    with guarded(interval=2) as host:
        use(host, "/bytes", 20 * MIB)
        for expected in range(1, 6):
            use(host, "/garbage", 1000)
            host.advance(2)
            assert len(collections(host)) == expected


def test_published_sums() -> None:
    """The gauges have the sums over the VMs that publish, each of them once; a plugin that goes takes back its part."""
    with guarded(publish=True) as host:
        other = host.start(new_vm=True, configuration=LIMIT | {"publish": True})
        assert "pywasmfilter_memory_bytes" not in host.metrics
        use(other, "/bytes", 30 * MIB)
        host.advance(60)
        sizes = [linear_memory(host.plugin), linear_memory(other)]
        assert host.metrics["pywasmfilter_memory_bytes"].value == sum(sizes)
        assert host.metrics["pywasmfilter_memory_vms"].value == 2
        used = use(host)["used_bytes"] + use(other)["used_bytes"]
        assert abs(host.metrics["pywasmfilter_memory_used_bytes"].value - used) < 50_000
        other.shut_down()
        assert host.metrics["pywasmfilter_memory_bytes"].value == sizes[0]
        assert host.metrics["pywasmfilter_memory_vms"].value == 1
        host.plugin.shut_down()
        assert [metric.value for metric in host.metrics.values()] == [0, 0, 0]


def test_a_vm_has_one_guard() -> None:
    """Of two plugins in a VM the last one watches, and what the first one published is there once."""
    with guarded(publish=True) as host:
        host.advance(10)
        later = host.start(configuration={"soft_limit_bytes": 1, "publish": True})
        assert later.vm is host.plugin.vm
        host.advance(10)
        assert len(collections(host)) == 1
        assert host.metrics["pywasmfilter_memory_vms"].value == 1
        host.plugin.shut_down()
        assert host.metrics["pywasmfilter_memory_bytes"].value == linear_memory(later)


def test_under_a_plain_python_it_does_nothing() -> None:
    """There is nothing to look at, and nothing goes wrong."""
    with Host(FILTER, body="python", configuration={"soft_limit_bytes": 1, "publish": True}) as host:
        host.advance(100)
        assert host.messages == []
        assert host.metrics["pywasmfilter_memory_vms"].value == 1
        host.plugin.shut_down()
        assert host.metrics["pywasmfilter_memory_vms"].value == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"soft_limit_bytes": 0}, "ValueError: a soft limit is 1 byte or more, not 0"),
        ({"soft_limit_bytes": 1, "interval": 0.5}, "ValueError: an interval is 1 second or more, not 0.5"),
        ({"soft_limit_bytes": 1, "interval": float("nan")}, "ValueError: an interval is 1 second or more, not nan"),
    ],
)
def test_numbers_that_make_no_sense(host: MemoryHost, arguments: dict[str, Any], message: str) -> None:
    """They are refused before anything is watched."""
    plugin = PluginContext()
    kind, _, text = message.partition(": ")
    with pytest.raises(ValueError, match=re.escape(text)) as caught:
        memory.guard(plugin, **arguments)
    assert type(caught.value).__name__ == kind
    assert host.calls == []


def test_a_stream_has_no_guard(host: MemoryHost) -> None:
    """The context of a stream is refused, with where to call it instead."""
    stream: Any = HttpContext(2)
    with pytest.raises(TypeError, match=r"takes the context of a plugin, not .*; call it in on_plugin_start"):
        memory.guard(stream, soft_limit_bytes=1)


# Growth


def test_nothing_grows() -> None:
    """After a warm-up, streams of every kind leave nothing behind: answers, exceptions, bodies, cycles, aborts."""
    with Host(SOAK, body="wasm") as host:
        found = [soak(host, 1000) for _ in range(4)]
    assert found[0]["memory_bytes"] == found[-1]["memory_bytes"]
    for name in ("used_bytes", "blocks", "objects", "streams"):
        assert found[-1][name] <= found[0][name] * 1.01, found


def soak(host: Host, count: int) -> dict[str, int]:
    """Many streams; what the memory holds after a garbage collection."""
    for number in range(count // 8):
        for path in ("/plain", "/answer", "/cycle", "/raise", "/cycle", "/plain"):
            assert host.request(path=path).status == (500 if path == "/raise" else 200)
        assert host.request("POST", "/echo", body=["some ", "body"]).sent.body == b"SOME BODY"  # type: ignore[union-attr]
        aborted = host.open_http()
        aborted.send_headers({":method": "POST", ":path": "/echo", ":authority": "x"})
        aborted.send_body("half")
        aborted.abort()
        with pytest.raises(Unfinished):
            aborted.status  # noqa: B018  # there is none
        if number % 10 == 0:
            host.trace.callbacks.clear()
            host.log.clear()
    found: dict[str, int] = host.request(path="/collected").json()
    return found
