"""Every example is tested in a real Envoy, with the `envoy.yaml` that it shows to users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from pywasmfilter_compiler import build
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess


@pytest.fixture(scope="module")
def serve_example(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], EnvoyProcess]]:
    """Build the example beside the test and serve it as its `envoy.yaml` says.

    Only what must differ on a test machine is changed: the ports, the upstream and the place of the module.
    """
    folder = Path(request.path).parent

    with ExitStack() as stack:

        def serve() -> EnvoyProcess:
            result = build(folder, tmp_path_factory.mktemp("module") / "filter.wasm")
            upstream = stack.enter_context(EchoServer())
            config = yaml.safe_load((folder / "envoy.yaml").read_text(encoding="utf-8"))
            config["admin"]["address"]["socket_address"]["port_value"] = 0
            (listener,) = config["static_resources"]["listeners"]
            listener["address"]["socket_address"]["port_value"] = 0
            listener["enable_reuse_port"] = False
            manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
            local = manager["http_filters"][0]["typed_config"]["config"]["vm_config"]["code"]["local"]
            assert local == {"filename": f"{result.name}.wasm"}, "the envoy.yaml names what `pyfilter build` writes"
            local["filename"] = str(result.path)
            (cluster,) = config["static_resources"]["clusters"]
            endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
            endpoint["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": upstream.port}
            return stack.enter_context(EnvoyProcess(config))

        yield serve
