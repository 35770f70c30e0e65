"""Build, check, measure, print: what a filter costs in Envoy, beside other ways to do the same job.

    python -m benchmarks.compare [--jobs JOB,…] [--rivals RIVAL,…] [--ours MODULE]… [--rounds N] [--seconds N]
                                 [--json FILE] [--plots FOLDER] [--warm]

All rivals of a job run from beginning to end, an Envoy with one worker for each, and are measured in turns, in an order
that changes by round. Before and after, each must do the job's work. A rival that cannot be built is named with the
reason. With the defaults it takes about a quarter of an hour; the packages are those of `pywasmfilter[benchmark]`, and
`wrk` and `go` are taken from PATH. Linux only.
"""
# ruff: noqa: T201  # which prints its results

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pywasmfilter_compiler.envoy.binary import envoy_path

from . import load, measure, report, rivals
from .builds import Missing, Workshop
from .jobs import JOBS, Job
from .proxy import Surroundings, surroundings
from .results import Absence, Document, Result, dump


def main() -> None:
    options = arguments()
    document = Document(machine=describe(options), first_build_s={}, missing=[], results=[])
    with tempfile.TemporaryDirectory() as folder, surroundings() as around:
        workshop = Workshop(Path(folder), options.warm, document.first_build_s)
        for name in options.jobs:
            run(JOBS[name], [*options.rivals, *options.ours], workshop, around, options, document)
    print(report.as_text(document))
    if options.json:
        options.json.write_text(dump(document), encoding="utf-8")
    if options.plots:
        report.write_plots(document, options.plots)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="What a filter costs in Envoy.")
    parser.add_argument("--jobs", type=names(JOBS), default=list(JOBS), help=f"of {','.join(JOBS)} (default all)")
    parser.add_argument(
        "--rivals", type=names(rivals.NAMES), default=list(rivals.NAMES), help=f"of {','.join(rivals.NAMES)}"
    )
    parser.add_argument("--ours", metavar="MODULE", action="append", default=[], help="a .wasm that does the one job")
    parser.add_argument("--rounds", type=int, default=7, help="times that everything is measured (default 7)")
    parser.add_argument("--seconds", type=int, default=1, help="of load per measurement (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the figures go")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="where the plots go")
    parser.add_argument("--warm", action="store_true", help="build with the user's caches; no time of a first build")
    options = parser.parse_args()
    if options.ours and len(options.jobs) != 1:
        parser.error("--ours is a module for one job: name it with --jobs")
    for module in map(Path, options.ours):
        if module.suffix != ".wasm" or module.stem in rivals.NAMES:
            parser.error(f"--ours {module}: expected a .wasm whose name is not that of a rival")
    if min(options.rounds, options.seconds) < 1:
        parser.error("--rounds and --seconds are at least 1")
    return options


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """Reads a list with commas of known names, in their order."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
        return [name for name in known if name in chosen]

    return parse


def run(
    job: Job,
    chosen: list[str],
    workshop: Workshop,
    around: Surroundings,
    options: argparse.Namespace,
    document: Document,
) -> None:
    """One job: everything is built first, so that nothing but what is measured runs later."""
    contenders = []
    for name in chosen:
        progress(f"{job.name}: building {name}")
        try:
            if (contender := rivals.contender(name, job, workshop)) is not None:
                contenders.append(contender)
        except Missing as error:
            document.missing.append(Absence(job.name, name, str(error)))
    results = []
    for contender in contenders:
        plain, packed = contender.sizes() or (None, None)
        seconds = None if contender.build_seconds is None else round(contender.build_seconds, 3)
        results.append(Result(job.name, contender.name, plain, packed, seconds))
    progress(f"{job.name}: CPU time and latency")
    measure.costs(contenders, job, around, results, options.rounds, options.seconds)
    for contender, result in zip(contenders, results, strict=True):
        progress(f"{job.name}: start and memory of {contender.name}")
        measure.footprint(contender, job, around, result, options.rounds)
    document.results += results


def progress(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "envoy": version([str(envoy_path()), "--version"], r"/([\d.]+\d)/"),
        "go": version(["go", "version"], r"go([\d.]+)"),
        "grpcio": installed("grpcio"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "cpu": models[0] if models else platform.machine(),
        "load": load.tool(),
        "load_average": round(os.getloadavg()[0], 2),
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def version(command: list[str], pattern: str) -> str | None:
    """What a program says that it is; None if there is no such program."""
    if shutil.which(command[0]) is None:
        return None
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603
    match = re.search(pattern, said)
    return match[1] if match else json.dumps(said)


def installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
