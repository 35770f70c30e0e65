"""Join the instances of a component into one core module.

The passes, each over everything before the next begins:

 1. flatten the instantiations, evaluate constants, fill the tables (`flatten`, `constants`, `forwarding`);
 2. say what every function reference means: forwarders give way to their target, host functions and stubs to what the
    plan puts in their place (`_Resolver`);
 3. find what the kept exports and tables reach (`_Reach`);
 4. number everything that stays (`_Numbering`);
 5. rewrite the bodies with the new numbers and emit the module (`_Emitter`).

Limits, each an error that says so: a module instantiated twice, start functions, more than one memory, instructions
that change tables, host imports other than functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from ..component.model import Component, HostFunction
from ..errors import BinaryError, LinkError, MalformedWasm, UnsupportedWasm
from ..wasm.instructions import IndexMap, IndexOf, Stop, rewrite
from ..wasm.module import (
    I32,
    Code,
    Custom,
    Data,
    Element,
    Export,
    FuncType,
    Global,
    GlobalType,
    Import,
    Kind,
    Limits,
    Module,
    TableType,
)
from ..wasm.names import encode_function_names
from ..wasm.opcodes import GLOBAL_SET, INSTRUCTIONS, REF_FUNC, Imm
from ..wasm.sections import encode_const_instr, i32_const
from .bodies import Bodies
from .constants import Constants
from .flatten import Instance, Item, Program, Target, flatten
from .forwarding import Tables, forwarders
from .references import Layout, survey
from .stack_guard import CHECK_TYPE, Refusal, StackGuard, guarded, wrapper


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
    it cannot be called and may trap; one that is used and not in the map is an error. `layout` says how to read the
    libraries' static data: with it the module has a section for `prune`.
    """

    exports: Mapping[str, str]
    stubs: Mapping[str, External] = field(default_factory=dict)
    host_functions: Mapping[HostFunction, str | None] = field(default_factory=dict)
    guard: StackGuard = field(default_factory=StackGuard)
    layout: Layout | None = None


def link(component: Component, plan: LinkPlan) -> Module:
    """One core module that does what the component's core modules do together.

    Raises LinkError when they do not fit together or the plan names what is not there; and with the offset in the
    component UnsupportedWasm for what this linker does not handle, MalformedWasm for a body that cannot be read.
    """
    program = flatten(component)
    constants = Constants(program)
    resolver = _Resolver(program, plan, forwarders(program, Tables(program, constants)))
    bodies = Bodies(program)
    reach = _Reach(program, bodies, resolver)
    reach.run(resolver.roots())
    wrapped = dict(guarded(program, bodies, plan.guard, reach.functions))
    if wrapped:
        reach.keep(resolver.stack_pointer())
    numbering = _Numbering(program, reach, wrapped)
    module = _Emitter(program, constants, bodies, resolver, reach, numbering, plan).module()
    if plan.layout is not None:
        callees = partial(_callees, bodies, resolver)
        found = survey(program, constants, bodies, plan.layout, numbering.body, callees)
        module.customs.append(found.encode())
    return module


def _callees(bodies: Bodies, resolver: _Resolver, item: Item) -> Iterator[Item]:
    for stop in bodies.stops(item):
        for imm, index in stop.operands:
            if imm is Imm.FUNC and isinstance(function := resolver.function(item.instance, index), Item):
                yield function


