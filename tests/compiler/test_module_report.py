"""The report on a module: what it contains, and each reason why a host cannot load it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import wasmtime
from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.errors import BinaryError, MalformedWasm, UnsupportedWasm, UsageError
from pywasmfilter_compiler.module_report import (
    ExportReport,
    ImportReport,
    MemoryReport,
    ModuleReport,
    SectionReport,
    inspect,
    render,
)
from pywasmfilter_compiler.wasm.binary import MODULE_HEADER
from pywasmfilter_compiler.wasm.cursor import sized

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pywasmfilter_compiler.wasm.module import FuncType

MARKER = '(func (export "proxy_abi_version_0_2_1"))'
MALLOC = '(func (export "malloc") (param i32) (result i32) i32.const 0)'
MEMORY = '(memory (export "memory") 2)'
FILTER = """
(module
  (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func (param i32 i64 i32 i32) (result i32)))
  (memory (export "memory") 2 10)
  (table (export "table") 1 funcref)
  (global (export "counter") (mut i64) (i64.const 1))
  (global i32 (i32.const 1))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) i32.const 0)
  (func (export "proxy_on_log") (param i32))
  (func (export "extra") (result f64) f64.const 0)
  (data (i32.const 0) "some data")
  (data "more")
  (@custom "notes" "abc"))
