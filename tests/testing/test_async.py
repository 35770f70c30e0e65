"""Callbacks that are coroutines, in both bodies: what they wait for, what the proxy hears meanwhile, how they end."""

from __future__ import annotations

import asyncio
import re
import textwrap
from typing import Any

import pytest

from pywasmfilter.testing import Host, HttpStream, NewHost, Refused, Response
from pywasmfilter.types import Action, LogLevel
from tests.e2e.conftest import FILTERS
from tests.testing.conftest import NewScripted

PAUSE, CONTINUE = Action.PAUSE, Action.CONTINUE


def answers(host: Host, callback: str) -> list[int | None]:
    """What the filter has answered to a callback, each time."""
    return [each.answer for each in host.trace if each.name == f"proxy_on_{callback}"]


def resumed(host: Host) -> int:
    """How often the filter has let a stream go on by a call."""
    return len(host.trace.calls("continue_stream"))


def errors(host: Host) -> list[str]:
    """What the filter has logged as wrong, the last line of each."""
    return [line.message.splitlines()[-1] for line in host.log if line.level >= LogLevel.WARN]


def passed(stream: HttpStream) -> bool:
    """Whether the request has reached the upstream, and its answer the client."""
    return stream.sent is not None and stream.ended and not stream.reset and stream.status == 200


def sent(stream: HttpStream) -> Any:
    """What has reached the upstream. Any, so that tests need not ask whether there is something."""
    return stream.sent


# What is awaited


def test_http_call(scripted: NewScripted) -> None:
    """The request waits for the reply, whose parts are there, and can still be changed then."""
    host = scripted("""
        async def on_http_request_headers(self, num_headers, end_of_stream):
            reply = await self.http_call(
                "auth", "POST", "/check?a", headers={"x-a": "1"}, body="who", authority="auth.local", timeout=0.25
            )
            log.info(repr((reply.status, reply.ok, reply.headers["x-b"], reply.headers.get_all("x-c"), reply.body)))
            told = reply.text, reply.json(), reply.trailers.items(), "x-d" in reply.headers, len(reply.headers)
            log.info(repr(told))
            log.info(repr((reply, reply.headers.get("x-d"), reply.headers.get("x-d", "none"), sorted(reply.headers))))
            self.request.headers["x-user"] = self.request.path
    """)
    stream = host.request("GET", "/path")
    (call,) = host.http_calls
    assert (call.cluster, call.timeout, call.request.body) == ("auth", 0.25, b"who")
    assert (call.request.method, call.request.path, call.request.authority) == ("POST", "/check?a", "auth.local")
    assert call.request.headers["x-a"] == "1"
    assert stream.sent is None
    assert answers(host, "request_headers") == [PAUSE]
    call.reply(Response(201, [("X-B", "2"), ("x-c", "3"), ("x-c", "4")], b'{"a":[1]}', {"x-t": "5"}))
    assert host.messages == [
        "(201, True, '2', ['3', '4'], b'{\"a\":[1]}')",
        "('{\"a\":[1]}', {'a': [1]}, [('x-t', '5')], False, 4)",
        "(<HttpReply 201>, None, 'none', [':status', 'x-b', 'x-c'])",
    ]
    assert passed(stream)
    assert sent(stream).headers["x-user"] == "/path"
    assert resumed(host) == 1


def test_http_call_with_json(scripted: NewScripted) -> None:
    """A value becomes a body of JSON with its content-type; the authority is the cluster's name by default."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            await self.http_call("auth", "PUT", json={"a": [1, None, "ü"]}, headers=[("x-a", "1"), ("x-a", "2")])
    """)
    host.request()
    (call,) = host.http_calls
    assert call.request.json() == {"a": [1, None, "ü"]}
    assert (call.request.headers["content-type"], call.request.authority) == ("application/json", "auth")
    assert (call.request.headers.get_all("x-a"), call.timeout) == (["1", "2"], 5)


def test_http_call_that_comes_to_nothing(scripted: NewScripted) -> None:
    """A call that breaks off raises CallFailed; one that times out is a reply of the proxy's; an unknown cluster and a
    timeout that is none raise where the call is made.
    """
    host = scripted("""
        async def on_http_request_headers(self, *_):
            try:
                reply = await self.http_call(self.request.headers["x-to"], timeout=float(self.request.headers["x-in"]))
                return self.send_http_response(200, body=f"{reply.status} {reply.ok}")
            except Exception as error:
                return self.send_http_response(200, body=f"{type(error).__name__}: {error}")
    """)

    def call(to: str = "auth", within: str = "1") -> HttpStream:
        return host.request(headers={"x-to": to, "x-in": within})

    broken = call()
    host.http_calls[0].fail()
    assert broken.text == "CallFailed: the call ended without a response: its connection broke off, or it was too large"
    late = call()
    host.advance(1)
    assert late.text == "504 False"
    assert call("unknown").text.startswith("BadArgument: proxy_http_call")
    assert call(within="0").text == "ValueError: a timeout is more than 0 and at most 2147483 seconds, not 0.0"
    assert call(within="1e9").text.startswith("ValueError: a timeout is more than 0 and at most")
    assert resumed(host) == 0


def test_reply_that_cannot_be_read(scripted: NewScripted) -> None:
    """What goes wrong while a reply is taken over is raised where it is awaited: nobody waits for ever."""
    host = scripted("async def on_http_request_headers(self, *_): await self.http_call('auth')")
    stream = host.request()
    host.fail("get_buffer_bytes")
    host.http_calls[0].reply(Response(200, body="too much"))
    assert stream.status == 500
    assert errors(host) == ["pywasmfilter.exceptions.InternalFailure: proxy_get_buffer_bytes: INTERNAL_FAILURE (10)"]


def test_grpc_call(scripted: NewScripted) -> None:
    """The reply, or what it failed with, comes back; one that cannot be read raises."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            reply = await self.grpc_call(
                "auth", "pkg.Users", "Get", b"id", initial_metadata=[("k", "v")], timeout=0.25
            )
            return self.send_http_response(200, body=repr((reply.status, reply.details, reply.message)))
    """)
    stream = host.request()
    (call,) = host.grpc_calls
    assert (call.method, call.messages) == ("pkg.Users/Get", [b"id"])
    assert call.initial_metadata == {"k": "v"}
    assert call.timeout == 0.25
    call.send_message(b"reply")
    assert stream.text == "(0, '', b'reply')"
    stream = host.request()
    host.grpc_calls[0].close(7, "not you")
    assert stream.text == "(7, 'not you', b'')"
    stream = host.request()
    host.fail("get_buffer_bytes")
    host.grpc_calls[0].send_message(b"too much")
    assert stream.status == 500


TALK = """
    async def on_http_request_headers(self, *_):
        stream = self.stream = self.grpc_stream("auth", "pkg.Chat", "Talk", initial_metadata=[("k", "v")])
        stream.send(b"hello")
        said = []
        try:
            async for message in stream:
                said.append(message)
                if message == b"more?":
                    stream.send(b"more")
                if message == b"enough":
                    stream.cancel()
                if message == b"break":
                    break
        except GrpcError as error:
            said.append((error.status, error.details, str(error)))
        ends = dict(stream.initial_metadata), dict(stream.trailing_metadata), stream.grpc_token
        return self.send_http_response(200, body=repr((said, *ends)))
"""


