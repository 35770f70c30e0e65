"""Write docs/reference: a page for each chapter of the SDK, made of its signatures and docstrings.

    python docs/make_reference.py

The SDK's sources are read, not imported. What a page shows is what a door shows, that of `pywasmfilter` or that of
`pywasmfilter.testing`: the names that it exports, and the public ones of the modules among them. The same sources give
the same pages.
"""  # noqa: INP001  # a script of its own

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

import griffe

REPOSITORY = Path(__file__).parents[1]
FOLDER = REPOSITORY / "docs" / "reference"
PACKAGE = "pywasmfilter"

Definition = griffe.Function | griffe.Class | griffe.Attribute


@dataclass(frozen=True)
class Chapter:
    """A page: the modules that it describes, and which functions of `hostcalls` stand here and not among the others."""

    file: str
    title: str
    modules: tuple[str, ...]
    hostcalls: str = "(?!)"

    @property
    def door(self) -> str:
        """The package from which users import what the page describes; "" for the SDK itself."""
        return door_of(self.modules[-1])


CHAPTERS = (
    Chapter("contexts.md", "Contexts", ("contexts",)),
    Chapter(
        "headers-and-buffers.md",
        "Requests, responses, headers and buffers",
        ("messages", "headers", "buffers"),
        r"\w+_http_(request|response)_(headers?|trailers?|body)|\w+_(down|up)stream_data",
    ),
    Chapter("coroutines.md", "Coroutines", ("_tasks", "_bodies", "calls")),
    Chapter("errors.md", "Errors", ("_errors",)),
    Chapter("host-calls.md", "Host calls", ("hostcalls",)),
    Chapter("callouts.md", "Callouts: HTTP and gRPC", ("callouts",), r"get_http_call_response_\w+"),
    Chapter("upstreams.md", "Upstreams", ("upstreams",)),
    Chapter("shared-data-and-queues.md", "Shared data and queues", ("shared",)),
    Chapter("caches-and-limits.md", "Caches and limits", ("cache", "rate_limit")),
    Chapter("schedule.md", "Timers and queues", ("schedule",)),
    Chapter("metrics.md", "Metrics", ("metrics",), r"define_\w+_metric"),
    Chapter("properties.md", "Properties", ("properties",)),
    Chapter("foreign-functions.md", "Foreign functions", ("foreign_functions",)),
    Chapter("rules.md", "Rules", ("rules",)),
    Chapter("logging.md", "Logging", ("log",)),
    Chapter("memory.md", "Memory", ("memory",)),
    Chapter("types-and-exceptions.md", "Types and exceptions", ("types", "exceptions")),
    Chapter("configuration.md", "Typed configuration", ("config",)),
    Chapter("registration.md", "Decorators and registration", ("decorators", "registry")),
    Chapter(
        "testing.md",
        "Testing",
        (
            "testing",
            "testing.pytest_plugin",
            "testing.host",
            "testing.plugin",
            "testing.streams",
            "testing.messages",
            "testing.calls",
            "testing.proxy",
            "testing.properties",
            "testing.trace",
            "testing.recording",
            "testing.strategies",
        ),
    ),
)
BESIDE_THE_DOOR = {"config.decoder", "registry.register_plugin", "registry.register_vm", "testing.strategies"}
BETWEEN_MODULES = {
    "Proxy": "failures shared check_failure number post drain",
    "Plugin": "__init__ callback later set_tick_period property finish new_request_id",
    "Stream": "__init__ vm call map buffer property attributes answer hide resume close_by_filter",
    "HttpStream": "logged_maps",
    "TcpStream": "begin",
    "LocalResponse": "response",
    "Upstream": "__init__ describe in_vm try_once repeats_on",
    "UnknownCluster": "__init__",
    "MemoryStatistics": "__init__",
    "Future": "__init__ on_abandoned when_done do_not_call",
    "Task": "__init__ context place start start_within end",
    "Chunk": "__init__",
    "HttpReply": "__init__",
    "GrpcMessages": "__init__ on_initial_metadata on_message on_trailing_metadata on_close",
    "_Call": "__init__ start_timer cancel",
    "Callback": "__init__",
    "HostCall": "__init__",
    "Metric": "__init__",
    "Trace": "__init__ begin end add",
}
"""Members of classes that the SDK's modules have for each other, and that users have no use for."""

