"""Taking functions out of a module: what goes, what stays although it was named, and that the rest means the same."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.errors import LinkError
from pywasmfilter_compiler.linker import Run, prune
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import Kind, Module
from pywasmfilter_compiler.wasm.names import encode_function_names, function_names

from tests.compiler.linker.wiring import LinkedModule

MODULE = """
(module
  (type $constant (func (result i32)))
  (import "env" "first" (func $first (param i32) (result i32)))
  (import "env" "only_the_part_calls_it" (func $second (param i32) (result i32)))
  (table 10 funcref)
  (memory (export "memory") 1)
  (global $global (mut i32) (i32.const 7))

  (func $before (result i32) (i32.const 1))
  (func $part_begin (result i32) (i32.add (call $part_helper) (call $library)))
  (func $part_helper (result i32) (call $second (i32.const 2)))
  (func $part_called (param i32) (result i32) (i32.mul (local.get 0) (call $called_by_called)))
  (func $part_unary (param i32) (result i32) (call $part_called (local.get 0)))
  (func $part_end (result i32) (i32.const 5))
  (func $after (result i32) (call $first (i32.const 3)))
  (func $library (result i32) (i32.const 6))
  (func $called_by_called (result i32) (i32.const 10))
  (func $nobody_calls_it (result i32) (i32.const 8))
  (func $in_table (param i32) (result i32) (i32.add (local.get 0) (global.get $global)))
  (func $stand_in (export "stand_in") (result i32) (i32.const -1))

  (func $direct (export "direct") (param i32) (result i32) (i32.add (call $part_called (local.get 0)) (call $after)))
  (func $constant (export "constant") (param i32) (result i32) (call_indirect (type $constant) (local.get 0)))
  (func $unary (export "unary") (param i32 i32) (result i32)
    (call_indirect (param i32) (result i32) (local.get 1) (local.get 0)))
  (func $refers (export "refers") (result i32) (ref.is_null (ref.func $in_table)))

  (elem (i32.const 1) $before $part_begin $part_unary $in_table)
  (elem (i32.const 6) $part_called $part_end $first $before)
  (data (i32.const 8) "\\02\\00\\00\\00"))
