"""The life of contexts, and what becomes of exceptions."""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter import (
    BufferType,
    HttpContext,
    LogLevel,
    PluginContext,
    VMContext,
    _callbacks,
    _dispatcher,
    hostcalls,
    http_filter,
    plugin,
    vm,
)
from pywasmfilter._dispatcher import on_context_create, on_exception, on_vm_start
from pywasmfilter._state import contexts
from tests.sdk.conftest import MemoryHost, begin

REFUSED: list[object] = [(500, "pywasmfilter_exception", "Internal Server Error", [], -1)]


class Stream(HttpContext):
    """A stream's context without callbacks."""


def only_error(host: MemoryHost) -> str:
    """The one message that was logged, at level error."""
    ((level, message),) = host.logged
    assert level == LogLevel.ERROR
    return str(message)


# Plugins and streams


def test_a_stream_belongs_to_its_plugin(host: MemoryHost) -> None:
    """Contexts carry their ids; a stream knows its plugin, and each stream has its own context."""
    http_filter("f")(Stream)
    context = begin()
    assert type(context) is Stream
    assert (context.context_id, context.plugin.context_id, context.plugin) == (2, 1, contexts[1])
    on_context_create(3, 1)
    assert contexts[3] is not contexts[2]


def test_a_constructor_that_keeps_to_itself(host: MemoryHost) -> None:
    """A context whose __init__ does not call the base's has its id and its plugin all the same."""

    @http_filter("f")
    class Silent(HttpContext):
        def __init__(self, context_id: int) -> None:
            self.seen = context_id

    context = begin()
    assert (context.seen, context.context_id, context.plugin) == (2, 2, contexts[1])


def test_a_plugin_may_ignore_a_stream(host: MemoryHost) -> None:
    """None from new_http_context is kept as None: the shim answers Continue for it."""
    plugin("p")(type("Plugin", (PluginContext,), {}))
    assert begin() is None
    assert host.logged == []


def test_the_only_plugin_takes_any_name(host: MemoryHost) -> None:
    """With one plugin the host's root id does not matter."""
    host.properties[b"plugin_root_id"] = b"something else"
    http_filter("f")(Stream)
    assert type(begin()) is Stream


@pytest.mark.parametrize("name", ["a", "b"])
def test_of_several_plugins_the_root_id_chooses(host: MemoryHost, name: str) -> None:
    """The plugin of the host's name is the one that is made."""
    host.properties[b"plugin_root_id"] = name.encode()
    classes = {each: plugin(each)(type(each.upper(), (PluginContext,), {})) for each in ("a", "b")}
    assert type(begin(None)) is classes[name]


@pytest.mark.parametrize(
    ("root_id", "name", "chosen"),
    [(b"", b"b", "b"), (None, b"b", "b"), (b"c", b"b", "b"), (b"a", b"b", "a")],
)
def test_of_several_plugins_the_name_chooses_if_the_root_id_does_not(
    host: MemoryHost, root_id: bytes | None, name: bytes, chosen: str
) -> None:
    """Where the root id is no plugin's, the name of the host's configuration decides; the root id comes first."""
    host.properties[b"plugin_name"] = name
    if root_id is not None:
        host.properties[b"plugin_root_id"] = root_id
    classes = {each: plugin(each)(type(each.upper(), (PluginContext,), {})) for each in ("a", "b")}
    assert type(begin(None)) is classes[chosen]


@pytest.mark.parametrize("root_id", [b"c", b"", None, b"\xff"])
def test_an_unknown_plugin_is_refused(host: MemoryHost, root_id: bytes | None) -> None:
    """Of several plugins, a name that is none of them refuses the configuration, and the log lists the names."""
    if root_id is not None:
        host.properties[b"plugin_root_id"] = root_id
    for each in ("b", "a"):
        http_filter(each)(Stream)
    refused = begin(None)
    assert refused._on_configure(0) is False
    ((level, message),) = host.logged
    assert level == LogLevel.CRITICAL
    asked = {b"c": "'c'", b"\xff": "'\ufffd'"}.get(root_id or b"", "without a name")
    assert message == f"this module has no plugin {asked}; its plugins (root_id, pluginName) are: a, b"
    on_context_create(2, 1)
    assert contexts[2].on_http_request_headers(1, True) == 1, "its streams are refused"
    assert host.responses == REFUSED


def test_a_plugin_that_cannot_be_made(host: MemoryHost) -> None:
    """An exception in the constructor is logged with the plugin's name and refuses the configuration."""

    @plugin("p")
    class Broken(PluginContext):
        def __init__(self) -> None:
            raise LookupError("no way")

    refused = begin(None)
    assert refused._on_configure(0) is False
    assert refused._on_done() is True
    assert only_error(host).startswith("p: uncaught exception in Broken()\nTraceback")
    assert only_error(host).endswith("LookupError: no way")


