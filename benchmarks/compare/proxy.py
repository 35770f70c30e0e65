"""An Envoy with a contender in it, and the check that it does its job.

A job whose filter waits for the body has Envoy's own buffer filter behind it, in every Envoy of that job: without it,
Envoy would answer as soon as it has the headers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    LOOPBACK,
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    route_to,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from .ext_proc import ExtProcServer
from .jobs import CHECK, MARK, Job, Outcome, Request
from .rivals import Contender


@dataclass(frozen=True)
class Surroundings:
    """The ports of what requests and filters go to: an upstream that says what it got, and a service that says 200."""

    upstream: int
    service: int


@dataclass(frozen=True)
class Proxy:
    """A running Envoy, seconds until it was ready, and the ext_proc server that it asks."""

    job: Job
    contender: Contender
    envoy: EnvoyProcess
    port: int
    ready_seconds: float
    server: ExtProcServer | None


@contextmanager
def surroundings() -> Iterator[Surroundings]:
    """They run until the `with` block ends. The service is an Envoy, so that it is faster than who asks it."""
    service = EnvoyProcess(bootstrap([http_listener([], [direct_response(200, "ok")])]))
    with EchoServer() as upstream, service:
        yield Surroundings(upstream.port, service.listener_port(LISTENER))


@contextmanager
def proxy(contender: Contender, job: Job, around: Surroundings, workers: int = 1) -> Iterator[Proxy]:
    """An Envoy, ready, until the `with` block ends."""
    clusters = [cluster(UPSTREAM, LOOPBACK, around.upstream), cluster("service", LOOPBACK, around.service)]
    with ExitStack() as stack:
        server = stack.enter_context(ExtProcServer(job.name, around.service)) if contender.has_server else None
        if server is not None:
            clusters.append(cluster("ext_proc", LOOPBACK, server.port, http2=True))
        config = bootstrap([_listener(contender, job)], clusters)
        start = time.perf_counter()
        envoy = stack.enter_context(EnvoyProcess(config, concurrency=workers))
        seconds = time.perf_counter() - start
        yield Proxy(job, contender, envoy, envoy.listener_port(LISTENER), seconds, server)


def _listener(contender: Contender, job: Job) -> dict[str, Any]:
    to_check = route_to(UPSTREAM)
    to_check["match"]["headers"] = [{"name": CHECK[0], "string_match": {"exact": CHECK[1]}}]
    plugins = [] if contender.module is None else [WasmPlugin(contender.module)]
    listener = http_listener(plugins, [to_check, direct_response(200, "ok")])
    filters: list[dict[str, Any]] = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    buffer = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
        "max_request_bytes": 1 << 20,
    }
    filters[-1:-1] = [*contender.filters, *([{"name": "buffer", "typed_config": buffer}] if job.waits else [])]
    return listener


def check(running: Proxy) -> None:
    """Ends the run if the work is not done, or if it is done where no filter is: such an Envoy must not be measured."""
    for request, outcome in running.job.cases:
        expected = Outcome() if running.contender.name == "none" else outcome
        if (got := ask(running.port, request)) != expected:
            sys.exit(
                f"{running.job.name}, {running.contender.name}: {request} got {got}, expected {expected}; "
                f"Envoy's log:\n{running.envoy.log_text}"
            )


def ask(port: int, request: Request) -> Outcome:
    """What becomes of a request."""
    with closing(HTTPConnection(LOOPBACK, port, timeout=30)) as connection:
        headers = dict([CHECK]) | request.headers
        connection.request(request.method, request.path, request.body or None, headers)
        response = connection.getresponse()
        body = response.read()
        client = {name: value for name, value in response.getheaders() if name.startswith(MARK)}
        seen = json.loads(body)["headers"] if response.getheader("content-type") == "application/json" else []
    return Outcome(response.status, {name: value for name, value in seen if name.startswith(MARK)}, client)
