"""What a filter prints, logs and warns is in Envoy's log, a record per line, with its level."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.run import serve

from tests.e2e.probing import INCLUDED, ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.run import Server

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

_marks = count(1)


@pytest.fixture(scope="module")
def server(build_filter: FilterBuilder) -> Iterator[Server]:
    """The probe, with everything from level info on in the log."""
    with serve(build_filter("probe", include=INCLUDED).path) as server:
        yield server


def logged(server: Server, code: str) -> list[tuple[str, str]]:
    """(level, message) of what a piece of code logs; the value of the code must be None."""
    begin, end = f"begin {next(_marks)}", f"end {next(_marks)}"
    assert ask(server.port, f"log.critical('{begin}')\n{code}\nlog.critical('{end}')") == "None"
    server.envoy.wait_for_log(end, 5)
    lines = [(line.level, line.message) for line in server.envoy.wasm_log()]
    return lines[lines.index(("critical", begin)) + 1 : lines.index(("critical", end))]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("print('hello')", [("info", "hello")]),
        ("print('two', 'words', 3)", [("info", "two words 3")]),
        ("print('one\\ntwo')", [("info", "one"), ("info", "two")]),
        ("print()", [("info", "")]),
        ("print('to stderr', file=sys.stderr)", [("error", "to stderr")]),
        ("sys.stdout.writelines(['a\\n', 'b\\n'])", [("info", "a"), ("info", "b")]),
        ("os.write(1, b'raw\\n')", [("info", "raw")]),
        ("os.write(2, b'raw\\n')", [("error", "raw")]),
    ],
)
def test_streams_are_logged(server: Server, code: str, expected: list[tuple[str, str]]) -> None:
    """Standard output is level info, standard error is level error, and each line is one record."""
    assert logged(server, code) == expected


def test_partial_lines_wait(server: Server) -> None:
    """A line is logged when it is complete or flushed, not in pieces."""
    assert logged(server, "print('one,', end='')") == []
    assert logged(server, "print(' two', end='')") == []
    assert logged(server, "print(' three')") == [("info", "one, two three")]
    assert logged(server, "print('flushed', end='', flush=True)") == [("info", "flushed")]
    assert logged(server, "sys.stdout.flush()") == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'grüße €'", "grüße €"),
        ("'\\udc80\\ud800'", "\\udc80\\ud800"),
        ("'a\\0b\\x1b[31m\\rc'", "a\0b\x1b[31m\rc"),
        ("'x' * 200_000", "x" * 200_000),
    ],
    ids=["not ASCII", "not UTF-8", "control characters", "very long"],
)
@pytest.mark.parametrize("way", ["print({})", "log.info({})", "import logging\nlogging.info({})"])
def test_any_text_can_be_logged(server: Server, way: str, text: str, shown: str) -> None:
    """Whatever characters a text has, and however long it is, it is logged whole and does no harm."""
    prefix = "root: " if "logging" in way else ""
    assert logged(server, way.format(text)) == [("info", prefix + shown)]


def test_bytes_can_be_logged(server: Server) -> None:
    """The functions of `log` take bytes as they are."""
    assert logged(server, "log.warn('ü'.encode())\nlog.info(b'')") == [("warning", "ü"), ("info", "")]


def test_streams_refuse_what_python_refuses(server: Server) -> None:
    """Standard output is a text stream that can be written only, and has no file descriptor."""
    assert ask(server.port, "sys.stdout.write(b'x')") == "TypeError: write() takes str, not bytes"
    assert ask(server.port, "sys.stdout.fileno()") == "UnsupportedOperation: fileno"
    assert ask(server.port, "sys.stdout.writable(), sys.stdout.readable(), sys.stdin") == "(True, False, None)"


def test_logging_keeps_levels(server: Server) -> None:
    """Each level of `logging` is the proxy's level of that name; the logger's name comes first."""
    code = """if True:
        import logging
        logger = logging.getLogger("app.part")
        logger.debug("dropped")
        logger.info("%s and %d", "text", 1)
        logger.warning("two\\nlines")
        logger.error("e")
        logger.critical("c")
        logger.log(35, "between")
    """
    assert logged(server, code) == [
        ("info", "app.part: text and 1"),
        ("warning", "app.part: two\nlines"),
        ("error", "app.part: e"),
        ("critical", "app.part: c"),
        ("warning", "app.part: between"),
    ]


def test_logging_exception_has_the_traceback(server: Server) -> None:
    """logger.exception logs one record at level error with the traceback in it."""
    code = "import logging\ntry: 1 / 0\nexcept ZeroDivisionError: logging.getLogger('app').exception('failed')"
    ((level, message),) = logged(server, code)
    assert level == "error"
    assert message.startswith('app: failed\nTraceback (most recent call last):\n  File "<probe>", line ')
    assert message.endswith("ZeroDivisionError: division by zero")


def test_logging_survives_a_bad_record(server: Server) -> None:
    """A record that cannot be formatted is reported, and the request goes on."""
    messages = [message for _, message in logged(server, "import logging\nlogging.info('%d', 'x')")]
    assert "--- Logging error ---" in messages
    assert "TypeError: %d format: a real number is required, not str" in messages


def test_basic_config_changes_nothing(server: Server) -> None:
    """A filter that was written as a program may call logging.basicConfig."""
    code = "import logging\nlogging.basicConfig(level='ERROR', stream=sys.stdout)\nlogging.info('still')"
    assert logged(server, code) == [("info", "root: still")]


def test_warnings_are_logged(server: Server) -> None:
    """warnings.warn is a record of level warning, once for each place."""
    code = "import warnings\nfor _ in range(3): warnings.warn('old', DeprecationWarning, stacklevel=1)"
    assert logged(server, "import warnings\nwarnings.simplefilter('default')\n" + code) == [
        ("warning", "<probe>:5: DeprecationWarning: old")
    ]


def test_levels_of_the_sdk(server: Server) -> None:
    """`log` has a function for each level, and the proxy's own level decides what is kept."""
    code = "for name in ('trace', 'debug', 'info', 'warn', 'error', 'critical'): getattr(log, name)(name)"
    names = [("info", "info"), ("warning", "warn"), ("error", "error"), ("critical", "critical")]
    assert logged(server, code) == names
    assert ask(server.port, "log.enabled(1), log.enabled(2), hostcalls.get_log_level()") == "(False, True, 2)"
    try:
        server.envoy.admin("/logging?wasm=debug", "POST")
        assert logged(server, code) == [("debug", "debug"), *names]
        debug = logged(
            server, "import logging\nlogging.getLogger('app').debug('kept')\nlogging.getLogger().log(5, 'no')"
        )
        assert debug == [("debug", "app: kept")]
    finally:
        server.envoy.admin("/logging?wasm=info", "POST")
    assert ask(server.port, "hostcalls.get_log_level()") == "2"


def test_unformatted_records_cost_nothing(server: Server) -> None:
    """A record below the proxy's level is not even formatted."""
    code = """if True:
        import logging
        class Expensive:
            def __str__(self): raise RuntimeError
        logging.getLogger().debug("%s", Expensive())
    """
    assert logged(server, code) == []


def test_unraisable_exceptions_are_logged(server: Server) -> None:
    """What goes wrong where no exception can be raised, in __del__, is in the log at level error."""
    code = "class Last:\n    def __del__(self): 1 / 0\nLast()"
    ((level, message),) = logged(server, code)
    assert level == "error"
    assert message.startswith("probe: uncaught exception in a finalizer\n")
    assert message.endswith(" in Last.__del__\nZeroDivisionError: division by zero")
