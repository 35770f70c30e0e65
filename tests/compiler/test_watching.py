"""`pyfilter build --watch`: builds again when a build would read something else, and only then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from typing import IO

import pytest
from pywasmfilter_compiler import runtime_image, settings
from pywasmfilter_compiler.sources import Folder, Place, Sources
from pywasmfilter_compiler.watching import Watch

FILTER = """
from pywasmfilter import HttpContext, http_filter

import helper

@http_filter("watched")
class Watched(HttpContext): ...
"""


class Watching:
    """The command, with the lines that it prints."""

    def __init__(self, *arguments: str) -> None:
        self._readers: list[threading.Thread] = []
        # In the background of a script, where these tests may run, SIGINT is ignored, which children inherit.
        hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
        code = f"{hear}; from pywasmfilter_compiler.cli import main; main()"
        command = [sys.executable, "-c", code, "build", "filter.py", "--watch", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.output = self._lines(self.process.stdout)
        self.errors = self._lines(self.process.stderr)

    def _lines(self, stream: IO[str] | None) -> Queue[str]:
        assert stream is not None
        lines: Queue[str] = Queue()

        def read() -> None:
            with stream:
                for line in stream:
                    lines.put(line)

        self._readers.append(threading.Thread(target=read))
        self._readers[-1].start()
        return lines

    def end(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()


@pytest.fixture
def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Watching]]:
    """Starts the command in a folder with a filter; it is gone at the end."""
    runtime_image.load(lambda _: None, settings.ABI)  # which may take longer than the command is waited for
    monkeypatch.chdir(tmp_path)
    Path("filter.py").write_text(FILTER)
    Path("helper.py").write_text("value = 1")
    started: list[Watching] = []

    def start(*arguments: str) -> Watching:
        started.append(Watching(*arguments))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_builds_again(watching: Callable[..., Watching]) -> None:
    """After a change, an error, and when the fault is gone; Ctrl-C is a good end. In a pipe that is all it says."""
    command = watching()
    assert command.output.get(timeout=300).startswith("watched.wasm  ")
    first = Path("watched.wasm").read_bytes()
    Path("helper.py").write_text("value = 'another value'")
    assert command.output.get(timeout=60).startswith("watched.wasm  ")
    second = Path("watched.wasm").read_bytes()
    assert second != first
    Path("helper.py").write_text("value = (")
    assert command.errors.get(timeout=60).startswith("error: helper.py:1: SyntaxError")
    assert Path("watched.wasm").read_bytes() == second
    Path("helper.py").write_text("value = 1")
    assert command.output.get(timeout=60).startswith("watched.wasm  ")
    assert Path("watched.wasm").read_bytes() == first
    assert command.end() == 0
    assert (command.errors.get(timeout=10), command.output.qsize()) == ("\n", 0)


def test_json(watching: Callable[..., Watching]) -> None:
    """With --json, each build is an object on a line of its own."""
    command = watching("--json")
    for value in (2, 3):
        assert json.loads(command.output.get(timeout=300))["plugins"] == ["watched"]
        Path("helper.py").write_text(f"value = 'value {value}'")
    assert command.end() == 0


def test_a_filter_that_comes_later(watching: Callable[..., Watching]) -> None:
    """What is not there when the command begins may come."""
    Path("filter.py").unlink()
    command = watching()
    assert "no such file or folder" in command.errors.get(timeout=300)
    Path("filter.py").write_text(FILTER)
    assert command.output.get(timeout=300).startswith("watched.wasm  ")


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Sources in a folder and an environment, after a build that asked for some names."""
    for folder in ("own", "installed/package"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "own" / "a.py").write_text("a")
    (tmp_path / "installed" / "b.py").write_text("b")
    found = Sources([Folder(tmp_path / "installed", "site-packages/")], [Folder(tmp_path / "own", "")])
    for name in ("a", "b", "missing", "package"):
        found.find(name)
    return found


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is another": lambda folder: (folder / "own" / "a.py").write_text("longer"),
    "a file is touched": lambda folder: os.utime(folder / "own" / "a.py", (1, 1)),
    "a file is gone": lambda folder: (folder / "own" / "a.py").unlink(),
    "a package changes": lambda folder: (folder / "installed" / "b.py").write_text("longer"),
    "a new file hides another": lambda folder: (folder / "own" / "b.py").write_text("b"),
    "a file was missing": lambda folder: (folder / "installed" / "missing.py").write_text(""),
    "a package has a file now": lambda folder: (folder / "installed" / "package" / "__init__.py").write_text(""),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes(tmp_path: Path, sources: Sources, change: Callable[[Path], object]) -> None:
    """Whatever makes a build find something else is seen."""
    assert not sources.changed()
    change(tmp_path)
    assert sources.changed()


def test_what_is_no_change(tmp_path: Path, sources: Sources) -> None:
    """Files that no build asked for come and go, such as the module itself."""
    for path in ("own/out.wasm", "own/other.py", "installed/c.py", "installed/package/data"):
        (tmp_path / path).write_text("")
    assert not sources.changed()


def test_a_change_while_it_is_read(tmp_path: Path, sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes in the middle of a build is built again: its state is that of before it was read."""
    original = Sources._source

    def source(self: Sources, place: Place) -> object:
        (tmp_path / "own" / "a.py").write_text("changed meanwhile")
        return original(self, place)

    monkeypatch.setattr(Sources, "_source", source)
    sources.find("a")
    assert sources.changed()


@pytest.mark.parametrize(
    "name", ["own/a.py", "own/filter.py", "own/__init__.py", "own/pyproject.toml", "pyproject.toml"]
)
def test_what_the_paths_stand_for(tmp_path: Path, sources: Sources, name: str) -> None:
    """Settings of the project count, and what makes a folder a filter."""
    watch = Watch([tmp_path / "own", tmp_path / "own" / "a.py"])
    watch.begin()
    watch.take(sources)
    assert not watch.changed()
    (tmp_path / name).write_text("changed")
    assert watch.changed()


def test_waiting_ends(tmp_path: Path, sources: Sources) -> None:
    """As soon as there is a change, within a second."""
    watch = Watch([tmp_path / "own"])
    watch.begin()
    watch.take(sources)
    threading.Timer(0.3, lambda: (tmp_path / "own" / "a.py").write_text("changed")).start()
    start = time.perf_counter()
    watch.wait()
    assert time.perf_counter() - start < 30
