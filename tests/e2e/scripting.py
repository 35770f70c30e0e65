"""The test's side of `filters/scripted.py`: what a filter does stands in the test, as text.

run(port, '''
    def on_http_request_headers(self, num_headers, end_of_stream):
        return self.send_http_response(200, body="hello")
''')
"""

from __future__ import annotations

import ast
import base64
import textwrap
import time
from typing import TYPE_CHECKING, Any

from tests.e2e.client import Response, Text, request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pywasmfilter_compiler.envoy.process import EnvoyProcess

INCLUDED = ("dis", "time")
"""The modules that scripts may import."""


def script(code: str) -> bytes:
    """A script as a plugin's configuration."""
    return textwrap.dedent(code).encode()


def script_header(code: str) -> tuple[Text, Text]:
    """The header that gives a request a script of its own."""
    return "x-script", base64.b64encode(script(code))


def run(port: int, code: str, *, headers: Sequence[tuple[Text, Text]] = (), **options: Any) -> Response:
    """The answer to a request with a script of its own; `options` are those of `request`."""
    return request(port, headers=[script_header(code), *headers], **options)


def value(response: Response) -> Any:
    """What a script answered with `body=repr(…)`."""
    assert response.status == 200, response
    return ast.literal_eval(response.body.decode())


def evaluate(port: int, expression: str) -> Any:
    """The value of an expression in on_http_request_headers."""
    return value(
        run(
            port,
            f"""
            def on_http_request_headers(self, *_):
                return self.send_http_response(200, body=repr({expression}))
            """,
        )
    )


def failure(port: int, expression: str) -> str:
    """The exception of an expression in on_http_request_headers, as `Type: message`."""
    return str(evaluate(port, f"failure(lambda: {expression})"))


def logged(envoy: EnvoyProcess, beginning: str) -> list[str]:
    """What scripts have logged so far with this beginning, without it."""
    return [line.message.removeprefix(beginning) for line in envoy.wasm_log() if line.message.startswith(beginning)]


def eventually(ask: Callable[[], object], wanted: object, seconds: float = 10) -> object:
    """The answer that is wanted as soon as it comes, or else the last one."""
    deadline = time.monotonic() + seconds
    while (answer := ask()) != wanted and time.monotonic() < deadline:
        pass
    return answer