"""
OLD_ENVOY, NEW_ENVOY, GENERIC = (host.name for host in hosts.HOSTS)
ALL = {OLD_ENVOY, NEW_ENVOY, GENERIC}


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


def module(fields: str, *, marker: str = MARKER, malloc: str = MALLOC, memory: str = MEMORY) -> bytes:
    """A module that every host loads, but for what `fields` and the arguments change."""
    imports, rest = ("", fields) if "(import" not in fields else (fields, "")
    return wasm(f"(module {imports} {memory} {marker} {malloc} {rest})")


def problems(data: bytes) -> dict[str, tuple[str, ...]]:
    """What stops the hosts that do not load a module."""
    return {host.name: host.problems for host in inspect(data).hosts if host.loads is False}


def section(number: int, content: str) -> bytes:
    return bytes([number]) + sized(bytes.fromhex(content))


# What a module contains


def test_a_fitting_module_loads_everywhere() -> None:
    """A module with a marker, an allocator, a memory and known imports is loaded by all hosts."""
    assert [(host.name, host.loads, host.problems) for host in inspect(wasm(FILTER)).hosts] == [
        (OLD_ENVOY, True, ()),
        (NEW_ENVOY, True, ()),
        (GENERIC, True, ()),
    ]


def test_the_file_is_measured(tmp_path: Path) -> None:
    """Path, size and SHA-256 are those of the file, and the compressed size is smaller for compressible content."""
    data = module(f'(data (i32.const 0) "{"a" * 5000}")')
    path = tmp_path / "filter.wasm"
    path.write_bytes(data)
    report = inspect(path)
    assert (report.path, report.size, report.sha256) == (str(path), len(data), hashlib.sha256(data).hexdigest())
    assert 0 < report.gzip_size < 500
    assert inspect(str(path)) == report
    assert inspect(data).path is None


def test_the_contents_are_counted() -> None:
    """Defined functions, globals and data segments are counted; the memory has its limits."""
    report = inspect(wasm(FILTER))
    assert (report.functions, report.globals, report.data_segments) == (4, 2, 2)
    assert report.memory == MemoryReport(2, 10)
    assert report.callbacks == ("proxy_on_log",)
    assert report.features == ()


def test_imports_and_exports_have_types() -> None:
    """Each import and export is listed in order, with its kind and its type."""
    report = inspect(wasm(FILTER))
    assert report.imports == (
        ImportReport("env", "proxy_log", "function", "(i32, i32, i32) -> (i32)"),
        ImportReport("wasi_snapshot_preview1", "fd_seek", "function", "(i32, i64, i32, i32) -> (i32)"),
    )
    assert report.exports == (
        ExportReport("memory", "memory", "2 to 10 pages"),
        ExportReport("table", "table", "funcref 1"),
        ExportReport("counter", "global", "mut i64"),
        ExportReport("proxy_abi_version_0_2_1", "function", "() -> ()"),
        ExportReport("malloc", "function", "(i32) -> (i32)"),
        ExportReport("proxy_on_log", "function", "(i32) -> ()"),
        ExportReport("extra", "function", "() -> (f64)"),
    )


def test_imported_items_come_first_in_their_space() -> None:
    """An export may name an imported item, and is given the type of the import."""
    report = inspect(
        wasm("""(module
        (import "e" "t" (table 3 9 externref)) (import "e" "m" (memory 1)) (import "e" "g" (global i32))
        (export "t" (table 0)) (export "m" (memory 0)) (export "g" (global 0)) (export "h" (global 1))
        (global (mut f32) (f32.const 0)))""")
    )
    assert [item.type for item in report.exports] == ["externref 3 to 9", "1 page", "i32", "mut f32"]
    assert report.memory == MemoryReport(1, None)


def test_sections_are_sized_by_name() -> None:
    """Every section is listed in file order with its size, custom ones under their own name."""
    sections = inspect(wasm(FILTER)).sections
    assert [item.name for item in sections][:3] == ["type", "import", "function"]
    assert SectionReport('custom "notes"', 9) in sections


def test_the_report_is_json() -> None:
    """The whole report goes through JSON, hosts included."""
    report = inspect(wasm(FILTER))
    values = json.loads(json.dumps(report.to_json()))
    assert values["abi"] == "0.2.1"
    assert values["hosts"][0] == {
        "name": OLD_ENVOY,
        "note": "Istio up to 1.30; 18 WASI functions",
        "loads": True,
        "problems": [],
    }


def test_memory_for_the_host_is_no_callback() -> None:
    """`proxy_on_memory_allocate` is an allocator, so it is not listed among the callbacks."""
    data = module("", malloc='(func (export "proxy_on_memory_allocate") (param i32) (result i32) i32.const 0)')
    assert inspect(data).callbacks == ()
    assert problems(data) == {}


# Which ABI


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.2.1"])
def test_the_abi_is_that_of_the_marker(version: str) -> None:
    """The version is read from the name of the exported marker."""
    marker = f'(func (export "proxy_abi_version_{version.replace(".", "_")}"))'
    assert inspect(module("", marker=marker)).abi == version


def test_the_first_marker_wins() -> None:
    """With two markers, the one exported first counts, as it does in the host."""
    marker = '(func (export "proxy_abi_version_0_2_0")) (func (export "proxy_abi_version_0_1_0"))'
    assert inspect(module("", marker=marker)).abi == "0.2.0"


@pytest.mark.parametrize(
    "marker",
    [
        "",
        '(func (export "proxy_abi_version_0_3_0"))',
        '(global (export "proxy_abi_version_0_2_1") i32 (i32.const 0))',
    ],
    ids=["none", "unknown version", "not a function"],
)
def test_no_marker_stops_every_host(marker: str) -> None:
    """Without an exported marker function of a known version there is no ABI, and that is the one problem."""
    data = module('(func (export "proxy_on_request_headers") (param i32 i32) (result i32) i32.const 0)', marker=marker)
    assert inspect(data).abi is None
    reason = "declares no ABI version: proxy_abi_version_0_2_1 or an older one must be an exported function"
    assert problems(data) == dict.fromkeys(ALL, (reason,))


# Imports that stop a host


def test_an_unknown_import_stops_every_host() -> None:
    """A function that no host has is named with its module."""
    data = module('(import "env" "getpid" (func (result i32)))')
    assert problems(data) == dict.fromkeys(ALL, ("import env.getpid is not offered by the host",))


def test_wasi_beyond_the_18_stops_an_older_envoy() -> None:
    """A function of WASI that came in 2026 is a problem for the older generation only."""
    data = module('(import "wasi_snapshot_preview1" "clock_res_get" (func (param i32 i32) (result i32)))')
    missing = "import wasi_snapshot_preview1.clock_res_get is not offered by the host"
    assert problems(data) == {OLD_ENVOY: (missing,)}


def test_path_link_does_not_link_in_envoy() -> None:
    """Newer Envoys offer `path_link` with one parameter less than WASI has, so they refuse the right type."""
    data = module(
        '(import "wasi_snapshot_preview1" "path_link" (func (param i32 i32 i32 i32 i32 i32 i32) (result i32)))'
    )
    found, offered = "(i32, i32, i32, i32, i32, i32, i32) -> (i32)", "(i32, i32, i32, i32, i32, i32) -> (i32)"
    name = "import wasi_snapshot_preview1.path_link"
    assert problems(data) == {
        OLD_ENVOY: (f"{name} is not offered by the host",),
        NEW_ENVOY: (f"{name} has the type {found}, but the host offers {offered}",),
    }


def test_wasi_unstable_is_an_envoy_thing() -> None:
    """Envoy offers its functions under the old name of WASI too; a generic host does not."""
    data = module('(import "wasi_unstable" "sched_yield" (func (result i32)))')
    assert problems(data) == {GENERIC: ("import wasi_unstable.sched_yield is not offered by the host",)}


@pytest.mark.parametrize("name", ["emscripten_notify_memory_growth", "envoy_resolve_dns"])
def test_extras_of_envoy_are_not_offered_elsewhere(name: str) -> None:
    """What Envoy adds to the ABI stops a host that has only the ABI."""
    params = {"emscripten_notify_memory_growth": "(param i32)", "envoy_resolve_dns": "(param i32 i32 i32) (result i32)"}
    data = module(f'(import "env" "{name}" (func {params[name]}))')
    assert problems(data) == {GENERIC: (f"import env.{name} is not offered by the host",)}


def test_a_wrong_import_type_names_both_types() -> None:
    """An import with the right name and another type is told with the type found and the type expected."""
    data = module('(import "env" "proxy_increment_metric" (func (param i32 i32) (result i32)))')
    reason = (
        "import env.proxy_increment_metric has the type (i32, i32) -> (i32), but the host offers (i32, i64) -> (i32)"
    )
    assert problems(data) == dict.fromkeys(ALL, (reason,))


def test_an_imported_global_stops_every_host() -> None:
    """Hosts never offer globals, whatever their name."""
    data = module('(import "env" "base" (global i32))')
    assert problems(data) == dict.fromkeys(ALL, ("imports the global env.base, but hosts offer functions only",))


def test_an_imported_tag_stops_every_host() -> None:
    """Hosts never offer tags, and the tag is told among the features."""
    data = module('(import "env" "error" (tag (param i32)))')
    assert problems(data) == dict.fromkeys(ALL, ("imports the tag env.error, but hosts offer functions only",))
    assert inspect(data).features == ("exception-handling",)


def test_memory_and_table_may_be_imported() -> None:
    """Hosts create an imported memory or table, so neither is a problem."""
    data = module('(import "env" "memory" (memory 1)) (import "env" "table" (table 1 funcref))', memory="")
    assert problems(data) == {}


@pytest.mark.parametrize(
    ("version", "name", "params", "versions"),
    [
        ("0_2_0", "proxy_get_log_level", "(param i32)", "0.2.1"),
        ("0_2_1", "proxy_clear_route_cache", "", "0.1.0"),
        ("0_1_0", "proxy_continue_stream", "(param i32)", "0.2.0 and 0.2.1"),
    ],
)
def test_functions_of_another_abi_are_told_so(version: str, name: str, params: str, versions: str) -> None:
    """A function that only other ABI versions have is a problem that names the versions and the module's own."""
    data = module(
        f'(import "env" "{name}" (func {params} (result i32)))', marker=f'(func (export "proxy_abi_version_{version}"))'
    )
    declared = version.replace("_", ".")
    reason = f"import env.{name} exists in ABI {versions} only, but the module declares {declared}"
    assert problems(data) == dict.fromkeys(ALL, (reason,))


