"""The filter adds its header to every response."""

from __future__ import annotations

import pytest

from pywasmfilter.testing import Host, Response


@pytest.mark.parametrize("status", [200, 404, 503])
def test_every_response_gets_the_header(host: Host, status: int) -> None:
    """Whatever the upstream answers, the client gets x-chaptername once, and the upstream's own headers and body."""
    stream = host.request(upstream=Response(status, {"content-type": "text/html"}, "hello"))
    assert stream.status == status
    assert stream.headers.get_all("X-ChapterName") == ["ExtendingEnvoy"]
    assert (stream.headers["content-type"], stream.body) == ("text/html", b"hello")


def test_the_filter_has_the_last_word(host: Host) -> None:
    """An upstream's own x-chaptername is replaced."""
    stream = host.request(upstream=Response(headers={"x-chaptername": "Introduction"}))
    assert stream.headers.get_all("x-chaptername") == ["ExtendingEnvoy"]
