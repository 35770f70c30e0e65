"""What is cleared in the memory of a snapshot: it is where `unread` looks for it, and nothing else goes.

What it looks for is that of one version of CPython. If a new componentize-py has another, modules are merely larger,
and the tests here say so.
"""

from __future__ import annotations

import pytest
from pywasmfilter_compiler import runtime_image, settings, unread
from pywasmfilter_compiler.wasm.binary import decode


@pytest.fixture(scope="module")
def image() -> unread.Memory:
    """The memory that an image begins with."""
    wasm = decode((runtime_image.load(lambda _: None, settings.ABI).folder / "image.wasm").read_bytes())
    memory = bytearray(wasm.memories[0].minimum << 16)
    for data in wasm.data:
        assert data.offset is not None
        address = data.offset[0].value & 0xFFFFFFFF
        memory[address : address + len(data.content)] = data.content
    return unread.Memory(memory, 1 << 20, len(memory))


def report(frozen: tuple[tuple[bytes, bytes, int], ...] = ()) -> dict[str, object]:
    return {"frozen": list(frozen)}


def cleared(memory: bytes, *, keep_docs: bool = False, frozen: tuple[tuple[bytes, bytes, int], ...] = ()) -> bytes:
    """A memory without a stack, whose last eight bytes are the heap."""
    copy = unread.Memory(bytearray(memory), 0, len(memory) - 8)
    unread.clear(copy, report(frozen), keep_docs=keep_docs)
    return bytes(copy.bytes)


def changed(image: unread.Memory, *, keep_docs: bool = False) -> int:
    """How many bytes of the image are cleared."""
    copy = unread.Memory(bytearray(image.bytes), image.stack, image.heap)
    copy.clear(0, copy.stack)
    before = copy.bytes.count(0)
    unread.clear(copy, report(), keep_docs=keep_docs)
    return copy.bytes.count(0) - before


def test_documentation(image: unread.Memory) -> None:
    """There is a lot of it in the interpreter, and it can be kept."""
    assert changed(image) - changed(image, keep_docs=True) > 150_000


DOC = b"\0len($module, obj, /)\n--\n\nReturn the number of items.\0next"


def test_signatures_stay() -> None:
    """Only what follows a signature is cleared."""
    expected = DOC.replace(b"Return the number of items.", bytes(27))
    assert cleared(DOC + bytes(8)) == expected + bytes(8)
    assert cleared(DOC + bytes(8), keep_docs=True) == DOC + bytes(8)


@pytest.mark.parametrize(
    "text",
    [
        b"\0no signature\n--\n\nText.\0",
        b"\0f()\n--\n\n\0Text.\0",
        b"\0f()\n--\nText.\0",
        b"\0f(\0)\n--\n\nText.\0",
        b"f()\n--\n\nText.\0",  # the begin of memory is the begin of no string
    ],
)
def test_what_is_no_documentation_stays(text: bytes) -> None:
    """Text that is not of that form is anything."""
    assert cleared(text + bytes(8)) == text + bytes(8)


def test_the_heap_is_left_alone() -> None:
    """A filter's own text may look like anything."""
    memory = unread.Memory(bytearray(DOC), 0, 0)
    unread.clear(memory, report(), keep_docs=False)
    assert memory.bytes == DOC


def test_frozen_code() -> None:
    """Found by its begin and its end, with what is between; what differs at the end is something else."""
    memory = b"..begin12345end.." + bytes(8)
    assert cleared(memory, frozen=((b"begin", b"end", 13),)) == b".." + bytes(13) + b".." + bytes(8)
    assert cleared(memory, frozen=((b"begin", b"end", 12),)) == memory
    assert cleared(memory, frozen=((b"other", b"end", 13),)) == memory


def test_the_stack_is_cleared() -> None:
    """Nothing runs any more when a snapshot is taken."""
    memory = unread.Memory(bytearray(b"stackdata"), 5, 9)
    unread.clear(memory, report(), keep_docs=False)
    assert memory.bytes == bytes(5) + b"data"
