"""Calls the cluster `web_service` on every tick, and logs the headers of what comes back.

Each call goes, at random, to a path that works or to one that fails.
"""

import secrets

from pywasmfilter import HostcallError, PluginContext, hostcalls, log, plugin

TICK = 100  # milliseconds


@plugin("dispatch_call_on_tick")
class DispatchCallOnTick(PluginContext):
    responses = 0

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        hostcalls.set_tick_period_milliseconds(TICK)
        log.info(f"set tick period milliseconds: {TICK}")

    def on_tick(self) -> None:
        path = secrets.choice(["/ok", "/fail"])
        headers = [(":method", "GET"), (":authority", "some_authority"), ("accept", "*/*"), (":path", path)]
        try:
            self.dispatch_http_call("web_service", headers, self.on_response, timeout_milliseconds=5000)
        except HostcallError as error:
            log.critical(f"dispatch httpcall failed: {error}")

    def on_response(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        self.responses += 1
        log.info(f"called {self.responses} for contextID={self.context_id}")
        for name, value in hostcalls.get_http_call_response_headers():
            log.info(f"response header for the dispatched call: {name}: {value}")
        if num_trailers:
            for name, value in hostcalls.get_http_call_response_trailers():
                log.info(f"response trailer for the dispatched call: {name}: {value}")
