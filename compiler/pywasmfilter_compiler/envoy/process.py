"""One Envoy process, from start to stop.

    with EnvoyProcess(bootstrap(...)) as envoy:     # started and ready, or ToolError with Envoy's own reasons
        envoy.listener_port("pyfilter")             # the port that was chosen
        envoy.wait_for_log("wasm log: hello", 5)    # seconds
        envoy.admin("/stats")
                                                    # stopped, its temporary directory gone

The log is read by a thread: what Envoy has logged may be seen a moment later, which `wait_for_log` waits for; once the
block has ended the log is complete. Envoy runs without hot restart, so several can run side by side and none leaves
anything in /dev/shm.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pywasmfilter_compiler.envoy.binary import envoy_path
from pywasmfilter_compiler.envoy.log import EnvoyLog, LogEntry, WasmLogLine, wasm_line
from pywasmfilter_compiler.errors import ToolError

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Mapping
    from types import TracebackType

_POLL: Final = 0.02  # seconds between two looks at something that cannot be waited for
_STOP: Final = 5.0  # seconds between asking Envoy to stop and killing it
_ADMIN: Final = 10.0  # seconds for an answer of the admin interface, once Envoy is ready
_REASONS: Final = 40  # entries of Envoy's log in an error


class EnvoyProcess:
    """A context manager around one Envoy. Times are seconds.

    `concurrency` is the number of worker threads. `log_level` is for all of Envoy, `component_log_level` for single
    parts of it (`wasm:debug,http:trace`). Entering raises ToolError when Envoy ends, or is not ready after
    `ready_timeout`; the error then holds what Envoy logged as errors. `log` is where its log goes.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        concurrency: int = 1,
        log_level: str = "warning",
        component_log_level: str = "wasm:info",
        ready_timeout: float = 60.0,
        executable: Path | None = None,
        log: EnvoyLog | None = None,
    ) -> None:
        self._config = config
        self._options = ["--concurrency", str(concurrency), "--log-level", log_level]
        if component_log_level:
            self._options += ["--component-log-level", component_log_level]
        self._ready_timeout = ready_timeout
        self._executable = executable
        self._log = EnvoyLog() if log is None else log
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._admin_address: tuple[str, int] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
            self._wait_ready(time.monotonic() + self._ready_timeout)
        except BaseException:  # an interrupt as well: nothing may stay behind
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of Envoy."""
        return self._started().pid

    @property
    def running(self) -> bool:
        """Whether Envoy has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_text(self) -> str:
        """Envoy's log so far, one entry after the other with newlines as they were logged."""
        return "\n".join(str(entry) for entry in self._log.entries())

    def wasm_log(self) -> list[WasmLogLine]:
        """What modules have logged so far, in order, from all of Envoy's threads."""
        return [line for entry in self._log.entries() if (line := wasm_line(entry)) is not None]

    def follow_log(self) -> Iterator[LogEntry]:
        """Every entry as it comes, from the first on, until Envoy ends."""
        return self._log.follow()

    def wait_for_log(self, pattern: str | re.Pattern[str], timeout: float, count: int = 1) -> LogEntry:
        """The `count`-th entry that holds `pattern`, a substring or a regular expression.

        Raises ToolError, with the log, when Envoy ends or `timeout` seconds pass without it.
        """
        found = self._log.wait_for(pattern, timeout, count)
        if found is None:
            wanted = pattern if isinstance(pattern, str) else pattern.pattern
            raise ToolError(f"Envoy's log does not hold {wanted!r} {count} time(s) after {timeout} s:\n{self.log_text}")
        return found

    def admin(self, path: str, method: str = "GET") -> str:
        """The answer of the admin interface; raises ToolError when there is none, or it is not a 200."""
        try:
            status, text = self._ask_admin(method, path, _ADMIN)
        except (OSError, http.client.HTTPException) as error:
            raise ToolError(f"Envoy's admin interface did not answer {method} {path}: {error!r}") from error
        if status != http.client.OK:
            raise ToolError(f"Envoy's admin interface answered {method} {path} with {status}: {text.strip()}")
        return text

    def listener_port(self, name: str) -> int:
        """The TCP port a listener is bound to; raises LookupError when there is no listener of this name."""
        for listener in json.loads(self.admin("/listeners?format=json")).get("listener_statuses", []):
            if listener["name"] == name:
                return int(listener["local_address"]["socket_address"]["port_value"])
        raise LookupError(f"Envoy has no listener named {name!r}")

    def stop(self) -> None:
        """End Envoy, by force if it does not end when asked, and remove its files. May be called more than once."""
        try:
            if self._process is not None:
                _end(self._process)
            if self._reader is not None:
                self._reader.join(_STOP)  # not for ever: a wrapper script may have left a child with our pipe
        finally:
            if self._directory is not None:
                self._directory.cleanup()

    def _start(self) -> None:
        executable = self._executable or envoy_path()
        self._directory = tempfile.TemporaryDirectory(prefix="pyfilter-envoy-")
        config = Path(self._directory.name, "bootstrap.json")
        config.write_text(json.dumps(self._config), encoding="utf-8")
        command = [
            str(executable),
            *("--config-path", str(config)),
            *("--admin-address-path", str(self._admin_file)),
            "--disable-hot-restart",
            "--log-format-escaped",
            *self._options,
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the user's own Envoy
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise ToolError(f"{executable} does not run: {error}") from error
        self._reader = threading.Thread(target=self._read_log, name="envoy log", daemon=True)
        self._reader.start()

    @property
    def _admin_file(self) -> Path:
        assert self._directory is not None  # noqa: S101  # made before Envoy is started
        return Path(self._directory.name, "admin-address")

    def _read_log(self) -> None:
        output = self._started().stdout
        assert output is not None  # noqa: S101  # asked for in `_start`
        try:
            with output:
                for line in output:
                    self._log.feed(line)
        finally:
            self._log.close()

    def _wait_ready(self, deadline: float) -> None:
        """Until the admin interface says LIVE and every worker runs.

        Static modules are loaded and configured before the first; each worker's own instances before the second.
        """
        while not self._is_ready(deadline):
            if self._log.wait_closed(_POLL):
                code = self._started().wait()
                raise ToolError(f"Envoy ended with exit code {code} before it was ready:\n{self._reasons()}")
            if time.monotonic() > deadline:
                raise ToolError(f"Envoy was not ready after {self._ready_timeout} s:\n{self._reasons()}")

    def _is_ready(self, deadline: float) -> bool:
        """One look. Envoy answers only once its configuration is loaded, so the question may wait until then."""
        left = max(_POLL, deadline - time.monotonic())
        try:
            if self._admin_address is None:
                self._admin_address = _read_address(self._admin_file)
            if self._admin_address is None or self._ask_admin("GET", "/ready", left) != (200, "LIVE\n"):
                return False
            return "workers_started: 1" in self._ask_admin("GET", "/stats?filter=workers_started", left)[1]
        except (OSError, http.client.HTTPException):  # ended, or not listening yet
            return False

    def _ask_admin(self, method: str, path: str, timeout: float) -> tuple[int, str]:
        if self._admin_address is None:
            raise OSError("Envoy has not opened its admin interface")
        connection = http.client.HTTPConnection(*self._admin_address, timeout=timeout)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode("utf-8", "replace")
        finally:
            connection.close()

    def _reasons(self) -> str:
        """Envoy's own errors, each once; the end of its log when it named none."""
        entries = self._log.entries()
        errors = dict.fromkeys(str(entry) for entry in entries if entry.level in {"error", "critical"})
        shown = list(errors) or [str(entry) for entry in entries]
        return "\n".join(shown[-_REASONS:]) or "(it logged nothing)"

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this EnvoyProcess has not been entered")
        return self._process


def _read_address(file: Path) -> tuple[str, int] | None:
    """The `host:port` that Envoy writes once its admin interface is bound."""
    try:
        host, _, port = file.read_text(encoding="utf-8").strip().rpartition(":")
    except FileNotFoundError:
        return None
    return (host, int(port)) if port.isdigit() else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate, wait, kill; also when the waiting is interrupted."""
    if process.poll() is not None:
        return
    try:
        process.terminate()
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
