"""Find functions that only pass their arguments on through a table slot, and what they end up calling.

Libraries that were linked dynamically call each other through such forwarders, and so do components that need a
function before it exists: `local.get 0 … local.get n, i32.const slot, call_indirect`. Once all modules are
instantiated the slot holds a known function, so the caller can call it directly. This removes one indirect call from
nearly every call between libraries, and it makes the tables that only serve such calls disappear.
"""

from __future__ import annotations

from ..errors import LinkError
from ..wasm.cursor import Cursor, u32
from ..wasm.module import Code, Kind
from .constants import Constants
from .flatten import Item, Program, Target

_I32_CONST, _CALL_INDIRECT, _END = 0x41, 0x11, 0x0B
_LONGEST_TAIL = 5 + 1 + 5 + 5 + 1  # slot, call_indirect, typeidx, tableidx, end


class Tables:
    """What each slot of each table holds after all element segments are applied."""

    def __init__(self, program: Program, constants: Constants) -> None:
        self.slots: dict[Item, dict[int, Target]] = {}
        for number, instance in enumerate(program.instances):
            functions = instance.spaces[Kind.FUNC]
            for segment in instance.module.elements:
                if segment.table is None or segment.offset is None:
                    continue
                slots = self.slots.setdefault(_own(instance.spaces[Kind.TABLE][segment.table]), {})
                start = constants.address(number, segment.offset)
                for i, function in enumerate(segment.functions):
                    if function is not None:
                        slots[start + i] = functions[function]


def _own(target: Target) -> Item:
    if not isinstance(target, Item):
        raise LinkError("a table cannot come from the host of a component")
    return target


def forwarders(program: Program, tables: Tables) -> dict[Item, Target]:
    """Each function that is a forwarder, with what it forwards to.

    The caller must know that no instruction changes a table; `link` refuses modules that do.
    """
    found: dict[Item, Target] = {}
    for number, instance in enumerate(program.instances):
        imported = instance.imported[Kind.FUNC]
        for i, code in enumerate(instance.module.code):
            item = Item(number, Kind.FUNC, imported + i)
            jump = _jump(code, len(instance.functype(item.index).params))
            if jump is None:
                continue
            typeidx, table, slot = jump
            if instance.module.types[typeidx] != instance.functype(item.index):
                continue
            target = tables.slots.get(_own(instance.spaces[Kind.TABLE][table]), {}).get(slot)
            if target is not None:
                found[item] = target
    return {item: _end_of_chain(item, found) for item in found}


def _jump(code: Code, params: int) -> tuple[int, int, int] | None:
    """(typeidx, tableidx, slot) if the body is that of a forwarder with this many parameters."""
    head = b"\x00" + b"".join(b"\x20" + u32(i) for i in range(params)) + bytes([_I32_CONST])
    if not code.body.startswith(head) or len(code.body) > len(head) + _LONGEST_TAIL:
        return None
    c = Cursor(code.body, len(head), base=code.offset)
    slot = c.s32()
    if c.byte() != _CALL_INDIRECT:
        return None
    typeidx, table = c.u32(), c.u32()
    return (typeidx, table, slot) if c.byte() == _END and not c else None


def _end_of_chain(item: Item, found: dict[Item, Target]) -> Target:
    seen = {item}
    target = found[item]
    while isinstance(target, Item) and target in found and target not in seen:
        seen.add(target)
        target = found[target]
    return target