class _Resolver:
    """What a reference to a function means in the finished module."""

    def __init__(self, program: Program, plan: LinkPlan, forwards: Mapping[Item, Target]) -> None:
        self.program = program
        self.plan = plan
        self.forwards = forwards
        self._stubs = {self._exported_function(name): external for name, external in plan.stubs.items()}
        self._resolved: dict[tuple[int, int], Function] = {}

    def _exported(self, name: str) -> Item:
        target = self.program.find_export(name)
        if isinstance(target, Item):
            target = self.forwards.get(target, target)
        if not isinstance(target, Item):
            raise LinkError(f"no module of the component defines an export {name!r}")
        return target

    def _exported_function(self, name: str) -> Item:
        item = self._exported(name)
        if item.kind is not Kind.FUNC:
            raise LinkError(f"the export {name!r} is a {item.kind.name.lower()}, not a function")
        return item

    def exports(self) -> dict[str, Item]:
        """The exports to keep, with what they are."""
        return {new_name: self._exported(name) for new_name, name in sorted(self.plan.exports.items())}

    def roots(self) -> list[Item]:
        """What stays in any case: the exports, and what the stack guard asks."""
        return [*self.exports().values(), *([self.check()] if self.plan.guard.refusals else [])]

    def check(self) -> Item:
        """The function that the stack guard asks."""
        name = self.plan.guard.check
        item = self._exported_function(name)
        if self.program.functype(item) != CHECK_TYPE:
            raise LinkError(f"the stack guard cannot ask {name!r}: its type is {self.program.functype(item)}")
        return item

    def stack_pointer(self) -> Item:
        """The global that the stack guard moves."""
        name = self.plan.guard.stack_pointer
        item = self._exported(name)
        if self.program.type(item) != GlobalType(I32, mutable=True):
            raise LinkError(f"the stack guard needs a mutable i32 global; the export {name!r} is none")
        return item

    def item(self, item: Item) -> Item | External:
        """What a function that a module defines becomes."""
        return self._stubs.get(item, item)

    def function(self, instance: int, index: int) -> Function:
        """What a funcidx of an instance means: follows forwarders and the plan's substitutions."""
        key = instance, index
        if key not in self._resolved:
            target = self.program.instances[instance].spaces[Kind.FUNC][index]
            self._resolved[key] = self._resolve(target, self.program.instances[instance].functype(index))
        return self._resolved[key]

    def _resolve(self, target: Target, functype: FuncType) -> Function:
        if isinstance(target, Item):
            target = self.forwards.get(target, target)
        if isinstance(target, HostFunction):
            replacement = self._host_function(target, functype)
            if replacement is None:
                return Unreachable(functype)
            target = replacement
        return self.item(target)

    def _host_function(self, function: HostFunction, functype: FuncType) -> Item | None:
        where = f"the host function {function.interface} {function.name}"
        if function not in self.plan.host_functions:
            raise LinkError(f"nothing takes the place of {where}")
        name = self.plan.host_functions[function]
        if name is None:
            return None
        target = self._exported_function(name)
        found = self.program.functype(target)
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
        self.kept_globals: set[Item] = set()
        """Those that cannot become constants."""
        self.tables: set[Item] = set()
        self.types: set[FuncType] = set()
        """Those that bodies name: of indirect calls and of blocks."""
        self.passive_data: set[tuple[int, int]] = set()
        self.referenced: set[tuple[int, int]] = set()
        self._pending: list[Item] = []
        self._sizes = [_sizes(instance) for instance in program.instances]
        self._seen: list[set[tuple[object, ...]]] = [set() for _ in program.instances]

    def run(self, roots: Iterable[Item]) -> None:
        """Collect everything, starting from what stays in any case."""
        for item in roots:
            match item.kind:
                case Kind.FUNC:
                    self._function(self.resolver.item(item), self.program.functype(item))
                case Kind.GLOBAL:
                    self.keep(item)  # whoever imports it may change it
                case Kind.TABLE:
                    self._table(item)
                case Kind.MEMORY:
                    pass  # there is one, and it always stays
        while self._pending:
            item = self._pending.pop()
            try:
                self._walk(item)
            except BinaryError as error:
                where = f"function {self.program.name(item)}: "
                raise type(error)(where + error.message, error.offset) from None

    def keep(self, item: Item) -> None:
        """Keep a global as such, also if nothing changes it."""
        self.globals.add(item)
        self.kept_globals.add(item)

    def _function(self, function: Function, functype: FuncType) -> None:
        match function:
            case Item():
                if function not in self.functions:
                    self.functions.add(function)
                    self._pending.append(function)
            case External():
                known = self.externals.setdefault(function, functype)
                if known != functype:
                    raise LinkError(f"{function.module}.{function.name} is used as {known} and as {functype}")
            case Unreachable():
                self.unreachables.add(function.type)

    def _funcidx(self, instance: int, index: int) -> None:
        self._function(self.resolver.function(instance, index), self.program.instances[instance].functype(index))

    def _table(self, table: Item) -> None:
        if table in self.tables:
            return
        self.tables.add(table)
        for number, instance in enumerate(self.program.instances):
            for segment in instance.module.elements:
                if segment.table is not None and instance.item(Kind.TABLE, segment.table) == table:
                    for function in segment.functions:
                        if function is not None:
                            self._funcidx(number, function)

    def _walk(self, item: Item) -> None:
        seen = self._seen[item.instance]
        for stop in self.bodies.stops(item):
            instruction = stop[2:]
            if instruction not in seen:
                self._check(item, stop)
                self._instruction(item.instance, stop)
                seen.add(instruction)

    def _check(self, item: Item, stop: Stop) -> None:
        """Refuse an instruction that changes a table, or names what its module does not have."""
        offset, name = self.program.code(item).offset + stop.start, INSTRUCTIONS[stop.opcode].name
        if name in _TABLE_CHANGES:
            raise UnsupportedWasm(f"{name}: tables that change", offset)
        for imm, index in stop.operands:
            if imm is not Imm.I32 and index >= self._sizes[item.instance][imm]:
                raise MalformedWasm(f"{name}: {imm} {index} does not exist", offset)

    def _instruction(self, number: int, stop: Stop) -> None:
        instance = self.program.instances[number]
        for imm, index in stop.operands:
            match imm:
                case Imm.FUNC:
                    self._funcidx(number, index)
                    if stop.opcode == REF_FUNC:
                        self.referenced.add((number, index))
                case Imm.GLOBAL:
                    self.globals.add(instance.item(Kind.GLOBAL, index))
                    if stop.opcode == GLOBAL_SET:
                        self.keep(instance.item(Kind.GLOBAL, index))
                case Imm.TABLE:
                    self._table(instance.item(Kind.TABLE, index))
                case Imm.TYPE | Imm.BLOCKTYPE:
                    self.types.add(instance.module.types[index])
                case Imm.DATA:
                    self.passive_data.add((number, index))


