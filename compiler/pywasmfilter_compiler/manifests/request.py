"""What a manifest is to say: the module, where it will be, and the options, in a form that the generators share."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from pywasmfilter_compiler.envoy.bootstrap import HOLDS_HEADERS, split_service
from pywasmfilter_compiler.errors import BinaryError, CompilerError, UsageError
from pywasmfilter_compiler.inline import check_inline, inline_configuration
from pywasmfilter_compiler.module_report import ModuleReport, inspect
from pywasmfilter_compiler.oci.record import ImageRecord, read_record, record_path
from pywasmfilter_compiler.upstreams import Upstream

from . import versions
from .choices import MODES, Carry, FailStrategy, Kind, Mode, Phase, PullPolicy, Target
from .options import Options
from .versions import Version

MOUNTED: Final = "/var/local/wasm/plugin.wasm"
"""Where a module is that a pod brings along, unless the URL says another place."""

LOCAL_UPSTREAM: Final = "http://127.0.0.1:8080"
"""Where requests go, unless it is said."""

_GROUPS: Final = {
    "Gateway": "gateway.networking.k8s.io",
    "GatewayClass": "gateway.networking.k8s.io",
    "ListenerSet": "gateway.networking.k8s.io",
    "HTTPRoute": "gateway.networking.k8s.io",
    "GRPCRoute": "gateway.networking.k8s.io",
    "ServiceEntry": "networking.istio.io",
}
_WORKLOADS: Final = {kind.lower(): kind for kind in ("Deployment", "StatefulSet", "DaemonSet")}


@dataclass(frozen=True, slots=True)
class Inline:
    """The source of an inline filter, the name of its plugin, and the callbacks that it hears."""

    source: str
    plugin: str
    callbacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """A module in a file, the record of the image that it was pushed as, and the inline filter that it is to run."""

    path: Path
    report: ModuleReport
    record: ImageRecord | None
    upstreams: tuple[Upstream, ...]
    inline: Inline | None = None

    @property
    def callbacks(self) -> tuple[str, ...]:
        """Those that the plugins hear. A module for inline filters has all of them, whatever a source has."""
        return self.inline.callbacks if self.inline else self.report.callbacks


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plugin of the module, what it is used as, and its configuration."""

    root_id: str
    kind: Kind
    configuration: bytes = b""

    def value(self) -> Any:
        """The configuration as what it is as JSON, or else as the text that it is; None if there is none."""
        if not self.configuration:
            return None
        try:
            text = self.configuration.decode()
        except UnicodeDecodeError:
            raise UsageError(f"--config of {self.root_id}: this target takes UTF-8 only") from None
        try:
            return json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            return text

    def object(self) -> dict[str, Any] | None:
        """The configuration as the JSON object that some kinds want; None if there is none."""
        value = self.value()
        if value is not None and not isinstance(value, dict):
            raise UsageError(f"--config of {self.root_id}: this target takes a JSON object, and no other text")
        return value


def _no_number(name: str) -> None:
    """JSON has no NaN."""
    raise ValueError(name)


@dataclass(frozen=True, slots=True)
class TrafficMatch:
    """Traffic that a plugin is for."""

    mode: Mode
    port: int | None


@dataclass(frozen=True, slots=True)
class Carried:
    """How pods of a workload bring the module along."""

    how: Carry
    kind: str
    workload: str
    container: str
    image: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """What a manifest is to say. `sha256` is the hash that the URL's scheme wants; None if it is not known.

    Variables without a value have that of the proxy.
    """

    target: Target
    module: ModuleFacts
    url: str
    sha256: str | None
    name: str
    namespace: str | None
    plugins: tuple[PluginUse, ...]
    fail_strategy: FailStrategy
    environment: dict[str, str | None]
    selector: dict[str, str] = field(default_factory=dict)
    target_refs: tuple[dict[str, str], ...] = ()
    matches: tuple[TrafficMatch, ...] = ()
    phase: Phase | None = None
    priority: int | None = None
    pull_policy: PullPolicy | None = None
    pull_secret: str | None = None
    vm_id: str = ""
    vm_configuration: bytes = b""
    hold_headers: bool = False
    upstream: str = LOCAL_UPSTREAM
    upstream_urls: dict[str, str] = field(default_factory=dict)
    port: int = 10000
    istio: Version | None = None
    envoy: Version | None = None
    carried: Carried | None = None

    @property
    def scheme(self) -> str:
        """`oci`, `https`, `http` or `file`."""
        return self.url.partition("://")[0]

    @property
    def file(self) -> str:
        """The module's path where the proxy runs, if the URL says one."""
        return urlsplit(self.url).path

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """The services that the module calls by name, at the places that are given for them."""
        return tuple(self._placed(upstream) for upstream in self.module.upstreams)

    def _placed(self, upstream: Upstream) -> Upstream:
        url = self.upstream_urls.get(upstream.name)
        if url is None:
            return upstream
        host, port, tls = split_service(url)
        return Upstream(
            upstream.name, url, upstream.cluster, upstream.variable, host, port, tls, upstream.http2 and not tls
        )

    def object_name(self, plugin: PluginUse) -> str:
        """The name of an object for one plugin."""
        same = [other for other in self.plugins if other.root_id == plugin.root_id]
        parts = [self.name] if len(self.plugins) == 1 else [self.name, plugin.root_id]
        return _dns("-".join([*parts, *([plugin.kind] if len(same) > 1 else [])]))


