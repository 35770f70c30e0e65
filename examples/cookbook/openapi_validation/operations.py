"""An OpenAPI document as functions that say what is wrong with a request. All of it is made when the filter is built.

A document that says something these functions do not know is an error of the build: it would not be checked.
"""

# Modules beside a filter are not modules of the repository.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from parameters import Parameter, followed
from schemas import Problem, Validator, check, strict_json, validator

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
NOT_PARAMETERS = ("accept", "authorization", "content-type")
"""Headers that OpenAPI describes elsewhere."""


class Api:
    """All operations of a document. Raises ValueError for what is not supported."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        servers = [urlsplit(server["url"]).path.rstrip("/") for server in document.get("servers", [{"url": "/"}])]
        base = "|".join(map(re.escape, dict.fromkeys(servers)))
        # Paths without parameters come before those that would match them, too.
        templates = sorted(document["paths"], key=lambda template: template.count("{"))
        self._paths = [(_pattern(base, template), self._operations(template)) for template in templates]

    def find(self, method: str, path: str) -> tuple[Operation, tuple[str, ...]]:
        """The operation, and the values of the parameters in the path. Raises Problem."""
        for pattern, operations in self._paths:
            if match := pattern.fullmatch(path):
                if method in operations:
                    return operations[method], match.groups()
                raise Problem(405, f"{method} is not for this path", (("allow", ", ".join(operations)),))
        raise Problem(404, "there is no such path")

    def _operations(self, template: str) -> dict[str, Operation]:
        item = self._document["paths"][template]
        names = re.findall(r"\{([^}]+)\}", template)
        return {
            m.upper(): Operation(self._document, item.get("parameters", []), item[m], names)
            for m in METHODS
            if m in item
        }


class Operation:
    """What a request of one method and path may have."""

    def __init__(
        self, document: dict[str, Any], common: list[Any], description: dict[str, Any], names: list[str]
    ) -> None:
        found = [followed(document, parameter) for parameter in [*common, *description.get("parameters", [])]]
        own = {(parameter["in"], parameter["name"].lower()): parameter for parameter in found}  # the last one counts
        self._path = [Parameter(document, own["path", name.lower()]) for name in names]
        self._query = {p["name"]: Parameter(document, p) for (place, _), p in own.items() if place == "query"}
        self._headers = [
            Parameter(document, p)
            for (place, name), p in own.items()
            if place == "header" and name not in NOT_PARAMETERS
        ]
        body = followed(document, description.get("requestBody", {}))
        self._needs_body = body.get("required", False)
        self._bodies: dict[str, Validator | None] = {
            media_type.lower(): validator(content["schema"], document) if "schema" in content else None
            for media_type, content in body.get("content", {}).items()
        }

    def check_path(self, texts: tuple[str, ...]) -> None:
        for parameter, raw in zip(self._path, texts, strict=True):
            text = unquote(raw, errors="surrogateescape")
            if text in (".", "..") or "/" in text or "\\" in text:
                raise Problem(400, f"{parameter.where} is no name")  # but a way to somewhere else, for some server
            parameter.check([text])

    def check_query(self, query: str, allow_unknown: bool) -> None:
        try:
            pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape", max_num_fields=200)
        except ValueError:
            raise Problem(400, "the query has too many parameters") from None
        if not allow_unknown and (unknown := {name for name, _ in pairs} - set(self._query)):
            raise Problem(400, f"the query has unknown parameters, such as {min(unknown)!a}")
        for name, parameter in self._query.items():
            parameter.check([value for other, value in pairs if other == name])

    def check_headers(self, get_all: Callable[[str], list[str]]) -> None:
        for parameter in self._headers:
            parameter.check(get_all(parameter.name))

    def media_type(self, content_types: list[str]) -> str:
        """The media type of a body, as the document has it. Raises Problem."""
        if not self._bodies:
            raise Problem(400, "this operation has no body")
        given = content_types[0].partition(";")[0].strip().lower() if len(content_types) == 1 else ""
        for media_type in (given, given.partition("/")[0] + "/*", "*/*"):
            if media_type in self._bodies:
                return media_type
        raise Problem(415, f"the content type must be {' or '.join(self._bodies)}")

    def check_no_body(self) -> None:
        if self._needs_body:
            raise Problem(400, "there must be a body")

    def check_body(self, media_type: str, body: bytes) -> None:
        """A body that is described by a schema must be JSON."""
        if (validate := self._bodies[media_type]) is not None:
            try:
                value = strict_json(body)
            except ValueError as error:
                raise Problem(400, f"body is not JSON: {error}") from None
            check(validate, value, "body")


def _pattern(base: str, template: str) -> re.Pattern[str]:
    literals = re.split(r"\{[^}]+\}", template)
    return re.compile(f"(?:{base})" + "([^/]+)".join(map(re.escape, literals)))
