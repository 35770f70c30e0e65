"""Sends each request to one of two upstreams, as a random number says.

If it is even, the authority gets the suffix `-canary`, for which Envoy has a route of its own. The first byte of the
configuration, if there is one, stands in for the number.
"""

import secrets

from pywasmfilter import HttpContext, PluginContext, log, plugin


@plugin("http_routing")
class HttpRouting(PluginContext):
    def new_http_context(self, context_id: int) -> HttpContext:
        return ChooseUpstream(context_id)

    def dice(self) -> int:
        fixed = self.plugin_configuration[:1]
        return fixed[0] if fixed else secrets.randbits(32)


class ChooseUpstream(HttpContext):
    plugin: HttpRouting

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        value = self.plugin.dice()
        log.info(f"value: {value}\n")
        if value % 2 == 0:
            self.request.headers[":authority"] = f"{self.request.authority}-canary"
