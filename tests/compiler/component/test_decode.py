"""Reading components: what linking needs is found, what is not understood is refused at the right offset."""

from __future__ import annotations

import pytest
import wasmtime
from pywasmfilter_compiler.component.decode import decode
from pywasmfilter_compiler.component.model import Component, CoreExport, HostFunction, InlineExports, Instantiate
from pywasmfilter_compiler.errors import MalformedWasm, UnsupportedWasm
from pywasmfilter_compiler.wasm.binary import COMPONENT_HEADER, MODULE_HEADER
from pywasmfilter_compiler.wasm.cursor import name, sized, u32
from pywasmfilter_compiler.wasm.module import Kind

THINGS = """
  (import "test:host/things@0.2.9" (instance $things
    (export "thing" (type $thing (sub resource)))
    (export "get" (func (result u32)))
    (export "put" (func (param "text" string)))))
  (alias export $things "thing" (type $thing))"""


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(component {text})"))


def component(*sections: tuple[int, str]) -> bytes:
    """A component of sections given as number and hexadecimal content."""
    contents = [(number, bytes.fromhex(content)) for number, content in sections]
    return COMPONENT_HEADER + b"".join(bytes([number]) + sized(content) for number, content in contents)


def inline(text: str) -> dict[str, tuple[Kind, CoreExport | HostFunction]]:
    """The inline exports of the last core instance of a component."""
    last = decode(wat(text)).instances[-1]
    assert isinstance(last, InlineExports)
    return last.exports


def host_functions(text: str) -> list[tuple[str, str]]:
    return [item for _, item in inline(text).values() if isinstance(item, HostFunction)]


# What is read


def test_nothing_is_a_component() -> None:
    """A component without sections has no modules and no instances."""
    assert decode(COMPONENT_HEADER) == Component()


def test_modules_and_instances_are_in_order() -> None:
    """Core modules, instantiations with their arguments, and inline exports come as they stand in the component."""
    found = decode(
        wat("""(core module $a (func (export "f")) (memory (export "m") 1))
          (core module $b)
          (core instance $a (instantiate $a))
          (core instance $i (export "g" (func $a "f")) (export "n" (memory $a "m")))
          (core instance $b (instantiate $b (with "x" (instance $a)) (with "y" (instance $i))))""")
    )
    assert [len(module.exports) for module in found.modules] == [2, 0]
    first, second, third = found.instances
    assert isinstance(first, Instantiate)
    assert isinstance(third, Instantiate)
    assert (first.module, first.arguments) == (0, {})
    assert second == InlineExports({"g": (Kind.FUNC, CoreExport(0, "f")), "n": (Kind.MEMORY, CoreExport(0, "m"))})
    assert (third.module, third.arguments) == (1, {"x": 0, "y": 1})


def test_instantiations_remember_where_they_stand() -> None:
    """The offset of an instantiation is that of its first byte in the component."""
    data = wat("(core module $a) (core instance (instantiate $a))")
    (instance,) = decode(data).instances
    assert isinstance(instance, Instantiate)
    assert data[instance.offset - 3 :].startswith(b"\x02\x04\x01\x00\x00\x00")


@pytest.mark.parametrize(
    ("sort", "kind"), [("func", Kind.FUNC), ("table", Kind.TABLE), ("memory", Kind.MEMORY), ("global", Kind.GLOBAL)]
)
def test_core_exports_of_each_sort_are_aliases(sort: str, kind: Kind) -> None:
    """A single export of an instance is known by the instance and its name, whatever its sort."""
    text = f'(core module $a) (core instance $a (instantiate $a)) (core instance (export "x" ({sort} $a "y")))'
    assert inline(text) == {"x": (kind, CoreExport(0, "y"))}


def test_lowered_functions_are_functions_of_the_host() -> None:
    """`canon lower` of an import and `canon resource.drop` are known by interface, without version, and name."""
    text = f"""{THINGS}
      (core func $get (canon lower (func $things "get")))
      (core func $drop (canon resource.drop $thing))
      (core instance (export "a" (func $drop)) (export "b" (func $get)))"""
    assert host_functions(text) == [("test:host/things", "[resource-drop]thing"), ("test:host/things", "get")]


