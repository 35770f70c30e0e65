"""How the values of a configuration are read: a kind of plan for each kind of type. `config` makes them."""

from __future__ import annotations

import itertools
import json
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

MOST_PROBLEMS = 20
"""So many are reported; a configuration that is something else altogether has thousands."""

_LONGEST_VALUE = 60

_KINDS = {type(None): "null", bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


def kind_of(value: Any) -> str:
    """What JSON Schema calls a value. A number without a fraction is an integer, however it is written (2.0, 1e3)."""
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return _KINDS[type(value)]


def shown(value: Any) -> str:
    """A value in a message: as JSON on one line, if it is short."""
    if isinstance(value, list | dict):
        return f"an {kind_of(value)}"
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def below(path: str, key: str | int) -> str:
    """The path of a member of what is at a path: `rules[0].name`, `labels["a b"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not re.fullmatch(r"[A-Za-z_][\w-]*", key, re.ASCII):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def either(texts: Iterable[str]) -> str:
    """The texts in a row: a, b or c."""
    *others, last = dict.fromkeys(texts)
    return f"{', '.join(others)} or {last}" if others else last


class Report:
    """What is wrong with a configuration: (path, text) of the first problems, and how many there are."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str]] = []
        self.count = 0

    def add(self, path: str, text: str) -> None:
        """Something is wrong at a path; "" is the whole."""
        self.count += 1
        if self.count <= MOST_PROBLEMS:
            self.problems.append((path, text))

    def unfit(self, path: str, expected: str, value: Any, why: str = "") -> None:
        """A value is not what it should be."""
        self.add(path, f"expected {expected}, got {shown(value)}{why and f': {why}'}")


class Plan:
    """How values of one type are read. `kinds` is what JSON calls those that it takes, `expected` is for a person."""

    kinds: tuple[str, ...]
    expected: str

    def read(self, value: Any, path: str, report: Report) -> Any:
        """The value for the filter. Reports what is wrong with it, and gives None then."""
        raise NotImplementedError


class Leaf(Plan):
    """A type whose values have no parts. `convert` raises ValueError for one of the right kind that does not fit."""

    def __init__(self, type_: Any, kinds: tuple[str, ...], expected: str, convert: Callable[[Any], Any]) -> None:
        self.type, self.kinds, self.expected, self.convert = type_, kinds, expected, convert

    def read(self, value: Any, path: str, report: Report) -> Any:
        why = ""
        if kind_of(value) in self.kinds:
            try:
                return self.convert(value)
            except ValueError as error:
                why = str(error)
        report.unfit(path, self.expected, value, why)
        return None


def _as_it_is(value: Any) -> Any:
    return value


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ValueError("it is too large") from None


DURATION = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)"
"""A duration as text. With its nine digits none is too long for a `timedelta`."""
LONGEST_DURATION = 86_399_999_999_999
"""In seconds."""
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(timedelta: Any) -> Leaf:
    """The plan for `datetime.timedelta`, a class that this module does not import for those who have no use for it."""

    def convert(value: float | str) -> Any:
        if isinstance(value, str):
            if (match := re.fullmatch(DURATION, value)) is None:
                raise ValueError
            return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
        if not 0 <= value <= LONGEST_DURATION:
            raise ValueError
        return timedelta(seconds=value)

    expected = 'a number of seconds or a duration like "1.5s"'
    return Leaf(timedelta, ("integer", "number", "string"), expected, convert)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from None


PATTERN = Leaf(re.Pattern[str], ("string",), "a regular expression", _pattern)
LEAVES = {
    type(None): Leaf(None, ("null",), "null", _as_it_is),
    bool: Leaf(bool, ("boolean",), "true or false", _as_it_is),
    int: Leaf(int, ("integer",), "an integer", int),
    float: Leaf(float, ("integer", "number"), "a number", _float),
    str: Leaf(str, ("string",), "a string", _as_it_is),
}


