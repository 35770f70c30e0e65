"""`pyfilter manifest`, `pyfilter deploy` and `pyfilter check`: from a module to the proxy that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pywasmfilter_compiler.errors import CompilerError, MissingDependency, ToolError, UsageError
from pywasmfilter_compiler.manifests.choices import (
    CARRIES,
    FAIL_STRATEGIES,
    KINDS,
    KUBERNETES,
    PHASES,
    PULL_POLICIES,
    TARGETS,
)
from pywasmfilter_compiler.settings import manifest_table

if TYPE_CHECKING:
    from pywasmfilter_compiler.manifests.documents import Document
    from pywasmfilter_compiler.manifests.request import ModuleFacts, PluginUse, Request

F = TypeVar("F", bound=Callable[..., Any])

_MODULE: Final = click.argument("module", type=click.Path(path_type=Path))
_OF_PLUGINS: Final = (
    click.option("--plugin", metavar="NAME", multiple=True, help="A plugin of the module. [its only one]"),
    click.option(
        "--type", type=click.Choice(KINDS), multiple=True, help="What the plugin is used as. [what its callbacks are]"
    ),
    click.option("--config", metavar="TEXT|@FILE", multiple=True, help="The plugin's configuration."),
    click.option(
        "--inline", metavar="FILE", help="A filter whose source goes into the configuration, for a --runtime module."
    ),
    click.option("--vm-config", metavar="TEXT|@FILE", help="The VM's configuration."),
    click.option(
        "--env",
        metavar="NAME[=VALUE]",
        multiple=True,
        help="A variable of the VM's environment, or one that it has from the proxy. May be repeated.",
    ),
    click.option(
        "--allow-on-headers-stop-iteration",
        is_flag=True,
        default=None,
        help="Show bodies to the plugin while it holds their headers back.",
    ),
)
_OF_MANIFESTS: Final = (
    click.option("--target", type=click.Choice(TARGETS), help="Who is to read the manifest. [istio]"),
    click.option(
        "--url", metavar="URL", help="Where the proxy finds the module: oci://, https:// or file://. [the image record]"
    ),
    click.option("--name", metavar="NAME", help="Name of the objects. [the module's file]"),
    click.option("--namespace", metavar="NAMESPACE", help="Their namespace."),
    click.option("--selector", metavar="KEY=VALUE", multiple=True, help="A label of the pods. May be repeated."),
    click.option(
        "--target-ref", metavar="KIND/NAME", multiple=True, help="An object that the plugin is for. May be repeated."
    ),
    click.option("--match", metavar="MODE[:PORT]", multiple=True, help="Traffic that the plugin is for."),
    click.option("--phase", type=click.Choice(PHASES), help="Where in Istio's chain. [last]"),
    click.option("--priority", type=int, help="Where in the phase: high comes first; of EnvoyFilters, low."),
    click.option("--fail-strategy", type=click.Choice(FAIL_STRATEGIES), help="What if the plugin breaks. [closed]"),
    click.option("--pull-policy", type=click.Choice(PULL_POLICIES), help="When an image is pulled."),
    click.option("--pull-secret", metavar="NAME", help="The secret with the registry's credentials."),
    click.option("--vm-id", metavar="ID", help="Plugins with the same one share VMs. [the name]"),
    click.option(
        "--upstream",
        metavar="[NAME=]URL",
        multiple=True,
        help="Where requests go; with NAME, where calls to the filter's upstream go. May be repeated.",
    ),
    click.option("--port", type=click.IntRange(1, 65535), help="Port of the listener of --target envoy. [10000]"),
    click.option("--istio", metavar="VERSION", help="The Istio that there is: nothing newer is written."),
    click.option("--envoy", metavar="VERSION", help="The Envoy that there is: nothing newer is written."),
    click.option("--carry", type=click.Choice(CARRIES), help="How pods bring the module along as a file."),
    click.option("--workload", metavar="KIND/NAME", help="Whose pods."),
    click.option("--container", metavar="NAME", help="Which of their containers is the proxy. [envoy]"),
    click.option("--image", metavar="REFERENCE|URL", help="What the module is in. [the image record]"),
)


def _options(*groups: tuple[Callable[[F], F], ...]) -> Callable[[F], F]:
    """Several options as one decorator."""

    def decorate(command: F) -> F:
        for group in reversed(groups):
            for option in reversed(group):
                command = option(command)
        return command

    return decorate


@click.command()
@_MODULE
@_options(_OF_MANIFESTS, _OF_PLUGINS)
@click.option("-o", "--output", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it. [stdout]")
@click.option(
    "--output-dir",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write each object to a file of its own there, and a kustomization.yaml.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON in place of YAML.")
def manifest(module: Path, output: Path | None, output_dir: Path | None, as_json: bool, **options: Any) -> None:
    """Write what a proxy needs to run a plugin of MODULE: for Istio, Envoy and others.

    The plugin is started with its configuration first, in a host in memory: one that it refuses is not written.
    """
    from pywasmfilter_compiler.manifests.documents import (  # noqa: PLC0415
        as_json as json_of,
        as_yaml,
        write,
        write_folder,
    )

    if output and output_dir:
        raise UsageError("--output and --output-dir exclude each other")
    request, documents = _generate(module, options)
    if output_dir:
        for path in write_folder(documents, output_dir):
            click.echo(path)
        return
    if request.carried:
        raise UsageError("--carry makes a patch, which kubectl apply does not take: give --output-dir, or see deploy")
    text = json_of(documents) if as_json else as_yaml(documents)
    if output:
        write(output, text)
    else:
        click.echo(text, nl=False)


@click.command()
@_MODULE
@_options(_OF_MANIFESTS, _OF_PLUGINS)
@click.option("--context", metavar="NAME", help="The context of kubectl. [its current one]")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def deploy(module: Path, context: str | None, dry_run: bool, **options: Any) -> None:
    """Apply the manifest for a plugin of MODULE with kubectl. The options are those of `pyfilter manifest`."""
    import shlex  # noqa: PLC0415

    from pywasmfilter_compiler.manifests.documents import as_yaml  # noqa: PLC0415

    request, documents = _generate(module, options)
    if request.target not in KUBERNETES:
        raise UsageError(f"--target {request.target} is no manifest for Kubernetes: pyfilter manifest writes it")
    kubectl = _kubectl(context)
    text = as_yaml([document for document in documents if not document.is_patch])
    commands = [
        *(_patch_command(document) for document in documents if document.is_patch),
        (["apply", "-f", "-"], text),
    ]
    if dry_run:
        click.echo(f"# kubectl: {kubectl[0]}\n# context: {context or _current_context(kubectl)}")
    for words, given in commands:
        if dry_run:
            click.echo(f"# kubectl {shlex.join(words)}\n{given}")
        else:
            _run(kubectl, words, given)


def _kubectl(context: str | None) -> list[str]:
    import shutil  # noqa: PLC0415

    found = shutil.which("kubectl")
    if found is None:
        raise MissingDependency(
            "there is no kubectl on PATH; https://kubernetes.io/docs/tasks/tools says how to get it"
        )
    return [found, *(["--context", context] if context else [])]


def _current_context(kubectl: list[str]) -> str:
    import subprocess  # noqa: PLC0415

    words = [*kubectl, "config", "current-context"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # the user's own kubectl
    except OSError as error:
        raise ToolError(f"{kubectl[0]}: {error.strerror or error}") from error
    return done.stdout.strip() or "none"


def _patch_command(document: Document) -> tuple[list[str], str]:
    metadata = document.content["metadata"]
    namespace = ["--namespace", metadata["namespace"]] if "namespace" in metadata else []
    words = ["patch", document.kind.lower(), metadata["name"], *namespace, "--type", "strategic"]
    return [*words, "--patch", json.dumps(document.content)], ""


def _run(kubectl: list[str], words: list[str], given: str) -> None:
    """What kubectl prints, it prints itself."""
    import subprocess  # noqa: PLC0415

    try:
        done = subprocess.run([*kubectl, *words], input=given, text=True, check=False)  # noqa: S603  # as above
    except OSError as error:
        raise ToolError(f"{kubectl[0]}: {error.strerror or error}") from error
    if done.returncode:
        raise ToolError(f"kubectl {words[0]} ended with exit code {done.returncode}")


@click.command()
@_MODULE
@click.option(
    "--target",
    "targets",
    metavar="TARGET",
    multiple=True,
    default=["envoy-1.36"],
    show_default=True,
    help="Where it is to run: istio-VERSION, envoy-VERSION, envoy-gateway, higress or kuma. May be repeated.",
)
@_options(_OF_PLUGINS)
@click.option(
    "--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker threads of the proxy."
)
@click.option("--memory-limit", type=click.IntRange(min=1), metavar="MIB", help="What the proxy's container may use.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def check(
    ctx: click.Context,
    /,
    module: Path,
    targets: tuple[str, ...],
    workers: int,
    memory_limit: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what of MODULE would fail where it is to run, before it is deployed.

    The exit code is 1 if something would.
    """
    import textwrap  # noqa: PLC0415

    from pywasmfilter_compiler.manifests.checks import Room, check_module, parse_place  # noqa: PLC0415
    from pywasmfilter_compiler.manifests.options import merged  # noqa: PLC0415
    from pywasmfilter_compiler.manifests.request import make_request, read_module  # noqa: PLC0415

    places = [parse_place(text) for text in targets]
    facts = read_module(module)
    given = _given(options)
    request = make_request(facts, merged(_settings_for(facts), {**given, "target": "envoy"}))
    room = Room(workers, memory_limit)
    verdicts = [
        check_module(facts, place, request.plugins, room, lambda plugin: _problem(request, plugin)) for place in places
    ]
    if as_json:
        click.echo(json.dumps([verdict.to_json() for verdict in verdicts], indent=2))
    else:
        for verdict in verdicts:
            click.echo(f"{'✓' if verdict.works else '✗'} {verdict.target}")
            for finding in verdict.findings:
                click.echo(textwrap.indent(f"{finding.level}: {finding.message}", "  "))
    ctx.exit(0 if all(verdict.works for verdict in verdicts) else 1)


