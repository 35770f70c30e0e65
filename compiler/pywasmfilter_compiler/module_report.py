"""What is in a Proxy-Wasm module, whoever compiled it, and which hosts can load it.

`inspect` reads the sections that say how a module fits a host (types, imports, exports, memory) and counts the rest.
Code is not decoded, so any instruction may occur in it; what else is beyond the compiler's own reader (vector types,
tags, newer forms of types) is reported among the features. `render` gives the report as text.
"""

from __future__ import annotations

import gzip
import hashlib
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from . import contents, hosts, upstreams
from .contents import Contents, PythonModule
from .errors import BinaryError, CompilerError, UnsupportedWasm, UsageError
from .hosts import Host
from .upstreams import Upstream
from .wasm import sections
from .wasm.binary import MAGIC, raw_sections, section_sizes
from .wasm.cursor import Cursor
from .wasm.module import VALTYPE_NAMES
from .wasm.sections import SECTION_NAMES

PAGE: Final = 65536

# The report


@dataclass(frozen=True, slots=True)
class ImportReport:
    """An import; the type is None when the module describes it in a way that cannot be read."""

    module: str
    name: str
    kind: str
    type: str | None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An export; for its type see `ImportReport`."""

    name: str
    kind: str
    type: str | None


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The module's memory, in pages of 64 KiB."""

    initial: int
    maximum: int | None
    is_64_bit: bool = False


@dataclass(frozen=True, slots=True)
class SectionReport:
    """A section and the size of its content in bytes; a custom section is named as `custom "name"`."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class HostReport:
    """Whether a host can load the module; None if that cannot be told. `problems` says what stops it, or why not."""

    name: str
    note: str
    loads: bool | None
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """All there is to say of a module. Functions, globals and data segments are counted without imported ones.

    `plugins` and `python_modules` are those of a filter built with `pyfilter`.
    """

    path: str | None
    size: int
    gzip_size: int
    sha256: str
    abi: str | None
    plugins: tuple[str, ...]
    callbacks: tuple[str, ...]
    memory: MemoryReport | None
    functions: int
    globals: int
    data_segments: int
    features: tuple[str, ...]
    upstreams: tuple[Upstream, ...]
    python_modules: tuple[PythonModule, ...]
    hosts: tuple[HostReport, ...]
    sections: tuple[SectionReport, ...]
    imports: tuple[ImportReport, ...]
    exports: tuple[ExportReport, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, ready for `json.dumps`."""
        return asdict(self)


def inspect(source: Path | str | bytes, *, compress: bool = True) -> ModuleReport:
    """Report on a module, given as a path or as its bytes. Without `compress`, `gzip_size` is 0: it takes longest.

    Raises MalformedWasm for what is not a whole WebAssembly module, UnsupportedWasm for a component, and UsageError
    for a file that cannot be read.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if data[:4] == MAGIC and data[6:8] == b"\x01\x00":
        raise UnsupportedWasm(
            "this is a component, but Proxy-Wasm hosts load core modules: `pyfilter build` makes one of a filter", 4
        )
    outline = _outline(data)
    python = contents.of_module(data)
    exports = tuple(outline.exports_with_types())
    abi = _abi(exports)
    subject = _Subject(outline, abi, {item.name: item.type for item in exports if item.kind == "function"})
    return ModuleReport(
        path=None if isinstance(source, bytes) else str(source),
        size=len(data),
        gzip_size=len(gzip.compress(data, compresslevel=6, mtime=0)) if compress else 0,
        sha256=hashlib.sha256(data).hexdigest(),
        abi=abi,
        plugins=python.plugins if python else (),
        callbacks=tuple(name for name in subject.functions if _is_callback(name)),
        memory=outline.memories[0] if outline.memories else None,
        functions=len(outline.functions),
        globals=outline.global_count,
        data_segments=outline.data_count,
        features=tuple(sorted(outline.features)),
        upstreams=upstreams.of_module(data),
        python_modules=python.modules if python else (),
        hosts=tuple(_host_report(host, subject) for host in hosts.HOSTS),
        sections=tuple(SectionReport(name, size) for name, size in section_sizes(data)),
        imports=tuple(outline.imports),
        exports=exports,
    )


def why(source: Path | str | bytes, name: str) -> list[PythonModule]:
    """How a Python module came into a module: what the build was asked for, then what that imports, …, and itself last.

    Raises UsageError for a file that cannot be read and for a module that does not say, and CompilerError for a name of
    no module in it, or of one that is in all of them.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    python = contents.of_module(data)
    if python is None:
        raise UsageError("the module does not say which Python modules it has; those that `pyfilter build` makes do")
    if chain := python.chain(name):
        return chain
    if name in python.always:
        raise CompilerError(f"{name} is in every module: the interpreter or the SDK needs it")
    raise CompilerError("; ".join([f"there is no Python module {name!r} in it", *_similar(python, name)]))


