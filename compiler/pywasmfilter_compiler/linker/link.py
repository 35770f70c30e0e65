"""Join the instances of a component into one core module.

The passes, each over everything before the next begins:

 1. flatten the instantiations, evaluate constants, fill the tables (`flatten`, `constants`, `forwarding`);
 2. say what every function reference means: forwarders give way to their target, host functions and stubs to what the
    plan puts in their place (`_Resolver`);
 3. find what the kept exports and tables reach (`_Reach`);
 4. number everything that stays (`_Numbering`);
 5. rewrite the bodies with the new numbers and emit the module (`_Emitter`).

Limits, each an error that says so: a module instantiated twice, start functions, more than one memory, instructions
that change tables, imports other than functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple, TypeAlias

from ..component.model import Component, HostFunction
from ..errors import LinkError, UnsupportedWasm
from ..wasm.instructions import IndexMap, IndexOf, rewrite
from ..wasm.module import (
    Code,
    ConstExpr,
    ConstInstr,
    Custom,
    Data,
    Element,
    Export,
    FuncType,
    Global,
    Import,
    Kind,
    Limits,
    Module,
    TableType,
)
from ..wasm.names import encode_function_names, function_names
from ..wasm.opcodes import GLOBAL_SET, I32_CONST, INSTRUCTIONS, REF_FUNC, Imm
from ..wasm.sections import encode_const_instr
from .bodies import Bodies
from .constants import Constants
from .flatten import Item, Program, Target, flatten
from .forwarding import Tables, forwarders
from .stack_guard import Refusal, StackGuard, guarded, wrapper


class External(NamedTuple):
    """A function import of the finished module."""

    module: str
    name: str


class Unreachable(NamedTuple):
    """A function that cannot be called: it traps."""

    type: FuncType


Function: TypeAlias = Item | External | Unreachable


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """What the linked module keeps and what takes the place of the component's outside world.

    `exports` maps the name of an export to the name under which some module of the component exports it.
    `stubs` maps the name of an exported function to the import that every use of it becomes.
    `host_functions` maps a function of the component's host to the exported function that replaces it, or to None if
    it cannot be called and may trap; one that is used and not in the map is an error.
    """

    exports: Mapping[str, str]
    stubs: Mapping[str, External] = field(default_factory=dict)
    host_functions: Mapping[HostFunction, str | None] = field(default_factory=dict)
    guard: StackGuard = field(default_factory=StackGuard)


def link(component: Component, plan: LinkPlan) -> Module:
    """One core module that does what the component's core modules do together.

    Raises LinkError when they do not fit together or the plan names what is not there, and UnsupportedWasm (with the
    offset in the component) for what this linker does not handle.
    """
    program = flatten(component)
    constants = Constants(program)
    bodies = Bodies(program)
    tables = Tables(program, constants)
    resolver = _Resolver(program, plan, forwarders(program, tables))
    reach = _Reach(program, bodies, resolver)
    reach.run(resolver.roots())
    wrapped = {item: refusal for item, refusal in guarded(program, bodies, plan.guard) if item in reach.functions}
    numbering = _Numbering(program, bodies, reach, wrapped)
    return _Emitter(program, constants, bodies, resolver, reach, numbering, plan).module()


class _Resolver:
    """What a reference to a function means in the finished module."""

    def __init__(self, program: Program, plan: LinkPlan, forwards: Mapping[Item, Target]) -> None:
        self.program = program
        self.plan = plan
        self.forwards = forwards
        self.stubs = {self._exported(name): external for name, external in plan.stubs.items()}

    def _exported(self, name: str) -> Item:
        target = self.program.find_export(name)
        if isinstance(target, Item):
            target = self.forwards.get(target, target)
        if not isinstance(target, Item):
            raise LinkError(f"no module of the component defines an export {name!r}")
        return target

    def roots(self) -> list[Item]:
        """What stays in any case: the exports, and what the stack guard asks."""
        return [*self.exports().values(), *([self.check()] if self.plan.guard.refusals else [])]

    def check(self) -> Item:
        """The function that the stack guard asks."""
        return self._exported(self.plan.guard.check)

    def exports(self) -> dict[str, Item]:
        """The exports to keep, with what they are."""
        return {new_name: self._exported(name) for new_name, name in sorted(self.plan.exports.items())}

    def function(self, target: Target, functype: FuncType) -> Function:
        """Follow forwarders and the plan's substitutions; `functype` is the type at the place of use."""
        if isinstance(target, Item):
            target = self.forwards.get(target, target)
        if isinstance(target, HostFunction):
            replacement = self._host_function(target, functype)
            if replacement is None:
                return Unreachable(functype)
            target = replacement
        return self.stubs.get(target, target)

    def _host_function(self, function: HostFunction, functype: FuncType) -> Item | None:
        where = f"the host function {function.interface} {function.name}"
        if function not in self.plan.host_functions:
            raise LinkError(f"nothing takes the place of {where}")
        name = self.plan.host_functions[function]
        if name is None:
            return None
        target = self._exported(name)
        found = self.program.instances[target.instance].functype(target.index)
        if found != functype:
            raise LinkError(f"{name!r} cannot take the place of {where}: its type is {found}, not {functype}")
        return target


