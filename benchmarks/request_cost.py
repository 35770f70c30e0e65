"""What a filter costs: the CPU time that Envoy spends per request, above the same Envoy without a filter.

    python benchmarks/request_cost.py [--job headers|call] [--ours MODULE]… [--rounds N] [--seconds S]
                                      [--connections N] [--json FILE]

All variants do the same job; this is checked before anything is measured.

    headers  read `:path`, add the request header `x-bench-path` with it and the response header `x-bench: yes`
    call     ask a service, which another Envoy is, and add the request header `x-bench-status` with what it answers

The variants are

    none   no filter
    wat    `three_headers.wat`, written by hand: the floor, which is what Envoy and its ABI themselves cost
    go     `go_three_headers/` or `go_http_call/`, the Go SDK's, built here with the installed Go
    NAME   the modules given with --ours, by the names of their files

One Envoy per variant, with one worker, runs from beginning to end; in every round each is loaded for some seconds over
kept-alive connections, in an order that changes by round. The time is the process's own CPU time (user and system),
read from the kernel, so it does not count the load generator: `wrk` when there is one, else threads in this process.
Differences to `none` are taken within a round; the table shows medians. A variant that cannot be built is listed as
missing with the reason. Linux only.
"""
# ruff: noqa: T201  # a script of its own, which prints its results

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    route_to,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.http1 import read_body, read_head
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from wasmtime import wat2wasm

HERE: Final = Path(__file__).parent
GO: Final = {"headers": "go_three_headers", "call": "go_http_call"}
SERVICE: Final = "service"
WARM_UP: Final = 1.0  # seconds of load that are not measured, for V8's optimizing compiler


@dataclass
class Variant:
    """One Envoy, and what was measured of it: CPU microseconds and requests per second, one value per round."""

    name: str
    envoy: EnvoyProcess
    port: int
    module_bytes: int
    cpu_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)


@dataclass
class Row:
    """A line of the table. Times are microseconds per request; `added` is above `none`, by round."""

    name: str
    module_bytes: int
    requests_per_second: float
    cpu_us: float
    added_us: float
    added_us_low: float
    added_us_high: float
    added_to_wat: float | None
    added_to_go: float | None
    cpu_us_rounds: list[float]


