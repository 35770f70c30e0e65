"""The record of an image that a module was pushed as: `NAME.image.json` beside the module."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """Where a module is: `reference` without a scheme, the hash of the image's manifest, and that of the module.

    An image that was pushed nowhere yet has no reference.
    """

    reference: str | None
    manifest_sha256: str
    module_sha256: str
    plugins: tuple[str, ...] = ()


def read_record(module: Path) -> ImageRecord | None:
    """The record beside a module, or None if there is none that can be read."""
    try:
        fields = json.loads(module.with_suffix(".image.json").read_text(encoding="utf-8"))
        return _record(fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(fields: dict[str, Any]) -> ImageRecord:
    digest, sha256 = fields["manifest_digest"].removeprefix("sha256:"), fields["module_sha256"]
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"no digest: {digest!r}")
    plugins = tuple(map(str, fields.get("plugins") or ()))
    reference = fields["reference"]
    return ImageRecord(reference and reference.removeprefix("oci://"), digest, str(sha256), plugins)
