"""The binary format of a component: `decode` reads what linking needs and refuses what it does not understand.

Names are those of the component model's "Binary Format" explainer. The interesting sections are core modules, core
instances, aliases and canonical definitions; the others only add to the index spaces that these refer to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from ..wasm import binary
from ..wasm.binary import COMPONENT_HEADER, raw_sections
from ..wasm.cursor import Cursor
from ..wasm.module import Kind
from .model import Component, CoreDefinition, CoreExport, HostFunction, InlineExports, Instantiate

T = TypeVar("T")

_CORE_KINDS: Final = {0x00: Kind.FUNC, 0x01: Kind.TABLE, 0x02: Kind.MEMORY, 0x03: Kind.GLOBAL}
_CORE_SORT, _FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE = range(6)
_VERSION: Final = re.compile(r"@[0-9.]+$")


class _Member(NamedTuple):
    """A function or type that was taken out of an imported instance."""

    interface: str
    name: str


@dataclass(slots=True)
class _Spaces:
    """The index spaces while reading. None stands for an entry that no core module can reach."""

    core: dict[Kind, list[CoreDefinition]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    component: dict[int, list[_Member | str | None]] = field(
        default_factory=lambda: {sort: [] for sort in (_FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE)}
    )


def decode(data: bytes) -> Component:
    """Decode a component. Raises MalformedWasm or UnsupportedWasm with the offset."""
    component, spaces = Component(), _Spaces()
    cursor = Cursor(data)
    for section, at, content in raw_sections(cursor, COMPONENT_HEADER):
        match section:
            case 0 | 3:  # custom and core type sections: nothing in them is referred to
                continue
            case 1:
                component.modules.append(binary.decode(content))
                continue
            case 2:
                component.instances += content.vec(lambda c: _core_instance(c, spaces))
            case 4:
                _nested_component(content, at)
                spaces.component[_COMPONENT].append(None)
                continue
            case 5:
                _instances(content, spaces)
                continue
            case 6:
                content.vec(lambda c: _alias(c, spaces))
            case 7:
                spaces.component[_TYPE] += [None] * content.u32()
                continue
            case 8:
                content.vec(lambda c: _canon(c, spaces))
            case 10:
                content.vec(lambda c: _import(c, spaces))
            case 11:
                _exports(content, spaces)
                continue
            case 9:
                cursor.unsupported("a component with a start function", at)
            case _:
                cursor.unsupported(f"unknown component section {section}", at)
        content.expect_end("component section")
    return component


def _entry(c: Cursor, space: list[T], what: str) -> T:
    at, index = c.pos, c.u32()
    if index >= len(space):
        c.fail(f"{what} {index} does not exist, there are {len(space)}", at)
    return space[index]


def _core_kind(c: Cursor) -> Kind:
    at, sort = c.pos, c.byte()
    if sort not in _CORE_KINDS:
        c.unsupported(f"unknown core sort {sort:#04x}", at)
    return _CORE_KINDS[sort]


def _core_instance(c: Cursor, spaces: _Spaces) -> Instantiate | InlineExports:
    """core:instance ::= 0x00 m:moduleidx vec(name 0x12 instanceidx) | 0x01 vec(name core:sortidx)"""
    at, form = c.pos, c.byte()
    if form == 0x00:
        return Instantiate(c.u32(), dict(c.vec(_instantiate_argument)), c.base + at)
    if form == 0x01:
        return InlineExports(dict(c.vec(lambda item: _inline_export(item, spaces))))
    c.unsupported(f"unknown form of core instance {form:#04x}", at)


def _instantiate_argument(c: Cursor) -> tuple[str, int]:
    name = c.name()
    c.expect(0x12, "argument of an instantiation")
    return name, c.u32()


def _inline_export(c: Cursor, spaces: _Spaces) -> tuple[str, tuple[Kind, CoreDefinition]]:
    name, kind = c.name(), _core_kind(c)
    return name, (kind, _entry(c, spaces.core[kind], f"core {kind.name.lower()}"))


def _nested_component(content: Cursor, at: int) -> None:
    """A nested component may only repackage what it is given: it holds no core modules or instances of its own."""
    for section, _, _ in raw_sections(content, COMPONENT_HEADER):
        if section in (1, 2):
            content.unsupported("a nested component with core modules", at)


def _instances(content: Cursor, spaces: _Spaces) -> None:
    """A section of instance definitions; none of them reaches a core module, so only their number counts."""
    spaces.component[_INSTANCE] += [None] * content.u32()


def _alias(c: Cursor, spaces: _Spaces) -> None:
    """alias ::= sort (0x00 instanceidx name | 0x01 core:instanceidx name | 0x02 ct:u32 idx:u32)"""
    at, sort = c.pos, c.byte()
    core_kind = _core_kind(c) if sort == _CORE_SORT else None
    target = c.byte()
    match target:
        case 0x00 if core_kind is None and sort in spaces.component:
            instance = _entry(c, spaces.component[_INSTANCE], "instance")
            name = c.name()
            spaces.component[sort].append(_Member(instance, name) if isinstance(instance, str) else None)
        case 0x01 if core_kind is not None:
            spaces.core[core_kind].append(CoreExport(c.u32(), c.name()))
        case _:
            c.unsupported(f"unknown alias of sort {sort:#04x}, target {target:#04x}", at)


def _canon(c: Cursor, spaces: _Spaces) -> None:
    """canon ::= 0x00 0x00 f opts ft (lift) | 0x01 0x00 f opts (lower) | 0x03 rt (resource.drop)"""
    at, form = c.pos, c.byte()
    match form:
        case 0x00:
            c.expect(0x00, "canon lift")
            c.u32()
            c.vec(_canon_option)
            c.u32()
            spaces.component[_FUNC].append(None)
        case 0x01:
            c.expect(0x00, "canon lower")
            function = _member(c, _entry(c, spaces.component[_FUNC], "function"), at, "canon lower")
            c.vec(_canon_option)
            spaces.core[Kind.FUNC].append(HostFunction(*function))
        case 0x03:
            resource = _member(c, _entry(c, spaces.component[_TYPE], "type"), at, "canon resource.drop")
            spaces.core[Kind.FUNC].append(HostFunction(resource.interface, f"[resource-drop]{resource.name}"))
        case _:
            c.unsupported(f"unknown canonical definition {form:#04x}", at)


def _member(c: Cursor, entry: _Member | str | None, at: int, what: str) -> _Member:
    if not isinstance(entry, _Member):
        c.unsupported(f"{what} of something that is not imported", at)
    return entry


def _canon_option(c: Cursor) -> None:
    """canonopt ::= 0x00 utf8 | 0x01 utf16 | 0x02 latin1+utf16 | 0x03 memory m | 0x04 realloc f | 0x05 post-return f

    They tell a host how to pass strings and lists. The functions that take the host's place do that themselves, in
    UTF-8 and in the one memory there is, so the options need no more than checking.
    """
    at, option = c.pos, c.byte()
    if option in (0x01, 0x02):
        c.unsupported("strings that are not UTF-8", at)
    if option in (0x03, 0x04, 0x05):
        c.u32()
    elif option != 0x00:
        c.unsupported(f"unknown canonical option {option:#04x}", at)


def _extern_name(c: Cursor) -> str:
    at, form = c.pos, c.byte()
    if form > 0x01:
        c.unsupported(f"unknown form of name {form:#04x}", at)
    return c.name()


def _import(c: Cursor, spaces: _Spaces) -> None:
    """import ::= name externdesc; an imported instance is known by its name without the version."""
    name, at, sort = _extern_name(c), c.pos, c.byte()
    if sort != _INSTANCE:
        c.unsupported(f"import of {name!r}: only instances can be imported", at)
    c.u32()
    spaces.component[_INSTANCE].append(_VERSION.sub("", name))


def _exports(content: Cursor, spaces: _Spaces) -> None:
    """A section of exports. Each adds to an index space, but no core definition follows the exports."""
    at = content.pos
    for _ in range(content.u32()):
        _extern_name(content)
        sort = content.byte()
        if sort not in spaces.component:
            content.unsupported(f"export of unknown sort {sort:#04x}", at)
        _entry(content, spaces.component[sort], "exported item")
        spaces.component[sort].append(None)
        if content.byte():
            content.unsupported("an export with a type ascription", at)
