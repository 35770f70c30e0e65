"""Inline filters in the emulated host: sources that come with the configuration, side by side and one after another."""

from __future__ import annotations

import gc
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest
from pywasmfilter_compiler import build_runtime, inline_configuration

import pywasmfilter
from pywasmfilter.testing import Body, Host, Plugin, Refused, Request

SOURCE = """from __future__ import annotations

import logging
from dataclasses import dataclass

from pywasmfilter import HttpContext, PluginContext, hostcalls, log, plugin
from pywasmfilter.hostcalls import get_plugin_configuration


@dataclass
class Config:
    value: str = "nothing"


class Mark(HttpContext):
    config: Config

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.request.path == "/fail":
            raise ValueError("no luck")
        if self.request.path == "/log":
            try:
                1 / 0
            except ZeroDivisionError:
                logging.exception("caught")
        self.request.headers["x-mark"] = self.config.value

    def on_delete(self) -> None:
        log.info(f"end {self.config.value}")


@plugin("mark", config=Config)
class MarkPlugin(PluginContext):
    http_context = Mark

    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        own = hostcalls.get_plugin_configuration()
        assert own == get_plugin_configuration() == self.plugin_configuration and len(own) == plugin_configuration_size
        log.info(f"start {own.decode()}")
        return self.config.value != "no"
"""


class Start(Protocol):
    """Starts a host for inline filters, with one; `config` is that filter's own configuration."""

    def __call__(self, source: str, config: Any = None, name: str = "shop") -> Host: ...


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module for inline filters."""
    return build_runtime(tmp_path_factory.mktemp("runtime") / "python.wasm").path


@pytest.fixture(params=["python", "wasm"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """A host in each body."""
    body: Body = request.param
    path = Path(pywasmfilter.__file__).parent / "inline_runtime" if body == "python" else None
    before = set(sys.modules)
    with ExitStack() as stack:

        def start(source: str, config: Any = None, name: str = "shop") -> Host:
            where = path or request.getfixturevalue("module")
            configuration = inline_configuration(source, config)
            return stack.enter_context(Host(where, body=body, plugin=name, configuration=configuration))

        yield start
    for name in [name for name in sys.modules if name not in before and name.startswith("inline_")]:
        del sys.modules[name]  # plain Python has no VM that takes them with it


def another(host: Host, source: str, config: Any = None, name: str = "shop") -> Plugin:
    """A further inline filter in the same VM."""
    return host.start(plugin=name, configuration=inline_configuration(source, config))


def mark(plugin: Host | Plugin) -> str | None:
    """What a filter of `SOURCE` puts on a request."""
    request = plugin.request().sent
    return None if request is None else request.headers.get("x-mark")


def refusal(host: Host, source: str) -> str:
    """What is logged when a source is refused."""
    with pytest.raises(Refused) as refused:
        another(host, source, name="bad")
    return str(refused.value).removeprefix("the plugin does not start\n[error] bad: the source is refused: ")


def test_sources_of_the_same_names_run_side_by_side(start: Start) -> None:
    """Each has its own classes and its own configuration, and hears of its own callbacks only."""
    host = start(SOURCE, {"value": "one"})
    second = another(host, SOURCE.replace("self.config.value\n", "self.config.value * 2\n"), {"value": "two"}, "other")
    assert [mark(host), mark(second), mark(host)] == ["one", "twotwo", "one"]
    assert [message for message in host.messages if message.startswith("end")] == ["end one", "end two", "end one"]
    assert host.plugin.vm is second.vm


def test_the_configuration_is_the_plugins_own(start: Start) -> None:
    """The plugin has an object as JSON and text as it is, and nothing if there is neither."""
    host = start(SOURCE, {"value": "é"})
    another(host, SOURCE, '{"value": "as text"}')
    another(host, SOURCE)
    assert host.messages == ['start {"value": "é"}', 'start {"value": "as text"}', "start "]
    with pytest.raises(Refused, match="mark: bad configuration: valeu: there is no such key"):
        another(host, SOURCE, {"valeu": "?"})
    with pytest.raises(Refused):
        another(host, SOURCE, {"value": "no"})


def test_a_start_that_waits(start: Start) -> None:
    """`on_plugin_start` may be a coroutine, which finds the plugin's own configuration too."""
    waiting = SOURCE.replace("def on_plugin_start", "async def on_plugin_start")
    waiting = waiting.replace("        return self.config", "        await sleep(1)\n        return self.config")
    host = start(waiting.replace("import HttpContext", "import sleep, HttpContext"), {"value": "one"})
    assert host.messages == ['start {"value": "one"}']
    assert mark(host) == "one"


