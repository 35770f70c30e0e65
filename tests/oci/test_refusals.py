"""What is said when a registry says no, and how often it is asked again. Servers answer here as registries do."""

from __future__ import annotations

import re
import socket
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler.errors import RegistryError
from pywasmfilter_compiler.oci import ImageRecord, push, registry
from pywasmfilter_compiler.oci.reference import parse

from tests.oci.registries import Answers, Authority, Request, Response, Server


def push_to(server: Server, module: Path, name: str = "team/gate:1", **options: Any) -> ImageRecord:
    """Push without TLS."""
    return push(module, f"{server.address}/{name}", insecure=True, **options)


def refused(answers: Answers, module: Path, **options: Any) -> RegistryError:
    """The error of a push to a server that answers so; no record is written."""
    with Server(answers).running() as server, pytest.raises(RegistryError) as error:
        push_to(server, module, **options)
    assert not (module.parent / "gate.image.json").exists()
    assert "\n" not in str(error.value)
    return error.value


def at(method: str, part: str, *responses: Response | None) -> Answers:
    """Answers to requests of a method with this in their path, one after the other, and then the last again.

    None is the answer of a registry that takes everything.
    """
    left = list(responses)

    def answers(request: Request) -> Response | None:
        if request.method != method or part not in request.path:
            return None
        return left.pop(0) if len(left) > 1 else left[0]

    return answers


def test_the_server_of_these_tests_takes_pushes(module: Path) -> None:
    """So that what is refused below is refused for its reason."""
    with Server().running() as server:
        record = push_to(server, module)
        assert server.requests[-1].method == "GET"  # the manifest is read back where the answer has no digest
    assert record.reference == f"oci://{server.address}/team/gate:1"


NAME_UNKNOWN = Response.error(404, "NAME_UNKNOWN", "repository name not known to registry")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (at("POST", "", NAME_UNKNOWN), "there is no team/gate: create the project or repository first"),
        (at("POST", "", Response(404)), "there is no team/gate: create the project or repository first"),
        (at("POST", "", Response.error(403, "DENIED")), "the credentials may not push to team/gate"),
        (at("POST", "", Response.error(400, "NAME_INVALID")), "takes no repository called team/gate"),
        (
            at("PUT", "blobs", Response(413, b"<html>nginx")),
            "the layer is larger than the registry, or a proxy before it",
        ),
        (at("POST", "", Response.error(405, "UNSUPPORTED")), "takes no pushes: it is read-only, a mirror or a cache"),
        (
            at("PUT", "manifests", Response.error(400, "MANIFEST_INVALID")),
            "no image of the format compat: try --format docker",
        ),
        (at("PUT", "manifests", Response(415)), "no image of the format compat: try --format docker"),
        (
            at("PUT", "manifests", Response.error(400, "TAG_INVALID", "tag exists already")),
            "the tag 1 exists and may not be",
        ),
        (
            at("PUT", "manifests", Response.error(412, "PRECONDITION", "configured as immutable")),
            "the tag 1 exists and may",
        ),
        (
            at("PUT", "manifests", Response.error(409, "CONFLICT")),
            "the tag 1 exists and may not be replaced: push to a new tag",
        ),
        (
            at("PUT", "blobs", Response.error(403, "DENIED", "quota exceeded")),
            "no room left for this project: raise its quota",
        ),
        (at("PUT", "blobs", Response(507)), "no room left for this project"),
        (at("POST", "", Response(429)), "takes no more requests from here for now: wait"),
        (
            at("POST", "", Response(503, b"<html>")),
            "the registry, or a proxy before it, is in trouble: try again later",
        ),
        (
            at("PUT", "manifests", Response.error(400, "ODD", "a\nb\x1b[31m")),
            r"what it says is all that is known; HTTP 400 \(ODD: a b",
        ),
        (at("POST", "", Response(400, b"<html>")), "what it says is all that is known; HTTP 400$"),
    ],
)
def test_no(module: Path, answers: Answers, message: str) -> None:
    """Each way of saying no has its own message, which says what to do."""
    error = refused(answers, module)
    assert re.search(message, str(error)), str(error)
    assert str(error).startswith("oci://127.0.0.1:")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (at("GET", "/v2/", Response(404, b"<html>")), "HTTP 404 for http"),
        (at("GET", "/v2/", Response(418)), "HTTP 418 for http"),
        (at("POST", "", Response(202)), "does not say where to upload to"),
        (at("POST", "", Response(200, b"<html>welcome")), "HTTP 200 to a POST"),
        (at("POST", "", Response(302, headers={"Location": "/login"})), "HTTP 200 to a POST"),
        (
            at("PUT", "manifests", Response(201, headers={"Docker-Content-Digest": "sha256:0"})),
            "it has is sha256:0, not sha256:",
        ),
        (at("GET", "manifests", Response(200, b"{}")), "the manifest that it has is sha256:44136fa355b3678a"),
    ],
)
def test_no_registry(module: Path, answers: Answers, message: str) -> None:
    """Answers that no registry gives are told from refusals."""
    error = refused(answers, module)
    assert "does not answer as registries do" in str(error)
    assert message in str(error)


