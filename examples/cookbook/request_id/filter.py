"""Gives every request an id and a place in a trace, which upstreams, clients and logs can find again.

A request that comes with a valid W3C `traceparent` stays in its trace, as a child of its own; others begin one. The id
of clients is kept only if they are trusted, since it ends up in logs. The response tells the client the id and the
trace. There is no span: this filter passes context on and records nothing, which proxies give filters no way to do.
"""

from __future__ import annotations

import re
import secrets
import uuid
from dataclasses import dataclass

from pywasmfilter import HttpContext, http_filter, log

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")
ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


@dataclass
class Config:
    """What is believed, and where it goes."""

    header: str = "x-request-id"
    """The header with the id, in the request and in the response."""
    trust_clients: bool = False
    """Whether an id that comes with a request is kept. Envoy itself gives `x-request-id` to requests that have none."""
    sampled: bool = True
    """Whether traces that begin here are marked as sampled."""
    log: bool = False
    """Whether each request is logged with its id and its trace."""


@http_filter("request_id", config=Config)
class RequestId(HttpContext):
    config: Config
    request_id = trace = span = ""

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        headers, config = self.request.headers, self.config
        given = headers.get(config.header, "")
        self.request_id = given if config.trust_clients and ID.fullmatch(given) else str(uuid.uuid4())
        headers[config.header] = self.request_id
        flags = self.join_trace()
        headers["traceparent"] = f"00-{self.trace}-{self.span}-{flags}"
        if config.log:
            log.info(f"request {self.request_id} trace {self.trace} {self.request.method} {self.request.path!r}")

    def join_trace(self) -> str:
        """Go on with the client's trace, or begin one. Returns the flags. A broken context is dropped as a whole."""
        parents = self.request.headers.get_all("traceparent")
        parent = TRACEPARENT.fullmatch(parents[0]) if len(parents) == 1 else None
        self.span = secrets.token_hex(8)
        if parent:
            self.trace = parent[1]
            return f"{int(parent[2], 16) & 1:02x}"
        self.request.headers.remove("tracestate")
        self.trace = secrets.token_hex(16)
        return "01" if self.config.sampled else "00"

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.request_id:
            self.response.headers[self.config.header] = self.request_id
            self.response.headers["x-trace-id"] = self.trace
