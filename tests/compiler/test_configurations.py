"""`pyfilter schema` and `pyfilter validate`, and what `run` and `call` say of a configuration before they build."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from pywasmfilter_compiler import build, cli, runtime_image

FILTER = '''
from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import helper
from pywasmfilter import HttpContext, PluginContext, http_filter, plugin

print("imported")


@dataclass
class Config:
    """What to check.

    And how.
    """

    name: str
    """A text that
    takes two lines."""
    limits: helper.Limits = field(default_factory=helper.Limits)
    secret: str = "x"
    "Not shown."

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("bad is no name")
        if self.name == "bug":
            raise AttributeError("a bug")


@http_filter("check", config=Config)
class Check(HttpContext):
    config: Config

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.response.headers["x-wait"] = f"{self.config.name} {self.config.limits.wait.total_seconds()}"


@http_filter("plain")
class Plain(HttpContext):
    pass
'''
HELPER = """
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass
class Limits:
    wait: timedelta = timedelta(minutes=2)
    tags: set[str] = field(default_factory=lambda: {"b", "a"})
"""
PLAIN = """
from pywasmfilter import HttpContext, http_filter


@http_filter("plain")
class Plain(HttpContext):
    pass
"""
OTHER = FILTER.replace('"check"', '"other"').replace('"plain"', '"more"')
PROBLEMS = """2 problems
  nam: there is no such key; did you mean "name"?
  name: is missing; expected a string
"""
ALIASES = "a0: &a0 {}\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]\n" for i in range(1, 9))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{f'*a{i - 1}, ' * 10}]}}\n" for i in range(1, 9))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a filter in it that has a module beside."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filter.py").write_text(FILTER)
    (tmp_path / "helper.py").write_text(HELPER)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    """The command in this process."""
    return CliRunner().invoke(cli.main, list(map(str, arguments)), prog_name="pyfilter")


def succeed(*arguments: str | Path) -> str:
    """What a command prints that succeeds."""
    result = run(*arguments)
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result.stdout


def fail(*arguments: str | Path, code: int = 1) -> str:
    """What a command says that fails with this code; it prints nothing else."""
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return result.stderr.replace("imported\n", "").removeprefix("error: ")


# schema


def test_schema(folder: Path) -> None:
    """It is a schema of this dialect; docstrings are descriptions, and defaults are written as in a configuration."""
    schema = json.loads(succeed("schema"))
    Draft202012Validator.check_schema(schema)
    limits = schema["$defs"]["Limits"]
    assert (schema["$schema"], schema["title"]) == ("https://json-schema.org/draft/2020-12/schema", "Config")
    assert schema["description"] == "What to check.\n\nAnd how."
    assert (schema["required"], schema["additionalProperties"]) == (["name"], False)
    assert schema["properties"]["name"]["description"] == "A text that\ntakes two lines."
    assert schema["properties"]["limits"]["default"] == {"wait": 120, "tags": ["a", "b"]}
    assert "description" not in limits
    assert limits["properties"]["wait"]["default"] == 120
    assert [kind["type"] for kind in limits["properties"]["wait"]["anyOf"]] == ["number", "string"]


def test_schema_is_the_same_each_time(folder: Path) -> None:
    """Whatever the order of sets is, in another process too."""
    code = "from pywasmfilter_compiler.cli import main; main(['schema'])"
    processes = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        for seed in "12"
    ]
    assert processes[0].stdout == processes[1].stdout == succeed("schema")


def test_schema_to_a_file(folder: Path) -> None:
    """With -o nothing is printed; a file that cannot be written is an error."""
    printed = succeed("schema", "filter.py")
    assert succeed("schema", "filter.py", "-o", "config.schema.json") == ""
    assert (folder / "config.schema.json").read_text() == printed
    assert fail("schema", "-o", "nowhere/x.json") == "nowhere/x.json: cannot be written: No such file or directory\n"


@pytest.mark.parametrize("command", [["schema"], ["validate", "good.json"]])
def test_which_plugin(folder: Path, command: list[str]) -> None:
    """With several it must be said which, if more than one has a class; a plugin without one is told apart."""
    (folder / "good.json").write_text('{"name": "a"}')
    (folder / "other.py").write_text(OTHER)
    both = ["filter.py", "other.py"]
    assert fail(*command, *both, code=2) == (
        "several plugins have a configuration, say which: --plugin check or other\n"
    )
    assert succeed(*command, *both, "--plugin", "other")
    assert fail(*command, *both, "--plugin", "nope", code=2) == (
        "there is no plugin 'nope'; the plugins are: check, more, other, plain\n"
    )
    assert fail(*command, "--plugin", "plain").startswith("plain: there is no class for the configuration; ")


@pytest.mark.parametrize("command", [["schema"], ["validate", "good.json"]])
def test_filters_that_are_none(folder: Path, command: list[str]) -> None:
    """What cannot be imported is said with its line, as by a build; a module tells nothing of its configuration."""
    (folder / "good.json").write_text("{}")
    (folder / "broken.py").write_text("1 / 0\n")
    assert fail(*command, "broken.py") == f"{folder}/broken.py:1: ZeroDivisionError: division by zero\n"
    assert fail(*command, "nope.py") == "nope.py: no such file or folder\n"
    assert "give the filter's source" in fail(*command, "x.wasm", code=2)
    (folder / "filter.py").unlink()
    assert fail(*command) == ".: the folder is no package (__init__.py) and has no filter.py\n"


def test_an_annotation_without_meaning_is_an_error_of_the_build(folder: Path) -> None:
    """The filter's own line is named, and the field, by every command."""
    (folder / "filter.py").write_text(FILTER.replace("secret: str", "secret: bytes"))
    line = FILTER.split("\n").index('@http_filter("check", config=Config)') + 1
    text = "TypeError: plugin 'check': Config.secret: bytes is not supported; "
    for command in (["build", "filter.py"], ["schema"], ["call", "filter.py"]):
        message = fail(*command)
        assert f"filter.py:{line}: {text}" in message
        assert "pywasmfilter/" not in message


