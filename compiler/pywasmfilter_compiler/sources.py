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
from typing import Final, Literal, NamedTuple, Protocol
from zipfile import ZipFile

from .errors import CompilerError

_NATIVE_SUFFIXES: Final = (*EXTENSION_SUFFIXES, ".so", ".pyd")

COMPILED: Final = ".compiled"
"""What the name of a compiled module ends in, after that of its source."""

STANDARD_LIBRARY: Final = "lib/python3.14/"
SITE_PACKAGES: Final = "site-packages/"


class Root(Protocol):
    """A place in which modules are looked for; `prefix` is what the origins of its files start with."""

    @property
    def prefix(self) -> str: ...

    def has_file(self, relative: str) -> bool: ...
    def has_folder(self, relative: str) -> bool: ...
    def read(self, relative: str) -> bytes: ...
    def compiled(self, relative: str) -> bytes | None: ...


class Folder(NamedTuple):
    """A folder on disk. With `only`, nothing but the package of that name is looked for in it."""

    path: Path
    prefix: str
    only: str = ""

    # Unlike the methods of Path, these functions take any name, also one that is too long to be a file's.

    def has_file(self, relative: str) -> bool:
        return self._may_hold(relative) and os.path.isfile(self.path / relative)  # noqa: PTH113

    def has_folder(self, relative: str) -> bool:
        return self._may_hold(relative) and os.path.isdir(self.path / relative)  # noqa: PTH112

    def read(self, relative: str) -> bytes:
        return (self.path / relative).read_bytes()

    def compiled(self, relative: str) -> None:
        """Nobody keeps what such files compile to."""

    def _may_hold(self, relative: str) -> bool:
        return self.only in ("", relative.partition("/")[0])


@dataclass(slots=True)
class Archive:
    """A zip file, as which the cache keeps the standard library."""

    zip: ZipFile
    prefix: str
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.names = frozenset(self.zip.namelist())

    def has_file(self, relative: str) -> bool:
        return relative in self.names

    def has_folder(self, relative: str) -> bool:  # noqa: ARG002  # every package of the standard library has its file
        return False

    def read(self, relative: str) -> bytes:
        return self.zip.read(relative)

    def compiled(self, relative: str) -> bytes | None:
        """What the image's interpreter made of a file, for the modules that many filters use."""
        name = relative + COMPILED
        return self.zip.read(name) if name in self.names else None


class Source(NamedTuple):
    """A module that was looked for. `content` is None for a namespace package and where there is no source.

    `compiled` is what the image's interpreter makes of the content, where that is known already.
    """

    kind: Literal["module", "package", "native", "missing"]
    origin: str = ""
    content: bytes | None = None
    compiled: bytes | None = None


@dataclass(slots=True)
class Sources:
    """Finds modules in `roots`, in order.

    `aliases` gives files of the first root that are known under another module name. `paths` remembers the file of
    each origin that was found on disk.
    """

    roots: list[Root]
    aliases: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)

    def find(self, name: str) -> Source:
        """The source of a module by its absolute dotted name. Raises CompilerError if it cannot be read."""
        if name in self.aliases:
            return self._source("module", self.roots[0], self.aliases[name])
        relative = name.replace(".", "/")
        namespace: Root | None = None
        for root in self.roots:
            if root.has_file(f"{relative}/__init__.py"):
                return self._source("package", root, f"{relative}/__init__.py")
            if root.has_file(f"{relative}.py"):
                return self._source("module", root, f"{relative}.py")
            for suffix in _NATIVE_SUFFIXES:
                if root.has_file(relative + suffix):
                    return Source("native", root.prefix + relative + suffix)
            if namespace is None and root.has_folder(relative):
                namespace = root
        return Source("missing") if namespace is None else Source("package", namespace.prefix + relative)

    def _source(self, kind: Literal["module", "package"], root: Root, relative: str) -> Source:
        origin = root.prefix + relative
        if isinstance(root, Folder):
            self.paths[origin] = root.path / relative
        try:
            return Source(kind, origin, root.read(relative), root.compiled(relative))
        except OSError as error:
            raise CompilerError(
                f"{self.paths.get(origin, origin)}: cannot be read: {error.strerror or error}"
            ) from error


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
            yield Folder(resolved, SITE_PACKAGES)


def _virtual_environment() -> list[Path]:
    active = os.environ.get("VIRTUAL_ENV")
    if not active or Path(active).resolve() == Path(sys.prefix).resolve():
        return []
    return sorted(Path(active).glob("lib/python3*/site-packages")) or [Path(active, "Lib", "site-packages")]


PRECOMPILED: Final = tuple(
    """
    ast base64 binascii bisect collections contextlib copy csv dataclasses datetime decimal difflib email.message
    email.utils fnmatch fractions functools hashlib heapq hmac html html.parser http.cookies inspect io ipaddress
    itertools json logging logging.handlers math numbers operator pickle pprint random re secrets statistics string
    struct textwrap time traceback types typing unicodedata urllib.parse uuid weakref xml.etree.ElementTree zlib
    zoneinfo
    """.split()
)
"""What filters import most: these modules, and what they import, are compiled when the image is made."""

NOT_FOLLOWED: Final = frozenset(
    """
    __main__ _aix_support _android_support _apple_support _ios_support _osx_support _pydatetime _pydecimal _pyio
    _pylong _pyrepl argparse asyncio bdb bz2 cmd code codeop compression concurrent ctypes curses dbm distutils
    doctest ensurepip ftplib getopt getpass gettext glob gzip http idlelib imaplib lzma mailbox multiprocessing
    nturl2path optparse pathlib pdb platform plistlib poplib profile pstats pty pyclbr pydoc pydoc_data readline
    rlcompleter runpy select selectors shutil signal site smtplib socket socketserver sqlite3 ssl subprocess
    symtable sysconfig tabnanny tarfile tempfile termios test threading tkinter trace tracemalloc tty unittest venv
    webbrowser winreg wsgiref xmlrpc zipapp zipfile zipimport
    """.split()
)
"""What an import inside a function of the standard library does not bring in: it needs an operating system, or is a
developer's tool. A filter or an installed package that names one of these gets it all the same."""
