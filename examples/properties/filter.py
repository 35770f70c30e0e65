"""Each route says in its metadata which request header a client must send; requests without that header get a 401.

The metadata is what stands in the route's configuration under `filter_metadata`, `envoy.filters.http.wasm`, `auth`.
"""

from pywasmfilter import GrpcStatus, HttpContext, http_filter, log, properties


@http_filter("properties")
class Properties(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        header = properties.xds.route_metadata("envoy.filters.http.wasm", "auth").text()
        if header is None:
            log.info("no auth header for route")
            return None
        log.info(f'auth header is "{header}"')
        if header not in self.request.headers:
            return self.send_http_response(401, grpc_status=GrpcStatus.UNAUTHENTICATED)
        return None

    def on_http_stream_done(self) -> None:
        log.info(f"{self.context_id} finished")
