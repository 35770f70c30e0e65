"""A filter whose requests say what to do with memory, and whose configuration has the arguments of `memory.guard`."""

from __future__ import annotations

import gc
import json

from pywasmfilter import HttpContext, PluginContext, memory, plugin

KEPT: list[object] = []


class Use(HttpContext):
    """The path says what to do, the header `x-count` how often. The answer is what the memory holds after that."""

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        path, count = self.request.path, int(self.request.headers.get("x-count", "1"))
        if path == "/bytes":
            KEPT.append(b"x" * count)
        if path == "/objects":
            KEPT.append([[number] for number in range(count)])
        if path == "/garbage":
            for _ in range(count):
                cycle: list[object] = [b"x" * 10_000]
                cycle.append(cycle)
        if path == "/free":
            KEPT.clear()
        if path == "/collect":
            gc.collect()
        if path == "/pass":
            return None
        return self.send_http_response(200, body=json.dumps(vars(memory.statistics())))


@plugin("memory_use")
class MemoryUse(PluginContext):
    http_context = Use

    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        arguments = json.loads(self.plugin_configuration or b"null")
        if arguments is not None:
            self.guard = memory.guard(self, **arguments)
        return True
