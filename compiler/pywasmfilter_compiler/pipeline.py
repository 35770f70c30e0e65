"""From Python files to a module: the story of one build.

find the filters ─▶ load the runtime image ─▶ import the filters in it ─▶ write image code + snapshot memory
 (entries)            (runtime_image)           (snapshot, sources)          (module_writer)
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from . import contents, files, hosts, provenance, runtime_image, settings, snapshot, upstreams
from .entries import Entry, find_entries, import_names
from .errors import BuildStopped, FilterError, UsageError
from .hosts import AbiVersion
from .linker import unused_data
from .module_writer import write_module
from .runtime_image import RuntimeImage
from .sources import SITE_PACKAGES, Folder, Sources, installed_roots, shown
from .upstreams import Upstream
from .wasm import sections
from .wasm.binary import raw_sections
from .wasm.cursor import Cursor
from .wasm.module import Custom, Limits
from .watching import Watch

StrPath: TypeAlias = str | os.PathLike[str]

_ALWAYS_EXPORTED: Final = ("free", "malloc", "memory")
_PAGES_PER_MIB: Final = 16


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build made.

    `modules` are the Python modules that the filters brought in, with the origin of each; `upstreams` are the services
    that the filters call by name, for which the proxy needs clusters. `parts` say what the bytes of the module are.
    """

    path: Path
    name: str
    size: int
    sha256: str
    abi: str
    plugins: list[str]
    exports: list[str]
    imports: list[str]
    modules: list[tuple[str, str]]
    upstreams: list[Upstream]
    parts: list[contents.Part]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "path": str(self.path), "modules": dict(self.modules)}


def build(
    paths: StrPath | Iterable[StrPath],
    output: StrPath | None = None,
    *,
    name: str | None = None,
    include: Iterable[str] = (),
    timeout: float = settings.TIMEOUT,
    max_memory: int = settings.MAX_MEMORY,
    abi: AbiVersion = settings.ABI,
    prune: bool = True,
    name_missing: bool = False,
    keep_docs: bool = False,
    progress: Callable[[str], None] = lambda _: None,
    on_output: Callable[[str], None] = lambda _: None,
    watch: Watch | None = None,
) -> BuildResult:
    """Build the filter at a path, or those at several, into one Proxy-Wasm module with all their plugins.

    A path is that of a Python file, a package folder, or a folder with a `filter.py`.

    `output` defaults to `<name>.wasm` in the current folder, `name` to the plugin's name if there is one plugin, else
    to that of the first file or folder. `include` names modules to keep although no import statement names them.
    `timeout` in seconds bounds the filters' own import. `max_memory` in MiB bounds the memory of each VM, after which
    Python raises MemoryError. `abi` is the version of the ABI that the module declares. `prune` is False for a module
    with all of the interpreter, reachable or not; `name_missing` lets a module that is not whole tell the name of a
    function that it misses. `keep_docs` keeps docstrings, and the columns that `co_positions`
    tells, of what the filters import. `progress` is called when a step that takes a while begins, `on_output` with
    each line that the filters print at import. `watch` learns what the build reads, and keeps the image for the next.

    Raises FilterError, which names the user's file and line, or another CompilerError. No file is written then, and an
    existing one is left as it was.
    """
    start = time.perf_counter()
    entries = find_entries([paths] if isinstance(paths, str | os.PathLike) else paths)
    _check_options(timeout, max_memory, abi)
    _check_output(entries, output, name)
    image = (watch and watch.image(abi)) or runtime_image.load(progress, abi)
    sources = _sources(entries, image)
    if watch is not None:
        watch.take(sources, image)
    request = snapshot.Request(abi, import_names(entries, sources), include, keep_docs)
    taken = _import(entries, image, sources, request, snapshot.Limits(timeout, max_memory), on_output)
    found = taken.report
    plugins = found["plugins"]
    exports = sorted([*hosts.callbacks(abi).keys() & found["callbacks"], hosts.marker(abi), *_ALWAYS_EXPORTED])
    memory = _memory(entries, taken.memory_pages, max_memory)
    kind = {"compiler": found["compiler"], "name_missing": name_missing}
    code = image.code(found["left_out"], **kind) if prune else image.whole_code()
    called = [Upstream(**described) for described in found["upstreams"]]
    segments = list(taken.segments(unused_data(code)))
    use = contents.Use(found, taken.bytes_of_heap(segments))
    options = {"abi": abi, "include": sorted(set(include)), "keep_docs": keep_docs, "max_memory": max_memory}
    options |= {"name_missing": name_missing, "prune": prune}
    customs = _customs(called, use, provenance.of_build(found, sources, options))
    module = write_module(code, exports, memory, segments, image.stack_pointer, customs)
    chosen = name or (plugins[0] if len(plugins) == 1 else entries[0].name)
    target = Path(output) if output is not None else Path(f"{files.file_name(chosen)}.wasm")
    files.write(target, module)
    return BuildResult(
        path=target,
        name=chosen,
        size=len(module),
        sha256=hashlib.sha256(module).hexdigest(),
        abi=abi,
        plugins=plugins,
        exports=exports,
        imports=_imports(module),
        modules=found["modules"],
        upstreams=called,
        parts=use.parts(module),
        seconds=round(time.perf_counter() - start, 3),
    )