def test_grpc_stream(scripted: NewScripted) -> None:
    """Messages come one after the other, those that came before anybody asked first; the loop ends with the stream."""
    host = scripted(TALK)
    stream = host.request()
    (call,) = host.grpc_calls
    assert (call.method, call.messages) == ("pkg.Chat/Talk", [b"hello"])
    assert call.initial_metadata == {"k": "v"}
    call.send_initial_metadata({"a": "1"})
    call.send_message(b"more?")
    call.send_message(b"")
    assert call.messages == [b"hello", b"more"]
    call.send_trailing_metadata({"b": "2"})
    assert not stream.ended
    call.close()
    assert stream.text == repr(([b"more?", b""], {"a": "1"}, {"b": "2"}, None))


def test_grpc_stream_that_fails(scripted: NewScripted) -> None:
    """The loop raises GrpcError with the status, after the messages that came before."""
    host = scripted(TALK)
    stream = host.request()
    host.grpc_calls[0].send_message(b"one")
    host.grpc_calls[0].close(14, "gone")
    assert stream.text == repr(([b"one", (14, "gone", "UNAVAILABLE (14): gone")], {}, {}, None))


def test_grpc_stream_that_fails_at_once(scripted: NewScripted) -> None:
    """One that fails while it sends ends the loop as any does."""
    host = scripted(TALK)
    host.clusters["auth"] = lambda call: call.close(14, "lost") if call.messages else None
    assert host.request().text == repr(([(14, "lost", "UNAVAILABLE (14): lost")], {}, {}, None))


def test_grpc_stream_that_is_cancelled(scripted: NewScripted) -> None:
    """The loop ends when its own body cancels the stream, when somebody else does, and with the stream's end."""
    host = scripted(TALK + "\n    def on_foreign_function(self, *_): shared['stream'].cancel()")
    stream = host.request()
    host.grpc_calls[0].send_message(b"enough")
    assert stream.text == repr(([b"enough"], {}, {}, None))
    assert host.grpc_calls == []
    left = host.request()
    left.abort()
    assert (host.grpc_calls, errors(host)) == ([], [])


def test_grpc_stream_that_is_cancelled_elsewhere(scripted: NewScripted) -> None:
    """Who waits for a message of a stream that somebody cancels comes to the end of the loop."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            if self.request.path == "/cancel":
                shared["stream"].cancel()
                return
            stream = shared["stream"] = self.grpc_stream("auth", "pkg.Chat", "Talk")
            async for message in stream:
                pass
            self.request.headers["x-end"] = "1"
    """)
    stream = host.request()
    assert passed(host.request("GET", "/cancel"))
    host.advance(0.001)
    assert sent(stream).headers["x-end"] == "1"


def test_grpc_stream_has_one_reader(scripted: NewScripted) -> None:
    """A second coroutine that asks for the next message is told so."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            stream = self.grpc_stream("auth", "pkg.Chat", "Talk")
            await gather(anext(stream), anext(stream))
    """)
    assert host.request().status == 500
    message = "pywasmfilter.exceptions.MisuseError: another coroutine waits for this stream's next message already"
    assert errors(host) == [message]


def test_sleep(scripted: NewScripted) -> None:
    """A stream sleeps for as long as it says, in seconds, and others go on meanwhile."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            await sleep(float(self.request.headers.get("x-sleep", "0")))
            self.request.headers["x-woken"] = "1"
    """)
    slow, quick = (host.request(headers={"x-sleep": seconds}) for seconds in ("2.5", "0.25"))
    host.advance(0.249)
    assert not quick.ended
    host.advance(0.001)
    assert passed(quick)
    host.advance(2.249)
    assert not slow.ended
    host.advance(0.001)
    assert passed(slow)
    none = host.request()
    assert not none.ended
    host.advance(0.001)
    assert passed(none)
    assert host.plugin.tick_period == 0
    assert host.request(headers={"x-sleep": "-1"}).status == 500
    assert errors(host) == ["ValueError: a time to wait is 0 to 2147483 seconds, not -1.0"]


def test_outside_of_coroutines(scripted: NewScripted) -> None:
    """What is for coroutines says so elsewhere."""
    host = scripted("""
        def on_http_request_headers(self, *_):
            late = failure(self.request.body), failure(self.request.set_body, "")
            return self.send_http_response(200, body="|".join([failure(sleep, 1), failure(gather), *late]))
    """)
    asleep, gathering, body, changed = host.request().text.split("|")
    only = "is for coroutines: callbacks that are `async def`, and tasks"
    assert asleep == f"MisuseError: sleep {only}"
    assert gathering == f"MisuseError: gather {only}"
    assert body.startswith("MisuseError: a body can be awaited in `async def on_http_request_headers`, `…_body`")
    assert changed.startswith("MisuseError: there is no body here that could be changed")


def test_future(scripted: NewScripted) -> None:
    """A future is awaited by many streams at once, and goes on in each of them when another stream sets its result."""
    host = scripted("""
        def on_plugin_start(self, size):
            shared["future"] = Future()
            shared["woken"] = []

        async def on_http_request_headers(self, *_):
            if self.request.path == "/set":
                shared["future"].set_result("set")
                shared["future"].set_result("ignored")
                shared["future"].set_exception(ValueError("ignored"))
                self.request.headers["x-setter"] = "1"
                return
            self.request.headers["x-got"] = f"{await shared['future']} {self.request.path}"
    """)
    waiting = [host.request("GET", f"/{number}") for number in range(20)]
    assert [stream.ended for stream in waiting] == [False] * 20
    setter = host.request("GET", "/set")
    assert sent(setter).headers["x-setter"] == "1"
    host.advance(0.001)
    assert all(passed(stream) for stream in waiting)
    assert [sent(stream).headers["x-got"] for stream in waiting] == [f"set /{number}" for number in range(20)]
    assert "x-got" not in sent(setter).headers
    assert sent(host.request("GET", "/late")).headers["x-got"] == "set /late"


def test_future_that_fails(scripted: NewScripted) -> None:
    """An exception in a future is raised in all that wait for it; asking too early for a result is an error."""
    host = scripted("""
        def on_plugin_start(self, size):
            shared["future"] = Future()

        async def on_http_request_headers(self, *_):
            if self.request.path == "/set":
                log.info(failure(shared["future"].result))
                shared["future"].set_exception(LookupError("as asked for"))
                log.info(failure(shared["future"].result))
                return
            try:
                await shared["future"]
            except LookupError as error:
                self.request.headers["x-got"] = str(error)
    """)
    waiting = [host.request() for _ in range(3)]
    host.request("GET", "/set")
    host.advance(0.001)
    assert [sent(stream).headers["x-got"] for stream in waiting] == ["as asked for"] * 3
    assert host.messages == ["MisuseError: there is no result yet: await it", "LookupError: as asked for"]


def test_future_of_a_plugin(scripted: NewScripted) -> None:
    """A future that the plugin's tick sets lets a stream go on in that tick, with the stream as what calls act on."""
    host = scripted("""
        def on_plugin_start(self, size):
            hostcalls.set_tick_period_milliseconds(1000)
            self.future = Future()

        def on_tick(self):
            self.future.set_result(None)
            log.info(failure(lambda: self.request))
            hostcalls.set_tick_period_milliseconds(0)

        async def on_http_request_headers(self, *_):
            await self.plugin.future
            self.request.headers["x-got"] = self.request.path
    """)
    stream = host.request("GET", "/p")
    host.advance(1)
    assert sent(stream).headers["x-got"] == "/p"


