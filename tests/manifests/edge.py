"""A filter of each kind, which calls services: what manifests are made for here."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pywasmfilter import (
    HttpContext,
    PluginContext,
    TcpContext,
    hostcalls,
    http_filter,
    log,
    plugin,
    tcp_filter,
    upstream,
)

auth = upstream("auth", "https://auth.example.com")
near = upstream("near", "http://ratings.shop.svc:8080")


@dataclass
class Config:
    """What to say."""

    greeting: str


@http_filter("hello", config=Config)
class Hello(HttpContext):
    config: Config
    called = b""

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.request.path == "/call":
            self.called = (await near.get("/called")).body

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-hello"] = self.config.greeting
        self.response.headers["x-mode"] = os.environ.get("MODE", "none")
        self.response.headers["x-called"] = str(b"/called" in self.called)


@tcp_filter("raw")
class Raw(TcpContext):
    def on_new_connection(self) -> None:
        log.info("a connection")


@plugin("log")
class Log(PluginContext):
    def on_log(self) -> None:
        log.info(f"logged {dict(hostcalls.get_http_request_headers())[':path']}")
