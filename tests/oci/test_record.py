"""The record beside a module: written, read, and refused if it is something else."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler import UsageError
from pywasmfilter_compiler.oci import ImageRecord, read_record, record_path, write_record

RECORD = ImageRecord("oci://a.b/c:1", "compat", f"sha256:{'0' * 64}", "1" * 64, 5, 3, ("gate", "other"))


def test_round_trip(tmp_path: Path) -> None:
    """What is written is read; what later versions may add is left out."""
    path = record_path(tmp_path / "gate.wasm")
    assert path == tmp_path / "gate.image.json"
    write_record(path, RECORD)
    assert read_record(path) == RECORD
    path.write_text(json.dumps({**asdict(RECORD), "later": 1, "reference": None}), encoding="utf-8")
    assert read_record(path).reference is None


@pytest.mark.parametrize(
    "values",
    [None, [], 1, {}, *({**asdict(RECORD), key: 1.5} for key in asdict(RECORD)), {**asdict(RECORD), "plugins": [1]}],
)
def test_something_else(tmp_path: Path, values: Any) -> None:
    """Another file is an error that names it."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.json: this is no file that `pyfilter push`"):
        read_record(path)


def test_no_file(tmp_path: Path) -> None:
    """So is none, and one that is no JSON."""
    with pytest.raises(UsageError, match=r"x\.json: No such file"):
        read_record(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="this is no file"):
        read_record(tmp_path / "x.json")
