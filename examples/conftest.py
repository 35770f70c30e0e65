"""Every example is tested in a real Envoy, with the `envoy.yaml` that it shows to users.

    def test_answer(envoy: EnvoyProcess, fetch: Fetch) -> None:    # `Fetch` is imported for the type checker only
        assert fetch(envoy, "/some/path", headers={"x-key": "1"}).status == 200
        envoy.wait_for_log("some line", 10)

What a test machine needs is all that is changed in the file: the modules are built from the folders that it names, and
every port becomes a free one. A port of a listener, or of the admin interface, becomes the same free port wherever it
stands, so that clusters still lead there. Any other port in a cluster is that of an upstream, which is an EchoServer.
"""

from __future__ import annotations

import functools
import http.client
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

import pytest
from pywasmfilter_compiler import build
from pywasmfilter_compiler.envoy.bootstrap import bytes_value
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess

REPOSITORY = Path(__file__).parents[1]
LOOPBACK = "127.0.0.1"
TIMEOUT = 30.0  # seconds without a byte of the answer
READY = 180.0  # seconds until Envoy is ready: it compiles every module first, on all cores that it gets

Config: TypeAlias = dict[str, Any]
ModuleBuilder: TypeAlias = Callable[[Path], Path]


class ServeExample(Protocol):
    """Start the example beside the test; `options` are those of EnvoyProcess.

    `replace` changes texts of the file, wherever they stand. `plugin_configuration`, if given, goes to every plugin.
    """

    def __call__(
        self, *, replace: Mapping[str, str] = ..., plugin_configuration: bytes | None = None, **options: Any
    ) -> EnvoyProcess: ...


class Fetch(Protocol):
    """Send one request to a listener and return the answer; a body given as parts goes out part by part."""

    def __call__(
        self,
        envoy: EnvoyProcess,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] = ...,
        body: bytes | Iterator[bytes] | None = None,
        listener: str = "main",
    ) -> Answer: ...


@dataclass(frozen=True)
class Answer:
    """Headers are looked up ignoring case; `headers.get_all(name)` gives every value."""

    status: int
    headers: Message
    body: bytes


@pytest.fixture(scope="session")
def build_example(tmp_path_factory: pytest.TempPathFactory) -> ModuleBuilder:
    """Build the filter of a folder, once."""

    @functools.cache
    def build_once(folder: Path) -> Path:
        return build(folder, tmp_path_factory.mktemp(folder.name) / "main.wasm").path

    return build_once


@pytest.fixture(scope="module")
def serve_example(request: pytest.FixtureRequest, build_example: ModuleBuilder) -> Iterator[ServeExample]:
    """A function that serves the example as its `envoy.yaml` says, until the tests of the file have run."""
    import yaml  # noqa: PLC0415  # tests without Envoy do without it

    file = Path(request.path).with_name("envoy.yaml")

    with ExitStack() as stack:

        def serve(
            *,
            replace: Mapping[str, str] = MappingProxyType({}),
            plugin_configuration: bytes | None = None,
            **options: Any,
        ) -> EnvoyProcess:
            config = yaml.safe_load(replaced(file.read_text(encoding="utf-8"), replace))
            use_modules(config, build_example)
            use_free_ports(config, stack)
            if plugin_configuration is not None:
                for plugin in mappings_with(config, "vm_config"):
                    plugin["configuration"] = bytes_value(plugin_configuration)
            return stack.enter_context(EnvoyProcess(config, **{"ready_timeout": READY} | options))

        yield serve


@pytest.fixture(scope="module")
def envoy(serve_example: ServeExample) -> EnvoyProcess:
    """The example, served for all tests of the file."""
    return serve_example()


@pytest.fixture(scope="session")
def fetch() -> Fetch:
    """A function that sends a request to an Envoy of the tests."""

    def send(envoy: EnvoyProcess, path: str = "/", *, listener: str = "main", **options: Any) -> Answer:
        connection = http.client.HTTPConnection(LOOPBACK, envoy.listener_port(listener), timeout=TIMEOUT)
        try:
            connection.request(options.pop("method", "GET"), path, **options)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    return send


def replaced(text: str, replace: Mapping[str, str]) -> str:
    """The text with other words in it, each of which it must have."""
    for old, new in replace.items():
        assert old in text
        text = text.replace(old, new)
    return text


def use_modules(config: Config, build_example: ModuleBuilder) -> None:
    """Build what the file names: `./examples/<folder>/main.wasm` is the module of that folder."""
    for code in mappings_with(config, "local"):
        filename = Path(code["local"]["filename"])
        assert filename.name == "main.wasm", f"{filename}: not what the README's command writes"
        code["local"]["filename"] = str(build_example(REPOSITORY / filename.parent))


def use_free_ports(config: Config, stack: ExitStack) -> None:
    """Give each port of the file a free one, on loopback, for as long as `stack` is open."""
    listeners = config["static_resources"]["listeners"]
    own = set(ports(config["admin"])).union(*(ports(listener["address"]) for listener in listeners))
    chosen = {port: stack.enter_context(reserved_port()) for port in own}
    for port in set(ports(config)) - own:
        chosen[port] = stack.enter_context(EchoServer()).port
    for place in mappings_with(config, "port_value"):
        place |= {"address": LOOPBACK, "port_value": chosen[place["port_value"]]}
    for listener in listeners:
        listener["enable_reuse_port"] = False


def ports(config: Config) -> Iterator[int]:
    """Every TCP port in a part of the configuration."""
    return (place["port_value"] for place in mappings_with(config, "port_value"))


def mappings_with(config: Any, key: str) -> Iterator[Config]:
    """Every mapping that has `key`, at any depth."""
    if isinstance(config, dict):
        if key in config:
            yield config
        config = list(config.values())
    if isinstance(config, list):
        for child in config:
            yield from mappings_with(child, key)


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else is given: it is bound, but not listened on, so that Envoy can (SO_REUSEADDR)."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, 0))
        yield holder.getsockname()[1]
