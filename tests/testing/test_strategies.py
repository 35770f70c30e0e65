"""The Hypothesis strategies give what HTTP allows, and all of it; interleavings break no order."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import Phase, find, given, settings, strategies as st

from pywasmfilter.testing import Host, Request, Response
from pywasmfilter.testing.strategies import (
    Step,
    bodies,
    chunked,
    filter_settings,
    header_names,
    header_values,
    headers,
    interleavings,
    paths,
    requests,
    responses,
    run,
)

quick = settings(filter_settings, max_examples=60, derandomize=True)
T = TypeVar("T")


def some(strategy: st.SearchStrategy[T], condition: Callable[[T], object]) -> T:
    """An example for which something holds; fails if none is found."""
    search = settings(filter_settings, max_examples=2000, derandomize=True, phases=[Phase.generate])
    return find(strategy, lambda value: bool(condition(value)), settings=search)


WAITING = """
from pywasmfilter import Action, HttpContext, PluginContext, hostcalls, log, plugin

@plugin("waiting")
class Waiting(PluginContext):
    def on_plugin_start(self, plugin_configuration_size):
        hostcalls.set_tick_period_milliseconds(1000)
        return True

    def on_tick(self):
        log.info("tick")

    def new_http_context(self, context_id):
        return Asking(context_id)

class Asking(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        pairs = [(":method", "GET"), (":path", self.request.path), (":authority", "a")]
        self.dispatch_http_call("service", pairs, self.answered)
        return Action.PAUSE

    def answered(self, num_headers, body_size, num_trailers):
        log.info(f"answered {num_headers}")
        self.resume_http_request()
"""


@pytest.fixture(scope="module")
def waiting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filter that ticks, and holds each request back until a call is answered."""
    file = tmp_path_factory.mktemp("waiting") / "filter.py"
    file.write_text(WAITING, encoding="utf-8")
    return file


# Messages


@given(name=header_names(), value=header_values())
@quick
def test_headers_are_what_peers_may_send(name: str, value: bytes) -> None:
    """Names are tokens in lower case that frame nothing; values have no control characters, and no spaces around."""
    assert re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]{1,40}", name)
    assert name not in {"content-length", "transfer-encoding", "connection", "host"}
    assert re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", value)
    assert value == value.strip(b" \t")


def test_headers_can_be_anything() -> None:
    """Bytes that are no UTF-8, empty values, and names that come twice are among them."""
    some(header_values(), lambda value: value.decode("utf-8", "replace").encode() != value)
    some(header_values(), lambda value: not value)
    some(headers(), lambda pairs: len({name for name, _ in pairs}) < len(pairs))


@given(pairs=headers("x-key", st.sampled_from(["a", "b"]), max_size=3))
@quick
def test_headers_of_ones_own(pairs: list[tuple[str, str]]) -> None:
    """Names and values can be given, as values or strategies."""
    assert len(pairs) <= 3
    assert set(pairs) <= {("x-key", "a"), ("x-key", "b")}


@given(data=st.data(), body=bodies(max_size=50))
@quick
def test_chunks_are_the_body(data: st.DataObject, body: bytes) -> None:
    """The pieces put together are the body, which is not longer than it may be."""
    assert len(body) <= 50
    assert b"".join(data.draw(chunked(body))) == body


def test_a_body_is_split_anywhere() -> None:
    """Splits within a character, empty pieces, and a body in one piece are among them."""
    body = "ä€".encode()
    assert some(chunked(body), lambda chunks: b"\xc3" in chunks)
    assert some(chunked(body), lambda chunks: b"" in chunks)
    assert some(chunked(st.just(body)), lambda chunks: len(chunks) == 1) == [body]


@given(path=paths())
@quick
def test_paths(path: str) -> None:
    """Paths are absolute, of characters that need no escape."""
    assert re.fullmatch(r"/[!$-;=?-Z_a-z~@%]*", path)


@given(request=requests(), response=responses())
@quick
def test_messages_say_the_length_that_they_have(request: Request, response: Response) -> None:
    """A content-length is that of the body, and never with trailers, which only come after a body."""
    for message in request, response:
        if "content-length" in message.headers:
            assert message.headers.get_all("content-length") == [str(len(message.body))]
            assert not message.trailers
        assert message.chunks or not message.trailers
    assert 200 <= response.status <= 599
    assert not (response.status in (204, 304) and response.chunks)


def test_messages_can_be_anything() -> None:
    """With and without a body, with its length said or not, with trailers, with any method."""
    for strategy in requests(), responses():
        some(strategy, lambda message: not message.chunks)
        some(strategy, lambda message: bool(message.body) and "content-length" in message.headers)
        some(strategy, lambda message: bool(message.body) and "content-length" not in message.headers)
        some(strategy, lambda message: bool(message.trailers))
    some(requests(), lambda request: request.method == "HEAD")
    some(responses(), lambda response: response.status == 599)


@given(request=requests(method="POST", path="/a", headers={"x": "y"}, body=b"abc", trailers=st.just([("t", "1")])))
@quick
def test_requests_of_ones_own(request: Request) -> None:
    """Each part of a request can be given, as a value or a strategy."""
    assert (request.method, request.path, request.headers["x"]) == ("POST", "/a", "y")
    assert request.body == b"abc"
    assert request.trailers == {"t": "1"}