@pytest.mark.parametrize(
    "default",
    ["object()", "field(default_factory=lambda: 1 / 0)", "float('inf')", "(float('nan'),)", "'\\ud800'", "1j"],
)
def test_a_default_that_json_has_not(folder: Path, default: str) -> None:
    """The schema leaves it out, and the field may be left out all the same."""
    code = FILTER.replace("import helper", "import helper\nfrom typing import Any")
    (folder / "filter.py").write_text(code.replace('secret: str = "x"', f"secret: Any = {default}"))
    schema = json.loads(succeed("schema"), parse_constant=pytest.fail)
    assert "default" not in schema["properties"]["secret"]
    assert schema["required"] == ["name"]
    assert "default" in schema["properties"]["limits"]


# validate


def test_validate(folder: Path) -> None:
    """A configuration that fits is said to."""
    (folder / "good.json").write_text('{"name": "a", "limits": {"wait": "1s"}}')
    assert succeed("validate", "good.json") == "good.json fits check\n"
    assert json.loads(succeed("validate", "good.json", "--json")) == {
        "file": "good.json",
        "plugin": "check",
        "valid": True,
        "count": 0,
        "problems": [],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nam": "a"}', PROBLEMS),
        ('{"name": 1}', "name: expected a string, got 1\n"),
        ("", "name: is missing; expected a string\n"),
        ("{", "not JSON: line 1, column 2: Expecting property name enclosed in double quotes\n"),
        ('{"name": "bad"}', "bad is no name\n"),
    ],
)
def test_validate_says_what_is_wrong(folder: Path, text: str, message: str) -> None:
    """All of it, as the proxy's log would, with the file."""
    (folder / "bad.json").write_text(text)
    assert fail("validate", "bad.json") == f"bad.json: {message}"


def test_validate_for_programs(folder: Path) -> None:
    """With --json what is wrong is data, and the exit code is that of an error."""
    (folder / "bad.json").write_text('{"nam": "a"}')
    result = run("validate", "bad.json", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "file": "bad.json",
        "plugin": "check",
        "valid": False,
        "count": 2,
        "problems": [
            {"path": "nam", "message": 'there is no such key; did you mean "name"?'},
            {"path": "name", "message": "is missing; expected a string"},
        ],
    }


