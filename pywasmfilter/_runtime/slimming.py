"""Leave out what only people read, and nobody does in a proxy: docstrings, and the columns of every instruction.

Tracebacks name files and lines, which stay. A module whose own code mentions `__doc__` keeps its docstrings.
"""

from __future__ import annotations

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType
    from typing import Any

# An entry of a line table begins with 1 bit, 4 bits for its kind, 3 for how many code units it is for, less one.
_WITHOUT_COLUMNS = 0x80 | 13 << 3
_WITHOUT_LINE = 0x80 | 15 << 3
_MOST_UNITS = 8
_CODE_UNIT = 2

_HAS_DOCSTRING = 0x4000000


def remove_docstrings(tree: Any, *, also_mentioned: bool) -> None:
    """Take the docstrings out of a module's syntax tree; if it mentions `__doc__`, only if that is said.

    Not what `compile` does for its parameter `optimize`, which takes assertions out too.
    """
    bodies = []
    for node in _nodes(tree):
        if not also_mentioned and "__doc__" in [getattr(node, field, None) for field in ("id", "attr", "value")]:
            return
        if type(node).__name__ in _DOCUMENTED:
            bodies.append(node.body)
    for body in bodies:
        _remove_docstring(body)


def _nodes(tree: Any) -> Iterator[Any]:
    pending = [tree]
    while pending:
        node = pending.pop()
        yield node
        for field in node._fields:
            value = getattr(node, field, None)
            pending += [part for part in (value if isinstance(value, list) else [value]) if hasattr(part, "_fields")]


_DOCUMENTED = ("Module", "ClassDef", "FunctionDef", "AsyncFunctionDef")


def _remove_docstring(body: list[Any]) -> None:
    """Remove all strings at the begin: the second would be the docstring then."""
    count = 0
    while count < len(body) and isinstance(getattr(getattr(body[count], "value", None), "value", None), str):
        if type(body[count]).__name__ != "Expr":
            break
        count += 1
    if count == len(body) > 0:
        body[-1].value.value = ...  # a body has a statement
        count -= 1
    del body[:count]


def remove_annotations(tree: Any) -> None:
    """Take the annotations of functions out of a module's syntax tree."""
    for node in _nodes(tree):
        if hasattr(node, "returns"):
            node.returns = None
        elif type(node).__name__ == "arg":
            node.annotation = None


def without_columns(code: CodeType) -> CodeType:
    """The same code, and that of the functions and classes in it, with lines only."""
    constants = tuple(without_columns(part) if hasattr(part, "co_consts") else part for part in code.co_consts)
    return code.replace(co_linetable=_line_table(code), co_consts=constants)


def _line_table(code: CodeType) -> bytes:
    table = bytearray()
    line = code.co_firstlineno
    for start, end, new in code.co_lines():
        for units in range((end - start) // _CODE_UNIT, 0, -_MOST_UNITS):
            length = min(units, _MOST_UNITS) - 1
            if new is None:
                table.append(_WITHOUT_LINE | length)
            else:
                table.append(_WITHOUT_COLUMNS | length)
                table += _signed(new - line)
                line = new
    return bytes(table)


def _signed(number: int) -> bytes:
    """The sign is the lowest bit; six bits to a byte, from the lowest up, with another bit where more follow."""
    rest = -number << 1 | 1 if number < 0 else number << 1
    encoded = bytearray()
    while rest > 0x3F:
        encoded.append(rest & 0x3F | 0x40)
        rest >>= 6
    encoded.append(rest)
    return bytes(encoded)


def slim_interpreter() -> None:
    """Do the same to all that is alive: what the interpreter imports when it starts. Once, in the image."""
    done: dict[int, tuple[CodeType, CodeType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, _FUNCTION):
            thing.__code__ = _slim(thing.__code__, done)
        if isinstance(thing, _FUNCTION | _MODULE | property) and thing.__doc__ is not None:
            thing.__doc__ = None
        elif (
            isinstance(thing, type) and isinstance(thing.__dict__.get("__doc__"), str) and thing.__flags__ & _HEAP_TYPE
        ):
            _forget_docstring(thing)


_FUNCTION = type(remove_docstrings)
_MODULE = type(gc)
_HEAP_TYPE = 1 << 9


def _forget_docstring(cls: type) -> None:
    try:
        cls.__doc__ = None
    except (AttributeError, TypeError):
        return  # of a type that is written in C


def _slim(code: CodeType, done: dict[int, tuple[CodeType, CodeType]]) -> CodeType:
    """As `without_columns`, and without docstrings. `done` keeps shared code shared."""
    if id(code) in done:
        return done[id(code)][1]
    constants = [_slim(part, done) if hasattr(part, "co_consts") else part for part in code.co_consts]
    if code.co_flags & _HAS_DOCSTRING:
        constants[0] = None
    slim = code.replace(co_linetable=_line_table(code), co_consts=tuple(constants))
    done[id(code)] = code, slim
    return slim