OPERATORS = {"__bytes__", "__contains__", "__delitem__", "__getitem__", "__iter__", "__len__", "__setitem__"}


@dataclass
class Entry:
    """Something that a page describes under a name that users write, once they have imported it from a door."""

    name: str
    definition: Definition
    door: str = ""

    @property
    def full_name(self) -> str:
        """The name that nothing else has: `testing.Request` is not `Request`."""
        return joined(self.door, self.name)

    @property
    def heading(self) -> str:
        """What stands above it. GitHub cannot tell `counter` from `Counter`, so the function says that it is one."""
        members = self.definition.parent.members if self.definition.parent else {}
        twins = {name for name in members if name.lower() == self.name} - {self.name}
        return f"`{self.name}` (function)" if twins else f"`{self.name}`"

    @property
    def anchor(self) -> str:
        """Where GitHub puts its heading."""
        return slug(self.heading)


@dataclass
class BoundMethods:
    """Functions that are methods of one object, such as those of `hostcalls` for the request's headers."""

    title: str
    class_name: str
    functions: dict[str, griffe.Function] = field(default_factory=dict)


class Reference:
    """The pages, made of the SDK as it is in a folder."""

    def __init__(self, sources: Path = REPOSITORY) -> None:
        loader = griffe.GriffeLoader(search_paths=[sources], allow_inspection=False)
        package = loader.load(PACKAGE, try_relative_path=False)
        loader.resolve_aliases()
        assert isinstance(package, griffe.Module)  # noqa: S101  # what a package is
        self.package = package

    def pages(self) -> dict[str, str]:
        """File name → text."""
        made = {"README.md": self.index()} | {chapter.file: self.page(chapter) for chapter in CHAPTERS}
        places = dict(self.places())
        doors = {chapter.file: chapter.door for chapter in CHAPTERS}
        return {
            file: "\n".join(linked(text.splitlines(), places, file, doors.get(file, ""))) + "\n"
            for file, text in made.items()
        }

    # What is described where

    def exports(self, door: str) -> set[str]:
        """The names that a package exports."""
        package = self.package[door] if door else self.package
        return {str(name) for name in package.exports or ()}

    @cached_property
    def hostcalls(self) -> list[str]:
        """The exports of `hostcalls`, sorted."""
        return sorted(str(name) for name in self.package["hostcalls"].exports or ())

    def is_public(self, module: str) -> bool:
        """Whether users import a module, and write its name before those of what is in it."""
        return module.rpartition(".")[2] in self.exports(door_of(module)) or module in BESIDE_THE_DOOR

    def public_name(self, module: str, name: str) -> str | None:
        """How users write a name, after that of its door; None if they do not."""
        door, full = door_of(module), f"{module}.{name}"
        if name in self.exports(door):
            return joined(door, name)
        if not door and name in self.hostcalls:
            return f"hostcalls.{name}"
        return full if (self.is_public(module) and not name.startswith("_")) or full in BESIDE_THE_DOOR else None

    def is_described(self, definition: griffe.Object) -> bool:
        """Whether some chapter has an entry for something."""
        public = self.public_name(place_in_sdk(definition.module), definition.name)
        return public is not None and is_entry(definition)

    def entries(self, chapter: Chapter) -> list[Entry]:
        """What a chapter describes one by one, in the order of the sources."""
        found = []
        for module in chapter.modules:
            for name, member in self.package[module].members.items():
                public = self.public_name(module, name)
                if is_entry(member) and public and self.find(public) is member and self.chapter_of(public) == chapter:
                    found.append(Entry(public.removeprefix(f"{chapter.door}."), member, chapter.door))
        for name in self.hostcalls:
            member = self.package["hostcalls"].members[name]
            if re.fullmatch(chapter.hostcalls, name) and isinstance(member, griffe.Function):
                found.append(Entry(f"hostcalls.{name}", member))
        return found

    def chapter_of(self, public: str) -> Chapter:
        """The chapter on a name that users write."""
        module, _, name = public.rpartition(".")
        for chapter in CHAPTERS:
            if module == "hostcalls" and re.fullmatch(chapter.hostcalls, name):
                return chapter
        home = place_in_sdk(self.find(public).module)
        return next(chapter for chapter in CHAPTERS if home in chapter.modules)

    def bound_methods(self, chapter: Chapter) -> list[BoundMethods]:
        """The functions of a chapter that are methods of header maps and buffers, by their object."""
        groups: dict[str, BoundMethods] = {}
        for name in self.package["hostcalls"].members:  # in the order of the sources
            if name not in self.hostcalls or not re.fullmatch(chapter.hostcalls, name):
                continue
            value = getattr(self.package["hostcalls"].members[name], "value", None)
            if isinstance(value, griffe.ExprAttribute):
                call = self.constructed(value.values[0])
                title = words(str(call.arguments[0]).rpartition(".")[2])
                cls = self.meaning(call.function)
                assert isinstance(cls, griffe.Class), name  # noqa: S101  # what makes an object
                group = groups.setdefault(title, BoundMethods(title, cls.name))
                method = self.members(cls)[str(value.values[1])]
                assert isinstance(method, griffe.Function), name  # noqa: S101  # what can be called
                group.functions[name] = method
        return list(groups.values())

    def places(self) -> Iterator[tuple[str, str]]:
        """Each name that is described, and where."""
        for chapter in CHAPTERS:
            for entry in self.entries(chapter):
                yield entry.full_name, f"{chapter.file}#{entry.anchor}"
                if isinstance(entry.definition, griffe.Class):
                    for method in self.methods(entry):
                        yield method.full_name, f"{chapter.file}#{method.anchor}"
            for group in self.bound_methods(chapter):
                yield from ((f"hostcalls.{name}", f"{chapter.file}#{slug(group.title)}") for name in group.functions)

    def methods(self, entry: Entry) -> list[Entry]:
        """The methods of a class that users see, in the order of the sources."""
        return [
            Entry(f"{entry.name}.{name}", member, entry.door)
            for name, member in self.members(entry.definition).items()
            if isinstance(member, griffe.Function) and (not name.startswith("_") or name in OPERATORS)
        ]

    def members(self, cls: Definition) -> dict[str, griffe.Object | griffe.Alias]:
        """The members of a class that are for users; what an unseen base has is the class's own, for them."""
        classes = [*self.unseen_bases(cls), cls]
        found = {n: m for base in classes for n, m in base.members.items() if base is cls or n not in cls.members}
        inner = {name for base in classes for name in BETWEEN_MODULES.get(base.name, "").split()}
        return {name: member for name, member in found.items() if name not in inner}

    def bases(self, cls: Definition) -> list[griffe.Class]:
        """The bases of a class that are the SDK's own."""
        bases = cls.resolved_bases if isinstance(cls, griffe.Class) else []
        return [base for base in bases if isinstance(base, griffe.Class) and base.path.startswith(f"{PACKAGE}.")]

    def unseen_bases(self, cls: Definition) -> list[griffe.Class]:
        """Those of them that users do not see."""
        return [base for base in self.bases(cls) if not self.is_described(base)]

    def find(self, place: str) -> griffe.Object:
        """What is at a place in the SDK, wherever it is defined. Raises KeyError if nothing is."""
        found = self.package[place]
        return found.final_target if isinstance(found, griffe.Alias) else found

    def meaning(self, expression: object) -> griffe.Object | None:
        """What a name means, if it is of the SDK."""
        path = expression.canonical_path if isinstance(expression, griffe.ExprName) else ""
        return self.find(path.removeprefix(f"{PACKAGE}.")) if path.startswith(f"{PACKAGE}.") else None

    def constructed(self, expression: object) -> griffe.ExprCall:
        """The call that makes an object, written there or where a variable is set."""
        if isinstance(expression, griffe.ExprName):
            expression = self.package[expression.canonical_path.removeprefix(f"{PACKAGE}.")].value
        assert isinstance(expression, griffe.ExprCall), expression  # noqa: S101  # the SDK makes them in no other way
        return expression

    # Pages

    def index(self) -> str:
        """The page of pages."""
        lines = [
            "# Reference",
            "",
            "Every public name of the SDK, with its signature and docstring. `from pywasmfilter import …` gives those",
            "without a dot, and the modules of the others: `hostcalls`, `foreign_functions`, `log`, `properties`.",
            "Those that begin with `testing` are for tests, which write `from pywasmfilter.testing import …`.",
            "",
        ]
        for chapter in CHAPTERS:
            names = [f"[`{entry.full_name}`]({chapter.file}#{entry.anchor})" for entry in self.entries(chapter)]
            groups = [f"[{group.title}]({chapter.file}#{slug(group.title)})" for group in self.bound_methods(chapter)]
            lines += [f"## [{chapter.title}]({chapter.file})", "", ", ".join(names + groups), ""]
        return "\n".join([*lines, *self.all_hostcalls()])

    def all_hostcalls(self) -> Iterator[str]:
        """A table of all functions of `hostcalls`, whichever chapter they are in."""
        yield from ["## All of `hostcalls`, by name", "", "| function | chapter |", "|---|---|"]
        for name in self.hostcalls:
            chapter = self.chapter_of(f"hostcalls.{name}")
            anchor = next((e.anchor for e in self.entries(chapter) if e.name == f"hostcalls.{name}"), None)
            if anchor is None:
                anchor = next(slug(g.title) for g in self.bound_methods(chapter) if name in g.functions)
            yield f"| [`{name}`]({chapter.file}#{anchor}) | {chapter.title} |"
        yield ""

    def page(self, chapter: Chapter) -> str:
        """One chapter: a section for each module, and one for what is in `hostcalls`."""
        entries = self.entries(chapter)
        sections = []
        for module in chapter.modules:
            own = [entry for entry in entries if place_in_sdk(entry.definition.module) == module]
            sections.append([text_of(self.package[module]), *self.objects(module), *self.fixtures(module)])
            sections[-1] += [part for entry in own for part in self.entry_parts(entry)]
            entries = [entry for entry in entries if entry not in own]
        sections[0][1:1] = self.aliases(chapter)
        sections.append([part for entry in entries for part in self.entry_parts(entry)])
        sections[-1] += [part for group in self.bound_methods(chapter) for part in bound_parts(group)]
        texts = ["\n\n".join(part for part in parts if part) for parts in sections]
        return f"# {chapter.title}\n\n" + "\n\n---\n\n".join(text for text in texts if text) + "\n"

    def aliases(self, chapter: Chapter) -> list[str]:
        """What the names of types in the signatures stand for, if they are the SDK's own abbreviations."""
        found: set[str] = set()
        for entry in self.entries(chapter):
            for described in [entry, *self.methods(entry)]:
                if isinstance(described.definition, griffe.Function):
                    found |= set(self.aliases_of(described.definition))
        return ["In signatures:", code("\n".join(sorted(found)))] if found else []

    def aliases_of(self, function: griffe.Function) -> Iterator[str]:
        for annotation in [function.returns, *(parameter.annotation for parameter in function.parameters)]:
            for name in annotation.iterate() if isinstance(annotation, griffe.Expr) else ():
                definition = self.meaning(name)
                if isinstance(definition, griffe.Attribute) and not self.is_described(definition):
                    yield assignment(definition)

    def objects(self, module: str) -> list[str]:
        """A table of the objects that a public module offers, such as `properties.request`."""
        rows = []
        for name, member in self.package[module].members.items() if self.is_public(module) else ():
            value = member.value if isinstance(member, griffe.Attribute) and not name.startswith("_") else None
            cls = self.package[module].members.get(str(value.function)) if isinstance(value, griffe.ExprCall) else None
            if isinstance(cls, griffe.Class):
                rows.append(f"| `{module}.{name}` | [`{cls.name}`](#{module}{cls.name.lower()}) |")
        return ["\n".join(["| object | its class |", "|---|---|", *rows])] if rows else []

    def fixtures(self, module: str) -> list[str]:
        """A table of the fixtures that a plugin for pytest offers."""
        rows = [
            f"| `{name}` | {first_sentence(member)} |"
            for name, member in self.package[module].members.items()
            if isinstance(member, griffe.Function) and is_decorated(member, "pytest.fixture")
        ]
        return ["\n".join(["| fixture | |", "|---|---|", *rows])] if rows else []

    def entry_parts(self, entry: Entry) -> Iterator[str]:
        """A class, a function, or an object with its docstring."""
        if isinstance(entry.definition, griffe.Class):
            yield from self.class_parts(entry)
        elif isinstance(entry.definition, griffe.Function):
            yield from function_parts(entry)
        else:
            yield from (f"## `{entry.name}`", code(assignment(entry.definition)), text_of(entry.definition))

    def class_parts(self, entry: Entry) -> Iterator[str]:
        """A class: what it is, its attributes in a table, its methods one by one."""
        cls = entry.definition
        assert isinstance(cls, griffe.Class)  # noqa: S101  # see `page`
        unseen = self.unseen_bases(cls)
        bases = [str(base) for base in cls.bases if str(base) not in {base.name for base in unseen}]
        members = self.members(cls)
        attributes = {n: m for n, m in members.items() if isinstance(m, griffe.Attribute) and not n.startswith("_")}
        yield f"## `{entry.name}`"
        constructor = fields_as_function(cls, attributes) if bases == ["NamedTuple"] else members.get("__init__")
        call = [signature(constructor, cls.name)] if isinstance(constructor, griffe.Function) else []
        yield code("\n".join([f"class {cls.name}" + (f"({', '.join(bases)})" if bases else ""), *call]))
        yield from (text_of(described) for described in [cls, *unseen])
        if attributes or self.methods(entry):
            yield from (f"It has all that `{base.name}` has, and:" for base in self.bases(cls) if base not in unseen)
        yield self.attribute_table(cls, attributes)
        for method in self.methods(entry):
            yield from function_parts(method, "###")

    def attribute_table(self, cls: griffe.Class, attributes: dict[str, griffe.Attribute]) -> str:
        """Attributes, properties and the members of an enumeration."""
        if any(str(base) == "IntEnum" for base in cls.bases):
            head, rows = "| name | value |\n|---|---|", [f"| `{n}` | {m.value} |" for n, m in attributes.items()]
        else:
            head, rows = "| attribute | type | |\n|---|---|---|", []
            for name, member in attributes.items():
                described = self.described_by_descriptor(member)
                kind, text = described or (self.type_of(member), one_line(member))
                rows.append(f"| `{name}` | {cell(kind)} | {text.replace('|', chr(92) + '|')} |")
        return "\n".join([head, *rows]) if rows else ""

    def described_by_descriptor(self, member: griffe.Attribute) -> tuple[str, str] | None:
        """Type and text of an attribute that a descriptor of the SDK stands behind; its argument says what it reads."""
        if not isinstance(member.value, griffe.ExprCall) or not isinstance(member.value.function, griffe.ExprName):
            return None
        cls = member.module.members.get(member.value.function.name)
        getter = cls.members.get("__get__") if isinstance(cls, griffe.Class) else None
        if not isinstance(getter, griffe.Function) or not member.value.arguments:
            return None
        path = str(member.value.arguments[0]).strip("'\"")
        return str(getter.returns), f"`{path}`. {one_line(member)}".rstrip(". ") + ("." if member.docstring else "")

    def type_of(self, member: griffe.Attribute) -> str:
        """The annotation of an attribute, or else what the value says that it is set to."""
        if member.annotation is not None:
            return re.sub(r"^ClassVar\[(.*)\]$", r"\1", str(member.annotation))
        value = member.value.left if isinstance(member.value, griffe.ExprBinOp) else member.value
        siblings = member.parent.members if member.parent else {}
        constructor = siblings.get("__init__")
        parameters = {p.name: p for p in constructor.parameters} if isinstance(constructor, griffe.Function) else {}
        if isinstance(value, griffe.ExprName) and value.name in parameters:
            parameter = parameters[value.name]
            variadic = parameter.kind is griffe.ParameterKind.var_positional
            return f"tuple[{parameter.annotation}, ...]" if variadic else str(parameter.annotation)
        if isinstance(value, griffe.ExprAttribute):
            return str(value.values[0])  # a member of an enumeration
        if isinstance(value, griffe.ExprCall) and str(value.function).startswith("self."):
            method = siblings.get(str(value.function).removeprefix("self."))
            return str(method.returns) if isinstance(method, griffe.Function) else ""
        if isinstance(value, griffe.ExprName | griffe.ExprCall):
            return str(self.constructed(value).function)
        return type(ast.literal_eval(str(value))).__name__


