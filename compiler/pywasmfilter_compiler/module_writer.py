"""Write the finished module: the image's code with the snapshot's memory.

The code section is most of the image and never changes, so sections are copied as they are; only memory, globals,
exports and data are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from .errors import LinkError
from .wasm import sections
from .wasm.binary import MODULE_HEADER, raw_sections
from .wasm.cursor import Cursor, sized, u32, vec
from .wasm.module import Custom, Data, Export, Global, Limits

COPIED: Final = (
    sections.TYPE,
    sections.IMPORT,
    sections.FUNCTION,
    sections.TABLE,
    sections.ELEMENT,
    sections.CODE,
)
"""The sections of an image that a module has as they are."""
T = TypeVar("T")


def write_module(
    image: bytes,
    exports: Iterable[str],
    memory: Limits,
    segments: Iterable[tuple[int, bytes]],
    stack_pointer: int,
    customs: Iterable[Custom] = (),
) -> bytes:
    """The image with `exports` only, a `memory` filled with `segments`, and its stack at `stack_pointer`.

    Of custom sections it has `customs`, and none of the image's.

    Passive data segments stay. They are the first of the image, if it has any.

    Raises LinkError for an image of which this is not the whole state: one with a start function, or with another
    global than the stack pointer; and for an export that it does not have.
    """
    written = {number: content for number, _, content in raw_sections(Cursor(image)) if number != sections.CUSTOM}
    if sections.START in written:
        raise LinkError("an image cannot have a start function")
    found = _items(written, sections.EXPORT, sections.export)
    passive = [item for item in _items(written, sections.DATA, sections.data) if item.offset is None]
    active = (Data(content, (sections.i32_const(address),)) for address, content in segments)
    data = [sections.encode_data(item) for item in (*passive, *active)]  # in this order, since code has numbers of them
    contents = {number: written[number].rest() for number in COPIED if number in written}
    contents[sections.MEMORY] = vec([sections.encode_limits(memory)])
    contents[sections.GLOBAL] = _global(_items(written, sections.GLOBAL, sections.global_), stack_pointer)
    contents[sections.EXPORT] = vec([sections.encode_export(item) for item in _chosen(found, frozenset(exports))])
    contents[sections.DATA_COUNT] = u32(len(data))
    contents[sections.DATA] = vec(data)
    order = (number for number in sections.SECTION_ORDER if number in contents)
    parts = [(number, contents[number]) for number in order]
    parts += [(sections.CUSTOM, sections.encode_custom(item)) for item in customs]
    return MODULE_HEADER + b"".join(bytes([number]) + sized(content) for number, content in parts)


def _items(written: Mapping[int, Cursor], section: int, item: Callable[[Cursor], T]) -> list[T]:
    return written[section].vec(item) if section in written else []


def _global(found: list[Global], stack_pointer: int) -> bytes:
    if len(found) != 1:
        raise LinkError(f"the image has {len(found)} globals; the stack pointer should be the only one")
    return vec([sections.encode_global(Global(found[0].type, (sections.i32_const(stack_pointer),)))])


def _chosen(found: list[Export], names: frozenset[str]) -> list[Export]:
    missing = names - {item.name for item in found}
    if missing:
        raise LinkError(f"the image does not export {', '.join(sorted(missing))}")
    return [item for item in found if item.name in names]
