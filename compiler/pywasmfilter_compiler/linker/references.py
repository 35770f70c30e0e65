"""What a program refers to by address: the calls that no `call` instruction shows.

A function can be called through the table by whoever knows its slot, and slots are numbers in code and in memory. For
the code and the static data of libraries they are known exactly (`libraries`). Where an object of static data ends and
the next begins is not written down; an object here is what lies between two addresses at which one surely begins: those
of exported symbols, those that static data refers to, and those that the plan recognizes.

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
_BEFORE: Final = 16
"""How many bytes in front of an object an address may be that is meant for it."""


class Uses(NamedTuple):
    """What something refers to: functions, slots of the table, and objects of static data by their number."""

    functions: frozenset[int] = frozenset()
    slots: frozenset[int] = frozenset()
    objects: frozenset[int] = frozenset()


@dataclass(slots=True)
class References:
    """All references of a linked module besides the functions that its instructions name.

    `functions` has those of each function by its funcidx, `objects` those of each object; see above for `memory` and
    `start`.
    """

    functions: dict[int, Uses] = field(default_factory=dict)
    objects: list[Uses] = field(default_factory=list)
    memory: Uses = field(default_factory=Uses)
    start: Uses = field(default_factory=Uses)

    def encode(self) -> Custom:
        """As a custom section."""
        numbered = [u32(index) + _encode(uses) for index, uses in sorted(self.functions.items())]
        objects = [_encode(uses) for uses in self.objects]
        return Custom(SECTION, vec(numbered) + vec(objects) + _encode(self.memory) + _encode(self.start))

    @classmethod
    def decode(cls, content: bytes) -> References:
        """The references that a custom section holds."""
        cursor = Cursor(content)
        functions = dict(cursor.vec(lambda c: (c.u32(), _decode(c))))
        return cls(functions, cursor.vec(_decode), _decode(cursor), _decode(cursor))


def _encode(uses: Uses) -> bytes:
    return b"".join(vec([u32(number) for number in sorted(numbers)]) for numbers in uses)


def _decode(cursor: Cursor) -> Uses:
    return Uses(*(frozenset(cursor.vec(Cursor.u32)) for _ in range(3)))


class StaticData:
    """Memory with what is known of its words, for whoever recognizes structures."""

    def __init__(self, memory: bytes) -> None:
        self.words = array("I", memory)
        self.addresses: dict[int, int] = {}
        """Words that hold an address of static data, by where they stand."""
        self.slots: dict[int, int] = {}
        """Words that hold a slot of the table."""

    def word(self, address: int) -> int:
        """The 32 bits at an address, which is a multiple of four."""
        return self.words[address // 4]

    def is_number(self, address: int) -> bool:
        """Whether a word is neither an address nor a slot."""
        return address not in self.addresses and address not in self.slots

    def is_address(self, address: int) -> bool:
        """Whether a word is an address, or nothing."""
        return address in self.addresses or (address not in self.slots and self.word(address) == 0)

    def is_slot(self, address: int) -> bool:
        """Whether a word is a slot, or nothing."""
        return address in self.slots or (address not in self.addresses and self.word(address) == 0)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a plan knows of the libraries.

    `begins` says whether at an address that code refers to an object surely begins. `undivided` names objects whose
    insides others refer to. `served` names functions: a library that exports one of them runs only what others call.
    `finished` names functions too: a library that exports one of them is not wanted any more, whatever memory knows of
    it. `stack` is the exported names of the two ends of the stack, which holds nothing once all calls have returned.
    """

    begins: Callable[[StaticData, int], bool]
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
        self.static = StaticData(_memory(program, constants))
        self.places: list[int] = []
        for library in self.libraries.values():
            for where, is_slot, value in library.relocations():
                (self.static.slots if is_slot else self.static.addresses)[where] = value
                self.places.append(where)
        self.places.sort()
        self.regions = list(self._regions())
        instances = enumerate(program.instances)
        self.finished = {number for number, each in instances if layout.finished & each.exports.keys()}
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
            memory=self._in_memory(),
            start=self._start(),
        )

    def _regions(self) -> Iterator[tuple[int, int, int]]:
        """Of each library: where its data begins, its first address in there, and behind the last. In between are all
        objects that hold any; in front is what is constant.
        """
        bases = sorted(library.memory_base for library in self.libraries.values())
        for start, end in pairwise([*bases, len(self.static.words) * 4]):
            inside = self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]
            if inside:
                yield start, inside[0], inside[-1] + 4

    def _holds(self, address: int) -> bool:
        return any(first <= address < end for _, first, end in self.regions)

    def _addresses(self, item: Item) -> Addresses:
        library = self.libraries.get(item.instance)
        if library is None:
            return Addresses()
        return library.addresses(self.program.code(item), self.bodies.stops(item))

    def _begins(self) -> list[int]:
        """Where objects begin. The first is in front of all, the last behind."""
        symbols = sorted({address for library in self.libraries.values() for address in library.symbols.values()})
        inside = [self._extent(library, symbols) for library in self.libraries.values()]
        undivided = [extent for extents in inside for extent in extents]
        referred = {
            address
            for address in self.static.addresses.values()
            if not any(start < address < end for start, end in undivided)
        }
        candidates = {address for addresses in self.known.values() for address in addresses.data if address % 4 == 0}
        recognized = {
            address for address in filter(self._holds, candidates) if self.layout.begins(self.static, address)
        }
        edges = {edge for _, *edges in self.regions for edge in edges}
        return sorted({0, *edges, *filter(self._holds, referred.union(recognized, symbols))})

    def _extent(self, library: Library, symbols: list[int]) -> list[tuple[int, int]]:
        """From where to where an undivided object may reach: up to the next symbol."""
        own = [address for name, address in library.symbols.items() if name in self.layout.undivided]
        ends = [*symbols, len(self.static.words) * 4]
        return [(address, ends[bisect_right(symbols, address)]) for address in own]

    def _object(self, address: int) -> int:
        return bisect_right(self.begins, address) - 1

    def _uses(self, addresses: Addresses) -> Uses:
        """An address just in front of an object may be meant for it: arrays are counted from -1 then."""
        held = [address for address in addresses.data if self._holds(address) or self._holds(address + _BEFORE)]
        objects = {self._object(place) for address in held for place in (address, address + _BEFORE)}
        return Uses(slots=addresses.slots, objects=frozenset(objects - {0}))

    def _objects(self) -> Iterator[Uses]:
        for start, end in pairwise([*self.begins, len(self.static.words) * 4]):
            places = self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]
            addresses = [self.static.addresses[place] for place in places if place in self.static.addresses]
            yield Uses(
                slots=frozenset(self.static.slots[place] for place in places if place in self.static.slots),
                objects=frozenset(self._object(address) for address in filter(self._holds, addresses)),
            )

    def _in_memory(self) -> Uses:
        """All that words of memory could mean, but for those of the stack, of constants, and those known already."""
        words = self.static.words
        skipped = [(start, first) for start, first, _ in self.regions]
        low, high = (self.program.find_export(name) for name in self.layout.stack)
        if isinstance(low, Item) and isinstance(high, Item):
            skipped.append((self.constants.of_global(low).value, self.constants.of_global(high).value))
        values: set[int] = set()
        position = 0
        for start, end in sorted(skipped):
            values.update(self._unknown(position, start))
            position = end
        values.update(words[position // 4 :])
        return Uses(
            slots=frozenset(values.intersection(self._table())),
            objects=frozenset(self._object(value) for value in values if value % 4 == 0 and self._wanted(value)),
        )

    def _wanted(self, address: int) -> bool:
        bases = {self.libraries[number].memory_base for number in self.finished & self.libraries.keys()}
        return any(first <= address < end for start, first, end in self.regions if start not in bases)

    def _unknown(self, start: int, end: int) -> Iterable[int]:
        """The words between two addresses without those that are as the libraries made them."""
        words, position = self.static.words, start
        for place in self.places[bisect_left(self.places, start) : bisect_left(self.places, end)]:
            yield from words[position // 4 : place // 4]
            original = self.static.addresses.get(place, self.static.slots.get(place))
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
