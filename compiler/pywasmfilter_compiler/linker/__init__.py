"""From the core modules of a component to one core module.

    Component ──flatten──▶ Program ──forwarding──▶ who is really called ──link──▶ Module
               instances        constants              substitution, reachability, numbering, rewriting

`link` is the entry, and `prune` makes the result smaller where something in it is never used. The linker knows
WebAssembly and nothing of what the module is for: which exports to keep, what takes the place of the component's host
functions, and what is never used is given to it.
"""

from .link import External, LinkPlan, link
from .missing import Telling
from .prune import Cut, prune, unused_data
from .references import Layout
from .stack_guard import StackGuard

__all__ = ["Cut", "External", "Layout", "LinkPlan", "StackGuard", "Telling", "link", "prune", "unused_data"]
