"""Lets requests pass that an OpenAPI document describes, and tells clients what is wrong with all others.

Paths, methods, parameters and JSON bodies are checked. What is unknown or does not fit gets a 400, 404, 405, 413 or
415, and the reason as `application/problem+json`. The document is in the module: openapi.py, which freeze.py makes of
openapi.yaml. Cookies, responses and security schemes are not looked at, nor are bodies other than JSON.
"""

# Modules beside a filter are not modules of the repository.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from openapi import DOCUMENT
from operations import Api
from schemas import Problem

from pywasmfilter import BodyTooLarge, HttpContext, http_filter, log

API = Api(DOCUMENT)  # when the filter is built; a proxy finds it made


@dataclass(frozen=True)
class Config:
    """The plugin's configuration."""

    max_body: int = 65_536
    """How large a body may be, in bytes; larger ones are answered 413."""
    allow_unknown_query: bool = False
    """Whether the query may have parameters that the document does not name."""
    enforce: bool = True
    """Whether requests are refused; if not, the log says what would be."""


@http_filter("openapi_validation", config=Config)
class OpenApiValidation(HttpContext):
    config: Config

    async def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        try:
            await self.check(end_of_stream)
        except Problem as problem:
            log.info(f"{self.request.method} {self.request.path!a}: {problem.status} {problem.detail}")
            return self.answer(problem) if self.config.enforce else None
        return None

    async def check(self, end_of_stream: bool) -> None:
        """Raises Problem for a request that is not as described."""
        headers = self.request.headers
        path, _, query = self.request.path.partition("?")
        operation, values = API.find(self.request.method, path)
        operation.check_path(values)
        operation.check_query(query, self.config.allow_unknown_query)
        operation.check_headers(headers.get_all)
        media_type = None if end_of_stream else operation.media_type(headers.get_all("content-type"))
        if headers.get("content-encoding", "identity") != "identity":
            raise Problem(415, "the content encoding must be identity")
        try:
            body = b"" if media_type is None else await self.request.body(self.config.max_body)
        except BodyTooLarge:
            raise Problem(413, f"the body has more than {self.config.max_body} bytes") from None
        if media_type is None or not body:
            operation.check_no_body()
        else:
            operation.check_body(media_type, body)

    def answer(self, problem: Problem) -> int:
        document = {"title": HTTPStatus(problem.status).phrase, "status": problem.status, "detail": problem.detail}
        headers = [("content-type", "application/problem+json"), *problem.headers]
        return self.send_http_response(problem.status, headers, json.dumps(document))
