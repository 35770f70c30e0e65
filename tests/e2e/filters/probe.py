"""Runs what a test sends: Python code, Base64-encoded, in request headers.

`x-code` runs in on_http_request_headers, and its value is the answer: the repr of an expression, or of `result` after
statements, or the exception as "Type: message"; with `x-raise` the exception leaves the callback. With `x-go-on` the
request goes on instead. `x-response-code` runs in on_http_response_headers, and its value becomes the header x-result.
`x-done-code` runs in on_http_stream_done, and its value is logged. `self` is the context.
"""

from __future__ import annotations

import base64
import os
import random
import sys
import time
from datetime import UTC, datetime
from random import randint
from types import CodeType
from typing import Any

import pywasmfilter
from pywasmfilter import HttpContext, hostcalls, http_filter, log

NAMES: dict[str, Any] = {
    "UTC": UTC,
    "datetime": datetime,
    "hostcalls": hostcalls,
    "log": log,
    "os": os,
    "pywasmfilter": pywasmfilter,
    "randint": randint,
    "random": random,
    "sys": sys,
    "time": time,
}


def as_expression(text: str) -> CodeType | None:
    """The code of an expression, None if the text is none."""
    try:
        return compile(text, "<probe>", "eval")
    except SyntaxError:
        return None


def value_of(encoded: str, context: Probe) -> str:
    """The value of a piece of code, as text that fits into a header."""
    text = base64.b64decode(encoded).decode()
    names = NAMES | {"self": context}
    try:
        if code := as_expression(text):
            return ascii(eval(code, names))
        exec(compile(text, "<probe>", "exec"), names)
        return ascii(names.get("result"))
    except BaseException as error:
        if context.raises:
            raise
        return f"{type(error).__name__}: {error}".encode("ascii", "backslashreplace").decode()


@http_filter("probe")
class Probe(HttpContext):
    raises = False
    response_code: str | None = None
    done_code: str | None = None

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.request.headers
        self.raises = "x-raise" in headers
        self.response_code = headers.get("x-response-code")
        self.done_code = headers.get("x-done-code")
        goes_on = "x-go-on" in headers
        value = value_of(headers["x-code"], self) if "x-code" in headers else ""
        if goes_on:
            return None
        return self.send_http_response(200, body=value)

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.response_code is not None:
            self.response.headers["x-result"] = value_of(self.response_code, self)

    def on_http_stream_done(self) -> None:
        if self.done_code is not None:
            log.info(value_of(self.done_code, self))
