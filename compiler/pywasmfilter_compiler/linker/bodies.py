"""Function bodies of a program, each walked at most once."""

from __future__ import annotations

from ..wasm.instructions import Stop, stops
from .flatten import Item, Program


class Bodies:
    """Where the movable indices of each function are."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._stops: dict[Item, list[Stop]] = {}

    def stops(self, item: Item) -> list[Stop]:
        """The instructions of a function that name something linking moves."""
        if item not in self._stops:
            self._stops[item] = list(stops(self._program.code(item)))
        return self._stops[item]
