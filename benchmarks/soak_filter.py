"""What `soak.py` sends its requests through: a little of everything that could leave something behind."""

from __future__ import annotations

import gc
import json

from pywasmfilter import Action, HttpContext, http_filter, memory


class Node:
    """Something that only a garbage collection can free."""

    def __init__(self, request: Soak) -> None:
        self.request = request
        self.nodes = [self]


@http_filter("soak")
class Soak(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        self.path = self.request.path
        self.request.headers["x-soak"] = self.path
        if self.path == "/raise":
            raise ValueError(f"{num_headers} headers")
        if self.path == "/answer":
            return self.send_http_response(200, headers=[("x-answered", "yes")], body=b"answer" * 100)
        if self.path == "/cycle":
            self.node = Node(self)
        if self.path == "/collected":
            gc.collect()
        if self.path in ("/statistics", "/collected"):
            return self.send_http_response(200, body=json.dumps(vars(memory.statistics())))
        return None

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int:
        if not end_of_stream:
            return Action.PAUSE
        self.request.buffer.replace(self.request.buffer.read().upper())
        return Action.CONTINUE

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-soak"] = self.response.headers.get("content-type", "none")

    def on_http_stream_done(self) -> None:
        self.statuses = self.response.headers.get_all(":status")