CHAIN = """
    def on_plugin_start(self, size):
        self.free, self.waiting = True, []

    async def on_http_request_headers(self, *_):
        if self.plugin.free:
            self.plugin.free = False
        else:
            future = Future()
            self.plugin.waiting.append(future)
            await future
        if self.request.path == "/first":
            await sleep(0.01)
        if self.plugin.waiting:
            self.plugin.waiting.pop(0).set_result(None)
        else:
            self.plugin.free = True
"""


def test_a_long_chain_of_futures(scripted: NewScripted) -> None:
    """Each of very many streams lets the next one go on, as with a lock, and none is too deep in others for that."""
    host = scripted(CHAIN)
    streams = [host.request("GET", "/first"), *(host.request() for _ in range(2000))]
    host.advance(0.1)
    assert [stream for stream in streams if not passed(stream)] == []


# What the proxy hears


SYNCHRONOUS = """
    async def on_http_request_headers(self, *_):
        self.request.headers["x-seen"] = "headers"
    async def on_http_request_body(self, size, end_of_stream):
        self.request.buffer.append("!") if end_of_stream else None
        return Action.CONTINUE
    async def on_http_request_trailers(self, *_):
        done = Future()
        done.set_result("trailers")
        self.request.trailers["x-seen"] = await done
    async def on_http_response_headers(self, *_):
        self.response.headers["x-seen"] = "headers"
    async def on_http_response_body(self, *_): pass
    async def on_http_response_trailers(self, *_): pass
    async def on_http_stream_done(self): log.info("done")
    async def on_delete(self): log.info("deleted")
"""


def test_a_coroutine_that_waits_for_nothing(scripted: NewScripted) -> None:
    """It is as quick as a function: nothing is paused, nothing resumed, and no task is left."""
    host = scripted(SYNCHRONOUS)
    host.upstream = Response(200, body="b", trailers={"x": "y"})
    stream = host.request("POST", body=["one", "two"], trailers={"x-t": "1"})
    assert passed(stream)
    assert sent(stream).headers["x-seen"] == "headers"
    assert sent(stream).trailers["x-seen"] == "trailers"
    assert stream.headers["x-seen"] == "headers"
    assert {each.answer for each in host.trace if re.search("request|response", each.name)} == {CONTINUE}
    assert (resumed(host), host.plugin.tick_period, host.messages) == (0, 0, ["done", "deleted"])


PARTS = [f"{direction}_{part}" for direction in ("request", "response") for part in ("headers", "body", "trailers")]


@pytest.mark.parametrize("answer", ["None", "Action.CONTINUE", "0"])
def test_a_wait_pauses_and_its_end_resumes(scripted: NewScripted, answer: str) -> None:
    """In each callback a wait holds the message back, and the end of the coroutine lets it go on, once."""
    for name in PARTS:
        host = scripted(f"""
            async def on_http_{name}(self, *_):
                if "waited" not in vars(self):
                    self.waited = True
                    await self.http_call("auth")
                return {answer}
        """)
        upstream = Response(200, body="answer", trailers={"x-t": "2"})
        stream = host.request("POST", body="body", trailers={"x-t": "1"}, upstream=upstream)
        assert not stream.ended, name
        assert answers(host, name)[-1] == PAUSE
        host.http_calls[0].reply(Response(200))
        assert passed(stream), name
        assert (sent(stream).body, stream.body) == (b"body", b"answer")
        assert sent(stream).trailers == {"x-t": "1"}
        assert stream.trailers == {"x-t": "2"}
        assert resumed(host) == 1, name
        assert errors(host) == []


def test_a_coroutine_can_pause(scripted: NewScripted) -> None:
    """One that answers PAUSE at its end leaves the stream paused, for somebody else to resume."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            await sleep(1)
            self.create_task(self.plugin.later(self)) if hasattr(self.plugin, "later") else None
            later = sleep(1)
            later.when_done(self.resume_http_request)
            return Action.PAUSE
    """)
    stream = host.request()
    host.advance(1)
    assert not stream.ended
    assert resumed(host) == 0
    host.advance(1)
    assert passed(stream)
    assert resumed(host) == 1


@pytest.mark.parametrize("wait", ["", "await sleep(0.1)"])
@pytest.mark.parametrize("answer", ["True", "7", "'no'", "[1]"])
def test_wrong_answers(scripted: NewScripted, wait: str, answer: str) -> None:
    """What a coroutine returns is checked as a function's answer is, before a wait and after it."""
    host = scripted(f"""
        async def on_http_request_headers(self, *_):
            {wait or "pass"}
            return {answer}
    """)
    stream = host.request()
    host.advance(0.1)
    assert stream.status == 500
    assert errors(host) == [f"TypeError: the callback returned {answer}, not an Action or None"]


def test_callbacks_that_follow_wait(scripted: NewScripted) -> None:
    """What comes while a body's coroutine waits is seen by the class's own callbacks afterwards, as one part."""
    host = scripted("""
        async def on_http_request_body(self, size, end_of_stream):
            log.info(f"body {size} {end_of_stream} {self.request.buffer.read()}")
            if "waited" not in vars(self):
                self.waited = True
                await sleep(1)
                log.info("woken")

        def on_http_request_trailers(self, count):
            log.info(f"trailers {count}")
    """)
    stream = host.request("POST", body=["one", "two", "three"], trailers={"x-t": "1"})
    assert stream.sent is None or sent(stream).body == b""
    host.advance(1)
    assert host.messages == [
        "body 3 False b'one'",
        "woken",
        "body 11 False b'onetwothree'",
        "trailers 1",
    ]
    assert (sent(stream).body, sent(stream).trailers) == (b"onetwothree", {"x-t": "1"})
    assert resumed(host) == 1


def test_callbacks_that_follow_may_wait_in_turn(scripted: NewScripted) -> None:
    """Each of the callbacks that were put off can be a coroutine that waits."""
    host = scripted("""
        async def on_http_request_body(self, size, end_of_stream):
            log.info(f"body {size} {end_of_stream}")
            await sleep(1)

        async def on_http_request_trailers(self, count):
            log.info(f"trailers {count}")
            await sleep(1)
            self.request.trailers["x-last"] = "1"
    """)
    stream = host.request("POST", body=["one", "two", "three"], trailers={"x-t": "1"})
    for _ in range(3):
        assert not stream.ended
        host.advance(1)
    assert passed(stream)
    assert host.messages == ["body 3 False", "body 11 False", "trailers 1"]
    assert (sent(stream).body, sent(stream).trailers) == (b"onetwothree", {"x-t": "1", "x-last": "1"})
    assert resumed(host) == 1


def test_callbacks_that_follow_may_pause(scripted: NewScripted) -> None:
    """One that was put off and answers PAUSE, waiting for more of the body, sees it with what comes."""
    host = scripted("""
        async def on_http_request_body(self, size, end_of_stream):
            if "waited" not in vars(self):
                self.waited = True
                await sleep(1)
            elif not end_of_stream:
                return Action.PAUSE
            log.info(f"{size} {end_of_stream}")
    """)
    stream = host.open_http()
    stream.send_headers(POST)
    stream.send_body("one")
    stream.send_body("two")
    host.advance(1)
    assert not sent(stream).body
    stream.send_body("three")
    stream.send_body("", end_of_stream=True)
    assert passed(stream)
    assert host.messages == ["3 False", "11 True"]
    assert sent(stream).body == b"onetwothree"


POST = {":method": "POST", ":path": "/", ":authority": "test.local", ":scheme": "http"}


