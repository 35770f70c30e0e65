"""Write docs/reference: a page for each chapter of the SDK, made of its signatures and docstrings.

    python docs/make_reference.py

The SDK's sources are read, not imported. What a page shows is what the package's door shows: the names that
`pywasmfilter` exports, and the public ones of the modules among them. The same sources give the same pages.
"""  # noqa: INP001  # a script of its own

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

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


CHAPTERS = (
    Chapter("contexts.md", "Contexts", ("contexts",)),
    Chapter(
        "headers-and-buffers.md",
        "Headers and buffers",
        ("headers", "buffers"),
        r"\w+_http_(request|response)_(headers?|trailers?|body)|\w+_(down|up)stream_data",
    ),
    Chapter("host-calls.md", "Host calls", ("hostcalls",)),
    Chapter("callouts.md", "Callouts: HTTP and gRPC", ("callouts",), r"get_http_call_response_\w+"),
    Chapter("shared-data-and-queues.md", "Shared data and queues", ("shared",)),
    Chapter("metrics.md", "Metrics", ("metrics",), r"define_\w+_metric"),
    Chapter("properties.md", "Properties", ("properties",)),
    Chapter("foreign-functions.md", "Foreign functions", ("foreign_functions",)),
    Chapter("logging.md", "Logging", ("log",)),
    Chapter("types-and-exceptions.md", "Types and exceptions", ("types", "exceptions")),
    Chapter("registration.md", "Decorators and registration", ("decorators", "registry")),
)
BESIDE_THE_DOOR = {"registry.register_plugin", "registry.register_vm"}

OPERATORS = {"__bytes__", "__contains__", "__delitem__", "__getitem__", "__iter__", "__len__", "__setitem__"}