@pytest.mark.parametrize(
    ("imported", "known"),
    [
        ("wasi:clocks/wall-clock@0.2.9", "wasi:clocks/wall-clock"),
        ("wasi:clocks/wall-clock", "wasi:clocks/wall-clock"),
        ("a:b/c@10.20.30", "a:b/c"),
        ("a:b/c@0.2.0-rc-2023-11-10", "a:b/c@0.2.0-rc-2023-11-10"),
        ("plain", "plain"),
    ],
)
def test_an_interface_is_known_without_its_release(imported: str, known: str) -> None:
    """The version of a release says nothing new; a candidate for a release is another interface."""
    text = f"""(import "{imported}" (instance $i (export "f" (func))))
      (core func $f (canon lower (func $i "f")))
      (core instance (export "f" (func $f)))"""
    assert host_functions(text) == [(known, "f")]


def test_options_for_strings_and_memory_are_read_over() -> None:
    """UTF-8, memory, realloc and post-return change nothing about which function is lowered or lifted."""
    text = f"""{THINGS}
      (core module $m
        (memory (export "m") 1) (func (export "r") (param i32 i32 i32 i32) (result i32) unreachable) (func (export "f"))
        (func (export "s") (result i32) unreachable) (func (export "p") (param i32)))
      (core instance $m (instantiate $m))
      (alias core export $m "m" (core memory $m))
      (alias core export $m "r" (core func $r))
      (alias core export $m "p" (core func $p))
      (core func $put (canon lower (func $things "put") string-encoding=utf8 (memory $m) (realloc $r)))
      (func (result string) (canon lift (core func $m "s") (memory $m) (realloc $r) (post-return $p)))
      (core instance (export "put" (func $put)))"""
    assert host_functions(text) == [("test:host/things", "put")]


def test_everything_that_takes_a_number_is_counted() -> None:
    """Types, instances, nested components, lifted functions, exports and aliases shift the numbers of what follows."""
    text = f"""{THINGS}
      (type (func)) (type (record (field "a" u32)))
      (core module $m (func (export "f")))
      (core instance $m (instantiate $m))
      (func $lifted (canon lift (core func $m "f")))
      (export $exported "lifted" (func $lifted))
      (component $c (import "f" (func)))
      (instance $i (instantiate $c (with "f" (func $exported))))
      (instance $j (export "f" (func $lifted)))
      (export $k "j" (instance $j))
      (alias export $j "f" (func))
      (import "test:host/others" (instance $others (export "get" (func)) (export "other" (type $other (sub resource)))))
      (export "other" (component $c))
      (alias export $others "other" (type $other))
      (core func $get (canon lower (func $others "get")))
      (core func $drop (canon resource.drop $other))
      (core instance (export "get" (func $get)) (export "drop" (func $drop)))"""
    assert host_functions(text) == [("test:host/others", "get"), ("test:host/others", "[resource-drop]other")]


def test_custom_sections_and_core_types_are_read_over() -> None:
    """Names, producers and core types are no concern of linking."""
    assert decode(component((0, "01 78 ff ff"), (3, "01 60 00 00"))) == Component()


def test_nesting_has_no_limit() -> None:
    """Components in components in components are looked through to the innermost."""
    data = COMPONENT_HEADER
    for _ in range(2000):
        data = COMPONENT_HEADER + b"\x04" + sized(data)
    assert decode(data) == Component()
    inner = data[:-8] + MODULE_HEADER
    with pytest.raises(MalformedWasm, match="expected a component, found a core module") as error:
        decode(inner)
    assert error.value.offset == len(data) - 8


# What is refused


def imported_function(name_: str) -> str:
    """An import of the instance `name_` with a type that is only counted."""
    return (b"\x01\x00" + name(name_) + b"\x05\x00").hex()


TYPES = (7, "01 42 00")
IMPORT = (10, imported_function("i"))
ALIAS_FUNCTION = (6, "01 01 00 00 01 66")
MODULE = (1, MODULE_HEADER.hex())
INSTANCE = (2, "01 00 00 00")
LOWER = "01 01 00 00"

