"""The runtime image: interpreter, SDK and shim as one core module, built once and kept in the user's cache folder.

    <cache>/images/<key>/
        image.wasm     the linked module; its sections are what every built module begins with
        image.cwasm    the same, compiled by wasmtime for this machine: it loads in milliseconds
        stdlib.zip     the standard library's sources, from which later builds import
        index.json     size and SHA-256 of the others; written last, so a folder without it is no image

The key is a hash of everything the image depends on. A folder whose files do not match its index is built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import wasmtime

from . import componentize, snapshot, wasi
from .component.decode import decode as decode_component
from .errors import CompilerError
from .linker import External, LinkPlan, StackGuard, link
from .sources import COMPILED, PRECOMPILED, STANDARD_LIBRARY, Archive, Sources
from .wasm import binary

Progress = Callable[[str], None]
"""Called with a sentence when a step that takes a while begins."""

_PRECOMPILE_LIMITS: Final = snapshot.Limits(timeout=300.0, memory=1024)
_FILES: Final = ("image.wasm", "image.cwasm", "stdlib.zip")
_PACKAGE: Final = Path(__file__).parent
_SHIM: Final = _PACKAGE / "shim"

_STACK_GUARD: Final = StackGuard(
    frame=256,
    # Functions that ask whether recursion went too deep; their callers take part in recursion.
    checks=frozenset(
        {
            "_Py_CheckRecursiveCall",
            "_Py_EnterRecursiveCall",
            "Py_EnterRecursiveCall",
            "_Py_ReachedRecursionLimitWithMargin",
        }
    ),
    # Freeing what is nested: the interpreter asks, in a way that does not show as a call.
    functions=frozenset({"_Py_Dealloc"}),
    # Functions that recurse without asking: they advance the iterator below them, hash the members of a thing, or call
    # what they are bound to. NULL and -1 are what they return for an error.
    check="pyfilter_check_recursion",
    refusals={
        **dict.fromkeys(
            """
            enum_next filter_next ga_iternext map_next proxy_iternext zip_next accumulate_next batched_next chain_next
            compress_next cycle_next dropwhile_next filterfalse_next groupby_next _grouper_next islice_next
            pairwise_next starmap_next takewhile_next tee_next zip_longest_next coro_wrapper_iternext
            anextawaitable_iternext method_vectorcall wrapper_call
            """.split(),
            0,
        ),
        **dict.fromkeys(
            "ga_hash mappingproxy_hash method_hash slice_hash tuple_hash union_hash weakref_hash wrapper_hash".split(),
            -1,
        ),
    },
)


@dataclass(frozen=True, slots=True)
class RuntimeImage:
    """An image that is ready for builds."""

    wasm: bytes
    engine: wasmtime.Engine
    module: wasmtime.Module
    standard_library: Archive


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image in the cache: its folder, its size in bytes, and whether this installation uses it."""

    path: Path
    size: int
    current: bool


def load(progress: Progress) -> RuntimeImage:
    """The image for this installation, built first if the cache does not have it whole.

    Raises CompilerError if it cannot be built or the cache folder cannot be written.
    """
    folder = current_folder()
    if not is_whole(folder):
        _build(folder, progress)
    try:
        return _open(folder)
    except OSError as error:
        raise CompilerError(f"the runtime image in {folder} cannot be read: {error}") from error


def _open(folder: Path) -> RuntimeImage:
    engine = snapshot.new_engine()
    wasm = (folder / "image.wasm").read_bytes()
    try:
        module = wasmtime.Module.deserialize_file(engine, str(folder / "image.cwasm"))
    except wasmtime.WasmtimeError:  # a cache that machines share: it was compiled for another kind of processor
        module = wasmtime.Module(engine, wasm)
    return RuntimeImage(wasm, engine, module, Archive(zipfile.ZipFile(folder / "stdlib.zip"), STANDARD_LIBRARY))


def cache_folder() -> Path:
    """Where images are kept: PYFILTER_CACHE_DIR, or the user's cache folder."""
    if chosen := os.environ.get("PYFILTER_CACHE_DIR"):
        return Path(chosen) / "images"
    from platformdirs import user_cache_path  # noqa: PLC0415  # not needed where the folder is given

    return user_cache_path("pywasmfilter", appauthor=False) / "images"


def current_folder() -> Path:
    """The folder of this installation's image, whether it is there or not."""
    return cache_folder() / _key()


def cached() -> list[CachedImage]:
    """All images in the cache."""
    current = current_folder()
    folders = sorted(path for path in _children(cache_folder()) if (path / "index.json").is_file())
    return [
        CachedImage(path, sum(file.stat().st_size for file in _children(path)), path == current) for path in folders
    ]


def clear() -> list[Path]:
    """Remove all images, and what interrupted builds left. Returns what was removed."""
    removed = [path for path in _children(cache_folder()) if _OURS.fullmatch(path.name)]
    for path in removed:
        try:
            shutil.rmtree(path)
        except OSError as error:
            raise CompilerError(f"{path} cannot be removed: {error.strerror or error}") from error
    return removed


