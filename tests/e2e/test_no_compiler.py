"""Filters without Python's own compiler: whatever needs it is an exception, and nothing else misses anything.

What a request does here is in the filter's own file, since code that comes with a request would need the compiler. That
a call of what was taken out would end the VM is what most of this is about. The modules run in wasmtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import pytest
from pywasmfilter_compiler import build

from pywasmfilter.testing import Host

FILTER: Final = """
{top}
from pywasmfilter import HttpContext, http_filter

@http_filter("f")
class F(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        try:
            body = WAYS[self.request.headers["x-way"]]()
        except BaseException as error:
            body = f"{{type(error).__name__}}: {{error}}"
        return self.send_http_response(200, body=str(body))

WAYS = {{
{ways}
}}
"""


class Filter:
    """A filter with functions for requests to call."""

    def __init__(self, folder: Path, top: str, ways: Mapping[str, str], include: Iterable[str] = ()) -> None:
        functions = "\n".join(f"    {name!r}: {function}," for name, function in ways.items())
        (folder / "filter.py").write_text(FILTER.format(top=top, ways=functions), encoding="utf-8")
        result = build(folder / "filter.py", folder / "filter.wasm", include=include, name_missing=True)
        self.size = result.size
        self._host = Host(result.path)

    def call(self, way: str) -> str:
        """What a function gives, or its exception, in a VM that is well before and after."""
        answers = [self._host.request(headers={"x-way": way}) for _ in range(2)]
        assert [stream.status for stream in answers] == [200, 200], self._host.log
        return answers[-1].text


# Ways to the compiler

TOP = """
import builtins, collections, dataclasses, dis, importlib, inspect, io, marshal, re, sys, tokenize, typing
import annotations

BUILTINS = vars(builtins)
CODE = marshal.dumps((lambda: 6 * 7).__code__)

def square(x: "int") -> "list[str]":
    return x * x

def cubed():
    return 27

def run_code():
    names = {}
    BUILTINS["ex" + "ec"](marshal.loads(MODULE), names)
    return names["result"]

MODULE = annotations.MODULE
"""
MODULE = """
import marshal
MODULE = marshal.dumps(compile("result = [n * n for n in range(4)]", "late", "exec"))
"""
REFUSED: Final = {
    "eval": "lambda: BUILTINS['ev' + 'al']('1 + 1')",
    "eval by attribute": "lambda: builtins.eval('1 + 1')",
    "eval of bytes": "lambda: builtins.eval(b'1 + 1')",
    "eval of what is wrong": "lambda: builtins.eval('1 +')",
    "exec": "lambda: getattr(builtins, 'exec')('x = 1', {})",
    "compile": "lambda: BUILTINS['compile']('1', 'f', 'single')",
    "compile for a tree": "lambda: builtins.compile('1', 'f', 'exec', 0x400)",
    "compile a number": "lambda: builtins.compile(5, 'f', 'exec')",
    "compile a function type": "lambda: builtins.compile('(int) -> int', 'f', 'func_type', 0x400)",
    "parse": "lambda: sys.modules['ast'].parse('1')",
    "literals": "lambda: inspect.ast.literal_eval('[1]')",
    "a tree made by hand": "lambda: builtins.compile(inspect.ast.Module([], []), 'f', 'exec')",
    "type hints": "lambda: typing.get_type_hints(square)",
    "a reference that is resolved": "lambda: typing.ForwardRef('list[int]').evaluate()",
    "a named tuple": "lambda: collections.namedtuple('Point', 'x y')",
    "another named tuple": "lambda: typing.NamedTuple('Point', [('x', int)])",
    "a data class": "lambda: dataclasses.make_dataclass('Point', ['x'])",
    "a signature in C": "lambda: inspect.signature(len)",
    "bytecode of text": "lambda: dis.dis('x = 1')",
    "an importer": "lambda: importlib.machinery.SourceFileLoader('m', 'f').source_to_code(b'x = 1', 'f')",
}
"""Ways that end in an error which says what to do."""

WORKING: Final = {
    "a regular expression": ("lambda: re.compile('(a+)b').match('aab')[1]", "aa"),
    "code of the build": ("run_code", "[0, 1, 4, 9]"),
    "code with another name": ("lambda: square.__code__.replace(co_name='other').co_name", "other"),
    "a function of code": ("lambda: type(square)(cubed.__code__, {})()", "27"),
    "code in other code": ("lambda: BUILTINS['eval'](marshal.loads(CODE))", "42"),
    "bytecode of a function": ("lambda: [i.opname for i in dis.get_instructions(cubed)][-1]", "RETURN_VALUE"),
    "a signature": ("lambda: inspect.signature(square)", "(x: 'int') -> 'list[str]'"),
    "tokens": ("lambda: [t.string for t in tokenize.tokenize(io.BytesIO(b'a+1').readline)][1:4]", "['a', '+', '1']"),
    "a class made by hand": ("lambda: type('T', (), {'x': 1}).x", "1"),
    "letters": (
        "lambda: 'ÄẞΣ'.lower() + 'ß'.upper() + str('x²'.isdigit()) + str('é'.isidentifier())",
        "äßςSSFalseTrue",
    ),
    "a name of a character": (
        "lambda: br'\\N{BULLET}'.decode('unicode_escape')",
        "UnicodeError: \\N escapes not supported (can't load unicodedata module)",
    ),
    "names of characters": (
        "lambda: '•'.encode('ascii', 'namereplace')",
        'ImportError: PyCapsule_Import could not import module "unicodedata"',
    ),
    "a format string": ("lambda: '{:>4}|{!r}'.format(1, 'a') + f'{square(2):03}'", "   1|'a'004"),
}


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Filter:
    """A filter that names neither eval, exec nor compile. A module beside it has the build compile some code."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "annotations.py").write_text(MODULE.replace("compile(", "__import__('builtins').compile("))
    return Filter(folder, TOP, REFUSED | {name: function for name, (function, _) in WORKING.items()})


@pytest.mark.parametrize("way", REFUSED)
def test_ways_to_the_compiler(without: Filter, way: str) -> None:
    """Each way ends in a RuntimeError that says what to do, the second time too."""
    answer = without.call(way)
    assert answer.startswith("RuntimeError: this filter has no Python compiler")
    assert answer.endswith("build with --include ast")


@pytest.mark.parametrize("way", WORKING)
def test_what_needs_no_compiler(without: Filter, way: str) -> None:
    """What runs code that the build has compiled, or none, works, or is an error that has nothing to do with it."""
    assert without.call(way) == WORKING[way][1]


ASKING: Final = {"eval": "lambda: BUILTINS['eval']('1 + 1')", "parse": "lambda: type(inspect.ast.parse('1')).__name__"}
BRINGING: Final = {
    "an import of ast": "import ast",
    "an import from ast": "from ast import literal_eval",
    "an import in a function": "def never_called():\n    import ast",
    "a name": "def never_called():\n    return eval",
    "a call": "def never_called():\n    exec('1')",
    "a helper": "import helper",
}


@pytest.mark.parametrize("more", BRINGING.values(), ids=BRINGING)
def test_what_brings_the_compiler(tmp_path: Path, without: Filter, more: str) -> None:
    """A filter that names what compiles, anywhere in its own code, has the compiler."""
    (tmp_path / "helper.py").write_text("def never_called():\n    return [compile]\n")
    own = Filter(tmp_path, f"import builtins, inspect\nBUILTINS = vars(builtins)\n{more}", ASKING)
    assert [own.call(way) for way in ASKING] == ["2", "Module"]


def test_the_compiler_can_be_included(tmp_path: Path) -> None:
    """--include ast does the same."""
    own = Filter(tmp_path, "import builtins, inspect\nBUILTINS = vars(builtins)", ASKING, include=["ast"])
    assert [own.call(way) for way in ASKING] == ["2", "Module"]


# Every function

CALL_ALL: Final = (Path(__file__).parent / "call_everything.py").read_text(encoding="utf-8")
STANDARD_LIBRARY: Final = {
    "nothing": "",
    "numbers": "cmath decimal fractions math numbers random statistics",
    "text": "codecs difflib gettext html locale re string stringprep textwrap unicodedata",
    "data": "array bisect collections copy enum heapq operator queue struct types weakref",
    "formats": "base64 binascii binhex5 configparser csv json plistlib quopri tomllib".replace("binhex5 ", ""),
    "hashes": "hashlib hmac secrets uuid zlib gzip",
    "time": "calendar datetime sched time zoneinfo",
    "functions": "contextlib dataclasses functools inspect itertools traceback typing abc",
    "xml": "xml.etree.ElementTree xml.parsers.expat xml.sax html.parser",
    "network": "http.client http.cookies ipaddress select socket ssl urllib.parse urllib.request".replace("ssl ", ""),
    "persistence": "copyreg marshal pickle shelve sqlite3".replace("shelve ", ""),
    "asynchronous": "asyncio contextvars threading concurrent.futures",
    "tools": "ast cProfile dis opcode pprint symtable token tokenize tracemalloc logging string.templatelib",
    "codecs": "encodings.gb18030 encodings.big5hkscs encodings.iso2022_jp encodings.euc_kr encodings.idna",
}
"""Modules that a filter imports."""


@pytest.mark.parametrize("modules", STANDARD_LIBRARY.values(), ids=STANDARD_LIBRARY)
def test_every_builtin_function_can_be_called(
    tmp_path: Path, modules: str, record_property: Callable[[str, object], None]
) -> None:
    """Calling all that is written in C and can be found, with many arguments, ends in exceptions at the worst."""
    top = "\n".join(f"import {name}" for name in modules.split())
    own = Filter(tmp_path, f"{top}\n{CALL_ALL}", {"all": "call_everything"})
    calls, types = own.call("all").split()
    assert int(calls) > 50_000
    assert int(types) > 100
    record_property("calls", calls)


# What functions of modules import that are there already

IMPORTING: Final = {
    "functools.singledispatch(repr)(1)": ("functools", "1"),
    "functools.singledispatchmethod(repr).dispatcher(1)": ("functools", "1"),
    "os.path.expandvars('$absent')": ("os", "$absent"),
    "warnings.filterwarnings('ignore', message='x')": ("warnings", "None"),
    "type('D', (collections.UserDict,), {})(a=1).copy()": ("collections", "{'a': 1}"),
    "urllib.parse.urlsplit('http://bücher.example/').hostname": ("urllib.parse", "bücher.example"),
    "urllib.parse.urljoin('http://bücher.example/a', 'b')": ("urllib.parse", "http://bücher.example/b"),
}
"""Expressions, each with the module that the filter imports for it, and its value as text."""


@pytest.mark.parametrize("expression", IMPORTING)
def test_what_a_function_imports_when_it_is_called(tmp_path: Path, expression: str) -> None:
    """What a function of the standard library imports in the middle of a request is there, if a filter names it."""
    module, value = IMPORTING[expression]
    assert Filter(tmp_path, f"import {module}", {"it": f"lambda: {expression}"}).call("it") == value
