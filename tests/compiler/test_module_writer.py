"""Writing modules: the image's code, with another state."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.errors import LinkError
from pywasmfilter_compiler.module_writer import write_module
from pywasmfilter_compiler.wasm.binary import decode, section_sizes
from pywasmfilter_compiler.wasm.module import ConstInstr, Data, Limits

IMAGE = """
(module
  (import "env" "proxy_log" (func $log (param i32) (result i32)))
  (table 2 2 funcref)
  (memory (export "memory") 1 3)
  (global $sp (export "__stack_pointer") (mut i32) (i32.const 1024))
  (func $load (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "sp") (result i32) (global.get $sp))
  (func (export "size") (result i32) (memory.size))
  (func (export "indirect") (param i32) (result i32)
    (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))
  (elem (i32.const 0) func $log $load)
  (data (i32.const 0) "old state"))
"""


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def written(
    *exports: str, pages: int = 2, segments: tuple[tuple[int, bytes], ...] = (), stack: int = 0, image: str = IMAGE
) -> bytes:
    """A module from the image, which wasmtime finds valid."""
    data = write_module(wasm(image), exports, Limits(pages), segments, stack)
    wasmtime.Module.validate(wasmtime.Engine(), data)
    return data


def call(module: bytes, name: str, *arguments: int) -> object:
    """The result of an export of a fresh instance."""
    store = wasmtime.Store()
    compiled = wasmtime.Module(store.engine, module)
    linker = wasmtime.Linker(store.engine)
    linker.define_func("env", "proxy_log", compiled.imports[0].type, lambda level: level)  # type: ignore[arg-type]
    function = linker.instantiate(store, compiled).exports(store)[name]
    assert isinstance(function, wasmtime.Func)
    return function(store, *arguments)


def test_the_new_state_replaces_the_old() -> None:
    """Memory holds the segments and nothing of the image's data; its size and the stack pointer are the given ones."""
    module = written("load", "sp", "size", pages=5, segments=((3, b"ab"), (70000, b"c")), stack=4096)
    assert [call(module, "load", address) for address in (0, 3, 4, 70000)] == [0, ord("a"), ord("b"), ord("c")]
    assert call(module, "sp") == 4096
    assert call(module, "size") == 5


def test_code_table_and_imports_are_those_of_the_image() -> None:
    """What code means is not touched: same bodies, same functions in the same slots, same imports."""
    image, module = decode(wasm(IMAGE)), decode(written("load"))
    assert [code.body for code in module.code] == [code.body for code in image.code]
    assert module.types == image.types
    assert module.imports == image.imports
    assert (module.tables, module.elements) == (image.tables, image.elements)
    assert call(written("indirect", segments=((9, b"x"),)), "indirect", 9) == ord("x")


def test_only_the_named_exports_stay() -> None:
    """Exports that are not asked for are gone, the others keep the image's order."""
    assert [item.name for item in decode(written("size", "memory")).exports] == ["memory", "size"]
    assert decode(written()).exports == []


def test_exports_may_come_from_an_iterator() -> None:
    """Exports and segments are read once."""
    data = write_module(wasm(IMAGE), iter(["load"]), Limits(1), iter([(0, b"z")]), 0)
    assert call(data, "load", 0) == ord("z")


def test_custom_sections_are_left_out() -> None:
    """The names of the image's functions cost every worker memory, so they do not get into a module."""
    assert decode(wasm(IMAGE)).customs
    assert decode(written("load")).customs == []


def test_memory_may_grow_beyond_the_image() -> None:
    """The image's maximum does not bound a module."""
    assert decode(written(pages=100)).memories == [Limits(100)]


def test_addresses_count_as_unsigned() -> None:
    """Segments and a stack in the upper half of memory are written as the signed constants they are."""
    module = decode(written(pages=65536, segments=((0x80000000, b"a"), (0xFFFFFFFF, b"b")), stack=0xFFFFFFF0))
    assert module.data == [
        Data(b"a", (ConstInstr(0x41, -0x80000000),)),
        Data(b"b", (ConstInstr(0x41, -1),)),
    ]
    assert module.globals[0].init == (ConstInstr(0x41, -16),)


def test_many_segments_are_written() -> None:
    """A snapshot of a hundred thousand pieces is a valid module, with each piece in its place."""
    segments = tuple((address * 4, bytes([address % 255 + 1])) for address in range(30000))
    module = written("load", segments=segments)
    assert len(decode(module).data) == 30000
    assert call(module, "load", 29999 * 4) == 29999 % 255 + 1


def test_passive_data_stays_first() -> None:
    """Code names passive segments by their number, so those of the image keep it; its active ones are memory's."""
    image = '(module (memory 1) (global (mut i32) (i32.const 0)) (data "p") (data "q") (data (i32.const 8) "old"))'
    module = decode(written(image=image, segments=((4, b"new"),)))
    assert module.data == [Data(b"p", None), Data(b"q", None), Data(b"new", (ConstInstr(0x41, 4),))]


def test_an_image_may_lack_what_it_does_not_need() -> None:
    """Without imports, table and elements there are no such sections; a missing one is no fault."""
    image = '(module (memory 1) (global (mut i32) (i32.const 0)) (func (export "f")))'
    names = [name for name, _ in section_sizes(written("f", image=image))]
    assert names == ["type", "function", "memory", "global", "export", "data count", "code", "data"]


def test_the_same_state_gives_the_same_bytes() -> None:
    """The order in which exports are named changes nothing."""
    assert written("load", "size", "sp") == written("sp", "size", "load")


GLOBAL = "(global (mut i32) (i32.const 0))"
REFUSED = {
    "start function": (f"(module (memory 1) {GLOBAL} (func) (start 0))", "an image cannot have a start function"),
    "no global": ("(module (memory 1))", "the image has 0 globals"),
    "two globals": (f"(module (memory 1) {GLOBAL} {GLOBAL})", "the image has 2 globals"),
}


@pytest.mark.parametrize(("image", "message"), REFUSED.values(), ids=REFUSED)
def test_an_image_with_more_state_is_refused(image: str, message: str) -> None:
    """State that a snapshot does not hold would be lost or wrong in the module, so it is an error."""
    with pytest.raises(LinkError, match=message):
        write_module(wasm(image), [], Limits(1), [], 0)


def test_a_missing_export_is_named() -> None:
    """An export that the image does not have is an error, not a module without it."""
    with pytest.raises(LinkError, match="does not export gone, lost"):
        write_module(wasm(IMAGE), ["load", "lost", "gone"], Limits(1), [], 0)
