"""What a request costs in WebAssembly instructions: the same number each time, on any machine.

    python benchmarks/instructions.py [JOB]… [--module MODULE]…

Each job is a small filter. It is built and run by the emulated host of `pywasmfilter.testing`, with wasmtime counting
the instructions that the module executes; the host's own work counts nothing. All requests of a job do the same, so
the figures are of one of them: all of it, from the context's creation to its deletion, and each callback by itself.
"""
# ruff: noqa: T201  # a script of its own, which prints its results

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import wasmtime

from pywasmfilter.testing import Host, Response, compiled, wasm_guest

REQUESTS: Final = 256
WARM_UP: Final = 64  # requests that are not counted, until the interpreter has specialized the filter's code
PLENTY: Final = 1 << 62

HEADERS: Final = {f"x-header-{number}": f"value {number}" for number in range(20)}
DOCUMENT: Final = {"id": 4711, "tags": ["a", "b"] * 20, "lines": [{"sku": f"sku-{n}", "count": n} for n in range(60)]}

IMPORTS: Final = """
import json
import re

from pywasmfilter import Action, HttpContext, MapType, _abi, hostcalls, http_filter

get = _abi.host.get_header_map_value
USER_AGENT = re.compile(r"^value (\\d+)$")
CALL = [(":method", "GET"), (":path", "/check"), (":authority", "service")]


@http_filter("job")
class Job(HttpContext):
"""

JOBS: Final = {
    "empty": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        pass
""",
    "10 bare reads": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for _ in range(10):
            get(0, "x-header-1")
""",
    "10 reads": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for _ in range(10):
            self.request.headers["x-header-1"]
""",
    "10 reads, Go's name": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for _ in range(10):
            hostcalls.get_http_request_header("x-header-1")
""",
    "10 adds": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for _ in range(10):
            self.request.headers.add("x-added", "yes")
""",
    "three headers": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        headers = self.request.headers
        headers.add("x-bench-path", headers[":path"])

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers.add("x-bench", "yes")
""",
    "20 reads, regex": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        headers = self.request.headers
        values = [headers.get(f"x-header-{number}") for number in range(20)]
        if USER_AGENT.match(values[7]) is None:
            raise ValueError(values)
""",
    "all headers": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.request.headers.items()
""",
    "JSON body": """
    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Action:
        if not end_of_stream:
            return Action.PAUSE
        document = json.loads(self.request.buffer.read())
        if "id" not in document:
            return self.send_http_response(400)
        return Action.CONTINUE
""",
    "call, callback": """
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        self.dispatch_http_call("service", CALL, self.replied)
        return Action.PAUSE

    def replied(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.request.headers.add("x-bench-status", hostcalls.get_http_call_response_header(":status") or "")
        self.resume_http_request()
""",
    "call, await": """
    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        reply = await self.http_call("service", path="/check")
        self.request.headers.add("x-bench-status", str(reply.status))
""",
}


class Counting(compiled.Compiled):
    """Compiled code whose instructions are counted, as fuel that is used up."""

    def instantiate(self, store: wasmtime.Store, linker: wasmtime.Linker) -> dict[str, Any]:
        """As of every module, with fuel for it."""
        store.set_fuel(PLENTY)
        return super().instantiate(store, linker)


@lru_cache
def compile_counting(wasm: bytes, _native_stack: int | None) -> tuple[wasmtime.Engine, wasmtime.Module]:
    """In place of what `compiled` compiles with, and keeps: filters of one runtime image share their code."""
    config = wasmtime.Config()
    config.consume_fuel = True
    engine = wasmtime.Engine(config)
    return engine, wasmtime.Module(engine, wasm)


def load(module: Path, native_stack: int | None = None) -> Counting:
    """In place of `compiled.load`."""
    return Counting(**vars(compiled.load(module, native_stack)))


@dataclass
class Cost:
    """Instructions of one request, and of each callback in it."""

    request: float
    callbacks: dict[str, float]


def measure(path: Path) -> Cost:
    """Run a filter, or a module that is built."""
    with Host(path, body="wasm", clusters={"service": Response()}) as host:
        guest: Any = host.plugin.vm.guest
        call, spent = guest.call, Counter[str]()

        def counted(callback: str, context_id: int, *arguments: int) -> int | None:
            before = guest.store.get_fuel()
            try:
                answer: int | None = call(callback, context_id, *arguments)
            finally:
                spent[callback] += before - guest.store.get_fuel()
            return answer

        guest.call = counted
        begun = 0
        for number in range(WARM_UP + REQUESTS):
            if number == WARM_UP:
                spent.clear()
                begun = guest.store.get_fuel()
            stream = host.request("POST", "/some/path?and=query", HEADERS, json=DOCUMENT)
            if stream.status != 200 or host.messages:
                raise SystemExit(f"{path}: a request was answered {stream.status}; log: {host.messages}")
        total = begun - guest.store.get_fuel()
    return Cost(total / REQUESTS, {name: count / REQUESTS for name, count in spent.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description="WebAssembly instructions per request.")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"which of them (default all): {', '.join(JOBS)}")
    parser.add_argument("--module", action="append", default=[], type=Path, help="a module that is built, besides")
    options = parser.parse_args()
    if unknown := set(options.jobs) - JOBS.keys():
        parser.error(f"there is no job {', '.join(sorted(unknown))}")
    compiled._compile = compile_counting  # noqa: SLF001
    wasm_guest.load = load  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as directory:
        for name in options.jobs or ([] if options.module else JOBS):
            path = Path(directory) / f"{name.replace(' ', '_').replace(',', '')}.py"
            path.write_text(IMPORTS + JOBS[name], encoding="utf-8")
            show(name, measure(path))
        for module in options.module:
            show(module.stem, measure(module))


def show(name: str, cost: Cost) -> None:
    parts = ", ".join(
        f"{callback.removeprefix('proxy_on_')} {count:,.0f}" for callback, count in cost.callbacks.items()
    )
    print(f"{name:24}{cost.request:12,.0f}   {parts}", flush=True)


if __name__ == "__main__":
    main()
