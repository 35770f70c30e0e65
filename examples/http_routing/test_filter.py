"""The filter sends requests to one of two upstreams, by the authority."""

from __future__ import annotations

import re

import pytest

from pywasmfilter.testing import Host, HttpStream


def authority(stream: HttpStream) -> str:
    """What Envoy chooses the route by."""
    assert stream.sent
    return stream.sent.authority


@pytest.mark.filter(configuration=b"\2 is even")
def test_an_even_number_is_for_the_canary(host: Host) -> None:
    """The first byte of a configuration stands in for the number."""
    assert authority(host.request(authority="my-host.com")) == "my-host.com-canary"
    assert host.messages == ["value: 2\n"]


@pytest.mark.filter(configuration=b"\1 is odd")
def test_an_odd_number_changes_nothing(host: Host) -> None:
    """The request goes where it would have gone."""
    assert authority(host.request(authority="my-host.com")) == "my-host.com"
    assert host.messages == ["value: 1\n"]


def test_without_a_configuration_chance_decides(host: Host) -> None:
    """Each request gets a number of 32 bits, which is logged; both kinds come up."""
    authorities = [authority(host.request()) for _ in range(64)]  # all of one kind: once in 2^63 runs
    numbers = [int(match[1]) for line in host.messages if (match := re.fullmatch(r"value: (\d+)\n", line))]
    assert authorities == ["test.local" if number % 2 else "test.local-canary" for number in numbers]
    assert len(set(authorities)) == 2
    assert max(numbers) < 2**32
