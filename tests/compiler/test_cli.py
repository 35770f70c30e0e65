"""The `pyfilter` command: what it prints where, what it writes, and how it ends."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import pytest
import wasmtime
from click.testing import CliRunner, Result
from pywasmfilter_compiler import cli, runtime_image

FILTER = """
from pywasmfilter import HttpContext, http_filter

@http_filter("my-filter")
class Mine(HttpContext):
    def on_http_response_headers(self, num_headers, end_of_stream):
        self.response.headers["x"] = "y"
"""
# As the console script does it.
COMMAND = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'pyfilter'; from pywasmfilter_compiler.cli import main; main()",
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a filter in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter.py").write_text(FILTER)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli.main, list(map(str, arguments)), prog_name="pyfilter")


def succeed(*arguments: str | Path) -> Result:
    """The command, which must succeed."""
    result = run(*arguments)
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result


def fail(*arguments: str | Path, code: int = 1) -> str:
    """What the command says on standard error; it must say nothing else, write nothing and fail with this code."""
    before = files(Path.cwd())
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert files(Path.cwd()) == before
    return result.stderr


def files(folder: Path) -> dict[Path, bytes]:
    """All files under a folder with what is in them."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# build


def test_build_a_file(folder: Path) -> None:
    """The module is named after its plugin; the first line says where it is, how large, and how long it took."""
    result = succeed("build", "filter.py")
    assert result.stderr == ""
    first, *rest = result.stdout.splitlines()
    assert first.startswith("my-filter.wasm  ")
    assert first.endswith(" s")
    digest = hashlib.sha256(Path("my-filter.wasm").read_bytes()).hexdigest()
    assert [line.split()[0] for line in (*rest[:3], rest[-1])] == ["plugins", "callbacks", "contents", "sha256"]
    assert rest[-1].split()[1] == digest
    sizes = [int(line.removeprefix("  contents").split()[0].replace(",", "")) for line in rest[2:-1]]
    assert sum(sizes) == Path("my-filter.wasm").stat().st_size
    assert "proxy_on_response_headers" in rest[1]


def test_build_a_package(folder: Path) -> None:
    """A package folder is imported under its name, with its own modules."""
    package = folder / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import Mine")
    (package / "inner.py").write_text(FILTER)
    report = json.loads(succeed("build", "pkg", "--json").stdout)
    assert report["path"] == "my-filter.wasm"
    assert report["modules"]["pkg.inner"] == "pkg/inner.py"


@pytest.mark.parametrize("path", ["project", "project/", ".", "project/../project"])
def test_build_a_folder_with_a_filter(folder: Path, path: str) -> None:
    """A folder with a filter.py is that filter."""
    (folder / "project").mkdir()
    (folder / "project" / "filter.py").write_text(FILTER)
    assert json.loads(succeed("build", path, "--json").stdout)["plugins"] == ["my-filter"]


@pytest.mark.parametrize(
    "name", ["json.py", "my-filter.v2.py", "class.py", "__main__.py", "__hello__.py", "_image.py", "pywasmfilter.py"]
)
def test_build_a_file_with_any_name(folder: Path, name: str) -> None:
    """A script may be called what no module can, or what another module is called."""
    (folder / name).write_text(FILTER)
    assert json.loads(succeed("build", name, "--json").stdout)["plugins"] == ["my-filter"]


def test_build_to_an_output(folder: Path) -> None:
    """With -o the module is there and nowhere else, under whatever name."""
    (folder / "out").mkdir()
    before = set(folder.rglob("*"))
    assert succeed("build", "filter.py", "-o", "out/anything").stdout.startswith("out/anything  ")
    assert set(folder.rglob("*")) - before == {folder / "out" / "anything"}
    assert (folder / "out" / "anything").read_bytes().startswith(b"\0asm\1\0\0\0")


def test_the_output_has_the_usual_permissions(folder: Path) -> None:
    """A module is a file like one that any other command writes."""
    mask = os.umask(0o027)
    try:
        succeed("build", "filter.py")
    finally:
        os.umask(mask)
    assert Path("my-filter.wasm").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(("name", "file"), [("edge", "edge.wasm"), ("a/b c", "a_b_c.wasm"), ("..", "filter.wasm")])
def test_build_with_a_name(folder: Path, name: str, file: str) -> None:
    """--name names module and file; what a file name cannot hold is replaced, and it stays in this folder."""
    report = json.loads(succeed("build", "filter.py", "--name", name, "--json").stdout)
    assert (report["name"], report["path"]) == (name, file)
    assert (folder / file).is_file()


def test_several_plugins_are_named_after_the_file(folder: Path) -> None:
    """Where no plugin's name is the module's, the file's is."""
    (folder / "both.py").write_text(FILTER + FILTER.replace("my-filter", "other"))
    report = json.loads(succeed("build", "both.py", "--json").stdout)
    assert (report["path"], report["plugins"]) == ("both.wasm", ["my-filter", "other"])


def test_build_several(folder: Path) -> None:
    """Filters at several paths become one module, whose settings are those of the first."""
    (folder / "other").mkdir()
    (folder / "other" / "filter.py").write_text(FILTER.replace("my-filter", "other"))
    (folder / "other" / "pyproject.toml").write_text('[tool.pyfilter]\nname = "edge"\n')
    report = json.loads(succeed("build", "filter.py", "other", "--json").stdout)
    assert (report["path"], report["plugins"]) == ("filter.wasm", ["my-filter", "other"])
    assert json.loads(succeed("build", "other", "filter.py", "--json").stdout)["path"] == "edge.wasm"