def read_module(path: Path) -> ModuleFacts:
    """The facts. Raises UsageError for a file that cannot be read, and BinaryError for what is no module."""
    try:
        report, file = inspect(path, compress=False), record_path(path)
    except BinaryError as error:
        advice = "; pyfilter build makes a module of a filter" if path.suffix == ".py" else ""
        raise type(error)(f"{path}: {error.message}{advice}", error.offset) from None
    return ModuleFacts(path, report, read_record(file) if file.exists() else None, report.upstreams)


def make_request(module: ModuleFacts, options: Options) -> Request:
    """What the options ask for.

    Raises UsageError for options that make no sense, or not together, and FilterError for an inline filter that is
    wrong.
    """
    if options.inline is not None:
        module = _with_source(module, options.inline)
    name = _dns(options.name or (module.inline.plugin if module.inline else module.path.stem))
    plain, named = _upstreams(options.upstream)
    url = _url(module, options)
    request = Request(
        target=options.target,
        module=module,
        url=url,
        sha256=_checksum(module, url),
        name=name,
        namespace=options.namespace,
        plugins=_plugins(module, options),
        fail_strategy=options.fail_strategy,
        environment=_environment(options),
        selector=_table("--selector", options.selector),
        target_refs=tuple(map(_target_ref, options.target_ref)),
        matches=tuple(map(_match, options.match)),
        phase=options.phase,
        priority=options.priority,
        pull_policy=options.pull_policy,
        pull_secret=options.pull_secret,
        vm_id=options.vm_id if options.vm_id is not None else _dns(module.path.stem) if module.inline else name,
        vm_configuration=text_or_file(options.vm_config),
        hold_headers=options.allow_on_headers_stop_iteration,
        upstream=plain or LOCAL_UPSTREAM,
        upstream_urls=named,
        port=options.port,
        istio=_version(options.istio, "Istio"),
        envoy=_version(options.envoy, "Envoy"),
        carried=_carried(module, options),
    )
    _check(request)
    return request


def _check(request: Request) -> None:
    names = [request.object_name(plugin) for plugin in request.plugins]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"several plugins would be called {', '.join(twice)}: each is given once for a --type")
    known = {upstream.name for upstream in request.module.upstreams}
    for name in request.upstream_urls:
        if name not in known:
            what = f"its upstreams are {', '.join(sorted(known))}" if known else "it has none"
            raise UsageError(f"--upstream {name}: the filter has no upstream of this name; {what}")
    if request.selector and request.target_refs:
        raise UsageError("--selector and --target-ref exclude each other")
    if request.carried and request.scheme != "file":
        raise UsageError(f"--carry brings the module as a file, but --url is {request.url}; leave it out")
    for given, product in ((request.istio, "istio"), (request.envoy, "envoy")):
        if given is not None and given < versions.OLDEST[product]:
            oldest = versions.shown(versions.OLDEST[product])
            raise UsageError(f"modules run in {product.title()} {oldest} and later, not in {versions.shown(given)}")


# The URL and its hash


def _url(module: ModuleFacts, options: Options) -> str:
    if options.url is not None:
        url = options.url if "://" in options.url else f"oci://{options.url}"
        return _checked_url(url)
    if options.carry is not None:
        return f"file://{MOUNTED}"
    if module.record and module.record.reference and options.target not in {"envoy", "envoy-filter", "kuma"}:
        return module.record.reference
    if options.target in {"envoy", "envoy-filter"}:
        return f"file://{module.path.resolve()}"
    raise UsageError(
        "where will the proxy find the module? Say --url oci://…, https://… or file://…; "
        f"there is no image record {record_path(module.path).name} beside it"
    )


