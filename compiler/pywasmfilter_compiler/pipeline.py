"""From a Python file to a module: the story of one build.

find the filter ─▶ load the runtime image ─▶ import the filter in it ─▶ write image code + snapshot memory
 (this file)         (runtime_image)           (snapshot, sources)         (module_writer)
"""

from __future__ import annotations

import hashlib
import keyword
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from . import runtime_image, snapshot
from .errors import BuildStopped, CompilerError, FilterError, UsageError
from .module_writer import write_module
from .runtime_image import RuntimeImage
from .sources import SITE_PACKAGES, Folder, Sources, installed_roots
from .wasm import sections
from .wasm.binary import raw_sections
from .wasm.cursor import Cursor
from .wasm.module import Limits

ABI: Final = "0.2.1"
_ALWAYS_EXPORTED: Final = ("free", "malloc", "memory", "proxy_abi_version_0_2_1")

# The interpreter's soft limit for recursion stands 16 KiB above the bottom of the linear stack, in the image as in any
# module. Callbacks start this far above it. It is what bounds recursion in compiled code, so it must be used up before
# a host's native stack is: `tests/e2e/test_recursion.py` holds the distance.
_SOFT_LIMIT: Final = 16 << 10
_STACK: Final = 100 << 10

_LONGEST_TIMEOUT: Final = 86400
_MOST_MEMORY: Final = 4096  # MiB; what 32-bit addresses reach. Envoy gives a VM 1024.
_PAGES_PER_MIB: Final = 16


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What a build made. `modules` are the Python modules that the filter brought in, with the origin of each."""

    path: Path
    name: str
    size: int
    sha256: str
    abi: str
    plugins: list[str]
    exports: list[str]
    imports: list[str]
    modules: list[tuple[str, str]]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "path": str(self.path), "modules": dict(self.modules)}


def build(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    name: str | None = None,
    include: Iterable[str] = (),
    timeout: float = 60.0,
    max_memory: int = 256,
    progress: Callable[[str], None] = lambda _: None,
    on_output: Callable[[str], None] = lambda _: None,
) -> BuildResult:
    """Build the filter at `path`, a Python file or a package folder, into one Proxy-Wasm module.

    `output` defaults to `<name>.wasm` in the current folder, `name` to the plugin's name if there is one plugin, else
    to that of the file or folder. `include` names modules to keep although no import statement names them. `timeout`
    in seconds bounds the filter's own import. `max_memory` in MiB bounds the memory of each VM, after which Python
    raises MemoryError. `progress` is called when a step that takes a while begins, `on_output`
    with each line that the filter prints at import.

    Raises FilterError, which names the user's file and line, or another CompilerError. No file is written then, and an
    existing one is left as it was.
    """
    start = time.perf_counter()
    entry = find_entry(Path(path))
    _check_options(entry, output, name, timeout, max_memory)
    image = runtime_image.load(progress)
    taken = _import(entry, image, include, snapshot.Limits(timeout, max_memory), on_output)
    plugins = taken.report["plugins"]
    exports = sorted([*taken.report["callbacks"], *_ALWAYS_EXPORTED])
    memory = _memory(entry, taken.memory_pages, max_memory)
    module = write_module(image.wasm, exports, memory, taken.segments, _SOFT_LIMIT + _STACK)
    chosen = name or (plugins[0] if len(plugins) == 1 else entry.name)
    target = Path(output) if output is not None else Path(f"{_file_name(chosen)}.wasm")
    _write(target, module)
    return BuildResult(
        path=target,
        name=chosen,
        size=len(module),
        sha256=hashlib.sha256(module).hexdigest(),
        abi=ABI,
        plugins=plugins,
        exports=exports,
        imports=_imports(module),
        modules=taken.report["modules"],
        seconds=round(time.perf_counter() - start, 3),
    )


def _import(
    entry: Entry, image: RuntimeImage, include: Iterable[str], limits: snapshot.Limits, on_output: Callable[[str], None]
) -> snapshot.Snapshot:
    """Import the filter in the image. Raises FilterError if that fails, or if no plugin was registered."""
    sdk = Folder(runtime_image.sdk_folder().parent, SITE_PACKAGES, only="pywasmfilter")
    sources = Sources([entry.root, sdk, image.standard_library, *installed_roots()], entry.aliases)
    request = snapshot.Request(modules=[entry.module], include=include)
    try:
        taken = snapshot.take(image.engine, image.module, sources, request, limits, on_output)
    except BuildStopped as error:
        raise FilterError(str(error), entry.path) from error
    if "error" in taken.report:
        raise _filter_error(taken.report["error"], entry, sources)
    if not taken.report["plugins"]:
        advice = 'decorate a class with @http_filter("name") or @plugin("name")'
        raise FilterError(f"registers no plugin: {advice}", entry.path)
    return taken


def _memory(entry: Entry, pages: int, max_memory: int) -> Limits:
    most = max_memory * _PAGES_PER_MIB
    if pages > most:
        needed = -(-pages // _PAGES_PER_MIB)
        raise FilterError(
            f"takes {needed} MiB of memory at the start, more than the {max_memory} MiB allowed", entry.path
        )
    return Limits(pages, most)


class Entry(NamedTuple):
    """The filter: the file to name in messages, the root of its modules, and the module to import."""

    path: Path
    name: str
    root: Folder
    module: str
    aliases: dict[str, str]


def find_entry(path: Path) -> Entry:
    """What to import for a path: a file, a package folder, or a folder with a `filter.py`. Raises FilterError."""
    if os.path.isdir(path):  # noqa: PTH112  # unlike Path.is_dir it takes any path, also one that is too long
        resolved = path.resolve()
        if (path / "__init__.py").is_file():
            if not _is_free(resolved.name):
                raise FilterError(f"a package cannot be called {resolved.name!r} here; rename the folder", path)
            return Entry(path / "__init__.py", resolved.name, Folder(resolved.parent, ""), resolved.name, {})
        if (path / "filter.py").is_file():
            return find_entry(path / "filter.py")._replace(name=resolved.name)
        raise FilterError("the folder is no package (__init__.py) and has no filter.py", path)
    if not os.path.isfile(path):  # noqa: PTH113
        raise FilterError("no such file or folder", path)
    if path.suffix != ".py":
        raise FilterError("not a Python file: its name does not end in .py", path)
    real = path.resolve()
    root = Folder(real.parent, "")
    if _is_free(real.stem):
        return Entry(path, path.stem, root, real.stem, {})
    # A script may be called anything, also json.py; as a module it needs a name of its own.
    module = "filter_" + re.sub(r"\W", "_", path.stem)
    return Entry(path, path.stem, root, module, {module: real.name})


def _check_options(
    entry: Entry, output: str | os.PathLike[str] | None, name: str | None, timeout: float, max_memory: int
) -> None:
    if name == "":
        raise UsageError("the name of the module is empty")
    if not 0 < timeout <= _LONGEST_TIMEOUT:
        raise UsageError(f"the timeout is more than 0 and at most {_LONGEST_TIMEOUT} seconds, not {timeout}")
    if not 1 <= max_memory <= _MOST_MEMORY:
        raise UsageError(f"the memory is at least 1 and at most {_MOST_MEMORY} MiB, not {max_memory}")
    if output is None:
        return
    target = Path(output)
    if not target.name:
        raise UsageError(f"the output {os.fspath(output)!r} names no file")
    if target.suffix == ".py":
        raise UsageError(f"{target}: a module is not written to a Python file")
    if not os.path.exists(target):  # noqa: PTH110  # takes any path
        return
    if target.samefile(entry.path):
        raise UsageError(f"{target}: this is the filter, and the module would replace it")
    if not target.is_file() and not target.is_dir():
        raise UsageError(f"{target}: not a regular file")


def _is_free(name: str) -> bool:
    taken = name in sys.stdlib_module_names or name in _IN_THE_IMAGE
    return name.isidentifier() and not keyword.iskeyword(name) and not taken


_IN_THE_IMAGE: Final = ("__main__", "_image", "pywasmfilter")


def _filter_error(error: dict[str, Any], entry: Entry, sources: Sources) -> FilterError:
    """The image's error as one that names the user's file: the innermost line of the user's own code."""
    message = error["message"]
    known = [(sources.paths[origin], line) for origin, line, _ in error["places"] if origin in sources.paths]
    own = [(path, line) for path, line in known if path.is_relative_to(entry.root.path)]
    if not known:
        return FilterError(message, entry.path)
    path, line = (own or known)[-1]
    if known[-1] != (path, line):
        inner, inner_line = known[-1]
        message += f" ({_shown(inner)}:{inner_line})"
    return FilterError(message, _shown(path), line or None)


def _shown(path: Path) -> Path:
    """A path as a person in the current folder would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "filter"


def _write(target: Path, data: bytes) -> None:
    """Write beside, then rename: the target is whole or as it was. A link stays one."""
    real = Path(os.path.realpath(target))
    try:
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as file:
            try:
                file.write(data)
                file.close()
                Path(file.name).chmod(0o666 & ~_umask())
                Path(file.name).replace(real)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise CompilerError(f"{target}: cannot be written: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _imports(module: bytes) -> list[str]:
    content = next(content for number, _, content in raw_sections(Cursor(module)) if number == sections.IMPORT)
    return [f"{item.module}.{item.name}" for item in content.vec(sections.import_)]