@dataclass
class Entry:
    """Something that a page describes under a name that users write."""

    name: str
    definition: Definition

    @property
    def anchor(self) -> str:
        """Where GitHub puts its heading."""
        return re.sub(r"[^\w-]", "", self.name.lower())


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
        return {file: "\n".join(linked(text.splitlines(), places, file)) + "\n" for file, text in made.items()}

    # What is described where

    @cached_property
    def door(self) -> set[str]:
        """The package's exports."""
        return {str(name) for name in self.package.exports or ()}

    @cached_property
    def hostcalls(self) -> list[str]:
        """The exports of `hostcalls`, sorted."""
        return sorted(str(name) for name in self.package["hostcalls"].exports or ())

    def public_name(self, module: str, name: str) -> str | None:
        """How users write a name; None if they do not."""
        if name in self.door:
            return name
        if name in self.hostcalls:
            return f"hostcalls.{name}"
        if (module in self.door and not name.startswith("_")) or f"{module}.{name}" in BESIDE_THE_DOOR:
            return f"{module}.{name}"
        return None

    def entries(self, chapter: Chapter) -> list[Entry]:
        """What a chapter describes one by one, in the order of the sources."""
        found = []
        for module in chapter.modules:
            for name, member in self.package[module].members.items():
                public = self.public_name(module, name)
                if isinstance(member, griffe.Function | griffe.Class) and public and self.chapter_of(public) == chapter:
                    found.append(Entry(public, member))
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
        definition = self.package[public]
        home = definition.final_target if isinstance(definition, griffe.Alias) else definition
        return next(chapter for chapter in CHAPTERS if home.module.name in chapter.modules)

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
                cls = self.resolve(call.function)
                group = groups.setdefault(title, BoundMethods(title, cls.name))
                method = cls.members[str(value.values[1])]
                assert isinstance(method, griffe.Function), name  # noqa: S101  # what can be called
                group.functions[name] = method
        return list(groups.values())

    def places(self) -> Iterator[tuple[str, str]]:
        """Each name that is described, and where."""
        for chapter in CHAPTERS:
            for entry in self.entries(chapter):
                yield entry.name, f"{chapter.file}#{entry.anchor}"
                if isinstance(entry.definition, griffe.Class):
                    for method in self.methods(entry):
                        yield method.name, f"{chapter.file}#{method.anchor}"
            for group in self.bound_methods(chapter):
                yield from ((f"hostcalls.{name}", f"{chapter.file}#{slug(group.title)}") for name in group.functions)

    def methods(self, entry: Entry) -> list[Entry]:
        """The methods of a class that users see, in the order of the sources."""
        return [
            Entry(f"{entry.name}.{name}", member)
            for name, member in self.members(entry.definition).items()
            if isinstance(member, griffe.Function) and (not name.startswith("_") or name in OPERATORS)
        ]

    def members(self, cls: Definition) -> dict[str, griffe.Object | griffe.Alias]:
        """The members of a class; what a private base has is the class's own, for users."""
        return {name: member for base in private_bases(cls) for name, member in base.members.items()} | cls.members

    def constructed(self, expression: object) -> griffe.ExprCall:
        """The call that makes an object, written there or where a variable is set."""
        if isinstance(expression, griffe.ExprName):
            expression = self.package[expression.canonical_path.removeprefix(f"{PACKAGE}.")].value
        assert isinstance(expression, griffe.ExprCall), expression  # noqa: S101  # the SDK makes them in no other way
        return expression

    def resolve(self, expression: object) -> griffe.Class:
        """The SDK's class that a name means."""
        assert isinstance(expression, griffe.ExprName), expression  # noqa: S101
        found = self.package[expression.canonical_path.removeprefix(f"{PACKAGE}.")]
        target = found.final_target if isinstance(found, griffe.Alias) else found
        assert isinstance(target, griffe.Class), target  # noqa: S101
        return target

    # Pages

    def index(self) -> str:
        """The page of pages."""
        lines = [
            "# Reference",
            "",
            "Every public name of the SDK, with its signature and docstring. `from pywasmfilter import …` gives those",
            "without a dot, and the modules of the others: `hostcalls`, `foreign_functions`, `log`, `properties`.",
            "",
        ]
        for chapter in CHAPTERS:
            names = [f"[`{entry.name}`]({chapter.file}#{entry.anchor})" for entry in self.entries(chapter)]
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
        """One chapter."""
        parts = [f"# {chapter.title}", *(text_of(self.package[module]) for module in chapter.modules)]
        parts += self.aliases(chapter)
        for module in chapter.modules:
            parts += self.objects(module)
        for entry in self.entries(chapter):
            parts += self.class_parts(entry) if isinstance(entry.definition, griffe.Class) else function_parts(entry)
        for group in self.bound_methods(chapter):
            parts += bound_parts(group)
        return "\n\n".join(part for part in parts if part) + "\n"

    def aliases(self, chapter: Chapter) -> list[str]:
        """What the names of types in the signatures stand for, if they are the SDK's own abbreviations."""
        found = set()
        for entry in self.entries(chapter):
            is_class = isinstance(entry.definition, griffe.Class)
            for described in [entry, *(self.methods(entry) if is_class else [])]:
                if isinstance(described.definition, griffe.Function):
                    found |= set(self.aliases_of(described.definition))
        return ["In signatures:", code("\n".join(sorted(found)))] if found else []

    def aliases_of(self, function: griffe.Function) -> Iterator[str]:
        for annotation in [function.returns, *(parameter.annotation for parameter in function.parameters)]:
            if not isinstance(annotation, griffe.Expr):
                continue
            for name in annotation.iterate():
                if isinstance(name, griffe.ExprName):
                    definition = function.module.members.get(name.name)
                    if isinstance(definition, griffe.Attribute):
                        yield f"{name.name} = {definition.value}".replace("'", '"')

    def objects(self, module: str) -> list[str]:
        """A table of the objects that a public module offers, such as `properties.request`."""
        rows = []
        for name, member in self.package[module].members.items() if module in self.door else ():
            value = member.value if isinstance(member, griffe.Attribute) and not name.startswith("_") else None
            cls = self.package[module].members.get(str(value.function)) if isinstance(value, griffe.ExprCall) else None
            if isinstance(cls, griffe.Class):
                rows.append(f"| `{module}.{name}` | [`{cls.name}`](#{module}{cls.name.lower()}) |")
        return ["\n".join(["| object | its class |", "|---|---|", *rows])] if rows else []

    def class_parts(self, entry: Entry) -> Iterator[str]:
        """A class: what it is, its attributes in a table, its methods one by one."""
        cls = entry.definition
        assert isinstance(cls, griffe.Class)  # noqa: S101  # see `page`
        bases = [str(base) for base in cls.bases if not str(base).startswith("_")]
        members = self.members(cls)
        yield f"## `{entry.name}`"
        constructor = members.get("__init__")
        call = [signature(constructor, cls.name)] if isinstance(constructor, griffe.Function) else []
        yield code("\n".join([f"class {cls.name}" + (f"({', '.join(bases)})" if bases else ""), *call]))
        yield from (text_of(described) for described in [cls, *private_bases(cls)])
        attributes = {n: m for n, m in members.items() if isinstance(m, griffe.Attribute) and not n.startswith("_")}
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
        if not isinstance(getter, griffe.Function):
            return None
        path = str(member.value.arguments[0]).strip("'\"")
        return str(getter.returns), f"`{path}`. {one_line(member)}".rstrip(". ") + ("." if member.docstring else "")

    def type_of(self, member: griffe.Attribute) -> str:
        """The annotation of an attribute, or the class of the object that it is set to."""
        if member.annotation is not None:
            return re.sub(r"^ClassVar\[(.*)\]$", r"\1", str(member.annotation))
        value = member.value.left if isinstance(member.value, griffe.ExprBinOp) else member.value
        constructor = member.parent.members.get("__init__") if member.parent else None
        parameters = {p.name: p for p in constructor.parameters} if isinstance(constructor, griffe.Function) else {}
        if isinstance(value, griffe.ExprName) and value.name in parameters:
            parameter = parameters[value.name]
            variadic = parameter.kind is griffe.ParameterKind.var_positional
            return f"tuple[{parameter.annotation}, ...]" if variadic else str(parameter.annotation)
        if isinstance(value, griffe.ExprName | griffe.ExprCall):
            return str(self.constructed(value).function)
        return type(ast.literal_eval(str(value))).__name__


