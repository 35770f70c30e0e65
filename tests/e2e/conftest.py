"""Fixtures that put a module into a real Envoy."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from pywasmfilter_compiler import BuildResult, build
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.run import Server, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

FILTERS = Path(__file__).parent / "filters"


class EnvoyFactory(Protocol):
    """Starts an Envoy with one module; the options are those of `serve`."""

    def __call__(self, module_path: Path, **options: Any) -> Server: ...


class FilterBuilder(Protocol):
    """Builds `filters/<name>.py`, once for each set of options; these are those of `build`."""

    def __call__(self, name: str, **options: Any) -> BuildResult: ...


@pytest.fixture(scope="session")
def build_filter(tmp_path_factory: pytest.TempPathFactory) -> FilterBuilder:
    """A function that builds a filter of the tests and keeps the module for the whole run."""
    folder = tmp_path_factory.mktemp("modules")
    built: dict[str, BuildResult] = {}

    def build_once(name: str, **options: Any) -> BuildResult:
        key = repr((name, sorted(options.items())))
        if key not in built:
            built[key] = build(FILTERS / f"{name}.py", folder / f"{len(built)}.wasm", **options)
        return built[key]

    return build_once


@pytest.fixture(scope="session")
def upstream() -> Iterator[EchoServer]:
    """The upstream of the whole run; it keeps nothing between requests."""
    with EchoServer() as server:
        yield server


@pytest.fixture
def envoy(upstream: EchoServer) -> Iterator[EnvoyFactory]:
    """A function that starts an Envoy in front of the echo upstream; what it started is stopped when the test ends.

    As in `server = envoy(module_path, plugin_configuration=b"{}")`.
    """
    with ExitStack() as stack:

        def start(module_path: Path, **options: Any) -> Server:
            return stack.enter_context(serve(module_path, **{"upstream": upstream.url} | options))

        yield start
