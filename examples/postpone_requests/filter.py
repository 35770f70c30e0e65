"""Every request waits for the next tick of the plugin, at most a second, and goes on then."""

from pywasmfilter import Action, HttpContext, PluginContext, hostcalls, log, plugin


@plugin("postpone_requests")
class PostponeRequests(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        self.postponed: dict[int, Postponed] = {}
        hostcalls.set_tick_period_milliseconds(1000)

    def on_tick(self) -> None:
        resumed, self.postponed = self.postponed, {}
        for context_id, stream in resumed.items():
            log.info(f"resume request with contextID={context_id}")
            stream.resume_http_request()

    def new_http_context(self, context_id: int) -> HttpContext:
        return Postponed(context_id)


class Postponed(HttpContext):
    plugin: PostponeRequests

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        log.info(f"postpone request with contextID={self.context_id}")
        self.plugin.postponed[self.context_id] = self
        return Action.PAUSE

    def on_http_stream_done(self) -> None:
        self.plugin.postponed.pop(self.context_id, None)  # a client may leave before the tick
