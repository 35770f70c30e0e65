"""Replay a session that `pyfilter run --record` has recorded in a real proxy.

    replay("session.jsonl", "filter.py")

The filter gets the callbacks of the recording in their order, in as many VMs as the proxy had, and its host calls get
the recorded answers. What it does must be what it did: the host calls that change something must be the recorded ones,
in their order, and callbacks must give the recorded answers. What it reads may come in any order. Its log is compared
only if that is asked for. Of values that the recorder has cut the beginning and the size are compared; answers that it
has cut cannot be given again.

Randomness that a filter draws itself is not recorded for plain Python; time is.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pywasmfilter_compiler import hosts

from .abi import I64, U64, HostError, Shape
from .functions import HostFunctions
from .host import Body, StrPath, new_guest
from .proxy import Proxy
from .trace import Callback, HostCall
from .vm import VM, Guest

if TYPE_CHECKING:
    from pywasmfilter_compiler.wasm.module import FuncType

VERSION: Final = 1
"""The version of the format that is read."""

_FILLING: Final = ("random_get", "environ_get")
"""Functions that fill room in the guest's memory: what they write is recorded as their result, and nothing else."""
_FILLED: Final = Shape((), (), (bytes,))
_CLOCKS: Final = ("clock_time_get", "proxy_get_current_time_nanoseconds")
_OK: Final = 0
_RANGES: Final[dict[Any, range]] = {int: range(2**32), I64: range(-(2**63), 2**63), U64: range(2**64)}

Arguments: TypeAlias = tuple[int | bytes, ...]


class Diverged(AssertionError):  # that is what the filter has
    """The filter does something else than the recording says."""


class NotARecording(ValueError):  # that is what the file is
    """A file is no recording, or one of another version."""


class _Cut(bytes):
    """The beginning of a value of which the recorder had no room for all, and how much it was."""

    size: int

    @classmethod
    def of(cls, kept: bytes, size: int) -> _Cut:
        cut = cls(kept)
        cut.size = size
        return cut

    def is_of(self, value: int | bytes) -> bool:
        """Whether a value is the whole of it, as far as can be told."""
        return isinstance(value, bytes) and len(value) == self.size and value.startswith(self)


@dataclass
class _Call:
    function: str
    arguments: Arguments
    status: int
    results: Arguments

    @property
    def key(self) -> tuple[str, Arguments]:
        return self.function, self.arguments

    def matches(self, made: _Call) -> bool:
        """Whether this call, which was recorded, may be one that is made now."""
        if self.function != made.function or len(self.arguments) != len(made.arguments):
            return False
        pairs = zip(self.arguments, made.arguments, strict=True)
        return all(old.is_of(new) if isinstance(old, _Cut) else old == new for old, new in pairs)

    def __str__(self) -> str:
        return str(_host_call(self.function, self.arguments))


@dataclass
class _Frame:
    """A callback, and what happened in it: calls, and the callbacks that came in the middle of the call after them."""

    callback: str
    arguments: tuple[int, ...]
    events: list[_Call | _Frame] = field(default_factory=list)
    answer: int | None = None
    returned: bool = False

    def __str__(self) -> str:
        context_id, *arguments = self.arguments
        return str(Callback(self.callback, context_id, tuple(arguments), 0))


@dataclass
class Recording:
    """What a file holds: the version of the ABI, and for each VM its callbacks, in order."""

    abi: str
    vms: list[list[_Frame]]

    @classmethod
    def read(cls, path: StrPath) -> Recording:
        """Read a recording. Raises NotARecording, with the line, and OSError."""
        reader = _Reader()
        for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
            try:
                reader.take(_parsed(line))
            except ValueError as error:
                raise NotARecording(f"{os.fspath(path)}:{number}: {error}") from error
        if not reader.abi:
            raise NotARecording(f"{os.fspath(path)}: the file is empty")
        vms = [_whole(frames) for _, frames in sorted(reader.vms.items())]
        if not any(vms):
            raise NotARecording(f"{os.fspath(path)}: no callback has returned in it, so there is nothing to replay")
        return cls(reader.abi, vms)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


