"""A fixed number of places in the shared data, for any number of keys.

Shared data can be stored, but not deleted: a proxy keeps a key as long as there is a VM with its vm_id. So keys that
come from clients must not become its keys. Each has its place among a fixed number of them, by a hash with a secret
that the VMs with one vm_id draw together, so that no client can tell which keys meet in one place.
"""

from __future__ import annotations

import os
from _blake2 import blake2s  # hashlib would bring every other hash with it: 2.6 MB of code

from . import _abi
from .exceptions import CasMismatch, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    Text = str | bytes

ABSENT = 0xFFFF_FFFF
"""The CAS number of a value that is not there. No value gets it before four thousand million have been stored, so that
what is stored with it goes where there is none, or nowhere: the ABI has no other way to say so."""

DIGEST_SIZE = 16

_SECRET = "pywasmfilter/secret"  # noqa: S105  # the key of the shared data that holds it


def as_bytes(text: Text) -> bytes:
    """A key or a value as host calls take it."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


def read(place: str) -> tuple[bytes, int]:
    """What is in a place, and the number for `write`; b"" if there never was anything."""
    try:
        return _abi.host.get_shared_data(place)
    except NotFound:
        return b"", ABSENT


def write(place: str, value: bytes, cas: int) -> bool:
    """Store a value unless somebody did since `read` gave the number. Returns whether it is stored."""
    try:
        _abi.host.set_shared_data(place, value, cas)
    except CasMismatch:
        if cas != ABSENT or read(place)[1] != ABSENT:
            return False
        _abi.host.set_shared_data(place, value, 0)  # a proxy that takes no number where there is no value
    return True


class Slots:
    """`count` places under a name. Made at any time; the proxy is first asked in `digest`."""

    def __init__(self, name: str, count: int) -> None:
        self._prefix = f"pywasmfilter/{name}/"
        self._count = count
        self._secret = b""

    def digest(self, key: bytes) -> bytes:
        """A hash of a key, of `DIGEST_SIZE` bytes: the same in all VMs with this vm_id, and known to nobody else."""
        if not self._secret:
            write(_SECRET, os.urandom(DIGEST_SIZE), ABSENT)
            self._secret = read(_SECRET)[0]
        return blake2s(key, digest_size=DIGEST_SIZE, key=self._secret).digest()

    def place(self, digest: bytes) -> str:
        """The key of the shared data for a digest."""
        return f"{self._prefix}{int.from_bytes(digest, 'little') % self._count}"