def private_bases(cls: Definition) -> list[griffe.Class]:
    """The bases of a class that users do not see."""
    bases = cls.resolved_bases if isinstance(cls, griffe.Class) else []
    return [base for base in bases if isinstance(base, griffe.Class) and base.name.startswith("_")]


# Markdown


def function_parts(entry: Entry, level: str = "##") -> Iterator[str]:
    """A function: its signature as Python writes it, and its docstring."""
    function = entry.definition
    assert isinstance(function, griffe.Function)  # noqa: S101  # see the callers
    yield f"{level} `{entry.name}`"
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
    """The signature as users call it: without `self`, a line for each parameter if it is long."""
    is_method = isinstance(function.parent, griffe.Class)
    parameters = griffe.Parameters(*(p for p in function.parameters if not (is_method and p.name == "self")))
    returns = None if function.name == "__init__" else function.returns
    shown = griffe.Function(function.name, parameters=parameters, returns=returns, parent=function.parent)
    line = str(shown.signature(name=name)).replace("'", '"')
    if len(line) <= width:
        return line
    head, _, rest = line.partition("(")
    inside, _, returns = rest.rpartition(")")
    lines = [f"    {parameter}," for parameter in split_parameters(inside)]
    return "\n".join([f"{head}(", *lines, f"){returns}"])


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


def linked(lines: Iterable[str], places: dict[str, str], page: str) -> Iterator[str]:
    """The lines of a page with links from the names in their prose to where those are described."""

    def link(match: re.Match[str]) -> str:
        name = match.group(1)
        is_plain = "." not in name and "_" not in name and not name[0].isupper()  # such as an attribute's name
        place = None if is_plain else places.get(name) or places.get(f"hostcalls.{name}")
        return match.group() if place is None else f"[`{name}`]({place.removeprefix(page)})"

    fenced = False
    for line in lines:
        fenced ^= line.startswith("```")
        is_prose = not fenced and not line.startswith(("#", "    ", "```"))
        yield re.sub(r"(?<!\[)`([\w.]+)`", link, line) if is_prose else line


def one_line(documented: griffe.Object) -> str:
    """A docstring for a cell of a table."""
    return " ".join(text_of(documented).split())


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
    """Code in a table."""
    return f"`{text.replace('|', chr(92) + '|')}`"


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
