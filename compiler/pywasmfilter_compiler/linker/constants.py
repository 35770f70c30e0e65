"""Evaluate constant expressions at link time.

Position-independent libraries start their globals and segments from `__memory_base`, `__table_base` and the addresses
of other libraries. Once all instances are known, every such expression is one number.
"""

from __future__ import annotations

import operator
from typing import Final

from ..errors import LinkError
from ..wasm.module import ConstExpr, ConstInstr, Kind
from ..wasm.opcodes import GLOBAL_GET, I32_CONST, I64_CONST, REF_FUNC
from .flatten import Item, Program

_ARITHMETIC: Final = {
    0x6A: (I32_CONST, 32, operator.add),
    0x6B: (I32_CONST, 32, operator.sub),
    0x6C: (I32_CONST, 32, operator.mul),
    0x7C: (I64_CONST, 64, operator.add),
    0x7D: (I64_CONST, 64, operator.sub),
    0x7E: (I64_CONST, 64, operator.mul),
}


class Constants:
    """The initial value of every global, and of the expressions that use them."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._globals: dict[Item, ConstInstr] = {}
        # In this order, because a global may start from those before it and from those of instances before its own.
        for number, instance in enumerate(program.instances):
            for index, own in enumerate(instance.module.globals, instance.imported[Kind.GLOBAL]):
                self._globals[Item(number, Kind.GLOBAL, index)] = self._evaluate(number, own.init)

    def of_global(self, item: Item) -> ConstInstr:
        """The initial value of a global, as the one constant instruction that produces it."""
        value = self._globals[item]
        if value.opcode == REF_FUNC:
            raise LinkError(f"global {item.index} of instance {item.instance} starts as a function reference")
        return value

    def address(self, instance: int, expr: ConstExpr) -> int:
        """The value of an i32 expression of `instance`, as an unsigned number."""
        value = self._evaluate(instance, expr)
        if value.opcode != I32_CONST:
            raise LinkError(f"the offset of a segment in instance {instance} is not an i32")
        return value.value & 0xFFFFFFFF

    def _evaluate(self, instance: int, expr: ConstExpr) -> ConstInstr:
        """Reduce an expression to one instruction: a constant, ref.null, or ref.func."""
        stack: list[ConstInstr] = []
        for instr in expr:
            if instr.opcode == GLOBAL_GET:
                stack.append(self._global_get(instance, instr.value))
            elif instr.opcode in _ARITHMETIC:
                right, left = (stack.pop() if stack else None for _ in range(2))
                stack.append(_compute(instance, instr.opcode, left, right))
            else:
                stack.append(instr)
        if len(stack) != 1:
            raise LinkError(f"a constant expression of instance {instance} does not leave one value")
        return stack[0]

    def _global_get(self, instance: int, index: int) -> ConstInstr:
        space = self.program.instances[instance].spaces[Kind.GLOBAL]
        target = space[index] if index < len(space) else None
        if not isinstance(target, Item) or target not in self._globals:
            raise LinkError(f"a constant expression of instance {instance} reads global {index} before it has a value")
        return self._globals[target]


def _compute(instance: int, opcode: int, left: ConstInstr | None, right: ConstInstr | None) -> ConstInstr:
    constant, bits, operation = _ARITHMETIC[opcode]
    if left is None or right is None or (left.opcode, right.opcode) != (constant, constant):
        raise LinkError(f"a constant expression of instance {instance} computes with a value of another type")
    half = 1 << (bits - 1)
    wrapped = (operation(left.value, right.value) + half) % (2 * half) - half  # signed, as t.const writes it
    return ConstInstr(constant, wrapped)
