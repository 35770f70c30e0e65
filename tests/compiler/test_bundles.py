"""Several filters in one module: whose plugins are in it, where each finds its modules, and what cannot go together."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from pywasmfilter_compiler import BuildResult, CompilerError, FilterError, UsageError, build


def plugin(name: str, *lines: str) -> str:
    """A filter that registers a plugin after some lines of its own."""
    imports = "from pywasmfilter import HttpContext, http_filter\n"
    return imports + "\n".join([*lines, f'@http_filter("{name}")', "class Filter(HttpContext): ..."]) + "\n"


def lay_out(folder: Path, files: dict[str, str]) -> None:
    """Write files, with the folders that they are in."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bundle(*paths: str, **options: str) -> BuildResult:
    """A module of several filters, which wasmtime finds valid."""
    result = build(paths, **options)  # type: ignore[arg-type]
    wasmtime.Module.validate(wasmtime.Engine(), result.path.read_bytes())
    return result


def failure(*paths: str) -> str:
    """The error of a build that writes nothing."""
    before = sorted(Path.cwd().rglob("*"))
    with pytest.raises(FilterError) as raised:
        build(paths)
    assert sorted(Path.cwd().rglob("*")) == before
    return str(raised.value)


# What is in a bundle


def test_all_plugins_are_in_one_module(folder: Path) -> None:
    """Files, packages and folders with a filter.py go together; the module is named after the first."""
    files = {
        "first.py": plugin("1"),
        "package/__init__.py": "from .inner import *\n",
        "package/inner.py": plugin("2"),
        "project/filter.py": plugin("3"),
    }
    lay_out(folder, files)
    result = bundle("first.py", "package", "project")
    assert result.plugins == ["1", "2", "3"]
    assert (result.name, result.path) == ("first", Path("first.wasm"))
    assert bundle("project", "first.py").path == Path("project.wasm")
    assert bundle("first.py", "project", name="both").path == Path("both.wasm")


def test_exports_are_those_of_all(folder: Path) -> None:
    """A callback that any of the filters overrides is one of the module."""
    callback = "    def on_http_{}_headers(self, num_headers, end_of_stream): ...\n"
    files = {
        f"{which}.py": plugin(which).replace("...", f"\n{callback.format(which)}") for which in ("request", "response")
    }
    lay_out(folder, files)
    assert {"proxy_on_request_headers", "proxy_on_response_headers"} <= set(bundle("request.py", "response.py").exports)


def test_each_filter_finds_its_neighbours(folder: Path) -> None:
    """A filter imports the modules of its own folder, at once and later; origins tell the folders apart."""
    late = "def later():\n    import late_{0}\n"
    for name in "xy":
        files = {f"{name}/f_{name}.py": plugin(name, f"import own_{name}", late.format(name))}
        lay_out(folder, {**files, f"{name}/own_{name}.py": "", f"{name}/late_{name}.py": ""})
    modules = dict(bundle("x/f_x.py", "y/f_y.py").modules)
    assert {f"{kind}_{name}": modules[f"{kind}_{name}"] for name in "xy" for kind in ("f", "own", "late")} == {
        f"{kind}_{name}": f"{name}/{kind}_{name}.py" for name in "xy" for kind in ("f", "own", "late")
    }


def test_filters_of_one_folder_share_its_modules(folder: Path) -> None:
    """Neighbours are one module for all of them, and origins are as short as for one filter."""
    lay_out(folder, {"a.py": plugin("a", "import common"), "b.py": plugin("b", "import common"), "common.py": ""})
    modules = dict(bundle("a.py", "b.py").modules)
    assert [modules[name] for name in ("a", "b", "common")] == ["a.py", "b.py", "common.py"]


def test_files_of_the_same_name(folder: Path) -> None:
    """Each is a module of its own, under a name that no other module has, even if their folders are called the same."""
    lay_out(folder, {f"{name}/src/filter.py": plugin(name, f"import own_{name}") for name in "xy"})
    lay_out(folder, {"x/src/own_x.py": "", "y/src/own_y.py": "", "y/src/filter_x_src_filter.py": ""})
    result = bundle("x/src/filter.py", "y/src")
    assert result.plugins == ["x", "y"]
    modules = {origin: name for name, origin in result.modules}
    assert len({modules[f"{name}/src/filter.py"] for name in "xy"} - {"filter", "filter_x_src_filter"}) == 2


