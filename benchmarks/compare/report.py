"""A run as text, as tables in docs/performance.md, and as plots.

    python -m benchmarks.compare.report [FILE]

makes the page's figures of a run's document, by default `results.json` beside this file: the parts between
`<!-- figures: NAME -->` and `<!-- /figures -->`, and the plots in docs/images. Other text of the page stays.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .jobs import JOBS
from .plots import Panel, bars
from .results import WORKERS, Document, Result, read
from .rivals import NAMES

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "performance.md"
IMAGES: Final = DOCS / "images"
RESULTS: Final = Path(__file__).with_name("results.json")
_PART: Final = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- /figures -->)", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A table; the first column is text, the others are figures."""

    title: str
    head: list[str]
    rows: list[list[str]]

    def as_text(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in [self.head, *self.rows]
        ]
        return "\n".join([self.title, *("  " + line.rstrip() for line in lines)])

    def as_markdown(self) -> str:
        lines = ["| " + " | ".join(row) + " |" for row in [self.head, ["---"] * len(self.head), *self.rows]]
        return "\n".join([f"{self.title}:\n", *lines])


def main() -> None:
    document = read(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS)
    PAGE.write_text(with_figures(PAGE.read_text(encoding="utf-8"), document), encoding="utf-8")
    write_plots(document, IMAGES)


def as_text(document: Document) -> str:
    """For a terminal."""
    tables = [*request_tables(document), *start_tables(document), build_table(document)]
    missing = [f"{entry.job}: {entry.rival} is missing: {entry.reason}" for entry in document.missing]
    return "\n\n".join([machine(document), *(table.as_text() for table in tables), *missing])


def with_figures(page: str, document: Document) -> str:
    """The page with the document's figures in its parts."""
    parts = {
        "machine": machine(document) + "\n" + "".join(_missing(document)),
        "requests": _images("cpu", "latency") + "\n\n".join(table.as_markdown() for table in request_tables(document)),
        "start": _images("memory", "start") + "\n\n".join(table.as_markdown() for table in start_tables(document)),
        "builds": build_table(document).as_markdown(),
    }
    return _PART.sub(lambda found: f"{found[1]}{parts[found[2]].rstrip()}\n{found[3]}", page)


def machine(document: Document) -> str:
    """Where and how the figures came to be."""
    told = document.machine
    programs = {"Envoy": told["envoy"], "Go": told["go"], "Python": told["python"], "grpcio": told["grpcio"]}
    versions = ", ".join(f"{name} {version}" for name, version in programs.items() if version)
    return (
        f"Measured on {told['date']} with {told['cpus']} cores ({told['cpu']}), {told['system']}, {versions}.\n"
        f"Medians of what was measured in each round. Rounds: {told['rounds']}, seconds of load for a figure: "
        f"{told['seconds']}, load by: {told['load']}, load average of the machine before: {told['load_average']}."
    )


def _missing(document: Document) -> Iterator[str]:
    for entry in document.missing:
        yield f"\n{NAMES.get(entry.rival, entry.rival)} could not take part in `{entry.job}`: {entry.reason}.\n"


def _images(*names: str) -> str:
    return "".join(f"![{PLOTS[name]}](images/{name}.svg)\n\n" for name in names)


# Tables


def request_tables(document: Document) -> list[Table]:
    """One for each job."""
    head = ["", "CPU µs added", "by round", "to hand-written", "to Go", "p50 µs added", "p99 µs added"]
    return [
        Table(
            f"`{job}`, {JOBS[job].title}",
            head,
            [_request_row(document, result) for name, result in document.of(job).items() if name != "none"],
        )
        for job in document.jobs
    ]


def _request_row(document: Document, result: Result) -> list[str]:
    cost, rounds = figure(document.cost(result)), document.costs(result)
    if result.server_cpu:
        cost += f" (Envoy {figure(document.added(result, 'cpu_us'))}, server {figure(result.server_cpu)})"
    return [
        title(result),
        cost,
        f"{figure(min(rounds))} to {figure(max(rounds))}" if rounds else figure(None),
        figure(document.ratio(result, "hand"), 2),
        figure(document.ratio(result, "go"), 2),
        figure(document.added(result, "p50_us")),
        figure(document.added(result, "p99_us")),
    ]


