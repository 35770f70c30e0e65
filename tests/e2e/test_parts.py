"""Parts of the interpreter that a filter does not use are not in its module, and nothing that requests do needs them.

What is left out is a hole in the table: a call of it would be a trap, and the end of the VM. So all that could lead
there is an exception. The modules run in wasmtime.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from pywasmfilter_compiler import BuildResult, build, parts

from pywasmfilter.testing import Host
from tests.e2e.probing import encoded

EVALUATES = """
import base64
from pywasmfilter import HttpContext, http_filter

{top}

@http_filter("parts")
class Parts(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        names = dict(globals())
        try:
            exec(base64.b64decode(self.request.headers["x-code"]), names)
        except BaseException as error:
            names["result"] = f"{{type(error).__name__}}: {{error}}"
        return self.send_http_response(200, body=ascii(names["result"]))
{methods}
"""
"""A filter that runs code which sets `result`; `top` is run at its import."""


class Use(NamedTuple):
    """A use of a part: an import statement, if it takes one, the module it needs, an expression, and its value."""

    imports: str
    module: str
    expression: str
    value: object


USES = {
    "_sqlite3": Use(
        "import sqlite3",
        "sqlite3",
        "sqlite3.connect(':memory:').execute('select upper(?) || sqlite_version() > 3', ['x']).fetchall()",
        [(1,)],
    ),
    "_decimal": Use(
        "import decimal",
        "decimal",
        "str(decimal.Decimal('1.10') ** 7 + 1), f'{decimal.Decimal(10) / 3:.5f}', hash(decimal.Decimal(7))",
        ("2.94871710000000", "3.33333", 7),
    ),
    "pyexpat": Use(
        "import xml.etree.ElementTree",
        "xml.etree.ElementTree",
        "[e.text for e in xml.etree.ElementTree.fromstring('<a><b>1</b><b>&#228;</b></a>').iter('b')]",
        ["1", "ä"],
    ),
    "_codecs_cn": Use(
        "pass",
        "encodings.gb2312",
        "'中'.encode('gb2312'), b'\\xd6\\xd0\\xff'.decode('gb2312', 'replace')",
        (b"\xd6\xd0", "中\ufffd"),
    ),
    "_pickle": Use(
        "import pickle",
        "pickle",
        "pickle.loads(pickle.dumps([1, {'a': (2.5, b'x')}])), pickle.Pickler.__module__",
        ([1, {"a": (2.5, b"x")}], "_pickle"),
    ),
    "_asyncio": Use(
        "import asyncio",
        "asyncio",
        "asyncio.Task.__module__, asyncio.Future.__module__, asyncio.iscoroutinefunction(len)",
        ("_asyncio", "_asyncio", False),
    ),
    "cmath": Use("import cmath", "cmath", "cmath.sqrt(-4), cmath.phase(1)", (2j, 0.0)),
    "_lsprof": Use("import cProfile", "cProfile", "len(cProfile.Profile(lambda: 1.0).getstats())", 0),
}
"""What filters do with each part, by its first module."""


class Filter:
    """A filter in a host: what it answers to code."""

    def __init__(self, result: BuildResult) -> None:
        self.size = result.size
        self._host = Host(result.path)

    def value(self, expression: str, *, before: str = "pass") -> object:
        """The value of an expression in a request, after some statements; "Type: message" for an exception."""
        code = encoded(f"{before}\nresult = {expression}")
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
    """A filter that uses no part. What its tests leave behind in it must not matter to the others."""
    return built(tmp_path_factory.mktemp("bare"), top="import importlib, gc, sys, _imp, encodings.aliases")


def test_each_part_is_used_here() -> None:
    """A new part gets its tests."""
    assert list(USES) == [part.modules[0] for part in parts.PARTS]


# What a filter names is there


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_what_a_filter_imports_works(tmp_path: Path, bare: Filter, use: Use) -> None:
    """A part that is imported at the top level works in a request; its code is in the module."""
    own = built(tmp_path, top=f"{use.imports}\nused = lambda: ({use.expression})")
    assert own.value("used()") == use.value
    assert own.size > bare.size + 5000


def test_what_functions_import_works(tmp_path: Path, bare: Filter) -> None:
    """All parts that only a function imports work when a request comes to it; the module is larger by megabytes."""
    uses = [f"({use.expression})" for use in USES.values()]
    method = "; ".join([*(use.imports for use in USES.values()), f"return [{', '.join(uses)}]"])
    own = built(tmp_path, method=method)
    assert own.value("Parts.never_called(None)") == [use.value for use in USES.values()]
    assert own.size > bare.size + (2 << 20)


def test_what_is_included_works(tmp_path: Path) -> None:
    """With --include, a part works that no import statement and no name of a codec shows."""
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

BUILTINS = [name for part in parts.PARTS for name in part.modules]


@pytest.mark.parametrize("name", [use.module for use in USES.values()] + BUILTINS)
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


def test_nothing_of_the_parts_is_alive(bare: Filter) -> None:
    """No type of a part is among those that a request can find."""
    modules = {*BUILTINS, "decimal", "sqlite3", "xml.etree.ElementTree", "cProfile"}
    code = (
        f"types = [t for t in (*object.__subclasses__(), *gc.get_objects()) if type(t) is type]\nmodules = {modules!r}"
    )
    assert int(str(bare.value("len(types)", before=code))) > 300
    assert bare.value("[t.__qualname__ for t in types if t.__module__ in modules]", before=code) == []


def test_every_builtin_function_can_be_called(bare: Filter) -> None:
    """Calling all that is written in C and can be found, with a few arguments, ends in exceptions at the worst."""
    code = """
import types
KINDS = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType, type)
HARMFUL = {"_thread", "_signal", "_imp", "gc", "sys", "posix", "faulthandler", "time", "componentize_py_runtime"}
gc.unfreeze()  # what was there when the module was built
found = {id(item): item for item in [*gc.get_objects(), *object.__subclasses__()]}
for item in list(found.values()):
    found.update((id(item), item) for item in gc.get_referents(item))
calls = 0
for item in found.values():
    if not isinstance(item, KINDS):
        continue
    owner = getattr(item, "__objclass__", None)
    module = f"{item.__module__} {owner}" if hasattr(item, "__module__") else str(owner)
    if module.split()[0] in HARMFUL or "pywasmfilter" in module or "lock" in module or item is type:
        continue
    if getattr(item, "__name__", "") in ("input", "breakpoint", "exec", "eval"):
        continue
    for arguments in ((), (1,), ("x",), ([],), ((), ()), (b"x", 1), (len, [1])):
        calls += 1
        try:
            repr(item(*arguments))
        except BaseException:
            pass
"""
    assert int(str(bare.value("calls", before=code))) > 10000
