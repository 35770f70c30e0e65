"""What a module says of the Python modules in it: how large each is, and which import brought it in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler import BuildResult, CompilerError, UsageError, build, contents, inspect
from pywasmfilter_compiler.contents import Contents, PythonModule
from pywasmfilter_compiler.module_report import render, render_why, why

FILTER = """
from pywasmfilter import HttpContext, http_filter
import package.inner

@http_filter("contents")
class A(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        from late import large
        return self.send_http_response(200, body=large)
"""
FILES = {
    "filter.py": FILTER,
    "package/__init__.py": "",
    "package/inner.py": "\n\ntry:\n    import json\nexcept ImportError:\n    import colorsys\n"
    "held = [*range(300, 50_300)]\n",
    "late.py": "import math\nlarge = 'a' * 100\nimport tomllib\n",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> BuildResult:
    folder = tmp_path_factory.mktemp("contents")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return build(folder / "filter.py", folder / "c.wasm")


def names(module: Path, name: str) -> list[tuple[str, int]]:
    return [(item.name, item.line) for item in why(module, name)]


@pytest.mark.parametrize(
    ("name", "chain"),
    [
        ("filter", [("filter", 0)]),
        ("package", [("filter", 0), ("package", 3)]),
        ("json", [("filter", 0), ("package.inner", 3), ("json", 4)]),
        ("late", [("filter", 0), ("late", 8)]),
        ("tomllib", [("filter", 0), ("late", 8), ("tomllib", 3)]),
        ("math", [("filter", 0), ("late", 8), ("math", 1)]),
    ],
)
def test_why(built: BuildResult, name: str, chain: list[tuple[str, int]]) -> None:
    """The chain begins with the filter, and each line is that of the statement in the module before."""
    assert names(built.path, name) == chain


def test_what_has_run_and_never_will_again(built: BuildResult) -> None:
    """A branch that the import of a module did not take brings in nothing."""
    assert "colorsys" not in dict(built.modules)
    with pytest.raises(CompilerError, match="no Python module 'colorsys' in it"):
        why(built.path, "colorsys")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("inner", "there is no Python module 'inner' in it; is it package.inner?"),
        ("tomlib", "there is no Python module 'tomlib' in it; is it tomllib or tomllib._re?"),
        ("qqq", "there is no Python module 'qqq' in it"),
        ("os", "os is in every module: the interpreter or the SDK needs it"),
        ("pywasmfilter.contexts", "pywasmfilter.contexts is in every module: the interpreter or the SDK needs it"),
    ],
)
def test_why_not(built: BuildResult, name: str, message: str) -> None:
    """What is not there is an error that names what is; so is what is always there."""
    with pytest.raises(CompilerError) as error:
        why(built.path, name)
    assert str(error.value).replace("or pywasmfilter.", "…").startswith(message)


def test_a_module_that_does_not_say() -> None:
    """Other compilers' modules have no such section; inspect shows none then."""
    module = b"\0asm\1\0\0\0"
    with pytest.raises(UsageError, match="does not say which Python modules it has"):
        why(module, "json")
    assert inspect(module).python_modules == ()


def test_sizes_are_those_of_what_is_held(built: BuildResult) -> None:
    """50,000 numbers in a list take 36 bytes each, with what is around them; they are of the module that made them."""
    sizes = {item.name: item.size for item in inspect(built.path).python_modules}
    assert 1_400_000 < sizes["package.inner"] < 1_900_000
    assert 1_000 < sizes["filter"] < 30_000
    assert 3_000 < sizes["json.decoder"] < 40_000
    assert 0 < sizes["late"] < 3_000
    assert sizes["math"] < 1000


def test_parts_add_up(built: BuildResult) -> None:
    """All bytes of the module are of some part; the filter's own come last."""
    assert sum(part.size for part in built.parts) == built.size == built.path.stat().st_size
    assert [part.kind for part in built.parts][-1] == "filter"
    assert {part.kind for part in built.parts} == {"code", "interpreter", "sdk", "standard library", "filter"}
    assert all(part.size > 5000 for part in built.parts)


def test_packages_are_parts(tmp_path: Path) -> None:
    """Each installed package is told apart; what the SDK has for filters that use it belongs to the SDK."""
    (tmp_path / "filter.py").write_text(
        "import fastjsonschema, pywasmfilter\nfrom pywasmfilter import HttpContext, LocalCache, http_filter\n"
        "@http_filter('p')\nclass A(HttpContext): cache = LocalCache(max_entries=5, ttl=1)\n"
    )
    result = build(tmp_path / "filter.py", tmp_path / "p.wasm")
    packages = {part.name: part.size for part in result.parts if part.kind == "package"}
    assert packages.keys() == {"fastjsonschema"}
    assert 50_000 < packages["fastjsonschema"] < 500_000
    assert names(result.path, "pywasmfilter.cache") == [("filter", 0), ("pywasmfilter.cache", 2)]


def test_nothing_of_the_build_machine(built: BuildResult) -> None:
    """Origins are those of tracebacks: no folder of this machine is in the module, and two builds are the same."""
    data = built.path.read_bytes()
    assert str(built.path.parent).encode() not in data
    again = build(built.path.parent / "filter.py", built.path.parent / "again.wasm")
    assert again.sha256 == built.sha256


def test_the_reports_as_text(built: BuildResult) -> None:
    """`inspect` lists the modules, `--why` draws the chain."""
    text = render(inspect(built.path))
    assert "\nPython modules\n" in text
    assert "imported by package.inner, line 4" in text
    assert render_why(why(built.path, "json")).startswith(
        "filter.py:3 → package.inner:4 → json\n  lib/python3.14/json/"
    )


CONTENTS = Contents(
    (PythonModule("a", "a.py", 5, "", 0), PythonModule("b.c", "b/c.py", 7, "a", 2)), ("os", "sys"), ("p",)
)


def test_plugins(built: BuildResult) -> None:
    """The section says which plugins the module has; one without that word of them says of none."""
    assert inspect(built.path).plugins == ("contents",)
    assert "\nPlugins:" in render(inspect(built.path))
    values = json.loads(contents.encode(CONTENTS))
    del values["plugins"]
    assert contents.decode(json.dumps(values).encode()) == Contents(CONTENTS.modules, CONTENTS.always)


def test_encoding() -> None:
    """What is encoded is decoded, and what later versions may add is ignored."""
    assert contents.decode(contents.encode(CONTENTS)) == CONTENTS
    values = json.loads(contents.encode(CONTENTS))
    values["more"], values["modules"]["a"] = 1, [*values["modules"]["a"], "more"]
    assert contents.decode(json.dumps(values).encode()) == CONTENTS


@pytest.mark.parametrize(
    "values",
    [None, [], {}, {"always": [1], "modules": {}}, {"always": [], "modules": []}, {"always": [], "modules": {"a": 1}}]
    + [
        {"always": [], "modules": {"a": row}}
        for row in ([], ["a.py", "1", "", 0], [1, 1, "", 0], ["a.py", 1, "", None])
    ],
)
def test_a_section_that_holds_anything(values: Any) -> None:
    """What cannot be read says nothing."""
    assert contents.decode(json.dumps(values).encode()) is None
    assert contents.decode(b"\xff{") is None


def test_a_circle_ends() -> None:
    """A section may claim that modules import each other; a chain has an end all the same."""
    circle = Contents((PythonModule("a", "a.py", 5, "b", 1), PythonModule("b", "b.py", 7, "a", 2)), ())
    assert [item.name for item in circle.chain("a")] == ["b", "a"]
