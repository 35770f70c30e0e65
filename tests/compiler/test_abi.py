"""Modules for each version of the ABI: what they declare, import and export, and what they do without a function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import wasmtime
from pywasmfilter_compiler import BuildResult, UsageError, build, inspect
from pywasmfilter_compiler.hosts import ABI_FUNCTIONS, AbiVersion

FILTER = """
from pywasmfilter import Action, HttpContext, hostcalls, http_filter
from pywasmfilter.exceptions import Unimplemented


@http_filter("every")
class Every(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        if end_of_stream:
            raise AssertionError
        return Action.PAUSE

    def on_http_request_body(self, body_size, end_of_stream): ...
    def on_http_request_trailers(self, num_trailers): ...
    def on_http_response_headers(self, num_headers, end_of_stream):
        hostcalls.resume_http_request()
        try:
            hostcalls.get_log_level()
        except Unimplemented:
            hostcalls.set_tick_period_milliseconds(1)

    def on_http_response_body(self, body_size, end_of_stream): ...
    def on_http_response_trailers(self, num_trailers): ...
    def on_http_stream_done(self): ...
    def on_foreign_function(self, function_id, arguments_size): ...
"""
VERSIONS: tuple[AbiVersion, ...] = ("0.1.0", "0.2.0", "0.2.1")
ONLY_0_1_0 = {
    "proxy_get_configuration",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
}
MISSING: dict[str, set[str]] = {
    "0.1.0": {"proxy_continue_stream", "proxy_close_stream", "proxy_get_log_level"},
    "0.2.0": {"proxy_get_log_level", *ONLY_0_1_0},
    "0.2.1": ONLY_0_1_0,
}
HEADERS = {"proxy_on_request_headers", "proxy_on_response_headers"}


@pytest.fixture(scope="module", params=VERSIONS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    """The filter as a module for one version."""
    folder = tmp_path_factory.mktemp("abi")
    (folder / "filter.py").write_text(FILTER, encoding="utf-8")
    return build(folder / "filter.py", folder / "out.wasm", abi=request.param)


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    """For all modules."""
    return wasmtime.Engine()


@pytest.fixture(scope="module")
def compiled(built: BuildResult, engine: wasmtime.Engine) -> wasmtime.Module:
    """The module as wasmtime reads it, which finds it valid."""
    return wasmtime.Module.from_file(engine, str(built.path))


def functions(items: list[Any]) -> dict[str, tuple[list[str], list[str]]]:
    """Parameters and results of imported or exported functions."""
    return {
        item.name: (list(map(str, item.type.params)), list(map(str, item.type.results)))
        for item in items
        if isinstance(item.type, wasmtime.FuncType)
    }


def test_a_module_declares_its_version(built: BuildResult, compiled: wasmtime.Module) -> None:
    """There is one marker, of type () -> (); the build's report and `inspect` say the same version."""
    markers = {name: t for name, t in functions(compiled.exports).items() if name.startswith("proxy_abi_version_")}
    assert markers == {f"proxy_abi_version_{built.abi.replace('.', '_')}": ([], [])}
    assert inspect(built.path).abi == built.abi


def test_a_module_imports_what_its_version_has(built: BuildResult, compiled: wasmtime.Module) -> None:
    """All functions of the version and none of another, besides four of WASI. Every host that is known loads that."""
    of_env = {item.name for item in compiled.imports if item.module == "env"}
    assert of_env == ABI_FUNCTIONS.keys() - MISSING[built.abi]
    assert {item.module for item in compiled.imports} == {"env", "wasi_snapshot_preview1"}
    assert [host.problems for host in inspect(built.path).hosts if not host.loads] == []


def test_header_callbacks_have_the_form_of_the_version(built: BuildResult, compiled: wasmtime.Module) -> None:
    """They take the end of the stream since 0.2.0; other callbacks are the same in all versions."""
    exported = functions(compiled.exports)
    parameters = 2 if built.abi == "0.1.0" else 3
    assert {name: exported[name] for name in HEADERS} == dict.fromkeys(HEADERS, (["i32"] * parameters, ["i32"]))
    assert exported["proxy_on_request_body"] == (["i32"] * 3, ["i32"])
    assert [name for name in exported if name.startswith("pyfilter_")] == []


def test_callbacks_that_a_version_lacks_are_not_exported(built: BuildResult) -> None:
    """Hosts of 0.1.0 know no proxy_on_foreign_function; a filter that overrides it is built all the same."""
    assert ("proxy_on_foreign_function" in built.exports) is (built.abi != "0.1.0")


def test_what_a_version_lacks_is_unimplemented(
    built: BuildResult, engine: wasmtime.Engine, compiled: wasmtime.Module
) -> None:
    """A missing function answers Unimplemented inside the module; where there is an older one, that one is called."""
    store, linker, called = wasmtime.Store(engine), wasmtime.Linker(engine), set[str]()

    def define(module: str, name: str, functype: Any) -> None:
        def answer_ok(*_: int) -> int:
            called.add(name)
            return 0

        linker.define_func(module, name, functype, answer_ok)

    for item in compiled.imports:
        define(item.module, item.name or "", item.type)
    exports: Any = linker.instantiate(store, compiled).exports(store)
    exports["proxy_on_context_create"](store, 1, 0)
    assert exports["proxy_on_vm_start"](store, 1, 0)
    assert exports["proxy_on_configure"](store, 1, 0)
    exports["proxy_on_context_create"](store, 2, 1)
    end_of_stream = [] if built.abi == "0.1.0" else [0]
    assert exports["proxy_on_request_headers"](store, 2, 1, *end_of_stream) == 1
    called.clear()
    assert exports["proxy_on_response_headers"](store, 2, 1, *end_of_stream) == 0
    assert (
        called
        == {
            "0.1.0": {"proxy_continue_request", "proxy_set_tick_period_milliseconds"},
            "0.2.0": {"proxy_continue_stream", "proxy_set_tick_period_milliseconds"},
            "0.2.1": {"proxy_continue_stream", "proxy_get_log_level"},
        }[built.abi]
    )


def test_an_unknown_version_is_a_usage_error(tmp_path: Path) -> None:
    """The message says which versions there are."""
    (tmp_path / "filter.py").write_text(FILTER, encoding="utf-8")
    with pytest.raises(UsageError, match=r"0\.1\.0, 0\.2\.0, 0\.2\.1, not '0\.3\.0'"):
        build(tmp_path / "filter.py", tmp_path / "out.wasm", abi="0.3.0")  # type: ignore[arg-type]


def test_the_default_is_the_newest(tmp_path: Path) -> None:
    """Without an option a module is for 0.2.1."""
    (tmp_path / "filter.py").write_text(FILTER, encoding="utf-8")
    assert build(tmp_path / "filter.py", tmp_path / "out.wasm").abi == VERSIONS[-1]
