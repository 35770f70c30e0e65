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
from typing import TYPE_CHECKING, Any

from tests.e2e.client import Response, Text, request

if TYPE_CHECKING:
    from collections.abc import Sequence

INCLUDED = ("time",)
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


def evaluate(port: int, expression: str, *, before: str = "pass", **options: Any) -> Any:
    """The value of an expression in on_http_request_headers, after the statement `before`."""
    code = "def on_http_request_headers(self, num_headers, end_of_stream):\n"
    code += f"    {before}\n    return self.send_http_response(200, body=repr({expression}))\n"
    return value(run(port, code, **options))


def failure(port: int, statement: str, **options: Any) -> str:
    """The exception of a statement in on_http_request_headers, as `Type: message`."""
    return str(evaluate(port, "result", before=trying(statement), **options))


def trying(statement: str) -> str:
    """Statements that set `result` to a statement's exception, indented for a callback."""
    return f"""try:
        {statement}
        result = "no exception"
    except Exception as error:
        result = f"{{type(error).__name__}}: {{error}}\""""
