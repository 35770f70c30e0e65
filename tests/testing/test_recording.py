"""A recording is replayed: the filter must do what it did, and where it does not, the test says where and what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pywasmfilter.testing import Body
from pywasmfilter.testing.recording import Diverged, NotARecording, replay

FILTER = """
import time
from pywasmfilter import Action, HttpContext, hostcalls, http_filter, log

@http_filter("recorded")
class Recorded(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        log.info(f"asked for {self.request.path} at {time.time_ns()}")
        self.request.headers["x-path"] = self.request.path
        hostcalls.set_shared_data("k", "v")
        return Action.PAUSE
"""
START: list[dict[str, Any]] = [
    {"callback": "proxy_on_context_create", "arguments": [1, 0]},
    {"return": "proxy_on_context_create", "answer": None},
    {"callback": "proxy_on_vm_start", "arguments": [1, 0]},
    {"return": "proxy_on_vm_start", "answer": 1},
    {"callback": "proxy_on_configure", "arguments": [1, 0]},
    {"return": "proxy_on_configure", "answer": 1},
    {"callback": "proxy_on_context_create", "arguments": [2, 1]},
    {"return": "proxy_on_context_create", "answer": None},
]
TIME = 1_700_000_000_123_456_789


def call(function: str, *arguments: Any, status: int = 0, results: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"call": function, "arguments": list(arguments), "status": status, "results": list(results)}


CALLS = [
    call("clock_time_get", 0, 1, results=(TIME,)),
    call("proxy_get_header_map_value", 0, ":path", results=("/a",)),
    call("proxy_log", 2, f"asked for /a at {TIME}"),
    call("proxy_replace_header_map_value", 0, "x-path", "/a"),
    call("proxy_set_shared_data", "k", "v", 0),
]
HEADERS = {"callback": "proxy_on_request_headers", "arguments": [2, 4, 1]}
PAUSE = {"return": "proxy_on_request_headers", "answer": 1}


@pytest.fixture(params=["python", "wasm"])
def body(request: pytest.FixtureRequest) -> Body:
    """Each body."""
    found: Body = request.param
    return found


@pytest.fixture
def replayed(tmp_path: Path, body: Body) -> Any:
    """A function that replays events after the start of a VM."""
    (tmp_path / "filter.py").write_text(FILTER, encoding="utf-8")

    def run(*events: dict[str, Any], vm: int = 0, **options: Any) -> None:
        lines = [{"pyfilter_recording": 1, "abi": "0.2.1"}, *({"vm": vm, **event} for event in (*START, *events))]
        (tmp_path / "session.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
        replay(tmp_path / "session.jsonl", tmp_path / "filter.py", body=body, **options)

    return run


def test_the_same_again(replayed: Any) -> None:
    """A filter that does what it did passes, its log included: it sees the recorded headers and the recorded time."""
    replayed(HEADERS, *CALLS, PAUSE, logs=True)


def test_answers_are_the_recorded_ones(replayed: Any) -> None:
    """A host call that failed fails again; here that ends the request with a 500, as it did then."""
    replayed(
        HEADERS,
        *CALLS[:4],
        {**CALLS[4], "status": 8},
        call("proxy_set_effective_context", 2),
        call(
            "proxy_send_local_response", 500, "pywasmfilter_exception", "Internal Server Error", "\0\0\0\0", 0xFFFFFFFF
        ),
        PAUSE,
    )


def test_the_log_may_differ(replayed: Any) -> None:
    """Unless asked for, lines of the log are not compared."""
    events = [event for event in CALLS if event["call"] != "proxy_log"]
    replayed(HEADERS, *events, PAUSE)
    with pytest.raises(Diverged, match=r"calls log\(INFO, 'asked for /a at"):
        replayed(HEADERS, *events, PAUSE, logs=True)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (
            [*CALLS[:3], call("proxy_replace_header_map_value", 0, "x-path", "/b"), PAUSE],
            "'/a'\\), and the recording has replace",
        ),
        ([*CALLS[:4], PAUSE], r"goes on with set_shared_data\('k', 'v', 0\), and the recording has nothing more"),
        ([*CALLS, call("proxy_done"), PAUSE], r"the recording goes on with done\(\)"),
        ([CALLS[0], *CALLS[2:], PAUSE], r"asks for get_header_map_value\(HTTP_REQUEST_HEADERS, ':path'\)"),
        ([*CALLS, {**PAUSE, "answer": 0}], "it answers 1, and the recording has 0"),
    ],
)
def test_what_differs_is_said(replayed: Any, events: list[dict[str, Any]], message: str) -> None:
    """The message has the callback and both calls."""
    with pytest.raises(Diverged, match=r"VM 0, callback 5, on_request_headers\(2, 4, 1\): .*" + message):
        replayed(HEADERS, *events)


def test_a_session_that_was_cut_off(replayed: Any) -> None:
    """What the last callback did is not replayed if its end is missing."""
    replayed(HEADERS, *CALLS[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", ":1: not a recording of version 1"),
        ('{"pyfilter_recording": 2}', ":1: not a recording of version 1"),
        ("nonsense", ":1: not JSON"),
        ('{"pyfilter_recording": 1, "abi": "0.2.1"}\n[]', ":2: not an event"),
        ('{"pyfilter_recording": 1, "abi": "0.2.1"}\n{"vm": 0, "return": "x", "answer": 1}', ":2: not an event"),
        ("", "empty"),
    ],
)
def test_other_files(tmp_path: Path, text: str, message: str) -> None:
    """A file that is no recording is named with its line."""
    file = tmp_path / "session.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NotARecording, match=message):
        replay(file, tmp_path / "filter.py")