def test_build_for_a_version_of_the_abi(folder: Path) -> None:
    """--abi chooses the version, and so does the project's setting; the option goes before it."""
    (folder / "pyproject.toml").write_text('[tool.pyfilter]\nabi = "0.2.0"\n')
    assert json.loads(succeed("build", "filter.py", "--json").stdout)["abi"] == "0.2.0"
    assert json.loads(succeed("build", "filter.py", "--abi", "0.2.1", "--json").stdout)["abi"] == "0.2.1"
    assert json.loads(succeed("inspect", "my-filter.wasm", "--json").stdout)["abi"] == "0.2.1"


def test_build_a_whole_module(folder: Path) -> None:
    """--no-prune and the setting keep all of the interpreter; --prune goes before the setting, and is what is done."""
    whole = json.loads(succeed("build", "filter.py", "--no-prune", "--json").stdout)["size"]
    (folder / "pyproject.toml").write_text("[tool.pyfilter]\nprune = false\n")
    assert json.loads(succeed("build", "filter.py", "--json").stdout)["size"] == whole
    pruned = json.loads(succeed("build", "filter.py", "--prune", "--json").stdout)["size"]
    (folder / "pyproject.toml").unlink()
    assert json.loads(succeed("build", "filter.py", "--json").stdout)["size"] == pruned < whole - 3_000_000


def test_build_a_module_that_names_what_is_missing(folder: Path) -> None:
    """--name-missing and the setting put the names of functions that are not there into the module."""
    name = b"array_array_append"
    succeed("build", "filter.py")
    assert name not in (folder / "my-filter.wasm").read_bytes()
    succeed("build", "filter.py", "--name-missing")
    told = (folder / "my-filter.wasm").read_bytes()
    assert name in told
    (folder / "pyproject.toml").write_text("[tool.pyfilter]\nname_missing = true\n")
    succeed("build", "filter.py")
    assert (folder / "my-filter.wasm").read_bytes() == told


def test_the_report_as_json(folder: Path) -> None:
    """--json prints one object with these facts about the file, and nothing else."""
    result = succeed("build", "filter.py", "--json")
    assert result.stderr == ""
    report = json.loads(result.stdout)
    data = (folder / "my-filter.wasm").read_bytes()
    assert report["size"] == len(data)
    assert report["sha256"] == hashlib.sha256(data).hexdigest()
    assert report["abi"] == "0.2.1"
    assert report["plugins"] == ["my-filter"]
    assert {"memory", "malloc", "free", "proxy_abi_version_0_2_1", "proxy_on_response_headers"} <= set(
        report["exports"]
    )
    assert "proxy_on_request_headers" not in report["exports"]
    assert "env.proxy_log" in report["imports"]
    assert report["modules"]["filter"] == "filter.py"
    assert 0 < report["seconds"] < 600
    assert report.keys() == {
        "path", "name", "size", "sha256", "abi", "plugins", "exports", "imports", "modules", "upstreams", "parts",
        "seconds",
    }  # fmt: skip


def test_the_same_input_gives_the_same_module(folder: Path) -> None:
    """Two builds, the second over the first, are the same bytes."""
    first, second = (json.loads(succeed("build", "filter.py", "--json").stdout)["sha256"] for _ in range(2))
    assert first == second


def test_include(folder: Path) -> None:
    """A module that nothing imports is kept, with its packages, for each --include; a name that is none is an error."""
    (folder / "lonely").mkdir()
    (folder / "lonely" / "one.py").write_text("")
    assert "lonely.one" not in json.loads(succeed("build", "filter.py", "--json").stdout)["modules"]
    report = json.loads(
        succeed("build", "filter.py", "--include", "lonely.one", "--include", "colorsys", "--json").stdout
    )
    assert {"lonely", "lonely.one", "colorsys"} <= report["modules"].keys()
    assert "no module named 'gone'" in fail("build", "filter.py", "--include", "gone")


def test_timeout(folder: Path) -> None:
    """An import that does not end is ended, with advice."""
    (folder / "filter.py").write_text("while True: pass")
    assert "took more than 0.3 seconds; does it loop at import time?" in fail("build", "filter.py", "--timeout", "0.3")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "1e9", "soon"])
def test_a_timeout_is_a_number_of_seconds(folder: Path, timeout: str) -> None:
    """A timeout that cannot be is a usage error."""
    assert "timeout" in fail("build", "filter.py", "--timeout", timeout, code=2)


def test_what_a_filter_prints_goes_to_standard_error(folder: Path) -> None:
    """Standard output is the report's alone."""
    (folder / "filter.py").write_text("import sys\nprint('printed')\nsys.stderr.write('no newline')\n" + FILTER)
    result = succeed("build", "filter.py", "--json")
    assert result.stderr.splitlines() == ["printed", "no newline"]
    json.loads(result.stdout)


# Errors of a build


def test_an_error_names_the_users_line(folder: Path) -> None:
    """The message says file, line and what is wrong there, and an existing module is as it was."""
    (folder / "my-filter.wasm").write_bytes(b"the last good one")
    (folder / "filter.py").write_text(FILTER + "\n1 / 0\n")
    assert fail("build", "filter.py") == "error: filter.py:9: ZeroDivisionError: division by zero\n"


