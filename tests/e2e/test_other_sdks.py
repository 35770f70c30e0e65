"""The pages "Coming from …": their filter does the same in every language, in a real Envoy; their tables of names are
complete and true.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from pywasmfilter_compiler import build
from pywasmfilter_compiler.envoy.bootstrap import (
    LISTENER,
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    http_listener,
    route_to,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

import pywasmfilter
from tests.e2e.client import request
from tests.pages import DOCS, REPOSITORY, Block, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

GO_SDK = "github.com/proxy-wasm/proxy-wasm-go-sdk"
GO_MODULE = REPOSITORY / "benchmarks" / "compare" / "filters"
RUST_PACKAGE = Path(__file__).parent / "rust_filter"
PAGES = ("from-go.md", "from-rust.md", "from-lua.md")

# The filter

# The value of `authorization` → the status, the body if the filter wrote it, and the user.
TOKENS: dict[str | None, tuple[int, bytes | None, str | None]] = {
    None: (403, b"a token is needed\n", None),
    "Bearer alice": (200, None, "alice"),
    "Bearer mallory": (403, b"this token is not known\n", None),
    "Bearer broken": (403, b"this token is not known\n", None),  # the service closes the connection
    "Bearer slow": (403, b"this token is not known\n", None),  # the service does not answer in time
}


class TokenService(ThreadingHTTPServer):
    """Says whose token it is, in x-user, for as long as its `with` block lasts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TokenHandler)
        self.closed = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _TokenHandler(BaseHTTPRequestHandler):
    server: TokenService
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        token = self.headers["authorization"]
        if (self.path, self.headers["host"]) != ("/check", "tokens"):
            self.send_error(404)
        elif token == "Bearer alice":
            self.send_response(200)
            self.send_header("x-user", "alice")
            self.send_header("content-length", "0")
            self.end_headers()
        elif token == "Bearer mallory":
            self.send_error(401)
        elif token == "Bearer slow":
            self.server.closed.wait(60)
            self.close_connection = True
        else:
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Nothing to say."""


def block(page: str, language: str, file_name: str | None = None) -> Block:
    """The filter in a language, on a page that has one in it: the first, or the one in a file."""
    named = [block for block in blocks(DOCS / page) if block.language == language and block.file_name]
    return next(block for block in named if file_name in (None, block.file_name))


# Each language's filter, as an HTTP filter of Envoy's configuration


def python_filter(page: str, folder: Path) -> dict[str, Any]:
    """Built with this compiler."""
    return built(block(page, "python"), folder)


def callback_filter(page: str, folder: Path) -> dict[str, Any]:
    """The one without coroutines."""
    return built(block(page, "python", "callbacks.py"), folder)


def built(source: Block, folder: Path) -> dict[str, Any]:
    """A filter in Python."""
    (folder / "filter.py").write_text(source.text, encoding="utf-8")
    return wasm_filter(build(folder / "filter.py", folder / "filter.wasm").path)


def lua_filter(page: str, folder: Path) -> dict[str, Any]:
    """Envoy compiles it."""
    return lua(block(page, "lua").text)


def lua(script: str) -> dict[str, Any]:
    """A script as a filter."""
    config = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": script},
    }
    return {"name": "envoy.filters.http.lua", "typed_config": config}


def go_filter(page: str, folder: Path) -> dict[str, Any]:
    """Compiled with Go's own compiler, against the version of its SDK that the benchmark pins."""
    need("go")
    for name in ("go.mod", "go.sum"):
        shutil.copy(GO_MODULE / name, folder)
    (folder / "main.go").write_text(block(page, "go").text, encoding="utf-8")
    run(["go", "build", "-buildmode=c-shared", "-o", "filter.wasm"], folder, GOOS="wasip1", GOARCH="wasm")
    return wasm_filter(folder / "filter.wasm")


