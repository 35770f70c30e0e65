"""A dataclass says what JSON a plugin takes, and this what is wrong with any other.

    @dataclass
    class Config:
        cluster: str
        timeout: timedelta = timedelta(seconds=1)

    @http_filter("check", config=Config)
    class Check(HttpContext):
        config: Config

The annotations are looked at once, when the filter is built. This module is in those filters only that have such a
class.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import sys

from . import _plans
from .exceptions import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, NoReturn, TypeVar

    C = TypeVar("C")

__all__ = ["decoder"]


def decoder(cls: type[C]) -> Callable[[bytes | str], C]:
    """What makes objects of a dataclass out of JSON, as the decorators' `config` does; nothing at all is `{}`.

    Raises TypeError, which names the field, for an annotation that has no meaning in JSON. The function that is
    returned raises `ConfigError` with all that is wrong with its argument.
    """
    plan = plan_of(cls)

    def decode(data: bytes | str) -> C:
        report = _plans.Report()
        result = _read(plan, data, report)
        if report.count:
            raise ConfigError(report.problems, report.count)
        return result  # type: ignore[no-any-return]  # what a plan for the class reads

    return decode


def _read(plan: _plans.Plan, data: bytes | str, report: _plans.Report) -> Any:
    try:
        document = _document(data, report)
        return None if report.count else plan.read(document, "", report)
    except RecursionError:
        return report.add("", "it is nested too deeply")


# JSON


def _document(data: bytes | str, report: _plans.Report) -> Any:
    """What JSON says. Reports what is none, and what no type could take: NaN, a key that is there twice."""
    # By the id of the object, which is kept here so that no other gets that id.
    duplicates: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            duplicates[id(made)] = made, _twice(key for key, _ in pairs)
        return made

    try:
        text = data if isinstance(data, str) else data.decode()
        document = json.loads(text, object_pairs_hook=members) if text.strip() else {}
    except UnicodeDecodeError as error:
        return report.add("", f"not UTF-8: byte {error.start} is {error.object[error.start]:#04x}")
    except json.JSONDecodeError as error:
        return report.add("", f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}")
    except ValueError as error:  # a number with thousands of digits
        return report.add("", f"not JSON: {error}")
    for path, value in _values(document, ""):
        _check_value(path, value, report)
        for key in duplicates[id(value)][1] if id(value) in duplicates else ():
            report.add(_plans.below(path, key), "the key is there twice")
    return document


def _twice(keys: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for key in keys:
        if key in seen:
            twice[key] = None
        seen.add(key)
    return list(twice)


def _check_value(path: str, value: Any, report: _plans.Report) -> None:
    texts = [value] if isinstance(value, str) else value if isinstance(value, dict) else ()
    for text in texts:
        if any("\ud800" <= char <= "\udfff" for char in text):
            report.add(path, f"{_plans.shown(text)} has half of a surrogate pair")
    if isinstance(value, float) and value - value != 0:  # as of NaN and infinities only
        report.add(path, "NaN, Infinity and numbers too large for a float are not taken")


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A value and all that is in it, with their paths."""
    yield path, value
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _values(member, _plans.below(path, key))


# Annotations


def plan_of(cls: Any) -> _plans.Object:
    """How a dataclass is read. Raises TypeError for what cannot be."""
    return _Planner().dataclass(cls)


_ADVICE = (
    "a configuration has dataclasses, str, int, float, bool, None, timedelta, re.Pattern[str], Enum, Literal, Any, "
    "unions, list[X], tuple[X, Y], tuple[X, ...], dict[str, X], set[X] and frozenset[X]"
)


class _Planner:
    """Makes plans. Each class has one, so that a class may be part of itself."""

    def __init__(self) -> None:
        self._objects: dict[type, _plans.Object] = {}

    def dataclass(self, cls: Any) -> _plans.Object:
        if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
            raise TypeError(f"a configuration is a dataclass, not {cls!r}")
        if cls not in self._objects:
            _check_constructor(cls)
            plan = self._objects[cls] = _plans.Object(cls)
            for field in dataclasses.fields(cls):
                if field.init:
                    plan.fields[field.name] = _Annotation(self, cls, field).plan()
                    if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                        plan.required.append(field.name)
        return self._objects[cls]


def _check_constructor(cls: Any) -> None:
    if not cls.__dataclass_params__.init:
        raise TypeError(f"{cls.__qualname__}: a configuration has the constructor that dataclass makes")
    for name, field in cls.__dataclass_fields__.items():
        if field._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]  # noqa: SLF001  # no other way
            raise TypeError(f"{cls.__qualname__}.{name}: a configuration has no InitVar")


