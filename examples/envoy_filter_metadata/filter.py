"""Answers with what another filter of the chain, in Lua, has left in the request's dynamic metadata."""

from pywasmfilter import HttpContext, http_filter, properties


@http_filter("envoy_filter_metadata")
class EnvoyFilterMetadata(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        data = properties.metadata("envoy.filters.http.lua", "uppercased-custom-metadata").text()
        if data is None:
            return None
        headers = [("powered-by", "proxy-wasm"), ("uppercased-metadata", data)]
        return self.send_http_response(200, headers, f'Custom response with Envoy metadata: "{data}"\n')
