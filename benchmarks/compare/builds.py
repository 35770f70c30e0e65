"""The modules of a run, and the seconds that each compiler takes: the first time, with empty caches, and afterwards.

Each build is a process of its own, as a user's is. The caches are folders of the run, so that nothing from before
counts; the downloads of Go's modules are kept, which are no work of the compiler's. `warm=True` takes the user's caches
instead, and has no first time. The second build of Go's is one after a change; the others do not remember the source.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from wasmtime import wat2wasm

SOURCES: Final = Path(__file__).with_name("filters")
_ZIG: Final = ("cc", "-target", "wasm32-freestanding", "-O2", "-nostdlib", "-s", "-Wl,--no-entry")
_OURS: Final = "import sys; from pywasmfilter_compiler import build; build(sys.argv[1], sys.argv[2])"


class Missing(Exception):
    """A rival cannot take part; why."""


@dataclass(frozen=True)
class Built:
    """A module, and the seconds that its build took with filled caches."""

    module: Path
    seconds: float


@dataclass
class Workshop:
    """Builds into a folder of the run. `first` is the seconds of the first build by compiler."""

    folder: Path
    warm: bool = False
    first: dict[str, float] = field(default_factory=dict)

    def ours(self, job: str, file: str) -> Built:
        """A filter of this SDK."""
        output = self._output(f"{job}-{file}")
        command = [sys.executable, "-c", _OURS, str(SOURCES / job / file), str(output)]
        return self._build("ours", command, output, self._caches(PYFILTER_CACHE_DIR="ours"))

    def go(self, job: str) -> Built:
        """A filter of the Go SDK, from a copy of the sources, which the second build finds changed."""
        go = shutil.which("go")
        if go is None:
            raise Missing("Go is not installed (there is no `go` on PATH)")
        output, copy = self._output(f"{job}-go"), self.folder / "go" / job
        shutil.copytree(SOURCES / job / "go", copy / job)
        for name in ("go.mod", "go.sum"):
            shutil.copy(SOURCES / name, copy)
        command = [go, "build", "-buildmode=c-shared", "-o", str(output), f"./{job}"]
        environment = {**self._caches(GOCACHE="go-cache"), "GOOS": "wasip1", "GOARCH": "wasm"}
        _run([go, "mod", "download"], environment, copy)
        return self._build("go", command, output, environment, copy / job / "main.go")

    def hand(self, job: str, file: str) -> Built:
        """A module in Wasm's text, or in C without a library."""
        source, output = SOURCES / job / file, self._output(f"{job}-hand")
        if source.suffix == ".wat":
            start = time.perf_counter()
            output.write_bytes(wat2wasm(source.read_text(encoding="utf-8")))
            return Built(output, time.perf_counter() - start)
        environment = self._caches(ZIG_GLOBAL_CACHE_DIR="zig", ZIG_LOCAL_CACHE_DIR="zig")
        command = [sys.executable, "-m", "ziglang", *_ZIG, str(source), "-o", str(output)]
        return self._build("hand", command, output, environment)

    def _output(self, name: str) -> Path:
        return self.folder / f"{name}.wasm"

    def _caches(self, **folders: str) -> dict[str, str]:
        return {} if self.warm else {variable: str(self.folder / name) for variable, name in folders.items()}

    def _build(
        self, compiler: str, command: list[str], output: Path, environment: dict[str, str], source: Path | None = None
    ) -> Built:
        folder = self.folder if source is None else source.parents[1]
        seconds = _run(command, environment, folder)
        if self.warm:
            return Built(output, seconds)
        self.first.setdefault(compiler, round(seconds, 3))
        if source is not None:
            source.write_text(source.read_text(encoding="utf-8") + "\nvar changed bool\n", encoding="utf-8")
        return Built(output, _run(command, environment, folder))


def _run(command: list[str], environment: dict[str, str], folder: Path) -> float:
    """The seconds that a command took. Raises Missing, with what it said, if it fails."""
    start = time.perf_counter()
    done = subprocess.run(  # noqa: S603  # our own sources, the user's compilers
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Missing(f"`{Path(command[0]).name} …` failed: {' '.join(done.stderr.split())[-500:]}")
    return time.perf_counter() - start
