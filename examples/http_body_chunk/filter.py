"""Looks at a request's body while it comes, chunk by chunk, and answers 403 as soon as a chunk holds `pattern`.

The body stays in the proxy until it is complete, so nothing of it has reached the upstream by then.
"""

from pywasmfilter import Action, HttpContext, http_filter, log


@http_filter("http_body_chunk")
class BodyChunks(HttpContext):
    chunks = 0
    read_size = 0

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int:
        log.info(
            f"OnHttpRequestBody called. BodySize: {body_size}, totalRequestBodyReadSize: {self.read_size}, "
            f"endOfStream: {str(end_of_stream).lower()}"
        )
        if body_size > self.read_size and b"pattern" in self.next_chunk(body_size - self.read_size):
            return self.deny()
        return self.let_through(body_size) if end_of_stream else Action.PAUSE

    def on_http_request_trailers(self, num_trailers: int) -> int:
        """Trailers end a body, too: no body callback says so then."""
        return self.let_through(len(self.request.buffer))

    def let_through(self, body_size: int) -> int:
        if self.read_size != body_size:
            log.error(f"read data does not match the expected total size: {self.read_size} != {body_size}")
        log.info("pattern not found")
        return Action.CONTINUE

    def next_chunk(self, size: int) -> bytes:
        """The bytes that have come since the last call: `body_size` counts all that are buffered."""
        chunk = self.request.buffer.read(self.read_size, size)
        log.info(f"read chunk size: {len(chunk)}")
        if len(chunk) != size:
            log.error(f"read data does not match the expected size: {len(chunk)} != {size}")
        self.chunks += 1
        self.read_size += len(chunk)
        return chunk

    def deny(self) -> int:
        message = f"pattern found in chunk: {self.chunks}"
        log.info(message)
        action = self.send_http_response(403, [("powered-by", "proxy-wasm-go-sdk")], message)
        log.info("local 403 response sent")
        return action
