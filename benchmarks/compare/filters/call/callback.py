"""The same as `filter.py`, with the callback of the ABI."""

from __future__ import annotations

from pywasmfilter import Action, HttpContext, hostcalls, http_filter

HEADERS = [(":method", "GET"), (":path", "/check"), (":authority", "service")]


@http_filter("bench")
class CallbackCall(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        self.dispatch_http_call("service", HEADERS, self.replied)
        return Action.PAUSE

    def replied(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.request.headers.add("x-bench-status", hostcalls.get_http_call_response_header(":status") or "")
        self.resume_http_request()
