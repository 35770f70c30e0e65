"""From the core modules of a component to one core module.

    Component ──flatten──▶ Program ──forwarding──▶ who is really called ──link──▶ Module
               instances        constants              substitution, reachability, numbering, rewriting

`link` is the entry. The linker knows WebAssembly and nothing of what the module is for: which exports to keep and what
takes the place of the component's host functions is given to it.
"""

from .link import External, LinkPlan, link
from .stack_guard import StackGuard

__all__ = ["External", "LinkPlan", "StackGuard", "link"]