_TABLE_CHANGES: Final = ("table.set", "table.init", "table.copy", "table.grow", "table.fill", "elem.drop")


class _Reach:
    """Everything that the exports reach. All tables that are reached keep all their slots."""

    def __init__(self, program: Program, bodies: Bodies, resolver: _Resolver) -> None:
        self.program = program
        self.bodies = bodies
        self.resolver = resolver
        self.functions: set[Item] = set()
        self.externals: dict[External, FuncType] = {}
        self.unreachables: set[FuncType] = set()
        self.globals: set[Item] = set()
        self.changed_globals: set[Item] = set()
        self.tables: set[Item] = set()
        self.passive_data: set[tuple[int, int]] = set()
        self.referenced: set[tuple[int, int]] = set()
        self._pending: list[Item] = []

    def run(self, roots: Iterable[Item]) -> None:
        """Collect everything, starting from what stays in any case."""
        for item in roots:
            self._reach(item)
            if item.kind is Kind.GLOBAL:
                self.changed_globals.add(item)  # whoever imports it may change it
        while self._pending:
            self._walk(self._pending.pop())

    def _reach(self, item: Item) -> None:
        match item.kind:
            case Kind.FUNC:
                if item not in self.functions:
                    self.functions.add(item)
                    self._pending.append(item)
            case Kind.GLOBAL:
                self.globals.add(item)
            case Kind.TABLE:
                if item not in self.tables:
                    self.tables.add(item)
                    self._table(item)
            case Kind.MEMORY:
                pass  # there is one, and it always stays

    def _function(self, instance: int, index: int) -> None:
        functype = self.program.instances[instance].functype(index)
        match self.resolver.function(self.program.instances[instance].spaces[Kind.FUNC][index], functype):
            case External() as external:
                known = self.externals.setdefault(external, functype)
                if known != functype:
                    raise LinkError(f"{external.module}.{external.name} is used as {known} and as {functype}")
            case Unreachable(unreachable):
                self.unreachables.add(unreachable)
            case item:
                self._reach(item)

    def _table(self, table: Item) -> None:
        for number, instance in enumerate(self.program.instances):
            for segment in instance.module.elements:
                if segment.table is not None and instance.spaces[Kind.TABLE][segment.table] == table:
                    for function in segment.functions:
                        if function is not None:
                            self._function(number, function)

    def _walk(self, item: Item) -> None:
        spaces = self.program.instances[item.instance].spaces
        for stop in self.bodies.stops(item):
            name = INSTRUCTIONS[stop.opcode].name
            if name in _TABLE_CHANGES:
                raise UnsupportedWasm(f"{name}: tables that change", self.bodies.code(item).offset + stop.start)
            for imm, index in stop.operands:
                match imm:
                    case Imm.FUNC:
                        self._function(item.instance, index)
                        if stop.opcode == REF_FUNC:
                            self.referenced.add((item.instance, index))
                    case Imm.GLOBAL:
                        target = _item(spaces, Kind.GLOBAL, index)
                        self._reach(target)
                        if stop.opcode == GLOBAL_SET:
                            self.changed_globals.add(target)
                    case Imm.TABLE:
                        self._reach(_item(spaces, Kind.TABLE, index))
                    case Imm.DATA:
                        self.passive_data.add((item.instance, index))


