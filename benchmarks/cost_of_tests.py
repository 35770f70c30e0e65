"""What a test costs: a new VM with a filter, and one request and its response through it.

    python benchmarks/cost_of_tests.py [--rounds N]

The filter is that of `compare/filters/headers`, in Python and with the Go SDK, each as the language's own code and as
a compiled module, each in the emulated host of its SDK: `pywasmfilter.testing` here, `proxytest` there. Both keep
nothing from one test to the next but what they keep by themselves. Without Go, its rows are missing.
"""
# ruff: noqa: T201  # a script of its own, which prints its results

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pywasmfilter.testing import BODIES, Body, Host

FILTERS = Path(__file__).parent / "compare" / "filters"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50, help="tests of ours; of Go's a tenth")
    rounds = parser.parse_args().rounds
    costs = {f"pywasmfilter, {body}": ours(body, rounds) for body in BODIES} | of_go(max(1, rounds // 10))
    for name, seconds in costs.items():
        print(f"{name:25} {seconds * 1000:10.2f} ms a test")


def ours(body: Body, rounds: int) -> float:
    """Seconds for a test, once the module is built and its code compiled."""
    run(body)
    start = time.perf_counter()
    for _ in range(rounds):
        run(body)
    return (time.perf_counter() - start) / rounds


def run(body: Body) -> None:
    """One test."""
    with Host(FILTERS / "headers" / "filter.py", body=body) as host:
        if host.request("GET", "/a").headers["x-bench"] != "yes":
            raise AssertionError("the filter does not what it should")


def of_go(rounds: int) -> dict[str, float]:
    """The same for the Go SDK's; nothing without Go."""
    go = shutil.which("go")
    if go is None:
        return {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "go"
        shutil.copytree(FILTERS / "headers" / "go", folder)
        for file in ("go.mod", "go.sum"):
            shutil.copy(FILTERS / file, folder)
        wasm = {**os.environ, "GOOS": "wasip1", "GOARCH": "wasm"}
        command(go, "build", "-buildmode=c-shared", "-o", "main.wasm", ".", folder=folder, environment=wasm)
        output = command(go, "test", "-bench=.", f"-benchtime={rounds}x", folder=folder, environment=dict(os.environ))
    found = re.findall(r"Benchmark(\w+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op", output)
    return {f"Go SDK, {name.lower()}": float(nanoseconds) / 1e9 for name, nanoseconds in found}


def command(*arguments: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command prints."""
    return subprocess.run(  # noqa: S603  # Go itself
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


if __name__ == "__main__":
    main()
