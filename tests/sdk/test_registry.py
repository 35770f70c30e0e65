"""Registering plugins: the decorators, and what they refuse with which words."""

from __future__ import annotations

import gc
from typing import Any

import pytest

from pywasmfilter import HttpContext, PluginContext, VMContext, _callbacks, http_filter, plugin, registry, vm
from pywasmfilter.registry import describe, register_plugin, register_vm


def test_http_filter_registers_a_plugin_of_its_own() -> None:
    """The class itself comes back, and its plugin makes one context of it per stream."""

    @http_filter("mine")
    class Mine(HttpContext):
        pass

    made = registry.plugins["mine"]()
    context = made.new_http_context(5)
    assert type(context) is Mine
    assert context.context_id == 5
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
    assert P().new_http_context(1) is None


@pytest.mark.parametrize(("given", "expected"), [({}, "continue"), ({"on_error": "deny"}, "deny")])
def test_a_class_may_say_what_happens_on_error(given: dict[str, str], expected: str) -> None:
    """`on_error` in the class body holds unless the decorator says something else."""

    @plugin("p", **given)
    class P(PluginContext):
        on_error = "continue"

    assert P.on_error == expected


@pytest.mark.parametrize("decorate", [http_filter, plugin])
def test_without_parentheses(decorate: Any) -> None:
    """`@http_filter` alone is a mistake that the message corrects."""
    with pytest.raises(TypeError, match=rf'@{decorate.__name__} needs the name.*@{decorate.__name__}\("my-filter"\)'):

        @decorate
        class Bare(HttpContext):
            pass


@pytest.mark.parametrize("decorate", [http_filter, plugin])
@pytest.mark.parametrize("name", ["", None, 5, b"name"])
def test_a_name_is_a_text(decorate: Any, name: object) -> None:
    """An empty name, or something that is none, is refused where it stands."""
    with pytest.raises(TypeError, match="needs the name of the plugin"):
        decorate(name)


def function_for_a_class() -> None:
    """A decorated function."""


@pytest.mark.parametrize("wrong", [PluginContext, VMContext, object, function_for_a_class, 5])
def test_http_filter_takes_http_contexts(wrong: Any) -> None:
    """Another kind of class, or no class, is named in the error."""
    with pytest.raises(TypeError, match=r"@http_filter\('x'\): .* is not a subclass of HttpContext"):
        http_filter("x")(wrong)
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


@pytest.mark.parametrize("decorate", [http_filter, plugin])
@pytest.mark.parametrize("on_error", ["", "Deny", "fail", 5])
def test_on_error_is_one_of_two(decorate: Any, on_error: object) -> None:
    """Any other policy is an error that lists the two."""
    base = HttpContext if decorate is http_filter else PluginContext
    with pytest.raises(ValueError, match=r"plugin 'x': on_error is one of \('deny', 'continue'\), not "):
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


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> tuple[type[Any], type[Any]]:
    """Base classes of a plugin and a stream whose subclasses are those of one test only."""
    http, root = type("Http", (HttpContext,), {}), type("Root", (PluginContext,), {})
    monkeypatch.setattr(_callbacks, "HttpContext", http)
    monkeypatch.setattr(_callbacks, "PluginContext", root)
    return http, root


ALWAYS = {"proxy_on_context_create", "proxy_on_vm_start", "proxy_on_configure", "proxy_on_delete"}
OF_HTTP = [
    ("on_http_request_headers", "proxy_on_request_headers"),
    ("on_http_request_body", "proxy_on_request_body"),
    ("on_http_request_trailers", "proxy_on_request_trailers"),
    ("on_http_response_headers", "proxy_on_response_headers"),
    ("on_http_response_body", "proxy_on_response_body"),
    ("on_http_response_trailers", "proxy_on_response_trailers"),
    ("on_http_stream_done", "proxy_on_log"),
]
OF_PLUGIN = [("on_tick", "proxy_on_tick"), ("on_plugin_done", "proxy_on_done")]


def callback(*_: object) -> None:
    """What an override is."""


def test_nothing_overridden(bases: tuple[type[Any], type[Any]]) -> None:
    """Without overrides only what the SDK itself needs is exported."""
    subclasses = [type("Empty", (base,), {}) for base in bases]
    assert _callbacks.overridden() == sorted(ALWAYS)
    del subclasses


@pytest.mark.parametrize(("method", "export"), OF_HTTP + OF_PLUGIN)
def test_an_override_exports_its_callback(bases: tuple[type[Any], type[Any]], method: str, export: str) -> None:
    """Each overridden method brings the one callback that the ABI has for it."""
    base = bases[0 if (method, export) in OF_HTTP else 1]
    subclass = type("Sub", (base,), {method: callback})
    assert set(_callbacks.overridden()) == ALWAYS | {export}
    del subclass


def test_overrides_of_grandchildren_and_mixins_count(bases: tuple[type[Any], type[Any]]) -> None:
    """It does not matter how a class came by its method."""
    mixin = type("Mixin", (), {"on_http_request_body": callback})
    child = type("Child", (bases[0],), {})
    grandchild = type("Grandchild", (mixin, child), {"on_http_response_body": callback})
    expected = {"proxy_on_request_body", "proxy_on_response_body"}
    assert set(_callbacks.overridden()) == ALWAYS | expected
    del grandchild
    gc.collect()
    assert set(_callbacks.overridden()) == ALWAYS


def test_callbacks_that_every_module_has_are_not_tied_to_methods(bases: tuple[type[Any], type[Any]]) -> None:
    """on_plugin_start, on_vm_start and new_http_context add nothing: their callbacks are always there."""
    subclass = type("Sub", (bases[1],), {"on_plugin_start": callback, "new_http_context": callback})
    assert _callbacks.overridden() == sorted(ALWAYS)
    del subclass


def test_describe_is_what_the_compiler_reads(bases: tuple[type[Any], type[Any]]) -> None:
    """Plugin names and callbacks, both sorted."""
    for name in ("b", "a"):
        register_plugin(name, type(name, (bases[1],), {"on_tick": callback}))
    assert describe() == {"plugins": ["a", "b"], "callbacks": sorted({*ALWAYS, "proxy_on_tick"})}


@pytest.mark.parametrize("name", ["on_http_request_header", "on_request_headers", "on_plugin_start", "on_vm_start"])
def test_a_misspelt_callback_is_refused(name: str) -> None:
    """A method that looks like a callback and is none is an error that lists those there are."""
    cls = type("Typo", (HttpContext,), {name: lambda *_: None})
    http_filter("typo")(cls)
    with pytest.raises(TypeError, match=rf"Typo\.{name} .*is no callback of HttpContext; .*on_http_request_headers"):
        describe()
    del cls
    registry.plugins.clear()
    gc.collect()


def test_an_async_callback_is_refused() -> None:
    """A callback that is a coroutine function would never run, so it is an error."""

    class Waits(HttpContext):
        async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:  # type: ignore[override]
            pass

    http_filter("waits")(Waits)
    with pytest.raises(TypeError, match=r"Waits\.on_http_request_headers .*is async"):
        describe()
    del Waits
    registry.plugins.clear()
    gc.collect()
