"""The filter lets a client send so much and no more."""

from __future__ import annotations

import pytest

from pywasmfilter.testing import Host, NewHost, Refused

REPORTS = {
    "default": {"burst": 2},
    "rules": [{"match": {"path": "/reports/*"}, "requests_per_second": 0.5, "burst": 1}],
}


def statuses(host: Host, number: int, path: str = "/", **options: object) -> list[int]:
    return [host.request("GET", path, **options).status for _ in range(number)]  # type: ignore[arg-type]


@pytest.mark.filter(configuration={"default": {"requests_per_second": 2, "burst": 3}})
def test_a_burst_passes_and_no_more(host: Host) -> None:
    """A client that sends more than its burst gets 429 and is told how long to wait, after which it may go on."""
    assert statuses(host, 3) == [200] * 3
    refused = host.request()
    assert (refused.status, refused.headers["retry-after"], refused.sent) == (429, "1", None)
    host.advance(1.0)
    assert statuses(host, 3) == [200, 200, 429]


@pytest.mark.filter(configuration=REPORTS)
def test_other_limits_for_other_paths(host: Host) -> None:
    """A rule's requests have buckets of their own, whatever the spelling of their path; an odd one is refused."""
    paths = ("/reports/1", "/reports/2", "/%72eports/3", "/x/../reports/4")
    assert [host.request("GET", path).status for path in paths] == [200, 429, 429, 400]
    assert statuses(host, 3) == [200, 200, 429]


@pytest.mark.filter(configuration={"client": "header", "default": {"burst": 1, "requests_per_second": 0.001}})
def test_clients_by_header(host: Host) -> None:
    """Each value of the header has a bucket, and so have all requests without it together."""
    keys = ["a", "a", "b", None, None]
    got = [host.request(headers={"x-api-key": key} if key else {}).status for key in keys]
    assert got == [200, 429, 200, 200, 429]


@pytest.mark.filter(configuration={"default": {"burst": 1, "requests_per_second": 0.001}})
def test_clients_by_address(host: Host) -> None:
    """The port is not part of a client."""
    got = []
    for address in ("10.0.0.1:1", "10.0.0.1:2", "[::1]:1", "[::1]:2"):
        host.properties["source.address"] = address
        got.append(host.request().status)
    assert got == [200, 429, 200, 429]
    assert host.metrics["rate_limited"].value == 2


@pytest.mark.filter(configuration={"default": {"burst": 1, "requests_per_second": 0.001}})
def test_a_changed_limit_begins_anew(host: Host) -> None:
    """What was counted for another limit does not count, and for the same one it does."""
    assert statuses(host, 2) == [200, 429]
    for limit, expected in (
        ({"burst": 1, "requests_per_second": 0.001}, [429, 429]),
        ({"burst": 2, "requests_per_second": 0.001}, [200, 200, 429]),
        ({"burst": 1, "requests_per_second": 0.002}, [200, 429]),
    ):
        plugin = host.start(configuration={"default": limit})
        assert [plugin.request().status for _ in expected] == expected


@pytest.mark.filter(configuration={"scope": "worker", "default": {"burst": 1, "requests_per_second": 0.001}})
def test_a_worker_for_itself(host: Host) -> None:
    """Buckets of a worker do not depend on shared data."""
    assert statuses(host, 2) == [200, 429]


def test_a_limit_that_is_none(new_host: NewHost) -> None:
    """A burst of nothing is refused when the plugin starts."""
    with pytest.raises(Refused, match="default: a burst is 1 token or more"):
        new_host(configuration={"default": {"burst": 0}})
