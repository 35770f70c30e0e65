"""Golden cases of the linker: one folder each, with a component, a plan, and the module or error that must come out.

    cases/<name>/component.wat    the component
    cases/<name>/plan.json        what to link it for: exports, stubs, host_functions, guard; and
                                  "calls": [export, arguments, result or "trap"], in order, in one instance;
                                  "linked_calls": the same, where a linked module differs from its component
    cases/<name>/expected.wat     the linked module; its text is valid WAT
    cases/<name>/error.txt        instead, if the name begins with `error-`: the class and message of the error

The calls are made in the linked module and in the component run as its wiring says; both must give the results.
The "linked_calls" follow in the linked module only.
With BLESS=1 in the environment all `expected.wat` and `error.txt` are rewritten: the diff is what to review.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import wasmtime
from pywasmfilter_compiler.component.decode import decode as decode_component
from pywasmfilter_compiler.component.model import HostFunction
from pywasmfilter_compiler.errors import CompilerError
from pywasmfilter_compiler.linker import External, LinkPlan, StackGuard, link
from pywasmfilter_compiler.wasm import binary

from tests.compiler.linker.printer import module_text
from tests.compiler.linker.wiring import LinkedModule, Running, WiredComponent


class Call(NamedTuple):
    """A call of an export, and its result; "trap" if it must trap."""

    export: str
    arguments: list[int]
    result: Any


CASES = sorted((Path(__file__).parent / "cases").iterdir())
LINKED = [case for case in CASES if not case.name.startswith("error-")]
FAILING = [case for case in CASES if case.name.startswith("error-")]


def plan_of(case: Path) -> LinkPlan:
    """The plan of a case."""
    plan = json.loads((case / "plan.json").read_text())
    guard = plan.get("guard", {})
    for key in ("functions", "checks"):
        if key in guard:
            guard[key] = frozenset(guard[key])
    exports = plan["exports"]
    return LinkPlan(
        exports={name: name for name in exports} if isinstance(exports, list) else exports,
        stubs={name: External(*external) for name, external in plan.get("stubs", {}).items()},
        host_functions={HostFunction(*name.split()): export for name, export in plan.get("host_functions", {}).items()},
        guard=StackGuard(**guard),
    )


def calls_of(case: Path, key: str = "calls") -> list[Call]:
    """The calls to make."""
    return [Call(*call) for call in json.loads((case / "plan.json").read_text()).get(key, [])]


def component_of(case: Path) -> bytes:
    return bytes(wasmtime.wat2wasm((case / "component.wat").read_text()))


def assert_golden(path: Path, text: str) -> None:
    """The file must hold this text; it is made to when BLESS is set."""
    if os.environ.get("BLESS"):
        path.write_text(text)
    assert path.exists(), f"{path} is missing; run with BLESS=1 to write it"
    assert text == path.read_text()


def made(running: Running, calls: list[Call]) -> list[Call]:
    """The calls with the results that they really give."""
    return [call._replace(result=running.call(call.export, call.arguments)) for call in calls]


@pytest.mark.parametrize("case", LINKED, ids=lambda case: case.name)
def test_a_component_becomes_this_module(case: Path) -> None:
    """The linked module is the expected one, and wasmtime finds it valid."""
    data = binary.encode(link(decode_component(component_of(case)), plan_of(case)))
    wasmtime.Module.validate(wasmtime.Engine(), data)
    assert_golden(case / "expected.wat", module_text(binary.decode(data)))


@pytest.mark.parametrize("case", LINKED, ids=lambda case: case.name)
def test_a_linked_module_does_what_the_component_does(case: Path) -> None:
    """Each call has the same result in the linked module, in the wired component, and in the plan."""
    component = decode_component(component_of(case))
    plan, calls = plan_of(case), calls_of(case)
    wired, linked = WiredComponent(component, plan), LinkedModule(link(component, plan))
    assert made(wired, calls) == calls
    assert made(linked, calls) == calls
    assert made(linked, calls_of(case, "linked_calls")) == calls_of(case, "linked_calls")


@pytest.mark.parametrize("case", LINKED, ids=lambda case: case.name)
def test_expected_modules_are_text_that_assembles(case: Path) -> None:
    """The expected text says all there is: assembled and printed again it is the same, but for names of functions."""
    text = (case / "expected.wat").read_text()
    again = module_text(binary.decode(bytes(wasmtime.wat2wasm(text))))
    assert re.sub(r" \(; [^ 0-9]\S* ;\)", "", text) == re.sub(r" \(; [^ 0-9]\S* ;\)", "", again)


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.name)
def test_a_component_is_refused_with_this_error(case: Path) -> None:
    """Linking ends in the expected error, never in a module."""
    with pytest.raises(CompilerError) as error:
        link(decode_component(component_of(case)), plan_of(case))
    assert_golden(case / "error.txt", f"{type(error.value).__name__}: {error.value}\n")


@pytest.mark.parametrize("case", LINKED, ids=lambda case: case.name)
def test_linking_twice_gives_the_same_bytes(case: Path) -> None:
    """Nothing of a linked module depends on the order of a set, or on what was linked before."""
    component = component_of(case)
    first, second = (binary.encode(link(decode_component(component), plan_of(case))) for _ in range(2))
    assert first == second
