"""What to build: the files that the paths of a request name, and the name under which the interpreter imports each.

Filters that are built together are modules of one interpreter, but each has neighbours in a folder of its own. Where
there are several folders, the shortest ends of their paths that tell them apart are what origins begin with.
"""

from __future__ import annotations

import itertools
import keyword
import os
import re
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple

from .errors import FilterError, UsageError
from .sources import Folder, Place, Sources, shown


class Entry(NamedTuple):
    """A filter: the file to name in messages, what to call a module made of it, and which file of which folder it is.

    `root` is the folder in which the filter's own modules are; that of a package is the one the package is in.
    """

    path: Path
    name: str
    kind: Literal["module", "package"]
    root: Folder
    relative: str

    @property
    def file(self) -> Path:
        """The file itself, behind any links."""
        return self.root.path / self.relative

    @property
    def place(self) -> Place:
        """The file among the sources."""
        return Place(self.kind, self.root, self.relative)


def find_entries(paths: Iterable[str | os.PathLike[str]]) -> list[Entry]:
    """The filter at each path: a Python file, a package folder, or a folder with a `filter.py`.

    Raises FilterError for a path that is none of these, UsageError for no path and for two of the same file.
    """
    found = [_find(Path(path)) for path in paths]
    if not found:
        raise UsageError("there is no filter to build")
    for number, entry in enumerate(found):
        if entry.file in (other.file for other in found[:number]):
            raise UsageError(f"{entry.path}: this filter is given twice")
    folders = list(dict.fromkeys(entry.root.path for entry in found))
    roots = dict(zip(folders, map(Folder, folders, _prefixes(folders)), strict=True))
    return [entry._replace(root=roots[entry.root.path]) for entry in found]


def _find(path: Path) -> Entry:
    if os.path.isdir(path):  # noqa: PTH112  # unlike Path.is_dir it takes any path, also one that is too long
        resolved = path.resolve()
        if (path / "__init__.py").is_file():
            if not _is_free(resolved.name):
                raise FilterError(f"a package cannot be called {resolved.name!r} here; rename the folder", path)
            root, relative = Folder(resolved.parent, ""), f"{resolved.name}/__init__.py"
            return Entry(path / "__init__.py", resolved.name, "package", root, relative)
        if (path / "filter.py").is_file():
            return _find(path / "filter.py")._replace(name=resolved.name)
        raise FilterError("the folder is no package (__init__.py) and has no filter.py", path)
    if not os.path.isfile(path):  # noqa: PTH113
        raise FilterError("no such file or folder", path)
    if path.suffix != ".py":
        raise FilterError("not a Python file: its name does not end in .py", path)
    real = path.resolve()
    return Entry(path, path.stem, "module", Folder(real.parent, ""), real.name)


def _prefixes(folders: list[Path]) -> list[str]:
    """What the origins of the files in each folder begin with."""
    if len(folders) == 1:
        return [""]
    lengths = itertools.count(1)
    length = next(n for n in lengths if len({folder.parts[-n:] for folder in folders}) == len(folders))
    return ["/".join(folder.parts[-length:]).lstrip("/") + "/" for folder in folders]


def import_names(entries: list[Entry], sources: Sources) -> list[str]:
    """The names under which to import the filters. `sources` learns of those that are made up.

    A file that is not the only module of its name, such as one of two called `filter.py`, gets a name of its own. So
    does one whose name no module can have: a script may be called anything, also json.py.
    Raises FilterError for two packages of the same name, which their own modules import by it.
    """
    names: dict[str, Entry] = {}
    for entry in entries:
        name = entry.relative.removesuffix(".py").removesuffix("/__init__")
        if entry.kind == "package" and name in names:
            raise FilterError(f"{shown(names[name].path)} is a package of the same name: rename one", entry.path)
        if entry.kind == "module" and not (_is_free(name) and sources.places(name) == [entry.place]):
            name = _made_up(entry, names, sources)
        names[name] = entry
    return list(names)


def _made_up(entry: Entry, names: Container[str], sources: Sources) -> str:
    base = "filter_" + re.sub(r"\W", "_", entry.place.origin.removesuffix(".py"))
    candidates = itertools.chain([base], (f"{base}_{number}" for number in itertools.count(2)))
    name = next(name for name in candidates if name not in names and not sources.places(name))
    sources.aliases[name] = entry.place
    return name


def _is_free(name: str) -> bool:
    taken = name in sys.stdlib_module_names or name in _IN_THE_IMAGE or name.startswith("__")
    return name.isidentifier() and not keyword.iskeyword(name) and not taken


_IN_THE_IMAGE: Final = ("_image", "pywasmfilter")
