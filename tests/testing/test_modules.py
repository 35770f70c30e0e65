"""The modules that tests run: when a filter is built again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pywasmfilter.testing import Host, Refused
from pywasmfilter.testing.modules import built_module

FILTER = """
from pywasmfilter import HttpContext, http_filter
from a.b.c import ANSWER

@http_filter("answering")
class Answering(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        return self.send_http_response(200, body=ANSWER)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A filter that imports a module three folders below."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.py").write_text("ANSWER = 'first'")
    (tmp_path / "filter.py").write_text(FILTER)
    return tmp_path


def answer(folder: Path) -> str:
    with Host(folder / "filter.py", body="wasm") as host:
        return host.request().text


def test_a_module_far_below(folder: Path) -> None:
    """A filter is built again when a module that it imports has changed, wherever below its folder that is."""
    assert answer(folder) == "first"
    (folder / "a" / "b" / "c.py").write_text("ANSWER = 'second'")
    assert answer(folder) == "second"


def test_a_package(folder: Path) -> None:
    """So is a package when a module beside it has changed."""
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text(FILTER)
    first = built_module((folder / "package",))
    (folder / "a" / "b" / "c.py").write_text("ANSWER = 'second'")
    assert built_module((folder / "package",)) != first


def test_the_settings(folder: Path) -> None:
    """A filter is built again when the project's settings have changed, which is where a mistake in them shows."""
    (folder / "inner").mkdir()
    (folder / "filter.py").rename(folder / "inner" / "filter.py")
    (folder / "a").rename(folder / "inner" / "a")
    assert answer(folder / "inner") == "first"
    (folder / "pyproject.toml").write_text("[tool.pyfilter]\ninclude = ['nothing_there']\n")
    with pytest.raises(Refused, match="nothing_there"):
        answer(folder / "inner")


@pytest.mark.parametrize("name", [".hidden", "site-packages", "__pycache__"])
def test_what_is_not_the_filters(folder: Path, name: str) -> None:
    """A filter is not built again for what lies in the folders of environments and caches."""
    first = built_module((folder / "filter.py",))
    (folder / name).mkdir()
    (folder / name / "other.py").write_text("")
    assert built_module((folder / "filter.py",)) == first


def test_links(folder: Path) -> None:
    """Linked folders count as others do, and those that lead back to where they are do no harm."""
    (folder / "a" / "b").rename(folder.parent / f"{folder.name}-elsewhere")
    (folder / "a" / "b").symlink_to(folder.parent / f"{folder.name}-elsewhere")
    for name in "xyz":
        (folder / name).symlink_to(folder)
    first = built_module((folder / "filter.py",))
    os.utime(folder / "a" / "b" / "c.py", ns=(0, 0))
    assert built_module((folder / "filter.py",)) != first
