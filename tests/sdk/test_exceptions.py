"""Statuses of host calls become exceptions, in one place."""

from __future__ import annotations

import inspect

import pytest

import pywasmfilter
from pywasmfilter import HostcallError, MisuseError, Status, _abi, exceptions
from pywasmfilter.exceptions import raise_for_status

CLASSES = {
    Status.NOT_FOUND: pywasmfilter.NotFound,
    Status.BAD_ARGUMENT: pywasmfilter.BadArgument,
    Status.SERIALIZATION_FAILURE: pywasmfilter.SerializationFailure,
    Status.PARSE_FAILURE: pywasmfilter.ParseFailure,
    Status.INVALID_MEMORY_ACCESS: pywasmfilter.InvalidMemoryAccess,
    Status.EMPTY: pywasmfilter.Empty,
    Status.CAS_MISMATCH: pywasmfilter.CasMismatch,
    Status.INTERNAL_FAILURE: pywasmfilter.InternalFailure,
    Status.UNIMPLEMENTED: pywasmfilter.Unimplemented,
}


def test_every_status_has_its_class() -> None:
    """No status of the ABI but OK is without a class of its own."""
    assert set(CLASSES) == set(Status) - {Status.OK}
    assert exceptions._BY_STATUS == CLASSES


@pytest.mark.parametrize("status", CLASSES, ids=lambda status: status.name)
def test_a_status_raises_its_class(status: Status) -> None:
    """The error is of the status's class and says function, name and number, in text and as attributes."""
    with pytest.raises(CLASSES[status], match=rf"^proxy_get_property: {status.name} \({status.value}\)") as raised:
        raise_for_status("proxy_get_property", int(status))
    assert (raised.value.function, raised.value.status) == ("proxy_get_property", status)
    assert type(raised.value) is CLASSES[status]


@pytest.mark.parametrize("status", [5, 9, 11, 13, 4294967295])
def test_an_unknown_status_is_kept(status: int) -> None:
    """A number that the ABI does not know is a HostcallError that says the number."""
    with pytest.raises(HostcallError, match=rf"^proxy_done: unknown status \({status}\)$") as raised:
        raise_for_status("proxy_done", status)
    assert type(raised.value) is HostcallError
    assert raised.value.status == status


@pytest.mark.parametrize("function", exceptions._ADVICE)
def test_a_refused_call_comes_with_advice(function: str) -> None:
    """Hosts answer 1 and 2 for a call at the wrong time, so the message says when it works; for other statuses not."""
    advice = exceptions._ADVICE[function]
    for status in (Status.NOT_FOUND, Status.BAD_ARGUMENT):
        assert str(HostcallError(function, status)) == f"{function}: {status.name} ({status.value}); {advice}"
    assert str(HostcallError(function, Status.UNIMPLEMENTED)) == f"{function}: UNIMPLEMENTED (12)"


def test_at_import_time_it_is_a_misuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a module is built there is no proxy, whatever the status: the error says where the call belongs."""
    monkeypatch.setattr(_abi, "building", True)
    with pytest.raises(MisuseError, match=r"proxy_log was called while the module is being built.*on_plugin_start"):
        raise_for_status("proxy_log", 12)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The picture at the top of the file has every class, with its number."""
    classes = [
        value for _, value in inspect.getmembers(exceptions, inspect.isclass) if value.__module__ == exceptions.__name__
    ]
    for cls in classes:
        assert cls.__name__ in (exceptions.__doc__ or "")
        assert cls.__doc__
    for status, cls in CLASSES.items():
        line = next(line for line in (exceptions.__doc__ or "").splitlines() if f" {cls.__name__} " in line)
        assert line.split(cls.__name__)[1].split(";")[0].strip() == str(status.value)


def test_without_a_proxy_host_calls_say_so() -> None:
    """Under a plain Python a host call explains that nobody is there to answer it."""
    with pytest.raises(RuntimeError, match="there is no proxy here to answer get_log_level"):
        pywasmfilter.hostcalls.get_log_level()
