"""What is measured of a proxy: CPU time and latency by rounds, memory and the start by themselves.

CPU time is the process's own, user and system, read from the kernel. So it counts neither the load generator nor the
service. Latency is that of one connection, since that of several is mostly the time that requests wait for each other.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from . import load
from .jobs import Job
from .proxy import Proxy, Surroundings, check, proxy
from .results import WORKERS, Result
from .rivals import Contender

STARTS: Final = 3
"""How often the start is measured, unless there are fewer rounds."""


def costs(
    contenders: list[Contender], job: Job, around: Surroundings, results: list[Result], rounds: int, seconds: int
) -> None:
    """Add a figure per round to the result of each contender; the order changes by round."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(proxy(contender, job, around)) for contender in contenders]
        for running in proxies:
            check(running)
            load.send(running.port, job.request, 1, 4)  # not measured, for whatever optimizes itself
        pairs = list(zip(proxies, results, strict=True))
        for number in range(rounds):
            turn = number % len(pairs)
            for running, result in pairs[turn:] + pairs[:turn]:
                _cpu(running, result, seconds)
                _latency(running, result, seconds)
        for running in proxies:
            check(running)


def _cpu(running: Proxy, result: Result, seconds: int) -> None:
    pids = [running.envoy.pid, *([running.server.pid] if running.server else [])]
    before = [cpu_ns(pid) for pid in pids]
    requests = load.send(running.port, running.job.request, seconds, 4).requests
    spent = [(cpu_ns(pid) - start) / 1000 / requests for pid, start in zip(pids, before, strict=True)]
    result.cpu_us.append(round(spent[0], 2))
    result.server_cpu_us += [round(value, 2) for value in spent[1:]]


def _latency(running: Proxy, result: Result, seconds: int) -> None:
    found = load.send(running.port, running.job.request, seconds, 1)
    result.p50_us.append(round(found.p50, 1))
    result.p99_us.append(round(found.p99, 1))


def footprint(contender: Contender, job: Job, around: Surroundings, result: Result, rounds: int) -> None:
    """Memory after some load with each number of workers, and seconds until the proxy was ready with one."""
    for workers in [*WORKERS, *[1] * (min(STARTS, rounds) - 1)]:
        with proxy(contender, job, around, workers) as running:
            if workers == 1:
                result.ready_s.append(round(running.ready_seconds, 3))
                result.server_ready_s += [round(running.server.ready_seconds, 3)] if running.server else []
            if str(workers) not in result.rss:
                load.send(running.port, job.request, 1, 4 * workers)
                result.rss[str(workers)] = resident(running.envoy.pid)
                result.server_rss = resident(running.server.pid) if running.server else None


def cpu_ns(pid: int) -> int:
    """CPU time of another process in nanoseconds: clock_getcpuclockid(3), which Python does not have.

    The same figure as utime + stime of /proc/<pid>/stat, without its steps of 10 ms.
    """
    return time.clock_gettime_ns((~pid << 3) | 2)


def resident(pid: int) -> int:
    """The resident memory of a process in bytes."""
    match = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert match is not None  # noqa: S101  # every running process has one
    return int(match[1]) << 10