class Constants(Plan):
    """Certain values, of a Literal or of an Enum: what JSON has → what the filter gets. `type` is the Enum, if any."""

    def __init__(self, values: Iterable[tuple[Any, Any]], type_: Any = None) -> None:
        self.type = type_
        self.values = {(kind_of(value), value): result for value, result in values}
        self.kinds = tuple(dict.fromkeys(kind for kind, _ in self.values))
        self.texts = [shown(value) for _, value in self.values]
        self.expected = either(self.texts)

    def has(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return kind_of(value) in self.kinds and (kind_of(value), value) in self.values

    def read(self, value: Any, path: str, report: Report) -> Any:
        if self.has(value):
            return self.values[kind_of(value), value]
        report.unfit(path, self.expected, value)
        return None


class Sequence(Plan):
    """An array whose items are all of one type: list, tuple[X, ...], set, frozenset."""

    kinds = ("array",)
    expected = "an array"

    def __init__(self, type_: Any, item: Plan) -> None:
        self.type, self.item = type_, item

    def read(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, list):
            return report.unfit(path, self.expected, value)
        if issubclass(self.type, set | frozenset):
            _check_unique(value, path, report)
        return self.type([self.item.read(item, below(path, index), report) for index, item in enumerate(value)])


def _check_unique(items: list[Any], path: str, report: Report) -> None:
    seen: set[tuple[str, Any]] = set()
    for index, item in enumerate(items):
        if isinstance(item, list | dict):  # which the item's own plan refuses
            continue
        key = (kind_of(item), item)  # True is not 1 here, though it is for Python
        if key in seen:
            report.add(below(path, index), f"{shown(item)} is in the set already")
        seen.add(key)


class Row(Plan):
    """An array with a type for each place: tuple[X, Y]."""

    kinds = ("array",)

    def __init__(self, items: tuple[Plan, ...]) -> None:
        self.items = items
        self.expected = f"an array of {len(items)}"

    def read(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, list):
            return report.unfit(path, self.expected, value)
        if len(value) != len(self.items):
            return report.add(path, f"expected {self.expected}, got one of {len(value)}")
        pairs = enumerate(zip(self.items, value, strict=True))
        return tuple(plan.read(item, below(path, index), report) for index, (plan, item) in pairs)


class Mapping(Plan):
    """An object with any keys: dict[str, X]."""

    kinds = ("object",)
    expected = "an object"

    def __init__(self, item: Plan) -> None:
        self.item = item

    def read(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, dict):
            return report.unfit(path, self.expected, value)
        return {key: self.item.read(item, below(path, key), report) for key, item in value.items()}


class Object(Plan):
    """A dataclass. `fields` has the plans of what can be given, `required` the names of what must be."""

    kinds = ("object",)
    expected = "an object"

    def __init__(self, cls: Any) -> None:
        self.type = cls
        self.fields: dict[str, Plan] = {}
        self.required: list[str] = []

    def read(self, value: Any, path: str, report: Report) -> Any:
        if not isinstance(value, dict):
            return report.unfit(path, self.expected, value)
        before = report.count
        arguments = {}
        for key, item in value.items():
            if key in self.fields:
                arguments[key] = self.fields[key].read(item, below(path, key), report)
            else:
                report.add(below(path, key), f"there is no such key; {self._advice(key)}")
        for name in self.required:
            if name not in value:
                report.add(below(path, name), f"is missing; expected {self.fields[name].expected}")
        return self._make(arguments, path, report) if report.count == before else None

    def _make(self, arguments: dict[str, Any], path: str, report: Report) -> Any:
        """The object itself. ValueError is how a class says, in `__post_init__`, that values do not go together."""
        try:
            return self.type(**arguments)
        except ValueError as error:
            return report.add(path, str(error) or f"{self.type.__name__} refuses these values")

    def _advice(self, key: str) -> str:
        from difflib import get_close_matches  # noqa: PLC0415  # only a configuration that is wrong needs it

        if close := get_close_matches(key, self.fields, 1):
            return f'did you mean "{close[0]}"?'
        return f"the keys are {', '.join(self.fields)}" if self.fields else "it has none"


class Choice(Plan):
    """A union. The kind of a value says which member reads it, once it is known to be none of the constants."""

    def __init__(self, members: tuple[Plan, ...]) -> None:
        self.members = members
        self.kinds = tuple(dict.fromkeys(kind for member in members for kind in member.kinds))
        texts = [member.texts if isinstance(member, Constants) else [member.expected] for member in members]
        self.expected = either(itertools.chain.from_iterable(texts))
        self._constants = [member for member in members if isinstance(member, Constants)]
        self._by_kind = {kind: member for member in members for kind in member.kinds if member not in self._constants}

    def read(self, value: Any, path: str, report: Report) -> Any:
        for constants in self._constants:
            if constants.has(value):
                return constants.read(value, path, report)
        member = self._by_kind.get(kind_of(value))
        if member is None:
            return report.unfit(path, self.expected, value)
        if not isinstance(member, Leaf):  # it says where in the value the problem is
            return member.read(value, path, report)
        try:
            return member.convert(value)
        except ValueError as error:
            return report.unfit(path, self.expected, value, str(error))


class Anything(Plan):
    """Any JSON."""

    kinds = ("null", "boolean", "integer", "number", "string", "array", "object")
    expected = "anything"

    def read(self, value: Any, _path: str, _report: Report) -> Any:
        return value
