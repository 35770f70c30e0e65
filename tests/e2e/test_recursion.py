"""Recursion in compiled code ends in an exception, with room to spare on every host's native stack.

`runtime_image._STACK` is how much linear stack a callback may use before the interpreter's recursion guard fires. It
must be used up well before the native stack is: 984 KiB in V8, 512 KiB in wasmtime. So V8 runs these cases with twice
as much linear stack, and wasmtime with less native stack than it has. What was measured is in docs/architecture.md.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler import build, runtime_image
from pywasmfilter_compiler.envoy.run import serve

from pywasmfilter.testing.properties import Properties
from pywasmfilter.testing.proxy import Proxy
from pywasmfilter.testing.vm import VM
from pywasmfilter.testing.wasm_guest import WasmGuest
from tests.e2e.client import request
from tests.e2e.conftest import FILTERS, FilterBuilder

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.envoy

DEPTH = 100_000
TWICE_THE_STACK = 2 * runtime_image._STACK
NATIVE_STACK = 400 << 10

GOOD_ENDS = {"ok", "RecursionError", "MemoryError"}
"""`MemoryError` is what CPython's parser says of too many parentheses."""


def outcomes(get: Callable[[str], str]) -> dict[str, str]:
    """What became of each kind of recursion; a response that is no name of an outcome is one that trapped."""
    return {name: get(f"/{name}?depth={DEPTH}") for name in get("/names").split()}


def test_envoy_has_twice_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Envoy, each kind of recursion ends well even if callbacks may use twice the linear stack they may."""
    monkeypatch.setattr(runtime_image, "_STACK", TWICE_THE_STACK)
    result = build(FILTERS / "recursion.py", tmp_path / "recursion.wasm")
    with serve(result.path) as server:
        found = outcomes(lambda path: request(server.port, "GET", path).body.decode())
        assert [line for line in server.envoy.wasm_log() if line.level == "error"] == []
    check(found)


def test_wasmtime_has_room(build_filter: FilterBuilder) -> None:
    """In wasmtime, each kind of recursion ends well even with 400 of the 512 KiB of native stack it has."""
    check(outcomes(with_little_stack(build_filter("recursion").path)))


def with_little_stack(module: Path) -> Callable[[str], str]:
    """A function that gets a path of the filter, in wasmtime."""
    vm = VM(Proxy(), partial(WasmGuest, module, native_stack=NATIVE_STACK))
    plugin = vm.start_plugin("", b"", Properties({}))
    return lambda path: plugin.request("GET", path).text


def check(found: dict[str, str]) -> None:
    assert len(found) > 100
    assert {name: outcome for name, outcome in found.items() if outcome not in GOOD_ENDS | {"ValueError"}} == {}
    # Not all of them may be harmless, or nothing would be shown.
    assert sum(outcome == "RecursionError" for outcome in found.values()) > 60


def test_nesting_that_people_send_is_read(build_filter: FilterBuilder) -> None:
    """JSON nested 150 levels deep is no recursion error: the limit is far above what real documents need."""
    get = with_little_stack(build_filter("recursion").path)
    for name in ("json-loads-closed", "json-dumps-list", "repr-list", "eq-lists", "deepcopy"):
        assert get(f"/{name}?depth=150") == "ok", name
