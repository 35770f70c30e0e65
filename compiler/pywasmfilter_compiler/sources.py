"""Where the modules of a filter come from: the user's own files, the standard library, installed packages.

The order is that of a Python that runs the filter as a script. Every file gets an origin, a short path that does not
depend on the machine; it is what tracebacks in the proxy show.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

from .errors import CompilerError, FilterError

if TYPE_CHECKING:
    from zipfile import ZipFile

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


@dataclass(slots=True, eq=False)
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


FileState = tuple[int, int, int] | None
"""What changes when a file does: time, size and identity; None for what is no file, such as a part of an archive."""


def file_state(path: Path) -> FileState:
    """The state of a file. Of a folder nothing is told, since each file that comes or goes would change it."""
    try:
        status = os.stat(path)  # noqa: PTH116  # takes any path
    except (OSError, ValueError):
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


class Source(NamedTuple):
    """A module that was looked for. `content` is None for a namespace package and where there is no source.

    `compiled` is what the image's interpreter makes of the content, where that is known already.
    """

    kind: Literal["module", "package", "native", "missing"]
    origin: str = ""
    content: bytes | None = None
    compiled: bytes | None = None


class Place(NamedTuple):
    """Where a module is: its file in a root, or its folder if it is a namespace package."""

    kind: Literal["module", "package", "namespace", "native"]
    root: Root
    relative: str

    @property
    def origin(self) -> str:
        """The path that tracebacks show."""
        return self.root.prefix + self.relative


@dataclass(slots=True)
class Sources:
    """Finds modules for the filters in `folders`: in the filter's own folder, then in `roots`, in order.

    `aliases` gives files that are known under another module name, `left_out` names a package that no filter has.
    `paths` remembers the file of each origin that was found on disk, in the order in which they were first asked for,
    `found` where each name was found, with the state of its files before they were read, and `digests` the SHA-256 of
    what each origin held.
    """

    roots: list[Root]
    folders: list[Folder] = field(default_factory=list)
    aliases: dict[str, Place] = field(default_factory=dict)
    left_out: str = ""
    paths: dict[str, Path] = field(default_factory=dict)
    found: dict[str, list[tuple[Place, FileState]]] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def find(self, name: str) -> Source:
        """The source of a module by its absolute dotted name.

        Raises CompilerError if it cannot be read, and FilterError if filters of different folders would find different
        modules: there is one interpreter, and it has one module of a name.
        """
        self.found[name] = self._look(name)
        places = [place for place, _ in self.found[name]]
        found = [self._source(place) for place in places]
        for place, source in zip(places[1:], found[1:], strict=True):
            if (source.kind, source.content) != (found[0].kind, found[0].content):
                raise self._conflict(name, places[0], place)
        return found[0] if found else Source("missing")

    def changed(self) -> bool:
        """Whether a name that was asked for would be found elsewhere now, or in a file that is another since."""
        return any(self._look(name) != before for name, before in self.found.items())

    def _look(self, name: str) -> list[tuple[Place, FileState]]:
        places = [self.aliases[name]] if name in self.aliases else self.places(name)
        return [
            (place, file_state(place.root.path / place.relative) if isinstance(place.root, Folder) else None)
            for place in places
        ]

    def places(self, name: str) -> list[Place]:
        """Where the filters find a module: nowhere, or in one place, or in several if their folders disagree."""
        if self.left_out and f"{name}.".startswith(f"{self.left_out}."):
            return []
        views = [[folder, *self.roots] for folder in self.folders] or [self.roots]
        places = list(dict.fromkeys(place for place in map(partial(_locate, name), views) if place))
        # Folders that hold no module of this name are no reason to refuse one; submodules are looked for in all.
        return [place for place in places if place.kind != "namespace"] or places[:1]

    def _source(self, place: Place) -> Source:
        if place.kind == "native":
            return Source("native", place.origin)
        if place.kind == "namespace":
            return Source("package", place.origin)
        if isinstance(place.root, Folder):
            self.paths.setdefault(place.origin, place.root.path / place.relative)
        try:
            content, compiled = place.root.read(place.relative), place.root.compiled(place.relative)
        except OSError as error:
            raise CompilerError(f"{self._path(place)}: cannot be read: {error.strerror or error}") from error
        self.digests[place.origin] = hashlib.sha256(content).hexdigest()
        return Source(place.kind, place.origin, content, compiled)

    def _path(self, place: Place) -> Path:
        return self.paths.get(place.origin, Path(place.origin))

    def _conflict(self, name: str, *places: Place) -> FilterError:
        own, other = (shown(self._path(place)) for place in sorted(places, key=lambda p: p.root not in self.folders))
        return FilterError(
            f"{other} is another module {name!r}, and filters that are built together can have only one: rename one of "
            "them, or make each filter a package with relative imports",
            own,
        )


def _locate(name: str, roots: Iterable[Root]) -> Place | None:
    """The first place of a module in some roots; a namespace package only if nothing else has its name."""
    relative = name.replace(".", "/")
    namespace: Place | None = None
    for root in roots:
        if root.has_file(f"{relative}/__init__.py"):
            return Place("package", root, f"{relative}/__init__.py")
        if root.has_file(f"{relative}.py"):
            return Place("module", root, f"{relative}.py")
        for suffix in _NATIVE_SUFFIXES:
            if root.has_file(relative + suffix):
                return Place("native", root, relative + suffix)
        if namespace is None and root.has_folder(relative):
            namespace = Place("namespace", root, relative)
    return namespace


def shown(path: Path) -> Path:
    """A path as a person in the current folder would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


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
    __main__ _aix_support _android_support _apple_support _colorize _ios_support _osx_support _pydatetime _pydecimal
    _pyio _pylong _pyrepl annotationlib argparse ast asyncio bdb bz2 cmd code codeop compression concurrent ctypes
    curses dbm dis distutils doctest ensurepip ftplib getopt getpass gettext glob gzip http idlelib imaplib inspect
    linecache logging lzma mailbox multiprocessing nturl2path optparse pathlib pdb pickle platform plistlib poplib
    profile pstats pty pyclbr pydoc pydoc_data readline rlcompleter runpy select selectors shutil signal site
    smtplib socket socketserver sqlite3 ssl subprocess symtable sysconfig tabnanny tarfile tempfile termios test
    threading tkinter tokenize trace traceback tracemalloc tty typing unicodedata unittest venv webbrowser winreg
    wsgiref xmlrpc zipapp zipfile zipimport
    """.split()
)
"""What an import inside a function of the standard library does not bring in: it needs an operating system, is a
developer's tool or there to look into code, or is large and hardly ever wanted in such a place (`unicodedata`, for
names of characters in a pattern). A filter or an installed package that names one of these gets it all the same."""
