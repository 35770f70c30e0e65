"""What is compared: a script for the filter, and traffic step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.e2e.differential.peers import Pairs


class Step(NamedTuple):
    """Something that happens from outside of the filter: what a world does, with which arguments."""

    what: str
    arguments: tuple[Any, ...] = ()


def headers(method: str = "GET", path: str = "/path?query", more: Sequence[tuple[str, str]] = (), **last: bool) -> Step:
    """The client's headers."""
    return Step("headers", (method, path, list(more), last.get("end", False)))


def data(text: str) -> Step:
    """A piece of the client's body, or of its data."""
    return Step("data", (text.encode(),))


def trailers(pairs: Pairs) -> Step:
    """The client's trailers."""
    return Step("trailers", (pairs,))


def answer(status: int = 200, more: Sequence[tuple[str, str]] = (), **last: bool) -> Step:
    """The upstream's headers."""
    return Step("answer", (status, list(more), last.get("end", False)))


def answer_data(text: str) -> Step:
    """A piece of the upstream's body, or of its data."""
    return Step("answer_data", (text.encode(),))


def answer_trailers(pairs: Pairs) -> Step:
    """The upstream's trailers."""
    return Step("answer_trailers", (pairs,))


end = Step("end")
"""The client's body ends, or its data."""

answer_end = Step("answer_end")
"""The upstream's body ends, or its data."""

abort = Step("abort")
"""The client goes away."""

answer_abort = Step("answer_abort")
"""The upstream goes away."""

tick = Step("tick")
"""The plugin's tick comes, which does what was put off."""

other = Step("other")
"""Another stream does what was put off."""


def wait(seconds: float) -> Step:
    """Time passes."""
    return Step("wait", (seconds,))


@dataclass(frozen=True)
class Case:
    """One stream.

    `script` is what the filter does, by place (see `observing`); `plugin` is that of the scripted filter.
    """

    name: str
    script: str
    steps: list[Step]
    plugin: str = "http"

    @property
    def is_tcp(self) -> bool:
        """Whether the stream is a TCP connection."""
        return any(step.what == "connect" for step in self.steps)


class Mark(NamedTuple):
    """What has happened after a step, which another world can wait for."""

    lines: int
    asked: int


@dataclass
class Outcome:
    """What filter, client and upstream saw of a case, line by line."""

    filter: list[str] = field(default_factory=list)
    client: list[str] = field(default_factory=list)
    upstream: list[str] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def lines(self) -> list[str]:
        """All of it."""
        named = {"filter": self.filter, "client": self.client, "upstream": self.upstream}
        return [f"{name}: {line}" for name, lines in named.items() for line in lines]


connect = Step("connect")
"""A client opens a TCP connection."""

GET = headers(end=True)
POST = headers("POST")
BODY = [POST, data("one "), data("two"), end]
ANSWER = [answer(), answer_data("three "), answer_data("four"), answer_end]
EMPTY = answer(more=[("content-length", "0")], end=True)
