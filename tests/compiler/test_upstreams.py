"""The services that a module calls by name: what a build reports and writes down, and what is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from click.testing import CliRunner, Result
from pywasmfilter_compiler import cli
from pywasmfilter_compiler.envoy.services import clusters_for
from pywasmfilter_compiler.errors import MalformedWasm, UsageError
from pywasmfilter_compiler.module_report import inspect, render
from pywasmfilter_compiler.upstreams import SECTION, Upstream, decode, encode, of_module
from pywasmfilter_compiler.wasm.cursor import sized
from pywasmfilter_compiler.wasm.module import Custom
from pywasmfilter_compiler.wasm.sections import encode_custom

FILTER = """
from pywasmfilter import HttpContext, http_filter, upstream

users = upstream("users", "http://users:8080/api", cluster="outbound|8080||users", http2=True)
auth = upstream("auth", "https://auth.example.com", timeout=0.5, retries=2)

@http_filter("check")
class Check(HttpContext):
    async def on_http_request_headers(self, num_headers, end_of_stream):
        reply = await auth.post("/check", json={"path": self.request.path})
        if not reply.ok:
            return self.send_http_response(403, body="not you")
        await users.get("/me")
"""
AUTH = Upstream(
    "auth", "https://auth.example.com", "auth", "PYFILTER_UPSTREAM_AUTH", "auth.example.com", 443, tls=True, http2=False
)
USERS = Upstream(
    "users",
    "http://users:8080/api",
    "outbound|8080||users",
    "PYFILTER_UPSTREAM_USERS",
    "users",
    8080,
    tls=False,
    http2=True,
)
EMPTY = b"\0asm\x01\0\0\0"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a filter in it that calls two upstreams."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter.py").write_text(FILTER)
    return tmp_path


def run(*arguments: str) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(cli.main, arguments, prog_name="pyfilter")


def with_section(content: bytes, name: str = SECTION) -> bytes:
    """A module with a custom section and nothing else."""
    return EMPTY + b"\0" + sized(encode_custom(Custom(name, content)))


# What a build says


def test_a_build_says_what_it_needs(folder: Path) -> None:
    """The report lists the upstreams by name, as text and as JSON; the module has them in a section of its own."""
    result = run("build", "filter.py", "-o", "a.wasm")
    assert result.exit_code == 0, result.output
    assert [line for line in result.stdout.splitlines() if "→" in line] == [
        "  upstreams  auth → https://auth.example.com (cluster auth)",
        "             users → http://users:8080/api (cluster outbound|8080||users)",
    ]
    report = json.loads(run("build", "filter.py", "-o", "b.wasm", "--json").stdout)
    assert [Upstream(**item) for item in report["upstreams"]] == [AUTH, USERS]
    assert Path("a.wasm").read_bytes() == Path("b.wasm").read_bytes()
    assert of_module(Path("a.wasm").read_bytes()) == (AUTH, USERS)
    wasmtime.Module.validate(wasmtime.Engine(), Path("a.wasm").read_bytes())


def test_inspect_shows_them(folder: Path) -> None:
    """Also without the sources."""
    assert run("build", "filter.py", "-o", "a.wasm").exit_code == 0
    text = run("inspect", "a.wasm").stdout
    assert "\nUpstreams\n  auth   https://auth.example.com  cluster auth" in text
    assert "or what PYFILTER_UPSTREAM_USERS names\n" in text
    assert f'custom "{SECTION}"' in text
    assert [item["name"] for item in json.loads(run("inspect", "a.wasm", "--json").stdout)["upstreams"]] == [
        "auth",
        "users",
    ]


def test_without_upstreams_there_is_no_section(folder: Path) -> None:
    """Modules of other filters are what they were, and do not carry the code."""
    Path("filter.py").write_text("from pywasmfilter import *\n@http_filter('a')\nclass A(HttpContext): ...\n")
    report = json.loads(run("build", "filter.py", "-o", "a.wasm", "--json").stdout)
    assert report["upstreams"] == []
    assert inspect(Path("a.wasm")).upstreams == ()
    assert not any("upstreams" in section.name for section in inspect(Path("a.wasm")).sections)
    assert "Upstreams" not in render(inspect(Path("a.wasm")))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('upstream("auth", "auth.example.com")', "upstream 'auth': the URL begins with http:// or https://"),
        ('upstream("a b", "http://a")', "the name of an upstream is letters, digits"),
        ('upstream("a", "http://a"); upstream("a", "http://b")', "upstream 'a' is defined twice"),
    ],
)
def test_a_definition_that_is_wrong(folder: Path, line: str, message: str) -> None:
    """The build fails, and the message names the user's line."""
    Path("filter.py").write_text(f"from pywasmfilter import upstream\n\n{line}\n")
    result = run("build", "filter.py")
    assert result.exit_code == 1
    assert "filter.py:3: " in result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr


# The section


def test_a_section_is_read_as_it_was_written() -> None:
    """What is written is what is read; fields of later versions are left out."""
    assert decode(encode([AUTH, USERS])) == (AUTH, USERS)
    later = [{**json.loads(encode([AUTH]))[0], "region": "x"}]
    assert decode(json.dumps(later).encode()) == (AUTH,)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"{}",
        b"1",
        b'{"a": 1}',
        b"[1]",
        b'[{"name": "a"}]',
        b"[" * 100_000,
        encode([AUTH]).replace(b"443", b'"443"'),
        encode([AUTH]).replace(b"true", b"1"),
    ],
)
def test_a_section_that_cannot_be_read(content: bytes) -> None:
    """Somebody else's section of this name is none of ours."""
    assert of_module(with_section(content)) == ()
    assert inspect(with_section(content)).upstreams == ()


