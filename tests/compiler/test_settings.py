"""Defaults for the command's options, from the project's own file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pywasmfilter_compiler.errors import UsageError
from pywasmfilter_compiler.settings import load_settings


def project(folder: Path, text: str) -> Path:
    """A folder with a pyproject.toml and a filter; gives the filter."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "filter.py").touch()
    return folder / "filter.py"


def test_all_settings(tmp_path: Path) -> None:
    """Each option has its setting; the output is relative to the file that names it."""
    text = '[tool.pyfilter]\nname = "n"\noutput = "build/o.wasm"\ninclude = ["a.b"]\ntimeout = 5\n'
    text += 'max_memory = 64\nabi = "0.2.0"\nkeep_docs = true\nprune = false\nname_missing = true\n'
    assert load_settings(project(tmp_path, text)) == {
        "name": "n",
        "output": str(tmp_path / "build" / "o.wasm"),
        "include": ["a.b"],
        "timeout": 5.0,
        "max_memory": 64,
        "abi": "0.2.0",
        "keep_docs": True,
        "prune": False,
        "name_missing": True,
    }


@pytest.mark.parametrize("text", ["", "[tool]\n", "[tool.other]\nname = 5\n", "tool = 5\n", "[tool.pyfilter]\n"])
def test_no_settings(tmp_path: Path, text: str) -> None:
    """Without the table, or with an empty one, nothing is set; other tools' tables are theirs."""
    assert load_settings(project(tmp_path, text)) == {}


def test_no_file(tmp_path: Path) -> None:
    """A filter outside of any project has no settings."""
    assert load_settings(tmp_path / "filter.py") == {}


def test_only_what_is_set_is_given(tmp_path: Path) -> None:
    """A setting that is left out is not given a value here, so that the option's own default holds."""
    assert load_settings(project(tmp_path, '[tool.pyfilter]\nname = "n"\n')) == {"name": "n"}


def test_an_absolute_output_stays(tmp_path: Path) -> None:
    """An absolute path is taken as it is."""
    assert load_settings(project(tmp_path, '[tool.pyfilter]\noutput = "/x/o.wasm"\n')) == {"output": "/x/o.wasm"}


def test_the_nearest_file_counts(tmp_path: Path) -> None:
    """The file of the filter's folder, else of the next one above; one without the table ends the search."""
    project(tmp_path, '[tool.pyfilter]\nname = "outer"\n')
    inner = project(tmp_path / "a" / "inner", '[tool.pyfilter]\nname = "inner"\n')
    bare = project(tmp_path / "bare", "[project]\n")
    assert load_settings(inner) == load_settings(inner.parent) == {"name": "inner"}
    assert load_settings(tmp_path / "a" / "filter.py") == {"name": "outer"}
    assert load_settings(bare) == {}


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders above are found for a path that does not name them."""
    project(tmp_path, '[tool.pyfilter]\nname = "n"\n')
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert load_settings(Path("filter.py")) == load_settings(Path()) == {"name": "n"}


FAULTY = """
[tool.pyfilter]
name = ""
output = 5
include = ["fine", 5, ""]
timeout = -1.0
max_memory = 4097
abi = "0.3"
colour = "red"
"""


def test_all_faults_at_once(tmp_path: Path) -> None:
    """The error names the file, and every wrong setting with its path in the table and what is wrong with it."""
    with pytest.raises(UsageError) as raised:
        load_settings(project(tmp_path, FAULTY))
    first, *faults = str(raised.value).splitlines()
    assert first == f"{tmp_path / 'pyproject.toml'}:"
    places = [fault.partition(": ")[0].strip() for fault in faults]
    assert sorted(places) == [
        "tool.pyfilter.abi",
        "tool.pyfilter.colour",
        "tool.pyfilter.include.1",
        "tool.pyfilter.include.2",
        "tool.pyfilter.max_memory",
        "tool.pyfilter.name",
        "tool.pyfilter.output",
        "tool.pyfilter.timeout",
    ]
    assert all(fault.partition(": ")[2] for fault in faults)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "1e9", '"60"', "true"])
def test_a_timeout_is_a_number_of_seconds(tmp_path: Path, timeout: str) -> None:
    """A timeout is more than nothing and at most a day."""
    with pytest.raises(UsageError, match=r"tool\.pyfilter\.timeout: Input should be"):
        load_settings(project(tmp_path, f"[tool.pyfilter]\ntimeout = {timeout}\n"))


@pytest.mark.parametrize("value", ["5", '"text"', "[1]"])
def test_a_table_is_a_table(tmp_path: Path, value: str) -> None:
    """Something else under the table's name is one fault, at the table's own path."""
    with pytest.raises(UsageError, match=r"\n  tool\.pyfilter: Input should be a valid dictionary"):
        load_settings(project(tmp_path, f"[tool]\npyfilter = {value}\n"))


@pytest.mark.parametrize("data", [b"[tool.pyfilter", b"name = ", b"\xff", b"a = 1\na = 2"])
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    """A file that is no TOML, or no text, is named with the reason."""
    (tmp_path / "pyproject.toml").write_bytes(data)
    with pytest.raises(UsageError, match=rf"^{tmp_path}/pyproject\.toml: ."):
        load_settings(tmp_path / "filter.py")


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    """A name that is too long for any file has no settings of its own; what is wrong with it is said elsewhere."""
    assert load_settings(tmp_path / ("a" * 300)) == {}