def door_of(module: str) -> str:
    """The package from which users import a module or what is in it; "" for the SDK itself."""
    return module.rpartition(".")[0]


def place_in_sdk(module: griffe.Module) -> str:
    """A module's name, from the SDK on."""
    return module.path.removeprefix(f"{PACKAGE}.")


def joined(*names: str) -> str:
    """A name with dots; without those of its parts that are empty."""
    return ".".join(filter(None, names))


def is_entry(member: griffe.Object | griffe.Alias) -> TypeGuard[Definition]:
    """Whether something is described by itself: a function, a class, or an object that has a docstring."""
    is_object = isinstance(member, griffe.Attribute) and member.docstring is not None
    return is_object or isinstance(member, griffe.Function | griffe.Class)


def is_decorated(function: griffe.Function, decorator: str) -> bool:
    return any(found.callable_path == decorator for found in function.decorators)


def fields_as_function(cls: griffe.Class, fields: dict[str, griffe.Attribute]) -> griffe.Function:
    """What makes a named tuple."""
    kind = griffe.ParameterKind.positional_or_keyword
    made = (griffe.Parameter(name, annotation=a.annotation, kind=kind, default=a.value) for name, a in fields.items())
    return griffe.Function("__init__", parameters=griffe.Parameters(*made), parent=cls)


