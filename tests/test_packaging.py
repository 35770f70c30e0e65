"""The distributions: what a user installs holds everything that is needed, and nothing of the machine that made it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest

REPOSITORY = Path(__file__).parents[1]
LIBRARIES = [f"pywasmfilter_compiler/shim/{name}.abi3.so" for name in ("_shim", "_stubs")]
NOT_SOURCES = shutil.ignore_patterns(
    "*.so", "*.wasm", "__pycache__", ".git", ".venv", ".*_cache", "dist", "build", "*.egg-info"
)


@dataclass
class Distributions:
    """What was built: an sdist, a wheel from it, and a wheel straight from the sources in another folder."""

    sdist: dict[str, bytes]
    wheel: dict[str, bytes]
    other_wheel: dict[str, bytes]
    file_names: list[str]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """All distributions, from a copy of the repository without anything compiled."""
    folder = tmp_path_factory.mktemp("packaging")
    sources = folder / "sources"
    shutil.copytree(REPOSITORY, sources, ignore=NOT_SOURCES)
    run_build(sources, folder / "dist")  # without a choice, the wheel is built from the unpacked sdist
    run_build(sources, folder / "direct", "--wheel")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    (other_wheel,) = (folder / "direct").glob("*.whl")
    return Distributions(read_sdist(sdist), read_wheel(wheel), read_wheel(other_wheel), [sdist.name, wheel.name])


def run_build(sources: Path, output: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(output), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=output.parent)
    assert done.returncode == 0, done.stdout + done.stderr


def read_wheel(path: Path) -> dict[str, bytes]:
    with ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_sdist(path: Path) -> dict[str, bytes]:
    """The files of an sdist, without the folder they are all in."""
    contents = {}
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                contents[member.name.partition("/")[2]] = file.read()
    return contents


def metadata(wheel: dict[str, bytes], name: str) -> Message:
    (data,) = (content for path, content in wheel.items() if path.endswith(f".dist-info/{name}"))
    return BytesParser().parsebytes(data)


# The wheel


def test_the_wheel_is_for_every_platform(built: Distributions) -> None:
    """The compiled libraries are WebAssembly, so one wheel serves all."""
    assert [name for name in built.file_names if name.endswith("-py3-none-any.whl")] == [built.file_names[1]]
    assert metadata(built.wheel, "WHEEL")["Tag"] == "py3-none-any"
    assert metadata(built.wheel, "WHEEL")["Root-Is-Purelib"] == "true"


def test_the_wheel_installs_two_packages(built: Distributions) -> None:
    """Nothing else is put at the top level, such as folders of this repository."""
    tops = {name.partition("/")[0] for name in built.wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pywasmfilter", "pywasmfilter_compiler"}


def test_the_wheel_holds_every_module(built: Distributions) -> None:
    """Each Python file of both packages is in it, and both say that they are typed."""
    for package, parent in (("pywasmfilter", REPOSITORY), ("pywasmfilter_compiler", REPOSITORY / "compiler")):
        files = {path.relative_to(parent).as_posix() for path in (parent / package).rglob("*.py")}
        assert files - built.wheel.keys() == set()
        assert f"{package}/py.typed" in built.wheel


def test_the_wheel_holds_the_compiled_libraries(built: Distributions) -> None:
    """Both are there, are WebAssembly, and nothing else is compiled."""
    assert sorted(name for name in built.wheel if name.endswith((".so", ".wasm", ".pyc"))) == LIBRARIES
    assert all(built.wheel[name].startswith(b"\0asm\1\0\0\0") for name in LIBRARIES)


def test_the_wheel_says_what_it_is(built: Distributions) -> None:
    """The command, the licence and the supported Python are in its metadata."""
    facts = metadata(built.wheel, "METADATA")
    assert facts["Name"] == "pywasmfilter"
    assert facts["Requires-Python"] == ">=3.11"
    assert facts["License-Expression"] == "Apache-2.0"
    assert [name for name in built.wheel if name.endswith("licenses/LICENSE")]
    (entry_points,) = (content for name, content in built.wheel.items() if name.endswith("/entry_points.txt"))
    assert b"pyfilter = pywasmfilter_compiler.cli:main" in entry_points


def test_the_versions_agree(built: Distributions) -> None:
    """The changelog speaks of the version that is built."""
    version = metadata(built.wheel, "METADATA")["Version"]
    headings = [
        line for line in (REPOSITORY / "CHANGELOG.md").read_text("utf-8").splitlines() if line.startswith("## ")
    ]
    assert headings[0].removeprefix("## ").split()[0].strip("[]") == version


# The libraries


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_are_reproducible(built: Distributions, name: str) -> None:
    """Built in two folders from the same sources, a library is the same byte for byte."""
    assert built.wheel[name] == built.other_wheel[name]


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_hold_no_paths(built: Distributions, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No folder of the machine that built them is in them."""
    for folder in (tmp_path_factory.getbasetemp(), REPOSITORY, Path.home(), Path(sys.prefix), Path("/tmp")):
        assert f"{folder}/".encode() not in built.wheel[name]


# The sdist


def test_the_sdist_holds_nothing_compiled(built: Distributions) -> None:
    """Whoever builds a wheel compiles for themselves."""
    assert not [name for name in built.sdist if name.endswith((".so", ".wasm", ".pyc", ".o"))]
    assert not [name for name, content in built.sdist.items() if content.startswith(b"\0asm")]


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "pyproject.toml",
        "hatch_build.py",
        "runtime_shim/build.py",
        "runtime_shim/shim.h",
        "pywasmfilter/__init__.py",
        "compiler/pywasmfilter_compiler/cli.py",
        "tests/test_packaging.py",
        "examples/conftest.py",
        "docs/commands.md",
    ],
)
def test_the_sdist_holds_what_a_developer_needs(built: Distributions, name: str) -> None:
    """Sources, their build, tests, examples and documentation."""
    assert name in built.sdist


def test_the_sdist_holds_every_source(built: Distributions) -> None:
    """No Python or C file of the repository is left out."""
    sources = {
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("pywasmfilter", "compiler", "runtime_shim", "tests", "examples", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*")
        if path.suffix in {".py", ".c", ".h"}
    }
    assert sources - built.sdist.keys() == set()


def test_an_installed_wheel_works(built: Distributions, tmp_path: Path) -> None:
    """From the wheel alone, without the repository, the command starts and finds SDK and libraries."""
    for name, content in built.wheel.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    code = """
import sys
sys.path[:] = [sys.argv[1], *(path for path in sys.path if "site-packages" in path or "lib/python" in path)]
from pywasmfilter_compiler import runtime_image
assert runtime_image.sdk_folder().parent == runtime_image._PACKAGE.parent, runtime_image.sdk_folder()
print(runtime_image.current_folder("0.2.1").name, len(runtime_image._exports("_shim.abi3.so")) > 20)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "True"
