"""A Proxy-Wasm host for tests, which behaves as Envoy does and keeps everything in memory.

    host = Host("filter.py", configuration={"required_keys": ["id"]})
    stream = host.request("GET", "/", headers={"x-api-key": "no"})
    assert stream.status == 403
    assert host.logged("no key")

The filter runs in one of two bodies: "python", as plain Python in this process, or "wasm", built and compiled, in
wasmtime. A path that ends in `.wasm` is a module that is built already, whoever compiled it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, TypeAlias, get_args

from pywasmfilter._bodies import HOLDS_HEADERS
from pywasmfilter.types import LogLevel, Status

from .functions import HostFunctions
from .messages import BodyLike, HeadersLike, Request, Text
from .plugin import OF_PLUGIN, OfPlugin, Plugin, ok
from .properties import Properties
from .proxy import Proxy
from .python_guest import PythonGuest
from .streams import HttpStream, TcpStream, Upstream
from .vm import VM, Guest, configuration_bytes

if TYPE_CHECKING:
    from .calls import GrpcCall, HttpCall, Service

Body: TypeAlias = Literal["python", "wasm"]
"""How a filter runs: "python", as plain Python in the test's process, or "wasm", as the compiled module in wasmtime."""
StrPath: TypeAlias = str | os.PathLike[str]
Configuration: TypeAlias = Text | Mapping[str, Any] | list[Any] | None

BODIES: tuple[Body, ...] = get_args(Body)
"""Every `Body` that there is."""


class VmKey(NamedTuple):
    """What plugins that share a VM have in common."""

    paths: tuple[Path, ...]
    vm_id: str
    configuration: bytes
    environment: tuple[tuple[str, str], ...]


