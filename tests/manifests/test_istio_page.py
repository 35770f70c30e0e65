"""The parts of docs/istio.md that are more than commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from pywasmfilter_compiler import build, cli

from tests.manifests.test_commands import kustomize
from tests.pages import DOCS, Block, blocks

PAGE = blocks(DOCS / "istio.md")


def file_of(name: str) -> Block:
    """The block that is the file of that name."""
    (found,) = [block for block in PAGE if block.file_name == name]
    return found


def test_envoydummy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Deployment of the page gets the module from the init container, and the configuration from a ConfigMap."""
    monkeypatch.chdir(tmp_path)
    for name in ("filter.py", "deployment.yaml", "kustomization.yaml"):
        Path(name).write_text(file_of(name).text)
    build("filter.py")
    (command,) = [block.text for block in PAGE if "--output-dir envoydummy" in block.text]
    words = command.replace("\\\n", " ").split()[1:]
    assert CliRunner().invoke(cli.main, words).exit_code == 0
    config_map, deployment = kustomize(tmp_path)
    assert "envoy.yaml" in config_map["data"]
    assert deployment["metadata"]["namespace"] == "chapter09"
    pod = deployment["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert volumes[mounts["/etc/envoydummy"]]["configMap"]["name"] == config_map["metadata"]["name"]
    assert mounts["/var/local/wasm"] == pod["initContainers"][0]["volumeMounts"][0]["name"]
    assert "/var/local/wasm/plugin.wasm" in config_map["data"]["envoy.yaml"]
