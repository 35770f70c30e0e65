"""The file of a recording: what becomes of the lines of a proxy's log, and where it may be written."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
import wasmtime
from click.testing import CliRunner
from pywasmfilter_compiler import cli
from pywasmfilter_compiler.errors import CompilerError, LinkError, UsageError
from pywasmfilter_compiler.recorder import instrument
from pywasmfilter_compiler.recording import Recording, check_path

MODULE: Final = bytes(wasmtime.wat2wasm('(module (memory 1) (func (export "proxy_abi_version_0_2_0")))'))
VM: Final = "00112233445566ff"
OTHER_VM: Final = "ffffffffffffffff"
MIB: Final = 1 << 20


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """A module that declares version 0.2.0 of the ABI."""
    path = tmp_path / "module.wasm"
    path.write_bytes(MODULE)
    return path


def line(
    text: str, vm: str = VM, *, level: str = "critical", component: str = "wasm", before: str = " root: "
) -> bytes:
    """A line of the recorder in Envoy's log."""
    source = f"[2026-01-02 03:04:05.678][12][{level}][{component}] [source/extensions/common/wasm/context.cc:1212]"
    return f"{source} wasm log{before}pyfilter-recording: {vm} {text}\n".encode()


def written(module: Path, *lines: bytes) -> list[Any]:
    """The events that are in the file after these lines, all of which are the recorder's."""
    file = module.with_name("session.jsonl")
    with Recording(file, module) as recording:
        assert [recording.take(each) for each in lines] == [True] * len(lines)
    text = file.read_text(encoding="ascii")
    assert text.endswith("\n")
    return [json.loads(each) for each in text[:-1].split("\n")][1:]


def test_the_first_line_names_the_module(module: Path) -> None:
    """It has the version of the format and of the ABI, and the hash of the module without a recorder."""
    file = module.with_name("session.jsonl")
    with Recording(file, module) as recording:
        assert recording.module == instrument(MODULE)
    sha256 = hashlib.sha256(MODULE).hexdigest()
    assert json.loads(file.read_text()) == {"pyfilter_recording": 1, "abi": "0.2.0", "sha256": sha256}


@pytest.mark.parametrize(
    ("text", "event"),
    [
        (
            "callback proxy_on_request_headers u00000002 u00000009 uffffffff",
            {"callback": "proxy_on_request_headers", "arguments": [2, 9, 0xFFFF_FFFF]},
        ),
        ("return proxy_on_request_headers u00000001", {"return": "proxy_on_request_headers", "answer": 1}),
        ("return proxy_on_tick", {"return": "proxy_on_tick", "answer": None}),
        ("call proxy_done s0000000c", {"call": "proxy_done", "arguments": [], "status": 12, "results": []}),
        (
            "call proxy_get_header_map_value u00000000 x3a70617468 s00000000 x2f",
            {"call": "proxy_get_header_map_value", "arguments": [0, ":path"], "status": 0, "results": ["/"]},
        ),
        (
            "call proxy_increment_metric u00000004 ifffffffffffffffe s00000000",
            {"call": "proxy_increment_metric", "arguments": [4, -2], "status": 0, "results": []},
        ),
        (
            "call proxy_get_metric u00000004 s00000000 uffffffffffffffff",
            {"call": "proxy_get_metric", "arguments": [4], "status": 0, "results": [2**64 - 1]},
        ),
        (
            "call proxy_call_foreign_function x00ff0a - s00000000 x x6869~00300000",
            {
                "call": "proxy_call_foreign_function",
                "arguments": ["\x00\xff\n", None],
                "status": 0,
                "results": ["", {"cut": "hi", "size": 3 * MIB}],
            },
        ),
    ],
)
def test_events(module: Path, text: str, event: dict[str, Any]) -> None:
    """Numbers are numbers, signed if the function's are, and bytes are texts of one character per byte."""
    assert written(module, line(text)) == [{"vm": 0, **event}]


def test_vms_are_numbered_as_they_come(module: Path) -> None:
    """Each event says in which VM it was; the order is that of the log."""
    texts = [("return a", OTHER_VM), ("return b", VM), ("return c", OTHER_VM), ("return d", VM)]
    events = written(module, *(line(*text) for text in texts))
    assert [(event["vm"], event["return"]) for event in events] == [(0, "a"), (1, "b"), (0, "c"), (1, "d")]


def test_a_line_may_be_long(module: Path) -> None:
    """Two values of a MiB are read, to the last byte."""
    (event,) = written(module, line(f"call f x{'61' * MIB} x{'00' * MIB} s00000000"))
    assert event["arguments"] == ["a" * MIB, "\0" * MIB]