@pytest.mark.parametrize("name", ["'a' * 300", "'\\udcff'", "'nul\\0nul'", "'a..b'"])
def test_a_module_with_an_odd_name(folder: Path, name: str) -> None:
    """An import of what cannot be a module is an error of the filter like another."""
    (folder / "filter.py").write_text(f"import importlib\nimportlib.import_module({name})\n")
    assert fail("build", "filter.py").startswith("error: filter.py:2: ")


def test_a_module_that_cannot_be_read(folder: Path) -> None:
    """The error names the file that is the trouble."""
    (folder / "filter.py").write_text("import beside\n")
    (folder / "beside.py").symlink_to("/proc/self/mem")
    result = run("build", "filter.py")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error: {folder / 'beside.py'}: cannot be read: Input/output error\n"


def test_a_filter_that_registers_nothing(folder: Path) -> None:
    """The error says what to write."""
    (folder / "filter.py").write_text("")
    assert 'error: filter.py: registers no plugin: decorate a class with @http_filter("name")' in fail(
        "build", "filter.py"
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.py", "gone.py: no such file or folder"),
        ("a" * 300, "no such file or folder"),
        ("empty", "empty: the folder is no package (__init__.py) and has no filter.py"),
        ("notes.txt", "notes.txt: not a Python file"),
        ("json", "json: a package cannot be called 'json' here; rename the folder"),
    ],
)
def test_a_path_that_is_no_filter(folder: Path, path: str, message: str) -> None:
    """The error says what is wrong with the path."""
    (folder / "empty").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "json").mkdir()
    (folder / "json" / "__init__.py").write_text(FILTER)
    assert message in fail("build", path)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("gone/out.wasm", "gone/out.wasm: cannot be written: No such file or directory"),
        ("folder", "folder: cannot be written: Is a directory"),
        ("filter.py/out.wasm", "cannot be written: Not a directory"),
        ("/proc/out.wasm", "/proc/out.wasm: cannot be written: No such file or directory"),
        ("x" * 300, "cannot be written: File name too long"),
    ],
)
def test_an_output_that_cannot_be_written(folder: Path, output: str, reason: str) -> None:
    """The error says which output and why, and nothing is left beside it."""
    (folder / "folder").mkdir()
    assert reason in fail("build", "filter.py", "-o", output)
    assert list((folder / "folder").iterdir()) == []


@pytest.mark.parametrize("output", ["", ".", "/", "filter.py", "./filter.py", "link.py"])
def test_an_output_that_makes_no_sense(folder: Path, output: str) -> None:
    """Something that is no file name, or the filter itself, is a usage error before anything is built."""
    (folder / "link.py").symlink_to("filter.py")
    assert fail("build", "filter.py", "-o", output, code=2).startswith("error: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["build", "filter.py", "filter.py"],
        ["build", "filter.py", "--abi", "0.3"],
        ["run", "filter.py", "built.wasm"],
        ["cache", "warm", "--abi", ""],
        ["build", "filter.py", "--colour"],
        ["build", "filter.py", "--name", ""],
        ["inspect"],
        ["run", "filter.py", "--port", "70000"],
        ["run", "filter.py", "--log-level", "loud"],
        ["run", "filter.py", "--env", "NOVALUE"],
        ["run", "filter.py", "--config", "@gone.json"],
        ["cache", "--json", "clear"],
        ["unknown"],
        [],
    ],
    ids=" ".join,
)
def test_usage_errors(folder: Path, arguments: list[str]) -> None:
    """A request that makes no sense ends with 2 and says why on standard error."""
    assert fail(*arguments, code=2) != ""


# [tool.pyfilter]


def test_settings_are_defaults(folder: Path) -> None:
    """The project's settings hold where no option is given, and are relative to its file."""
    (folder / "pyproject.toml").write_text(
        '[tool.pyfilter]\nname = "edge"\noutput = "sub/edge.wasm"\ninclude = ["colorsys"]\ntimeout = 50.0\n'
    )
    (folder / "sub").mkdir()
    report = json.loads(succeed("build", "filter.py", "--json").stdout)
    assert (report["name"], report["path"]) == ("edge", str(folder / "sub" / "edge.wasm"))
    assert "colorsys" in report["modules"]
    report = json.loads(
        succeed("build", "filter.py", "--json", "--name", "n", "-o", "o.wasm", "--include", "cmd").stdout
    )
    assert (report["name"], report["path"]) == ("n", "o.wasm")
    assert "cmd" in report["modules"]
    assert "colorsys" not in report["modules"]


def test_faults_of_settings_are_told_together(folder: Path) -> None:
    """Every wrong setting is named by its path; nothing is built."""
    (folder / "pyproject.toml").write_text('[tool.pyfilter]\nname = 5\ncolour = "red"\ntimeout = 0\n')
    message = fail("build", "filter.py", code=2)
    assert message.startswith(f"error: {folder / 'pyproject.toml'}:\n")
    assert all(f"\n  tool.pyfilter.{name}: " in message for name in ("name", "colour", "timeout"))


# inspect