def test_code_of_the_class_that_fails(folder: Path) -> None:
    """What is no ValueError is a mistake in the filter, and said to be one."""
    (folder / "c.json").write_text('{"name": "bug"}')
    assert fail("validate", "c.json") == "Config cannot be made: AttributeError: a bug\n"


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_validate_yaml(folder: Path, suffix: str) -> None:
    """YAML is what it would be as JSON."""
    file = folder / f"c.{suffix}"
    file.write_text("name: a\nlimits:\n  wait: 1.5s\n  tags: [a]\n")
    assert succeed("validate", file.name) == f"{file.name} fits check\n"
    file.write_text("name: 1\n")
    assert fail("validate", file.name) == f"{file.name}: name: expected a string, got 1\n"
    file.write_text("# nothing\n")
    assert fail("validate", file.name) == f"{file.name}: name: is missing; expected a string\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not YAML: "),
        ("name: a\nname: b\n", "not YAML: 'name' is there twice\n  in \"<byte string>\", line 2, column 1"),
        ("name: 2020-01-01\n", "not what JSON can say: Object of type date is not JSON serializable"),
        ("name: .nan\n", "not what JSON can say: "),
        ("name: &a [*a]\n", "not what JSON can say: "),
        ("name: !!python/object:os.system {}\n", "not YAML: "),
        ("name: !!bool x\n", 'not YAML: tag:yaml.org,2002:bool takes no such value\n  in "<byte string>", line 1'),
        ('name: !!int ""\n', "not YAML: tag:yaml.org,2002:int takes no such value"),
        ('name: !!float ""\n', "not YAML: tag:yaml.org,2002:float takes no such value"),
        ("name: !!timestamp x\n", "not YAML: tag:yaml.org,2002:timestamp takes no such value"),
        ("name: 2020-99-99\n", "not YAML: tag:yaml.org,2002:timestamp takes no such value"),
        ("name: a\n---\nname: b\n", "not YAML: "),
        ("name: " + "[" * 10_000, "it is nested too deeply"),
        (ALIASES, "not what JSON can say: with all aliases written out it has more than 2,000,000 "),
        ("name: &a [" + "*a, " * 10_000 + "]\n", "not what JSON can say: with all aliases written out it has more "),
        (MERGES, "not what JSON can say: with all aliases written out it has more than 2,000,000 "),
        (f"a: &a {'x' * 50_000}\nb: [{'*a, ' * 100}]\n", "not what JSON can say: with all aliases written out "),
    ],
)
def test_what_is_no_yaml(folder: Path, text: str, message: str) -> None:
    """What YAML has and JSON has not is refused."""
    (folder / "c.yaml").write_text(text)
    assert fail("validate", "c.yaml").startswith(f"c.yaml: {message}")


def test_yaml_aliases(folder: Path) -> None:
    """They stand for what they name, and a merged mapping gives way to the keys beside it."""
    (folder / "c.yaml").write_text("name: &a b\nsecret: *a\n")
    assert succeed("validate", "c.yaml") == "c.yaml fits check\n"
    (folder / "filter.py").write_text(FILTER.replace("secret: str", "parts: dict[str, dict[str, dict[str, int]]]"))
    (folder / "c.yaml").write_text(
        "name: a\nparts:\n  a: {base: &base {x: 1}, own: &own {<<: *base, x: 2}}\n  b: {c: {<<: *own}}\n"
    )
    assert succeed("validate", "c.yaml") == "c.yaml fits check\n"


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    """It is named."""
    assert fail("validate", "nope.json", code=2) == "nope.json: No such file or directory\n"
    assert fail("validate", ".", code=2) == ".: Is a directory\n"


def test_validate_imports_no_pydantic(folder: Path) -> None:
    """What decides is the module's own code, which takes less time to import."""
    (folder / "c.json").write_text('{"name": "a"}')
    code = (
        "import sys\nfrom pywasmfilter_compiler.cli import main\n"
        "main(['validate', 'c.json'], standalone_mode=False)\n"
        "assert 'c.json fits check'\nprint('pydantic' in sys.modules, 'wasmtime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "c.json fits check\nFalse False\n"


# run and call


@pytest.mark.parametrize("command", [["run"], ["call", "--filter-body", "wasm"]])
def test_a_bad_configuration_is_refused_before_anything_is_built(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """The message is that of the proxy's log; what the filter prints is not shown for that."""
    monkeypatch.setattr(runtime_image, "load", None)
    text = fail(*command, "filter.py", "--plugin", "check", "--config", '{"nam": "a"}')
    assert text == f"check: bad configuration: {PROBLEMS}"
    (folder / "bad.json").write_text('{"nam": "a"}')
    assert fail(*command, "filter.py", "--plugin", "check", "--config", "@bad.json") == text


def test_a_bad_configuration_in_plain_python(folder: Path) -> None:
    """It is what the log says."""
    text = fail("call", "filter.py", "--plugin", "check", "--config", '{"nam": "a"}')
    assert text.endswith(f"the plugin does not start\n[error] check: bad configuration: {PROBLEMS}")


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_a_good_configuration_passes(folder: Path, body: str) -> None:
    """The filter has it, in both bodies."""
    config = '{"name": "a", "limits": {"wait": "1.5s"}}'
    arguments = ["filter.py", "--plugin", "check", "--config", config, "--filter-body", body, "--json"]
    headers = json.loads(succeed("call", *arguments))["response"]["headers"]
    assert ["x-wait", "a 1.5"] in headers


def test_other_configurations_are_left_to_the_filter(folder: Path) -> None:
    """Those of a plugin without a class may be anything."""
    assert succeed("call", "filter.py", "--plugin", "plain", "--config", "{", "--filter-body", "wasm")


# The module


def test_only_filters_with_a_configuration_carry_the_code(folder: Path) -> None:
    """Others have neither it nor what it imports."""
    (folder / "plain.py").write_text(PLAIN)
    with_class, without = (dict(build(name, "out.wasm").modules) for name in ("filter.py", "plain.py"))
    code = {"pywasmfilter.config", "pywasmfilter._plans", "dataclasses", "json", "difflib"}
    assert code <= with_class.keys()
    assert not code & without.keys()