"""
PART: Run = ("part_begin", "part_end")
GONE = {"part_begin", "part_helper", "part_unary", "part_end", "library", "nobody_calls_it"}


def module(text: str = MODULE) -> Module:
    return binary.decode(bytes(wasmtime.wat2wasm(text)))


def pruned(*runs: Run, text: str = MODULE) -> Module:
    """The module without the runs, which wasmtime finds valid, as it is after writing and reading it."""
    data = binary.encode(prune(module(text), runs, "stand_in"))
    wasmtime.Module.validate(wasmtime.Engine(), data)
    return binary.decode(data)


def names_left(*runs: Run, text: str = MODULE) -> list[str]:
    """The names of the functions that a module keeps of its own, in order; each body still says where it stood."""
    source = module(text)
    names, imported = function_names(source), len(source.imported(Kind.FUNC))
    by_offset = {code.offset: names[number] for number, code in enumerate(source.code, imported)}
    return [by_offset[code.offset] for code in prune(source, runs, "stand_in").code]


def linked(*runs: Run) -> LinkedModule:
    """The module without the runs, to be called."""
    return LinkedModule(prune(module(), runs, "stand_in"))


def own_names(text: str = MODULE) -> list[str]:
    """The names of all functions that a module has of its own, in order."""
    source = module(text)
    return [name for index, name in sorted(function_names(source).items()) if index >= len(source.imported(Kind.FUNC))]


def test_a_run_goes_with_what_only_it_calls() -> None:
    """The functions of the run go, what only they call goes with them, and the others keep their order."""
    assert names_left(PART) == [name for name in own_names() if name not in GONE]


def test_what_code_calls_stays() -> None:
    """A function of the run that other code calls stays, and so does what it calls; it computes what it did."""
    assert {"part_called", "called_by_called"} <= set(names_left(PART))
    assert linked(PART).call("direct", [4]) == 4 * 10 + 103


def test_nothing_to_take_out() -> None:
    """Without a run only that goes which neither an export nor the table nor a call leads to."""
    assert names_left() == [name for name in own_names() if name != "nobody_calls_it"]


def test_the_table_forgets_the_run() -> None:
    """A slot of the run gives the stand-in if its type is that, and else nothing; all others give what they gave."""
    before, after = LinkedModule(module()), linked(PART)
    slots = range(10)
    assert [before.call("constant", [slot]) for slot in slots] == [
        *("trap", 1, 102 + 6, "trap", "trap"),
        *("trap", "trap", 5, "trap", 1),
    ]
    assert [after.call("constant", [slot]) for slot in slots] == [
        *("trap", 1, -1, "trap", "trap"),
        *("trap", "trap", -1, "trap", 1),
    ]
    assert [before.call("unary", [slot, 2]) for slot in slots] == [
        *("trap", "trap", "trap", 20, 2 + 7),
        *("trap", 20, "trap", 102, "trap"),
    ]
    assert [after.call("unary", [slot, 2]) for slot in slots] == [
        *("trap", "trap", "trap", "trap", 2 + 7),
        *("trap", "trap", "trap", 102, "trap"),
    ]


def test_indices_of_functions_are_moved() -> None:
    """Exports, element segments, calls and references name the functions that they named."""
    source, result = module(), pruned(PART)
    assert [(item.name, item.kind) for item in result.exports] == [(item.name, item.kind) for item in source.exports]
    assert linked(PART).call("refers", []) == 0
    kept = names_left(PART)
    numbers = {name: index for index, name in enumerate(kept, len(result.imports))}
    assert {item.name: item.index for item in result.exports if item.kind is Kind.FUNC} == {
        name: numbers[name] for name in ("stand_in", "direct", "constant", "unary", "refers")
    }
    assert [segment.functions for segment in result.elements] == [
        [numbers["before"], numbers["stand_in"], None, numbers["in_table"]],
        [None, numbers["stand_in"], 0, numbers["before"]],
    ]


def test_indices_of_more_than_one_byte_are_moved() -> None:
    """Hundreds of functions are still the right ones when the run in front of them goes."""
    gone = " ".join(f"(func $gone{i} (result i32) (i32.const -2))" for i in range(200))
    functions = " ".join(f"(func $f{i} (result i32) (i32.const {i * i}))" for i in range(300))
    calls = " ".join(f"(i32.xor (call $f{i}))" for i in range(300))
    text = f"""(module {gone} {functions}
      (func (export "stand_in")) (func (export "main") (result i32) (i32.const 0) {calls}))"""
    expected = 0
    for i in range(300):
        expected ^= i * i
    after = prune(module(text), [("gone0", "gone199")], "stand_in")
    assert len(after.code) == 302
    assert LinkedModule(after).call("main", []) == expected


def test_everything_else_is_as_it_was() -> None:
    """All imports stay, used or not; types, table, memory, globals and data are not touched; names are gone."""
    source, result = module(), pruned(PART)
    for field in ("types", "imports", "tables", "memories", "globals", "data"):
        assert getattr(result, field) == getattr(source, field), field
    assert [segment.offset for segment in result.elements] == [segment.offset for segment in source.elements]
    assert source.customs
    assert result.customs == []


def test_the_module_that_is_pruned_stays_whole() -> None:
    """Pruning makes another module; the one given may be pruned again, in another way."""
    source = module()
    before = binary.encode(source)
    prune(source, [PART], "stand_in")
    assert binary.encode(source) == before


@pytest.mark.parametrize(
    ("run", "gone"),
    [
        (("part_end", "part_end"), {"part_end"}),
        (("part_called", "part_unary"), {"part_unary"}),
        (("part_helper", "part_unary"), {"part_unary"}),  # the others are called by what stays
        (("before", "part_end"), GONE | {"before"}),
    ],
)
def test_runs_of_any_length(run: Run, gone: set[str]) -> None:
    """A run begins with its first name and ends with its last, both of them part of it."""
    assert names_left(run) == [name for name in own_names() if name not in gone | {"nobody_calls_it"}]


def test_several_runs() -> None:
    """Of several runs, apart, side by side or one over the other, all functions go, in whatever order they come."""
    runs: list[Run] = [("part_begin", "part_helper"), ("part_called", "part_end"), ("part_unary", "part_unary")]
    assert names_left(*runs) == names_left(*reversed(runs)) == names_left(PART)


def test_of_functions_with_one_name_a_run_begins_at_the_first() -> None:
    """Static functions of different files may share a name: it means the one that was linked first."""
    source = module()
    names = function_names(source)
    twice = {index: "before" if name == "part_unary" else name for index, name in names.items()}
    source.customs = [encode_function_names(twice)]
    result = prune(source, [("before", "before")], "stand_in")
    functions = result.elements[0].functions
    assert functions[0] != functions[2]
    assert functions[2] is not None, "part_unary stays in the table"
    assert functions[0] == next(item.index for item in result.exports if item.name == "stand_in")


@pytest.mark.parametrize("run", [("gone", "part_end"), ("part_begin", "gone"), ("gone", "gone")])
def test_a_missing_name_is_an_error(run: Run) -> None:
    """A list that was made for other functions is an error that says what is missing, never a wrong module."""
    with pytest.raises(LinkError, match=r"the module has no function 'gone': the list .* belongs to another version"):
        prune(module(), [run], "stand_in")


def test_a_module_without_names_cannot_be_pruned() -> None:
    """What was pruned has no names, and none of its functions is found again."""
    with pytest.raises(LinkError, match="no function 'part_begin'"):
        prune(pruned(PART), [PART], "stand_in")


@pytest.mark.parametrize("name", ["", "before", "Stand_in"])
def test_the_stand_in_must_be_exported(name: str) -> None:
    """A stand-in that the module has under no such name, or does not export, is an error that names it."""
    with pytest.raises(LinkError, match=f"exports no function '{name}' to stand in"):
        prune(module(), [PART], name)


def test_the_same_input_gives_the_same_bytes() -> None:
    """Neither the order of runs nor what was pruned before changes a byte."""
    runs: list[Run] = [("part_begin", "part_helper"), ("part_called", "part_end")]
    results = {binary.encode(prune(module(), order, "stand_in")) for order in (runs, runs[::-1], runs, [PART])}
    assert len(results) == 1
