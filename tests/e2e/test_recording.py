"""Sessions of a module in a real Envoy are recorded: every callback, every host call, and nothing else changes."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import pytest
from click.testing import CliRunner, Result
from pywasmfilter_compiler import build, cli
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.recording import Recording

from tests.e2e.client import Response, request
from tests.e2e.wat import adds_response_header, write_module

pytestmark = pytest.mark.envoy

FILTER: Final = """
from pywasmfilter import Action, HttpContext, PluginContext, hostcalls, log, plugin

TICKS = []


@plugin("recorded")
class Recorded(PluginContext):
    def on_plugin_start(self, plugin_configuration_size):
        log.info(f"configured {self.plugin_configuration!r}")
        hostcalls.set_tick_period_milliseconds(1)

    def on_tick(self):
        hostcalls.set_tick_period_milliseconds(0)
        TICKS.append(self)
        log.info(f"tick {len(TICKS)}")

    def new_http_context(self, context_id):
        return Stream(context_id)


class Stream(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        self.request.headers["x-seen"] = self.request.path
        return Action.CONTINUE

    def on_http_request_body(self, body_size, end_of_stream):
        if not end_of_stream:
            return Action.PAUSE
        hostcalls.set_shared_data("body", bytes(self.request.buffer))
        return Action.CONTINUE

    def on_http_response_headers(self, num_headers, end_of_stream):
        value, _ = hostcalls.get_shared_data("body")
        self.response.headers["x-body-size"] = str(len(value))

    def on_http_stream_done(self):
        log.info("stream is done")
"""
BODY: Final = bytes(range(256)) * 400  # Envoy hands it over in several pieces


class Session(NamedTuple):
    """What became of a recorded session: the file's first line and its events, the module's log, and the response."""

    head: dict[str, Any]
    events: list[dict[str, Any]]
    log: list[str]
    response: Response


class Frame(NamedTuple):
    """A callback, and the host calls in it: the name, arguments, status and results of each."""

    callback: str
    arguments: list[int]
    calls: list[tuple[Any, ...]]
    answer: int | None


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The filter, as a module."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "filter.py").write_text(FILTER)
    return build(folder / "filter.py", folder / "filter.wasm").path


@pytest.fixture(scope="module")
def session(module: Path) -> Session:
    """A session with one request, that has a body, after each VM's tick."""
    file, recorded = module.with_name("session.jsonl"), module.with_name("recorded.wasm")
    with Recording(file, module) as recording:
        recorded.write_bytes(recording.module)
        with serve(recorded, plugin_configuration=b"the plugin's", take=recording.take) as server:
            server.envoy.wait_for_log("tick 1", 10, count=2)  # in the worker's VM and the main thread's
            response = request(server.port, "POST", "/path", [("x-header", "1")], BODY)
            server.envoy.wait_for_log("stream is done", 5)
        log = [line.message for line in server.envoy.wasm_log()]
    return Session(*read(file), log, response)


def read(file: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a recording and its events; each line must be whole."""
    text = file.read_text(encoding="ascii")
    assert text.endswith("\n")
    head, *events = map(json.loads, text[:-1].split("\n"))
    return head, events


def frames_by_vm(events: list[dict[str, Any]]) -> dict[int, list[Frame]]:
    """What happened in each VM, callback by callback. Nothing may happen between two."""
    frames: dict[int, list[Frame]] = {}
    running: dict[int, Frame] = {}
    for event in events:
        vm = event["vm"]
        if "callback" in event:
            assert vm not in running
            running[vm] = Frame(event["callback"], event["arguments"], [], None)
        elif "call" in event:
            running[vm].calls.append((event["call"], *event["arguments"], event["status"], *event["results"]))
        else:
            frame = running.pop(vm)
            assert frame.callback == event["return"]
            frames.setdefault(vm, []).append(frame._replace(answer=event["answer"]))
    assert not running
    return frames


# What is in a recording

TEXT: Final = BODY.decode("latin-1")
ALL: Final = 2**31 - 1
START: Final = [
    Frame("proxy_on_context_create", [1, 0], [("environ_sizes_get", 0, 0, 0)], None),
    Frame("proxy_on_vm_start", [1, 0], [], 1),
    Frame(
        "proxy_on_configure",
        [1, 12],
        [
            ("proxy_get_buffer_bytes", 7, 0, ALL, 0, "the plugin's"),
            ("proxy_log", 2, """configured b"the plugin's\"""", 0),
            ("proxy_set_tick_period_milliseconds", 1, 0),
        ],
        1,
    ),
]
TICK: Final = Frame(
    "proxy_on_tick", [1], [("proxy_set_tick_period_milliseconds", 0, 0), ("proxy_log", 2, "tick 1", 0)], None
)
STREAM: Final = [
    Frame("proxy_on_context_create", [2, 1], [], None),
    Frame(
        "proxy_on_request_headers",
        [2, 8, 0],
        [
            ("proxy_get_header_map_value", 0, ":path", 0, "/path"),
            ("proxy_replace_header_map_value", 0, "x-seen", "/path", 0),
        ],
        0,
    ),
    Frame(
        "proxy_on_request_body",
        [2, len(BODY), 1],
        [("proxy_get_buffer_bytes", 0, 0, ALL, 0, TEXT), ("proxy_set_shared_data", "body", TEXT, 0, 0)],
        0,
    ),
    Frame(
        "proxy_on_response_headers",
        [2, 4, 0],
        [
            ("proxy_get_shared_data", "body", 0, TEXT, 1),
            ("proxy_replace_header_map_value", 2, "x-body-size", str(len(BODY)), 0),
        ],
        0,
    ),
    Frame("proxy_on_log", [2], [("proxy_log", 2, "stream is done", 0)], None),
    Frame("proxy_on_delete", [2], [], None),
]
END: Final = Frame("proxy_on_delete", [1], [], None)


