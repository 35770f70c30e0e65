"""Header maps behave like a dict of text that may hold a name more than once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import BadArgument, HeaderMap, MapType, Request, Response
from tests.sdk.conftest import MemoryHost

REQUEST = int(MapType.HTTP_REQUEST_HEADERS)


@pytest.fixture
def headers(host: MemoryHost) -> HeaderMap:
    """Request headers: a pseudo-header, a repeated name in two spellings, an empty value."""
    host.headers[REQUEST] = [(b":path", b"/a?b"), (b"Accept", b"x"), (b"empty", b""), (b"accept", b"y")]
    return HeaderMap(MapType.HTTP_REQUEST_HEADERS)


def test_look_up(headers: HeaderMap) -> None:
    """The first value is found under any spelling, as str or bytes; an empty value is a value."""
    assert headers[":path"] == "/a?b"
    assert headers["ACCEPT"] == headers[b"accept"] == "x"
    assert headers["empty"] == ""


def test_a_missing_header(headers: HeaderMap) -> None:
    """[] and del raise KeyError with the name; get gives None or the default, get_all nothing; remove does not mind."""
    with pytest.raises(KeyError, match="gone"):
        headers["gone"]
    with pytest.raises(KeyError, match="gone"):
        del headers["gone"]
    assert headers.get("gone") is None
    assert headers.get("gone", "default") == "default"
    assert headers.get_all("gone") == []
    headers.remove("gone")
    assert len(headers) == 4


def test_get_prefers_an_empty_value_to_the_default(headers: HeaderMap) -> None:
    """A header with an empty value is there."""
    assert headers.get("empty", "default") == ""
    assert "empty" in headers


def test_get_all(headers: HeaderMap) -> None:
    """All values in order, of every spelling."""
    assert headers.get_all("Accept") == headers.get_all(b"aCCept") == ["x", "y"]


def test_contains(headers: HeaderMap) -> None:
    """`in` asks for a name, ignoring case."""
    assert "ACCEPT" in headers
    assert b"accept" in headers
    assert "gone" not in headers


def test_assignment_replaces_all_values(headers: HeaderMap, host: MemoryHost) -> None:
    """After an assignment the name has one value, and other headers are as they were."""
    headers["accept"] = "new"
    assert headers.get_all("accept") == ["new"]
    assert host.headers[REQUEST][:2] == [(b":path", b"/a?b"), (b"empty", b"")]


def test_assignment_creates(headers: HeaderMap) -> None:
    """A name that was not there is added."""
    headers["new"] = b"value"
    assert headers["new"] == "value"


def test_add_appends(headers: HeaderMap) -> None:
    """What was there stays, before the new value."""
    headers.add("accept", "z")
    assert headers.get_all("accept") == ["x", "y", "z"]


def test_removal_takes_all_values(headers: HeaderMap) -> None:
    """`del` and `remove` take every value of the name."""
    del headers["accept"]
    assert "accept" not in headers
    headers.remove(b"EMPTY")
    assert headers.items() == [(":path", "/a?b")]


def test_items_and_raw_items(headers: HeaderMap) -> None:
    """All pairs in order with repeated names, as text and as the proxy's own bytes."""
    assert headers.items() == [(":path", "/a?b"), ("Accept", "x"), ("empty", ""), ("accept", "y")]
    assert headers.raw_items() == [(name.encode(), value.encode()) for name, value in headers.items()]


def test_replace_all(headers: HeaderMap) -> None:
    """The map is what was given, in that order, and no more."""
    headers.replace_all([("b", "1"), (b"a", "2"), ("b", b"3")])
    assert headers.items() == [("b", "1"), ("a", "2"), ("b", "3")]


def test_replace_all_refuses_before_it_changes(headers: HeaderMap) -> None:
    """A pair that would split a header is an error, and the map is as it was."""
    before = headers.items()
    with pytest.raises(ValueError, match="line break"):
        headers.replace_all([("fine", "yes"), ("x", "a\r\nset-cookie: b")])
    assert headers.items() == before


