"""`python -m benchmarks.compare`: a run that is as short as can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.compare.jobs import JOBS
from benchmarks.compare.results import read
from tests.pages import REPOSITORY

pytestmark = pytest.mark.envoy


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    """The command, with the caches that there are."""
    command = [sys.executable, "-m", "benchmarks.compare", "--warm", *options]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)


def test_a_short_run(tmp_path: Path) -> None:
    """Each rival does the job and has a figure for everything; a module that is not there is named as missing."""
    figures, plots = tmp_path / "figures.json", tmp_path / "plots"
    options = ["--jobs", "headers", "--rivals", "none,lua,ours", "--ours", "gone.wasm", "--rounds", "1"]
    done = compare(*options, "--json", str(figures), "--plots", str(plots))
    assert done.returncode == 0, done.stdout + done.stderr
    document = read(figures)
    results = document.of("headers")
    assert list(results) == ["none", "lua", "ours"]
    for result in results.values():
        assert len(result.cpu_us) == len(result.p50_us) == len(result.p99_us) == 1
        assert min(*result.cpu_us, *result.p50_us, *result.ready_s, *result.rss.values()) > 0
        assert result.rss.keys() == {"1", "2", "4"}
    assert (results["ours"].bytes or 0) > (results["ours"].gzip_bytes or 0) > 1_000_000
    assert [(entry.rival, entry.reason) for entry in document.missing] == [("gone.wasm", "gone.wasm does not exist")]
    assert f"`headers`, {JOBS['headers'].title}" in done.stdout
    assert "gone.wasm is missing: gone.wasm does not exist" in done.stdout
    assert {path.name for path in plots.iterdir()} == {"cpu.svg", "latency.svg", "memory.svg", "start.svg"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--jobs", "cooking"], "there is no cooking; there are headers, json, regex, call"),
        (["--ours", "my.wasm"], "--ours is a module for one job: name it with --jobs"),
        (["--ours", "ours.wasm", "--jobs", "json"], "expected a .wasm whose name is not that of a rival"),
        (["--rounds", "0"], "--rounds and --seconds are at least 1"),
    ],
)
def test_wrong_options(options: list[str], reason: str) -> None:
    """They end the command before anything is built, with what to do."""
    done = compare(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert reason in done.stderr
