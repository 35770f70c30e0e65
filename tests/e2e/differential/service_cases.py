"""Cases of what a filter asks the proxy for: calls, shared data, queues, metrics, properties, other contexts."""

from __future__ import annotations

from tests.e2e.differential.cases import ANSWER, BODY, EMPTY, GET, Case, abort, other, tick, wait

WAITING = """
    def request_headers(self, *_):
        call(self, {arguments})
        return Action.PAUSE
    def reply(self):
        self.request.headers["x-reply"] = "1"
        self.resume_http_request()
"""

CALLS = [
    Case(f"call: {name}", WAITING.format(arguments=arguments), [GET, wait(0.1), EMPTY])
    for name, arguments in {
        "plain": "",
        "with a body": "body='sent', trailers=[('x-t', '1')]",
        "unknown cluster": "cluster='unknown'",
        "no server": "cluster='dead'",
        "timeout": "cluster='silent', timeout_milliseconds=50",
        "no path": "headers=CALL[:1] + CALL[2:]",
        "no headers": "headers=[]",
        "own headers": "headers=[*CALL, ('x-a', '1'), ('x-a', '2'), ('host', 'b')]",
    }.items()
] + [
    Case(
        "call from the response",
        """
        def response_headers(self, *_):
            call(self)
            return Action.PAUSE
        def reply(self):
            self.response.headers["x-reply"] = "1"
            self.resume_http_response()
        """,
        [*BODY, *ANSWER],
    ),
    Case(
        "call after call",
        """
        def request_headers(self, *_):
            self.left = 2
            call(self)
            return Action.PAUSE
        def reply(self):
            self.left -= 1
            call(self) if self.left else self.send_http_response(200, body="done")
        """,
        [GET],
    ),
    Case("call that is not waited for", "def request_headers(self, *_):\n    call(self)", [GET, EMPTY]),
    Case(
        "reply that fails",
        "def request_headers(self, *_):\n    call(self)\n    return Action.PAUSE\ndef reply(self): 1 / 0",
        [GET],
    ),
    Case(
        "reply that fails and goes on",
        "def request_headers(self, *_):\n    call(self)\n    return Action.PAUSE\ndef reply(self): 1 / 0",
        [GET, EMPTY],
        "http-continue",
    ),
    Case(
        "reply to a stream that is gone",
        """
        def request_headers(self, *_):
            call(self, "silent", timeout_milliseconds=500)
            return Action.PAUSE
        def reply(self):
            say(self, "never")
        """,
        [GET, abort, wait(0.6)],
    ),
    Case(
        "reply after the response",
        "def request_headers(self, *_):\n    call(self, 'silent', timeout_milliseconds=500)",
        [GET, EMPTY, wait(0.6)],
    ),
    Case(
        "call of the plugin",
        """
        def request_headers(self, *_):
            later(self, lambda self: call(self.plugin, self))
            return Action.PAUSE
        def call(plugin, self):
            def reply(*counts):
                status = dict(hostcalls.get_http_call_response_headers())[":status"]
                say(self, f"reply {counts} {status} {attempt(hostcalls.resume_http_request)}")
                say(self, attempt(self.request.headers.items))
                self.resume_http_request()
            say(self, type(plugin.dispatch_http_call("service", CALL, reply)).__name__)
        """,
        [GET, tick, EMPTY],
    ),
]

