"""Taking functions out of a module: what can be called stays, what cannot goes, and the rest means the same.

The libraries are small. Objects in their static data have 32 bytes each.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import pytest
import wasmtime
from hypothesis import HealthCheck, given, settings, strategies as st
from pywasmfilter_compiler.errors import LinkError
from pywasmfilter_compiler.linker import Cut, Layout, Telling, prune, unused_data
from pywasmfilter_compiler.linker.missing import LONGEST_NAME
from pywasmfilter_compiler.linker.references import SECTION, References, Uses
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import F32, F64, I32, I64, Custom, FuncType, Kind, Module
from pywasmfilter_compiler.wasm.names import function_names

from tests.compiler.linker.dynamic import (
    LAYOUT,
    MEMORY,
    STACK,
    TABLE,
    TELLING,
    TOLD,
    Address,
    Library,
    Slot,
    Word,
    call,
    constants,
    data,
    linked,
    objects,
    padded,
    slot,
)
from tests.compiler.linker.wiring import LinkedModule

NO_CUTS: Mapping[str, Cut] = {}
OUTSIDE = 600
"""An address at which no library has anything, nor the stack."""


def pruned(
    module: Module, exports: Iterable[str] = ("main",), cut: Mapping[str, Cut] = NO_CUTS, telling: Telling = TELLING
) -> Module:
    """The module with these exports only."""
    return prune(module, set(exports), cut, telling)


def names_left(module: Module, exports: Iterable[str] = ("main",), cut: Mapping[str, Cut] = NO_CUTS) -> set[str]:
    """The names of the functions that a module keeps, which wasmtime finds valid; a body still says where it stood."""
    names, imported = function_names(module), len(module.imported(Kind.FUNC))
    by_offset = {code.offset: names.get(number, "") for number, code in enumerate(module.code, imported)}
    result = pruned(module, exports, cut)
    wasmtime.Module.validate(wasmtime.Engine(), binary.encode(result))
    return {by_offset[code.offset] for code in result.code if code.offset} - {TELLING.buffer, TELLING.report}


def running(
    module: Module, exports: Iterable[str] = ("main",), cut: Mapping[str, Cut] = NO_CUTS, telling: Telling = TELLING
) -> LinkedModule:
    """A pruned module with the memory that it would have, to be called."""
    result = pruned(module, exports, cut, telling)
    result.data = [*result.data, *module.data]
    return LinkedModule(result)


def function(name: str, code: str, *, exported: bool = True) -> str:
    """A function that gives a number."""
    return f'(func ${name} {f"""(export "{name}")""" if exported else ""} (result i32) {code})'


# What code knows

BY_CODE = {
    "a constant that is added to the base": slot(2),
    "a base that is added to a constant": f"(i32.add {padded(2)} (global.get $table_base))",
    "a constant that is added to a local with the base": f"(block (result i32)"
    f" (local.set $base (global.get $table_base)) (i32.add (local.get $base) {padded(2)}))",
    "a constant that is added to the base while a local keeps that": f"(i32.add"
    f" (local.tee $base (global.get $table_base)) {padded(2)})",
    "a constant that is added to one of two bases": f"(i32.add (if (result i32) (i32.const 1)"
    f" (then (global.get $table_base)) (else (global.get $memory_base))) {padded(2)})",
    "a name": "(global.get $by_name)",
    "a global that starts from the base": "(global.get $own)",
}
GLOBALS = "(global $own i32 (i32.add (global.get $table_base) (i32.const 2)))"


def knowing(code: str, *more: str) -> Module:
    """A library with three functions in the table, whose slots are 0, 1 and 2, and code in `main`."""
    fields = f"{GLOBALS} {constants('zero', 'one', 'two')} {' '.join(more)}"
    main = f'(func $main (export "main") (result i32) (local $base i32) (local $other i32) {code})'
    return linked(Library(f"{fields} {main}", ("zero", "one", "two"), functions={"by_name": TABLE[0] + 2}))


@pytest.mark.parametrize("code", BY_CODE.values(), ids=BY_CODE)
def test_a_slot_that_code_knows(code: str) -> None:
    """What live code can have the slot of stays, and nothing else of the table; a call of it gives what it gave."""
    module = knowing(call(code))
    assert names_left(module) == {"main", "two"}
    assert running(module).call("main", []) == 3


NOT_BY_CODE = {
    "an address of data": data(2),
    "an address of data by a local": f"(local.set $base (global.get $memory_base))"
    f"(local.set $other (global.get $table_base)) (i32.add (local.get $base) {padded(2)})",
    "a number": "(i32.add (global.get $table_base) (i32.const 2))",
    "no base of the table": f"(i32.add (i32.const 1) {padded(2)})",
    "a slot before the first": slot(-2),
}


@pytest.mark.parametrize("code", NOT_BY_CODE.values(), ids=NOT_BY_CODE)
def test_a_number_that_is_no_slot(code: str) -> None:
    """A constant that is added to something else, or that no linker wrote, does not count as a slot."""
    assert names_left(knowing(code)) == {"main"}


def test_only_dead_code_knows_a_slot() -> None:
    """What only code knows that nothing leads to goes with it, and what it leads to; the others stay in their slots."""
    module = knowing(call(slot(1)), function("other", f"(i32.add {call(slot(0))} {call(slot(2))})"), BY_NUMBER)
    assert names_left(module) == {"main", "one"}
    assert names_left(module, ["main", "other"]) == {"main", "other", "zero", "one", "two"}
    calling = running(module, ["main", "number"])
    assert [calling.call("number", [number]) for number in range(5)] == ["trap", "trap", 2, "trap", "trap"]


BY_NUMBER = '(func $number (export "number") (param i32) (result i32) (call_indirect (result i32) (local.get 0)))'


@pytest.mark.parametrize("names", [False, True])
def test_a_call_of_what_is_gone_is_told(names: bool) -> None:
    """Before it traps, a call of a function that was taken out tells its type, or its name too if that is asked for."""
    more = "(func $with_parameters (param i64 f32) (result f64) (f64.const 1))"
    by_number = """(func (export "parameters") (param i32) (result f64)
        (call_indirect (param i64 f32) (result f64) (i64.const 1) (f32.const 2) (local.get 0)))"""
    fields = f"{constants('zero', 'one')} {BY_NUMBER} {by_number} {more} {function('main', call(slot(1)))}"
    module = linked(Library(fields, ("zero", "one", "with_parameters")))
    calling = running(module, ["main", "number", "parameters", "memory"], telling=TELLING._replace(names=names))

    def told() -> str:
        memory = calling.exports["memory"].read(calling.store, TOLD, TOLD + 4 + LONGEST_NAME)
        return str(memory[4 : 4 + int.from_bytes(memory[:4], "little")], "utf-8")

    assert (calling.call("main", []), told()) == (2, "")
    assert (calling.call("number", [0]), told()) == ("trap", ""), "a slot that was always empty"
    assert (calling.call("number", [TABLE[0] + 2]), told()) == ("trap", ""), "a call with the wrong type"
    assert calling.call("number", [TABLE[0]]) == "trap"
    assert told() == ("zero " if names else "") + f"of type {FuncType((), (I32,))}"
    assert calling.call("parameters", [TABLE[0] + 2]) == "trap"
    assert told() == ("with_parameters " if names else "") + f"of type {FuncType((I64, F32), (F64,))}"


def test_long_names_are_told_in_part() -> None:
    """A name that is longer than the room for it is cut."""
    name = "x" * 300
    module = linked(Library(f"{constants(name)} {BY_NUMBER}", (name,)))
    calling = running(module, ["number", "memory"], telling=TELLING._replace(names=True))
    assert calling.call("number", [TABLE[0]]) == "trap"
    memory = calling.exports["memory"].read(calling.store, TOLD, TOLD + 4 + LONGEST_NAME + 1)
    assert memory == LONGEST_NAME.to_bytes(4, "little") + b"x" * LONGEST_NAME + b"\0"


def test_only_a_function_that_stays_leads_on() -> None:
    """A chain of slots and calls stays to its end, and one whose beginning is gone goes whole."""
    fields = f"""
        {function("main", call(slot(0)))} {function("first", "(call $second)", exported=False)}
        {function("second", call(slot(1)), exported=False)} {function("third", "(i32.const 3)", exported=False)}
        {function("fourth", "(call $fifth)", exported=False)} {function("fifth", call(slot(3)), exported=False)}
        {function("sixth", call(slot(2)), exported=False)}"""
    module = linked(Library(fields, ("first", "third", "fourth", "sixth")))
    assert names_left(module) == {"main", "first", "second", "third"}


def test_a_reference_to_a_function() -> None:
    """`ref.func` leads to a function as a call does."""
    code = "(ref.is_null (ref.func $helper))"
    fields = f"{constants('helper', 'gone')} {function('main', code)} (elem declare func $helper $gone)"
    module = linked(Library(fields))
    assert names_left(module) == {"main", "helper"}
    assert running(module).call("main", []) == 0


def test_a_recursive_function_goes() -> None:
    """That functions lead to themselves, or to each other, keeps none of them."""
    fields = f"""{function("main", "(i32.const 1)")} {function("other", call(slot(0)))}
        {function("ping", "(call $pong)", exported=False)} {function("pong", call(slot(0)), exported=False)}"""
    assert names_left(linked(Library(fields, ("ping",)))) == {"main"}


# What static data knows

OBJECTS = objects([Slot(0)], [Slot(1)], [Slot(2)], [Slot(3)])  # at 0, 32, 64, 96
FOUR = ("zero", "one", "two", "three")


def of_data(code: str, *more: str, layout: Layout = LAYOUT, **options: object) -> set[str]:
    """The functions that stay besides `main`, which has this code, in a library with static data."""
    fields = f"{constants(*FOUR)} {function('main', code)} {' '.join(more)}"
    library = Library(fields, FOUR, **{"words": OBJECTS, **options})  # type: ignore[arg-type]
    return names_left(linked(library, layout=layout)) - {"main"}


EACH = {f"object{offset}": offset for offset in (0, 32, 64, 96)}
"""Symbols for each object."""


@pytest.mark.parametrize("number", range(4))
def test_an_object_that_code_knows(number: int) -> None:
    """The slots in an object that live code has the address of stay, and those of no other object."""
    assert of_data(data(32 * number), symbols=EACH) == {FOUR[number]}


def test_an_object_that_code_knows_by_name() -> None:
    """An address of another library's symbol, or from a global of its own, leads to the object too."""
    assert of_data("(global.get $there)", symbols=EACH, addresses={"there": MEMORY[0] + 64}) == {"two"}
    own = "(global $own i32 (i32.add (global.get $memory_base) (i32.const 96)))"
    assert of_data("(global.get $own)", own, symbols=EACH) == {"three"}


