"""No personal data get out, and everything else does as it was."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter.testing import Host, HttpStream, Refused, Response

TEXT = {"content-type": "text/plain"}
JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream"}


def get(host: Host, body: Any, headers: Any = TEXT, **more: Any) -> HttpStream:
    return host.request(upstream=Response(200, headers, body, **more))


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("ada@example.com", "[email]"),
        ("To: <Ada.Lovelace+x@mail.example.co.uk>, b@c.de.", "To: <[email]>, [email]."),
        ("josé@exämple.com mailto:ada@x.museum", "[email] mailto:[email]"),
        ("-" * 1000 + "ada@example.com", "[email]"),
        ("user@xn--e1afmkfd.xn--p1ai", "[email]"),
        ("@ada ada@ ada@localhost a@b.1", "@ada ada@ ada@localhost a@b.1"),
        ("4111111111111111", "[card]"),
        ("pay with 4111 1111 1111 1111 12/29", "pay with [card] 12/29"),
        ("4111 1111 1111 1111 123 4111 1111 1111 1111", "[card] 123 [card]"),
        ("no 12 4111-1111-1111-1111", "no 12 [card]"),
        ("3782 822463 10005, 5555555555554444", "[card], [card]"),
        ("4111111111111112 1234567890123 41111111111111111", "4111111111111112 1234567890123 41111111111111111"),
        ("a4111111111111111b 0.4111111111111111 No.4111111111111111", "a[card]b 0.4111111111111111 No.[card]"),
        ("DE89 3704 0044 0532 0130 00 IS MINE", "[iban] IS MINE"),
        ("DE89370400440532013000 GB82WEST12345698765432", "[iban] [iban]"),
        ("iban:gb82 west 1234 5698 7654 32", "iban:[iban]"),
        ("DE88370400440532013000 XDE89370400440532013000", "DE88370400440532013000 XDE89370400440532013000"),
        ("SSN 123-45-6789.", "SSN [ssn]."),
        ("000-12-3456 123-45-67890 1-123-45-6789", "000-12-3456 123-45-67890 1-123-45-6789"),
        ("+49 30 1234567", "+49 30 1234567"),
    ],
)
def test_text(host: Host, text: str, redacted: str) -> None:
    """What is valid is found wherever it stands, and what is not stays."""
    assert get(host, text).text == redacted


@pytest.mark.filter(configuration={"detect": ["phone"], "patterns": {"staff": "E[0-9]{6}"}, "mask": "<{}>"})
def test_what_is_looked_for_can_be_chosen(host: Host) -> None:
    """Of what is known, and patterns of one's own."""
    text = "+49 (30) 1234567, 212-555-0123, (212) 555-0123, E123456, a@b.com, 1212-555-0123"
    assert get(host, text).text == "<phone>, <phone>, <phone>, <staff>, a@b.com, 1212-555-0123"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ('{"a": "ada@example.com", "b": [1, 2.50, true]}', '{"a": "[email]", "b": [1, 2.50, true]}'),
        (r'"ada\u0040example.com \"x\""', r'"[email] \"x\""'),
        ('{"card": 4111111111111111, "n": -4111111111111111}', '{"card": "[card]", "n": "-[card]"}'),
        ('{"ada@example.com": null}', '{"[email]": null}'),
        ('["411111111111", 1111]', '["411111111111", 1111]'),
        ('{"a":1,"a":1E400,"b":"\\ud800é"}', '{"a":1,"a":1E400,"b":"\\ud800é"}'),
        ("[" * 5000 + '"a@b.com"' + "]" * 5000, "[" * 5000 + '"[email]"' + "]" * 5000),
        ("9" * 5000, "9" * 5000),
        ('{"a": "ada@example.com', '{"a": "[email]"'),
        (r'{"a": "\x ada@example.com"}', r'{"a": "\"\\x [email]\""}'),
        ("no json: ada@example.com", "no json: ada@example.com"),
        ('"', '"'),
    ],
)
def test_json(host: Host, text: str, redacted: str) -> None:
    """Values and keys are found however they are written; the rest stays byte for byte, JSON or not."""
    assert get(host, text, {"content-type": "application/problem+json; charset=utf-8"}).text == redacted


def test_bytes_that_are_no_text_come_through(host: Host) -> None:
    """Of text and of JSON; an address with such bytes is one, too."""
    assert get(host, b"\xff\xfe ada@b.com \x80@b.com").body == b"\xff\xfe [email] [email]"
    assert get(host, b'"\xff"', JSON).body == b'"\xff"'
    latin = {"content-type": 'text/html; charset="ISO-8859-1"'}
    assert get(host, "über josé@b.com".encode("latin-1"), latin).body == "über [email]".encode("latin-1")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("headers", [TEXT, JSON, EVENTS])
@pytest.mark.parametrize(("end", "trailers"), [("", {}), ("\n", {}), ("\n", {"x-checksum": "1"})])
def test_pieces(host: Host, size: int, headers: dict[str, str], end: str, trailers: dict[str, str]) -> None:
    """However the body comes, nothing is missed."""
    text = f'"ada@example.com"\n"é"\n"4111 1111 1111 1111"{end}'
    chunks = [text.encode()[start : start + size] for start in range(0, len(text.encode()), size)]
    stream = get(host, chunks, headers, trailers=trailers)
    assert stream.text == f'"[email]"\n"é"\n"[card]"{end}'
    assert dict(stream.trailers.items()) == trailers
    assert "content-length" not in stream.headers


