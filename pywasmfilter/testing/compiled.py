"""Modules compiled for wasmtime, ready to be instantiated again and again.

Compiling takes seconds, so compiled code is kept, in this process and in the cache folder of the compiler. The code of
modules that were built from one runtime image is the same; only their memory and their exports differ. So such a module
runs on code that was compiled once for the image, with its own data written into the memory of each instance, which is
what instantiating does with data segments too. A changed filter then needs no compiling at all, unless it uses another
part of the interpreter than before.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import wasmtime
from pywasmfilter_compiler import CompilerError, hosts, module_writer, runtime_image
from pywasmfilter_compiler.wasm import sections
from pywasmfilter_compiler.wasm.binary import raw_sections
from pywasmfilter_compiler.wasm.cursor import Cursor
from pywasmfilter_compiler.wasm.module import Limits

from .plugin import Refused

_KEPT: Final = 16  # files in the cache folder
_MODULE: Final = b"\0asm\1\0\0\0"
_PAGE: Final = 1 << 16
_MOST_PAGES: Final = 1 << 16
_ALWAYS_EXPORTED: Final = ("free", "malloc", "memory")


@dataclass(frozen=True)
class Memory:
    """What the memory of a new instance holds, in pieces with their addresses; its size, and how far it may grow."""

    pieces: tuple[tuple[int, bytes], ...]
    pages: int
    most_pages: int

    def fill(self, memory: wasmtime.Memory, store: wasmtime.Store) -> None:
        """Write it into a memory that is empty."""
        memory.grow(store, self.pages - memory.size(store))
        store.set_limits(memory_size=self.most_pages * _PAGE)
        start = ctypes.addressof(memory.data_ptr(store).contents)
        for address, data in self.pieces:
            ctypes.memmove(start + address, data, len(data))


@dataclass(frozen=True)
class Compiled:
    """Compiled code, the names that the module exports, and its memory unless the code brings that itself."""

    engine: wasmtime.Engine
    module: wasmtime.Module
    names: frozenset[str]
    memory: Memory | None

    def instantiate(self, store: wasmtime.Store, linker: wasmtime.Linker) -> dict[str, Any]:
        """The exports of a new instance."""
        exports = linker.instantiate(store, self.module).exports(store)
        found: dict[str, Any] = {name: item for name, item in exports.items() if name in self.names}
        if self.memory is not None:
            self.memory.fill(found["memory"], store)
        return found


def load(module: Path, native_stack: int | None = None) -> Compiled:
    """The module in a file, as it is now. `native_stack` is a limit in bytes other than wasmtime's own.

    Raises Refused for what is no module.
    """
    status = module.stat()
    return _load(module, status.st_mtime_ns, status.st_size, native_stack)


@lru_cache(maxsize=32)
def _load(module: Path, _time: int, _size: int, native_stack: int | None) -> Compiled:
    wasm = module.read_bytes()
    if not wasm.startswith(_MODULE):  # wasmtime would read it as text
        raise Refused(f"{module}: not a WebAssembly module")
    shared = _on_shared_code(wasm, native_stack)
    if shared is not None:
        return shared
    try:
        engine, compiled = _compile(wasm, native_stack)
    except wasmtime.WasmtimeError as error:
        raise Refused(f"{module}: not a WebAssembly module: {error}") from error
    return Compiled(engine, compiled, frozenset(export.name or "" for export in compiled.exports), None)


# Code that modules have in common


def _on_shared_code(wasm: bytes, native_stack: int | None) -> Compiled | None:
    """The module on the code of the image that it was built from; None if it was not built from one that is here."""
    try:
        found = _sections(wasm)
        names = frozenset(export.name for export in found[sections.EXPORT].vec(sections.export))
        abi = next((hosts.ABI_MARKERS[name] for name in sorted(names) if name in hosts.ABI_MARKERS), None)
        template = None if abi is None else _template(abi)
        if template is None:
            return None
        code = template.wasm
        if any(found[number].rest() != content for number, content in template.common.items()):
            # It keeps parts of the interpreter that most leave out: what it shares is with those that export the same.
            code = module_writer.write_module(wasm, names, Limits(1, _MOST_PAGES), [], template.stack_pointer)
        memory = _memory(found)
    except (CompilerError, KeyError):
        return None
    engine, compiled = _compile(code, native_stack)
    return Compiled(engine, compiled, names, memory)


@dataclass(frozen=True)
class _Template:
    """The image as a module without data, that exports all it can; and the sections that its modules have too."""

    wasm: bytes
    common: Mapping[int, bytes]
    stack_pointer: int


@lru_cache(maxsize=len(hosts.ABI_VERSIONS))
def _template(abi: hosts.AbiVersion) -> _Template | None:
    if not runtime_image.is_whole(runtime_image.current_folder(abi)):
        return None
    image = runtime_image.load(lambda _: None, abi)
    code = image.code()
    known = {*hosts.callbacks(abi), hosts.marker(abi), *_ALWAYS_EXPORTED}
    exports = known.intersection(export.name for export in _sections(code)[sections.EXPORT].vec(sections.export))
    wasm = module_writer.write_module(code, exports, Limits(1, _MOST_PAGES), [], image.stack_pointer)
    of_its_own = {sections.CUSTOM, sections.MEMORY, sections.EXPORT, sections.DATA_COUNT, sections.DATA}
    contents = {number: content.rest() for number, content in _sections(wasm).items()}
    common = {number: content for number, content in contents.items() if number not in of_its_own}
    return _Template(wasm, common, image.stack_pointer)


def _sections(wasm: bytes) -> dict[int, Cursor]:
    return {number: content for number, _, content in raw_sections(Cursor(wasm)) if number != sections.CUSTOM}


def _memory(found: Mapping[int, Cursor]) -> Memory:
    (limits,) = found[sections.MEMORY].vec(sections.limits)
    return Memory(tuple(_pieces(found[sections.DATA])), limits.minimum, limits.maximum or _MOST_PAGES)


def _pieces(data: Cursor) -> Iterator[tuple[int, bytes]]:
    """The data segments, those close to each other as one. An instance is filled fastest with few pieces."""
    start, piece = 0, bytearray()
    for segment in data.vec(sections.data):
        if segment.offset is None:
            continue  # it takes no memory
        address = _constant(segment.offset)
        if address - start - len(piece) > _PAGE:
            yield start, bytes(piece)
            start, piece = address, bytearray()
        piece += bytes(address - start - len(piece)) + segment.content
    yield start, bytes(piece)


def _constant(offset: Any) -> int:
    (instruction,) = offset or [None]
    if instruction is None or instruction != sections.i32_const(instruction.value):
        raise KeyError("a data segment is not where the image's are")
    value: int = instruction.value
    return value & 0xFFFF_FFFF


# Compiled code on disk


def _compile(wasm: bytes, native_stack: int | None) -> tuple[wasmtime.Engine, wasmtime.Module]:
    return _compiled(hashlib.sha256(wasm).hexdigest(), native_stack, _Bytes(wasm))


class _Bytes:
    """Bytes that are no part of a cache's key."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=8)
def _compiled(digest: str, native_stack: int | None, wasm: _Bytes) -> tuple[wasmtime.Engine, wasmtime.Module]:
    config = wasmtime.Config()
    if native_stack is not None:
        config.max_wasm_stack = native_stack
    engine = wasmtime.Engine(config)
    key = hashlib.sha256(f"{version('wasmtime')} {native_stack} {digest}".encode()).hexdigest()[:32]
    file = runtime_image.compiled_folder() / f"{key}.cwasm"
    if file.is_file():
        try:
            os.utime(file)
            return engine, wasmtime.Module.deserialize_file(engine, str(file))
        except (OSError, wasmtime.WasmtimeError):
            file.unlink(missing_ok=True)  # damaged, or another process has just removed it
    module = wasmtime.Module(engine, wasm.data)
    _keep(file, bytes(module.serialize()))
    return engine, module


def _keep(file: Path, data: bytes) -> None:
    """Write beside, then rename; without room for it, the code is made again next time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=".", delete=False) as new:
            new.write(data)
        Path(new.name).replace(file)
        for old in sorted(file.parent.glob("*.cwasm"), key=lambda path: path.stat().st_mtime)[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return