def test_the_module_does_what_it_did(session: Session) -> None:
    """The client gets its answer, the upstream the filter's header, and the log is the module's own."""
    assert (session.response.status, session.response.header("x-body-size")) == (200, [b"%d" % len(BODY)])
    assert ["x-seen", "/path"] in json.loads(session.response.body)["headers"]
    assert sorted(session.log) == [*[START[2].calls[1][2]] * 3, "stream is done", "tick 1", "tick 1"]


def test_each_vm_has_its_callbacks_and_calls(session: Session) -> None:
    """Envoy tries the module in a VM, and keeps one for the main thread and one for the worker, where the stream is."""
    frames = frames_by_vm(session.events)
    pieces = [frame for frame in frames[2] if frame.callback == "proxy_on_request_body" and not frame.arguments[2]]
    assert all((frame.calls, frame.answer) == ([], 1) for frame in pieces)
    frames[2] = [frame for frame in frames[2] if frame not in pieces]
    assert frames == {0: START, 1: [*START, TICK, END], 2: [*START, TICK, *STREAM, END]}


def test_the_recording_names_the_module(module: Path, session: Session) -> None:
    """Its hash is that of the file that was built, not of what ran."""
    sha256 = hashlib.sha256(module.read_bytes()).hexdigest()
    assert session.head == {"pyfilter_recording": 1, "abi": "0.2.1", "sha256": sha256}


def test_workers_do_not_mix(module: Path) -> None:
    """Lines of several workers alternate in the log; in the recording each VM has its own, whole and in order."""
    file, recorded = module.with_name("workers.jsonl"), module.with_name("workers.wasm")
    with Recording(file, module) as recording:
        recorded.write_bytes(recording.module)
        with serve(recorded, concurrency=3, take=recording.take) as server, ThreadPoolExecutor(8) as pool:
            paths = [f"/{number}" for number in range(60)]
            list(pool.map(lambda path: request(server.port, "POST", path, body=BODY), paths))
            server.envoy.wait_for_log("stream is done", 5, count=60)
    frames = frames_by_vm(read(file)[1])
    assert len(frames) == 5
    asked = [
        frame.calls[0][-1]
        for of_vm in frames.values()
        for frame in of_vm
        if frame.callback == "proxy_on_request_headers"
    ]
    assert sorted(asked) == sorted(paths)


