"""Typed configuration in a real Envoy, and in both bodies of the emulated host, which must say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler.errors import ToolError

from pywasmfilter import LogLevel
from pywasmfilter.testing import BODIES, Body, Host, Refused
from tests.e2e.client import request

if TYPE_CHECKING:
    from tests.e2e.conftest import EnvoyFactory, FilterBuilder

FILTER = Path(__file__).parent / "filters" / "typed_configuration.py"
GOOD = {
    "name": "somebody",
    "timeout": "250ms",
    "rules": [{"path": "^/a", "mode": "report", "children": [{"path": "b"}]}],
    "limit": 3.0,
    "labels": {"a b": 1},
    "tags": ["x"],
    "extra": [None, {"a": 1.5}],
}
SHOWN = (
    "{'name': 'somebody', 'timeout': datetime.timedelta(microseconds=250000), 'rules': ({'path': re.compile('^/a'), "
    "'mode': <Mode.REPORT: 'report'>, 'children': [{'path': re.compile('b'), 'mode': <Mode.ENFORCE: 'enforce'>, "
    "'children': []}]},), 'limit': 3, 'labels': {'a b': 1.0}, 'tags': frozenset({'x'}), 'extra': [None, {'a': 1.5}]}"
)
BAD: list[tuple[Any, str]] = [
    (
        {"name": 1, "rules": [{"path": "("}], "limit": "some", "lables": {}},
        """4 problems
  name: expected a string, got 1
  rules[0].path: expected a regular expression, got "(": missing ), unterminated subpattern at position 0
  limit: expected an integer or "none", got "some"
  lables: there is no such key; did you mean "labels"?""",
    ),
    (None, "name: is missing; expected a string"),
    ("{\n,", "not JSON: line 2, column 1: Expecting property name enclosed in double quotes"),
    ({"name": "nobody"}, "nobody is not a name"),
    ("[" * 10_000, "it is nested too deeply"),
]


def as_bytes(configuration: object) -> bytes:
    """As a proxy has it."""
    if configuration is None:
        return b""
    return (configuration if isinstance(configuration, str) else json.dumps(configuration)).encode()


@pytest.mark.parametrize("body", BODIES)
def test_a_good_configuration(body: Body) -> None:
    """Streams and plugins have it as an object, before `on_plugin_start`."""
    with Host(FILTER, body=body, plugin="http", configuration=GOOD) as host:
        assert host.request().headers["x-config"] == SHOWN
        host.start(plugin="plugin", configuration=GOOD)
        assert host.log == [(LogLevel.INFO, "started for somebody, 0.25 s")]
        assert host.plugins[1].request().headers["x-config"] == SHOWN
        host.start(plugin="tcp", configuration=GOOD).connect()
        assert host.messages[-1] == "connection for somebody"


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("configuration", "text"), BAD)
def test_a_bad_configuration(body: Body, configuration: object, text: str) -> None:
    """The plugin does not start; one record of the log says why."""
    with pytest.raises(Refused) as refused:
        Host(FILTER, body=body, plugin="plugin", configuration=as_bytes(configuration))
    assert str(refused.value) == f"the plugin does not start\n[error] plugin: bad configuration: {text}"


@pytest.mark.envoy
def test_a_good_configuration_in_envoy(envoy: EnvoyFactory, build_filter: FilterBuilder) -> None:
    """It is the same there."""
    module = build_filter("typed_configuration").path
    server = envoy(module, root_id="http", plugin_configuration=as_bytes(GOOD))
    assert request(server.port, "GET", "/").header("x-config") == [SHOWN.encode()]


@pytest.mark.envoy
@pytest.mark.parametrize(("configuration", "text"), BAD)
def test_a_bad_configuration_in_envoy(
    envoy: EnvoyFactory, build_filter: FilterBuilder, configuration: object, text: str
) -> None:
    """Envoy does not start, and its log says the same as that of the emulated host."""
    module = build_filter("typed_configuration").path
    with pytest.raises(ToolError) as refusal:
        envoy(module, root_id="plugin", plugin_configuration=as_bytes(configuration))
    log = str(refusal.value)
    assert f"plugin: bad configuration: {text}" in log
    assert len(re.findall("bad configuration", log)) == 1
    assert "Traceback" not in log
