"""Whether a module is what it says it is: its facts are made again here, and compared.

A module tells how it was built (`provenance`). From that, the interpreter's code, the sources of the standard library
and of packages, and, with the filter's own sources, the whole module can be had once more. The code of the interpreter
is the same on every machine with the same versions. The data are so only with the same runtime image, which a machine
makes once: CPython draws a random hash seed while it is made.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from . import module_writer, provenance, runtime_image
from .errors import UsageError
from .pipeline import StrPath, build
from .provenance import Provenance
from .runtime_image import RuntimeImage
from .sources import SITE_PACKAGES, Sources, installed_roots
from .wasm import sections
from .wasm.binary import raw_sections
from .wasm.cursor import Cursor
from .wasm.module import Export

Result = Literal["same", "different", "unknown"]

_CODE: Final = "interpreter's code"
_NO_PROVENANCE: Final = "the module does not say how it was built; only modules of pyfilter do"


@dataclass(frozen=True, slots=True)
class Check:
    """One fact: "same" if it was made again and is equal, "unknown" if it could not be made."""

    name: str
    result: Result
    detail: str


@dataclass(frozen=True, slots=True)
class Verification:
    """All checks of a module, whose SHA-256 this is."""

    sha256: str
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether nothing is different, and the code is what it should be: a module could claim another version."""
        results = {check.name: check.result for check in self.checks}
        return "different" not in results.values() and results.get(_CODE) == "same"


def verify(
    module: StrPath, paths: Iterable[StrPath] = (), *, progress: Callable[[str], None] = lambda _: None
) -> Verification:
    """Compare a module with what its build makes here. `paths` are those of its filters, as `build` takes them.

    Raises MalformedWasm for what is no module, UsageError if it cannot be read, and whatever `build` does.
    """
    try:
        data = Path(module).read_bytes()
    except OSError as error:
        raise UsageError(f"{module}: {error.strerror or error}") from error
    made = provenance.of_module(data)
    if made is None:
        checks = [Check("provenance", "unknown", _NO_PROVENANCE)]
    else:
        checks = list(_checks(data, made, list(paths), progress))
    return Verification(hashlib.sha256(data).hexdigest(), checks)


def _checks(data: bytes, made: Provenance, paths: list[StrPath], progress: Callable[[str], None]) -> Iterator[Check]:
    tools = _tools(made)
    yield tools
    image = runtime_image.load(progress, made.options["abi"])
    sources = Sources([image.standard_library, *installed_roots()])
    if tools.result == "same":
        yield _code(data, made, image)
    yield _sources("standard library", sources, made, [name for name in made.sources if _is_standard(name, sources)])
    for package in made.packages:
        yield _sources(f"package {package.name} {package.version}".rstrip(), sources, made, package.modules)
    if paths:
        yield _rebuilt(data, made, paths, progress)


def _tools(made: Provenance) -> Check:
    here = provenance.tools()
    other = [f"{name} {version}" for name, version in made.versions.items() if here.get(name, version) != version]
    if other:
        ours = ", ".join(f"{name} {version}" for name, version in here.items())
        return Check("versions", "unknown", f"made with {', '.join(other)}; this is {ours}")
    return Check("versions", "same", ", ".join(f"{name} {version}" for name, version in made.versions.items()))


def _code(data: bytes, made: Provenance, image: RuntimeImage) -> Check:
    kind = {"compiler": made.compiler, "name_missing": bool(made.options["name_missing"])}
    expected = image.code(made.left_out, **kind) if made.options["prune"] else image.whole_code()
    found = _sections(data)
    if found == _sections(expected) and _exports(data) <= _exports(expected):
        return Check(_CODE, "same", f"{len(found[sections.CODE]):,} bytes")
    return Check(_CODE, "different", "it is not what the linker makes of this version's interpreter")


def _sections(module: bytes) -> dict[int, bytes]:
    """All that decides which code runs when a function is called: code, and what its numbers mean."""
    wanted = (*module_writer.COPIED, sections.START)
    return {number: content.rest() for number, _, content in raw_sections(Cursor(module)) if number in wanted}


def _exports(module: bytes) -> frozenset[Export]:
    found = (content for number, _, content in raw_sections(Cursor(module)) if number == sections.EXPORT)
    return frozenset(export for content in found for export in content.vec(sections.export))


def _is_standard(name: str, sources: Sources) -> bool:
    places = sources.places(name)
    return bool(places) and not places[0].origin.startswith(SITE_PACKAGES)


def _sources(title: str, sources: Sources, made: Provenance, names: Iterable[str]) -> Check:
    """Whether modules are here what they were in the build."""
    recorded = [name for name in names if name in made.sources]
    missing = [name for name in recorded if sources.find(name).content is None]
    if missing:
        return Check(title, "unknown", f"not installed here: {', '.join(missing)}")
    other = [name for name in recorded if _digest(name, sources) != made.sources[name]]
    if other:
        return Check(title, "different", f"other sources here: {', '.join(other)}")
    return Check(title, "same", f"{len(recorded)} Python modules")


def _digest(name: str, sources: Sources) -> str:
    return sources.digests.get(sources.find(name).origin, "")


def _rebuilt(data: bytes, made: Provenance, paths: list[StrPath], progress: Callable[[str], None]) -> Check:
    """Build again with the same options, and say what differs."""
    with tempfile.TemporaryDirectory() as folder:
        again = build(paths, Path(folder) / "again.wasm", **made.options, progress=progress).path.read_bytes()
    if again == data:
        return Check("filter", "same", "built again, byte for byte")
    other = provenance.of_module(again)
    if other is None or other.sources != made.sources:
        names = _differing(made.sources, other.sources if other else {})
        return Check("filter", "different", f"other sources: {', '.join(names)}")
    if (_sections(again), _exports(again)) != (_sections(data), _exports(data)) or other != made:
        return Check("filter", "different", "the same sources, and another module")
    return Check("filter", "same", "built again: the same sources, code and options, in another runtime image")


def _differing(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
