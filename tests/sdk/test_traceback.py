"""Tracebacks are Python's own, without source lines, whatever the user's exceptions do."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter._traceback import describe, format_exception, frame_places


def caught(function: Callable[[], object]) -> BaseException:
    """The exception that a function raises."""
    try:
        function()
    except BaseException as exception:  # noqa: BLE001
        return exception
    raise AssertionError("it did not raise")


def lines(exception: BaseException) -> list[str]:
    """The formatted exception, without line numbers and this file's folder."""
    text = re.sub(r'"[^"]*/test_traceback.py", line \d+', '"test.py", line N', format_exception(exception))
    return text.split("\n")


def without_sources(text: str) -> list[str]:
    """Python's own traceback without what only a file on disk can give."""
    return [line for line in text.splitlines() if line and not line.startswith("    ")]


def fail() -> None:
    raise ValueError("bad")


def fail_from() -> None:
    try:
        fail()
    except ValueError as error:
        raise KeyError("worse") from error


def fail_again() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("worse")  # noqa: B904  # what is tested


def fail_from_none() -> None:
    try:
        fail()
    except ValueError:
        raise KeyError("worse") from None


def test_one_exception() -> None:
    """A header, a line per frame with file, line and qualified name, and the message."""
    assert lines(caught(fail)) == [
        "Traceback (most recent call last):",
        '  File "test.py", line N, in caught',
        '  File "test.py", line N, in fail',
        "ValueError: bad",
    ]


@pytest.mark.parametrize("function", [fail, fail_from, fail_again, fail_from_none], ids=lambda f: f.__name__)
def test_chains_are_those_of_python(function: Callable[[], object]) -> None:
    """Causes and contexts come first, with the sentences that Python puts between them."""
    exception = caught(function)
    expected = without_sources("".join(traceback.format_exception(exception)))
    assert [line for line in format_exception(exception).split("\n") if line] == expected


def test_methods_have_qualified_names() -> None:
    """A frame says the class that its function is in."""

    class Filter:
        def on_http_request_headers(self) -> None:
            fail()

    names = [name for _, _, name in frame_places(caught(Filter().on_http_request_headers))]
    assert names[1].endswith("Filter.on_http_request_headers")


def test_places_of_the_image() -> None:
    """The folders in which the interpreter was made are shown as origins; other paths are as they are."""
    for path, shown in {
        "/python/json/decoder.py": "lib/python3.14/json/decoder.py",
        "/0/pywasmfilter/log.py": "site-packages/pywasmfilter/log.py",
        "filter.py": "filter.py",
        "/python.py": "/python.py",
    }.items():
        exception = caught(lambda path=path: exec(compile("1/0", path, "exec")))  # type: ignore[misc]
        assert [place for place, _, _ in frame_places(exception)][-1] == shown


def test_an_exception_that_was_never_raised() -> None:
    """Without frames there are the header and the message."""
    assert format_exception(ValueError("x")) == "Traceback (most recent call last):\nValueError: x"


# The last line


class Outer:
    """Holds an exception class."""

    class Inner(Exception):
        """A nested class."""


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        (ValueError(), "ValueError"),
        (ValueError(""), "ValueError"),
        (ValueError("two\nlines"), "ValueError: two\nlines"),
        (KeyError("x"), "KeyError: 'x'"),
        (Outer.Inner("x"), f"{__name__}.Outer.Inner: x"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), None),
    ],
)
def test_the_last_line_is_pythons(exception: BaseException, expected: str | None) -> None:
    """The type with its module unless it is a builtin, and the message if there is one."""
    assert describe(exception) == (expected or traceback.format_exception_only(exception)[0].strip())


