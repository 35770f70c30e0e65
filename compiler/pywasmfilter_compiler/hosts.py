"""What Proxy-Wasm hosts accept: the functions they offer, the exports they look up, and where hosts differ.

Only tables, and the few functions that combine them. Sources: the host's own list of functions (proxy-wasm-cpp-host,
include/proxy-wasm/exports.h and src/wasm.cc), the Proxy-Wasm specification, and WASI preview 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from .wasm.module import I32, I64, FuncType

if TYPE_CHECKING:
    from collections.abc import Mapping

AbiVersion = Literal["0.1.0", "0.2.0", "0.2.1"]
ABI_VERSIONS: Final[tuple[AbiVersion, ...]] = get_args(AbiVersion)


def marker(abi: str) -> str:
    """The export by which a module declares its version of the ABI."""
    return f"proxy_abi_version_{abi.replace('.', '_')}"


ABI_MARKERS: Final = {marker(abi): abi for abi in ABI_VERSIONS}


def _takes(count: int) -> FuncType:
    """i32 × count -> nothing"""
    return FuncType((I32,) * count, ())


def _returns(count: int) -> FuncType:
    """i32 × count -> i32, which is a status, an action or a boolean"""
    return FuncType((I32,) * count, (I32,))


def _errno(params: str) -> FuncType:
    """The given params -> i32, which is an errno"""
    return FuncType(tuple({"i32": I32, "i64": I64}[name] for name in params.split()), (I32,))


# Functions that hosts offer

ABI_FUNCTIONS: Final = {
    "proxy_log": _returns(3),
    "proxy_get_log_level": _returns(1),
    "proxy_get_status": _returns(3),
    "proxy_get_current_time_nanoseconds": _returns(1),
    "proxy_set_tick_period_milliseconds": _returns(1),
    "proxy_get_configuration": _returns(2),
    "proxy_get_property": _returns(4),
    "proxy_set_property": _returns(4),
    "proxy_continue_request": _returns(0),
    "proxy_continue_response": _returns(0),
    "proxy_clear_route_cache": _returns(0),
    "proxy_continue_stream": _returns(1),
    "proxy_close_stream": _returns(1),
    "proxy_send_local_response": _returns(8),
    "proxy_get_shared_data": _returns(5),
    "proxy_set_shared_data": _returns(5),
    "proxy_register_shared_queue": _returns(3),
    "proxy_resolve_shared_queue": _returns(5),
    "proxy_dequeue_shared_queue": _returns(3),
    "proxy_enqueue_shared_queue": _returns(3),
    "proxy_get_header_map_value": _returns(5),
    "proxy_add_header_map_value": _returns(5),
    "proxy_replace_header_map_value": _returns(5),
    "proxy_remove_header_map_value": _returns(3),
    "proxy_get_header_map_pairs": _returns(3),
    "proxy_set_header_map_pairs": _returns(3),
    "proxy_get_header_map_size": _returns(2),
    "proxy_get_buffer_bytes": _returns(5),
    "proxy_get_buffer_status": _returns(3),
    "proxy_set_buffer_bytes": _returns(5),
    "proxy_http_call": _returns(10),
    "proxy_grpc_call": _returns(12),
    "proxy_grpc_stream": _returns(9),
    "proxy_grpc_send": _returns(4),
    "proxy_grpc_close": _returns(1),
    "proxy_grpc_cancel": _returns(1),
    "proxy_define_metric": _returns(4),
    "proxy_increment_metric": _errno("i32 i64"),
    "proxy_record_metric": _errno("i32 i64"),
    "proxy_get_metric": _returns(2),
    "proxy_set_effective_context": _returns(1),
    "proxy_done": _returns(0),
    "proxy_call_foreign_function": _returns(6),
}

# Functions that only some versions of the ABI have; a module gets those of the version it declares.
ONLY_IN: Final = {
    "proxy_get_configuration": ("0.1.0",),
    "proxy_continue_request": ("0.1.0",),
    "proxy_continue_response": ("0.1.0",),
    "proxy_clear_route_cache": ("0.1.0",),
    "proxy_continue_stream": ("0.2.0", "0.2.1"),
    "proxy_close_stream": ("0.2.0", "0.2.1"),
    "proxy_get_log_level": ("0.2.1",),
}


def functions(abi: str) -> Mapping[str, FuncType]:
    """The functions of `env` that this version of the ABI has."""
    return {name: t for name, t in ABI_FUNCTIONS.items() if abi in ONLY_IN.get(name, (abi,))}


EMSCRIPTEN_FUNCTIONS: Final = {"pthread_equal": _returns(2), "emscripten_notify_memory_growth": _takes(1)}
ENVOY_FUNCTIONS: Final = {"envoy_resolve_dns": _returns(3)}

WASI_PREVIEW_1: Final = {
    "args_get": _errno("i32 i32"),
    "args_sizes_get": _errno("i32 i32"),
    "clock_res_get": _errno("i32 i32"),
    "clock_time_get": _errno("i32 i64 i32"),
    "environ_get": _errno("i32 i32"),
    "environ_sizes_get": _errno("i32 i32"),
    "fd_advise": _errno("i32 i64 i64 i32"),
    "fd_allocate": _errno("i32 i64 i64"),
    "fd_close": _errno("i32"),
    "fd_datasync": _errno("i32"),
    "fd_fdstat_get": _errno("i32 i32"),
    "fd_fdstat_set_flags": _errno("i32 i32"),
    "fd_fdstat_set_rights": _errno("i32 i64 i64"),
    "fd_filestat_get": _errno("i32 i32"),
    "fd_filestat_set_size": _errno("i32 i64"),
    "fd_filestat_set_times": _errno("i32 i64 i64 i32"),
    "fd_pread": _errno("i32 i32 i32 i64 i32"),
    "fd_prestat_dir_name": _errno("i32 i32 i32"),
    "fd_prestat_get": _errno("i32 i32"),
    "fd_pwrite": _errno("i32 i32 i32 i64 i32"),
    "fd_read": _errno("i32 i32 i32 i32"),
    "fd_readdir": _errno("i32 i32 i32 i64 i32"),
    "fd_renumber": _errno("i32 i32"),
    "fd_seek": _errno("i32 i64 i32 i32"),
    "fd_sync": _errno("i32"),
    "fd_tell": _errno("i32 i32"),
    "fd_write": _errno("i32 i32 i32 i32"),
    "path_create_directory": _errno("i32 i32 i32"),
    "path_filestat_get": _errno("i32 i32 i32 i32 i32"),
    "path_filestat_set_times": _errno("i32 i32 i32 i32 i64 i64 i32"),
    "path_link": _errno("i32 i32 i32 i32 i32 i32 i32"),
    "path_open": _errno("i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    "path_readlink": _errno("i32 i32 i32 i32 i32 i32"),
    "path_remove_directory": _errno("i32 i32 i32"),
    "path_rename": _errno("i32 i32 i32 i32 i32 i32"),
    "path_symlink": _errno("i32 i32 i32 i32 i32"),
    "path_unlink_file": _errno("i32 i32 i32"),
    "poll_oneoff": _errno("i32 i32 i32 i32"),
    "proc_exit": _takes(1),
    "proc_raise": _errno("i32"),
    "random_get": _errno("i32 i32"),
    "sched_yield": _errno(""),
    "sock_accept": _errno("i32 i32 i32"),
    "sock_recv": _errno("i32 i32 i32 i32 i32 i32"),
    "sock_send": _errno("i32 i32 i32 i32 i32"),
    "sock_shutdown": _errno("i32 i32"),
}

_NAMES_OF_2024: Final = (
    "args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_close", "fd_fdstat_get",
    "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_read", "fd_seek", "fd_write", "path_open",
    "poll_oneoff", "proc_exit", "random_get", "sched_yield",
)  # fmt: skip

WASI_OF_2024: Final = {name: WASI_PREVIEW_1[name] for name in _NAMES_OF_2024}
"""What proxy-wasm-cpp-host offers since 2024-12."""

WASI_OF_2026: Final = {name: of_wasi for name, of_wasi in WASI_PREVIEW_1.items() if name != "proc_raise"} | {
    "path_link": _returns(6),
    "path_symlink": _returns(4),
}
"""What it offers since 2026-04: 45 names, but `path_link` and `path_symlink` lack a parameter, so they never link."""

# Exports that hosts look up: one with another type is an error, one that is missing is not

_HEADERS_OF_0_1_0: Final = {"proxy_on_request_headers": _returns(2), "proxy_on_response_headers": _returns(2)}

CALLBACKS: Final = {
    "proxy_on_context_create": _takes(2),
    "proxy_on_vm_start": _returns(2),
    "proxy_validate_configuration": _returns(2),
    "proxy_on_configure": _returns(2),
    "proxy_on_tick": _takes(1),
    "proxy_on_queue_ready": _takes(2),
    "proxy_on_new_connection": _returns(1),
    "proxy_on_downstream_data": _returns(3),
    "proxy_on_upstream_data": _returns(3),
    "proxy_on_downstream_connection_close": _takes(2),
    "proxy_on_upstream_connection_close": _takes(2),
    "proxy_on_request_headers": _returns(3),
    "proxy_on_request_body": _returns(3),
    "proxy_on_request_trailers": _returns(2),
    "proxy_on_request_metadata": _returns(2),
    "proxy_on_response_headers": _returns(3),
    "proxy_on_response_body": _returns(3),
    "proxy_on_response_trailers": _returns(2),
    "proxy_on_response_metadata": _returns(2),
    "proxy_on_http_call_response": _takes(5),
    "proxy_on_grpc_receive_initial_metadata": _takes(3),
    "proxy_on_grpc_receive": _takes(3),
    "proxy_on_grpc_receive_trailing_metadata": _takes(3),
    "proxy_on_grpc_close": _takes(3),
    "proxy_on_foreign_function": _takes(3),
    "proxy_on_done": _returns(1),
    "proxy_on_log": _takes(1),
    "proxy_on_delete": _takes(1),
}
ENVOY_CALLBACKS: Final = {"envoy_on_resolve_dns": _takes(3), "envoy_on_stats_update": _takes(2)}

ALLOCATORS: Final = ("malloc", "proxy_on_memory_allocate")
"""Where hosts get memory for what they hand over; the second is looked up when the first is missing."""

ALLOCATOR: Final = _returns(1)


def callbacks(abi: str) -> Mapping[str, FuncType]:
    """The callbacks that a module of this ABI version may export, with their types."""
    if abi != "0.1.0":
        return CALLBACKS
    return {name: t for name, t in CALLBACKS.items() if name != "proxy_on_foreign_function"} | _HEADERS_OF_0_1_0


def start_functions(exported: Mapping[str, object]) -> Mapping[str, FuncType]:
    """The start functions that are looked up, which depends on the names that are exported."""
    if "_initialize" in exported:
        return {"_initialize": _takes(0), "main": _returns(2)}
    return {"_start": _takes(0)}


# Hosts


@dataclass(frozen=True, slots=True)
class Host:
    """One generation of a host: the functions it offers by module, besides those of the ABI."""

    name: str
    note: str
    wasi: Mapping[str, FuncType]
    wasi_modules: tuple[str, ...]
    extras: Mapping[str, FuncType]
    callbacks: Mapping[str, FuncType]
    memory_pages: int

    def functions(self, abi: str | None) -> dict[tuple[str, str], FuncType]:
        """The functions a module may import, by module and name. Without an ABI version: those of any version."""
        of_abi = ABI_FUNCTIONS if abi is None else functions(abi)
        offered = {("env", name): t for name, t in {**of_abi, **self.extras}.items()}
        return offered | {(module, name): t for module in self.wasi_modules for name, t in self.wasi.items()}


_WASI_MODULES: Final = ("wasi_snapshot_preview1", "wasi_unstable")
_ENVOY_PAGES: Final = 16384  # V8 is told to allow 1 GiB

HOSTS: Final = (
    Host(
        name="Envoy 1.33 to 1.38",
        note="Istio up to 1.30; 18 WASI functions",
        wasi=WASI_OF_2024,
        wasi_modules=_WASI_MODULES,
        extras=EMSCRIPTEN_FUNCTIONS | ENVOY_FUNCTIONS,
        callbacks=ENVOY_CALLBACKS,
        memory_pages=_ENVOY_PAGES,
    ),
    Host(
        name="Envoy 1.39 and later",
        note="Istio 1.31 and later; 43 WASI functions",
        wasi=WASI_OF_2026,
        wasi_modules=_WASI_MODULES,
        extras=EMSCRIPTEN_FUNCTIONS | ENVOY_FUNCTIONS,
        callbacks=ENVOY_CALLBACKS,
        memory_pages=_ENVOY_PAGES,
    ),
    Host(
        name="generic",
        note="Wasmtime or another runtime with the ABI's functions and the whole of WASI preview 1",
        wasi=WASI_PREVIEW_1,
        wasi_modules=_WASI_MODULES[:1],
        extras={},
        callbacks={},
        memory_pages=65536,
    ),
)
