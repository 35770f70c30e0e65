"""A module to push, and nobody's credentials."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from pywasmfilter_compiler.oci import registry

WAT = """
(module
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
"""


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for Docker's configuration, in which there is none; and no long pauses."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.setattr(registry, "PAUSE", 0.01)
    return folder


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A small module that hosts can load."""
    path = tmp_path / "gate.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(WAT)))
    return path