def _checked_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:  # may be a password, which is not repeated
        raise UsageError("--url: a manifest is no place for user names and passwords: see --pull-secret")
    if scheme not in {"oci", "https", "http", "file"}:
        raise UsageError(f"--url {url}: the scheme is oci, https, http or file")
    if scheme == "file" and not rest.startswith("/"):
        raise UsageError(f"--url {url}: a file has a whole path, file:///var/local/wasm/plugin.wasm")
    if not rest.strip("/") or re.search(r"[\s\x00-\x1f\x7f]", rest) or not (scheme == "file" or _has_host(url)):
        raise UsageError(f"--url {url!r}: this is no URL")
    return url


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _checksum(module: ModuleFacts, url: str) -> str | None:
    """Of an image that of its manifest, of a file on a server that of the module."""
    scheme, _, rest = url.partition("://")
    if scheme in {"http", "https"}:
        return module.report.sha256
    if scheme == "file":
        return None
    pinned = re.search("@sha256:([0-9a-f]{64})$", rest)
    if pinned:
        return pinned[1]
    record = module.record
    if (
        record is None
        or record.reference is None
        or record.reference.removeprefix("oci://").partition("@")[0] != rest.partition("@")[0]
    ):
        return None
    if record.module_sha256 != module.report.sha256:
        raise UsageError(f"{module.path}: the image {record.reference} has another module; push this one")
    if record.format == "cncf":
        raise UsageError(f"{module.path}: the image {record.reference} is of the format cncf, which no proxy takes")
    return record.manifest_digest.removeprefix("sha256:")


# Plugins


def _plugins(module: ModuleFacts, options: Options) -> tuple[PluginUse, ...]:
    names = options.plugin or [_only_plugin(module)]
    known = () if module.inline else module.report.plugins
    for name in names:
        if known and name not in known:
            raise CompilerError(f"{module.path}: has no plugin {name!r}; its plugins are {', '.join(known)}")
    kinds = _for_each("--type", options.type or [_kind(module.callbacks)], names)
    configurations = options.config or [""]
    if len(configurations) > len(names):
        raise UsageError(f"there are {len(configurations)} configurations for {len(names)} plugins")
    texts = [text_or_file(text) for text in [*configurations, *[""] * (len(names) - len(configurations))]]
    if module.inline:
        texts = [_inline_configuration(module.inline.source, text) for text in texts]
    return tuple(PluginUse(name, kind, text) for name, kind, text in zip(names, kinds, texts, strict=True))


def _only_plugin(module: ModuleFacts) -> str:
    """The plugin that is meant if none is named. Modules of other compilers do not say what they have."""
    if module.inline:
        return module.inline.plugin
    plugins = module.report.plugins
    if len(plugins) > 1:
        raise UsageError(f"{module.path}: has the plugins {', '.join(plugins)}; say which: --plugin")
    return plugins[0] if plugins else module.path.stem


# Inline filters


def _with_source(module: ModuleFacts, file: str) -> ModuleFacts:
    """The module, to run the filter in a file, with whose upstreams."""
    try:
        source = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--inline {file}: {error}") from error
    found = check_inline(source, module.path, path=file)
    return replace(
        module, upstreams=tuple(found.upstreams), inline=Inline(source, found.plugin, tuple(found.callbacks))
    )


def _inline_configuration(source: str, configuration: bytes) -> bytes:
    """A source with its own configuration: an object, or a text that it is handed as it is."""
    if not configuration:
        return inline_configuration(source).encode()
    try:
        text = configuration.decode()
    except UnicodeDecodeError:
        raise UsageError("--config of an inline filter is UTF-8") from None
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        value = None
    return inline_configuration(source, value if isinstance(value, dict) else text).encode()


T = TypeVar("T")


def _for_each(what: str, values: Sequence[T], names: Sequence[str]) -> list[T]:
    if len(values) not in {1, len(names)}:
        raise UsageError(f"{what} is given once, or once for each of the {len(names)} plugins")
    return [*values] if len(values) == len(names) else [values[0]] * len(names)


def _kind(callbacks: Sequence[str]) -> Kind:
    """What callbacks are for."""
    names = " ".join(callbacks)
    if re.search("_on_(request|response)_", names):
        return "http"
    if re.search("_on_(new_connection|downstream_|upstream_)", names):
        return "tcp"
    return "access-log" if "proxy_on_log" in names else "http"


