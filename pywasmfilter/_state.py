"""What a VM knows while it runs: its contexts.

A module of its own, since both the SDK's parts and the shim look here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

contexts: dict[int, Any] = {}
"""Context id → context, None for a stream that its plugin does not look at.

The shim reads it, and deletes from it in proxy_on_delete. It refuses a stream or a plugin that is not in it: its
context could not be created.
"""