class _Reader:
    """Puts what stands in a file's lines in its place. Raises ValueError for what does not belong there."""

    def __init__(self) -> None:
        self.abi = ""
        self.vms: defaultdict[int, list[_Frame]] = defaultdict(list)
        self._open: defaultdict[int, list[_Frame]] = defaultdict(list)

    def take(self, line: Any) -> None:
        """The first line, and each event after it."""
        match line:
            case _ if not self.abi:
                self.abi = _abi(line)
            case {"vm": int(vm), "callback": str(name), "arguments": list(arguments)}:
                self._begin(vm, name, arguments)
            case {"vm": int(vm), "return": str(name), "answer": answer}:
                self._end(vm, name, answer)
            case {"vm": int(vm), "call": str(name), "arguments": list(), "status": status, "results": list()}:
                call = _call(name, line["arguments"], _value(name, int, status), line["results"])
                if call is not None and self._open[vm]:  # what a module does before a callback is its own affair
                    self._open[vm][-1].events.append(call)
            case _:
                raise ValueError("not an event of a recording")

    def _begin(self, vm: int, name: str, arguments: list[Any]) -> None:
        _check_count(name, "arguments", arguments, len(self._type(name).params))
        frame = _Frame(name, tuple(int(_value(name, int, argument)) for argument in arguments))
        (self._open[vm][-1].events if self._open[vm] else self.vms[vm]).append(frame)
        self._open[vm].append(frame)

    def _end(self, vm: int, name: str, answer: Any) -> None:
        running = self._open[vm][-1].callback if self._open[vm] else "nothing"
        if running != name:
            raise ValueError(f"not an event of a recording: {name} returns where {running} runs")
        if self._type(name).results:
            _value(name, int, answer)
        elif answer is not None:
            raise ValueError(f"{name} has no answer")
        frame = self._open[vm].pop()
        frame.answer, frame.returned = answer, True

    def _type(self, name: str) -> FuncType:
        known = {**hosts.ENVOY_CALLBACKS, **hosts.callbacks(self.abi)}
        if name not in known:
            raise ValueError(f"ABI {self.abi} has no callback {name!r}")
        return known[name]


def _abi(header: Any) -> str:
    if not isinstance(header, dict) or header.get("pyfilter_recording") != VERSION:
        raise ValueError(f"not a recording of version {VERSION}")
    abi = header.get("abi")
    if abi not in hosts.ABI_VERSIONS:
        raise ValueError(f"abi is one of {', '.join(hosts.ABI_VERSIONS)}, not {abi!r}")
    return str(abi)


def _call(name: str, arguments: list[Any], status: int | bytes, results: list[Any]) -> _Call | None:
    """A host call; None for one that no guest of this host makes.

    That is one of a function which this host lacks, or with an argument that could not be read.
    """
    if name not in hosts.ABI_FUNCTIONS and name not in hosts.WASI_PREVIEW_1:
        raise ValueError(f"there is no host function {name!r}")
    if not hasattr(HostFunctions, name):
        return None
    shape = _FILLED if name in _FILLING else Shape.of(getattr(HostFunctions, name))
    _check_count(name, "arguments", arguments, len(shape.parameters))
    if results or status == _OK:
        _check_count(name, "results", results, len(shape.results))
    if any(value is None for kind, value in zip(shape.parameters, arguments, strict=True) if kind is bytes):
        return None
    return _Call(
        name,
        tuple(_value(name, kind, value) for kind, value in zip(shape.parameters, arguments, strict=True)),
        int(status),
        tuple(_result(name, kind, value) for kind, value in zip(shape.results, results, strict=False)),
    )


def _check_count(name: str, what: str, values: list[Any], count: int) -> None:
    if len(values) != count:
        raise ValueError(f"{name} has {count} {what}, not {len(values)}")


