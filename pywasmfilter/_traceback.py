"""Format a traceback without the standard library's module for it, whose imports every worker would carry.

The text is Python's own, without source lines, since the sources are not in the module. Those of `inline` are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

_FRAMES_AT_EACH_END = 10
_LONGEST_CHAIN = 16
_DEEPEST_GROUP = 10
_WIDEST_GROUP = 15
_MOST_LINES = 1000

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def format_exception(exception: BaseException) -> str:
    """The traceback of an exception and of those that led to it, oldest first; of a long chain, the end of it."""
    lines: list[str] = []
    for line in _format(exception, set(), 0):
        if len(lines) == _MOST_LINES:  # of groups of groups
            lines.append("…")
            break
        lines.append(line)
    return "\n".join(lines)


def _format(exception: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    chain = _chain(exception, seen)
    if len(chain) > _LONGEST_CHAIN:
        yield f"… {len(chain) - _LONGEST_CHAIN} earlier exceptions …"
    for link, member in chain[-_LONGEST_CHAIN:]:
        if link:
            yield link
        yield "Traceback (most recent call last):"
        yield from _frames(member)
        yield describe(member)
        yield from _notes(member)
        if isinstance(member, BaseExceptionGroup):
            yield from _group(member, seen, depth + 1)


def _chain(exception: BaseException, seen: set[int]) -> list[tuple[str, BaseException]]:
    """The exceptions that led to this one and itself, oldest first, each with how the one before it led to it."""
    newest_first: list[BaseException] = []
    links: list[str] = []
    current: BaseException | None = exception
    while current is not None:
        seen.add(id(current))
        newest_first.append(current)
        cause, context = current.__cause__, current.__context__
        if cause is not None and id(cause) not in seen:
            current, link = cause, _CAUSE
        elif context is not None and not current.__suppress_context__ and id(context) not in seen:
            current, link = context, _CONTEXT
        else:
            current, link = None, ""
        links.append(link)
    return list(zip(reversed(links), reversed(newest_first), strict=True))


def _group(group: BaseExceptionGroup[BaseException], seen: set[int], depth: int) -> Iterator[str]:
    if depth > _DEEPEST_GROUP:
        yield f"… {len(group.exceptions)} exceptions in the group …"
        return
    for number, inner in enumerate(group.exceptions[:_WIDEST_GROUP], 1):
        yield f"\nException {number} of {len(group.exceptions)} in the group:\n"
        yield from _format(inner, seen, depth)
    if len(group.exceptions) > _WIDEST_GROUP:
        yield f"\n… {len(group.exceptions) - _WIDEST_GROUP} more exceptions in the group …"


def _notes(exception: BaseException) -> Iterator[str]:
    try:
        notes = getattr(exception, "__notes__", ())
    except BaseException:  # noqa: BLE001
        notes = ["<notes failed>"]
    for note in notes if isinstance(notes, list | tuple) else ():
        yield _str(note, "note")


def _frames(exception: BaseException) -> Iterator[str]:
    frames = _telling(exception)
    hidden = len(frames) - 2 * _FRAMES_AT_EACH_END
    for number, (path, line, name, source) in enumerate(frames):
        if hidden > 0 and _FRAMES_AT_EACH_END <= number < _FRAMES_AT_EACH_END + hidden:
            if number == _FRAMES_AT_EACH_END:
                yield f"  … {hidden} more frames …"
            continue
        yield f'  File "{path}", line {line}, in {name}{source}'


_PASSING_ON = frozenset(
    f"pywasmfilter.{name}"
    for name in (
        *("_callback_tasks", "_dispatcher", "_errors", "_tasks", "_timers"),
        *("callouts", "contexts", "inline", "schedule"),
    )
)
"""Modules of the SDK that call the user's code: how it came there says nothing of the filter."""
_AWAITING = ("Future.__await__", "Task.__await__", "Future.result", "_Gathering.result", "_awaiting")
"""What stands in `_tasks` between a coroutine and what it awaits."""


