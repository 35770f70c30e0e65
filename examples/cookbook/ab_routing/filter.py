"""Sends each visitor to one of several versions, and to the same one again: A/B tests and canaries by cookie.

A visitor without a cookie gets a version by chance, in the proportion of the weights, and keeps it in a cookie. The
version goes to the upstream in a header; routes choose a cluster by it. A header, for testers for instance, may ask for
a version. What clients send in the version's own header never counts.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from datetime import timedelta

from pywasmfilter import HttpContext, PluginContext, counter, plugin

TOKEN = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass
class Config:
    """The versions and who gets them."""

    versions: dict[str, float] = field(default_factory=lambda: {"a": 1, "b": 1})
    """Version → its weight. With weight 0 it is only for those who have it already, or ask for it."""
    cookie: str = "ab_version"
    header: str = "x-ab-version"
    """The request header that routes go by."""
    ask: str = ""
    """A request header in which a client may ask for a version; empty if none may."""
    max_age: timedelta = timedelta(days=30)
    secure: bool = True
    """Whether the cookie is for HTTPS only."""

    def __post_init__(self) -> None:
        for name in (*self.versions, self.cookie, self.header):
            if not TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no name: letters, digits, dots, - and _, 64 at most")
        if min(self.versions.values(), default=0) < 0 or not sum(self.versions.values()):
            raise ValueError("versions: weights are 0 or more, and one of them is more")


@plugin("ab_routing", config=Config)
class AbRouting(PluginContext):
    config: Config

    def new_http_context(self, context_id: int) -> HttpContext:
        return Visit(context_id)

    def choose(self) -> str:
        versions = self.config.versions
        return random.choices(list(versions), list(versions.values()))[0]  # noqa: S311  # no secret


class Visit(HttpContext):
    config: Config
    plugin: AbRouting
    new_version = ""
    """What the visitor's cookie is to say; empty if it says so already."""

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        config, headers = self.config, self.request.headers
        version = headers.get(config.ask, "") if config.ask else ""
        if version not in config.versions:
            version = cookie(headers.get_all("cookie"), config.cookie)
        if version not in config.versions:
            version = self.new_version = self.plugin.choose()
        headers[config.header] = version
        counter("ab_requests", version=version).increment()

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if not self.new_version:
            return
        config = self.config
        value = f"{config.cookie}={self.new_version}; Path=/; Max-Age={int(config.max_age.total_seconds())}"
        value += "; HttpOnly; SameSite=Lax" + ("; Secure" if config.secure else "")
        self.response.headers.add("set-cookie", value)


def cookie(headers: list[str], name: str) -> str:
    """The value of a cookie, the first if there are several; empty if there is none."""
    for header in headers:
        for pair in header.split(";"):
            key, _, value = pair.partition("=")
            if key.strip() == name:
                return value.strip().strip('"')
    return ""