# Exports that stop a host


def test_a_missing_allocator_stops_every_host() -> None:
    """Without `malloc` and without `proxy_on_memory_allocate` the host cannot hand over anything."""
    reason = "exports neither malloc nor proxy_on_memory_allocate, so the host cannot hand over data"
    assert problems(module("", malloc="")) == dict.fromkeys(ALL, (reason,))


def test_malloc_is_looked_up_first() -> None:
    """A wrong `malloc` is a problem even beside a right `proxy_on_memory_allocate`; the other way round it is none."""
    wrong, right = "(param i32)", "(param i32) (result i32) i32.const 0"
    both = '(func (export "malloc") {}) (func (export "proxy_on_memory_allocate") {})'
    reason = "export malloc has the type (i32) -> (), but the host calls it as (i32) -> (i32)"
    assert problems(module("", malloc=both.format(wrong, right))) == dict.fromkeys(ALL, (reason,))
    assert problems(module("", malloc=both.format(right, wrong))) == {}


def test_a_wrong_callback_type_names_both_types() -> None:
    """A callback that a host would look up must have the ABI's type."""
    data = module('(func (export "proxy_on_tick") (param i64))')
    reason = "export proxy_on_tick has the type (i64) -> (), but the host calls it as (i32) -> ()"
    assert problems(data) == dict.fromkeys(ALL, (reason,))


