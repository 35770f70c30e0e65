"""Cases in the emulator."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pywasmfilter.testing import GrpcCall, GrpcError, Host, HttpStream, Response, TcpStream, Unfinished
from pywasmfilter.testing.calls import Service
from pywasmfilter.testing.plugin import Plugin
from tests.e2e.differential.cases import Case, Mark, Outcome
from tests.e2e.differential.normal import message_lines, normal
from tests.e2e.differential.observing import PRELUDE, encoded, next_connection, script
from tests.e2e.differential.peers import Arrived, Pairs

PLUGINS = ("http", "http-continue", "tcp", "tcp-continue", "both", "http held", "http-continue held")
"""The plugins of the scripted filter; some twice, with `allow_on_headers_stop_iteration`."""


class Emulated:
    """One host for all cases. The filter is a source or a module."""

    def __init__(self, filter_path: Path) -> None:
        self.host = Host(filter_path, plugin="http", configuration=PRELUDE)
        self.plugins: dict[str, Plugin] = {"http": self.host.plugin}
        for name in PLUGINS[1:]:
            self.plugins[name] = self.host.start(
                filter_path,
                plugin=name.removesuffix(" held"),
                configuration=PRELUDE,
                allow_on_headers_stop_iteration=name.endswith(" held"),
            )
        self.host.clusters["service"] = SERVICE
        self.host.clusters["silent"] = None
        self.host.clusters["dead"] = DEAD
        self.host.clusters["grpc"] = lambda call: self._unary(call) if not call.is_stream else self._react(call)

        self._heard: Counter[int] = Counter()
        """How many messages have come on each gRPC stream."""
        self._opened: set[int] = set()

    def _unary(self, call: GrpcCall) -> bytes | GrpcError | None:
        """What the gRPC service of the tests answers to a call."""
        metadata = ",".join(f"{name}={value}" for name, value in call.initial_metadata.items())
        answers: dict[str, bytes | GrpcError | None] = {
            "test.Echo/Unary": call.messages[0] + f" {metadata}".encode(),
            "test.Echo/Fail": GrpcError(9, "not n%C3%B6w{via_upstream}"),
            "test.Echo/Wait": None,
        }
        return answers[call.method]

    def _react(self, call: GrpcCall) -> None:
        """What it does on a stream when that opens and when a message comes; over a network, that is later."""
        new, half_closed = call.messages[self._heard[call.token] :], call.half_closed
        self._heard[call.token] = len(call.messages)

        def talk() -> None:
            if "Fail" not in call.method and call.token not in self._opened:
                call.send_initial_metadata([("x-initial", "1"), ("x-initial", "2")])
            elif "Fail" in call.method and new:
                call.send_initial_metadata([])
                call.send_message(new[0])
                call.send_trailing_metadata([])
                call.close(8, "no more{via_upstream}")
            self._opened.add(call.token)
            if "Fail" not in call.method:
                for message in new:
                    call.send_message(message.upper())
            if half_closed:
                for message in (b"", b"bye"):
                    call.send_message(message)
                call.send_trailing_metadata([("x-trailing", "3")])
                call.close(0, "via_upstream")

        def talk_if_open() -> None:
            if call.open:
                talk()

        self.host.post(talk_if_open)

    def run(self, case: Case) -> Outcome:
        """See a case through."""
        self._case, self._outcome = case, Outcome()
        self._begin = len(self.host.log)
        self._client_left = self._answered = False
        self._controls: list[HttpStream] = []
        self._http: HttpStream | None = None
        self._tcp: TcpStream | None = None
        for step in case.steps:
            getattr(self, f"_{step.what}")(*step.arguments)
            self._outcome.marks.append(Mark(len(self._lines()), self._asked()))
        if case.is_tcp:
            self._outcome.filter = self._lines()
        self._finish()
        if not case.is_tcp:
            self._outcome.filter = self._lines()
        return self._outcome

    def _lines(self) -> list[str]:
        prefix = f"{self._case.name}|"
        messages = (line.message for line in self.host.log[self._begin :])
        return [normal(message.removeprefix(prefix)) for message in messages if message.startswith(prefix)]

    def _asked(self) -> int:
        if self._tcp is not None:
            return int(self._tcp.connected)
        return int(self._http is not None and self._http.sent is not None)

    def _control(self, code: str) -> None:
        headers = [("x-script", encoded(code))]
        plugin = self.plugins[self._case.plugin if "http" in self._case.plugin else "http"]
        self._controls.append(plugin.request("GET", "/control", headers))

    def _tick(self) -> None:
        self._control("def on_http_request_headers(self, *_): hostcalls.set_tick_period_milliseconds(1)")
        self.host.advance(0.001)

    def _other(self) -> None:
        self._control("def on_http_request_headers(self, *_): shared['prelude']['do_later']()")

    def _wait(self, seconds: float) -> None:
        self.host.advance(seconds)

    # HTTP

    def _headers(self, method: str, path: str, more: Pairs, end: bool) -> None:
        pseudo = [(":authority", "test.local"), (":path", path), (":method", method), (":scheme", "http")]
        own = ("x-script", encoded(script(self._case.name, self._case.script)))
        self._http = self.plugins[self._case.plugin].open_http(lambda _: None)
        self._http.send_headers([*pseudo, own, *more], end_of_stream=end)

    def _data(self, text: bytes) -> None:
        if self._tcp is not None:
            if not self._tcp.ended:
                self._tcp.from_client(text)
        elif self._http is not None:
            self._http.send_body(text)

    def _end(self) -> None:
        if self._tcp is not None:
            if not self._tcp.ended:
                self._tcp.from_client(end_of_stream=True)
        elif self._http is not None:
            self._http.send_body(b"", end_of_stream=True)

    def _trailers(self, pairs: Pairs) -> None:
        if self._http is not None:
            self._http.send_trailers(pairs)

    def _abort(self) -> None:
        self._see_client()
        if self._http is not None:
            self._http.abort()
        if self._tcp is not None:
            self._tcp.close_client()

    def _answer(self, status: int, more: Pairs, end: bool) -> None:
        if self._http is not None and self._asked():
            self._answered = True
            framing = [] if end or "content-length" in dict(more) else [("transfer-encoding", "chunked")]
            self._http.respond_headers(status, [*more, *framing], end_of_stream=end)

    def _answer_data(self, text: bytes) -> None:
        if self._tcp is not None:
            if not self._tcp.ended:
                self._tcp.from_upstream(text)
        elif self._http is not None and self._answered:
            self._http.respond_body(text)

    def _answer_end(self) -> None:
        if self._tcp is not None:
            if not self._tcp.ended:
                self._tcp.from_upstream(end_of_stream=True)
        elif self._http is not None and self._answered:
            self._http.respond_body(b"", end_of_stream=True)

    def _answer_trailers(self, pairs: Pairs) -> None:
        if self._http is not None and self._answered:
            self._http.respond_trailers(pairs)

    def _answer_abort(self) -> None:
        if self._tcp is not None:
            self._tcp.break_upstream()
        if self._http is not None and self._asked():
            self._http.break_upstream()

    def _connect(self) -> None:
        self._control(next_connection(self._case.name, self._case.script))
        self._tcp = self.plugins[self._case.plugin].connect()

    # The end

    def _see_client(self) -> None:
        if self._client_left:
            return
        self._client_left = True
        if self._http is not None:
            response = self._http.partial_response
            arrived = Arrived()
            if response is not None:
                arrived = Arrived(
                    ["", response.headers[":status"]],
                    [pair for pair in response.headers.items() if pair[0] != ":status"],
                    response.body,
                    response.trailers.items(),
                    complete=_is_complete(self._http),
                )
            self._outcome.client = message_lines(
                arrived, cut_off=self._http.reset or (self._http.ended and "connection" in dict(arrived.headers))
            )
        if self._tcp is not None:
            self._outcome.client = [repr(self._tcp.to_client), f"closed: {self._tcp.ended or self._tcp.upstream_ended}"]

    def _finish(self) -> None:
        self._abort()
        for stream in self._controls:
            stream.abort()
        if self._http is not None and (sent := self._http.sent) is not None:
            pairs = [pair for pair in sent.headers.items() if pair[0][0] != ":"]
            start = [sent.method, sent.path]
            arrived = Arrived(start, [("host", sent.authority), *pairs], sent.body, sent.trailers.items(), False)
            self._outcome.upstream = message_lines(arrived)
        if self._tcp is not None:
            self._outcome.upstream = [repr(self._tcp.to_upstream)] if self._tcp.connected else []


def _is_complete(stream: HttpStream) -> bool:
    try:
        return bool(stream.response)
    except Unfinished:
        return False


SERVICE: Service = Response(201, {"content-length": "5", "x-a": "1", "x-envoy-upstream-service-time": "0"}, b"reply")
DEAD: Service = Response(
    503,
    {"content-length": "98", "content-type": "text/plain"},
    b"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure",
)