@given(response=responses(status=st.sampled_from([200, 503]), headers=[("x", "y")], body=b"abc", trailers=[]))
@quick
def test_responses_of_ones_own(response: Response) -> None:
    """Each part of a response can be given."""
    assert response.status in (200, 503)
    assert (response.headers["x"], response.body) == ("y", b"abc")
    assert not response.trailers


# Interleavings


@given(steps=interleavings(requests=requests(body=b"abcdef"), responses=responses(status=200), streams=3))
@quick
def test_an_interleaving_keeps_each_order(steps: list[Step]) -> None:
    """Of each stream there are all events of its client, and of its upstream, in order; the end comes once, last."""
    for number in {step.number for step in steps if step.method == "send_headers"}:
        for verb in "send", "respond":
            own = [step for step in steps if step.number == number and step.method.startswith(f"{verb}_")]
            ends = [step.end_of_stream or step.method.endswith("_trailers") for step in own]
            assert own[0].method == f"{verb}_headers"
            assert ends == [False] * (len(own) - 1) + [True]
            if verb == "send":
                assert b"".join(step.arguments[0] for step in own if step.method == "send_body") == b"abcdef"


def test_streams_are_interleaved() -> None:
    """Streams that begin while others run, that are broken off, and early answers are among them."""

    def position(steps: list[Step], number: int, method: str) -> int:
        return next((i for i, step in enumerate(steps) if step[:2] == (number, method)), -1)

    def has(method: str, steps: list[Step]) -> bool:
        return any(step.method == method for step in steps)

    posts = interleavings(requests=requests(method="POST", body=b"abc"))
    some(posts, lambda steps: -1 < position(steps, 1, "send_headers") < position(steps, 0, "send_body"))
    some(posts, lambda steps: -1 < position(steps, 0, "respond_headers") < position(steps, 0, "send_body"))
    some(posts, partial(has, "abort"))
    every = {"tick", "advance", "reply", "fail", "time_out"}
    assert every <= {step.method for method in every for step in some(posts, partial(has, method))}


def test_run_puts_off_what_cannot_happen_yet(waiting: Path) -> None:
    """An upstream's answer waits for the request to pass, and a reply for a call; their order stays."""
    steps = [
        Step(0, "respond_headers", (201, [])),
        Step(0, "respond_body", (b"a",)),
        Step(7, "reply", (Response(),)),
        Step(0, "send_headers", (Request("POST", "/").headers.items(),)),
        Step(0, "respond_body", (b"b",), end_of_stream=True),
        Step(0, "send_body", (b"c",), end_of_stream=True),
    ]
    with Host(waiting) as host:
        host.clusters["service"] = None
        (stream,) = run(host, steps)
        assert (stream.status, stream.body) == (201, b"ab")


def test_run_ticks_only_plugins_that_tick(waiting: Path) -> None:
    """A tick comes if the plugin asked for ticks, and time that passes makes those come that are due."""
    with Host(waiting) as host:
        run(host, [Step(0, "tick"), Step(0, "advance", (2.0,))])
        assert host.messages == ["tick"] * 3
        host.plugin.set_tick_period(0)
        run(host, [Step(0, "tick")])
        assert host.messages == ["tick"] * 3


@given(steps=interleavings(streams=2))
@quick
def test_run_lets_everything_happen(waiting: Path, steps: list[Step]) -> None:
    """Every stream comes to an end once the calls of the filter are answered."""
    with Host(waiting) as host:
        host.clusters["service"] = None
        streams = run(host, [*steps, *(Step(0, "reply", (Response(),)) for _ in range(2))])
        assert len(streams) == len({step.number for step in steps if step.method == "send_headers"})
        assert not host.logged("Traceback")
        assert not host.http_calls
        assert all(stream.ended for stream in streams)


# Errors


def test_without_hypothesis() -> None:
    """Without Hypothesis, the import says what to install."""
    code = "import sys; sys.modules['hypothesis'] = None; import pywasmfilter.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'pywasmfilter[hypothesis]'" in done.stderr.splitlines()[-1]


pytest_plugins = ["pytester"]


def test_a_falsified_property_shows_the_request(pytester: pytest.Pytester) -> None:
    """With `filter_settings` a test may use `new_host`; what falsifies it is shown as code, with its log alone."""
    pytester.makepyfile(
        filter="from pywasmfilter import HttpContext, http_filter\n"
        "@http_filter('x')\n"
        "class X(HttpContext):\n"
        "    def on_http_request_headers(self, num_headers, end_of_stream):\n"
        "        if len(self.request.path) > 1: raise LookupError\n",
        test_it="from hypothesis import given\n"
        "from pywasmfilter.testing.strategies import filter_settings, requests\n"
        "@given(sent=requests())\n"
        "@filter_settings\n"
        "def test_it(new_host, sent):\n"
        "    assert new_host().send(sent).status != 500\n",
    )
    pytester.plugins = ["pywasmfilter.testing.pytest_plugin"]
    result = pytester.runpytest_subprocess("--hypothesis-seed=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*sent=Request(", "*path='/0',*", "*headers=[[]],*"])
    result.stdout.fnmatch_lines(["*- filter's log -*", "*LookupError*"])
    assert result.stdout.str().count("filter's log") == 1
