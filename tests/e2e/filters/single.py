"""One plugin with one callback: the least that a filter can be."""

from __future__ import annotations

from pywasmfilter import HttpContext, http_filter


@http_filter("single")
class Single(HttpContext):
    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-single"] = "yes"