def test_a_web_site(module: Path) -> None:
    """A server that gives the same page for everything is no registry either."""
    error = refused(lambda _: Response(200, b"<html>welcome"), module)
    assert "does not answer as registries do" in str(error)


def test_a_circle(module: Path) -> None:
    """Nor is one that redirects forever."""
    error = refused(at("GET", "/v2/", Response(302, headers={"Location": "/v2/"})), module)
    assert "redirects in a circle" in str(error)


# Trying again


@pytest.mark.parametrize(
    "trouble", [Response(500), Response(503), Response(429, headers={"Retry-After": "0"}), Response(0)]
)
@pytest.mark.parametrize(("method", "part"), [("POST", ""), ("PUT", "blobs"), ("PUT", "manifests"), ("HEAD", "")])
def test_what_passes(module: Path, trouble: Response, method: str, part: str) -> None:
    """What does not work twice, and then does, is no error."""
    with Server(at(method, part, trouble, trouble, None)).running() as server:
        push_to(server, module)


def test_what_stays(module: Path) -> None:
    """There is an end to trying again."""
    with Server(at("POST", "", Response(503))).running() as server:
        with pytest.raises(RegistryError, match="is in trouble"):
            push_to(server, module)
        assert len([request for request in server.requests if request.method == "POST"]) == 5


def test_waiting_is_bounded() -> None:
    """A registry that asks for an hour does not get it."""
    again = registry._Again()

    class Answer:
        headers = {"Retry-After": "3600"}  # noqa: RUF012  # read only

    assert again.get_retry_after(Answer()) == 20  # type: ignore[arg-type]


def test_an_upload_that_got_lost(module: Path) -> None:
    """An upload that the registry does not know any more begins anew, and only once."""
    lost = Response.error(404, "BLOB_UPLOAD_UNKNOWN")
    with Server(at("PUT", "blobs", lost, None)).running() as server:
        push_to(server, module)
    (module.parent / "gate.image.json").unlink()
    error = refused(at("PUT", "blobs", lost), module)
    assert error.codes == ("BLOB_UPLOAD_UNKNOWN",)


def test_what_is_there_already(module: Path) -> None:
    """Blobs that the registry has are not sent again."""
    with Server(at("HEAD", "", Response(200))).running() as server:
        push_to(server, module)
    assert [request.method for request in server.requests if request.method in {"POST", "PUT"}] == ["PUT"]


# Not reached


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("insecure", [False, True])
def test_nobody_listens(module: Path, insecure: bool) -> None:
    """The message says so."""
    with pytest.raises(
        RegistryError, match="refuses connections: correct the port, or see whether the registry is run"
    ):
        push(module, f"127.0.0.1:{free_port()}/a:1", insecure=insecure)


def test_no_such_name(module: Path) -> None:
    """A name that does not exist."""
    with pytest.raises(RegistryError, match=r"registry\.invalid cannot be resolved: correct the name"):
        push(module, "registry.invalid/a:1")


