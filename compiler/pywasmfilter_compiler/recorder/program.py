"""The recorder's code, in the text form of WebAssembly: what is the same in all modules, and the wrappers.

It is a module of its own, whose memory and functions that it calls are imports. What it imports as function N of
"function" is the function with this number in the module that it becomes part of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pywasmfilter_compiler.wasm.module import I32, VALTYPE_NAMES, FuncType

from .functions import ALWAYS_WRITTEN, Signature, Value

PREFIX: Final = "pyfilter-recording: "

PAGES: Final = 65
"""How much memory the recorder has: for two values of a MiB, whose digits take twice as much, and all else."""

_SLACK: Final = 1024  # bytes at the end of it, which bytes leave free for the numbers and marks that follow them
_CRITICAL: Final = 5
_TWO: Final = FuncType((I32, I32), (I32,))
_THREE: Final = FuncType((I32, I32, I32), (I32,))
_INVALID_MEMORY_ACCESS: Final = 6


class HostFunction(NamedTuple):
    """A host function: its name, its number in the finished module, and what its parameters mean."""

    name: str
    index: int  # type: ignore[assignment]  # the spec's word, though tuples have a method of this name
    signature: Signature


class Exported(NamedTuple):
    """A function that the module exports: its name, its number in the finished module, and its type."""

    name: str
    index: int  # type: ignore[assignment]  # as above
    type: FuncType


class OwnImports(NamedTuple):
    """The numbers of the host functions that the recorder calls for itself; the last only for `environ_get`."""

    log: int
    random: int
    environ_sizes: int | None


_LIBRARY: Final = f"""
  (global $vm (mut i64) (i64.const 0))        ;; this VM's number, 0 for none yet
  (global $quiet (mut i32) (i32.const 0))     ;; whether an allocator runs
  (global $start (mut i32) (i32.const 0))     ;; where the recorder's memory begins
  (global $end (mut i32) (i32.const 0))       ;; where bytes end, if not before
  (global $at (mut i32) (i32.const 0))        ;; where the next character goes

  (func $size (export "size") (result i32) (i32.sub (memory.size) (i32.const {PAGES})))

  (func $grow (export "grow") (param $pages i32) (result i32) (local $old i32)
    (local.set $old (memory.grow (local.get $pages)))
    (if (i32.eq (local.get $old) (i32.const -1)) (then (return (i32.const -1))))
    (local.set $old (i32.sub (local.get $old) (i32.const {PAGES})))
    (memory.fill (i32.shl (local.get $old) (i32.const 16)) (i32.const 0)
      (i32.shl (select (local.get $pages) (i32.const {PAGES}) (i32.lt_u (local.get $pages) (i32.const {PAGES})))
               (i32.const 16)))
    (local.get $old))

  (func $begin (param $from i32) (param $size i32) (result i32)
    (if (global.get $quiet) (then (return (i32.const 0))))
    (global.set $start (i32.shl (call $size) (i32.const 16)))
    (global.set $end (i32.add (global.get $start) (i32.const {PAGES * 65536 - _SLACK})))
    (global.set $at (global.get $start))
    (if (i64.eqz (global.get $vm)) (then
      (drop (call $random (global.get $start) (i32.const 8)))
      (global.set $vm (i64.or (i64.load (global.get $start)) (i64.const 1)))))
    (call $text (i32.const 0) (i32.const {len(PREFIX)}))
    (call $digits (global.get $vm) (i32.const 8))
    (call $text (local.get $from) (local.get $size))
    (i32.const 1))

  (func $finish
    (drop (call $log (i32.const {_CRITICAL}) (global.get $start) (i32.sub (global.get $at) (global.get $start)))))

  (func $text (param $from i32) (param $size i32)
    (memory.init $texts (global.get $at) (local.get $from) (local.get $size))
    (global.set $at (i32.add (global.get $at) (local.get $size))))

  (func $letter (param $letter i32)
    (i32.store16 (global.get $at) (i32.or (i32.const 32) (i32.shl (local.get $letter) (i32.const 8))))
    (global.set $at (i32.add (global.get $at) (i32.const 2))))

  ;; The two digits of a byte at once: its halves in a byte each, then plus "0", or "a" - 10.
  (func $byte (param $byte i32)
    (local.set $byte (i32.or (i32.shr_u (local.get $byte) (i32.const 4))
                             (i32.shl (i32.and (local.get $byte) (i32.const 15)) (i32.const 8))))
    (i32.store16 (global.get $at)
      (i32.add (i32.add (local.get $byte) (i32.const 0x3030))
               (i32.mul (i32.const 39) (i32.and (i32.const 0x0101)
                 (i32.shr_u (i32.add (local.get $byte) (i32.const 0x0606)) (i32.const 4))))))
    (global.set $at (i32.add (global.get $at) (i32.const 2))))

  (func $digits (param $value i64) (param $bytes i32)
    (loop $next
      (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
      (call $byte (i32.and (i32.const 255) (i32.wrap_i64
        (i64.shr_u (local.get $value) (i64.extend_i32_u (i32.shl (local.get $bytes) (i32.const 3)))))))
      (br_if $next (local.get $bytes))))

  (func $readable (param $address i32) (param $size i32) (result i32)
    (i64.le_u (i64.add (i64.extend_i32_u (local.get $address)) (i64.extend_i32_u (local.get $size)))
              (i64.shl (i64.extend_i32_u (call $size)) (i64.const 16))))

  (func $given (param $address i32) (param $size i32) (result i32)
    (i32.and (i32.ne (local.get $address) (i32.const 0)) (call $readable (local.get $address) (local.get $size))))

  (func $nothing (call $letter (i32.const {ord("-")})))

  (func $u32 (param $value i32)
    (call $letter (i32.const {ord("u")}))
    (call $digits (i64.extend_i32_u (local.get $value)) (i32.const 4)))

  (func $i64 (param $value i64)
    (call $letter (i32.const {ord("i")}))
    (call $digits (local.get $value) (i32.const 8)))

  (func $status (param $value i32)
    (call $letter (i32.const {ord("s")}))
    (call $digits (i64.extend_i32_u (local.get $value)) (i32.const 4)))

  (func $bytes (param $address i32) (param $size i32) (local $stop i32) (local $room i32)
    (if (i32.eqz (call $readable (local.get $address) (local.get $size))) (then (call $nothing) (return)))
    (call $letter (i32.const {ord("x")}))
    (if (i32.lt_u (global.get $at) (global.get $end)) (then
      (local.set $room (i32.shr_u (i32.sub (global.get $end) (global.get $at)) (i32.const 1)))))
    (local.set $stop (i32.add (local.get $address)
      (select (local.get $size) (local.get $room) (i32.le_u (local.get $size) (local.get $room)))))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $address) (local.get $stop)))
        (call $byte (i32.load8_u (local.get $address)))
        (local.set $address (i32.add (local.get $address) (i32.const 1)))
        (br $next)))
    (if (i32.gt_u (local.get $size) (local.get $room)) (then
      (i32.store8 (global.get $at) (i32.const {ord("~")}))
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (call $digits (i64.extend_i32_u (local.get $size)) (i32.const 4)))))

  (func $vectors (param $address i32) (param $count i32)
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $count)))
        (br_if $done (i32.ge_u (global.get $at) (global.get $end)))
        (if (i32.eqz (call $readable (local.get $address) (i32.const 8))) (then (call $nothing) (br $done)))
        (call $bytes (i32.load (local.get $address)) (i32.load offset=4 (local.get $address)))
        (local.set $address (i32.add (local.get $address) (i32.const 8)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (br $next))))

  (func $u32_at (param $address i32)
    (if (call $given (local.get $address) (i32.const 4))
      (then (call $u32 (i32.load (local.get $address))))
      (else (call $nothing))))

  (func $u64_at (param $address i32)
    (if (call $given (local.get $address) (i32.const 8))
      (then (call $letter (i32.const {ord("u")})) (call $digits (i64.load (local.get $address)) (i32.const 8)))
      (else (call $nothing))))

  (func $bytes_at (param $address i32) (param $size i32)
    (if (i32.and (call $given (local.get $address) (i32.const 4)) (call $given (local.get $size) (i32.const 4)))
      (then (call $bytes (i32.load (local.get $address)) (i32.load (local.get $size))))
      (else (call $nothing))))
