"""Which contexts a module creates, what configuration they see, and which callbacks the proxy makes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler import inspect
from pywasmfilter_compiler.envoy.bootstrap import WasmPlugin, bootstrap, direct_response, http_listener
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.errors import ToolError

from tests.e2e.client import request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

CONFIGURATIONS = {"first": b"one", "second": b"\x00\xff\xfe two"}
VM_CONFIGURATION = b"\xf0 vm\x00"


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder) -> Iterator[EnvoyProcess]:
    """Both plugins of one module in one virtual machine per thread, each behind a listener of its own."""
    module = build_filter("configured").path
    listeners = [
        http_listener(
            [WasmPlugin(module, root_id=name, vm_configuration=VM_CONFIGURATION, configuration=CONFIGURATIONS[name])],
            [direct_response(200, "direct")],
            name=name,
        )
        for name in ("first", "second")
    ]
    with EnvoyProcess(bootstrap(listeners)) as process:
        yield process


@pytest.mark.parametrize("name", ["first", "second"])
def test_root_id_chooses_the_plugin(envoy: EnvoyProcess, name: str) -> None:
    """Each plugin gets its own streams, and reads both configurations, whatever their bytes, in later callbacks."""
    body = request(envoy.listener_port(name)).body.decode()
    assert body == f"{name.title()} {CONFIGURATIONS[name]!r} {VM_CONFIGURATION!r}"


@pytest.mark.parametrize("name", ["first", "second"])
def test_plugin_starts_with_its_configuration(envoy: EnvoyProcess, name: str) -> None:
    """on_plugin_start comes in every virtual machine, after on_vm_start, with size and bytes of the configuration."""
    size, data = len(CONFIGURATIONS[name]), CONFIGURATIONS[name]
    envoy.wait_for_log(f"{name.title()} start as '{name}' after 1 vm start: {size} {data!r}", 5, count=3)


def test_vm_starts_once(envoy: EnvoyProcess) -> None:
    """on_vm_start comes once in each virtual machine, although the proxy says so for each plugin."""
    envoy.wait_for_log(f"vm start 1: {len(VM_CONFIGURATION)} {VM_CONFIGURATION!r}", 5, count=3)
    assert "vm start 2" not in envoy.log_text


@pytest.mark.parametrize("root_id", ["", "füür"])
def test_unknown_root_id_is_refused(build_filter: FilterBuilder, root_id: str) -> None:
    """A module with several plugins refuses a root_id that is none of them, and lists those it has."""
    asked = repr(root_id) if root_id else "without a name"
    expected = f"this module has no plugin {asked}; its plugins (root_id, pluginName) are: first, second"
    with pytest.raises(ToolError, match=re.escape(expected)), serve(build_filter("configured").path, root_id=root_id):
        pass


def test_one_plugin_takes_any_root_id(build_filter: FilterBuilder) -> None:
    """A module with one plugin does not ask for its name, and without a configuration there are empty bytes."""
    module = build_filter("single").path
    listeners = [
        http_listener([WasmPlugin(module, root_id=name)], [direct_response(200, "direct")], name=f"at {name}")
        for name in ("", "anything")
    ]
    with EnvoyProcess(bootstrap(listeners)) as process:
        for name in ("", "anything"):
            response = request(process.listener_port(f"at {name}"))
            assert response.header("x-single") == [b"b'' b''"]


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        (b"refuse", "Unable to create Wasm plugin"),
        (b"raise", r"uncaught exception in on_vm_start\n(?s:.*)VM\.on_vm_start\nValueError: bad VM configuration"),
    ],
)
def test_vm_that_cannot_start_is_refused(build_filter: FilterBuilder, configuration: bytes, reason: str) -> None:
    """False or an exception from on_vm_start makes Envoy refuse the configuration."""
    module = build_filter("configured").path
    with pytest.raises(ToolError, match=reason), serve(module, root_id="first", vm_configuration=configuration):
        pass


ALWAYS = {
    *("free", "malloc", "memory", "proxy_abi_version_0_2_1"),
    *("proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_vm_start"),
    "proxy_on_tick",
    *("proxy_on_http_call_response", "proxy_on_grpc_receive_initial_metadata", "proxy_on_grpc_receive"),
    *("proxy_on_grpc_receive_trailing_metadata", "proxy_on_grpc_close"),
}


@pytest.mark.parametrize(
    ("name", "callbacks"),
    [
        ("single", {"proxy_on_response_headers"}),
        ("configured", {"proxy_on_request_headers"}),
        ("random_numbers", set[str]()),
        ("probe", {"proxy_on_log", "proxy_on_request_headers", "proxy_on_response_headers"}),
        (
            "raises",
            {
                *("proxy_on_done", "proxy_on_log"),
                *("proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers"),
                *("proxy_on_response_headers", "proxy_on_response_body", "proxy_on_response_trailers"),
            },
        ),
    ],
)
def test_only_overridden_callbacks_are_exported(build_filter: FilterBuilder, name: str, callbacks: set[str]) -> None:
    """A module exports its memory and allocator, what the SDK needs, and the callbacks that the filter overrides."""
    result = build_filter(name)
    assert set(result.exports) == ALWAYS | callbacks
    assert {export.name for export in inspect(result.path).exports} == ALWAYS | callbacks