class BadStr(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class NoStr(Exception):
    """An exception whose text is none."""

    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307  # what is tested


class Exits(Exception):
    """An exception whose text ends the program."""

    def __str__(self) -> str:
        raise SystemExit


@pytest.mark.parametrize("cls", [BadStr, NoStr, Exits])
def test_a_broken_str_is_no_second_exception(cls: type[BaseException]) -> None:
    """What cannot be shown is named, with words for the rest."""
    assert describe(cls()) == f"{__name__}.{cls.__qualname__}: <exception str() failed>"


# Notes


def test_notes() -> None:
    """Notes follow the message, in order."""
    exception = ValueError("x")
    exception.add_note("first")
    exception.add_note("second\nline")
    assert format_exception(exception).endswith("ValueError: x\nfirst\nsecond\nline")


@pytest.mark.parametrize(
    ("notes", "shown"), [(5, []), ("text", []), ([5, BadStr()], ["5", "<note str() failed>"]), (("t",), ["t"])]
)
def test_odd_notes(notes: Any, shown: list[str]) -> None:
    """Anything may be in __notes__: what is a list is shown as far as possible."""
    exception = ValueError("x")
    exception.__notes__ = notes
    assert format_exception(exception).split("\n")[2:] == shown


def test_notes_that_raise() -> None:
    """A class whose attributes fail is shown all the same."""

    class Hostile(Exception):
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(name)

    assert format_exception(Hostile("x")).endswith("Hostile: x\n<notes failed>")


# What is long


def recurse(depth: int) -> None:
    if depth == 0:
        raise ValueError("deep")
    recurse(depth - 1)


def test_many_frames_are_shortened() -> None:
    """Of a long stack the first and the last ten frames are shown, and how many are not."""
    shown = lines(caught(lambda: recurse(100)))
    assert len(shown) == 1 + 10 + 1 + 10 + 1
    assert shown[11] == "  … 83 more frames …"
    assert shown[-2] == '  File "test.py", line N, in recurse'


@pytest.mark.parametrize("depth", [17, 18])
def test_a_stack_that_just_fits_is_whole(depth: int) -> None:
    """Up to twenty frames are shown in full."""
    shown = lines(caught(lambda: recurse(depth - 1)))
    assert len(shown) == depth + 2 + 2
    assert "more frames" not in "\n".join(shown)


def endless() -> None:
    endless()


def test_recursion() -> None:
    """A RecursionError is shown, shortened, even though the stack it left was full."""
    shown = lines(caught(endless))
    assert shown[-1].startswith("RecursionError: maximum recursion depth exceeded")
    assert len(shown) < 25


def test_a_cycle_of_causes_ends() -> None:
    """Exceptions that are each other's cause are shown once each."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert lines(first) == [
        "Traceback (most recent call last):",
        "ValueError: second",
        *"\nThe above exception was the direct cause of the following exception:\n".split("\n"),
        "Traceback (most recent call last):",
        "ValueError: first",
    ]


def test_its_own_cause() -> None:
    """An exception that caused itself is shown once."""
    exception = ValueError("x")
    exception.__cause__ = exception
    assert format_exception(exception).count("ValueError: x") == 1


@pytest.mark.parametrize("attribute", ["__cause__", "__context__"])
def test_a_long_chain_shows_its_end(attribute: str) -> None:
    """Of ten thousand exceptions the latest are shown and the rest are counted; nothing overflows."""
    exception = ValueError(0)
    for number in range(1, 10_000):
        following = ValueError(number)
        setattr(following, attribute, exception)
        exception = following
    shown = lines(exception)
    assert shown[0] == "… 9984 earlier exceptions …"
    assert [line for line in shown if line.startswith("ValueError")] == [
        f"ValueError: {n}" for n in range(9984, 10_000)
    ]


# Groups


def test_groups_show_their_members() -> None:
    """Each exception of a group follows with its number and its own traceback."""
    group = BaseExceptionGroup("several", [caught(fail), KeyError("k")])
    text = "\n".join(lines(group))
    assert text.startswith("Traceback (most recent call last):\nExceptionGroup: several (2 sub-exceptions)\n")
    assert "\nException 1 of 2 in the group:\n" in text
    assert text.endswith("\nException 2 of 2 in the group:\n\nTraceback (most recent call last):\nKeyError: 'k'")


def test_nested_groups_end() -> None:
    """Groups in groups, however deep, are shown down to a depth and counted below it."""
    group: Exception = ValueError("innermost")
    for depth in range(5000):
        group = ExceptionGroup(str(depth), [group])
    text = format_exception(group)
    assert text.count("ExceptionGroup: ") == 11
    assert text.endswith("… 1 exceptions in the group …")
