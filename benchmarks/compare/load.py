"""Requests over kept-alive connections, one after the other on each: by `wrk` if there is one, else by threads.

The load generator's own time is in the latency, the same for all rivals.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pywasmfilter_compiler.envoy.http1 import read_body, read_head, render_head

from .jobs import Request

_SCRIPT = """
wrk.method, wrk.body = %s, %s
for name, value in pairs(%s) do wrk.headers[name] = value end
function done(summary, latency)
  local errors, failed = summary.errors, 0
  for _, count in pairs(errors) do failed = failed + count end
  local p50, p99 = latency:percentile(50), latency:percentile(99)
  print(string.format("result %%d %%d %%d %%d", summary.requests, failed, p50, p99))
end
"""


@dataclass(frozen=True)
class Load:
    """How many requests were answered, and percentiles of their latency in microseconds."""

    requests: int
    p50: float
    p99: float


def tool() -> str:
    """What sends the requests."""
    return "wrk" if shutil.which("wrk") else "threads"


def send(port: int, request: Request, seconds: int, connections: int) -> Load:
    """Ends the run if a request does not get a 200."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return _threads(port, request, seconds, connections)
    return _wrk(wrk, port, request, seconds, connections)


def _wrk(wrk: str, port: int, request: Request, seconds: int, connections: int) -> Load:
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in request.headers.items())
    body = json.dumps(request.body) if request.body else "nil"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "request.lua")
        script.write_text(_SCRIPT % (json.dumps(request.method), body, f"{{{headers}}}"), encoding="utf-8")
        url = f"http://127.0.0.1:{port}{request.path}"
        command = [wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    result = re.search(r"^result ([1-9]\d*) 0 (\d+) (\d+)$", done.stdout, re.MULTILINE)
    if result is None:
        sys.exit(f"wrk did not measure what was wanted:\n{done.stdout}{done.stderr}")
    return Load(*map(int, result.groups()))


def _threads(port: int, request: Request, seconds: int, connections: int) -> Load:
    deadline = time.monotonic() + seconds
    found: list[list[float]] = []
    threads = [
        threading.Thread(target=lambda: found.append(_one_connection(port, request, deadline)))
        for _ in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) != connections:
        sys.exit("a connection did not get a 200 for each of its requests")
    times = [took for connection in found for took in connection]
    percentiles = statistics.quantiles(times, n=100)
    return Load(len(times), percentiles[49], percentiles[98])


def _one_connection(port: int, request: Request, deadline: float) -> list[float]:
    """The microseconds of each request. Raises ValueError if one is not answered with a 200."""
    body = request.body.encode()
    headers = {"host": "127.0.0.1", "content-length": str(len(body)), **request.headers}
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    message = render_head(f"{request.method} {request.path} HTTP/1.1".encode(), pairs) + body
    times = []
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as stream:
        while time.monotonic() < deadline:
            start = time.perf_counter()
            connection.sendall(message)
            head = read_head(stream)
            if head is None or b" 200 " not in head[0]:
                raise ValueError(f"the answer is {head}")
            read_body(stream, head[1], until_close=False)
            times.append((time.perf_counter() - start) * 1e6)
    return times
