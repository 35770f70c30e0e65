"""The document that a run leaves, which has what was measured, and what is calculated from it.

`added` figures are differences to the Envoy without a filter within a round, and of these the median.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from operator import add, sub
from pathlib import Path
from typing import Any, Final

WORKERS: Final = (1, 2, 4)


@dataclass
class Result:
    """What was measured of a rival at a job. Lists have a value per round or start; `rss` is bytes by workers."""

    job: str
    rival: str
    bytes: int | None = None
    gzip_bytes: int | None = None
    build_s: float | None = None
    ready_s: list[float] = field(default_factory=list)
    server_ready_s: list[float] = field(default_factory=list)
    rss: dict[str, int] = field(default_factory=dict)
    server_rss: int | None = None
    cpu_us: list[float] = field(default_factory=list)
    server_cpu_us: list[float] = field(default_factory=list)
    p50_us: list[float] = field(default_factory=list)
    p99_us: list[float] = field(default_factory=list)

    @property
    def server_cpu(self) -> float:
        """The ext_proc server's microseconds per request; 0.0 where there is none."""
        return statistics.median(self.server_cpu_us) if self.server_cpu_us else 0.0

    @property
    def ready(self) -> float:
        """Seconds from Envoy's start until it is ready."""
        return statistics.median(self.ready_s)

    @property
    def server_ready(self) -> float | None:
        """The same of the ext_proc server; None where there is none."""
        return statistics.median(self.server_ready_s) if self.server_ready_s else None

    @property
    def further_worker(self) -> float:
        """Bytes that each worker takes after the first one."""
        first, last = WORKERS[0], WORKERS[-1]
        return (self.rss[str(last)] - self.rss[str(first)]) / (last - first)


@dataclass
class Absence:
    """A rival that could not take part in a job; why."""

    job: str
    rival: str
    reason: str


@dataclass
class Document:
    """A run. `first_build_s` is by compiler: the first build with empty caches."""

    machine: dict[str, Any]
    first_build_s: dict[str, float]
    missing: list[Absence]
    results: list[Result]

    @property
    def jobs(self) -> list[str]:
        return list(dict.fromkeys(result.job for result in self.results))

    def of(self, job: str) -> dict[str, Result]:
        """The results of a job by rival."""
        return {result.rival: result for result in self.results if result.job == job}

    def added(self, result: Result, figure: str) -> float | None:
        """The median of what a rival adds to a figure by rounds; None without the Envoy without a filter."""
        none = self.of(result.job).get("none")
        if none is None:
            return None
        return statistics.median(differences(getattr(result, figure), getattr(none, figure)))

    def costs(self, result: Result) -> list[float]:
        """Microseconds of CPU that a rival adds to a request, its server's with them, by rounds."""
        none = self.of(result.job).get("none")
        server = result.server_cpu_us or [0.0] * len(result.cpu_us)
        return [] if none is None else list(map(add, differences(result.cpu_us, none.cpu_us), server))

    def cost(self, result: Result) -> float | None:
        """Their median; None without the Envoy without a filter."""
        costs = self.costs(result)
        return statistics.median(costs) if costs else None

    def ratio(self, result: Result, to: str) -> float | None:
        """A rival's cost to that of another; None if there is none, or one cost nothing that can be measured."""
        other = self.of(result.job).get(to)
        cost, base = self.cost(result), None if other is None else self.cost(other)
        return None if cost is None or base is None or min(cost, base) <= 0 else cost / base


def differences(figures: Sequence[float], base: Sequence[float]) -> list[float]:
    """Those within a round."""
    return list(map(sub, figures, base))


def dump(document: Document) -> str:
    """As JSON, with a list of numbers on one line."""
    lines = json.dumps({**asdict(document), "results": []}, indent=2, ensure_ascii=False).removesuffix("[]\n}")
    results = ",\n".join("    " + json.dumps(asdict(result)) for result in document.results)
    return f"{lines}[\n{results}\n  ]\n}}\n"


def read(path: Path) -> Document:
    """What `dump` made."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Document(
        machine=content["machine"],
        first_build_s=content["first_build_s"],
        missing=[Absence(**entry) for entry in content["missing"]],
        results=[Result(**entry) for entry in content["results"]],
    )
