"""Modules have neither docstrings nor columns, unless the build is asked to keep them. The modules run in wasmtime."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler import build

from pywasmfilter.testing import Host
from tests.e2e.probing import encoded

FILTER = '''"""Documentation of the filter."""
import base64
import inspect
import json
import sys

import helpers
import pywasmfilter
from pywasmfilter import HttpContext, http_filter


@http_filter("docs")
class Docs(HttpContext):
    """Documentation of the class."""

    def on_http_request_headers(self, num_headers, end_of_stream):
        """Documentation of the method."""
        return self.send_http_response(200, body=ascii(eval(base64.b64decode(self.request.headers["x-code"]))))


def fails():
    """Raises an error."""
    return (1 +
            1 / 0)


def line_of_error():
    try:
        fails()
    except ZeroDivisionError as error:
        return error.__traceback__.tb_next.tb_lineno


def text():
    return "name($self)\\n--\\n\\nThis is a text that looks like documentation of C code."
'''
HELPERS = '''"""Documentation of a helper that reads it."""


def usage():
    """Documentation of its function."""
    return __doc__, usage.__doc__
'''


class Docs:
    """A filter that evaluates expressions."""

    def __init__(self, folder: Path, **options: Any) -> None:
        (folder / "filter.py").write_text(FILTER, encoding="utf-8")
        (folder / "helpers.py").write_text(HELPERS, encoding="utf-8")
        self.result = build(folder / "filter.py", folder / "filter.wasm", **options)
        self._host = Host(self.result.path)

    def value(self, expression: str) -> Any:
        """What it is in a request."""
        stream = self._host.request(headers={"x-code": encoded(expression)})
        assert stream.status == 200
        return ast.literal_eval(stream.text)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Docs:
    return Docs(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Docs:
    return Docs(tmp_path_factory.mktemp("documented"), keep_docs=True)


DOCS = "[sys.modules[Docs.__module__].__doc__, fails.__doc__, json.__doc__, json.dumps.__doc__]"
COLUMNS = "[column for f in (fails, json.dumps) for *_, column in f.__code__.co_positions() if column]"


def test_docstrings_are_left_out(plain: Docs) -> None:
    """Those of the filter, of the standard library, of what the interpreter imports by itself, and of the SDK."""
    assert plain.value(DOCS) == [None] * 4
    assert (
        plain.value("[sys.modules['os'].__doc__, sys.modules['os'].walk.__doc__, sys.modules['enum'].Enum.__doc__]")
        == [None] * 3
    )
    assert (
        plain.value("[pywasmfilter.__doc__, HttpContext.__doc__, HttpContext.on_http_request_headers.__doc__]")
        == [None] * 3
    )


def test_columns_are_left_out(plain: Docs) -> None:
    """No instruction has a column, and each has its line."""
    assert plain.value(COLUMNS) == []
    assert plain.value("line_of_error()") == 24
    assert plain.value("[line for *_, line in sys.modules['os'].walk.__code__.co_lines() if line][0] > 0")


def test_documentation_of_c_code_is_left_out(plain: Docs, documented: Docs) -> None:
    """Signatures stay. Text of the filter that looks the same is its own."""
    assert not plain.value("len.__doc__")
    assert plain.value("str(inspect.signature(len))") == "(obj, /)"
    assert documented.value("len.__doc__") == "Return the number of items in a container."
    assert plain.value("text()[-40:]") == "a text that looks like documentation of C code."[-40:]


def test_all_of_it_can_be_kept(documented: Docs, plain: Docs) -> None:
    """With `keep_docs`, what is imported has its docstrings and columns, and the module is larger."""
    assert [text.partition("\n")[0] if text else text for text in documented.value(DOCS)][:2] == [
        "Documentation of the filter.",
        "Raises an error.",
    ]
    assert documented.value(DOCS)[3].startswith("Serialize ``obj``")
    assert documented.value(COLUMNS)
    assert documented.value("line_of_error()") == 24
    assert documented.result.size > plain.result.size + 100_000


def test_a_module_that_reads_docstrings_has_its_own(plain: Docs) -> None:
    """A module that mentions `__doc__` keeps its docstrings."""
    assert plain.value("helpers.usage()") == (
        "Documentation of a helper that reads it.",
        "Documentation of its function.",
    )
