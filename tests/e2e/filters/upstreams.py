"""Calls named upstreams as a test asks for.

The header `x-code` is an expression, whose value becomes the answer, as `repr` has it, be it awaited; of an exception
that is "Type: message". With `x-first` and `x-later` the request goes on: the one is evaluated while it is held back,
the other in the response's callback, and the values are in the response's headers.
"""

from __future__ import annotations

from typing import Any

from pywasmfilter import HttpContext, PluginContext, gather, log, plugin, timeout, upstream

plain = upstream("plain", "http://plain.local:8080/api/")
auth = upstream(
    "auth", "https://auth.example.com", timeout=0.5, retries=2, headers=[("X-Client", "gate"), ("b", b"\xff")]
)
retried = upstream("retried", "http://plain.local:8080/api", cluster="plain", retries=2)
brief = upstream("brief", "http://brief.local", timeout=0.4, deadline=0.5, retries=5, retry_on=[500, 504])
other = upstream("other-name.v1", "http://[::1]:81", cluster="outbound|81||other", trace=False)
greeter = upstream("greeter", "http://localhost:50051/unused", http2=True, headers=[("x-client", "gate")])
NAMES = globals()


async def evaluated(context: Any, code: str) -> str:
    """What becomes of an expression."""
    try:
        value = eval(code, NAMES, {"self": context})
        if hasattr(value, "__await__"):
            value = await value
        return repr(value)
    except Exception as error:  # noqa: BLE001  # it is the answer
        return f"{type(error).__name__}: {error}"


async def limited(seconds: float, call: Any) -> Any:
    """A call that is not waited for any longer than that."""
    async with timeout(seconds):
        return await call


async def status_and_message(call: Any) -> tuple[int, bytes]:
    """What a gRPC call came to."""
    reply = await call
    return reply.status, reply.message


async def both(*calls: Any) -> Any:
    """What several calls came to."""
    return await gather(*calls)


@plugin("upstreams")
class Upstreams(PluginContext):
    def new_http_context(self, context_id: int) -> HttpContext:
        return Code(context_id)

    async def on_tick(self) -> None:
        log.info(f"tick: {await plain.get('/tick')}")


class Code(HttpContext):
    first = later = ""

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        code = self.request.headers.get("x-code")
        if code is not None:
            return self.send_http_response(200, body=await evaluated(self, code))
        self.later = self.request.headers.get("x-later", "")
        self.first = await evaluated(self, self.request.headers.get("x-first", "None"))
        return None

    async def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.later:
            self.response.headers["x-first"] = self.first
            self.response.headers["x-later"] = await evaluated(self, self.later)
