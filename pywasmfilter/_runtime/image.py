"""Runs once, while the runtime image is built: the interpreter starts here, and then sleeps in the image.

It copies the standard library's sources out to the build's folder, because later builds import from there, and leaves
an interpreter that knows the SDK. The tool that builds the image imports modules of its own afterwards; `build` drops
them.
"""

from __future__ import annotations

import gc
import os
import sys

from .. import _abi, _callback_tasks, _dispatcher, _state, _traceback, exceptions
from . import build, environment

_STANDARD_LIBRARY = "/python"
_OUTPUT = "/0/stdlib"
_FIRST = "_image"


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


def _bytes_of_sdk() -> int:
    """What the SDK's objects take, and those that only they know of, as far as `sys.getsizeof` tells."""
    pending: list[object] = [vars(module) for name, module in sys.modules.items() if _is_of_sdk(name)]
    seen: set[int] = set()
    size = 0
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type(sys)) or not _is_of_sdk(getattr(thing, "__module__", None)):
            continue
        seen.add(id(thing))
        size += sys.getsizeof(thing) + _OF_ALLOCATOR
        pending += gc.get_referents(thing)
        if isinstance(thing, type(make.__code__)):
            pending += (thing.co_consts, thing.co_names, thing.co_linetable, thing.co_qualname)
    return size


_OF_ALLOCATOR = 12
"""Bytes that a block of memory takes besides its content, on average: sizes are multiples of 16."""


def _is_of_sdk(module: object) -> bool:
    """Whether a module of this name belongs to the SDK, or a thing that says of no module that it is of it."""
    return not isinstance(module, str) or module.partition(".")[0] == "pywasmfilter"


def _stand_in_for_imports() -> None:
    """Offer what the tool that builds the image imports, to convert values of calls that no module makes.

    The real modules would import a good part of the standard library, which would lie in memory between the objects
    that stay.
    """
    for name, members in _IMPORTS_OF_THE_TOOL.items():
        module = type(sys)(name)
        for member in members:
            setattr(module, member, None)
        sys.modules.setdefault(name, module)


_IMPORTS_OF_THE_TOOL = {"componentize_py_types": ("Some", "Ok", "Err"), "random": ("seed",), "weakref": ("finalize",)}


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
    build.keep_modules(sys.modules.keys() - {_FIRST})
    build.sdk_bytes = _bytes_of_sdk()
    _stand_in_for_imports()
