"""Components that are cut or changed anywhere: they are linked or refused, and nothing else happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from pywasmfilter_compiler.component.decode import decode
from pywasmfilter_compiler.errors import BinaryError, CompilerError
from pywasmfilter_compiler.linker import link
from pywasmfilter_compiler.wasm import binary

from tests.compiler.linker.test_cases import component_of, plan_of

CASES = [
    Path(__file__).parent / "cases" / name
    for name in ("dynamic-library", "host-functions", "passive-data", "shim-to-host", "stack-guard-checks")
]
FLIPS = (0x01, 0x02, 0x10, 0x40, 0x80, 0x7F, 0xFF)


def refusal(data: bytes, case: Path) -> CompilerError | None:
    """How a component is refused, if it is; any other exception fails the test."""
    try:
        binary.encode(link(decode(data), plan_of(case)))
    except CompilerError as error:
        return error
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_component_that_is_cut_is_refused(case: Path) -> None:
    """Whatever is missing at the end, the error is one of ours, and its offset lies in what is left."""
    data = component_of(case)
    assert refusal(data, case) is None
    for size in range(len(data)):
        error = refusal(data[:size], case)
        assert not isinstance(error, BinaryError) or 0 <= error.offset <= size


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_changed_byte_never_surprises(case: Path) -> None:
    """With any one byte changed, the component is linked or refused with one of our errors, at an offset inside it."""
    data = component_of(case)
    for position in range(len(data)):
        for flip in FLIPS:
            changed = bytes([*data[:position], data[position] ^ flip, *data[position + 1 :]])
            error = refusal(changed, case)
            assert not isinstance(error, BinaryError) or 0 <= error.offset <= len(data)
