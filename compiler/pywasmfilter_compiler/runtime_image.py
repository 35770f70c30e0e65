"""The runtime image: interpreter, SDK and shim as one core module, built once and kept in the user's cache folder.

Modules of each version of the ABI begin with an image of their own. It has the imports and exports of that version.

    <cache>/images/<key>/
        image.wasm     the linked module
        code-<id>.wasm the same without what filters of a kind never reach: what their modules begin with
        image.cwasm    the same, compiled by wasmtime for this machine: it loads in milliseconds
        stdlib.zip     the standard library's sources, from which later builds import
        index.json     size and SHA-256 of the others, and the ABI version; written last, so a folder without it is
                       no image

The key is a hash of everything the image depends on. A folder whose files do not match its index is built again.
The code for a kind of filters is made when the first of them is built.
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

import wasmtime

from . import componentize, cpython, hosts, snapshot, wasi
from .component.decode import decode as decode_component
from .errors import CompilerError
from .hosts import AbiVersion
from .linker import Cut, External, LinkPlan, StackGuard, Telling, link, prune
from .sources import COMPILED, PRECOMPILED, STANDARD_LIBRARY, Archive, Sources
from .wasm import binary

if sys.platform != "win32":
    import fcntl

Progress = Callable[[str], None]
"""Called with a sentence when a step that takes a while begins."""

_PRECOMPILE_LIMITS: Final = snapshot.Limits(timeout=300.0, memory=1024)
_FILES: Final = ("image.wasm", "image.cwasm", "stdlib.zip")
_PACKAGE: Final = Path(__file__).parent
_SHIM: Final = _PACKAGE / "shim"

# The interpreter's soft limit for recursion stands 16 KiB above the bottom of the linear stack, in the image as in any
# module. Callbacks start this far above it. It is what bounds recursion in compiled code, so it must be used up before
# a host's native stack is: `tests/e2e/test_recursion.py` holds the distance.
_SOFT_LIMIT: Final = 16 << 10
_STACK: Final = 100 << 10

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

    abi: AbiVersion
    folder: Path
    engine: wasmtime.Engine
    module: wasmtime.Module
    standard_library: Archive

    def code(
        self,
        left_out: Iterable[str] = cpython.BUILTINS,
        *,
        compiler: bool = False,
        name_missing: bool = False,
    ) -> bytes:
        """What the module of a filter begins with that has not these built-in modules, or not Python's own compiler.

        With `name_missing` it tells the name of a function that is missing, if one is called. It is made once and kept.
        The name of the file has its digest, so that a damaged one is made again.
        """
        cuts = cpython.cuts(left_out, compiler=compiler)
        telling = cpython.TELLING._replace(names=name_missing)
        kind = hashlib.sha256(repr((sorted(cuts.items()), telling)).encode()).hexdigest()[:16]
        for path in self.folder.glob(f"code-{kind}-*.wasm"):
            data = path.read_bytes()
            if path.stem.endswith(hashlib.sha256(data).hexdigest()):
                return data
        data = _pruned((self.folder / "image.wasm").read_bytes(), cuts, telling)
        _keep(self.folder / f"code-{kind}-{hashlib.sha256(data).hexdigest()}.wasm", data)
        return data

    def whole_code(self) -> bytes:
        """The same for a filter that is to have all there is."""
        return (self.folder / "image.wasm").read_bytes()

    @property
    def stack_pointer(self) -> int:
        """Where a module's callbacks begin on the linear stack."""
        return _SOFT_LIMIT + _STACK


@dataclass(frozen=True, slots=True)
class CachedImage:
    """An image in the cache: its folder, its size in bytes, and whether this installation uses it.

    The ABI version is None for an image of which it is not known.
    """

    path: Path
    abi: str | None
    size: int
    current: bool


def load(progress: Progress, abi: AbiVersion) -> RuntimeImage:
    """The image of this installation for an ABI version, built first if the cache does not have it whole.

    Raises CompilerError if it cannot be built or the cache folder cannot be written.
    """
    folder = current_folder(abi)
    if not is_whole(folder):
        _build(folder, abi, progress)
    try:
        return _open(folder, abi)
    except OSError as error:
        raise CompilerError(f"the runtime image in {folder} cannot be read: {error}") from error


def _open(folder: Path, abi: AbiVersion) -> RuntimeImage:
    engine = snapshot.new_engine()
    try:
        module = wasmtime.Module.deserialize_file(engine, str(folder / "image.cwasm"))
    except wasmtime.WasmtimeError:  # a cache that machines share: it was compiled for another kind of processor
        module = wasmtime.Module.from_file(engine, str(folder / "image.wasm"))
    return RuntimeImage(abi, folder, engine, module, Archive(zipfile.ZipFile(folder / "stdlib.zip"), STANDARD_LIBRARY))


