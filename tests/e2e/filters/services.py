"""Uses what the proxy offers beside the streams themselves; the path says what, and the response what came of it."""

from __future__ import annotations

from pywasmfilter import (
    Action,
    Counter,
    Gauge,
    GrpcStream,
    Histogram,
    HttpContext,
    PluginContext,
    TcpContext,
    hostcalls,
    log,
    plugin,
)
from pywasmfilter.callouts import GrpcReply

REQUESTS = Counter("requests")
DEPTH = Gauge("depth")
SIZES = Histogram("sizes")


@plugin("services")
class Services(PluginContext):
    def __init__(self) -> None:
        self.queue = hostcalls.register_shared_queue("work")

    def on_queue_ready(self, queue_id: int) -> None:
        log.info(f"queue {queue_id == self.queue}: {hostcalls.dequeue_shared_queue(queue_id)!r}")

    def on_plugin_done(self) -> bool:
        hostcalls.set_tick_period_milliseconds(1)
        return False

    def on_tick(self) -> None:
        hostcalls.done()

    def on_delete(self) -> None:
        log.info("gone")

    def new_http_context(self, context_id: int) -> HttpContext:
        return Asking(context_id)

    def new_tcp_context(self, context_id: int) -> TcpContext:
        return Lines(context_id)


class Asking(HttpContext):
    plugin: Services

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        ask = getattr(self, f"ask_{self.request.path[1:]}")
        answer = ask()
        return Action.PAUSE if answer is None else self.answer(answer)

    def answer(self, value: object) -> int:
        return self.send_http_response(200, body=repr(value))

    def ask_http(self) -> None:
        headers = [(":method", "GET"), (":path", "/user"), (":authority", "users")]
        self.dispatch_http_call("users", headers, self.on_user, body=b"who?", timeout_milliseconds=250)

    def on_user(self, num_headers: int, body_size: int, num_trailers: int) -> None:
        if not num_headers:
            self.answer(hostcalls.get_status())
            return
        headers = dict(hostcalls.get_http_call_response_headers())
        trailers = hostcalls.get_http_call_response_trailers()
        self.request.headers["x-user"] = f"{headers['x-name']} {hostcalls.get_http_call_response_body()!r} {trailers}"
        self.resume_http_request()

    def ask_grpc(self) -> None:
        self.dispatch_grpc_call("users", "pkg.Users", "Get", b"id", self.on_reply, initial_metadata=[("k", "v")])

    def on_reply(self, reply: GrpcReply) -> None:
        self.answer((reply.status, reply.details, reply.message))

    def ask_stream(self) -> None:
        stream = Listener(self)
        self.open_grpc_stream("users", "pkg.Users", "Watch", stream)
        stream.events.append("opened")
        stream.send(b"first")
        stream.events.append("sent")

    def ask_shared(self) -> object:
        return hostcalls.update_shared_data("count", lambda value: str(int(value or b"0") + 1))

    def ask_queue(self) -> object:
        hostcalls.enqueue_shared_queue(hostcalls.resolve_shared_queue("", "work"), b"item")
        return "queued"

    def ask_metrics(self) -> object:
        REQUESTS.tagged(path="metrics").increment()
        DEPTH.record(7)
        DEPTH.add(-2)
        SIZES.record(1000)
        return REQUESTS.tagged(path="metrics").value, DEPTH.value


class Listener(GrpcStream):
    """Collects what happens, and answers with it."""

    def __init__(self, context: Asking) -> None:
        self.context = context
        self.events: list[object] = []

    def on_initial_metadata(self, metadata: list[tuple[str, str]]) -> None:
        self.events.append(("initial", metadata))

    def on_message(self, message: bytes) -> None:
        self.events.append(("message", message))

    def on_trailing_metadata(self, metadata: list[tuple[str, str]]) -> None:
        self.events.append(("trailing", metadata))

    def on_close(self, status: int, details: str) -> None:
        self.context.answer([*self.events, ("close", status, details)])


class Lines(TcpContext):
    """Lets whole lines of the client pass, in upper case."""

    def on_downstream_data(self, data_size: int, end_of_stream: bool) -> int:
        data = self.downstream_data.read()
        if not data.endswith(b"\n"):
            return Action.PAUSE
        self.downstream_data.replace(data.upper())
        return Action.CONTINUE

    def on_stream_done(self) -> None:
        log.info("connection done")
