"""Manifests with the source of an inline filter, for the one module that runs them all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from pywasmfilter_compiler import cli
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.inline import build_runtime

from tests.e2e.client import request

SOURCE = """from dataclasses import dataclass

from pywasmfilter import HttpContext, http_filter, upstream

near = upstream("near", "http://ratings.shop.svc:8080")


@dataclass
class Config:
    text: str = "hello"


@http_filter("greeting", config=Config)
class Greeting(HttpContext):
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        reply = await near.get("/")
        self.request.headers["x-greeting"] = f"{self.config.text} {reply.status}"
"""
OCI = ("--url", "oci://registry.example.com/python:1")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module that runs inline filters."""
    return build_runtime(tmp_path_factory.mktemp("runtime") / "python.wasm").path


@pytest.fixture
def run(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `pyfilter COMMAND python.wasm --inline greeting.py …` and gives what came of it."""
    monkeypatch.chdir(tmp_path)
    Path("greeting.py").write_text(SOURCE)

    def run(command: str, *options: str, inline: str = "greeting.py") -> Result:
        arguments = [command, str(runtime), "--inline", inline, *options]
        return CliRunner().invoke(cli.main, arguments, prog_name="pyfilter", catch_exceptions=False)

    return run


def objects(result: Result) -> list[dict[str, Any]]:
    """The documents that a command printed."""
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def test_istio(run: Callable[..., Result]) -> None:
    """The source stands in the configuration, a line a line, and the object is called as the plugin is."""
    done = run("manifest", *OCI, "--config", '{"text": "hi"}')
    (made,) = objects(done)
    assert made["metadata"]["name"] == made["spec"]["pluginName"] == "greeting"
    assert made["spec"]["pluginConfig"] == {"code": SOURCE, "config": {"text": "hi"}}
    assert "    code: |\n      from dataclasses import dataclass\n" in done.stdout


def test_traffic_extension_and_envoyfilter(run: Callable[..., Result]) -> None:
    """They have the same; in an EnvoyFilter as a text, in the VM that all filters of the module share."""
    (made,) = objects(run("manifest", *OCI, "--target", "traffic-extension"))
    assert made["spec"]["wasm"]["pluginConfig"] == {"code": SOURCE}
    (made,) = objects(run("manifest", "--url", "file:///python.wasm", "--target", "envoyfilter"))
    config = made["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["config"]
    assert json.loads(config["configuration"]["value"]) == {"code": SOURCE}
    assert config["vm_config"]["vm_id"] == "python"


@pytest.mark.envoy
def test_envoy(run: Callable[..., Result]) -> None:
    """The bootstrap serves, with a cluster for the upstream that only the source names."""
    with EchoServer() as upstream:
        options = ("--upstream", upstream.url, "--upstream", f"near={upstream.url}", "--port", "1", "--json")
        done = run("manifest", "--target", "envoy", "--config", '{"text": "hi"}', *options)
        assert done.exit_code == 0, done.output
        config = json.loads(done.stdout)
        (listener,) = config["static_resources"]["listeners"]
        listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
        config["admin"]["address"]["socket_address"]["port_value"] = 0
        with EnvoyProcess(config) as envoy:
            answer = request(envoy.listener_port(listener["name"]))
    assert answer.status == 200
    assert ["x-greeting", "hi 200"] in json.loads(answer.body)["headers"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = (", "wrong.py:1: SyntaxError: '(' was never closed"),
        ("import sqlite3", "wrong.py:1: imports sqlite3, which is not in the module"),
        ("x = 1", "wrong.py: ValueError: registers no plugin"),
        (SOURCE.replace("on_http_request_headers", "on_request_headers"), "on_request_headers is no callback"),
    ],
)
@pytest.mark.parametrize("command", ["manifest", "check", "deploy"])
def test_a_source_that_is_wrong(run: Callable[..., Result], command: str, source: str, message: str) -> None:
    """It is refused with the file and the line, and nothing is written."""
    Path("wrong.py").write_text(source)
    done = run(command, *(() if command == "check" else OCI), inline="wrong.py")
    assert (done.exit_code, done.stdout) == (1, "")
    assert message in done.stderr


def test_a_tcp_filter(run: Callable[..., Result]) -> None:
    """What the source's own callbacks are for decides, and not those of the module, which has all."""
    text = "from pywasmfilter import *\n@tcp_filter('raw')\nclass Raw(TcpContext):\n"
    Path("raw.py").write_text(f"{text}    def on_downstream_data(self, data_size, end_of_stream): ...\n")
    (made,) = objects(run("manifest", *OCI, inline="raw.py"))
    assert made["spec"]["type"] == "NETWORK"


def test_its_configuration_is_checked(run: Callable[..., Result]) -> None:
    """The filter is started with its own configuration, so that one it refuses is not written."""
    done = run("manifest", *OCI, "--config", '{"txt": "hi"}')
    assert (done.exit_code, done.stdout) == (1, "")
    assert "txt: there is no such key" in done.stderr


def test_a_source_that_is_not_there(run: Callable[..., Result], tmp_path: Path) -> None:
    """A message, as for bytes that are no text."""
    assert "--inline gone.py: " in run("manifest", *OCI, inline="gone.py").stderr
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    assert "--inline binary.py: " in run("manifest", *OCI, inline="binary.py").stderr


def test_check(run: Callable[..., Result]) -> None:
    """A source that is right, in a module that runs there, is fine."""
    done = run("check", "--target", "istio-1.28")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (0, "✓ istio-1.28")