def test_inspect(folder: Path) -> None:
    """The report for people names what is in the module; the one for programs agrees with the build's."""
    built = json.loads(succeed("build", "filter.py", "--json").stdout)
    text = succeed("inspect", "my-filter.wasm").stdout
    assert all(word in text for word in ("my-filter.wasm", built["sha256"], "0.2.1", "Hosts", "Imports", "Exports"))
    report = json.loads(succeed("inspect", "my-filter.wasm", "--json").stdout)
    assert (report["size"], report["sha256"], report["abi"]) == (built["size"], built["sha256"], built["abi"])
    assert all(host["loads"] for host in report["hosts"])
    assert sorted(item["name"] for item in report["exports"]) == built["exports"]


COMPONENT = b"\0asm\x0d\0\1\0"


def test_inspect_why(folder: Path) -> None:
    """--why shows the imports that brought in a module, and what is not there is an error."""
    (folder / "filter.py").write_text((folder / "filter.py").read_text() + "\nimport json\n")
    line = len((folder / "filter.py").read_text().splitlines())
    succeed("build", "filter.py")
    assert succeed("inspect", "my-filter.wasm", "--why", "json").stdout.startswith(f"filter.py:{line} → json\n")
    chain = json.loads(succeed("inspect", "my-filter.wasm", "--why", "json", "--json").stdout)
    assert [(item["name"], item["importer"], item["line"]) for item in chain] == [
        ("filter", "", 0),
        ("json", "filter", line),
    ]
    assert "no Python module 'jsn' in it; is it json" in fail("inspect", "my-filter.wasm", "--why", "jsn")


@pytest.mark.parametrize(
    ("name", "data", "message", "code"),
    [
        ("gone", None, "cannot read gone: No such file or directory", 2),
        ("folder", None, "cannot read folder: Is a directory", 2),
        ("filter.py", None, "not WebAssembly", 1),
        ("empty", b"", "not WebAssembly", 1),
        ("component", COMPONENT, "component", 1),
        ("cut", b"\0asm\1\0\0\0\1\x7f", "at offset 0x", 1),
    ],
)
def test_inspect_something_else(folder: Path, name: str, data: bytes | None, message: str, code: int) -> None:
    """What is no module is said to be what it is."""
    (folder / "folder").mkdir()
    if data is not None:
        (folder / name).write_bytes(data)
    assert message in fail("inspect", name, code=code)


# call

CALLED = """
from pywasmfilter import Action, HttpContext, PluginContext, hostcalls, log, plugin

print("imported")

@plugin("called")
class Called(PluginContext):
    def on_plugin_start(self, plugin_configuration_size):
        log.info(f"{self.plugin_configuration} {self.plugin_configuration and __import__('os').environ['A']}")
        hostcalls.set_tick_period_milliseconds(1000)
        return True

    def on_tick(self):
        log.warn("tick")

    def new_http_context(self, context_id):
        return Stream(context_id)

class Stream(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        self.request.headers.remove("x-secret")
        self.request.headers["x-added"] = "\u00e4\u202e"
        match self.request.path:
            case "/wait":
                return Action.PAUSE
            case "/deny":
                return self.send_http_response(403, body="denied")
            case "/ask":
                headers = [(":method", "GET"), (":path", "/"), (":authority", "a")]
                self.dispatch_http_call("auth", headers, self.answered)
                return Action.PAUSE

    def answered(self, num_headers, body_size, num_trailers):
        log.info(hostcalls.get_http_call_response_body())
        self.resume_http_request()

    def on_http_response_headers(self, num_headers, end_of_stream):
        self.response.headers["x-answered"] = "1"
"""


@pytest.fixture
def called(folder: Path) -> Path:
    """A filter that shows what it was called with."""
    path = folder / "called.py"
    path.write_text(CALLED, encoding="utf-8")
    return path


def called_json(*arguments: str | Path) -> Any:
    return json.loads(succeed("call", *arguments, "--json").stdout)


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_call_shows_what_happens(called: Path, body: str) -> None:
    """Both ways are shown with what was added and removed, then the log, and each callback with its host calls."""
    options = [
        "--path",
        "/a",
        "-H",
        "X-Secret: 1",
        "--body",
        "sent",
        "--upstream-body",
        "got",
        "--upstream-status",
        "201",
    ]
    shown = succeed("call", called, *options, "--filter-body", body).stdout.splitlines()
    assert shown[0] == "POST /a → 201"
    assert {"    :path: /a", "  - x-secret: 1", "  + x-added: \u00e4\\u202e", "    sent"} <= set(shown)
    assert {"    :status: 201", "  + x-answered: 1", "    got"} <= set(shown)
    assert shown.index("    sent") < shown.index("    got") < shown.index("  [info] b'' b''")
    line = next(index for index, line in enumerate(shown) if "on_request_headers(2, " in line)
    assert re.fullmatch(r" +[0-9.]+ ms  on_request_headers\(2, 8, 0\) → CONTINUE", shown[line])
    assert shown[line + 1].strip() == "remove_header_map_value(HTTP_REQUEST_HEADERS, 'x-secret')"


