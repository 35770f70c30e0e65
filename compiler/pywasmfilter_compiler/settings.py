"""The options of a build: their defaults and bounds, and what `[tool.pyfilter]` in the project's pyproject.toml says.

The file is the nearest one at or above the filter. All its mistakes are reported at once, each with its path in the
table.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from .errors import UsageError
from .hosts import AbiVersion

ABI: Final[AbiVersion] = "0.2.1"
TIMEOUT: Final = 60.0  # seconds
LONGEST_TIMEOUT: Final = 86400
MAX_MEMORY: Final = 256  # MiB
MOST_MEMORY: Final = 4096  # what 32-bit addresses reach. Envoy gives a VM 1024.


def load_settings(path: Path) -> dict[str, Any]:
    """The settings that apply to the filter at `path`: keys of `BuildSettings` that are set; empty if there are none.

    Raises UsageError, which names the file and every setting that is wrong.
    """
    file, table = _table(path)
    return {} if file is None or table is None else _validate(file, table)


def manifest_table(path: Path) -> tuple[Path, object]:
    """The file, and its `[tool.pyfilter.manifest]`, that apply to a module; an empty table if there is none.

    Raises UsageError for a file that cannot be read.
    """
    file, table = _table(path)
    found = table.get("manifest") if isinstance(table, dict) else None
    return file or path, {} if found is None else found


def _table(path: Path) -> tuple[Path | None, object]:
    """The nearest file at or above a path, and its `[tool.pyfilter]`; None for what is not there."""
    resolved = Path(os.path.realpath(path))  # unlike resolve, it also takes a link to itself
    for folder in [resolved, *resolved.parents]:
        file = folder / "pyproject.toml"
        if os.path.isfile(file):  # noqa: PTH113  # of the two, the one that takes any path
            return file, _read(file)
    return None, None


def _read(file: Path) -> object:
    try:
        tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file}: {error}") from error
    except RecursionError:
        raise UsageError(f"{file}: it is nested too deeply") from None
    return tools.get("pyfilter") if isinstance(tools, dict) else None


def _validate(file: Path, table: object) -> dict[str, Any]:
    # Here and not above: pydantic takes longer to import than most commands run, and few projects have the table.
    from pydantic import BaseModel, ConfigDict, Field, ValidationError  # noqa: PLC0415

    class BuildSettings(BaseModel):
        """`[tool.pyfilter]`: the options of `pyfilter build`, under their own names."""

        model_config = ConfigDict(extra="forbid", strict=True)

        name: str | None = Field(default=None, min_length=1)
        output: str | None = Field(default=None, min_length=1)
        include: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
        timeout: float = Field(default=TIMEOUT, gt=0, le=LONGEST_TIMEOUT, allow_inf_nan=False)
        max_memory: int = Field(default=MAX_MEMORY, ge=1, le=MOST_MEMORY)
        abi: AbiVersion = ABI
        prune: bool = True
        name_missing: bool = False
        keep_docs: bool = False
        manifest: Any = None  # read by `pyfilter manifest`

    try:
        settings = BuildSettings.model_validate(table).model_dump(exclude_unset=True, exclude={"manifest"})
    except ValidationError as error:
        faults = [
            f"  {'.'.join(map(str, ('tool.pyfilter', *fault['loc'])))}: {fault['msg']}" for fault in error.errors()
        ]
        raise UsageError("\n".join([f"{file}:", *faults])) from error
    if settings.get("output") is not None:
        settings["output"] = str(file.parent / settings["output"])
    return settings
