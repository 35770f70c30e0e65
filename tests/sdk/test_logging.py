"""The standard library's `logging` in both bodies: what the proxy would drop costs nothing, and all else is as ever."""

from __future__ import annotations

import logging

import pytest

from pywasmfilter import LogLevel
from pywasmfilter.testing import Body, Host
from tests.e2e.conftest import FILTERS
from tests.sdk.stateful import value


@pytest.fixture(params=["python", "wasm"])
def host(request: pytest.FixtureRequest) -> Host:
    """A new host with the filter, whose log begins after its start; the proxy's level is info."""
    body: Body = request.param
    host = Host(FILTERS / "state.py", body=body)
    value(host, "seen.clear()")
    host.log.clear()
    host.log_level = LogLevel.INFO
    return host


def test_what_the_proxy_drops_is_not_formatted(host: Host) -> None:
    """Neither the message nor its arguments, and no record is made; at the proxy's level it is all there."""
    value(host, "logger.debug('%r', Expensive())")
    assert value(host, "seen") == []
    assert host.log == []
    value(host, "logger.info('%r', Expensive())")
    assert value(host, "seen[:1]") == ["formatted"]
    assert [str(line) for line in host.log] == ["[info] state: expensive"]


def test_loggers_know_the_proxys_level(host: Host) -> None:
    """isEnabledFor follows it, also when it changes, and beside it the loggers' own levels count."""
    ask = "[logger.isEnabledFor(level) for level in (5, 10, 20, 30, 40, 50)]"
    assert value(host, ask) == [False, False, True, True, True, True]
    host.log_level = LogLevel.ERROR
    assert value(host, ask) == [False, False, False, False, True, True]
    host.log_level = LogLevel.TRACE
    assert value(host, ask) == [True] * 6
    assert value(host, f"(logger.setLevel(30), {ask})")[1] == [False] * 3 + [True] * 3
    assert value(host, f"(logging.disable(40), {ask}, logging.disable(0), logger.setLevel(0))")[1] == [False] * 5 + [
        True
    ]
    assert value(host, "logging.LoggerAdapter(logger).isEnabledFor(10)") is True


def test_a_handler_of_the_filters_own_gets_everything(host: Host) -> None:
    """It may want what the proxy does not, so loggers below which it stands let it have that; others do not."""
    try:
        value(host, "(NAMES.update(kept=Kept()), logging.getLogger('a').addHandler(kept))[1]")
        assert value(host, "[logging.getLogger(name).isEnabledFor(10) for name in ('a', 'a.b', 'c', '')]") == [
            True,
            True,
            False,
            False,
        ]
        value(host, "logging.getLogger('a.b').debug('for %s', 'me')")
        assert value(host, "seen") == ["for me"]
        assert host.log == []
        value(host, "(logging.root.addHandler(kept), logging.getLogger('c').debug('too'))[1]")
        assert value(host, "seen") == ["for me", "too"]
        assert host.log == []
    finally:
        value(host, "(logging.getLogger('a').removeHandler(kept), logging.root.removeHandler(kept))[1]")


def test_a_handler_that_does_nothing_does_not_count(host: Host) -> None:
    """Libraries give their loggers a NullHandler."""
    value(host, "logging.getLogger('library').addHandler(logging.NullHandler())")
    assert value(host, "logging.getLogger('library.part').isEnabledFor(10)") is False


def test_root_handlers_are_one_vms(host: Host) -> None:
    """What a filter does with the root logger's handlers stays in its VM, and the test's own are not touched."""
    before = list(logging.root.handlers)
    value(host, "logging.root.addHandler(Kept())")
    value(host.start(new_vm=True), "logging.basicConfig(force=True, level=10)")
    assert logging.root.handlers == before
    assert value(host, "(logging.warning('here'), seen)")[1] == ["here"]


def test_the_tests_own_handlers_get_what_is_logged(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """Such as pytest's, in plain Python; of what the proxy drops there is nothing to get."""
    value(host, "(logger.warning('seen'), logger.debug('dropped'))[1]")
    assert caplog.messages == (["seen"] if host.body == "python" else [])


def test_records_have_all_that_python_puts_into_them(host: Host) -> None:
    """`extra` for formatters of the filter's own, the exception with its traceback, and the stack."""
    value(host, "(NAMES.update(kept=Kept()), setattr(kept, 'emit', lambda record: seen.append(record.user)))[1]")
    value(host, "(logger.addHandler(kept), logger.info('x', extra={'user': 'ada'}), logger.removeHandler(kept))[1]")
    assert value(host, "seen") == ["ada"]
    host.log.clear()
    value(host, "logger.error('failed', exc_info=ValueError('why'))")
    value(host, "logger.info('here', stack_info=True)")
    assert host.log[0].message == "state: failed\nValueError: why"
    assert "Stack (most recent call last):" in host.log[1].message
    failing = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logger.exception('caught %s', 'it')"
    value(host, f"exec({failing!r})")
    assert host.log[2].message.startswith("state: caught it\nTraceback (most recent call last):")
    assert host.log[2].message.endswith("ZeroDivisionError: division by zero")
    assert host.log[2].level == LogLevel.ERROR