GRPC = (
    [
        Case(
            f"gRPC to {cluster}",
            f"""
        def request_headers(self, *_):
            service = {cluster!r}, "test.Echo", "Talk"
            say(self, attempt(lambda: self.dispatch_grpc_call(*service, b"message", print)))
            say(self, attempt(lambda: self.open_grpc_stream(*service, GrpcStream())))
            for token in (0, 1, 2, 4711 * 4 + 1, 4711 * 4 + 2):
                say(self, [attempt(hostcalls.grpc_cancel, token), attempt(hostcalls.grpc_close, token)])
                say(self, attempt(hostcalls.grpc_send, token, b"", True))
        """,
            [GET, EMPTY],
        )
        for cluster in ("unknown", "\n\x02ab")
    ]
    + [
        Case(
            f"gRPC call {method}{arguments}",
            f"""
        def request_headers(self, *_):
            def reply(reply):
                say(self, f"reply {{reply.status}} {{reply.details}} {{reply.message}}")
                look(self)
                self.resume_http_request()
            self.token = self.dispatch_grpc_call("grpc", "test.Echo", {method!r}, b"message", reply{arguments})
            return Action.PAUSE
        """,
            [GET, wait(0.2), EMPTY],
        )
        for method, arguments in {
            "Unary": ", initial_metadata=[('x-test', '1')]",
            "Fail": "",
            "Wait": ", timeout_milliseconds=50",
        }.items()
    ]
    + [
        Case(
            f"gRPC stream {method}, {actions}",
            f"""
        def of_test(metadata):
            return [pair for pair in metadata if pair[0] in {{"x-initial", "x-trailing"}}]

        class Talk(GrpcStream):
            def __init__(self, context):
                self.context = context
            def on_initial_metadata(self, metadata):
                say(self.context, ("initial", of_test(metadata)))
            def on_message(self, message):
                say(self.context, ("message", message))
            def on_trailing_metadata(self, metadata):
                say(self.context, ("trailing", of_test(metadata)))
            def on_close(self, status, details):
                say(self.context, ("close", status, details))
                self.context.resume_http_request()

        def request_headers(self, *_):
            stream = Talk(self)
            self.open_grpc_stream("grpc", "test.Echo", {method!r}, stream)
            {actions}
            return Action.PAUSE
        """,
            [GET, EMPTY],
        )
        for method, actions in (
            ("Talk", "stream.send(b'one', end_of_stream=True)"),
            ("Talk", "stream.send(b'one'); stream.close()"),
            ("FailTalking", "stream.send(b'one')"),
            ("Talk", "stream.send(b'one'); stream.cancel()"),
        )
    ]
)


def doing(name: str, code: str) -> Case:
    """A case that says what expressions are in on_http_request_headers, one by one."""
    lines = "".join(f"\n    say(self, attempt(lambda: ({line.strip()})))" for line in code.strip().splitlines())
    return Case(name, f"def request_headers(self, *_):\n    host = hostcalls._abi.host{lines}", [GET, EMPTY])