def _item(spaces: Mapping[Kind, list[Target]], kind: Kind, index: int) -> Item:
    target = spaces[kind][index]
    if not isinstance(target, Item):
        raise LinkError(f"a {kind.name.lower()} cannot come from the host of a component")
    return target


class _Numbering:
    """The index of everything in the finished module. Imports come first, then functions in program order."""

    def __init__(self, program: Program, bodies: Bodies, reach: _Reach, wrapped: dict[Item, int | None]) -> None:
        self.externals = sorted(reach.externals)
        self.items = sorted(reach.functions)
        self.unreachables = sorted(reach.unreachables)
        self.wrapped = wrapped
        order: list[Function] = [*self.externals, *self.items, *map(Unreachable, self.unreachables)]
        self.functions = {function: number for number, function in enumerate(order)}
        self.inner = {item: len(order) + number for number, item in enumerate(wrapped)}
        self.constants = reach.globals - reach.changed_globals
        self.globals = {item: number for number, item in enumerate(sorted(reach.changed_globals))}
        self.tables = {item: number for number, item in enumerate(sorted(reach.tables))}
        self.data = _data_numbers(program, reach)
        used = [*reach.externals.values(), *(bodies.functype(item) for item in self.items), *self.unreachables]
        types = {*used, *_other_types(program, bodies, self.items)}
        self.types = {functype: number for number, functype in enumerate(sorted(types))}


def _other_types(program: Program, bodies: Bodies, items: list[Item]) -> set[FuncType]:
    """The types that bodies name themselves: of indirect calls and of blocks."""
    return {
        program.instances[item.instance].module.types[index]
        for item in items
        for stop in bodies.stops(item)
        for imm, index in stop.operands
        if imm in (Imm.TYPE, Imm.BLOCKTYPE)
    }


def _data_numbers(program: Program, reach: _Reach) -> dict[tuple[int, int], int]:
    kept = [
        (number, index)
        for number, instance in enumerate(program.instances)
        for index, segment in enumerate(instance.module.data)
        if segment.offset is not None or (number, index) in reach.passive_data
    ]
    return {key: number for number, key in enumerate(kept)}


