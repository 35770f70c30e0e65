"""Parts of the interpreter that most filters never use, and that a module without them does not carry.

A proxy compiles all of a module's code when it loads it. Much of it belongs to modules of the standard library that are
written in C. If a filter neither imports one of them nor names it in any import statement, it cannot come to life: an
import of it is an error that says so (`pywasmfilter/_runtime/importer.py`), and its code can stay behind.

Each part is complete: no code outside of it knows the addresses of its functions, except the interpreter's list of
built-in modules. The names are those of CPython 3.14 as componentize-py links it; `tests/compiler/test_parts.py` holds
that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .linker import Run

STAND_IN: Final = "pyfilter_left_out"
"""The shim's function in place of a part's `PyInit_…`: it raises ImportError."""


class Part(NamedTuple):
    """Built-in modules that belong together, and the functions that only they use."""

    modules: tuple[str, ...]
    functions: tuple[Run, ...]


PARTS: Final = (
    Part(
        modules=("_sqlite3",),
        functions=(
            ("pysqlite_close_all_blobs", "_pysqlite_long_as_int64"),
            ("sqlite3_log", "pcache1Shrink"),  # the library SQLite
        ),
    ),
    Part(
        modules=("_decimal",),
        functions=(
            ("PyInit__decimal", "signaldict_copy"),
            ("mpd_dflt_traphandler", "swap_halfrows_pow2"),  # the library libmpdec
        ),
    ),
    Part(
        modules=("pyexpat", "_elementtree"),
        functions=(
            ("PyInit_pyexpat", "makeuniversal"),
            ("parserCreate", "big2_scanCdataSection"),  # the library Expat
        ),
    ),
    Part(
        modules=(
            *("_codecs_cn", "_codecs_hk", "_codecs_iso2022", "_codecs_jp", "_codecs_kr", "_codecs_tw"),
            "_multibytecodec",
        ),
        functions=(("PyInit__codecs_cn", "_multibytecodec_MultibyteStreamWriter_reset"),),
    ),
    Part(modules=("_pickle",), functions=(("PyInit__pickle", "Unpickler_set_memo"),)),
    Part(modules=("_asyncio",), functions=(("PyInit__asyncio", "_asyncio_Task__fut_waiter_get"),)),
    Part(modules=("cmath",), functions=(("PyInit_cmath", "cmath_exec"),)),
    Part(modules=("_lsprof",), functions=(("PyInit__lsprof", "RotatingTree_Enum"),)),
)


def unused(builtins: Iterable[str]) -> tuple[int, ...]:
    """The numbers of the parts of which no module is among `builtins`, those that a filter may import."""
    wanted = frozenset(builtins)
    return tuple(number for number, part in enumerate(PARTS) if wanted.isdisjoint(part.modules))


def functions(numbers: Iterable[int]) -> Iterator[Run]:
    """The functions of some parts."""
    for number in numbers:
        yield from PARTS[number].functions
