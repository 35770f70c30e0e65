"""Inline filters in a real Envoy: one module and one VM for all of them, and a new source without a new module."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler import build_runtime, inline_configuration
from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    UPSTREAM,
    Config,
    WasmPlugin,
    bootstrap,
    cluster,
    http_listener,
    route_to,
    split_upstream,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import request
from tests.e2e.scripting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

pytestmark = pytest.mark.envoy

SOURCE = """from __future__ import annotations

from dataclasses import dataclass

from pywasmfilter import HttpContext, http_filter


@dataclass
class Config:
    value: str = "nothing"


@http_filter("mark", config=Config)
class Mark(HttpContext):
    config: Config

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers.add("x-mark", self.config.value)
"""
FAILING = """from pywasmfilter import HttpContext, http_filter

@http_filter("fails")
class Fails(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        raise ValueError("no luck")
"""
WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module for inline filters."""
    return build_runtime(tmp_path_factory.mktemp("runtime") / "python.wasm").path


def plugin(runtime: Path, name: str, source: str, config: dict[str, Any] | None = None) -> WasmPlugin:
    """An inline filter; all have one VM."""
    configuration = inline_configuration(source, config).encode()
    return WasmPlugin(runtime, name=name, root_id=name, vm_id="inline", configuration=configuration)


@contextmanager
def running(upstream: EchoServer, listener: Config) -> Iterator[EnvoyProcess]:
    """An Envoy with a listener in front of the echo upstream."""
    config = bootstrap([listener], [cluster(UPSTREAM, *split_upstream(upstream.url))])
    with EnvoyProcess({**config, "node": {"id": "test", "cluster": "test"}}) as envoy:
        yield envoy


def served(*plugins: WasmPlugin) -> Config:
    """A listener with plugins."""
    return http_listener(plugins, [route_to(UPSTREAM)])


def test_filters_share_a_vm(upstream: EchoServer, runtime: Path) -> None:
    """Two sources with the same names run side by side, in the VMs that one of them would have."""
    first = plugin(runtime, "first", SOURCE, {"value": "one"})
    second = plugin(runtime, "second", SOURCE.replace('.add("x-mark"', '.add("x-other"'), {"value": "two"})
    active, responses = [], []
    for plugins in ([first], [first, second]):
        with running(upstream, served(*plugins)) as envoy:
            responses.append(request(envoy.listener_port(LISTENER)))
            active.append(envoy.admin("/stats?filter=wasm.envoy.wasm.runtime.v8.active"))
    assert responses[-1].header("x-mark") == [b"one"]
    assert responses[-1].header("x-other") == [b"two"]
    assert active[0] == active[1]
    assert ".active: 3" in active[0]


def test_one_configuration_in_two_places(upstream: EchoServer, runtime: Path) -> None:
    """The same filter twice, which is one plugin for Envoy that is configured twice, runs in both places."""
    mark = plugin(runtime, "mark", SOURCE, {"value": "one"})
    with running(upstream, served(mark, mark)) as envoy:
        assert request(envoy.listener_port(LISTENER)).header("x-mark") == [b"one", b"one"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\ndef f(:\n", "<inline bad>:2: SyntaxError: invalid syntax\n    def f(:"),
        ("(" * 1000 + ")" * 1000, "<inline bad>: MemoryError: Parser stack overflowed"),
        ("def f(): f()\nf()", "<inline bad>:1: RecursionError: "),
        ("x = []\nwhile True: x.append(bytes(1 << 20))", "<inline bad>:2: MemoryError\n"),
    ],
    ids=["syntax", "nested", "recursion", "memory"],
)
def test_a_source_is_refused(upstream: EchoServer, runtime: Path, source: str, reason: str) -> None:
    """Envoy does not take the configuration, and its log says where in the source it is wrong, and how."""
    with pytest.raises(ToolError) as refusal, running(upstream, served(plugin(runtime, "bad", source))):
        pass
    assert f"bad: the source is refused: {reason}" in str(refusal.value)


def test_an_exception_shows_the_line(upstream: EchoServer, runtime: Path) -> None:
    """An exception in a callback is answered and logged as in any filter, and the traceback has the source's lines."""
    with running(upstream, served(plugin(runtime, "shop", FAILING))) as envoy:
        assert request(envoy.listener_port(LISTENER)).status == 500
        frame = '  File "<inline shop>", line 6, in Fails.on_http_request_headers\n'
        envoy.wait_for_log(f'{frame}    raise ValueError("no luck")\nValueError: no luck', 10)


def test_a_new_source_comes_as_configuration(upstream: EchoServer, runtime: Path, tmp_path: Path) -> None:
    """A configuration that Envoy discovers takes the place of the one before, in the same VMs; a wrong one does not."""
    file = tmp_path / "ecds.json"
    version = 0

    def publish(source: str, config: dict[str, Any] | None = None) -> None:
        nonlocal version
        version += 1
        typed = {"@type": WASM, "config": plugin(runtime, "mark", source, config).config()}
        extension = {
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": "wasm.0",
            "typed_config": typed,
        }
        new = tmp_path / "new.json"
        new.write_text(json.dumps({"version_info": str(version), "resources": [extension]}), encoding="utf-8")
        new.replace(file)

    publish(SOURCE, {"value": "old"})
    listener = served(plugin(runtime, "mark", SOURCE))
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    filters[0] = {
        "name": "wasm.0",
        "config_discovery": {
            "config_source": {"path_config_source": {"path": str(file)}, "resource_api_version": "V3"},
            "type_urls": [WASM],
        },
    }
    with running(upstream, listener) as envoy:
        port = envoy.listener_port(LISTENER)

        def mark() -> list[bytes]:
            return request(port).header("x-mark")

        assert eventually(mark, [b"old"]) == [b"old"]
        publish(SOURCE.replace("config.value", "config.value.upper()"), {"value": "new"})
        assert eventually(mark, [b"NEW"]) == [b"NEW"]
        publish("def f(:\n")
        envoy.wait_for_log("<inline mark>:1: SyntaxError", 10)
        assert mark() == [b"NEW"]
        publish(SOURCE, {"value": "last"})
        assert eventually(mark, [b"last"]) == [b"last"]
        assert ".active: 3" in envoy.admin("/stats?filter=wasm.envoy.wasm.runtime.v8.active")
