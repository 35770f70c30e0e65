"""Reads `:path`, adds a request header and a response header."""

from pywasmfilter import HttpContext, http_filter


@http_filter("three-headers")
class ThreeHeaders(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        headers = self.request.headers
        headers.add("x-bench-path", headers[":path"])

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers.add("x-bench", "yes")
