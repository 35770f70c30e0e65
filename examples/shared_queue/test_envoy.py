"""The example sends headers and hashes from two filters to a service, through shared queues."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.process import EnvoyProcess

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

QUEUES = ("http_request_headers", "http_response_headers", "tcp_data_hashes")


def test_every_receiver_and_sender_says_what_it_is_for(envoy: EnvoyProcess) -> None:
    """Three queues are registered, each by a context and under an id of its own; both senders know their kind."""
    log = messages(envoy)

    patterns = [re.compile(rf'queue "{name}" registered as queueID=(\d+) by contextID=\d+') for name in QUEUES]
    ids = [{match[1] for line in log if (match := pattern.fullmatch(line))} for pattern in patterns]
    assert [len(queue_ids) for queue_ids in ids] == [1, 1, 1]
    assert len(set.union(*ids)) == 3
    assert any(re.fullmatch(r"contextID=\d+ is configured for http", line) for line in log)
    assert any(re.fullmatch(r"contextID=\d+ is configured for tcp", line) for line in log)


def test_headers_arrive_in_order(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """Each header of request and response is taken out of its queue as it was put in."""
    fetch(envoy, "/", listener="http", headers={"x-first": "1", "x-second": "2"})

    for last in ("x-request-id", "content-type"):  # sender and receiver log from different threads
        envoy.wait_for_log(f'enqueued data: {{"key": "{last}"', 10)
        envoy.wait_for_log(re.compile(rf'dequeued data from .*: {{"key": "{last}"'), 10)
    log = messages(envoy)
    sent = payloads(log, r"enqueued data: ")
    assert {'{"key": ":method","value": "GET"}', '{"key": "x-first","value": "1"}'} <= set(sent)
    assert payloads(log, r"\(contextID=\d+\) dequeued data from http_request_headers\(queueID=\d+\): ") == sent
    returned = payloads(log, r"\(contextID=\d+\) enqueued data: (?={)")
    assert '{"key": ":status","value": "200"}' in returned
    assert payloads(log, r"\(contextID=\d+\) dequeued data from http_response_headers\(queueID=\d+\): ") == returned


def test_hashes_of_tcp_data_arrive(envoy: EnvoyProcess) -> None:
    """What comes back through the TCP listener is hashed, piece by piece, and each hash is taken out of the queue."""
    with socket.create_connection(("127.0.0.1", envoy.listener_port("tcp")), timeout=30) as connection:
        connection.sendall(b"GET /ready HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"\nLIVE\n" in answer

    while answer:  # how much of it was a piece is known to the proxy only
        digests = {fnv1a_128(answer[:size]): size for size in range(1, len(answer) + 1)}
        seen = envoy.wait_for_log(re.compile("dequeued data from tcp_data_hashes.*: (" + "|".join(digests) + ")$"), 10)
        digest = seen.message.rpartition(": ")[2]
        envoy.wait_for_log(re.compile(rf"\(contextID=\d+\) enqueued data: {digest}$"), 10)
        answer = answer[digests[digest] :]


def test_without_a_receiver_the_traffic_goes_on(serve_example: ServeExample, fetch: Fetch) -> None:
    """Both listeners answer as ever; that the queues are not found is logged as an error."""
    envoy = serve_example(replace={"vm_id: receiver": "vm_id: somebody-else"})

    assert fetch(envoy, listener="http").body == b"example body\n"
    assert fetch(envoy, "/ready", listener="tcp").body == b"LIVE\n"
    for place in ("new_http_context", "new_tcp_context"):
        assert envoy.wait_for_log(f"uncaught exception in {place}", 10).level == "error"


def test_the_hash_is_fnv1a() -> None:
    """The hash that these tests compare with is the published one."""
    assert fnv1a_128(b"a") == "d228cb696f1a8caf78912b704e4a8964"


def fnv1a_128(data: bytes) -> str:
    prime, digest = (1 << 88) + (1 << 8) + 0x3B, 0x6C62272E07BB014262B821756295C58D
    for byte in data:
        digest = ((digest ^ byte) * prime) & ((1 << 128) - 1)
    return f"{digest:032x}"


def messages(envoy: EnvoyProcess) -> list[str]:
    return [line.message for line in envoy.wasm_log()]


def payloads(log: list[str], beginning: str) -> list[str]:
    return [line[match.end() :] for line in log if (match := re.match(beginning, line))]
