"""An image as an OCI image layout: a folder, or a tar of one, that tools such as skopeo copy from.

oci-layout            the version of the layout
index.json            the manifest, under its tag
blobs/sha256/<hex>    manifest, config and layers
"""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pywasmfilter_compiler import files
from pywasmfilter_compiler.errors import CompilerError, UsageError

from .image import Blob, Image

_MARKER: Final = "oci-layout"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


def write_layout(target: Path, image: Image, tag: str) -> None:
    """Write a folder, or a tar if the name ends with `.tar`. It is whole, or as it was.

    A layout that is there already is replaced. Raises UsageError for anything else that is, and CompilerError if the
    target cannot be written.
    """
    check_target(target)
    if target.suffix == ".tar":
        files.write(target, _archive(image, tag))
        return
    try:
        _write_folder(target, image, tag)
    except OSError as error:
        raise CompilerError(f"{target}: cannot be written: {error.strerror or error}") from error


def check_target(target: Path) -> None:
    """Raise UsageError for a target that must not be replaced, or cannot be looked at."""
    if not target.name:
        raise UsageError(f"{str(target)!r} is no name for a folder")
    try:
        problem = _problem(target)
    except OSError as error:
        problem = error.strerror or str(error)
    if problem:
        raise UsageError(f"{target}: {problem}")


def _problem(target: Path) -> str | None:
    if target.suffix == ".tar":
        return "there is something else of this name, which is no file" if target.is_dir() else None
    if target.is_dir():
        if any(target.iterdir()) and not (target / _MARKER).is_file():
            return "the folder is not empty and no image layout, so it is not replaced"
    elif target.exists() or target.is_symlink():
        return "a file has this name; a layout is a folder, or a file whose name ends with .tar"
    return None


def _write_folder(target: Path, image: Image, tag: str) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as beside:
        made, replaced = Path(beside, "new"), Path(beside, "old")
        for name, data in _files(image, tag):
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(data)
        if not target.exists():
            made.rename(target)
            return
        target.rename(replaced)
        try:
            made.rename(target)
        except BaseException:
            replaced.rename(target)
            raise
        shutil.rmtree(replaced, ignore_errors=True)


def _archive(image: Image, tag: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in _files(image, tag):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def _files(image: Image, tag: str) -> Iterator[tuple[str, bytes]]:
    named = {**image.manifest.descriptor(), "annotations": {"org.opencontainers.image.ref.name": tag}}
    yield _MARKER, b'{"imageLayoutVersion":"1.0.0"}'
    yield "index.json", json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [named]}).encode()
    for blob in (*image.blobs, image.manifest):
        yield blob_name(blob), blob.data


def blob_name(blob: Blob) -> str:
    """Where a layout has a blob."""
    return f"blobs/{blob.digest.replace(':', '/')}"