def test_only_dead_code_knows_an_object() -> None:
    """An object that only dead code has the address of leads nowhere."""
    assert of_data("(i32.const 1)", function("other", data(32)), symbols=EACH) == set()


def test_objects_lead_to_objects() -> None:
    """Addresses in a live object lead to other objects, those in a dead one do not."""
    words = objects([Address(64), 5], [Slot(1), Address(0)], [Address(96)], [Slot(3)])
    assert of_data(data(0), words=words, symbols=EACH) == {"three"}
    assert of_data(data(32), words=words, symbols=EACH) == {"one", "three"}
    assert of_data(data(64), words=words, symbols=EACH) == {"three"}


def test_an_address_in_the_middle() -> None:
    """An address in the middle of an object leads to the rest of it: code goes on from where it begins."""
    words = objects([Slot(0)], [Slot(1), 0, 0, 0, Slot(2)], [Slot(3)])
    assert of_data(data(36), words=words, symbols=EACH) == {"two"}
    assert of_data(f"(i32.add {data(32)} {data(36)})", words=words, symbols=EACH) == {"one", "two"}


def test_an_address_in_the_middle_of_a_string() -> None:
    """Strings may share their ends: an address behind another character leads to the whole, and does not divide it."""
    words = objects([Slot(0)], [Slot(1), 0x61626364, Slot(2)], [Slot(3)])
    for offset in (37, 38, 40):
        assert of_data(data(offset), words=words, symbols=EACH) == {"one", "two"}
    assert of_data(data(32), function("other", data(40)), words=words, symbols=EACH) == {"one", "two"}
    assert of_data(data(36), words=words, symbols=EACH) == {"two"}


