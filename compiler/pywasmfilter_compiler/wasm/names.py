"""The name section: what the functions of a module are called.

namesec ::= customsec "name": subsections; subsection 1 is the function names. A broken name section is no reason to
refuse a module, so reading gives what can be read.
"""

from __future__ import annotations

from typing import Final

from ..errors import BinaryError
from .cursor import Cursor, name, sized, u32, vec
from .module import Custom, Module

SECTION: Final = "name"
_FUNCTION_NAMES: Final = 1


def function_names(module: Module) -> dict[int, str]:
    """funcidx -> name, for the functions that have one."""
    content = module.custom(SECTION)
    if content is None:
        return {}
    try:
        return _read(Cursor(content))
    except BinaryError:
        return {}


def _read(c: Cursor) -> dict[int, str]:
    while c:
        subsection, content = c.byte(), c.window()
        if subsection == _FUNCTION_NAMES:
            return dict(content.vec(lambda item: (item.u32(), item.name())))
    return {}


def encode_function_names(names: dict[int, str]) -> Custom:
    """A name section with these function names."""
    entries = [u32(index) + name(names[index]) for index in sorted(names)]
    return Custom(SECTION, bytes([_FUNCTION_NAMES]) + sized(vec(entries)))
