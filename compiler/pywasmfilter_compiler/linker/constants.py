"""Evaluate constant expressions at link time.

Position-independent libraries start their globals and segments from `__memory_base`, `__table_base` and the addresses
of other libraries. Once all instances are known, every such expression is one number.
"""

from __future__ import annotations

from ..errors import LinkError
from ..wasm.module import ConstExpr, ConstInstr, Kind
from ..wasm.opcodes import GLOBAL_GET, I32_CONST, REF_FUNC
from .flatten import Item, Program

_I32_ARITHMETIC = {0x6A: int.__add__, 0x6B: int.__sub__, 0x6C: int.__mul__}


class Constants:
    """The value of each global's initialiser and of each segment's offset, evaluated once."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.known: dict[Item, ConstInstr] = {}

    def of_global(self, item: Item) -> ConstInstr:
        """The initial value of a global, as the one constant instruction that produces it."""
        if item not in self.known:
            instance = self.program.instances[item.instance]
            own = instance.module.globals[item.index - instance.imported[Kind.GLOBAL]]
            self.known[item] = self.evaluate(item.instance, own.init)
        return self.known[item]

    def address(self, instance: int, expr: ConstExpr) -> int:
        """The value of an i32 expression of `instance`, as an unsigned number."""
        value = self.evaluate(instance, expr)
        if value.opcode != I32_CONST:
            raise LinkError(f"the offset of a segment in instance {instance} is not an i32")
        return value.value & 0xFFFFFFFF

    def evaluate(self, instance: int, expr: ConstExpr) -> ConstInstr:
        """Reduce an expression to one instruction: a constant, ref.null, or ref.func."""
        stack: list[ConstInstr] = []
        for instr in expr:
            if instr.opcode == GLOBAL_GET:
                stack.append(self._global_get(instance, instr.value))
            elif instr.opcode in _I32_ARITHMETIC:
                right, left = stack.pop(), stack.pop()
                if left.opcode != I32_CONST or right.opcode != I32_CONST:
                    raise LinkError(f"a constant expression of instance {instance} adds what is not an i32")
                stack.append(ConstInstr(I32_CONST, _wrap(_I32_ARITHMETIC[instr.opcode](left.value, right.value))))
            elif instr.opcode == REF_FUNC:
                raise LinkError(f"instance {instance} starts a global with a function reference")
            else:
                stack.append(instr)
        if len(stack) != 1:
            raise LinkError(f"a constant expression of instance {instance} does not leave one value")
        return stack[0]

    def _global_get(self, instance: int, index: int) -> ConstInstr:
        space = self.program.instances[instance].spaces[Kind.GLOBAL]
        target = space[index] if index < len(space) else None
        if not isinstance(target, Item):
            raise LinkError(f"instance {instance} reads global {index}, which does not exist")
        return self.of_global(target)


def _wrap(value: int) -> int:
    """As i32.const writes it: signed."""
    return (value + 0x80000000) % 0x100000000 - 0x80000000
