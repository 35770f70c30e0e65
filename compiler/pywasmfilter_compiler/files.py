"""Files that are whole, or as they were."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from .errors import CompilerError


def file_name(name: str) -> str:
    """The name of a module or plugin, which may be any text, as that of a file without its suffix."""
    return re.sub(r"[^\w.-]", "_", name).lstrip(".") or "filter"


def write(target: Path, data: bytes) -> None:
    """Write beside, then rename. A link stays one. Raises CompilerError, which names the target."""
    real = Path(os.path.realpath(target))
    try:
        with tempfile.NamedTemporaryFile(dir=real.parent, prefix=f".{real.name}.", delete=False) as file:
            try:
                file.write(data)
                file.close()
                Path(file.name).chmod(0o666 & ~umask())
                Path(file.name).replace(real)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise CompilerError(f"{target}: cannot be written: {error.strerror or error}") from error


def umask() -> int:
    """The bits of permissions that new files do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
