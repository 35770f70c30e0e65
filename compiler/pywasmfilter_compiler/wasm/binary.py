"""The binary format of a whole core module: `decode` and `encode`.

Decoding checks structure (section order, sizes, counts that must agree), not types: wasmtime's validator does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from . import cursor as encode_, sections
from .cursor import Cursor
from .module import Module
from .sections import SECTION_NAMES, SECTION_ORDER

MAGIC: Final = b"\0asm"
MODULE_HEADER: Final = MAGIC + b"\x01\x00\x00\x00"
COMPONENT_HEADER: Final = MAGIC + b"\x0d\x00\x01\x00"
_HEADERS: Final = {MODULE_HEADER: "a core module", COMPONENT_HEADER: "a component"}

_VECTORS: Final[dict[int, tuple[str, Callable[[Cursor], Any]]]] = {
    sections.TYPE: ("types", sections.functype),
    sections.IMPORT: ("imports", sections.import_),
    sections.FUNCTION: ("functions", Cursor.u32),
    sections.TABLE: ("tables", sections.tabletype),
    sections.MEMORY: ("memories", sections.limits),
    sections.GLOBAL: ("globals", sections.global_),
    sections.EXPORT: ("exports", sections.export),
    sections.ELEMENT: ("elements", sections.element),
    sections.CODE: ("code", sections.code),
    sections.DATA: ("data", sections.data),
}


def raw_sections(c: Cursor, header: bytes = MODULE_HEADER) -> Iterator[tuple[int, int, Cursor]]:
    """Each section of a module or component: (id, offset of the id, content)."""
    at = c.pos
    if c.data[at : min(at + 4, c.end)] != MAGIC:
        c.fail("not WebAssembly: the file does not start with the bytes 00 61 73 6d")
    found = c.take(8)
    if found != header:
        if found in _HEADERS:
            c.fail(f"expected {_HEADERS[header]}, found {_HEADERS[found]}", at)
        c.unsupported(f"unknown WebAssembly version {found[4:].hex()}", at)
    while c:
        at = c.pos
        yield c.byte(), at, c.window()


def decode(data: bytes | Cursor) -> Module:
    """Decode a core module. Raises MalformedWasm or UnsupportedWasm with the offset."""
    c = data if isinstance(data, Cursor) else Cursor(data)
    module = Module()
    last_rank, data_count = -1, None
    for section, at, content in raw_sections(c):
        if section == sections.CUSTOM:
            module.customs.append(sections.custom(content))
            continue
        if section not in SECTION_ORDER:
            c.unsupported(f"unknown section {section}", at)
        rank = SECTION_ORDER.index(section)
        if rank <= last_rank:
            c.fail(f"the {SECTION_NAMES[section]} section is out of order", at)
        last_rank = rank
        if section in _VECTORS:
            field, item = _VECTORS[section]
            setattr(module, field, content.vec(item))
        elif section == sections.START:
            module.start = content.u32()
        else:
            data_count = content.u32()
        content.expect_end(f"{SECTION_NAMES[section]} section")
    _check_counts(c, module, data_count)
    return module


def _check_counts(c: Cursor, module: Module, data_count: int | None) -> None:
    if len(module.code) != len(module.functions):
        c.fail(f"{len(module.functions)} functions are declared, {len(module.code)} have code")
    if data_count is not None and data_count != len(module.data):
        c.fail(f"the data count section says {data_count}, there are {len(module.data)} data segments")
    if len(module.memories) + sum(item.kind == 2 for item in module.imports) > 1:
        c.unsupported("more than one memory")


def section_sizes(data: bytes) -> list[tuple[str, int]]:
    """The name and size in bytes of every section, in file order; a custom section is named as `custom "name"`."""
    sizes = []
    for section, _, content in raw_sections(Cursor(data)):
        size = content.end - content.pos
        if section == sections.CUSTOM:
            label = f'custom "{content.name()}"'
        else:
            label = SECTION_NAMES[section] if section < len(SECTION_NAMES) else f"unknown {section}"
        sizes.append((label, size))
    return sizes


def custom_section(data: bytes, name: str) -> bytes | None:
    """The content of the first custom section of that name. Raises MalformedWasm for what is no module."""
    for section, _, content in raw_sections(Cursor(data)):
        if section == sections.CUSTOM and (custom := sections.custom(content)).name == name:
            return custom.content
    return None


def _section(number: int, content: bytes) -> bytes:
    return bytes([number]) + encode_.sized(content)


def encode(module: Module) -> bytes:
    """Encode a core module; empty sections are left out, custom sections come last."""
    contents: dict[int, list[bytes]] = {
        sections.TYPE: [sections.encode_functype(t) for t in module.types],
        sections.IMPORT: [sections.encode_import(i) for i in module.imports],
        sections.FUNCTION: [encode_.u32(index) for index in module.functions],
        sections.TABLE: [sections.encode_tabletype(t) for t in module.tables],
        sections.MEMORY: [sections.encode_limits(m) for m in module.memories],
        sections.GLOBAL: [sections.encode_global(g) for g in module.globals],
        sections.EXPORT: [sections.encode_export(e) for e in module.exports],
        sections.ELEMENT: [sections.encode_element(e) for e in module.elements],
        sections.CODE: [encode_.sized(code.body) for code in module.code],
        sections.DATA: [sections.encode_data(d) for d in module.data],
    }
    out = [MODULE_HEADER]
    for number in SECTION_ORDER:
        if number == sections.START:
            if module.start is not None:
                out.append(_section(number, encode_.u32(module.start)))
        elif number == sections.DATA_COUNT:
            if module.data:
                out.append(_section(number, encode_.u32(len(module.data))))
        elif contents[number]:
            out.append(_section(number, encode_.vec(contents[number])))
    out += [_section(sections.CUSTOM, sections.encode_custom(custom)) for custom in module.customs]
    return b"".join(out)
