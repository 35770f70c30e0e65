"""Finding modules: in which order places are asked, and what is said of what is found."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePath
from zipfile import ZipFile

import pytest
from pywasmfilter_compiler.errors import CompilerError, FilterError
from pywasmfilter_compiler.sources import SITE_PACKAGES, Archive, Folder, Place, Source, Sources, installed_roots


def tree(folder: Path, *files: str) -> Folder:
    """A root without a prefix, with files whose content is their own name."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return Folder(folder, "")


def archive(path: Path, *files: str) -> Archive:
    """A root in a zip file, with files whose content is their own name."""
    with ZipFile(path, "w") as file:
        for name in files:
            file.writestr(name, name)
    return Archive(ZipFile(path), "lib/")


# Modules and packages


def test_a_module_is_its_file(tmp_path: Path) -> None:
    """A module's origin is its path in the root, and `paths` has the file that a message can name."""
    sources = Sources([tree(tmp_path, "m.py")])
    assert sources.find("m") == Source("module", "m.py", b"m.py")
    assert sources.paths == {"m.py": tmp_path / "m.py"}


def test_a_package_is_its_init(tmp_path: Path) -> None:
    """Packages and their members have paths with folders."""
    sources = Sources([tree(tmp_path, "p/__init__.py", "p/q/__init__.py", "p/q/m.py")])
    assert sources.find("p.q") == Source("package", "p/q/__init__.py", b"p/q/__init__.py")
    assert sources.find("p.q.m") == Source("module", "p/q/m.py", b"p/q/m.py")


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    """No file, and no file that something is a part of."""
    sources = Sources([tree(tmp_path, "m.py", "notes.txt")])
    assert [sources.find(name) for name in ("gone", "m.gone", "notes")] == [Source("missing")] * 3
    assert sources.paths == {}


def test_a_package_goes_before_a_module(tmp_path: Path) -> None:
    """In one place a package hides a module of its name, as in Python."""
    assert Sources([tree(tmp_path, "a.py", "a/__init__.py")]).find("a").kind == "package"


def test_a_module_goes_before_a_folder(tmp_path: Path) -> None:
    """A folder without an __init__.py does not hide a module."""
    assert Sources([tree(tmp_path, "a.py", "a/b.py")]).find("a").kind == "module"


def test_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    """Encodings are the interpreter's business."""
    (tmp_path / "m.py").write_bytes(b"# coding: latin-1\nx = '\xe9'\r\n")
    assert Sources([Folder(tmp_path, "")]).find("m").content == b"# coding: latin-1\nx = '\xe9'\r\n"


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".b", "nul\0nul", "é", "\udcff"])
def test_any_name_can_be_asked_for(tmp_path: Path, name: str) -> None:
    """A name that no file can have is one that is missing."""
    assert Sources([tree(tmp_path, "m.py")]).find(name) == Source("missing")


