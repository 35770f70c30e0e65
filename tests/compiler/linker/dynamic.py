"""Small position-independent libraries as wasm-ld makes them, and what comes of them when they are linked.

The text form cannot say that a constant takes five bytes, by which a linker's addresses are known. Here such constants
have a bit set which no number of the tests has; once a library is binary, they are written as wasm-ld does it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import wasmtime
from pywasmfilter_compiler.component.decode import decode as decode_component
from pywasmfilter_compiler.component.model import Component
from pywasmfilter_compiler.linker import Layout, LinkPlan, Telling, link
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.instructions import stops
from pywasmfilter_compiler.wasm.module import Code, Kind, Module
from pywasmfilter_compiler.wasm.opcodes import I32_CONST

MEMORY: Final = (1024, 2048)
"""Where the static data of the first and the second library begins."""
TABLE: Final = (1, 21)
"""Where the part of each in the table begins."""
STACK: Final = (256, 512)
"""The two ends of the stack."""
TOLD: Final = 3000
"""Where a module has the size of what was told of a missing function, and right behind it the text."""
RELOCATE: Final = "__wasm_apply_data_relocs"
_MARK: Final = 1 << 30
LAYOUT: Final = Layout()
TELLING: Final = Telling("told_where", "told")


class Address(NamedTuple):
    """A word of static data that holds the address of the library's own static data at an offset."""

    offset: int


class Slot(NamedTuple):
    """A word of static data that holds the slot of a function in the library's own part of the table."""

    number: int


Word = int | Address | Slot


def padded(number: int) -> str:
    """A constant of five bytes."""
    return f"(i32.const {number + _MARK})"


def data(offset: int) -> str:
    """Code for an address of the library's own static data."""
    return f"(i32.add (global.get $memory_base) {padded(offset)})"


def slot(number: int) -> str:
    """Code for the slot of a function in the library's own part of the table."""
    return f"(i32.add (global.get $table_base) {padded(number)})"


def call(code: str) -> str:
    """Code that calls the function in a slot, which takes nothing and gives a number."""
    return f"(call_indirect (result i32) {code})"


def constants(*names: str) -> str:
    """Functions that give 1, 2, 3 and so on."""
    return " ".join(f"(func ${name} (result i32) (i32.const {value}))" for value, name in enumerate(names, 1))


def objects(*contents: Iterable[Word]) -> list[Word]:
    """Objects of 32 bytes, one after the other, so that none is near the beginning of the next but one."""
    return [word for content in contents for word in [*content, *[0] * 8][:8]]


@dataclass(frozen=True)
class Library:
    """A library: its functions, those of them that are in the table, and its static data.

    `symbols` are offsets in its static data that it exports by name. `functions` and `addresses` are slots and
    addresses that it knows by name; its code has them as `(global.get $name)`. `imports` are those of functions: for
    the second library, the first is the module "lib0". `relocate` is code in place of what stores the addresses in
    static data.
    """

    fields: str
    table: tuple[str, ...] = ()
    words: list[Word] = field(default_factory=list)
    symbols: Mapping[str, int] = field(default_factory=dict)
    functions: Mapping[str, int] = field(default_factory=dict)
    addresses: Mapping[str, int] = field(default_factory=dict)
    imports: str = ""
    relocate: str | None = None

    def text(self) -> str:
        """The library as the fields of a module."""
        functions = " ".join(f'(import "GOT.func" "{name}" (global ${name} (mut i32)))' for name in self.functions)
        addresses = " ".join(f'(import "GOT.mem" "{name}" (global ${name} (mut i32)))' for name in self.addresses)
        symbols = " ".join(f'(global (export "{name}") i32 (i32.const {at}))' for name, at in self.symbols.items())
        table = " ".join(f"${name}" for name in self.table)
        relocate = "".join(self._relocations()) if self.relocate is None else self.relocate
        unmoved = _bytes(word if isinstance(word, int) else 0 for word in self.words)
        return f"""(import "env" "memory" (memory 1))
            (import "env" "__indirect_function_table" (table 1 funcref))
            (import "env" "__memory_base" (global $memory_base i32))
            (import "env" "__table_base" (global $table_base i32))
            {self.imports} {functions} {addresses} {symbols} {self.fields}
            (func (export "{RELOCATE}") {relocate})
            (elem (global.get $table_base) func {table})
            (data (global.get $memory_base) "{unmoved}")"""

    def _relocations(self) -> Iterator[str]:
        for position, word in enumerate(self.words):
            if not isinstance(word, int):
                base = "$memory_base" if isinstance(word, Address) else "$table_base"
                value = f"(i32.add (global.get {base}) (i32.const {word[0]}))"
                yield f"(i32.store (i32.add (i32.const {position * 4}) (global.get $memory_base)) {value})"

    def moved(self, memory_base: int, table_base: int) -> list[int]:
        """The static data once the library has run."""
        bases = {Address: memory_base, Slot: table_base}
        return [word if isinstance(word, int) else bases[type(word)] + word[0] for word in self.words]


