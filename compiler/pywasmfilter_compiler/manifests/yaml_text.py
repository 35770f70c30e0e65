"""YAML that every reader takes for the same: Envoy's and Kubernetes' readers are of YAML 1.1, PyYAML's nearly is.

A text that some reader could take for a truth value, a number, a date or nothing is in quotes, so `y`, `on` and
`012` stay texts. Mappings keep their order; there are no aliases.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
_WORDS: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"])
_WIDTH: Final = 10_000  # a long text stays on one line, where it can be searched for


class _Dumper(yaml.SafeDumper):
    """Quotes, and never refers back."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Items of a list stand further in than their key."""
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, _style(text))


def _style(text: str) -> str | None:
    """None, `|`, `'` or `"`: whatever reads best."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return None
    if _is_block(text):
        return "|"
    return "'" if '"' in text and "'" not in text and text.isascii() and text.isprintable() else '"'


def _is_block(text: str) -> bool:
    """Whether a text is several lines that read best as they are."""
    lines = text.split("\n")
    return len(lines) > 2 and all(line.isprintable() for line in lines)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """A document without its `---`; the same text for the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True, default_flow_style=False)