def test_call_as_json(called: Path) -> None:
    """--json prints the same as JSON, and what the filter prints stays out of it."""
    result = succeed("call", called, "-H", "host: a.b", "--upstream-header", "x-up: 2", "--json")
    assert result.stderr == "imported\n"
    outcome = json.loads(result.stdout)
    assert list(outcome) == ["request", "upstream", "response", "unfinished", "log", "callbacks", "unanswered"]
    assert [":authority", "a.b"] in outcome["request"]["headers"]
    assert ["x-added", "\u00e4\u202e"] in outcome["upstream"]["headers"]
    assert ["x-up", "2"] in outcome["response"]["headers"]
    assert (outcome["response"]["body"], outcome["response"]["trailers"], outcome["unfinished"]) == ("", [], None)
    assert {"level": "info", "message": "b'' b''"} in outcome["log"]
    (callback,) = (callback for callback in outcome["callbacks"] if callback["name"] == "proxy_on_request_headers")
    assert (callback["context_id"], callback["arguments"], callback["answer"]) == (2, [6, 1], 0)
    assert callback["host_calls"][0] == "remove_header_map_value(HTTP_REQUEST_HEADERS, 'x-secret')"


def test_call_of_a_request_that_is_denied(called: Path) -> None:
    """A response of the filter's own is shown as such, and that nothing reached the upstream. It is no failure."""
    shown = succeed("call", called, "--path", "/deny").stdout
    assert shown.startswith("GET /deny → 403\n\nrequest, of which nothing reached the upstream\n")
    assert "response, which is not the upstream's\n  :status: 403\n" in shown
    assert called_json(called, "--path", "/deny")["upstream"] is None


def test_call_of_a_request_that_is_held_back(called: Path) -> None:
    """Without a response, it says what the filter waits for. Time passes if that is asked for."""
    outcome = called_json(called, "--path", "/wait", "--advance", "2.5")
    assert outcome["response"] is None
    assert "the filter holds the request back" in outcome["unfinished"]
    assert [line["message"] for line in outcome["log"]][-2:] == ["tick", "tick"]
    shown = succeed("call", called, "--path", "/wait").stdout
    assert "the filter holds the request back" in shown
    assert "[warn] tick" not in shown


def test_call_with_clusters(called: Path) -> None:
    """--cluster answers calls of the filter; a call to a cluster that was not given fails, as in Envoy."""
    outcome = called_json(called, "--path", "/ask", "--cluster", "auth=200:a:b", "--cluster", "other=503")
    assert outcome["log"][-1]["message"] == "a:b"
    assert outcome["response"]["headers"][0] == [":status", "200"]
    outcome = called_json(called, "--path", "/ask")
    assert "BadArgument" in outcome["log"][-1]["message"]
    assert outcome["response"]["headers"][0] == [":status", "500"]


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_call_with_a_configuration(called: Path, body: str) -> None:
    """--config and --env are what the plugin is configured with; `@` reads a file."""
    Path("config").write_bytes(b"from a file")
    outcome = called_json(called, "--config", "@config", "--env", "A=b", "--plugin", "called", "--filter-body", body)
    assert {"level": "info", "message": "b'from a file' b"} in outcome["log"]


def test_call_of_a_module(called: Path) -> None:
    """A module that is built already runs as it is, and several files are built into one."""
    succeed("build", called, "-o", "called.wasm")
    assert ["x-answered", "1"] in called_json("called.wasm")["response"]["headers"]
    both = called_json(called, "filter.py", "--plugin", "my-filter", "--filter-body", "wasm")
    assert ["x", "y"] in both["response"]["headers"]


def test_call_of_binary_bodies(called: Path) -> None:
    """A body that is no text is shown as bytes, a long one only in part; terminals get no control characters."""
    Path("binary").write_bytes(b"\xff\x00" + b"z" * 5000)
    result = succeed("call", called, "--body", "@binary", "--upstream-body", "\x1b[31m" + "long\n" * 1000)
    assert "    b'\\xff\\x00zzz" in result.stdout
    assert "… 5002 in all" in result.stdout
    assert "… 5005 in all" in result.stdout
    assert "\\x1b[31mlong" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize(
    ("code", "messages"),
    [
        ("import nothing_there", ["bad.py:1", "No module named 'nothing_there'"]),
        ("def f(:", ["bad.py:1", "SyntaxError"]),
        ("import json\njson.loads('x')", ["bad.py:2", "JSONDecodeError"]),
        ("x = 1", ["bad.py registers no plugin"]),
        ("from pywasmfilter import http_filter\n@http_filter('x')\nclass X: pass", ["bad.py:2"]),
        (CALLED.replace("return True", "return False"), ["the plugin does not start", "[info] b'' b''"]),
    ],
)
def test_call_of_a_filter_that_does_not_start(folder: Path, code: str, messages: list[str]) -> None:
    """A filter that cannot be imported, or does not start, is an error that says why and where."""
    (folder / "bad.py").write_text(code, encoding="utf-8")
    said = fail("call", "bad.py").replace("imported\n", "")
    assert said.startswith("error: ")
    assert set(re.findall(r"(\w+\.py):\d", said)) <= {"bad.py"}
    assert [message for message in messages if message not in said] == []


def test_call_of_a_filter_that_raises_when_it_starts(folder: Path) -> None:
    """The error has what the filter logged, which is where it raised."""
    (folder / "bad.py").write_text(CALLED.replace("return True", "raise LookupError('no')"), encoding="utf-8")
    result = run("call", "bad.py")
    assert (result.exit_code, result.stdout) == (1, "")
    assert 'bad.py", line 11, in Called.on_plugin_start\nLookupError: no\n' in result.stderr


