"""What of the interpreter a filter does not use is not in its module, and nothing that requests do needs it.

A call of what is left out would be a trap, and the end of the VM. So all that could lead there is an exception. Here
are the modules that a filter has or has not; `test_no_compiler.py` is about filters that cannot compile source text.
The modules run in wasmtime.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from pywasmfilter_compiler import BuildResult, build, cpython

from pywasmfilter.testing import Host

EVALUATES = """
from pywasmfilter import HttpContext, http_filter

{top}

@http_filter("parts")
class Parts(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        names = dict(globals())
        try:
            exec(bytes.fromhex(self.request.headers["x-code"]), names)
        except BaseException as error:
            names["result"] = f"{{type(error).__name__}}: {{error}}"
        return self.send_http_response(200, body=ascii(names["result"]))
{methods}
"""
"""A filter that runs code which sets `result`; `top` is run at its import."""


class Use(NamedTuple):
    """A use of a built-in module: an import statement, if any, the module to include, an expression, and its value."""

    imports: str
    module: str
    expression: str
    value: object


def _codec(name: str) -> Use:
    return Use("pass", f"encodings.{name}", f"'a\\u3042'.encode('{name}', 'replace').decode('{name}')[0]", "a")


USES = {
    "_asyncio": Use(
        "import asyncio", "asyncio", "asyncio.Task.__module__, asyncio.iscoroutinefunction(len)", ("_asyncio", False)
    ),
    "_blake2": Use("import hashlib", "hashlib", "hashlib.blake2b(b'x', digest_size=2).hexdigest()", "269d"),
    "_codecs_cn": Use(
        "pass",
        "encodings.gb2312",
        "'中'.encode('gb2312'), b'\\xd6\\xd0\\xff'.decode('gb2312', 'replace')",
        (b"\xd6\xd0", "中\ufffd"),
    ),
    "_codecs_hk": _codec("big5hkscs"),
    "_codecs_iso2022": _codec("iso2022_jp"),
    "_codecs_jp": _codec("shift_jis"),
    "_codecs_kr": _codec("euc_kr"),
    "_codecs_tw": _codec("big5"),
    "_csv": Use("import csv", "csv", "list(csv.reader(['a,\"b,c\"']))", [["a", "b,c"]]),
    "_decimal": Use(
        "import decimal",
        "decimal",
        "str(decimal.Decimal('1.10') ** 7 + 1), f'{decimal.Decimal(10) / 3:.5f}', hash(decimal.Decimal(7))",
        ("2.94871710000000", "3.33333", 7),
    ),
    "_elementtree": Use(
        "import xml.etree.ElementTree",
        "xml.etree.ElementTree",
        "xml.etree.ElementTree.tostring(xml.etree.ElementTree.Element('a', b='1'))",
        b'<a b="1" />',
    ),
    "_hmac": Use("import hmac", "hmac", "hmac.new(b'key', b'x', 'sha256').hexdigest()[:4]", "4fc3"),
    "_json": Use(
        "import json",
        "json",
        "json.loads('[1, {\"a\": null}]'), json.dumps(['\\xe4'])",
        ([1, {"a": None}], '["\\u00e4"]'),
    ),
    "_lsprof": Use("import cProfile", "cProfile", "len(cProfile.Profile(lambda: 1.0).getstats())", 0),
    "_multibytecodec": Use(
        "import _multibytecodec",
        "_multibytecodec",
        "_multibytecodec.MultibyteStreamReader.__name__",
        "MultibyteStreamReader",
    ),
    "_pickle": Use(
        "import pickle",
        "pickle",
        "pickle.loads(pickle.dumps([1, {'a': (2.5, b'x')}])), pickle.Pickler.__module__",
        ([1, {"a": (2.5, b"x")}], "_pickle"),
    ),
    "_sha2": Use(
        "import hashlib",
        "hashlib",
        "hashlib.sha256(b'x').hexdigest()[:4], hashlib.sha512(b'x').name",
        ("2d71", "sha512"),
    ),
    "_socket": Use("import socket", "socket", "socket.inet_aton('127.0.0.1'), socket.htons(1)", (b"\x7f\0\0\1", 256)),
    "_sqlite3": Use(
        "import sqlite3",
        "sqlite3",
        "sqlite3.connect(':memory:').execute('select upper(?) || sqlite_version() > 3', ['x']).fetchall()",
        [(1,)],
    ),
    "_struct": Use(
        "import struct", "struct", "struct.pack('>Hd', 1, 2.5), struct.calcsize('<q')", (b"\0\1@\x04" + bytes(6), 8)
    ),
    "_symtable": Use(
        "import symtable", "symtable", "sorted(symtable.symtable('a = b', 'f', 'exec').get_identifiers())", ["a", "b"]
    ),
    "_zoneinfo": Use("import zoneinfo", "zoneinfo", "zoneinfo.ZoneInfo.__module__", "zoneinfo"),
    "array": Use("import array", "array", "array.array('H', [1, 2]).tobytes()", b"\1\0\2\0"),
    "binascii": Use(
        "import binascii", "binascii", "binascii.b2a_base64(b'x'), binascii.crc32(b'x')", (b"eA==\n", 2363233923)
    ),
    "cmath": Use("import cmath", "cmath", "cmath.sqrt(-4), cmath.phase(1)", (2j, 0.0)),
    "pyexpat": Use(
        "import xml.etree.ElementTree",
        "xml.etree.ElementTree",
        "[e.text for e in xml.etree.ElementTree.fromstring('<a><b>1</b><b>&#228;</b></a>').iter('b')]",
        ["1", "ä"],
    ),
    "select": Use("import select", "select", "select.POLLIN, select.error.__name__", (1, "OSError")),
    "unicodedata": Use("import unicodedata", "unicodedata", "unicodedata.name('ä')[:5]", "LATIN"),
    "zlib": Use("import zlib", "zlib", "zlib.decompress(zlib.compress(b'x' * 99)) == b'x' * 99", True),
}
"""What filters do with each built-in module that may be left out."""


class Filter:
    """A filter in a host: what it answers to code."""

    def __init__(self, result: BuildResult) -> None:
        self.size = result.size
        self._host = Host(result.path)

    def value(self, expression: str, *, before: str = "pass") -> object:
        """The value of an expression in a request, after some statements; "Type: message" for an exception."""
        code = f"{before}\nresult = {expression}".encode().hex()
        stream = self._host.request(headers={"x-code": code})
        assert stream.status == 200
        return ast.literal_eval(stream.text)


def built(folder: Path, *, top: str = "pass", method: str = "pass", include: tuple[str, ...] = ()) -> Filter:
    """A filter with code at its top level, and in a method that nobody calls."""
    folder.mkdir(exist_ok=True)
    methods = f"    def never_called(self):\n        {method}\n"
    (folder / "filter.py").write_text(EVALUATES.format(top=top, methods=methods), encoding="utf-8")
    return Filter(build(folder / "filter.py", folder / "filter.wasm", include=include))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Filter:
    """A filter that uses none of them. What its tests leave behind in it must not matter to the others."""
    return built(tmp_path_factory.mktemp("bare"), top="import importlib, gc, sys, _imp, encodings.aliases")


def test_each_module_is_used_here() -> None:
    """Another module that may be left out gets its tests."""
    assert USES.keys() == cpython.LARGE_BUILTINS


# What a filter names is there


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_a_filter_imports_works(tmp_path: Path, bare: Filter, use: Use) -> None:
    """A module that is imported at the top level works in a request; its code is in the filter."""
    own = built(tmp_path, top=f"{use.imports}\nused = lambda: ({use.expression})")
    assert own.value("used()") == use.value
    assert own.size > bare.size + 2000


def test_what_functions_import_works(tmp_path: Path, bare: Filter) -> None:
    """All that only a function imports works when a request comes to it; the filter is larger by megabytes."""
    uses = [f"({use.expression})" for use in USES.values()]
    method = "; ".join([*(use.imports for use in USES.values()), f"return [{', '.join(uses)}]"])
    own = built(tmp_path, method=method)
    assert own.value("Parts.never_called(None)") == [use.value for use in USES.values()]
    assert own.size > bare.size + (2 << 20)


def test_what_is_included_works(tmp_path: Path) -> None:
    """With --include, a module works that no import statement and no name of a codec shows."""
    own = built(tmp_path, include=tuple(use.module for use in USES.values()))
    assert [own.value(use.expression, before=use.imports) for use in USES.values()] == [
        use.value for use in USES.values()
    ]


def test_a_module_that_was_taken_back_out_of_sys_modules(tmp_path: Path) -> None:
    """What a filter named and holds works, even if it hides the module."""
    own = built(
        tmp_path, top="import sys\nfrom decimal import Decimal\ndel sys.modules['_decimal'], sys.modules['decimal']"
    )
    assert own.value("str(Decimal('1.10') + 1)") == "2.10"


def test_a_module_that_no_statement_names_but_that_is_alive(tmp_path: Path) -> None:
    """What came to life while the filter was built stays, however it was imported and wherever it is hidden."""
    own = built(
        tmp_path,
        top="import sys, importlib, numbers, collections\n"
        "D = importlib.import_module('_deci' + 'mal').Decimal\ndel sys.modules['_decimal']",
    )
    assert own.value("str(D('1.10') + 1)") == "2.10"


def test_what_the_interpreter_imports_by_itself(bare: Filter) -> None:
    """Names of characters, and the copying of any object, need modules that no statement names."""
    assert bare.value("eval(r\"'\\N{BULLET}'\")") == "•"
    assert bare.value("object().__reduce_ex__(2)[0].__name__") == "__newobj__"


# What it does not name is an exception

BUILTINS = sorted(cpython.LARGE_BUILTINS - {"unicodedata"})  # the compiler needs that, and `exec` brings the compiler


@pytest.mark.parametrize("name", sorted({USES[name].module for name in BUILTINS}.union(BUILTINS)))
def test_import_by_a_computed_name(bare: Filter, name: str) -> None:
    """An import that the build could not see is an error which says what to do, the second time too."""
    missing = "xml" if name.startswith("xml.") else name
    for _ in range(2):
        found = bare.value(f"importlib.import_module({name!r})")
        assert str(found).startswith("ModuleNotFoundError: No module named ")
        assert re.search(rf"or build with --include {missing}$", str(found))


BY_HAND = """
from importlib.machinery import BuiltinImporter, ModuleSpec
spec = ModuleSpec({!r}, BuiltinImporter)

def with_no_other_finder():
    finders = sys.meta_path[:]
    sys.meta_path[:] = [BuiltinImporter]
    try:
        return __import__(spec.name)
    finally:
        sys.meta_path[:] = finders
"""


@pytest.mark.parametrize(
    "how",
    [
        "_imp.create_builtin(spec)",
        "_imp.exec_builtin(_imp.create_builtin(spec))",
        "BuiltinImporter.load_module(spec.name)",
        "with_no_other_finder()",
    ],
)
@pytest.mark.parametrize("name", BUILTINS)
def test_making_a_builtin_by_hand(bare: Filter, name: str, how: str) -> None:
    """Around our finders there is an ImportError too, no trap, however often it is tried."""
    for _ in range(2):
        found = bare.value(how, before=BY_HAND.format(name))
        assert found == "ImportError: this built-in module is not in the filter"


CODECS = "gb2312 gbk gb18030 hz big5 big5hkscs cp950 cp932 cp949 euc_jp euc_jis_2004 euc_kr shift_jis iso2022_jp johab"


@pytest.mark.parametrize("codec", CODECS.split())
@pytest.mark.parametrize("use", ["''.encode({})", "b'a'.decode({})", "sys.modules['codecs'].lookup({})"])
def test_codec_by_a_computed_name(bare: Filter, codec: str, use: str) -> None:
    """A codec that the build could not see is the usual LookupError."""
    half = len(codec) // 2
    found = bare.value(use.format(f"{codec[:half]!r} + {codec[half:]!r}"))
    assert found == f"LookupError: unknown encoding: {codec}. If Python has it, build with --include encodings.{codec}"


@pytest.mark.parametrize("codec", CODECS.split())
def test_codec_that_a_string_names(tmp_path: Path, codec: str) -> None:
    """Each codec works that the filter names, with nothing but what it needs: some need another one's tables."""
    own = built(tmp_path, top=f"NAME = {codec!r}")
    assert own.value("'a\u4e00'.encode(NAME, 'replace').decode(NAME)[0]") == "a"
    assert own.value("len('\u4e00'.encode(NAME)) > 1") in (True, "UnicodeEncodeError")


def test_all_codecs_by_name(bare: Filter) -> None:
    """No name that Python has for a codec brings down the VM."""
    code = """
found = set()
for name in sorted({*encodings.aliases.aliases, *encodings.aliases.aliases.values()}):
    for use in (lambda: "\\xe4".encode(name), lambda: b"\\xa4\\xa2\\xff".decode(name, "replace")):
        try:
            use()
        except (LookupError, UnicodeError) as error:
            found.add(type(error).__name__)
"""
    assert bare.value("sorted(found)", before=code) == ["LookupError", "UnicodeEncodeError"]


def test_nothing_of_the_modules_is_alive(bare: Filter) -> None:
    """No type of what is left out is among those that a request can find."""
    modules = {*BUILTINS, "decimal", "sqlite3", "xml.etree.ElementTree", "cProfile"}
    code = (
        f"types = [t for t in (*object.__subclasses__(), *gc.get_objects()) if type(t) is type]\nmodules = {modules!r}"
    )
    assert int(str(bare.value("len(types)", before=code))) > 250
    assert bare.value("[t.__qualname__ for t in types if t.__module__ in modules]", before=code) == []
