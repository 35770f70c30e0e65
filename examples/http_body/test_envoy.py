"""The example changes bodies on their way to an upstream that is the same module and echoes them, in a real Envoy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.log import WasmLogLine
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

BODY = b"[original body]"


@pytest.mark.parametrize("mode", ["request", "response"])
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("append", b"[original body][this is appended body]"),
        ("prepend", b"[this is prepended body][original body]"),
        ("replace", b"[this is replaced body]"),
        ("invalid", b"[this is replaced body]"),
        ("", b"[this is replaced body]"),
    ],
)
def test_body_is_changed(envoy: EnvoyProcess, fetch: Fetch, mode: str, operation: str, expected: bytes) -> None:
    """The body of the request or of the response is changed as the headers say, and logged as it was."""
    before = logged(envoy, mode)
    headers = {"buffer-replace-at": mode, "buffer-operation": operation}
    answer = fetch(envoy, "/anything", method="PUT", headers=headers, body=BODY)
    assert (answer.status, answer.body) == (200, expected)
    assert answer.headers["content-length"] in {None, str(len(expected))}

    envoy.wait_for_log(f"original {mode} body: [original body]", 10, count=before + 1)
    assert logged(envoy, mode) == before + 1


def test_request_is_the_default(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Without the example's headers it is the request's body that is replaced."""
    assert fetch(envoy, method="PUT", body=b"anything").body == b"[this is replaced body]"


@pytest.mark.parametrize("mode", ["request", "response"])
def test_whole_body_is_changed_once(envoy: EnvoyProcess, fetch: Fetch, mode: str) -> None:
    """A body that comes in parts is held back until all of it is there, and then changed as one."""
    parts = [bytes([65 + number]) * 40_000 for number in range(5)]
    headers = {"buffer-replace-at": mode, "buffer-operation": "append", "content-length": "200000"}
    answer = fetch(envoy, method="PUT", headers=headers, body=iter(parts))
    assert answer.body == b"".join(parts) + b"[this is appended body]"


@pytest.mark.parametrize("mode", ["request", "response"])
def test_request_without_a_length_is_refused(envoy: EnvoyProcess, fetch: Fetch, mode: str) -> None:
    """A request that announces no body gets a 400, which is not changed itself."""
    answer = fetch(envoy, headers={"buffer-replace-at": mode})
    assert (answer.status, answer.body) == (400, b"content must be provided")


def test_echo_answers_with_all_frames(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """With the configuration `echo` the request's body comes back whole, without the upstream being asked."""
    answer = fetch(envoy, method="POST", body=iter([b"frame1...", b"frame2...", b"frame3..."]), listener="echo")
    assert (answer.status, answer.body) == (200, b"frame1...frame2...frame3...")


def logged(envoy: EnvoyProcess, mode: str) -> int:
    return envoy.wasm_log().count(WasmLogLine("info", f"original {mode} body: [original body]"))
