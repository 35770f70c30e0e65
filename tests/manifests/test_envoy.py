"""Manifests for Envoy itself: its messages take them, and it loads and serves with them, in two generations."""

from __future__ import annotations

import functools
import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.manifests.yaml_text import dump

from tests.e2e.client import request
from tests.manifests.conftest import HELLO, Manifest, Pyfilter
from tests.manifests.messages import parse, parse_typed

pytestmark = pytest.mark.envoy

ALL_KINDS = (
    *("--plugin", "raw", "--plugin", "hello", "--plugin", "log"),
    *("--type", "tcp", "--type", "http", "--type", "access-log"),
    *("--config", "", "--config", '{"greeting": "hi"}'),
)
CASES: list[tuple[str, ...]] = [
    ("--env", "MODE=on", "--env", "HOME", "--fail-strategy", "reload", "--allow-on-headers-stop-iteration"),
    ALL_KINDS,
    ("--plugin", "raw", "--type", "tcp", "--fail-strategy", "open"),
    ("--url", "https://store.example.com/edge.wasm", "--upstream", "https://example.com", "--vm-config", "x"),
]
TRAPS = ["y", "Y", "n", "N", "yes", "no", "on", "off", "012", "1e3", "1_000", "0x1f", "12:30:45", "2026-01-01", "~"]
TRAPS += ["null", "true", "", "-", "=", ".nan", "#", "a: b", "a #b", "'", '"', "\\", "two\nlines", "tab\t", "é☃", " x "]


@pytest.mark.parametrize("target", ["envoy", "envoy-filter"])
@pytest.mark.parametrize("options", CASES, ids=lambda case: " ".join(case)[:60])
def test_messages(manifest: Manifest, pyfilter: Pyfilter, target: str, options: tuple[str, ...]) -> None:
    """Everything is a message of Envoy's API without unknown fields; JSON says the same as YAML."""
    if target == "envoy-filter":
        options = tuple(option for option in options if option not in {"--upstream", "https://example.com"})
    documents = manifest("--target", target, *options)
    for document in documents:
        if target == "envoy":
            parse(document, "envoy.config.bootstrap.v3.Bootstrap")
        assert parse_typed(document)
    plugin = [] if "--plugin" in options else HELLO
    text = pyfilter("manifest", "--target", target, *plugin, *options, "--json").stdout
    assert json.loads(text) == (documents if len(documents) > 1 else documents[0])


def runnable(text: str) -> dict[str, Any]:
    """A bootstrap of a manifest on ports that are free; Envoy itself reads it as YAML elsewhere."""
    config: dict[str, Any] = yaml.safe_load(text)
    config["admin"]["address"]["socket_address"]["port_value"] = 0
    for listener in config["static_resources"]["listeners"]:
        listener["address"]["socket_address"].update(port_value=0, address="127.0.0.1")
    return config


@contextmanager
def running(config: dict[str, Any], executable: Path) -> Iterator[tuple[EnvoyProcess, int]]:
    """An Envoy with the configuration, and the port of its listener."""
    with EnvoyProcess(config, executable=executable) as process:
        (listener,) = config["static_resources"]["listeners"]
        yield process, process.listener_port(listener["name"])