def main() -> None:
    """Build, check, measure, print."""
    options = arguments()
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        modules = build_modules(Path(directory), options.job, options.ours, missing)
        upstream = stack.enter_context(EchoServer())
        service = stack.enter_context(EnvoyProcess(bootstrap([http_listener([], [direct_response(200, "ok")])])))
        clusters = [
            cluster(UPSTREAM, "127.0.0.1", upstream.port),
            cluster(SERVICE, "127.0.0.1", service.listener_port(LISTENER)),
        ]
        variants = [start(stack, name, module, clusters) for name, module in modules.items()]
        for variant in variants:
            check(variant, options.job)
            load(variant.port, WARM_UP, options.connections)
        for number in range(options.rounds):
            turn = number % len(variants)
            for variant in variants[turn:] + variants[:turn]:
                measure(variant, options.seconds, options.connections)
        machine = describe(options, variants[0])
        rows = table(variants)
    print_table(rows, missing, machine)
    document = json.dumps({"machine": machine, "missing": missing, "rows": [asdict(row) for row in rows]}, indent=2)
    if options.json is None:
        print(document)
    else:
        options.json.write_text(document + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU time per request that a filter adds to Envoy.")
    parser.add_argument("--job", choices=GO, default="headers", help="what the filters do (default headers)")
    parser.add_argument(
        "--ours", type=Path, metavar="MODULE", action="append", default=[], help="a .wasm that does the same job"
    )
    parser.add_argument("--rounds", type=int, default=9, help="times that every variant is measured (default 9)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per measurement (default 2)")
    parser.add_argument("--connections", type=int, default=4, help="kept alive by the load (default 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go (default: after the table)")
    return parser.parse_args()


def build_modules(directory: Path, job: str, ours: list[Path], missing: dict[str, str]) -> dict[str, Path | None]:
    """The module of each variant that can run; `missing` is given the reason for each of the others."""
    modules: dict[str, Path | None] = {"none": None}
    if job == "headers":
        wat = directory / "wat.wasm"
        wat.write_bytes(wat2wasm((HERE / "three_headers.wat").read_text(encoding="utf-8")))
        modules["wat"] = wat
    go = directory / "go.wasm"
    reason = build_go(HERE / GO[job], go)
    if reason is None:
        modules["go"] = go
    else:
        missing["go"] = reason
    for module in ours:
        if module.is_file():
            modules[module.stem] = module
        else:
            missing[module.stem] = f"{module} does not exist"
    return modules


def build_go(folder: Path, output: Path) -> str | None:
    """Build the Go filter; the reason why not, if it does not build."""
    go = shutil.which("go")
    if go is None:
        return "Go is not installed"
    environment = os.environ | {"GOOS": "wasip1", "GOARCH": "wasm"}
    command = [go, "build", "-buildmode=c-shared", "-o", str(output), "."]
    done = subprocess.run(  # noqa: S603  # our own source, the user's Go
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else f"`go build` failed: {done.stderr.strip()[-500:]}"


def start(stack: ExitStack, name: str, module: Path | None, clusters: list[dict[str, Any]]) -> Variant:
    """Requests are answered by Envoy itself, for less noise; those to /echo, used by `check`, by the upstream."""
    plugins = [] if module is None else [WasmPlugin(module, name=name)]
    routes = [route_to(UPSTREAM, prefix="/echo"), direct_response(200, "ok")]
    config = bootstrap([http_listener(plugins, routes)], clusters)
    envoy = stack.enter_context(EnvoyProcess(config, concurrency=1))
    size = 0 if module is None else module.stat().st_size
    return Variant(name, envoy, envoy.listener_port(LISTENER), size)


def check(variant: Variant, job: str) -> None:
    """A variant that does not do the work must not be measured."""
    with closing(HTTPConnection("127.0.0.1", variant.port, timeout=30)) as connection:
        connection.request("GET", "/echo?a=b")
        response = connection.getresponse()
        headers = dict(json.load(response)["headers"])
        did = (headers.get("x-bench-path"), response.getheader("x-bench"), headers.get("x-bench-status"))
    expected = {"headers": ("/echo?a=b", "yes", None), "call": (None, None, "200")}[job]
    if did != ((None, None, None) if variant.name == "none" else expected):
        sys.exit(f"{variant.name} set {did}, expected {expected}; Envoy's log:\n{variant.envoy.log_text}")


def measure(variant: Variant, seconds: float, connections: int) -> None:
    before, began = cpu_ns(variant.envoy.pid), time.monotonic()
    requests = load(variant.port, seconds, connections)
    spent, took = cpu_ns(variant.envoy.pid) - before, time.monotonic() - began
    variant.cpu_us.append(spent / 1000 / requests)
    variant.rate.append(requests / took)


def cpu_ns(pid: int) -> int:
    """CPU time of another process in nanoseconds: clock_getcpuclockid(3), which Python does not have.

    The same figure as utime + stime of /proc/<pid>/stat, without its steps of 10 ms.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def load(port: int, seconds: float, connections: int) -> int:
    """Send requests for some seconds; how many were answered."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return load_by_threads(port, seconds, connections)
    duration = max(1, round(seconds))  # wrk knows whole seconds only
    command = [wrk, "-t1", f"-c{connections}", f"-d{duration}s", f"http://127.0.0.1:{port}/some/path?and=query"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    match = re.search(r"(\d+) requests in", output)
    if match is None or "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"wrk did not measure what was wanted:\n{output}")
    return int(match[1])


def load_by_threads(port: int, seconds: float, connections: int) -> int:
    """Without wrk: one thread per connection, one request after the other."""
    deadline = time.monotonic() + seconds
    counts: list[int] = []

    def one() -> None:
        message = f"GET /some/path?and=query HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        answered = 0
        with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as stream:
            while time.monotonic() < deadline:
                connection.sendall(message)
                head = read_head(stream)
                if head is None or b" 200 " not in head[0]:
                    return
                read_body(stream, head[1], until_close=False)
                answered += 1
        counts.append(answered)

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(counts) != connections:
        sys.exit("a connection did not get a 200 for each of its requests")
    return sum(counts)


def table(variants: list[Variant]) -> list[Row]:
    """Medians; `added` and the ratios are of differences taken within a round."""
    base = variants[0].cpu_us
    added = {v.name: [mine - none for mine, none in zip(v.cpu_us, base, strict=True)] for v in variants}
    medians = {name: statistics.median(values) for name, values in added.items()}

    def ratio(name: str, to: str) -> float | None:
        return medians[name] / medians[to] if medians.get(to) and name != "none" else None

    return [
        Row(
            name=v.name,
            module_bytes=v.module_bytes,
            requests_per_second=statistics.median(v.rate),
            cpu_us=statistics.median(v.cpu_us),
            added_us=medians[v.name],
            added_us_low=min(added[v.name]),
            added_us_high=max(added[v.name]),
            added_to_wat=ratio(v.name, "wat"),
            added_to_go=ratio(v.name, "go"),
            cpu_us_rounds=v.cpu_us,
        )
        for v in variants
    ]


def describe(options: argparse.Namespace, variant: Variant) -> dict[str, Any]:
    """What the figures depend on."""
    go = shutil.which("go")
    go_version = None if go is None else subprocess.check_output([go, "version"], text=True).strip()  # noqa: S603
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "envoy": json.loads(variant.envoy.admin("/server_info"))["version"],
        "go": go_version,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "cpu": models[0] if models else platform.machine(),
        "load": "wrk" if shutil.which("wrk") else "threads",
        "load_average": os.getloadavg()[0],
        "job": options.job,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
    }


def print_table(rows: list[Row], missing: dict[str, str], machine: dict[str, Any]) -> None:
    print("; ".join(f"{key}: {value}" for key, value in machine.items()))
    print(f"{'':14}{'module':>12}{'requests/s':>12}{'CPU us':>9}{'added us':>10}{'lowest':>9}{'highest':>9}", end="")
    print(f"{'to wat':>8}{'to go':>8}")
    for row in rows:
        size = "-" if not row.module_bytes else f"{row.module_bytes:,} B"
        print(f"{row.name:14}{size:>12}{row.requests_per_second:12,.0f}{row.cpu_us:9.2f}{row.added_us:10.2f}", end="")
        print(f"{row.added_us_low:9.2f}{row.added_us_high:9.2f}", end="")
        ratios = [row.added_to_wat, row.added_to_go]
        print("".join(f"{'-' if value is None else f'{value:.2f}x':>8}" for value in ratios))
    for name, reason in missing.items():
        print(f"{name:14}missing: {reason}")


if __name__ == "__main__":
    main()