def test_a_name_that_only_one_filter_uses(folder: Path) -> None:
    """A file in one folder that is called like a filter in another, and that nobody imports, is in nobody's way."""
    lay_out(
        folder, {"x/filter.py": plugin("x"), "y/other.py": plugin("y"), "y/filter.py": "1 / 0", "x/other.py": "1 / 0"}
    )
    assert bundle("x/filter.py", "y/other.py").plugins == ["x", "y"]


def test_filters_may_import_each_other(folder: Path) -> None:
    """A filter that another one imports is not imported twice, and the plugin that it registers is its own."""
    lay_out(folder, {"a.py": plugin("a", "import b"), "b.py": plugin("b")})
    assert bundle("a.py", "b.py").plugins == bundle("b.py", "a.py").plugins == ["a", "b"]


def test_copies_of_a_module_are_one(folder: Path) -> None:
    """Folders may hold the same module, if it really is the same."""
    lay_out(folder, {f"{name}/f_{name}.py": plugin(name, "import common") for name in "xy"})
    lay_out(folder, {"x/common.py": "same = 1\n", "y/common.py": "same = 1\n"})
    assert bundle("x/f_x.py", "y/f_y.py").plugins == ["x", "y"]


def test_the_same_filters_give_the_same_module(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where the folders are makes no difference, and nothing of it gets into the module."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    files = {f"{name}/filter.py": plugin(name) for name in "xy"}
    lay_out(folder, files)
    lay_out(elsewhere, files)
    first = bundle("x", "y")
    second = build([elsewhere / "x", elsewhere / "y"], "out.wasm")
    assert first.sha256 == second.sha256
    assert str(folder).encode() not in first.path.read_bytes()


# What cannot go together


@pytest.mark.parametrize("other", ["y/helpers.py", "y/helpers/__init__.py"])
def test_different_modules_of_one_name(folder: Path, other: str) -> None:
    """The error names both files and says what to do, also if only a function imports one."""
    files = {"x/f_x.py": plugin("x", "import helpers"), "y/f_y.py": plugin("y", "def later():", "    import helpers")}
    lay_out(folder, {**files, "x/helpers.py": "a = 1\n", other: "a = 2\n"})
    expected = (
        f"x/helpers.py: {other} is another module 'helpers', and filters that are built together can have only one: "
        "rename one of them, or make each filter a package with relative imports"
    )
    assert failure("x/f_x.py", "y/f_y.py") == expected


def test_packages_may_have_modules_of_one_name(folder: Path) -> None:
    """What that error advises works."""
    for name in "xy":
        files = {"__init__.py": plugin(name, "from . import helpers"), "helpers.py": f"name = '{name}'\n"}
        lay_out(folder / f"package_{name}", files)
    assert bundle("package_x", "package_y").plugins == ["x", "y"]


def test_a_module_that_hides_an_installed_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one filter's folder hides from the standard library or from packages, the other filter would miss."""
    lay_out(folder, {"x/f_x.py": plugin("x", "import csv"), "x/csv.py": "", "y/f_y.py": plugin("y", "import csv")})
    assert failure("x/f_x.py", "y/f_y.py").startswith("x/csv.py: lib/python3.14/csv.py is another module 'csv', and ")
    assert build("x/f_x.py", "out.wasm").plugins == ["x"]


def test_a_filter_that_is_meant_by_two_names(folder: Path) -> None:
    """An import of `filter`, where two filters are called that, is an error and not one of the two."""
    lay_out(
        folder,
        {"x/filter.py": plugin("x"), "y/filter.py": plugin("y", "import other"), "y/other.py": "import filter\n"},
    )
    assert failure("x", "y").startswith("x/filter.py: y/filter.py is another module 'filter', and ")


def test_packages_of_the_same_name(folder: Path) -> None:
    """Two packages cannot have one name, even with the same __init__.py."""
    lay_out(folder, {f"{name}/package/__init__.py": "from .inner import *" for name in "xy"})
    lay_out(folder, {f"{name}/package/inner.py": plugin(name) for name in "xy"})
    expected = "y/package/__init__.py: x/package/__init__.py is a package of the same name: rename one"
    assert failure("x/package", "y/package") == expected


# Errors of one of them


def test_a_plugin_of_two_files(folder: Path) -> None:
    """The error names the file and line where the name is registered again."""
    lay_out(folder, {"a.py": plugin("same"), "b.py": plugin("same", "", "")})
    assert failure("a.py", "b.py") == "b.py:4: ValueError: plugin 'same' is registered twice: Filter, Filter"


@pytest.mark.parametrize("paths", [("a.py", "b.py"), ("b.py", "a.py")])
def test_a_filter_without_a_plugin(folder: Path, paths: tuple[str, str]) -> None:
    """One that registers nothing is named, though the other one has a plugin, and though it was imported by that."""
    lay_out(folder, {"a.py": plugin("a", "import b"), "b.py": ""})
    assert failure(*paths).startswith("b.py: registers no plugin: ")


@pytest.mark.parametrize("paths", [("x", "y"), ("y", "x")])
@pytest.mark.parametrize(
    ("fault", "message"),
    [("1 / 0", "y/filter.py:2: ZeroDivisionError: division by zero"), ("(", "y/filter.py:2: SyntaxError: '(' was ")],
)
def test_an_error_names_the_line_of_its_own_filter(
    folder: Path, paths: tuple[str, str], fault: str, message: str
) -> None:
    """Of two files of one name, the error is that of the one it happened in."""
    lay_out(folder, {"x/filter.py": plugin("x"), "y/filter.py": plugin("y", fault)})
    assert failure(*paths).startswith(message)


def test_an_error_in_a_neighbour(folder: Path) -> None:
    """The innermost file of the user's own is named, whichever filter's folder it is in."""
    lay_out(folder, {"x/filter.py": plugin("x"), "y/filter.py": plugin("y", "import own"), "y/own.py": "\n\n1 / 0\n"})
    assert failure("x", "y") == "y/own.py:3: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("paths", [("x", "y"), ("y", "x")])
def test_a_filter_that_loops(folder: Path, paths: tuple[str, str]) -> None:
    """The one that was being imported is named."""
    lay_out(folder, {"x/filter.py": plugin("x"), "y/filter.py": plugin("y", "while True: pass")})
    with pytest.raises(FilterError, match=r"^y/filter\.py: importing it took more than 2 seconds"):
        build(paths, timeout=2)


@pytest.mark.parametrize(
    "again", ["a.py", "./a.py", "sub/../a.py", "link.py"], ids=["as it was", "with a dot", "with dots", "a link"]
)
def test_a_file_that_is_given_twice(folder: Path, again: str) -> None:
    """The same file by whatever path is a usage error."""
    lay_out(folder, {"a.py": plugin("a"), "b.py": plugin("b"), "sub/x": ""})
    (folder / "link.py").symlink_to("a.py")
    with pytest.raises(UsageError, match=r"a\.py: this filter is given twice|link\.py: this filter is given twice"):
        build(["a.py", "b.py", again])


def test_no_path_at_all(folder: Path) -> None:
    """Nothing to build is a usage error."""
    with pytest.raises(UsageError, match="there is no filter to build"):
        build([])


@pytest.mark.parametrize("paths", [("a.py", "gone.py"), ("gone.py", "a.py")])
def test_every_path_is_checked(folder: Path, paths: tuple[str, str]) -> None:
    """A path that is none is named, wherever it stands."""
    lay_out(folder, {"a.py": plugin("a")})
    assert failure(*paths) == "gone.py: no such file or folder"


@pytest.mark.parametrize("output", ["a.py", "b.py"])
def test_no_filter_is_overwritten(folder: Path, output: str) -> None:
    """The module replaces none of the files it is made of, not even behind a link."""
    lay_out(folder, {"a.py": plugin("a"), "b.py": plugin("b")})
    (folder / "link").symlink_to(output)
    with pytest.raises(CompilerError, match=r"^link: this is the filter, and the module would replace it$"):
        build(["a.py", "b.py"], "link")
