"""The first module of the runtime image: imports the SDK so that memory stays compact. It runs outside of its package.

What lives while other things come and go ends up between holes, and every worker pays for the pages around it. So what
the interpreter has imported by itself is slimmed first; then all of the SDK is compiled; and only then it is imported.
"""

from __future__ import annotations

import marshal
import os
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, ModuleType
    from typing import Any

_SDK = "/0/pywasmfilter"  # where the tool that builds the image shows the staging folder
_ONLY_AST = 0x400


class _Compiler:
    """Compiles what the image imports, without what `slimming` leaves out, and the SDK beforehand."""

    def __init__(self, slimming: dict[str, Any]) -> None:
        self._slimming = slimming
        self._compiled = {path: marshal.dumps(self._compile(path)) for path in _sdk_files()}

    def code(self, path: str) -> CodeType:
        """The code of the module in a file."""
        if path in self._compiled:
            return marshal.loads(self._compiled.pop(path))  # type: ignore[no-any-return]  # noqa: S302  # see __init__
        return self._compile(path)

    def _compile(self, path: str) -> CodeType:
        tree = compile(_read(path), path, "exec", _ONLY_AST, dont_inherit=True)
        self._slimming["remove_docstrings"](tree, also_mentioned=True)
        if path.startswith(_SDK):
            self._slimming["remove_annotations"](tree)
        code = compile(tree, path, "exec", dont_inherit=True)
        return self._slimming["without_columns"](code)  # type: ignore[no-any-return]


def _sdk_files() -> Iterator[str]:
    for folder in (_SDK, f"{_SDK}/_runtime"):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                yield f"{folder}/{name}"


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _import_image() -> ModuleType:
    slimming: dict[str, Any] = {"__name__": "slimming"}  # of its own: its package would import all of the SDK
    exec(_read(f"{_SDK}/_runtime/slimming.py"), slimming)  # noqa: S102  # it is our own
    slimming["slim_interpreter"]()
    compiler = _Compiler(slimming)

    def get_code(loader: SourceFileLoader, _name: str) -> CodeType:
        return compiler.code(loader.path)

    loader: Any = SourceFileLoader
    original, loader.get_code = loader.get_code, get_code
    from pywasmfilter._runtime import image  # noqa: PLC0415  # only now

    loader.get_code = original
    return image


_import_image().make()
