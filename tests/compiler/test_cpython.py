"""What the compiler knows of CPython, held against the one in use: what is cut, and what that takes out of modules.

All of this is of one version of CPython and one of componentize-py. If a new one fails here, look at what is in the new
image, and change `cpython.py` and what is written down here together.
"""

from __future__ import annotations

import errno
import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import wasmtime
from pywasmfilter_compiler import build, cpython, runtime_image, settings, snapshot
from pywasmfilter_compiler.linker import Cut, unused_data
from pywasmfilter_compiler.linker.prune import _Cuts, _Reach
from pywasmfilter_compiler.linker.references import SECTION, References
from pywasmfilter_compiler.runtime_image import RuntimeImage
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import I32, FuncType, Kind, Module
from pywasmfilter_compiler.wasm.names import function_names

from pywasmfilter.testing import Host

LARGE = 8 << 10
"""From how many bytes of its own a built-in module is worth cutting."""
TOO_LARGE = 12 << 10
"""From how many it must be cut."""

SMALL_BUT_CUT = {"_codecs_cn", "_codecs_hk", "_codecs_kr", "_codecs_tw", "_symtable"}
"""Modules that have less by themselves: most of their code is shared, but with each other, or with the compiler."""

LARGE_BUT_NOT_CUT = {"_ast", "_sre", "_tokenize", "math"}
"""Modules that came to life in every image when the list was made."""


@pytest.fixture(scope="module")
def image() -> RuntimeImage:
    """The image that builds use."""
    return runtime_image.load(lambda _: None, settings.ABI)


@pytest.fixture(scope="module")
def module(image: RuntimeImage) -> Module:
    """The image as a module."""
    return binary.decode(image.whole_code())


class Kinds:
    """What stays of the image for kinds of filters."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.names = function_names(module)
        exported = [item for item in module.exports if item.kind is Kind.FUNC]
        self._roots = [item.index for item in exported if item.name not in runtime_image._FOR_BUILDS]
        references = References.decode(module.custom(SECTION) or b"")
        self._reach = _Reach(module, references, _Cuts(module, {}))

    def left(self, cut: dict[str, Cut]) -> set[int]:
        """The functions that stay."""
        self._reach.cuts = _Cuts(self.module, cut)
        self._reach.__dict__.pop("_plausible", None)
        functions, _ = self._reach.kept(self._roots)
        return set(functions)

    def names_left(self, *modules: str, compiler: bool = False) -> set[str]:
        """The names of those that stay for a filter that has these built-in modules, of all that may be cut."""
        cut = cpython.cuts(cpython.BUILTINS.difference(modules), compiler=compiler)
        return {self.names.get(index, "") for index in self.left(cut)}

    def size(self, functions: set[int]) -> int:
        """How many bytes of code they have."""
        imported = len(self.module.imported(Kind.FUNC))
        return sum(len(self.module.code[index - imported].body) for index in functions)


@pytest.fixture(scope="module")
def kinds(module: Module) -> Kinds:
    """The functions of each kind of filter."""
    return Kinds(module)


# What is cut


def test_all_that_is_cut_is_there(module: Module) -> None:
    """Each name is that of one function, and of one only, which returns a number or a pointer."""
    types = module.function_types()
    found: dict[str, list[FuncType]] = {name: [] for name in cpython.cuts(cpython.BUILTINS, compiler=False)}
    for index, name in function_names(module).items():
        if name in found:
            found[name].append(module.types[types[index]])
    assert {name: [functype.results for functype in each] for name, each in found.items() if len(each) != 1} == {}
    assert {functype.results for each in found.values() for functype in each} == {(I32,)}


def test_what_filters_want_is_not_cut() -> None:
    """With all modules and the compiler only that is cut which no filter comes to; `left_out` may name any module."""
    always = cpython.cuts((), compiler=True)
    assert set(always) == {"_Py_Finalize", "_PyTokenizer_FindEncodingFilename", "add_ast_annotations"}
    assert cpython.cuts({"sys", "nothing"}, compiler=True) == always
    assert cpython.cuts({"_json", "sys"}, compiler=True) == {**always, "PyInit__json": Cut("pyfilter_left_out")}
    matchers = {"sre_search", "sre_ucs1_match", "sre_ucs2_match", "sre_ucs4_match"}
    assert set(cpython.cuts({"_sre"}, compiler=True)) == {*always, *matchers}


LEFT_OUT = """
from pywasmfilter import HttpContext, http_filter
from pywasmfilter._runtime import importer