def _telling(exception: BaseException) -> list[tuple[str, int, str, str]]:
    """The frames without those of the SDK that only lead to others; all of them if no other is there."""
    telling: list[tuple[str, int, str, str]] = []
    for step in _steps(exception):
        frame = step.tb_frame
        module = frame.f_globals.get("__name__")
        name = frame.f_code.co_qualname
        leads_on = module in _PASSING_ON if not telling else module == "pywasmfilter._tasks" and name in _AWAITING
        if not leads_on:
            line = step.tb_lineno or 0
            telling.append((origin(frame.f_code.co_filename), line, name, _source_line(frame, line)))
    return telling or [(*place, "") for place in frame_places(exception)]


def _source_line(frame: FrameType, line: int) -> str:
    """The text of a line, as it stands below the frame's own; "" if its module does not know its source."""
    lines = frame.f_globals.get("__pyfilter_source__", ())
    if frame.f_code.co_filename != frame.f_globals.get("__file__") or not 0 < line <= len(lines):
        return ""
    return f"\n    {lines[line - 1].strip()}"


def let_go(exception: BaseException) -> None:
    """Let go of what the frames of an exception, and of those that led to it, have in their variables."""
    member: BaseException | None = exception
    for _ in range(_LONGEST_CHAIN):
        if member is None:
            return
        for step in _steps(member):
            try:
                step.tb_frame.clear()
            except RuntimeError:
                continue  # it has not ended
        member = member.__cause__ or member.__context__


def _steps(exception: BaseException) -> Iterator[TracebackType]:
    """The frames of an exception, outermost first."""
    step = exception.__traceback__
    while step is not None:
        yield step
        step = step.tb_next


def ends(exception: BaseException) -> tuple[tuple[str, int, str], ...]:
    """Where an exception came from, in short: the first and the last two frames of the user's code, and the innermost.

    What lies between may be different for each of many recursions.
    """
    first: tuple[str, int, str] | None = None
    before = own = last = ("", 0, "")
    for step in _steps(exception):
        code = step.tb_frame.f_code
        last = code.co_filename, step.tb_lineno or 0, code.co_qualname
        if not code.co_filename.startswith("/python/") and not _is_of_the_sdk(step.tb_frame):
            before, own = own, last
            first = first or own
    return first or own, before, own, last


def _is_of_the_sdk(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("pywasmfilter.")


def innermost(exception: BaseException) -> str:
    """Where the user's code was, as a part of a sentence; "" if that is not known."""
    path, line, _ = ends(exception)[2]
    return f', File "{path}", line {line}' if path else ""


def frame_places(exception: BaseException) -> Iterator[tuple[str, int, str]]:
    """(file, line, function) of each frame, outermost first."""
    for step in _steps(exception):
        code = step.tb_frame.f_code
        yield origin(code.co_filename), step.tb_lineno or 0, code.co_qualname


# Where the interpreter and the SDK stood when the runtime image was built; everything later has its origin as its path.
_IMAGE_FOLDERS = {"/python/": "lib/python3.14/", "/0/": "site-packages/"}


def origin(path: str) -> str:
    """The origin of a file, by its path while the image was built."""
    for folder, prefix in _IMAGE_FOLDERS.items():
        if path.startswith(folder):
            return prefix + path[len(folder) :]
    return path


def describe(exception: BaseException) -> str:
    """The last line: the type and the message."""
    name = type_name(exception)
    message = _str(exception, "exception")
    return f"{name}: {message}" if message else name


def type_name(exception: BaseException) -> str:
    """The name of an exception's class, with its module unless that is Python's own."""
    cls = type(exception)
    return cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"


def _str(value: object, what: str) -> str:
    """str(value), whatever the user's class does."""
    try:
        return str(value)
    except BaseException:  # noqa: BLE001
        return f"<{what} str() failed>"
