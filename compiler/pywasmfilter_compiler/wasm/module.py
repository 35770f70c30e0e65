"""A core WebAssembly module in memory: one class per thing of the spec's "Structure" chapter.

Index spaces are not flattened: imports stay in `imports`, and the defined functions, tables, memories and globals
follow them, as in the binary. Function bodies stay bytes; only `instructions.py` looks inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

ValType: TypeAlias = int
I32: Final = 0x7F
I64: Final = 0x7E
F32: Final = 0x7D
F64: Final = 0x7C
FUNCREF: Final = 0x70
EXTERNREF: Final = 0x6F

VALTYPE_NAMES: Final = {I32: "i32", I64: "i64", F32: "f32", F64: "f64", FUNCREF: "funcref", EXTERNREF: "externref"}


class Kind(IntEnum):
    """externtype / externidx: what an import or an export is."""

    FUNC = 0
    TABLE = 1
    MEMORY = 2
    GLOBAL = 3


class FuncType(NamedTuple):
    """functype ::= [params] -> [results]"""

    params: tuple[ValType, ...]
    results: tuple[ValType, ...]

    def __str__(self) -> str:
        names = [", ".join(VALTYPE_NAMES[t] for t in types) for types in self]
        return f"({names[0]}) -> ({names[1]})"


class Limits(NamedTuple):
    """limits ::= {min, max?}; pages of 64 KiB for a memory, elements for a table."""

    minimum: int
    maximum: int | None = None


class TableType(NamedTuple):
    """tabletype ::= reftype limits"""

    element: ValType
    limits: Limits

    def __str__(self) -> str:
        return f"a table of {VALTYPE_NAMES[self.element]}"


class GlobalType(NamedTuple):
    """globaltype ::= valtype mut"""

    valtype: ValType
    mutable: bool

    def __str__(self) -> str:
        return f"a {'mutable' if self.mutable else 'constant'} {VALTYPE_NAMES[self.valtype]}"


ImportDesc: TypeAlias = int | TableType | Limits | GlobalType


class Import(NamedTuple):
    """import ::= module name desc; the desc of a function is its typeidx, that of a memory its limits."""

    module: str
    name: str
    kind: Kind
    desc: ImportDesc


class Export(NamedTuple):
    """export ::= name externidx"""

    name: str
    kind: Kind
    index: int  # type: ignore[assignment]  # the spec's word, though tuples have a method of this name


class ConstInstr(NamedTuple):
    """One instruction of a constant expression; `value` is its immediate, 0 if it has none.

    The value of f32.const and f64.const is their bit pattern, so that no NaN payload is lost.
    """

    opcode: int
    value: int = 0


ConstExpr: TypeAlias = tuple[ConstInstr, ...]


class Global(NamedTuple):
    """global ::= globaltype expr"""

    type: GlobalType
    init: ConstExpr


@dataclass(slots=True)
class Element:
    """elem ::= reftype expr* mode; `table` and `offset` are None unless the segment is active."""

    functions: list[int | None]
    table: int | None = None
    offset: ConstExpr | None = None
    declarative: bool = False


@dataclass(slots=True)
class Data:
    """data ::= byte* mode; `offset` is None for a passive segment."""

    content: bytes
    offset: ConstExpr | None = None


class Code(NamedTuple):
    """code: locals and instructions of one function, undecoded, and where they stood in the file."""

    body: bytes
    offset: int


class Custom(NamedTuple):
    """customsec"""

    name: str
    content: bytes


@dataclass(slots=True)
class Module:
    """module; `functions` holds the typeidx of each defined function, `code` its body."""

    types: list[FuncType] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    tables: list[TableType] = field(default_factory=list)
    memories: list[Limits] = field(default_factory=list)
    globals: list[Global] = field(default_factory=list)
    exports: list[Export] = field(default_factory=list)
    start: int | None = None
    elements: list[Element] = field(default_factory=list)
    code: list[Code] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)
    customs: list[Custom] = field(default_factory=list)

    def imported(self, kind: Kind) -> list[Import]:
        """The imports of one kind, in the order of their index space."""
        return [item for item in self.imports if item.kind is kind]

    def function_types(self) -> list[int]:
        """The typeidx of every function, imported ones first: index it with a funcidx."""
        imported = [item.desc for item in self.imported(Kind.FUNC)]
        return [index for index in imported if isinstance(index, int)] + self.functions

    def custom(self, name: str) -> bytes | None:
        """The content of the first custom section called `name`, or None."""
        return next((section.content for section in self.customs if section.name == name), None)