MALFORMED = {
    "empty file": (b"", 0, "not WebAssembly"),
    "core module": (MODULE_HEADER, 0, "expected a component, found a core module"),
    "cut section": (COMPONENT_HEADER + b"\x01\x05\x00", 10, "unexpected end: 5 bytes wanted, 1 left"),
    "bytes too many": (component((6, "00 00")), 11, "component section: 1 bytes too many"),
    "bytes after exports": (component((11, "00 00")), 11, "component section: 1 bytes too many"),
    "billions of types": (component((7, "ff ff ff ff 0f")), 15, "a vector of 4294967295 items cannot fit"),
    "billions of instances": (component((5, "ff ff ff ff 0f")), 15, "a vector of 4294967295 items cannot fit"),
    "module that is none": (component((1, "00")), 10, "not WebAssembly"),
    "module with a fault": (component((1, MODULE_HEADER.hex() + "01 01 05")), 21, "a vector of 5 items cannot fit"),
    "instance of no module": (component((2, "01 00 03 00")), 12, "core module 3 does not exist, there are 0"),
    "argument that is no instance": (
        component(MODULE, (2, "01 00 00 01 01 61 13 00")),
        26,
        "expected 0x12, found 0x13",
    ),
    "argument of nothing": (component(MODULE, (2, "01 00 00 01 01 61 12 00")), 27, "core instance 0 does not exist"),
    "argument is itself": (component(MODULE, INSTANCE, (2, "01 00 00 01 01 61 12 01")), 33, "core instance 1 does not"),
    "export of nothing": (component((2, "01 01 01 01 61 00 00")), 16, "core func 0 does not exist, there are 0"),
    "alias of nothing": (component((6, "01 01 00 02 01 66")), 13, "instance 2 does not exist, there are 0"),
    "core alias of nothing": (component((6, "01 00 00 01 02 01 66")), 14, "core instance 2 does not exist"),
    "import of no type": (component((10, imported_function("i"))), 15, "type 0 does not exist, there are 0"),
    "lower of nothing": (component((8, LOWER + "00")), 13, "function 0 does not exist, there are 0"),
    "lower of another form": (component((8, "01 01 01")), 12, "canon lower: expected 0x00, found 0x01"),
    "lift of nothing": (component((8, "01 00 00 00 00 00")), 13, "core func 0 does not exist, there are 0"),
    "drop of nothing": (component((8, "01 03 00")), 12, "type 0 does not exist, there are 0"),
    "exported nothing": (component((11, "01 00 01 65 01 00 00")), 15, "exported item 0 does not exist"),
    "name not UTF-8": (component((11, "01 00 01 ff 01 00 00")), 13, "a name is not UTF-8"),
    "memory of nothing": (
        component(TYPES, IMPORT, ALIAS_FUNCTION, (8, LOWER + "01 03 00")),
        len(component(TYPES, IMPORT, ALIAS_FUNCTION)) + 8,
        "core memory 0 does not exist",
    ),
}
UNSUPPORTED = {
    "version": (b"\0asm\x0e\0\x01\0", 0, "unknown WebAssembly version 0e000100"),
    "start": (component((9, "00 00 00")), 8, "a component with a start function"),
    "values": (component((12, "00")), 8, "unknown component section 12"),
    "unknown section": (component((6, "00"), (99, "00")), 11, "unknown component section 99"),
    "module with SIMD": (component((1, MODULE_HEADER.hex() + "01 05 01 60 01 7b 00")), 23, "unknown value type 0x7b"),
    "form of core instance": (component((2, "01 02")), 11, "unknown form of core instance 0x02"),
    "core sort": (component((2, "01 01 01 01 61 10 00")), 15, "unknown core sort 0x10"),
    "alias of a core module": (component((6, "01 00 11 02 00 00")), 12, "unknown core sort 0x11"),
    "outer alias": (component((6, "01 03 02 00 00")), 11, "unknown alias of sort 0x03, target 0x02"),
    "sort of alias": (component((6, "01 06 00 00 01 66")), 11, "unknown alias of sort 0x06, target 0x00"),
    "core alias of an instance": (
        component((6, "01 00 00 00 00 01 66")),
        11,
        "unknown alias of sort 0x00, target 0x00",
    ),
    "imported function": (component((10, "01 00 01 66 01 00")), 14, "import of 'f': only instances can be imported"),
    "name of an import": (component((10, "01 02 01 66 05 00")), 11, "unknown form of name 0x02"),
    "exported core module": (component((11, "01 00 01 65 00 11 00 00")), 14, "export of 'e': unknown sort 0x00"),
    "export with a type": (
        component(TYPES, (11, "01 00 01 65 03 00 01 03 00 00")),
        21,
        "an export with a type ascription",
    ),
    "nested module": (component((4, component(MODULE).hex())), 18, "a nested component with core modules"),
    "nested instances": (component((4, component((2, "00")).hex())), 18, "a nested component with core modules"),
}


