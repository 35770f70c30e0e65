"""Every response gets the header `X-ChapterName: ExtendingEnvoy`."""

from pywasmfilter import HttpContext, http_filter


@http_filter("add-response-header")
class AddResponseHeader(HttpContext):
    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-chaptername"] = "ExtendingEnvoy"
