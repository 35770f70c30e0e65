"""What a module says of its build, its bill of materials, and the check of both: `pyfilter sbom` and `verify`."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from pywasmfilter_compiler import MissingDependency, UsageError, build, provenance
from pywasmfilter_compiler.cli import main
from pywasmfilter_compiler.sbom import sbom
from pywasmfilter_compiler.verification import verify
from pywasmfilter_compiler.wasm import sections
from pywasmfilter_compiler.wasm.binary import MODULE_HEADER, decode, encode
from pywasmfilter_compiler.wasm.cursor import sized
from pywasmfilter_compiler.wasm.module import Custom

FILTER = """
import json

import fastjsonschema
import helper

from pywasmfilter import HttpContext, http_filter


@http_filter("checked")
class Checked(HttpContext): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A filter with a module of its own, of the standard library, and of a package; and what it is built into."""
    folder = tmp_path_factory.mktemp("supply chain")
    (folder / "filter.py").write_text(FILTER)
    (folder / "helper.py").write_text("value = 1")
    build(folder / "filter.py", folder / "checked.wasm")
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def results(module: Path, *paths: Path) -> dict[str, str]:
    """What became of each check."""
    return {check.name: check.result for check in verify(module, paths).checks}


def with_section(name: str, content: bytes) -> bytes:
    """A module that has nothing but a custom section."""
    return MODULE_HEADER + b"\0" + sized(sections.encode_custom(Custom(name, content)))


# What a module says


def test_versions_options_and_packages(folder: Path) -> None:
    """They are those of the build, and nothing in them is of this machine."""
    content = (folder / "checked.wasm").read_bytes()
    made = provenance.of_module(content)
    assert made is not None
    assert made.versions == {"python": "3.14.0", "pywasmfilter": version("pywasmfilter"), "componentize-py": "0.25.1"}
    assert made.options["prune"] is True
    (package,) = made.packages
    assert (package.name, package.version) == ("fastjsonschema", version("fastjsonschema"))
    assert "fastjsonschema.generator" in package.modules
    assert {"filter", "helper", "json", "fastjsonschema"} <= made.sources.keys()
    assert str(folder).encode() not in content
    assert sys.prefix.encode() not in content


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b"\xff", b'{"versions": 1}', b"[" * 10_000),
        b'{"versions":{},"options":{},"left_out":[],"compiler":1,"packages":[],"sources":{}}',
        json.dumps(
            {
                "versions": {"python": "3.14.0", "pywasmfilter": "0.1.0", "componentize-py": "0.25.1"},
                "options": dict.fromkeys(["abi", "include", "keep_docs", "max_memory", "name_missing", "prune"]),
                "left_out": [],
                "compiler": True,
                "packages": [],
                "sources": {},
            }
        ).encode(),
    ],
)
def test_a_section_that_says_nothing(content: bytes, tmp_path: Path) -> None:
    """A section may hold anything; then it is as if there were none, and nothing is said to be as it should."""
    module = tmp_path / "odd.wasm"
    module.write_bytes(with_section(provenance.SECTION, content))
    assert provenance.of_module(module.read_bytes()) is None
    assert results(module) == {"provenance": "unknown"}
    assert run("verify", module).exit_code == 1
    with pytest.raises(UsageError, match="does not say how it was built"):
        sbom(module)


# Verification


def test_an_honest_module(folder: Path) -> None:
    """All of it can be made again, and is the same."""
    found = verify(folder / "checked.wasm", [folder / "filter.py"])
    assert [check.result for check in found.checks] == ["same"] * 5
    assert found.ok
    assert found.checks[-1].detail == "built again, byte for byte"


def test_other_sources(folder: Path, tmp_path: Path) -> None:
    """A filter that is not what the module was built from is told, with the name of what differs."""
    (tmp_path / "filter.py").write_text(FILTER)
    (tmp_path / "helper.py").write_text("value = 2")
    done = run("verify", folder / "checked.wasm", tmp_path / "filter.py")
    assert done.exit_code == 1
    assert "✗ filter" in done.output
    assert "other sources: helper" in done.output


def test_other_code(folder: Path, tmp_path: Path) -> None:
    """Code that is not that of the interpreter is told, also if the module says the truth otherwise."""
    module = decode((folder / "checked.wasm").read_bytes())
    module.code[-1], module.code[-2] = module.code[-2], module.code[-1]
    forged = tmp_path / "forged.wasm"
    forged.write_bytes(encode(module))
    assert results(forged)["interpreter's code"] == "different"
    done = run("verify", forged, "--json")
    assert (done.exit_code, json.loads(done.output)["ok"]) == (1, False)


def forged(folder: Path, tmp_path: Path, **fields: Any) -> Path:
    """A module whose own account is another."""
    module = decode((folder / "checked.wasm").read_bytes())
    for number, custom in enumerate(module.customs):
        if custom.name == provenance.SECTION:
            values = json.loads(custom.content) | fields
            module.customs[number] = Custom(custom.name, json.dumps(values).encode())
    path = tmp_path / "forged.wasm"
    path.write_bytes(encode(module))
    return path


def test_sources_of_the_standard_library(folder: Path, tmp_path: Path) -> None:
    """A module of the standard library, or of a package, that is not this one's is told."""
    path = forged(folder, tmp_path, sources={"json": "0" * 64, "fastjsonschema": "0" * 64, "helper": "0" * 64})
    found = results(path)
    assert found["standard library"] == "different"
    assert found[f"package fastjsonschema {version('fastjsonschema')}"] == "different"