def test_header_callbacks_depend_on_the_abi() -> None:
    """ABI 0.1.0 calls header callbacks with two numbers, later versions with three."""
    two = '(func (export "proxy_on_request_headers") (param i32 i32) (result i32) i32.const 0)'
    assert problems(module(two, marker='(func (export "proxy_abi_version_0_1_0"))')) == {}
    reason = (
        "export proxy_on_request_headers has the type (i32, i32) -> (i32), "
        "but the host calls it as (i32, i32, i32) -> (i32)"
    )
    assert problems(module(two)) == dict.fromkeys(ALL, (reason,))


def test_start_functions_are_looked_up_as_in_the_host() -> None:
    """`main` matters only beside `_initialize`, and `_start` only without it."""
    wrong_main, wrong_start = '(func (export "main"))', '(func (export "_start") (param i32))'
    assert problems(module(wrong_main)) == {}
    assert set(problems(module(wrong_start))) == ALL
    assert set(problems(module('(func (export "_initialize"))' + wrong_main))) == ALL
    assert problems(module('(func (export "_initialize"))' + wrong_start)) == {}


def test_envoy_callbacks_matter_to_envoy_only() -> None:
    """A wrong type of a callback that only Envoy has does not trouble another host."""
    assert set(problems(module('(func (export "envoy_on_stats_update"))'))) == {OLD_ENVOY, NEW_ENVOY}


def test_other_exports_are_ignored() -> None:
    """An export that no host looks up may have any type, and so may one that is not a function."""
    data = module('(func (export "proxy_on_whatever") (param f64)) (global (export "proxy_on_log") i32 (i32.const 0))')
    assert problems(data) == {}


# Memory and features


def test_a_module_without_memory_stops_every_host() -> None:
    """The memory must be exported or imported, or the host cannot reach it."""
    reason = ("exports no memory, so the host cannot hand over data",)
    assert problems(module("", memory="")) == dict.fromkeys(ALL, reason)
    assert problems(module("", memory="(memory 1)")) == dict.fromkeys(ALL, reason)


def test_two_memories_stop_every_host() -> None:
    """Hosts know one memory only."""
    data = module("", memory=MEMORY + "(memory 1)")
    assert problems(data) == dict.fromkeys(ALL, ("has 2 memories, but hosts use exactly one",))
    assert inspect(data).features == ("multimemory",)


def test_a_64_bit_memory_stops_every_host() -> None:
    """Addresses of the ABI have 32 bits; the limits of the memory are read all the same."""
    data = module("", memory='(memory (export "memory") i64 64 8589934592)')
    reason = "has a 64-bit memory, but the addresses of the ABI have 32 bits"
    assert problems(data) == dict.fromkeys(ALL, (reason,))
    assert inspect(data).memory == MemoryReport(64, 8589934592, is_64_bit=True)
    assert inspect(data).features == ("memory64",)


def test_more_memory_than_envoy_allows_stops_envoy() -> None:
    """Envoy allows 1 GiB, so one page more at the start cannot be had; a large maximum is fine."""
    reason = ("starts with 16385 pages of memory, but the host allows 16384",)
    assert problems(module("", memory='(memory (export "memory") 16385)')) == {OLD_ENVOY: reason, NEW_ENVOY: reason}
    assert problems(module("", memory='(memory (export "memory") 16384 65536)')) == {}


def test_shared_memory_is_a_feature() -> None:
    """A shared memory is told, and decides nothing by itself."""
    report = inspect(module("", memory='(memory (export "memory") 1 2 shared)'))
    assert report.features == ("shared-memory",)


def test_instructions_are_not_decoded() -> None:
    """Code with SIMD is no obstacle, nor is a vector in a type or a constant; the type makes SIMD a feature."""
    constant = "v128.const i32x4 1 2 3 4"
    fields = f"(func (result v128) {constant}) (global v128 ({constant})) (global i32 (i32.const 1))"
    report = inspect(module(fields))
    assert [host.loads for host in report.hosts] == [True, True, True]
    assert report.globals == 2
    assert "simd128" in report.features
    assert any("global section: a constant expression with unknown opcode 0xfd" in item for item in report.features)


