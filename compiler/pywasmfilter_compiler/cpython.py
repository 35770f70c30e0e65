"""What the compiler knows of CPython 3.14 as componentize-py links it: how its static data is laid out, and what in
it a filter can do without.

A proxy compiles all of a module's code when it loads it, and most of the interpreter is for what filters never do. So
`linker.prune` takes out what cannot be reached. Two things could be, and are cut unless a filter wants them:

* Built-in modules that the filter neither imports nor names in any import statement. An import of one is an error that
  says so (`pywasmfilter/_runtime/importer.py`).
* Python's own compiler, which only `eval`, `exec` and `compile` of source text need, and `ast`.

The offsets are those of 32-bit pointers. `tests/compiler/test_cpython.py` holds all of this for the version in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .linker import Cut, Layout, StaticData


def _begins(static: StaticData, at: int) -> bool:
    """Whether at an address that code refers to there is a structure of which code knows nothing but the start."""
    return any(is_there(static, at) for is_there in _STRUCTURES)


def _is_module_def(static: StaticData, at: int) -> bool:
    """PyModuleDef: m_base (ob_refcnt, ob_type, m_init, m_index, m_copy), m_name, m_doc, m_size, m_methods, m_slots,
    m_traverse, m_clear, m_free.
    """
    return (
        all(static.is_number(at + offset) for offset in (0, 8, 12, 16, 28))
        and at + 20 in static.addresses
        and all(static.is_address(at + offset) for offset in (24, 32, 36))
        and all(static.is_slot(at + offset) for offset in (40, 44, 48))
    )


def _is_type_spec(static: StaticData, at: int) -> bool:
    """PyType_Spec: name, basicsize, itemsize, flags, slots."""
    numbers = all(static.is_number(at + offset) for offset in (4, 8, 12))
    return numbers and at in static.addresses and at + 16 in static.addresses and static.word(at + 4) < _LARGEST_OBJECT


_LARGEST_OBJECT: Final = 1 << 16


def _is_argument_parser(static: StaticData, at: int) -> bool:
    """_PyArg_Parser: format, keywords, fname, custom_msg, and seven more without slots."""
    return (
        static.is_address(at)
        and at + 4 in static.addresses
        and all(static.is_address(at + offset) for offset in (8, 12))
        and all(at + offset not in static.slots for offset in range(0, 44, 4))
    )


def _is_deflate_table(static: StaticData, at: int) -> bool:
    """zlib's configuration_table: four numbers of 16 bits and a function, ten times."""
    return all(
        at + offset + 8 in static.slots and static.is_number(at + offset) and static.is_number(at + offset + 4)
        for offset in range(0, 120, 12)
    )


def _is_system_calls(static: StaticData, at: int) -> bool:
    """SQLite's aSyscall: name, function, nothing, many times."""
    return all(
        at + offset in static.addresses and at + offset + 4 in static.slots and static.word(at + offset + 8) == 0
        for offset in (0, 12, 24)
    )


_STRUCTURES: Final = (_is_module_def, _is_type_spec, _is_argument_parser, _is_deflate_table, _is_system_calls)

LAYOUT: Final = Layout(
    begins=_begins,
    undivided=frozenset({"_PyRuntime"}),
    served=frozenset({"malloc", "Py_Initialize"}),
    finished=frozenset({"PyInit_componentize_py_runtime"}),  # its Rust code made the image, and that was all
)

LEFT_OUT: Final = "pyfilter_left_out"
"""The shim's function that raises ImportError for a built-in module that is not in the filter."""
NO_COMPILER: Final = "pyfilter_no_compiler"
"""The shim's function that raises RuntimeError for what needs Python's own compiler."""

LARGE_BUILTINS: Final = frozenset(
    """
    _asyncio _blake2 _codecs_cn _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _csv _decimal _elementtree
    _hmac _json _lsprof _multibytecodec _pickle _sha2 _socket _sqlite3 _struct _symtable _zoneinfo array binascii cmath
    pyexpat select zlib
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

_NEVER: Final = {"_Py_Finalize": -1, "_PyTokenizer_FindEncodingFilename": 0}
"""What no filter comes to: the interpreter does not end before its VM does, and there are no source files to show."""


def cuts(left_out: Iterable[str], *, compiler: bool) -> dict[str, Cut]:
    """The functions to cut for a filter that has not these built-in modules, and may have no need for the compiler."""
    modules = {f"PyInit_{name}": Cut(LEFT_OUT) for name in LARGE_BUILTINS.intersection(left_out)}
    entries = _NEVER if compiler else {**_NEVER, **_COMPILER}
    return modules | {name: Cut(NO_COMPILER, value) for name, value in entries.items()}
