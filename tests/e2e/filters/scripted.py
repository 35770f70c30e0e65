"""Does what a test says: its callbacks are functions of a script.

The configuration of a plugin is such a script, for the plugin itself (`on_tick(self)`) and for its streams
(`on_http_request_headers(self, num_headers, end_of_stream)`). A request that brings one of its own, Base64-encoded in
the header `x-script`, has that one instead. The names of `pywasmfilter` are there without an import, and `NAMES`.
"""

from __future__ import annotations

import base64
import gc
import json
from collections.abc import Callable
from typing import Any

import pywasmfilter
from pywasmfilter import HttpContext, PluginContext, TcpContext, VMContext, _state, callouts, log, plugin, vm

shared: dict[str, Any] = {}
"""What scripts of one VM know of each other."""


def failure(function: Callable[..., object], *arguments: object) -> str:
    """The exception that a call raises, as `Type: message`."""
    try:
        return f"no exception, but {function(*arguments)!r}"
    except Exception as error:  # noqa: BLE001  # it is the answer
        return f"{type(error).__name__}: {error}"


NAMES = {name: getattr(pywasmfilter, name) for name in pywasmfilter.__all__} | {
    "shared": shared,
    "callouts": callouts,
    "contexts": _state.contexts,
    "failure": failure,
    "gc": gc,
    "json": json,
}

Script = dict[str, Any]


def run(source: str) -> Script:
    """What a script defines."""
    names = dict(NAMES)
    exec(compile(source, "<script>", "exec"), names)
    return names


def scripted(cls: Any) -> Any:
    """Make every callback of a class call the script's function of that name, if there is one."""

    def calling(name: str) -> Callable[..., Any]:
        def callback(self: Any, *arguments: object) -> Any:
            function = self.find_script(name).get(name)
            return None if function is None else function(self, *arguments)

        return callback

    for name in dir(cls):
        if name.startswith("on_") and callable(getattr(cls, name)):
            setattr(cls, name, calling(name))
    return cls


@vm
class VM(VMContext):
    def on_vm_start(self, vm_configuration_size: int) -> None:
        log.debug("VM.on_vm_start")


@scripted
class Http(HttpContext):
    plugin: Scripted
    script: Script | None = None

    def find_script(self, callback: str) -> Script:
        if callback == "on_http_request_headers" and (encoded := self.request.headers.get("x-script")):
            self.script = run(base64.b64decode(encoded).decode())
        return self.script or self.plugin.script


@scripted
class Tcp(TcpContext):
    plugin: Scripted

    def find_script(self, callback: str) -> Script:
        return self.plugin.script


@scripted
class Scripted(PluginContext):
    script: Script

    def __init__(self) -> None:
        log.debug("Scripted.__init__")

    def find_script(self, callback: str) -> Script:
        if callback == "on_plugin_start":
            self.script = run(self.plugin_configuration.decode())
        return self.script


@plugin("http")
class ForHttp(Scripted):
    http_context = Http


@plugin("http-continue", on_error="continue")
class ForHttpContinue(Scripted):
    http_context = Http


@plugin("tcp")
class ForTcp(Scripted):
    tcp_context = Tcp


@plugin("tcp-continue", on_error="continue")
class ForTcpContinue(Scripted):
    tcp_context = Tcp


@plugin("both")
class ForBoth(Scripted):
    http_context = Http
    tcp_context = Tcp
