"""What several commands share: options, a build with what `[tool.pyfilter]` says, and how steps and sizes are shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pywasmfilter_compiler import settings
from pywasmfilter_compiler.hosts import ABI_VERSIONS

if TYPE_CHECKING:
    from pywasmfilter_compiler.pipeline import BuildResult

JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
INCLUDE: Final = click.option(
    "--include", metavar="MODULE", multiple=True, help="Keep a module that no import statement names. May be repeated."
)
TIMEOUT: Final = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Bound on the filter's import. [{settings.TIMEOUT:g}]",
)
MAX_MEMORY: Final = click.option(
    "--max-memory",
    type=click.IntRange(1, settings.MOST_MEMORY),
    metavar="MIB",
    help=f"Bound on the memory of each VM. [{settings.MAX_MEMORY}]",
)
ABI: Final = click.option(
    "--abi", type=click.Choice(ABI_VERSIONS), help=f"Version of the ABI that the module declares. [{settings.ABI}]"
)
OF_BUILD: Final = ("include", "timeout", "max_memory", "abi")
"""The options above, for commands that build what they need."""


def build(paths: tuple[Path, ...], options: dict[str, Any]) -> BuildResult:
    """Build with the options that are given, and those of the project for the others."""
    from pywasmfilter_compiler.pipeline import build as build_module  # noqa: PLC0415

    of_project = settings.load_settings(paths[0])
    with progress() as step:
        return build_module(paths, **{**of_project, **_given(options)}, progress=step, on_output=_print_output)


def build_runtime(options: dict[str, Any]) -> BuildResult:
    """The same for the module that runs inline filters."""
    from pywasmfilter_compiler.inline import build_runtime as build_module  # noqa: PLC0415

    # Name and output are those of the project's own filter.
    of_project = {key: value for key, value in settings.load_settings(Path()).items() if key not in ("name", "output")}
    with progress() as step:
        return build_module(**{**of_project, **_given(options)}, progress=step, on_output=_print_output)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value not in (None, ())}


def _print_output(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def progress() -> Iterator[Any]:
    """A function that shows each step with the time it took, on a terminal; nothing in a pipe."""
    shown: list[float] = []

    def end() -> None:
        if shown:
            click.echo(f" {time.perf_counter() - shown.pop():.1f} s", err=True)

    def step(message: str) -> None:
        if sys.stderr.isatty():
            end()
            click.echo(click.style(f"{message} …", dim=True), nl=False, err=True)
            shown.append(time.perf_counter())

    try:
        yield step
    finally:
        end()


def megabytes(size: int) -> str:
    """A size for people."""
    return f"{size / 1e6:.1f} MB"
