"""Answers the browser's question whether a page of another origin may call: CORS, as the Fetch standard has it.

Preflights are answered here and do not reach the upstream; responses to allowed origins get the headers that the
browser wants to see. What is not allowed gets none of them, and the browser keeps the response from the page. CORS
keeps no one out: requests themselves reach the upstream, and other clients than browsers do not ask.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

from pywasmfilter import HttpContext, http_filter

REQUEST_METHOD = "access-control-request-method"
ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://((\*\.)?[a-z0-9_-][a-z0-9._-]*|\[[0-9a-f:.]+\])(:[0-9]+)?")
DEFAULT_PORTS = re.compile(r"http://.*:80|https://.*:443")  # browsers leave them out
SUBDOMAIN = re.compile(r"[A-Za-z0-9.-]+")
SAFE_METHODS = ("GET", "HEAD", "POST")  # those that the Fetch standard always lets pass


@dataclass
class Config:
    """Which origins may do what."""

    origins: list[str] = field(default_factory=list)
    """`https://app.example.com`, `https://*.example.com` for all below it, or `*` for every origin."""
    methods: list[str] = field(default_factory=lambda: ["GET", "POST", "PUT", "PATCH", "DELETE"])
    headers: list[str] = field(default_factory=lambda: ["content-type", "authorization"])
    """Request headers that a page may set."""
    expose: list[str] = field(default_factory=list)
    """Response headers that a page may read."""
    credentials: bool = False
    """Whether cookies may be sent along; not with the origin `*`."""
    max_age: timedelta = timedelta(minutes=10)
    """How long a browser may keep the answer."""

    def __post_init__(self) -> None:
        if self.credentials and "*" in self.origins:
            raise ValueError("credentials and the origin * would let every site act as the user")
        for origin in self.origins:
            if origin != "*" and (not ORIGIN.fullmatch(origin) or DEFAULT_PORTS.fullmatch(origin)):
                raise ValueError(
                    f"{origin!r} is no origin as browsers write it, in lower case and without a default port: "
                    "https://host, https://host:port, https://*.host or *"
                )

    def allows(self, origin: str) -> bool:
        """Whether an origin may call; `null`, which sandboxed pages have, may only if all may."""
        return any(matches(allowed, origin) for allowed in self.origins)


def matches(allowed: str, origin: str) -> bool:
    if "://*." not in allowed:
        return allowed in ("*", origin)
    scheme, _, domain = allowed.partition("*")
    subdomain = origin.removeprefix(scheme).removesuffix(domain)
    return scheme + subdomain + domain == origin and SUBDOMAIN.fullmatch(subdomain) is not None


@http_filter("cors", config=Config)
class Cors(HttpContext):
    config: Config
    origin = ""
    """The page's origin, if it may call."""

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.request.headers
        origin = headers.get("origin")
        if origin is None:
            return None
        if self.config.allows(origin):
            self.origin = origin
        if self.request.method == "OPTIONS" and (method := headers.get(REQUEST_METHOD)) is not None:
            return self.answer_preflight(method)
        return None

    def answer_preflight(self, method: str) -> int:
        config = self.config
        pairs = [("vary", "origin, access-control-request-method, access-control-request-headers")]
        if self.origin and (method in config.methods or method in SAFE_METHODS):
            pairs += [
                ("access-control-allow-methods", ", ".join(config.methods)),
                ("access-control-allow-headers", ", ".join(config.headers)),
                ("access-control-max-age", str(int(config.max_age.total_seconds()))),
            ]
        else:
            self.origin = ""
        return self.send_http_response(204, pairs)

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        """Preflights pass here too, on their way out. What the upstream says about CORS does not count."""
        headers = self.response.headers
        if not self.answered:
            for name in list(headers):
                if name.lower().startswith("access-control-"):
                    headers.remove(name)
        headers.add("vary", "origin")
        if not self.origin:
            return
        headers["access-control-allow-origin"] = "*" if "*" in self.config.origins else self.origin
        if self.config.credentials:
            headers["access-control-allow-credentials"] = "true"
        if self.config.expose and not self.answered:
            headers["access-control-expose-headers"] = ", ".join(self.config.expose)
