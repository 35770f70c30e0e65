"""Typed configuration: what a dataclass takes, what it says of the rest, and what annotations it may have."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import InitVar, dataclass, field
from datetime import date, timedelta
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, NewType, Optional, TypeVar, Union

import pytest

from pywasmfilter import (
    ConfigError,
    HttpContext,
    LogLevel,
    PluginContext,
    TcpContext,
    http_filter,
    plugin,
    registry,
    tcp_filter,
)
from pywasmfilter.config import decoder

if TYPE_CHECKING:
    from decimal import Decimal  # noqa: F401  # an annotation names it

    from tests.sdk.conftest import MemoryHost


class Color(Enum):
    RED = "red"
    NONE = None


class Level(IntEnum):
    LOW = 1


Name = NewType("Name", str)
T = TypeVar("T")


@dataclass
class Auth:
    cluster: str = "auth"
    timeout: timedelta = timedelta(seconds=1)


@dataclass
class Tree:
    value: int
    left: Tree | None = None
    children: list[Tree] = field(default_factory=list)


def of(annotation: Any) -> Any:
    """A dataclass with one field, `x`, of a type."""
    return dataclass(type("Of", (), {"__annotations__": {"x": annotation}, "__module__": __name__}))


def read(annotation: Any, value: object) -> Any:
    """What the field gets for a value, which is JSON if it is bytes."""
    text = b'{"x": %s}' % (value if isinstance(value, bytes) else json.dumps(value).encode())
    return decoder(of(annotation))(text).x


def problems(cls: Any, document: object) -> list[str]:
    """What is wrong with a document, which is JSON if it is bytes or text."""
    with pytest.raises(ConfigError) as caught:
        decoder(cls)(document if isinstance(document, bytes | str) else json.dumps(document))
    assert caught.value.count >= len(caught.value.problems) > 0
    return [f"{path}: {text}" if path else text for path, text in caught.value.problems]


# Values


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (str, "a\u00e9\U0001f600", "a\u00e9\U0001f600"),
        (int, 3, 3),
        (int, 2.0, 2),
        (int, b"1e3", 1000),
        (int, 10**30, 10**30),
        (float, 1.5, 1.5),
        (float, 2, 2.0),
        (bool, True, True),
        (None, None, None),
        (Any, {"a": [1, 2.5, None, "x"]}, {"a": [1, 2.5, None, "x"]}),
        (Name, "n", "n"),
        (timedelta, 2, timedelta(seconds=2)),
        (timedelta, 0.25, timedelta(milliseconds=250)),
        (timedelta, "250ms", timedelta(milliseconds=250)),
        (timedelta, "1.5s", timedelta(seconds=1.5)),
        (timedelta, "2m", timedelta(minutes=2)),
        (timedelta, "1h", timedelta(hours=1)),
        (timedelta, "999999999d", timedelta(days=999999999)),
        (re.Pattern[str], "^a+$", re.compile("^a+$")),
        (Color, "red", Color.RED),
        (Color, None, Color.NONE),
        (Level, 1, Level.LOW),
        (Literal["a", 1, True], 1.0, 1),
        (Literal["a", 1, True], True, True),
        (list[int], [1, 2], [1, 2]),
        (set[str], ["a", "b"], {"a", "b"}),
        (frozenset[Level], [1], frozenset({Level.LOW})),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
        (dict[str, list[bool]], {"a b": [True]}, {"a b": [True]}),
        (Optional[int], None, None),  # noqa: UP045  # also this way
        (Union[int, str], "1", "1"),  # noqa: UP007  # see above
        (int | str | bool | None, False, False),
        (str | list[str], ["a"], ["a"]),
        (Literal["never"] | timedelta, "never", "never"),
        (Literal["never"] | timedelta, "1s", timedelta(seconds=1)),
        (Auth | str, {"cluster": "b"}, Auth("b")),
        (dict[str, Auth], {"a": {}}, {"a": Auth()}),
    ],
)
def test_values(annotation: Any, value: object, expected: object) -> None:
    """Each type takes its JSON, and the filter gets an object of that type."""
    found = read(annotation, value)
    assert found == expected
    assert type(found) is type(expected)
    assert repr(found) == repr(expected)


DURATION = 'a number of seconds or a duration like "1.5s"'


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (str, 1, "expected a string, got 1"),
        (str, None, "expected a string, got null"),
        (str, [], "expected a string, got an array"),
        (int, True, "expected an integer, got true"),
        (int, "1", 'expected an integer, got "1"'),
        (int, 1.5, "expected an integer, got 1.5"),
        (float, False, "expected a number, got false"),
        (float, 10**400, "it is too large"),
        (bool, 1, "expected true or false, got 1"),
        (None, 0, "expected null, got 0"),
        (timedelta, "fast", f'expected {DURATION}, got "fast"'),
        (timedelta, "-1s", f'expected {DURATION}, got "-1s"'),
        (timedelta, "1s\n", f'expected {DURATION}, got "1s\\n"'),
        (timedelta, "\u0661s", f'expected {DURATION}, got "\u0661s"'),
        (timedelta, "1000000000d", f"expected {DURATION}"),
        (timedelta, -1, f"expected {DURATION}, got -1"),
        (timedelta, 1e14, f"expected {DURATION}, got 100000000000000.0"),
        (timedelta, True, f"expected {DURATION}, got true"),
        (re.Pattern[str], "(", 'expected a regular expression, got "(": missing )'),
        (re.Pattern[str], "a{99999999999999999999}", "the repetition number is too large"),
        (Color, "blue", 'expected "red" or null, got "blue"'),
        (Level, True, "expected 1, got true"),
        (Literal["a", "b", "c"], "d", 'expected "a", "b" or "c", got "d"'),
        (Literal["a"], ["a"], 'expected "a", got an array'),
        (list[int], {}, "expected an array, got an object"),
        (tuple[int, str], [1], "expected an array of 2, got one of 1"),
        (dict[str, int], [], "expected an object, got an array"),
        (int | None, "1", 'expected an integer or null, got "1"'),
        (re.Pattern[str] | None, "(", 'expected a regular expression or null, got "(": missing )'),
        (Color | Literal["a"] | list[int], 1, 'expected "red", null, "a" or an array, got 1'),
        (Auth, "x", 'expected an object, got "x"'),
        (str, "x" * 100, None),
        (int, "x" * 100, f'got "{"x" * 59}…'),
        (int, "\x1b[31m\u2028", r'got "\u001b[31m\u2028"'),
    ],
)
def test_values_that_do_not_fit(annotation: Any, value: object, text: str | None) -> None:
    """Nothing is made to fit; what was expected is said, and what was found, on one line that harms no terminal."""
    if text is None:
        assert read(annotation, value) == value
        return
    (problem,) = problems(of(annotation), {"x": value})
    assert problem.startswith("x: ")
    assert text in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (list[int], [1, "a", 2, None], ['x[1]: expected an integer, got "a"', "x[3]: expected an integer, got null"]),
        (tuple[int, str], ["a", "a"], ['x[0]: expected an integer, got "a"']),
        (set[int], [1, 1.0, 2, "a"], ["x[1]: 1.0 is in the set already", 'x[3]: expected an integer, got "a"']),
        (dict[str, int], {"a-b": 1.5, "a b": 2.5}, ["x.a-b: expected", 'x["a b"]: expected']),
        (Auth | None, {"timeout": ""}, [f'x.timeout: expected {DURATION}, got ""']),
        (list[Tree] | str, [{"value": 1, "left": {}}], ["x[0].left.value: is missing; expected an integer"]),
    ],
)
def test_paths(annotation: Any, value: object, expected: list[str]) -> None:
    """A problem says where it is, also deep inside."""
    found = problems(of(annotation), {"x": value})
    assert len(found) == len(expected)
    assert all(problem.startswith(start) for problem, start in zip(found, expected, strict=True))


# Objects


def test_a_class_may_be_part_of_itself() -> None:
    """As deep as the configuration is."""
    tree = decoder(Tree)(b'{"value": 1, "left": {"value": 2}, "children": [{"value": 3, "children": [{"value": 4}]}]}')
    assert tree == Tree(1, Tree(2), [Tree(3, None, [Tree(4)])])


@dataclass
class Base:
    name: str
    hidden: int = field(default=1, init=False)
    shared: ClassVar[int] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    size: int = 3
    name: str = field(metadata={"not": "ours"})


@dataclass
class Derived(Base):
    tags: list[str] = field(default_factory=list)


def test_all_kinds_of_dataclasses() -> None:
    """Inherited, frozen, with slots or keywords only; what cannot be given to the constructor is no key."""
    assert decoder(Derived)(b'{"name": "a"}') == Derived("a", [])
    assert decoder(Frozen)(b'{"name": "a"}') == Frozen(name="a", size=3)
    assert problems(Base, {"name": "a", "hidden": 2, "shared": 3}) == [
        "hidden: there is no such key; the keys are name",
        "shared: there is no such key; the keys are name",
    ]


def test_defaults_are_not_shared() -> None:
    """Each configuration has its own lists."""
    decode = decoder(Derived)
    first, second = decode(b'{"name": "a"}'), decode(b'{"name": "a"}')
    first.tags.append("x")
    assert second.tags == []


@pytest.mark.parametrize("data", [b"", b" \n", b"{}", "", "{}"])
def test_no_configuration_is_an_empty_one(data: bytes | str) -> None:
    """Defaults make the object; what has none is missing."""
    assert decoder(Auth)(data) == Auth()
    assert problems(Tree, data) == ["value: is missing; expected an integer"]


def test_unknown_keys() -> None:
    """What was probably meant is said, or else what there is."""
    assert problems(Auth, {"timeot": 1, "zzz": 1}) == [
        'timeot: there is no such key; did you mean "timeout"?',
        "zzz: there is no such key; the keys are cluster, timeout",
    ]
    assert problems(dataclass(type("Empty", (), {})), {"a": 1}) == ["a: there is no such key; it has none"]


@dataclass
class Range:
    low: int
    high: int = 10

    def __post_init__(self) -> None:
        if self.low == 0:
            raise ValueError
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.low < 0:
            raise RuntimeError("a bug")


@dataclass
class Ranges:
    ranges: list[Range]


def test_a_class_checks_for_itself() -> None:
    """ValueError in `__post_init__` is a problem of the object; it is not called with values that do not fit."""
    assert problems(Ranges, {"ranges": [{"low": 11}, {"low": 1}, {"low": "1"}, {"low": 0}]}) == [
        "ranges[0]: low is above high",
        'ranges[2].low: expected an integer, got "1"',
        "ranges[3]: Range refuses these values",
    ]
    assert problems(Range, {"low": 11}) == ["low is above high"]
    with pytest.raises(RuntimeError, match="a bug"):
        decoder(Range)(b'{"low": -1}')


# JSON


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"cluster": }', "not JSON: line 1, column 13: Expecting value"),
        (b'{\n  "cluster": a\n}', "not JSON: line 2, column 14: Expecting value"),
        (b"{} {}", "not JSON: line 1, column 4: Extra data"),
        (b"\xef\xbb\xbf{}", "not JSON: line 1, column 1: Unexpected UTF-8 BOM"),
        (b'{"cluster": "\xff"}', "not UTF-8: byte 13 is 0xff"),
        (b'{"timeout": ' + b"9" * 5000 + b"}", "not JSON: Exceeds the limit"),
        (b'{"timeout": NaN}', "timeout: NaN, Infinity and numbers too large"),
        (b'{"timeout": -Infinity}', "timeout: NaN, Infinity and numbers too large"),
        (b'{"timeout": 1e999}', "timeout: NaN, Infinity and numbers too large"),
        (b'{"cluster": "\\ud800"}', r'cluster: "\ud800" has half of a surrogate pair'),
        (b'{"\\udfff": 1}', r'"\udfff" has half of a surrogate pair'),
        (b'{"cluster": "a", "cluster": "b"}', "cluster: the key is there twice"),
        (b'{"timeout": [{"a": 1, "b": 2, "a": {"a": 1}}]}', "timeout[0].a: the key is there twice"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b"[]", "expected an object, got an array"),
        (b'"x"', 'expected an object, got "x"'),
    ],
)
def test_what_is_no_json(data: bytes, text: str) -> None:
    """A text that is no JSON, or that readers of JSON understand differently, is refused for that reason only."""
    (problem,) = problems(Auth, data)
    assert problem.startswith(text)


def test_keys_that_are_there_twice_in_a_large_document() -> None:
    """All are reported, each once, in time that grows with the document and not with its square."""
    members = ", ".join(f'"{key}": 1' for key in range(50_000))
    assert problems(of(Any), f'{{"x": {{{members}, "5": 2, "7": 3, "5": 4}}}}') == [
        'x["5"]: the key is there twice',
        'x["7"]: the key is there twice',
    ]
    members = ", ".join(['{"a": 1, "a": 2}'] * 50_000)
    with pytest.raises(ConfigError) as caught:
        decoder(of(Any))(f'{{"x": [{members}]}}')
    assert caught.value.count == 50_000


def test_what_is_no_json_in_anything() -> None:
    """Also where any JSON will do."""
    found = problems(of(Any), b'{"x": [NaN, {"a": "\\ud800", "b": 1, "b": 2}]}')
    assert [problem.partition(":")[0] for problem in found] == ["x[0]", "x[1].b", "x[1].a"]


def test_very_many_problems() -> None:
    """The first ones are told, and how many there are."""
    with pytest.raises(ConfigError) as caught:
        decoder(of(list[int]))(json.dumps({"x": ["a"] * 1000}))
    assert (len(caught.value.problems), caught.value.count) == (20, 1000)
    first, *lines, last = str(caught.value).split("\n")
    assert (first, last) == ("1000 problems", "  and 980 more")
    assert lines[1] == '  x[1]: expected an integer, got "a"'
    with pytest.raises(ConfigError, match=r"^cluster: expected a string, got 1$"):
        decoder(Auth)(b'{"cluster": 1}')


# Annotations


class Plain:
    pass


@dataclass
class Box(Generic[T]):
    item: T


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (date, "date is not supported; a configuration has dataclasses, str, "),
        (bytes, "bytes is not supported"),
        (object, "object is not supported"),
        (list, "list is not supported"),
        (dict, "dict is not supported"),
        (tuple[()], "tuple[()] is not supported"),
        (re.Pattern, "Pattern is not supported"),
        (re.Pattern[bytes], "re.Pattern[bytes] is not supported"),
        (dict[int, str], "dict[int, str] is not supported"),
        (Plain, "Plain is not supported"),
        (Box, "T is not supported"),
        (Box[int], "Box[int] is not supported"),
        (Annotated[int, "positive"], "Annotated[int, 'positive'] is not supported"),
        (list[date], "date is not supported"),
        (set[list[int]], "the items of a set have no parts"),
        (set[Auth], "the items of a set have no parts"),
        (int | float, "an integer and a number cannot be told apart in a union"),
        (str | re.Pattern[str], "a string and a regular expression cannot be told apart in a union"),
        (Auth | dict[str, int], "an object and an object cannot be told apart in a union"),
        (Literal[Level.LOW], "is not text, a whole number, True, False or None"),
        (Enum("Half", {"HALF": 0.5}), "0.5 is not text, a whole number"),
        (Enum("Nothing", {}), "there is no value to choose"),
        ("Decimal", "name 'Decimal' is not defined; what is imported under TYPE_CHECKING only is not there"),
        ("list[", "the annotation is not understood"),
    ],
)
def test_annotations_that_have_no_meaning(annotation: Any, text: str) -> None:
    """They are refused when the class is looked at, with the name of the field."""
    cls = of(annotation)
    cls.__qualname__ = "Config"
    with pytest.raises(TypeError) as caught:
        decoder(cls)
    assert str(caught.value).startswith(("Config.x: ", "Box.item: "))
    assert text in str(caught.value)


@dataclass
class WithInitVar:
    x: InitVar[int]


@dataclass(init=False)
class WithoutConstructor:
    x: int


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Plain, "a configuration is a dataclass, not <class"),
        (Auth(), "a configuration is a dataclass, not Auth("),
        (dict[str, int], "a configuration is a dataclass, not dict[str, int]"),
        (WithInitVar, "WithInitVar.x: a configuration has no InitVar"),
        (WithoutConstructor, "WithoutConstructor: a configuration has the constructor that dataclass makes"),
    ],
)
def test_classes_that_are_no_configuration(cls: Any, text: str) -> None:
    """They are refused, too."""
    with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
        decoder(cls)


def test_forward_references() -> None:
    """Names in quotes are those of the module in which the class is, wherever the class is inherited."""
    assert read("list['Auth'] | None", [{}]) == [Auth()]
    assert read(list["Tree"], [{"value": 1}]) == [Tree(1)]


# Plugins


def configured(host: MemoryHost, configuration: bytes, name: str = "check") -> tuple[PluginContext, bool | None]:
    """A plugin that a host configures, and what it answers."""
    context = registry.plugins[name]()
    context._abi_name = name
    host.buffers[7] = configuration
    answer = context._on_configure(len(configuration))
    assert not hasattr(answer, "send")
    return context, answer


@pytest.mark.parametrize(("decorate", "kind"), [(http_filter, HttpContext), (tcp_filter, TcpContext)])
def test_streams_have_the_configuration_of_their_plugin(host: MemoryHost, decorate: Any, kind: type[Any]) -> None:
    """It is there before any stream begins, and a stream may have an attribute of that name in its place."""
    cls = decorate("check", config=Auth)(type("Check", (kind,), {}))
    context, answer = configured(host, b'{"cluster": "b"}')
    stream = cls(5)
    stream.plugin = context
    assert answer is not False
    assert stream.config is context.config
    assert context.config == Auth("b")
    stream.config = 3
    assert (stream.config, context.config) == (3, Auth("b"))


def test_on_plugin_start_finds_the_configuration(host: MemoryHost) -> None:
    """As an object and as bytes."""

    @plugin("check", config=Auth)
    class Check(PluginContext):
        config: Auth

        def on_plugin_start(self, plugin_configuration_size: int) -> bool:
            assert self.config.timeout == timedelta(seconds=2)
            return self.plugin_configuration == b'{"timeout": 2}'

    assert configured(host, b'{"timeout": 2}')[1] is True


def test_a_bad_configuration_is_refused_in_one_line_of_the_log(host: MemoryHost) -> None:
    """The plugin does not start; the log says why, without a traceback."""

    @plugin("check", config=Auth)
    class Check(PluginContext):
        def on_plugin_start(self, plugin_configuration_size: int) -> bool:
            raise AssertionError("the configuration is bad")

    assert configured(host, b'{"timeout": "fast"}')[1] is False
    assert configured(host, b"[ ")[1] is False
    assert host.logged == [
        (LogLevel.ERROR, f'check: bad configuration: timeout: expected {DURATION}, got "fast"'),
        (LogLevel.ERROR, "check: bad configuration: not JSON: line 1, column 3: Expecting value"),
    ]


def test_a_class_may_say_its_type(host: MemoryHost) -> None:
    """What `register_plugin` gets needs no decorator, and subclasses inherit."""

    class Parent(PluginContext):
        config_type = Auth

    plugin("parent")(Parent)
    plugin("check", config=Tree)(type("Child", (Parent,), {}))
    plugin("other")(type("Other", (Parent,), {}))
    assert configured(host, b"", "parent")[0].config == Auth()
    assert configured(host, b'{"value": 1}')[0].config == Tree(1)
    assert configured(host, b"", "other")[0].config == Auth()


def test_a_wrong_class_is_refused_when_it_is_registered() -> None:
    """The plugin and the field are named, and nothing is registered."""
    with pytest.raises(TypeError, match=r"^plugin 'check': Of\.x: date is not supported"):
        http_filter("check", config=of(date))(type("Check", (HttpContext,), {}))
    assert registry.plugins == {}


def test_filters_without_a_configuration_do_not_carry_the_code() -> None:
    """It is imported for the first plugin that has a class."""
    code = (
        "import sys, pywasmfilter as p\n"
        "register = p.http_filter('a')(type('A', (p.HttpContext,), {}))\n"
        "loaded = {'pywasmfilter.config', 'pywasmfilter._plans', 'dataclasses', 'json', 're'} & sys.modules.keys()\n"
        "print(sorted(loaded))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