def test_without_a_beginning_it_is_one_object() -> None:
    """Where nothing tells that an object begins, the address of the first part leads to all."""
    assert of_data(data(0)) == set(FOUR)


def test_addresses_beside_the_data() -> None:
    """An address in front of the library's data, or behind the last that holds any, leads to nothing."""
    assert of_data(f"(i32.add {data(-4)} {data(100)})", words=OBJECTS, symbols=EACH) == set()


def test_symbols_divide() -> None:
    """An object ends where an exported symbol stands, whichever library's."""
    assert of_data(data(0), symbols={"middle": 64}) == {"zero", "one"}
    assert of_data(data(64), symbols={"middle": 64}) == {"two", "three"}


def test_addresses_in_data_divide() -> None:
    """An object ends where an address stands for that static data has, also if that is dead."""
    words = objects([Slot(0)], [Slot(1)], [Slot(2)], [Slot(3), Address(64)])
    assert of_data(data(0), words=words) == {"zero", "one"}


def test_addresses_in_code_divide() -> None:
    """So does one that any code has, also if that is dead: compilers fold no offset into an address."""
    assert of_data(data(0), function("other", data(64))) == {"zero", "one"}


def test_an_undivided_object() -> None:
    """An object whose insides others refer to is one object up to the next symbol, if the layout names it."""
    words = objects([Slot(0)], [Slot(1), Address(32)], [Slot(2)], [Slot(3), Address(64), Address(96)])
    symbols = {"whole": 0, "next": 64}
    assert of_data(data(0), words=words, symbols=symbols) == {"zero"}
    whole = Layout(undivided=frozenset({"whole", "no such symbol"}))
    assert of_data(data(0), words=words, symbols=symbols, layout=whole) == {"zero", "one"}
    assert of_data(data(64), words=words, symbols=symbols, layout=whole) == {"two"}


