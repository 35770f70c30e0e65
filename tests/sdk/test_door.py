"""The package has one door, and `__all__` says what is behind it."""

from __future__ import annotations

import inspect

import pywasmfilter

# Files of the package that users import by their own name, or not at all.
SUBMODULES = {
    *("buffers", "callouts", "contexts", "decorators", "exceptions", "headers", "metrics", "registry", "shared"),
    *("calls", "config", "inline", "inline_runtime", "messages", "testing", "types"),
}
NOT_EXPORTED = {"TYPE_CHECKING", "annotations"}


def test_all_is_sorted_and_complete() -> None:
    """What can be seen without an underscore, or is imported when it is asked for, is what is exported, in order."""
    # pytest puts names of its own, which are no identifiers, into modules of a package that brings a plugin for it.
    names = filter(str.isidentifier, vars(pywasmfilter))
    visible = {name for name in names if not name.startswith("_")} - SUBMODULES - NOT_EXPORTED
    lazy = pywasmfilter._LAZY
    assert pywasmfilter.__all__ == sorted(visible - set(lazy.values()) | lazy.keys())


def test_every_exported_thing_is_documented() -> None:
    """Each name behind the door has a docstring of its own."""
    for name in pywasmfilter.__all__:
        value = getattr(pywasmfilter, name)
        assert value.__doc__, name
        inherited = inspect.isclass(value) and any(value.__doc__ == base.__doc__ for base in value.__mro__[1:])
        assert not inherited, name


def test_public_methods_are_documented_and_typed() -> None:
    """Each method and function that users call says what it does and what types it takes."""
    missing = []
    for name in pywasmfilter.__all__:
        value = getattr(pywasmfilter, name)
        members = vars(value).items() if inspect.isclass(value) or inspect.ismodule(value) else [(name, value)]
        for member, function in members:
            if member.startswith("_") or not inspect.isfunction(function):
                continue
            if not function.__module__.startswith("pywasmfilter"):
                continue
            parameters = list(inspect.signature(function).parameters.values())
            typed = all(p.annotation is not p.empty for p in parameters if p.name not in ("self", "cls"))
            if not (function.__doc__ and typed and "return" in function.__annotations__):
                missing.append(f"{name}.{member}")
    assert missing == []