def test_directions_wait_by_themselves(scripted: NewScripted) -> None:
    """A request that still waits in its body does not hold the response up, which may wait too."""
    host = scripted("""
        async def on_http_request_body(self, size, end_of_stream):
            try:
                await sleep(5)
            finally:
                log.info("request: end")

        async def on_http_response_headers(self, *_):
            await sleep(1)
            self.response.headers["x-waited"] = "1"
    """)
    stream = host.open_http(upstream=lambda _: None)
    stream.send_headers(POST)
    stream.send_body("one")
    stream.respond(403, body="no")
    assert not stream.ended
    host.advance(1)
    assert (stream.status, stream.text, stream.headers["x-waited"]) == (403, "no", "1")
    assert host.messages == ["request: end"]
    assert errors(host) == []
    host.advance(10)
    assert host.messages == ["request: end"]


# The end of a stream


CLEANUP = """
    def on_plugin_start(self, size): shared["ends"] = []

    async def on_http_request_headers(self, *_):
        try:
            await sleep(10)
        except CancelledError as error:
            shared["ends"].append(str(error))
            raise
        finally:
            shared["ends"].append("finally")
            log.info(f"{self.request.path} ended")
"""


def test_a_client_that_leaves(scripted: NewScripted) -> None:
    """The coroutine is cancelled where it waits, so that its `finally` blocks run; its timer is gone."""
    host = scripted(CLEANUP.replace("{self.request.path} ended", "{shared['ends']}"))
    stream = host.request()
    stream.abort()
    why = "on_http_request_headers waits for something, and its context is gone"
    assert host.messages == [f"{[why, 'finally']}"]
    assert errors(host) == []
    host.advance(20)
    assert host.plugin.tick_period == 0
    assert resumed(host) == 0


def test_the_end_of_a_plugin(scripted: NewScripted) -> None:
    """Streams that wait are cancelled when their plugin goes, and so are its own tasks."""
    host = scripted("""
        async def background(self):
            try:
                await sleep(1000)
            finally:
                log.info("the plugin's task ends")

        def on_plugin_start(self, size):
            self.create_task(background(self))

        async def on_http_request_headers(self, *_):
            try:
                await self.http_call("auth")
            finally:
                log.info("the stream's coroutine ends")
    """)
    host.request()
    host.close()
    assert host.messages == ["the stream's coroutine ends", "the plugin's task ends"]


def test_an_upstream_that_breaks(scripted: NewScripted) -> None:
    """A response whose coroutine waits breaks off: the client gets the proxy's answer, the coroutine is cancelled."""
    host = scripted("""
        async def on_http_response_headers(self, *_):
            try:
                await sleep(10)
            finally:
                log.info("finally")
    """)
    stream = host.open_http(upstream=lambda _: None)
    stream.send_headers(POST, end_of_stream=True)
    stream.respond_headers(200)
    assert answers(host, "response_headers") == [PAUSE]
    stream.break_upstream()
    assert stream.ended
    assert host.messages == ["finally"]


def test_awaiting_at_the_end(scripted: NewScripted) -> None:
    """A coroutine that is cancelled and goes on to wait is cancelled again; what it starts on the plugin lives on."""
    host = scripted("""
        async def report(plugin, what):
            reply = await plugin.http_call("auth", path=f"/{what}")
            log.info(f"reported: {reply.status}")

        async def on_http_request_headers(self, *_):
            try:
                await sleep(10)
            finally:
                self.plugin.create_task(report(self.plugin, "gone"))
                try:
                    await self.http_call("auth", path="/never")
                finally:
                    log.info("second finally")
    """)
    host.request().abort()
    assert host.messages == ["second finally"]
    assert [call.request.path for call in host.http_calls] == ["/gone", "/never"]
    for call in host.http_calls:
        call.reply(Response(204))
    assert host.messages == ["second finally", "reported: 204"]


def test_a_coroutine_that_will_not_end(scripted: NewScripted) -> None:
    """One that swallows every cancellation is closed in the end, which is logged."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            for _ in range(20):
                try:
                    await sleep(10)
                except BaseException:
                    pass
    """)
    host.request().abort()
    assert set(errors(host)) == {"RuntimeError: coroutine ignored GeneratorExit"}
    host.advance(100)
    assert host.plugin.tick_period == 0


def test_exceptions_at_the_end(scripted: NewScripted) -> None:
    """What goes wrong in a `finally` block is logged."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            try:
                await sleep(10)
            finally:
                1 / 0
    """)
    host.request().abort()
    assert errors(host) == ["ZeroDivisionError: division by zero"]


def test_tasks_that_beget_tasks(scripted: NewScripted) -> None:
    """A stream that is over has no new tasks; coroutines that are gathered at the end are ended too, at last."""
    host = scripted("""
        async def again(self):
            try:
                await sleep(10)
            finally:
                self.create_task(again(self))

        async def gathering():
            try:
                await sleep(10)
            finally:
                await gather(sleep(10), sleep_well())

        async def sleep_well():
            try:
                await sleep(10)
            finally:
                log.info("end")

        def on_http_request_headers(self, *_):
            self.create_task(again(self))
            self.create_task(gathering())
            return Action.PAUSE
    """)
    host.request().abort()
    assert host.messages.count("end") == 1
    assert [line.partition(": ")[2] for line in errors(host)] == [
        "no task can begin: its context is over, or still being created; `self.plugin` may have tasks"
    ]
    host.advance(100)
    assert host.plugin.tick_period == 0


# Exceptions


POLICIES = """
    {decorator}
    async def on_http_request_headers(self, *_):
        if "{when}" == "after":
            await sleep(1)
        raise LookupError("as asked for")
"""
ON_ERROR = {
    "": (500, "Internal Server Error"),
    "@on_error('deny')": (500, "Internal Server Error"),
    "@on_error('continue')": (200, "upstream"),
    "@on_error(Deny(429, [('retry-after', '1')], 'slow down'))": (429, "slow down"),
    "@on_error(lambda stream, error: stream.send_http_response(418, body=str(error)))": (418, "as asked for"),
    "@on_error(lambda stream, error: None)": (200, "upstream"),
    "@on_error(lambda stream, error: 1 / 0)": (500, "Internal Server Error"),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("decorator", ON_ERROR)
def test_exceptions(new_host: NewHost, tmp_path: Any, decorator: str, when: str) -> None:
    """An exception does what the policy says, before a wait and after it, and is logged with its place."""
    callback = textwrap.dedent(POLICIES.format(decorator=decorator or "# none", when=when))
    (tmp_path / "filter.py").write_text(
        "from pywasmfilter import Deny, HttpContext, http_filter, on_error, sleep\n\n@http_filter('f')\n"
        "class F(HttpContext):\n" + textwrap.indent(callback, "    ")
    )
    host = new_host(tmp_path / "filter.py", upstream=Response(200, body="upstream"))
    stream = host.request()
    assert stream.ended == (when == "before")
    host.advance(1)
    assert (stream.status, stream.text) == ON_ERROR[decorator]
    first = host.messages[0].splitlines()
    assert first[0] == "f: uncaught exception in on_http_request_headers"
    assert first[-1] == "LookupError: as asked for"
    assert re.search(r'File ".*filter\.py", line \d+, in F\.on_http_request_headers', host.messages[0])
    assert resumed(host) == (when == "after" and stream.status == 200)
    assert host.metrics["pywasmfilter_exceptions_plugin=f"].value >= 1


def test_exceptions_in_a_response(scripted: NewScripted) -> None:
    """A response that has not begun is replaced; one whose headers have left is reset."""
    host = scripted("""
        async def on_http_response_headers(self, *_):
            await sleep(1)
            raise LookupError
    """)
    stream = host.request()
    host.advance(1)
    assert (stream.status, stream.reset) == (500, False)
    host = scripted("""
        async def on_http_response_body(self, *_):
            await sleep(1)
            raise LookupError
    """)
    stream = host.request(upstream=Response(200, body="body"))
    host.advance(1)
    assert stream.reset


def test_exceptions_with_the_policy_continue(scripted: NewScripted) -> None:
    """Under "continue" a stream whose coroutine fails goes on, in either direction."""
    for name in ("request_headers", "request_body", "response_headers", "response_body"):
        host = scripted(
            f"""
            async def on_http_{name}(self, *_):
                await sleep(1)
                raise LookupError
            """,
            "http-continue",
        )
        stream = host.request("POST", body="body", upstream=Response(200, body="answer"))
        host.advance(1)
        host.advance(1)
        assert passed(stream), name
        assert (sent(stream).body, stream.body) == (b"body", b"answer")


def test_cancelled_is_no_error_of_a_stream_that_is_gone(scripted: NewScripted) -> None:
    """But a coroutine that cancels itself, or is cancelled by another, while its stream lives has failed."""
    host = scripted("async def on_http_request_headers(self, *_): raise CancelledError('by itself')")
    assert host.request().status == 500
    assert errors(host) == ["pywasmfilter.exceptions.CancelledError: by itself"]


# Answers


def test_answer_after_a_wait(scripted: NewScripted) -> None:
    """A request is answered after a wait, whatever the coroutine returns; it passes the response callbacks."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            await sleep(1)
            answer = self.send_http_response(403, [("x-a", "1")], "no")
            return answer if self.request.path == "/returned" else None

        async def on_http_response_headers(self, *_):
            await sleep(1)
            self.response.headers["x-answered"] = str(self.answered)
    """)
    for path in ("/returned", "/none"):
        stream = host.request("GET", path)
        host.advance(1)
        assert not stream.ended
        host.advance(1)
        assert (stream.status, stream.text, stream.headers["x-answered"]) == (403, "no", "True")
        assert stream.sent is None
    assert errors(host) == []


