"""What the linker's cases do not show: many of a thing, errors' offsets, and that nothing depends on chance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime
from pywasmfilter_compiler.component.decode import decode as decode_component
from pywasmfilter_compiler.errors import BinaryError
from pywasmfilter_compiler.linker import LinkPlan, link
from pywasmfilter_compiler.wasm import binary

from tests.compiler.linker.wiring import LinkedModule

CASES = Path(__file__).parent / "cases"
LINK_AND_HASH = """
import hashlib, sys
from pathlib import Path
from pywasmfilter_compiler.component.decode import decode
from pywasmfilter_compiler.linker import link
from pywasmfilter_compiler.wasm import binary
from tests.compiler.linker.test_cases import LINKED, component_of, plan_of
for case in LINKED:
    print(case.name, hashlib.sha256(binary.encode(link(decode(component_of(case)), plan_of(case)))).hexdigest())
"""


def component(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def linked(text: str, *exports: str) -> LinkedModule:
    return LinkedModule(link(decode_component(component(text)), LinkPlan({name: name for name in exports})))


def hashes(seed: str) -> str:
    """The hash of each linked case, from a process whose strings hash as `seed` says."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", LINK_AND_HASH]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_result_does_not_depend_on_the_order_of_sets() -> None:
    """Processes in which strings hash differently link the same bytes."""
    assert hashes("1") == hashes("2") != ""


def blocks(number: int) -> str:
    """A module with `number` types before those that blocks use, and blocks that use them."""
    types = "\n".join(f"(type (func (param {'f32 ' * i})))" for i in range(number))
    calls = "\n".join(f'(func (export "f{i}") {"(param f32) " * i})' for i in range(number))
    return f"""(component
      (core module $main {types}
        {calls}
        (func (export "main") (param i32) (result i32)
          (local.get 0) (local.get 0)
          (block (param i32 i32) (result i32 i32) (i32.const 1) (i32.add))
          (loop (param i32 i32) (result i32) (i32.mul))
          (i32.const 7) (i32.const 1)
          (if (param i32 i32) (result i32) (then (i32.sub)) (else (i32.add)))))
      (core instance (instantiate $main)))"""


@pytest.mark.parametrize("number", [0, 61, 62, 63, 64, 65, 126, 127, 128, 200])
def test_blocks_name_types_of_any_number(number: int) -> None:
    """A block's type is found again when there are more than 63 types, where its number takes a byte more."""
    module = linked(blocks(number), "main", *(f"f{i}" for i in range(number)))
    assert module.call("main", [3]) == 3 * 4 - 7


def test_indices_of_more_than_one_byte_are_moved() -> None:
    """Hundreds of functions and globals are still the right ones when a module in front shifts them all."""
    functions = "\n".join(
        f"(global $g{i} (mut i32) (i32.const {i}))"
        f"(func $f{i} (result i32) (global.set $g{i} (i32.add (global.get $g{i}) (i32.const 1))) (global.get $g{i}))"
        for i in range(300)
    )
    calls = " ".join(f"(i32.xor (call $f{i}))" for i in range(300))
    text = f"""(component
      (core module $a (func (export "one") (result i32) (i32.const 1)))
      (core module $b (import "a" "one" (func $one (result i32))) {functions}
        (func (export "main") (result i32) (call $one) {calls}))
      (core instance $a (instantiate $a))
      (core instance (instantiate $b (with "a" (instance $a)))))"""
    module = linked(text, "main")
    expected = 1
    for i in range(300):
        expected ^= i + 1
    assert module.call("main", []) == expected


def test_long_chains_of_globals_and_forwarders_are_followed() -> None:
    """Thousands of globals that start from each other, and of functions that forward to each other, are no problem."""
    size = 3000
    globals_ = " ".join(f"(global i32 (i32.add (global.get {i}) (i32.const 1)))" for i in range(size))
    forwarders = " ".join(
        f"(func $f{i} (result i32) (call_indirect (result i32) (i32.const {i + 1})))" for i in range(size)
    )
    text = f"""(component (core module $m
        (global i32 (i32.const 5)) {globals_}
        (table {size + 1} funcref)
        {forwarders} (func $f{size} (result i32) (global.get {size}))
        (elem (i32.const 0) func {" ".join(f"$f{i}" for i in range(size + 1))})
        (func (export "main") (result i32) (call $f0)))
      (core instance (instantiate $m)))"""
    module = link(decode_component(component(text)), LinkPlan({"main": "main"}))
    assert LinkedModule(module).call("main", []) == size + 5
    assert (len(module.functions), len(module.tables)) == (2, 0)


def test_a_linked_module_may_be_read_again() -> None:
    """What is written is what the reader reads: nothing of the module is lost on the way to a file."""
    for case in CASES.iterdir():
        expected = case / "expected.wat"
        if expected.exists():
            data = bytes(wasmtime.wat2wasm(expected.read_text()))
            wasmtime.Module.validate(wasmtime.Engine(), binary.encode(binary.decode(data)))


OFFSETS = {
    "an unknown opcode": ("(func) (func (nop) (drop (v128.const i32x4 1 1 1 1)))", bytes.fromhex("fd0c")),
    "a function that is not there": ("(func) (func (nop) (call 77))", b"\x10\x4d"),
    "a changed table": ("(table 1 funcref) (func) (func (table.set (i32.const 5) (ref.null func)))", b"\x26\x00"),
}


@pytest.mark.parametrize(("fields", "fault"), OFFSETS.values(), ids=OFFSETS)
def test_faults_in_bodies_are_told_where_the_component_has_them(fields: str, fault: bytes) -> None:
    """The offset of a fault in a body counts from the start of the component, not of the module."""
    data = component(
        f"""(component
        (core module $other (func))
        (core module $main {fields} (export "main" (func 1)))
        (core instance (instantiate $other))
        (core instance (instantiate $main)))"""
    )
    with pytest.raises(BinaryError) as error:
        link(decode_component(data), LinkPlan({"main": "main"}))
    assert error.value.offset == data.index(fault)
