"""The filter answers with the metadata that another filter of the chain has left."""

from __future__ import annotations

from pywasmfilter.testing import Host


def test_metadata_is_the_answer(host: Host) -> None:
    """What the Lua filter has put there comes back in a header and in the body; the upstream is not asked."""
    metadata = {"envoy.filters.http.lua": {"uppercased-custom-metadata": "HELLO THERE"}}
    host.properties["metadata.filter_metadata"] = metadata
    stream = host.request()
    assert (stream.status, stream.text) == (200, 'Custom response with Envoy metadata: "HELLO THERE"\n')
    assert stream.headers["powered-by"] == "proxy-wasm"
    assert stream.headers["uppercased-metadata"] == "HELLO THERE"
    assert stream.sent is None


def test_without_metadata_the_request_goes_on(host: Host) -> None:
    """The upstream answers, and the filter adds nothing."""
    stream = host.request()
    assert stream.sent
    assert "powered-by" not in stream.headers


def test_metadata_of_other_filters_does_not_matter(host: Host) -> None:
    """The same name under another filter's is not the filter's concern."""
    host.properties["metadata.filter_metadata"] = {"envoy.lb": {"uppercased-custom-metadata": "HELLO"}}
    assert host.request().sent
