"""Replay a session that `pyfilter run --record` has recorded in a real proxy.

    replay("session.jsonl", "filter.py")

The filter gets the callbacks of the recording in their order, in as many VMs as the proxy had, and its host calls get
the recorded answers. What it does must be what it did: the host calls that change something must be the recorded ones,
in their order, and callbacks must give the recorded answers. What it reads may come in any order. Its log is compared
only if that is asked for.

Randomness that a filter draws itself is not recorded for plain Python; time is.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from .abi import HostError, Shape
from .functions import HostFunctions
from .host import Body, StrPath, new_guest
from .proxy import Proxy
from .trace import Callback, HostCall
from .vm import VM

VERSION: Final = 1
"""The version of the format that is read."""

_RESULTS_OF: Final = {"random_get": 1, "environ_get": 1}
_CLOCKS: Final = ("clock_time_get", "proxy_get_current_time_nanoseconds")
_OK: Final = 0

Arguments: TypeAlias = tuple[int | bytes, ...]


class Diverged(AssertionError):  # that is what the filter has
    """The filter does something else than the recording says."""


class NotARecording(ValueError):  # that is what the file is
    """A file is no recording, or one of another version."""


@dataclass
class _Call:
    function: str
    arguments: Arguments
    status: int
    results: Arguments

    @property
    def key(self) -> tuple[str, Arguments]:
        return self.function, self.arguments

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
        vms: defaultdict[int, list[_Frame]] = defaultdict(list)
        open_frames: defaultdict[int, list[_Frame]] = defaultdict(list)
        lines = list(_lines(Path(path)))
        if not lines:
            raise NotARecording(f"{os.fspath(path)}: the file is empty")
        header, *events = lines
        if not isinstance(header, dict) or header.get("pyfilter_recording") != VERSION:
            raise NotARecording(f"{os.fspath(path)}:1: not a recording of version {VERSION}")
        for number, event in enumerate(events, 2):
            try:
                _take(event, vms[event["vm"]], open_frames[event["vm"]])
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise NotARecording(f"{os.fspath(path)}:{number}: not an event of a recording") from error
        return cls(header["abi"], [_whole(vms[number]) for number in sorted(vms)])


def _lines(path: Path) -> Iterator[Any]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise NotARecording(f"{path}:{number}: not JSON: {error}") from error


def _take(event: dict[str, Any], frames: list[_Frame], open_frames: list[_Frame]) -> None:
    """Put an event in its place."""
    if "callback" in event:
        frame = _Frame(event["callback"], tuple(event["arguments"]))
        (open_frames[-1].events if open_frames else frames).append(frame)
        open_frames.append(frame)
    elif "return" in event:
        frame = open_frames.pop()
        frame.answer, frame.returned = event["answer"], True
    elif open_frames:  # what a module does before its first callback is its own affair
        arguments, results = (tuple(map(_value, event[name])) for name in ("arguments", "results"))
        open_frames[-1].events.append(_Call(event["call"], arguments, event["status"], results))


def _value(value: Any) -> int | bytes:
    if isinstance(value, dict):
        return str(value["cut"]).encode("latin-1")
    return value.encode("latin-1") if isinstance(value, str) else int(value or 0)


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
    for number, frames in enumerate(Recording.read(recording).vms):
        vm = _ReplayedVM(frames, paths, body, logs=logs)
        try:
            vm.replay(number)
        finally:
            vm.guest.close()


class _ReplayedVM(VM):
    """A VM whose host functions answer what was recorded."""

    def __init__(self, frames: list[_Frame], paths: list[Path], body: Body, *, logs: bool) -> None:
        self._frames = frames
        self._running: list[_RunningFrame] = []
        self._known: dict[tuple[str, Arguments], _Call] = {}
        self._logs = logs
        guest, abi = new_guest(paths, body)
        super().__init__(Proxy(), guest, abi=abi, environment=_environment(frames))

    def replay(self, number: int) -> None:
        """Make all callbacks."""
        for index, frame in enumerate(self._frames, 1):
            try:
                self._run(frame)
            except Diverged as error:
                raise Diverged(f"VM {number}, callback {index}, {frame}: {error}") from None

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
        if answer != (frame.answer or 0):
            raise Diverged(f"it answers {answer}, and the recording has {frame.answer}")

    def _set_clock(self, frame: _Frame) -> None:
        """The time at which the callback came, as far as it is known."""
        times = (event.results[0] for event in frame.events if isinstance(event, _Call) and event.function in _CLOCKS)
        if isinstance(now := next(times, None), int):
            self.proxy.clock.nanoseconds = now

    def perform(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """What was recorded of such a call. Raises Diverged if nothing was, or something else."""
        recorded = tuple(arguments) if function not in _RESULTS_OF else ()
        call = self._find(_Call(function, recorded, _OK, ()))
        if call is None:  # of WASI, or a line of the log that nobody compares
            return super().perform(function, arguments)
        if call.status != _OK:
            raise HostError(call.status)
        if function in _RESULTS_OF:
            return self._write_room(function, arguments, call.results[0])
        return call.results or None

    def _find(self, wanted: _Call) -> _Call | None:
        running = self._running[-1] if self._running else None
        if running is None or _is_read(wanted.function):
            found = (running.read(wanted) if running is not None else None) or self._known.get(wanted.key)
            if found is None and not wanted.function.startswith("proxy_"):
                return None
            if found is None:
                raise Diverged(f"the filter asks for {wanted}, of which the recording knows nothing here")
            self._known[wanted.key] = found
            return found
        if wanted.function == "proxy_log" and not self._logs:
            return None
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
        self._reads: defaultdict[tuple[str, Arguments], deque[_Call]] = defaultdict(deque)
        self.effects: deque[_Call] = deque()
        self._nested: defaultdict[int, list[_Frame]] = defaultdict(list)
        self._done = 0
        for event in frame.events:
            if isinstance(event, _Frame):
                self._nested[len(self.effects)].append(event)
            elif _is_read(event.function):
                self._reads[event.key].append(event)
            elif logs or event.function != "proxy_log":
                self.effects.append(event)

    def read(self, wanted: _Call) -> _Call | None:
        """The next answer to such a question; the last one again, if it is asked more often."""
        calls = self._reads.get(wanted.key)
        if not calls:
            return None
        return calls.popleft() if len(calls) > 1 else calls[0]

    def before_next_effect(self) -> list[_Frame]:
        """The callbacks that came in the middle of the next call."""
        return self._nested.pop(self._done, [])

    def effect(self, wanted: _Call) -> _Call:
        """The next call that changes something, which must be this one."""
        if not self.effects:
            raise Diverged(f"the filter goes on with {wanted}, and the recording has nothing more")
        recorded = self.effects.popleft()
        self._done += 1
        if recorded.key != wanted.key:
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
