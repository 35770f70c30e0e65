"""What is known of a module's image, in a file beside the module: `NAME.image.json` for `NAME.wasm`.

Whoever writes a configuration that names the image needs both digests: Istio compares that of the manifest for `oci://`,
and that of the module for `https://`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from pywasmfilter_compiler import files
from pywasmfilter_compiler.errors import UsageError

SUFFIX: Final = ".image.json"


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image: where it was pushed to, None if nowhere; its format; digests and sizes in bytes; the plugins' root ids.

    `manifest_digest` is "sha256:" and 64 hexadecimal digits, `module_sha256` the digits alone, of the module as it is.
    `layer_size` is that of the layer that holds the module, which travels.
    """

    reference: str | None
    format: str
    manifest_digest: str
    module_sha256: str
    module_size: int
    layer_size: int
    plugins: tuple[str, ...]


def record_path(module: Path) -> Path:
    """The file beside a module."""
    return module.with_name(f"{module.stem}{SUFFIX}")


def write_record(path: Path, record: ImageRecord) -> None:
    """Write the file; it is whole, or as it was. Raises CompilerError if that is not possible."""
    files.write(path, f"{json.dumps(asdict(record), indent=2)}\n".encode())


def read_record(path: Path) -> ImageRecord:
    """Read the file. Fields that later versions may add are left out. Raises UsageError, which names the file."""
    try:
        return _record(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UsageError(f"{path}: this is no file that `pyfilter push` or `pyfilter package` wrote") from error


def _record(values: Any) -> ImageRecord:
    given = {item.name: values[item.name] for item in fields(ImageRecord)}
    record = ImageRecord(**{**given, "plugins": tuple(given["plugins"])})
    texts = [record.format, record.manifest_digest, record.module_sha256, *record.plugins, record.reference or ""]
    numbers = [record.module_size, record.layer_size]
    if not all(isinstance(text, str) for text in texts) or not all(type(number) is int for number in numbers):
        raise TypeError("another type")
    return record
