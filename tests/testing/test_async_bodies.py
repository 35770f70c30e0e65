"""Bodies that coroutines await, whole and part by part, in both bodies of the filter.

Where a proxy shows no body whose headers are held back, and where it does (`allow_on_headers_stop_iteration`).
"""

from __future__ import annotations

from typing import Any

import pytest

from pywasmfilter.testing import Host, HttpStream, Response
from pywasmfilter.types import Action, LogLevel
from tests.testing.conftest import NewScripted

PAUSE, CONTINUE = Action.PAUSE, Action.CONTINUE
CHUNKED = {"transfer-encoding": "chunked"}
POST = {":method": "POST", ":path": "/", ":authority": "test.local", ":scheme": "http"}

READING = """
    async def on_http_{0}_headers(self, *_):
        body = await self.{0}.body()
        log.info(repr(body))
"""


@pytest.fixture(params=[False, True], ids=["headers leave", "headers held"])
def flag(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The option of the host that says whether headers can be held back until the body is there."""
    return {"allow_on_headers_stop_iteration": request.param}


def answers(host: Host, callback: str) -> list[int | None]:
    """What the filter has answered to a callback, each time."""
    return [each.answer for each in host.trace if each.name == f"proxy_on_{callback}"]


def errors(host: Host) -> list[str]:
    """What the filter has logged as wrong, the last line of each."""
    return [line.message.splitlines()[-1] for line in host.log if line.level >= LogLevel.WARN]


def sent(stream: HttpStream) -> Any:
    """What has reached the upstream. Any, so that tests need not ask whether there is something."""
    return stream.sent


# Whole bodies


@pytest.mark.parametrize("body", [b"", b"one", [b"one", b"two", b"three"], b"\0\xff" * 1000])
@pytest.mark.parametrize("trailers", [{}, {"x-t": "1"}])
def test_body(scripted: NewScripted, flag: dict[str, Any], body: Any, trailers: dict[str, str]) -> None:
    """All of it is there, however it comes; then it goes on as it was, with its trailers, in both directions."""
    whole = body if isinstance(body, bytes) else b"".join(body)
    host = scripted(READING.format("request"), **flag)
    stream = host.request("POST", body=body, trailers=trailers)
    assert (stream.status, host.messages, errors(host)) == (200, [repr(whole)], [])
    assert sent(stream).body == whole
    assert sent(stream).trailers == trailers
    host = scripted(READING.format("response"), **flag)
    stream = host.request(upstream=Response(200, body=body, trailers=trailers))
    assert (stream.status, stream.body, host.messages, errors(host)) == (200, whole, [repr(whole)], [])
    assert stream.trailers == trailers


def test_no_body(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A message that ends with its headers has b"", without a wait, and its content-length stays."""
    for direction in ("request", "response"):
        host = scripted(READING.format(direction), **flag)
        stream = host.request("GET", headers={"content-length": "0"}, upstream=Response(200, {"content-length": "0"}))
        assert (stream.status, host.messages) == (200, ["b''"])
        assert answers(host, f"{direction}_headers") == [CONTINUE]
        assert sent(stream).headers["content-length"] == stream.headers["content-length"] == "0"
        assert (host.trace.calls("continue_stream"), host.trace.calls("set_effective_context")) == ([], [])


def test_head(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """The response to HEAD has no body, and keeps the content-length that it would have."""
    host = scripted(READING.format("response"), **flag)
    stream = host.request("HEAD", upstream=Response(200, {"content-length": "42"}))
    assert (stream.status, stream.headers["content-length"], host.messages) == (200, "42", ["b''"])


def test_body_that_ends_without_bytes(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A body of no bytes, whose end comes by itself, is b"" too."""
    host = scripted(READING.format("request"), **flag)
    stream = host.open_http()
    stream.send_headers(POST | CHUNKED)
    assert host.messages == []
    stream.send_body("", end_of_stream=True)
    assert (stream.status, host.messages) == (200, ["b''"])


def test_headers_leave_before_the_body(scripted: NewScripted) -> None:
    """As a rule headers leave first, without content-length; they can be read on, and not be changed."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            self.request.headers["x-before"] = "1"
            await self.request.body()
            headers = self.request.headers
            log.info(f"{self.request.path} {headers.get('x-before')} {'content-length' in headers}")
            log.info(repr([self.request.headers.get_all("x-two"), "x-none" in self.request.headers]))
            log.info(str(len(self.request.headers.items()) == len(self.request.headers)))
            self.request.headers["x-after"] = "1"
    """)
    stream = host.open_http()
    two = [("x-two", "1"), ("x-two", "2")]
    stream.send_headers([*POST.items(), ("content-length", "4"), *two])
    assert answers(host, "request_headers") == [CONTINUE]
    assert sent(stream).headers["x-before"] == "1"
    assert "content-length" not in sent(stream).headers
    stream.send_body("body", end_of_stream=True)
    assert host.messages[:3] == ["/ 1 True", "[['1', '2'], False]", "True"]
    (error,) = errors(host)
    assert "BadArgument: proxy_replace_header_map_value" in error
    assert "allow_on_headers_stop_iteration" in error
    assert "PluginContext.holds_headers" in error
    assert stream.status == 500


def test_headers_are_held(scripted: NewScripted) -> None:
    """Where the proxy can hold them they can be changed when the body is there, and content-length is kept right."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            body = await self.request.body(hold_headers=True)
            self.request.headers["x-after"] = f"{self.request.path} {self.request.headers['content-length']}"
            self.request.set_body(body + b"!!")
        """,
        allow_on_headers_stop_iteration=True,
    )
    stream = host.open_http()
    stream.send_headers([*POST.items(), ("content-length", "4")])
    stream.send_body("bo")
    assert stream.sent is None
    stream.send_body("dy")
    stream.send_body("", end_of_stream=True)
    assert (sent(stream).headers["x-after"], sent(stream).headers["content-length"]) == ("/ 4", "6")
    assert (sent(stream).body, errors(host), host.trace.calls("continue_stream")) == (b"body!!", [], [])


def test_headers_that_must_be_held(scripted: NewScripted) -> None:
    """Where they cannot be, who insists on that gets an error that says what to set, and nothing leaves."""
    host = scripted("async def on_http_request_headers(self, *_): await self.request.body(hold_headers=True)")
    stream = host.request("POST", body="body")
    assert (stream.status, stream.sent) == (500, None)
    assert "MisuseError: the headers cannot be held back" in errors(host)[0]
    assert "PYFILTER_ALLOW_ON_HEADERS_STOP_ITERATION=true" in errors(host)[0]
    assert host.request("GET").status == 200  # it has no body to wait for


def test_a_proxy_that_is_not_as_the_environment_says(scripted: NewScripted) -> None:
    """Where the variable says that headers can be held and the proxy shows no body then, the log says why one hangs."""
    script = "async def on_http_request_headers(self, *_): await self.request.body()"
    environment = {"PYFILTER_ALLOW_ON_HEADERS_STOP_ITERATION": "true"}
    host = scripted(script, environment=environment)
    streams = [host.request("POST", body="body") for _ in range(3)]
    assert host.request("GET").status == 200
    host.advance(4.999)
    assert (errors(host), [stream.ended for stream in streams]) == ([], [False] * 3)
    host.advance(60)
    (error,) = errors(host)
    assert error.startswith("http: a body has not come in 5 seconds while its headers were held back.")
    assert "lacks `allow_on_headers_stop_iteration: true`" in error
    host = scripted(script, allow_on_headers_stop_iteration=True)
    slow = host.open_http()
    slow.send_headers(POST)
    slow.send_body("a slow")
    host.advance(60)
    slow.send_body("client", end_of_stream=True)
    assert (slow.status, errors(host)) == (200, [])


def test_answer_to_a_body(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """What was read decides what becomes of the request: it can be answered although its headers have left."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            if b"secret" in await self.request.body():
                return self.send_http_response(403, body="no secrets")
        """,
        **flag,
    )
    stream = host.request("POST", body=["a sec", "ret"])
    assert (stream.status, stream.text) == (403, "no secrets")
    assert stream.sent is None or not sent(stream).body
    assert host.request("POST", body="nothing").status == 200


def test_answer_to_a_body_of_a_response(scripted: NewScripted) -> None:
    """A response whose headers are held is replaced; one whose headers have left is reset."""
    script = """
        async def on_http_response_headers(self, *_):
            await self.response.body()
            return self.send_http_response(502, body="instead")
    """
    stream = scripted(script, allow_on_headers_stop_iteration=True).request(upstream=Response(200, body="body"))
    assert (stream.status, stream.text) == (502, "instead")
    assert scripted(script).request(upstream=Response(200, body="body")).reset


@pytest.mark.parametrize("where", ["headers", "body", "trailers"])
def test_body_after_a_wait(scripted: NewScripted, flag: dict[str, Any], where: str) -> None:
    """A coroutine that waits for a call, the body, a call and the body again gets all of it in each callback."""
    for direction in ("request", "response"):
        host = scripted(
            f"""
            async def on_http_{direction}_{where}(self, *_):
                if "begun" in vars(self):
                    return
                self.begun = True
                await sleep(1)
                first = await self.{direction}.body()
                await sleep(1)
                second = await self.{direction}.body()
                log.info(f"{{first}} {{second}}")
                self.{direction}.append_body("!")
                await sleep(1)
                log.info(f"{{await self.{direction}.body()}}")

            def on_http_{direction}_{"body" if where == "trailers" else "metadata"}(self, *_):
                return Action.PAUSE
            """,
            **flag,
        )
        body, trailers = ["one ", "two"], {"x-t": "1"}
        if direction == "request":
            stream = host.request("POST", headers=CHUNKED, body=body, trailers=trailers)
        else:
            stream = host.request(upstream=Response(200, CHUNKED, body, trailers))
        for _ in range(3):
            assert not stream.ended
            host.advance(1)
        assert (stream.status, errors(host)) == (200, [])
        assert host.messages == ["b'one two' b'one two'", "b'one two!'"]
        got: Any = stream.sent if direction == "request" else stream.response
        assert got.body == b"one two!"
        assert got.trailers == trailers


def test_one_reader(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A body is read by one coroutine at a time."""
    host = scripted(
        """
        async def read(self):
            return await self.request.body()

        async def on_http_request_headers(self, *_):
            try:
                await gather(read(self), read(self))
            except MisuseError as error:
                return self.send_http_response(200, body=str(error))
        """,
        **flag,
    )
    assert host.request("POST", body="body").text == "this body is being read already"


def test_json(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A body is read as JSON; what is none raises ValueError."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            try:
                self.value = await self.request.json(max_bytes=100)
            except ValueError as error:
                return self.send_http_response(400, body=type(error).__name__)
            log.info(repr(self.value))
        """,
        **flag,
    )
    assert host.request("POST", json={"a": [1, None, "ü"]}).status == 200
    assert host.messages == ["{'a': [1, None, 'ü']}"]
    for body in ("", "{", "\\xff", "[" * 90):
        stream = host.request("POST", body=body)
        assert (stream.status, stream.text) == (400, "JSONDecodeError")
    assert host.request("POST", body="1" * 101).status == 413


# Limits


LIMITED = """
    async def on_http_{0}_headers(self, *_):
        body = await self.{0}.body(max_bytes=8)
        log.info(f"got {{len(body)}}")
"""


@pytest.mark.parametrize("chunked", [False, True])
def test_limit_of_a_request(scripted: NewScripted, flag: dict[str, Any], chunked: bool) -> None:
    """As many bytes as are allowed pass, one more is a 413 and one line of the log; told by content-length or not."""
    host = scripted(LIMITED.format("request"), **flag)

    def post(size: int) -> HttpStream:
        return host.request("POST", headers=CHUNKED if chunked else {}, body=["x" * 4, "x" * (size - 4)])

    assert (post(8).status, host.messages) == (200, ["got 8"])
    for _ in range(3):
        stream = post(9)
        assert (stream.status, stream.text) == (413, "Payload Too Large")
    (error,) = errors(host)
    assert error == "http: the body of the request has 9 bytes or more, and the filter takes 8"
    assert host.log[-1].level == LogLevel.WARN


def test_limit_that_is_announced(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A content-length that is too large is refused before anything leaves, or arrives."""
    host = scripted(LIMITED.format("request"), **flag)
    stream = host.open_http()
    stream.send_headers(POST | {"content-length": "9"})
    assert (stream.status, stream.sent) == (413, None)
    host = scripted(LIMITED.format("response"), **flag)
    stream = host.request(upstream=Response(200, body="x" * 9))
    assert (stream.status, stream.text) == (502, "Bad Gateway")


@pytest.mark.parametrize("length", ["-1", "9" * 30, "nine", "", "٩"])
def test_lengths_that_are_none(scripted: NewScripted, length: str) -> None:
    """What is no number is not taken for one."""
    host = scripted(LIMITED.format("request"))
    stream = host.open_http()
    stream.send_headers([*POST.items(), ("content-length", length)])
    stream.send_body("body", end_of_stream=True)
    assert (host.messages, errors(host)) == (["got 4"], [])


def test_limit_of_a_response(scripted: NewScripted) -> None:
    """Too large a response is a 502 if its headers are held, and reset if they have left."""
    response = Response(200, CHUNKED, ["x" * 5, "x" * 4])
    host = scripted(LIMITED.format("response"), allow_on_headers_stop_iteration=True)
    stream = host.request(upstream=response)
    assert (stream.status, stream.text) == (502, "Bad Gateway")
    host = scripted(LIMITED.format("response"))
    assert host.request(upstream=response).reset


def test_too_large_caught(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """Who catches BodyTooLarge decides: another answer, or to let it pass."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            try:
                await self.request.body(max_bytes=8)
            except BodyTooLarge as error:
                if self.request.path == "/answer":
                    return self.send_http_response(400, body=f"{error.max_bytes}")
                log.info("passes")
        """,
        **flag,
    )
    for headers in ({}, CHUNKED):
        body = ["x" * 5, "x" * 5, "x" * 5]
        stream = host.request("POST", "/answer", headers, body)
        assert (stream.status, stream.text) == (400, "8")
        stream = host.request("POST", "/pass", headers, body)
        assert (stream.status, sent(stream).body) == (200, b"x" * 15)
    assert (host.messages, errors(host)) == (["passes"] * 2, [])


def test_limit_of_the_proxy(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """What the proxy cannot hold back is answered by it, and the coroutine is cancelled."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            try:
                await self.request.body(max_bytes=1 << 30)
            finally:
                log.info("end")
        """,
        **flag,
    )
    stream = host.request("POST", headers=CHUNKED, body=["x" * 700_000] * 3)
    assert (stream.status, host.messages, errors(host)) == (413, ["end"], [])


# Changing


CHANGES = {
    "set_body('new')": b"new",
    "set_body('')": b"",
    "append_body('>')": b"one two>",
    "prepend_body(b'<')": b"<one two",
    "set_body('ü' * 1000)": "ü".encode() * 1000,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("trailers", [{}, {"x-t": "1"}])
def test_changes(
    scripted: NewScripted, flag: dict[str, Any], change: str, chunked: bool, trailers: dict[str, str]
) -> None:
    """A body is replaced or added to; the receiver gets exactly that, whatever content-length had said."""
    for direction in ("request", "response"):
        host = scripted(
            f"""
            async def on_http_{direction}_headers(self, *_):
                await self.{direction}.body()
                self.{direction}.{change}
            """,
            **flag,
        )
        length: dict[str, str] = CHUNKED if chunked or trailers else {"content-length": "7"}
        body = ["one ", "two"]
        if direction == "request":
            stream = host.request("POST", "/", length, body, trailers)
        else:
            stream = host.request(upstream=Response(200, length, body, trailers))
        assert (stream.status, errors(host)) == (200, [])
        got: Any = stream.sent if direction == "request" else stream.response
        assert got.body == CHANGES[change]
        assert got.trailers == trailers
        if "content-length" in length and flag["allow_on_headers_stop_iteration"]:
            assert got.headers["content-length"] == str(len(CHANGES[change]))
        else:
            assert "content-length" not in got.headers


def test_several_changes(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """One after the other, each works on what the one before has left."""
    host = scripted(
        """
        async def on_http_response_headers(self, *_):
            await self.response.body()
            self.response.prepend_body("<")
            self.response.append_body(">")
            body = await self.response.body()
            self.response.set_body(body * 2)
        """,
        **flag,
    )
    assert host.request(upstream=Response(200, body="x")).text == "<x><x>"


def test_no_body_to_change(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A message without a body cannot be given one, which is said."""
    host = scripted(
        """
        async def on_http_response_headers(self, *_):
            await self.response.body()
            self.response.set_body("new")
        """,
        **flag,
    )
    assert host.request().status == 500
    assert "MisuseError: there is no body here that could be changed" in errors(host)[0]


# Part by part


def test_chunks(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """Each part is there as it comes, and leaves when the next one is asked for; the headers leave at once."""
    for direction in ("request", "response"):
        host = scripted(
            f"""
            async def on_http_{direction}_headers(self, *_):
                async for chunk in self.{direction}.chunks():
                    log.info(f"{{chunk.data}} {{len(chunk)}} {{bytes(chunk) == chunk.data}}")
                log.info("end")
            """,
            **flag,
        )
        stream = host.open_http(upstream=lambda _: None)
        if direction == "response":
            stream.send_headers(POST, end_of_stream=True)
            stream.respond_headers(200, {"content-length": "6"})
        else:
            stream.send_headers(POST | {"content-length": "6"})
        send = stream.send_body if direction == "request" else stream.respond_body

        def left(direction: str = direction, stream: HttpStream = stream) -> Any:
            return stream.sent if direction == "request" else stream.partial_response

        assert "content-length" not in left().headers
        send("one")
        assert host.messages == ["b'one' 3 True"]
        assert left().body == b"one"
        send("two")
        assert left().body == b"onetwo"
        send("", end_of_stream=True)
        assert left().body == b"onetwo"
        assert host.messages == ["b'one' 3 True", "b'two' 3 True", "end"]
        assert errors(host) == []


@pytest.mark.parametrize("trailers", [{}, {"x-t": "1"}])
def test_chunks_replaced(scripted: NewScripted, flag: dict[str, Any], trailers: dict[str, str]) -> None:
    """Parts become longer, shorter or nothing; what the receiver gets has the length that it has."""
    for direction in ("request", "response"):
        host = scripted(
            f"""
            async def on_http_{direction}_headers(self, *_):
                number = 0
                async for chunk in self.{direction}.chunks():
                    number += 1
                    chunk.replace([b"", f"<{{chunk.data.decode()}}>", chunk.data[:1]][number % 3])
                    assert len(chunk) == len(chunk.data)
            """,
            **flag,
        )
        body = ["one", "two", "three", "four"]
        if direction == "request":
            stream = host.request("POST", body=body, trailers=trailers)
        else:
            stream = host.request(upstream=Response(200, body=body, trailers=trailers))
        got: Any = stream.sent if direction == "request" else stream.response
        assert (stream.status, got.body, errors(host)) == (200, b"<one>t<four>", [])
        assert got.trailers == trailers


def test_chunks_of_nothing(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A message without a body has no parts, and pauses nothing."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            async for chunk in self.request.chunks():
                log.info("never")
        """,
        **flag,
    )
    stream = host.request()
    assert (stream.status, host.messages, answers(host, "request_headers")) == (200, [], [CONTINUE])


def test_chunks_with_waits(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """What comes while a part is worked on is the next part, in one."""
    for direction in ("request", "response"):
        host = scripted(
            f"""
            async def on_http_{direction}_headers(self, *_):
                await sleep(1)
                async for chunk in self.{direction}.chunks():
                    log.info(f"{{chunk.data}}")
                    await sleep(1)
                    chunk.replace(chunk.data.upper())
                    chunk.replace(chunk.data + b";")
                await sleep(1)
                log.info("end")
            """,
            **flag,
        )
        stream = host.open_http(upstream=lambda _: None)
        if direction == "response":
            stream.send_headers(POST, end_of_stream=True)
            stream.respond_headers(200, CHUNKED)
        else:
            stream.send_headers(POST | CHUNKED)
        send = stream.send_body if direction == "request" else stream.respond_body
        send("one ")
        send("two ")
        host.advance(1)
        assert host.messages == ["b'one two '"]
        send("three ")
        send("four ")
        host.advance(1)
        send("five")
        host.advance(0.5)
        assert host.messages == ["b'one two '", "b'three four '"]
        send("", end_of_stream=True)
        host.advance(0.5)
        host.advance(2)
        assert host.messages == ["b'one two '", "b'three four '", "b'five'", "end"]
        got: Any = stream.sent if direction == "request" else stream.partial_response
        assert got.body == b"ONE TWO ;THREE FOUR ;FIVE;"
        assert errors(host) == []


def test_leaving_the_loop_early(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """The rest passes unread, by the class's own callbacks if it has any."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            async for chunk in self.request.chunks():
                chunk.replace("first ")
                break

        def on_http_request_body(self, size, end_of_stream):
            log.info(f"body {size} {end_of_stream}")
        """,
        **flag,
    )
    stream = host.request("POST", headers=CHUNKED, body=["one", "two ", "three"])
    assert (stream.status, sent(stream).body) == (200, b"first two three")
    assert host.messages == ["body 4 False", "body 5 False", "body 0 True"]


def test_answer_in_the_middle(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A request can be answered when one of its parts tells, before or after a wait."""
    for wait in ("", "await sleep(1)"):
        host = scripted(
            f"""
            async def on_http_request_headers(self, *_):
                async for chunk in self.request.chunks():
                    if b"bad" in chunk.data:
                        {wait or "pass"}
                        return self.send_http_response(403, body="bad")
            """,
            **flag,
        )
        stream = host.request("POST", headers=CHUNKED, body=["good", "bad", "more"])
        host.advance(1)
        assert (stream.status, stream.text, errors(host)) == (403, "bad", [])
        assert sent(stream).body == b"good"


def test_large_bodies_pass_part_by_part(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """Bodies that the proxy could not hold back as a whole pass, since each part leaves."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            self.size = 0
            async for chunk in self.request.chunks():
                self.size += len(chunk)
            log.info(f"{self.size}")
        """,
        **flag,
    )
    stream = host.request("POST", headers=CHUNKED, body=["x" * 700_000] * 4)
    assert (stream.status, len(sent(stream).body), host.messages) == (200, 2_800_000, ["2800000"])


def test_exceptions_in_the_middle(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """An exception in a loop ends the request with a 500, or lets the rest pass under the policy continue."""
    script = """
        async def on_http_request_headers(self, *_):
            async for chunk in self.request.chunks():
                if chunk.data == b"two":
                    1 / 0
    """
    host = scripted(script, **flag)
    stream = host.request("POST", headers=CHUNKED, body=["one", "two", "three"])
    assert (stream.status, sent(stream).body) == (500, b"one")
    host = scripted(script, "http-continue", **flag)
    stream = host.request("POST", headers=CHUNKED, body=["one", "two", "three"])
    assert (stream.status, sent(stream).body) == (200, b"onetwothree")


def test_chunks_then_body(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """After some parts the rest can be read as a whole."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            async for chunk in self.request.chunks():
                break
            rest = await self.request.body()
            log.info(f"{chunk.data} {rest}")
        """,
        **flag,
    )
    stream = host.request("POST", headers=CHUNKED, body=["one", "two", "three"])
    assert (stream.status, sent(stream).body) == (200, b"onetwothree")
    assert host.messages == ["b'one' b'onetwothree'"]


def test_appending_between_chunks(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """What is added to a part is no part of its own."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            await sleep(1)
            async for chunk in self.request.chunks():
                log.info(f"{chunk.data}")
                self.request.append_body("!")
                await sleep(1)
        """,
        **flag,
    )
    stream = host.request("POST", headers=CHUNKED, body=["one", "two"])
    host.advance(5)
    assert stream.status == 200
    assert (sent(stream).body, host.messages) == (b"onetwo!", ["b'onetwo'"])


# Beside other callbacks


def test_own_callbacks_beside(scripted: NewScripted) -> None:
    """A plain body's callback hears of what the headers' coroutine has not asked for."""
    script = """
        async def on_http_request_headers(self, *_):
            await sleep(1)
            self.request.headers["x-waited"] = "1"

        def on_http_request_body(self, size, end_of_stream):
            log.info(f"{self.request.buffer.read()} {end_of_stream}")
            self.request.buffer.append("!") if end_of_stream else None

        def on_http_request_trailers(self, *_):
            log.info("trailers")
    """
    for flag in (False, True):
        host = scripted(script, allow_on_headers_stop_iteration=flag)
        stream = host.request("POST", headers=CHUNKED, body=["one", "two"])
        assert stream.sent is None
        host.advance(1)
        assert stream.status == 200
        assert sent(stream).body == b"onetwo!"
        assert sent(stream).headers["x-waited"] == "1"
        assert host.messages == ["b'onetwo' True"]
        stream = host.request("POST", headers=CHUNKED, body=["one", "two"], trailers={"x-t": "1"})
        host.advance(1)
        assert stream.status == 200
        assert (sent(stream).body, host.messages[1:]) == (b"onetwo", ["b'onetwo' False", "trailers"])


def test_own_callbacks_that_pause(scripted: NewScripted) -> None:
    """One that gathers the body, answering PAUSE until its end, holds the headers too where they can be held."""
    for flag in (False, True):
        host = scripted(
            """
            async def on_http_request_headers(self, *_):
                await sleep(1)
                self.request.headers.remove("content-length")

            def on_http_request_body(self, size, end_of_stream):
                if not end_of_stream:
                    return Action.PAUSE
                self.request.buffer.replace(self.request.buffer.read().upper())
            """,
            allow_on_headers_stop_iteration=flag,
        )
        stream = host.open_http()
        stream.send_headers(POST)
        stream.send_body("one")
        host.advance(1)
        stream.send_body("two")
        stream.send_body("", end_of_stream=True)
        assert stream.status == 200
        assert sent(stream).body == b"ONETWO"
        assert errors(host) == []


def test_both_directions(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """Request and response are read one after the other, each with its own."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            self.asked = await self.request.body()
            self.request.set_body(self.asked.upper())

        async def on_http_response_headers(self, *_):
            answer = await self.response.body()
            self.response.set_body(answer + b" to " + self.asked)
        """,
        **flag,
    )
    stream = host.request("POST", body="question", upstream=lambda request: Response(200, body=b"re: " + request.body))
    assert stream.text == "re: QUESTION to question"


def test_early_response(scripted: NewScripted) -> None:
    """An upstream that answers while the request's body is still awaited is heard, and the coroutine is cancelled."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            try:
                await self.request.body()
            finally:
                log.info("end")

        async def on_http_response_headers(self, *_):
            await sleep(1)
    """)
    stream = host.open_http(upstream=lambda _: None)
    stream.send_headers(POST)
    stream.send_body("some")
    stream.respond(413, body="no")
    host.advance(1)
    assert (stream.status, stream.text, host.messages, errors(host)) == (413, "no", ["end"], [])


def test_local_response(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """The filter's own answer is a response whose body can be awaited."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            await sleep(1)
            return self.send_http_response(403, body="no")

        async def on_http_response_headers(self, *_):
            body = await self.response.body()
            self.response.set_body(body + b"!")
        """,
        **flag,
    )
    stream = host.request()
    host.advance(1)
    assert (stream.status, stream.text) == (403, "no!")


def test_a_client_that_leaves_in_its_body(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """The coroutine is cancelled where it waits for the body."""
    for read in ("await self.request.body()", "async for chunk in self.request.chunks(): pass"):
        host = scripted(
            f"""
            async def on_http_request_headers(self, *_):
                try:
                    {read}
                finally:
                    log.info("end")
            """,
            **flag,
        )
        stream = host.open_http()
        stream.send_headers(POST)
        stream.send_body("some")
        stream.abort()
        assert (host.messages, errors(host)) == (["end"], [])


def test_timeout_of_a_body(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A client that is too slow is answered."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            try:
                async with timeout(1):
                    await self.request.body()
            except TimeoutError:
                return self.send_http_response(408)
        """,
        **flag,
    )
    stream = host.open_http()
    stream.send_headers(POST)
    stream.send_body("some")
    host.advance(1)
    assert (stream.status, errors(host)) == (408, [])


def test_tasks_read_bodies(scripted: NewScripted, flag: dict[str, Any]) -> None:
    """A coroutine that the callback awaits may read the body beside a call."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            body, reply = await gather(self.request.body(), self.http_call("auth"))
            log.info(f"{body} {reply.status}")
        """,
        **flag,
    )
    for first in ("body", "call"):
        stream = host.open_http()
        stream.send_headers(POST)
        if first == "call":
            host.http_calls[0].reply(Response(200))
        stream.send_body("one")
        stream.send_body("two", end_of_stream=True)
        if first == "body":
            assert not stream.ended
            host.http_calls[0].reply(Response(200))
        assert (stream.status, sent(stream).body) == (200, b"onetwo")
    assert (host.messages, errors(host)) == (["b'onetwo' 200"] * 2, [])
