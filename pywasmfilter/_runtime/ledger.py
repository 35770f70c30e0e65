"""What each module that a build brings in takes of the memory, and which import statement brought it in.

Bytes are those in use in the heap: what is taken while a module is imported is the module's own, except for what is
taken while it imports others.
"""

from __future__ import annotations

import sys

from .. import _abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

causes: dict[str, tuple[str, int]] = {}
"""The module that imported each first, "" for the build itself, and the line of the statement, 0 if there is none."""

sizes: dict[str, int] = {}
"""The bytes of each module; those of "" are of nobody in particular."""

_owners = [""]
_in_use = 0


def start() -> int:
    """Begin to count. Returns the bytes that are in use already."""
    global _in_use  # noqa: PLW0603  # one interpreter, one build
    _in_use = _bytes_in_use()
    return _in_use


def begin(name: str) -> None:
    """What is taken from here on is a module's."""
    _settle()
    _owners.append(name)


def end(name: str) -> None:
    """A module is there; so is what was looked for meanwhile, and never imported."""
    _settle()
    while name in _owners:
        _owners.pop()


def share(names: Iterable[str], weights: Iterable[int]) -> None:
    """Divide what was taken since the last of these calls among modules, in proportion to their weights."""
    before = sizes.get(_owners[-1], 0)
    _settle()
    taken, sizes[_owners[-1]] = sizes[_owners[-1]] - before, before
    shares = dict(zip(names, weights, strict=True))
    whole = sum(shares.values()) or 1
    for name, weight in shares.items():
        sizes[name] = sizes.get(name, 0) + taken * weight // whole


def imported(name: str) -> None:
    """Remember the import statement that runs now, if it is the first one for a module."""
    if name not in causes:
        frame = sys._getframe(1)  # noqa: SLF001  # the way to it
        while frame.f_back and frame.f_globals.get("__name__") in _BETWEEN:
            frame = frame.f_back
        importer = frame.f_globals.get("__name__", "")
        causes[name] = ("", 0) if importer == _BUILD else (importer, frame.f_lineno)


def forget() -> None:
    """The build is over."""
    causes.clear()
    sizes.clear()
    del _owners[1:]


_BUILD = "pywasmfilter._runtime.build"
_BETWEEN = frozenset(
    {
        __name__,
        "pywasmfilter",  # its door for what is imported when it is used
        "pywasmfilter._runtime.importer",
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "_frozen_importlib",
        "_frozen_importlib_external",
    }
)


def _settle() -> None:
    global _in_use  # noqa: PLW0603  # see above
    now = _bytes_in_use()
    sizes[_owners[-1]] = sizes.get(_owners[-1], 0) + now - _in_use
    _in_use = now


def _bytes_in_use() -> int:
    return _abi.host.get_memory()[2]
