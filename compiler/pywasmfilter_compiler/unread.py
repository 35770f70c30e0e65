"""What the memory of a snapshot holds and nothing in the module reads any more: zeros take its place.

The interpreter's constant data is part of every worker's memory, and some of it was only needed to start the
interpreter, or to build. Each piece is known by its content, never by its place, so another interpreter merely keeps
what is not found. (What belongs to code that a filter does not have is found by `linker.prune`.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final


@dataclass(slots=True)
class Memory:
    """A copy of a module's memory: the stack ends at address `stack`, the heap begins at `heap`."""

    bytes: bytearray
    stack: int
    heap: int

    def clear(self, start: int, end: int) -> None:
        """Fill a part with zeros."""
        self.bytes[start:end] = bytes(end - start)


def clear(memory: Memory, report: dict[str, Any], *, keep_docs: bool) -> None:
    """Clear what a module with this report of its build does not read."""
    memory.clear(0, memory.stack)  # whatever ran has returned
    for begin, end, size in report["frozen"]:
        _clear_frozen(memory, begin, end, size)
    if not keep_docs:
        _clear_docstrings(memory)


def _clear_frozen(memory: Memory, begin: bytes, end: bytes, size: int) -> None:
    """Clear the code of a module that the interpreter has imported, and will not import again."""
    start = memory.bytes.find(begin, memory.stack, memory.heap)
    if start >= 0 and memory.bytes.startswith(end, start + size - len(end)):
        memory.clear(start, start + size)


# What CPython's Argument Clinic makes of the documentation of a function in C. The signature is read by `inspect`.
_DOCSTRING: Final = re.compile(rb"(?<=\0)[\w.]+\([^\0]*?\)\n--\n\n([^\0]++)\0")


def _clear_docstrings(memory: Memory) -> None:
    for found in _DOCSTRING.finditer(memory.bytes, memory.stack, memory.heap):
        memory.clear(*found.span(1))