def test_the_last_object_may_be_undivided() -> None:
    """Without a further symbol it reaches to the end."""
    words = objects([Slot(0), Address(64), Address(32)], [Slot(1)], [Slot(2)], [Slot(3)])
    symbols = {"whole": 32}
    assert of_data(data(32), words=words, symbols=symbols) == {"one"}
    whole = Layout(undivided=frozenset(symbols))
    assert of_data(data(32), words=words, symbols=symbols, layout=whole) == {"one", "two", "three"}


# What memory knows


def with_memory(stored: Mapping[int, int], *more: str, words: object = OBJECTS, layout: Layout = LAYOUT) -> set[str]:
    """What stays besides `main` when words were stored in memory since the start. `main` knows nothing."""
    fields = f"{constants(*FOUR)} {function('main', '(i32.const 1)')} {' '.join(more)}"
    library = Library(fields, FOUR, words=words, symbols=EACH)  # type: ignore[arg-type]
    return names_left(linked(library, stored=stored, layout=layout)) - {"main"}


KNOWS = function("knows", f"(i32.add {slot(1)} {data(64)})")
"""A function that does not stay, but that may have run."""


def test_a_slot_in_memory() -> None:
    """The function of a slot in memory stays, if code can have stored it there that is gone now."""
    assert with_memory({OUTSIDE: TABLE[0] + 1}, KNOWS) == {"one"}
    assert with_memory({}, KNOWS) == set()


def test_an_address_in_memory() -> None:
    """So does all that an object leads to whose address is in memory, or that of a part of it."""
    assert with_memory({OUTSIDE: MEMORY[0] + 64}, KNOWS) == {"two"}
    assert with_memory({OUTSIDE: MEMORY[0] + 84}, KNOWS) == {"two"}
    assert with_memory({OUTSIDE: MEMORY[0] + 85}, KNOWS) == set(), "no pointer to anything that has addresses"


def test_a_number_in_memory_that_nobody_can_have_meant() -> None:
    """A word that no code that ran can have known as a slot or an address is a number."""
    stored = {OUTSIDE: TABLE[0], OUTSIDE + 4: TABLE[0] + 3, OUTSIDE + 8: MEMORY[0], OUTSIDE + 12: MEMORY[0] + 96}
    assert with_memory(stored, KNOWS) == set()


def test_what_data_let_code_know() -> None:
    """Code that ran can have read a slot from an object and stored it elsewhere."""
    assert with_memory({OUTSIDE: TABLE[0] + 2}, KNOWS) == {"two"}


def test_the_stack_does_not_count() -> None:
    """What calls left on the stack when they returned is no word that anyone will read; on its ends there is memory."""
    for at, left in ((STACK[0] - 4, {"one"}), (STACK[0], set()), (STACK[1] - 4, set()), (STACK[1], {"one"})):
        assert with_memory({at: TABLE[0] + 1}, KNOWS) == left, at
    no_stack = Layout(stack=("no", "stack"))
    assert with_memory({STACK[0]: TABLE[0] + 1}, KNOWS, layout=no_stack) == {"one"}


def test_a_word_of_static_data_that_was_changed() -> None:
    """A word that is not what the library made of it is one that was stored; what it was counts for its object."""
    assert with_memory({MEMORY[0]: TABLE[0] + 1}, KNOWS) == {"one"}
    assert with_memory({MEMORY[0] + 8: TABLE[0] + 1}, KNOWS) == {"one"}
    assert with_memory({MEMORY[0] + 64: 5}, KNOWS, function("knows_it", data(64))) == set()
    changed = with_memory({MEMORY[0] + 64: TABLE[0] + 1, OUTSIDE: MEMORY[0] + 64}, KNOWS)
    assert changed == {"one", "two"}


