"""JSON, and the schemas that describe it: those of OpenAPI 3.0 and 3.1 become functions that check values.

fastjsonschema makes the functions, and knows draft 7 of JSON Schema. OpenAPI 3.0 has a dialect of its own, which is
translated; of what only 3.1 has, nothing is checked, so a schema that says such a thing is an error of the build.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import fastjsonschema

Validator = Callable[..., Any]

ASSERTIONS = set(
    "type enum const multipleOf minimum maximum minLength maxLength pattern minItems maxItems uniqueItems"
    " minProperties maxProperties required format exclusiveMinimum exclusiveMaximum".split()
)
SCHEMAS = {"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"}
LISTS = {"allOf", "anyOf", "oneOf"}
MAPS = {"properties", "patternProperties"}
ANNOTATIONS = set(
    "title description default example examples deprecated readOnly writeOnly xml externalDocs discriminator nullable"
    " contentEncoding contentMediaType $comment".split()
)
BOUNDS = {"int32": 1 << 31, "int64": 1 << 63}


class Problem(Exception):
    """What is wrong with a request: the status to answer, and an explanation for the client."""

    def __init__(self, status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def validator(schema: Any, document: dict[str, Any]) -> Validator:
    """A function that checks values. Raises ValueError for a schema that it could not check all of."""
    others = document.get("components", {}).get("schemas", {})
    root = {
        "allOf": [draft_7(schema)],
        "components": {"schemas": {name: draft_7(other) for name, other in others.items()}},
    }
    return fastjsonschema.compile(root, use_default=False)


def check(validate: Validator, value: Any, where: str) -> None:
    """Whether a value is as its schema says. Raises Problem."""
    try:
        validate(value, name_prefix=where)
    except fastjsonschema.JsonSchemaValueException as error:
        raise Problem(400, str(error)[:500].encode("ascii", "backslashreplace").decode()) from None
    except (RecursionError, ArithmeticError):
        raise Problem(400, f"{where} is nested too deeply, or has too large a number") from None


def draft_7(schema: Any) -> Any:
    """A schema of OpenAPI in the words of draft 7."""
    if isinstance(schema, bool):
        return schema
    result: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ASSERTIONS:
            result[key] = value
        elif key in SCHEMAS:
            result[key] = draft_7(value)
        elif key in LISTS:
            result[key] = [draft_7(member) for member in value]
        elif key in MAPS:
            result[key] = {name: draft_7(member) for name, member in value.items()}
        elif key == "$ref" and value.startswith("#/components/schemas/"):
            result.setdefault("allOf", []).append({key: value})  # draft 7 sees nothing else beside a $ref
        elif key not in ANNOTATIONS and not key.startswith("x-"):
            raise ValueError(f"a schema says {key}: {value!r}, which this filter cannot check")
    return _dialect(schema, result)


def _dialect(schema: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI 3.0 says in other words than JSON Schema, and formats of numbers."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if result.get(exclusive) is True:
            result[exclusive] = result.pop(bound)
        elif result.get(exclusive) is False:
            del result[exclusive]
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        result["type"] = [schema["type"], "null"]
    if (limit := BOUNDS.get(schema.get("format", ""))) is not None:
        result.setdefault("minimum", -limit)
        result.setdefault("maximum", limit - 1)
    if schema.get("format") == "regex":
        del result["format"]  # a client's expression would be compiled, which can take for ever
    return result


def strict_json(body: bytes) -> Any:
    """JSON that everybody reads alike: UTF-8, no key twice, no NaN. Raises ValueError for other JSON."""
    try:
        return json.loads(body.decode(), object_pairs_hook=_members, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice")
    return members


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number
