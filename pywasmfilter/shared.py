"""What VMs share: data under keys, and queues. Both live in the proxy, for all VMs with the same vm_id.

They are the way to count over all workers, or to hand work to a service outside of the requests' path.
"""

from __future__ import annotations

from . import _abi
from .exceptions import CasMismatch, NotFound
from .types import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Text = str | bytes

_MOST_ATTEMPTS = 1000

ABSENT = 0xFFFF_FFFF
"""The CAS number of a value that is not there. No value gets it before four thousand million have been stored, so that
what is stored with it goes where there is none, or nowhere: the ABI has no other way to say so."""


def get_shared_data(key: Text) -> tuple[bytes, int]:
    """A value and its CAS number, for `set_shared_data` (`proxy_get_shared_data`). Raises NotFound if there is none.

    Allowed in every callback, as are all functions here.
    """
    return _abi.host.get_shared_data(key)


def set_shared_data(key: Text, value: Text, cas: int = 0) -> None:
    """Store a value for all VMs with this vm_id (`proxy_set_shared_data`).

    With a `cas` other than 0 it is stored only if nobody changed it since `get_shared_data` gave that number; otherwise
    CasMismatch is raised. With 0 it is stored in any case, which in `on_vm_start` wipes what other VMs stored.
    """
    _abi.host.set_shared_data(key, value, cas)


def update_shared_data(key: Text, update: Callable[[bytes | None], Text]) -> bytes:
    """Replace a value by `update(value)`, again if another VM was faster. Returns the new value.

    `update` gets None if there is no value. No update is lost in a proxy that, as Envoy, takes a CAS number where there
    is no value; in another one, two VMs that both store the first value at once may lose one of the two. Raises
    CasMismatch after 1000 attempts.
    """
    for _ in range(_MOST_ATTEMPTS):
        value, cas = find(key)
        new = update(value)
        if store(key, new, cas):
            return new if isinstance(new, bytes) else new.encode("utf-8", "surrogateescape")
    raise CasMismatch("proxy_set_shared_data", Status.CAS_MISMATCH)


def find(key: Text) -> tuple[bytes | None, int]:
    """A value, None if there is none, and the number for `store`."""
    try:
        return _abi.host.get_shared_data(key)
    except NotFound:
        return None, ABSENT


def store(key: Text, value: Text, cas: int) -> bool:
    """Store a value unless somebody did since `find` gave the number. Returns whether it is stored."""
    try:
        _abi.host.set_shared_data(key, value, cas)
    except CasMismatch:
        if cas != ABSENT or find(key)[1] != ABSENT:
            return False
        _abi.host.set_shared_data(key, value, 0)  # a proxy that takes no number where there is no value
    return True


def register_shared_queue(name: Text) -> int:
    """A queue of this vm_id by its name, made if it is new (`proxy_register_shared_queue`). Returns its id.

    The plugin that registered a queue last is the one whose `on_queue_ready` hears of what is put in.
    """
    return _abi.host.register_shared_queue(name)


def resolve_shared_queue(vm_id: Text, name: Text) -> int:
    """The id of a queue that another VM registered (`proxy_resolve_shared_queue`).

    `vm_id` "" is this VM's own. Raises NotFound if nobody registered it yet.
    """
    return _abi.host.resolve_shared_queue(vm_id, name)


def enqueue_shared_queue(queue_id: int, data: Text) -> None:
    """Put an item at the end of a queue (`proxy_enqueue_shared_queue`). Raises NotFound for an unknown id."""
    _abi.host.enqueue_shared_queue(queue_id, data)


def dequeue_shared_queue(queue_id: int) -> bytes:
    """Take the first item of a queue (`proxy_dequeue_shared_queue`).

    Raises Empty if there is none, which in `on_queue_ready` can be too: somebody else was faster. NotFound for an
    unknown id.
    """
    return _abi.host.dequeue_shared_queue(queue_id)
