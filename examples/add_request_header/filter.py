"""Every request gets the header `X-Chapter: Chapter09` on its way to the upstream, and the log says so."""

from pywasmfilter import HttpContext, http_filter, log


@http_filter("add-request-header")
class AddRequestHeader(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.request.headers.add("x-chapter", "Chapter09")
        log.info("added custom header to request")
