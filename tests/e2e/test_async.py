"""Coroutines in a real Envoy: very many at once, clients that leave, and what is left of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request

if TYPE_CHECKING:
    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

STREAMS = 3000
LEAVING = 300
"""How many of them have a client that does not wait for the answer."""


@pytest.fixture(scope="module")
def port(build_filter: FilterBuilder) -> Iterator[int]:
    """A listener with the filter, whose service is another Envoy."""
    with ExitStack() as stack:
        service = EnvoyProcess(bootstrap([http_listener([], [direct_response(200, "ok")])]))
        asked = cluster("service", "127.0.0.1", stack.enter_context(service).listener_port(LISTENER))
        most = {"max_connections": 64, "max_pending_requests": STREAMS, "max_requests": STREAMS}
        asked["circuit_breakers"] = {"thresholds": [most]}
        plugin = WasmPlugin(build_filter("waiting").path)
        listener = http_listener([plugin], [direct_response(200, "on")])
        envoy = stack.enter_context(EnvoyProcess(bootstrap([listener], [asked])))
        yield envoy.listener_port(LISTENER)


def state(port: int) -> dict[str, Any]:
    """What the filter says of itself."""
    found: dict[str, Any] = json.loads(request(port, path="/state").body)
    return found


async def ask(port: int, leaves: bool) -> bytes:
    """Send a request; the status line, or nothing for a client that leaves."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: test.local\r\nconnection: close\r\n\r\n")
    await writer.drain()
    try:
        return b"" if leaves else (await reader.read()).partition(b"\r\n")[0]
    finally:
        writer.close()


async def ask_all(port: int) -> list[bytes]:
    """As many requests at once as there are streams."""
    return await asyncio.gather(*(ask(port, number < LEAVING) for number in range(STREAMS)))


async def quiet(port: int) -> dict[str, Any]:
    """The state once no stream waits any more."""
    while True:
        found = await asyncio.to_thread(state, port)
        if found["streams"] == 1:
            return found


def test_thousands_of_streams_wait_at_once(port: int) -> None:
    """Each gets its answer, those whose clients leave are cancelled, and nothing of them stays: no task, no call, no
    memory that a second wave would not use again.
    """
    waves = []
    for _ in range(3):
        answers = asyncio.run(ask_all(port))
        assert answers == [b""] * LEAVING + [b"HTTP/1.1 200 OK"] * (STREAMS - LEAVING)
        waves.append(asyncio.run(asyncio.wait_for(quiet(port), 30)))
    for number, wave in enumerate(waves, 1):
        assert (wave["tasks"], wave["pending"]) == (1, 0)  # the request that asks is a coroutine itself
        assert wave["well"] + wave["cancelled"] == number * STREAMS
        assert wave["well"] >= number * (STREAMS - LEAVING)
    assert waves[2]["memory"] <= waves[1]["memory"] + (2 << 20)  # how many wait at one moment differs
    assert waves[2]["used"] <= waves[1]["used"] + 100_000
