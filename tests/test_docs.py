"""The documentation is true: its filters compile, its commands run, its options exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from pywasmfilter_compiler.cli import main
from pywasmfilter_compiler.manifests.options import from_table
from pywasmfilter_compiler.settings import load_settings, manifest_table

from tests.oci.registries import docker_registry, require
from tests.pages import DOCS, REPOSITORY, Block, Section, blocks, sections

PAGES = [REPOSITORY / "README.md", *sorted(DOCS.glob("*.md"))]
REFERENCE = sorted((DOCS / "reference").glob("*.md"))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/README.md"))
LANGUAGES = {"python", "sh", "console", "toml", "yaml", "json", "text"}
OTHER_LANGUAGES = {"from-go.md": "go", "from-rust.md": "rust", "from-lua.md": "lua"}  # run by e2e/test_other_sdks.py
VIRTUAL_ENVIRONMENT = "python3 -m venv"  # a command that begins like this is for a fresh clone; `.ci/run` runs it

PROGRAMS = {
    "pyfilter": 'import sys; sys.argv[0] = "pyfilter"; from pywasmfilter_compiler.cli import main; main()',
    "pytest": 'import sys, pytest; sys.exit(pytest.main(["-p", "pywasmfilter.testing.pytest_plugin", *sys.argv[1:]]))',
}
"""What a shell finds, also where the project is not installed."""

WRAPPER = """#!/bin/sh
exec "{python}" -c '{program}' "$@"
"""


SECTIONS = [section for page in PAGES for section in sections(page)]
BLOCKS = [block for section in SECTIONS for block in section.blocks]


def of_language(*languages: str) -> list[Any]:
    """The blocks in some languages, as parameters of a test."""
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


# Blocks by themselves


def test_every_block_says_its_language() -> None:
    """A block is of a kind that is tested here, or plain text; another SDK's language is on its own page only."""
    for block in BLOCKS:
        assert block.language in LANGUAGES | {OTHER_LANGUAGES.get(block.page)}, block
    assert {block.language for page in REFERENCE for block in blocks(page)} == {"python", "text"}


@pytest.mark.parametrize("block", of_language("python"))
def test_python_compiles(block: Block) -> None:
    """Code that is shown is code."""
    compile(block.text, str(block), "exec", dont_inherit=True)


@pytest.mark.parametrize("block", of_language("toml"))
def test_toml_is_valid(block: Block, tmp_path: Path) -> None:
    """A table is one that can be read, and settings for this command are ones that it takes."""
    table = tomllib.loads(block.text).get("tool", {}).get("pyfilter", {})
    (tmp_path / "pyproject.toml").write_text(block.text, encoding="utf-8")
    assert load_settings(tmp_path / "filter.py").keys() == table.keys() - {"manifest"}
    file, of_manifests = manifest_table(tmp_path / "filter.wasm")
    assert from_table(of_manifests, file).keys() == table.get("manifest", {}).keys()


# Commands, in the folder that their section describes


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a shell in which `pyfilter` and `pytest` are those of this one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, program in PROGRAMS.items():
        (programs / name).write_text(WRAPPER.format(python=sys.executable, program=program), encoding="utf-8")
        (programs / name).chmod(0o755)
    return {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}


REGISTRY = "localhost:5000"  # what pages call a registry on this machine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real one."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def runnable() -> list[Any]:
    """The sections that have commands, as parameters of a test."""
    found = []
    for section in SECTIONS:
        commands = [block.commands for block in section.blocks if block.language in {"sh", "console"}]
        if any(not command.startswith(VIRTUAL_ENVIRONMENT) for command in commands):
            marks = [pytest.mark.envoy] if any("pyfilter run" in command for command in commands) else []
            found.append(pytest.param(section, id=str(section), marks=marks))
    return found


