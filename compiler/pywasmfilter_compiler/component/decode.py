"""The binary format of a component: `decode` reads what linking needs and refuses what it does not understand.

Names are those of the component model's "Binary Format" explainer. The interesting sections are core modules, core
instances, aliases and canonical definitions; the others only add to the index spaces that these refer to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from ..wasm import binary
from ..wasm.binary import COMPONENT_HEADER, raw_sections
from ..wasm.cursor import Cursor
from ..wasm.module import Kind
from .model import Component, CoreDefinition, CoreExport, HostFunction, InlineExports, Instantiate

T = TypeVar("T")

_CORE_MODULE, _CORE_INSTANCE, _NESTED_COMPONENT, _START = 1, 2, 4, 9
_CORE_KINDS: Final = {0x00: Kind.FUNC, 0x01: Kind.TABLE, 0x02: Kind.MEMORY, 0x03: Kind.GLOBAL}
_CORE_SORT, _FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE = range(6)
_VERSION: Final = re.compile(r"@[0-9.]+$")


class _Member(NamedTuple):
    """A function or type that was taken out of an imported instance."""

    interface: str
    name: str


@dataclass(slots=True)
class _Reader:
    """What is read so far. In the index spaces None stands for an entry that no core module can reach."""

    result: Component = field(default_factory=Component)
    core: dict[Kind, list[CoreDefinition]] = field(default_factory=lambda: {kind: [] for kind in Kind})
    component: dict[int, list[_Member | str | None]] = field(
        default_factory=lambda: {sort: [] for sort in (_FUNC, _VALUE, _TYPE, _COMPONENT, _INSTANCE)}
    )


def decode(data: bytes) -> Component:
    """Decode a component. Raises MalformedWasm or UnsupportedWasm with the offset."""
    cursor, reader = Cursor(data), _Reader()
    for section, at, content in raw_sections(cursor, COMPONENT_HEADER):
        if section == _START:
            cursor.unsupported("a component with a start function", at)
        if section not in _SECTIONS:
            cursor.unsupported(f"unknown component section {section}", at)
        _SECTIONS[section](content, reader)
        content.expect_end("component section")
    return reader.result


def _skip(c: Cursor, _reader: _Reader) -> None:
    """Custom and core type sections: nothing in them is referred to."""
    c.pos = c.end


def _counted(sort: int) -> Callable[[Cursor, _Reader], None]:
    """A section of definitions that reach no core module, so that only their number counts."""

    def section(c: Cursor, reader: _Reader) -> None:
        reader.component[sort] += [None] * c.count()
        c.pos = c.end

    return section


def _each(item: Callable[[Cursor, _Reader], None]) -> Callable[[Cursor, _Reader], None]:
    """A section that is a vector of items."""

    def section(c: Cursor, reader: _Reader) -> None:
        for _ in range(c.count()):
            item(c, reader)

    return section


def _index(c: Cursor, space: Sequence[object], what: str) -> int:
    at, index = c.pos, c.u32()
    if index >= len(space):
        c.fail(f"{what} {index} does not exist, there are {len(space)}", at)
    return index


def _entry(c: Cursor, space: Sequence[T], what: str) -> T:
    return space[_index(c, space, what)]


def _core_kind(c: Cursor) -> Kind:
    at, sort = c.pos, c.byte()
    if sort not in _CORE_KINDS:
        c.unsupported(f"unknown core sort {sort:#04x}", at)
    return _CORE_KINDS[sort]


def _core_module(c: Cursor, reader: _Reader) -> None:
    reader.result.modules.append(binary.decode(c))


def _core_instance(c: Cursor, reader: _Reader) -> None:
    """core:instance ::= 0x00 m:moduleidx vec(name 0x12 instanceidx) | 0x01 vec(name core:sortidx)"""
    at, form = c.pos, c.byte()
    if form == 0x00:
        module = _index(c, reader.result.modules, "core module")
        arguments = dict(c.vec(lambda item: _instantiate_argument(item, reader)))
        reader.result.instances.append(Instantiate(module, arguments, c.base + at))
    elif form == 0x01:
        reader.result.instances.append(InlineExports(dict(c.vec(lambda item: _inline_export(item, reader)))))
    else:
        c.unsupported(f"unknown form of core instance {form:#04x}", at)


def _instantiate_argument(c: Cursor, reader: _Reader) -> tuple[str, int]:
    name = c.name()
    c.expect(0x12, "argument of an instantiation")
    return name, _index(c, reader.result.instances, "core instance")


def _inline_export(c: Cursor, reader: _Reader) -> tuple[str, tuple[Kind, CoreDefinition]]:
    name, kind = c.name(), _core_kind(c)
    return name, (kind, _entry(c, reader.core[kind], f"core {kind.name.lower()}"))


def _nested_component(c: Cursor, reader: _Reader) -> None:
    """A nested component may only repackage what it is given: it holds no core modules or instances of its own."""
    pending = [c]
    while pending:
        for section, at, content in raw_sections(pending.pop(), COMPONENT_HEADER):
            if section in (_CORE_MODULE, _CORE_INSTANCE):
                c.unsupported("a nested component with core modules", at)
            if section == _NESTED_COMPONENT:
                pending.append(content)
    reader.component[_COMPONENT].append(None)


def _alias(c: Cursor, reader: _Reader) -> None:
    """alias ::= sort (0x00 instanceidx name | 0x01 core:instanceidx name | 0x02 ct:u32 idx:u32)"""
    at, sort = c.pos, c.byte()
    core_kind = _core_kind(c) if sort == _CORE_SORT else None
    target = c.byte()
    match target:
        case 0x00 if core_kind is None and sort in reader.component:
            instance = _entry(c, reader.component[_INSTANCE], "instance")
            name = c.name()
            reader.component[sort].append(_Member(instance, name) if isinstance(instance, str) else None)
        case 0x01 if core_kind is not None:
            core_instance = _index(c, reader.result.instances, "core instance")
            reader.core[core_kind].append(CoreExport(core_instance, c.name()))
        case _:
            c.unsupported(f"unknown alias of sort {sort:#04x}, target {target:#04x}", at)


def _canon(c: Cursor, reader: _Reader) -> None:
    """canon ::= 0x00 0x00 f opts ft (lift) | 0x01 0x00 f opts (lower) | 0x03 rt (resource.drop)"""
    at, form = c.pos, c.byte()
    match form:
        case 0x00:
            c.expect(0x00, "canon lift")
            _index(c, reader.core[Kind.FUNC], "core func")
            _canon_options(c, reader)
            _index(c, reader.component[_TYPE], "type")
            reader.component[_FUNC].append(None)
        case 0x01:
            c.expect(0x00, "canon lower")
            function = _member(c, _entry(c, reader.component[_FUNC], "function"), at, "canon lower")
            _canon_options(c, reader)
            reader.core[Kind.FUNC].append(HostFunction(*function))
        case 0x03:
            resource = _member(c, _entry(c, reader.component[_TYPE], "type"), at, "canon resource.drop")
            reader.core[Kind.FUNC].append(HostFunction(resource.interface, f"[resource-drop]{resource.name}"))
        case _:
            c.unsupported(f"unknown canonical definition {form:#04x}", at)


def _member(c: Cursor, entry: _Member | str | None, at: int, what: str) -> _Member:
    if not isinstance(entry, _Member):
        c.unsupported(f"{what} of something that is not imported", at)
    return entry


def _canon_options(c: Cursor, reader: _Reader) -> None:
    """vec of canonopt ::= 0x00 utf8 | 0x01 utf16 | 0x02 latin1+utf16 | 0x03 memory | 0x04 realloc | 0x05 post-return

    They tell a host how to pass strings and lists. The functions that take the host's place do that themselves, in
    UTF-8 and in the one memory there is, so the options need no more than checking.
    """
    for _ in range(c.count()):
        at, option = c.pos, c.byte()
        if option in (0x01, 0x02):
            c.unsupported("strings that are not UTF-8", at)
        if option == 0x03:
            _index(c, reader.core[Kind.MEMORY], "core memory")
        elif option in (0x04, 0x05):
            _index(c, reader.core[Kind.FUNC], "core func")
        elif option != 0x00:
            c.unsupported(f"unknown canonical option {option:#04x}", at)


def _extern_name(c: Cursor) -> str:
    at, form = c.pos, c.byte()
    if form > 0x01:
        c.unsupported(f"unknown form of name {form:#04x}", at)
    return c.name()


def _import(c: Cursor, reader: _Reader) -> None:
    """import ::= name externdesc; an imported instance is known by its name without the version."""
    name, at, sort = _extern_name(c), c.pos, c.byte()
    if sort != _INSTANCE:
        c.unsupported(f"import of {name!r}: only instances can be imported", at)
    _index(c, reader.component[_TYPE], "type")
    reader.component[_INSTANCE].append(_VERSION.sub("", name))


def _export(c: Cursor, reader: _Reader) -> None:
    """export ::= name sortidx 0x00; it adds to an index space, though no core definition can follow from it."""
    name, at, sort = _extern_name(c), c.pos, c.byte()
    if sort not in reader.component:
        c.unsupported(f"export of {name!r}: unknown sort {sort:#04x}", at)
    _index(c, reader.component[sort], "exported item")
    reader.component[sort].append(None)
    at = c.pos
    if c.byte():
        c.unsupported("an export with a type ascription", at)


_SECTIONS: Final[dict[int, Callable[[Cursor, _Reader], None]]] = {
    0: _skip,
    _CORE_MODULE: _core_module,
    _CORE_INSTANCE: _each(_core_instance),
    3: _skip,
    _NESTED_COMPONENT: _nested_component,
    5: _counted(_INSTANCE),
    6: _each(_alias),
    7: _counted(_TYPE),
    8: _each(_canon),
    10: _each(_import),
    11: _each(_export),
}
