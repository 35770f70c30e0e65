"""Interpret a component's instantiations at link time, so that every import becomes the thing it stands for.

An `Item` names a definition for good: instance, kind and index in that instance's own index space. Aliases, inline
instances and imports of imports disappear here; what comes from outside the component stays a `HostFunction`. After
this, all indices in the sections of a module refer to something, and every import has the type it was declared with;
function bodies are checked when they are walked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..component.model import Component, CoreDefinition, HostFunction, InlineExports, Instantiate
from ..errors import LinkError, UnsupportedWasm
from ..wasm.module import Code, FuncType, Global, GlobalType, Import, Kind, Limits, Module, TableType
from ..wasm.names import function_names


class Item(NamedTuple):
    """A function, table, memory or global that instance number `instance` defines itself (never one it imports)."""

    instance: int
    kind: Kind
    index: int  # type: ignore[assignment]  # the spec's word, though tuples have a method of this name


Target: TypeAlias = Item | HostFunction
Type: TypeAlias = FuncType | TableType | Limits | GlobalType


@dataclass(slots=True)
class Instance:
    """A module of the component with what its imports turned out to be: an index space per kind, imports first."""

    module: Module
    spaces: dict[Kind, list[Target]]
    exports: dict[str, Target]
    type_of: list[int]
    """The typeidx of each function of the instance, imported ones first."""
    imported: Counter[Kind]
    """How many entries of each space are imports."""
    names: dict[int, str]
    """What functions are called, for those that have a name."""

    def functype(self, index: int) -> FuncType:
        """The type of the function with this funcidx."""
        return self.module.types[self.type_of[index]]

    def item(self, kind: Kind, index: int) -> Item:
        """The entry of an index space other than that of functions."""
        target = self.spaces[kind][index]
        if not isinstance(target, Item):
            raise LinkError(f"a {kind.name.lower()} cannot come from the host of a component")
        return target


@dataclass(slots=True)
class Program:
    """All module instances of a component, in the order in which they are instantiated."""

    instances: list[Instance]

    def find_export(self, name: str) -> Target | None:
        """What the last instance that exports `name` means by it, or None.

        The last one wins because the first instance exports a forwarder for each function of those behind it.
        """
        for instance in reversed(self.instances):
            if name in instance.exports:
                return instance.exports[name]
        return None

    def functype(self, item: Item) -> FuncType:
        """The type of a function."""
        return self.instances[item.instance].functype(item.index)

    def name(self, item: Item) -> str:
        """What to call a function in a message: its name, or its funcidx."""
        return self.instances[item.instance].names.get(item.index, str(item.index))

    def code(self, item: Item) -> Code:
        """The undecoded body of a function."""
        return self.instances[item.instance].module.code[self._position(item)]

    def table(self, item: Item) -> TableType:
        """The type of a table."""
        return self.instances[item.instance].module.tables[self._position(item)]

    def memory(self, item: Item) -> Limits:
        """The type of a memory."""
        return self.instances[item.instance].module.memories[self._position(item)]

    def global_(self, item: Item) -> Global:
        """A global as its module defines it."""
        return self.instances[item.instance].module.globals[self._position(item)]

    def type(self, item: Item) -> Type:
        """The type of anything."""
        match item.kind:
            case Kind.FUNC:
                return self.functype(item)
            case Kind.TABLE:
                return self.table(item)
            case Kind.MEMORY:
                return self.memory(item)
            case Kind.GLOBAL:
                return self.global_(item).type

    def _position(self, item: Item) -> int:
        """Where an item stands among those of its kind that its module defines."""
        return item.index - self.instances[item.instance].imported[item.kind]


class _Interpreter:
    """Carries out the instantiations of a component; `views` holds the exports of each of its core instances."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.program = Program([])
        self.views: list[dict[str, Target]] = []
        self.instantiated: set[int] = set()

    def run(self) -> Program:
        for definition in self.component.instances:
            if isinstance(definition, InlineExports):
                self.views.append({name: self.lookup(*export) for name, export in definition.exports.items()})
            else:
                self.views.append(self.instantiate(definition))
        return self.program

    def lookup(self, kind: Kind, definition: CoreDefinition) -> Target:
        if isinstance(definition, HostFunction):
            return definition
        where = f"core instance {definition.instance}"
        return _export(self.views[definition.instance], definition.name, kind, where)

    def instantiate(self, definition: Instantiate) -> dict[str, Target]:
        number, module = definition.module, self.component.modules[definition.module]
        where = f"core module {number}"
        if number in self.instantiated:
            raise UnsupportedWasm(f"{where} is instantiated twice", definition.offset)
        if module.start is not None:
            raise UnsupportedWasm(f"{where} has a start function", definition.offset)
        self.instantiated.add(number)
        type_of = module.function_types()
        _exist(type_of, len(module.types), f"{where}: type")
        spaces = self.spaces(definition, module)
        _check_sections(module, spaces, where)
        exports = {export.name: spaces[export.kind][export.index] for export in module.exports}
        imported = Counter(item.kind for item in module.imports)
        self.program.instances.append(Instance(module, spaces, exports, type_of, imported, function_names(module)))
        return exports

    def spaces(self, definition: Instantiate, module: Module) -> dict[Kind, list[Target]]:
        number = len(self.program.instances)
        spaces: dict[Kind, list[Target]] = {kind: [] for kind in Kind}
        for item in module.imports:
            spaces[item.kind].append(self.argument(definition, module, item))
        own = {
            Kind.FUNC: len(module.functions),
            Kind.TABLE: len(module.tables),
            Kind.MEMORY: len(module.memories),
            Kind.GLOBAL: len(module.globals),
        }
        for kind, count in own.items():
            first = len(spaces[kind])
            spaces[kind] += [Item(number, kind, first + i) for i in range(count)]
        return spaces

    def argument(self, definition: Instantiate, module: Module, item: Import) -> Target:
        where = f"import {item.module}.{item.name} of core module {definition.module}"
        if item.module not in definition.arguments:
            raise LinkError(f"{where}: there is no argument {item.module!r}")
        target = _export(self.views[definition.arguments[item.module]], item.name, item.kind, where)
        if isinstance(target, Item):
            wanted, given = _import_type(module, item), self.program.type(target)
            if not _fits(given, wanted):
                raise LinkError(f"{where}: {given} is given, {wanted} is wanted")
        return target


