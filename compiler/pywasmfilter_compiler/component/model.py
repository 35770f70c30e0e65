"""A component in memory, as far as linking its core modules needs it.

A component wires core modules together: it instantiates each with instances as arguments, takes single exports out
of instances (`alias`), and turns its own imports into core functions (`canon lower`). Types, and everything that only
speaks to other components, are counted to keep the index spaces right, and are not kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from ..wasm.module import Kind, Module


class CoreExport(NamedTuple):
    """alias ::= core export i n: the export `name` of core instance `instance`."""

    instance: int
    name: str


class HostFunction(NamedTuple):
    """A core function that the component's host provides: `canon lower` of an import, or `canon resource.drop`.

    `interface` is the name of the imported instance without its version, such as `wasi:clocks/wall-clock`;
    `name` that of the function as core modules know it, such as `now` or `[resource-drop]pollable`.
    """

    interface: str
    name: str


CoreDefinition: TypeAlias = CoreExport | HostFunction


class Instantiate(NamedTuple):
    """core:instance ::= instantiate m arg*: `arguments` maps a module name to a core instance."""

    module: int
    arguments: dict[str, int]
    offset: int


class InlineExports(NamedTuple):
    """core:instance ::= export*: an instance made of single definitions."""

    exports: dict[str, tuple[Kind, CoreDefinition]]


CoreInstance: TypeAlias = Instantiate | InlineExports


@dataclass(slots=True)
class Component:
    """The core modules of a component and how it instantiates them, in order."""

    modules: list[Module] = field(default_factory=list)
    instances: list[CoreInstance] = field(default_factory=list)
