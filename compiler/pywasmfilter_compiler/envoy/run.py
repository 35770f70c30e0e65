"""A built module behind a local URL: what `pyfilter run` does.

with serve(Path("filter.wasm"), plugin_configuration=b"{}") as server:
    server.url              # requests to it pass the module
    server.envoy.wasm_log()
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    LOOPBACK,
    UPSTREAM,
    Config,
    FailurePolicy,
    WasmPlugin,
    bootstrap,
    cluster,
    http_listener,
    route_to,
    split_upstream,
)
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.log import EnvoyLog
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Server:
    """A running Envoy with the module in front of an upstream."""

    envoy: EnvoyProcess
    port: int

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>`, without a path."""
        return f"http://{LOOPBACK}:{self.port}"


@contextmanager
def serve(  # noqa: PLR0913  # each is an option of `pyfilter run`, or what the tests need
    module_path: Path,
    *,
    plugin_name: str = "",
    root_id: str = "",
    plugin_configuration: bytes = b"",
    vm_configuration: bytes = b"",
    environment: Mapping[str, str] | None = None,
    failure_policy: FailurePolicy = "FAIL_CLOSED",
    allow_on_headers_stop_iteration: bool = False,
    port: int = 0,
    concurrency: int = 1,
    upstream: str | None = None,
    clusters: Sequence[Config] = (),
    log_level: str = "info",
    ready_timeout: float = 60.0,
    take: Callable[[bytes], bool] | None = None,
) -> Iterator[Server]:
    """Run the module until the `with` block ends.

    `port` 0 lets the system choose. `upstream` is `http://host:port`; without one, requests go to an echo server
    (see `echo`) of this process. `clusters` are for the module's own calls. `log_level` is what the module may log;
    `ready_timeout` is in seconds. `take` is called with each line of Envoy's log; one for which it answers True is not
    kept.
    Raises UsageError, MissingDependency or ToolError before the block begins.
    """
    if not module_path.is_file():
        raise UsageError(f"{module_path}: no such module")
    plugin = WasmPlugin(
        module_path,
        name=plugin_name,
        root_id=root_id,
        configuration=plugin_configuration,
        vm_configuration=vm_configuration,
        environment=environment or {},
        failure_policy=failure_policy,
        allow_on_headers_stop_iteration=allow_on_headers_stop_iteration,
    )
    with ExitStack() as stack:
        host, upstream_port = split_upstream(upstream or stack.enter_context(EchoServer()).url)
        listener = http_listener([plugin], [route_to(UPSTREAM)], port=port)
        config = bootstrap([listener], [cluster(UPSTREAM, host, upstream_port), *clusters])
        process = EnvoyProcess(
            config,
            concurrency=concurrency,
            component_log_level=f"wasm:{log_level}",
            ready_timeout=ready_timeout,
            log=EnvoyLog(take),
        )
        envoy = stack.enter_context(process)
        yield Server(envoy, envoy.listener_port(LISTENER))
