"""The example finds a word in a request's body as soon as its chunk has come."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_a_body_with_the_pattern_is_refused(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A 403 with a header and a body that names the first chunk; the log says the same."""
    body = b"This is a payload with the pattern word."
    before = len(envoy.wasm_log())

    answer = fetch(envoy, method="POST", body=body)

    assert (answer.status, answer.body) == (403, b"pattern found in chunk: 1")
    assert answer.headers["powered-by"] == "proxy-wasm-go-sdk"
    envoy.wait_for_log("local 403 response sent", 10)
    called, *rest = [line.message for line in envoy.wasm_log()[before:]]
    assert re.fullmatch(
        r"OnHttpRequestBody called. BodySize: 40, totalRequestBodyReadSize: 0, endOfStream: (true|false)", called
    )
    assert rest == ["read chunk size: 40", "pattern found in chunk: 1", "local 403 response sent"]


def test_the_answer_does_not_wait_for_the_end_of_the_body(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Four chunks, each sent when the one before has been read: the fourth has the pattern, and is the one named."""

    def chunks() -> Iterator[bytes]:
        for number in (1, 2, 3):
            chunk = f"chunk{number}{'.' * 1000 * number}".encode()
            yield chunk
            envoy.wait_for_log(f"read chunk size: {len(chunk)}", 10)
        yield b"chunk4 with pattern ..."
        envoy.wait_for_log("pattern found in chunk: 4", 10)

    answer = fetch(envoy, method="POST", body=chunks())

    assert (answer.status, answer.body) == (403, b"pattern found in chunk: 4")
    assert not [line for line in envoy.wasm_log() if line.level != "info"]


def test_a_body_without_the_pattern_goes_on(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The upstream, which is Envoy's admin interface, answers; the log says that nothing was found, and no error."""
    answer = fetch(envoy, "/ready", method="POST", body=b"This is a generic payload.")

    assert answer.status == 200
    envoy.wait_for_log("pattern not found", 10)
    assert not [line for line in envoy.wasm_log() if line.level != "info"]
