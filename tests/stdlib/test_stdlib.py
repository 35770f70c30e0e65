"""What a module leaves out, nothing misses: CPython's own tests of what filters use say the same in a pruned module.

Each group of tests is built twice, pruned and whole, and run in wasmtime. What fails in both stands in `known.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler import build

from pywasmfilter.testing import Host
from tests.stdlib import known
from tests.stdlib.suite import NotFetched, Suite, fetch

HERE = Path(__file__).parent
MAX_MEMORY = 256  # MiB
TIMEOUT = 120.0  # seconds

Outcomes = dict[str, list[str]]
"""What became of each test: "passed", "skipped" or the type of an exception; and its text."""


@pytest.fixture(scope="session")
def suite(request: pytest.FixtureRequest) -> Suite:
    """CPython's tests. What wants them is skipped where they cannot be fetched."""
    try:
        return fetch(request.config.cache.mkdir("stdlib"))
    except NotFetched as error:
        pytest.skip(str(error))


class Filter:
    """A filter with a group of tests, in a host."""

    def __init__(self, folder: Path, *, prune: bool) -> None:
        built = build(
            folder / "filter.py",
            folder / f"{prune}.wasm",
            prune=prune,
            name_missing=prune,
            timeout=TIMEOUT,
            max_memory=MAX_MEMORY,
        )
        self.size = built.size
        self._host = Host(built.path)
        self._classes: list[str] = self._answer("")

    def outcomes(self) -> Outcomes:
        """Run all tests."""
        found: Outcomes = {}
        for name in self._classes:
            found |= self._answer(name)
        return found

    def _answer(self, name: str) -> Any:
        stream = self._host.request(headers={"x-class": name})
        assert stream.status == 200, (name, stream.text, self._host.log)
        return json.loads(stream.text)


def modules(suite: Path, group: str) -> list[str]:
    """The modules of tests of a group; `name.*` stands for a package and all modules of tests in it."""
    names: list[str] = []
    for pattern in known.GROUPS[group].split():
        name = pattern.removesuffix(".*")
        names.append(name)
        if name != pattern:
            names += sorted(f"{name}.{path.stem}" for path in (suite / name).glob("test_*.py"))
    return names


def write_filter(suite: Path, group: str, folder: Path) -> None:
    """Write a filter that runs a group's tests: `guest.py`, the tests, and what they share."""
    shutil.copy(HERE / "guest.py", folder)
    tested = modules(suite, group)
    only_shared = shutil.ignore_patterns("__pycache__", "test_*", "*data")
    shutil.copytree(suite, folder / "test", ignore=only_shared)
    for name in {name.partition(".")[0] for name in tested}:
        if (suite / name).is_dir():
            shutil.copytree(suite / name, folder / "test" / name)
        else:
            shutil.copy(suite / f"{name}.py", folder / "test")
    import_nothing_later(folder / "test" / "support")
    lines = [f"import test.{name}\nguest.add(test.{name}, {sorted(known.NOT_RUN)})" for name in tested]
    (folder / "filter.py").write_text("\n".join(["import guest", *lines]), encoding="utf-8")


def import_nothing_later(support: Path) -> None:
    """Have the helpers of the tests want less, so that more is left out: they import most of what there is.

    Import statements in functions become calls, and `exec` becomes an attribute: a build keeps nothing for those. A
    test that calls such a helper fails then, in pruned and whole modules.
    """
    for path in support.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(?<![\w.])(?=(?:eval|exec|compile)\()", "__import__('builtins').", text)
        text = re.sub(r"(?m)^( +)import ([\w.]+(?:, [\w.]+)*)$", _imported_by_call, text)
        text = re.sub(r"(?m)^( +)from (\w[\w.]*) import (\w+(?:, \w+)*)$", _taken_by_call, text)
        path.write_text(text, encoding="utf-8")


def _imported_by_call(statement: re.Match[str]) -> str:
    indent, names = statement.groups()
    return "\n".join(f"{indent}{name.partition('.')[0]} = __import__('{name}')" for name in names.split(", "))


def _taken_by_call(statement: re.Match[str]) -> str:
    indent, module, names = statement.groups()
    return "\n".join(
        f"{indent}{name} = __import__('{module}', fromlist=['{name}']).{name}" for name in names.split(", ")
    )


@pytest.mark.parametrize("group", known.GROUPS)
def test_a_pruned_module_does_what_a_whole_one_does(suite: Suite, group: str, tmp_path: Path) -> None:
    """Each test has the same outcome in both, and fails only where the reason is known."""
    write_filter(suite.path, group, tmp_path)
    pruned, whole = (Filter(tmp_path, prune=prune) for prune in (True, False))
    assert pruned.size < whole.size
    found = pruned.outcomes()
    assert found
    assert kinds(found) == kinds(whole.outcomes())
    if suite.version == known.SUITE:  # of another version's tests others fail
        failing = {name: outcome for name, outcome in found.items() if outcome[0] not in ("passed", "skipped")}
        assert {name: outcome for name, outcome in failing.items() if not known.fails(name)} == {}
        passing = [name for name, (kind, _) in found.items() if kind == "passed" and known.fails(name)]
        assert not passing, "\n".join(passing)


def kinds(outcomes: Outcomes) -> dict[str, str]:
    """What became of each test, without the text, which has addresses in it."""
    return {name: kind for name, (kind, _) in outcomes.items()}


def test_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tests are skipped with says which command failed, and why."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFetched, match=r"`apt-get -c \S+/apt.conf update`: there is no apt-get"):
        fetch(tmp_path)
