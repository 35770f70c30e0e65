"""The ext_proc server: does a job for Envoy, which calls it over gRPC. A process of its own, started by `ext_proc`.

    python ext_proc_server.py JOB PORT-OF-THE-SERVICE

It prints its port. It is gRPC's asyncio server: that of threads takes more CPU time for the same.
"""
# ruff: noqa: T201  # the port

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator

import grpc.aio
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.service.ext_proc.v3 import external_processor_pb2 as messages
from envoy.service.ext_proc.v3.external_processor_pb2_grpc import (
    ExternalProcessorServicer,
    add_ExternalProcessorServicer_to_server,
)
from envoy.type.v3.http_status_pb2 import HttpStatus

NAMES = [f"x-tag-{number}" for number in range(1, 21)]
ORDER = re.compile(r"/api/v[0-9]+/users/([0-9a-f-]+)/orders/([0-9]+)")
REQUIRED = {"id", "token", "user"}


def main() -> None:
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))


async def serve(job: str, service: int) -> None:
    server = grpc.aio.server()
    add_ExternalProcessorServicer_to_server(Processor(job, Service(service)), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


class Service:
    """Asks the service, over connections that are kept."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def status(self) -> str:
        """The status that it answers with."""
        connection = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = connection
        writer.write(b"GET /check HTTP/1.1\r\nhost: service\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
        self._idle.append(connection)
        return head[9:12].decode()


class Processor(ExternalProcessorServicer):  # type: ignore[misc]  # it has no types
    """One stream for each request of Envoy's, with a message for each event that it was configured with."""

    def __init__(self, job: str, service: Service) -> None:
        self._job = job
        self._service = service

    async def Process(  # noqa: N802  # its name
        self, requests: AsyncIterator[messages.ProcessingRequest], _context: object
    ) -> AsyncIterator[messages.ProcessingResponse]:
        async for request in requests:
            if request.HasField("request_body"):
                yield check(request.request_body.body)
            elif request.HasField("response_headers"):
                yield messages.ProcessingResponse(response_headers=with_header("x-bench", "yes"))
            else:
                changes = await self._changes(request.request_headers)
                yield messages.ProcessingResponse(request_headers=changes)

    async def _changes(self, event: messages.HttpHeaders) -> messages.HeadersResponse:
        """What becomes of a request's headers."""
        if self._job == "call":
            return with_header("x-bench-status", await self._service.status())
        headers = {header.key: header.raw_value.decode() for header in event.headers.headers}
        if self._job == "headers":
            return with_header("x-bench-path", headers[":path"])
        length = 0
        for name in NAMES:
            length += len(headers.get(name, ""))
        match = ORDER.fullmatch(headers[":path"])
        return with_header("x-bench-match", f"{match[2]}/{length}") if match else messages.HeadersResponse()


def with_header(name: str, value: str) -> messages.HeadersResponse:
    """The answer that adds a header."""
    option = HeaderValueOption(header=HeaderValue(key=name, raw_value=value.encode()))
    mutation = messages.HeaderMutation(set_headers=[option])
    return messages.HeadersResponse(response=messages.CommonResponse(header_mutation=mutation))


def check(body: bytes) -> messages.ProcessingResponse:
    """Let a body through, or refuse it."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.keys() >= REQUIRED:
        return messages.ProcessingResponse(request_body=messages.BodyResponse())
    answer = messages.ImmediateResponse(status=HttpStatus(code=403), body=b"invalid body\n")
    return messages.ProcessingResponse(immediate_response=answer)


if __name__ == "__main__":
    main()
