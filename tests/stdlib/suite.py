"""CPython's own tests, which Debian has in packages: fetched when tests want them, kept in pytest's cache.

The packages are of a newer Debian than most machines run. So apt gets a configuration of its own, with its own lists
and no packages installed; the machine's are left alone.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TESTS: Final = "libpython3.14-testsuite"
_HELPERS: Final = "libpython3.14-stdlib"  # has `test.support`
_SOURCE: Final = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian testing main\n"
)
_UNPACKED: Final = Path("usr/lib/python3.14/test")
_TIMEOUT: Final = 300.0  # seconds

_CONFIGURATION: Final = """
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "1";
"""


class NotFetched(Exception):
    """The packages cannot be had here. The message names the command that failed."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests: `path` is the folder of the package `test`, `version` that of the CPython they are of."""

    path: Path
    version: str


def fetch(folder: Path) -> Suite:
    """The tests in this folder; they are fetched if they are not there yet. Raises NotFetched."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other processes run tests too
        if not (folder / "suite").exists():
            _download(folder)
            _unpack(folder.glob("*.deb"), folder / "suite")
    package = next(folder.glob(f"{_TESTS}_*.deb"))
    return Suite(folder / "suite" / _UNPACKED, package.name.split("_")[1].partition("-")[0])


def _download(folder: Path) -> None:
    for package in folder.glob("*.deb"):
        package.unlink()
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(_SOURCE, encoding="utf-8")
    configuration = folder / "apt.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder), encoding="utf-8")
    apt = ("apt-get", "-c", str(configuration))
    _run([*apt, "update"], folder)
    _run([*apt, "download", _TESTS, _HELPERS], folder)


def _unpack(packages: Iterable[Path], target: Path) -> None:
    """Unpack beside, then rename: the target is whole or not there."""
    beside = target.with_suffix(".new")
    shutil.rmtree(beside, ignore_errors=True)
    for package in packages:
        _run(["dpkg-deb", "-x", str(package), str(beside)], target.parent)
    beside.rename(target)


def _run(command: Sequence[str], folder: Path) -> None:
    shown = f"{_TESTS} cannot be fetched: `{' '.join(command)}`"
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=_TIMEOUT)
    except FileNotFoundError as error:
        raise NotFetched(f"{shown}: there is no {command[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise NotFetched(f"{shown} took more than {_TIMEOUT:g} seconds") from error
    except subprocess.CalledProcessError as error:
        last = error.stderr.strip().rpartition("\n")[2]
        raise NotFetched(f"{shown} failed: {last}") from error
