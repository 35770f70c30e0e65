"""Small Proxy-Wasm modules written by hand, for tests of the harness and as a floor in comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wasmtime import wat2wasm

if TYPE_CHECKING:
    from pathlib import Path

IMPORTS = {
    "log": '(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))',
    "add": '(import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))',
}

SKELETON = """
(module
  {imports}
  (memory (export "memory") 2)
  (global $heap (mut i32) (i32.const 65536))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param $size i32) (result i32)
    (global.get $heap)
    (global.set $heap (i32.add (global.get $heap) (local.get $size))))
  (func (export "proxy_on_context_create") (param i32 i32))
  {body}
)
"""


def write_module(path: Path, *imports: str, body: str) -> Path:
    """A module with the named `IMPORTS`, a `malloc` that never frees, and `body`; returns `path`."""
    text = SKELETON.format(imports="\n  ".join(IMPORTS[name] for name in imports), body=body)
    path.write_bytes(wat2wasm(text))
    return path


def adds_response_header(path: Path, name: str, value: str) -> Path:
    """A module that adds one response header."""
    return write_module(
        path,
        "add",
        body=f"""
        (data (i32.const 0) "{name}{value}")
        (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
          (drop (call $add (i32.const 2) (i32.const 0) (i32.const {len(name)})
                                         (i32.const {len(name)}) (i32.const {len(value)})))
          (i32.const 0))
        """,
    )


def logs_on_configure(path: Path, message: bytes, level: int = 2) -> Path:
    """A module that logs `message` each time it is configured; levels count from 0, trace."""
    data = "".join(f"\\{byte:02x}" for byte in message)
    return write_module(
        path,
        "log",
        body=f"""
        (data (i32.const 0) "{data}")
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $log (i32.const {level}) (i32.const 0) (i32.const {len(message)})))
          (i32.const 1))
        """,
    )