def test_answer_from_a_response(scripted: NewScripted) -> None:
    """A response whose headers are held is replaced after a wait."""
    host = scripted("""
        async def on_http_response_headers(self, *_):
            reply = await self.http_call("auth")
            return self.send_http_response(reply.status, body="instead")
    """)
    stream = host.request(upstream=Response(200, body="upstream's"))
    host.http_calls[0].reply(Response(451))
    assert (stream.status, stream.text) == (451, "instead")
    assert errors(host) == []


def test_answer_while_another_coroutine_waits(scripted: NewScripted) -> None:
    """A stream that a task answers while its callback waits ends; the callback is cancelled."""
    host = scripted("""
        async def deadline(self):
            await sleep(1)
            self.send_http_response(504, body="too slow")

        async def on_http_request_headers(self, *_):
            self.create_task(deadline(self))
            try:
                await self.http_call("auth")
            finally:
                log.info("cancelled")
    """)
    stream = host.request()
    host.advance(1)
    assert (stream.status, stream.text) == (504, "too slow")
    assert host.messages == ["cancelled"]
    host.http_calls[0].reply(Response(200))
    assert (errors(host), resumed(host)) == ([], 0)


def test_closing_after_a_wait(scripted: NewScripted) -> None:
    """A stream is reset after a wait, and does not go on."""
    for direction in ("request", "response"):
        host = scripted(f"""
            async def on_http_{direction}_headers(self, *_):
                await sleep(1)
                self.close_http_{direction}()
        """)
        stream = host.request()
        host.advance(1)
        assert stream.reset
        assert (errors(host), resumed(host)) == ([], 0)


# Tasks


def test_tasks_of_a_stream(scripted: NewScripted) -> None:
    """A task begins at once, gives its result to who awaits it, and acts on its stream."""
    host = scripted("""
        async def look_up(self, name):
            log.info(f"begun {name}")
            reply = await self.http_call("auth", path=f"/{name}")
            return name, reply.status, self.request.path

        async def on_http_request_headers(self, *_):
            first = self.create_task(look_up(self, "a"))
            second = self.create_task(look_up(self, "b"))
            log.info("both")
            self.request.headers["x-got"] = repr([await second, await first, first.done, first.result()])
    """)
    stream = host.request("GET", "/p")
    assert host.messages == ["begun a", "begun b", "both"]
    for call in host.http_calls:
        call.reply(Response(200))
    assert sent(stream).headers["x-got"] == repr([("b", 200, "/p"), ("a", 200, "/p"), True, ("a", 200, "/p")])


def test_tasks_in_plain_callbacks(scripted: NewScripted) -> None:
    """A plain callback can start a task, pause, and let the task decide."""
    host = scripted("""
        async def check(self):
            reply = await self.http_call("auth")
            self.resume_http_request() if reply.ok else self.send_http_response(403)

        def on_http_request_headers(self, *_):
            self.create_task(check(self))
            return Action.PAUSE
    """)
    yes, no = host.request(), host.request()
    for call, status in zip(host.http_calls, (200, 401), strict=True):
        call.reply(Response(status))
    assert (yes.status, no.status) == (200, 403)


def test_tasks_that_fail(scripted: NewScripted) -> None:
    """The exception of a task goes to who awaits it, or else to the log, and harms nobody."""
    host = scripted("""
        async def fail(self, seconds):
            await sleep(seconds)
            raise LookupError(f"after {seconds}")

        async def on_http_request_headers(self, *_):
            task = self.create_task(fail(self, 1))
            self.create_task(fail(self, 2))
            try:
                await task
            except LookupError as error:
                log.info(f"caught {error}")
            await sleep(2)
    """)
    stream = host.request()
    host.advance(3)
    assert passed(stream)
    assert host.messages[0] == "caught after 1"
    assert errors(host) == ["LookupError: after 2"]
    assert "uncaught exception in the task fail" in host.messages[1]


def test_cancelling_tasks(scripted: NewScripted) -> None:
    """A task is cancelled where it waits; awaiting it raises CancelledError, which is not logged. Twice is once."""
    host = scripted("""
        async def work(self):
            try:
                await sleep(10)
            finally:
                log.info("cancelled")

        async def on_http_request_headers(self, *_):
            task = self.create_task(work(self))
            task.cancel()
            task.cancel()
            try:
                await task
            except CancelledError as error:
                log.info(f"{error}, {task.done}")
            done = self.create_task(sleep_not())
            done.cancel()
            log.info(repr(await done))

        async def sleep_not():
            return "result"
    """)
    assert passed(host.request())
    assert host.messages == ["cancelled", "the task was cancelled, True", "'result'"]
    assert errors(host) == []


def test_a_task_that_cancels_itself(scripted: NewScripted) -> None:
    """It is cancelled at its next wait."""
    host = scripted("""
        async def work(self):
            shared["task"].cancel()
            log.info("still here")
            await sleep(1)
            log.info("never")

        async def on_http_request_headers(self, *_):
            async def begin():
                await sleep(1)
                await work(self)
            shared["task"] = self.create_task(begin())
            try:
                await shared["task"]
            except CancelledError:
                log.info("cancelled")
    """)
    stream = host.request()
    host.advance(2)
    assert passed(stream)
    assert host.messages == ["still here", "cancelled"]


