"""Registering plugins: the decorators, and what they refuse with which words."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from pywasmfilter import (
    HttpContext,
    PluginContext,
    TcpContext,
    VMContext,
    _callbacks,
    http_filter,
    plugin,
    registry,
    tcp_filter,
    vm,
)
from pywasmfilter._callbacks import METHODS
from pywasmfilter.registry import describe, register_plugin, register_vm


@pytest.mark.parametrize(("decorate", "kind"), [(http_filter, HttpContext), (tcp_filter, TcpContext)])
def test_a_stream_decorator_registers_a_plugin_of_its_own(decorate: Any, kind: type[Any]) -> None:
    """The class itself comes back, and its plugin makes one context of it per stream, and none of the other kind."""
    mine = decorate("mine")(type("Mine", (kind,), {}))
    made = registry.plugins["mine"]()
    contexts = [made.new_http_context(5), made.new_tcp_context(5)]
    assert [type(context) for context in contexts if context] == [mine]
    assert [context.context_id for context in contexts if context] == [5]
    assert (made.on_error, type(made).__name__, type(made).__module__) == ("deny", "Mine", __name__)


def test_several_filters_in_one_module() -> None:
    """Each name has its own class; one class may stand under several names, with different policies."""

    class Twice(HttpContext):
        pass

    http_filter("a")(Twice)
    http_filter("b", on_error="continue")(Twice)
    assert [(name, cls.on_error) for name, cls in registry.plugins.items()] == [("a", "deny"), ("b", "continue")]


def test_plugin_registers_the_class() -> None:
    """The class comes back as it was, under its name."""

    @plugin("p")
    class P(PluginContext):
        pass

    assert registry.plugins == {"p": P}
    assert (P().new_http_context(1), P().new_tcp_context(1)) == (None, None)


@pytest.mark.parametrize(("given", "expected"), [({}, "continue"), ({"on_error": "deny"}, "deny")])
def test_a_class_may_say_what_happens_on_error(given: dict[str, Any], expected: str) -> None:
    """`on_error` in the class body holds unless the decorator says something else."""

    @plugin("p", **given)
    class P(PluginContext):
        on_error = "continue"

    assert P.on_error == expected


@pytest.mark.parametrize("decorate", [http_filter, tcp_filter, plugin])
def test_without_parentheses(decorate: Any) -> None:
    """`@http_filter` alone is a mistake that the message corrects."""
    with pytest.raises(TypeError, match=rf'@{decorate.__name__} needs the name.*@{decorate.__name__}\("my-filter"\)'):

        @decorate
        class Bare(HttpContext):
            pass


@pytest.mark.parametrize("decorate", [http_filter, tcp_filter, plugin])
@pytest.mark.parametrize("name", ["", None, 5, b"name"])
def test_a_name_is_a_text(decorate: Any, name: object) -> None:
    """An empty name, or something that is none, is refused where it stands."""
    with pytest.raises(TypeError, match="needs the name of the plugin"):
        decorate(name)


def function_for_a_class() -> None:
    """A decorated function."""


@pytest.mark.parametrize("wrong", [PluginContext, VMContext, object, function_for_a_class, 5])
@pytest.mark.parametrize(("decorate", "other"), [(http_filter, TcpContext), (tcp_filter, HttpContext)])
def test_a_stream_decorator_takes_its_kind_of_context(decorate: Any, other: Any, wrong: Any) -> None:
    """Another kind of class, or no class, is named in the error."""
    kind = "HttpContext" if decorate is http_filter else "TcpContext"
    for each in (wrong, other):
        with pytest.raises(TypeError, match=rf"@{decorate.__name__}\('x'\): .* is not a subclass of {kind}"):
            decorate("x")(each)
    assert registry.plugins == {}


@pytest.mark.parametrize("wrong", [HttpContext, VMContext, function_for_a_class, 5])
def test_plugin_takes_plugin_contexts(wrong: Any) -> None:
    """Another kind of class, or no class, is named in the error."""
    with pytest.raises(TypeError, match=r"plugin 'x': .* is not a subclass of PluginContext"):
        plugin("x")(wrong)
    assert registry.plugins == {}


def test_a_name_is_taken_once() -> None:
    """A second plugin of a name is refused with both classes, and the first one stays."""

    @plugin("x")
    class First(PluginContext):
        pass

    with pytest.raises(ValueError, match="plugin 'x' is registered twice: First, Second"):

        @http_filter("x")
        class Second(HttpContext):
            pass

    assert registry.plugins == {"x": First}


@pytest.mark.parametrize("decorate", [http_filter, tcp_filter, plugin])
@pytest.mark.parametrize("on_error", ["", "Deny", "fail", 5])
def test_on_error_is_a_policy(decorate: Any, on_error: object) -> None:
    """What is no policy is an error that lists what is one."""
    base = {http_filter: HttpContext, tcp_filter: TcpContext, plugin: PluginContext}[decorate]
    with pytest.raises(ValueError, match=r"plugin 'x': on_error is \"deny\", \"continue\", a Deny or a function, not "):
        decorate("x", on_error=on_error)(type("Class", (base,), {}))
    assert registry.plugins == {}


def test_there_is_one_vm_context() -> None:
    """`@vm` takes a VMContext, once."""

    @vm
    class Mine(VMContext):
        pass

    assert registry.vm_context is Mine
    with pytest.raises(ValueError, match="a module has one VM context: Mine, Other"):

        @vm
        class Other(VMContext):
            pass

    assert registry.vm_context is Mine


@pytest.mark.parametrize("wrong", [PluginContext, HttpContext, function_for_a_class, 5])
def test_vm_takes_vm_contexts(wrong: Any) -> None:
    """Another kind of class is named in the error."""
    with pytest.raises(TypeError, match="is not a subclass of VMContext"):
        register_vm(wrong)
    assert registry.vm_context is VMContext


# Which callbacks are exported


Bases = dict[type[Any], type[Any]]


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> Bases:
    """For each kind of context a base class whose subclasses are those of one test only."""
    made = {kind: type(kind.__name__, (kind,), {}) for kind in (*METHODS, VMContext)}
    monkeypatch.setattr(_callbacks, "METHODS", {made[kind]: methods for kind, methods in METHODS.items()})
    monkeypatch.setattr(_callbacks, "VMContext", made[VMContext])
    return made


ALWAYS = {
    "proxy_on_context_create",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_delete",
    "proxy_on_tick",
    "proxy_on_http_call_response",
    "proxy_on_grpc_receive_initial_metadata",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_receive_trailing_metadata",
    "proxy_on_grpc_close",
}


def callback(*_: object) -> None:
    """What an override is."""


def test_nothing_overridden(bases: Bases) -> None:
    """Without overrides only what the SDK itself needs is exported, which is how replies find their way."""
    subclasses = [type("Empty", (base,), {}) for base in bases.values()]
    assert _callbacks.overridden() == sorted(ALWAYS)
    del subclasses


@pytest.mark.parametrize(
    ("kind", "export", "method"),
    [(kind, export, method) for kind, methods in METHODS.items() for export, method in methods.items()],
)
def test_an_override_exports_its_callback(bases: Bases, kind: type[Any], export: str, method: str) -> None:
    """Each overridden method brings the one callback that the ABI has for it (tests/test_abi_table.py says which)."""
    subclass = type("Sub", (bases[kind],), {method: callback})
    assert set(_callbacks.overridden()) == ALWAYS | {export}
    del subclass


def test_overrides_of_grandchildren_and_mixins_count(bases: Bases) -> None:
    """It does not matter how a class came by its method."""
    mixin = type("Mixin", (), {"on_http_request_body": callback})
    child = type("Child", (bases[HttpContext],), {})
    grandchild = type("Grandchild", (mixin, child), {"on_http_response_body": callback})
    expected = {"proxy_on_request_body", "proxy_on_response_body"}
    assert set(_callbacks.overridden()) == ALWAYS | expected
    del grandchild
    gc.collect()
    assert set(_callbacks.overridden()) == ALWAYS


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (PluginContext, "on_plugin_start"),
        (PluginContext, "new_http_context"),
        (PluginContext, "new_tcp_context"),
        (VMContext, "on_vm_start"),
        (HttpContext, "on_delete"),
    ],
)
def test_callbacks_that_every_module_has_add_nothing(bases: Bases, kind: type[Any], method: str) -> None:
    """What belongs to a callback that is always exported does not change the exports."""
    subclass = type("Sub", (bases[kind],), {method: callback})
    assert _callbacks.overridden() == sorted(ALWAYS)
    del subclass


@pytest.mark.parametrize("kind", METHODS, ids=lambda kind: kind.__name__)
def test_on_delete_enters_python_only_if_someone_listens(bases: Bases, kind: type[Any]) -> None:
    """`some_on_delete` is what the shim is told: True as soon as a context of any kind overrides on_delete."""
    subclass = type("Sub", (bases[kind],), {})
    assert _callbacks.some_on_delete() is False
    subclass = type("Sub", (subclass,), {"on_delete": callback})
    assert _callbacks.some_on_delete() is True
    del subclass


def test_describe_is_what_the_compiler_reads(bases: Bases) -> None:
    """Plugin names and callbacks, both sorted; from then on it is known what the module exports."""
    for name in ("b", "a"):
        register_plugin(name, type(name, (bases[PluginContext],), {"on_tick": callback}))
    assert describe() == {
        "plugins": ["a", "b"],
        "callbacks": sorted({*ALWAYS, "proxy_on_tick"}),
        "upstreams": [],
    }
    assert _callbacks.exported == {*ALWAYS, "proxy_on_tick"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (HttpContext, "on_http_request_header"),
        (HttpContext, "on_request_headers"),
        (HttpContext, "on_plugin_start"),
        (HttpContext, "on_stream_done"),
        (HttpContext, "on_log"),
        (TcpContext, "on_new_connections"),
        (TcpContext, "on_downstream_connection_close"),
        (TcpContext, "on_http_stream_done"),
        (PluginContext, "on_ticks"),
        (PluginContext, "on_queue_full"),
        (PluginContext, "on_http_request_headers"),
        (VMContext, "on_vm_started"),
    ],
)
def test_a_misspelt_callback_is_refused(bases: Bases, kind: type[Any], name: str) -> None:
    """A method that looks like a callback and is none is an error that lists those there are."""
    cls = type("Typo", (bases[kind],), {name: callback})
    known = ", ".join(sorted(name for name in dir(kind) if name.startswith("on_") and name != "on_error"))
    with pytest.raises(TypeError, match=rf"Typo\.{name} .*is no callback of {kind.__name__}; .* are: {known}$"):
        describe()
    del cls


def test_an_async_callback_may_hold_back_what_follows(bases: Bases) -> None:
    """A callback that is a coroutine function brings those along that may come while it waits."""

    async def wait(*_: object) -> None: ...

    cls = type("Waits", (bases[HttpContext],), {"on_http_request_headers": wait, "on_http_response_body": wait})
    expected = {"proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers"}
    expected |= {"proxy_on_response_body", "proxy_on_response_trailers"}
    assert set(_callbacks.overridden()) == ALWAYS | expected
    del cls


def test_a_generator_is_no_callback(bases: Bases) -> None:
    """A callback that is a generator would never run, so it is an error; so is an asynchronous one of the VM."""

    def produce(*_: object) -> Any:
        yield

    async def wait(*_: object) -> None: ...

    for base, method, function in ((HttpContext, "on_http_request_headers", produce), (VMContext, "on_vm_start", wait)):
        cls = type("Odd", (bases[base],), {method: function})
        with pytest.raises(TypeError, match=rf"Odd\.{method} .*is (a generator|async)"):
            describe()
        del cls
        gc.collect()
