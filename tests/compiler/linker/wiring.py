"""Run a component as its wiring says: each core module an instance of its own, joined by wasmtime.

What the linked module does must be what this does. A function of the component's host calls the export that the plan
puts in its place, or traps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import wasmtime
from pywasmfilter_compiler.component.model import HostFunction, InlineExports, Instantiate
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import F32, F64, I32, I64, FuncType, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pywasmfilter_compiler.component.model import Component, CoreDefinition
    from pywasmfilter_compiler.linker import LinkPlan
    from pywasmfilter_compiler.wasm.module import Module

_VALTYPES = {
    I32: wasmtime.ValType.i32,
    I64: wasmtime.ValType.i64,
    F32: wasmtime.ValType.f32,
    F64: wasmtime.ValType.f64,
}


class Running:
    """Exports that can be called, in a store."""

    def __init__(self) -> None:
        self.store = wasmtime.Store()
        self.exports: dict[str, Any] = {}

    def call(self, name: str, arguments: Sequence[int]) -> Any:
        """The result of an exported function, or "trap"."""
        try:
            return self.exports[name](self.store, *arguments)
        except wasmtime.Trap:
            return "trap"

    def instantiate(self, module: bytes, imports: Sequence[Any]) -> dict[str, Any]:
        """The exports of a new instance."""
        compiled = wasmtime.Module(self.store.engine, module)
        instance = wasmtime.Instance(self.store, compiled, imports)
        return {item.name: instance.exports(self.store)[item.name] for item in compiled.exports}

    def function(self, functype: FuncType, call: Callable[..., Any]) -> wasmtime.Func:
        """A function of the host."""
        types = [[_VALTYPES[valtype]() for valtype in valtypes] for valtypes in functype]
        return wasmtime.Func(self.store, wasmtime.FuncType(*types), call)


class WiredComponent(Running):
    """A component, instantiated module by module."""

    def __init__(self, component: Component, plan: LinkPlan) -> None:
        super().__init__()
        self.component = component
        self.plan = plan
        self.views: list[dict[str, Any]] = []
        for definition in component.instances:
            if isinstance(definition, InlineExports):
                self.views.append({name: self._lookup(item) for name, (_, item) in definition.exports.items()})
            else:
                self.views.append(self._instantiate(definition))
                self.exports.update(self.views[-1])
        self.exports.update({new: self.exports[old] for new, old in plan.exports.items()})

    def _lookup(self, definition: CoreDefinition) -> Any:
        if isinstance(definition, HostFunction):
            return definition
        return self.views[definition.instance][definition.name]

    def _instantiate(self, definition: Instantiate) -> dict[str, Any]:
        module = self.component.modules[definition.module]
        imports = []
        for item in module.imports:
            given = self.views[definition.arguments[item.module]][item.name]
            if isinstance(given, HostFunction):
                assert isinstance(item.desc, int)
                given = self.function(module.types[item.desc], self._replacement(given))
            imports.append(given)
        return self.instantiate(binary.encode(module), imports)

    def _replacement(self, function: HostFunction) -> Callable[..., Any]:
        name = self.plan.host_functions[function]
        return _trap if name is None else lambda *arguments: self.exports[name](self.store, *arguments)


def _trap(*_arguments: Any) -> NoReturn:
    raise wasmtime.Trap("a function that cannot be called was called")


class LinkedModule(Running):
    """A linked module. Each of its imports returns 100 more than the sum of its arguments."""

    def __init__(self, module: Module) -> None:
        super().__init__()
        data = binary.encode(module)
        wasmtime.Module.validate(self.store.engine, data)
        assert all(item.kind is Kind.FUNC for item in module.imports)
        types = [module.types[index] for index in module.function_types()]
        imports = [self.function(types[index], _import) for index in range(len(module.imports))]
        self.exports = self.instantiate(data, imports)


def _import(*arguments: int) -> int:
    return 100 + sum(arguments)
