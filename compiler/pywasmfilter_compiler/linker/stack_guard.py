"""Make recursion in compiled code count against the linear stack.

An interpreter may guard its recursion by comparing the stack pointer of linear memory with a limit. Many of its
functions keep everything in Wasm locals and use no linear stack at all, so the pointer never moves while the host's
native stack fills up, and the guard never fires. The functions that take part in recursion are therefore wrapped:

    f(args) = { sp -= BYTES; result = f_inner(args); sp += BYTES; result }

Every call to `f`, direct or through the table, goes through the wrapper. A function that recurses without ever asking
(it hashes the members of a tuple, or advances the iterator below it) gets a wrapper that asks in its place:

    f(args) = { sp -= BYTES; result = check() ? REFUSAL : f_inner(args); sp += BYTES; result }
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..errors import LinkError
from ..wasm.cursor import signed, u32
from ..wasm.module import I32, FuncType
from ..wasm.opcodes import CALL, Imm
from .bodies import Bodies
from .flatten import Item, Program

CHECK_TYPE: Final = FuncType((), (I32,))


@dataclass(frozen=True, slots=True)
class StackGuard:
    """Which functions to wrap: those named in `functions` and every caller of one named in `checks`.

    `refusals` names functions whose wrapper asks first, with the i32 that each returns for an error; `check` is the
    exported function to ask, `() -> i32`, not 0 if recursion went too deep. `frame` is how many bytes of linear stack a
    wrapped call takes; `stack_pointer` the exported name of its global.
    """

    frame: int = 0
    functions: frozenset[str] = field(default_factory=frozenset)
    checks: frozenset[str] = field(default_factory=frozenset)
    refusals: Mapping[str, int] = field(default_factory=dict)
    check: str = ""
    stack_pointer: str = "__stack_pointer"


def guarded(
    program: Program, bodies: Bodies, guard: StackGuard, functions: Iterable[Item]
) -> Iterator[tuple[Item, int | None]]:
    """Which functions to wrap, in order, each with what it returns for an error if its wrapper is to ask first."""
    checks = [_calls_of(instance.names, guard.checks) for instance in program.instances]
    for item in sorted(functions):
        name = program.instances[item.instance].names.get(item.index, "")
        if name in guard.refusals:
            if program.functype(item).results != CHECK_TYPE.results:
                raise LinkError(f"the stack guard cannot answer for {name!r}: its type is {program.functype(item)}")
            yield item, guard.refusals[name]
        elif name in guard.functions or (
            checks[item.instance] and any(stop[2:] in checks[item.instance] for stop in bodies.stops(item))
        ):
            yield item, None


def _calls_of(names: Mapping[int, str], wanted: frozenset[str]) -> set[tuple[object, ...]]:
    """The instructions that call a function of one of these names, as the end of a Stop has them."""
    return {(CALL, ((Imm.FUNC, index),)) for index, name in names.items() if name in wanted}


class Refusal(NamedTuple):
    """For a wrapper that asks first: the function to ask, and what to return if it says no."""

    check: int
    value: int


def wrapper(params: int, inner: int, stack_pointer: int, frame: int, refusal: Refusal | None) -> bytes:
    """The body of a wrapper around function `inner` with this many parameters."""
    move = b"\x23" + u32(stack_pointer) + b"\x41" + signed(frame)  # global.get sp, i32.const frame
    store = b"\x24" + u32(stack_pointer)  # global.set sp
    call = b"".join(b"\x20" + u32(i) for i in range(params)) + b"\x10" + u32(inner)  # local.get i …, call inner
    if refusal is not None:
        refuse = b"\x10" + u32(refusal.check) + b"\x04\x7f\x41" + signed(refusal.value)  # call, if i32, i32.const
        call = refuse + b"\x05" + call + b"\x0b"  # else …, end
    return b"\x00" + move + b"\x6b" + store + call + move + b"\x6a" + store + b"\x0b"