def _value(name: str, kind: Any, value: Any) -> int | bytes:
    """A value as guest and host exchange it. Raises ValueError for one that is not of this kind."""
    try:
        match value:
            case str() if kind is bytes:
                return value.encode("latin-1")
            case {"cut": str(kept), "size": int(size)} if kind is bytes and size > len(kept):
                return _Cut.of(kept.encode("latin-1"), size)
            case int() if value in _RANGES.get(kind, ()) and not isinstance(value, bool):
                return value
    except UnicodeEncodeError:
        raise ValueError(f"{name}: a text has more in it than bytes") from None
    expected = "a text, a byte per character" if kind is bytes else f"a number in {_RANGES[kind]}"
    raise ValueError(f"{name}: a value is not {expected}")


def _result(name: str, kind: Any, value: Any) -> int | bytes:
    """A result; it is null if the module did not want it."""
    if value is None:
        return b"" if kind is bytes else 0
    return _value(name, kind, value)


def _whole(frames: list[_Frame]) -> list[_Frame]:
    """The callbacks that returned; a session may have been cut off in the last one."""
    return [frame for frame in frames if frame.returned]


def replay(
    recording: StrPath,
    filter: StrPath | Sequence[StrPath],  # noqa: A002  # that is what it is
    *,
    body: Body = "python",
    logs: bool = False,
) -> None:
    """Replay a recording for a filter in a body. With `logs`, what is logged must be the same too.

    Raises `Diverged` where the filter does something else, `NotARecording` for another file, OSError for none, and
    `Refused` for a filter that cannot be imported.
    """
    paths = [Path(path) for path in ([filter] if isinstance(filter, str | os.PathLike) else filter)]
    recorded = Recording.read(recording)
    guest, abi = new_guest(paths, body)
    if abi != recorded.abi:
        raise NotARecording(f"{os.fspath(recording)}: a session of ABI {recorded.abi}, and the filter speaks {abi}")
    for number, frames in enumerate(recorded.vms):
        vm = _ReplayedVM(frames, guest, abi, logs=logs)
        try:
            vm.replay(number)
        finally:
            vm.guest.close()