def _similar(python: Contents, name: str) -> Iterator[str]:
    if similar := python.similar(name)[:5]:
        yield f"is it {' or '.join(similar)}?"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _abi(exports: tuple[ExportReport, ...]) -> str | None:
    """The ABI version a host finds: the first marker in the order of the exports."""
    markers = (hosts.ABI_MARKERS.get(item.name) for item in exports if item.kind == "function")
    return next(filter(None, markers), None)


def _is_callback(name: str) -> bool:
    return name.startswith("proxy_on_") and name not in hosts.ALLOCATORS


# Reading


_KINDS: Final = ("function", "table", "memory", "global", "tag")
_TYPE_NAMES: Final = VALTYPE_NAMES | {0x7B: "v128"}


@dataclass(slots=True)
class _Outline:
    """What the sections say. `unread` holds, by section, why one could not be read to its end."""

    types: list[str] = field(default_factory=list)
    imports: list[ImportReport] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    memories: list[MemoryReport] = field(default_factory=list)
    globals: list[str] = field(default_factory=list)
    exports: list[tuple[str, str, int]] = field(default_factory=list)
    global_count: int = 0
    data_count: int = 0
    features: set[str] = field(default_factory=set)
    unread: dict[str, str] = field(default_factory=dict)

    def function_type(self, index: int) -> str | None:
        """The type with this typeidx."""
        return self.types[index] if index < len(self.types) else None

    def index_spaces(self) -> dict[str, list[str | None]]:
        """The types of all items by kind: of the imported ones, and then of those the module defines."""
        if "import" in self.unread:
            return {}
        spaces: dict[str, list[str | None]] = {kind: [] for kind in _KINDS}
        for item in self.imports:
            spaces[item.kind].append(item.type)
        spaces["function"] += map(self.function_type, self.functions)
        spaces["table"] += self.tables
        spaces["memory"] += map(_memory_text, self.memories[len(spaces["memory"]) :])
        spaces["global"] += self.globals
        return spaces

    def exports_with_types(self) -> Iterator[ExportReport]:
        """The exports, each with the type of what it names."""
        spaces = self.index_spaces()
        for name, kind, index in self.exports:
            space = spaces.get(kind, [])
            yield ExportReport(name, kind, space[index] if index < len(space) else None)


def _outline(data: bytes) -> _Outline:
    outline = _Outline()
    for section, at, content in raw_sections(Cursor(data)):
        name = SECTION_NAMES[section] if section < len(SECTION_NAMES) else f"unknown {section}"
        try:
            if section in _READERS:
                _READERS[section](outline, content)
            elif section >= len(SECTION_NAMES):
                content.unsupported(f"unknown section {section}", at)
        except UnsupportedWasm as error:
            outline.unread[name] = str(error)
            outline.features.add(f"{name} section: {error}")
    return outline


def _custom_section(outline: _Outline, c: Cursor) -> None:
    """target_features ::= vec(prefix:byte name:name), where '+' and '=' mark a feature in use"""
    if c.name() != "target_features":
        return
    try:
        features = c.vec(lambda item: (item.byte(), item.name()))
    except BinaryError:  # a custom section may hold anything
        return
    outline.features.update(name for prefix, name in features if prefix in b"+=")


def _type_section(outline: _Outline, c: Cursor) -> None:
    for _ in range(c.u32()):
        outline.types.append(_function_type(outline, c))
    c.expect_end("type section")


def _function_type(outline: _Outline, c: Cursor) -> str:
    at, form = c.pos, c.byte()
    if form != 0x60:
        c.unsupported(f"unknown form of type {form:#04x}", at)
    params, results = ([_value_type(outline, c) for _ in range(c.u32())] for _ in range(2))
    return f"({', '.join(params)}) -> ({', '.join(results)})"


