"""Named upstreams in a real proxy: over HTTP, HTTPS and gRPC, with retries, trace headers, and without a cluster."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
import pytest
import yaml
from pywasmfilter_compiler.envoy.run import Server, serve
from pywasmfilter_compiler.envoy.services import clusters_for
from pywasmfilter_compiler.upstreams import of_module

from tests.e2e.client import request
from tests.pages import DOCS, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=1"}


class Service(ThreadingHTTPServer):
    """An HTTP server that keeps the headers of each request by its path, and fails the first two to `/fails`."""

    def __init__(self, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.requests: dict[str, dict[str, str]] = {}
        self.counts = Counter[str]()
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not like the certificate goes away."""


class _Answer(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.rpartition("/")[2]
        self.server.counts[path] += 1
        self.server.requests[path] = {name.lower(): value for name, value in self.headers.items()}
        status = 503 if path == "fails" and self.server.counts[path] < 3 else 200
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # as the base class calls it
        """Nothing."""


class Greeter(grpc.GenericRpcHandler):
    """Answers each message with itself, and with the metadata `x-client`."""

    def service(self, details: Any) -> Any:
        """The one method."""
        if details.method != "/hello.v1.Hello/Greet":
            return None
        return grpc.unary_unary_rpc_method_handler(self.greet)

    def greet(self, message: bytes, context: Any) -> bytes:
        """What has come."""
        return message + f" {dict(context.invocation_metadata())['x-client']}".encode()


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The service behind `plain`."""
    with Service() as running:
        yield running


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificates for two names, with their keys, that are their own authorities."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    return {name: _certificate(folder / f"{name}.pem", name) for name in ("localhost", "other.example")}


def _certificate(file: Path, name: str) -> Path:
    key = file.with_suffix(".key")
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", file], check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return file


@pytest.fixture(scope="module")
def greeter() -> Iterator[int]:
    """The port of the gRPC server."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Greeter()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


@pytest.fixture(scope="module")
def proxy(
    build_filter: FilterBuilder,
    upstream: EchoServer,
    service: Service,
    certificates: dict[str, Path],
    greeter: int,
) -> Iterator[Server]:
    """An Envoy with clusters for all upstreams but `other`. That of `brief` has a certificate for another name."""
    module = build_filter("upstreams").path
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        trusted = certificates["localhost"].with_name("trusted.crt")
        trusted.write_text("".join(file.read_text() for file in certificates.values()))
        patch.setenv("SSL_CERT_FILE", str(trusted))
        secure = stack.enter_context(Service(certificates["localhost"]))
        foreign = stack.enter_context(Service(certificates["other.example"]))
        urls = {
            "plain": f"http://127.0.0.1:{service.server_port}",
            "auth": f"https://localhost:{secure.server_port}",
            "brief": f"https://localhost:{foreign.server_port}",
            "greeter": f"http://127.0.0.1:{greeter}",
        }
        upstreams = [item for item in of_module(module.read_bytes()) if item.name in urls]
        yield stack.enter_context(serve(module, upstream=upstream.url, clusters=clusters_for(upstreams, urls)))


def ask(proxy: Server, code: str, **headers: str) -> str:
    """The value of an expression."""
    response = request(proxy.port, headers=[("x-code", code), *headers.items()])
    assert response.status == 200
    return response.body.decode()


def test_http(proxy: Server, service: Service) -> None:
    """The service sees the authority and the path of the upstream's URL, and the trace headers of the request."""
    assert ask(proxy, "plain.get('/http')", **HEADERS) == "<HttpReply 200>"
    headers = service.requests["http"]
    assert headers["host"] == "plain.local:8080"
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert len(headers["x-request-id"]) == 36  # Envoy's own


def test_https(proxy: Server) -> None:
    """A certificate for the host, of a trusted authority, is taken; one for another host is not."""
    assert ask(proxy, "auth.get('/https')") == "<HttpReply 200>"
    assert ask(proxy, "brief.get()") == "<HttpReply 503>"


def test_retries(proxy: Server, service: Service) -> None:
    """A service that fails twice is asked a third time, if the upstream has retries."""
    assert ask(proxy, "plain.get('/fails')") == "<HttpReply 503>"
    service.counts.clear()
    assert ask(proxy, "retried.get('/fails')") == "<HttpReply 200>"
    assert service.counts["fails"] == 3


def test_trace_in_the_response(proxy: Server, service: Service) -> None:
    """What was read with the request is remembered."""
    code = [("x-first", "plain.get('/first')"), ("x-later", "plain.get('/later')")]
    response = request(proxy.port, headers=[*code, *HEADERS.items()])
    assert (response.header("x-first"), response.header("x-later")) == ([b"<HttpReply 200>"], [b"<HttpReply 200>"])
    first, later = (service.requests[path] for path in ("first", "later"))
    assert later["traceparent"] == first["traceparent"] == HEADERS["traceparent"]
    assert later["x-request-id"] == first["x-request-id"]


def test_grpc(proxy: Server) -> None:
    """A call goes through the upstream's cluster, with its headers."""
    code = "status_and_message(greeter.grpc('hello.v1.Hello', 'Greet', b'hello'))"
    assert ask(proxy, code) == "(0, b'hello gate')"


def test_an_unknown_cluster(proxy: Server) -> None:
    """Envoy says no more than that an argument is bad; the error says the rest."""
    text = ask(proxy, "other.get()")
    assert text.startswith(
        "UnknownCluster: upstream 'other-name.v1', http://[::1]:81: the proxy has no cluster 'outbound|81||other'."
    )
    assert "In Envoy, define a cluster of this name with the endpoint" in text


def test_another_cluster_by_the_environment(
    build_filter: FilterBuilder, upstream: EchoServer, service: Service
) -> None:
    """The variable names it; a cluster whose host cannot be found is no cluster that is missing."""
    module = build_filter("upstreams").path
    environment = {"PYFILTER_UPSTREAM_PLAIN": "outbound|8080||plain.local"}
    urls = {"plain": f"http://127.0.0.1:{service.server_port}", "brief": "http://nowhere.invalid"}
    upstreams = [item for item in of_module(module.read_bytes()) if item.name in urls]
    clusters = clusters_for(upstreams, urls, environment)
    assert "outbound|8080||plain.local" in [cluster["name"] for cluster in clusters]
    with serve(module, upstream=upstream.url, environment=environment, clusters=clusters) as server:
        assert ask(server, "plain.get('/renamed')") == "<HttpReply 200>"
        assert ask(server, "brief.get()").startswith("CallFailed: upstream 'brief': the call failed at once")


def test_the_cluster_on_the_page(
    build_filter: FilterBuilder, upstream: EchoServer, certificates: dict[str, Path], service: Service
) -> None:
    """Envoy takes the one that docs/upstreams.md shows, beside another one."""
    (block,) = (block for block in blocks(DOCS / "upstreams.md") if block.text.startswith("name: auth"))
    text = block.text.replace("/etc/ssl/certs/ca-certificates.crt", str(certificates["localhost"]))
    module = build_filter("upstreams").path
    plain = [item for item in of_module(module.read_bytes()) if item.name == "plain"]
    clusters = clusters_for(plain, {"plain": f"http://127.0.0.1:{service.server_port}"})
    with serve(module, upstream=upstream.url, clusters=[yaml.safe_load(text), *clusters]) as server:
        assert ask(server, "plain.get()") == "<HttpReply 200>"
        assert "auth::observability_name::auth" in server.envoy.admin("/clusters")


FILTER = """
from pywasmfilter import HttpContext, http_filter, upstream

auth = upstream("auth", "https://auth.example.com", timeout=10, retries=2)

@http_filter("check")
class Check(HttpContext):
    async def on_http_request_headers(self, num_headers, end_of_stream):
        reply = await auth.get("/check")
        if not reply.ok:
            return self.send_http_response(403, body="not you")
"""


@pytest.mark.parametrize("path", ["check", "fails"])
def test_run(tmp_path: Path, path: str) -> None:
    """`pyfilter run` makes the cluster for the filter's upstream, in another place if that is asked for."""
    (tmp_path / "filter.py").write_text(FILTER.replace("/check", f"/{path}"))
    command = [sys.executable, "-c", "from pywasmfilter_compiler.cli import main; main()", "run", "filter.py"]
    with Service() as service:
        options = ["--request", "/", "--upstream", f"auth=http://127.0.0.1:{service.server_port}"]
        done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HTTP/1.1 200 OK"), done.stdout + done.stderr
    assert service.requests[path]["host"] == "auth.example.com"
    assert service.counts[path] == (3 if path == "fails" else 1)