def test_another_version(folder: Path, tmp_path: Path) -> None:
    """What another version has made cannot be compared, and that is said."""
    versions = {"python": "3.14.0", "pywasmfilter": "0.0.1", "componentize-py": "0.25.1"}
    found = verify(forged(folder, tmp_path, versions=versions))
    assert found.checks[0].result == "unknown"
    assert found.checks[0].detail.startswith("made with pywasmfilter 0.0.1; this is pywasmfilter")
    assert "interpreter's code" not in {check.name for check in found.checks}


def test_a_forged_version(folder: Path, tmp_path: Path) -> None:
    """A module that claims another version, so that its code is not compared, is not called right."""
    versions = {"python": "3.14.0", "pywasmfilter": "0.0.1", "componentize-py": "0.25.1"}
    assert not verify(forged(folder, tmp_path, versions=versions, sources={}, packages=[])).ok


@pytest.mark.parametrize("what", ["elements", "exports"])
def test_code_under_other_numbers(folder: Path, tmp_path: Path, what: str) -> None:
    """Functions that are called in place of others are told, though all of them are the interpreter's."""
    module = decode((folder / "checked.wasm").read_bytes())
    if what == "exports":
        functions = [item for item in module.exports if item.name.startswith("proxy_on_")]
        one, other = functions[:2]
        module.exports = [item._replace(index=other.index) if item is one else item for item in module.exports]
    else:
        module.elements.append(module.elements[0])
    path = tmp_path / "forged.wasm"
    path.write_bytes(encode(module))
    assert results(path)["interpreter's code"] == "different"


def test_a_package_that_is_not_installed(folder: Path, tmp_path: Path) -> None:
    """It cannot be compared, and is no reason to call the module wrong."""
    path = forged(folder, tmp_path, packages=[["gone", "1.0", "", ["gone"]]], sources={"gone": "0" * 64})
    found = verify(path)
    assert found.checks[-1].result == "unknown"
    assert found.checks[-1].detail == "not installed here: gone"


@pytest.mark.parametrize("command", ["verify", "sbom"])
def test_what_is_no_module(command: str, tmp_path: Path) -> None:
    """A message, and no traceback."""
    (tmp_path / "no.wasm").write_bytes(b"nothing")
    assert run(command, tmp_path / "gone.wasm").stderr.startswith("error: ")
    assert run(command, tmp_path / "no.wasm").stderr.startswith("error: ")


# The bill of materials


def test_the_bill(folder: Path) -> None:
    """It is valid CycloneDX, has all that is frozen in, and the hash of the module."""
    done = run("sbom", folder / "checked.wasm")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(done.output) is None
    bill = json.loads(done.output)
    urls = [component["purl"] for component in bill["components"]]
    assert urls == [
        "pkg:generic/cpython@3.14.0",
        f"pkg:pypi/fastjsonschema@{version('fastjsonschema')}",
        f"pkg:pypi/pywasmfilter@{version('pywasmfilter')}",
    ]
    assert bill["metadata"]["component"]["name"] == "checked"
    assert bill["metadata"]["component"]["hashes"][0]["content"] == verify(folder / "checked.wasm").sha256


def test_the_bill_is_the_same_each_time(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It follows from the module, and the time from SOURCE_DATE_EPOCH."""
    assert sbom(folder / "checked.wasm") == sbom(folder / "checked.wasm")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert run("sbom", folder / "checked.wasm", "-o", tmp_path / "bill.json").output == ""
    assert json.loads((tmp_path / "bill.json").read_text())["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert run("sbom", folder / "checked.wasm").exit_code == 2


def test_a_folder_that_nobody_installed(folder: Path, tmp_path: Path) -> None:
    """Without a version there is no package to refer to, and the bill is valid all the same."""
    text = sbom(forged(folder, tmp_path, packages=[["loose", "", "", ["loose"]]]))
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert {"bom-ref": "python:loose", "name": "loose", "type": "library"} in json.loads(text)["components"]


def test_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library there is a message with the exact command."""
    monkeypatch.setitem(sys.modules, "cyclonedx.output.json", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pywasmfilter\[sbom\]'"):
        sbom(folder / "checked.wasm")