STATE = [
    doing(
        "shared data",
        """
        hostcalls.get_shared_data("none")
        hostcalls.set_shared_data("key", b"one")
        hostcalls.get_shared_data("key")[0]
        hostcalls.set_shared_data("key", b"two", hostcalls.get_shared_data("key")[1])
        hostcalls.set_shared_data("key", b"three", 4711)
        hostcalls.set_shared_data("new", b"three", 4711)
        hostcalls.get_shared_data("key")[0], hostcalls.get_shared_data("new")[0]
        hostcalls.set_shared_data("", "")
        hostcalls.get_shared_data("")[0]
        hostcalls.update_shared_data("key", lambda old: old + b"!")
        hostcalls.get_shared_data("key")[0]
        """,
    ),
    doing(
        "queues",
        """
        hostcalls.resolve_shared_queue("", "none")
        hostcalls.resolve_shared_queue("other", "queue")
        hostcalls.enqueue_shared_queue(4711, "x")
        hostcalls.dequeue_shared_queue(4711)
        shared.__setitem__("queue", hostcalls.register_shared_queue("queue"))
        hostcalls.register_shared_queue("queue") == shared["queue"]
        hostcalls.resolve_shared_queue("", "queue") == shared["queue"]
        hostcalls.dequeue_shared_queue(shared["queue"])
        hostcalls.enqueue_shared_queue(shared["queue"], b"one")
        hostcalls.enqueue_shared_queue(shared["queue"], b"")
        [hostcalls.dequeue_shared_queue(shared["queue"]) for _ in range(2)]
        hostcalls.dequeue_shared_queue(shared["queue"])
        """,
    ),
    doing(
        "metrics",
        """
        host.define_metric(3, "wrong")
        hostcalls.increment_metric(4711 * 4, 1), hostcalls.get_metric(4711)
        hostcalls.get_metric(4711 * 4 + 1)
        hostcalls.record_metric(4711 * 4 + 2, 1)
        shared.__setitem__("metrics", [host.define_metric(kind, f"metric_{kind}") for kind in range(3)])
        [number & 3 for number in shared["metrics"]]
        host.define_metric(0, "metric_0") == shared["metrics"][0]
        hostcalls.increment_metric(shared["metrics"][0], 2)
        hostcalls.increment_metric(shared["metrics"][0], -1)
        hostcalls.increment_metric(shared["metrics"][0], 0)
        hostcalls.record_metric(shared["metrics"][0], 5)
        hostcalls.get_metric(shared["metrics"][0])
        hostcalls.increment_metric(shared["metrics"][1], -3)
        hostcalls.get_metric(shared["metrics"][1])
        hostcalls.record_metric(shared["metrics"][1], 5)
        hostcalls.increment_metric(shared["metrics"][1], -2)
        hostcalls.get_metric(shared["metrics"][1])
        hostcalls.increment_metric(shared["metrics"][2], 1)
        hostcalls.record_metric(shared["metrics"][2], 1)
        hostcalls.get_metric(shared["metrics"][2])
        hostcalls.record_metric(shared["metrics"][0], -1)
        hostcalls.get_metric(shared["metrics"][0])
        """,
    ),
    doing(
        "properties",
        """
        hostcalls.get_property([])
        hostcalls.get_property([""])
        hostcalls.get_property(["request", ""])
        hostcalls.get_property(["request", "path", "x"])
        hostcalls.get_property(["request", "headers", "X-SCRIPT"]) is None
        hostcalls.get_property(["request", "headers", "bad name"])
        hostcalls.get_property(["plugin_name", "x"])
        hostcalls.set_property(["plugin_name"], "mine")
        hostcalls.get_property(["plugin_name"])
        hostcalls.set_property(["request", "path"], "mine")
        hostcalls.get_property(["request", "path"])
        hostcalls.set_property(["one"], "")
        hostcalls.get_property(["one"])
        hostcalls.set_property(["two", "parts"], "a")
        hostcalls.get_property(["two", "parts"]), hostcalls.get_property(["two"])
        hostcalls.get_property(["one", "more"])
        hostcalls.set_property(["one"], "again")
        hostcalls.get_property(["one"])
        hostcalls.get_property(["filter_state", "wasm.one"])
        """,
    ),
    doing(
        "contexts",
        """
        host.set_effective_context(4711)
        host.set_effective_context(self.plugin.context_id)
        hostcalls.get_property(["request", "path"])
        hostcalls.get_property(["plugin_root_id"])
        self.request.headers.items()
        host.get_header_map_pairs(0)
        host.get_header_map_size(0)
        hostcalls.set_property(["a"], "b")
        host.get_buffer_bytes(0, 0, 10)
        host.set_buffer_bytes(0, 0, 0, "x")
        host.continue_stream(0), host.close_stream(0), host.send_local_response(200, "", "", b"", -1)
        host.continue_stream(3)
        host.continue_stream(4)
        host.close_stream(4)
        host.done()
        host.set_effective_context(0)
        self.request.path
        """,
    ),
    doing(
        "wrong numbers",
        """
        [attempt(host.get_buffer_bytes, number, 0, 1) for number in range(12)]
        [attempt(host.get_buffer_size, number) for number in range(12)]
        [attempt(host.set_buffer_bytes, number, 0, 1, "") for number in range(12)]
        [attempt(host.get_header_map_pairs, number) == b"" or number for number in range(8)]
        [attempt(host.get_header_map_pairs, number) for number in (8, 9)]
        [attempt(host.get_header_map_value, number, "a") for number in range(8)]
        [attempt(host.add_header_map_value, number, "a", "b") for number in range(1, 8)]
        [attempt(host.set_header_map_pairs, number, b"") for number in range(1, 8)]
        [attempt(host.get_header_map_size, number) for number in range(1, 8)]
        attempt(host.log, 6, "x"), attempt(host.log, -1, "x")
        hostcalls.call_foreign_function("none", b"")
        hostcalls.call_foreign_function("compress", b"hello world!").hex()
        hostcalls.call_foreign_function("uncompress", b"none")
        host.call_foreign_function("clear_route_cache", b"")
        hostcalls.get_status()[0] in (0, 11, 14, 9, 8)
        """,
    ),
    Case(
        "acting on a stream that is gone",
        """
        def request_headers(self, *_):
            later(self, lambda self: [say(self, attempt(act)) for act in (
                self.resume_http_request, self.close_http_request, self.send_http_response, self.resume_http_response)])
        """,
        [GET, EMPTY, tick],
    ),
    Case(
        "one answers another",
        """
        def request_headers(self, *_):
            def act(self):
                look(self)
                say(self, self.request.path)
                self.send_http_response(200, body="from elsewhere")
            later(self, act)
            return Action.PAUSE
        """,
        [GET, other],
    ),
]

CASES = [*CALLS, *GRPC, *STATE]
