"""The example answers with the metadata that a Lua filter has set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy


def test_metadata_is_the_answer(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """What the client sent comes back in upper case, in a header and in the body."""
    answer = fetch(envoy, headers={"x-custom-metadata": "hello there"})

    assert (answer.status, answer.body) == (200, b'Custom response with Envoy metadata: "HELLO THERE"\n')
    assert answer.headers["powered-by"] == "proxy-wasm"
    assert answer.headers["uppercased-metadata"] == "HELLO THERE"


def test_without_metadata_the_request_goes_on(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The route's own answer, without the filter's headers."""
    answer = fetch(envoy)

    assert (answer.status, answer.body) == (200, b"send x-custom-metadata to see it again\n")
    assert "powered-by" not in answer.headers