def test_constants_do_not_count() -> None:
    """What is in front of all addresses of a library never changes, and a number there is a number."""
    slot_one = TABLE[0] + 1
    assert with_memory({}, KNOWS, words=objects([slot_one], [Slot(0)], [Slot(3)], [])) == set()
    assert with_memory({}, KNOWS, words=objects([Slot(0)], [slot_one], [Slot(3)], [])) == {"one"}


LAZY = f"""
    (func $idle (export "idle") (result i32) {slot(0)})
    (func $asked (export "asked") (result i32) {slot(1)})
    (func $start (export "{{start}}") (result i32) {slot(2)})
    (func (export "serve"))"""


@pytest.mark.parametrize("start", ["_initialize", "__wasm_call_ctors", "main"])
@pytest.mark.parametrize("served", [True, False])
def test_what_a_library_that_serves_can_have_known(start: str, served: bool) -> None:
    """Of a library that runs only when it is called, only that can have run which others call, and its start."""
    stored = {OUTSIDE + 4 * number: TABLE[0] + number for number in range(4)}
    fields = constants(*FOUR) + LAZY.format(start=start)
    caller = function("asks", "(call $asked)") + function("keep", "(i32.const 1)")
    imports = '(import "lib0" "asked" (func $asked (result i32)))'
    module = linked(
        Library(fields, FOUR),
        Library(caller, imports=imports),
        stored=stored,
        layout=Layout(served=frozenset({"serve"} if served else ())),
        exports=("asks", "keep"),
    )
    left = names_left(module, ["keep"]) - {"keep"}
    assert left == ({"one", *(["two"] if start != "main" else [])} if served else {"zero", "one", "two"})


def test_a_library_that_is_finished() -> None:
    """Whatever memory has of it, it does not count; what code knows of it does."""
    first = Library(
        f"{constants(*FOUR)} {function('done', f'(i32.add {slot(0)} {data(64)})')}", FOUR, OBJECTS, symbols=EACH
    )
    code = f"(i32.add (global.get $two) (i32.add {slot(0)} {data(0)}))"
    second = Library(
        f"{function('other', f'(i32.add (global.get $zero) {slot(0)})')} {function('main', '(global.get $three)')}"
        f"{constants('own')} {function('uses', code)}",
        ("own",),
        functions={"zero": TABLE[0], "three": TABLE[0] + 3, "two": TABLE[0] + 2},
    )
    stored = {OUTSIDE: TABLE[0], OUTSIDE + 4: MEMORY[0] + 64, OUTSIDE + 8: TABLE[1]}
    for finished, left in ((["done"], {"own", "three"}), ([], {"own", "three", "zero", "two"})):
        layout = Layout(finished=frozenset(finished))
        assert names_left(linked(first, second, stored=stored, layout=layout)) - {"main"} == left


# Cut functions

CUTTING = f"""
    (global $refused (mut i32) (i32.const 0))
    {function("refuses", "(global.set $refused (i32.add (global.get $refused) (i32.const 1))) (i32.const 77)")}
    {function("count", "(global.get $refused)")}
    {function("main", "(i32.mul (call $large (i32.const 5)) (i32.const 2))")}
    {function("by_slot", "(call_indirect (param i32) (result i32) (i32.const 9) " + slot(0) + ")")}
    (func $large (param i32) (result i32) (local f64)
        (i32.add (call $only_large) (i32.add {call(slot(1))} (i32.add (call $shared) (i32.load {data(32)})))))
    {function("only_large", "(i32.const 1)", exported=False)} {function("in_table", "(i32.const 2)", exported=False)}
    {function("shared", "(i32.const 3)", exported=False)} {function("in_data", "(i32.const 4)", exported=False)}
    {function("also", "(call $shared)")}"""
CUT_LIBRARY = Library(CUTTING, ("large", "in_table", "in_data"), objects([Address(0)], [Slot(2)]), symbols=EACH)
KEPT = ("main", "by_slot", "also", "count")


@pytest.mark.parametrize("value", [0, -1, 42, -(1 << 31), (1 << 31) - 1])
def test_a_cut_function_refuses(value: int) -> None:
    """Whoever calls it, by its number or its slot, has called the refusal, and is given the value."""
    calling = running(linked(CUT_LIBRARY), KEPT, {"large": Cut("refuses", value)})
    doubled = (value * 2 + (1 << 31)) % (1 << 32) - (1 << 31)
    calls = [calling.call(name, []) for name in ("count", "main", "count", "by_slot", "count", "also")]
    assert calls == [0, doubled, 1, value, 2, 3]


