"""The example redacts responses in a real Envoy; the upstream sends back what it received, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch

pytestmark = pytest.mark.envoy

FILLING = b"nothing to see here, " * 5000  # more than a proxy reads at once


def test_json(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Whatever it looks like."""
    answer = fetch(envoy, "/people/json")
    assert answer.status == 200
    assert json.loads(answer.body) == {"mail": "[email]", "card": "[card]"}
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize("body", [b"ada@example.com", FILLING + b"ada@example.com " + FILLING])
def test_large_bodies(envoy: EnvoyProcess, fetch: Fetch, body: bytes) -> None:
    """Wherever it stands. The upstream is asked not to compress."""
    headers = {"accept-encoding": "gzip", "range": "bytes=0-99"}
    answer = fetch(envoy, method="POST", headers=headers, body=body)
    received = json.loads(answer.body)
    assert received["body"] == body.decode().replace("ada@example.com", "[email]")
    assert ["accept-encoding", "identity"] in received["headers"]
    assert "range" not in dict(received["headers"])


def test_nothing_to_redact(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Stays as it is."""
    answer = fetch(envoy, method="POST", body=FILLING)
    assert json.loads(answer.body)["body"] == FILLING.decode()


def test_events(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A stream is redacted line by line, the last one too."""
    answer = fetch(envoy, "/people/events")
    assert (answer.status, answer.body) == (200, b"data: [staff] has [phone]\n\ndata: [iban]")


@pytest.mark.parametrize("path", ["/people/encoded", "/people/utf16"])
def test_what_cannot_be_looked_into_does_not_pass(envoy: EnvoyProcess, fetch: Fetch, path: str) -> None:
    """The client gets a 502, also if that is known only when the body is there."""
    answer = fetch(envoy, path)
    assert (answer.status, answer.body) == (502, b"The response cannot be shown\n")


def test_too_large(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """A body that the proxy has no room for is an error, too."""
    answer = fetch(envoy, method="POST", body=b"ada@example.com, " * 70_000)
    assert answer.status in {500, 502}
    assert b"ada" not in answer.body
