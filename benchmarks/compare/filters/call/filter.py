"""Asks a service before a request goes on, with `await`, and adds a header with what it answers."""

from __future__ import annotations

from pywasmfilter import HttpContext, http_filter


@http_filter("bench")
class AwaitCall(HttpContext):
    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        reply = await self.http_call("service", path="/check")
        self.request.headers.add("x-bench-status", str(reply.status))