def test_what_only_a_cut_function_leads_to_goes() -> None:
    """What it calls, and what it knows of the table and of data, goes unless something else leads there."""
    module = linked(CUT_LIBRARY)
    everything = {"main", "by_slot", "also", "count", "large", "shared"}
    assert names_left(module, KEPT, {"large": Cut("refuses")}) == everything | {"refuses"}
    assert names_left(module, KEPT) == everything | {"only_large", "in_table", "in_data"}


def test_a_cut_function_that_nothing_calls_goes() -> None:
    """Then its refusal goes too, if that is no export that stays."""
    assert names_left(linked(CUT_LIBRARY), ["also"], {"large": Cut("refuses")}) == {"also", "shared"}


def test_of_functions_with_one_name_the_first_is_cut() -> None:
    """Static functions of different files may share a name: it means the one that was linked first."""
    first = Library(f"{function('main', '(call $f)')} {function('f', '(i32.const 1)', exported=False)}")
    second = Library(
        f"{function('other', '(call $f)')} {function('f', '(i32.const 2)', exported=False)}"
        f"{function('refuses', '(i32.const 0)')}"
    )
    calling = running(linked(first, second), ["main", "other"], {"f": Cut("refuses", 9)})
    assert (calling.call("main", []), calling.call("other", [])) == (9, 2)


# The module


def unused(code: str, *more: str, stored: Mapping[int, int] | None = None, **options: object) -> list[tuple[int, int]]:
    """What static data is not in use, by offset, if `main` has this code."""
    fields = f"{constants(*FOUR)} {function('main', code)} {' '.join(more)}"
    module = linked(Library(fields, FOUR, **{"words": OBJECTS, "symbols": EACH, **options}), stored=stored)  # type: ignore[arg-type]
    return [(address - MEMORY[0], size) for address, size in unused_data(binary.encode(pruned(module)))]


def test_unused_data_is_named() -> None:
    """Objects that nothing leads to are named with place and size, those side by side as one, but no small ones."""
    assert unused("(i32.const 1)") == [(0, 100)]
    assert unused(data(0)) == [(32, 68)]
    assert unused(data(96)) == [(0, 96)]
    assert unused(data(64)) == [(0, 64)]
    assert unused(f"(i32.add {data(32)} {data(64)})") == []
    more = objects([Slot(0)], [], [Slot(1)], [], [Slot(2)], [], [Slot(3)], [], [Slot(3)])
    assert unused(data(128), words=more, symbols={"third": 128, "fourth": 192}) == [(0, 128), (192, 68)]


def test_data_that_is_in_use() -> None:
    """What an object in use leads to is in use, and so is what memory does."""
    words = objects([Slot(0), Address(64)], [Slot(1)], [Slot(2)], [], [Slot(3)])
    symbols = {**EACH, "more": 128}
    assert unused(data(0), words=words, symbols=symbols) == []
    assert unused(data(32), words=words, symbols=symbols) == [(64, 68)]
    stored = {OUTSIDE: MEMORY[0] + 64}
    assert unused("(i32.const 1)", function("other", data(64)), stored=stored) == [(0, 64)]


def test_a_module_that_was_not_pruned_names_no_data() -> None:
    """Nothing is known of it."""
    assert unused_data(binary.encode(linked(CUT_LIBRARY))) == []


def test_everything_else_is_as_it_was() -> None:
    """All types, imports, tables, memories and globals stay, used or not; names and data are gone."""
    source = linked(CUT_LIBRARY)
    before = binary.encode(source)
    result = pruned(source)
    for field in ("imports", "tables", "memories", "globals"):
        assert getattr(result, field) == getattr(source, field), field
    assert result.types[: len(source.types)] == source.types
    assert [segment.offset for segment in result.data] == [None], "it has no memory, which is what a snapshot is for"
    assert [segment.offset for segment in result.elements] == [segment.offset for segment in source.elements]
    assert function_names(result) == {}
    assert [item.name for item in result.exports] == ["main"]
    assert binary.encode(source) == before, "the module that was given is as it was"


def test_exports_of_other_things_stay_what_they_are() -> None:
    """An export of a memory is kept by its name, as those of functions are."""
    source = linked(CUT_LIBRARY, exports=("memory", "main", "also"))
    assert [(item.name, item.kind) for item in pruned(source, ["memory", "also"]).exports] == [
        ("also", Kind.FUNC),
        ("memory", Kind.MEMORY),
    ]