def test_call_of_a_module_that_breaks_down(folder: Path) -> None:
    """What is no module, what wasmtime refuses, and what traps is an error that names the file."""
    for content in b"", b"(module)", b"\0asm\1\0\0\0 and more":
        (folder / "bad.wasm").write_bytes(content)
        assert "bad.wasm: not a WebAssembly module" in fail("call", "bad.wasm")
    add_module('(func (export "proxy_on_context_create") (param i32 i32) unreachable)')
    assert "error: bad.wasm: proxy_on_context_create" in fail("call", "bad.wasm")


MEMORY = '(memory (export "memory") 1)'
MALLOC = '(func (export "malloc") (param i32) (result i32) i32.const 0)'


def add_module(*items: str, memory: str = MEMORY, malloc: str = MALLOC) -> None:
    """A module of another language, bad.wasm, with some items; imports have to come first."""
    module = f'(module {" ".join(items)} {memory} {malloc} (func (export "proxy_abi_version_0_2_1")))'
    Path("bad.wasm").write_bytes(bytes(wasmtime.wat2wasm(module)))


@pytest.mark.parametrize(
    ("items", "exports", "message"),
    [
        ([], {"memory": ""}, "no memory"),
        ([], {"memory": '(func (export "memory"))'}, "no memory"),
        ([], {"malloc": ""}, "no allocator"),
        ([], {"malloc": '(func (export "malloc"))'}, "malloc is [] → []"),
        ([], {"malloc": '(global (export "malloc") i32 (i32.const 1))'}, "malloc is no function"),
        (['(import "env" "proxy_nothing" (func))'], {}, "unknown import: `env::proxy_nothing`"),
        (["(func $f unreachable) (start $f)"], {}, "the start function: "),
        (['(func (export "_initialize") unreachable)'], {}, "the start of the module: "),
        (['(func (export "_initialize") (param i32))'], {}, "_initialize is ['i32'] → []"),
    ],
)
def test_call_of_a_module_that_cannot_start(
    folder: Path, items: list[str], exports: dict[str, str], message: str
) -> None:
    """A module that lacks what a host needs, or breaks down as it starts, is an error that says so."""
    add_module(*items, **exports)
    assert message in fail("call", "bad.wasm")


def test_call_of_a_module_that_needs_the_host_to_start(folder: Path) -> None:
    """`_initialize` can call the host and have it write to memory, as runtimes of other languages do."""
    add_module(
        '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))',
        '(func (export "_initialize") (if (call $random (i32.const 0) (i32.const 8)) (then unreachable)))',
    )
    assert succeed("call", "bad.wasm").stdout.startswith("GET / → 200\n")


@pytest.mark.parametrize(("change", "shown"), [("remove", "no status"), ("replace", "abc")])
def test_call_of_a_filter_that_breaks_the_status(folder: Path, change: str, shown: str) -> None:
    """A status that is no number, or none at all, is shown as it is."""
    parameters = (
        "(param i32 i32 i32 i32 i32) (result i32)" if change == "replace" else "(param i32 i32 i32) (result i32)"
    )
    value = "(i32.const 8) (i32.const 3)" if change == "replace" else ""
    add_module(
        f'(import "env" "proxy_{change}_header_map_value" (func $change {parameters}))',
        '(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)',
        f"(drop (call $change (i32.const 2) (i32.const 0) (i32.const 7) {value})) (i32.const 0))",
        memory=f'{MEMORY} (data (i32.const 0) ":status abc")',
    )
    assert succeed("call", "bad.wasm").stdout.startswith(f"GET / → {shown}\n")
    assert called_json("bad.wasm")["unfinished"] is None


def test_call_of_a_filter_that_the_user_ends(folder: Path) -> None:
    """To leave a debugger ends the command as Ctrl-C does, without a traceback."""
    (folder / "stops.py").write_text("import bdb\nraise bdb.BdbQuit")
    assert "Aborted!" in fail("call", "stops.py")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.py"], "missing.py: no such file"),
        (["missing.wasm"], "missing.wasm: "),
        (["filter.py", "-H", "x"], "'x'"),
        (["filter.py", "-H", ": x"], "': x'"),
        (["filter.py", "-H", "x: a\nb"], "NAME:VALUE"),
        (["filter.py", "--cluster", "auth"], "'auth'"),
        (["filter.py", "--cluster", "auth=99"], "'auth=99'"),
        (["filter.py", "--env", "A"], "'A'"),
        (["filter.py", "--body", "@missing"], "missing: "),
        (["filter.py", "--upstream-status", "99"], "99"),
        *((["filter.py", "--advance", seconds], seconds) for seconds in ("-1", "inf", "nan", "1e+300")),
        (["filter.py", "--env", "A=\udcff"], "UTF-8"),
        (["filter.py", "--upstream-header", ":status: 300"], ":status"),
        (["filter.wasm", "--filter-body", "python"], "--filter-body"),
        (["filter.wasm", "filter.py"], "filter.wasm: "),
    ],
)
def test_a_call_that_makes_no_sense(folder: Path, arguments: list[str], message: str) -> None:
    """What cannot be sent, or is not there, is an error before anything runs."""
    assert message in fail("call", *arguments, code=1 if arguments == ["missing.py"] else 2)


# test

TESTS = """
from pywasmfilter.testing import Host

def test_filter(host: Host) -> None:
    assert host.request().headers["x"] == "y"

def test_hello(host: Host) -> None:
    assert host.body == "python"
"""


