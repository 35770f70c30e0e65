"""Tags requests and responses with what the first rule says that matches, and logs the end of those it looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from pywasmfilter import HttpContext, http_filter, log
from pywasmfilter.rules import Rule, Ruleset


@dataclass
class Tag(Rule):
    tag: str = "default"


@dataclass
class Config(Ruleset):
    default: Tag = field(default_factory=Tag)
    rules: list[Tag] = field(default_factory=list)


@http_filter("ruled", config=Config)
class Ruled(HttpContext):
    config: Config

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if settings := self.config.select(self):
            self.settings = settings
            self.request.headers["x-tag"] = settings.tag

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-tag"] = self.settings.tag

    def on_http_stream_done(self) -> None:
        log.info(f"done: {self.settings.tag}")