def _value_type(outline: _Outline, c: Cursor) -> str:
    at, value = c.pos, c.byte()
    if value not in _TYPE_NAMES:
        c.unsupported(f"unknown value type {value:#04x}", at)
    if value not in VALTYPE_NAMES:
        outline.features.add("simd128")
    return _TYPE_NAMES[value]


def _import_section(outline: _Outline, c: Cursor) -> None:
    for _ in range(c.u32()):
        module, name, at, kind = c.name(), c.name(), c.pos, c.byte()
        if kind >= len(_KINDS):
            c.unsupported(f"unknown kind of import {kind:#04x}: {module}.{name}", at)
        described = _IMPORT_TYPES[kind](outline, c)
        outline.imports.append(ImportReport(module, name, _KINDS[kind], described))
    c.expect_end("import section")


def _imported_function(outline: _Outline, c: Cursor) -> str | None:
    return outline.function_type(c.u32())


def _table_type(outline: _Outline, c: Cursor) -> str:
    return f"{_value_type(outline, c)} {_limits_text(_limits(outline, c))}"


def _memory_type(outline: _Outline, c: Cursor) -> str:
    outline.memories.append(_limits(outline, c))
    if len(outline.memories) > 1:
        outline.features.add("multimemory")
    return _memory_text(outline.memories[-1])


def _global_type(outline: _Outline, c: Cursor) -> str:
    value, mutable = _value_type(outline, c), c.byte()
    return f"mut {value}" if mutable else value


def _tag_type(outline: _Outline, c: Cursor) -> str | None:
    outline.features.add("exception-handling")
    c.byte()
    return outline.function_type(c.u32())


_IMPORT_TYPES: Final[tuple[Callable[[_Outline, Cursor], str | None], ...]] = (
    _imported_function,
    _table_type,
    _memory_type,
    _global_type,
    _tag_type,
)


def _limits(outline: _Outline, c: Cursor) -> MemoryReport:
    """limits ::= flags:byte min max?; bit 0: there is a maximum, bit 1: shared, bit 2: 64 bits"""
    at, flags = c.pos, c.byte()
    if flags > 7:
        c.unsupported(f"unknown limits {flags:#04x}", at)
    if flags & 2:
        outline.features.add("shared-memory")
    if flags & 4:
        outline.features.add("memory64")
    number = _u64 if flags & 4 else Cursor.u32
    return MemoryReport(number(c), number(c) if flags & 1 else None, is_64_bit=bool(flags & 4))


def _u64(c: Cursor) -> int:
    value = shift = 0
    while (byte := c.byte()) >= 0x80:
        value |= (byte & 0x7F) << shift
        shift += 7
    return value | byte << shift


def _limits_text(item: MemoryReport) -> str:
    return str(item.initial) if item.maximum is None else f"{item.initial} to {item.maximum}"


def _memory_text(item: MemoryReport) -> str:
    return f"{_limits_text(item)} {'page' if (item.maximum or item.initial) == 1 else 'pages'}"


def _function_section(outline: _Outline, c: Cursor) -> None:
    outline.functions = c.vec(Cursor.u32)
    c.expect_end("function section")


def _table_section(outline: _Outline, c: Cursor) -> None:
    for _ in range(c.u32()):
        outline.tables.append(_table_type(outline, c))


def _memory_section(outline: _Outline, c: Cursor) -> None:
    for _ in range(c.u32()):
        _memory_type(outline, c)
    c.expect_end("memory section")


def _global_section(outline: _Outline, c: Cursor) -> None:
    outline.global_count = c.u32()
    for _ in range(outline.global_count):
        outline.globals.append(_global_type(outline, c))
        sections.expr(c)


def _export_section(outline: _Outline, c: Cursor) -> None:
    for _ in range(c.u32()):
        name, at, kind = c.name(), c.pos, c.byte()
        if kind >= len(_KINDS):
            c.unsupported(f"unknown kind of export {kind:#04x}: {name}", at)
        outline.exports.append((name, _KINDS[kind], c.u32()))
    c.expect_end("export section")


def _data_section(outline: _Outline, c: Cursor) -> None:
    outline.data_count = c.u32()


