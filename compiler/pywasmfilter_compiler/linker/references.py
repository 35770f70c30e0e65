"""What a program refers to by address: the calls that no `call` instruction shows, and the data that is in use.

A function can be called through the table by whoever knows its slot, and slots are numbers in code and in memory. For
the code and the static data of libraries all addresses are known exactly (`libraries`), so it is known which objects of
static data, and which slots, each function and each object refers to. An object is what lies between two addresses that
anything refers to. That is sound because code refers to where objects begin: LLVM folds no offset into an address of
position-independent code (`isOffsetFoldingLegal`). Two exceptions are made: strings may share their ends, so an address
in the middle of one is no beginning; and of some objects, which the plan names, other objects know the insides.

What the program has stored in memory since it started is not known exactly. Every word that could be an address counts
as one (`References.memory`); whoever prunes leaves out what no code that ran can have known, for which it needs to know
what the code knew that ran at the start and is not in the module (`References.start`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from ..wasm.cursor import Cursor, u32, vec
from ..wasm.module import Custom, Kind
from .bodies import Bodies
from .constants import Constants
from .flatten import Item, Program
from .libraries import Addresses, Library, libraries

SECTION: Final = "linker.references"
_START: Final = ("_initialize", "__wasm_call_ctors")


class Uses(NamedTuple):
    """What something refers to: functions, slots of the table, and objects of static data by their number."""

    functions: frozenset[int] = frozenset()
    slots: frozenset[int] = frozenset()
    objects: frozenset[int] = frozenset()


@dataclass(slots=True)
class References:
    """All references of a linked module besides the functions that its instructions name.

    `functions` has those of each function by its funcidx, `objects` those of each object; see above for `memory` and
    `start`. `extents` has for each object where it begins and how many bytes it has.
    """

    functions: dict[int, Uses] = field(default_factory=dict)
    objects: list[Uses] = field(default_factory=list)
    extents: list[tuple[int, int]] = field(default_factory=list)
    memory: Uses = field(default_factory=Uses)
    start: Uses = field(default_factory=Uses)

    def encode(self) -> Custom:
        """As a custom section."""
        numbered = [u32(index) + _encode(uses) for index, uses in sorted(self.functions.items())]
        objects = [_encode(uses) for uses in self.objects]
        extents = [u32(start) + u32(size) for start, size in self.extents]
        content = vec(numbered) + vec(objects) + vec(extents) + _encode(self.memory) + _encode(self.start)
        return Custom(SECTION, content)

    @classmethod
    def decode(cls, content: bytes) -> References:
        """The references that a custom section holds."""
        cursor = Cursor(content)
        functions = dict(cursor.vec(lambda c: (c.u32(), _decode(c))))
        objects = cursor.vec(_decode)
        extents = cursor.vec(lambda c: (c.u32(), c.u32()))
        return cls(functions, objects, extents, _decode(cursor), _decode(cursor))


def _encode(uses: Uses) -> bytes:
    return b"".join(vec([u32(number) for number in sorted(numbers)]) for numbers in uses)


def _decode(cursor: Cursor) -> Uses:
    return Uses(*(frozenset(cursor.vec(Cursor.u32)) for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Layout:
    """What a plan knows of the libraries.

    `undivided` names objects whose insides other objects refer to. `served` names functions: a library that exports
    one of them runs only what others call.
    `finished` names functions too: a library that exports one of them is not wanted any more, whatever memory knows of
    it. `stack` is the exported names of the two ends of the stack, which holds nothing once all calls have returned.
    """

    undivided: frozenset[str] = frozenset()
    served: frozenset[str] = frozenset()
    finished: frozenset[str] = frozenset()
    stack: tuple[str, str] = ("__stack_low", "__stack_high")


FunctionIndex = Callable[[Item], int | None]
"""The funcidx that a function has in the linked module, if it is in there."""
Callees = Callable[[Item], Iterable[Item]]
"""The functions that a function calls."""


def survey(
    program: Program, constants: Constants, bodies: Bodies, layout: Layout, index_of: FunctionIndex, callees: Callees
) -> References:
    """The references of the module that a program is linked to."""
    return _Survey(program, constants, bodies, layout, index_of, callees).references()


class _Region(NamedTuple):
    """The static data of a library: where it begins, its first address, and behind the last. In front of the first
    everything is constant; behind the last there is what was zero at first.
    """

    start: int
    first: int
    end: int
    finished: bool


class _Survey:
    def __init__(
        self,
        program: Program,
        constants: Constants,
        bodies: Bodies,
        layout: Layout,
        index_of: FunctionIndex,
        callees: Callees,
    ) -> None:
        self.program, self.constants, self.bodies, self.layout = program, constants, bodies, layout
        self.index_of, self.callees = index_of, callees
        self.libraries = libraries(program, constants)
        self.memory = _memory(program, constants)
        relocations = [each for library in self.libraries.values() for each in library.relocations()]
        self.addresses = {each.where: each.value for each in relocations if not each.is_slot}
        self.slots = {each.where: each.value for each in relocations if each.is_slot}
        self.places = sorted(each.where for each in relocations)
        instances = enumerate(program.instances)
        self.finished = {number for number, each in instances if layout.finished & each.exports.keys()}
        self.regions = [self._region(library) for library in self.libraries.values()]
        self.known = {item: self._addresses(item) for item in _functions(program)}
        self.begins = self._begins()

    def references(self) -> References:
        indices = {item: self.index_of(item) for item in self.known}
        return References(
            functions={
                index: uses
                for item, index in indices.items()
                if index is not None and any(uses := self._uses(self.known[item]))
            },
            objects=list(self._objects()),
            extents=list(self._extents()),
            memory=self._in_memory(),
            start=self._start(),
        )

    def _region(self, library: Library) -> _Region:
        bases = sorted(each.memory_base for each in self.libraries.values())
        start = library.memory_base
        end = min((base for base in bases if base > start), default=len(self.memory))
        inside = self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]
        first, last = (inside[0], inside[-1] + 4) if inside else (start, start)
        return _Region(start, first, last, library.number in self.finished)

    def _holds(self, address: int) -> bool:
        return any(region.start <= address < region.end for region in self.regions)

    def _addresses(self, item: Item) -> Addresses:
        library = self.libraries.get(item.instance)
        if library is None:
            return Addresses()
        return library.addresses(self.program.code(item), self.bodies.stops(item))

    def _begins(self) -> list[int]:
        """Where objects begin. The first is in front of all, the last behind."""
        symbols = sorted({address for library in self.libraries.values() for address in library.symbols.values()})
        undivided = [extent for library in self.libraries.values() for extent in self._undivided(library, symbols)]
        found = set(self.addresses.values()).union(symbols, *(addresses.data for addresses in self.known.values()))
        inside = {address for start, end in undivided for address in found if start < address < end}
        edges = {edge for region in self.regions for edge in (region.start, region.end)}
        starts = {address for address in found - inside if self._holds(address) and not self.memory[address - 1]}
        return sorted({0, *edges, *starts})

    def _undivided(self, library: Library, symbols: list[int]) -> list[tuple[int, int]]:
        """From where to where an undivided object may reach: up to the next symbol."""
        own = [address for name, address in library.symbols.items() if name in self.layout.undivided]
        ends = [*symbols, len(self.memory)]
        return [(address, ends[bisect_right(symbols, address)]) for address in own]

    def _object(self, address: int) -> int:
        return bisect_right(self.begins, address) - 1

    def _uses(self, addresses: Addresses) -> Uses:
        objects = frozenset(self._object(address) for address in filter(self._holds, addresses.data))
        return Uses(slots=addresses.slots, objects=objects)

    def _objects(self) -> Iterator[Uses]:
        for start, end in pairwise([*self.begins, len(self.memory)]):
            places = self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]
            addresses = frozenset(self.addresses[place] for place in places if place in self.addresses)
            yield self._uses(
                Addresses(addresses, frozenset(self.slots[place] for place in places if place in self.slots))
            )

    def _extents(self) -> Iterator[tuple[int, int]]:
        """What lies between the libraries' constants and data is no object."""
        for start, end in pairwise([*self.begins, len(self.memory)]):
            yield start, end - start if self._holds(start) else 0

    def _in_memory(self) -> Uses:
        """All that words of memory could mean, but for those of the stack, of constants, and those known already."""
        words = array("I", self.memory)
        skipped = [(region.start, region.first) for region in self.regions]
        low, high = (self.program.find_export(name) for name in self.layout.stack)
        if isinstance(low, Item) and isinstance(high, Item):
            skipped.append((self.constants.of_global(low).value, self.constants.of_global(high).value))
        values: set[int] = set()
        position = 0
        for start, end in [*sorted(skipped), (len(self.memory), 0)]:
            values.update(self._unknown(words, position, start))
            position = end
        return Uses(
            slots=frozenset(values.intersection(self._table())),
            objects=frozenset(self._object(value) for value in values if self._may_be_address(value)),
        )

    def _may_be_address(self, value: int) -> bool:
        """Objects that hold addresses begin and have their parts at multiples of four; constants may be bytes."""
        return any(
            region.start <= value < region.end and (value < region.first or value % 4 == 0)
            for region in self.regions
            if not region.finished
        )

    def _unknown(self, words: array[int], start: int, end: int) -> Iterable[int]:
        """The words between two addresses without those that are as the libraries made them."""
        position = start
        for place in self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]:
            yield from words[position // 4 : place // 4]
            original = self.addresses.get(place, self.slots.get(place))
            position = place if words[place // 4] != original else place + 4
        yield from words[position // 4 : end // 4]

    def _table(self) -> Iterator[int]:
        """The slots of the table that hold functions, but for those of libraries that are not wanted any more."""
        for number, instance in enumerate(self.program.instances):
            for segment in instance.module.elements:
                if segment.offset is not None and number not in self.finished:
                    start = self.constants.address(number, segment.offset)
                    yield from range(start, start + len(segment.functions))

    def _start(self) -> Uses:
        """What the functions knew that ran at the start and are not in the module."""
        pending = list(self._started())
        seen = set(pending)
        functions: set[int] = set()
        slots: set[int] = set()
        objects: set[int] = set()
        while pending:
            item = pending.pop()
            if (index := self.index_of(item)) is not None:
                functions.add(index)
                continue
            uses = self._uses(self.known[item])
            slots |= uses.slots
            objects |= uses.objects
            new = set(self.callees(item)) - seen
            seen |= new
            pending += new
        return Uses(frozenset(functions), frozenset(slots), frozenset(objects))

    def _started(self) -> Iterator[Item]:
        for number, instance in enumerate(self.program.instances):
            served = bool(self.layout.served & instance.exports.keys())
            for name, target in instance.exports.items():
                own = isinstance(target, Item) and target.kind is Kind.FUNC and target.instance == number
                if isinstance(target, Item) and own and (not served or name in _START):
                    yield target


def _functions(program: Program) -> Iterator[Item]:
    for number, instance in enumerate(program.instances):
        first = instance.imported[Kind.FUNC]
        yield from (Item(number, Kind.FUNC, first + position) for position in range(len(instance.module.code)))


def _memory(program: Program, constants: Constants) -> bytes:
    """What the program has in memory, from address 0 to the last that is not zero."""
    segments = [
        (constants.address(number, segment.offset), segment.content)
        for number, instance in enumerate(program.instances)
        for segment in instance.module.data
        if segment.offset is not None
    ]
    size = max((start + len(content) for start, content in segments), default=0)
    memory = bytearray(-size % 4 + size)
    for start, content in segments:
        memory[start : start + len(content)] = content
    return bytes(memory)
