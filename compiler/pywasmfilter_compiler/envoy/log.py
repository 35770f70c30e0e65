r"""Envoy's log, read back as entries.

Envoy runs with `--log-format-escaped`, so every entry is one line, `[time][thread][level][component] [source] text`
with the text C-escaped; only white space at its very end stays as it is, and shows as blank lines after the entry.
Hence a module that logs newlines cannot forge an entry. What Envoy prints before its log is set up (its command line
being wrong), or while it crashes, are lines in no such form: entries with an empty level.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT: Final = 100_000  # entries; of a log that grows longer the oldest are dropped

_ENTRY: Final = re.compile(
    r"\[[-0-9]+ [.:0-9]+\]\[\d+\]\[(?P<level>\w+)\]\[(?P<component>[^]]+)\] \[[^]]*\] ?(?P<text>.*)"
)
_ESCAPE: Final = re.compile(rb"\\([0-7]{3}|.)", re.DOTALL)
_CONTROLS: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_WASM: Final = re.compile(r"wasm log(?P<prefix>| .*?): (?P<message>.*)", re.DOTALL)


class LogEntry(NamedTuple):
    """`level` is Envoy's word: trace, debug, info, warning, error or critical."""

    level: str
    component: str
    message: str

    def __str__(self) -> str:
        return f"[{self.level}][{self.component}] {self.message}" if self.level else self.message


class WasmLogLine(NamedTuple):
    """What a module logged, without the prefix Envoy sets before it; it may hold newlines."""

    level: str
    message: str


class EnvoyLog:
    """Entries that one thread feeds and any thread waits for.

    `take` is called with each line first; one for which it answers True is no entry.
    """

    def __init__(self, take: Callable[[bytes], bool] | None = None) -> None:
        self._take = take
        self._changed = threading.Condition()
        self._entries: deque[LogEntry] = deque(maxlen=KEPT)
        self._total = 0  # entries ever fed; the first one kept is number `_total - len(_entries)`
        self._closed = False

    def feed(self, line: bytes) -> None:
        """Take one line of Envoy's output, with or without its line end."""
        if self._take is not None and self._take(line):
            return
        raw = line.removesuffix(b"\n")
        with self._changed:
            if not raw.strip() and self._entries:
                last = self._entries.pop()
                self._entries.append(last._replace(message=f"{last.message}\n{raw.decode('ascii')}"))
            else:
                self._entries.append(parse_entry(raw))
                self._total += 1
            self._changed.notify_all()

    def close(self) -> None:
        """Say that nothing will follow."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def entries(self) -> list[LogEntry]:
        """The entries so far, oldest first."""
        with self._changed:
            return list(self._entries)

    def wait_for(self, pattern: str | re.Pattern[str], timeout: float, count: int = 1) -> LogEntry | None:
        """The `count`-th entry that holds `pattern` (a substring or a regular expression).

        None when Envoy ends, or `timeout` seconds pass, without it.
        """
        deadline = time.monotonic() + timeout
        position = 0
        while True:
            fresh, position = self._next(position, deadline)
            for entry in fresh:
                count -= _holds(str(entry), pattern)
                if count <= 0:
                    return entry
            if not fresh or time.monotonic() > deadline:
                return None

    def wait_closed(self, timeout: float) -> bool:
        """Whether the log has ended, waiting for that at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed, timeout)

    def follow(self) -> Iterator[LogEntry]:
        """Every entry from the first one kept on, as they come, until Envoy ends."""
        position = 0
        while True:
            fresh, position = self._next(position, None)
            yield from fresh
            if not fresh:
                return

    def _next(self, position: int, deadline: float | None) -> tuple[list[LogEntry], int]:
        """Entries from number `position` on and the number after them; none once the log or the time has ended."""
        with self._changed:
            while position >= self._total and not self._closed:
                left = 1.0 if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))  # not for ever, so that Ctrl-C is noticed on every system
            first = self._total - len(self._entries)
            return list(islice(self._entries, max(0, position - first), None)), self._total


def parse_entry(line: bytes) -> LogEntry:
    """The entry that one line holds; a line that is no entry becomes one without level and component."""
    match = _ENTRY.fullmatch(line.decode("utf-8", "replace"))
    if match is None:
        return LogEntry("", "", line.decode("utf-8", "replace"))
    return LogEntry(match["level"], match["component"], _unescape(match["text"]))


def wasm_line(entry: LogEntry) -> WasmLogLine | None:
    """What a module logged in this entry; None when the entry is Envoy's own."""
    match = _WASM.fullmatch(entry.message) if entry.component == "wasm" else None
    return None if match is None else WasmLogLine(entry.level, match["message"])


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: _escaped(match[1]), text.encode()).decode("utf-8", "replace")


def _escaped(code: bytes) -> bytes:
    r"""`\ooo` is a byte, `\n`, `\r` and `\t` are themselves, any other escaped character stands for itself."""
    return bytes([int(code, 8)]) if len(code) == 3 else _CONTROLS.get(code, code)


def _holds(text: str, pattern: str | re.Pattern[str]) -> bool:
    return pattern in text if isinstance(pattern, str) else pattern.search(text) is not None