def test_a_new_configuration_replaces_the_old_one(start: Start) -> None:
    """Streams that began before end with the old code; what the old plugin was is gone with it."""
    host = start(SOURCE, {"value": "old"})
    stream = host.open_http()
    new = another(host, SOURCE.replace("end {", "new end {"), {"value": "new"})
    assert mark(new) == "new"
    stream.send_request(Request())
    assert stream.sent is not None
    assert stream.sent.headers["x-mark"] == "old"
    host.plugin.shut_down()
    assert host.messages[-1] == "end old"
    assert mark(another(host, SOURCE, {"value": "last"})) == "last"


def test_the_same_configuration_again(start: Start) -> None:
    """A proxy may configure a plugin that runs once more: with its source it starts again, with another it does not."""
    host = start(SOURCE, {"value": "one"})
    for source, answer in (SOURCE, 1), (SOURCE + "\n", 0):
        configuration = inline_configuration(source, {"value": "two"}).encode()
        with host.plugin.vm.showing(buffers={7: configuration}):
            assert host.plugin.vm.call("proxy_on_configure", host.plugin.context_id, len(configuration)) == answer
    assert "shop: a plugin keeps its source" in host.messages[-1]
    assert mark(host) == "two"


def test_exceptions_show_the_source(start: Start) -> None:
    """Tracebacks have the name of the filter, the line and its text; those of the standard library too."""
    host = start(SOURCE, {"value": "one"})
    assert host.request(path="/fail").status == 500
    line = SOURCE[: SOURCE.index("raise")].count("\n") + 1
    place = f'  File "<inline shop>", line {line}, in Mark.on_http_request_headers\n'
    assert host.logged(f'{place}    raise ValueError("no luck")\nValueError: no luck')
    host.request(path="/log")
    assert host.logged(f'  File "<inline shop>", line {line + 3}, in on_http_request_headers\n    1 / 0\n')


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\nif x\n", "<inline bad>:2: SyntaxError: expected ':'\n    if x"),
        ("\n1 / 0\n", "<inline bad>:2: ZeroDivisionError: division by zero\nTraceback (most recent call last):\n"),
        ("\n1 / 0\n", '\n  File "<inline bad>", line 2, in <module>\n    1 / 0\nZeroDivisionError: division by zero'),
        ("", '<inline bad>: ValueError: registers no plugin: decorate a class with @http_filter("name")'),
        (SOURCE.replace("_headers(", "_haeders("), "Mark.on_http_request_haeders (<inline bad>:18) is no callback"),
        (SOURCE + '\n\n@plugin("b")\nclass B(PluginContext): ...\n', "registers several plugins, 'mark', 'b'"),
        (SOURCE + '\n\n@plugin("mark")\nclass B(PluginContext): ...\n', "plugin 'mark' is registered twice"),
        ("from pywasmfilter import VMContext, vm\n@vm\nclass Own(VMContext): ...\n", "a module has one VM context"),
        ("import missing_module", "<inline bad>:1: ModuleNotFoundError: No module named 'missing_module'"),
        (SOURCE.replace("value: str", "value: set"), "plugin 'mark': Config.value: set is not supported"),
        (SOURCE + "\nclass Plugin(PluginContext):\n    def on_log(self, more): ...\n", "Plugin.on_log (<inline bad>:"),
        (SOURCE + "    def __init__(self):\n        raise KeyError(1)\n", "KeyError: 1\nTraceback"),
        (SOURCE + '    __slots__ = ("a",)\n', "<inline bad>: TypeError"),
    ],
    ids=range(13),
)
def test_a_source_is_refused(start: Start, source: str, reason: str) -> None:
    """The log says where and why; what runs goes on, and what was refused leaves nothing behind."""
    host = start(SOURCE, {"value": "one"})
    assert reason in refusal(host, source)
    assert mark(host) == "one"
    assert mark(another(host, SOURCE, {"value": "again"}, "bad")) == "again"


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ("", "code: is missing; expected a string"),
        ('{"code": "", "conf": {}}', 'conf: there is no such key; did you mean "config"?'),
        ('{"code": "", "config": [1]}', "config: expected an object or a string, got an array"),
        ("def f(): ...", "not JSON: line 1, column 1: Expecting value"),
        ('{"code": "", "code": ""}', "code: the key is there twice"),
    ],
)
def test_a_configuration_has_a_form(start: Start, configuration: str, reason: str) -> None:
    """An object with the code and perhaps a configuration; all else is refused."""
    host = start(SOURCE)
    with pytest.raises(Refused, match=re.escape(f"[error] bad: bad configuration: {reason}")):
        host.start(plugin="bad", configuration=configuration)


