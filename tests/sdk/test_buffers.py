"""Buffers: windows on what the proxy holds, with three ways to change it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pywasmfilter import BadArgument, Buffer, BufferType, HttpContext, NotFound, TcpContext
from tests.sdk.conftest import MemoryHost

BODY = BufferType.HTTP_REQUEST_BODY


@pytest.fixture
def body(host: MemoryHost) -> Buffer:
    """A request's body."""
    host.buffers[BODY] = b"0123456789"
    return Buffer(BODY)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), b"0123456789"),
        ((3,), b"3456789"),
        ((3, 2), b"34"),
        ((3, None), b"3456789"),
        ((8, 100), b"89"),
        ((3, 0), b""),
        ((10,), b""),
        ((11, 5), b""),
    ],
)
def test_reading_a_part(body: Buffer, arguments: tuple[int, ...], expected: bytes) -> None:
    """From a start on so many bytes, or all; beyond the end there is nothing."""
    assert body.read(*arguments) == expected


@pytest.mark.parametrize("arguments", [(-1,), (0, -1)])
def test_no_counting_from_the_end(body: Buffer, arguments: tuple[int, ...]) -> None:
    """A negative start or size is an error before the host sees it as a huge one."""
    with pytest.raises(ValueError, match="start and size are not negative"):
        body.read(*arguments)


def test_bytes_and_length(body: Buffer) -> None:
    """`bytes` is all of it, `len` its number."""
    assert (bytes(body), len(body)) == (b"0123456789", 10)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda body: body.append(b">"), b"0123456789>"),
        (lambda body: body.prepend(b"<"), b"<0123456789"),
        (lambda body: body.replace(b"new"), b"new"),
        (lambda body: body.replace(b""), b""),
        (lambda body: body.append("é"), b"0123456789\xc3\xa9"),
        (lambda body: body.append(b""), b"0123456789"),
    ],
)
def test_changes(host: MemoryHost, body: Buffer, change: Callable[[Buffer], None], expected: bytes) -> None:
    """Bytes are added at either end, or put in place of all; text goes as UTF-8. It can be read at once."""
    change(body)
    assert host.buffers[BODY] == body.read() == expected


@pytest.mark.parametrize("change", [Buffer.append, Buffer.prepend, Buffer.replace])
def test_an_empty_buffer(host: MemoryHost, change: Callable[[Buffer, bytes], None]) -> None:
    """What holds nothing can be filled in each way."""
    host.buffers[BODY] = b""
    change(Buffer(BODY), b"new")
    assert host.buffers[BODY] == b"new"


def test_out_of_its_callback(host: MemoryHost) -> None:
    """A body that is not there is empty, as proxies have it, and changing it is an error with advice."""
    for kind in (BODY, BufferType.UPSTREAM_DATA):
        buffer = Buffer(kind)
        assert (buffer.read(), len(buffer)) == (b"", 0)
        with pytest.raises(BadArgument, match="a body can be changed in its own callback"):
            buffer.append(b"x")


def test_the_reply_of_a_call_out_of_its_callback(host: MemoryHost) -> None:
    """What belongs to a reply is NotFound elsewhere, and can never be changed."""
    buffer = Buffer(BufferType.HTTP_CALL_RESPONSE_BODY)
    with pytest.raises(NotFound, match="the body of a call's response, if"):
        buffer.read()
    host.buffers[BufferType.HTTP_CALL_RESPONSE_BODY] = b"reply"
    with pytest.raises(BadArgument):
        buffer.replace(b"")
    assert buffer.read() == b"reply"


def test_contexts_have_their_buffers(host: MemoryHost) -> None:
    """Each attribute is the ABI's buffer of its name, and its text says which it is without asking a proxy."""
    stream, connection = HttpContext(1), TcpContext(2)
    buffers = [stream.request.buffer, stream.response.buffer, connection.downstream_data, connection.upstream_data]
    assert [buffer._buffer for buffer in buffers] == [0, 1, 2, 3]
    assert [repr(buffer) for buffer in buffers[1:3]] == ["<Buffer HTTP_RESPONSE_BODY>", "<Buffer DOWNSTREAM_DATA>"]


def test_buffers_take_no_attributes() -> None:
    """They are shared by all streams, so what a filter would keep on one is refused rather than lost."""
    with pytest.raises(AttributeError):
        Buffer(BODY).note = "mine"  # type: ignore[attr-defined]
