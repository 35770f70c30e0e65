"""Asks another service, `httpbin`, about each request, which waits for the answer.

The hash of the answer's body decides: if it is even the request goes on, if it is odd the client gets a 403.
"""

from pywasmfilter import Action, HostcallError, HttpContext, hostcalls, http_filter, log

CLUSTER = "httpbin"


@http_filter("http_auth_random")
class HttpAuthRandom(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        headers = self.request.headers.items()
        for name, value in headers:
            log.info(f"request header: {name}: {value}")
        try:
            self.dispatch_http_call(CLUSTER, headers, self.on_answer, timeout_milliseconds=50000)
        except HostcallError as error:
            log.critical(f"dipatch httpcall failed: {error}")
            return Action.CONTINUE
        log.info(f"http call dispatched to {CLUSTER}")
        return Action.PAUSE

    def on_answer(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        for name, value in hostcalls.get_http_call_response_headers():
            log.info(f"response header from {CLUSTER}: {name}: {value}")
        if not num_headers:  # the call broke off
            self.send_http_response(503, body="no answer")
        elif fnv1a_32(hostcalls.get_http_call_response_body()) % 2 == 0:
            log.info("access granted")
            self.resume_http_request()
        else:
            log.info("access forbidden")
            self.send_http_response(403, [("powered-by", "proxy-wasm-go-sdk!!")], "access forbidden")


def fnv1a_32(data: bytes) -> int:
    """The Fowler-Noll-Vo hash, variant 1a, of 32 bits."""
    digest = 0x811C9DC5
    for byte in data:
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return digest
