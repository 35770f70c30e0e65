"""The recorder in small modules: what it logs of calls and callbacks, and that they do what they did without it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import pytest
import wasmtime
from pywasmfilter_compiler import hosts
from pywasmfilter_compiler.errors import LinkError, MalformedWasm, UnsupportedWasm
from pywasmfilter_compiler.recorder import FUNCTIONS, PREFIX, instrument
from pywasmfilter_compiler.wasm import binary
from pywasmfilter_compiler.wasm.module import VALTYPE_NAMES, FuncType, Kind
from pywasmfilter_compiler.wasm.names import function_names

WASI: Final = "wasi_snapshot_preview1"
MIB: Final = 1 << 20

Implementation: TypeAlias = Callable[..., int | None]
"""A host function, which takes the session and what the module gives it."""

_seeds = itertools.count(1, step=2)


def wasm(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(text))


class Session:
    """A module in a host of these functions; others answer 0. `events` is what the recorder has logged, in order."""

    def __init__(self, module: bytes, functions: Mapping[str, Implementation] | None = None) -> None:
        self.store = wasmtime.Store()
        self.functions = functions or {}
        self.log: list[tuple[int, str]] = []
        self.seed = next(_seeds)
        compiled = wasmtime.Module(self.store.engine, module)
        linker = wasmtime.Linker(self.store.engine)
        linker.allow_shadowing = True  # a module may import a function twice
        for item in compiled.imports:
            if isinstance(item.type, wasmtime.MemoryType):
                self.memory = wasmtime.Memory(self.store, item.type)
                linker.define(self.store, item.module, str(item.name), self.memory)
            elif isinstance(item.type, wasmtime.FuncType):
                linker.define_func(item.module, str(item.name), item.type, self._implementation(str(item.name)))
        self.exports = linker.instantiate(self.store, compiled).exports(self.store)
        if isinstance(memory := self.exports.get("memory"), wasmtime.Memory):
            self.memory = memory

    def _implementation(self, name: str) -> Callable[..., int | None]:
        own: Mapping[str, Implementation] = {"proxy_log": Session._log, "random_get": Session._random}
        given = self.functions.get(name) or own.get(name)
        return lambda *arguments: given(self, *arguments) if given else 0

    def _log(self, level: int, address: int, size: int) -> int:
        self.log.append((level, self.read(address & 0xFFFF_FFFF, size).decode()))
        return 0

    def _random(self, address: int, size: int) -> int:
        self.write(address & 0xFFFF_FFFF, self.seed.to_bytes(size, "little"))
        return 0

    def call(self, name: str, *arguments: int) -> Any:
        function = self.exports[name]
        assert isinstance(function, wasmtime.Func)
        return function(self.store, *arguments)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.memory.read(self.store, address, address + size))

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(self.store, data, address)

    def write_numbers(self, address: int, *numbers: int) -> None:
        self.write(address, b"".join(number.to_bytes(4, "little") for number in numbers))

    @property
    def events(self) -> list[str]:
        lines = [text.removeprefix(PREFIX) for level, text in self.log if level == 5 and text.startswith(PREFIX)]
        return [line.partition(" ")[2] for line in lines]

    @property
    def vms(self) -> set[str]:
        """The numbers that the recorder gave to the VM."""
        return {text.removeprefix(PREFIX).partition(" ")[0] for _, text in self.log if text.startswith(PREFIX)}


def recorded(text: str, functions: Mapping[str, Implementation] | None = None) -> Session:
    """A module with a recorder in it."""
    return Session(instrument(wasm(text)), functions)


def declared(functype: FuncType) -> str:
    """A function's type in text form."""
    params, results = (" ".join(VALTYPE_NAMES[t] for t in types) for types in functype)
    return f"(param {params}) (result {results})"


def function_import(name: str, module: str = "env") -> str:
    """The import of a host function, as `$name`."""
    table = hosts.ABI_FUNCTIONS if module == "env" else hosts.WASI_PREVIEW_1
    return f'(import "{module}" "{name}" (func ${name} {declared(table[name])}))'


# What is recorded of a call


