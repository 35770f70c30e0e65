"""`pyfilter push` and `pyfilter package`: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pywasmfilter_compiler import cli, inspect
from pywasmfilter_compiler.oci import read_record

from tests.oci.registries import PASSWORD, USER, Response, Server, docker_registry

FILTER = """
from pywasmfilter import HttpContext, http_filter

@http_filter("the gate")
class Gate(HttpContext):
    def on_http_response_headers(self, num_headers, end_of_stream):
        self.response.headers["x"] = "y"
"""
COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'pyfilter'; from pywasmfilter_compiler.cli import main; main()",
]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry without TLS, with one user."""
    with docker_registry(tmp_path_factory.mktemp("registry"), login=True) as address:
        yield address


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a filter in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter.py").write_text(FILTER, encoding="utf-8")
    return tmp_path


def run(*arguments: str | Path, stdin: str | None = None) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli.main, list(map(str, arguments)), prog_name="pyfilter", input=stdin)


def succeed(*arguments: str | Path, stdin: str | None = None) -> str:
    """What the command prints; it must succeed."""
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.exception, result.stderr) == (0, None, ""), result.output
    return result.stdout


def fail(*arguments: str | Path, code: int, stdin: str | None = None) -> str:
    """What the command says on standard error; it must fail so, say nothing else and write nothing."""
    before = set(Path.cwd().rglob("*"))
    result = run(*arguments, stdin=stdin)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    assert set(Path.cwd().rglob("*")) == before
    return result.stderr


LOGIN = ("--insecure", "--username", USER, "--password-stdin")


def test_push_a_filter(folder: Path, guarded: str) -> None:
    """A filter is built first. Both digests are shown, and written to the current folder; no module is."""
    reference = f"oci://{guarded}/team/gate:1"
    lines = succeed("push", "filter.py", reference, *LOGIN, stdin=f"{PASSWORD}\n").splitlines()
    record = read_record(folder / "the_gate.image.json")
    assert (record.reference, record.plugins) == (reference, ("the gate",))
    assert [line.split() for line in lines[1:]] == [
        ["manifest", record.manifest_digest],
        ["module", record.module_sha256],
        ["plugins", "the", "gate"],
        ["written", "the_gate.image.json"],
    ]
    assert lines[0].startswith(f"{reference}  compat  ")
    assert not list(folder.glob("*.wasm"))


def test_push_a_module(folder: Path, guarded: str) -> None:
    """A module is pushed as it is; the record stands beside it. JSON says the same."""
    (folder / "dist").mkdir()
    succeed("build", "filter.py", "-o", "dist/edge.wasm", "--json")
    said = json.loads(succeed("push", "dist/edge.wasm", f"{guarded}/edge:1", *LOGIN, "--json", stdin=PASSWORD))
    assert said.pop("record") == "dist/edge.image.json"
    assert said == json.loads((folder / "dist" / "edge.image.json").read_text(encoding="utf-8"))
    report = inspect(folder / "dist" / "edge.wasm")
    assert (said["module_sha256"], said["module_size"]) == (report.sha256, report.size)
    assert said["plugins"] == ["the gate"]


def test_a_manifest_of_what_was_pushed(folder: Path, module: Path, guarded: str) -> None:
    """`pyfilter manifest` finds the image and its digest in the record that a push leaves beside the module."""
    succeed("build", "filter.py", "-o", module)
    push = ("push", module, f"oci://{guarded}/team/gate:3", "--insecure", "--username", USER, "--password-stdin")
    succeed(*push, stdin=PASSWORD)
    made = json.loads(succeed("manifest", module, "--selector", "app=gate", "--json"))
    record = read_record(module.with_suffix(".image.json"))
    assert made["spec"]["url"] == f"oci://{guarded}/team/gate:3"
    assert f"sha256:{made['spec']['sha256']}" == record.manifest_digest
    assert made["spec"]["pluginName"] == "the gate"


def test_what_is_said_of_an_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels follow from the module and the time; options add to them and replace them."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    source = "org.opencontainers.image.source=https://example.com/?a=b"
    options = ("--annotation", source, "--annotation", "pywasmfilter.abi=mine")
    said = json.loads(succeed("package", "filter.py", "-o", "layout", *options, "--abi", "0.2.0", "--json"))
    assert said["layout"] == "layout"
    digest = said["manifest_digest"].removeprefix("sha256:")
    manifest = json.loads((folder / "layout" / "blobs" / "sha256" / digest).read_text(encoding="utf-8"))
    version = manifest["annotations"].pop("pywasmfilter.version")
    assert version
    assert manifest["annotations"] == {
        "module.wasm.image/variant": "compat",
        "org.opencontainers.image.title": "the gate",
        "org.opencontainers.image.created": "2023-11-14T22:13:20Z",
        "org.opencontainers.image.source": "https://example.com/?a=b",
        "pywasmfilter.plugins": "the gate",
        "pywasmfilter.abi": "mine",
    }


