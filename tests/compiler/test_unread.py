"""What is cleared in the memory of a snapshot: it is where `unread` looks for it, and nothing else goes.

The tables are those of one version of CPython and of one C library. If a new componentize-py has others, modules are
merely larger, and the tests here say so.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from pywasmfilter_compiler import runtime_image, settings, unread
from pywasmfilter_compiler.wasm.binary import decode

TABLES = [*unread._CJK_TABLES, *unread._ICONV_TABLES]


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


def test_all_tables_are_there(image: unread.Memory) -> None:
    """Each is found, and none overlaps another."""
    places = sorted((unread.find(image, table) or 0, table.size) for table in TABLES)
    assert all(address for address, _ in places)
    assert all(address + size <= after for (address, size), (after, _) in pairwise(places))


def report(*builtins: str, frozen: tuple[tuple[bytes, bytes, int], ...] = ()) -> dict[str, object]:
    return {"builtins": list(builtins), "frozen": list(frozen)}


def cleared(
    memory: bytes, *builtins: str, keep_docs: bool = False, **frozen: tuple[tuple[bytes, bytes, int], ...]
) -> bytes:
    """A memory without a stack, whose last eight bytes are the heap."""
    copy = unread.Memory(bytearray(memory), 0, len(memory) - 8)
    unread.clear(copy, report(*builtins, **frozen), keep_docs=keep_docs)
    return bytes(copy.bytes)


def changed(image: unread.Memory, *builtins: str, keep_docs: bool = False) -> int:
    """How many bytes of the image are cleared."""
    copy = unread.Memory(bytearray(image.bytes), image.stack, image.heap)
    copy.clear(0, copy.stack)
    before = copy.bytes.count(0)
    unread.clear(copy, report(*builtins), keep_docs=keep_docs)
    return copy.bytes.count(0) - before


def test_tables_of_codecs_that_a_filter_may_use_stay(image: unread.Memory) -> None:
    """Any of the codecs needs the tables; the C library's are never needed."""
    without = changed(image, keep_docs=True)
    assert without > 500_000
    for codec in ("_codecs_cn", "_codecs_iso2022", "_multibytecodec"):
        assert 90_000 < changed(image, codec, keep_docs=True) < without - 400_000


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