def test_a_source_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The error says which file and why."""
    (tmp_path / "m.py").symlink_to("/proc/self/mem")
    with pytest.raises(CompilerError, match=rf"^{tmp_path}/m\.py: cannot be read: Input/output error$"):
        Sources([Folder(tmp_path, "")]).find("m")


# Order


def test_earlier_roots_win(tmp_path: Path) -> None:
    """The first root that has a module gives it, even a module against a later package."""
    first, second = tree(tmp_path / "1", "a.py"), tree(tmp_path / "2", "a/__init__.py", "b.py")
    sources = Sources([first, second])
    assert sources.find("a").kind == "module"
    assert sources.find("b").kind == "module"
    assert sources.paths["b.py"] == tmp_path / "2" / "b.py"


def test_a_root_may_hold_one_package_only(tmp_path: Path) -> None:
    """With `only`, a folder gives that package and nothing beside it."""
    root = tree(tmp_path, "sdk/__init__.py", "sdk/m.py", "other.py", "sdkother.py")._replace(only="sdk")
    kinds = [Sources([root]).find(name).kind for name in ("sdk", "sdk.m", "other", "sdkother")]
    assert kinds == ["package", "module", "missing", "missing"]


# Aliases


def test_an_alias_names_a_file(tmp_path: Path) -> None:
    """A script with a name that no module can have is found under its alias, whatever else has that name."""
    first, second = tree(tmp_path / "1", "alias.py"), tree(tmp_path / "2", "my-filter.py")
    sources = Sources([first], [second], {"alias": Place("module", second, "my-filter.py")})
    assert sources.find("alias") == Source("module", "my-filter.py", b"my-filter.py")
    assert sources.paths["my-filter.py"] == tmp_path / "2" / "my-filter.py"


# Several filters


def two_folders(tmp_path: Path, first: list[str], second: list[str], rest: Sequence[str] = ()) -> Sources:
    """Sources for filters in the folders `x` and `y`, before a root; files have their path in `tmp_path` as content."""
    for name in (
        *(f"x/{name}" for name in first),
        *(f"y/{name}" for name in second),
        *(f"rest/{name}" for name in rest),
    ):
        tree(tmp_path, name)
    return Sources([Folder(tmp_path / "rest", "rest/")], [Folder(tmp_path / name, f"{name}/") for name in "xy"])


def test_each_folder_has_its_modules(tmp_path: Path) -> None:
    """Modules of every folder are found, before those of the roots that all share, and under origins of their own."""
    sources = two_folders(tmp_path, ["a.py"], ["b.py"], ["c.py"])
    assert [sources.find(name).origin for name in "abc"] == ["x/a.py", "y/b.py", "rest/c.py"]


@pytest.mark.parametrize(
    ("first", "second", "rest", "named"),
    [
        (["m.py"], ["m.py"], [], ["x/m.py", "y/m.py"]),
        (["m.py"], ["m/__init__.py"], [], ["x/m.py", "y/m/__init__.py"]),
        (["m.py"], ["m.so"], [], ["x/m.py", "y/m.so"]),
        (["m.py"], [], ["m.py"], ["x/m.py", "rest/m.py"]),
        ([], ["m.py"], ["m.py"], ["y/m.py", "rest/m.py"]),
    ],
)
def test_folders_that_disagree(
    tmp_path: Path,
    first: list[str],
    second: list[str],
    rest: list[str],
    named: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that means one thing to one filter and another to the other is an error that names both files."""
    sources = two_folders(tmp_path, first, second, rest)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FilterError) as raised:
        sources.find("m")
    assert str(raised.value).startswith(f"{named[0]}: {named[1]} is another module 'm', and ")


def test_the_same_module_in_two_folders(tmp_path: Path) -> None:
    """Copies of one file are one module, here with different files in one package."""
    sources = two_folders(tmp_path, ["p/__init__.py", "p/a.py"], ["p/__init__.py", "p/b.py"])
    for folder in "xy":
        (tmp_path / folder / "p" / "__init__.py").write_text("the same")
    assert [sources.find(name).origin for name in ("p", "p.a", "p.b")] == ["x/p/__init__.py", "x/p/a.py", "y/p/b.py"]


def test_namespace_packages_join_and_give_way(tmp_path: Path) -> None:
    """Folders of one name are one namespace package of them all; a folder that is none is no rival to a module."""
    sources = two_folders(tmp_path, ["n/a.py", "m/data.txt"], ["n/b.py", "m.py"])
    assert [sources.find(name).origin for name in ("n", "n.a", "n.b", "m")] == ["x/n", "x/n/a.py", "y/n/b.py", "y/m.py"]


# Namespace packages


def test_a_folder_is_a_namespace_package(tmp_path: Path) -> None:
    """It has no source; its members are found."""
    sources = Sources([tree(tmp_path, "space/m.py")])
    assert sources.find("space") == Source("package", "space")
    assert sources.find("space.m").kind == "module"


def test_a_namespace_package_spans_roots(tmp_path: Path) -> None:
    """Members are found in every root that has a part of it."""
    sources = Sources([tree(tmp_path / "1", "space/a.py"), tree(tmp_path / "2", "space/b.py")])
    assert [sources.find(f"space.{name}").kind for name in "ab"] == ["module", "module"]


def test_a_later_package_goes_before_a_namespace(tmp_path: Path) -> None:
    """A folder is a namespace package only if no root has a package or a module of the name, as in Python."""
    sources = Sources([tree(tmp_path / "1", "a/data.txt"), tree(tmp_path / "2", "a/__init__.py")])
    assert sources.find("a") == Source("package", "a/__init__.py", b"a/__init__.py")


# Native code


@pytest.mark.parametrize("suffix", [*EXTENSION_SUFFIXES, ".so", ".pyd"])
def test_native_modules_are_told_apart(tmp_path: Path, suffix: str) -> None:
    """An extension module is found, and said to be native, so that the error can say why it cannot be used."""
    root = tree(tmp_path, f"p/fast{suffix}", "p/__init__.py")
    assert Sources([root]).find("p.fast") == Source("native", f"p/fast{suffix}")