def test_calls_name_the_functions_that_they_named() -> None:
    """Hundreds of functions are still the right ones when hundreds in front of and among them go."""
    fields = " ".join(
        f"(func $gone{i} (result i32) (i32.const -2)) (func $f{i} (result i32) (i32.const {i * i}))" for i in range(300)
    )
    calls = " ".join(f"(i32.xor (call $f{i}))" for i in range(300))
    goners = " ".join(f"(i32.xor (call $gone{i}))" for i in range(300))
    more = function("main", f"(i32.const 0) {calls}") + function("other", f"(i32.const 0) {goners}")
    module = linked(Library(fields + more))
    assert names_left(module) == {"main", *(f"f{i}" for i in range(300))}
    expected = 0
    for i in range(300):
        expected ^= i * i
    assert LinkedModule(module).call("main", []) == running(module).call("main", []) == expected


def test_the_same_input_gives_the_same_bytes() -> None:
    """Neither the order of names nor what was pruned before changes a byte."""
    module = linked(CUT_LIBRARY)
    cuts = {"large": Cut("refuses"), "shared": Cut("refuses", 1)}
    backwards = dict(reversed(cuts.items()))
    assert len({binary.encode(pruned(module, KEPT, cut)) for cut in (cuts, backwards, cuts)}) == 1
    assert binary.encode(pruned(module, KEPT[::-1], cuts)) == binary.encode(pruned(module, KEPT, cuts))


def random_library(numbers: random.Random, size: int) -> tuple[Library, dict[int, int]]:
    """A library of functions that call later ones in every way there is, and what it has stored in memory."""
    contents: list[list[Word]] = [
        [Slot(numbers.randrange(k, size)), Address(32 * numbers.randrange(k, size)), Slot(size - 1)]
        for k in range(size)
    ]
    words = objects(*contents)
    stored = {OUTSIDE + 4 * k: TABLE[0] + numbers.randrange(k, size) for k in range(size)}

    def use(later: int) -> str:
        follow = f"(i32.load {data(32 * later)})"
        return numbers.choice(
            [
                f"(call $f{later})",
                call(slot(later)),
                call(f"(i32.add (local.get $base) {padded(later)})"),
                call(f"(global.get $name{later})"),
                call(f"(global.get $own{later})"),
                call(follow),
                call(f"(i32.load (i32.load offset=4 {data(32 * later)}))"),
                call(f"(i32.load offset=8 {data(32 * later)})"),
                call(f"(i32.load (i32.const {OUTSIDE + 4 * later}))"),
            ]
        )

    fields = [f"(global $own{k} i32 (i32.add (global.get $table_base) (i32.const {k})))" for k in range(size)]
    for k in range(size):
        uses = [use(numbers.randrange(k + 1, size)) for _ in range(numbers.randrange(3))] if k + 1 < size else []
        sums = "".join(f"(i32.add {each})" for each in uses)
        head = "(local $base i32) (local.set $base (global.get $table_base))"
        fields.append(f'(func $f{k} (export "f{k}") (result i32) {head} (i32.const {1 << k}) {sums})')
    names = {f"name{k}": TABLE[0] + k for k in range(size)}
    table = tuple(f"f{k}" for k in range(size))
    symbols = {f"object{k}": 32 * k for k in range(size) if numbers.random() < 0.7}
    return Library(" ".join(fields), table, words, symbols, names), stored


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 1 << 32), size=st.integers(2, 12))
def test_whatever_stays_computes_the_same(seed: int, size: int) -> None:
    """A pruned module's exports return what they did: no function that can be called is missing."""
    numbers = random.Random(seed)
    library, stored = random_library(numbers, size)
    module = linked(library, stored=stored)
    exports = numbers.sample([f"f{k}" for k in range(size)], numbers.randrange(1, min(size, 3) + 1))
    before, after = LinkedModule(module), running(module, exports)
    assert {name: after.call(name, []) for name in exports} == {name: before.call(name, []) for name in exports}


# What is refused


def test_a_module_without_a_layout() -> None:
    """A module of which it is not known what it refers to cannot be pruned, and neither can one that was."""
    for module in (linked(CUT_LIBRARY, layout=None), pruned(linked(CUT_LIBRARY))):
        with pytest.raises(LinkError, match="linked without a layout"):
            pruned(module)