def start_tables(document: Document) -> list[Table]:
    """All rivals at the first job, and our filters by job."""
    job = document.jobs[0]
    workers = [f"memory, {count} worker{'s' * (count > 1)}" for count in WORKERS]
    head = ["", "ready after", *workers, "each further", "module", "with gzip"]
    ours = [result for result in document.results if result.rival.startswith("ours")]
    tables = [Table(f"At the job `{job}`", head, [[title(r), *_start_row(r)] for r in document.of(job).values()])]
    if ours:
        rows = [[f"`{result.job}`" + _variant(result), *_start_row(result)] for result in ours]
        tables.append(Table("Filters of pywasmfilter", head, rows))
    return tables


def _variant(result: Result) -> str:
    return title(result).removeprefix(NAMES["ours"])


def _start_row(result: Result) -> list[str]:
    server, memory = "", ""
    if result.server_ready is not None and result.server_rss is not None:
        server, memory = f" + {result.server_ready:.2f} s", f" + {mb(result.server_rss)}"
    return [
        f"{result.ready:.2f} s{server}",
        *(mb(result.rss[str(count)]) + memory for count in WORKERS),
        mb(result.further_worker),
        "" if result.bytes is None else size(result.bytes),
        "" if result.gzip_bytes is None else size(result.gzip_bytes),
    ]


def build_table(document: Document) -> Table:
    """First and later builds by compiler."""
    rows = []
    for name in dict.fromkeys(result.rival for result in document.results if result.build_s is not None):
        times = {r.job: r.build_s for r in document.results if r.rival == name and r.build_s is not None}
        first = document.first_build_s.get(name)
        later = ", ".join(f"`{job}` {seconds:.2f} s" for job, seconds in times.items())
        rows.append([NAMES.get(name, name), "" if first is None else f"{first:.1f} s", later])
    return Table("Time of a build, the compiler's own start with it", ["", "first, with empty caches", "later"], rows)


def title(result: Result) -> str:
    return NAMES.get(result.rival, result.rival)


def figure(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "–"
    return f"{value:,.{0 if abs(value) >= 100 else digits}f}"


def mb(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def size(count: int) -> str:
    return f"{count / 1e3:,.1f} kB" if count < 100_000 else f"{count / 1e6:,.1f} MB"


# Plots

PLOTS: Final = {
    "cpu": "CPU time added to each request, µs",
    "latency": "Latency added to each request, µs",
    "memory": "Resident memory by workers, MB",
    "start": "Seconds until Envoy is ready",
}


def write_plots(document: Document, folder: Path) -> None:
    """A file for each plot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in plots(document).items():
        (folder / f"{name}.svg").write_text(plot, encoding="utf-8")


def plots(document: Document) -> dict[str, str]:
    """The plots by name. Bars are as long as the figures within a job."""
    cpu, latency = [], []
    for job in document.jobs:
        results = [result for result in document.of(job).values() if result.rival != "none"]
        costs = [(title(r), [document.added(r, "cpu_us"), r.server_cpu or None]) for r in results]
        times = [(title(r), [document.added(r, "p50_us"), document.added(r, "p99_us")]) for r in results]
        cpu.append(Panel(job, costs))
        latency.append(Panel(job, times))
    first = document.jobs[0]
    results = list(document.of(first).values())
    memory = [(title(r), [(r.rss[str(n)] + (r.server_rss or 0)) / 1e6 for n in WORKERS]) for r in results]
    start = [(title(r), [r.ready, r.server_ready]) for r in results]
    workers = [f"{count} worker{'s' * (count > 1)}" for count in WORKERS]
    return {
        "cpu": bars(PLOTS["cpu"], ["Envoy", "ext_proc server"], cpu, stacked=True, digits=1),
        "latency": bars(PLOTS["latency"], ["p50", "p99"], latency),
        "memory": bars(PLOTS["memory"], workers, [Panel(first, memory)]),
        "start": bars(PLOTS["start"], ["Envoy", "ext_proc server"], [Panel(first, start)], stacked=True, digits=2),
    }


if __name__ == "__main__":
    main()