"""

_ENVIRONMENT: Final = """
  (func $environment (param $pointers i32) (param $block i32)
    (if (call $environ_sizes (global.get $end) (i32.add (global.get $end) (i32.const 4)))
      (then (call $nothing))
      (else (call $bytes (local.get $block) (i32.load offset=4 (global.get $end))))))
"""


def source(
    own: OwnImports, functions: Sequence[HostFunction], callbacks: Sequence[Exported], allocators: Sequence[Exported]
) -> str:
    """The recorder for a module that imports `functions`, and exports `callbacks` and `allocators`.

    The wrapper of a host function is exported under its number, those of exports under their names.
    """
    texts = _Texts()
    wrappers = [
        *(_host_function(item, texts) for item in functions),
        *(_callback(item, texts) for item in callbacks),
        *map(_allocator, allocators),
    ]
    types = {item.index: item.signature.type for item in functions} | {
        item.index: item.type for item in (*callbacks, *allocators)
    }
    lines = [
        "(module",
        '  (import "module" "memory" (memory 1))',
        _import(own.log, "$log", _THREE),
        _import(own.random, "$random", _TWO),
        *([] if own.environ_sizes is None else [_import(own.environ_sizes, "$environ_sizes", _TWO)]),
        *(_import(index, f"$of_module_{index}", functype) for index, functype in types.items()),
        _LIBRARY,
        *([] if own.environ_sizes is None else [_ENVIRONMENT]),
        *wrappers,
        f'  (data $texts "{texts.content}"))',
    ]
    return "\n".join(lines)


def _import(index: int, name: str, functype: FuncType) -> str:
    return f'  (import "function" "{index}" (func {name} {_type(functype)}))'


def _type(functype: FuncType) -> str:
    params, results = (" ".join(VALTYPE_NAMES[t] for t in types) for types in functype)
    return f"(param {params}) (result {results})"


class _Texts:
    """The constant parts of lines, one after the other; the first is the prefix."""

    def __init__(self) -> None:
        self.content = PREFIX

    def add(self, text: str) -> str:
        """The instructions that give where a text is."""
        self.content += text
        return f"(i32.const {len(self.content) - len(text)}) (i32.const {len(text)})"


def _host_function(item: HostFunction, texts: _Texts) -> str:
    functype, signature = item.signature.type, item.signature
    before = _written(signature.arguments, 0)
    after = _written(signature.outcome, sum(len(value.types) for value in signature.arguments))
    status, worst = "(local.get $status)", _INVALID_MEMORY_ACCESS
    written = f"(i32.ne {status} (i32.const {worst}))" if item.name in ALWAYS_WRITTEN else f"(i32.eqz {status})"
    return f"""
  (func $call_{item.index} (export "{item.index}") {_type(functype)} (local $status i32)
    (local.set $status (call $of_module_{item.index} {_parameters(functype)}))
    (if (call $begin {texts.add(f" call {item.name}")}) (then
      {before}
      (call $status {status})
      (if {written} (then {after}))
      (call $finish)))
    {status})"""


def _callback(item: Exported, texts: _Texts) -> str:
    answers = bool(item.type.results)
    call = f"(call $of_module_{item.index} {_parameters(item.type)})"
    return f"""
  (func (export "{item.name}") {_type(item.type)} (local $answer i32)
    (if (call $begin {texts.add(f" callback {item.name}")}) (then
      {_written([Value("u32", (I32,))] * len(item.type.params), 0)}
      (call $finish)))
    {f"(local.set $answer {call})" if answers else call}
    (if (call $begin {texts.add(f" return {item.name}")}) (then
      {"(call $u32 (local.get $answer))" if answers else ""}
      (call $finish)))
    {"(local.get $answer)" if answers else ""})"""


def _allocator(item: Exported) -> str:
    return f"""
  (func (export "{item.name}") {_type(item.type)}
    (global.set $quiet (i32.const 1))
    (call $of_module_{item.index} {_parameters(item.type)})
    (global.set $quiet (i32.const 0)))"""


def _parameters(functype: FuncType) -> str:
    return " ".join(f"(local.get {number})" for number in range(len(functype.params)))


def _written(values: Iterable[Value], number: int) -> str:
    """The instructions that write values, the first of which begins at parameter `number`."""
    calls = []
    for value in values:
        numbers = range(number, number + len(value.types))
        calls.append(f"(call ${value.writer} {' '.join(f'(local.get {each})' for each in numbers)})")
        number = numbers.stop
    return " ".join(calls)