# new_http_context


def failing_plugin(on_error: str, result: object = None) -> None:
    """Register a plugin whose new_http_context raises, or returns a wrong thing."""

    @plugin("p", on_error=on_error)
    class Failing(PluginContext):
        def new_http_context(self, context_id: int) -> HttpContext | None:
            if result is not None:
                return result  # type: ignore[return-value]
            raise ArithmeticError(f"stream {context_id}")


STREAM_CALLBACKS = [name for name in dir(HttpContext) if name.startswith("on_http_") and name != "on_http_stream_done"]


@pytest.mark.parametrize("method", STREAM_CALLBACKS)
def test_a_stream_without_a_context_is_denied(host: MemoryHost, method: str) -> None:
    """With "deny" the first callback, whichever it is, answers 500 and pauses."""
    failing_plugin("deny")
    context = begin()
    assert only_error(host).startswith("p: uncaught exception in new_http_context\n")
    assert getattr(context, method)(3, True) == 1
    assert host.responses == REFUSED
    assert context._on_done() is True
    context._on_log()


def test_a_stream_without_a_context_may_go_on(host: MemoryHost) -> None:
    """With "continue" the stream is one that the plugin does not look at; the exception is logged."""
    failing_plugin("continue")
    assert begin() is None
    assert only_error(host).endswith("ArithmeticError: stream 2")


@pytest.mark.parametrize("wrong", [5, HttpContext, "context"])
def test_a_wrong_context_is_an_exception(host: MemoryHost, wrong: object) -> None:
    """What is no HttpContext, a class for instance, is treated as an exception that says so."""
    failing_plugin("deny", wrong)
    assert begin().on_http_request_headers(1, True) == 1
    assert "TypeError: new_http_context and new_tcp_context return a context or None, not " in only_error(host)


# The VM


def test_the_vm_starts_once(host: MemoryHost) -> None:
    """on_vm_start is called once with the size of its configuration, whatever the number of plugins."""
    seen: list[tuple[int, bytes]] = []
    host.buffers[BufferType.VM_CONFIGURATION] = b"vm config"

    @vm
    class Mine(VMContext):
        def on_vm_start(self, vm_configuration_size: int) -> None:
            seen.append((vm_configuration_size, self.vm_configuration))

    http_filter("f")(Stream)
    for plugin_id in (1, 2):
        on_context_create(plugin_id, 0)
        assert on_vm_start(plugin_id, 9) is True
    assert seen == [(9, b"vm config")]


@pytest.mark.parametrize(("answer", "expected"), [(True, True), (None, True), (False, False), (0, True)])
def test_only_false_refuses_the_vm(host: MemoryHost, answer: Any, expected: bool) -> None:
    """False refuses the configuration, for every plugin of the VM; nothing else does."""
    vm(type("Mine", (VMContext,), {"on_vm_start": lambda _self, _size: answer}))
    http_filter("f")(Stream)
    on_context_create(1, 0)
    assert [on_vm_start(1, 0), on_vm_start(2, 0)] == [expected] * 2


@pytest.mark.parametrize("place", ["__init__", "on_vm_start"])
def test_an_exception_refuses_the_vm(host: MemoryHost, place: str) -> None:
    """An exception in the VM's constructor or start is logged once and refuses the configuration."""

    def fail(*_: object) -> None:
        raise OSError("broken")

    vm(type("Mine", (VMContext,), {place: fail}))
    http_filter("f")(Stream)
    on_context_create(1, 0)
    assert [on_vm_start(1, 0), on_vm_start(2, 0)] == [False] * 2
    expected = "Mine()" if place == "__init__" else place
    assert only_error(host).startswith(f"uncaught exception in {expected}\n")