def rust_filter(page: str, folder: Path) -> dict[str, Any]:
    """Compiled by Cargo; where Rust has no WebAssembly target, its types are checked and that is all."""
    need("cargo")
    shutil.copytree(RUST_PACKAGE, folder, dirs_exist_ok=True)
    (folder / "lib.rs").write_text(block(page, "rust").text, encoding="utf-8")
    target = next((target for target in ("wasm32-wasip1", "wasm32-unknown-unknown") if has_target(target)), None)
    if target is None:
        run(["cargo", "check", "--locked"], folder)
        pytest.skip("Rust has no WebAssembly target here, so the filter was only type-checked: `rustup target add …`")
    run(["cargo", "build", "--locked", "--release", "--target", target], folder)
    return wasm_filter(folder / "target" / target / "release" / "filter.wasm")


def has_target(target: str) -> bool:
    """Whether Rust's standard library is there for a target."""
    command = ["rustc", "--print", "target-libdir", "--target", target]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.returncode == 0 and any(Path(found.stdout.strip()).glob("libstd-*.rlib"))


def need(program: str) -> None:
    """Skip the test where another language's compiler is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no `{program}` on PATH")


def run(command: list[str], folder: Path, **environment: str) -> str:
    """What a program prints that must succeed."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wasm_filter(module: Path) -> dict[str, Any]:
    """A module as a filter."""
    listener = http_listener([WasmPlugin(module)], [])
    filters: list[dict[str, Any]] = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    return filters[0]


FILTERS: dict[str, tuple[str, Callable[[str, Path], dict[str, Any]]]] = {
    "python": ("from-go.md", python_filter),
    "python with callbacks": ("from-go.md", callback_filter),
    "go": ("from-go.md", go_filter),
    "rust": ("from-rust.md", rust_filter),
    "lua": ("from-lua.md", lua_filter),
}


@pytest.fixture(scope="module")
def clusters(upstream: EchoServer) -> Iterator[list[dict[str, Any]]]:
    """Where requests go, and who knows tokens."""
    with TokenService() as tokens:
        yield [cluster(UPSTREAM, "127.0.0.1", upstream.port), cluster("tokens", "127.0.0.1", tokens.server_port)]