def test_other_modules_have_none() -> None:
    """A module without the section calls no upstreams; what is no module is an error."""
    assert of_module(EMPTY) == of_module(with_section(encode([AUTH]), "another")) == ()
    with pytest.raises(MalformedWasm):
        of_module(b"no module")


# Clusters for a local Envoy


@pytest.fixture
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file with the authorities that this system trusts."""
    file = tmp_path / "ca.pem"
    file.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return str(file)


def endpoint(cluster: dict[str, Any]) -> tuple[str, int]:
    """Where a cluster is."""
    (group,) = cluster["load_assignment"]["endpoints"]
    address = group["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    return address["address"], address["port_value"]


def test_clusters_for_upstreams(authorities: str) -> None:
    """Each is at the URL's host, with TLS for https, which checks the certificate, and HTTP/2 for who speaks that."""
    auth, users = clusters_for([AUTH, USERS])
    assert (auth["name"], endpoint(auth)) == ("auth", ("auth.example.com", 443))
    tls = auth["transport_socket"]["typed_config"]
    assert tls["sni"] == "auth.example.com"
    validation = tls["common_tls_context"]["validation_context"]
    assert validation["trusted_ca"] == {"filename": authorities}
    assert validation["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "auth.example.com"}}
    ]
    assert (users["name"], endpoint(users)) == ("outbound|8080||users", ("users", 8080))
    assert "transport_socket" not in users
    assert "http2_protocol_options" in str(users)


def test_clusters_at_other_places(authorities: str) -> None:
    """A URL that is given counts, and the name that the environment gives."""
    urls = {"auth": "http://127.0.0.1:8080", "users": "https://[::1]"}
    auth, users = clusters_for([AUTH, USERS], urls, {"PYFILTER_UPSTREAM_AUTH": "outbound|443||auth"})
    assert (auth["name"], auth["type"], endpoint(auth)) == ("outbound|443||auth", "STATIC", ("127.0.0.1", 8080))
    assert "transport_socket" not in auth
    tls = users["transport_socket"]["typed_config"]
    assert "sni" not in tls
    san = tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert san == [{"san_type": "IP_ADDRESS", "matcher": {"exact": "::1"}}]
    assert endpoint(users) == ("::1", 443)


def test_upstreams_may_share_a_cluster(authorities: str) -> None:
    """One cluster is made for both, if it is in one place."""
    environment = {"PYFILTER_UPSTREAM_AUTH": "x", "PYFILTER_UPSTREAM_USERS": "x"}
    urls = dict.fromkeys(["auth", "users"], "https://127.0.0.1:1")
    assert len(clusters_for([AUTH, USERS], urls, environment)) == 1
    with pytest.raises(UsageError, match="upstream users: the cluster 'x' is another one here"):
        clusters_for([AUTH, USERS], {}, environment)
    with pytest.raises(UsageError, match="upstream auth: the cluster 'upstream' is another one here"):
        clusters_for([AUTH], {}, {"PYFILTER_UPSTREAM_AUTH": "upstream"})


def test_without_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS without any would be none, so that is an error that says what to do."""
    monkeypatch.setenv("SSL_CERT_FILE", "/missing")
    with pytest.raises(UsageError, match="SSL_CERT_FILE, '/missing', is no file"):
        clusters_for([AUTH])
    assert len(clusters_for([AUTH], {"auth": "http://127.0.0.1:1"})) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--upstream", "http://a", "--upstream", "http://b"], "--upstream URL says where requests go, once"),
        (["--upstream", "auth=ftp://a"], "upstream 'ftp://a': expected http://host:port or https://host:port"),
        (["--upstream", "auth=http://a/base"], "upstream 'http://a/base': expected"),
        (["--upstream", "auth=http://[a"], "upstream 'http://[a': "),
        (["--upstream", "auth="], "upstream '': expected"),
        (["--upstream", "nobody=http://a"], "the filter has no upstream of this name; its upstreams are auth, users"),
    ],
)
def test_options_that_make_no_sense(folder: Path, arguments: list[str], message: str) -> None:
    """They are refused before there is a proxy."""
    result = run("run", "filter.py", "--request", "/", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr


# Without a proxy


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_call_without_answers(folder: Path, body: str) -> None:
    """As in a proxy without the cluster the call fails, and `pyfilter call` says how to answer it."""
    result = run("call", "filter.py", "--filter-body", body)
    assert "→ 500" in result.stdout
    assert "UnknownCluster: upstream 'auth'" in result.stdout
    section = "upstreams without an answer\n  auth, https://auth.example.com: --cluster auth=200, or =STATUS:BODY"
    assert section in result.stdout
    report = json.loads(run("call", "filter.py", "--filter-body", body, "--json").stdout)
    assert report["unanswered"] == ["auth"]


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_call_with_answers(folder: Path, body: str) -> None:
    """An upstream is answered by its name, whatever its cluster is."""
    denied = run("call", "filter.py", "--filter-body", body, "--cluster", "auth=401")
    assert "→ 403" in denied.stdout
    assert "without an answer" not in denied.stdout
    answers = ["--cluster", "auth=200", "--cluster", "users=200", "--env", "PYFILTER_UPSTREAM_AUTH=elsewhere"]
    passed = run("call", "filter.py", "--filter-body", body, *answers)
    assert "→ 200" in passed.stdout
    assert "http_call('elsewhere'" in passed.stdout
    assert "http_call('outbound|8080||users'" in passed.stdout
