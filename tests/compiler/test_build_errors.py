"""Filters that cannot be built, one folder under `broken/` each, named by what is wrong with it.

Their files end in .txt, as they are no Python that a linter should read: `filter.py.txt` is the filter, and `error.txt`
beside it is the message of the error. What stands in `site/` is an installed package; `<tmp>/site` is where.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from pywasmfilter_compiler import CompilerError, FilterError, UsageError, build

BROKEN = Path(__file__).parent / "broken"
MINIMAL = 'from pywasmfilter import HttpContext, http_filter\n@http_filter("a")\nclass A(HttpContext): ...\n'
FAULTS = sorted(path.name for path in BROKEN.iterdir())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, the current one, beside one with installed packages."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def seconds(fault: str) -> float:
    """How long an import may take: where it ends by itself, as long as a busy machine needs."""
    return 2 if fault == "loop-at-import" else 60


def lay_out(fault: str, folder: Path) -> None:
    """Put the files of a fault where they belong."""
    for file in (BROKEN / fault).rglob("*.txt"):
        relative = file.relative_to(BROKEN / fault).with_suffix("")
        target = folder.parent / relative if relative.parts[0] == "site" else folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_told(fault: str, folder: Path) -> None:
    """The error is a FilterError with the user's file, line and the reason; there is no module then."""
    lay_out(fault, folder)
    before = sorted(folder.rglob("*"))
    with pytest.raises(FilterError) as caught:
        build("filter.py", "out.wasm", timeout=seconds(fault))
    expected = (BROKEN / fault / "error.txt").read_text(encoding="utf-8").strip().replace("<tmp>", str(folder.parent))
    assert str(caught.value) == expected
    assert caught.value.exit_code == 1
    place, line = expected.split(": ")[0], ""
    if ":" in place:
        place, line = place.split(":")
    assert (str(caught.value.path), str(caught.value.line or "")) == (place, line)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("fault", ["syntax-error", "no-plugin", "loop-at-import"])
def test_existing_module_is_left_alone(fault: str, folder: Path) -> None:
    """A module that is there already stays as it was."""
    lay_out(fault, folder)
    (folder / "out.wasm").write_bytes(b"the last good one")
    with pytest.raises(FilterError):
        build("filter.py", "out.wasm", timeout=seconds(fault))
    assert (folder / "out.wasm").read_bytes() == b"the last good one"
    assert [path.name for path in folder.iterdir() if "wasm" in path.name] == ["out.wasm"]


def test_path_is_shown_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files below the current folder are named from there, others by their full path."""
    lay_out("exception-in-sibling", folder)
    monkeypatch.chdir(folder.parent)
    with pytest.raises(FilterError, match=r"^work/sibling\.py:3: ValueError"):
        build("work/filter.py", folder / "out.wasm")
    monkeypatch.chdir("site")
    with pytest.raises(FilterError, match=f"^{folder}/sibling\\.py:3: ValueError"):
        build(folder / "filter.py", folder / "out.wasm")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.py", "absent.py: no such file or folder"),
        ("notes.md", "notes.md: not a Python file: its name does not end in .py"),
        ("empty", "empty: the folder is no package (__init__.py) and has no filter.py"),
    ],
)
def test_path_that_is_no_filter(path: str, message: str, folder: Path) -> None:
    """A path that names nothing to build is a FilterError."""
    (folder / "notes.md").touch()
    (folder / "empty").mkdir()
    with pytest.raises(FilterError) as caught:
        build(path)
    assert str(caught.value) == message


def test_output_that_cannot_be_written(folder: Path) -> None:
    """An output in a folder that does not exist is a CompilerError that names it."""
    (folder / "filter.py").write_text(WORKING, encoding="utf-8")
    with pytest.raises(CompilerError, match=r"^absent/out\.wasm: cannot be written: No such file or directory$"):
        build("filter.py", "absent/out.wasm")


WORKING = """
from pywasmfilter import HttpContext, http_filter

NAME = "é"
if len(NAME) != 1:
    raise ValueError(NAME)


