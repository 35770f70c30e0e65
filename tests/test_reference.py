"""The reference in docs/reference: made of the SDK as it is now, complete, and the same each time."""

from __future__ import annotations

import inspect
import re
import runpy
import shutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import pywasmfilter
from tests.pages import DOCS, REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT: dict[str, Any] = runpy.run_path(str(DOCS / "make_reference.py"))
PAGES: dict[str, str] = SCRIPT["pages"]()


def test_the_pages_are_up_to_date() -> None:
    """What is committed is what the script writes now: `python docs/make_reference.py`."""
    committed = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "reference").iterdir()}
    assert committed.keys() == PAGES.keys()
    assert [name for name in PAGES if committed[name] != PAGES[name]] == []


def exported() -> dict[str, object]:
    """What users import: the package's exports, and what its public modules export or define."""
    found: dict[str, object] = {}
    for name in pywasmfilter.__all__:
        value = getattr(pywasmfilter, name)
        found[name] = value
        if isinstance(value, ModuleType):
            names = getattr(value, "__all__", None) or [n for n in vars(value) if is_own(value, n)]
            found |= {f"{name}.{member}": getattr(value, member) for member in names}
    return {name: value for name, value in found.items() if not isinstance(value, ModuleType)}


def is_own(module: ModuleType, name: str) -> bool:
    """Whether a module without `__all__` offers a name, which the package does not offer already."""
    defined_here = getattr(getattr(module, name), "__module__", None) == module.__name__
    return defined_here and not name.startswith("_") and name not in pywasmfilter.__all__


def place_of(name: str) -> str:
    """The page that describes a name: the one on the host call, or the one with a heading."""
    host_call = re.search(rf"^\| \[`{name.rpartition('.')[2]}`\]\((.*?)#", PAGES["README.md"], re.MULTILINE)
    if host_call:
        return host_call.group(1)
    (place,) = (file for file, text in PAGES.items() if f"\n## `{name}`\n" in text)
    return place


@pytest.mark.parametrize("name", exported())
def test_every_public_name_is_described(name: str) -> None:
    """It has an entry with its docstring; what is an object has a row that leads to its class."""
    value = exported()[name]
    if type(value).__module__.startswith("pywasmfilter"):
        assert f"| `{name}` | [`{type(value).__name__}`](#" in PAGES[f"{name.partition('.')[0]}.md"]
        return
    plain = re.sub(r"\[(`[^`]+`)\]\([^)]*\)", r"\1", PAGES[place_of(name)])
    docstring = inspect.getdoc(value)
    assert docstring
    assert " ".join(docstring.split()).replace("|", "\\|") in " ".join(plain.split()).replace("|", "\\|")


def test_signatures_are_those_of_the_methods() -> None:
    """A function that is a method of an object is shown with the method's parameters, without `self`."""
    row = "| `get_http_request_header(key: str \\| bytes, default: str \\| None = None) -> str \\| None` |"
    assert row in PAGES["headers-and-buffers.md"]


def test_nothing_private_is_shown() -> None:
    """Headings and attributes are names that users may write; operators are written differently."""
    for text in PAGES.values():
        for name in re.findall(r"^(?:#+ |\| )`([\w.]+)`", text, re.MULTILINE):
            assert not re.search(r"(^|\.)_(?!_(bytes|contains|delitem|getitem|iter|len|setitem)__$)", name), name


def test_another_copy_gives_the_same_pages(tmp_path: Path) -> None:
    """The pages depend on the sources alone, not on where they are."""
    shutil.copytree(REPOSITORY / "pywasmfilter", tmp_path / "pywasmfilter")
    assert SCRIPT["pages"](tmp_path) == PAGES


def test_what_changes_shows(tmp_path: Path) -> None:
    """A changed docstring, a new function and a new parameter are on the pages made of such sources."""
    shutil.copytree(REPOSITORY / "pywasmfilter", tmp_path / "pywasmfilter")
    file = tmp_path / "pywasmfilter" / "log.py"
    text = file.read_text(encoding="utf-8").replace("Log at level trace.", "Log at the lowest level.")
    text += '\n\ndef new(message: str, *, twice: bool = False) -> None:\n    """A new one."""\n'
    file.write_text(text, encoding="utf-8")
    page = SCRIPT["pages"](tmp_path)["logging.md"]
    assert "Log at the lowest level." in page
    assert "new(message: str, *, twice: bool = False) -> None\n```\n\nA new one." in page


def test_pages_that_are_no_more_are_removed(tmp_path: Path) -> None:
    """Writing leaves exactly the pages in the folder."""
    (tmp_path / "old-chapter.md").write_text("# Old\n", encoding="utf-8")
    SCRIPT["write"](PAGES, tmp_path)
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == PAGES
