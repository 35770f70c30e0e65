"""Imports that a filter comes to at run time only."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler import FilterError, build
from pywasmfilter_compiler.envoy.run import serve

from tests.e2e.client import request
from tests.e2e.conftest import FILTERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The filter with modules beside it that cannot be imported."""
    folder = tmp_path_factory.mktemp("late")
    for source in FILTERS.glob("late_*"):
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / source.name)
    (folder / "late_broken.py").write_text("def (:", encoding="utf-8")
    (folder / "late_native.abi3.so").write_bytes(b"\x7fELF")
    build(folder / "late_imports.py", folder / "late.wasm")
    with serve(folder / "late.wasm") as server:
        yield server.port


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("sibling", "'sibling'"),
        ("package", "('value', 'late_package.inner', 'later')"),
        ("namespace", "'late_namespace.member'"),
        ("standard", "[['a', 'b']]"),
        ("standard_package", "'hello'"),
        (
            "large_standard_packages",
            "['asyncio', 'concurrent.futures', 'importlib.metadata', 'logging.handlers', 'pathlib', 'urllib.request']",
        ),
        ("installed", "'1.10'"),
        ("conditional", "'sibling'"),
        ("strptime", "'2024-02-29T00:00:00+01:00'"),
        ("resource", "('late_package/__init__.py', ['late_package'])"),
    ],
)
def test_import_in_a_function(port: int, case: str, expected: str) -> None:
    """A module that an import statement in a function names is there when the function runs."""
    assert request(port, path=f"/{case}").body.decode() == expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (
            "missing",
            "ModuleNotFoundError: No module named 'late_missing' in this filter: when it was built there was no such ",
        ),
        ("by_name", "ModuleNotFoundError: No module named 'late_unseen' in this filter: "),
        ("missing_name", "ImportError: cannot import name 'absent' from 'late_sibling' (late_sibling.py)"),
        ("native", "ImportError: late_native is native code (late_native.abi3.so), which cannot run inside a proxy"),
        ("broken", "ImportError: late_broken cannot be compiled: invalid syntax (late_broken.py, line 1)"),
        ("failing", "ValueError: failed at import"),
    ],
)
def test_import_that_cannot_work(port: int, case: str, expected: str) -> None:
    """The error says what the build found and what to do, and asking again gives the same error."""
    for _ in range(2):
        assert request(port, path=f"/{case}").body.decode().startswith(expected)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("codecs_named", "('bücher.example', b'\\x80', 'あ', b'\\xd1')"),
        ("codecs_common", "['慡', 'aa', 'aa', 'aa', 'aa', 'aa']"),
        (
            "codec_unseen",
            "LookupError: unknown encoding: cp437. If Python has it, build with --include encodings.cp437",
        ),
        ("codec_nonsense", "LookupError: unknown encoding: no_such. If Python has it, build with "),
    ],
)
def test_codecs(port: int, case: str, expected: str) -> None:
    """Codecs that a string in the filter names are there, and the common ones; for others the error has advice."""
    assert request(port, path=f"/{case}").body.decode().startswith(expected)


def test_included_modules(build_filter: FilterBuilder) -> None:
    """--include brings in a module, its packages and a codec that no import statement names."""
    include = ("late_unseen", "encodings.cp437", "xml.etree.ElementTree", "late_package.inner.deeper")
    result = build_filter("late_imports", include=include)
    assert {"late_unseen", "encodings.cp437", "xml", "xml.etree", "late_package.inner"} <= {
        m for m, _ in result.modules
    }
    with serve(result.path) as server:
        assert request(server.port, path="/by_name").body == b"'unseen'"
        assert request(server.port, path="/codec_unseen").body == b"b'x'"


def test_included_module_must_exist(tmp_path: Path) -> None:
    """--include with a name that cannot be found is an error."""
    with pytest.raises(FilterError, match=r"--include xml\.absent: no module named 'xml\.absent'"):
        build(FILTERS / "late_imports.py", tmp_path / "out.wasm", include=["xml.absent"])
