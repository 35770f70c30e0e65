"""The build hook: compiles the runtime shim into the wheel (or, for an editable install, into the source tree)."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShimHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's parameter is its own configuration class
    """Runs `runtime_shim/build.py` before the wheel's files are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatchling's interface
        root = Path(self.root)
        build = runpy.run_path(str(root / "runtime_shim" / "build.py"))
        build["build"](root / "compiler" / "pywasmfilter_compiler" / "shim")