def cache_folder() -> Path:
    """Where images are kept: PYFILTER_CACHE_DIR, or the user's cache folder."""
    if chosen := os.environ.get("PYFILTER_CACHE_DIR"):
        return Path(chosen) / "images"
    from platformdirs import user_cache_path  # noqa: PLC0415  # not needed where the folder is given

    return user_cache_path("pywasmfilter", appauthor=False) / "images"


def compiled_folder() -> Path:
    """Where the machine code of modules that tests ran is kept."""
    return cache_folder() / _COMPILED


def current_folder(abi: AbiVersion) -> Path:
    """The folder of this installation's image for an ABI version, whether it is there or not."""
    return cache_folder() / _key(abi)


def cached() -> list[CachedImage]:
    """All images in the cache."""
    current = {current_folder(abi) for abi in hosts.ABI_VERSIONS}
    folders = sorted(path for path in _children(cache_folder()) if (path / "index.json").is_file())
    return [
        CachedImage(
            path,
            abi=_index(path).get("abi"),
            size=sum(file.stat().st_size for file in _children(path)),
            current=path in current,
        )
        for path in folders
    ]


def clear() -> list[Path]:
    """Remove all images, compiled modules, and what interrupted builds left. Returns what was removed."""
    removed = [path for path in _children(cache_folder()) if _OURS.fullmatch(path.name)]
    for path in removed:
        try:
            if path.is_file():
                path.unlink(missing_ok=True)
            else:
                shutil.rmtree(path)
        except OSError as error:
            raise CompilerError(f"{path} cannot be removed: {error.strerror or error}") from error
    return removed