def _customs(called: list[Upstream], use: contents.Use, made: provenance.Provenance) -> list[Custom]:
    """What a module says of itself."""
    described = [(contents.SECTION, contents.encode(use.contents())), (provenance.SECTION, provenance.encode(made))]
    if called:
        described.insert(0, (upstreams.SECTION, upstreams.encode(called)))
    return [Custom(*section) for section in described]


def _sources(entries: list[Entry], image: RuntimeImage) -> Sources:
    sdk = Folder(runtime_image.sdk_folder().parent, SITE_PACKAGES, only="pywasmfilter")
    folders = list(dict.fromkeys(entry.root for entry in entries))
    return Sources([sdk, image.standard_library, *installed_roots()], folders, left_out="pywasmfilter.testing")


def _import(
    entries: list[Entry],
    image: RuntimeImage,
    sources: Sources,
    request: snapshot.Request,
    limits: snapshot.Limits,
    on_output: Callable[[str], None],
) -> snapshot.Snapshot:
    """Import the filters in the image. Raises FilterError if that fails, or if one of them registers no plugin."""
    try:
        taken = snapshot.take(image.engine, image.module, sources, request, limits, on_output)
    except BuildStopped as error:
        raise FilterError(str(error), _reached(entries, sources).path) from error
    if "error" in taken.report:
        raise _filter_error(taken.report["error"], entries, sources)
    for name, entry in zip(request.modules, entries, strict=True):
        if not taken.report["registered"][name]:
            advice = 'decorate a class with @http_filter("name") or @plugin("name")'
            raise FilterError(f"registers no plugin: {advice}", entry.path)
    return taken


def _memory(entries: list[Entry], pages: int, max_memory: int) -> Limits:
    most = max_memory * _PAGES_PER_MIB
    if pages > most:
        needed = -(-pages // _PAGES_PER_MIB)
        raise FilterError(
            f"takes {needed} MiB of memory at the start, more than the {max_memory} MiB allowed", entries[0].path
        )
    return Limits(pages, most)


def _check_options(timeout: float, max_memory: int, abi: str) -> None:
    if not 0 < timeout <= settings.LONGEST_TIMEOUT:
        raise UsageError(f"the timeout is more than 0 and at most {settings.LONGEST_TIMEOUT} seconds, not {timeout}")
    if not 1 <= max_memory <= settings.MOST_MEMORY:
        raise UsageError(f"the memory is at least 1 and at most {settings.MOST_MEMORY} MiB, not {max_memory}")
    if abi not in hosts.ABI_VERSIONS:
        raise UsageError(f"the version of the ABI is one of {', '.join(hosts.ABI_VERSIONS)}, not {abi!r}")


def _check_output(entries: list[Entry], output: StrPath | None, name: str | None) -> None:
    if name == "":
        raise UsageError("the name of the module is empty")
    if output is None:
        return
    target = Path(output)
    if not target.name:
        raise UsageError(f"the output {os.fspath(output)!r} names no file")
    if target.suffix == ".py":
        raise UsageError(f"{target}: a module is not written to a Python file")
    if not os.path.exists(target):  # noqa: PTH110  # takes any path
        return
    if any(target.samefile(entry.file) for entry in entries):
        raise UsageError(f"{target}: this is the filter, and the module would replace it")
    if not target.is_file() and not target.is_dir():
        raise UsageError(f"{target}: not a regular file")


def _filter_error(error: dict[str, Any], entries: list[Entry], sources: Sources) -> FilterError:
    """The image's error as one that names the user's file: the innermost line of the user's own code."""
    message = error["message"]
    known = [(sources.paths[origin], line) for origin, line, _ in error["places"] if origin in sources.paths]
    folders = [folder.path for folder in sources.folders]
    own = [(path, line) for path, line in known if any(map(path.is_relative_to, folders))]
    if not known:
        return FilterError(message, _reached(entries, sources).path)
    path, line = (own or known)[-1]
    if known[-1] != (path, line):
        inner, inner_line = known[-1]
        message += f" ({shown(inner)}:{inner_line})"
    return FilterError(message, shown(path), line or None)


def _reached(entries: list[Entry], sources: Sources) -> Entry:
    """The filter that was being imported when a build ended: the one that was asked for last."""
    asked = list(sources.paths)
    return max(entries, key=lambda entry: asked.index(entry.place.origin) if entry.place.origin in asked else -1)


def _imports(module: bytes) -> list[str]:
    content = next(content for number, _, content in raw_sections(Cursor(module)) if number == sections.IMPORT)
    return [f"{item.module}.{item.name}" for item in content.vec(sections.import_)]
