"""A fixed number of places in the shared data, for any number of keys.

Shared data can be stored, but not deleted: a proxy keeps a key as long as there is a VM with its vm_id. So keys that
come from clients must not become its keys. Each has its place among a fixed number of them, by a hash with a secret
that the VMs with one vm_id draw together, so that no client can tell which keys meet in one place.
"""

from __future__ import annotations

import os
from _blake2 import blake2s  # hashlib would bring every other hash with it: 2.6 MB of code

from .shared import ABSENT, find, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    Text = str | bytes

DIGEST_SIZE = 16

_SECRET = "pywasmfilter/secret"  # noqa: S105  # the key of the shared data that holds it


def as_bytes(text: Text) -> bytes:
    """A key or a value as host calls take it."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")


class Slots:
    """`count` places under a name. Made at any time; the proxy is first asked in `digest`."""

    def __init__(self, name: str, count: int) -> None:
        self._prefix = f"pywasmfilter/{name}/"
        self._count = count
        self._secret = b""

    def digest(self, key: bytes) -> bytes:
        """A hash of a key, of `DIGEST_SIZE` bytes: the same in all VMs with this vm_id, and known to nobody else."""
        if not self._secret:
            store(_SECRET, os.urandom(DIGEST_SIZE), ABSENT)
            self._secret = find(_SECRET)[0] or b""
        return blake2s(key, digest_size=DIGEST_SIZE, key=self._secret).digest()

    def place(self, digest: bytes) -> str:
        """The key of the shared data for a digest."""
        return f"{self._prefix}{int.from_bytes(digest, 'little') % self._count}"