def test_features_are_read_from_the_compiler_s_own_list() -> None:
    """The section `target_features` says what the code uses, even if nothing else shows it."""
    content = "0f" + b"target_features".hex() + "03 2b 07" + b"simd128".hex() + "2b 08" + b"sign-ext".hex()
    data = module("") + section(0, content + "2d 07" + b"atomics".hex())
    assert inspect(data).features == ("sign-ext", "simd128")


def test_a_broken_list_of_features_is_ignored() -> None:
    """A custom section that is not what its name says does no harm."""
    data = module("") + section(0, "0f" + b"target_features".hex() + "05")
    assert inspect(data).features == ()


def test_exception_handling_is_a_feature() -> None:
    """A tag section is known, though the compiler itself does not handle it."""
    report = inspect(module("(tag (param i32))"))
    assert report.features == ("exception-handling",)
    assert all(host.loads for host in report.hosts)


def test_newer_types_leave_the_answer_open() -> None:
    """Where the types cannot be read, hosts are not said to load the module, nor to refuse it."""
    report = inspect(module("(type (struct))"))
    assert {host.loads for host in report.hosts} == {None}
    assert report.hosts[0].problems[0].startswith("the type section cannot be read: unknown form of type 0x5f")
    assert any(item.startswith("type section: unknown form of type 0x5f") for item in report.features)
    assert report.abi == "0.2.1"


def test_an_unknown_section_leaves_the_answer_open() -> None:
    """A section of a future proposal is told, and hosts may or may not know it."""
    report = inspect(module("") + section(60, "00"))
    assert {host.loads for host in report.hosts} == {None}
    assert report.sections[-1].name == "unknown 60"


def test_all_problems_are_listed() -> None:
    """A module with several faults shows each of them, marker first."""
    data = module('(import "env" "a" (func)) (import "env" "b" (func))', marker="", malloc="")
    assert [problem.split()[0] for problem in problems(data)[GENERIC]] == ["declares", "import", "import", "exports"]


# What is no module at all


def test_a_component_is_refused_with_advice() -> None:
    """A component gives no report; the error says what hosts load and which command makes it."""
    with pytest.raises(UnsupportedWasm, match="hosts load core modules: `pyfilter build`"):
        inspect(wasm("(component)"))


@pytest.mark.parametrize("data", [b"", b"MZ\x90\x00", b"(module)", b"\x1f\x8b\x08\x00" * 4])
def test_other_files_are_refused(data: bytes) -> None:
    """A file that is not WebAssembly is malformed."""
    with pytest.raises(MalformedWasm, match="not WebAssembly"):
        inspect(data)


def test_a_missing_file_is_a_wrong_request(tmp_path: Path) -> None:
    """A path that cannot be read is told with the system's reason."""
    with pytest.raises(UsageError, match=r"cannot read .*absent\.wasm: No such file"):
        inspect(tmp_path / "absent.wasm")


@pytest.mark.parametrize("size", range(8, len(wasm(FILTER))))
def test_truncation_anywhere_is_refused_or_between_sections(size: int) -> None:
    """A module that ends early is refused, unless it ends after a section and is a smaller module."""
    data = wasm(FILTER)
    try:
        report = inspect(data[:size])
    except MalformedWasm:
        return
    assert report.sections == inspect(data).sections[: len(report.sections)]
    assert size == 8 + sum(2 + item.size for item in report.sections)


def test_a_changed_byte_never_surprises() -> None:
    """Whatever value one byte takes, there is a report that can be rendered, or an error with an offset."""
    data = wasm(FILTER)
    for position in range(len(data)):
        for value in (0x00, 0x01, 0x04, 0x05, 0x40, 0x60, 0x7B, 0x80, 0xFF):
            changed = data[:position] + bytes([value]) + data[position + 1 :]
            report = try_inspect(changed)
            assert report is None or render(report)


def try_inspect(data: bytes) -> ModuleReport | None:
    try:
        return inspect(data)
    except BinaryError:
        return None


# The report as text


def test_the_text_starts_with_the_summary() -> None:
    """What matters comes first, aligned; the hosts follow with their marks."""
    lines = render(inspect(wasm(FILTER))).splitlines()
    assert [line.split(":")[0] for line in lines[:6]] == ["Size", "SHA-256", "ABI", "Callbacks", "Memory", "Contents"]
    assert "ABI:        0.2.1" in lines
    assert "Callbacks:  on_log" in lines
    assert "Memory:     2 to 10 pages, 0.1 MiB at the start" in lines
    assert "Contents:   4 functions, 2 globals, 2 data segments" in lines
    assert f"  ✓  {OLD_ENVOY}    Istio up to 1.30; 18 WASI functions" in lines


