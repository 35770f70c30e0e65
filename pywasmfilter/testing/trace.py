"""What happened between proxy and filter: the callbacks in order, and in each the host calls that it made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from pywasmfilter_compiler import hosts

from pywasmfilter.types import Action, BufferType, LogLevel, MapType, MetricType, Status, StreamType

from .abi import decode_pairs
from .messages import as_text

_LONGEST = 200


@dataclass
class HostCall:
    """One call of a host function. `results` are empty unless the status is OK."""

    function: str
    """The name in the ABI, such as "proxy_log"."""
    names: tuple[str, ...]
    """The names of the parameters."""
    arguments: tuple[int | bytes, ...]
    """What the filter gave: numbers, and bytes for what it gave by address and size."""
    status: int = Status.OK
    """What the host answered, a `Status`."""
    results: tuple[int | bytes, ...] = ()
    """What the host gave beside its answer."""

    def __str__(self) -> str:
        shown = ", ".join(show(name, value) for name, value in zip(self.names, self.arguments, strict=True))
        text = f"{self.function.removeprefix('proxy_')}({shown})"
        if self.status != Status.OK:
            return f"{text} → {_named(Status, self.status)}"
        results = ", ".join(show("pairs" if "pairs" in self.function else "", value) for value in self.results)
        return f"{text} → {results}" if results else text


@dataclass
class Callback:
    """One callback: what the proxy said, what the filter answered, and how long that took in seconds."""

    name: str
    """The name in the ABI, such as "proxy_on_request_headers"."""
    context_id: int
    """The context that it was made in: a plugin's or a stream's."""
    arguments: tuple[int, ...]
    """What the proxy said beside that."""
    depth: int
    """In how many other callbacks this one ran, 0 for the outermost."""
    answer: int | None = None
    """An `Action` where the callback answers one, otherwise 1 or 0; None if it answers nothing."""
    seconds: float = 0.0
    """Of the machine's time, not of the host's clock."""
    calls: list[HostCall] = field(default_factory=list)
    """The host calls that the filter made in it, in order."""

    def __str__(self) -> str:
        arguments = ", ".join(map(str, (self.context_id, *self.arguments)))
        answer = f" → {self._shown_answer()}" if self.answer is not None else ""
        return f"{self.name.removeprefix('proxy_')}({arguments}){answer}"

    def _shown_answer(self) -> str:
        return _named(Action, self.answer or 0) if self.name.endswith(_WITH_ACTION) else str(bool(self.answer))


_WITH_ACTION = ("headers", "_body", "_trailers", "_data", "_new_connection", "_metadata")


class Trace:
    """The callbacks that ran, the outermost and those inside of others in the order in which they began."""

    def __init__(self) -> None:
        self.callbacks: list[Callback] = []
        """All of them; clear the list to begin afresh."""
        self._running: list[Callback] = []

    def begin(self, name: str, context_id: int, arguments: tuple[int, ...]) -> Callback:
        """A callback begins."""
        callback = Callback(name, context_id, arguments, len(self._running))
        self.callbacks.append(callback)
        self._running.append(callback)
        return callback

    def end(self) -> None:
        """The innermost callback ends."""
        self._running.pop()

    def add(self, call: HostCall) -> None:
        """A host function was called, in the innermost callback."""
        if self._running:
            self._running[-1].calls.append(call)

    def calls(self, function: str) -> list[HostCall]:
        """All calls of a host function, named with or without its `proxy_`. ValueError if there is no such function."""
        names = {function, f"proxy_{function}"} & _functions()
        if not names:
            raise ValueError(f"there is no host function {function!r}")
        return [call for callback in self.callbacks for call in callback.calls if call.function in names]

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __str__(self) -> str:
        lines = []
        for callback in self.callbacks:
            indent = "  " * callback.depth
            lines.append(f"{indent}{callback}")
            lines += [f"{indent}    {call}" for call in callback.calls]
        return "\n".join(lines)


@lru_cache(maxsize=1)
def _functions() -> frozenset[str]:
    """The names of all host functions that there are in any version of the ABI."""
    return frozenset(hosts.WASI_PREVIEW_1).union(*map(hosts.functions, hosts.ABI_VERSIONS))


def show(name: str, value: int | bytes) -> str:
    """An argument as a person reads it; `name` is the parameter's."""
    if isinstance(value, int):
        return _named(_ENUMERATIONS[name], value) if name in _ENUMERATIONS else str(value)
    if name in _PAIRS:
        return _shortened(str([(as_text(key), as_text(text)) for key, text in decode_pairs(value)]))
    if name == "path":
        return repr(as_text(value).split("\0"))
    text = as_text(value)
    return _shortened(
        repr(text if text.isprintable() or (text.isascii() and not _CONTROLS.intersection(text)) else value)
    )


_ENUMERATIONS: dict[str, type[IntEnum]] = {
    "map_type": MapType,
    "buffer_type": BufferType,
    "stream_type": StreamType,
    "level": LogLevel,
    "kind": MetricType,
}
_CONTROLS = set(map(chr, range(32))) - set("\t\n\r")
_PAIRS = {"pairs", "headers", "trailers", "metadata"}


def _named(enumeration: type[IntEnum], value: int) -> str:
    return enumeration(value).name if value in enumeration.__members__.values() else str(value)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
