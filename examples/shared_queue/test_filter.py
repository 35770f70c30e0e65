"""Senders put headers and hashes into shared queues, and receivers take them out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pywasmfilter import LogLevel
from pywasmfilter.testing import Host, Plugin, Refused, Response

RECEIVER = Path(__file__).with_name("receiver")
SENDER = Path(__file__).with_name("sender")
QUEUES = ("http_request_headers", "http_response_headers", "tcp_data_hashes")

pytestmark = pytest.mark.filter("receiver", vm_id="receiver", configuration=QUEUES[0])


@pytest.fixture(autouse=True)
def receivers(host: Host) -> None:
    """The host has the receiver of one queue, and here come those of the other two, in the same VM."""
    for queue in QUEUES[1:]:
        host.start(RECEIVER, vm_id="receiver", configuration=queue)


@pytest.fixture
def http_sender(host: Host) -> Plugin:
    return host.start(SENDER, vm_id="sender", configuration="http")


@pytest.fixture
def tcp_sender(host: Host) -> Plugin:
    return host.start(SENDER, vm_id="sender", configuration="tcp")


def payloads(host: Host, pattern: str) -> list[str]:
    """What follows the pattern in the messages that begin with it."""
    return [line[match.end() :] for line in host.messages if (match := re.match(pattern, line))]


def test_every_receiver_registers_its_queue(host: Host) -> None:
    """Each has a context and a queue of its own, and says so."""
    expected = enumerate(QUEUES, start=1)
    assert host.messages == [f'queue "{queue}" registered as queueID={n} by contextID={n}' for n, queue in expected]


@pytest.mark.usefixtures("http_sender", "tcp_sender")
def test_every_sender_says_what_it_is_for(host: Host) -> None:
    """The senders share a VM, which is not the receivers'."""
    assert host.messages[3:] == ["contextID=1 is configured for http", "contextID=2 is configured for tcp"]


def test_the_requests_headers_arrive_in_order(host: Host, http_sender: Plugin) -> None:
    """Each is taken out of its queue as it was put in."""
    http_sender.request("GET", "/", {"x-first": "1", "x-second": "2"})
    sent = payloads(host, "enqueued data: ")
    assert '{"key": ":method","value": "GET"}' in sent
    assert sent.index('{"key": "x-first","value": "1"}') < sent.index('{"key": "x-second","value": "2"}')
    assert payloads(host, r"\(contextID=1\) dequeued data from http_request_headers\(queueID=1\): ") == sent


def test_the_responses_headers_arrive_in_order(host: Host, http_sender: Plugin) -> None:
    """They have a queue of their own."""
    http_sender.request(upstream=Response(200, {"x-first": "1"}))
    sent = payloads(host, r"\(contextID=2\) enqueued data: ")
    assert sent[:2] == ['{"key": ":status","value": "200"}', '{"key": "x-first","value": "1"}']
    assert payloads(host, r"\(contextID=2\) dequeued data from http_response_headers\(queueID=2\): ") == sent


def test_hashes_of_tcp_data_arrive(host: Host, tcp_sender: Plugin) -> None:
    """What the upstream sends is hashed with FNV-1a, piece by piece; what the client sends is not."""
    connection = tcp_sender.connect()
    connection.from_client("hello")
    connection.from_upstream("a")
    connection.from_upstream("foobar")
    hashes = ["d228cb696f1a8caf78912b704e4a8964", "343e1662793c64bf6f0d3597ba446f18"]  # as published
    assert payloads(host, r"\(contextID=2\) enqueued data: ") == hashes
    assert payloads(host, r"\(contextID=3\) dequeued data from tcp_data_hashes\(queueID=3\): ") == hashes
    assert connection.to_client == b"afoobar"


def test_an_item_that_another_took_is_no_error(host: Host) -> None:
    """A receiver that finds its queue empty says nothing."""
    before = len(host.log)
    host.plugin.callback("proxy_on_queue_ready", 1)
    assert host.log[before:] == []


def test_without_a_receiver_http_goes_on(new_host: Callable[..., Host]) -> None:
    """Where the queues are not found, that is logged as an error, and requests are answered as ever."""
    host = new_host("sender", vm_id="sender", configuration="http")
    assert host.request().status == 200
    assert "uncaught exception in new_http_context" in host.log[1].message
    assert host.log[1].level == LogLevel.ERROR


def test_without_a_receiver_tcp_goes_on(new_host: Callable[..., Host]) -> None:
    """The same for connections, whose data passes."""
    host = new_host("sender", vm_id="sender", configuration="tcp")
    connection = host.connect()
    connection.from_upstream("data")
    assert connection.to_client == b"data"
    assert "uncaught exception in new_tcp_context" in host.log[1].message
    assert host.log[1].level == LogLevel.ERROR


@pytest.mark.parametrize("folder", ["receiver", "sender"])
def test_a_configuration_is_needed(new_host: Callable[..., Host], folder: str) -> None:
    """Neither end starts without one, and says what it should be."""
    with pytest.raises(Refused, match="ValueError: the configuration is "):
        new_host(folder, configuration=None)
