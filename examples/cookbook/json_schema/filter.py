"""Lets only requests through whose JSON body is what a schema says: 400 with the path of the mistake for the others.

The schemas are in the configuration, one for each rule, which says what requests it is for. `fastjsonschema`, a
pure-Python package, makes Python code of them when the plugin starts, so a request costs no more than that code.
JSON that another parser could read otherwise, and bodies with a `content-encoding`, are refused.
Requests that no rule is for pass unread.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import fastjsonschema

from pywasmfilter import HttpContext, PluginContext, Rule, Ruleset, plugin


@dataclass
class Body(Rule):
    """What the body of some requests must be."""

    schema: dict[str, Any] = field(default_factory=dict)
    """JSON Schema, draft 4, 6 or 7. References to other documents are refused."""
    max_bytes: int = 1 << 20
    """Larger bodies are answered 413."""


@dataclass
class Config(Ruleset):
    """The bodies that are checked; the first rule that matches counts."""

    default: Body | None = None
    rules: list[Body] = field(default_factory=list)


@plugin("json_schema", config=Config)
class JsonSchema(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        bodies = [*self.config.rules, *([self.config.default] if self.config.default else [])]
        self.checks = {id(body): fastjsonschema.compile(body.schema, handlers=NO_REFERENCES) for body in bodies}

    def new_http_context(self, context_id: int) -> HttpContext:
        return Check(context_id)


class Check(HttpContext):
    plugin: JsonSchema
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        body = self.config.select(self)
        if body is None:
            return None
        content_type = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            return self.refuse(415, f"the body must be application/json, not {content_type or 'without a type'}")
        if any(value.strip().lower() != "identity" for value in self.request.headers.get_all("content-encoding")):
            return self.refuse(415, "the body must have no content-encoding")
        text = await self.request.body(body.max_bytes)
        try:
            self.plugin.checks[id(body)](strict_json(text))
        except fastjsonschema.JsonSchemaValueException as error:
            return self.refuse(400, error.message)
        except RecursionError:
            return self.refuse(400, "the body is nested too deeply")
        except (ValueError, OverflowError) as error:
            return self.refuse(400, f"the body is no JSON: {error}")
        return None

    def refuse(self, status: int, detail: str) -> int:
        problem = {"type": "about:blank", "status": status, "detail": detail}
        return self.send_http_response(status, [("content-type", "application/problem+json")], json.dumps(problem))


def strict_json(body: bytes) -> Any:
    """JSON that everybody reads alike: UTF-8, no key twice, no NaN. Raises ValueError, RecursionError for the rest."""
    return json.loads(
        body.decode(), object_pairs_hook=members, parse_constant=refuse_constant, parse_float=finite_number
    )


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def finite_number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def refuse_reference(uri: str) -> Any:
    raise ValueError(f"a schema refers to another document: {uri}")


NO_REFERENCES = dict.fromkeys(("", "http", "https", "file", "ftp"), refuse_reference)
