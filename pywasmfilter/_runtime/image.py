"""Runs once, while the runtime image is built: the interpreter starts here, and then sleeps in the image.

It copies the standard library's sources out to the build's folder, because later builds import from there, and leaves
an interpreter that knows the SDK. The tool that builds the image imports modules of its own afterwards; `build` drops
them.
"""

from __future__ import annotations

import os
import sys

from .. import _abi, _callback_tasks, _dispatcher, _state, _traceback, exceptions
from . import build, environment

_STANDARD_LIBRARY = "/python"
_OUTPUT = "/0/stdlib"


def _copy_sources(source: str, target: str) -> None:
    os.mkdir(target)
    for entry in os.listdir(source):
        path = f"{source}/{entry}"
        if os.path.isdir(path):
            if entry not in ("__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip"):
                _copy_sources(path, f"{target}/{entry}")
        elif entry.endswith(".py"):
            with open(path, "rb") as original, open(f"{target}/{entry}", "wb") as copy:
                copy.write(original.read())


def _name_origins() -> None:
    """Give the modules that are here the origins that tracebacks show, in place of the image's own folders."""
    for module in sys.modules.values():
        if path := getattr(module, "__file__", None):
            module.__file__ = _traceback.origin(path)
            if module.__spec__:
                module.__spec__.origin = module.__file__


def make() -> None:
    """Prepare the interpreter of this process."""
    _copy_sources(_STANDARD_LIBRARY, _OUTPUT)
    environment.install()
    _dispatcher.before_start.append(environment.prepare_vm)
    _abi.host.bind(  # type: ignore[attr-defined]  # only the shim has it
        _state.contexts,
        _dispatcher.on_context_create,
        _dispatcher.on_vm_start,
        _callback_tasks.on_coroutine,
        _dispatcher.on_exception,
        exceptions.raise_for_status,
        build.build,
    )
    _name_origins()
    build.keep_modules(sys.modules)
