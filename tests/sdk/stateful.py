"""The test's side of `e2e/filters/state.py`: what its code in a worker makes of an expression."""

from __future__ import annotations

import ast
from typing import Any

from pywasmfilter.testing import Host, HttpStream, Plugin


def ask(worker: Host | Plugin, expression: str) -> HttpStream:
    """A request whose answer is the value of the expression, be it later."""
    return worker.request(headers={"x-code": expression})


def text(worker: Host | Plugin, expression: str) -> str:
    """The answer: the value as `repr` has it, or an exception as `Type: message`."""
    stream = ask(worker, expression)
    assert stream.status == 200
    return stream.text


def value(worker: Host | Plugin, expression: str) -> Any:
    """The value of the expression."""
    return ast.literal_eval(text(worker, expression))
