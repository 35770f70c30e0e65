"""What the SDK has in C in a module does there what its Python does elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler import build

from pywasmfilter.testing import Body, Host
from pywasmfilter.testing.host import BODIES

if TYPE_CHECKING:
    from pathlib import Path

FILTER = """
import inspect
import json

from pywasmfilter import HeaderMap, HttpContext, MapType, http_filter, hostcalls
from pywasmfilter._serialization import decode_pairs, decode_texts, encode_pairs
from pywasmfilter._state import EffectiveContext


@http_filter("asked")
class Asked(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        headers, answers = self.request.headers, {}
        for question in json.loads(self.plugin.plugin_configuration):
            try:
                answers[question] = repr(eval(question, {**globals(), "headers": headers, "self": self}))
            except Exception as error:
                answers[question] = type(error).__name__, str(error)
        hostcalls.send_http_response(200, body=json.dumps([answers, headers.items()]))
        return 1
"""

HEADERS: list[tuple[str | bytes, str | bytes]] = [
    ("x-one", "1"),
    ("X-Two", "a"),
    ("x-two", "b"),
    ("x-empty", ""),
    ("x-bytes", b"\xff\xe2\x82\xac"),
]

OF_MAPS = [
    *("headers['x-one']", "headers[b'X-TWO']", "headers['x-empty']", "headers['x-bytes']", "headers['gone']"),
    *("headers.get('x-one')", "headers.get('gone')", "headers.get(key='gone', default='d')"),
    *("headers.get('gone', 'd')", "headers.get(b'gone', default='d')", "headers.get('x-empty', 'd')"),
    *("'x-one' in headers", "b'X-One' in headers", "'gone' in headers", "'x-empty' in headers"),
    *("headers.__setitem__('x-new', 'n')", "headers.__setitem__(b'x-two', b'c')", "headers['x-two']"),
    *("headers.add('x-new', '\\udcff')", "headers.add(key='x-new', value='m')", "headers.get_all('x-new')"),
    *("headers.__delitem__('x-new')", "headers.__delitem__('x-new')", "headers.remove('gone')"),
    *("headers.remove(key=b'x-one')", "headers.get_all('x-one')"),
    *("headers.add('a', 'b\\n')", "headers.add('a\\r', 'b')", "headers.__setitem__('a', b'\\0')"),
    *("headers.add('a', '\\ud800')", "headers['\\ud800']"),
    *("self.response.headers['a']", "'a' in self.response.headers", "self.response.headers.get('a')"),
    *("self.response.headers.add('a', 'b')", "self.response.headers.remove('a')"),
    *("repr(headers)", "len(headers) > 3", "type(headers) is HeaderMap", "HeaderMap.__name__", "HeaderMap.__module__"),
    *("HeaderMap(MapType.HTTP_REQUEST_HEADERS)['x-two']", "HeaderMap(map_type=0).get('x-two')"),
    *(f"list(inspect.signature(HeaderMap.{name}).parameters)" for name in ("get", "add", "remove")),
]

DOCS = [f"inspect.getdoc(HeaderMap.{name})" for name in ("get", "add", "remove")]

WRONG = ["headers[1]", "1 in headers", "headers.get(None)", "headers.add('a', 1)", "headers.add('a')", "headers.get()"]
WRONG += ["headers.add('a', 'b', 'c')", "headers.add('a', key='b')", "headers.remove('a', keys='b')"]
WRONG += ["headers.other", "setattr(headers, 'other', 1)", "vars(headers)", "HeaderMap()", "encode_pairs(['abc'])"]
WRONG += ["EffectiveContext()"]

OF_PAIRS = [
    *("encode_pairs([])", "encode_pairs(())", "encode_pairs([('a', 'b'), (b'c', b'\\xff'), ('', '')])"),
    *("encode_pairs((('a', '\\udcff€'),))", "encode_pairs([['a', 'b']])", "encode_pairs(iter([('a', 'b')]))"),
    *("encode_pairs([('a', 'b\\n')])", "encode_pairs([('a\\r', 'b')])", "encode_pairs([(b'\\0', 'b')])"),
    *("encode_pairs([('a', 1)])", "encode_pairs([('a',)])", "encode_pairs([1])"),
    *("encode_pairs({})", "encode_pairs('ab')", "encode_pairs(1)", "encode_pairs([('a', '\\ud800')])"),
    *("encode_pairs([('a', 'b')] * 1024) == encode_pairs((('a', 'b'),) * 1024)", "encode_pairs([('a', 'b')] * 1025)"),
    *("encode_pairs([('a', 'b' * (1 << 20))])", "len(encode_pairs([('a', 'b' * ((1 << 20) - 15))]))"),
    *("decode_pairs(b'')", "decode_pairs(bytes(4))", "decode_pairs(encode_pairs([('a', 'b'), ('', '\\udcff')]))"),
    *("decode_texts(b'')", "decode_texts(encode_pairs([('a', '€\\udcff'), ('', '')]))"),
    *("decode_pairs(b'\\1')", "decode_pairs(bytes(5))", "decode_pairs(b'\\xff' * 4)", "decode_pairs(b'\\xff' * 40)"),
    *("decode_pairs(encode_pairs([('a', 'b')])[:-1])", "decode_texts(encode_pairs([('a', 'b')]) + b'a')"),
    *("decode_pairs(b'\\1\\0\\0\\0' + b'\\xff' * 8 + b'a')", "decode_pairs(b'\\1\\0\\0\\0' + bytes(8) + b'\\0\\0')"),
    *("decode_pairs(b'\\1\\0\\0\\0\\1\\0\\0\\0\\xfe\\xff\\xff\\xff' + bytes(9))", "decode_pairs(bytearray(4))"),
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filter that evaluates the expressions of its configuration."""
    file = tmp_path_factory.mktemp("asked") / "filter.py"
    file.write_text(FILTER, encoding="utf-8")
    return file


def answers(path: Path, body: Body, questions: list[str]) -> Any:
    with Host(path, body=body, configuration=questions) as host:
        return json.loads(host.request(headers=HEADERS).text)


@pytest.mark.parametrize("questions", [OF_MAPS, OF_PAIRS], ids=["header maps", "pairs"])
def test_both_do_the_same(path: Path, questions: list[str]) -> None:
    """Values, what becomes of the headers, and exceptions with their messages."""
    python, wasm = (answers(path, body, questions) for body in BODIES)
    assert wasm == python


def test_both_say_the_same_of_themselves(path: Path) -> None:
    """A module that keeps docstrings has, for what is in C, those of the Python."""
    module = build(path, path.with_suffix(".wasm"), keep_docs=True).path
    assert answers(module, "wasm", DOCS) == answers(path, "python", DOCS)


def test_both_refuse_the_same(path: Path) -> None:
    """What is wrong with the code raises the same exceptions. Their messages are those of two interpreters."""
    (python, _), (wasm, _) = (answers(path, body, WRONG) for body in BODIES)
    assert {question: kind for question, (kind, _) in wasm.items()} == {
        question: kind for question, (kind, _) in python.items()
    }


STREAMS = """
from pywasmfilter import HttpContext, http_filter

made = []


@http_filter("plain")
class Plain(HttpContext):
    seen = 0

    def on_http_request_headers(self, num_headers, end_of_stream):
        self.seen += 1
        is_its_own = self.plugin.http_context is type(self) and self.context_id > 1
        return self.send_http_response(200, body=f"{self.seen} {len(made)} {is_its_own}")


@http_filter("init")
class WithInit(Plain):
    def __init__(self, context_id):
        super().__init__(context_id)
        made.append(self)


@http_filter("new")
class WithNew(Plain):
    def __new__(cls, context_id):
        made.append(cls)
        return super().__new__(cls)


@http_filter("setattr")
class WithSetattr(Plain):
    def __setattr__(self, name, value):
        if name == "plugin":
            made.append(value)
        super().__setattr__(name, value)


class Meta(type):
    def __call__(cls, context_id):
        made.append(cls)
        return super().__call__(context_id)


@http_filter("metaclass")
class WithMetaclass(Plain, metaclass=Meta):
    pass
"""


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("plugin", ["plain", "init", "new", "setattr", "metaclass"])
def test_streams_are_made_as_their_class_says(tmp_path: Path, plugin: str, body: Body) -> None:
    """Each stream has a context of its own, and a class that does something when one is made does it for each."""
    (tmp_path / "filter.py").write_text(STREAMS, encoding="utf-8")
    with Host(tmp_path / "filter.py", body=body, plugin=plugin) as host:
        found = [host.request().text for _ in range(3)]
    assert found == [f"1 {0 if plugin == 'plain' else number} True" for number in (1, 2, 3)]