def test_no_answer(module: Path) -> None:
    """One who listens and says nothing is not waited for longer than allowed."""
    said = r"has not answered in 0\.2 seconds: .*--registry-timeout"
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(RegistryError, match=said):
        push(module, f"127.0.0.1:{listener.getsockname()[1]}/a:1", timeout=0.2)


def test_a_proxy_that_is_none(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is to blame, and what its address holds is not shown."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://ada:s3cret@127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(RegistryError, match="is not reached through the proxy that HTTPS_PROXY") as error:
        push(module, "registry.invalid/a:1")
    assert "s3cret" not in str(error.value)


def test_noise(module: Path) -> None:
    """What is no HTTP at all cannot be read."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        try:
            with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+ gives an answer that cannot be read"):
                push(module, f"127.0.0.1:{listener.getsockname()[1]}/a:1", insecure=True)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def talk(listener: socket.socket) -> None:
    """Give everybody the greeting of another protocol."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-x\r\n\r\n")


def test_a_certificate_for_another_name(module: Path, tmp_path: Path) -> None:
    """A certificate that is trusted must be for this name."""
    authority = Authority.make(tmp_path, "DNS:elsewhere.example.com")
    said = "has a certificate for another name: use the name that it is for"
    with Server().running(authority) as server, pytest.raises(RegistryError, match=said):
        push(module, f"{server.address}/a:1", ca=authority.certificate)


def test_an_expired_certificate(module: Path, tmp_path: Path) -> None:
    """One that was good is told from one that never was."""
    authority = Authority.make(tmp_path).expired(tmp_path)
    said = "has a certificate that is expired: it has to be renewed"
    with Server().running(authority) as server, pytest.raises(RegistryError, match=said):
        push(module, f"{server.address}/a:1", ca=authority.certificate)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://registry.example.com/v2/x", True),
        ("https://Registry.Example.com:443/v2/x", True),
        ("http://registry.example.com/v2/x", False),
        ("https://registry.example.com:444/v2/x", False),
        ("https://store.example.com/v2/x", False),
        ("https://registry.example.com@store.example.com/v2/x", False),
    ],
)
def test_whose_address_it_is(url: str, expected: bool) -> None:
    """Credentials are for one host, one port, and TLS."""
    client = registry._Client(parse("registry.example.com/a:1"), "compat", registry.Access())
    with client.session:
        assert client._is_registry(url) is expected


# Credentials


def challenge(realm: str) -> Response:
    """What registries with tokens answer to those who have none."""
    value = f'Bearer realm="{realm}",service="the-service",scope="repository:team/gate:pull,push"'
    return Response(401, headers={"Www-Authenticate": value})


def with_tokens(token: Response, path: str = "/token") -> Server:
    """A registry that wants the token "t", and gives tokens itself."""

    def answers(request: Request) -> Response | None:
        if request.path.startswith("/token"):
            return token
        good = request.headers.get("Authorization") == "Bearer t"
        return None if good else challenge(f"http://{server.address}{path}")

    server = Server(answers)
    return server


def test_a_token(module: Path) -> None:
    """A user's password is given for a token, and only the token to the registry."""
    with with_tokens(Response(200, b'{"token": "t"}')).running() as server:
        push_to(server, module, username="ada", password="s3cret")
    asked = [request for request in server.requests if request.path.startswith("/token")]
    assert {request.headers["Authorization"] for request in asked} == {"Basic YWRhOnMzY3JldA=="}
    assert "service=the-service&scope=repository%3Ateam%2Fgate%3Apull%2Cpush" in asked[0].path
    others = {request.headers.get("Authorization") for request in server.requests if request not in asked}
    assert others == {None, "Bearer t"}


@pytest.mark.parametrize("realm", ["http://[::1", "http://127.0.0.1:x/token"])
def test_an_address_that_is_none(module: Path, realm: str) -> None:
    """Where a token would be, and where an upload would go, may be no address at all."""
    with Server(lambda _: challenge(realm)).running() as server, pytest.raises(RegistryError):
        push_to(server, module, username="ada", password="s3cret")
    uploads = Response(202, headers={"Location": realm})
    answers = Server(lambda asked: uploads if asked.method == "POST" else None)
    with answers.running() as server, pytest.raises(RegistryError):
        push_to(server, module)