# The cache is in a folder that the user may have chosen; what else is in there is not ours to remove.
_BUILDING: Final = ".building-"
_OURS: Final = re.compile(rf"[0-9a-f]{{32}}|{re.escape(_BUILDING)}.*")


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _key() -> str:
    """A hash of everything that the image is made from or for."""
    digest = hashlib.sha256()
    machine = (platform.machine(), sys.platform, version("wasmtime"), componentize.check_version())
    digest.update(repr(machine).encode())
    for root, pattern in _INGREDIENTS:
        folder = sdk_folder() if root == "sdk" else _PACKAGE
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            digest.update(f"{root}/{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


_INGREDIENTS: Final = (
    ("sdk", "**/*.py"),
    ("compiler", "shim/*.so"),
    ("compiler", "wasm/*.py"),
    ("compiler", "component/*.py"),
    ("compiler", "linker/*.py"),
    ("compiler", "componentize.py"),
    ("compiler", "runtime_image.py"),
    ("compiler", "snapshot.py"),
    ("compiler", "sources.py"),
    ("compiler", "wasi.py"),
)


def sdk_folder() -> Path:
    """The folder of the package `pywasmfilter`, which is embedded and never imported here."""
    spec = find_spec("pywasmfilter")
    if spec is None or spec.origin is None:
        raise CompilerError("the package pywasmfilter is not installed beside its compiler; reinstall it")
    return Path(spec.origin).parent


def is_whole(folder: Path) -> bool:
    """Whether a folder holds an image whose files are those that were written."""
    try:
        index = json.loads((folder / "index.json").read_bytes())
        return all(_fingerprint(folder / name) == index[name] for name in _FILES)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _fingerprint(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _build(folder: Path, progress: Progress) -> None:
    """Build beside, then rename: whoever looks at `folder` finds a whole image or none.

    Of two builds at once the first to finish wins, and the other finds that its work is there.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder.parent) as scratch:
            new = Path(scratch) / "image"
            new.mkdir()
            _write_files(new, Path(scratch), progress)
            index = {name: _fingerprint(new / name) for name in _FILES}
            (new / "index.json").write_text(json.dumps(index), encoding="utf-8")
            if not is_whole(folder):
                with suppress(FileNotFoundError):
                    folder.rename(Path(scratch) / "broken")
            try:
                new.rename(folder)
            except OSError:
                if not is_whole(folder):
                    raise
    except OSError as error:
        raise CompilerError(f"the runtime image cannot be kept in {folder.parent}: {error}") from error


def _write_files(new: Path, scratch: Path, progress: Progress) -> None:
    progress("runtime image, made once for this version: starting the interpreter (componentize-py)")
    component = componentize.make_component(sdk_folder(), _SHIM, scratch)
    progress("runtime image: linking its modules into one")
    wasm = link_image(component.data)
    (new / "image.wasm").write_bytes(wasm)
    progress("runtime image: compiling it for this machine (wasmtime)")
    engine = snapshot.new_engine()
    module = wasmtime.Module(engine, wasm)
    (new / "image.cwasm").write_bytes(module.serialize())
    progress("runtime image: compiling what filters import most")
    _write_archive(new / "stdlib.zip", component.standard_library)
    _add_compiled(new / "stdlib.zip", engine, module)


def _write_archive(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.py")):
            archive.write(file, file.relative_to(folder).as_posix())


def _add_compiled(path: Path, engine: wasmtime.Engine, module: wasmtime.Module) -> None:
    """Let the interpreter compile the modules of PRECOMPILED and all they import, and keep the result."""
    with zipfile.ZipFile(path) as archive:
        sources = Sources([Archive(archive, STANDARD_LIBRARY)])
        request = snapshot.Request(include=PRECOMPILED, record=True)
        report = snapshot.take(engine, module, sources, request, _PRECOMPILE_LIMITS, lambda _: None).report
    if "error" in report:
        raise CompilerError(f"the standard library does not compile: {report['error']['message']}")
    origins = dict(report["modules"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, compiled in sorted(report["compiled"].items()):
            archive.writestr(origins[name].removeprefix(STANDARD_LIBRARY) + COMPILED, compiled)


def link_image(component: bytes) -> bytes:
    """The component as one core module that exports every callback, the build's entries and the stack pointer."""
    shim = [name for name in _exports("_shim.abi3.so") if name.startswith(("proxy_", "pyfilter_"))]
    stubs = [name for name in _exports("_stubs.abi3.so") if not name.startswith("__")]
    decoded = decode_component(component)
    plan = LinkPlan(
        exports={name: name for name in [*shim, "malloc", "free", "memory", "__stack_pointer"]},
        stubs={name: _external(name) for name in stubs},
        host_functions=wasi.replacements(decoded),
        guard=_STACK_GUARD,
    )
    return binary.encode(link(decoded, plan))


def _exports(library: str) -> list[str]:
    return [export.name for export in binary.decode((_SHIM / library).read_bytes()).exports]


def _external(stub: str) -> External:
    module, _, name = stub.rpartition(".")
    return External(module or "env", name)
