"""Who does a job: from the name of a rival to what Envoy is configured with, built by this run.

A name that ends in `.wasm` is a module from elsewhere that does the job.
"""

from __future__ import annotations

import gzip
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .builds import SOURCES, Built, Missing, Workshop
from .jobs import Job

NAMES: Final = {
    "none": "no filter",
    "hand": "hand-written Wasm",
    "lua": "Envoy's Lua filter",
    "go": "Go SDK",
    "ours": "pywasmfilter",
    "ours-callback": "pywasmfilter, with a callback",
    "ext_proc": "ext_proc server in Python",
}
_FILTERS: Final = "type.googleapis.com/envoy.extensions.filters.http."


@dataclass(frozen=True)
class Contender:
    """A rival that is ready for a job: a module, or filters of another kind."""

    name: str
    module: Path | None = None
    build_seconds: float | None = None
    filters: list[dict[str, Any]] = field(default_factory=list)
    has_server: bool = False

    def sizes(self) -> tuple[int, int] | None:
        """The module's bytes, as it is and with gzip."""
        if self.module is None:
            return None
        content = self.module.read_bytes()
        return len(content), len(gzip.compress(content, mtime=0))


def contender(name: str, job: Job, workshop: Workshop) -> Contender | None:
    """A rival for a job; None if it has nothing of its own for this job. Raises Missing if it cannot take part."""
    if name.endswith(".wasm"):
        return Contender(Path(name).stem, _existing(Path(name)))
    if name in {"ours", "ours-callback"}:
        return _of(name, workshop.ours(job.name, job.ours[name])) if name in job.ours else None
    if name == "go":
        return _of(name, workshop.go(job.name))
    if name == "hand":
        return _of(name, workshop.hand(job.name, job.hand))
    if name == "lua":
        return Contender(name, filters=[_lua(job)])
    if name == "ext_proc":
        for module in ("grpc", "envoy.service.ext_proc.v3"):
            _need(module)
        return Contender(name, filters=[_ext_proc(job)], has_server=True)
    return Contender(name)


def _of(name: str, built: Built) -> Contender:
    return Contender(name, built.module, built.seconds)


def _existing(module: Path) -> Path:
    if not module.is_file():
        raise Missing(f"{module} does not exist")
    return module


def _need(module: str) -> None:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise Missing(f"there is no Python package `{module}`: `pip install 'pywasmfilter[benchmark]'`")


def _lua(job: Job) -> dict[str, Any]:
    script = (SOURCES / job.name / "filter.lua").read_text(encoding="utf-8")
    config = {"@type": _FILTERS + "lua.v3.Lua", "default_source_code": {"inline_string": script}}
    return {"name": "lua", "typed_config": config}


def _ext_proc(job: Job) -> dict[str, Any]:
    """Envoy sends nothing but what the job needs."""
    nothing = {
        **dict.fromkeys(("request_header_mode", "response_header_mode"), "SKIP"),
        **dict.fromkeys(("request_trailer_mode", "response_trailer_mode"), "SKIP"),
    }
    config = {
        "@type": _FILTERS + "ext_proc.v3.ExternalProcessor",
        "grpc_service": {"envoy_grpc": {"cluster_name": "ext_proc"}},
        "message_timeout": "10s",
        "processing_mode": nothing | job.events,
    }
    return {"name": "ext_proc", "typed_config": config}
