"""The parts of the interpreter that modules leave out: their functions are where `parts.PARTS` says, and complete.

All of this is of one version of CPython and one of componentize-py. If a new one fails here, look at the functions
around each run in the new image, and change `parts.PARTS` and what is written down here together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from typing import Final, NamedTuple

import pytest
import wasmtime
from pywasmfilter_compiler import componentize, parts, runtime_image, settings, snapshot
from pywasmfilter_compiler.component.decode import decode as decode_component
from pywasmfilter_compiler.linker import Run, prune
from pywasmfilter_compiler.runtime_image import RuntimeImage
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.cursor import Cursor, u32
from pywasmfilter_compiler.wasm.instructions import stops
from pywasmfilter_compiler.wasm.module import I32, FuncType, Kind, Module
from pywasmfilter_compiler.wasm.names import function_names
from pywasmfilter_compiler.wasm.opcodes import CALL, Imm

NEIGHBOURS: dict[Run, Run] = {
    ("pysqlite_close_all_blobs", "_pysqlite_long_as_int64"): ("gcmodule_exec", "PyInit_array"),
    ("sqlite3_log", "pcache1Shrink"): (
        "zcfree",  # zlib's zutil.c
        "core::ptr::drop_glue::<alloc::vec::Vec<componentize_py_runtime::Enum>>",
    ),
    ("PyInit__decimal", "signaldict_copy"): ("_statistics__normal_dist_inv_cdf", "PyInit_binascii"),
    ("mpd_dflt_traphandler", "swap_halfrows_pow2"): ("_Py_LibHacl_Lib_Memzero0_memzero0", "parserCreate"),
    ("PyInit_pyexpat", "makeuniversal"): ("_hmac_HMAC_digest_size_get", "PyInit__codecs_cn"),
    ("parserCreate", "big2_scanCdataSection"): ("swap_halfrows_pow2", "adler32_z"),
    ("PyInit__codecs_cn", "_multibytecodec_MultibyteStreamWriter_reset"): ("makeuniversal", "PyInit_unicodedata"),
    ("PyInit__pickle", "Unpickler_set_memo"): ("RotatingTree_Enum", "PyInit__queue"),
    ("PyInit__asyncio", "_asyncio_Task__fut_waiter_get"): ("array_arrayiterator___setstate__", "PyInit__bisect"),
    ("PyInit_cmath", "cmath_exec"): ("math_exec", "PyInit__statistics"),
    ("PyInit__lsprof", "RotatingTree_Enum"): ("encoder_encode_key_value", "PyInit__pickle"),
}
"""The functions that were linked right before and right after each run: they belong to other source files."""

RUNS = [(part, run) for part in parts.PARTS for run in part.functions]
MODULES = [name for part in parts.PARTS for name in part.modules]
EVERYTHING = tuple(range(len(parts.PARTS)))


class Functions:
    """The functions of an image, by index and name."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.names = function_names(module)
        self.imported = len(module.imported(Kind.FUNC))

    @cached_property
    def index(self) -> dict[str, int]:
        """The one function of each name that only one has."""
        names = sorted(self.names.values())
        unique = {name for name, same in groupby(names) if len(list(same)) == 1}
        return {name: index for index, name in self.names.items() if name in unique}

    @cached_property
    def called(self) -> dict[int, list[int]]:
        """The functions that each function names in its code, in order."""
        return {index: list(_functions_in(self.module, index - self.imported)) for index in self.own}

    @property
    def own(self) -> range:
        """All that are not imported."""
        return range(self.imported, self.imported + len(self.module.code))

    def of(self, run: Run) -> range:
        """Those of a run, from its first to its last."""
        return range(self.index[run[0]], self.index[run[1]] + 1)

    def of_part(self, part: parts.Part) -> set[int]:
        """Those of a part. Where the stack guard put a wrapper, which has no name, its inner function is one too."""
        found = {index for run in part.functions for index in self.of(run)}
        return found | {self.called[index][-1] for index in found if index not in self.names}

    def left(self, without: tuple[int, ...]) -> set[int]:
        """Those that are in a module without some parts; a body says where it stood."""
        pruned = prune(self.module, parts.functions(without), parts.STAND_IN)
        by_offset = dict(zip((code.offset for code in self.module.code), self.own, strict=True))
        return {by_offset[code.offset] for code in pruned.code}


def _functions_in(module: Module, number: int) -> Iterator[int]:
    for stop in stops(module.code[number]):
        for imm, index in stop.operands:
            if imm is Imm.FUNC:
                assert stop.opcode == CALL, "an address of a function is a number in the table, never a reference"
                yield index