def _settings_for(facts: ModuleFacts) -> dict[str, Any]:
    """The settings that say how plugins of the module start."""
    settings = _settings(facts.path)
    names = ("plugin", "type", "config", "vm_config", "env", "inline", "allow_on_headers_stop_iteration")
    return {name: settings[name] for name in names if name in settings}


# What the commands have in common


def _generate(module: Path, options: dict[str, Any]) -> tuple[Request, list[Document]]:
    """What is wanted, and the documents for it. Raises CompilerError if a plugin does not start."""
    from pywasmfilter_compiler.manifests.generate import generate  # noqa: PLC0415
    from pywasmfilter_compiler.manifests.options import merged  # noqa: PLC0415
    from pywasmfilter_compiler.manifests.request import make_request, read_module  # noqa: PLC0415

    facts = read_module(module)
    request = make_request(facts, merged(_settings(module), _given(options)))
    documents = generate(request)
    for plugin in request.plugins:
        if problem := _problem(request, plugin):
            raise CompilerError(f"{module}: {problem}")
    return request, documents


def _settings(module: Path) -> dict[str, Any]:
    file, table = manifest_table(module)
    if not table:
        return {}
    from pywasmfilter_compiler.manifests.options import from_table  # noqa: PLC0415

    return from_table(table, file)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given; those that may be repeated as lists."""
    given = {key: value for key, value in options.items() if value not in (None, ())}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


def _problem(request: Request, plugin: PluginUse) -> str | None:
    """Why a plugin does not start with its configuration; found out by starting it, in a host in memory."""
    from pywasmfilter.testing import Host, Refused, Response  # noqa: PLC0415
    from pywasmfilter.testing.plugin import Trapped  # noqa: PLC0415

    environment = {name: value for name, value in request.environment.items() if value is not None}
    asked_for = [upstream.cluster_in(environment) for upstream in request.module.upstreams]
    try:
        host = Host(
            request.module.path,
            body="wasm",
            plugin=plugin.root_id,
            configuration=plugin.configuration,
            vm_configuration=request.vm_configuration,
            environment=environment,
            allow_on_headers_stop_iteration=request.hold_headers,
            clusters={name: Response(200) for name in asked_for},
        )
        host.close()
    except (Refused, Trapped) as error:
        which = "; say which: --plugin" if "has no plugin" in str(error) else ""
        return f"{plugin.root_id}: {error}{which}"
    return None
