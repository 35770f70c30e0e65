"""What a VM knows while it runs: its contexts, and which of them host calls act on.

A module of its own, since both the SDK's parts and the shim look here.
"""

from __future__ import annotations

from . import _abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

contexts: dict[int, Any] = {}
"""Context id → context, None for a stream that its plugin does not look at.

The shim reads it, and deletes from it in proxy_on_delete. It refuses a stream or a plugin that is not in it: its
context could not be created.
"""

find_context = contexts.get
"""The context with an id; None if there is none. Imported by this name, it is called without making a method first."""


def is_alive(context: Any) -> bool:
    """Whether the proxy still knows a context: ids are used again."""
    return find_context(context.context_id) is context


class EffectiveContext:
    """Turns to a context for a `with` block, and back to the one before; see `hostcalls.effective_context`."""

    __slots__ = ("context_id", "previous")

    def __init__(self, context_id: int) -> None:
        self.context_id = context_id

    def __enter__(self) -> None:
        self.previous = _abi.host.get_effective_context()
        if self.previous != self.context_id:
            _abi.host.set_effective_context(self.context_id)

    def __exit__(self, *_: object) -> None:
        if self.previous != self.context_id:
            _abi.host.set_effective_context(self.previous)


if _abi.shim is not None:
    EffectiveContext = _abi.shim.EffectiveContext  # type: ignore[misc]  # the same in C