class Host(Proxy):
    """A host with one plugin, which is started, and room for more (`start`).

    `plugin` says which plugin of the module, as Envoy's `root_id` does; not needed if there is one. Configurations are
    bytes, text, or what becomes JSON. `clusters` are services that are there when the plugin starts; others can come
    later (`Host.clusters`). Raises `Refused` if the plugin does not start, and ValueError for a body that
    there is not. Close the host, or use it in a `with` block, to let plugins hear of the end.
    """

    def __init__(
        self,
        filter: StrPath | Sequence[StrPath],  # noqa: A002  # that is what it is
        *,
        body: Body = "python",
        plugin: str = "",
        configuration: Configuration = None,
        vm_id: str = "",
        vm_configuration: Configuration = None,
        environment: Mapping[str, str] | None = None,
        allow_on_headers_stop_iteration: bool = False,
        upstream: Upstream = ok,
        clusters: Mapping[str, Service] | None = None,
    ) -> None:
        super().__init__()
        for name, service in (clusters or {}).items():
            self.clusters[name] = service
        if body not in BODIES:
            raise ValueError(f"the body is one of {BODIES}, not {body!r}")
        self.body = body
        """How the filters of this host run."""
        self.properties = Properties({"source.address": "127.0.0.1:50000", "destination.address": "127.0.0.1:10000"})
        """Properties that all plugins and streams have; see `properties`."""
        self.plugins: list[Plugin] = []
        """All that were started, in order; none once the host is closed."""
        self._vms: dict[VmKey, VM] = {}
        self._all_vms: list[VM] = []
        variables = tuple(sorted((environment or {}).items()))
        self._first_vm = VmKey(_paths(filter), vm_id, configuration_bytes(vm_configuration), variables)
        self.plugin = self.start(
            plugin=plugin,
            configuration=configuration,
            allow_on_headers_stop_iteration=allow_on_headers_stop_iteration,
            upstream=upstream,
        )
        """The first plugin, to which the host's own methods belong."""

    def start(
        self,
        filter: StrPath | Sequence[StrPath] | None = None,  # noqa: A002
        *,
        plugin: str = "",
        configuration: Configuration = None,
        vm_id: str | None = None,
        vm_configuration: Configuration = None,
        environment: Mapping[str, str] | None = None,
        allow_on_headers_stop_iteration: bool = False,
        upstream: Upstream = ok,
        new_vm: bool = False,
    ) -> Plugin:
        """Start another plugin; where nothing is said of filter and VM, of the first one's. Raises Refused.

        `allow_on_headers_stop_iteration` is the option of Envoy's configuration: the filter is shown a body while it
        holds the headers back. It comes with the variable of the environment that tells the filter.

        As in Envoy, plugins with equal filter, `vm_id`, VM configuration and environment share a VM. With `new_vm` this
        one gets its own, as it does on another worker.
        """
        first = self._first_vm
        variables = dict(first.environment) if environment is None else dict(environment)
        if allow_on_headers_stop_iteration:
            variables[HOLDS_HEADERS.decode()] = "true"
        key = VmKey(
            first.paths if filter is None else _paths(filter),
            first.vm_id if vm_id is None else vm_id,
            first.configuration if vm_configuration is None else configuration_bytes(vm_configuration),
            tuple(sorted(variables.items())),
        )
        if new_vm or key not in self._vms:
            self._vms[key] = self._new_vm(key)
            self._all_vms.append(self._vms[key])
        started = self._vms[key].start_plugin(plugin, configuration_bytes(configuration), self.properties)
        started.upstream = upstream
        started.allow_on_headers_stop_iteration = allow_on_headers_stop_iteration
        self.plugins.append(started)
        return started

    def _new_vm(self, key: VmKey) -> VM:
        guest, abi = new_guest([Path(path) for path in key.paths], self.body)
        return VM(
            self,
            guest,
            abi=abi,
            vm_id=key.vm_id,
            vm_configuration=key.configuration,
            environment=dict(key.environment),
        )

    # Traffic through the first plugin

    def request(
        self,
        method: str = "GET",
        path: Text = "/",
        headers: HeadersLike = (),
        body: BodyLike = b"",
        trailers: HeadersLike = (),
        *,
        authority: str = "test.local",
        json: object = None,
        upstream: Upstream | OfPlugin = OF_PLUGIN,
    ) -> HttpStream:
        """Send a request, and see it through as far as the filter lets it go; see `Plugin.request`."""
        return self.plugin.request(
            method, path, headers, body, trailers, authority=authority, json=json, upstream=upstream
        )

    def send(self, request: Request, upstream: Upstream | OfPlugin = OF_PLUGIN) -> HttpStream:
        """The same, for a request that is there already; see `Plugin.send`."""
        return self.plugin.send(request, upstream)

    def open_http(self, upstream: Upstream | OfPlugin = OF_PLUGIN) -> HttpStream:
        """A stream whose request the test sends piece by piece; see `Plugin.open_http`."""
        return self.plugin.open_http(upstream)

    def connect(self) -> TcpStream:
        """Open a TCP connection; see `Plugin.connect`."""
        return self.plugin.connect()

    def tick(self) -> None:
        """Let the plugin's tick come now; see `Plugin.tick`. `advance` lets those come that are due."""
        self.plugin.tick()

    @property
    def upstream(self) -> Upstream:
        """What answers the requests that pass; see `Plugin`."""
        return self.plugin.upstream

    @upstream.setter
    def upstream(self, upstream: Upstream) -> None:
        self.plugin.upstream = upstream

    # What happened

    @property
    def http_calls(self) -> list[HttpCall]:
        """The HTTP calls that filters wait for."""
        return [call for call in self.clusters.http_calls if call.open]

    @property
    def grpc_calls(self) -> list[GrpcCall]:
        """The gRPC calls and streams that are open."""
        return list(self.clusters.grpc_calls.values())

    @property
    def shared_data(self) -> dict[bytes, bytes]:
        """The shared data of the first plugin's VMs."""
        return {key: value for key, (value, _) in self.shared(self.plugin.vm.vm_id).items()}

    @property
    def messages(self) -> list[str]:
        """What was logged, without the levels."""
        return [line.message for line in self.log]

    def logged(self, text: str, level: LogLevel | None = None) -> bool:
        """Whether some message has a text in it; with `level`, whether one of that level has."""
        return any(text in line.message and level in (None, line.level) for line in self.log)

    # The end

    def close(self) -> None:
        """Shut all plugins down, and let go of their VMs. Nothing happens the second time.

        An exception of the test's own code in a plugin's last callbacks is raised when all of that is done.
        """
        plugins, vms = self.plugins, self._all_vms
        self.plugins, self._vms, self._all_vms = [], {}, []
        with ExitStack() as stack:
            for vm in vms:
                stack.callback(vm.guest.close)
            for plugin in reversed(plugins):
                if not plugin.deleted:
                    stack.callback(plugin.shut_down)

    def fail(self, function: str, status: Status = Status.INTERNAL_FAILURE, *, times: int = 1) -> None:
        """Let the next calls of a host function fail, named with or without its `proxy_`, whatever they ask.

        Raises ValueError for a function that there is not.
        """
        if not hasattr(HostFunctions, f"proxy_{function.removeprefix('proxy_')}"):
            raise ValueError(f"there is no host function {function!r}")
        super().fail(function, status, times=times)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Host {self.body}: {self.plugins}>"


NewHost: TypeAlias = Callable[..., Host]
"""The fixture `new_host`: a host for the filters at some paths, with options of `Host`."""


def _paths(filter: StrPath | Sequence[StrPath]) -> tuple[Path, ...]:  # noqa: A002
    paths = [filter] if isinstance(filter, str | os.PathLike) else filter
    return tuple(Path(path).resolve() for path in paths)


def new_guest(paths: list[Path], body: Body) -> tuple[Callable[[VM], Guest], str]:
    """What makes the guest of a VM for the filter at some paths, and the version of the ABI that it speaks."""
    is_built = [path.suffix == ".wasm" for path in paths]
    if body == "python" and not any(is_built):
        return partial(PythonGuest, paths), PythonGuest.abi
    # Plain Python needs neither the compiler nor wasmtime.
    from .modules import built_module  # noqa: PLC0415
    from .wasm_guest import WasmGuest, module_abi  # noqa: PLC0415

    module = paths[0] if is_built == [True] else built_module(tuple(paths))
    return partial(WasmGuest, module), module_abi(module)
