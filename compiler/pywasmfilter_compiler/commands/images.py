"""`pyfilter push` and `pyfilter package`: modules as images."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pywasmfilter_compiler.errors import UsageError

from . import common

if TYPE_CHECKING:
    from pywasmfilter_compiler.oci import Description, ImageRecord

_MODULE = click.argument("module", type=click.Path(path_type=Path))
_TAKEN: Final = "What the image is like. Istio and Envoy Gateway take any but cncf, which is for Wasm runtimes."


def _format(*formats: str) -> Callable[[Any], Any]:
    return click.option("--format", type=click.Choice(formats), default=formats[0], show_default=True, help=_TAKEN)


_ANNOTATION = click.option(
    "--annotation",
    "annotations",
    metavar="KEY=VALUE",
    multiple=True,
    help="What to say of the image, such as org.opencontainers.image.source=URL. May be repeated.",
)


@click.command()
@_MODULE
@click.argument("reference", metavar="oci://REGISTRY/REPOSITORY:TAG")
@_format("compat", "docker", "artifact", "cncf")
@_ANNOTATION
@click.option("--username", metavar="NAME", help="Who to be there. [what Docker's configuration says]")
@click.option("--password-stdin", is_flag=True, help="Read the password, or a token, from standard input.")
@click.option("--ca", metavar="FILE", type=click.Path(path_type=Path), help="Trust the certificates in this file only.")
@click.option("--insecure", is_flag=True, help="Trust any certificate, and use plain HTTP where there is no TLS.")
@click.option(
    "--registry-timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    default=60.0,
    show_default=True,
    help="Bound on each wait for the registry.",
)
@common.INCLUDE
@common.TIMEOUT
@common.MAX_MEMORY
@common.ABI
@common.JSON
def push(module: Path, reference: str, as_json: bool, **options: Any) -> None:
    """Push MODULE to a registry, from where Istio, Envoy Gateway and others fetch it.

    MODULE is a module, or a filter as `pyfilter build` takes it, which is built first. Both digests that configurations
    ask for are shown, and written to NAME.image.json beside the module. This takes `pip install 'pywasmfilter[push]'`.
    """
    from pywasmfilter_compiler.oci import publish, reference as references  # noqa: PLC0415

    publish.check_dependencies()
    references.parse(reference)  # before anything is built
    password = _password(options)
    with _module(module, options) as (path, name, record):
        description = _description(options, name)
        with common.progress() as step:
            made = publish.push(
                path,
                reference,
                description,
                username=options["username"],
                password=password,
                ca=options["ca"],
                insecure=options["insecure"],
                timeout=options["registry_timeout"],
                record=record,
                progress=step,
            )
    _show(made, record, as_json=as_json)


@click.command()
@_MODULE
@click.option(
    "-o",
    "--output",
    metavar="FOLDER|FILE.tar",
    type=click.Path(path_type=Path),
    required=True,
    help="Where to write the layout.",
)
@_format("compat", "artifact", "cncf")
@click.option("--tag", metavar="TAG", default="latest", show_default=True, help="The image's name in the layout.")
@_ANNOTATION
@common.INCLUDE
@common.TIMEOUT
@common.MAX_MEMORY
@common.ABI
@common.JSON
def package(module: Path, output: Path, tag: str, as_json: bool, **options: Any) -> None:
    """Write MODULE as an OCI image layout, which tools such as skopeo copy to registries.

    MODULE is a module, or a filter as `pyfilter build` takes it, which is built first. What `pyfilter push` shows and
    writes down is shown and written down here too.
    """
    from pywasmfilter_compiler.oci import layout, package as package_module, reference as references  # noqa: PLC0415

    references.check_tag(tag)
    layout.check_target(output)
    with _module(module, options) as (path, name, record):
        description = _description(options, name)
        with common.progress() as step:
            made = package_module(path, output, description, tag=tag, record=record, progress=step)
    _show(made, record, as_json=as_json, layout=output)


def _password(options: dict[str, Any]) -> str | None:
    if (options["username"] is None) is options["password_stdin"]:
        raise UsageError("--username and --password-stdin go together")
    if not options["password_stdin"]:
        return None
    try:
        password = sys.stdin.buffer.read().decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError("--password-stdin: standard input is not UTF-8") from None
    if not password:
        raise UsageError("--password-stdin: standard input is empty")
    return password


@contextmanager
def _module(path: Path, options: dict[str, Any]) -> Iterator[tuple[Path, str | None, Path]]:
    """The module, what it is called if not as its file, and where its record goes: a filter's to the current folder."""
    from pywasmfilter_compiler.files import file_name  # noqa: PLC0415
    from pywasmfilter_compiler.oci import record_path  # noqa: PLC0415

    if path.suffix == ".wasm":
        yield path, None, record_path(path)
        return
    with tempfile.TemporaryDirectory(prefix="pyfilter-") as folder:
        of_build = {key: options[key] for key in common.OF_BUILD}
        result = common.build((path,), {"output": Path(folder, "filter.wasm"), **of_build})
        yield result.path, result.name, record_path(Path(f"{file_name(result.name)}.wasm"))


def _description(options: dict[str, Any], name: str | None) -> Description:
    from pywasmfilter_compiler.oci import Description  # noqa: PLC0415

    return Description(options["format"], name, dict(map(_annotation, options["annotations"])))


def _annotation(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not key.isprintable() or " " in key:
        raise UsageError(f"--annotation takes KEY=VALUE, not {text!r}")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise UsageError(f"--annotation takes UTF-8, which {text!r} is not")
    return key, value


def _show(made: ImageRecord, record: Path, *, as_json: bool, layout: Path | None = None) -> None:
    if as_json:
        more = {"record": str(record), **({} if layout is None else {"layout": str(layout)})}
        click.echo(json.dumps({**asdict(made), **more}, indent=2))
        return
    click.echo(f"{made.reference or layout}  {made.format}  {common.megabytes(made.layer_size)}")
    click.echo(f"  manifest  {made.manifest_digest}")
    click.echo(f"  module    {made.module_sha256}")
    if made.plugins:
        click.echo(f"  plugins   {', '.join(made.plugins)}")
    click.echo(f"  written   {record}")
