"""Every error the compiler raises on purpose, in one tree.

    CompilerError                 anything a user can be told about; carries the exit code of the command
    ├── UsageError                an option or a combination of options that makes no sense
    ├── BinaryError               an error in a binary, with its offset
    │   ├── MalformedWasm         bytes that break the WebAssembly binary format
    │   └── UnsupportedWasm       valid bytes that use something this compiler does not handle
    ├── LinkError                 modules that do not fit together
    ├── BuildStopped              the filter's import did not come to an end
    ├── FilterError               the user's own filter: syntax, imports, registration (has a file and a line)
    ├── ToolError                 a program we run failed (has its output)
    ├── RegistryError             a registry of images cannot be reached, or says no (says what to do)
    └── MissingDependency         an optional package is not installed (says the `pip install`)

The library raises these and never prints or exits; `cli.py` is the one place that shows them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


class CompilerError(Exception):
    """Base of all expected failures. `exit_code` is what the `pyfilter` command exits with."""

    exit_code = 1


class UsageError(CompilerError):
    """The request itself is wrong: an unknown name, a missing path, options that exclude each other."""

    exit_code = 2


class BinaryError(CompilerError):
    """Base of errors that point into a binary: `offset` is in bytes from the start of the outermost file."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} (at offset {offset:#x})")
        self.message = message
        self.offset = offset


class MalformedWasm(BinaryError):
    """The bytes are not a well-formed WebAssembly module or component."""


class UnsupportedWasm(BinaryError):
    """The bytes are WebAssembly, but use a feature that this compiler does not handle."""


class LinkError(CompilerError):
    """Modules or instances of a component cannot be joined into one module."""


class BuildStopped(CompilerError):
    """The import of a filter did not come to an end; where it stood is not known."""


class FilterError(CompilerError):
    """The user's filter cannot be built. `path` and `line` are the user's own, when they are known."""

    def __init__(self, message: str, path: Path | str | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}:{line}: " if line else f"{path}: "
        super().__init__(where + message)
        self.path = None if path is None else Path(path)
        self.line = line


class ToolError(CompilerError):
    """A program that the build runs did not succeed; the message ends with what it printed."""


class RegistryError(CompilerError):
    """A registry cannot be reached, or says no: `status` is that of its answer, `codes` are the errors it names."""

    def __init__(self, message: str, status: int | None = None, codes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.codes = tuple(codes)


class MissingDependency(CompilerError):
    """An optional package is needed; the message holds the exact `pip install` to run."""
