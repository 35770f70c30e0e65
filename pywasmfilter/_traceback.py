"""Format a traceback without the standard library's module for it, whose imports every worker would carry.

The text is Python's own, without source lines: the sources are not in the module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES_AT_EACH_END = 10
_LONGEST_CHAIN = 16
_DEEPEST_GROUP = 10

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n"


def format_exception(exception: BaseException) -> str:
    """The traceback of an exception and of those that led to it, oldest first; of a long chain, the end of it."""
    return "\n".join(_format(exception, set(), 0))


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
    for number, inner in enumerate(group.exceptions, 1):
        yield f"\nException {number} of {len(group.exceptions)} in the group:\n"
        yield from _format(inner, seen, depth)


def _notes(exception: BaseException) -> Iterator[str]:
    try:
        notes = getattr(exception, "__notes__", ())
    except BaseException:  # noqa: BLE001
        notes = ["<notes failed>"]
    for note in notes if isinstance(notes, list | tuple) else ():
        yield _str(note, "note")


def _frames(exception: BaseException) -> Iterator[str]:
    frames = list(frame_places(exception))
    hidden = len(frames) - 2 * _FRAMES_AT_EACH_END
    for number, (path, line, name) in enumerate(frames):
        if hidden > 0 and _FRAMES_AT_EACH_END <= number < _FRAMES_AT_EACH_END + hidden:
            if number == _FRAMES_AT_EACH_END:
                yield f"  … {hidden} more frames …"
            continue
        yield f'  File "{path}", line {line}, in {name}'


def frame_places(exception: BaseException) -> Iterator[tuple[str, int, str]]:
    """(file, line, function) of each frame, outermost first."""
    step = exception.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield origin(code.co_filename), step.tb_lineno or 0, code.co_qualname
        step = step.tb_next


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
    cls = type(exception)
    name = cls.__qualname__ if cls.__module__ in ("builtins", "__main__") else f"{cls.__module__}.{cls.__qualname__}"
    message = _str(exception, "exception")
    return f"{name}: {message}" if message else name


def _str(value: object, what: str) -> str:
    """str(value), whatever the user's class does."""
    try:
        return str(value)
    except BaseException:  # noqa: BLE001
        return f"<{what} str() failed>"