# Markdown


def function_parts(entry: Entry, level: str = "##") -> Iterator[str]:
    """A function: its signature as Python writes it, and its docstring."""
    function = entry.definition
    assert isinstance(function, griffe.Function)  # noqa: S101  # see the callers
    yield f"{level} {entry.heading}"
    yield code(signature(function, function.name))
    yield text_of(function)


def bound_parts(group: BoundMethods) -> Iterator[str]:
    """Functions that are methods of one object, in a table with the methods' signatures and docstrings."""
    yield f"## {group.title}"
    yield f"Functions of `hostcalls` that are the methods of a `{group.class_name}`:"
    rows = [
        f"| {cell(signature(function, name, width=1 << 16))} | {one_line(function).replace('|', chr(92) + '|')} |"
        for name, function in group.functions.items()
    ]
    yield "\n".join(["| function | |", "|---|---|", *rows])


def signature(function: griffe.Function, name: str, width: int = 100) -> str:
    """The signature as users call it: without what they do not give, a line for each parameter if it is long."""
    is_strategy = is_decorated(function, "hypothesis.strategies.composite")  # which gives `draw` itself
    given = {"self", "cls"} if isinstance(function.parent, griffe.Class) else {"draw"} if is_strategy else set()
    asked = [
        with_plain_default(parameter, function) for parameter in function.parameters if parameter.name not in given
    ]
    returns = None if function.name == "__init__" else function.returns
    returns = f"st.SearchStrategy[{returns}]" if is_strategy else returns
    shown = griffe.Function(
        function.name, parameters=griffe.Parameters(*asked), returns=returns, parent=function.parent
    )
    line = str(shown.signature(name=name)).replace("'", '"')
    if len(line) <= width:
        return line
    head, _, rest = line.partition("(")
    inside, _, returns = rest.rpartition(")")
    lines = [f"    {parameter}," for parameter in split_parameters(inside)]
    return "\n".join([f"{head}(", *lines, f"){returns}"])


