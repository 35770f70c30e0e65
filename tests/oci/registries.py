"""Registries to push to: Debian's `docker-registry`, and servers that answer as registries do when they say no."""

from __future__ import annotations

import json
import re
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "ada", "s3cret-of-ada"


def require(*programs: str) -> None:
    """Skip the test if a program is missing that it proves something with."""
    packages = {"htpasswd": "apache2-utils"}
    missing = [packages.get(program, program) for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"run: apt-get install {' '.join(missing)}")


@dataclass
class Authority:
    """A certificate that vouches for itself, of 127.0.0.1 or of another name, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, name: str = "IP:127.0.0.1") -> Authority:
        """Make one with openssl."""
        require("openssl")
        made = cls(folder / "ca.pem", folder / "key.pem")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "2"]
        files = ["-keyout", str(made.key), "-out", str(made.certificate), "-addext", f"subjectAltName={name}"]
        subprocess.run([*command, *files], check=True, capture_output=True, timeout=60)
        return made

    def expired(self, folder: Path) -> Authority:
        """The same with a certificate of long ago."""
        (folder / "index").touch()
        (folder / "openssl.cnf").write_text(_OLD.format(folder=folder), encoding="utf-8")
        made = Authority(folder / "old.pem", self.key)
        dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
        request = [
            "openssl",
            "req",
            "-new",
            "-key",
            str(self.key),
            "-subj",
            "/CN=test",
            "-out",
            str(folder / "csr.pem"),
        ]
        sign = ["openssl", "ca", "-selfsign", "-batch", "-notext", "-keyfile", str(self.key), *dates]
        files = ["-config", str(folder / "openssl.cnf"), "-in", str(folder / "csr.pem"), "-out", str(made.certificate)]
        for command in (request, [*sign, *files]):
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        return made


_OLD = """
[ca]
default_ca = old
[old]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = IP:127.0.0.1
basicConstraints = CA:TRUE
"""


@contextmanager
def docker_registry(folder: Path, *, login: bool = False, tls: Authority | None = None) -> Iterator[str]:
    """A real registry on a free port; yields its address, and ends it."""
    require("docker-registry", *(["htpasswd"] if login else []))
    folder.mkdir(parents=True, exist_ok=True)
    http: dict[str, Any] = {"addr": "127.0.0.1:0"}
    if tls:
        http["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
    config: dict[str, Any] = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder)}}, "http": http}
    if login:
        users = folder / "users"
        made = subprocess.run(["htpasswd", "-Bbn", USER, PASSWORD], check=True, capture_output=True, timeout=60)
        users.write_bytes(made.stdout)
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(users)}}
    file = folder / "config.yml"
    file.write_text(json.dumps(config), encoding="utf-8")
    with subprocess.Popen(
        ["docker-registry", "serve", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield _address(process)
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
            return found.group(1)
    raise AssertionError("".join(said))


# A server that answers what a test wants


@dataclass
class Request:
    """What it was asked."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Response:
    """What it answers. A `status` of 0 breaks the connection."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, status: int, code: str, message: str = "") -> Response:
        """An error as registries write them."""
        return cls(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode())


Answers = Callable[[Request], Response | None]


class _Http(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


class Server:
    """Takes every push, but for what `answers` says otherwise."""

    def __init__(self, answers: Answers = lambda _: None) -> None:
        self.requests: list[Request] = []
        self._answers = answers
        self._manifest = b"{}"
        self._http = _Http(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self.address = f"127.0.0.1:{self._http.server_address[1]}"

    def answer(self, request: Request) -> Response:
        """What is answered to a request."""
        self.requests.append(request)
        return self._answers(request) or self._usual(request)

    def _usual(self, request: Request) -> Response:
        """The answers of a registry that has nothing yet and takes everything."""
        if request.method == "POST":
            return Response(202, headers={"Location": f"{request.path}1?state=abc"})
        if request.method == "PUT":
            self._manifest = request.body
            return Response(201)
        return Response(404) if request.method == "HEAD" else Response(200, self._manifest)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                response = server.answer(Request(self.command, self.path, dict(self.headers.items()), body))
                if response.status == 0:
                    self.close_connection = True
                    return
                self.send_response(response.status)
                for name, value in {"Content-Length": str(len(response.body)), **response.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(response.body)

            do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  # so they are called

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base has it
                pass

        return Handler

    @contextmanager
    def running(self, tls: Authority | None = None) -> Iterator[Server]:
        """Serve, and stop."""
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            # Handshakes are for the threads of the connections.
            self._http.socket = context.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()
