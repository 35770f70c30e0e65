"""One plugin with one callback, which shows the configurations in a header."""

from __future__ import annotations

from pywasmfilter import HttpContext, VMContext, http_filter


@http_filter("single")
class Single(HttpContext):
    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-single"] = f"{self.plugin.plugin_configuration!r} {VMContext().vm_configuration!r}"