class _Annotation:
    """The annotation of a field."""

    def __init__(self, planner: _Planner, cls: type, field: dataclasses.Field[Any]) -> None:
        self._planner = planner
        self._annotation: Any = field.type
        self._name = f"{cls.__qualname__}.{field.name}"
        # Names in an annotation are those of the class that has it, which may be a base in another module.
        self._owner = next(base for base in reversed(cls.__mro__) if _own_field(base, field.name) is field)

    def plan(self) -> _plans.Plan:
        """Raises TypeError with the name of the field."""
        return self._plan(self._annotation)

    def _plan(self, annotation: Any) -> _plans.Plan:
        annotation = self._resolved(annotation)
        if annotation is _typing("Any"):
            return _plans.Anything()
        if annotation is None or isinstance(annotation, type):
            return self._plan_of_class(type(None) if annotation is None else annotation)
        origin, arguments = getattr(annotation, "__origin__", None), getattr(annotation, "__args__", ())
        if isinstance(annotation, type(int | None)) or origin is _typing("Union"):
            return self._union([self._plan(argument) for argument in arguments])
        if origin is not None and origin is _typing("Literal"):
            return self._constants((value, value) for value in arguments)
        return self._plan_of_generic(origin, arguments) or self._refuse(annotation)

    def _plan_of_class(self, cls: type) -> _plans.Plan:
        if cls in _plans.LEAVES:
            return _plans.LEAVES[cls]
        if dataclasses.is_dataclass(cls):
            return self._planner.dataclass(cls)
        if issubclass(cls, enum.Enum):
            return self._constants(((member.value, member) for member in cls), cls)
        if (cls.__module__, cls.__qualname__) == ("datetime", "timedelta"):
            return _plans.duration(cls)
        self._refuse(cls)

    def _plan_of_generic(self, origin: Any, arguments: tuple[Any, ...]) -> _plans.Plan | None:
        if origin is tuple and arguments and arguments[-1] is not ...:
            return _plans.Row(tuple(map(self._plan, arguments)))
        if origin in (list, tuple, set, frozenset) and arguments:
            item = self._plan(arguments[0])
            if origin in (set, frozenset) and not isinstance(item, _plans.Leaf | _plans.Constants):
                raise TypeError(f"{self._name}: the items of a set have no parts; use a list")
            return _plans.Sequence(origin, item)
        if origin is dict and arguments and self._resolved(arguments[0]) is str:
            return _plans.Mapping(self._plan(arguments[1]))
        if origin is re.Pattern and self._resolved(arguments[0]) is str:
            return _plans.PATTERN
        return None

    def _constants(self, values: Any, type_: type | None = None) -> _plans.Constants:
        values = list(values)
        for value, _ in values:
            if type(value) not in (str, int, bool, type(None)):
                raise TypeError(f"{self._name}: {value!r} is not text, a whole number, True, False or None")
        if not values:
            raise TypeError(f"{self._name}: there is no value to choose")
        return _plans.Constants(values, type_)

    def _union(self, members: list[_plans.Plan]) -> _plans.Plan:
        """A union whose members can be told apart. A Literal is looked at first, so it goes with str, say."""
        taken: dict[str, _plans.Plan] = {}
        for member in members:
            literal = isinstance(member, _plans.Constants) and member.type is None
            for kind in () if literal else member.kinds:
                other = taken.setdefault(kind, member)
                if other is not member:
                    raise TypeError(
                        f"{self._name}: {other.expected} and {member.expected} cannot be told apart in a union"
                    )
        return _plans.Choice(tuple(members))

    def _resolved(self, annotation: Any) -> Any:
        """What stands behind a text, a forward reference or a NewType."""
        module = sys.modules.get(self._owner.__module__)
        names = getattr(module, "__dict__", {}), dict(vars(self._owner))
        try:
            while True:
                if hasattr(annotation, "__supertype__"):
                    annotation = annotation.__supertype__
                elif isinstance(annotation, str):
                    annotation = eval(annotation, *names)  # noqa: S307  # what `from __future__` made text of
                elif hasattr(annotation, "evaluate"):  # a ForwardRef of Python 3.14
                    annotation = annotation.evaluate(globals=names[0], locals=names[1])
                elif hasattr(annotation, "__forward_arg__"):
                    annotation = annotation.__forward_arg__
                else:
                    return annotation
        except NameError as error:
            raise TypeError(
                f"{self._name}: {error}; what is imported under TYPE_CHECKING only is not there when the filter runs"
            ) from None
        except Exception as error:  # noqa: BLE001  # whatever the user's text does
            raise TypeError(f"{self._name}: the annotation is not understood: {error}") from None

    def _refuse(self, annotation: Any) -> NoReturn:
        text = annotation.__qualname__ if isinstance(annotation, type) else str(annotation)
        raise TypeError(f"{self._name}: {text} is not supported; {_ADVICE}")


def _own_field(cls: type, name: str) -> object:
    return getattr(cls, "__dataclass_fields__", {}).get(name)


def _typing(name: str) -> object:
    """Something of `typing`, if the filter has imported that: who has not can have no annotation with it."""
    return getattr(sys.modules.get("typing"), name, _typing)