def test_cancelled_while_its_turn_is_to_come(scripted: NewScripted) -> None:
    """A task whose future was set by another stream, and that is cancelled before it hears of that, waits anew."""
    host = scripted("""
        async def work(self):
            try:
                await shared["future"]
            except CancelledError:
                log.info("cancelled")
                await sleep(1)
                log.info("slept")

        async def on_http_request_headers(self, *_):
            if self.request.path == "/set":
                shared["future"].set_result(None)
                shared["task"].cancel()
                return
            shared["future"] = Future()
            shared["task"] = self.create_task(work(self))
            await shared["task"]
    """)
    stream = host.request()
    assert passed(host.request("GET", "/set"))
    host.advance(0.5)
    assert host.messages == ["cancelled"]
    host.advance(1)
    assert passed(stream)
    assert (host.messages, errors(host)) == (["cancelled", "slept"], [])


def test_tasks_of_a_plugin_outlive_streams(scripted: NewScripted) -> None:
    """What a stream starts on its plugin goes on when the stream is over, its calls too."""
    host = scripted("""
        async def report(stream):
            try:
                reply = await stream.http_call("auth", path="/report")
                log.info(f"reported {reply.status}")
                await sleep(1)
                reply = await stream.grpc_call("auth", "pkg.Log", "Add", b"")
                log.info(f"reported again {reply.message}")
            finally:
                log.info("end")

        def on_http_request_headers(self, *_):
            self.plugin.create_task(report(self))
    """)
    assert passed(host.request())
    host.http_calls[0].reply(Response(202))
    host.advance(1)
    host.grpc_calls[0].send_message(b"ok")
    assert host.messages == ["reported 202", "reported again b'ok'", "end"]


def test_a_plugins_task_does_not_stop_the_stream_that_starts_it(scripted: NewScripted) -> None:
    """What it does to another stream in the middle of a stream's callback waits until that callback is over."""
    host = scripted("""
        async def wake():
            shared["future"].set_result(None)

        async def on_http_request_headers(self, *_):
            if self.request.path == "/wake":
                self.plugin.create_task(wake())
                return
            shared["future"] = Future()
            await shared["future"]
            self.send_http_response(403)
    """)
    stream = host.request()
    waker = host.request("GET", "/wake")
    host.advance(0.001)
    assert stream.status == 403
    assert passed(waker)


SHARED_CALL = """
    def on_plugin_start(self, size): shared["call"] = None

    async def on_http_request_headers(self, *_):
        if shared["call"] is None:
            shared["call"] = self.{}
        await shared["call"]
"""


def test_awaiting_a_call_of_a_stream_that_is_gone(scripted: NewScripted) -> None:
    """A call that several streams await reaches those that are left when the one that made it has ended."""
    host = scripted(SHARED_CALL.format("http_call('auth')"))
    first, second = host.request(), host.request()
    first.abort()
    host.http_calls[0].reply(Response(200))
    assert passed(second)
    host = scripted(SHARED_CALL.format("grpc_call('auth', 'p.S', 'M', b'')"))
    first, second = host.request(), host.request()
    first.abort()
    host.grpc_calls[0].send_message(b"")
    assert passed(second)


def test_create_task_wants_a_coroutine(scripted: NewScripted) -> None:
    """Anything else is refused, with what is wanted."""
    host = scripted("""
        async def work(): pass

        def on_http_request_headers(self, *_):
            return self.send_http_response(200, body=failure(self.create_task, work))
    """)
    assert host.request().text.startswith("TypeError: create_task takes a coroutine, which calling an `async def`")


def test_gather(scripted: NewScripted) -> None:
    """Calls, coroutines, tasks and futures are waited for at once; results are in the order of the arguments."""
    host = scripted("""
        async def double(number):
            await sleep(number)
            return 2 * number

        async def on_http_request_headers(self, *_):
            future = Future()
            future.set_result("future")
            got = await gather(double(3), self.http_call("auth"), future, self.create_task(double(1)), sleep(2))
            got[1] = got[1].status
            self.request.headers["x-got"] = repr([*got, await gather()])
    """)
    stream = host.request()
    host.http_calls[0].reply(Response(204))
    host.advance(2.999)
    assert not stream.ended
    host.advance(0.001)
    assert sent(stream).headers["x-got"] == repr([6, 204, "future", 2, None, []])


def test_gather_with_a_failure(scripted: NewScripted) -> None:
    """The first exception is raised, and the other coroutines are cancelled; or it stands among the results."""
    host = scripted("""
        async def work(seconds, error=None):
            try:
                await sleep(seconds)
                if error:
                    raise error
                return seconds
            except CancelledError:
                log.info(f"cancelled {seconds}")
                raise

        async def on_http_request_headers(self, *_):
            if self.request.path == "/all":
                got = await gather(work(1, KeyError("k")), work(2), return_exceptions=True)
            else:
                try:
                    call = self.grpc_call("auth", "p.S", "M", b"")
                    got = await gather(work(5), work(1, KeyError("k")), work(7), call)
                except KeyError as error:
                    got = f"raised {error}"
            self.request.headers["x-got"] = repr(got)
    """)
    stream = host.request()
    host.advance(1)
    assert sent(stream).headers["x-got"] == repr("raised 'k'")
    assert (host.messages, host.grpc_calls) == (["cancelled 5", "cancelled 7"], [])
    stream = host.request("GET", "/all")
    host.advance(2)
    assert sent(stream).headers["x-got"] == repr([KeyError("k"), 2])
    assert errors(host) == []


def test_gather_that_is_cancelled(scripted: NewScripted) -> None:
    """Whoever leaves cancels all that it waited for, nested gathers too."""
    host = scripted("""
        async def work(name):
            try:
                await sleep(10)
            finally:
                log.info(f"end of {name}")

        async def on_http_request_headers(self, *_):
            try:
                async with timeout(1):
                    await gather(work("a"), gather(work("b"), work("c")), self.grpc_call("auth", "p.S", "M", b""))
            except TimeoutError as error:
                return self.send_http_response(504, body=str(error))
    """)
    stream = host.request()
    host.advance(1)
    assert (stream.status, stream.text) == (504, "it took longer than 1 seconds")
    assert (sorted(host.messages), host.grpc_calls) == (["end of a", "end of b", "end of c"], [])
    host.request().abort()
    assert (len(host.messages), host.grpc_calls, errors(host)) == (6, [], [])


# Timeouts


TIMEOUT = """
    async def on_http_request_headers(self, *_):
        try:
            async with timeout(float(self.request.headers["x-timeout"])):
                reply = await self.http_call("auth")
            self.request.headers["x-got"] = str(reply.status)
        except TimeoutError as error:
            self.request.headers["x-got"] = str(error)
"""


def test_timeout(scripted: NewScripted) -> None:
    """What takes too long is cancelled; what is in time has its result, and the timer is gone."""
    host = scripted(TIMEOUT)
    late, early = host.request(headers={"x-timeout": "1"}), host.request(headers={"x-timeout": "1.5"})
    host.advance(1)
    assert sent(late).headers["x-got"] == "it took longer than 1.0 seconds"
    host.http_calls[1].reply(Response(200))
    assert sent(early).headers["x-got"] == "200"
    host.advance(10)
    assert (host.plugin.tick_period, errors(host)) == (0, [])


