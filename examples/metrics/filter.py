"""Counts requests by the value of their header `my-custom-header`, which is a tag of the counter."""

from pywasmfilter import Counter, HttpContext, http_filter

REQUESTS = Counter("custom_header_value_counts")


@http_filter("metrics")
class Metrics(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        value = self.request.headers.get("my-custom-header")
        if value is not None:
            REQUESTS.tagged(value=value, reporter="wasmgosdk").increment()
