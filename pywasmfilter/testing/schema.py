"""JSON Schema of a typed configuration, made by pydantic, for `pyfilter schema`.

Pydantic reads the dataclass itself, by way of a subclass whose fields say exactly what `pywasmfilter.config` takes,
such as durations that are text. The two take the same; tests hold them together.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter

from pywasmfilter import _plans

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def json_schema(plan: _plans.Object) -> dict[str, Any]:
    """The schema of a configuration. Docstrings are descriptions, those of classes and those below their fields."""
    return {"$schema": DIALECT, **reader(plan).json_schema()}


def reader(plan: _plans.Object) -> TypeAdapter[Any]:
    """What reads such a configuration with pydantic."""
    return TypeAdapter(_Types().of(plan))


class _Types:
    """The types that pydantic is given. Each dataclass has one model, so that it may be part of itself."""

    def __init__(self) -> None:
        self._models: dict[_plans.Object, Any] = {}

    def of(self, plan: _plans.Plan) -> Any:
        match plan:
            case _plans.Leaf():
                return _leaf(plan)
            case _plans.Constants():
                return _constants(plan)
            case _plans.Sequence(type=kind, item=item):
                return self._sequence(kind, self.of(item))
            case _plans.Row():
                return tuple[tuple(map(self.of, plan.items))]  # type: ignore[misc]  # made while the program runs
            case _plans.Mapping():
                return dict[str, self.of(plan.item)]  # type: ignore[misc]
            case _plans.Choice():
                return Union[tuple(map(self.of, plan.members))]  # noqa: UP007  # made while the program runs
            case _plans.Object():
                return self._model(plan)
        return Any

    @staticmethod
    def _sequence(kind: Any, item: Any) -> Any:
        if kind is tuple:
            return tuple[item, ...]
        if kind is list:
            return list[item]
        about = Field(json_schema_extra={"uniqueItems": True})
        return Annotated[list[item], BeforeValidator(_without_duplicates), AfterValidator(kind), about]

    def _model(self, plan: _plans.Object) -> Any:
        if plan not in self._models:
            cls = plan.type
            fields = [field for field in dataclasses.fields(cls) if field.init]
            texts = dict(_texts_below_fields(cls))
            members = {
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                "__annotations__": dict.fromkeys([field.name for field in fields], Any),
                "__pydantic_config__": _config(cls),
            }
            model: Any = type(cls.__name__, (cls,), members)
            self._models[plan] = model
            # What a dataclass says of its fields, and where pydantic looks.
            model.__dataclass_fields__ = {field.name: self._field(field, plan, texts) for field in fields}
        return self._models[plan]

    def _field(self, field: dataclasses.Field[Any], plan: _plans.Object, texts: dict[str, str]) -> Any:
        made: Any = copy.copy(field)
        extra: dict[str, Any] = {}
        if field.name not in plan.required:
            # As a factory, since pydantic would write a value its own way.
            made.default, made.default_factory = dataclasses.MISSING, lambda: _default(field)
            extra = _about_default(field)
        about = Field(description=texts.get(field.name), json_schema_extra=extra)
        made.type = Annotated[self.of(plan.fields[field.name]), about]
        return made


def _leaf(plan: _plans.Leaf) -> Any:
    if plan.type is int:
        return Annotated[int, BeforeValidator(_whole)]
    if plan.type is timedelta:
        seconds = Annotated[float, Field(ge=0, le=_plans.LONGEST_DURATION)]
        text = Annotated[str, Field(pattern=f"^{_plans.DURATION}$")]
        return Annotated[seconds | text, AfterValidator(plan.convert)]
    return plan.type


def _constants(plan: _plans.Constants) -> Any:
    """Also the values of an Enum: pydantic, when it is strict, takes an Enum's members only once a validator ran."""

    def exact(value: Any) -> Any:
        if isinstance(value, bool) and not plan.has(value):  # for pydantic True is 1 here
            raise ValueError("is none of the values")
        return _whole(value)

    literal: Any = Literal[tuple(value for _, value in plan.values)]
    about: dict[str, Any] = {}
    if plan.type is not None:
        about = {"title": plan.type.__name__} | _description(plan.type)
    result = AfterValidator(lambda value: plan.values[_plans.kind_of(value), value])
    return Annotated[literal, BeforeValidator(exact), result, Field(json_schema_extra=about)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_duplicates(value: Any) -> Any:
    keys = [(_plans.kind_of(item), item) for item in value] if isinstance(value, list) else []
    if any(key in keys[:index] for index, key in enumerate(keys)):
        raise ValueError("an item is there twice")
    return value


def _config(cls: Any) -> ConfigDict:
    return ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_description(cls))


def _description(cls: type) -> dict[str, Any]:
    """The docstring, if there is one, and not the signature that dataclass makes."""
    text = inspect.cleandoc(cls.__doc__ or "")
    return {} if not text or text.startswith(f"{cls.__name__}(") else {"description": text}


def _texts_below_fields(cls: type) -> Iterator[tuple[str, str]]:
    """(field, text) for each text that stands below a field in the source of a class or of its bases."""
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # a class that no file has
            continue
        body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
        for field, below in itertools.pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                    yield name, inspect.cleandoc(text)


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _about_default(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """What a schema says of a default: nothing of one that fails, that JSON has not, or that is another each time."""
    try:
        texts = [json.dumps(_as_json(_default(field)), allow_nan=False, ensure_ascii=False).encode() for _ in range(2)]
    except Exception:  # noqa: BLE001  # whatever the user's factory does
        return {}
    return {"default": json.loads(texts[0])} if texts[0] == texts[1] else {}


def _as_json(value: Any) -> Any:
    """A default as one would write it in a configuration."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _as_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return _whole(value.total_seconds())
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, set | frozenset):
        return sorted(map(_as_json, value), key=repr)
    if isinstance(value, list | tuple):
        return list(map(_as_json, value))
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    return value