@pytest.fixture(scope="module")
def image() -> RuntimeImage:
    """The image that builds use."""
    return runtime_image.load(lambda _: None, settings.ABI)


@pytest.fixture(scope="module")
def functions(image: RuntimeImage) -> Functions:
    """Its functions."""
    return Functions(binary.decode((image.folder / "image.wasm").read_bytes()))


# Where the functions are


@pytest.mark.parametrize("run", [run for _, run in RUNS], ids="…".join)
def test_a_run_is_where_it_was(functions: Functions, run: Run) -> None:
    """A run begins and ends with names that one function each has, between the same neighbours as ever."""
    indices = functions.of(run)
    assert len(indices) > 1
    assert (functions.names[indices[0] - 1], functions.names[indices[-1] + 1]) == NEIGHBOURS[run]


def test_runs_are_apart(functions: Functions) -> None:
    """No function belongs to two runs."""
    indices = [index for _, run in RUNS for index in functions.of(run)]
    assert len(indices) == len(set(indices))


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.modules[0])
def test_a_part_begins_its_own_modules(functions: Functions, part: parts.Part) -> None:
    """The `PyInit_…` in a part are those of its modules, all of them, and no others."""
    begins = {
        name for index in functions.of_part(part) if (name := functions.names.get(index, "")).startswith("PyInit_")
    }
    assert begins == {f"PyInit_{module}" for module in part.modules}


# That they are complete


@pytest.mark.parametrize("part", parts.PARTS, ids=lambda part: part.modules[0])
def test_only_a_part_calls_its_functions(functions: Functions, part: parts.Part) -> None:
    """No code outside of a part, in another part neither, calls one of its functions, and none is exported."""
    own = functions.of_part(part)
    assert {
        functions.names.get(caller): [functions.names.get(index) for index in own.intersection(called)]
        for caller, called in functions.called.items()
        if caller not in own and not own.isdisjoint(called)
    } == {}
    assert [item.name for item in functions.module.exports if item.kind is Kind.FUNC and item.index in own] == []


def test_libraries_go_whole(functions: Functions) -> None:
    """Nothing of the libraries that only a part uses is left without it."""
    left = [functions.names.get(index, "") for index in functions.left(EVERYTHING)]
    assert len(left) > 8000
    of_libraries = re.compile(r"_?(py)?sqlite|pager|btree|_?mpd|PyExpat|xml(?!char)", re.IGNORECASE)
    assert [name for name in left if of_libraries.match(name)] == []
    all_of_them = [name for name in functions.names.values() if of_libraries.match(name)]
    assert len(all_of_them) > 1000, "that is what they are called"


class Address(NamedTuple):
    """A place where a library has the address of a function of its own: in its data, or in the code of another."""

    place: int
    function: int


class Library:
    """The interpreter's library before it is linked, where addresses of functions are still told from numbers."""

    def __init__(self, module: Module) -> None:
        self.functions = Functions(module)
        globals_ = [item.name for item in module.imported(Kind.GLOBAL)]
        self.memory_base, table_base = (_global_get(globals_.index(name)) for name in ("__memory_base", "__table_base"))
        self.address = table_base + b"\x41" + _NUMBER + b"\x6a"
        (segment,) = module.elements
        self.slots = segment.functions
        (relocate,) = (item.index for item in module.exports if item.name == "__wasm_apply_data_relocs")
        self.relocate = relocate - self.functions.imported

    def in_data(self) -> list[Address]:
        """Which data have the address of a function that is no symbol of the library, in order."""
        store = b"\x41" + _NUMBER + self.memory_base + b"\x6a" + self.address + b"\x36\x02" + _NUMBER
        code = self.functions.module.code[self.relocate].body
        found = re.finditer(store, code, re.DOTALL)
        return sorted(
            Address(_s32(at) + _s32(offset), self._function(slot)) for at, slot, offset in map(re.Match.groups, found)
        )

    def in_code(self) -> list[Address]:
        """Which functions take the address of one."""
        pattern = re.compile(self.address, re.DOTALL)
        return [
            Address(index, self._function(slot))
            for index, code in zip(self.functions.own, self.functions.module.code, strict=True)
            if index - self.functions.imported != self.relocate
            for slot in pattern.findall(code.body)
        ]

    def _function(self, slot: bytes) -> int:
        function = self.slots[_s32(slot)]
        assert function is not None
        return function