def test_a_source_goes_before_native_code(tmp_path: Path) -> None:
    """Where a package has both, the Python form is taken: it is the one that can run."""
    assert Sources([tree(tmp_path, "fast.py", "fast.so")]).find("fast").kind == "module"


# The archive


def test_an_archive_is_a_root(tmp_path: Path) -> None:
    """Modules come out of a zip file under its prefix; they are no files that a message could name."""
    sources = Sources([archive(tmp_path / "lib.zip", "json/__init__.py", "json/decoder.py", "re.py")])
    assert sources.find("json") == Source("package", "lib/json/__init__.py", b"json/__init__.py")
    assert sources.find("json.decoder").content == b"json/decoder.py"
    assert sources.find("re") == Source("module", "lib/re.py", b"re.py")
    assert sources.find("gone") == Source("missing")
    assert sources.paths == {}


def test_a_folder_may_hide_the_archive(tmp_path: Path) -> None:
    """The order of the roots holds between folders and archives too."""
    sources = Sources([tree(tmp_path / "1", "re.py"), archive(tmp_path / "lib.zip", "re.py")])
    assert sources.find("re").origin == "re.py"


# Installed packages


def roots(monkeypatch: pytest.MonkeyPatch, path: list[str], environment: Path | None = None) -> list[Path]:
    """The installed roots with another sys.path and another active environment."""
    sysconfig.get_path("stdlib")  # it imports something of its own the first time
    monkeypatch.setattr(sys, "path", path)
    if environment is None:
        monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    else:
        monkeypatch.setenv("VIRTUAL_ENV", str(environment))
    found = list(installed_roots())
    assert all(isinstance(root, Folder) and root.prefix == SITE_PACKAGES and not root.only for root in found)
    return [root.path for root in found if isinstance(root, Folder)]


def test_roots_are_those_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders on sys.path in their order, once each; not the current folder's entry, files, or what is not there."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.zip").write_text("")
    path = ["", *(str(tmp_path / name) for name in ("b", "a", "b", "gone", "file.zip"))]
    assert roots(monkeypatch, path) == [tmp_path / "b", tmp_path / "a"]


def test_this_pythons_standard_library_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of the standard library come from the image's version of it, not from the one that runs the compiler."""
    standard = sysconfig.get_path("stdlib")
    assert roots(monkeypatch, [standard, f"{standard}/lib-dynload"]) == []


def test_another_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of the environment that VIRTUAL_ENV names are seen by a `pyfilter` that is installed elsewhere."""
    theirs = tmp_path / "venv" / "lib" / "python3.12" / "site-packages"
    ours = tmp_path / "ours"
    for folder in (theirs, ours):
        folder.mkdir(parents=True)
    assert roots(monkeypatch, [str(ours)], tmp_path / "venv") == [theirs, ours]


def test_the_own_environment_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If VIRTUAL_ENV is the environment of this Python, sys.path says it all."""
    assert roots(monkeypatch, [str(tmp_path)], Path(sys.prefix)) == [tmp_path]


def test_an_environment_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VIRTUAL_ENV that names no folder is no environment."""
    assert roots(monkeypatch, [], tmp_path / "gone") == []


def test_editable_installs_are_roots(tmp_path: Path) -> None:
    """A .pth file of site-packages puts a project's folder on sys.path, and so its modules are found."""
    tree(tmp_path / "project", "editable.py")
    site_packages = tmp_path / "site-packages"
    site_packages.mkdir()
    (site_packages / "project.pth").write_text(f"{tmp_path / 'project'}\n")
    code = """
import site, sys
site.addsitedir(sys.argv[1])
from pywasmfilter_compiler.sources import Sources, installed_roots
print(Sources(list(installed_roots())).find("editable").origin)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(site_packages)], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "site-packages/editable.py"


def test_origins_are_never_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is found wherever, the path that gets into the module does not say where on this machine."""
    own = tree(tmp_path / "own", "a.py", "p/__init__.py", "space/m.py", "fast.so")
    library = archive(tmp_path / "lib.zip", "re.py")
    tree(tmp_path / "installed", "b.py", "q/__init__.py", "native.so", "other/m.py")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "installed")])
    sources = Sources([own, library, *installed_roots()])
    names = "a p space space.m fast re b q native other other.m".split()
    origins = [sources.find(name).origin for name in names]
    assert not [origin for origin in origins if PurePath(origin).is_absolute() or str(tmp_path) in origin]
    assert all(origins)