def test_timeouts_within_timeouts(scripted: NewScripted) -> None:
    """Each ends its own block: the inner one lets the outer block go on, the outer one ends both."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            inner, outer = map(float, self.request.headers["x-timeouts"].split())
            said = []
            try:
                async with timeout(outer):
                    try:
                        async with timeout(inner):
                            await sleep(10)
                    except TimeoutError:
                        said.append("inner")
                    await sleep(1)
                    said.append("rest")
            except TimeoutError:
                said.append("outer")
            self.request.headers["x-got"] = " ".join(said)
    """)
    expected = {"1 5": "inner rest", "1 1.5": "inner outer", "3 2": "outer", "2 2": "outer", "0 5": "inner rest"}
    streams = {timeouts: host.request(headers={"x-timeouts": timeouts}) for timeouts in expected}
    host.advance(10)
    assert {timeouts: sent(stream).headers["x-got"] for timeouts, stream in streams.items()} == expected
    assert errors(host) == []


def test_a_timeout_that_nobody_catches(scripted: NewScripted) -> None:
    """It is an exception as any: a 500, and a traceback in the log."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            async with timeout(1):
                await self.http_call("auth")
    """)
    stream = host.request()
    host.advance(1)
    assert stream.status == 500
    assert errors(host) == ["TimeoutError: it took longer than 1 seconds"]


def test_a_timeout_in_which_nothing_waits(scripted: NewScripted) -> None:
    """It pauses nothing, and one tick finds that there is nothing to do; negative ones are refused."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            async with timeout(int(self.request.headers["x-timeout"])):
                pass
    """)
    assert passed(host.request(headers={"x-timeout": "1"}))
    host.advance(1)
    assert host.plugin.tick_period == 0
    assert host.request(headers={"x-timeout": "-1"}).status == 500


# Abandoned calls


def test_grpc_calls_are_cancelled(scripted: NewScripted) -> None:
    """A gRPC call that nobody waits for any more is cancelled; one that others await goes on."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            if self.request.path == "/shared":
                shared.setdefault("call", self.plugin.grpc_call("auth", "pkg.S", "Shared", b""))
                await shared["call"]
                return
            async with timeout(1):
                await self.grpc_call("auth", "pkg.S", "Own", b"")
    """)
    host.request()
    host.request().abort()
    assert len(host.grpc_calls) == 1
    host.advance(1)
    assert host.grpc_calls == []
    first, second = host.request("GET", "/shared"), host.request("GET", "/shared")
    (call,) = [call for call in host.grpc_calls if call.method == "pkg.S/Shared"][:1]
    first.abort()
    assert call.open
    call.send_message(b"")
    assert passed(second)


# Other libraries


@pytest.mark.parametrize(
    "code",
    [
        "await asyncio.sleep(0)",
        "await asyncio.sleep(1)",
        "await asyncio.gather(asyncio.sleep(1))",
        "await asyncio.wait_for(asyncio.sleep(1), 1)",
        "async with asyncio.timeout(1): await sleep(1)",
        "await asyncio.Event().wait()",
        "await asyncio.Queue().get()",
        "asyncio.get_running_loop()",
        "asyncio.run(asyncio.sleep(1))",
        "asyncio.create_task(asyncio.sleep(1))",
        "await Bare()",
    ],
)
def test_asyncio(new_host: NewHost, tmp_path: Any, code: str) -> None:
    """What needs asyncio's event loop gives an error that says what to use."""
    (tmp_path / "filter.py").write_text(f"""
import asyncio
from pywasmfilter import HttpContext, http_filter, sleep

class Bare:
    def __await__(self):
        yield

@http_filter("f")
class F(HttpContext):
    async def on_http_request_headers(self, *_):
        {code}
""")
    asyncio.run(asyncio.sleep(0))  # after a loop of the process itself, asyncio says another thing than before
    host = new_host(tmp_path / "filter.py")
    assert host.request().status == 500
    said = next(message for message in host.messages if "uncaught exception" in message)
    assert re.search("use what pywasmfilter has, such as http_call|await pywasmfilter.sleep.seconds.", said)


# Callbacks of plugins, and those that hold nothing back


def test_on_plugin_start_waits(new_host: NewHost) -> None:
    """A plugin starts at its first wait, and what is left is done beside."""
    script = textwrap.dedent("""
        async def on_plugin_start(self, size):
            self.keys = None
            await sleep(1)
            self.keys = (await self.http_call("auth", path="/keys")).text
            await sleep(1)
            1 / 0

        async def on_http_request_headers(self, *_):
            return self.send_http_response(200, body=repr(self.plugin.keys))
    """)
    host = new_host(FILTERS / "scripted.py", plugin="http", configuration=script)
    host.clusters["auth"] = Response(200, body="k1")
    assert host.request().text == "None"
    host.advance(1)
    assert host.request().text == "'k1'"
    host.advance(1)
    assert errors(host) == ["ZeroDivisionError: division by zero"]
    assert host.logged("uncaught exception in on_plugin_start")
    assert host.request().text == "'k1'"


@pytest.mark.parametrize("code", ["return False", "raise LookupError('no')", "raise CancelledError", "return 7"])
def test_on_plugin_start_that_refuses(new_host: NewHost, code: str) -> None:
    """Before its first wait a coroutine refuses the configuration as a function does."""
    script = f"async def on_plugin_start(self, size):\n    {code}"
    if code == "return 7":
        new_host(FILTERS / "scripted.py", plugin="http", configuration=script)
        return
    with pytest.raises(Refused):
        new_host(FILTERS / "scripted.py", plugin="http", configuration=script)


def test_on_plugin_done(scripted: NewScripted) -> None:
    """A plugin goes when its coroutine has ended, be it with an exception."""
    for end in ("", "1 / 0"):
        host = scripted(f"""
            async def on_plugin_done(self):
                await self.http_call("auth", path="/bye")
                log.info("said bye")
                {end}
        """)
        plugin = host.plugin
        plugin.shut_down()
        assert not plugin.deleted
        (call,) = host.http_calls
        call.reply(Response(200))
        assert plugin.deleted
        assert host.messages[0] == "said bye"


def test_on_plugin_done_that_waits_for_nothing(scripted: NewScripted) -> None:
    """It ends the plugin at once, and with False it does not."""
    for answer in ("None", "True"):
        host = scripted(f"async def on_plugin_done(self): return {answer}")
        plugin = host.plugin
        host.close()
        assert plugin.deleted
    host = scripted("async def on_plugin_done(self): return False")
    plugin = host.plugin
    host.close()
    assert not plugin.deleted


def test_on_tick(scripted: NewScripted) -> None:
    """A tick that is a coroutine does not come again before it has ended; its exceptions are logged."""
    host = scripted("""
        def on_plugin_start(self, size):
            hostcalls.set_tick_period_milliseconds(1000)
            self.ticks = 0

        async def on_tick(self):
            self.ticks += 1
            log.info(f"tick {self.ticks} begins")
            await sleep(1.5)
            log.info(f"tick {self.ticks} ends")
            1 / 0
    """)
    host.advance(5.9)
    assert [message for message in host.messages if "tick" in message.splitlines()[0] and "exc" not in message] == [
        "tick 1 begins",
        "tick 1 ends",
        "tick 2 begins",
        "tick 2 ends",
        "tick 3 begins",
    ]
    assert errors(host) == ["ZeroDivisionError: division by zero"]


def test_on_queue_ready(scripted: NewScripted) -> None:
    """It may wait; each item has a coroutine of its own."""
    host = scripted("""
        def on_plugin_start(self, size):
            self.queue = hostcalls.register_shared_queue("q")

        async def on_queue_ready(self, queue_id):
            item = hostcalls.dequeue_shared_queue(queue_id)
            reply = await self.http_call("auth", path=f"/{item.decode()}")
            log.info(f"{item.decode()} {reply.status}")

        def on_http_request_headers(self, *_):
            hostcalls.enqueue_shared_queue(self.plugin.queue, self.request.path[1:])
    """)
    host.request("GET", "/a")
    host.request("GET", "/b")
    for call in reversed(host.http_calls):
        call.reply(Response(200))
    assert host.messages == ["b 200", "a 200"]