@pytest.fixture(scope="module", params=FILTERS)
def port(
    request: pytest.FixtureRequest, clusters: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """An Envoy with the filter in one language."""
    page, make = FILTERS[request.param]
    with EnvoyProcess(configuration(make(page, tmp_path_factory.mktemp("filter")), clusters)) as envoy:
        yield envoy.listener_port(LISTENER)


def configuration(http_filter: dict[str, Any], clusters: list[dict[str, Any]]) -> dict[str, Any]:
    """Envoy's, with one filter before the router."""
    listener = http_listener([], [route_to(UPSTREAM)])
    listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"].insert(0, http_filter)
    return bootstrap([listener], clusters)


@pytest.mark.envoy
@pytest.mark.parametrize("token", TOKENS)
def test_the_filter_does_the_same_in_every_language(port: int, token: str | None) -> None:
    """Each request gets the answer that `TOKENS` says; upstream and client hear of the user what the service said."""
    status, body, user = TOKENS[token]
    headers = [("x-user", "forged")] + ([] if token is None else [("authorization", token)])
    response = request(port, headers=headers)
    assert (response.status, response.header("x-user")) == (status, [user.encode()] if user else [])
    if body is not None:
        assert response.body == body
    else:
        seen = json.loads(response.body)["headers"]
        assert [value for name, value in seen if name == "x-user"] == [user]


def test_the_pages_show_one_filter() -> None:
    """All pages have the same text in Python, so that one test is enough."""
    assert len({block(page, "python").text for page in PAGES}) == 1


# The names


def names(page: str) -> Iterator[tuple[list[str], list[str]]]:
    """The code in the two columns of a page's tables of names, by rows."""
    inside = False
    for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
        inside = line.endswith("| pywasmfilter |") or (inside and line.startswith("|"))
        if inside and line.startswith("| `"):
            theirs, ours = re.split(r"(?<!\\) \| ", line.strip("| "), maxsplit=1)
            yield re.findall(r"`([^`]+)`", theirs), re.findall(r"`([^`]+)`", ours)


def their_names(page: str) -> set[str]:
    """The names in the other SDK's columns, without arguments."""
    return {code.partition("(")[0] for theirs, _ in names(page) for code in theirs}


CONTEXTS = [pywasmfilter.VMContext, pywasmfilter.PluginContext, pywasmfilter.HttpContext(1), pywasmfilter.TcpContext(1)]
OUTSIDE = ("base64", "builtins", "datetime", "time")


def exists(code: str) -> bool:
    """Whether an expression, or the part of it before any arguments, names something of the SDK or of Python."""
    code = re.sub(r"^(return |with |await |@|\w+\((?=\w+\.))", "", code)
    path = re.split(r"[()\[ :]", code)[0].split(".")
    roots = CONTEXTS if path[0] == "self" else [pywasmfilter, *map(importlib.import_module, OUTSIDE)]
    if path[0] == "self":
        del path[0]
    elif path[0] in OUTSIDE:
        roots = [importlib.import_module(path.pop(0))]
    return any(has(root, path) for root in roots)


def has(root: object, path: list[str]) -> bool:
    """Whether something has an attribute, which has an attribute, and so on; a class's annotations count."""
    for name in path:
        try:
            root = getattr(root, name)
        except AttributeError:
            return name in getattr(root, "__annotations__", ())
        except RuntimeError:  # it is there, and asks a proxy for its value
            return name == path[-1]
    return True


@pytest.mark.parametrize("page", PAGES)
def test_our_names_exist(page: str) -> None:
    """What the tables give for another SDK's names is there under that name."""
    rows = list(names(page))
    assert len(rows) > 50
    assert [code for _, ours in rows for code in ours if not exists(code)] == []


GO_FUNCTIONS = {r"^func (?:\(m \w+\) )?([A-Z]\w*)\("}
GO_TYPES = {
    r"^\s*(?:type )?([A-Z]\w*)(?: \w+)? (?:= |uint32$|struct|interface|func)",
    r"^\t([A-Z]\w*)\(.*\)(?: \w+)?$",  # an interface's methods
}


def test_every_name_of_the_go_sdk_is_translated() -> None:
    """All exported functions, methods and types of its packages for filters are in the page's tables."""
    need("go")
    packages = [f"{GO_SDK}/{name}" for name in ("proxywasm", "proxywasm/types", "properties")]
    folders = run(["go", "list", "-f", "{{.Dir}}", *packages], GO_MODULE).split()
    exported = set()
    for path in (path for folder in folders for path in Path(folder).glob("*.go")):
        source = "" if path.name.endswith("_test.go") else path.read_text(encoding="utf-8")
        patterns = GO_FUNCTIONS if path.parent.name == "properties" else GO_FUNCTIONS | GO_TYPES
        exported |= {name for pattern in patterns for name in re.findall(pattern, source, re.MULTILINE)}
    assert len(exported) > 200
    assert exported - their_names("from-go.md") == set()


def test_every_name_of_the_rust_sdk_is_translated() -> None:
    """All methods of its traits and all functions of the crate are in the page's tables."""
    need("cargo")
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", "Cargo.toml"]
    packages = json.loads(run(command, RUST_PACKAGE))["packages"]
    (manifest,) = (Path(package["manifest_path"]) for package in packages if package["name"] == "proxy-wasm")
    public = set()
    for file, pattern in (("traits", r"^    fn (\w+)"), ("hostcalls", r"^pub fn (\w+)"), ("lib", r"^pub fn (\w+)")):
        source = (manifest.parent / "src" / f"{file}.rs").read_text(encoding="utf-8")
        public |= set(re.findall(pattern, source, re.MULTILINE))
    assert len(public) > 150
    assert public - their_names("from-rust.md") == set()


LUA_METHODS = """
function envoy_on_request(handle)
  local names = {}
  for class, members in pairs(debug.getregistry()) do
    if type(class) == "string" and class:find("Envoy") then
      for name in pairs(members) do table.insert(names, name) end
    end
  end
  handle:respond({[":status"] = "200"}, table.concat(names, " "))
end
"""


@pytest.mark.envoy
def test_every_name_of_lua_is_translated(clusters: list[dict[str, Any]]) -> None:
    """The methods of all objects that this Envoy gives to Lua are in the page's tables, and no others."""
    with EnvoyProcess(configuration(lua(LUA_METHODS), clusters)) as envoy:
        body = request(envoy.listener_port(LISTENER)).body.decode()
    methods = {name for name in body.split() if not name.startswith("__")}
    assert len(methods) > 80
    assert their_names("from-lua.md") - {"pairs"} == methods
