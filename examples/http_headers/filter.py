"""Adds headers to each request and response, one of them from the plugin's configuration, and logs all there are."""

import json

from pywasmfilter import HttpContext, PluginContext, log, plugin


@plugin("http_headers")
class HttpHeaders(PluginContext):
    header: tuple[str, str] | None = None

    def on_plugin_start(self, plugin_configuration_size: int) -> bool:
        log.debug("loading plugin config")
        if not self.plugin_configuration:
            return True
        try:
            name, value = self.header = parse_header(self.plugin_configuration)
        except ValueError:
            expected = '{"header": "<header name>", "value": "<header value>"}'
            log.critical(f"invalid configuration format; expected {expected}")
            return False
        log.info(f"header from config: {name} = {value}")
        return True

    def new_http_context(self, context_id: int) -> HttpContext:
        return LogAndAdd(context_id)


class LogAndAdd(HttpContext):
    plugin: HttpHeaders

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.request.headers["test"] = "best"
        for name, value in self.request.headers.items():
            log.info(f"request header --> {name}: {value}")

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        log.info("adding header: " + "=".join(self.plugin.header or ("", "")))
        self.response.headers.add("x-proxy-wasm-go-sdk-example", "http_headers")
        if self.plugin.header:
            self.response.headers.add(*self.plugin.header)
        for name, value in self.response.headers.items():
            log.info(f"response header <-- {name}: {value}")

    def on_http_stream_done(self) -> None:
        log.info(f"{self.context_id} finished")


def parse_header(configuration: bytes) -> tuple[str, str]:
    """The name and the value that the configuration gives, neither of them empty. Raises ValueError."""
    match json.loads(configuration):
        case {"header": str(name), "value": str(value)} if name.strip() and value.strip():
            return name.strip(), value.strip()
    raise ValueError("no header in the configuration")
