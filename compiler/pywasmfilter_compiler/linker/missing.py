"""Functions that say what is missing and trap: they stand in the table for what was taken out.

Nothing should call one. If something does, the host logs what it was. Three thousand functions, however small, take a
host as long to compile as a megabyte of others; so all that have one type share a function, which knows no more than
that type, unless names are asked for. The texts are a passive data segment, so they take no memory; each function knows
where in it its own is:

    f(…) = { tell(offset, size); trap }
    tell(offset, size) = { copy that part of the segment to buffer(); report(size) }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..errors import LinkError
from ..wasm.cursor import signed, u32
from ..wasm.module import I32, Code, Data, FuncType, Kind, Module

LONGEST_NAME: Final = 200
"""In bytes: what the buffer must have room for."""


class Telling(NamedTuple):
    """Names of exported functions: `buffer`, () -> i32, gives the address of LONGEST_NAME bytes; `report`, (i32) -> (),
    is called when a name of that many bytes is in there.
    """

    buffer: str
    report: str
    names: bool = False
    """Whether to tell the name of the function, and not only its type."""

    def functions(self, module: Module) -> tuple[int, int]:
        """The two functions of a module. Raises LinkError if it does not export them."""
        exported = {item.name: item.index for item in module.exports if item.kind is Kind.FUNC}
        types = module.function_types()
        wanted = {self.buffer: FuncType((), (I32,)), self.report: FuncType((I32,), ())}
        for name, functype in wanted.items():
            if name not in exported or module.types[types[exported[name]]] != functype:
                raise LinkError(f"the module exports no function {name!r} with the type {functype}")
        return exported[self.buffer], exported[self.report]


_TELL: Final = FuncType((I32, I32), ())


def tell_missing(module: Module, types: Mapping[str, int], buffer: int, report: int) -> dict[str, int]:
    """Add a function for each text to a module without data, with the type of that number; gives their funcidx.

    `buffer` and `report` are the numbers of the functions that `Telling` is about.
    """
    if module.data:
        raise LinkError("the segment with the texts must be the first of the module")
    blob = bytearray()
    tell = len(module.imported(Kind.FUNC)) + len(module.functions)
    module.types = [*module.types] if _TELL in module.types else [*module.types, _TELL]
    module.functions.append(module.types.index(_TELL))
    # No locals; call buffer, local.get offset, local.get size, memory.init 0, local.get size, call report, end.
    copy = b"\x20\0\x20\x01\xfc\x08\0\0"
    module.code.append(Code(b"\0\x10" + u32(buffer) + copy + b"\x20\x01\x10" + u32(report) + b"\x0b", 0))
    for what, typeidx in types.items():
        text = what.encode()[:LONGEST_NAME]
        module.functions.append(typeidx)
        where = b"\x41" + signed(len(blob)) + b"\x41" + signed(len(text))  # i32.const offset, i32.const size
        module.code.append(Code(b"\0" + where + b"\x10" + u32(tell) + b"\0\x0b", 0))  # call tell, unreachable, end
        blob += text
    module.data = [Data(bytes(blob))]
    return {what: tell + 1 + number for number, what in enumerate(types)}