def with_plain_default(parameter: griffe.Parameter, function: griffe.Function) -> griffe.Parameter:
    """A parameter whose default is not the name of a constant that users do not see."""
    constant = function.module.members.get(str(parameter.default)) if str(parameter.default).startswith("_") else None
    default = constant.value if isinstance(constant, griffe.Attribute) else parameter.default
    return griffe.Parameter(parameter.name, annotation=parameter.annotation, kind=parameter.kind, default=default)


def split_parameters(text: str) -> Iterator[str]:
    """The parts of a parameter list: split at commas that are in no brackets."""
    depth, start = 0, 0
    for position, character in enumerate(text):
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()


def text_of(documented: griffe.Object) -> str:
    """A docstring as Markdown: its trees as code, the rest as it is."""
    if documented.docstring is None:
        return ""
    paragraphs = documented.docstring.value.strip().split("\n\n")
    return "\n\n".join(code(p, "text") if re.search(r"^[├└│]", p, re.MULTILINE) else p for p in paragraphs)


def linked(lines: Iterable[str], places: dict[str, str], page: str, door: str) -> Iterator[str]:
    """The lines of a page with links from the names in their prose to where those are described.

    A name means what it means behind the page's door, then in the SDK, then in `hostcalls`.
    """

    def link(match: re.Match[str]) -> str:
        name = match.group(1)
        is_plain = "." not in name and "_" not in name and not name[0].isupper()  # such as an attribute's name
        meanings = [] if is_plain else [joined(module, name) for module in (door, "", "hostcalls")]
        place = next((places[meaning] for meaning in meanings if meaning in places), None)
        return match.group() if place is None else f"[`{name}`]({place.removeprefix(page)})"

    fenced = False
    for line in lines:
        fenced ^= line.startswith("```")
        is_prose = not fenced and not line.startswith(("#", "    ", "```"))
        yield re.sub(r"(?<!\[)`([\w.]+)`", link, line) if is_prose else line


