"""The code in a module, pydantic and JSON Schema take the same configurations: one class says what it is."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal

from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pywasmfilter import ConfigError, _plans
from pywasmfilter.config import decoder, plan_of
from pywasmfilter.testing.schema import json_schema, reader


class Color(Enum):
    """What can be seen."""

    RED = "red"
    ONE = 1


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass(frozen=True)
class Base:
    """What others inherit."""

    inherited: bool = False
    """Said of the base's field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Base):
    name: str
    ratio: float = 0.5


@dataclass
class Everything:
    """One field of each kind."""

    text: str
    """A text,
    in two lines."""
    whole: int = 0
    number: float = 0.0
    flag: bool = False
    nothing: None = None
    wait: timedelta = timedelta(seconds=1.5)
    pattern: re.Pattern[str] = re.compile("^a")
    color: Color = Color.RED
    level: Level = Level.LOW
    size: Size = Size.SMALL
    literal: Literal["a", 1, True, None] = "a"  # noqa: PYI061  # also this way
    numbers: list[float] = field(default_factory=lambda: [1.0, 2.5])
    pair: tuple[int, str] = (1, "a")
    flags: tuple[bool, ...] = ()
    names: set[str] = field(default_factory=lambda: {"b", "a"})
    whole_set: frozenset[int] = frozenset({1})
    counts: dict[str, int] = field(default_factory=dict)
    maybe: str | None = None
    scalar: int | str | bool | None = None
    one_or_more: str | list[str] = ""
    literal_or_wait: Literal["never"] | timedelta = "never"
    color_or_list: Color | list[int] | None = None
    part: Part = Part(name="default")
    part_or_text: Part | str = ""
    parts: dict[str, list[Part]] = field(default_factory=dict)
    tree: Tree | None = None
    anything: Any = None
    computed: int = field(init=False, default=3)


READ = decoder(Everything)
SCHEMA = json_schema(plan_of(Everything))
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=Draft202012Validator.FORMAT_CHECKER)
READER = reader(plan_of(Everything))

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
FIELDS = [*Everything.__dataclass_fields__, "unknown"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([0.0, 1.0, 2.0, -1.0, 1.5, 1e20, 1e300]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["a", "b", "red", "small", "never", "(", "a+"]),
    st.sampled_from(["1.5s", "250ms", "2m", "3d", "s", "1", "1.s", "-1s"]),
    TEXT,
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Arrays, objects, and those that have the keys of some class."""
    part = st.fixed_dictionaries({}, optional={"inherited": inner, "name": inner, "ratio": inner, "other": inner})
    tree = st.fixed_dictionaries({"value": inner}, optional={"children": st.lists(inner, max_size=2)})
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=2), part, tree)


VALUES = st.recursive(SCALARS, containers, max_leaves=6)


def outcome(text: str) -> tuple[Any, Any, bool]:
    """What the module's code and pydantic make of a configuration, None if they refuse it; whether it is valid."""
    try:
        read: Any = asdict(READ(text))
        assert read.pop("computed") == 3  # which is not to be configured
    except ConfigError:
        read = None
    try:
        by_pydantic: Any = asdict(READER.validate_json(text))
    except ValidationError:
        by_pydantic = None
    return read, by_pydantic, VALIDATOR.is_valid(json.loads(text))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(FIELDS), value=VALUES)
def test_a_value_of_one_field(name: str, value: Any) -> None:
    """All three take it or refuse it, and pydantic makes the same of it."""
    read, by_pydantic, valid = outcome(json.dumps({"text": "", name: value}))
    assert (read is not None, by_pydantic is not None) == (valid, valid)
    assert repr(read) == repr(by_pydantic)


GOOD: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXT,
    "whole": st.integers(),
    "number": st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False),
    "flag": st.booleans(),
    "nothing": st.none(),
    "wait": st.floats(0, 1e9) | st.from_regex(r"\A[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)\Z"),
    "pattern": st.sampled_from(["", "a+", "^[a-z]$"]),
    "color": st.sampled_from(["red", 1]),
    "level": st.sampled_from([1, 2, 1.0]),
    "size": st.sampled_from(["small", "large"]),
    "literal": st.sampled_from(["a", 1, True, None]),
    "numbers": st.lists(st.integers(-9, 9), max_size=3),
    "pair": st.tuples(st.integers(), TEXT),
    "flags": st.lists(st.booleans(), max_size=3),
    "names": st.lists(TEXT, unique=True, max_size=3),
    "whole_set": st.lists(st.integers(), unique=True, max_size=3),
    "counts": st.dictionaries(TEXT, st.integers(), max_size=3),
    "maybe": st.none() | TEXT,
    "scalar": st.one_of(st.none(), st.integers(), TEXT, st.booleans()),
    "one_or_more": TEXT | st.lists(TEXT, max_size=2),
    "literal_or_wait": st.sampled_from(["never", "1s", 2.5]),
    "color_or_list": st.sampled_from(["red", 1, [1, 2], None]),
    "part": st.fixed_dictionaries({"name": TEXT}, optional={"ratio": st.integers(-9, 9), "inherited": st.booleans()}),
    "part_or_text": st.sampled_from([{"name": "a"}, "a"]),
    "parts": st.just({"a": [{"name": "a"}], "b": []}),
    "tree": st.just({"value": 1, "children": [{"value": 2, "children": []}]}),
    "anything": VALUES,
}
"""Values that fit, for each field that can be given."""


REQUIRED = {"text": GOOD["text"]}
OPTIONAL = {name: values for name, values in GOOD.items() if name not in REQUIRED}


@settings(deadline=None)
@given(document=st.fixed_dictionaries(REQUIRED, optional=OPTIONAL), name=st.sampled_from(FIELDS), value=VALUES)
def test_whole_configurations(document: dict[str, Any], name: str, value: Any) -> None:
    """What fits is taken by all three, and one wrong value among others is enough for none to take it."""
    read, by_pydantic, valid = outcome(json.dumps(document))
    assert valid
    assert repr(read) == repr(by_pydantic) != "None"
    read, by_pydantic, valid = outcome(json.dumps({**document, name: value}))
    assert (read is not None, by_pydantic is not None) == (valid, valid)


def test_every_kind_of_field_is_there() -> None:
    """The class has a field for each kind of plan, and a value that fits for each field."""
    assert [*GOOD, "computed"] == list(Everything.__dataclass_fields__)
    plan = plan_of(Everything)
    assert {type(plan), *map(type, plan.fields.values())} == set(_plans.Plan.__subclasses__())


def test_defaults_are_valid() -> None:
    """What a schema gives as default is a configuration, and one that changes nothing."""
    defaults = {name: about["default"] for name, about in SCHEMA["properties"].items() if "default" in about}
    assert defaults.keys() == GOOD.keys() - {"text"}
    assert VALIDATOR.is_valid({"text": "", **defaults})
    assert READ(json.dumps({"text": "", **defaults})) == READ('{"text": ""}') == Everything("")


def test_descriptions() -> None:
    """Docstrings of classes and Enums, and the texts below fields, of bases too."""
    definitions = SCHEMA["$defs"]
    assert SCHEMA["description"] == "One field of each kind."
    assert SCHEMA["properties"]["text"]["description"] == "A text,\nin two lines."
    assert SCHEMA["properties"]["color"]["description"] == "What can be seen."
    assert "description" not in definitions["Tree"]
    assert definitions["Part"]["properties"]["inherited"]["description"] == "Said of the base's field."
    assert "computed" not in SCHEMA["properties"]