@pytest.mark.parametrize(("data", "offset", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_components_are_refused(data: bytes, offset: int, message: str) -> None:
    """Bytes that break the format are malformed, at the offset of the fault in the component."""
    with pytest.raises(MalformedWasm, match=message) as error:
        decode(data)
    assert error.value.offset == offset


@pytest.mark.parametrize(("data", "offset", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unsupported_components_are_refused(data: bytes, offset: int, message: str) -> None:
    """What is not understood is unsupported, and named, at its offset in the component."""
    with pytest.raises(UnsupportedWasm, match=message) as error:
        decode(data)
    assert error.value.offset == offset


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("string-encoding=utf16", "strings that are not UTF-8"),
        ("string-encoding=latin1+utf16", "strings that are not UTF-8"),
        ("async (memory $m)", "unknown canonical option 0x06"),
    ],
)
def test_other_ways_to_lower_are_refused(options: str, message: str) -> None:
    """A function that expects other strings, or to be called without waiting, cannot be replaced by a plain one."""
    text = f"""{THINGS} (core module $m (memory (export "m") 1)) (core instance $m (instantiate $m))
      (alias core export $m "m" (core memory $m))
      (core func (canon lower (func $things "get") {options}))"""
    with pytest.raises(UnsupportedWasm, match=message):
        decode(wat(text))


BUILTINS = [
    "resource.new $r",
    "resource.rep $r",
    "backpressure.inc",
    "task.cancel",
    "subtask.drop",
    "context.get i32 0",
]


@pytest.mark.parametrize("builtin", BUILTINS)
def test_other_builtins_are_refused(builtin: str) -> None:
    """Canonical functions beside lift, lower and resource.drop are refused by their number."""
    with pytest.raises(UnsupportedWasm, match="unknown canonical definition 0x"):
        decode(wat(f"(type $r (resource (rep i32))) (core func (canon {builtin}))"))


def test_a_resource_of_its_own_cannot_be_dropped() -> None:
    """Only the host's resources can be dropped: those of the component itself have no interface to know them by."""
    with pytest.raises(UnsupportedWasm, match=r"canon resource\.drop of something that is not imported"):
        decode(wat("(type $r (resource (rep i32))) (core func (canon resource.drop $r))"))


def test_a_function_of_its_own_cannot_be_lowered() -> None:
    """A function that the component itself lifts would be called through the host; that is refused."""
    text = """(core module $m (func (export "f"))) (core instance $m (instantiate $m))
      (func $f (canon lift (core func $m "f"))) (core func (canon lower (func $f)))"""
    with pytest.raises(UnsupportedWasm, match="canon lower of something that is not imported"):
        decode(wat(text))


def test_large_numbers_are_read() -> None:
    """Indices of more than one byte are indices: the 200th function of the host is the one that is lowered."""
    functions = " ".join(f'(export "f{i}" (func))' for i in range(200))
    aliases = " ".join(f'(alias export $i "f{i}" (func $f{i}))' for i in range(200))
    text = f"""(import "i" (instance $i {functions})) {aliases}
      (core func $f (canon lower (func $f199))) (core instance (export "f" (func $f)))"""
    assert host_functions(text) == [("i", "f199")]
    assert u32(199) in wat(text)
