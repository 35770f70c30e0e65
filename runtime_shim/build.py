"""Compile the runtime shim: the C sources beside this file into two libraries for the runtime image.

    _shim.abi3.so   the extension module `pywasmfilter._shim`, with the exports that a Proxy-Wasm host calls
    _stubs.abi3.so  the host's functions while the image is built

Both are WebAssembly whatever the machine that builds them. Clang and wasm-ld come from the `ziglang` wheel, which is a
build requirement of the project; nothing else runs a C compiler.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
LIBRARIES = {
    "_shim.abi3.so": ("module.c", "hostcalls.c", "callbacks.c", "classes.c", "pairs.c", "text.c", "memory.c", "wasi.c"),
    "_stubs.abi3.so": ("stubs.c",),
}
COMPILE = ("cc", "-target", "wasm32-wasi", "-O2", "-fPIC", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-c")
LINK = ("wasm-ld", "-shared", "--experimental-pic", "--unresolved-symbols=import-dynamic", "--strip-debug")


def build(output: Path) -> None:
    """Compile every library into the folder `output`. Raises CalledProcessError with the compiler's output shown."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for library, sources in LIBRARIES.items():
            objects = [_compile(source, Path(scratch)) for source in sources]
            linked = Path(scratch) / library
            _zig(*LINK, *map(str, objects), "-o", str(linked))
            # A complete file under the final name, even if someone reads it meanwhile.
            staged = output / f"{library}.{os.getpid()}"
            staged.write_bytes(linked.read_bytes())
            staged.replace(output / library)


def _compile(source: str, scratch: Path) -> Path:
    compiled = scratch / f"{source}.o"
    # A relative path keeps the build machine's folders out of the object.
    _zig(*COMPILE, source, "-o", str(compiled))
    return compiled


def _zig(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "ziglang", *arguments], cwd=SOURCES, check=True)  # noqa: S603  # our own list


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES.parent / "compiler" / "pywasmfilter_compiler" / "shim")
