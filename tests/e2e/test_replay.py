"""What was recorded in a real Envoy is replayed by the emulated host, in both bodies, call by call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from pywasmfilter_compiler.envoy.run import serve
from pywasmfilter_compiler.recording import Recording

from pywasmfilter.testing import BODIES, Body
from pywasmfilter.testing.recording import Diverged, replay
from tests.e2e.client import request
from tests.e2e.conftest import FILTERS, FilterBuilder

pytestmark = pytest.mark.envoy

PATHS = ("/pass", "/deny", "/deny-response", "/later", "/deny-later", "/broken")
OPTIONS: Final[dict[str, Any]] = {
    "vm_configuration": b"of the VM",
    "plugin_configuration": b"of the plugin",
    "environment": {"COLOUR": "blue"},
}


@pytest.fixture(scope="module")
def session(build_filter: FilterBuilder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session with headers, bodies, local responses, ticks, an exception and a configuration."""
    file = tmp_path_factory.mktemp("session") / "session.jsonl"
    module = file.with_suffix(".wasm")
    with Recording(file, build_filter("everywhere").path) as recording:
        module.write_bytes(recording.module)
        use(module, recording.take)
    return file


def use(module: Path, take: Callable[[bytes], bool]) -> None:
    with serve(module, take=take, **OPTIONS) as server:
        for path in PATHS:
            request(server.port, "POST", path, [("x-test-twice", "1"), ("x-test-twice", "2")], b"hello")
            server.envoy.wait_for_log(f": {path} is done", 10)


@pytest.mark.parametrize("body", BODIES)
def test_a_session_is_replayed(session: Path, body: Body) -> None:
    """Every host call is what it was in Envoy, in each of its VMs; so is every line of the module's log.

    Plain Python's tracebacks have the paths of this machine.
    """
    replay(session, FILTERS / "everywhere.py", body=body, logs=body == "wasm")


@pytest.mark.parametrize("body", BODIES)
def test_another_filter_diverges(session: Path, body: Body) -> None:
    """A filter that does something else than the recorded one is found out."""
    with pytest.raises(Diverged, match=r"^VM 0, callback \d+, "):
        replay(session, FILTERS / "random_numbers.py", body=body)
