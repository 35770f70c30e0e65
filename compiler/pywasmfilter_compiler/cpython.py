"""What the compiler knows of CPython 3.14 as componentize-py links it: what in it a filter can do without.

A proxy compiles all of a module's code when it loads it, and most of the interpreter is for what filters never do. So
`linker.prune` takes out what cannot be reached. Two things could be, and are cut unless a filter wants them:

* Built-in modules that the filter neither imports nor names in any import statement. An import of one is an error that
  says so (`pywasmfilter/_runtime/importer.py`).
* Python's own compiler, which only `eval`, `exec` and `compile` of source text need, and `ast`.

`tests/compiler/test_cpython.py` holds all of this for the version in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .linker import Cut, Layout, Telling

LAYOUT: Final = Layout(
    undivided=frozenset({"_PyRuntime"}),
    served=frozenset({"malloc", "Py_Initialize"}),
    finished=frozenset({"PyInit_componentize_py_runtime"}),  # its Rust code made the image, and that was all
)

LEFT_OUT: Final = "pyfilter_left_out"
"""The shim's function that raises ImportError for a built-in module that is not in the filter."""
NO_COMPILER: Final = "pyfilter_no_compiler"
"""The shim's function that raises RuntimeError for what needs Python's own compiler."""

TELLING: Final = Telling("pyfilter_missing_name", "pyfilter_missing")
"""The shim's functions that log what is missing."""

LARGE_BUILTINS: Final = frozenset(
    """
    _asyncio _blake2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _csv _decimal _elementtree
    _hmac _json _lsprof _multibytecodec _pickle _sha2 _socket _sqlite3 _struct _symtable _zoneinfo array binascii cmath
    pyexpat select unicodedata zlib
    """.split()
)
"""Built-in modules that are worth cutting: of those that nothing initializes before a filter is built, the ones that
have more than 8 KB of code for themselves. Few, so that few sets are in use: the code for a set is made once."""

_COMPILER: Final = {
    **dict.fromkeys(
        """
        _PyAST_Compile _PyAST_Validate _PyCompile_AstPreprocess _PyParser_ASTFromFile _PyParser_ASTFromString
        _PyParser_InteractiveASTFromFile _PyPegen_run_parser _PyPegen_run_parser_from_file_pointer
        _PyPegen_run_parser_from_string _Py_SymtableStringObjectFlags PyAST_mod2obj PyAST_obj2mod
        Py_CompileStringObject
        """.split(),
        0,
    ),
    "PyAST_Check": -1,
}
"""The entries of Python's own compiler, and what each returns for an error."""

_NEVER: Final = {"_Py_Finalize": -1, "_PyTokenizer_FindEncodingFilename": 0, "add_ast_annotations": 0}
"""What no filter comes to: the interpreter does not end before its VM does, there are no source files to show, and the
types of syntax trees were made while the filter was built."""

_ENTRIES: Final = {
    "_sre": dict.fromkeys(("sre_search", "sre_ucs1_match", "sre_ucs2_match", "sre_ucs4_match"), -1),
    "_tokenize": {"tokenizeriter_next": 0},
}
"""What there is to cut of built-in modules that were initialized before a filter is built, so that memory may know
their functions: if a filter has no use for them, it has no object that leads to these."""

BUILTINS: Final = LARGE_BUILTINS | _ENTRIES.keys()
"""All built-in modules of which something can be cut."""


def cuts(left_out: Iterable[str], *, compiler: bool) -> dict[str, Cut]:
    """The functions to cut for a filter that has not these built-in modules, and may have no need for the compiler."""
    absent = frozenset(left_out)
    modules = {f"PyInit_{name}": 0 for name in LARGE_BUILTINS & absent}
    for name in _ENTRIES.keys() & absent:
        modules |= _ENTRIES[name]
    entries = _NEVER if compiler else {**_NEVER, **_COMPILER}
    return {name: Cut(LEFT_OUT, value) for name, value in modules.items()} | {
        name: Cut(NO_COMPILER, value) for name, value in entries.items()
    }
