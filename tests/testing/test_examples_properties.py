"""What holds for the example filters whatever traffic comes, and that their two bodies do the same with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st

from pywasmfilter.testing import BODIES, Host, HttpStream, NewHost, Request, Response
from pywasmfilter.testing.messages import as_text
from pywasmfilter.testing.strategies import (
    Step,
    bodies,
    chunked,
    filter_settings,
    headers,
    interleavings,
    requests,
    responses,
    run,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
REQUIRED = {"requiredKeys": ["id", "token"]}
EXPECTED: dict[str, Callable[[bytes], bytes]] = {
    "append": lambda body: body + b"[this is appended body]",
    "prepend": lambda body: b"[this is prepended body]" + body,
    "replace": lambda _: b"[this is replaced body]",
}
OPERATIONS = st.sampled_from(sorted(EXPECTED))

# To shrink what happens to several streams takes minutes.
quick = settings(filter_settings, max_examples=25, derandomize=True, phases=set(Phase) - {Phase.shrink})


def example(name: str, **options: Any) -> pytest.MarkDecorator:
    """The mark of a test of an example."""
    return pytest.mark.filter(EXAMPLES / name / "filter.py", **options)


@example("http_body")
@given(operation=OPERATIONS, chunks=chunked(bodies()))
@quick
def test_a_body_is_changed_however_it_arrives(new_host: NewHost, operation: str, chunks: list[bytes]) -> None:
    """The upstream gets the changed body, in whatever pieces the client sends it."""
    pairs = {"content-length": str(len(b"".join(chunks))), "buffer-operation": operation}
    stream = new_host().request("POST", "/", pairs, chunks)
    assert stream.sent is not None
    assert stream.sent.body == EXPECTED[operation](b"".join(chunks))


@example("http_body")
@given(operation=OPERATIONS, response=responses(status=200, body=bodies()))
@quick
def test_a_response_is_changed_however_it_arrives(new_host: NewHost, operation: str, response: Response) -> None:
    """The client gets the changed body, without the length that the old one had."""
    pairs = {"content-length": "0", "buffer-operation": operation, "buffer-replace-at": "response"}
    stream = new_host(upstream=response).request("GET", "/", pairs)
    assert stream.body == EXPECTED[operation](response.body)
    assert "content-length" not in stream.headers


@example("body_redaction")
@given(before=bodies(max_size=20), after=bodies(max_size=20), data=st.data())
@quick
def test_no_secret_gets_out(new_host: NewHost, before: bytes, after: bytes, data: st.DataObject) -> None:
    """The word never reaches the client, wherever the upstream's pieces split it."""
    chunks = data.draw(chunked(before + b"secret" + after))
    trailers = data.draw(st.sampled_from([{}, {"x": "y"}]))
    assert b"secret" not in new_host(upstream=Response(body=chunks, trailers=trailers)).request().body


@example("json_validation", configuration=REQUIRED)
@given(sent=requests(headers=[("content-type", "application/json")], body=bodies()))
@quick
def test_no_invalid_body_passes(new_host: NewHost, sent: Request) -> None:
    """What reaches the upstream is JSON with the keys, or has no body; what is not refused is as the client sent it."""
    stream = new_host().send(sent)
    if stream.status != 403:
        assert stream.sent is not None
        assert stream.sent.body == sent.body
        assert not sent.body or {"id", "token"} <= json.loads(as_text(sent.body)).keys()


@example("json_validation", configuration=REQUIRED)
@given(data=st.data(), values=st.fixed_dictionaries({"id": st.text(), "token": st.integers()}))
@quick
def test_every_valid_body_passes(new_host: NewHost, data: st.DataObject, values: dict[str, Any]) -> None:
    """JSON with the keys passes unchanged, in whatever pieces it arrives."""
    body = json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass")
    stream = new_host().send(
        data.draw(requests(method="POST", headers=[("content-type", "application/json")], body=body))
    )
    assert stream.sent is not None
    assert stream.sent.body == body


@example("http_headers", configuration={"header": "x-own", "value": "of the configuration"})
@given(sent=requests(), response=responses())
@quick
def test_headers_are_added_to_all_traffic(new_host: NewHost, sent: Request, response: Response) -> None:
    """Each header of the client and of the upstream passes, beside those that the filter adds."""
    stream = new_host(upstream=response).send(sent)
    assert stream.sent is not None
    assert stream.sent.headers.get_all("test") == ["best"]
    assert stream.headers.get_all("x-own")[-1] == "of the configuration"
    for received, passed in (sent, stream.sent), (response, stream.response):
        for name in set(received.headers.keys()) - {"test"}:
            # Several values of a header may have become one line.
            assert ",".join(passed.headers.get_all(name)) == ",".join(received.headers.get_all(name))


# Any traffic, for all of them

ALL = [
    "add_request_header",
    "add_response_header",
    "body_redaction",
    "envoy_filter_metadata",
    "http_auth_random",
    "http_body",
    "http_body_chunk",
    "http_headers",
    "json_validation",
    "metrics",
    "multiple_dispatches",
    "postpone_requests",
    "properties",
    "shared_data",
    "vm_plugin_configuration",
]
WANTED = headers(
    st.sampled_from(["content-type", "content-length", "buffer-operation", "buffer-replace-at", "x-key"]),
    st.sampled_from(["application/json", "7", "append", "prepend", "", "response", "\udce4"]),
)


def outcome(host: Host, streams: list[HttpStream]) -> list[Any]:
    """All that other people see of what happened: clients, upstreams, other services, and who reads log and metrics."""
    messages = [message for stream in streams for message in (stream.sent, stream.partial_response)]
    return [
        host.log,
        [message and (message.headers.raw, message.body, message.trailers.raw) for message in messages],
        [(stream.ended, stream.reset, stream.paused) for stream in streams],
        [(call.cluster, call.request.headers.raw, call.request.body) for call in host.clusters.http_calls],
        host.metrics,
        host.shared_data,
    ]


@pytest.mark.parametrize("name", ALL)
@given(steps=interleavings(requests=requests() | requests(headers=WANTED)))
@quick
def test_no_order_of_events_breaks_an_example(name: str, steps: list[Step]) -> None:
    """However streams are interleaved and calls answered, nothing is raised, and both bodies do the same."""
    outcomes = []
    for body in BODIES:
        with Host(EXAMPLES / name / "filter.py", body=body) as host:
            host.clock.nanoseconds = 1_700_000_000_000_000_000
            host.clusters["httpbin"] = None
            streams = run(host, steps)
            assert not host.logged("Traceback")
            outcomes.append(outcome(host, streams))
    assert outcomes[0] == outcomes[1]