def test_preparations_run_before_any_user_code(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """`before_start` runs once per VM, before the VM's own context is made."""
    order: list[str] = []
    monkeypatch.setattr(_dispatcher, "before_start", [lambda: order.append("prepared")])
    vm(type("Mine", (VMContext,), {"__init__": lambda _self: order.append("VM context")}))
    http_filter("f")(Stream)
    on_context_create(1, 0)
    on_context_create(2, 0)
    assert order == ["prepared", "VM context"]


# Exceptions


def raised(exception: BaseException) -> BaseException:
    """The exception with a traceback."""
    try:
        raise exception  # noqa: TRY301  # it gets its traceback here
    except BaseException as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize("method", STREAM_CALLBACKS)
@pytest.mark.parametrize(("on_error", "answer"), [("deny", 1), ("continue", 0)])
def test_a_stream_callback_fails_by_its_policy(host: MemoryHost, on_error: str, answer: int, method: str) -> None:
    """The policy "deny" answers 500 and pauses, "continue" continues; both log plugin, callback and traceback."""
    http_filter("f", on_error=on_error)(Stream)
    context = begin()
    assert on_exception(context, method, raised(ValueError("bad"))) == answer
    assert host.responses == (REFUSED if on_error == "deny" else [])
    assert only_error(host).startswith(f"f: uncaught exception in {method}\nTraceback (most recent call last):\n")
    assert only_error(host).endswith("ValueError: bad")


@pytest.mark.parametrize(
    ("method", "name", "answer"),
    [
        ("_on_configure", "on_plugin_start", 0),
        ("_on_done", "on_plugin_done", 1),
        ("on_tick", "on_tick", 0),
        ("_on_log", "on_log", 0),
    ],
)
def test_other_callbacks_have_fixed_answers(host: MemoryHost, method: str, name: str, answer: int) -> None:
    """A start is refused and an end is final; no response is sent, and the log has the user's name of the callback."""
    plugin("p")(type("Plugin", (PluginContext,), {}))
    context = begin(None)
    assert on_exception(context, method, raised(KeyError("x"))) == answer
    assert host.responses == []
    assert only_error(host).startswith(f"p: uncaught exception in {name}\n")


@pytest.mark.parametrize(
    "exception", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), MemoryError(), RecursionError()]
)
def test_no_exception_passes(host: MemoryHost, exception: BaseException) -> None:
    """What ends a program elsewhere is an exception like any other here."""
    http_filter("f")(Stream)
    assert on_exception(begin(), "on_http_request_headers", raised(exception)) == 1
    assert type(exception).__name__ in only_error(host)


# Contexts themselves


def test_a_plugins_configuration_stays(host: MemoryHost) -> None:
    """It is read when the plugin starts, and is there when the host no longer gives it out."""
    host.buffers[BufferType.PLUGIN_CONFIGURATION] = b'{"a": 1}'
    sizes: list[int] = []
    plugin("p")(type("Plugin", (PluginContext,), {"on_plugin_start": lambda _self, size: sizes.append(size)}))
    context = begin(None)
    assert context.plugin_configuration == b""
    assert context._on_configure(8) is None
    host.buffers.clear()
    assert (sizes, context.plugin_configuration) == ([8], b'{"a": 1}')


def test_no_configuration_is_not_asked_for(host: MemoryHost) -> None:
    """A size of 0 means that there is none; hosts answer an error to the question."""
    host.buffers.clear()
    plugin("p")(type("Plugin", (PluginContext,), {}))
    context = begin(None)
    assert context._on_configure(0) is None
    assert context.plugin_configuration == b""


def test_send_http_response_pauses(host: MemoryHost) -> None:
    """The response goes out as given, and the answer for the callback is Action.PAUSE."""
    http_filter("f")(Stream)
    answer = begin().send_http_response(403, headers=[("x-why", "because")], body="no\n")
    assert answer == 1
    assert host.responses == [(403, "", "no\n", [(b"x-why", b"because")], -1)]


def test_contexts_do_nothing_by_themselves(host: MemoryHost) -> None:
    """Every callback of the bases answers None, which means go on, and calls no host."""
    stream, root = Stream(1), PluginContext()
    for name in STREAM_CALLBACKS:
        arguments = (0,) if name.endswith(("trailers", "metadata")) else (0, True)
        assert getattr(stream, name)(*arguments) is None
    assert [root.on_plugin_start(0), root.on_plugin_done(), root._on_done(), stream._on_done()] == [None] * 4
    root.on_tick()
    root._on_log()
    stream._on_log()
    assert (host.calls, host.logged, host.responses) == ([], [], [])


def test_a_class_made_too_late_is_refused(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream class with a callback that the module does not export answers 500 instead of being skipped."""
    monkeypatch.setattr(_callbacks, "exported", _callbacks.of_class(Stream) | {"proxy_on_context_create"})

    class Late(HttpContext):
        def on_http_response_trailers(self, num_trailers: int) -> None: ...

    plugin("p")(type("Plugin", (PluginContext,), {"new_http_context": lambda _self, context_id: Late(context_id)}))
    assert begin().on_http_request_headers(1, True) == 1
    assert "Late has proxy_on_response_trailers, which no class had" in str(host.logged[-1][1])
    assert host.responses == REFUSED


@pytest.mark.parametrize("status", [0, 99, 100, 199, 600, 70000, -5])
def test_a_response_needs_a_final_status(host: MemoryHost, status: int) -> None:
    """A status that is no final one of HTTP is refused, and so is a gRPC status that there is not."""
    with pytest.raises(ValueError, match=f"200 to 599, not {status}"):
        hostcalls.send_http_response(status)
    with pytest.raises(ValueError, match="gRPC status is 0 to 16"):
        hostcalls.send_http_response(200, grpc_status=17)
    assert host.responses == []
