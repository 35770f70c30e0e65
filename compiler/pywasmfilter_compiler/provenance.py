"""Where a module comes from: the versions, options, packages and sources of its build.

They stand in a custom section, which hosts ignore. Its content is JSON, the same for the same build, and names no file
of the machine:

    {"versions": {"python": …, "pywasmfilter": …, "componentize-py": …},
     "options": {"abi": …, "include": […], "keep_docs": …, "max_memory": …, "name_missing": …, "prune": …},
     "left_out": [built-in module, …], "compiler": …,
     "packages": [[name, version, license, [Python module, …]], …],
     "sources": {Python module: SHA-256 of its source, …}}

`left_out` and `compiler` are what pruning went by. Version and license of a package are "" if nobody says them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, distributions, version
from typing import Any, Final

from . import componentize
from .hosts import ABI_VERSIONS
from .sources import SITE_PACKAGES, Folder, Sources
from .wasm.binary import custom_section

SECTION: Final = "pywasmfilter.provenance"
_SDK: Final = "pywasmfilter"


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package, and which Python modules of it are in a module."""

    name: str
    version: str
    license: str
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Provenance:
    """See this file's description of the section."""

    versions: dict[str, str]
    options: dict[str, Any]
    left_out: tuple[str, ...]
    compiler: bool
    packages: tuple[Package, ...]
    sources: dict[str, str]


def of_build(report: dict[str, Any], sources: Sources, options: dict[str, Any]) -> Provenance:
    """What a build has to say of itself. `options` are those that its result depends on."""
    origins = dict(report["modules"])
    return Provenance(
        versions={"python": report["python"], **tools()},
        options=options,
        left_out=tuple(sorted(report["left_out"])),
        compiler=report["compiler"],
        packages=tuple(_packages(origins, sources)),
        sources={name: sources.digests[origins[name]] for name in sorted(origins) if origins[name] in sources.digests},
    )


def tools() -> dict[str, str]:
    """The versions of what makes modules here."""
    return {_SDK: version(_SDK), "componentize-py": componentize.check_version()}


def _packages(origins: Mapping[str, str], sources: Sources) -> Iterator[Package]:
    files: dict[str, list[str]] = defaultdict(list)  # of each top-level module, those that were read
    for name, origin in sorted(origins.items()):
        if origin.startswith(SITE_PACKAGES) and name.partition(".")[0] != _SDK:
            files[name.partition(".")[0]].append(name)
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for top, names in files.items():
        file = next((origins[name] for name in names if origins[name] in sources.digests), "")
        found[_described(top, file.removeprefix(SITE_PACKAGES), sources)] += names
    for described, names in sorted(found.items()):
        yield Package(*described, tuple(names))


def _described(top: str, file: str, sources: Sources) -> tuple[str, str, str]:
    """Name, version and license of the package that installed a file; the module's own name if none says so."""
    folders = [str(root.path) for root in sources.roots if isinstance(root, Folder) and not root.only]
    for distribution in distributions(path=folders):
        record = distribution.read_text("RECORD") or ""
        if f"\n{file}," in f"\n{record}":
            return distribution.name, distribution.version, _license(distribution)
    return top, "", ""


def _license(distribution: Distribution) -> str:
    """The license as an SPDX expression. The older field holds anything, up to the text of a license."""
    return str(distribution.metadata.json.get("license_expression") or "")


def encode(provenance: Provenance) -> bytes:
    """The section's content."""
    values = {**asdict(provenance), "packages": [list(asdict(item).values()) for item in provenance.packages]}
    return json.dumps(values, separators=(",", ":"), sort_keys=True).encode()


def decode(content: bytes) -> Provenance | None:
    """What a section says; None if it cannot be read, since a custom section may hold anything."""
    try:
        values = json.loads(content)
        return Provenance(
            versions=_of_tools(values["versions"]),
            options=_options(**values["options"]),
            left_out=tuple(map(_text, values["left_out"])),
            compiler=bool(values["compiler"]),
            packages=tuple(_package(*fields) for fields in values["packages"]),
            sources=_texts(values["sources"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _of_tools(values: Any) -> dict[str, str]:
    versions = _texts(values)
    if versions.keys() != {"python", _SDK, "componentize-py"}:
        raise TypeError(f"other versions: {', '.join(versions)}")
    return versions


def _options(
    *, abi: Any, include: Any, keep_docs: Any, max_memory: Any, name_missing: Any, prune: Any
) -> dict[str, Any]:
    numbers = (keep_docs, max_memory, name_missing, prune)
    if tuple(map(type, numbers)) != (bool, int, bool, bool) or abi not in ABI_VERSIONS:
        raise TypeError(f"no options: {abi!r}, {numbers!r}")
    flags = {"keep_docs": keep_docs, "name_missing": name_missing, "prune": prune}
    return {"abi": abi, "include": [_text(name) for name in include], "max_memory": max_memory, **flags}


def _package(name: Any, version: Any, license_: Any, modules: Iterable[Any], *_later: Any) -> Package:
    if not name:
        raise TypeError("a package without a name")
    return Package(_text(name), _text(version), _text(license_), tuple(map(_text, modules)))


def _texts(values: Any) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"no text: {value!r}")
    return value


def of_module(module: bytes) -> Provenance | None:
    """What a module says of its build, if it does. Raises MalformedWasm for what is no module."""
    content = custom_section(module, SECTION)
    return None if content is None else decode(content)
