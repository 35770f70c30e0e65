"""Waits in each request for a while and for a service; `/state` says what is left of those that are over."""

from __future__ import annotations

import gc
import json

from pywasmfilter import HttpContext, callouts, http_filter, memory, sleep
from pywasmfilter._state import contexts

ended = {"well": 0, "cancelled": 0}


@http_filter("waiting")
class Waiting(HttpContext):
    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        if self.request.path == "/state":
            return self.send_http_response(200, body=self.state())
        outcome = "cancelled"
        try:
            await sleep(2.0)
            reply = await self.http_call("service", path="/", timeout=60.0)
            self.request.headers["x-status"] = str(reply.status)
            outcome = "well" if reply.status == 200 else "badly"
        finally:
            ended[outcome] = ended.get(outcome, 0) + 1
        return None

    def state(self) -> str:
        gc.collect()  # coroutines that were cancelled leave cycles
        statistics = memory.statistics()
        tasks = [len(context._abi_tasks or ()) for context in contexts.values() if context is not None]
        known = {"memory": statistics.memory_bytes, "used": statistics.used_bytes, "streams": statistics.streams}
        return json.dumps({**known, **ended, "tasks": sum(tasks), "pending": len(callouts.pending)})
