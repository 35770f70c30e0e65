"""Run componentize-py: the SDK and the shim go in, a component with a sleeping interpreter comes out.

It gets an empty world (the Proxy-Wasm ABI needs no WIT), a staging folder as its only Python path, and an environment
with nothing in it: it would link every native library that it finds on the way, and would remember what it sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from .errors import MissingDependency, ToolError

SUPPORTED_VERSIONS: Final = ("0.25.1",)
"""The versions of componentize-py whose output the tests know."""

_WORLD: Final = "package pywasmfilter:runtime;\n\nworld image {\n}\n"
_ENTRY: Final = "_runtime/first.py"
_KEPT_VARIABLES: Final = ("SYSTEMROOT", "TEMP", "TMP", "TMPDIR")  # without which some systems start no process
_RUN: Final = (
    "import sys; sys.argv[0] = 'componentize-py'; sys.path.insert(0, sys.argv.pop(1)); "
    "from componentize_py import script; sys.exit(script())"
)


class Component(NamedTuple):
    """What componentize-py made: the component's bytes, and the folder with the interpreter's standard library."""

    data: bytes
    standard_library: Path


def check_version() -> str:
    """The version of componentize-py. Raises MissingDependency if it is missing or not one of SUPPORTED_VERSIONS."""
    wanted = " or ".join(SUPPORTED_VERSIONS)
    advice = f"run: pip install componentize-py=={SUPPORTED_VERSIONS[-1]}"
    try:
        found = version("componentize-py")
    except PackageNotFoundError:
        raise MissingDependency(f"componentize-py {wanted} is needed and not installed; {advice}") from None
    if found not in SUPPORTED_VERSIONS:
        raise MissingDependency(f"componentize-py {found} is installed, but {wanted} is needed; {advice}")
    return found


def make_component(sdk: Path, shim: Path, scratch: Path) -> Component:
    """Build the component. `sdk` is the folder of the package `pywasmfilter`, `shim` that of the compiled libraries.

    `scratch` is an empty folder to work in. Raises MissingDependency or ToolError.
    """
    check_version()
    staging = scratch / "staging"
    ignored = shutil.ignore_patterns("__pycache__", "testing", "*.so")
    shutil.copytree(sdk, staging / "pywasmfilter", ignore=ignored)
    shutil.copy(shim / "_shim.abi3.so", staging / "pywasmfilter")
    shutil.copy(shim / "_stubs.abi3.so", staging)
    shutil.copy(sdk / _ENTRY, staging / "_image.py")
    (scratch / "wit").mkdir()
    (scratch / "wit" / "world.wit").write_text(_WORLD, encoding="utf-8")
    _run("-q", "-d", "wit", "-w", "image", "componentize", "_image", "-p", "staging", "-o", "image.wasm", cwd=scratch)
    return Component((scratch / "image.wasm").read_bytes(), staging / "stdlib")


def _run(*arguments: str, cwd: Path) -> None:
    # -I and an empty PATH: no user site, no other Python and no pipenv whose packages it would link.
    empty = cwd / "empty"
    empty.mkdir()
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    command = [sys.executable, "-I", "-c", _RUN, _home(), *arguments]
    done = subprocess.run(  # noqa: S603  # our own interpreter
        command, cwd=cwd, env={**kept, "PATH": str(empty)}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise ToolError(f"componentize-py failed:\n{(done.stdout + done.stderr).strip()}")


def _home() -> str:
    """The folder that componentize-py is installed in; -I hides it if that is the user's own."""
    spec = find_spec("componentize_py")
    if spec is None or spec.origin is None:
        raise MissingDependency("the package componentize_py is not where its metadata is; reinstall componentize-py")
    return str(Path(spec.origin).parent.parent)
