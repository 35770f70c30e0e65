"""Reads twenty headers and matches the path; adds a request header with what it found."""

from __future__ import annotations

import re

from pywasmfilter import HttpContext, http_filter

NAMES = [f"x-tag-{number}" for number in range(1, 21)]
ORDER = re.compile(r"/api/v[0-9]+/users/([0-9a-f-]+)/orders/([0-9]+)")


@http_filter("bench")
class RegexMatch(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        headers = self.request.headers
        length = 0
        for name in NAMES:
            length += len(headers.get(name, ""))
        if match := ORDER.fullmatch(headers[":path"]):
            headers.add("x-bench-match", f"{match[2]}/{length}")
