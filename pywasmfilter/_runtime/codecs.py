"""Codecs such as cp1252: the interpreter imports them by name when one is used, which no import statement shows.

A module has those that peers use most, and those that a string in the filter's own code or in an installed package
names. For the others, an error says how to get them.
"""

from __future__ import annotations

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases

from .. import _abi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

COMMON = ("ascii", "cp1252", "iso8859_1", "iso8859_15", "latin_1", "utf_16", "utf_32", "utf_8", "utf_8_sig")
"""What every module has besides the codecs that its code names."""

_WITHOUT_ALIAS = frozenset(
    """
    cp1006 cp720 cp737 cp856 cp874 cp875 idna koi8_t koi8_u mac_arabic mac_croatian mac_farsi mac_romanian punycode
    raw_unicode_escape unicode_escape utf_8_sig
    """.split()
)


def named_in(code: CodeType) -> Iterator[str]:
    """The codecs that the strings in a module's code may name."""
    for constant in _constants(code):
        name = normalize_encoding(constant).lower()
        found = aliases.get(name, name)
        if found in _CODECS:
            yield found


_CODECS = frozenset(aliases.values()) | _WITHOUT_ALIAS


def _constants(code: CodeType) -> Iterator[str]:
    pending = list(code.co_consts)
    while pending:
        constant = pending.pop()
        if isinstance(constant, str):
            if len(constant) <= _LONGEST and constant.isascii():
                yield constant
        elif isinstance(constant, tuple | frozenset):
            pending += constant
        elif hasattr(constant, "co_consts"):
            pending += constant.co_consts


_LONGEST = max(map(len, aliases))


def install() -> None:
    """Say more about a codec that is not there."""
    codecs.register(_not_in_filter)


def _not_in_filter(name: str) -> None:
    if not _abi.building:
        module = aliases.get(name, name)
        raise LookupError(f"unknown encoding: {name}. If Python has it, build with --include encodings.{module}")
