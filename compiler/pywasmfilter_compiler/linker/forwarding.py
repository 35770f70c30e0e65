"""Find functions that only pass their arguments on through a table slot, and what they end up calling.

Libraries that were linked dynamically call each other through such forwarders, and so do components that need a
function before it exists: `local.get 0 … local.get n, i32.const slot, call_indirect`. Once all modules are
instantiated the slot holds a known function, so the caller can call it directly. This removes one indirect call from
nearly every call between libraries, and it makes the tables that only serve such calls disappear.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from ..wasm.cursor import Cursor, u32
from ..wasm.module import Code, FuncType, Kind
from ..wasm.opcodes import CALL_INDIRECT, END, I32_CONST, LOCAL_GET
from .constants import Constants
from .flatten import Instance, Item, Program, Target

_LONGEST_TAIL: Final = 5 + 1 + 5 + 5 + 1  # slot, call_indirect, typeidx, tableidx, end


class Slot(NamedTuple):
    """What a slot of a table holds: a function and its type."""

    target: Target
    type: FuncType


class Tables:
    """What each slot of each table holds after all element segments are applied."""

    def __init__(self, program: Program, constants: Constants) -> None:
        self._slots: dict[Item, dict[int, Slot | None]] = {}
        for number, instance in enumerate(program.instances):
            functions = instance.spaces[Kind.FUNC]
            for segment in instance.module.elements:
                if segment.table is None or segment.offset is None:
                    continue
                slots = self._slots.setdefault(instance.item(Kind.TABLE, segment.table), {})
                start = constants.address(number, segment.offset)
                for slot, index in enumerate(segment.functions, start):
                    slots[slot] = None if index is None else Slot(functions[index], instance.functype(index))

    def slot(self, table: Item, slot: int) -> Slot | None:
        """The content of a slot, None if it is empty."""
        return self._slots.get(table, {}).get(slot)


def forwarders(program: Program, tables: Tables) -> dict[Item, Target]:
    """Each function that is a forwarder, with what it forwards to.

    One whose slot is empty or holds a function of another type is none: it traps. The caller must know that no
    instruction changes a table; `link` refuses modules that do.
    """
    found: dict[Item, Target] = {}
    for number, instance in enumerate(program.instances):
        for index, code in enumerate(instance.module.code, instance.imported[Kind.FUNC]):
            functype = instance.functype(index)
            jump = _jump(code, len(functype.params))
            if jump is None or not jump.fits(instance):
                continue
            slot = tables.slot(instance.item(Kind.TABLE, jump.table), jump.slot)
            if slot is not None and instance.module.types[jump.type] == functype == slot.type:
                found[Item(number, Kind.FUNC, index)] = slot.target
    _follow_chains(found)
    return found


class _Jump(NamedTuple):
    """The end of a forwarder: `i32.const slot, call_indirect table type`."""

    slot: int
    type: int
    table: int

    def fits(self, instance: Instance) -> bool:
        """Whether the indices exist; if not, walking the body will say so."""
        return self.type < len(instance.module.types) and self.table < len(instance.spaces[Kind.TABLE])


def _jump(code: Code, params: int) -> _Jump | None:
    """What a function with this many parameters jumps to, if its body is that of a forwarder."""
    head = _head(params)
    if not code.body.startswith(head) or len(code.body) > len(head) + _LONGEST_TAIL:
        return None
    c = Cursor(code.body, len(head), base=code.offset)
    slot = c.s32() & 0xFFFFFFFF
    if c.byte() != CALL_INDIRECT:
        return None
    jump = _Jump(slot, type=c.u32(), table=c.u32())
    return jump if c.byte() == END and not c else None


@cache
def _head(params: int) -> bytes:
    """No locals, all arguments in order, and the opcode of the slot."""
    return b"\x00" + b"".join(bytes([LOCAL_GET]) + u32(i) for i in range(params)) + bytes([I32_CONST])


def _follow_chains(found: dict[Item, Target]) -> None:
    """Let each forwarder name the end of its chain. Those that lead to themselves name one of their circle."""
    for item, first in found.items():
        chain, target = {item}, first
        while isinstance(target, Item) and target in found and target not in chain:
            chain.add(target)
            target = found[target]
        found.update(dict.fromkeys(chain, target))
