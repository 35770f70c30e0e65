"""Asks a gRPC service with the messages that protoc generated, and answers what it replied."""

# The module beside the filter is not one of the tests.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import greeting_pb2
from google.protobuf.internal import api_implementation

from pywasmfilter import Action, HttpContext, http_filter
from pywasmfilter.callouts import GrpcReply


@http_filter("greeting")
class Greeting(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int:
        request = greeting_pb2.HelloRequest(name=self.request.headers["x-name"], numbers=[1, -2, 2**40])
        self.dispatch_grpc_call("grpc", "greeting.v1.Greeter", "Hello", request, self.replied)
        return Action.PAUSE

    def replied(self, reply: GrpcReply) -> None:
        message = reply.parse(greeting_pb2.HelloReply)
        self.send_http_response(200, body=f"{api_implementation.Type()}: {message.text} {message.sum}")
