"""What a module leaves out of Python code: docstrings and columns, and nothing else.

The format of line tables is the same in the Python of the tests and in that of modules; `tests/e2e/test_docstrings.py`
looks at the latter.
"""

from __future__ import annotations

import argparse
import ast
import asyncio.tasks
import dataclasses
import enum
import inspect
import textwrap
import typing
from collections.abc import Iterator
from types import CodeType, ModuleType

import pytest

from pywasmfilter._runtime.slimming import remove_annotations, remove_docstrings, without_columns

MODULES: list[ModuleType] = [ast, asyncio.tasks, dataclasses, enum, inspect, argparse, typing]


def all_code(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from all_code(constant)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_lines_stay(module: ModuleType) -> None:
    """Each instruction has the line that it had and no column; code and exception table are as they were."""
    original = compile(inspect.getsource(module), "m.py", "exec")
    before, after = list(all_code(original)), list(all_code(without_columns(original)))
    for old, new in zip(before, after, strict=True):
        assert list(new.co_lines()) == list(old.co_lines())
        assert [line for line, *_ in new.co_positions()] == [line for line, *_ in old.co_positions()]
        assert {tuple(columns) for _, _, *columns in new.co_positions()} <= {(None, None)}
        assert (new.co_code, new.co_exceptiontable) == (old.co_code, old.co_exceptiontable)
    size = sum(len(code.co_linetable) for code in after)
    assert size < sum(len(code.co_linetable) for code in before) * 0.8


@pytest.mark.parametrize("gap", [1, 31, 32, 33, 2047, 2048, 70_000])
def test_long_ways_between_lines(gap: int) -> None:
    """Lines far apart, forward and back, come out as they went in."""
    code = compile("a = (" + "\n" * gap + "b +\n" + "\n" * gap + "c)\nwhile a:" + "\n" * gap + " a()", "m.py", "exec")
    assert list(without_columns(code).co_lines()) == list(code.co_lines())


def test_code_runs_as_before() -> None:
    """Functions, closures, classes, handlers and generators of slim code do what they did."""
    source = """
    def outer(n):
        class A:
            m = n
            def get(self):
                try:
                    return [self.m / x for x in (1, 0)]
                except ZeroDivisionError as error:
                    return error.__traceback__.tb_lineno
        return A().get(), list(i for i in range(n))
    result = outer(3)
    """
    names: dict[str, object] = {}
    exec(without_columns(compile(textwrap.dedent(source), "m.py", "exec")), names)
    assert names["result"] == (7, [0, 1, 2])


def without_docstrings(source: str, *, also_mentioned: bool = False) -> dict[str, typing.Any]:
    """What a module without its docstrings has in it."""
    tree = ast.parse(textwrap.dedent(source))
    remove_docstrings(tree, also_mentioned=also_mentioned)
    names: dict[str, typing.Any] = {}
    exec(compile(tree, "m.py", "exec", dont_inherit=True), names)
    return names


DOCUMENTED = '''"""Module."""
from __future__ import annotations

class A:
    """Class."""
    def f(self):
        """Method."""
    async def g(self):
        """Coroutine."""
        """Second."""
        return "kept"
    value = "kept"
    "kept by nobody"

def h():
    """Function."""
    def inner():
        "Inner."
        return "Inner."
    return inner

class E(Exception): "Only a docstring."
'''


def test_docstrings_go() -> None:
    """Those of modules, classes, functions and coroutines, wherever they stand; strings that are values stay."""
    names = without_docstrings(DOCUMENTED)
    a, inner = names["A"], names["h"]()
    assert [names.get("__doc__"), a.__doc__, a.f.__doc__, a.g.__doc__, names["h"].__doc__, inner.__doc__] == [None] * 6
    assert (a.value, inner(), a().f(), names["E"].__doc__) == ("kept", "Inner.", None, None)
    assert asyncio.run(a().g()) == "kept"


def test_lines_are_those_of_the_file() -> None:
    """A docstring that is gone moves nothing."""
    assert without_docstrings(DOCUMENTED)["h"].__code__.co_firstlineno == 15


@pytest.mark.parametrize("use", ["__doc__", "A.__doc__", "getattr(A, '__doc__')", "lambda: [A.f.__doc__]"])
def test_a_module_that_mentions_docstrings_keeps_them(use: str) -> None:
    """Whatever way its code names `__doc__`. Unless it is known to do without."""
    source = f"{DOCUMENTED}\nused = {use}\n"
    assert without_docstrings(source)["A"].__doc__ == "Class."
    assert without_docstrings(source, also_mentioned=True)["A"].__doc__ is None


def test_assertions_stay() -> None:
    """Leaving docstrings out is not optimization."""
    with pytest.raises(AssertionError, match="checked"):
        without_docstrings("def f():\n  'doc'\n  assert False, 'checked'\nf()")


def test_annotations_of_functions() -> None:
    """They go, and those of classes stay, which dataclasses are made of."""
    tree = ast.parse(
        "class A:\n  x: int = 1\n  def f(self, a: 'x', *b: 'y', c: 'z' = 2, **d: 'w') -> 'v': return a, b, c, d"
    )
    remove_annotations(tree)
    names: dict[str, typing.Any] = {}
    exec(compile(tree, "m.py", "exec", dont_inherit=True), names)
    assert (names["A"].f.__annotations__, names["A"].__annotations__) == ({}, {"x": int})
    assert names["A"]().f(1, 3, e=4) == (1, (3,), 2, {"e": 4})