@pytest.mark.parametrize("section", runnable())
def test_commands_run(
    section: Section, tmp_path: Path, environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    """The commands of a section succeed, one after the other, in a folder with the files that it shows."""
    folder = tmp_path / "folder"
    folder.mkdir()
    commands = [block.commands for block in section.blocks if block.language in {"sh", "console"}]
    if any("skopeo" in command for command in commands):
        require("skopeo")
    address = request.getfixturevalue("registry") if any(REGISTRY in command for command in commands) else REGISTRY
    for block in section.blocks:
        if block.language == "python" and block.file_name:
            (folder / block.file_name).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file_name).write_text(block.text, encoding="utf-8")
        elif block.language in {"sh", "console"} and not block.commands.startswith(VIRTUAL_ENVIRONMENT):
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", block.commands.replace(REGISTRY, address)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


EVERYTHING_PASSES = """
from pywasmfilter import HttpContext, PluginContext, TcpContext, plugin


@plugin("everything-passes")
class EverythingPasses(PluginContext):
    http_context = HttpContext
    tcp_context = TcpContext
"""
TESTS = [block for block in BLOCKS if block.language == "python" and not block.file_name and "def test_" in block.text]


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_tests_that_are_shown_pass(tmp_path: Path, body: str) -> None:
    """A block of tests that is no file of a story passes with a filter that lets everything through, in both bodies."""
    assert TESTS
    for number, block in enumerate(TESTS):
        for folder in (tmp_path / str(number), tmp_path / str(number) / "gate"):
            folder.mkdir()
            (folder / "filter.py").write_text(EVERYTHING_PASSES, encoding="utf-8")
        (tmp_path / str(number) / "test_block.py").write_text(f"# {block}\n{block.text}", encoding="utf-8")
    options = ["-q", "-p", "pywasmfilter.testing.pytest_plugin", "-p", "no:cacheprovider", f"--filter-body={body}"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        "--import-mode=importlib",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


SCRIPTS = [block for block in BLOCKS if block.language == "python" and "pywasmfilter_compiler" in block.text]


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_scripts_run(block: Block, tmp_path: Path) -> None:
    """A program that uses the compiler as a library runs, and does not end in the error that it handles."""
    done = subprocess.run(
        [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stdout.lower()


def test_the_readme_has_what_the_gate_runs() -> None:
    """There is one command to try the project and one to test it, each in a fresh environment."""
    lines = [line for block in BLOCKS if block.page == "README.md" for line in block.commands.splitlines()]
    fresh = [line for line in lines if line.startswith(VIRTUAL_ENVIRONMENT)]
    assert Counter(word for line in fresh for word in ("pyfilter run", "pytest") if word in line) == {
        "pyfilter run": 1,
        "pytest": 1,
    }
    assert len(fresh) == 2


# The command's page


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands below one, by the words that call them."""
    for name, child in command.commands.items() if isinstance(command, click.Group) else ():
        yield (*words, name), child
        yield from commands(child, *words, name)


COMMANDS = dict(commands(main))


def section_of(words: tuple[str, ...]) -> Section:
    """The section of the commands' page on a command, or on the group that it is in."""
    (section,) = (section for section in SECTIONS if f"{section.heading} ".startswith(f"pyfilter {words[0]} "))
    return section


def options_of(command: click.Command) -> set[str]:
    """All spellings of a command's options."""
    options = (option for option in command.params if isinstance(option, click.Option))
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    """A command has its section, which names it and each of its options."""
    text = section_of(words).text
    assert f"pyfilter {' '.join(words)}" in text
    assert [name for name in sorted(options_of(COMMANDS[words])) if not re.search(rf"`{name}\b", text)] == []


@pytest.mark.parametrize("words", [words for words in COMMANDS if len(words) == 1], ids=" ".join)
def test_documented_options_exist(words: tuple[str, ...]) -> None:
    """A section speaks of no option that its command does not have."""
    known = set().union(*(options_of(command) for name, command in COMMANDS.items() if name[0] == words[0]))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section_of(words).text)) <= known


# Links


def anchors(page: Path) -> set[str]:
    """Where GitHub puts the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    [*PAGES, *REFERENCE, *EXAMPLES, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"],
    ids=lambda page: page.relative_to(REPOSITORY).as_posix(),
)
def test_links_lead_somewhere(page: Path) -> None:
    """What a page links to in this repository is there, the heading too."""
    missing = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        place = page.parent / target if target else page
        if "://" not in link and (not place.exists() or (anchor and anchor not in anchors(place))):
            missing.append(link)
    assert missing == []
