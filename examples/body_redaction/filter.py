"""Replaces every response body that contains the word `secret`."""

from pywasmfilter import Action, HttpContext, http_filter


@http_filter("body_redaction")
class BodyRedaction(HttpContext):
    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers.remove("content-length")  # the length may change, and this is the last chance to say so

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> Action:
        if not end_of_stream:
            return Action.PAUSE  # the proxy keeps what has come; the next call sees all of it
        self.redact()
        return Action.CONTINUE

    def on_http_response_trailers(self, num_trailers: int) -> None:
        self.redact()  # trailers end a body, too: no body callback says so then

    def redact(self) -> None:
        body = bytes(self.response.buffer)
        if b"secret" in body:
            self.response.buffer.replace(f"Original message body ({len(body)} bytes) redacted.\n")
