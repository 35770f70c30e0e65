"""Write the finished module: the image's code with the snapshot's memory.

The code section is most of the image and never changes, so sections are copied as they are; only memory, globals,
exports and data are new.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .wasm import sections
from .wasm.binary import MODULE_HEADER, raw_sections
from .wasm.cursor import Cursor, sized, u32, vec
from .wasm.module import ConstInstr, Data, Global, Limits
from .wasm.opcodes import I32_CONST

_COPIED: Final = (
    sections.TYPE,
    sections.IMPORT,
    sections.FUNCTION,
    sections.TABLE,
    sections.ELEMENT,
    sections.CODE,
)


def write_module(
    image: bytes, exports: Iterable[str], memory_pages: int, segments: Iterable[tuple[int, bytes]], stack_pointer: int
) -> bytes:
    """The image with `exports` only, `memory_pages` of 64 KiB filled with `segments`, and its stack at `stack_pointer`.

    The image's one global is the stack pointer. It has no start function and no passive data.
    """
    kept = frozenset(exports)
    data = [sections.encode_data(Data(content, (_i32(address),))) for address, content in segments]
    written = {number: content for number, _, content in raw_sections(Cursor(image)) if number != sections.CUSTOM}
    contents = {number: _bytes(written[number]) for number in _COPIED}
    contents[sections.MEMORY] = vec([sections.encode_limits(Limits(memory_pages))])
    contents[sections.GLOBAL] = vec([_moved(item, stack_pointer) for item in written[sections.GLOBAL].vec(sections.global_)])
    contents[sections.EXPORT] = vec(
        [sections.encode_export(item) for item in written[sections.EXPORT].vec(sections.export) if item.name in kept]
    )
    contents[sections.DATA_COUNT] = u32(len(data))
    contents[sections.DATA] = vec(data)
    order = (number for number in sections.SECTION_ORDER if number in contents)
    return MODULE_HEADER + b"".join(bytes([number]) + sized(contents[number]) for number in order)


def _moved(item: Global, stack_pointer: int) -> bytes:
    return sections.encode_global(Global(item.type, (_i32(stack_pointer),)))


def _i32(value: int) -> ConstInstr:
    return ConstInstr(I32_CONST, value - 0x100000000 if value & 0x80000000 else value)


def _bytes(content: Cursor) -> bytes:
    return content.data[content.pos : content.end]