def caller(name: str, arguments: str, module: str = "env", *others: str) -> str:
    """A module that exports `go`, which calls a host function and returns the status."""
    return f"""(module {function_import(name, module)} {" ".join(others)}
      (memory (export "memory") 1)
      (data (i32.const 0) "\\00key/\\ff")
      (data (i32.const 32) "\\01\\00\\00\\00\\03\\00\\00\\00\\04\\00\\00\\00\\02\\00\\00\\00")
      (func (export "go") (result i32) (call ${name} {arguments})))"""


def numbers(*values: int) -> str:
    return " ".join(f"(i32.const {value})" for value in values)


def answers(status: int, writes: Mapping[int, bytes]) -> Implementation:
    """A host function that writes to these addresses and answers with a status."""

    def function(session: Session, *_: int) -> int:
        for address, data in writes.items():
            session.write(address, data)
        return status

    return function


def u32s(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


VALUE: Final = {100: u32s(200, 3, 7), 200: b"v\x00\xfe"}


@pytest.mark.parametrize(
    ("name", "arguments", "status", "writes", "expected"),
    [
        ("proxy_log", numbers(2, 1, 3), 0, {}, "u00000002 x6b6579 s00000000"),
        ("proxy_done", "", 1, {}, "s00000001"),
        ("proxy_set_tick_period_milliseconds", numbers(-1), 0, {}, "uffffffff s00000000"),
        ("proxy_set_shared_data", numbers(1, 3, 5, 1, 9), 8, {}, "x6b6579 xff u00000009 s00000008"),
        ("proxy_get_shared_data", numbers(1, 3, 100, 104, 108), 0, VALUE, "x6b6579 s00000000 x7600fe u00000007"),
        ("proxy_get_shared_data", numbers(1, 3, 100, 104, 108), 1, VALUE, "x6b6579 s00000001"),
        ("proxy_get_property", numbers(1, 4, 100, 104), 0, {100: u32s(0, 0)}, "x6b65792f s00000000 x"),
        ("proxy_get_property", numbers(1, 0, 101, 65530), 0, {101: u32s(200), 65530: u32s(1)}, "x s00000000 x00"),
        ("proxy_increment_metric", "(i32.const 4) (i64.const -2)", 0, {}, "u00000004 ifffffffffffffffe s00000000"),
        ("proxy_get_metric", numbers(4, 100), 0, {100: b"\x08\7\6\5\4\3\2\1"}, "u00000004 s00000000 u0102030405060708"),
        ("proxy_http_call", numbers(*[1, 3] * 4, 5, 100), 2, {}, f"{'x6b6579 ' * 4}u00000005 s00000002 u00000000"),
        ("proxy_http_call", numbers(*[1, 3] * 4, 5, 100), 6, {}, f"{'x6b6579 ' * 4}u00000005 s00000006"),
        ("proxy_call_foreign_function", numbers(1, 3, 5, 1, 0, 0), 0, {}, "x6b6579 xff s00000000 -"),
        ("proxy_call_foreign_function", numbers(1, 3, 5, 1, 100, 104), 4, VALUE, "x6b6579 xff s00000004 x7600fe"),
        ("proxy_define_metric", numbers(0, 65534, 3, 100), 6, {}, "u00000000 - s00000006"),
        ("proxy_define_metric", numbers(0, -1, -1, 100), 6, {}, "u00000000 - s00000006"),
        ("proxy_get_metric", numbers(4, 65530), 0, {}, "u00000004 s00000000 -"),
        ("proxy_get_property", numbers(1, 3, 100, 104), 0, {100: u32s(65535, 2)}, "x6b6579 s00000000 -"),
    ],
)
def test_values(name: str, arguments: str, status: int, writes: Mapping[int, bytes], expected: str) -> None:
    """A call is recorded with its arguments, its status, and the results that were written; it gets its own answer."""
    session = recorded(caller(name, arguments), {name: answers(status, writes)} if name != "proxy_log" else {})
    assert session.call("go") == status
    assert session.events == [f"call {name} {expected}"]


@pytest.mark.parametrize(
    ("name", "arguments", "writes", "expected"),
    [
        ("clock_time_get", "(i32.const 1) (i64.const 5) (i32.const 100)", {100: b"\1" + bytes(7)},
         "u00000001 i0000000000000005 s00000000 u0000000000000001"),
        ("random_get", numbers(100, 2), {100: b"\xab\xcd"}, "s00000000 xabcd"),
        ("environ_sizes_get", numbers(100, 104), {100: u32s(2, 9)}, "s00000000 u00000002 u00000009"),
        ("fd_write", numbers(1, 32, 2, 100), {100: u32s(5)}, "u00000001 x6b6579 x2fff s00000000 u00000005"),
        ("fd_write", numbers(1, 65532, 2, 100), {100: u32s(0)}, "u00000001 - s00000000 u00000000"),
        ("fd_write", numbers(1, 32, 0, 100), {100: u32s(0)}, "u00000001 s00000000 u00000000"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("module", [WASI, "wasi_unstable"])
def test_values_of_wasi(name: str, arguments: str, writes: Mapping[int, bytes], expected: str, module: str) -> None:
    """So is a call of WASI, under whichever name of the module it has."""
    seed = answers(0, writes) if name == "random_get" else Session._random
    session = recorded(caller(name, arguments, module), {"random_get": seed, name: answers(0, writes)})
    assert session.call("go") == 0
    assert session.events == [f"call {name} {expected}"]


@pytest.mark.parametrize("others", [[], [function_import("environ_sizes_get", WASI)]])
def test_the_environment(others: list[str]) -> None:
    """The environment is recorded as one text, whether or not the module asks for its size."""
    functions: dict[str, Implementation] = {
        "environ_sizes_get": lambda session, count, size: (
            session.write_numbers(count & 0xFFFF_FFFF, 2) or session.write_numbers(size & 0xFFFF_FFFF, 8) or 0
        ),
        "environ_get": answers(0, {100: u32s(200, 204), 200: b"A=1\0B=2\0"}),
    }
    session = recorded(caller("environ_get", numbers(100, 200), WASI, *others), functions)
    session.call("go")
    assert session.events == ["call environ_get s00000000 x413d3100423d3200"]


def test_an_environment_of_unknown_size() -> None:
    """Where the host does not say how large it is, nothing is recorded of it."""
    session = recorded(caller("environ_get", numbers(100, 200), WASI), {"environ_sizes_get": lambda *_: 52})
    session.call("go")
    assert session.events == ["call environ_get s00000000 -"]


def test_the_table_has_every_function_with_its_type() -> None:
    """Nothing of the ABI is left out, and what parameters mean goes with their types."""
    assert {name for module, name in FUNCTIONS if module == "env"} == set(hosts.ABI_FUNCTIONS)
    for (module, name), signature in FUNCTIONS.items():
        assert signature.type == (hosts.ABI_FUNCTIONS if module == "env" else hosts.WASI_PREVIEW_1)[name], name


@pytest.mark.parametrize("abi", hosts.ABI_VERSIONS)
def test_every_function(abi: hosts.AbiVersion) -> None:
    """Each function of a version is recorded when it is called, and its import stays the module's own."""
    functions = hosts.functions(abi)
    calls = [
        f"(drop (call ${name} {' '.join(f'({VALTYPE_NAMES[t]}.const 1)' for t in functype.params)}))"
        for name, functype in functions.items()
    ]
    text = f"""(module {" ".join(map(function_import, functions))}
      (memory (export "memory") 1) (func (export "go") {" ".join(calls)}))"""
    session = recorded(text)
    session.call("go")
    assert [event.split()[:2] for event in session.events] == [["call", name] for name in functions]
    before, after = binary.decode(wasm(text)).imports, binary.decode(instrument(wasm(text))).imports
    assert [item[:3] for item in after] == [*(item[:3] for item in before), (WASI, "random_get", Kind.FUNC)]


def test_what_is_not_known_is_called_as_before() -> None:
    """A function that no table has, and one of another type, is called and not recorded."""
    session = recorded(
        """(module
          (import "env" "own" (func $own (param f64) (result f64)))
          (import "env" "proxy_done" (func $done (param i32) (result i32)))
          (memory (export "memory") 1)
          (func (export "own") (param f64) (result f64) (call $own (local.get 0)))
          (func (export "done") (result i32) (call $done (i32.const 3))))""",
        {"own": lambda _, value: 2 * value, "proxy_done": lambda _, value: value},
    )
    assert (session.call("own", 1.5), session.call("done")) == (3.0, 3)  # type: ignore[arg-type]
    assert session.events == []


# Callbacks


@pytest.mark.parametrize("abi", hosts.ABI_VERSIONS)
def test_every_callback(abi: hosts.AbiVersion) -> None:
    """Each callback of a version is recorded when it begins, with its arguments, and when it ends, with its answer."""
    callbacks = {**hosts.callbacks(abi), **hosts.ENVOY_CALLBACKS}
    bodies = [
        f'(func (export "{name}") {declared(functype)} {"(i32.const -2)" if functype.results else ""})'
        for name, functype in callbacks.items()
    ]
    session = recorded(f'(module (memory (export "memory") 1) {" ".join(bodies)})')
    for name, functype in callbacks.items():
        arguments = range(10, 10 + len(functype.params))
        assert session.call(name, *arguments) == (-2 if functype.results else None)
        words = [f"u{number:08x}" for number in arguments]
        answer = ["ufffffffe"] if functype.results else []
        assert session.events[-2:] == [" ".join(["callback", name, *words]), " ".join(["return", name, *answer])]
    assert len(session.events) == 2 * len(callbacks)


def test_a_callback_of_another_type_is_left_alone() -> None:
    """The host refuses such a module, and must be able to say so."""
    text = '(module (memory (export "memory") 1) (func (export "proxy_on_tick") (param i64)))'
    session = recorded(text)
    session.call("proxy_on_tick", 1)
    assert session.events == []
    assert exported_type(instrument(wasm(text)), "proxy_on_tick") == exported_type(wasm(text), "proxy_on_tick")


def exported_type(data: bytes, name: str) -> FuncType:
    module = binary.decode(data)
    index = next(item.index for item in module.exports if item.name == name)
    return module.types[module.function_types()[index]]


def test_a_callback_that_traps() -> None:
    """It has no end, and the host gets the trap."""
    session = recorded(
        '(module (memory (export "memory") 1) (func (export "proxy_on_tick") (param i32) (unreachable)))'
    )
    with pytest.raises(wasmtime.Trap):
        session.call("proxy_on_tick", 1)
    assert session.events == ["callback proxy_on_tick u00000001"]


GRPC: Final = f"""(module
  {function_import("proxy_grpc_close")} {function_import("proxy_done")} {function_import("clock_time_get", WASI)}
  {function_import("proxy_get_header_map_pairs")}
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 1000))
  (func (export "malloc") (param i32) (result i32)
    (drop (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 96)))
    (global.set $heap (i32.add (global.get $heap) (local.get 0)))
    (i32.sub (global.get $heap) (local.get 0)))
  (func $tick (export "proxy_on_tick") (param i32)
    (drop (call $proxy_grpc_close (i32.const 6)))
    (drop (call $proxy_get_header_map_pairs (i32.const 0) (i32.const 100) (i32.const 104))))
  (func (export "proxy_on_grpc_close") (param i32 i32 i32) (drop (call $proxy_done)))
  (func (export "proxy_on_done") (param i32) (result i32) (call $tick (local.get 0)) (i32.const 1)))"""


def close(session: Session, token: int) -> int:
    """Closing the call tells the module so, at once."""
    session.call("proxy_on_grpc_close", 1, token, 13)
    return 0


def give_pairs(session: Session, _: int, data: int, size: int) -> int:
    """Hands over a map in memory that the module's allocator gave."""
    address = session.call("malloc", 5)
    session.write(address, b"pairs")
    session.write_numbers(data, address)
    session.write_numbers(size, 5)
    return 0


def test_a_callback_inside_a_host_call() -> None:
    """What happens in it stands before the call, which is recorded whole when it ends; so does what follows."""
    session = recorded(GRPC, {"proxy_grpc_close": close, "proxy_get_header_map_pairs": give_pairs})
    session.call("proxy_on_tick", 1)
    assert session.events == [
        "callback proxy_on_tick u00000001",
        "callback proxy_on_grpc_close u00000001 u00000006 u0000000d",
        "call proxy_done s00000000",
        "return proxy_on_grpc_close",
        "call proxy_grpc_close u00000006 s00000000",
        "call proxy_get_header_map_pairs u00000000 s00000000 x7061697273",
        "return proxy_on_tick",
    ]


def test_only_the_host_calls_callbacks() -> None:
    """A callback that the module itself calls is not recorded as one; what it does is."""
    session = recorded(GRPC)
    session.call("proxy_on_done", 1)
    assert [event.split()[:2] for event in session.events] == [
        ["callback", "proxy_on_done"],
        ["call", "proxy_grpc_close"],
        ["call", "proxy_get_header_map_pairs"],
        ["return", "proxy_on_done"],
    ]


# Modules of all kinds

GO: Final = f"""(module
  {function_import("proxy_log")} {function_import("random_get", WASI)} {function_import("proxy_set_effective_context")}
  (import "{WASI}" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "_initialize")
    (drop (call $random_get (i32.const 40) (i32.const 4)))
    (drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 2))))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32)
    (drop (call $proxy_log (i32.const 2) (i32.const 0) (i32.const 2)))
    (local.get 0))
  (func (export "proxy_on_tick") (param i32) (drop (call $proxy_set_effective_context (local.get 0))))
  (data (i32.const 0) "go"))"""


def test_a_module_of_another_compiler() -> None:
    """Start functions, allocators and markers stay what they are; what a start function calls is recorded."""
    session = recorded(GO)
    session.call("_initialize")
    assert session.call("proxy_on_memory_allocate", 77) == 77
    session.call("proxy_on_tick", 3)
    random = (session.seed & 0xFFFF_FFFF).to_bytes(4, "little").hex()
    assert session.events == [
        f"call random_get s00000000 x{random}",
        "call proxy_log u00000002 x676f s00000000",
        "callback proxy_on_tick u00000003",
        "call proxy_set_effective_context u00000003 s00000000",
        "return proxy_on_tick",
    ]
    assert [line for line in session.log if line[0] == 2] == [(2, "go")] * 2
    names = [item.name for item in binary.decode(wasm(GO)).exports]
    assert [item.name for item in binary.decode(instrument(wasm(GO))).exports] == names


INDIRECT: Final = f"""(module
  {function_import("proxy_set_effective_context")}
  (import "env" "proxy_done" (func $done (result i32)))
  (import "env" "proxy_done" (func $done_again (result i32)))
  (table $table 8 funcref)
  (memory (export "memory") 1)
  (global $reference funcref (ref.func $proxy_set_effective_context))
  (global $counter (mut i32) (i32.const 0))
  (type $unary (func (param i32) (result i32)))
  (export "imported" (func $done_again))
  (func $own (param i32) (result i32)
    (global.set $counter (i32.add (global.get $counter) (local.get 0)))
    (global.get $counter))
  (func (export "indirect") (param i32 i32) (result i32)
    (call_indirect $table (type $unary) (local.get 1) (local.get 0)))
  (func (export "from_code") (param i32) (result i32)
    (table.set $table (i32.const 7) (ref.func $proxy_set_effective_context))
    (call_indirect $table (type $unary) (local.get 0) (i32.const 7)))
  (func (export "from_global") (param i32) (result i32)
    (table.set $table (i32.const 7) (global.get $reference))
    (call_indirect $table (type $unary) (local.get 0) (i32.const 7)))
  (func (export "from_segment") (param i32) (result i32)
    (table.init $table $passive (i32.const 5) (i32.const 0) (i32.const 1))
    (elem.drop $passive)
    (call_indirect $table (type $unary) (local.get 0) (i32.const 5)))
  (elem (table $table) (i32.const 1) func $own $proxy_set_effective_context)
  (elem $passive func $proxy_set_effective_context)
  (elem declare func $proxy_set_effective_context)
  (func $start (drop (call $own (i32.const 5))))
  (start $start))"""


@pytest.mark.parametrize(
    ("name", "arguments"), [("indirect", (2, 9)), ("from_code", (9,)), ("from_global", (9,)), ("from_segment", (9,))]
)
def test_calls_that_are_not_direct(name: str, arguments: tuple[int, ...]) -> None:
    """A host function that is called through a table is recorded, however it came there."""
    session = recorded(INDIRECT, {"proxy_set_effective_context": lambda _, value: value + 1})
    assert session.call(name, *arguments) == 10
    assert session.events == ["call proxy_set_effective_context u00000009 s0000000a"]


def test_the_rest_of_a_module_means_the_same() -> None:
    """Its own functions, globals and start function are what they were; an import that is exported is recorded."""
    session = recorded(INDIRECT)
    assert [session.call("indirect", 1, 2), session.call("indirect", 1, 3)] == [7, 10]
    assert session.events == []
    assert session.call("imported") == 0
    assert session.events == ["call proxy_done s00000000"]


def test_imports_of_every_kind() -> None:
    """What is imported besides functions comes before what is the module's own, and the recorder's after that."""
    module = """(module
      (import "env" "global" (global $global i64))
      (import "env" "table" (table 1 funcref))
      (import "env" "memory" (memory 1))
      (global $own (mut f32) (f32.const 1))
      (data $passive "data")
      (func (export "proxy_on_tick") (param i32)
        (global.set $own (f32.convert_i64_s (global.get $global)))
        (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))))"""
    wasmtime.Module.validate(wasmtime.Engine(), instrument(wasm(module)))


def test_names_move_with_their_functions() -> None:
    """Backtraces say what they said; what else was said about the code is not there."""
    module = binary.decode(wasm(INDIRECT))
    module.customs.append(module.customs[0]._replace(name="precompiled"))
    before, after = module, binary.decode(instrument(binary.encode(module)))
    assert [custom.name for custom in after.customs] == ["name"]
    moved = len(after.imported(Kind.FUNC)) - len(before.imported(Kind.FUNC))
    assert moved == 2  # proxy_log and random_get
    imported, names = len(before.imported(Kind.FUNC)), function_names(after)
    for index, name in function_names(before).items():
        assert names[index if index < imported else index + moved] == name
    assert {name for name in names.values() if name.startswith("recorder.")} >= {"recorder.begin", "recorder.grow"}


def test_vms_have_different_numbers() -> None:
    """All lines of a VM have one number, also when the host's random numbers are zeros, and another VM has another."""
    first, second = recorded(GO), recorded(GO)
    for session in (first, second):
        session.call("_initialize")
        session.call("proxy_on_tick", 1)
        assert len(session.vms) == 1
        assert {len(number) for number in session.vms} == {16}
    assert first.vms != second.vms
    zeros = recorded(GO, {"random_get": lambda *_: 0})
    zeros.call("proxy_on_tick", 1)
    assert zeros.vms == {"0000000000000001"}


# Memory

GROWING: Final = f"""(module
  {function_import("proxy_set_effective_context")}
  {{memory}}
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "fill") (param i32)
    (memory.fill (i32.const 0) (local.get 0) (i32.shl (memory.size) (i32.const 16))))
  (func (export "proxy_on_tick") (param i32) (drop (call $proxy_set_effective_context (local.get 0)))))"""
EXPORTED: Final = '(memory (export "memory") 2 100)'
IMPORTED: Final = '(import "env" "memory" (memory 2 100))'


@pytest.mark.parametrize("memory", [EXPORTED, IMPORTED])
def test_a_module_does_not_see_the_recorders_memory(memory: str) -> None:
    """Its memory has the size that it had, grows to the size that it could, and new memory is zero."""
    session = recorded(GROWING.format(memory=memory))
    pages = 2
    for more in (0, 1, 3, 70, 24):
        session.call("proxy_on_tick", more)
        assert session.call("grow", more) == pages
        assert session.read(pages << 16, more << 16) == bytes(more << 16)
        pages += more
        session.call("fill", 0xAA)
        assert session.call("size") == pages
    assert pages == 100
    assert [session.call("grow", more) for more in (1, 65, -1)] == [-1] * 3
    session.call("proxy_on_tick", 9)
    assert session.read(0, pages << 16) == b"\xaa" * (pages << 16)
    assert session.events.count("callback proxy_on_tick u00000009") == 1
    assert len(session.events) == 3 * 6


def test_recording_leaves_memory_alone() -> None:
    """After a session the module's memory is what it is without a recorder."""
    memories = []
    for module in (wasm(GRPC), instrument(wasm(GRPC))):
        session = Session(module, {"proxy_grpc_close": close, "proxy_get_header_map_pairs": give_pairs})
        session.call("proxy_on_tick", 1)
        memories.append(session.read(0, 1 << 16))
    assert memories[0] == memories[1]


def test_memory_without_a_maximum_still_has_none() -> None:
    """Limits are raised by what the recorder takes, as far as memory can be, and by nothing else."""

    def limits(text: str) -> tuple[int, int | None]:
        return tuple(binary.decode(instrument(wasm(f"(module (memory {text}))"))).memories[0])  # type: ignore[return-value]

    assert limits("3") == (68, None)
    assert limits("3 4") == (68, 69)
    assert limits("3 65536") == (68, 65536)
    assert limits("65471") == (65536, None)


BODY: Final = f"""(module
  {function_import("proxy_get_buffer_bytes")} {function_import("proxy_set_property")}
  {function_import("fd_write", WASI)}
  (memory (export "memory") 100)
  (func (export "get")
    (drop (call $proxy_get_buffer_bytes {numbers(0, 0, -1, 100, 104)})))
  (func (export "set") (param i32 i32)
    (drop (call $proxy_set_property (i32.const 200) (local.get 0) (i32.const 200) (local.get 1))))
  (func (export "write") (param i32)
    (drop (call $fd_write (i32.const 1) (i32.const 65536) (local.get 0) (i32.const 0)))))"""


def test_a_large_body_is_recorded_whole() -> None:
    """A MiB fits, and so do two in one call."""
    body = bytes(range(256)) * (MIB // 256)
    session = recorded(BODY, {"proxy_get_buffer_bytes": answers(0, {100: u32s(200, MIB), 200: body})})
    session.call("get")
    assert session.events == [f"call proxy_get_buffer_bytes u00000000 u00000000 uffffffff s00000000 x{body.hex()}"]
    session.call("set", MIB, MIB)
    assert session.events[1] == f"call proxy_set_property x{body.hex()} x{body.hex()} s00000000"


def test_what_does_not_fit_is_cut() -> None:
    """A line ends where the recorder's memory does: bytes are cut, with a mark that says how many they were."""
    session = recorded(BODY)
    session.write(200, b"\xa5" * (5 * MIB))
    session.call("set", 3 * MIB, 5)
    cut, _, rest = session.events[0].removeprefix("call proxy_set_property x").partition("~")
    assert len(cut) > 2 * 2 * MIB - 2048
    assert cut == "a5" * (len(cut) // 2)
    assert rest == f"{3 * MIB:08x} x~00000005 s00000000"
    session.write(65536, u32s(200, 5) * 500_000)
    session.call("write", 500_000)
    vectors = session.events[1].split()[3:-2]
    assert 4 * MIB // 12 < len(vectors) < 500_000
    assert vectors[:-1] == ["xa5a5a5a5a5"] * (len(vectors) - 1)
    assert session.events[1].endswith(" s00000000 -")


# What cannot be recorded


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (wasm("(module)"), LinkError, "a module without memory cannot be recorded"),
        (wasm("(module (memory 65472))"), LinkError, "begins with 65472 pages of memory leaves no room"),
        (wasm("(module (memory 1) (func (drop (v128.const i64x2 0 0))))"), UnsupportedWasm, "SIMD"),
        (wasm("(module (memory 1))")[:-1], MalformedWasm, "unexpected end"),
        (b"", MalformedWasm, "not WebAssembly"),
    ],
)
def test_errors(module: bytes, error: type[Exception], message: str) -> None:
    """The error says why."""
    with pytest.raises(error, match=message):
        instrument(module)


def test_an_instrumented_module_is_one_of_its_own_kind() -> None:
    """Even a module with a recorder can be recorded: the lines of the inner one are calls like others."""
    session = Session(instrument(instrument(wasm(GO))))
    session.call("proxy_on_tick", 1)
    assert sum(event.startswith("call proxy_log u00000005") for event in session.events) == 3
