"""`pyfilter sbom` and `pyfilter verify`: what is in a module, and whether it is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from . import common

_MODULE = click.argument("module", type=click.Path(path_type=Path))
_MARKS = {"same": "✓", "different": "✗", "unknown": "?"}


@click.command()
@_MODULE
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it. [stdout]")
def sbom(module: Path, output: Path | None) -> None:
    """Print the bill of materials of MODULE, as CycloneDX JSON.

    It has the interpreter, the SDK and each package that is frozen in, with versions and licenses. This takes
    `pip install 'pywasmfilter[sbom]'`.
    """
    from pywasmfilter_compiler import files  # noqa: PLC0415
    from pywasmfilter_compiler.sbom import sbom as bill_of  # noqa: PLC0415

    text = bill_of(module)
    if output is None:
        click.echo(text, nl=False)
    else:
        files.write(output, text.encode())


@click.command()
@_MODULE
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar="[PATH...]")
@common.JSON
@click.pass_context
def verify(ctx: click.Context, module: Path, paths: tuple[Path, ...], as_json: bool) -> None:
    """Make the facts about MODULE once more, and compare them.

    The code of the interpreter is made again for the versions and options that the module names, and the sources of
    the standard library and of packages are compared with those that are installed here. With the filters' PATH, as
    `pyfilter build` takes it, the whole module is built again. The exit code is 1 if anything is different, or the code
    could not be compared.
    """
    from pywasmfilter_compiler.verification import verify as compare  # noqa: PLC0415

    with common.progress() as step:
        found = compare(module, paths, progress=step)
    if as_json:
        click.echo(json.dumps({"ok": found.ok, **asdict(found)}, indent=2))
    else:
        click.echo(f"{module}  sha256 {found.sha256}")
        for check in found.checks:
            click.echo(f"  {_MARKS[check.result]} {check.name:20}  {check.result:9}  {check.detail}")
    ctx.exit(0 if found.ok else 1)