def test_a_last_line_without_an_end_has_no_trailers(host: Host) -> None:
    """When these come a proxy takes no more of the body: rather than losing the line, the stream breaks off."""
    stream = get(host, "a\nada@example.com", EVENTS, trailers={"x-checksum": "1"})
    assert stream.reset
    assert stream.partial_response
    assert stream.partial_response.text == "a\n"


def test_streams_leave_line_by_line(host: Host) -> None:
    """A complete line does not wait for the next one; what comes after the last line's end is redacted, too."""
    host.upstream = None
    stream = host.request()
    stream.respond_headers(200, EVENTS)
    for data, passed in (
        (b"data: ada@exa", b""),
        (b"mple.com\n\nda", b"data: [email]\n\n"),
        (b"ta: b@c.", b"data: [email]\n\n"),
    ):
        stream.respond_body(data)
        assert stream.partial_response
        assert stream.partial_response.body == passed
    stream.respond_body(b"de", end_of_stream=True)
    assert stream.text == "data: [email]\n\ndata: [email]"


@pytest.mark.parametrize(
    "content_type", ["image/png", "application/octet-stream", "application/grpc", "multipart/mixed"]
)
def test_other_content_passes(host: Host, content_type: str) -> None:
    """At once, with its length."""
    stream = get(
        host, b"ada@example.com", {"content-type": content_type, "content-length": "15", "accept-ranges": "bytes"}
    )
    assert (stream.body, stream.headers["content-length"]) == (b"ada@example.com", "15")
    assert stream.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("headers", [{}, {"content-type": ""}, {"content-type": ";"}, {"content-type": " TEXT/Html "}])
def test_content_that_does_not_say_what_it_is(host: Host, headers: dict[str, str]) -> None:
    """Is text, as browsers would have it."""
    assert get(host, "ada@example.com", headers).text == "[email]"


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({**TEXT, "content-encoding": "gzip"}, gzip.compress(b"ada@example.com", mtime=0)),
        ({**TEXT, "content-encoding": "unknown"}, b"ada@example.com"),
        ([*TEXT.items(), ("content-encoding", "identity"), ("content-encoding", "br")], b"ada@example.com"),
        ({"content-type": "text/plain; charset=utf-16"}, "ada@example.com".encode("utf-16")),
        ({"content-type": "text/plain;charset=utf-7"}, b"ada+AEA-example.com"),
    ],
)
def test_what_cannot_be_looked_into_does_not_pass(host: Host, headers: Any, body: bytes) -> None:
    """The client gets a 502, and nothing of it."""
    stream = get(host, body, headers)
    assert (stream.status, stream.text) == (502, "The response cannot be shown\n")
    assert host.logged("a response to '/' cannot be looked into")


@pytest.mark.parametrize("headers", [TEXT, EVENTS])
def test_text_that_is_none_does_not_pass(host: Host, headers: dict[str, str]) -> None:
    """NUL bytes mean another character set, whatever the headers say. These are gone, so the stream breaks off."""
    stream = get(host, "ada@example.com\n".encode("utf-16"), headers)
    assert stream.reset or stream.status == 502
    assert b"a\0d\0a" not in (stream.partial_response.body if stream.partial_response else b"")


@pytest.mark.filter(configuration={"max_bytes": 100})
@pytest.mark.parametrize("headers", [TEXT, EVENTS])
def test_too_large_does_not_pass(host: Host, headers: dict[str, str]) -> None:
    """A body, or a line of a stream."""
    assert get(host, "x" * 100, headers).status == 200
    stream = get(host, ["ada@example.com", "x" * 100], headers)
    assert stream.reset or stream.status == 502
    assert "ada" not in (stream.partial_response.text if stream.partial_response else "")


def test_the_upstream_is_asked_for_all_of_it_in_clear(host: Host) -> None:
    """No compression, and no ranges, of which each would have one half of an address."""
    stream = host.request("GET", "/", {"accept-encoding": "gzip, br", "range": "bytes=0-3", "if-range": '"x"'})
    assert stream.sent is not None
    assert stream.sent.headers["accept-encoding"] == "identity"
    assert not {"range", "if-range"} & set(stream.sent.headers)


def test_no_body(host: Host) -> None:
    """Nothing to look into."""
    assert get(host, b"", {**JSON, "content-encoding": "gzip"}).status == 200
    assert host.request("HEAD", upstream=Response(200, JSON)).status == 200


@pytest.mark.parametrize(
    "text",
    [
        "a" * 100_000,
        "a@" * 50_000,
        "a.a@a." * 20_000,
        "4444 " * 20_000,
        "1" * 100_000,
        "AA11 " * 20_000,
        '"\\"' * 40_000,
        "@" * 100_000,
    ],
)
def test_hostile_texts_take_no_time(host: Host, text: str) -> None:
    """Time is in proportion to the text, so the test ends."""
    assert get(host, text).status == 200
    assert get(host, text, JSON).status == 200


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        ({"detect": ["name"]}, r"detect\[0\]"),
        ({"patterns": {"x": "("}}, "a regular expression"),
        ({"mask": "█"}, "printable ASCII"),
    ],
)
def test_a_bad_configuration_is_refused(new_host: Callable[..., Host], configuration: Any, problem: str) -> None:
    """The plugin does not start, and the log says why."""
    with pytest.raises(Refused, match=problem):
        new_host(configuration=configuration)
