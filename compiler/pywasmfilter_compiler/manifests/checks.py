"""What a proxy would say of a module: `pyfilter check`, before anything is deployed.

What can be told from the module alone is told here; whether a plugin starts is asked of somebody who can run it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.errors import UsageError
from pywasmfilter_compiler.module_report import PAGE, ModuleReport

from . import versions
from .request import ModuleFacts, PluginUse
from .versions import Version

Level: TypeAlias = Literal["error", "warning", "note"]
Starts: TypeAlias = Callable[[PluginUse], str | None]
"""Runs a plugin of the module up to its start; gives what is wrong, if anything is."""

PRODUCTS: Final = ("istio", "envoy", "envoy-gateway", "higress", "kuma")
_HTTP_ONLY: Final = frozenset({"envoy-gateway", "higress"})
_MIB: Final = 2**20
_AGENT_LIMIT: Final = 256
_ENVOY_LIMIT: Final = 32
_MEMORY_LIMIT: Final = 1024
_MORE_WASI: Final[Version] = (1, 39)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module is to run: a product, and the release of Envoy in it, if that is known."""

    name: str
    product: str
    envoy: Version | None


@dataclass(frozen=True, slots=True)
class Room:
    """A proxy's worker threads, and the MiB that its container may use; None if there is no bound."""

    workers: int
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know. An error keeps the module from working there."""

    level: Level
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What there is to say of a module at a place."""

    target: str
    findings: tuple[Finding, ...]

    @property
    def works(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.level != "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {"target": self.target, "works": self.works, "findings": [asdict(finding) for finding in self.findings]}


def parse_place(text: str) -> Place:
    """A place as `istio-1.28`, `envoy-1.36` or `envoy-gateway`. Raises UsageError for anything else."""
    found = re.fullmatch(r"([a-z-]*[a-z])(?:-(v?\d[\d.]*))?", text)
    product, version = (found[1], found[2]) if found else ("", None)
    if product not in PRODUCTS or (version and product not in {"istio", "envoy"}):
        raise UsageError(f"--target {text}: it is istio-VERSION, envoy-VERSION, envoy-gateway, higress or kuma")
    if version is None:
        return Place(text, product, None)
    parsed = versions.parse(version, product.title())
    return Place(text, product, versions.envoy_of_istio(parsed) if product == "istio" else parsed)


def check_module(
    module: ModuleFacts, place: Place, plugins: tuple[PluginUse, ...], room: Room, starts: Starts
) -> Verdict:
    """All that can be said."""
    report = module.report
    findings = [
        *_loading(report, place),
        *_size(report, place),
        *_memory(report, room),
        *_kinds(plugins, place),
    ]
    if all(finding.level != "error" for finding in findings):
        findings += [Finding("error", problem) for plugin in plugins if (problem := starts(plugin))]
    return Verdict(place.name, tuple(findings))


def _loading(report: ModuleReport, place: Place) -> Iterator[Finding]:
    """What the host says of imports, exports, the version of the ABI and the memory."""
    if place.envoy is not None and place.envoy < versions.OLDEST["envoy"]:
        oldest = versions.shown(versions.OLDEST["envoy"])
        yield Finding("error", f"Envoy {versions.shown(place.envoy)} is older than {oldest}, of which nothing is known")
        return
    old, new = hosts.HOSTS[:2]
    host = new if place.envoy is not None and place.envoy >= _MORE_WASI else old
    (found,) = (item for item in report.hosts if item.name == host.name)
    level: Level = "error" if found.loads is False else "warning"
    for problem in found.problems:
        yield Finding(level, problem)


def _size(report: ModuleReport, place: Place) -> Iterator[Finding]:
    size = report.size / _MIB
    if place.product == "istio" and size > _AGENT_LIMIT:
        yield Finding("error", f"the module has {size:.0f} MiB, and Istio's agent takes {_AGENT_LIMIT}")
    elif place.product == "envoy-gateway" and size > _ENVOY_LIMIT:
        yield Finding(
            "error", f"the module has {size:.0f} MiB, and Envoy takes {_ENVOY_LIMIT} MiB from Envoy Gateway's server"
        )
    elif place.product in {"envoy", "kuma"} and size > _ENVOY_LIMIT:
        yield Finding(
            "warning",
            f"the module has {size:.0f} MiB: as a file it loads, but from a server Envoy takes {_ENVOY_LIMIT} MiB, "
            "unless its runtime has another http.async_response_buffer_limit",
        )


def _memory(report: ModuleReport, room: Room) -> Iterator[Finding]:
    """Envoy has a VM for each worker, one for its main thread, and one of which all others are copies."""
    if report.memory is None:
        return
    first, most = (pages * PAGE / _MIB for pages in (report.memory.initial, report.memory.maximum or 65536))
    if most > _MEMORY_LIMIT:
        yield Finding("warning", f"a VM may ask for {most:,.0f} MiB of memory, and Envoy gives it {_MEMORY_LIMIT:,}")
    vms = 2 + room.workers
    least, bound = vms * first, vms * min(most, _MEMORY_LIMIT)
    text = (
        f"{vms} VMs with {room.workers} worker{'s' * (room.workers != 1)}: "
        f"{least:,.0f} MiB of memory at the start, {bound:,.0f} MiB at most"
    )
    if room.limit is None:
        yield Finding("note", text)
    else:
        level: Level = "error" if least > room.limit else "warning" if bound > room.limit else "note"
        yield Finding(level, f"{text}, of {room.limit:,} MiB that there are")


def _kinds(plugins: tuple[PluginUse, ...], place: Place) -> Iterator[Finding]:
    for plugin in plugins:
        if plugin.kind != "http" and place.product in _HTTP_ONLY:
            yield Finding(
                "error", f"{plugin.root_id} is of type {plugin.kind}, and {place.product} has HTTP filters only"
            )
