"""Two plugins and a VM context that log when they start and what their configurations are."""

from __future__ import annotations

from typing import Any

from pywasmfilter import HttpContext, PluginContext, VMContext, hostcalls, log, plugin, vm


@vm
class VM(VMContext):
    starts = 0

    def on_vm_start(self, vm_configuration_size: int) -> Any:
        VM.starts += 1
        VM.seen = self
        log.info(f"vm start {VM.starts}: {vm_configuration_size} {self.vm_configuration!r}")
        if self.vm_configuration == b"refuse":
            return False
        if self.vm_configuration == b"raise":
            raise ValueError("bad VM configuration")
        return None

    seen: VMContext


class Configured(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        name = (hostcalls.get_property(["plugin_root_id"]) or b"").decode()
        configuration = f"{plugin_configuration_size} {self.plugin_configuration!r}"
        log.info(f"{type(self).__name__} start as {name!r} after {VM.starts} vm start: {configuration}")

    def new_http_context(self, context_id: int) -> HttpContext:
        return Answer(context_id)


class Answer(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int:
        body = f"{type(self.plugin).__name__} {self.plugin.plugin_configuration!r} {VM.seen.vm_configuration!r}"
        return self.send_http_response(200, body=body)


@plugin("first")
class First(Configured):
    pass


@plugin("second")
class Second(Configured):
    pass
