"""Parameters in path, query and headers: texts become values, which their schema checks."""

# Modules beside a filter are not modules of the repository.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import re
from typing import Any

from schemas import Problem, check, validator


class Parameter:
    """One value in path, query or headers, or several of them."""

    def __init__(self, document: dict[str, Any], description: dict[str, Any]) -> None:
        self.name: str = description["name"]
        self.where = f"{description['in']}.{self.name}"
        simple = description["in"] != "query"
        if description.get("style", "simple" if simple else "form") != ("simple" if simple else "form"):
            raise ValueError(f"{self.where}: the style {description['style']} is not supported")
        schema = description["schema"]
        self._required = description.get("required", False)
        self._explode = description.get("explode", not simple) and not simple
        self._type, self._item_type = _type_of(document, schema), "string"
        if self._type == "array":
            self._item_type = _type_of(document, followed(document, schema).get("items", {}))
        if "object" in (self._type, self._item_type) or self._item_type == "array":
            raise ValueError(f"{self.where}: objects, and arrays in arrays, are not supported in parameters")
        self._validate = validator(schema, document)

    def check(self, texts: list[str]) -> None:
        """Whether the texts that were given are what is described. Raises Problem."""
        if not texts:
            if self._required:
                raise Problem(400, f"{self.where} is missing")
            return
        if not all(text.isprintable() for text in texts):
            raise Problem(400, f"{self.where} has characters that cannot be printed")
        if self._type != "array":
            if len(texts) > 1:
                raise Problem(400, f"{self.where} is there {len(texts)} times")
            check(self._validate, _value(self._type, texts[0]), self.where)
        else:
            items = texts if self._explode else [item.strip() for item in ",".join(texts).split(",")]
            check(self._validate, [_value(self._item_type, item) for item in items], self.where)


def _type_of(document: dict[str, Any], schema: dict[str, Any]) -> str:
    types = followed(document, schema).get("type", "string")
    return next(name for name in ([types] if isinstance(types, str) else types) if name != "null")


NUMBERS = {
    "integer": (re.compile("-?(0|[1-9][0-9]{0,17})"), int),
    "number": (re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?"), float),
}


def _value(type_: str, text: str) -> Any:
    """A text as its type says. What does not look like that stays text, which the schema refuses then."""
    if type_ in NUMBERS and NUMBERS[type_][0].fullmatch(text):
        return NUMBERS[type_][1](text)
    return {"true": True, "false": False}.get(text, text) if type_ == "boolean" else text


def followed(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part of the document, or what its `$ref` leads to. Raises ValueError if that is elsewhere."""
    while "$ref" in part:
        if not part["$ref"].startswith("#/"):
            raise ValueError(f"{part['$ref']}: only what is in the document itself is followed")
        found: Any = document
        for name in part["$ref"][2:].split("/"):
            found = found[name.replace("~1", "/").replace("~0", "~")]
        part = found
    return part
