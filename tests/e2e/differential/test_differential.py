"""The emulator does what Envoy does: the same traffic through both, the filter in both of its bodies."""

from __future__ import annotations

import difflib
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import FILTERS
from tests.e2e.differential import async_cases
from tests.e2e.differential.emulated import Emulated
from tests.e2e.differential.http_cases import CASES as HTTP
from tests.e2e.differential.observing import LAST
from tests.e2e.differential.real import Real, real
from tests.e2e.differential.sequences import PLACES, PLUGINS, made_up, sequences
from tests.e2e.differential.service_cases import CASES as SERVICES
from tests.e2e.differential.tcp_cases import CASES as TCP
from tests.e2e.scripting import INCLUDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder
    from tests.e2e.differential.cases import Case

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def worlds(build_filter: FilterBuilder) -> Iterator[Worlds]:
    """Envoy, and the emulator with either body."""
    module = build_filter("scripted", include=INCLUDED).path
    with real(module) as envoy:
        yield Worlds(envoy, Emulated(FILTERS / "scripted.py"), Emulated(module))


class Worlds:
    """Where a case can be seen through."""

    def __init__(self, envoy: Real, python: Emulated, wasm: Emulated) -> None:
        self._envoy, self._python, self._wasm = envoy, python, wasm

    def compare(self, case: Case) -> None:
        """Fails with all that Envoy and the emulator do not agree in."""
        python = self._python.run(case)
        assert ("> new_connection()" if case.is_tcp else LAST) in python.filter, f"{case.name} does not run"
        outcomes = {"python": python, "wasm": self._wasm.run(case), "envoy": self._envoy.run(case, python)}
        expected = outcomes["envoy"].lines()
        differences = [
            line
            for name in ("python", "wasm")
            for line in difflib.unified_diff(expected, outcomes[name].lines(), "envoy", name, lineterm="", n=4)
        ]
        assert not differences, "\n".join([case.name, case.script, *differences])


@pytest.mark.parametrize("case", [*HTTP, *SERVICES, *TCP], ids=lambda case: case.name)
def test_case(worlds: Worlds, case: Case) -> None:
    """Filter, client and upstream see the same in Envoy and in the emulator."""
    worlds.compare(case)


@pytest.mark.parametrize("plugin", PLUGINS)
@pytest.mark.parametrize("place", PLACES)
def test_sequences(worlds: Worlds, place: str, plugin: str) -> None:
    """The same for each sequence of one or two actions, under either policy for exceptions."""
    for case in sequences(place, plugin):
        worlds.compare(case)


@pytest.mark.parametrize("seed", range(0, 200, 20))
def test_made_up_streams(worlds: Worlds, seed: int) -> None:
    """The same for streams whose traffic and filter are made up by chance."""
    for number in range(seed, seed + 20):
        worlds.compare(made_up(number))


@pytest.mark.parametrize("group", async_cases.GROUPS)
def test_coroutines(worlds: Worlds, group: str) -> None:
    """The same for callbacks that wait."""
    for case in islice(async_cases.GROUPS[group](), 0, None, EVERY):
        worlds.compare(case)


EVERY = 20
"""One in so many of the cases of coroutines, some 1800, is a test."""


@pytest.mark.parametrize("seed", range(0, 20, 20))
def test_made_up_coroutines(worlds: Worlds, seed: int) -> None:
    """The same for streams whose traffic and coroutines are made up by chance."""
    for number in range(seed, seed + 20):
        worlds.compare(async_cases.made_up(number))


def test_every_case_has_a_name_of_its_own() -> None:
    """What is logged belongs to one case."""
    waiting = [case for group in async_cases.GROUPS.values() for case in group()]
    names = [case.name for case in (*HTTP, *SERVICES, *TCP, *waiting)]
    assert len(set(names)) == len(names)
