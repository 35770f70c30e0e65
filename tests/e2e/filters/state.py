"""Does with caches, limits, metrics, queues and logging what a test asks for.

The header `x-code` is an expression, and the response is what `repr` makes of its value, or of the exception as
"Type: message". Objects of all kinds are made at import time, as users do.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from pywasmfilter import (
    Cache,
    HttpContext,
    LocalCache,
    PluginContext,
    SharedTokenBucket,
    TokenBucket,
    cached,
    counter,
    every,
    histogram,
    hostcalls,
    log,
    on_queue,
    plugin,
    sleep,
)

BYTES = Cache("bytes", ttl=10, max_bytes=20)
VALUES = Cache("values", ttl=10, codec=json)
TIGHT = Cache("tight", ttl=10, slots=1)
LOCAL = LocalCache(ttl=10, max_entries=2)
LIMIT = TokenBucket(rate=2, burst=4, max_keys=2)
SHARED_LIMIT = SharedTokenBucket("limit", rate=2, burst=4)
TIGHT_LIMIT = SharedTokenBucket("tight", rate=2, burst=4, max_keys=8)
LATENCY = histogram("latency", of="code")
logger = logging.getLogger("state")
seen: list[Any] = []
"""What happened in this VM."""
NAMES = globals()


class Expensive:
    """An argument for a log line."""

    def __repr__(self) -> str:
        seen.append("formatted")
        return "expensive"


class Kept(logging.Handler):
    """A handler of the filter's own."""

    def emit(self, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())


@plugin("state")
class State(PluginContext):
    def new_http_context(self, context_id: int) -> HttpContext:
        return Code(context_id)

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        NAMES["WORKER"] = os.urandom(8).hex()

    @every(0.5, jitter=0.5)
    def beat(self) -> None:
        counter("beats", worker=NAMES["WORKER"]).increment()

    @every(10)
    def tick(self) -> None:
        log.info("tick")
        raise ValueError("every tick fails")

    @every(10, first=1, jitter=2)
    async def slow(self) -> None:
        log.info("slow begins")
        await sleep(25)
        log.info("slow ends")

    @on_queue("plain")
    def take(self, item: bytes) -> None:
        if item == b"bad":
            raise ValueError("a bad item")
        log.info(f"plain {item!r}")

    @on_queue("async", concurrency=2)
    async def work(self, item: bytes) -> None:
        log.info(f"begins {item!r}")
        await sleep(float(item or 0))
        log.info(f"ends {item!r}")

    def on_queue_ready(self, queue_id: int) -> None:
        log.info(f"raw {hostcalls.dequeue_shared_queue(queue_id)!r}")


@cached(Cache("slow", ttl=10, codec=json))
async def looked_up(context: HttpContext, key: str) -> str:
    """What takes a while."""
    seen.append(key)
    await sleep(1)
    if key.startswith("bad"):
        raise ValueError(key)
    return f"{key} {context.context_id}"


@LATENCY.time()
def timed(number: int) -> int:
    """Takes no time."""
    return number**2


@LATENCY.time()
async def timed_async(seconds: float) -> str:
    """Takes its time."""
    await sleep(seconds)
    return f"{seconds} s"


async def timed_block(context: HttpContext, seconds: float) -> str:
    """A block that takes its time, or fails."""
    with LATENCY.time():
        await sleep(seconds)
    return "done"


class Code(HttpContext):
    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int:
        code = self.request.headers["x-code"]
        try:
            value = eval(code, NAMES, {"self": self})
            if hasattr(value, "send"):
                value = await value
            answer = repr(value)
        except Exception as error:  # noqa: BLE001  # it is the answer
            answer = f"{type(error).__name__}: {error}"
        return self.send_http_response(200, body=answer)
