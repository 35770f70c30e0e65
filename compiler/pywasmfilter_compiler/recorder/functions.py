"""What the parameters of host functions mean, and what is recorded of each.

A line of the table has what goes in and, behind the arrow, what comes out:

| before `->` | parameters             | recorded is                                            |
|-------------|------------------------|--------------------------------------------------------|
| `u32`       | an i32                 | the number                                             |
| `i64`       | an i64                 | the number                                             |
| `bytes`     | an address and a size  | what is there                                          |
| `vectors`   | an address and a count | the bytes of each of so many pairs of address and size |

| after `->`    | parameters            | recorded is                                                        |
|---------------|-----------------------|--------------------------------------------------------------------|
| `u32`, `u64`  | an address            | the number that was written there                                  |
| `bytes`       | two addresses         | what is at the address, of the size, which were written to the two |
| `room`        | an address and a size | what was written there                                             |
| `environment` | two addresses         | what was written to the second: NAME=VALUE, each with a zero byte  |
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from pywasmfilter_compiler.wasm.module import I32, I64, FuncType, ValType


class Value(NamedTuple):
    """A value that is recorded: the function of the recorder that does it, and the parameters which that takes."""

    writer: str
    types: tuple[ValType, ...]


_PARAMETERS: Final = {
    "u32": Value("u32", (I32,)),
    "i64": Value("i64", (I64,)),
    "bytes": Value("bytes", (I32, I32)),
    "vectors": Value("vectors", (I32, I32)),
}
_RESULTS: Final = {
    "u32": Value("u32_at", (I32,)),
    "u64": Value("u64_at", (I32,)),
    "bytes": Value("bytes_at", (I32, I32)),
    "room": Value("bytes", (I32, I32)),
    "environment": Value("environment", (I32, I32)),
}


class Signature(NamedTuple):
    """A line of the table: the names of what goes in and what comes out."""

    parameters: tuple[str, ...]
    results: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Self:
        """The signature that a line of the table is."""
        before, _, after = text.partition("->")
        return cls(tuple(before.split()), tuple(after.split()))

    @property
    def arguments(self) -> list[Value]:
        """How to record what goes in."""
        return [_PARAMETERS[name] for name in self.parameters]

    @property
    def outcome(self) -> list[Value]:
        """How to record what comes out."""
        return [_RESULTS[name] for name in self.results]

    @property
    def type(self) -> FuncType:
        """The type of a function that is called like that, and answers with a status."""
        return FuncType(tuple(t for value in self.arguments + self.outcome for t in value.types), (I32,))


_ABI: Final = {
    "proxy_log": "u32 bytes",
    "proxy_get_log_level": "-> u32",
    "proxy_get_status": "-> u32 bytes",
    "proxy_get_current_time_nanoseconds": "-> u64",
    "proxy_set_tick_period_milliseconds": "u32",
    "proxy_get_configuration": "-> bytes",
    "proxy_get_property": "bytes -> bytes",
    "proxy_set_property": "bytes bytes",
    "proxy_continue_request": "",
    "proxy_continue_response": "",
    "proxy_clear_route_cache": "",
    "proxy_continue_stream": "u32",
    "proxy_close_stream": "u32",
    "proxy_send_local_response": "u32 bytes bytes bytes u32",
    "proxy_get_shared_data": "bytes -> bytes u32",
    "proxy_set_shared_data": "bytes bytes u32",
    "proxy_register_shared_queue": "bytes -> u32",
    "proxy_resolve_shared_queue": "bytes bytes -> u32",
    "proxy_dequeue_shared_queue": "u32 -> bytes",
    "proxy_enqueue_shared_queue": "u32 bytes",
    "proxy_get_header_map_value": "u32 bytes -> bytes",
    "proxy_add_header_map_value": "u32 bytes bytes",
    "proxy_replace_header_map_value": "u32 bytes bytes",
    "proxy_remove_header_map_value": "u32 bytes",
    "proxy_get_header_map_pairs": "u32 -> bytes",
    "proxy_set_header_map_pairs": "u32 bytes",
    "proxy_get_header_map_size": "u32 -> u32",
    "proxy_get_buffer_bytes": "u32 u32 u32 -> bytes",
    "proxy_get_buffer_status": "u32 -> u32 u32",
    "proxy_set_buffer_bytes": "u32 u32 u32 bytes",
    "proxy_http_call": "bytes bytes bytes bytes u32 -> u32",
    "proxy_grpc_call": "bytes bytes bytes bytes bytes u32 -> u32",
    "proxy_grpc_stream": "bytes bytes bytes bytes -> u32",
    "proxy_grpc_send": "u32 bytes u32",
    "proxy_grpc_close": "u32",
    "proxy_grpc_cancel": "u32",
    "proxy_define_metric": "u32 bytes -> u32",
    "proxy_increment_metric": "u32 i64",
    "proxy_record_metric": "u32 i64",
    "proxy_get_metric": "u32 -> u64",
    "proxy_set_effective_context": "u32",
    "proxy_done": "",
    "proxy_call_foreign_function": "bytes bytes -> bytes",
}
_WASI: Final = {
    "clock_time_get": "u32 i64 -> u64",
    "random_get": "-> room",
    "environ_sizes_get": "-> u32 u32",
    "environ_get": "-> environment",
    "fd_write": "u32 vectors -> u32",
}

FUNCTIONS: Final = {
    (module, name): Signature.read(line)
    for module, table in (("env", _ABI), ("wasi_snapshot_preview1", _WASI), ("wasi_unstable", _WASI))
    for name, line in table.items()
}
"""The functions whose calls are recorded, by module and name."""

ALWAYS_WRITTEN: Final = ("proxy_http_call", "proxy_call_foreign_function")
"""Functions that write their results whatever the status is; others write none unless it is 0."""
