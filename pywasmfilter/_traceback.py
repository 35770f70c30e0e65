"""Format a traceback without the standard library's module for it, whose imports every worker would carry.

The text is Python's own, without source lines: the sources are not in the module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMES_AT_EACH_END = 10


def format_exception(exception: BaseException) -> str:
    """The traceback of an exception and of those that led to it, oldest first."""
    return "\n".join(_chain(exception, set()))


def _chain(exception: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(exception))
    cause, context = exception.__cause__, exception.__context__
    if cause is not None and id(cause) not in seen:
        yield from _chain(cause, seen)
        yield "\nThe above exception was the direct cause of the following exception:\n"
    elif context is not None and not exception.__suppress_context__ and id(context) not in seen:
        yield from _chain(context, seen)
        yield "\nDuring handling of the above exception, another exception occurred:\n"
    yield "Traceback (most recent call last):"
    yield from _frames(exception)
    yield describe(exception)
    yield from _notes(exception)
    if isinstance(exception, BaseExceptionGroup):
        for number, inner in enumerate(exception.exceptions, 1):
            yield f"\nException {number} of {len(exception.exceptions)} in the group:\n"
            yield from _chain(inner, seen)


def _notes(exception: BaseException) -> Iterator[str]:
    notes = getattr(exception, "__notes__", ())
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
        yield _origin(code.co_filename), step.tb_lineno or 0, code.co_qualname
        step = step.tb_next


# Where the interpreter and the SDK stood when the runtime image was built; everything later has its origin as its path.
_IMAGE_FOLDERS = {"/python/": "lib/python3.14/", "/0/": "site-packages/"}


def _origin(path: str) -> str:
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