@http_filter("working")
class Working(HttpContext):
    pass
"""

UNUSUAL = {
    "byte order mark": b"\xef\xbb\xbf" + WORKING.encode(),
    "encoding cookie": b"# -*- coding: latin-1 -*-\n" + WORKING.encode("latin-1"),
    "another encoding cookie": b"# coding: cp1252\n" + WORKING.encode("cp1252"),
    "carriage returns": WORKING.replace("\n", "\r\n").encode(),
    "old Macintosh line ends": WORKING.replace("\n", "\r").encode(),
    "form feed and tabs": b"\x0c\n" + WORKING.replace("    ", "\t").encode(),
    "no line end": WORKING.strip().encode(),
    "main block": WORKING.encode() + b'\nif __name__ == "__main__":\n    raise SystemExit\n',
}


@pytest.mark.parametrize("source", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_source_is_built(source: bytes, folder: Path) -> None:
    """What Python reads can be built: byte order marks, other encodings and line ends."""
    (folder / "filter.py").write_bytes(source)
    assert build("filter.py", "out.wasm").plugins == ["working"]


def test_output_of_the_filter_is_handed_over(folder: Path) -> None:
    """What a filter prints, logs and warns at import goes to `on_output`, a line at a time, also if it fails then."""
    text = """
import logging, sys, warnings

print("one\\ntwo")
print("to stderr", file=sys.stderr)
logging.warning("logged")
warnings.warn("warned")
print("unfinished", end="")
raise ValueError
"""
    (folder / "filter.py").write_text(text, encoding="utf-8")
    lines: list[str] = []
    with pytest.raises(FilterError):
        build("filter.py", on_output=lines.append)
    assert lines == ["one", "two", "to stderr", "root: logged", "filter.py:7: UserWarning: warned", "unfinished"]


def test_less_memory_than_the_start_takes_is_told(tmp_path: Path) -> None:
    """A bound below what the module begins with names the filter and both figures, and leaves no file."""
    filter_ = tmp_path / "filter.py"
    filter_.write_text(MINIMAL, encoding="utf-8")
    with pytest.raises(FilterError, match=r"filter\.py: takes \d+ MiB of memory at the start, more than the 2 MiB"):
        build(filter_, tmp_path / "out.wasm", max_memory=2)
    assert not (tmp_path / "out.wasm").exists()


@pytest.mark.parametrize("max_memory", [0, -1, 4097])
def test_memory_out_of_range_is_told(tmp_path: Path, max_memory: int) -> None:
    """A bound that no module can have is a usage error with the range."""
    filter_ = tmp_path / "filter.py"
    filter_.write_text(MINIMAL, encoding="utf-8")
    with pytest.raises(UsageError, match="at least 1 and at most 4096 MiB"):
        build(filter_, tmp_path / "out.wasm", max_memory=max_memory)


@pytest.mark.parametrize("special", ["fifo", "helper.py"])
def test_only_a_regular_file_is_replaced(folder: Path, special: str) -> None:
    """An output that is a device or a pipe, or looks like a source, is refused and stays what it is."""
    (folder / "filter.py").write_text(MINIMAL, encoding="utf-8")
    if special == "fifo":
        os.mkfifo(folder / special)
    else:
        (folder / special).write_text("helping = True\n", encoding="utf-8")
    before = os.lstat(folder / special)
    with pytest.raises(UsageError, match=special):
        build("filter.py", special)
    assert os.lstat(folder / special) == before


def test_links_are_followed(folder: Path) -> None:
    """A link to a filter builds the filter, and a link as the output stays one, with the module behind it."""
    (folder / "real").mkdir()
    (folder / "real" / "filter.py").write_text(MINIMAL, encoding="utf-8")
    (folder / "link.py").symlink_to("real/filter.py")
    (folder / "out.wasm").symlink_to("real/module.wasm")
    build("link.py", "out.wasm")
    assert (folder / "out.wasm").is_symlink()
    assert (folder / "real" / "module.wasm").read_bytes().startswith(b"\0asm")