@pytest.mark.parametrize("options", CASES, ids=lambda case: " ".join(case)[:60])
def test_validate(pyfilter: Pyfilter, envoy: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    """`envoy --mode validate`, which starts all plugins, takes the file as it is written."""
    file = tmp_path / "envoy.yaml"
    plugin = [] if "--plugin" in options else HELLO
    assert pyfilter("manifest", "--target", "envoy", *plugin, *options, "-o", file).exit_code == 0
    done = subprocess.run(
        [envoy, "--mode", "validate", "--config-path", file, "--log-level", "error"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "OK" in done.stdout


def test_serves(pyfilter: Pyfilter, envoy: Path, upstream: EchoServer) -> None:
    """Traffic passes plugins of all kinds, which call upstreams and have their variables; texts stay texts."""
    options = ["--upstream", upstream.url, "--upstream", f"near={upstream.url}", "--env", "MODE=on"]
    text = pyfilter("manifest", "--target", "envoy", *ALL_KINDS, *options).stdout
    node = {"id": "n", "cluster": "y", "metadata": {str(number): trap for number, trap in enumerate(TRAPS)}}
    config = runnable(text)
    with _read_from_yaml(config, node, envoy) as (process, port):
        answer = request(port, path="/call")
        assert (answer.status, answer.header("x-hello"), answer.header("x-mode")) == (200, [b"hi"], [b"on"])
        assert answer.header("x-called") == [b"True"]
        process.wait_for_log("a connection", 5)
        process.wait_for_log("logged /call", 5)
        seen = json.loads(process.admin("/server_info"))["node"]
    assert (seen["id"], seen["cluster"]) == ("n", "y")
    assert seen["metadata"] == node["metadata"]


@contextmanager
def _read_from_yaml(config: dict[str, Any], node: dict[str, Any], envoy: Path) -> Iterator[tuple[EnvoyProcess, int]]:
    """An Envoy that reads the configuration as YAML of ours."""
    with _YamlProcess({**config, "node": node}, executable=envoy) as process:
        (listener,) = config["static_resources"]["listeners"]
        yield process, process.listener_port(listener["name"])


class _YamlProcess(EnvoyProcess):
    """Gives Envoy the configuration as YAML, on the command line."""

    def __init__(self, config: dict[str, Any], **options: Any) -> None:
        super().__init__({}, **options)
        self._options += ["--config-yaml", dump(config)]


def test_remote(pyfilter: Pyfilter, module: Path, envoy: Path, upstream: EchoServer) -> None:
    """Envoy gets the module from a server, checks its hash and serves."""
    handler = functools.partial(_Quiet, directory=module.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as store:
        threading.Thread(target=store.serve_forever, args=(0.05,), daemon=True).start()
        url = f"http://127.0.0.1:{store.server_port}/edge.wasm"
        text = pyfilter("manifest", "--target", "envoy", *HELLO, "--url", url, "--upstream", upstream.url).stdout
        with running(runnable(text), envoy) as (process, port):
            answer = request(port)
            stats = process.admin("/stats?filter=wasm.remote_load_fetch_successes")
        store.shutdown()
    assert answer.header("x-hello") == [b"hi"]
    assert "wasm.remote_load_fetch_successes: 1" in stats


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class calls it
        """Nothing."""


def test_filters_of_other_manifests_serve(
    pyfilter: Pyfilter, manifest: Manifest, module: Path, envoy: Path, upstream: EchoServer, tmp_path: Path
) -> None:
    """What an EnvoyFilter inserts, as Istio's agent leaves it, and what Kuma adds, works in Envoy."""
    text = pyfilter("manifest", "--target", "envoy", *HELLO, "--upstream", upstream.url).stdout
    config = {**runnable(text), "node": {"id": "x", "cluster": "y"}}
    of_istio = ["--url", "oci://registry.example.com/edge:1", "--vm-id", "istio"]
    by_istio = manifest("--target", "envoyfilter", *of_istio, "--env", "PYFILTER_UPSTREAM_NEAR=near")[0]
    extension, inserted = (patch["patch"]["value"] for patch in by_istio["spec"]["configPatches"])
    _deliver(extension, inserted, module, tmp_path / "ecds.yaml")
    (by_kuma,) = manifest("--target", "kuma", "--url", f"file://{module}", "--upstream", f"near={upstream.url}")
    first, *others = by_kuma["spec"]["default"]["appendModifications"]
    _filters(config)[:1] = [inserted, yaml.safe_load(first["httpFilter"]["value"])]
    clusters = config["static_resources"]["clusters"]
    clusters[1:] = [yaml.safe_load(other["cluster"]["value"]) for other in others]
    with running(config, envoy) as (process, port):
        answer = request(port, path="/call")
        stats = process.admin("/stats?filter=extension_config_discovery")
    assert answer.header("x-called") == [b"True"]
    assert f"http_filter.{inserted['name']}.config_reload: 1" in stats


def _deliver(extension: dict[str, Any], inserted: dict[str, Any], module: Path, file: Path) -> None:
    """As Istio does: the agent puts a file in place of the URL, and the extension is delivered by itself."""
    extension["typed_config"]["config"]["vm_config"]["code"] = {"local": {"filename": str(module)}}
    resource = {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", **extension}
    file.write_text(dump({"version_info": "1", "resources": [resource]}), encoding="utf-8")
    source = inserted["config_discovery"]["config_source"]
    del source["ads"]
    source["path_config_source"] = {"path": str(file)}


def _filters(config: dict[str, Any]) -> list[Any]:
    """The HTTP filters of a bootstrap."""
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    filters: list[Any] = chain["filters"][-1]["typed_config"]["http_filters"]
    return filters


def test_explicit(manifest: Manifest, module: Path) -> None:
    """The plugin's name and what happens when it breaks are always said; plugins of one module share their VM."""
    document = manifest("--target", "envoy", *ALL_KINDS)[0]
    manager = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"]
    configs = [manager[0], _filters(document)[0], manager[1]["typed_config"]["access_log"][0]]
    found = [config["typed_config"]["config"] for config in configs]
    assert [config["root_id"] for config in found] == ["raw", "hello", "log"]
    assert {config["failure_policy"] for config in found} == {"FAIL_CLOSED"}
    assert found[0]["vm_config"] == found[1]["vm_config"] == found[2]["vm_config"]
    assert found[0]["vm_config"]["code"] == {"local": {"filename": str(module)}}


def test_large_remote_modules(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is larger than what Envoy takes of a response comes with a larger limit."""
    monkeypatch.setattr("pywasmfilter_compiler.manifests.envoy.REMOTE_LIMIT", 1000)
    (document,) = manifest("--target", "envoy", "--url", "http://store.example.com/edge.wasm")
    parse(document, "envoy.config.bootstrap.v3.Bootstrap")
    assert document["layered_runtime"]["layers"][0]["static_layer"]["http.async_response_buffer_limit"] == 2**28
    assert "layered_runtime" not in manifest("--target", "envoy")[0]


def test_images(refused: Any) -> None:
    """Envoy pulls no images, and an Envoy that is too old has no functions for modules."""
    assert "pulls no images" in refused("--target", "envoy", "--url", "oci://x.example/y")
    assert "unpacks nothing" in refused("--target", "envoy", "--url", "https://x.example/y.wasm.gz")
    assert "Envoy 1.33 and later" in refused("--target", "envoy", "--envoy", "1.32")
    assert "since Envoy 1.35" in refused("--target", "envoy", "--envoy", "1.34", "--allow-on-headers-stop-iteration")
