"""Asks another gRPC service about each gRPC request: `grpcbin.GRPCBin/RandomError`, whose status decides.

With an even status, such as OK, the request goes on; with an odd one it is answered here with Aborted. Whoever does
not speak gRPC gets a 503. Calls of the reflection API always pass.
"""

from pywasmfilter import Action, GrpcReply, GrpcStatus, HttpContext, http_filter, log

POWERED_BY = ("powered-by", "proxy-wasm")
NO_FIELDS = b""  # a protobuf message in which no field is set


@http_filter("grpc_auth_random")
class GrpcAuthRandom(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int:
        if not (self.request.headers.get("content-type") or "").startswith("application/grpc"):
            return self.send_http_response(503, [POWERED_BY], "Service accessible only to gRPC clients.\n")
        if self.request.path.startswith("/grpc.reflection"):
            return Action.CONTINUE
        self.dispatch_grpc_call(
            "grpcbin", "grpcbin.GRPCBin", "RandomError", NO_FIELDS, self.on_reply, timeout_milliseconds=1000
        )
        return Action.PAUSE

    def on_reply(self, reply: GrpcReply) -> None:
        if reply.status % 2 == 0:
            log.info("Access granted.")
            self.resume_http_request()
        else:
            log.info("Access forbidden.")
            self.send_http_response(200, [POWERED_BY], "Aborted by Proxy-Wasm!", GrpcStatus.ABORTED)

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        name, value = POWERED_BY
        self.response.headers[name] = value
