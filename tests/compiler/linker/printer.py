"""Print a core module as WAT, the same module always as the same text.

The names of functions become comments. What the linker's cases do not need (constants that are not finite, say) is
not printed but an error.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from pywasmfilter_compiler.wasm.cursor import Cursor
from pywasmfilter_compiler.wasm.module import VALTYPE_NAMES, Export, FuncType, GlobalType, Kind, TableType
from pywasmfilter_compiler.wasm.names import function_names
from pywasmfilter_compiler.wasm.opcodes import F32_CONST, F64_CONST, INSTRUCTIONS, PREFIX, Imm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pywasmfilter_compiler.wasm.module import Code, ConstExpr, Data, Element, Limits, Module

_BLOCKS = ("block", "loop", "if")
_REFERENCES = {0x70: "func", 0x6F: "extern"}


def module_text(module: Module) -> str:
    """The module as WAT, one field a line."""
    fields = [
        *(f"(type {_functype(functype)})" for functype in module.types),
        *_functions(module),
        *(f"(table {_tabletype(item)})" for item in module.tables),
        *(f"(memory {_limits(item)})" for item in module.memories),
        *(f"(global {_globaltype(item.type)} {_expr(item.init)})" for item in module.globals),
        *(_export(item) for item in module.exports),
        *(_element(item) for item in module.elements),
        *(_data(item) for item in module.data),
    ]
    return "\n".join(["(module", *("  " + line for field in fields for line in field.split("\n")), ")", ""])


def _functype(functype: FuncType) -> str:
    parts = [("param", functype.params), ("result", functype.results)]
    return f"(func{''.join(f' ({word} {_valtypes(types)})' for word, types in parts if types)})"


def _valtypes(types: tuple[int, ...]) -> str:
    return " ".join(VALTYPE_NAMES[valtype] for valtype in types)


def _limits(limits: Limits) -> str:
    return " ".join(str(number) for number in limits if number is not None)


def _tabletype(table: TableType) -> str:
    return f"{_limits(table.limits)} {VALTYPE_NAMES[table.element]}"


def _globaltype(item: GlobalType) -> str:
    return f"(mut {VALTYPE_NAMES[item.valtype]})" if item.mutable else VALTYPE_NAMES[item.valtype]


def _export(item: Export) -> str:
    return f'(export "{item.name}" ({item.kind.name.lower()} {item.index}))'


def _element(item: Element) -> str:
    functions = " ".join("(ref.null func)" if index is None else f"(ref.func {index})" for index in item.functions)
    if item.offset is None:
        return f"(elem {'declare ' * item.declarative}funcref {functions})"
    return f"(elem (table {item.table}) {_expr(item.offset)} funcref {functions})"


def _data(item: Data) -> str:
    content = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:02x}" for byte in item.content
    )
    offset = "" if item.offset is None else f"{_expr(item.offset)} "
    return f'(data {offset}"{content}")'


def _expr(expr: ConstExpr) -> str:
    return " ".join(f"({INSTRUCTIONS[opcode].name} {_constant(opcode, value)})" for opcode, value in expr)


def _constant(opcode: int, value: int) -> str:
    name = INSTRUCTIONS[opcode].name
    if name == "ref.null":
        return _REFERENCES[value]
    if opcode in (F32_CONST, F64_CONST):
        return _float(value.to_bytes(4 if opcode == F32_CONST else 8, "little"))
    return str(value)


def _float(content: bytes) -> str:
    value: float = struct.unpack("<f" if len(content) == 4 else "<d", content)[0]
    assert math.isfinite(value)
    return value.hex()


def _functions(module: Module) -> Iterator[str]:
    names = function_names(module)
    heads = [f"(func (; {i} ;)" + f" (; {names.get(i)} ;)" * (i in names) for i in range(len(module.function_types()))]
    types = [f"(type {index})" for index in module.function_types()]
    for item, head, functype in zip(module.imports, heads, types, strict=False):
        assert item.kind is Kind.FUNC
        yield f'(import "{item.module}" "{item.name}" {head} {functype}))'
    own = len(module.imports)
    for code, head, functype in zip(module.code, heads[own:], types[own:], strict=True):
        yield "\n".join([f"{head} {functype}", *_body(code)]) + ")"


def _body(code: Code) -> Iterator[str]:
    cursor = Cursor(code.body)
    for _ in range(cursor.u32()):
        count = cursor.u32()
        yield f"  (local{f' {VALTYPE_NAMES[cursor.byte()]}' * count})"
    depth = 1
    while True:
        opcode = cursor.byte()
        if opcode == PREFIX:
            opcode = 0xFC00 + cursor.u32()
        name, immediates = INSTRUCTIONS[opcode]
        depth -= name in ("end", "else")
        if depth == 0:
            return
        operands = [_IMMEDIATES.get(imm, _index)(cursor) for imm in immediates]
        yield "  " * depth + " ".join([name, *(operand for operand in reversed(operands) if operand)])
        depth += name in (*_BLOCKS, "else")


def _blocktype(cursor: Cursor) -> str:
    value = cursor.s33()
    if value < 0:
        return "" if value == -0x40 else f"(result {VALTYPE_NAMES[value & 0x7F]})"
    return f"(type {value})"


def _memarg(cursor: Cursor) -> str:
    alignment, offset = cursor.u32(), cursor.u32()
    return f"offset={offset} align={1 << alignment}"


def _memory(cursor: Cursor) -> str:
    """There is one, which the text need not name."""
    cursor.expect(0, "the one memory")
    return ""


_IMMEDIATES: dict[Imm, Callable[[Cursor], str]] = {
    Imm.BLOCKTYPE: _blocktype,
    Imm.MEMARG: _memarg,
    Imm.I32: lambda cursor: str(cursor.s32()),
    Imm.I64: lambda cursor: str(cursor.s64()),
    Imm.F32: lambda cursor: _float(cursor.take(4)),
    Imm.F64: lambda cursor: _float(cursor.take(8)),
    Imm.LABELS: lambda cursor: " ".join(str(label) for label in [*cursor.vec(Cursor.u32), cursor.u32()]),
    Imm.REFTYPE: lambda cursor: _REFERENCES[cursor.byte()],
    Imm.VALTYPES: lambda cursor: f"(result {_valtypes(tuple(cursor.vec(Cursor.byte)))})",
    Imm.TYPE: lambda cursor: f"(type {cursor.u32()})",
    Imm.MEMORY: _memory,
}


def _index(cursor: Cursor) -> str:
    return str(cursor.u32())
