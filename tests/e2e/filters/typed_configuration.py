"""Shows its configuration in a header; says at its start that it has it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, Literal

from pywasmfilter import HttpContext, PluginContext, TcpContext, http_filter, log, plugin, tcp_filter


class Mode(Enum):
    ENFORCE = "enforce"
    REPORT = "report"


@dataclass
class Rule:
    path: re.Pattern[str]
    mode: Mode = Mode.ENFORCE
    children: list[Rule] = field(default_factory=list)


@dataclass
class Config:
    name: str
    timeout: timedelta = timedelta(seconds=1)
    rules: tuple[Rule, ...] = ()
    limit: int | Literal["none"] = "none"
    labels: dict[str, float] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    extra: Any = None

    def __post_init__(self) -> None:
        if self.name == "nobody":
            raise ValueError("nobody is not a name")


@http_filter("http", config=Config)
class Http(HttpContext):
    config: Config

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-config"] = repr(asdict(self.config))


@tcp_filter("tcp", config=Config)
class Tcp(TcpContext):
    config: Config

    def on_new_connection(self) -> None:
        log.info(f"connection for {self.config.name}")


@plugin("plugin", config=Config)
class Plugin(PluginContext):
    config: Config
    http_context = Http

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        log.info(f"started for {self.config.name}, {self.config.timeout.total_seconds()} s")
