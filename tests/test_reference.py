"""The reference in docs/reference: made of the SDK as it is now, complete, and the same each time."""

from __future__ import annotations

import inspect
import re
import runpy
import shutil
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

import pywasmfilter
from pywasmfilter import testing
from pywasmfilter.testing import pytest_plugin, strategies
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
    """What users import: the exports of both packages, and what the public modules among them export or define."""
    found: dict[str, object] = {name: getattr(pywasmfilter, name) for name in pywasmfilter.__all__}
    found |= {f"testing.{name}": getattr(testing, name) for name in testing.__all__}
    found["testing.strategies"] = strategies
    modules = {name: value for name, value in found.items() if isinstance(value, ModuleType)}
    for name, module in modules.items():
        names = getattr(module, "__all__", None) or [n for n in vars(module) if is_own(module, n)]
        found |= {f"{name}.{member}": getattr(module, member) for member in names}
    return {name: value for name, value in found.items() if name not in modules}


def is_own(module: ModuleType, name: str) -> bool:
    """Whether a module without `__all__` offers a name, which the package does not offer already."""
    defined_here = getattr(getattr(module, name), "__module__", None) == module.__name__
    is_for_users = not name.startswith("_") and not isinstance(getattr(module, name), TypeVar)
    return defined_here and is_for_users and name not in pywasmfilter.__all__


def page_and_heading(name: str) -> tuple[str, str]:
    """The page that describes a name, and the name's heading there: none for a host call that is a row of a table."""
    if name.startswith("testing."):
        return PAGES["testing.md"], name.removeprefix("testing.")
    host_call = re.search(rf"^\| \[`{name.rpartition('.')[2]}`\]\((.*?)#", PAGES["README.md"], re.MULTILINE)
    if host_call:
        return PAGES[host_call.group(1)], ""
    heading = re.compile(rf"\n## `{re.escape(name)}`( \(function\))?\n")
    (page,) = (text for file, text in PAGES.items() if file != "testing.md" and heading.search(text))
    return page, name


@pytest.mark.parametrize("name", exported())
def test_every_public_name_is_described(name: str) -> None:
    """It has an entry with its docstring; what is an object has one too, or a row that leads to its class."""
    value = exported()[name]
    if type(value).__module__.startswith("pywasmfilter"):
        assert f"| `{name}` | [`{type(value).__name__}`](#" in PAGES[f"{name.partition('.')[0]}.md"]
        return
    page, heading = page_and_heading(name)
    assert not heading or re.search(rf"\n## `{re.escape(heading)}`( \(function\))?\n", page)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        assert re.search(rf"\n## `{heading}`\n\n```python\n\w+(:| =) .+\n```\n\n[^#-]", page)
        return
    plain = re.sub(r"\[(`[^`]+`)\]\([^)]*\)", r"\1", page)
    docstring = inspect.getdoc(value)
    assert docstring
    assert " ".join(docstring.split()).replace("|", "\\|") in " ".join(plain.split()).replace("|", "\\|")


CLASSES = [cls for name in testing.__all__ if inspect.isclass(cls := getattr(testing, name))]


def section(cls: type) -> str:
    """What the page on tests says of a class; nothing of one that is not there."""
    return PAGES["testing.md"].partition(f"\n## `{cls.__name__}`\n")[2].partition("\n## ")[0]


def left_out(cls: type) -> set[str]:
    """The members that modules have for each other."""
    return {name for base in cls.__mro__ for name in SCRIPT["BETWEEN_MODULES"].get(base.__name__, "").split()}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_member_of_what_tests_use_is_described(cls: type) -> None:
    """What a class has, or inherits from the SDK, has a heading or a row, there or with a base that is described."""
    own = [base for base in cls.__mro__ if base.__module__.startswith("pywasmfilter")]
    text = "".join(map(section, own))
    for name in {name for base in own for name in vars(base) if not name.startswith("_")}:
        is_described = re.search(rf"^(### `\w+\.{name}`|\| `{name}` \|)", text, re.MULTILINE)
        assert bool(is_described) != (name in left_out(cls)), name


def test_what_is_left_out_is_there() -> None:
    """Members that the reference leaves out exist, in the class that is said to have them or in one made of it."""
    doors = [vars(pywasmfilter.memory).values(), (getattr(pywasmfilter, name) for name in pywasmfilter.__all__)]
    of_filters = {value for door in doors for value in door if inspect.isclass(value)}
    for owner, names in SCRIPT["BETWEEN_MODULES"].items():
        family = [cls for cls in {*CLASSES, *of_filters} if owner in {base.__name__ for base in cls.__mro__}]
        bases = {base for cls in family for base in cls.__mro__ if base.__module__.startswith("pywasmfilter")}
        source = "".join(map(inspect.getsource, bases))
        for name in names.split():
            assert any(hasattr(cls, name) for cls in family) or f"self.{name}" in source, f"{owner}.{name}"


def test_fixtures_are_described() -> None:
    """Each fixture of the plugin for pytest has a row with a sentence."""
    names = re.findall(r"^@pytest\.fixture.*\ndef (\w+)", inspect.getsource(pytest_plugin), re.MULTILINE)
    assert "host" in names
    for name in names:
        assert re.search(rf"^\| `{name}` \| .+\. \|$", PAGES["testing.md"], re.MULTILINE), name


def test_names_that_two_doors_have_are_told_apart() -> None:
    """A link leads to what the name means where it stands."""
    assert "[`Request`](headers-and-buffers.md#request)" in PAGES["README.md"]
    assert "[`testing.Request`](testing.md#request)" in PAGES["README.md"]
    assert "| `request` | [`Request`](#request) |" in section(testing.HttpCall)
    assert "| `request` | [`Request`](headers-and-buffers.md#request) |" in PAGES["contexts.md"]


@pytest.mark.parametrize("file", PAGES)
def test_headings_are_unique(file: str) -> None:
    """No two headings of a page have the same anchor, so that a link leads to the one that it means."""
    anchors = [SCRIPT["slug"](heading) for heading in re.findall(r"^#+ (.+)$", PAGES[file], re.MULTILINE)]
    assert sorted(set(anchors)) == sorted(anchors)


def test_strategies_are_shown_as_they_are_called() -> None:
    """What Hypothesis gives is no parameter, and what comes of it is a strategy."""
    assert "\nchunked(body: Given[bytes]) -> st.SearchStrategy[list[bytes]]\n" in PAGES["testing.md"]


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
