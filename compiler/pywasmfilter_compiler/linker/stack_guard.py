"""Make recursion in compiled code count against the linear stack.

An interpreter may guard its recursion by comparing the stack pointer of linear memory with a limit. Many of its
functions keep everything in Wasm locals and use no linear stack at all, so the pointer never moves while the host's
native stack fills up, and the guard never fires. The functions that take part in recursion are therefore wrapped:

    f(args) = { sp -= BYTES; result = f_inner(args); sp += BYTES; result }

Every call to `f`, direct or through the table, goes through the wrapper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..wasm.cursor import signed, u32
from ..wasm.names import function_names
from ..wasm.opcodes import Imm
from .bodies import Bodies
from .flatten import Item, Kind, Program


@dataclass(frozen=True, slots=True)
class StackGuard:
    """Which functions to wrap: those named in `functions` and every caller of one named in `checks`.

    `frame` is how many bytes of linear stack a wrapped call takes; `stack_pointer` the exported name of its global.
    """

    frame: int = 0
    functions: frozenset[str] = field(default_factory=frozenset)
    checks: frozenset[str] = field(default_factory=frozenset)
    stack_pointer: str = "__stack_pointer"


def guarded(program: Program, bodies: Bodies, guard: StackGuard) -> Iterator[Item]:
    """The functions to wrap, in order."""
    for number, instance in enumerate(program.instances):
        names = function_names(instance.module)
        checks = {index for index, name in names.items() if name in guard.checks}
        imported = instance.imported[Kind.FUNC]
        for index in range(imported, imported + len(instance.module.code)):
            item = Item(number, Kind.FUNC, index)
            if names.get(index) in guard.functions or (checks and _calls(bodies, item, checks)):
                yield item


def _calls(bodies: Bodies, item: Item, targets: set[int]) -> bool:
    return any(imm is Imm.FUNC and index in targets for stop in bodies.stops(item) for imm, index in stop.operands)


def wrapper(params: int, inner: int, stack_pointer: int, frame: int) -> bytes:
    """The body of a wrapper around function `inner` with this many parameters."""
    move = b"\x23" + u32(stack_pointer) + b"\x41" + signed(frame)  # global.get sp, i32.const frame
    store = b"\x24" + u32(stack_pointer)  # global.set sp
    arguments = b"".join(b"\x20" + u32(i) for i in range(params))  # local.get i
    call = b"\x10" + u32(inner)
    return b"\x00" + move + b"\x6b" + store + arguments + call + move + b"\x6a" + store + b"\x0b"
