"""Does what every host of Proxy-Wasm has to offer, so that hosts can be compared; the path says what to do.

    /pass           the request and its response pass, changed: headers both ways, and both bodies
    /deny           the filter answers itself, from the request's headers
    /deny-response  the filter answers itself, from the response's headers
    /later          the request waits for a tick
    /deny-later     the filter answers itself, from a tick
    /broken         an exception

All that is logged of a stream begins with its path. Each VM logs how it was started.
"""

from __future__ import annotations

import os

from pywasmfilter import Action, HttpContext, PluginContext, VMContext, log, plugin, vm
from pywasmfilter.hostcalls import set_tick_period_milliseconds


@vm
class VM(VMContext):
    def on_vm_start(self, vm_configuration_size: int) -> None:
        log.info(f"vm start: {vm_configuration_size} {self.vm_configuration!r} {os.environ.get('COLOUR')}")


@plugin("everywhere")
class Everywhere(PluginContext):
    def __init__(self) -> None:
        self.waiting: list[Everything] = []
        self.ticks = 0

    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        log.info(f"plugin start: {plugin_configuration_size} {self.plugin_configuration!r}")
        set_tick_period_milliseconds(20)
        return self.plugin_configuration != b"refuse"

    def on_tick(self) -> None:
        self.ticks += 1
        if self.ticks == 1:
            log.warn("first tick")
        waiting, self.waiting = self.waiting, []
        for context in waiting:
            context.go_on()

    def new_http_context(self, context_id: int) -> HttpContext:
        return Everything(context_id)


class Everything(HttpContext):
    plugin: Everywhere

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.request.headers
        self.path = self.request.path
        log.info(f"{self.path} has {headers.get_all('x-test-twice')}, {headers.get('x-test-none')}")
        if self.path == "/broken":
            raise ValueError("as asked for")
        if self.path == "/deny":
            return self.send_http_response(403, [("x-test-why", "nö")], "not here\n")
        headers["x-test-replaced"] = "new"
        headers.add("x-test-twice", "3")
        headers.remove("x-test-removed")
        headers.remove("content-length")
        if self.path.endswith("later"):
            self.plugin.waiting.append(self)
            return Action.PAUSE
        return None

    def go_on(self) -> None:
        if self.path == "/deny-later":
            self.send_http_response(429, [("x-test-why", "later")], "too late\n")
        else:
            self.resume_http_request()

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int | None:
        if not end_of_stream:
            return Action.PAUSE
        body = self.request.buffer.read()
        log.info(f"{self.path} sends {body!r}")
        self.request.buffer.replace(body.upper())
        return None

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.response.headers
        log.info(f"{self.path} gets {self.response.status} {headers.get_all('x-test-upstream')}")
        if self.path == "/deny-response":
            return self.send_http_response(502, [("x-test-why", "response")])
        headers.remove("content-length")
        headers["x-test-plugin"] = self.plugin.plugin_configuration.decode()
        return None

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> int | None:
        if not end_of_stream:
            return Action.PAUSE
        self.response.buffer.prepend("<")
        self.response.buffer.append(">")
        return None

    def on_http_stream_done(self) -> None:
        log.info(f"{self.path} is done: {self.request.headers.get('x-test-replaced')}")
