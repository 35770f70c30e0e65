"""The test's side of `filters/probe.py`: code goes in, the text of its value comes out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tests.e2e.client import Response, Text, request

if TYPE_CHECKING:
    from collections.abc import Sequence

INCLUDED = (
    *("asyncio", "concurrent.futures", "concurrent.futures.thread", "contextlib", "faulthandler", "http.client"),
    *("importlib.metadata", "logging", "multiprocessing", "pathlib", "queue", "secrets", "select"),
    *("signal", "socket", "subprocess", "tempfile", "threading", "urllib.request", "uuid", "warnings"),
)
"""The modules that probing code may import besides those that the filter imports itself."""


def ask(port: int, code: str, headers: Sequence[tuple[Text, Text]] = ()) -> str:
    """The value of `code` in on_http_request_headers."""
    response = request(port, headers=[("x-code", encoded(code)), *headers])
    assert response.status == 200, response
    return response.body.decode()


def pass_through(
    port: int, *, on_request: str = "", on_response: str = "", headers: Sequence[tuple[Text, Text]] = ()
) -> Response:
    """The upstream's answer to a request, with code run on its way there and back; see x-result for the latter."""
    codes = [("x-code", on_request), ("x-response-code", on_response)]
    sent = [(name, encoded(code)) for name, code in codes if code]
    return request(port, headers=[("x-go-on", "1"), *sent, *headers])


def encoded(code: str) -> bytes:
    """Code as the probe takes it."""
    return base64.b64encode(code.encode())