def test_the_text_lists_sections_imports_and_exports() -> None:
    """Sizes are aligned to the right, types stand in a column of their own."""
    text = render(inspect(wasm(FILTER)))
    assert text.index("Hosts") < text.index("Sections") < text.index("Imports") < text.index("Exports")
    assert "  env.proxy_log                   function  (i32, i32, i32) -> (i32)\n" in text
    assert '  custom "notes"   9\n' in text
    assert "  counter                  global    mut i64\n" in text


def test_reasons_stand_below_their_host() -> None:
    """A host that does not load the module has a cross, and the reasons follow, indented."""
    lines = render(inspect(module("", malloc=""))).splitlines()
    at = next(number for number, line in enumerate(lines) if "✗" in line)
    assert lines[at].startswith(f"  ✗  {OLD_ENVOY}")
    assert lines[at + 1].startswith("      exports neither malloc nor")


def test_many_reasons_are_cut_short() -> None:
    """The text shows the first eight reasons and counts the others; the report itself has all."""
    data = module(" ".join(f'(import "env" "f{number}" (func))' for number in range(30)))
    assert "      … and 22 more\n" in render(inspect(data))
    assert len(problems(data)[GENERIC]) == 30


def test_an_open_answer_has_a_question_mark() -> None:
    """A host of which nothing can be told is marked so, and types that are not known are too."""
    text = render(inspect(module('(type (struct)) (func (export "x") (param f32))')))
    assert f"  ?  {OLD_ENVOY}" in text
    assert "  x                        function  ?\n" in text


def test_the_text_of_an_empty_module_has_no_empty_lists() -> None:
    """Headings without anything below are left out."""
    text = render(inspect(MODULE_HEADER))
    assert "Sections" not in text
    assert "Imports" not in text
    assert "Callbacks:  none" in text


def test_long_summaries_are_wrapped() -> None:
    """No line of the summary grows beyond the width of a terminal window."""
    data = module(" ".join(f'(func (export "proxy_on_something_{number}"))' for number in range(20)))
    summary = render(inspect(data)).split("\n\n")[0].splitlines()
    assert len(summary) > 6
    assert max(map(len, summary)) <= 116


# The tables


def test_the_wasi_types_are_those_of_wasmtime() -> None:
    """Every function of WASI preview 1 has the type that wasmtime gives it: a module that imports all links."""
    assert len(hosts.WASI_PREVIEW_1) == 46
    linker = wasmtime.Linker(wasmtime.Engine())
    linker.define_wasi()
    store = wasmtime.Store(linker.engine)
    store.set_wasi(wasmtime.WasiConfig())
    text = imports_of("wasi_snapshot_preview1", hosts.WASI_PREVIEW_1)
    linker.instantiate(store, wasmtime.Module(linker.engine, text))


def imports_of(name: str, functions: Mapping[str, FuncType]) -> str:
    """A module that imports all these functions."""
    names = {0x7F: "i32", 0x7E: "i64"}
    lines = [
        f'(import "{name}" "{function}" (func (param {" ".join(names[t] for t in of.params)})'
        f" (result {' '.join(names[t] for t in of.results)})))"
        for function, of in functions.items()
    ]
    return f"(module {' '.join(lines)})"


def test_the_tables_have_as_many_rows_as_the_hosts() -> None:
    """43 functions of the ABI in all versions together; 18 of WASI before 2026, then all 46 but one."""
    assert len(hosts.ABI_FUNCTIONS) == 43
    assert len(hosts.WASI_OF_2024) == 18
    assert set(hosts.WASI_PREVIEW_1) - set(hosts.WASI_OF_2026) == {"proc_raise"}
    assert set(hosts.ONLY_IN) <= set(hosts.ABI_FUNCTIONS)


@pytest.mark.parametrize(("version", "count"), [("0.1.0", 40), ("0.2.0", 38), ("0.2.1", 39)])
def test_each_abi_version_has_its_own_functions(version: str, count: int) -> None:
    """36 functions are in every version; each version adds its own."""
    generic = hosts.HOSTS[-1].functions(version)
    assert sum(module == "env" for module, _ in generic) == count


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The library writes to neither stream."""
    render(inspect(wasm(FILTER)))
    assert capsys.readouterr() == ("", "")
