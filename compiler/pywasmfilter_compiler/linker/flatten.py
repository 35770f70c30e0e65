"""Interpret a component's instantiations at link time, so that every import becomes the thing it stands for.

An `Item` names a definition for good: instance, kind and index in that instance's own index space. Aliases, inline
instances and imports of imports disappear here; what comes from outside the component stays a `HostFunction`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from ..component.model import Component, CoreDefinition, HostFunction, InlineExports, Instantiate
from ..errors import LinkError, UnsupportedWasm
from ..wasm.module import FuncType, Kind, Module


class Item(NamedTuple):
    """A function, table, memory or global that instance number `instance` defines itself (never one it imports)."""

    instance: int
    kind: Kind
    index: int


Target: TypeAlias = Item | HostFunction


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

    def functype(self, index: int) -> FuncType:
        """The type of the function with this funcidx."""
        return self.module.types[self.type_of[index]]


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


class _Interpreter:
    """Carries out the instantiations of a component; `view` maps a core instance of it to its exports."""

    def __init__(self, component: Component) -> None:
        self.component = component
        self.program = Program([])
        self.views: list[dict[str, Target]] = []
        self.instantiated: set[int] = set()

    def run(self) -> Program:
        for definition in self.component.instances:
            if isinstance(definition, InlineExports):
                self.views.append({name: self.lookup(item) for name, (_, item) in definition.exports.items()})
            else:
                self.views.append(self.instantiate(definition))
        return self.program

    def lookup(self, definition: CoreDefinition) -> Target:
        if isinstance(definition, HostFunction):
            return definition
        view = self.view(definition.instance)
        if definition.name not in view:
            raise LinkError(f"core instance {definition.instance} has no export {definition.name!r}")
        return view[definition.name]

    def view(self, instance: int) -> dict[str, Target]:
        if instance >= len(self.views):
            raise LinkError(f"core instance {instance} is used before it is defined")
        return self.views[instance]

    def instantiate(self, definition: Instantiate) -> dict[str, Target]:
        number = definition.module
        if number >= len(self.component.modules):
            raise LinkError(f"core module {number} does not exist")
        if number in self.instantiated:
            raise UnsupportedWasm(f"core module {number} is instantiated twice", definition.offset)
        self.instantiated.add(number)
        module = self.component.modules[number]
        if module.start is not None:
            raise UnsupportedWasm(f"core module {number} has a start function", definition.offset)
        imported = Counter(item.kind for item in module.imports)
        instance = Instance(module, self.spaces(module, definition), {}, module.function_types(), imported)
        for export in module.exports:
            space = instance.spaces[export.kind]
            if export.index >= len(space):
                raise LinkError(f"export {export.name!r} of core module {number} points at nothing")
            instance.exports[export.name] = space[export.index]
        self.program.instances.append(instance)
        return instance.exports

    def spaces(self, module: Module, definition: Instantiate) -> dict[Kind, list[Target]]:
        number = len(self.program.instances)
        spaces: dict[Kind, list[Target]] = {kind: [] for kind in Kind}
        for item in module.imports:
            spaces[item.kind].append(self.argument(definition, item.module, item.name, item.kind))
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

    def argument(self, definition: Instantiate, module: str, name: str, kind: Kind) -> Target:
        where = f"import {module}.{name} of core module {definition.module}"
        if module not in definition.arguments:
            raise LinkError(f"{where}: there is no argument {module!r}")
        view = self.view(definition.arguments[module])
        if name not in view:
            raise LinkError(f"{where}: the instance has no such export")
        target = view[name]
        if (target.kind if isinstance(target, Item) else Kind.FUNC) is not kind:
            raise LinkError(f"{where}: a {kind.name.lower()} is imported, something else is given")
        return target


def flatten(component: Component) -> Program:
    """Resolve every import. Raises LinkError, or UnsupportedWasm for an instantiation this linker does not handle."""
    return _Interpreter(component).run()