@http_filter("bare")
class Bare(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        return self.send_http_response(200, body=" ".join(sorted(importer.left_out)))
"""


def test_the_modules_to_cut_are_the_large_ones(kinds: Kinds, tmp_path: Path) -> None:
    """Of the built-in modules that a filter can be without, those are cut that have more than 8 KB for themselves."""
    (tmp_path / "filter.py").write_text(LEFT_OUT)
    names = set(Host(build(tmp_path / "filter.py", tmp_path / "bare.wasm").path).request().text.split())
    assert len(names) > 30
    always = cpython.cuts((), compiler=False)
    begins = {name: Cut(cpython.LEFT_OUT) for name in (f"PyInit_{module}" for module in names)}
    without = kinds.left(always | begins)
    sizes = {}
    for name in names:
        others = {begin: cut for begin, cut in begins.items() if begin != f"PyInit_{name}"}
        sizes[name] = kinds.size(kinds.left(always | others) - without)
    assert {name for name in cpython.LARGE_BUILTINS if sizes[name] <= LARGE} == SMALL_BUT_CUT
    assert {name for name in names - cpython.LARGE_BUILTINS if sizes[name] >= TOO_LARGE} == LARGE_BUT_NOT_CUT


# What that takes out

_OF_MODULES = {
    "_sqlite3": re.compile(r"_?py?sqlite|sqlite3(?!$)|pager|btree|fts[35]", re.IGNORECASE),
    "_decimal": re.compile(r"_?mpd_|dec_"),
    "pyexpat": re.compile(r"PyExpat_|xmlparse_|parserCreate$|doProlog$"),
    "_pickle": re.compile(r"_pickle_|_?[Pp]ickler?_|_?[Uu]npickler_"),
    "_json": re.compile(r"scan_once_unicode|scanstring_unicode|encoder_listencode_|py_encode_basestring"),
    "_asyncio": re.compile(r"_asyncio_|task_step_impl|future_"),
    "_elementtree": re.compile(r"_elementtree_|treebuilder_|element_"),
    "zlib": re.compile(r"inflate(?!_state)|deflate|zlib_"),
    "_hmac": re.compile(r"_hmac_|Hacl_.*HMAC", re.IGNORECASE),
    "_csv": re.compile(r"csv_|parse_process_char|join_append"),
    "cmath": re.compile(r"cmath_"),
    "array": re.compile(r"array_array_"),
}
"""What functions are called of which most belong to a built-in module and what only that uses."""


@pytest.fixture(scope="module")
def bare(kinds: Kinds) -> set[str]:
    """What a filter has that wants nothing of all this."""
    return kinds.names_left()


@pytest.mark.parametrize("name", _OF_MODULES)
def test_a_module_brings_its_own_code(kinds: Kinds, bare: set[str], name: str) -> None:
    """Without the module none of it is left, and with it nearly all that the image has."""
    everything = {each for each in kinds.names.values() if _OF_MODULES[name].match(each)}
    assert len(everything) >= 5
    assert {each for each in bare if _OF_MODULES[name].match(each)} == set()
    assert len(everything & kinds.names_left(name)) > 0.8 * len(everything)


COMPILER = re.compile(r"_PyPegen_(run_parser|parse)|_PyCfg_|_PyCodegen_|symtable_visit_|codegen_visit_|_Py_Symtable")


def test_the_compiler_goes_and_comes(kinds: Kinds, bare: set[str]) -> None:
    """Of Python's own compiler nothing is left, or nearly all is."""
    everything = {name for name in kinds.names.values() if COMPILER.match(name)}
    assert len(everything) > 20
    assert {name for name in bare if COMPILER.match(name)} == set()
    assert len(everything & kinds.names_left(compiler=True)) > 0.8 * len(everything)


ELSEWHERE = """
sqlite3_step sqlite3_exec mpd_qadd mpd_qdiv PyExpat_XML_Parse _pickle_load _pickle_dumps scan_once_unicode inflate
deflate array_array_append
""".split()
COMPILING = "_PyPegen_parse _PyCfg_OptimizeCodeUnit _PyAST_Preprocess".split()
EVERYWHERE = """
_PyEval_EvalFrameDefault PyObject_Call _PyObject_GC_New PyUnicode_DecodeUTF8 dict_vectorcall long_add unicode_join
builtin_exec builtin_eval builtin_compile PyErr_SetString _sre_SRE_Pattern_match marshal_loads
""".split()
WITH = {
    "_json": "scan_once_unicode scanstring_unicode encoder_listencode_obj",
    "_decimal": "mpd_qadd mpd_qdiv mpd_qsqrt",
    "_sqlite3": "sqlite3_step sqlite3_exec",
    "pyexpat": "PyExpat_XML_Parse",
    "_pickle": "_pickle_load _pickle_dumps",
    "zlib": "inflate deflate",
    "array": "array_array_append",
}


def test_well_known_functions(kinds: Kinds, bare: set[str]) -> None:
    """What a bare filter has not comes with the module that has it; what runs in any filter is in all."""
    names = set(kinds.names.values())
    assert [name for name in [*ELSEWHERE, *COMPILING] if name not in names] == []
    assert [name for name in [*ELSEWHERE, *COMPILING] if name in bare] == []
    assert [name for name in EVERYWHERE if name not in bare] == []
    assert [name for name in COMPILING if name not in kinds.names_left(compiler=True)] == []
    for module, wanted in WITH.items():
        left = kinds.names_left(module)
        assert [name for name in wanted.split() if name not in left] == []


def test_the_code_is_small(image: RuntimeImage) -> None:
    """A bare filter's code is a sixth of the image's, and no kind of filter has nearly all of it."""
    assert len(image.code()) < 2_500_000
    assert len(image.code(compiler=True)) < 3_100_000
    assert len(image.code((), compiler=True)) < 5_200_000
    assert len(image.whole_code()) > 14_000_000


def test_much_data_is_not_used(image: RuntimeImage) -> None:
    """A megabyte of static data is for what a bare filter has not; with everything there is less."""
    unused = [sum(size for _, size in unused_data(image.code(*arguments))) for arguments in ((), ((),))]
    assert unused[0] > 1_000_000 > 3 * unused[1] > 0


@pytest.mark.parametrize("left_out", [cpython.BUILTINS, (), {"_json", "zlib"}])
@pytest.mark.parametrize("compiler", [False, True])
def test_the_code_is_valid(image: RuntimeImage, left_out: frozenset[str], compiler: bool) -> None:
    """Wasmtime accepts what is left for a kind of filters."""
    wasmtime.Module.validate(snapshot.new_engine(), image.code(left_out, compiler=compiler))


# The cache of it


@pytest.fixture
def own_image(image: RuntimeImage, tmp_path: Path) -> RuntimeImage:
    """The same image in a folder where no code has been made yet."""
    (tmp_path / "image.wasm").symlink_to(image.folder / "image.wasm")
    return replace(image, folder=tmp_path)


def made(image: RuntimeImage) -> list[Path]:
    """The files with code for kinds of filters; nothing else may be there."""
    return sorted(path for path in image.folder.iterdir() if path.name != "image.wasm")


def test_code_is_made_once(own_image: RuntimeImage) -> None:
    """The first use makes it, and the next ones read it, in whatever order they name the modules that are left out."""
    code = own_image.code(["zlib", "_json", "sys"])
    (path,) = made(own_image)
    before = path.stat()
    assert own_image.code(iter(["_json", "zlib", "zlib"])) == code == path.read_bytes()
    assert made(own_image) == [path]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_each_kind_has_its_code(own_image: RuntimeImage) -> None:
    """Other modules, the compiler, or names for what is missing, make another file."""
    codes = {own_image.code(["zlib"]), own_image.code([]), own_image.code([], compiler=True)}
    codes.add(own_image.code([], name_missing=True))
    assert len(codes) == len(made(own_image)) == 4


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut_short, change_a_byte, lambda path: path.write_bytes(b"")])
def test_damaged_code_is_made_again(own_image: RuntimeImage, damage: Callable[[Path], Any]) -> None:
    """What is not as it was written is not used, and makes way."""
    code = own_image.code()
    damage(made(own_image)[0])
    assert own_image.code() == code
    assert [path.read_bytes() for path in made(own_image)] == [code]


def test_a_cache_that_cannot_be_written(own_image: RuntimeImage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the code is made each time, and used all the same; nothing is left behind."""
    code = own_image.code()
    made(own_image)[0].unlink()

    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    assert own_image.code() == code
    assert made(own_image) == []