# The cache is in a folder that the user may have chosen; what else is in there is not ours to remove.
_BUILDING: Final = ".building-"
_COMPILED: Final = "compiled"
_OURS: Final = re.compile(rf"[0-9a-f]{{32}}|{_COMPILED}|{re.escape(_BUILDING)}.*")


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _key(abi: AbiVersion) -> str:
    """A hash of everything that an image is made from or for."""
    digest = hashlib.sha256()
    purpose = (abi, platform.machine(), sys.platform, version("wasmtime"), componentize.check_version())
    digest.update(repr(purpose).encode())
    for root, pattern in _INGREDIENTS:
        folder = sdk_folder() if root == "sdk" else _PACKAGE
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if root == "sdk" and name.startswith("testing/"):
                continue  # no part of the image
            digest.update(f"{root}/{name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


_INGREDIENTS: Final = (
    ("sdk", "**/*.py"),
    ("compiler", "shim/*.so"),
    ("compiler", "wasm/*.py"),
    ("compiler", "component/*.py"),
    ("compiler", "linker/*.py"),
    ("compiler", "componentize.py"),
    ("compiler", "cpython.py"),
    ("compiler", "hosts.py"),
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
    index = _index(folder)
    try:
        return all(_fingerprint(folder / name) == index[name] for name in _FILES)
    except (OSError, KeyError):
        return False


def _index(folder: Path) -> dict[str, Any]:
    """What an image says of itself; nothing if there is none, or if it is damaged."""
    try:
        index = json.loads((folder / "index.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def _fingerprint(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def _build(folder: Path, abi: AbiVersion, progress: Progress) -> None:
    """Build the image, or wait for whoever is building it."""
    lock = folder.parent / f"{_BUILDING}{folder.name}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(lock, lambda: progress(f"runtime image: waiting for the process that has {lock}")):
            if not is_whole(folder):
                _build_beside(folder, abi, progress)
    except OSError as error:
        raise CompilerError(f"the runtime image cannot be kept in {folder.parent}: {error}") from error


@contextmanager
def _one_at_a_time(lock: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock, which the system takes back when a process ends; call `waiting` if somebody else holds it.

    It saves work, and nothing depends on it: where there are no locks, as on some network drives, two build at once.
    """
    with lock.open("ab") as file:
        if not _taken(file, wait=False):
            waiting()
            _taken(file, wait=True)
        try:
            yield
        finally:
            with suppress(OSError):
                lock.unlink()


def _taken(file: BinaryIO, *, wait: bool) -> bool:
    """Take the lock of a file; False if somebody else holds it and is not waited for."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # no locks here
    return True


def _build_beside(folder: Path, abi: AbiVersion, progress: Progress) -> None:
    """Build beside, then rename: whoever looks at `folder` finds a whole image or none.

    Of two builds at once the first to finish wins, and the other finds that its work is there.
    """
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder.parent) as scratch:
        new = Path(scratch) / "image"
        new.mkdir()
        _write_files(new, Path(scratch), abi, progress)
        index = {"abi": abi, **{name: _fingerprint(new / name) for name in _FILES}}
        (new / "index.json").write_text(json.dumps(index), encoding="utf-8")
        if not is_whole(folder):
            with suppress(FileNotFoundError):
                folder.rename(Path(scratch) / "broken")
        try:
            new.rename(folder)
        except OSError:
            if not is_whole(folder):
                raise


def _write_files(new: Path, scratch: Path, abi: AbiVersion, progress: Progress) -> None:
    progress(f"runtime image for ABI {abi}, made once: starting the interpreter (componentize-py)")
    component = componentize.make_component(sdk_folder(), _SHIM, scratch)
    progress("runtime image: linking its modules into one")
    wasm = link_image(component.data, abi)
    (new / "image.wasm").write_bytes(wasm)
    progress("runtime image: compiling it for this machine (wasmtime)")
    engine = snapshot.new_engine()
    module = wasmtime.Module(engine, wasm)
    (new / "image.cwasm").write_bytes(module.serialize())
    progress("runtime image: compiling what filters import most")
    _write_archive(new / "stdlib.zip", component.standard_library)
    _add_compiled(new / "stdlib.zip", engine, module, abi)


def _write_archive(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.py")):
            archive.write(file, file.relative_to(folder).as_posix())


def _add_compiled(path: Path, engine: wasmtime.Engine, module: wasmtime.Module, abi: AbiVersion) -> None:
    """Let the interpreter compile the modules of PRECOMPILED and all they import, and keep the result."""
    with zipfile.ZipFile(path) as archive:
        sources = Sources([Archive(archive, STANDARD_LIBRARY)])
        request = snapshot.Request(abi, include=PRECOMPILED, record=True)
        report = snapshot.take(engine, module, sources, request, _PRECOMPILE_LIMITS, lambda _: None).report
    if "error" in report:
        raise CompilerError(f"the standard library does not compile: {report['error']['message']}")
    origins = dict(report["modules"])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, compiled in sorted(report["compiled"].items()):
            archive.writestr(origins[name].removeprefix(STANDARD_LIBRARY) + COMPILED, compiled)


def link_image(component: bytes, abi: AbiVersion) -> bytes:
    """The component as one core module with what a host of this ABI version looks up and offers, and with what builds
    need: their own entries and the stack pointer.
    """
    decoded = decode_component(component)
    plan = LinkPlan(
        exports={**_callbacks(abi), **{name: name for name in (hosts.marker(abi), *_ALWAYS_EXPORTED)}},
        stubs=_host_functions(abi),
        host_functions=wasi.replacements(decoded),
        guard=_STACK_GUARD,
        layout=cpython.LAYOUT,
    )
    return binary.encode(link(decoded, plan))


_FOR_BUILDS: Final = ("__stack_pointer", "pyfilter_build", "pyfilter_scrub")
_ALWAYS_EXPORTED: Final = (
    *("malloc", "free", "memory", *_FOR_BUILDS),
    *(cpython.LEFT_OUT, cpython.NO_COMPILER, cpython.TELLING.buffer, cpython.TELLING.report),
)


def _pruned(wasm: bytes, cuts: Mapping[str, Cut], telling: Telling) -> bytes:
    """An image without data, and without what a filter never reaches and what only builds need."""
    module = binary.decode(wasm)
    exports = {item.name for item in module.exports} - {*_FOR_BUILDS}
    return binary.encode(prune(module, exports, cuts, telling))


def _keep(path: Path, data: bytes) -> None:
    """Write beside, then rename. In a cache that cannot be written it is made again next time."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            file.write(data)
        Path(file.name).replace(path)


def _callbacks(abi: AbiVersion) -> dict[str, str]:
    """Each callback of an ABI version that the shim has, with the export that it is there.

    The shim has callbacks in the form of the newest version. Where an older one has another, such as
    proxy_on_request_headers with two parameters, it is exported as pyfilter_on_request_headers_0_1_0 beside.
    """
    shim = _exports("_shim.abi3.so")
    forms = {name: f"{name.replace('proxy_', 'pyfilter_', 1)}_{abi.replace('.', '_')}" for name in hosts.callbacks(abi)}
    return {name: form if form in shim else name for name, form in forms.items() if name in shim}


def _host_functions(abi: AbiVersion) -> dict[str, External]:
    """The import that each stand-in for a host function becomes. Those of other ABI versions stay what they are."""
    offered = hosts.functions(abi)
    stubs = (name.rpartition(".") for name in _exports("_stubs.abi3.so") if not name.startswith("__"))
    return {
        f"{module}{dot}{name}": External(module or "env", name) for module, dot, name in stubs if dot or name in offered
    }


def _exports(library: str) -> list[str]:
    return [export.name for export in binary.decode((_SHIM / library).read_bytes()).exports]