def _export(view: dict[str, Target], name: str, kind: Kind, where: str) -> Target:
    if name not in view:
        raise LinkError(f"{where}: there is no export {name!r}")
    target = view[name]
    found = target.kind if isinstance(target, Item) else Kind.FUNC
    if found is not kind:
        raise LinkError(f"{where}: {name!r} is a {found.name.lower()}, not a {kind.name.lower()}")
    return target


def _import_type(module: Module, item: Import) -> Type:
    return module.types[item.desc] if isinstance(item.desc, int) else item.desc


def _fits(given: Type, wanted: Type) -> bool:
    """Whether types match, but for limits: those of what is given are the ones that count."""
    match given, wanted:
        case TableType(), TableType():
            return given.element == wanted.element
        case Limits(), Limits():
            return True
        case _:
            return given == wanted


def _check_sections(module: Module, spaces: dict[Kind, list[Target]], where: str) -> None:
    segments = module.elements
    references: dict[Kind, list[int]] = {kind: [e.index for e in module.exports if e.kind is kind] for kind in Kind}
    references[Kind.FUNC] += [index for segment in segments for index in segment.functions if index is not None]
    references[Kind.TABLE] += [segment.table for segment in segments if segment.table is not None]
    references[Kind.MEMORY] += [0 for segment in module.data if segment.offset is not None]
    for kind, indices in references.items():
        _exist(indices, len(spaces[kind]), f"{where}: {kind.name.lower()}")


def _exist(indices: Iterable[int], size: int, what: str) -> None:
    for index in indices:
        if index >= size:
            raise LinkError(f"{what} {index} does not exist, there are {size}")


def flatten(component: Component) -> Program:
    """Resolve every import. Raises LinkError, or UnsupportedWasm for an instantiation this linker does not handle."""
    return _Interpreter(component).run()
