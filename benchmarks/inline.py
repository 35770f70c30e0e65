"""What the 1st, 2nd and 10th inline filter cost an Envoy, beside as many modules that are built.

    python -m benchmarks.inline [--rounds N] [--workers N]

The filters differ in a header only. Each figure is the median of some rounds: the time from the start of Envoy until
all of its workers take requests, the CPU time of that, and Envoy's resident memory after one request. The modules are
on disk; there is nothing to fetch. The last rows are of a new configuration in the file from which Envoy discovers it:
how long it takes until another source runs, or another module. Linux only.
"""
# ruff: noqa: T201  # a script of its own, which prints its results

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any, Final

from pywasmfilter_compiler import build, build_runtime, inline_configuration
from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    Config,
    WasmPlugin,
    bootstrap,
    direct_response,
    http_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from benchmarks.soak import resident

COUNTS: Final = (1, 2, 10)
WASM: Final = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
SOURCE: Final = """
import json
from dataclasses import dataclass

from pywasmfilter import HttpContext, http_filter


@dataclass
class Config:
    value: str


@http_filter("filter-NUMBER", config=Config)
class Filter(HttpContext):
    config: Config

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-filter-NUMBER"] = json.dumps({"value": self.config.value})
"""


def main() -> None:
    """Build, start, print."""
    parser = argparse.ArgumentParser(description="What inline filters cost, beside modules that are built.")
    parser.add_argument("--rounds", type=int, default=3, help="of which each figure is the median (default 3)")
    parser.add_argument("--workers", type=int, default=1, help="of Envoy (default 1)")
    options = parser.parse_args()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}, {options.workers} worker"
    )
    with tempfile.TemporaryDirectory() as directory:
        kinds = {"inline": inline(Path(directory)), "built": built(Path(directory))}
        for name, plugins in kinds.items():
            for count in COUNTS:
                runs = [start(plugins[:count], options.workers) for _ in range(options.rounds)]
                seconds, cpu, memory = (median(figures) for figures in zip(*runs, strict=True))
                print(
                    f"{name:8}{count:3} filters{seconds:8.2f} s{cpu:8.2f} s of CPU{memory / (1 << 20):8.0f} MiB",
                    flush=True,
                )
        for name, plugins in kinds.items():
            changes = [change(plugins[:2], Path(directory), options.workers) for _ in range(options.rounds)]
            print(f"{name:8}a change   {median(changes):8.3f} s", flush=True)


def source(number: int) -> str:
    """A filter."""
    return SOURCE.replace("NUMBER", str(number))


def inline(folder: Path) -> list[WasmPlugin]:
    """As many plugins as there may be, of one module."""
    module = build_runtime(folder / "python.wasm").path
    return [
        plugin(module, number, inline_configuration(source(number), {"value": "a"})) for number in range(COUNTS[-1])
    ]


def built(folder: Path) -> list[WasmPlugin]:
    """The same, each of its own module."""
    plugins = []
    for number in range(COUNTS[-1]):
        file = folder / f"filter{number}.py"
        file.write_text(source(number), encoding="utf-8")
        plugins.append(plugin(build(file, file.with_suffix(".wasm")).path, number, '{"value": "a"}'))
    return plugins


def plugin(module: Path, number: int, configuration: str) -> WasmPlugin:
    """A plugin; those of one module share their VMs."""
    return WasmPlugin(module, root_id=f"filter-{number}", vm_id="inline", configuration=configuration.encode())


def start(plugins: list[WasmPlugin], workers: int) -> tuple[float, float, int]:
    """The seconds until Envoy is ready, those of CPU time, and the bytes that it takes then."""
    config = bootstrap([http_listener(plugins, [direct_response(200, "ok")])])
    began = time.perf_counter()
    with EnvoyProcess(config, concurrency=workers, ready_timeout=600) as envoy:
        seconds, cpu = time.perf_counter() - began, cpu_seconds(envoy.pid)
        headers = ask(envoy.listener_port(LISTENER))
        assert [f"x-filter-{number}" in headers for number in range(len(plugins))] == [True] * len(plugins)  # noqa: S101
        return seconds, cpu, resident(envoy.pid)


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def change(plugins: list[WasmPlugin], folder: Path, workers: int) -> float:
    """The seconds from the one plugin's configuration to the other's, until the latter answers."""
    discovered = folder / "discovered.json"
    publish(plugins[0], discovered)
    listener = http_listener(plugins[:1], [direct_response(200, "ok")])
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    source: Config = {"path_config_source": {"path": str(discovered)}, "resource_api_version": "V3"}
    discovery = {"config_source": source, "type_urls": [WASM]}
    manager["http_filters"][0] = {"name": "wasm.0", "config_discovery": discovery}
    config = {**bootstrap([listener]), "node": {"id": "benchmark", "cluster": "benchmark"}}
    with EnvoyProcess(config, concurrency=workers, ready_timeout=600) as envoy:
        port = envoy.listener_port(LISTENER)
        began = time.perf_counter()
        publish(plugins[1], discovered)
        while "x-filter-1" not in ask(port):
            pass
        return time.perf_counter() - began


def publish(plugin: WasmPlugin, file: Path) -> None:
    """Put a filter's configuration in the place of the one before."""
    extension: dict[str, Any] = {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "wasm.0",
        "typed_config": {"@type": WASM, "config": plugin.config()},
    }
    new = file.with_suffix(".new")
    version = str(time.monotonic_ns())
    new.write_text(json.dumps({"version_info": version, "resources": [extension]}), encoding="utf-8")
    new.replace(file)


def ask(port: int) -> set[str]:
    """The names of the headers of a response."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", "/")
        return {name.lower() for name, _ in connection.getresponse().getheaders()}


if __name__ == "__main__":
    main()
