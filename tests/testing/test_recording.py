"""A recording is replayed: the filter must do what it did, and where it does not, the test says where and what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime

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
HEADER = b'{"pyfilter_recording": 1, "abi": "0.2.1"}'
TICK = {"vm": 0, "callback": "proxy_on_tick", "arguments": [1]}
TICKED = {"vm": 0, "return": "proxy_on_tick", "answer": None}
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

    def run(*events: dict[str, Any], abi: str = "0.2.1", source: str = FILTER, **options: Any) -> None:
        (tmp_path / "filter.py").write_text(source, encoding="utf-8")
        lines = [{"pyfilter_recording": 1, "abi": abi}, *({"vm": 0, **event} for event in (*START, *events))]
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
        call("proxy_define_metric", 0, "pywasmfilter_exceptions_plugin=recorded", results=(4,)),
        call("proxy_increment_metric", 4, 1),
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


def test_a_callback_that_no_call_is_around(replayed: Any) -> None:
    """A callback that came in the middle of a host call must come, so its call must be made."""
    tick = [{"callback": "proxy_on_tick", "arguments": [1]}, {"return": "proxy_on_tick", "answer": None}]
    replayed(HEADERS, *CALLS[:4], *tick, CALLS[4], PAUSE)
    with pytest.raises(Diverged, match=r"has on_tick\(1\) in the middle of a call that the filter does not make"):
        replayed(HEADERS, *CALLS, *tick, PAUSE)


def test_what_an_import_logs(replayed: Any) -> None:
    """A filter may print before its first callback, which is no part of a recording: a module did it in its build."""
    replayed(HEADERS, *CALLS, PAUSE, source=f"print('imported'){FILTER}", logs=True)


STARTED = """
(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "started")
  (func (export "malloc") (param i32) (result i32) (i32.const 0))
  (func (export "_initialize") (drop (call $log (i32.const 2) (i32.const 0) (i32.const 7))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_tick") (param i32)))
"""


def test_what_a_module_logs_when_it_starts(tmp_path: Path) -> None:
    """So may a module of another language, which starts before its first callback."""
    module, file = tmp_path / "m.wasm", tmp_path / "session.jsonl"
    module.write_bytes(wasmtime.wat2wasm(STARTED))
    started = {"vm": 0, **call("proxy_log", 2, "started")}
    file.write_bytes(b"\n".join([HEADER, *(json.dumps(event).encode() for event in (started, TICK, TICKED))]))
    replay(file, module, body="wasm", logs=True)


def test_another_version_of_the_abi(replayed: Any) -> None:
    """What a proxy of one version said is nothing for a filter of another."""
    with pytest.raises(NotARecording, match=r"jsonl: a session of ABI 0.2.0, and the filter speaks 0.2.1"):
        replayed(HEADERS, *CALLS, PAUSE, abi="0.2.0")


# Values that the recorder has cut


def test_arguments_that_were_cut(replayed: Any) -> None:
    """What is left of them is compared, whether the call changes something or not."""
    path, value = {"cut": ":pa", "size": 5}, {"cut": "/", "size": 2}
    found = call("proxy_get_header_map_value", 0, path, results=("/a",))
    replayed(
        HEADERS,
        CALLS[0],
        found,
        *CALLS[2:3],
        call("proxy_replace_header_map_value", 0, "x-path", value),
        *CALLS[4:],
        PAUSE,
    )


@pytest.mark.parametrize("value", [{"cut": "/", "size": 3}, {"cut": "x", "size": 2}])
def test_arguments_that_were_cut_and_differ(replayed: Any, value: dict[str, Any]) -> None:
    """Their beginning must be the same, and so must their size."""
    with pytest.raises(Diverged, match=r"'/a'\), and the recording has replace_header_map_value"):
        replayed(HEADERS, *CALLS[:3], call("proxy_replace_header_map_value", 0, "x-path", value), CALLS[4], PAUSE)


def test_results_that_were_cut(replayed: Any) -> None:
    """They cannot be given to a filter that asks for them, which is said; nobody else misses them."""
    cut = {"cut": "/", "size": 2}
    replayed(HEADERS, *CALLS, call("proxy_get_property", "x", results=(cut,)), PAUSE)
    found = call("proxy_get_header_map_value", 0, ":path", results=(cut,))
    with pytest.raises(NotARecording, match=r"on_request_headers.* only the beginning of what get_header_map_value\("):
        replayed(HEADERS, CALLS[0], found, *CALLS[2:], PAUSE)


# Files that are no recordings

NO_EVENT = ":2: not an event"


@pytest.fixture
def check(tmp_path: Path) -> Any:
    """A function that checks that a file of these lines is refused with this message."""

    def run(message: str, *lines: bytes | dict[str, Any] | list[Any]) -> None:
        file = tmp_path / "session.jsonl"
        file.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
        with pytest.raises(NotARecording, match=message):
            replay(file, tmp_path / "filter.py")

    return run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "jsonl: the file is empty"),
        (b"nonsense", ":1: not JSON"),
        (b"\x89PNG\r\n\x1a\n\0", ":1: not JSON"),
        (b"[" * 100_000, ":1: not JSON"),
        ([], ":1: not a recording of version 1"),
        ({}, ":1: not a recording of version 1"),
        ({"pyfilter_recording": 2}, ":1: not a recording of version 1"),
        ({"pyfilter_recording": 1}, ":1: abi is one of 0.1.0, 0.2.0, 0.2.1, not None"),
        ({"pyfilter_recording": 1, "abi": ["0.2.1"]}, ":1: abi is one of"),
    ],
)
def test_other_files(check: Any, line: Any, message: str) -> None:
    """A file that does not begin as a recording does is named, with its line."""
    check(message, line)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ([], NO_EVENT),
        ({"vm": 0}, NO_EVENT),
        ({**TICK, "vm": "x"}, NO_EVENT),
        ({"callback": "proxy_on_tick", "arguments": [1]}, NO_EVENT),
        ({**TICK, "callback": 1}, NO_EVENT),
        ({**TICK, "callback": "proxy_on_tock"}, ":2: ABI 0.2.1 has no callback 'proxy_on_tock'"),
        ({**TICK, "arguments": "1"}, NO_EVENT),
        ({**TICK, "arguments": []}, ":2: proxy_on_tick has 1 arguments, not 0"),
        ({**TICK, "arguments": [1, 2]}, ":2: proxy_on_tick has 1 arguments, not 2"),
        ({**TICK, "arguments": ["1"]}, ":2: proxy_on_tick: a value is not a number"),
        ({**TICK, "arguments": [True]}, ":2: proxy_on_tick: a value is not a number"),
        ({**TICK, "arguments": [-1]}, ":2: proxy_on_tick: a value is not a number"),
        ({**TICK, "arguments": [float("inf")]}, ":2: proxy_on_tick: a value is not a number"),
        (TICKED, ":2: .* proxy_on_tick returns where nothing runs"),
    ],
)
def test_callbacks_that_are_none(check: Any, event: Any, message: str) -> None:
    """A line that no recorder writes is named."""
    check(message, HEADER, event, TICKED)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({**TICKED, "return": "proxy_on_done"}, ":3: .* proxy_on_done returns where proxy_on_tick runs"),
        ({**TICKED, "answer": 1}, ":3: proxy_on_tick has no answer"),
        ({"vm": 0, "return": "proxy_on_tick"}, ":3: not an event"),
        ({"vm": 0, **call("proxy_nonsense")}, ":3: there is no host function 'proxy_nonsense'"),
        ({"vm": 0, **call("write_memory", 0, "")}, ":3: there is no host function 'write_memory'"),
        ({"vm": 0, **call("proxy_log", 2)}, ":3: proxy_log has 2 arguments, not 1"),
        ({"vm": 0, **call("proxy_log", "2", "text")}, ":3: proxy_log: a value is not a number"),
        ({"vm": 0, **call("proxy_log", None, "text")}, ":3: proxy_log: a value is not a number"),
        ({"vm": 0, **call("proxy_log", 2, 3)}, ":3: proxy_log: a value is not a text"),
        ({"vm": 0, **call("proxy_log", 2, {"cut": "text"})}, ":3: proxy_log: a value is not a text"),
        ({"vm": 0, **call("proxy_log", 2, {"cut": "text", "size": 4})}, ":3: proxy_log: a value is not a text"),
        ({"vm": 0, **call("proxy_log", 2, "€")}, ":3: proxy_log: a text has more in it than bytes"),
        ({"vm": 0, **call("proxy_log", 2, "text"), "status": "0"}, ":3: proxy_log: a value is not a number"),
        ({"vm": 0, **call("proxy_get_metric", 1)}, ":3: proxy_get_metric has 1 results, not 0"),
        ({"vm": 0, **call("proxy_get_metric", 1, results=("1",))}, ":3: proxy_get_metric: a value is not a number"),
        ({"vm": 0, **call("random_get", results=(1,))}, ":3: random_get: a value is not a text"),
        ({"vm": 0, "call": "proxy_done", "arguments": [], "status": 0}, ":3: not an event"),
    ],
)
def test_events_that_are_none(check: Any, event: dict[str, Any], message: str) -> None:
    """So is one that does not belong into the callback around it, or says of a host call what cannot be."""
    check(message, HEADER, TICK, event, TICKED)


def test_an_answer_that_is_none(check: Any) -> None:
    """A callback that answers has a number there."""
    check(
        r":3: proxy_on_done: a value is not a number",
        HEADER,
        *(
            {"vm": 0, **event}
            for event in ({"callback": "proxy_on_done", "arguments": [1]}, {"return": "proxy_on_done", "answer": None})
        ),
    )


@pytest.mark.parametrize("events", [[], [TICK], [{"vm": 0, **call("proxy_done")}]])
def test_a_recording_of_nothing(check: Any, events: list[dict[str, Any]]) -> None:
    """A test that would test nothing fails."""
    check("jsonl: no callback has returned in it", HEADER, *events)
