"""A Proxy-Wasm host in wasmtime, as small as a test of one request header callback needs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import wasmtime

_OK, _UNIMPLEMENTED = 0, 12


class WasmtimeHost:
    """Runs a module with `native_stack` bytes of stack and answers one request at a time with its local response."""

    def __init__(self, module: Path, native_stack: int) -> None:
        config = wasmtime.Config()
        config.max_wasm_stack = native_stack
        engine = wasmtime.Engine(config)
        compiled = wasmtime.Module.from_file(engine, str(module))
        self.store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        functions: dict[str, Any] = {
            "proxy_get_header_map_value": self._get_header_map_value,
            "proxy_send_local_response": self._send_local_response,
            "clock_time_get": self._clock_time_get,
        }
        for item in compiled.imports:
            name = item.name or ""
            fallback = _succeed if item.module == "wasi_snapshot_preview1" else _refuse
            assert isinstance(item.type, wasmtime.FuncType)
            linker.define_func(item.module, name, item.type, functions.get(name, fallback), access_caller=True)
        exports: Any = linker.instantiate(self.store, compiled).exports(self.store)
        self.exports = exports
        self.next_context = 2
        self.exports["proxy_on_context_create"](self.store, 1, 0)
        assert self.exports["proxy_on_vm_start"](self.store, 1, 0)
        assert self.exports["proxy_on_configure"](self.store, 1, 0)

    def get(self, path: str) -> str:
        """The body with which the filter answers a request for `path`. Raises wasmtime.Trap if it takes the VM down."""
        context, self.next_context = self.next_context, self.next_context + 1
        self.path, self.body = path.encode(), b""
        self.exports["proxy_on_context_create"](self.store, context, 1)
        self.exports["proxy_on_request_headers"](self.store, context, 1, 1)
        self.exports["proxy_on_delete"](self.store, context)
        return self.body.decode()

    def _get_header_map_value(self, caller: Any, _map: int, _key: int, _size: int, out: int, out_size: int) -> int:
        address = caller["malloc"](caller, len(self.path))
        caller["memory"].write(caller, self.path, address)
        caller["memory"].write(caller, address.to_bytes(4, "little"), out)
        caller["memory"].write(caller, len(self.path).to_bytes(4, "little"), out_size)
        return _OK

    def _send_local_response(self, caller: Any, *arguments: int) -> int:
        _status, _details, _details_size, body, size, *_ = arguments
        self.body = bytes(caller["memory"].read(caller, body, body + size))
        return _OK

    def _clock_time_get(self, caller: Any, _clock: int, _precision: int, out: int) -> int:
        caller["memory"].write(caller, time.time_ns().to_bytes(8, "little"), out)
        return _OK


def _succeed(*_: Any) -> int:
    return _OK


def _refuse(*_: Any) -> int:
    return _UNIMPLEMENTED