def test_a_start_function() -> None:
    """A module that runs by itself cannot be pruned."""
    module = linked(CUT_LIBRARY)
    module.start = 0
    with pytest.raises(LinkError, match="a module with a start function cannot be pruned"):
        pruned(module)


def test_missing_exports() -> None:
    """An export that the module does not have is named; so are several."""
    with pytest.raises(LinkError, match=r"the module does not export large, nothing$"):
        pruned(linked(CUT_LIBRARY), ["nothing", "main", "large"])


REFUSED = {
    "no such function": ({"gone": Cut("refuses")}, "no function 'gone' to cut: .* belongs to another version"),
    "no refusal": ({"large": Cut("gone")}, r"exports no function 'gone' with the type .*"),
    "a refusal that is not exported": ({"large": Cut("shared")}, r"exports no function 'shared' with the type"),
    "a refusal of another type": ({"large": Cut("takes")}, r"exports no function 'takes' with the type"),
    "a function of a type that gives nothing": ({"nothing": Cut("refuses")}, r"'nothing' cannot be cut: its type is"),
}


@pytest.mark.parametrize(("cut", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_cut(cut: dict[str, Cut], message: str) -> None:
    """A list of cuts that does not fit the module is an error that says how, never a wrong module."""
    more = '(func $takes (export "takes") (param i32) (result i32) (i32.const 1)) (func $nothing (export "nothing"))'
    with pytest.raises(LinkError, match=message):
        pruned(linked(Library(CUTTING + more, CUT_LIBRARY.table, CUT_LIBRARY.words)), cut=cut)


@pytest.mark.parametrize("telling", [Telling("gone", "told"), Telling("told_where", "main"), Telling("shared", "told")])
def test_who_is_told(telling: Telling) -> None:
    """The functions to tell of what is missing must be exported, with their types."""
    with pytest.raises(LinkError, match=r"exports no function '\w+' with the type"):
        pruned(linked(CUT_LIBRARY), telling=telling)


STORE = "(i32.store (i32.add (i32.const 0) (global.get $memory_base)) (i32.add (global.get $table_base) (i32.const 1)))"
STORES = {
    "another instruction": f"{STORE} (nop)",
    "an offset": STORE.replace("i32.store", "i32.store offset=4"),
    "a number": "(i32.store (i32.add (i32.const 0) (global.get $memory_base)) (i32.const 1))",
    "a loop": f"(loop {STORE})",
    "a local": f"(local i32) {STORE}",
    "an unknown global": "(i32.store (i32.add (i32.const 0) (global.get $memory_base)) (global.get $unknown))",
}


@pytest.mark.parametrize("relocate", STORES.values(), ids=STORES)
def test_static_data_that_is_made_in_another_way(relocate: str) -> None:
    """A library whose addresses are not stored as wasm-ld does it is refused when it is linked with a layout."""
    fields = f"(global $unknown i32 (i32.const 5)) {constants('one', 'two')} {function('main', '(i32.const 1)')}"
    library = Library(fields, ("one", "two"), [0, 0], relocate=relocate)
    with pytest.raises(LinkError, match=r"__wasm_apply_data_relocs of instance 2 is not as expected at byte \d+"):
        linked(library)
    linked(library, layout=None)


@pytest.mark.parametrize("value", ["(global.get $table_base)", "(global.get $by_name)", "(global.get $own)"])
def test_words_that_are_a_global(value: str) -> None:
    """What a library stores may be a base itself, or a global that is a whole address."""
    relocate = f"(i32.store (i32.add (i32.const 0) (global.get $memory_base)) {value})"
    fields = f"(global $own i32 (global.get $table_base)) {constants('one', 'two')} {function('main', data(0))}"
    library = Library(fields, ("one", "two"), [TABLE[0]], functions={"by_name": TABLE[0]}, relocate=relocate)
    assert names_left(linked(library)) == {"main", "one"}


# What is written down

INDICES = st.integers(0, (1 << 32) - 1)
NUMBERS = st.frozensets(INDICES, max_size=5)
USES = st.builds(Uses, NUMBERS, NUMBERS, NUMBERS)


REFERENCES = st.builds(
    References,
    st.dictionaries(INDICES, USES, max_size=5),
    st.lists(USES, max_size=5),
    st.lists(st.tuples(INDICES, INDICES), max_size=5),
    USES,
    USES,
)


@given(REFERENCES)
def test_references_are_read_as_they_were_written(references: References) -> None:
    """The section of a module says all that there is to say."""
    section = references.encode()
    assert section == Custom(SECTION, section.content)
    assert References.decode(section.content) == references