def test_iteration_and_length(headers: HeaderMap) -> None:
    """Iterating gives names in order, each spelling once; the length counts pairs."""
    headers.add("empty", "no more")
    assert list(headers) == [":path", "Accept", "empty", "accept"]
    assert len(headers) == 5


def test_every_byte_comes_through(headers: HeaderMap, host: MemoryHost) -> None:
    """Each of the 256 bytes is read as text from which it can be had back, and goes out again as it was."""
    for value in [*(bytes([byte]) for byte in range(256)), b"\xff\xfe caf\xc3\xa9 \xed\xa0\x80"]:
        host.headers[REQUEST] = [(b"x", value)]
        text = headers["x"]
        assert text.encode("utf-8", "surrogateescape") == value
        headers["y"] = text
        assert host.headers[REQUEST][-1] == (b"y", value)


def test_text_is_utf_8(headers: HeaderMap, host: MemoryHost) -> None:
    """Text that is UTF-8 is read as such, in values, names and items."""
    host.headers[REQUEST] = [("x-é".encode(), "grün".encode())]
    assert headers.items() == [("x-é", "grün")]
    assert headers.get_all("x-é") == ["grün"]


@pytest.mark.parametrize(
    "use",
    [
        lambda trailers: trailers["x"],
        lambda trailers: trailers.get("x"),
        lambda trailers: "x" in trailers,
        lambda trailers: trailers.items(),
        list,
        len,
        lambda trailers: trailers.get_all("x"),
        lambda trailers: trailers.byte_size(),
        lambda trailers: trailers.add("x", "y"),
        lambda trailers: trailers.remove("x"),
        lambda trailers: trailers.replace_all([]),
    ],
)
def test_out_of_its_callback(host: MemoryHost, use: Callable[[HeaderMap], object]) -> None:
    """Where the proxy has no such map, every use raises BadArgument with advice; it does not look empty."""
    with pytest.raises(BadArgument, match=r"headers and trailers can be (read|changed) in their own callback"):
        use(Response().trailers)


def test_an_empty_map(host: MemoryHost) -> None:
    """A map that is there and holds nothing is no error."""
    host.headers[REQUEST] = []
    headers = Request().headers
    assert (headers.items(), headers.keys(), headers.values(), len(headers), headers.byte_size()) == ([], [], [], 0, 0)


def test_keys_values_and_size(headers: HeaderMap) -> None:
    """keys are the names, each spelling once; values are all of them; the size is the proxy's count of bytes."""
    assert headers.keys() == [":path", "Accept", "empty", "accept"]
    assert headers.values() == ["/a?b", "x", "", "y"]
    assert headers.byte_size() == len(":path/a?bAcceptxemptyaccepty")


def test_repr_names_the_map() -> None:
    """The text of a map says which it is, and asks no proxy."""
    assert repr(Request().headers) == "<HeaderMap HTTP_REQUEST_HEADERS>"
    assert repr(Response().trailers) == "<HeaderMap HTTP_RESPONSE_TRAILERS>"


def test_pseudo_headers(host: MemoryHost) -> None:
    """The usual pseudo-headers are attributes; the status is a number."""
    host.headers[REQUEST] = [(b":method", b"GET"), (b":path", b"/p?q"), (b":authority", b"example.com")]
    host.headers[int(MapType.HTTP_RESPONSE_HEADERS)] = [(b":status", b"204")]
    request = Request()
    assert (request.method, request.path, request.authority) == ("GET", "/p?q", "example.com")
    assert Response().status == 204


def test_requests_and_responses_take_no_attributes() -> None:
    """They are shared by all streams, so what a filter would keep on one is refused rather than lost."""
    for shared in (Request(), Response(), Request().headers):
        with pytest.raises(AttributeError):
            shared.note = "mine"  # type: ignore[union-attr]


def test_maps_are_the_abis() -> None:
    """Each attribute is the map of its name."""
    request, response = Request(), Response()
    maps = [request.headers, request.trailers, response.headers, response.trailers]
    assert [header_map._map for header_map in maps] == [0, 1, 2, 3]