def _tag_section(outline: _Outline, c: Cursor) -> None:
    outline.features.add("exception-handling")
    c.u32()


_READERS: Final[dict[int, Callable[[_Outline, Cursor], None]]] = {
    sections.CUSTOM: _custom_section,
    sections.TYPE: _type_section,
    sections.IMPORT: _import_section,
    sections.FUNCTION: _function_section,
    sections.TABLE: _table_section,
    sections.MEMORY: _memory_section,
    sections.GLOBAL: _global_section,
    sections.EXPORT: _export_section,
    sections.DATA: _data_section,
    13: _tag_section,
}


# Asking the hosts


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a host looks at: the outline, the ABI version, and the exported functions with their types."""

    outline: _Outline
    abi: str | None
    functions: dict[str, str | None]


def _host_report(host: Host, subject: _Subject) -> HostReport:
    unread = subject.outline.unread
    problems = [problem for check, needs in _CHECKS if not needs & unread.keys() for problem in check(host, subject)]
    # Tables and globals matter to no check, so the host may well understand more of them than this reader.
    doubts = [f"the {name} section cannot be read: {why}" for name, why in unread.items() if name not in _IRRELEVANT]
    loads = False if problems else None if doubts else True
    return HostReport(host.name, host.note, loads, tuple(problems + doubts))


def _marker_problems(_: Host, subject: _Subject) -> Iterator[str]:
    if subject.abi is None:
        yield f"declares no ABI version: {list(hosts.ABI_MARKERS)[-1]} or an older one must be an exported function"


def _import_problems(host: Host, subject: _Subject) -> Iterator[str]:
    offered = host.functions(subject.abi)
    for item in subject.outline.imports:
        label = f"{item.module}.{item.name}"
        if item.kind in {"memory", "table"}:
            continue  # hosts create these, as large as the import asks
        expected = offered.get((item.module, item.name))
        if item.kind != "function":
            yield f"imports the {item.kind} {label}, but hosts offer functions only"
        elif expected is None:
            yield _missing_import(item, subject.abi)
        elif item.type not in {str(expected), None}:
            yield f"import {label} has the type {item.type}, but the host offers {expected}"


def _missing_import(item: ImportReport, abi: str | None) -> str:
    versions = hosts.ONLY_IN.get(item.name) if item.module == "env" else None
    if versions and abi:
        return f"import env.{item.name} exists in ABI {' and '.join(versions)} only, but the module declares {abi}"
    return f"import {item.module}.{item.name} is not offered by the host"


def _export_problems(host: Host, subject: _Subject) -> Iterator[str]:
    functions = subject.functions
    looked_up = dict(hosts.start_functions(functions))
    if subject.abi:
        looked_up |= {**hosts.callbacks(subject.abi), **host.callbacks}
    allocator = next((name for name in hosts.ALLOCATORS if name in functions), None)
    if allocator is None:
        yield f"exports neither {' nor '.join(hosts.ALLOCATORS)}, so the host cannot hand over data"
    else:
        looked_up[allocator] = hosts.ALLOCATOR
    for name, expected in looked_up.items():
        if functions.get(name) not in {str(expected), None}:
            yield f"export {name} has the type {functions[name]}, but the host calls it as {expected}"


def _memory_problems(host: Host, subject: _Subject) -> Iterator[str]:
    memories = subject.outline.memories
    imported = any(item.kind == "memory" for item in subject.outline.imports)
    if not imported and all(kind != "memory" for _, kind, _ in subject.outline.exports):
        yield "exports no memory, so the host cannot hand over data"
    if len(memories) > 1:
        yield f"has {len(memories)} memories, but hosts use exactly one"
    for memory in memories:
        if memory.is_64_bit:
            yield "has a 64-bit memory, but the addresses of the ABI have 32 bits"
        if memory.initial > host.memory_pages:
            yield f"starts with {memory.initial} pages of memory, but the host allows {host.memory_pages}"


_CHECKS: Final[tuple[tuple[Callable[[Host, _Subject], Iterator[str]], frozenset[str]], ...]] = (
    (_marker_problems, frozenset({"export"})),
    (_import_problems, frozenset({"import"})),
    (_export_problems, frozenset({"export"})),
    (_memory_problems, frozenset({"import", "memory", "export"})),
)
_IRRELEVANT: Final = frozenset({"table", "global"})


# The report as text

_MARKS: Final = {True: "✓", False: "✗", None: "?"}
_SHOWN: Final = 8  # problems of one host
_LINE: Final = 116
_COLUMN: Final = 64  # what is longer sticks out of its column


def render(report: ModuleReport) -> str:
    """The report for people: the summary, upstreams, the hosts with what stops them, sections, imports and exports."""
    blocks = [
        _table([[f"{key}:", value] for key, value in _summary(report)]),
        ["Upstreams", *_indented(_table([_row(upstream) for upstream in report.upstreams]))],
        ["Hosts", *_indented(_hosts(report))],
        ["Python modules", *_indented(_table(list(_python_rows(report)), right=1))],
        ["Sections", *_indented(_table([[item.name, f"{item.size:,}"] for item in report.sections], right=1))],
        ["Imports", *_indented(_table([[f"{i.module}.{i.name}", i.kind, i.type or "?"] for i in report.imports]))],
        ["Exports", *_indented(_table([[item.name, item.kind, item.type or "?"] for item in report.exports]))],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if len(block) > 1) + "\n"


def _python_rows(report: ModuleReport) -> Iterator[list[str]]:
    """The largest first."""
    for item in sorted(report.python_modules, key=lambda module: (-module.size, module.name)):
        line = f", line {item.line}" if item.line else ""
        yield [item.name, f"{item.size:,}", f"imported by {item.importer}{line}" if item.importer else ""]


def render_why(chain: list[PythonModule]) -> str:
    """The imports that brought a module in as text: `filter.py:3 → package.x:10 → json`."""
    names = [chain[0].origin, *(module.name for module in chain[1:])]
    lines = [module.line for module in chain[1:]] + [0]
    steps = [f"{name}:{line}" if line else name for name, line in zip(names, lines, strict=True)]
    return f"{' → '.join(steps)}\n  {chain[-1].origin}, {chain[-1].size:,} bytes"


def _row(upstream: Upstream) -> list[str]:
    return [upstream.name, upstream.url, f"cluster {upstream.cluster}", f"or what {upstream.variable} names"]


def _summary(report: ModuleReport) -> Iterator[tuple[str, str]]:
    if report.path is not None:
        yield "Module", report.path
    yield "Size", f"{report.size:,} bytes, {report.gzip_size:,} with gzip"
    yield "SHA-256", report.sha256
    yield "ABI", report.abi or "none"
    if report.plugins:
        yield "Plugins", ", ".join(report.plugins)
    yield "Callbacks", ", ".join(name.removeprefix("proxy_") for name in report.callbacks) or "none"
    if report.memory:
        mebibytes = report.memory.initial * PAGE / 2**20
        yield "Memory", f"{_memory_text(report.memory)}, {mebibytes:,.1f} MiB at the start"
    counts = (report.functions, "function"), (report.globals, "global"), (report.data_segments, "data segment")
    yield "Contents", ", ".join(f"{number:,} {what}{'s' * (number != 1)}" for number, what in counts)
    if report.features:
        yield "Features", ", ".join(report.features)


def _hosts(report: ModuleReport) -> Iterator[str]:
    rows = _table([[_MARKS[host.loads], host.name, host.note] for host in report.hosts])
    for row, host in zip(rows, report.hosts, strict=True):
        yield row
        yield from (f"    {problem}" for problem in host.problems[:_SHOWN])
        if len(host.problems) > _SHOWN:
            yield f"    … and {len(host.problems) - _SHOWN} more"


def _table(rows: list[list[str]], right: int | None = None) -> list[str]:
    """Rows as lines of aligned columns; column `right` is aligned to the right, and a long last one is wrapped."""
    lines: list[str] = []
    widths = [min(max(map(len, column)), _COLUMN) for column in zip(*rows, strict=True)]
    start = sum(widths[:-1]) + 2 * (len(widths) - 1)
    for row in rows:
        cells = [c.rjust(w) if n == right else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))]
        last = textwrap.wrap(cells.pop(), _LINE - start, break_long_words=False) or [""]
        lines.append("  ".join([*cells, last[0]]).rstrip())
        lines += [" " * start + more for more in last[1:]]
    return lines


def _indented(lines: list[str] | Iterator[str]) -> list[str]:
    return [f"  {line}" for line in lines]