def test_an_answer_without_end(module: Path) -> None:
    """No more is read of an answer than a few megabytes."""
    with Server(lambda _: Response(403, bytes(64 << 20))).running() as server:
        tracemalloc.start()
        with pytest.raises(RegistryError):
            push_to(server, module)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20  # the server's own copies are in this process


def test_a_token_for_nobody(module: Path) -> None:
    """Without credentials an anonymous token is asked for."""
    with with_tokens(Response(200, b'{"access_token": "t"}')).running() as server:
        push_to(server, module)
    assert all(r.headers.get("Authorization", "Bearer t") == "Bearer t" for r in server.requests)


def test_an_identity_token(module: Path, nobody: Path) -> None:
    """An identity token is exchanged for one of the registry, in a body."""
    with with_tokens(Response(200, b'{"access_token": "t"}')).running() as server:
        config = f'{{"auths": {{"{server.address}": {{"identitytoken": "i"}}}}}}'
        (nobody / "config.json").write_text(config, encoding="utf-8")
        push_to(server, module)
    asked = next(request for request in server.requests if request.path.startswith("/token"))
    assert asked.method == "POST"
    assert b"grant_type=refresh_token&refresh_token=i&" in asked.body


def test_an_identity_token_stays_where_it_belongs(module: Path, nobody: Path) -> None:
    """A service of tokens that redirects elsewhere does not make it repeat the body, with the token in it, there."""
    with Server(lambda _: Response(200, b'{"access_token": "t"}')).running() as elsewhere:
        token = Response(307, headers={"Location": f"http://{elsewhere.address}/token"})
        with with_tokens(token).running() as server:
            config = f'{{"auths": {{"{server.address}": {{"identitytoken": "i"}}}}}}'
            (nobody / "config.json").write_text(config, encoding="utf-8")
            with pytest.raises(RegistryError):
                push_to(server, module)
    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (Response(401), "the registry refuses the credentials of user ada"),
        (Response.error(403, "DENIED"), "may not push to team/gate"),
        (Response(200, b'{"token": "another"}'), "the registry refuses the credentials of user ada"),
        (Response(200, b"<html>"), "gives no token"),
        (Response(200, b"[]"), "gives no token"),
        (Response(200, b"{}"), "gives no token"),
    ],
)
def test_no_token(module: Path, token: Response, message: str) -> None:
    """A service of tokens says no, or what no such service says; the password is never shown."""
    with with_tokens(token).running() as server, pytest.raises(RegistryError, match=message) as error:
        push_to(server, module, username="ada", password="s3cret")
    assert "s3cret" not in str(error.value)


def test_credentials_are_not_sent_in_the_clear(module: Path, tmp_path: Path) -> None:
    """A registry with TLS cannot have them sent to where there is none."""
    authority = Authority.make(tmp_path)
    said = "wants credentials to be sent to 'http://127"
    elsewhere = Server(lambda _: challenge("http://127.0.0.1:1/token"))
    with elsewhere.running(authority) as server, pytest.raises(RegistryError, match=said):
        push(module, f"{server.address}/a:1", username="ada", password="s3cret", ca=authority.certificate)


def test_another_place_for_uploads_gets_no_credentials(module: Path) -> None:
    """Where a registry has its blobs put into a store of another name, only the registry gets the token."""
    with Server().running() as store:
        elsewhere = Response(202, headers={"Location": f"http://{store.address}/put?signature=x"})

        def answers(request: Request) -> Response | None:
            if request.path.startswith("/token"):
                return Response(200, b'{"token": "t"}')
            if request.headers.get("Authorization") != "Bearer t":
                return challenge(f"http://{server.address}/token")
            return elsewhere if request.method == "POST" else None

        server = Server(answers)
        with server.running():
            push_to(server, module, username="ada", password="s3cret")
    assert len(store.requests) == 2
    assert all("Authorization" not in request.headers for request in store.requests)
    assert all("signature=x" in request.path for request in store.requests)
