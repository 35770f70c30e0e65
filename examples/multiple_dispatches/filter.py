"""Holds every response back until ten HTTP calls of its own have been answered."""

from pywasmfilter import Action, HttpContext, http_filter, log

CALLS = 10


@http_filter("multiple_dispatches")
class MultipleDispatches(HttpContext):
    pending = 0

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        headers = [(":path", "/"), (":method", "GET"), (":authority", "")]
        for _ in range(CALLS):  # they run side by side; none of them blocks
            self.dispatch_http_call("httpbin", headers, self.on_answer, timeout_milliseconds=50_000)
            self.pending += 1
        return Action.PAUSE

    def on_answer(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.pending -= 1
        if self.pending:
            log.info(f"pending dispatched requests: {self.pending}")
            return
        self.response.headers.add("total-dispatched", str(CALLS))
        self.resume_http_response()
        log.info(f"response resumed after processed {CALLS} dispatched request")