def _bytes(words: Iterable[int]) -> str:
    return "".join(f"\\{byte:02x}" for word in words for byte in word.to_bytes(4, "little"))


def component(*libraries: Library, stored: Mapping[int, int] | None = None) -> Component:
    """A component of libraries that have run: its last module has what they and others stored in memory."""
    globals_ = [
        f'(global (export "__stack_{name}") i32 (i32.const {at}))'
        for name, at in zip(("low", "high"), STACK, strict=True)
    ]
    modules, instances = [], []
    written = dict(stored or {})
    for number, (library, memory_base, table_base) in enumerate(zip(libraries, MEMORY, TABLE, strict=False)):
        given = {"memory_base": memory_base, "table_base": table_base}
        given |= {f"f:{name}": value for name, value in library.functions.items()}
        given |= {f"m:{name}": value for name, value in library.addresses.items()}
        for name, value in given.items():
            kind = "(mut i32)" if ":" in name else "i32"
            globals_.append(f'(global (export "{number}:{name}") {kind} (i32.const {value}))')
        modules.append(f"(core module $lib{number} {library.text()})")
        instances.append(_instance(number, library))
        for position, word in enumerate(library.moved(memory_base, table_base)):
            written.setdefault(memory_base + position * 4, word)
    after = " ".join(f'(data (i32.const {at}) "{_bytes([word])}")' for at, word in sorted(written.items()))
    text = f"""(component
        (core module $env (memory (export "memory") 1) (table (export "table") 41 funcref) {" ".join(globals_)})
        {" ".join(modules)}
        (core module $telling (import "env" "memory" (memory 1))
            (func $told_where (export "told_where") (result i32) (i32.const {TOLD + 4}))
            (func $told (export "told") (param i32) (i32.store (i32.const {TOLD}) (local.get 0))))
        (core module $after (import "env" "memory" (memory 1)) {after})
        (core instance $env (instantiate $env))
        (core instance (instantiate $telling (with "env" (instance $env))))
        {" ".join(instances)}
        (core instance (instantiate $after (with "env" (instance $env)))))"""
    decoded = decode_component(bytes(wasmtime.wat2wasm(text)))
    for module in decoded.modules:
        module.code = [Code(_with_padding(code), code.offset) for code in module.code]
    return decoded


def _instance(number: int, library: Library) -> str:
    def exports(prefix: str, names: Iterable[str]) -> str:
        return " ".join(f'(export "{name}" (global $env "{number}:{prefix}:{name}"))' for name in names)

    return f"""
        (core instance $env{number}
            (export "memory" (memory $env "memory"))
            (export "__indirect_function_table" (table $env "table"))
            (export "__memory_base" (global $env "{number}:memory_base"))
            (export "__table_base" (global $env "{number}:table_base")))
        (core instance $functions{number} {exports("f", library.functions)})
        (core instance $addresses{number} {exports("m", library.addresses)})
        (core instance $lib{number} (instantiate $lib{number}
            (with "env" (instance $env{number}))
            (with "GOT.func" (instance $functions{number}))
            (with "GOT.mem" (instance $addresses{number}))
            {"".join(f'(with "lib{other}" (instance $lib{other}))' for other in range(number))}))"""


def _with_padding(code: Code) -> bytes:
    body = bytearray(code.body)
    for stop in stops(code):
        if stop.opcode == I32_CONST:
            number = stop.operands[0][1] - _MARK
            body[stop.start + 1 : stop.end] = bytes(number >> 7 * k & 0x7F | (k < 4) << 7 for k in range(5))
    return bytes(body)


def linked(
    *libraries: Library,
    stored: Mapping[int, int] | None = None,
    layout: Layout | None = LAYOUT,
    exports: Iterable[str] | None = None,
) -> Module:
    """The module that libraries become, with some exports or those of all functions, read back from its binary form.

    The memory is exported too, and the table, so that all functions in it are there.
    """
    source = component(*libraries, stored=stored)
    functions = [item.name for module in source.modules for item in module.exports if item.kind is Kind.FUNC]
    names = {*functions} - {RELOCATE} if exports is None else exports
    plan = LinkPlan({name: name for name in [*names, *TELLING[:2], "memory", "table"]}, layout=layout)
    return binary.decode(binary.encode(link(source, plan)))
