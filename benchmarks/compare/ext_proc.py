"""The process of the ext_proc server, from start to stop."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SERVER: Final = Path(__file__).with_name("ext_proc_server.py")


class ExtProcServer:
    """A server for a job, whose callouts go to the service at a port, for as long as its `with` block lasts."""

    def __init__(self, job: str, service_port: int) -> None:
        start = time.perf_counter()
        self._process = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, str(SERVER), job, str(service_port)], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None  # noqa: S101  # asked for
        line = self._process.stdout.readline()
        if not line:
            sys.exit("the ext_proc server ended before it had a port")
        self.port = int(line)
        self.ready_seconds = time.perf_counter() - start

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None  # noqa: S101  # asked for
        self._process.stdout.close()