def one_line(documented: griffe.Object) -> str:
    """A docstring for a cell of a table."""
    return " ".join(text_of(documented).split())


def first_sentence(documented: griffe.Object) -> str:
    """What a docstring begins with, for a cell of a table."""
    return re.split(r"(?<=\.) ", one_line(documented))[0].replace("|", chr(92) + "|")


def assignment(definition: griffe.Attribute) -> str:
    """An object by its type, if that is said, or else by its value."""
    if definition.annotation is not None and str(definition.annotation) not in {"TypeAlias", "Final"}:
        return f"{definition.name}: {definition.annotation}"
    value = str(definition.value)
    is_text = isinstance(definition.value, str) and value[0] in "'\""  # an alias that names what comes later
    return f"{definition.name} = {value[1:-1] if is_text else value}".replace("'", '"')


def words(constant: str) -> str:
    """HTTP_REQUEST_HEADERS → HTTP request headers"""
    text = constant.lower().replace("_", " ").replace("http", "HTTP")
    return text[0].upper() + text[1:]


def slug(heading: str) -> str:
    """Where GitHub puts a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def code(text: str, language: str = "python") -> str:
    """A fenced block."""
    return f"```{language}\n{text}\n```"


def cell(text: str) -> str:
    """Code in a table; nothing for nothing."""
    return text and f"`{text.replace('|', chr(92) + '|')}`"


def pages(sources: Path = REPOSITORY) -> dict[str, str]:
    """What the folder must hold: file name → text."""
    return Reference(sources).pages()


def write(made: dict[str, str], folder: Path = FOLDER) -> Iterable[Path]:
    """Bring the folder to what it must hold; what is no page of it any more is removed."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, encoding="utf-8")
    return sorted(folder.iterdir())


if __name__ == "__main__":
    write(pages())
