"""Defaults for the command's options, from `[tool.pyfilter]` in the project's pyproject.toml.

The file is the nearest one at or above the filter. All its mistakes are reported at once, each with its path in the
table.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from .errors import UsageError


def load_settings(path: Path) -> dict[str, Any]:
    """The settings that apply to the filter at `path`: keys of `BuildSettings` that are set; empty if there are none.

    Raises UsageError, which names the file and every setting that is wrong.
    """
    for folder in [path.resolve(), *path.resolve().parents]:
        file = folder / "pyproject.toml"
        if file.is_file():
            return _read(file)
    return {}


def _read(file: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("pyfilter")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    return {} if table is None else _validate(file, table)


def _validate(file: Path, table: object) -> dict[str, Any]:
    # Here and not above: pydantic takes longer to import than most commands run, and few projects have the table.
    from pydantic import BaseModel, ConfigDict, Field, ValidationError  # noqa: PLC0415

    class BuildSettings(BaseModel):
        """`[tool.pyfilter]`: the options of `pyfilter build`, under their own names."""

        model_config = ConfigDict(extra="forbid", strict=True)

        name: str | None = Field(default=None, min_length=1)
        output: str | None = Field(default=None, min_length=1)
        include: list[str] = Field(default_factory=list)
        timeout: float = Field(default=60.0, gt=0)

    try:
        settings = BuildSettings.model_validate(table).model_dump(exclude_unset=True)
    except ValidationError as error:
        faults = [f"  tool.pyfilter.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError("\n".join([f"{file}:", *faults])) from error
    if settings.get("output") is not None:
        settings["output"] = str(file.parent / settings["output"])
    return settings
