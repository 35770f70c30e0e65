"""Header maps in a real proxy: every operation, every byte, and what is refused."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.echo import EchoServer
from pywasmfilter_compiler.envoy.run import serve

from tests.e2e.client import Response, Text, request
from tests.e2e.probing import ask, encoded, pass_through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.run import Server

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

TEXT = bytes(range(0x80, 0x100))  # obs-text: what RFC 9110 allows in a field value beside visible ASCII
FROM_UPSTREAM = [(b"x-up", b"1"), (b"x-up", b"2"), (b"x-empty", b""), (b"x-text", TEXT)]


@pytest.fixture(scope="module")
def server(build_filter: FilterBuilder) -> Iterator[Server]:
    """The probe before an upstream that answers with some headers of its own."""
    with (
        EchoServer(FROM_UPSTREAM) as echo,
        serve(build_filter("probe").path, upstream=echo.url) as it,
    ):
        yield it


SENT: list[tuple[Text, Text]] = [("x-one", "1"), ("x-two", "a"), ("X-Two", "b"), ("x-empty", ""), ("x-text", TEXT)]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("h['x-one']", "1"),
        ("h['X-ONE']", "1"),
        ("h[b'x-one']", "1"),
        ("h['x-empty']", ""),
        ("h.get('x-one'), h.get('absent'), h.get('absent', 'd'), h.get('x-empty', 'd')", ("1", None, "d", "")),
        ("h.get_all('x-two'), h.get_all('X-Two'), h.get_all(b'x-two')", (["a", "b"],) * 3),
        ("h.get_all('absent'), h.get_all('x-empty')", ([], [""])),
        ("'x-one' in h, 'X-One' in h, b'x-one' in h, 'x-empty' in h, 'absent' in h", (True, True, True, True, False)),
        (
            "[pair for pair in h.items() if pair[0] in ('x-one', 'x-two')]",
            [("x-one", "1"), ("x-two", "a"), ("x-two", "b")],
        ),
        ("[name for name in h if name in ('x-one', 'x-two')]", ["x-one", "x-two"]),
        ("dict(h.raw_items())[b'x-text']", TEXT),
        ("h['x-text'].encode('utf-8', 'surrogateescape')", TEXT),
        ("len(h) == len(h.items()) == len(h.raw_items())", True),
        ("self.request.method, self.request.path, self.request.authority", ("GET", "/", "test.local")),
        ("repr(h)", "<HeaderMap HTTP_REQUEST_HEADERS>"),
    ],
)
def test_reading(server: Server, code: str, expected: object) -> None:
    """Names are matched ignoring case, repeated and empty values are kept, and any byte can be read."""
    assert ast.literal_eval(ask(server.port, f"h = self.request.headers\nresult = {code}", SENT)) == expected


def test_missing_header_is_a_key_error(server: Server) -> None:
    """Indexing and deleting what is not there raises KeyError; removing it does not."""
    assert ask(server.port, "self.request.headers['absent']") == "KeyError: 'absent'"
    assert ask(server.port, "del self.request.headers['absent']") == "KeyError: 'absent'"
    assert ask(server.port, "self.request.headers.remove('absent')") == "None"


CHANGES = [
    ("h.add('x-new', 'v')", {"x-new": ["v"], "x-two": ["a", "b"]}),
    ("h.add('x-one', '2')", {"x-one": ["1", "2"]}),
    ("h.add('X-One', b'2')", {"x-one": ["1", "2"]}),
    ("h['x-two'] = 'c'", {"x-two": ["c"]}),
    ("h['x-new'] = 'c'", {"x-new": ["c"]}),
    ("h['x-one'] = ''", {"x-one": [""]}),
    ("h.add('x-new', '')", {"x-new": [""]}),
    ("del h['X-Two']", {"x-two": [], "x-one": ["1"]}),
    ("h.remove('x-two')", {"x-two": []}),
    ("h['x-long'] = 'x' * 10_000", {"x-long": ["x" * 10_000]}),
    ("h.replace_all([*h.items(), ('x-new', b'v')])", {"x-new": ["v"], "x-two": ["a", "b"], "x-empty": [""]}),
    (
        "h.replace_all(p for p in h.items() if p[0] not in ('x-one', 'x-two'))",
        {"x-one": [], "x-two": [], "x-empty": [""]},
    ),
]


@pytest.mark.parametrize(("code", "expected"), CHANGES)
def test_changing_the_request(server: Server, code: str, expected: dict[str, list[str]]) -> None:
    """What is added, replaced or removed arrives at the upstream so."""
    received = upstream_saw(pass_through(server.port, on_request=f"h = self.request.headers\n{code}", headers=SENT))
    assert {name: [value for key, value in received if key == name] for name in expected} == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("h.add('x-up', '3')", {"x-up": [b"1", b"2", b"3"]}),
        ("h['x-up'] = '3'", {"x-up": [b"3"]}),
        ("del h['x-up']", {"x-up": []}),
        ("h.add('x-empty-too', '')", {"x-empty": [b""], "x-empty-too": [b""]}),
        ("h.replace_all([*h.items(), ('x-new', b'v')])", {"x-new": [b"v"], "x-up": [b"1", b"2"]}),
        ("h['x-status'] = str(self.response.status)", {"x-status": [b"200"]}),
        ("h['x-all'] = ','.join(h.get_all('x-up'))", {"x-all": [b"1,2"]}),
    ],
)
def test_changing_the_response(server: Server, code: str, expected: dict[str, list[bytes]]) -> None:
    """The same for the response and the client."""
    response = pass_through(server.port, on_response=f"h = self.response.headers\n{code}")
    assert response.status == 200
    assert {name: response.header(name) for name in expected} == expected


def test_any_byte_goes_through_text_and_back(server: Server) -> None:
    """Bytes 0x80 to 0xff that were read as str and written again are the same, on the way there and back."""
    response = pass_through(
        server.port,
        on_request="self.request.headers['x-copy'] = self.request.headers['x-text']",
        on_response="h = self.response.headers; h.add('x-copy', h['x-text']); h.replace_all(h.items())",
        headers=[("x-text", TEXT)],
    )
    received = dict(upstream_saw(response))
    assert received["x-text"].encode("latin-1") == received["x-copy"].encode("latin-1") == TEXT
    assert response.header("x-text") == response.header("x-copy") == [TEXT]


def test_text_is_utf8(server: Server) -> None:
    """Text beyond ASCII goes out as UTF-8, and UTF-8 comes in as text."""
    response = pass_through(server.port, on_request="self.request.headers['x-new'] = 'grüße'")
    assert dict(upstream_saw(response))["x-new"].encode("latin-1").decode() == "grüße"
    assert ask(server.port, "self.request.headers['x-in'] == 'grüße'", [("x-in", "grüße".encode())]) == "True"


@pytest.mark.parametrize("byte", ["\\n", "\\r", "\\0"])
@pytest.mark.parametrize(
    "call",
    [
        "self.request.headers.add('x-a', 'v{}x-b: c')",
        "self.request.headers['x-a'] = 'v{}x-b: c'",
        "self.request.headers['x-a'] = b'v{}x-b: c'",
        "self.request.headers['x{}-a'] = 'v'",
        "self.request.headers.replace_all([*self.request.headers.items(), ('x-a', 'v{}')])",
        "self.send_http_response(200, headers=[('x-a', 'v{}x-b: c')])",
        "hostcalls.add_http_request_header('x-a', '{}')",
    ],
)
def test_line_breaks_are_refused(server: Server, call: str, byte: str) -> None:
    """A line break or NUL in a name or value is a ValueError, and nothing is sent."""
    answer = ask(server.port, call.format(byte))
    assert answer.startswith("ValueError: a header must not contain a line break or NUL: ")


def test_too_many_headers_are_refused(server: Server) -> None:
    """More pairs or bytes than a proxy reads are a ValueError, instead of an empty map in the proxy."""
    for code, message in {
        "self.request.headers.replace_all([('x', 'y')] * 1025)": "1025 header pairs, a proxy takes 1024 at most",
        "self.request.headers.replace_all([('x', 'y' * (1 << 20))])": "header pairs of 1048591 bytes, a proxy takes ",
        "self.send_http_response(200, headers=[('x', 'y')] * 1025)": "1025 header pairs, a proxy takes 1024 at most",
    }.items():
        assert ask(server.port, code).startswith(f"ValueError: {message}")


@pytest.mark.parametrize("value", ["1", "None", "['a']", "bytearray(b'a')", "'\\ud800'"])
def test_values_are_text_or_bytes(server: Server, value: str) -> None:
    """What is neither str nor bytes, or no text that could be sent, is an error."""
    for code in (f"self.request.headers['x'] = {value}", f"self.request.headers.replace_all([('x', {value})])"):
        assert ask(server.port, code).split(":")[0] in {"TypeError", "AttributeError", "UnicodeEncodeError"}


def test_wrong_callback_is_a_bad_argument(server: Server) -> None:
    """Looking up a map that is not there yet, or changing one that is gone, raises BadArgument with advice."""
    looked_up = (
        "BadArgument: proxy_get_header_map_value: BAD_ARGUMENT (2); headers and trailers can be read in their own "
        "callback, while the stream is paused from it, and in on_http_stream_done; those of a call in the call's own "
        "callback"
    )
    added = (
        "BadArgument: proxy_add_header_map_value: BAD_ARGUMENT (2); headers and trailers can be changed in their own "
        "callback and while the stream is paused from it, and not after a body was awaited unless the proxy holds "
        "headers back (allow_on_headers_stop_iteration): see PluginContext.holds_headers, and body(hold_headers=True)"
    )
    assert ask(server.port, "self.response.headers.get('x')") == looked_up
    assert ask(server.port, "self.response.headers.add('x', 'y')") == added
    assert ask(server.port, "self.response.headers.items()") == looked_up
    assert ask(server.port, "'x' in self.request.trailers") == looked_up
    for code, expected in {
        "self.request.headers['host']": looked_up,
        "self.request.path": looked_up,
        "self.request.headers.add('x', 'y')": added,
        "self.request.headers.items()": looked_up,
    }.items():
        assert pass_through(server.port, on_response=code).header("x-result") == [expected.encode()]


def test_headers_can_be_read_when_the_stream_is_done(server: Server) -> None:
    """In on_http_stream_done both header maps can be read once more."""
    code = "'done', self.request.headers['x-in'], self.response.headers[':status'], self.response.headers['x-up']"
    request(server.port, headers=[("x-go-on", "1"), ("x-in", "v"), ("x-done-code", encoded(code))])
    assert server.envoy.wait_for_log("'done'", 5).message == "wasm log: ('done', 'v', '200', '1')"


def upstream_saw(response: Response) -> list[list[str]]:
    """The header pairs that the echo upstream received."""
    assert response.status == 200, response
    pairs: list[list[str]] = json.loads(response.body)["headers"]
    return pairs
