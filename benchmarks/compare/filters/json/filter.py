"""Lets a request through only if its body is a JSON object with some keys; answers 403 to all others."""

from __future__ import annotations

import json

from pywasmfilter import Action, HttpContext, http_filter

REQUIRED = {"id", "token", "user"}


@http_filter("bench")
class JsonCheck(HttpContext):
    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int:
        if not end_of_stream:
            return Action.PAUSE
        try:
            document = json.loads(bytes(self.request.buffer))
        except ValueError:
            document = None
        if isinstance(document, dict) and document.keys() >= REQUIRED:
            return Action.CONTINUE
        return self.send_http_response(403, body="invalid body\n")