def test_on_log(scripted: NewScripted) -> None:
    """An access logger may wait: what it reads before is there."""
    host = scripted("""
        async def on_log(self):
            path = hostcalls.get_http_request_headers()
            await self.http_call("auth", path=dict(path)[":path"])
            log.info("logged")
    """)
    stream = host.request("GET", "/p")
    host.plugin.log_request(stream)
    (call,) = host.http_calls
    assert call.request.path == "/p"
    call.reply(Response(200))
    assert host.messages == ["logged"]


@pytest.mark.parametrize("callback", ["on_http_stream_done", "on_delete"])
def test_last_callbacks_of_a_stream(scripted: NewScripted, callback: str) -> None:
    """They may wait, as tasks of the plugin; errors are logged, and the stream's own calls are the plugin's then."""
    host = scripted(f"""
        async def on_http_request_headers(self, *_):
            self.path = self.request.path

        async def {callback}(self):
            reply = await self.http_call("auth", path=self.path)
            await sleep(1)
            log.info(f"{{reply.status}} {{self.path}}")
            1 / 0
    """)
    assert passed(host.request("GET", "/p"))
    host.http_calls[0].reply(Response(200))
    host.advance(1)
    assert host.messages[0] == "200 /p"
    assert f"uncaught exception in {callback}\n" in host.messages[1]


def test_callbacks_of_calls_are_functions(scripted: NewScripted) -> None:
    """The callback of a call cannot be a coroutine, which is said where the call is made."""
    host = scripted("""
        def on_http_request_headers(self, *_):
            async def reply(*_): pass
            self.dispatch_http_call("auth", [(":method", "GET"), (":path", "/"), (":authority", "a")], reply)
            return Action.PAUSE
    """)
    assert host.request().status == 500
    assert "coroutines await http_call, grpc_call and grpc_stream instead" in errors(host)[0]


# TCP


def test_tcp(scripted: NewScripted) -> None:
    """A new connection waits, and so do the client's data; what comes meanwhile is seen afterwards, together."""
    host = scripted(
        """
        async def on_new_connection(self):
            await sleep(1)
            log.info("connected")

        async def on_downstream_data(self, size, end_of_stream):
            log.info(f"{self.downstream_data.read()} {end_of_stream}")
            await sleep(1)
            if end_of_stream:
                self.downstream_data.append("!")
        """,
        "tcp",
    )
    connection = host.connect()
    connection.from_client(b"one ")
    assert host.messages == []
    host.advance(1)
    assert host.messages == ["connected", "b'one ' False"]
    connection.from_client(b"two ")
    connection.from_client(b"three", end_of_stream=True)
    assert connection.to_upstream == b""
    host.advance(1)
    assert host.messages[2:] == ["b'one two three' True"]
    host.advance(1)
    assert connection.to_upstream == b"one two three!"
    connection.from_upstream(b"answer", end_of_stream=True)
    assert (connection.to_client, connection.ended, errors(host)) == (b"answer", True, [])


def test_tcp_connection_that_is_refused(scripted: NewScripted) -> None:
    """A connection is closed after a wait, by the filter or for an exception."""
    for code in ("self.close_downstream()", "1 / 0"):
        host = scripted(
            f"""
            async def on_downstream_data(self, size, end_of_stream):
                reply = await self.http_call("auth", body=self.downstream_data.read())
                {code}
            """,
            "tcp",
        )
        connection = host.connect()
        connection.from_client(b"secret")
        host.http_calls[0].reply(Response(200))
        assert (connection.ended, connection.to_upstream) == (True, b"")


def test_tcp_of_the_upstream(scripted: NewScripted) -> None:
    """Proxies cannot let an upstream's data go on later: a wait there is an error, a coroutine without one is none."""
    host = scripted(
        """
        async def on_upstream_data(self, size, end_of_stream):
            if self.upstream_data.read() == b"wait":
                await sleep(1)
        """,
        "tcp",
    )
    connection = host.connect()
    connection.from_upstream(b"go")
    assert connection.to_client == b"go"
    connection.from_upstream(b"wait")
    assert connection.ended
    message = "MisuseError: on_upstream_data cannot wait: proxies have no way to let it go on later"
    assert errors(host) == [f"pywasmfilter.exceptions.{message}"]


def test_tcp_closes(scripted: NewScripted) -> None:
    """A coroutine that waits is cancelled with the connection; what its last callbacks wait for goes on."""
    host = scripted(
        """
        async def on_downstream_data(self, size, end_of_stream):
            try:
                await sleep(10)
            finally:
                log.info("cancelled")

        async def on_downstream_close(self, peer):
            log.info(f"closed, {(await self.http_call('auth')).status}")

        async def on_stream_done(self):
            log.info(f"done, {(await self.http_call('auth')).status}")
        """,
        "tcp",
    )
    connection = host.connect()
    connection.from_client(b"one")
    connection.close_client()
    assert connection.ended
    assert host.messages == ["cancelled"]
    for call in host.http_calls:
        call.reply(Response(200))
    assert host.messages == ["cancelled", "closed, 200", "done, 200"]


def test_undecided_streams(scripted: NewScripted) -> None:
    """A plugin for HTTP and TCP has coroutines in both."""
    host = scripted(
        """
        async def on_http_request_headers(self, *_):
            await sleep(1)
            self.request.headers["x-got"] = "1"

        async def on_new_connection(self):
            await sleep(1)
        """,
        "both",
    )
    stream, connection = host.request(), host.connect()
    connection.from_client(b"data")
    host.advance(1)
    assert sent(stream).headers["x-got"] == "1"
    assert connection.to_upstream == b"data"


# Nothing is left


def test_nothing_is_left(scripted: NewScripted) -> None:
    """After streams that ended in all kinds of ways there are no calls that wait, no tasks, no contexts, no timers."""
    host = scripted("""
        async def on_http_request_headers(self, *_):
            kind = self.request.path[1:]
            if kind == "count":
                waiting = len(callouts.pending), len(contexts), len(self.plugin._abi_tasks or ())
                timers = self.plugin._abi_timers
                return self.send_http_response(200, body=repr((waiting, len(timers._heap))))
            async with timeout(5):
                await gather(self.http_call("auth"), sleep(1))
            if kind == "fail":
                1 / 0
            if kind == "answer":
                return self.send_http_response(403)
    """)
    for kind in ("pass", "fail", "answer", "abort", "slow") * 10:
        stream = host.request("GET", f"/{kind}")
        if kind == "abort":
            stream.abort()
        if kind != "slow":
            host.http_calls[0].reply(Response(200))
    host.advance(30)
    assert host.request("GET", "/count").text == "((0, 2, 0), 0)"


@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff", b"\0[\0]\0", b"[" * 100_000, b'{"a": "\xed\xa0\x80"}'], ids=range(6)
)
def test_json_that_is_none(scripted: NewScripted, body: bytes) -> None:
    """It is a ValueError in both bodies, whatever is wrong with it."""
    host = scripted("""
        async def on_http_request_headers(self, num_headers, end_of_stream):
            try:
                await self.request.json()
            except ValueError as error:
                return self.send_http_response(400, body=type(error).__name__)
    """)
    assert host.request("POST", "/", body=body).status == 400