def test_package(folder: Path, module: Path) -> None:
    """A folder or a tar, under the tag."""
    succeed("package", module.name, "-o", "layout.tar", "--tag", "1.0", "--format", "artifact")
    assert (folder / "layout.tar").is_file()
    assert succeed("package", module.name, "-o", "layout", "--tag", "1.0").startswith("layout  compat  ")
    assert '"org.opencontainers.image.ref.name": "1.0"' in (folder / "layout" / "index.json").read_text(
        encoding="utf-8"
    )


def test_wrong_password(folder: Path, module: Path, guarded: str) -> None:
    """It is refused, and not shown."""
    said = fail("push", module.name, f"{guarded}/a:1", *LOGIN, code=1, stdin="not-this\n")
    assert "the registry refuses the credentials of user ada" in said
    assert "not-this" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push", "filter.py", "registry.example.com/a"], "the tag is missing"),
        (["push", "filter.py", "https://registry.example.com/a:1"], "begins with oci://"),
        (["push", "filter.py", "localhost/a:1", "--username", "ada"], "--username and --password-stdin go together"),
        (["push", "filter.py", "localhost/a:1", "--password-stdin"], "--username and --password-stdin go together"),
        (["push", "filter.py", "localhost/a:1", *LOGIN], "standard input is empty"),
        (["push", "gate.wasm", "localhost/a:1", "--registry-timeout", "nan"], "at most 86400 seconds, not nan"),
        (["push", "gate.wasm", "localhost/a:1", "--registry-timeout", "inf"], "at most 86400 seconds, not inf"),
        (["package", "filter.py", "-o", "x" * 300], "File name too long"),
        (["push", "missing.wasm", "localhost/a:1"], "missing.wasm: No such file"),
        (["push", "filter.py", "localhost/a:1", "--annotation", "x"], "--annotation takes KEY=VALUE, not 'x'"),
        (["package", "filter.py", "-o", "out", "--tag", "a b"], "'a b' is no tag"),
        (["package", "filter.py", "-o", "filter.py"], "a file has this name"),
        (["package", "filter.py", "-o", "out", "--annotation", "a b=c"], "--annotation takes KEY=VALUE"),
        (["package", "filter.py", "-o", "out", "--format", "docker"], "'docker' is not one of"),
    ],
)
def test_requests_that_make_no_sense(folder: Path, module: Path, arguments: list[str], message: str) -> None:
    """They are refused with exit code 2."""
    assert message in fail(*arguments, code=2)


def test_logins_that_are_none(folder: Path, module: Path) -> None:
    """Nothing is sent for a user or a password that cannot be written in a header."""
    push = ("push", module.name, "localhost/a:1", "--password-stdin", "--username")
    assert "no colon" in fail(*push, "a:b", code=2, stdin="x")
    assert "are UTF-8" in fail(*push, "a\udcff", code=2, stdin="x")
    command = [*COMMAND, *push, "ada"]
    done = subprocess.run(command, input=b"s\xff", capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (2, b"error: --password-stdin: standard input is not UTF-8\n")


def test_without_oras(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built, the message says what to install. Packaging needs nothing more."""
    monkeypatch.setitem(sys.modules, "oras.provider", None)
    assert "run `pip install 'pywasmfilter[push]'`" in fail("push", "filter.py", "localhost/a:1", code=1)
    succeed("package", "filter.py", "-o", "layout")


def test_help_says_who_takes_what() -> None:
    """Nobody learns from Istio that it does not take an image."""
    for command in ("push", "package"):
        said = " ".join(succeed(command, "--help").split())
        assert "Istio and Envoy Gateway take any but cncf" in said


def test_quiet_in_a_pipe_and_progress_on_a_terminal(folder: Path, module: Path) -> None:
    """Steps are shown where somebody sees them, also those that are tried again."""
    left = [Response(503)]
    with Server(lambda request: left.pop() if request.method == "POST" and left else None).running() as server:
        command = [*COMMAND, "push", str(module), f"{server.address}/a:1", "--insecure"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stderr == ""
        ours, theirs = pty.openpty()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True, timeout=60)
        os.close(theirs)
        said = os.read(ours, 10_000).decode()
        os.close(ours)
    for step in ("compressing", "connecting to 127.0.0.1", "uploading the manifest"):
        assert f"{step}" in said
