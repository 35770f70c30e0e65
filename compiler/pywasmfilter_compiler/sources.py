"""Where the modules of a filter come from: the user's own files, the standard library, installed packages.

The order is that of a Python that runs the filter as a script. Every file gets an origin, a short path that does not
depend on the machine; it is what tracebacks in the proxy show.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Literal, NamedTuple

_NATIVE_SUFFIXES = (*EXTENSION_SUFFIXES, ".so", ".pyd")


class Root(NamedTuple):
    """A folder in which modules are looked for, and what the origins of its files start with.

    With `only`, nothing but the package of that name is looked for in it.
    """

    folder: Path
    prefix: str
    only: str = ""


class Source(NamedTuple):
    """A module that was looked for. `path` is None for a namespace package and for a module that is missing."""

    kind: Literal["module", "package", "native", "missing"]
    origin: str = ""
    path: Path | None = None


@dataclass(slots=True)
class Sources:
    """Finds modules in `roots`, in order; remembers which file each origin stands for."""

    roots: list[Root]
    paths: dict[str, Path] = field(default_factory=dict)

    def find(self, name: str) -> Source:
        """The source of a module by its absolute dotted name."""
        relative = name.replace(".", "/")
        namespace: Source | None = None
        for root in self.roots:
            if root.only not in ("", name.partition(".")[0]):
                continue
            base = root.folder / relative
            if (init := base / "__init__.py").is_file():
                return self._source("package", root, init)
            if (file := base.with_name(base.name + ".py")).is_file():
                return self._source("module", root, file)
            if native := _native_file(base):
                return self._source("native", root, native)
            if namespace is None and base.is_dir() and root.prefix != STANDARD_LIBRARY:
                namespace = Source("package", f"{root.prefix}{relative}")
        return namespace or Source("missing")

    def _source(self, kind: Literal["module", "package", "native"], root: Root, path: Path) -> Source:
        origin = root.prefix + path.relative_to(root.folder).as_posix()
        self.paths[origin] = path
        return Source(kind, origin, path)


def _native_file(base: Path) -> Path | None:
    for suffix in _NATIVE_SUFFIXES:
        file = base.with_name(base.name + suffix)
        if file.is_file():
            return file
    return None


STANDARD_LIBRARY = "lib/python3.14/"
SITE_PACKAGES = "site-packages/"


def installed_roots() -> Iterator[Root]:
    """The folders of the active environment in which packages are installed.

    That is the environment this Python runs in and, before it, the one that VIRTUAL_ENV names if it is another: a
    `pyfilter` that is installed on its own still sees the packages of the project it is called in.
    """
    seen = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    for folder in [*_virtual_environment(), *map(Path, filter(None, sys.path))]:
        resolved = folder.resolve()
        if resolved.is_dir() and resolved not in seen and resolved.name != "lib-dynload":
            seen.add(resolved)
            yield Root(resolved, SITE_PACKAGES)


def _virtual_environment() -> list[Path]:
    active = os.environ.get("VIRTUAL_ENV")
    if not active or Path(active).resolve() == Path(sys.prefix).resolve():
        return []
    return sorted(Path(active).glob("lib/python3*/site-packages")) or [Path(active, "Lib", "site-packages")]


# An import statement in the standard library does not bring these in: they need an operating system, or are developers'
# tools. A filter or an installed package that names one gets it all the same.
NOT_FOLLOWED = frozenset(
    """
    __main__ _aix_support _android_support _apple_support _ios_support _osx_support _pydatetime _pydecimal _pyio _pylong
    _pyrepl argparse asyncio bdb bz2 cmd code codeop compression concurrent ctypes curses dbm distutils doctest ensurepip
    ftplib getopt getpass gettext glob gzip http idlelib imaplib lzma mailbox multiprocessing nturl2path optparse pathlib
    pdb platform plistlib poplib profile pstats pty pyclbr pydoc pydoc_data readline rlcompleter runpy select selectors
    shutil signal site smtplib socket socketserver sqlite3 ssl subprocess symtable sysconfig tabnanny tarfile tempfile
    termios test threading tkinter trace tracemalloc tty unittest venv webbrowser winreg wsgiref xmlrpc zipapp zipfile
    zipimport
    """.split()
)
