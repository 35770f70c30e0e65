"""The YAML that is written: what comes back, and what could be taken for something else."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, strategies as st
from pywasmfilter_compiler.manifests.yaml_text import dump

from tests.manifests.test_envoy import TRAPS

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=10,
)


@given(VALUES)
def test_what_is_written_comes_back(value: Any) -> None:
    """Whatever the texts, a reader gets the same values."""
    assert yaml.safe_load(dump(value)) == value


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_quoted(trap: str) -> None:
    """What some reader takes for something else is in quotes, as a key too."""
    assert dump([trap])[2] in "\"'"
    assert dump({trap: 1})[0] in "\"'?"


@pytest.mark.parametrize(
    "plain", ["edge", "oci://registry.example.com/edge:1", "type.googleapis.com/a.b.C", "/a/b-c_d.wasm", "Yes-man"]
)
def test_what_is_no_trap_stays_plain(plain: str) -> None:
    """The rest reads as it is."""
    assert dump({"x": plain}) == f"x: {plain}\n"


def test_texts_of_several_lines() -> None:
    """They keep their lines; long ones are not broken."""
    assert dump({"x": "a: b\nc: d\n"}) == "x: |\n  a: b\n  c: d\n"
    assert dump({"x": "y " * 500}).count("\n") == 1
