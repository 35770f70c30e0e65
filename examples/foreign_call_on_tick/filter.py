"""Calls a function that Envoy itself has, `compress`, every millisecond."""

from pywasmfilter import HostcallError, PluginContext, hostcalls, log, plugin

TICK = 1  # milliseconds


@plugin("foreign_call_on_tick")
class ForeignCallOnTick(PluginContext):
    calls = 0

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        hostcalls.set_tick_period_milliseconds(TICK)
        log.info(f"set tick period milliseconds: {TICK}")

    def on_tick(self) -> None:
        self.calls += 1
        result = b""
        try:
            result = hostcalls.call_foreign_function("compress", b"hello world!")
        except HostcallError as error:
            log.critical(f"foreign function (compress) failed: {error}")
        log.info(f"foreign function (compress) called: {self.calls}, result: {result.hex()}")
