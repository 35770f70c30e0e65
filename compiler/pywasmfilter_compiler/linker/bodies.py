"""Function bodies of a program, each walked at most once."""

from __future__ import annotations

from ..wasm.instructions import Stop, stops
from ..wasm.module import Code, FuncType, Kind
from .flatten import Item, Program


class Bodies:
    """Access to the code of functions by their Item; remembers where their movable indices are."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._stops: dict[Item, list[Stop]] = {}

    def code(self, item: Item) -> Code:
        """The undecoded body."""
        instance = self.program.instances[item.instance]
        return instance.module.code[item.index - instance.imported[Kind.FUNC]]

    def functype(self, item: Item) -> FuncType:
        """The type of a function."""
        return self.program.instances[item.instance].functype(item.index)

    def stops(self, item: Item) -> list[Stop]:
        """The instructions of a function that name something linking moves."""
        if item not in self._stops:
            self._stops[item] = list(stops(self.code(item)))
        return self._stops[item]