@pytest.mark.parametrize("before", [": ", " name root: ", " name root id: ", " acme.example:8080/root: "])
def test_names_before_the_message(module: Path, before: str) -> None:
    """What Envoy sets before a message are the names of plugin, root and VM, as far as they have any."""
    assert len(written(module, line("return proxy_on_tick", before=before))) == 1


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\n",
        b"[2026-01-02 03:04:05.678][12][info][wasm] [context.cc:1212] wasm log: hello\n",
        line("call proxy_done"),  # without a status
        line("return proxy_on_tick s00000000"),
        line("callback"),
        line("callback proxy_on_tick u"),
        line("callback proxy_on_tick x0"),
        line("callback proxy_on_tick u0000000g"),
        line("callback proxy_on_tick u00000001 and more"),
        line("callback proxy_on_tick", vm="1234"),
        line("tick proxy_on_tick"),
        line("callback proxy_on_tick").replace(b"pyfilter-recording: ", b"pyfilter-recording:"),
        line("return proxy_on_tick", level="info"),  # as a filter may log what a client sends
        line("return proxy_on_tick", component="http"),
        line("return proxy_on_tick", before=" root: a header: "),
        line("return proxy_on_tick", before=" root: a"),
        line("return proxy_on_tick", before=": wasm log: "),
        line("return proxy_on_tick").removeprefix(b"[2026-01-02 03:04:05.678]"),
    ],
)
def test_other_lines_are_not_taken(module: Path, other: bytes) -> None:
    """What is not the recorder's stays in the log, also when it looks alike, and is not in the file."""
    file = module.with_name("session.jsonl")
    with Recording(file, module) as recording:
        assert not recording.take(other)
    assert len(file.read_text().splitlines()) == 1


def test_the_file_has_each_event_at_once(module: Path) -> None:
    """Whatever ends the session, what has happened until then is in the file, in whole lines."""
    file = module.with_name("session.jsonl")
    with Recording(file, module) as recording:
        for count in range(1, 4):
            recording.take(line("return proxy_on_tick"))
            text = file.read_text()
            assert (text.count("\n"), text[-1]) == (1 + count, "\n")


def test_only_the_user_can_read_a_recording(module: Path) -> None:
    """It may hold secrets. One that is there already is replaced, whoever could read it."""
    file = module.with_name("session.jsonl")
    written(module, line("return proxy_on_tick"))
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    assert len(written(module)) == 0
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_of_somebody_else(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If others could read the recording, there is none, and what is in the file stays."""

    def refuse(_number: int, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = module.with_name("session.jsonl")
    file.write_text("earlier")
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(UsageError, match=r"session.jsonl: cannot be written: Operation not permitted"):
        Recording(file, module)
    assert file.read_text() == "earlier"


class FullDisk(io.StringIO):
    """A file into which nothing goes any more."""

    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


def fill_disk(module: Path, error: Exception | None = None) -> None:
    """A session whose disk is full after the first line, and that ends with this error."""
    with Recording(module.with_name("session.jsonl"), module) as recording:
        recording._file.close()
        recording._file = FullDisk()
        assert [recording.take(line("return proxy_on_tick")) for _ in range(2)] == [True, True]
        if error is not None:
            raise error


def test_a_disk_that_is_full(module: Path) -> None:
    """The recorder's lines are still taken, since the proxy must not be held up; the error comes at the end."""
    with pytest.raises(CompilerError, match=r"session.jsonl: cannot be written: No space left"):
        fill_disk(module)


def test_another_error_goes_before(module: Path) -> None:
    """Why the session ended is told, rather than that its recording is not whole."""
    with pytest.raises(ZeroDivisionError):
        fill_disk(module, ZeroDivisionError())


# Where it cannot be written


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gone/session.jsonl", "gone/session.jsonl: cannot be written: gone is not a folder"),
        ("file/session.jsonl", "file/session.jsonl: cannot be written: file is not a folder"),
        ("folder", "folder: not a regular file"),
        ("pipe", "pipe: not a regular file"),
        ("", ".: not a regular file"),
        ("filter.py", "filter.py: a recording is not written to a Python file or a module"),
        ("new.wasm", "new.wasm: a recording is not written to a Python file or a module"),
    ],
)
def test_a_path_that_makes_no_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, reason: str) -> None:
    """The command says so before it builds or starts anything, and writes nothing."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("filter.py").write_text("raise NeverImported")
    os.mkfifo("pipe")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(cli.main, ["run", "filter.py", "--request", "/", "--record", path])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {reason}\n")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("refused", "name"), [("", "new.jsonl"), ("session.jsonl", "session.jsonl")])
def test_a_path_that_may_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, name: str
) -> None:
    """A folder without the right to write, and a file without it, are told at once."""
    (tmp_path / "session.jsonl").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path / refused, os.W_OK))
    with pytest.raises(UsageError, match="cannot be written: Permission denied"):
        check_path(tmp_path / name)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, UsageError, "cannot read .*module.wasm: No such file or directory"),
        (bytes(wasmtime.wat2wasm("(module (memory 1))")), UsageError, "declares no version of Proxy-Wasm"),
        (MODULE.replace(b"\5\3\1\0\1", b""), LinkError, "a module without memory"),
    ],
)
def test_a_module_that_cannot_be_recorded(
    module: Path, data: bytes | None, error: type[CompilerError], message: str
) -> None:
    """The error says why, and an earlier recording is as it was."""
    file = module.with_name("session.jsonl")
    file.write_text("earlier")
    module.unlink()
    if data is not None:
        module.write_bytes(data)
    with pytest.raises(error, match=message):
        Recording(file, module)
    assert file.read_text() == "earlier"