def test_a_module_that_imports_next_to_nothing(tmp_path: Path) -> None:
    """Whoever compiled it, a module is recorded, also if it neither logs nor asks for random numbers."""
    file, recorded = tmp_path / "session.jsonl", tmp_path / "recorded.wasm"
    with Recording(file, adds_response_header(tmp_path / "m.wasm", "x-wat", "yes")) as recording:
        recorded.write_bytes(recording.module)
        with serve(recorded, take=recording.take) as server:
            assert request(server.port).header("x-wat") == [b"yes"]
    (frames,) = (of_vm for of_vm in frames_by_vm(read(file)[1]).values() if len(of_vm) > 1)
    call = ("proxy_add_header_map_value", 2, "x-wat", "yes", 0)
    assert Frame("proxy_on_response_headers", [2, 4, 0], [call], 0) in frames


# The command


def run(*arguments: str | Path) -> Result:
    """`pyfilter run` in this process."""
    return CliRunner().invoke(cli.main, ["run", *map(str, arguments)])


def test_a_request_is_recorded(module: Path, tmp_path: Path) -> None:
    """The response and the filter's log are shown as without --record, and the recorder's lines are not."""
    file = tmp_path / "session.jsonl"
    result = run(module, "--request", "/path", "--record", file)
    assert result.exit_code == 0, result.output
    assert "HTTP/1.1 500" in result.stdout  # there is no body in the shared data
    assert "[info] configured b''" in result.stderr
    assert "pyfilter-recording" not in result.output
    head, events = read(file)
    assert head["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    callbacks = [frame.callback for frame in frames_by_vm(events)[2]]
    assert "proxy_on_request_headers" in callbacks
    assert callbacks[-1] == "proxy_on_delete"


def test_a_module_that_does_not_start(tmp_path: Path) -> None:
    """Envoy's reasons are shown without the recorder's lines, and the recording has what happened until then."""
    (tmp_path / "filter.py").write_text(FILTER.replace("hostcalls.set_tick_period_milliseconds(1)", "1 / 0"))
    result = run(tmp_path / "filter.py", "--request", "/", "--record", tmp_path / "session.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "ZeroDivisionError" in result.stderr
    assert "pyfilter-recording" not in result.stderr
    frame = frames_by_vm(read(tmp_path / "session.jsonl")[1])[0][-1]
    assert (frame.callback, frame.answer) == ("proxy_on_configure", 0)
    assert "ZeroDivisionError" in frame.calls[-1][2]


LOGS: Final = """
(data (i32.const 0) "answered")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (drop (call $log (i32.const 2) (i32.const 0) (i32.const 8)))
  (i32.const 0))
(func (export "proxy_on_delete") (param i32))
"""
# A shell starts what it puts into the background with SIGINT ignored, and so would this process's child be.
COMMAND: Final = """
import signal
from pywasmfilter_compiler.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_session(tmp_path: Path, number: int) -> None:
    """Ctrl-C and a request to end leave a recording of all that happened, to the deletion of the contexts."""
    file, module = tmp_path / "session.jsonl", write_module(tmp_path / "m.wasm", "log", body=LOGS)
    command = [sys.executable, "-c", COMMAND, "run", str(module), "--port", "0", "--record", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            port = int(seek(process.stderr, r"http://127\.0\.0\.1:(\d+) passes the filter")[1])
            assert request(port, "POST", "/path", body=BODY).status == 200
            seek(process.stderr, "answered")
            process.send_signal(number)
            rest = process.stderr.read()
            process.wait(30)
        finally:
            process.kill()
    assert "Traceback" not in rest
    assert "pyfilter-recording" not in rest
    frames = [(frame.callback, frame.arguments[0]) for frame in frames_by_vm(read(file)[1])[2]]
    assert ("proxy_on_response_headers", 2) in frames
    assert frames[-2:] == [("proxy_on_delete", 2), ("proxy_on_delete", 1)]


def seek(stream: IO[str], pattern: str) -> re.Match[str]:
    """The first line that matches; the recorder's must not be among those before it."""
    for line in stream:
        assert "pyfilter-recording" not in line
        if match := re.search(pattern, line):
            return match
    raise AssertionError(f"no line matches {pattern!r}")