_NUMBER: Final = rb"([\x80-\xff]{0,4}[\x00-\x7f])"


def _global_get(index: int) -> bytes:
    """An expression for the instruction; compilers write its number in five bytes, for the linker to fill in."""
    return b"\x23(?:" + re.escape(u32(index)) + b"|" + re.escape(bytes([index | 0x80]) + b"\x80\x80\x80\0") + b")"


def _s32(content: bytes) -> int:
    return Cursor(content).s32()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """The library with the parts, before it is linked."""
    scratch = tmp_path_factory.mktemp("component")
    component = componentize.make_component(runtime_image.sdk_folder(), runtime_image._SHIM, scratch)
    modules = decode_component(component.data).modules
    (module,) = (module for module in modules if "sqlite3_log" in function_names(module).values())
    return Library(module)


def test_addresses_of_a_parts_functions_stand_together(library: Library) -> None:
    """Data with such addresses are in one piece for each run, so they are the part's own, as is code that takes one."""
    numbers = {index: part.modules[0] for part, run in RUNS for index in library.functions.of(run)}
    pieces = [name for name, _ in groupby(numbers.get(address.function) for address in library.in_data())]
    assert [name for name in pieces if name] == [
        *("_sqlite3", "_asyncio", "_lsprof", "_pickle", "cmath", "_decimal", "pyexpat", "_codecs_cn"),
        *("_decimal", "pyexpat", "_sqlite3"),  # the libraries
    ]
    in_code = library.in_code()
    assert len(in_code) > 200
    assert [
        (library.functions.names.get(place), library.functions.names.get(function))
        for place, function in in_code
        if numbers.get(function) != numbers.get(place) and function in numbers
    ] == []


# What modules get


def test_the_stand_in_is_like_what_it_stands_for(functions: Functions) -> None:
    """It has the type of each `PyInit_…`, so it takes its slot."""
    module = functions.module
    (stand_in,) = (item.index for item in module.exports if item.name == parts.STAND_IN)
    begins = [functions.index[f"PyInit_{name}"] for name in MODULES]
    types = module.function_types()
    assert {module.types[types[index]] for index in (stand_in, *begins)} == {FuncType((), (I32,))}
    pruned = prune(module, parts.functions(EVERYTHING), parts.STAND_IN)
    (replacement,) = (item.index for item in pruned.exports if item.name == parts.STAND_IN)
    slots = [
        new
        for before, after in zip(module.elements, pruned.elements, strict=True)
        for old, new in zip(before.functions, after.functions, strict=True)
        if old in begins
    ]
    assert slots == [replacement] * len(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_one_module_brings_its_part(functions: Functions, name: str) -> None:
    """A filter that may import a module gets the whole of its part, and nothing of the others."""
    (own,) = (number for number, part in enumerate(parts.PARTS) if name in part.modules)
    assert parts.unused(["sys", name, "json"]) == tuple(number for number in EVERYTHING if number != own)
    left = functions.left(parts.unused([name]))
    for number, part in enumerate(parts.PARTS):
        expected = functions.of_part(part) if number == own else set()
        assert functions.of_part(part) & left == expected, part.modules


def test_a_filter_without_them_has_none_of_them(image: RuntimeImage, functions: Functions) -> None:
    """Its code, which is made with the image, is a valid module that lacks the functions of all parts."""
    code = image.wasm_for(["sys", "_json"])
    wasmtime.Module.validate(snapshot.new_engine(), code)
    assert code == (image.folder / "pruned.wasm").read_bytes()
    left = functions.left(EVERYTHING)
    assert len(binary.decode(code).code) == len(left) < len(functions.own) - 2500
    assert set().union(*map(functions.of_part, parts.PARTS)).isdisjoint(left)


def test_a_filter_with_all_of_them_has_all(image: RuntimeImage, functions: Functions) -> None:
    """With one module of each part nothing is taken out that any code leads to."""
    code = image.wasm_for([part.modules[-1] for part in parts.PARTS])
    wasmtime.Module.validate(snapshot.new_engine(), code)
    assert parts.unused(MODULES) == ()
    assert len(binary.decode(code).code) == len(functions.left(()))
    assert set().union(*map(functions.of_part, parts.PARTS)) <= functions.left(())


def test_the_same_modules_get_the_same_code(image: RuntimeImage) -> None:
    """The order in which a build reports what it found changes nothing."""
    assert image.wasm_for(["cmath", "_pickle"]) == image.wasm_for(iter(["_pickle", "cmath", "_pickle"]))