def text_or_file(value: str) -> bytes:
    """A text, or what is in the file after an @. Raises UsageError for a file that cannot be read."""
    if not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise UsageError(f"{value[1:]}: {error.strerror or error}") from error


# Options with a form of their own


def _table(what: str, texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, equals, _) in zip(texts, pairs, strict=True):
        if not equals or not name:
            raise UsageError(f"{what} takes NAME=VALUE, not {text!r}")
    names = [name for name, _, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{what}: {', '.join(twice)} is given twice")
    return {name: value for name, _, value in pairs}


def _environment(options: Options) -> dict[str, str | None]:
    """Variables by name; those without a value are the host's."""
    environment: dict[str, str | None] = {}
    for text in options.env:
        name, equals, value = text.partition("=")
        if not name.isprintable() or not name or name in environment:
            raise UsageError(f"--env takes NAME=VALUE, or NAME for the proxy's own, each name once; not {text!r}")
        environment[name] = value if equals else None
    if options.allow_on_headers_stop_iteration:
        environment.setdefault(HOLDS_HEADERS, "true")
    return environment


def _target_ref(text: str) -> dict[str, str]:
    kind, slash, name = text.partition("/")
    if not slash or not kind or not name:
        raise UsageError(f"--target-ref takes KIND/NAME, like Gateway/ingress, not {text!r}")
    known = {known.lower(): known for known in [*_GROUPS, "Service"]}
    kind = known.get(kind.lower(), kind)
    return {"group": _GROUPS.get(kind, ""), "kind": kind, "name": name}


def _match(text: str) -> TrafficMatch:
    mode, colon, port = text.partition(":")
    found = [known for known in MODES if known == mode]
    if not found or (colon and not re.fullmatch("[0-9]{1,5}", port)) or (colon and not 1 <= int(port) <= 65535):
        raise UsageError(f"--match takes MODE or MODE:PORT, with a mode of {', '.join(MODES)}, not {text!r}")
    return TrafficMatch(found[0], int(port) if colon else None)


def _upstreams(texts: Sequence[str]) -> tuple[str | None, dict[str, str]]:
    """Where requests go, if that is said, and where calls to upstreams go by their names."""
    named: dict[str, str] = {}
    plain: list[str] = []
    for text in texts:
        name, equals, url = text.partition("=")
        if equals and "/" not in name:
            named[name] = url
        else:
            plain.append(text)
    for url in [*plain, *named.values()]:
        split_service(url)
    if len(plain) > 1:
        raise UsageError("--upstream URL says where requests go, once; NAME=URL is for an upstream of the filter")
    return plain[0] if plain else None, named


def _version(text: str | None, product: str) -> Version | None:
    return None if text is None else versions.parse(text, product)


def _carried(module: ModuleFacts, options: Options) -> Carried | None:
    if options.carry is None:
        if options.workload or options.image:
            raise UsageError("--workload and --image go with --carry")
        return None
    if options.carry == "config-map":
        raise UsageError(
            f"a ConfigMap holds 1 MiB at most, and the module has {module.report.size / 2**20:.1f} MiB: "
            "--carry init-container, image-volume or sidecar-annotations"
        )
    kind, slash, name = (options.workload or "").partition("/")
    if not slash or not name or kind.lower() not in _WORKLOADS:
        kinds = ", ".join(_WORKLOADS)
        raise UsageError(f"--carry needs the workload whose pods bring the module: --workload KIND/NAME, of {kinds}")
    image = options.image or _recorded_image(module, options.carry)
    return Carried(options.carry, _WORKLOADS[kind.lower()], name, options.container, image.removeprefix("oci://"))


def _recorded_image(module: ModuleFacts, how: Carry) -> str:
    """The image that the module was pushed as. It has nothing but the module, so that only a volume can be made of it.

    Raises UsageError if there is none, and if it has another module.
    """
    record = module.record
    if how != "image-volume" or record is None or record.reference is None:
        what = "REFERENCE" if how == "image-volume" else "REFERENCE of an image with /plugin.wasm and a cp in it"
        raise UsageError(f"--carry {how} needs what has the module: --image {what}, or an https:// URL of the module")
    if record.module_sha256 != module.report.sha256:
        raise UsageError(f"{module.path}: the image {record.reference} has another module; push this one")
    return record.reference


def _dns(text: str) -> str:
    """A name as Kubernetes takes it."""
    name = re.sub("[^a-z0-9.-]+", "-", text.lower()).strip("-.")[:253].strip("-.")
    if not name:
        raise UsageError(f"--name: {text!r} has nothing that the name of an object can be made of")
    return name
