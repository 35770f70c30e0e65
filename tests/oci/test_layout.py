"""Layouts: what is in them, and what they may replace."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from pywasmfilter_compiler import CompilerError, UsageError
from pywasmfilter_compiler.oci import Description, Format, package, read_record

from tests.oci.registries import require


def files(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder(module: Path, tmp_path: Path) -> None:
    """Each blob has the name of its digest, and the index names the manifest under the tag."""
    record = package(module, tmp_path / "layout", tag="1.0")
    found = files(tmp_path / "layout")
    assert json.loads(found.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    (named,) = json.loads(found.pop("index.json"))["manifests"]
    assert named["annotations"] == {"org.opencontainers.image.ref.name": "1.0"}
    assert named["digest"] == record.manifest_digest
    assert {f"blobs/sha256/{hashlib.sha256(data).hexdigest()}" for data in found.values()} == set(found)
    assert len(found) == 3
    assert (record.reference, read_record(module.parent / "gate.image.json")) == (None, record)


@pytest.mark.parametrize("of", ["compat", "artifact", "cncf"])
def test_skopeo_takes_it(module: Path, tmp_path: Path, of: Format) -> None:
    """From a folder and from a tar, which is the same again."""
    require("skopeo")
    for target, source in (("layout", "oci"), ("layout.tar", "oci-archive")):
        record = package(module, tmp_path / target, Description(of), tag="1.0")
        copy = f"dir:{tmp_path}/{source}"
        command = ["skopeo", "copy", "--insecure-policy", f"{source}:{tmp_path}/{target}:1.0", copy]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        manifest = (tmp_path / source / "manifest.json").read_bytes()
        assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == record.manifest_digest


def test_a_tar_is_reproducible(module: Path, tmp_path: Path) -> None:
    """The same module gives the same bytes, with the files of the folder in it."""
    package(module, tmp_path / "a.tar", tag="1")
    package(module, tmp_path / "b.tar", tag="1")
    package(module, tmp_path / "folder", tag="1")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "out", filter="data")
    assert files(tmp_path / "out") == files(tmp_path / "folder")


def test_an_older_layout_is_replaced(module: Path, tmp_path: Path) -> None:
    """Nothing of it is left, and nothing beside it."""
    package(module, tmp_path / "layout", tag="1")
    first = files(tmp_path / "layout")
    module.write_bytes(module.read_bytes() + b"\0\x03\x01ab")
    package(module, tmp_path / "layout", tag="1")
    second = files(tmp_path / "layout")
    assert len(second) == len(first)
    assert second.keys() != first.keys()
    assert {path.name for path in tmp_path.iterdir()} == {"layout", "gate.wasm", "gate.image.json", "docker"}


def test_an_empty_folder_is_taken(module: Path, tmp_path: Path) -> None:
    """An empty folder is as good as none."""
    (tmp_path / "layout").mkdir()
    package(module, tmp_path / "layout")
    assert (tmp_path / "layout" / "index.json").is_file()


def test_what_is_not_replaced(module: Path, tmp_path: Path) -> None:
    """Anything else that is there stays, and no record is written."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("all of it", encoding="utf-8")
    (tmp_path / "x.tar").mkdir()
    before = files(tmp_path)
    for name, message in (
        ("work", "not empty and no image layout"),
        ("gate.wasm", "a file has this name"),
        ("x.tar", "no file"),
    ):
        with pytest.raises(UsageError, match=message):
            package(module, tmp_path / name)
    with pytest.raises(CompilerError, match="cannot be written: No such file"):
        package(module, tmp_path / "missing" / "layout")
    assert files(tmp_path) == before


def test_requests_that_make_no_sense(module: Path, tmp_path: Path) -> None:
    """A layout is of the OCI, tags have rules, and a module is one."""
    with pytest.raises(UsageError, match="no image of Docker's format: take compat"):
        package(module, tmp_path / "layout", Description("docker"))
    with pytest.raises(UsageError, match="'a b' is no tag"):
        package(module, tmp_path / "layout", tag="a b")
    with pytest.raises(UsageError, match=r"missing\.wasm: No such file"):
        package(tmp_path / "missing.wasm", tmp_path / "layout")
    module.write_bytes(b"\0asm\1\0\0\0")
    with pytest.raises(CompilerError, match="no Proxy-Wasm module"):
        package(module, tmp_path / "layout")
    module.write_bytes(b"hello")
    with pytest.raises(CompilerError):
        package(module, tmp_path / "layout")