@dataclass(slots=True)
class _Emitter:
    """Writes the finished module; all decisions are made by now."""

    program: Program
    constants: Constants
    bodies: Bodies
    resolver: _Resolver
    reach: _Reach
    numbering: _Numbering
    plan: LinkPlan

    def module(self) -> Module:
        module = Module(types=list(self.numbering.types))
        types, reach = self.numbering.types, self.reach
        module.imports = [
            Import(item.module, item.name, Kind.FUNC, types[reach.externals[item]]) for item in self.numbering.externals
        ]
        self._emit_functions(module)
        module.tables = [self._table_type(item) for item in self.numbering.tables]
        module.memories = [self._memory()]
        module.globals = [self._global(item) for item in self.numbering.globals]
        module.exports = [Export(name, *self._export(item)) for name, item in self.resolver.exports().items()]
        module.elements = list(self._elements())
        module.data = [self._data(*key) for key in self.numbering.data]
        module.customs = [self._names()]
        return module

    def _emit_functions(self, module: Module) -> None:
        types, wrapped = self.numbering.types, self.numbering.wrapped
        maps = [self._index_map(number) for number in range(len(self.program.instances))]
        constants = [self._constant_globals(number) for number in range(len(self.program.instances))]

        def body(item: Item) -> Code:
            code = self.bodies.code(item)
            stops = self.bodies.stops(item)
            return Code(rewrite(code, maps[item.instance], constants[item.instance], stops), code.offset)

        for item in self.numbering.items:
            module.functions.append(types[self.bodies.functype(item)])
            module.code.append(self._wrapper(item) if item in wrapped else body(item))
        for functype in self.numbering.unreachables:
            module.functions.append(types[functype])
            module.code.append(Code(b"\x00\x00\x0b", 0))  # no locals, unreachable, end
        for item in self.numbering.wrapped:
            module.functions.append(types[self.bodies.functype(item)])
            module.code.append(body(item))

    def _wrapper(self, item: Item) -> Code:
        guard = self.plan.guard
        pointer = self.program.find_export(guard.stack_pointer)
        if not isinstance(pointer, Item) or pointer not in self.numbering.globals:
            raise LinkError(f"the stack guard needs a mutable global that is exported as {guard.stack_pointer!r}")
        params = len(self.bodies.functype(item).params)
        inner, stack_pointer = self.numbering.inner[item], self.numbering.globals[pointer]
        value = self.numbering.wrapped[item]
        refusal = None if value is None else Refusal(self.numbering.functions[self.resolver.check()], value)
        return Code(wrapper(params, inner, stack_pointer, guard.frame, refusal), self.bodies.code(item).offset)

    def _index_map(self, number: int) -> Mapping[Imm, IndexOf]:
        instance, numbering = self.program.instances[number], self.numbering
        spaces = instance.spaces
        return IndexMap(
            type=lambda i: numbering.types[instance.module.types[i]],
            func=cache(lambda i: self._function(number, i)),
            table=lambda i: numbering.tables[_item(spaces, Kind.TABLE, i)],
            memory=lambda _: 0,
            global_=lambda i: numbering.globals[_item(spaces, Kind.GLOBAL, i)],
            data=lambda i: numbering.data[number, i],
        ).by_immediate()

    def _function(self, number: int, index: int) -> int:
        instance = self.program.instances[number]
        function = self.resolver.function(instance.spaces[Kind.FUNC][index], instance.functype(index))
        return self.numbering.functions[function]

    def _constant_globals(self, number: int) -> dict[int, bytes]:
        """For each global of an instance that never changes, the instruction that gives its value."""
        return {
            index: encode_const_instr(self.constants.of_global(target))
            for index, target in enumerate(self.program.instances[number].spaces[Kind.GLOBAL])
            if isinstance(target, Item) and target in self.numbering.constants
        }

    def _table_type(self, item: Item) -> TableType:
        instance = self.program.instances[item.instance]
        declared = instance.module.tables[item.index - instance.imported[Kind.TABLE]]
        return TableType(declared.element, Limits(declared.limits.minimum, declared.limits.maximum))

    def _memory(self) -> Limits:
        memories = [limits for instance in self.program.instances for limits in instance.module.memories]
        if len(memories) != 1:
            raise LinkError(f"the component has {len(memories)} memories, one is supported")
        return memories[0]

    def _global(self, item: Item) -> Global:
        instance = self.program.instances[item.instance]
        declared = instance.module.globals[item.index - instance.imported[Kind.GLOBAL]]
        return Global(declared.type, (self.constants.of_global(item),))

    def _export(self, item: Item) -> tuple[Kind, int]:
        match item.kind:
            case Kind.FUNC:
                return item.kind, self.numbering.functions[item]
            case Kind.TABLE:
                return item.kind, self.numbering.tables[item]
            case Kind.MEMORY:
                return item.kind, 0
            case Kind.GLOBAL:
                return item.kind, self.numbering.globals[item]

    def _elements(self) -> Iterator[Element]:
        for number, instance in enumerate(self.program.instances):
            for segment in instance.module.elements:
                if segment.table is None or segment.offset is None:
                    continue
                table = _item(instance.spaces, Kind.TABLE, segment.table)
                if table in self.numbering.tables:
                    functions = [None if index is None else self._function(number, index) for index in segment.functions]
                    offset = _i32_const(self.constants.address(number, segment.offset))
                    yield Element(functions, self.numbering.tables[table], offset)
        if self.reach.referenced:
            functions = sorted({self._function(number, index) for number, index in self.reach.referenced})
            yield Element(list(functions), declarative=True)

    def _data(self, number: int, index: int) -> Data:
        segment = self.program.instances[number].module.data[index]
        if segment.offset is None:
            return segment
        return Data(segment.content, _i32_const(self.constants.address(number, segment.offset)))

    def _names(self) -> Custom:
        names = [function_names(instance.module) for instance in self.program.instances]
        found = {
            **{number: names[item.instance].get(item.index) for item, number in self._inner_or_own().items()},
            **{number: external.name for number, external in enumerate(self.numbering.externals)},
        }
        return encode_function_names({number: name for number, name in found.items() if name is not None})

    def _inner_or_own(self) -> dict[Item, int]:
        """Where the body of each function is: behind its wrapper, if it has one."""
        own = {item: self.numbering.functions[item] for item in self.numbering.items}
        return {**own, **self.numbering.inner}


def _i32_const(value: int) -> ConstExpr:
    return (ConstInstr(I32_CONST, value - 0x100000000 if value & 0x80000000 else value),)