class _ReplayedVM(VM):
    """A VM whose host functions answer what was recorded."""

    def __init__(self, frames: list[_Frame], guest: Callable[[VM], Guest], abi: str, *, logs: bool) -> None:
        self._frames = frames
        self._running: list[_RunningFrame] = []
        self._known: dict[tuple[str, Arguments], _Call] = {}
        self._logs = logs
        super().__init__(Proxy(), guest, abi=abi, environment=_environment(frames))

    def replay(self, number: int) -> None:
        """Make all callbacks."""
        for index, frame in enumerate(self._frames, 1):
            try:
                self._run(frame)
            except (Diverged, NotARecording) as error:
                raise type(error)(f"VM {number}, callback {index}, {frame}: {error}") from None

    def _run(self, frame: _Frame) -> None:
        running = _RunningFrame(frame, self._logs)
        self._set_clock(frame)
        self._running.append(running)
        try:
            context_id, *arguments = frame.arguments
            answer = self.call(frame.callback, context_id, *arguments)
        finally:
            self._running.pop()
        if running.effects:
            raise Diverged(f"the recording goes on with {running.effects[0]}")
        if left := running.before_next_effect():
            raise Diverged(f"the recording has {left[0]} in the middle of a call that the filter does not make")
        if answer != (frame.answer or 0):
            raise Diverged(f"it answers {answer}, and the recording has {frame.answer}")

    def _set_clock(self, frame: _Frame) -> None:
        """The time at which the callback came, as far as it is known."""
        calls = (event for event in frame.events if isinstance(event, _Call) and event.function in _CLOCKS)
        if isinstance(now := next((call.results[0] for call in calls if call.results), None), int):
            self.proxy.clock.nanoseconds = now

    def perform(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """What was recorded of such a call. Raises Diverged if nothing was, or something else."""
        recorded = tuple(arguments) if function not in _FILLING else ()
        call = self._find(_Call(function, recorded, _OK, ()))
        if call is None:  # of WASI, or a line of the log that nobody compares
            return super().perform(function, arguments)
        if call.status != _OK:
            raise HostError(call.status)
        if any(isinstance(result, _Cut) for result in call.results):
            raise NotARecording(f"the recording has only the beginning of what {call} gave, and the filter asks for it")
        if function in _FILLING:
            return self._write_room(function, arguments, call.results[0])
        return call.results or None

    def _find(self, wanted: _Call) -> _Call | None:
        running = self._running[-1] if self._running else None
        if wanted.function == "proxy_log" and (running is None or not self._logs):
            return None
        if running is None or _is_read(wanted.function):
            found = (running.read(wanted) if running is not None else None) or self._known.get(wanted.key)
            if found is None and not wanted.function.startswith("proxy_"):
                return None
            if found is None:
                raise Diverged(f"the filter asks for {wanted}, of which the recording knows nothing here")
            self._known[wanted.key] = found
            return found
        for nested in running.before_next_effect():
            self._run(nested)
        return running.effect(wanted)

    def _write_room(self, function: str, arguments: tuple[Any, ...], data: int | bytes) -> None:
        """Functions of WASI that fill room in the guest's memory."""
        if function == "environ_get":
            return self.environ_get(*arguments)
        address, size = arguments
        self.write_memory(address, bytes(data)[:size] if isinstance(data, bytes) else bytes(size))
        return None


class _RunningFrame:
    """What is left of a callback while it is replayed."""

    def __init__(self, frame: _Frame, logs: bool) -> None:
        self._reads: list[_Call] = []
        self.effects: deque[_Call] = deque()
        self._nested: defaultdict[int, list[_Frame]] = defaultdict(list)
        self._done = 0
        for event in frame.events:
            if isinstance(event, _Frame):
                self._nested[len(self.effects)].append(event)
            elif _is_read(event.function):
                self._reads.append(event)
            elif logs or event.function != "proxy_log":
                self.effects.append(event)

    def read(self, wanted: _Call) -> _Call | None:
        """The next answer to such a question; the last one again, if it is asked more often."""
        calls = [call for call in self._reads if call.matches(wanted)]
        if len(calls) > 1:
            self._reads.remove(calls[0])
        return calls[0] if calls else None

    def before_next_effect(self) -> list[_Frame]:
        """The callbacks that came in the middle of the next call."""
        return self._nested.pop(self._done, [])

    def effect(self, wanted: _Call) -> _Call:
        """The next call that changes something, which must be this one."""
        if not self.effects:
            raise Diverged(f"the filter goes on with {wanted}, and the recording has nothing more")
        recorded = self.effects.popleft()
        self._done += 1
        if not recorded.matches(wanted):
            raise Diverged(f"the filter calls {wanted}, and the recording has {recorded}")
        return recorded


def _is_read(function: str) -> bool:
    """Whether a host function changes nothing."""
    return function.startswith(("proxy_get_", "proxy_resolve_")) or not function.startswith("proxy_")


def _environment(frames: list[_Frame]) -> dict[str, str]:
    calls = [event for frame in frames for event in frame.events if isinstance(event, _Call)]
    found = next((call.results[0] for call in calls if call.function == "environ_get" and call.results), b"")
    entries = found.split(b"\0") if isinstance(found, bytes) else []
    return dict(entry.decode("utf-8", "surrogateescape").split("=", 1) for entry in entries if b"=" in entry)


def _host_call(function: str, arguments: Arguments) -> HostCall:
    method = getattr(HostFunctions, function, None)
    names = Shape.of(method).names if method is not None else ()
    return HostCall(function, names if len(names) == len(arguments) else ("",) * len(arguments), arguments)
