"""The name section: read if it can be, written so that tools show the names."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.wasm.binary import decode
from pywasmfilter_compiler.wasm.module import Custom, Module
from pywasmfilter_compiler.wasm.names import encode_function_names, function_names


def test_names_of_functions_are_read() -> None:
    """Functions that have a name are listed by index, imported ones included; the module's own name is skipped."""
    module = decode(bytes(wasmtime.wat2wasm('(module $m (import "e" "f" (func $log)) (func) (func $run))')))
    assert function_names(module) == {0: "log", 2: "run"}


def test_names_survive() -> None:
    """Names that are written read back, in the order of their index."""
    section = encode_function_names({300: "ünïcode", 2: "b"})
    assert list(function_names(Module(customs=[section])).items()) == [(2, "b"), (300, "ünïcode")]


@pytest.mark.parametrize("content", ["01", "01 05 00", "01 03 02 00 01", "01 04 01 00 01 ff"])
def test_a_broken_section_gives_no_names(content: str) -> None:
    """A name section that cannot be read is as good as none: hosts do not need it."""
    assert function_names(Module(customs=[Custom("name", bytes.fromhex(content))])) == {}


def test_no_section_gives_no_names() -> None:
    """A stripped module has no names."""
    assert function_names(Module()) == {}