def run_tests(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "test", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_tests_run_in_both_bodies(folder: Path) -> None:
    """`pyfilter test` runs the tests of the current folder in both bodies, and ends as pytest does."""
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    done = run_tests()
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "python: 2 passed\nwasm: 1 passed, 1 failed\n" in done.stdout


def test_pytest_that_is_killed(folder: Path) -> None:
    """A signal that ends pytest gives the code that a shell gives for it."""
    (folder / "test_it.py").write_text("import os\ndef test_it(): os.kill(os.getpid(), 9)", encoding="utf-8")
    assert run_tests().returncode == 128 + signal.SIGKILL


def test_arguments_are_pytests(folder: Path) -> None:
    """The body can be chosen, and all else is pytest's: options in one word with a letter of this command's too."""
    (folder / "test_it.py").write_text(TESTS, encoding="utf-8")
    done = run_tests("--filter-body", "python", "-v", "-khello", "test_it.py")
    assert done.returncode == pytest.ExitCode.OK
    assert "test_it.py::test_hello[python] PASSED" in done.stdout
    assert "1 passed, 1 deselected" in done.stdout
    assert run_tests("missing.py").returncode == pytest.ExitCode.USAGE_ERROR
    (folder / "test_it.py").unlink()
    assert run_tests().returncode == pytest.ExitCode.NO_TESTS_COLLECTED


# cache


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache in which images are made in no time, and cannot be used; gives the folder of images."""

    def write_files(new: Path, *_: object) -> None:
        for name in runtime_image._FILES:
            (new / name).write_bytes(b"1234")

    monkeypatch.setenv("PYFILTER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime_image, "_write_files", write_files)
    monkeypatch.setattr(wasmtime.Module, "deserialize_file", lambda *_: None)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: None)
    monkeypatch.setattr(runtime_image, "Archive", lambda *_: None)
    return tmp_path / "cache" / "images"


def test_cache(empty_cache: Path) -> None:
    """Show, warm, show, clear, show: each says what is there or what it did."""
    assert json.loads(succeed("cache", "--json").stdout) == {"folder": str(empty_cache), "images": []}
    assert "no image for this version yet" in succeed("cache").stdout

    image = Path(succeed("cache", "warm").stdout.strip())
    assert image.parent == empty_cache
    (row,) = json.loads(succeed("cache", "--json").stdout)["images"]
    assert (row["path"], row["abi"], row["current"]) == (str(image), "0.2.1", True)
    assert row["size"] == sum(path.stat().st_size for path in image.iterdir())
    assert [f"{image.name}  ABI 0.2.1  0.0 MB  in use" in line for line in succeed("cache").stdout.splitlines()] == [
        False,
        True,
    ]

    older = Path(succeed("cache", "warm", "--abi", "0.1.0").stdout.strip())
    assert {row["path"]: row["abi"] for row in json.loads(succeed("cache", "--json").stdout)["images"]} == {
        str(image): "0.2.1",
        str(older): "0.1.0",
    }

    assert succeed("cache", "clear").stdout == "".join(f"removed {path}\n" for path in sorted([image, older]))
    assert succeed("cache", "clear").stdout == ""
    assert list(empty_cache.iterdir()) == []


def test_a_cache_that_cannot_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command that needs an image says why there is none."""
    monkeypatch.setenv("PYFILTER_CACHE_DIR", str(folder / "filter.py"))
    for arguments in (["cache", "warm"], ["build", "filter.py"]):
        assert f"error: the runtime image cannot be kept in {folder}/filter.py/images" in fail(*arguments)
    assert "no image" in succeed("cache").stdout


# Help


def commands(command: click.Command, name: str = "pyfilter") -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, by the words that call it."""
    yield name, command
    if isinstance(command, click.Group):
        for word, child in command.commands.items():
            yield from commands(child, f"{name} {word}")


COMMANDS = dict(commands(cli.main))


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_has_help(name: str) -> None:
    """Each command and each option says what it does, with -h as with --help."""
    command = COMMANDS[name]
    assert command.help
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []
    words = name.split()[1:]
    assert succeed(*words, "-h").stdout == succeed(*words, "--help").stdout
    for option in options:
        assert option.opts[-1] in succeed(*words, "--help").stdout


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """--version says which one is installed."""
    monkeypatch.setattr(importlib.metadata, "version", {"pywasmfilter": "1.2.3"}.__getitem__)
    assert succeed("--version").stdout == "pyfilter, version 1.2.3\n"


# As a process


def start(*arguments: str, command: Sequence[str] = COMMAND, **options: Any) -> subprocess.Popen[str]:
    """The command as a process of its own, in a process group of its own."""
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same for a while: it does not outlive a test that fails."""
    with start(*arguments, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_process_that_succeeds(folder: Path) -> None:
    """Standard output is the result; in a pipe there is no progress."""
    process = start("build", "filter.py", "--json")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["path"] == "my-filter.wasm"


def test_a_process_that_fails(folder: Path) -> None:
    """The message is on standard error, without a traceback or colours, and the exit code is 1."""
    process = start("build", "gone.py")
    assert process.communicate(timeout=120) == ("", "error: gone.py: no such file or folder\n")
    assert process.returncode == 1


def test_a_reader_that_has_gone(folder: Path) -> None:
    """A closed pipe behind the command, as after `| head`, is no traceback."""
    process = start("build", "--help")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr as stderr:
        assert "Traceback" not in stderr.read()
    process.wait(timeout=60)


FORBIDDEN = ("wasmtime", "pydantic", "componentize_py", "ctypes", "asyncio", "http", "ssl", "subprocess", "zipfile")


def test_help_comes_quickly() -> None:
    """`pyfilter --help` imports none of what only commands need."""
    code = """
import sys
from pywasmfilter_compiler.cli import main
main(["--help"], standalone_mode=False)
print("\\n".join(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert loaded & set(FORBIDDEN) == set()


def test_inspect_comes_quickly(folder: Path) -> None:
    """`pyfilter inspect` reads a module without what builds need."""
    (folder / "empty.wasm").write_bytes(b"\0asm\1\0\0\0")
    code = """
import sys
from pywasmfilter_compiler.cli import main
main(["inspect", "empty.wasm"], standalone_mode=False)
print("\\n".join(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Hosts" in done.stdout
    assert {name.partition(".")[0] for name in done.stderr.split()} & set(FORBIDDEN) == set()


WARM = """
from pathlib import Path
from pywasmfilter_compiler import cli, runtime_image

def load(progress, abi):
    progress("making it")
    progress("and compiling it")

runtime_image.load = load
runtime_image.current_folder = lambda abi: Path("the-folder")
cli.main(["cache", "warm"])
"""


def test_there_is_no_progress_in_a_pipe() -> None:
    """Without a terminal nothing is shown of the steps."""
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("the-folder\n", "")


def test_progress_on_a_terminal() -> None:
    """With a terminal as standard error, each step is shown there with its time; standard output stays clean."""
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        process = subprocess.Popen([sys.executable, "-c", WARM], stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        out, _ = process.communicate(timeout=60)
        text = read_all(terminal.fileno())
    assert (process.returncode, out) == (0, b"the-folder\n")
    first, second = text.splitlines()
    assert "making it …" in first
    assert "and compiling it …" in second
    assert (first[-2:], second[-2:]) == (" s", " s")


def read_all(terminal: int) -> str:
    """What was written to a terminal that nobody writes to any more."""
    data = b""
    while select.select([terminal], [], [], 10)[0]:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how a terminal ends
            break
        if not part:
            break
        data += part
    return data.decode()


@pytest.mark.parametrize("loop", ["while True: pass", "def f():\n  while True:\n    [x for x in range(10)]\nf()"])
def test_ctrl_c_ends_a_build(folder: Path, loop: str) -> None:
    """Ctrl-C while a filter loops at import ends the build soon, without a traceback or a file."""
    (folder / "filter.py").write_text(f"print('it loops')\n{loop}\n{FILTER}")
    before = files(folder)
    # A shell starts what it puts into the background with SIGINT ignored, and so would this process's child be.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with running("build", "filter.py", "-o", "out.wasm", preexec_fn=heed) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "it loops\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode in {1, 130}
    assert (out, "Traceback" in err) == ("", False)
    assert files(folder) == before


def test_call_on_a_terminal_without_unicode(folder: Path) -> None:
    """What standard output has no character for is shown by its number."""
    process = start("call", "filter.py", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("GET / \\u2192 200\n")


LOOPING_CALL = """
import os, threading
from pywasmfilter.testing.vm import VM
from pywasmfilter_compiler.cli import main

def perform(vm, function, arguments):
    # Once the module is at it again, which takes no time. At once, as there may be several host calls.
    threading.Timer(0.3, os.write, [2, b"it loops\\n"]).start()
    return getattr(vm, function)(*arguments)

VM.perform = perform
main(["call", "filter.py", "--filter-body", "wasm"])
"""


def test_ctrl_c_ends_a_call_of_a_module_that_loops(folder: Path) -> None:
    """Ctrl-C ends the command while a module runs that never returns, and nothing is left in the temporary folder."""
    (folder / "tmp").mkdir()
    (folder / "filter.py").write_text(FILTER + "        while True: pass\n")
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    with running(command=[sys.executable, "-c", LOOPING_CALL], env=environment, preexec_fn=heed) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "it loops\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert (out, "Traceback" in err, list((folder / "tmp").iterdir())) == ("", False, [])


def test_ctrl_c_twice_ends_tests_that_do_not_hear(folder: Path) -> None:
    """Tests that do not heed Ctrl-C, as in a module that loops, end at the second one."""
    code = "import signal, time\ndef test_it():\n  signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    (folder / "test_it.py").write_text(f"{code}  print('began', flush=True)\n  time.sleep(60)\n")
    with running("test", "-s", "-p", "no:cacheprovider") as process:
        assert process.stdout is not None
        assert any("began" in line for line in process.stdout)
        while process.poll() is None:
            os.kill(process.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
    assert process.returncode == 128 + signal.SIGKILL


def test_ctrl_c_ends_tests(folder: Path) -> None:
    """Ctrl-C reaches pytest, which says what it has so far, and its exit code is the command's."""
    (folder / "test_it.py").write_text("import time\ndef test_it():\n  print('began', flush=True)\n  time.sleep(60)\n")
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with running("test", "-s", "-p", "no:cacheprovider", preexec_fn=heed) as process:
        assert process.stdout is not None
        assert any("began" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "no tests ran" in out
    assert err == ""
