"""The memory of VMs in a real proxy: what they say of it, what watches it, and that it does not grow."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.bootstrap import WasmPlugin, bootstrap, direct_response, http_listener
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request
from tests.e2e.scripting import eventually
from tests.pages import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

MIB = 1 << 20
LIMIT = 16 * MIB


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """One worker, whose memory is looked at each second."""
    arguments = json.dumps({"soft_limit_bytes": LIMIT, "interval": 1, "publish": True}).encode()
    plugin = WasmPlugin(build_filter("memory_use", max_memory=64).path, configuration=arguments)
    with EnvoyProcess(bootstrap([http_listener([plugin], [direct_response(200, "direct")])])) as process:
        yield process


def use(envoy: EnvoyProcess, path: str = "/", count: int = 1) -> dict[str, int]:
    """What the worker's memory holds after a request that does something with it."""
    response = request(envoy.listener_port("pyfilter"), path=path, headers=[("x-count", str(count))])
    assert response.status == 200, response
    found: dict[str, int] = json.loads(response.body)
    return found


def gauge(envoy: EnvoyProcess, name: str) -> int:
    """The value of one of the gauges."""
    found = re.search(rf"^wasmcustom\.pywasmfilter_memory_{name}: (\d+)$", envoy.admin("/stats"), re.MULTILINE)
    return 0 if found is None else int(found[1])


def test_statistics(envoy: EnvoyProcess) -> None:
    """What is kept is in use, up to the bound of the build; the memory has grown by it, and stays as large."""
    before = use(envoy)
    kept = use(envoy, "/bytes", 5 * MIB)
    freed = use(envoy, "/free")
    assert before["max_bytes"] == 64 * MIB
    assert 5 * MIB <= kept["used_bytes"] - before["used_bytes"] < 5 * MIB + 50_000
    assert abs(freed["used_bytes"] - before["used_bytes"]) < 50_000
    assert before["memory_bytes"] <= kept["memory_bytes"] == freed["memory_bytes"]
    assert freed["requests"] == before["requests"] + 2
    assert freed["streams"] == 1


def test_guard(envoy: EnvoyProcess) -> None:
    """Garbage above the limit is collected, and a line in the log says so."""
    full = use(envoy, "/garbage", 2000)
    assert full["used_bytes"] > LIMIT
    line = envoy.wait_for_log(re.compile(r"memory: .* MiB in use, above the soft limit of 16\.0 MiB"), 10)
    assert re.search(r"took \d+\.\d ms and left \d\.\d MiB$", line.message)
    left = use(envoy)
    assert left["used_bytes"] < LIMIT
    assert left["collections"] > full["collections"]


def test_gauges_are_sums_over_all_vms(envoy: EnvoyProcess) -> None:
    """The VMs of the worker and of the main thread have published, the one that Envoy only tried has not."""
    assert eventually(lambda: gauge(envoy, "vms"), 2) == 2
    size = use(envoy, "/bytes", 30 * MIB)["memory_bytes"]
    use(envoy, "/free")
    assert eventually(lambda: gauge(envoy, "bytes") > size, wanted=True)
    assert gauge(envoy, "bytes") < 2 * size
    assert eventually(lambda: 0 < gauge(envoy, "used_bytes") < 20 * MIB, wanted=True)


def test_soak() -> None:
    """Twenty thousand requests of all kinds leave nothing behind: the benchmark, which says so with its exit code."""
    command = [sys.executable, "benchmarks/soak.py", "--requests", "20000", "--rows", "10"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The VM's memory has grown by 0 bytes after " in done.stdout