def test_a_refused_plugin_lets_nothing_pass(start: Start) -> None:
    """Should a host send streams to a plugin that it was told not to start, they are refused."""
    host = start(SOURCE)
    with pytest.raises(Refused):
        another(host, "")
    refused = max(host.plugin.vm.plugins)
    plugin = host.plugin.vm.plugins[refused]
    assert plugin.request().status == 500
    assert plugin.connect().ended


def test_memory_is_bounded(module: Path) -> None:
    """A hundred configurations, one after the other, take the memory of a few."""
    source = SOURCE + "\n\nFILLED = [str(number) for number in range(20_000)]\n"
    used = (
        "        from pywasmfilter import memory\n        import gc; gc.collect()\n"
        '        self.request.headers["x-used"] = str(memory.statistics().used_bytes)\n'
    )
    source = source.replace("        self.request.headers[", used + "        self.request.headers[", 1)
    with Host(module, body="wasm", plugin="shop", configuration=inline_configuration(source)) as host:
        sizes, running = [], host.plugin
        for number in range(100):
            new = another(host, source, {"value": str(number)})
            running.shut_down()
            running = new
            request = new.request().sent
            assert request is not None
            sizes.append(int(request.headers["x-used"]))
    assert max(sizes[5:]) - sizes[5] < 64 << 10, sizes


def test_nothing_is_kept_in_plain_python() -> None:
    """The modules of plugins that are gone are forgotten when the next one is configured."""
    path = Path(pywasmfilter.__file__).parent / "inline_runtime"
    with Host(path, body="python", plugin="a", configuration=inline_configuration(SOURCE)) as host:
        another(host, SOURCE, name="b")
        assert {name for name in sys.modules if name.startswith("inline_")} == {"inline_a", "inline_b"}
        host.plugin.shut_down()
        another(host, SOURCE, name="c").shut_down()
        assert {name for name in sys.modules if name.startswith("inline_")} == {"inline_b", "inline_c"}
        host.plugins[1].shut_down()
        with pytest.raises(Refused):
            another(host, "", name="d")
    assert not [name for name in sys.modules if name.startswith("inline_")]
    gc.collect()
    assert not [cls for cls in pywasmfilter.HttpContext.__subclasses__() if cls.__module__ == "inline_a"]


def test_the_configuration_is_compact_and_the_same(start: Start) -> None:
    """`inline_configuration` is JSON without spaces, and without what is not given."""
    assert inline_configuration("é\n") == '{"code":"é\\n"}'
    assert inline_configuration("x", "") == '{"code":"x","config":""}'
    assert json.loads(inline_configuration("x", {"a": [1, 2.5]})) == {"code": "x", "config": {"a": [1, 2.5]}}
    assert start is not None