def _sizes(instance: Instance) -> dict[Imm, int]:
    """How many things each index space of an instance holds."""
    types, data = len(instance.module.types), len(instance.module.data)
    spaces = {Imm.FUNC: Kind.FUNC, Imm.TABLE: Kind.TABLE, Imm.MEMORY: Kind.MEMORY, Imm.GLOBAL: Kind.GLOBAL}
    sizes = {imm: len(instance.spaces[kind]) for imm, kind in spaces.items()}
    return {**sizes, Imm.TYPE: types, Imm.BLOCKTYPE: types, Imm.DATA: data}


class _Numbering:
    """The index of everything in the finished module. Imports come first, then functions in program order."""

    def __init__(self, program: Program, reach: _Reach, wrapped: dict[Item, int | None]) -> None:
        self.externals = sorted(reach.externals)
        self.items = sorted(reach.functions)
        self.unreachables = sorted(reach.unreachables)
        self.wrapped = wrapped
        order: list[Function] = [*self.externals, *self.items, *map(Unreachable, self.unreachables)]
        self.functions = {function: number for number, function in enumerate(order)}
        self.inner = {item: len(order) + number for number, item in enumerate(wrapped)}
        self.constants = reach.globals - reach.kept_globals
        self.globals = {item: number for number, item in enumerate(sorted(reach.kept_globals))}
        self.tables = {item: number for number, item in enumerate(sorted(reach.tables))}
        self.data = _data_numbers(program, reach)
        functypes = {program.functype(item) for item in self.items}
        types = functypes | reach.types | reach.unreachables | {*reach.externals.values()}
        self.types = {functype: number for number, functype in enumerate(sorted(types))}

    def body(self, item: Item) -> int | None:
        """The funcidx of a function's own body, behind its wrapper if there is one."""
        return self.inner.get(item, self.functions.get(item))


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
        module.memories = self._memories()
        module.globals = [self._global(item) for item in self.numbering.globals]
        module.exports = [Export(name, *self._export(item)) for name, item in self.resolver.exports().items()]
        module.elements = list(self._elements())
        module.data = [self._data(*key) for key in self.numbering.data]
        module.customs = [self._names()]
        return module

    def _emit_functions(self, module: Module) -> None:
        types, wrapped = self.numbering.types, self.numbering.wrapped
        rewriters = [
            partial(rewrite, index_map=self._index_map(number), constants=self._constant_globals(number), memo={})
            for number in range(len(self.program.instances))
        ]

        def body(item: Item) -> Code:
            code = self.program.code(item)
            return Code(rewriters[item.instance](code, known_stops=self.bodies.stops(item)), code.offset)

        for item in self.numbering.items:
            module.functions.append(types[self.program.functype(item)])
            module.code.append(self._wrapper(item) if item in wrapped else body(item))
        for functype in self.numbering.unreachables:
            module.functions.append(types[functype])
            module.code.append(Code(b"\x00\x00\x0b", 0))  # no locals, unreachable, end
        for item in self.numbering.wrapped:
            module.functions.append(types[self.program.functype(item)])
            module.code.append(body(item))

    def _wrapper(self, item: Item) -> Code:
        params, inner = len(self.program.functype(item).params), self.numbering.inner[item]
        stack_pointer = self.numbering.globals[self.resolver.stack_pointer()]
        value = self.numbering.wrapped[item]
        refusal = None if value is None else Refusal(self._item(self.resolver.check()), value)
        body = wrapper(params, inner, stack_pointer, self.plan.guard.frame, refusal)
        return Code(body, self.program.code(item).offset)

    def _index_map(self, number: int) -> Mapping[Imm, IndexOf]:
        instance, numbering = self.program.instances[number], self.numbering
        return IndexMap(
            type=lambda i: numbering.types[instance.module.types[i]],
            func=lambda i: self._function(number, i),
            table=lambda i: numbering.tables[instance.item(Kind.TABLE, i)],
            memory=lambda _: 0,
            global_=lambda i: numbering.globals[instance.item(Kind.GLOBAL, i)],
            data=lambda i: numbering.data[number, i],
        ).by_immediate()

    def _function(self, number: int, index: int) -> int:
        return self.numbering.functions[self.resolver.function(number, index)]

    def _item(self, item: Item) -> int:
        """The funcidx of a function that a module defines."""
        return self.numbering.functions[self.resolver.item(item)]

    def _constant_globals(self, number: int) -> dict[int, bytes]:
        """For each global of an instance that never changes, the instruction that gives its value."""
        return {
            index: encode_const_instr(self.constants.of_global(target))
            for index, target in enumerate(self.program.instances[number].spaces[Kind.GLOBAL])
            if isinstance(target, Item) and target in self.numbering.constants
        }

    def _table_type(self, item: Item) -> TableType:
        declared = self.program.table(item)
        return TableType(declared.element, Limits(declared.limits.minimum, declared.limits.maximum))

    def _memories(self) -> list[Limits]:
        memories = [limits for instance in self.program.instances for limits in instance.module.memories]
        if len(memories) > 1:
            raise LinkError(f"the component has {len(memories)} memories, one is supported")
        return memories

    def _global(self, item: Item) -> Global:
        return Global(self.program.global_(item).type, (self.constants.of_global(item),))

    def _export(self, item: Item) -> tuple[Kind, int]:
        match item.kind:
            case Kind.FUNC:
                return item.kind, self._item(item)
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
                table = self.numbering.tables.get(instance.item(Kind.TABLE, segment.table))
                if table is not None:
                    offset = i32_const(self.constants.address(number, segment.offset))
                    functions = [None if i is None else self._function(number, i) for i in segment.functions]
                    yield Element(functions, table, (offset,))
        if self.reach.referenced:
            functions = [*sorted({self._function(*reference) for reference in self.reach.referenced})]
            yield Element(functions, declarative=True)

    def _data(self, number: int, index: int) -> Data:
        segment = self.program.instances[number].module.data[index]
        if segment.offset is None:
            return segment
        return Data(segment.content, (i32_const(self.constants.address(number, segment.offset)),))

    def _names(self) -> Custom:
        """Names of imports, and of the bodies that modules bring: behind a wrapper, if there is one."""
        names = {number: external.name for number, external in enumerate(self.numbering.externals)}
        for item in self.numbering.items:
            name = self.program.instances[item.instance].names.get(item.index)
            if name is not None:
                names[self.numbering.inner.get(item, self.numbering.functions[item])] = name
        return encode_function_names(names)
