"""The file that a recorded session becomes: what the recorder in a module logs, as JSON, a line each.

The first line is `{"pyfilter_recording": 1, "abi": "0.2.1", "sha256": …}`, with the hash of the module as it was before
the recorder came in. Then an event per line, in the order in which each VM had them; `vm` is its number, in order of
appearance:

    {"vm": 0, "callback": "proxy_on_request_headers", "arguments": [2, 9, 1]}
    {"vm": 0, "call": "proxy_get_header_map_value", "arguments": [0, ":path"], "status": 0, "results": ["/x"]}
    {"vm": 0, "return": "proxy_on_request_headers", "answer": 0}

A callback that has no answer returns null. A callback that never returns ended its VM. What stands between a callback
and its return happened in it; a callback that stands there came in the middle of the host call that follows. Results
are those that were written, which for most functions is none unless the status is 0.

Bytes are texts, one character per byte (Latin-1). Those that did not fit are `{"cut": "the first…", "size": 3000000}`.
Null is what could not be read, or a result for which the module had no room.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO, TypeAlias

from .errors import CompilerError, UsageError
from .module_report import inspect
from .recorder import PREFIX, instrument

VERSION: Final = 1

_MARK: Final = PREFIX.encode()
_VALUES: Final = rb"(?: u[0-9a-f]{1,16}| i[0-9a-f]{16}| x(?:[0-9a-f]{2})*+(?:~[0-9a-f]{8})?| -)*+"
_OF_PROXY: Final = rb"\[[-0-9]+ [.:0-9]+\]\[\d+\]\[critical\]\[wasm\] \[[^]]*\] wasm log(?>.*?: )"
"""What Envoy sets before a message, up to the first colon: none of it is the module's, whatever that logs."""
_LINE: Final = re.compile(
    _OF_PROXY + _MARK + rb"(?P<vm>[0-9a-f]{16}) (?P<kind>callback|call|return) (?P<name>\w+)"
    rb"(?P<before>" + _VALUES + rb")(?: s(?P<status>[0-9a-f]{8})(?P<after>" + _VALUES + rb"))?"
)
_SECRET: Final = 0o600  # a recording holds headers and bodies

Value: TypeAlias = int | str | dict[str, Any] | None


def check_path(path: Path) -> None:
    """Raise UsageError if no recording can be written there, or should be."""
    if path.suffix in {".py", ".wasm"}:
        raise UsageError(f"{path}: a recording is not written to a Python file or a module")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: cannot be written: {path.parent} is not a folder")
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{path}: cannot be written: Permission denied")


class Recording:
    """A recording that is being written, for as long as its `with` block lasts.

    `module` is the one at the given path with a recorder in it. Raises UsageError for a module that cannot be read or
    declares no version of the ABI, and for a path that cannot be written; what `instrument` raises; and at the end
    CompilerError if something could not be written.
    """

    def __init__(self, path: Path, module: Path) -> None:
        report = inspect(module)
        if report.abi is None:
            raise UsageError(f"{module}: declares no version of Proxy-Wasm, so it cannot be recorded")
        self.module = instrument(module.read_bytes())
        self._path = path
        self._vms: dict[bytes, int] = {}
        self._error: OSError | None = None
        try:
            self._file = _open(path)
            self._write({"pyfilter_recording": VERSION, "abi": report.abi, "sha256": report.sha256})
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as closing:
            self._error = self._error or closing
        if self._error is not None and error is None:
            reason = self._error.strerror or self._error
            raise CompilerError(f"{self._path}: cannot be written: {reason}") from self._error

    def take(self, line: bytes) -> bool:
        """Whether a line of a proxy's log is the recorder's; it is in the file then, unless that cannot be written."""
        event = self._event(line)
        if event is not None and self._error is None:
            try:
                self._write(event)
            except OSError as error:  # told at the end: whoever reads the log must go on
                self._error = error
        return event is not None

    def _event(self, line: bytes) -> dict[str, Any] | None:
        match = _LINE.fullmatch(line.rstrip())
        if match is None or (match["kind"] == b"call") != (match["status"] is not None):
            return None
        return {"vm": self._vms.setdefault(match["vm"], len(self._vms)), **_parts(match)}

    def _write(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event) + "\n")
        self._file.flush()


def _open(path: Path) -> TextIO:
    return open(path, "w", encoding="ascii", newline="\n", opener=_opener)


def _opener(path: str, flags: int) -> int:
    """The number of a file that only its owner can read, also if others could before."""
    number = os.open(path, flags & ~os.O_TRUNC, _SECRET)
    try:
        os.fchmod(number, _SECRET)
        os.ftruncate(number, 0)
    except OSError:
        os.close(number)
        raise
    return number


def _parts(match: re.Match[bytes]) -> dict[str, Any]:
    """What an event says, apart from where."""
    kind, name, values = match["kind"].decode(), match["name"].decode(), _values(match["before"])
    if kind == "callback":
        return {kind: name, "arguments": values}
    if kind == "return":
        return {kind: name, "answer": values[0] if values else None}
    return {kind: name, "arguments": values, "status": int(match["status"], 16), "results": _values(match["after"])}


def _values(text: bytes) -> list[Value]:
    return [_value(chr(word[0]), word[1:]) for word in text.split()]


def _value(kind: str, digits: bytes) -> Value:
    if kind == "u":
        return int(digits, 16)
    if kind == "i":
        return int.from_bytes(_bytes(digits), "big", signed=True)
    if kind == "x":
        kept, cut, size = digits.partition(b"~")
        text = _bytes(kept).decode("latin-1")
        return {"cut": text, "size": int(size, 16)} if cut else text
    return None


def _bytes(digits: bytes) -> bytes:
    return bytes.fromhex(digits.decode())
