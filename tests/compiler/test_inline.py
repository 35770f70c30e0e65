"""The module for inline filters, their configuration, and the check of a source without a proxy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from pywasmfilter_compiler import FilterError, UsageError, build, build_runtime, check_inline, inline_configuration
from pywasmfilter_compiler.cli import main
from pywasmfilter_compiler.contents import of_module
from pywasmfilter_compiler.inline import MODULES

SOURCE = """from pywasmfilter import HttpContext, http_filter


@http_filter("hello")
class Hello(HttpContext):
    def on_http_response_headers(self, num_headers, end_of_stream):
        BODY
"""


def source(*lines: str, body: str = "pass") -> str:
    """A filter with some lines at its top level, and a body."""
    return SOURCE.replace("BODY", body) + "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module for inline filters."""
    return build_runtime(tmp_path_factory.mktemp("runtime") / "python.wasm").path


# The module


def test_what_sources_may_import_is_in_the_module(module: Path) -> None:
    """The module says of all that is promised that it is there, and of what nobody asked for that it is not."""
    found = of_module(module.read_bytes())
    assert found is not None
    names = {item.name for item in found.modules}.union(found.always)
    assert set(MODULES) <= names
    assert {"pywasmfilter.cache", "pywasmfilter.rules", "pywasmfilter.upstreams"} <= names
    assert not {"decimal", "_decimal", "zoneinfo", "asyncio"} & names


def test_the_command_builds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is included, and without the project's own name and output."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.pyfilter]\nname = "edge"\noutput = "edge.wasm"\nmax_memory = 64\n')
    (tmp_path / "own_module.py").write_text("VALUE = 1\n")
    result = CliRunner().invoke(main, ["build", "--runtime", "--include", "decimal", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["path"], report["name"], report["plugins"]) == ("python.wasm", "python", ["python"])
    assert "decimal" in report["modules"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own_module.py", "pyproject.toml", "python.wasm"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["build"], "Missing argument 'PATH...'"),
        (["build", "--runtime", "filter.py"], "--runtime builds a module without a filter of its own"),
        (["build", "--runtime", "--watch"], "--runtime builds a module without a filter of its own"),
    ],
)
def test_paths_and_the_runtime(arguments: list[str], text: str) -> None:
    """A build has either a path or `--runtime`."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_an_included_module_that_is_not_there(tmp_path: Path) -> None:
    """The error names it."""
    with pytest.raises(FilterError, match="--include missing_module: no module named 'missing_module'"):
        build_runtime(tmp_path / "python.wasm", include=["missing_module"])


# Configurations


def test_a_configuration() -> None:
    """It is JSON without spaces, the same for the same arguments, and without what is not given."""
    assert inline_configuration("é\n") == '{"code":"é\\n"}'
    assert inline_configuration("x", "") == '{"code":"x","config":""}'
    assert inline_configuration("x", {"b": [1, 2.5], "a": None}) == '{"code":"x","config":{"b":[1,2.5],"a":null}}'


# Checks


def test_a_good_source(module: Path) -> None:
    """Its plugin and its upstreams are told. It may try to import what is not there."""
    text = source(
        "from __future__ import annotations",
        "from typing import TYPE_CHECKING",
        "from pywasmfilter import cached, upstream",
        "import urllib.parse",
        "from collections import abc",
        "try:\n    import yaml\nexcept ImportError:\n    yaml = None",
        "if TYPE_CHECKING:\n    import nothing",
        'accounts = upstream("accounts", "https://accounts.example.com")',
    )
    text = text.replace("from __future__ import annotations\n", "")
    for where in (None, module):
        found = check_inline(text, where)
        assert (found.plugin, [upstream.name for upstream in found.upstreams]) == ("hello", ["accounts"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x = 1\nif x\n", "shop.py:2: SyntaxError: expected ':'"),
        (source("", "1 / 0"), "shop.py:9: ZeroDivisionError: division by zero"),
        (source("import missing_module"), "shop.py:8: ModuleNotFoundError: No module named 'missing_module'"),
        ("", "shop.py: ValueError: registers no plugin: decorate a class with @http_filter"),
        (source('http_filter("b")(Hello)'), "shop.py: ValueError: registers several plugins, 'hello', 'b'"),
        (
            source().replace("headers(", "haeders("),
            "shop.py:6: TypeError: Hello.on_http_response_haeders is no callback",
        ),
        (
            source("from pywasmfilter import VMContext, vm", "vm(type('V', (VMContext,), {}))"),
            "shop.py:9: ValueError: a module has one VM context",
        ),
        (source('raise ValueError("\\0\\ud800")'), "shop.py:8: ValueError"),
        ("\ud800", "shop.py:"),
        ("x = '\0'", "shop.py: SyntaxError: source code string cannot contain null bytes"),
    ],
    ids=range(10),
)
def test_what_the_module_refuses(text: str, error: str) -> None:
    """The error has the path and the line, where there is one, and what is wrong."""
    with pytest.raises(FilterError) as caught:
        check_inline(text, path="shop.py")
    assert str(caught.value).startswith(error)
    assert str(caught.value.path) == "shop.py"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (source(body="import decimal"), "<inline>:7: imports decimal, which is not in the module: build that with"),
        (source("from email import policy"), "<inline>:8: imports email, "),
        (source("from http import cookiejar"), "<inline>:8: imports http.cookiejar, "),
        (source("try:\n    1\nexcept ValueError:\n    import decimal"), "<inline>:11: imports decimal, "),
    ],
    ids=range(4),
)
def test_imports_of_what_is_not_in_the_module(module: Path, text: str, error: str) -> None:
    """With the module, imports are checked wherever they stand; the error says how to get what is missing."""
    check_inline(text)
    with pytest.raises(FilterError) as caught:
        check_inline(text, module)
    assert str(caught.value).startswith(error)
    assert "--include" in str(caught.value)


def test_a_source_that_does_not_end() -> None:
    """It is stopped, and the error says so."""
    with pytest.raises(FilterError, match=r"^<inline>: importing it took more than 1 second"):
        check_inline("while True: pass", timeout=1)


def test_a_module_that_is_none_for_inline_filters(tmp_path: Path) -> None:
    """Another module, and what is none, are refused as such."""
    (tmp_path / "filter.py").write_text(source(), encoding="utf-8")
    other = build(tmp_path / "filter.py", tmp_path / "other.wasm").path
    with pytest.raises(UsageError, match=r"other\.wasm: no module for inline filters"):
        check_inline(source(), other)
    with pytest.raises(UsageError, match=r"missing\.wasm: No such file"):
        check_inline(source(), tmp_path / "missing.wasm")
