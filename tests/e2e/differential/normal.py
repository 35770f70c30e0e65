"""What cannot be equal in two proxies, taken out of what they say. Each rule says why."""

from __future__ import annotations

import re
from typing import Final

from tests.e2e.differential.peers import Arrived

_VALUES: Final = ("date", "x-envoy-upstream-service-time")
"""Headers with times in them."""

_FRAMING: Final = ("transfer-encoding", "connection")
"""Headers that the codecs add and take away, as the connection needs it: no filter sees them."""

_RULES: Final = [
    # Chosen at random.
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<id>"),
    (re.compile(rf"\('({'|'.join(_VALUES)})', '[^']*'\)"), r"('\1', '<time>')"),
]


def normal(line: str) -> str:
    """A line of a log."""
    for pattern, replacement in _RULES:
        line = pattern.sub(replacement, line)
    return line


def message_lines(message: Arrived, *, cut_off: bool | None = None) -> list[str]:
    """A message as a client or an upstream has it."""
    if not message.start:
        lines = ["nothing"]
    else:
        headers = [pair for pair in message.headers if pair[0] not in _FRAMING and pair[0][0] != ":"]
        if not message.body:
            headers = [pair for pair in headers if pair != ("content-length", "0")]
        lines = [
            f"start {message.start[:2]}" if message.start[0] else f"status {message.start[1]}",
            *(normal(f"  {pair}") for pair in headers),
            f"body {message.body!r}" if len(message.body) < 200 else f"body of {len(message.body)}",
            f"trailers {message.trailers}",
        ]
    if cut_off is not None:
        lines.append("complete" if message.complete else "cut off" if cut_off else "incomplete")
    return lines
