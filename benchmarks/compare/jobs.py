"""What is done: for each job the request that is measured, and cases by which it is checked that the work is done.

A filter leaves what it found in headers that begin with `x-bench`, so a check is what upstream and client got. Requests
are answered by the measured Envoy itself, for less noise; those with the header of `CHECK`, by an upstream that says
what it received.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

CHECK: Final = ("x-check", "1")
MARK: Final = "x-bench"


@dataclass(frozen=True)
class Request:
    """A request; one with a body is a POST."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def method(self) -> str:
        return "POST" if self.body else "GET"


@dataclass(frozen=True)
class Outcome:
    """The status, and the headers that upstream and client got from the filter: the defaults are those of no filter."""

    status: int = 200
    upstream: dict[str, str] = field(default_factory=dict)
    client: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """The first case is the request that is measured. `waits` is about the request's body, see `proxy`.

    `hand` is the file of the hand-written filter, `ours` the variants of ours by their files. `events` are what an
    ext_proc server must be told of.
    """

    name: str
    title: str
    cases: list[tuple[Request, Outcome]]
    events: dict[str, str]
    hand: str = "filter.c"
    ours: dict[str, str] = field(default_factory=lambda: {"ours": "filter.py"})
    waits: bool = False

    @property
    def request(self) -> Request:
        return self.cases[0][0]


def _document(**changes: object) -> str:
    """A JSON document of 2 kB."""
    items = [{"sku": f"item-{number:04}", "quantity": number, "price": number * 1.25} for number in range(35)]
    whole = {"id": 4711, "user": {"name": "Ann Ö. Nymous", "roles": ["reader", "writer"]}, "items": items, **changes}
    return json.dumps(whole)


_TAGS = {f"x-tag-{number}": f"value-{number}" for number in range(1, 21)}
_ORDER = "/api/v2/users/3f2b8c1e-77aa-4c1b-9d2e-0123456789ab/orders/"
_REFUSED = Outcome(403)

JOBS: Final = {
    job.name: job
    for job in [
        Job(
            "headers",
            "three headers: read `:path`, add a request header, add a response header",
            [(Request("/some/path?and=query"), Outcome(200, {MARK + "-path": "/some/path?and=query"}, {MARK: "yes"}))],
            {"request_header_mode": "SEND", "response_header_mode": "SEND"},
            hand="filter.wat",
        ),
        Job(
            "json",
            "a check of a body of 2 kB: a JSON object with three keys, else 403",
            [
                (Request("/", body=_document(token="t")), Outcome()),  # noqa: S106  # no secret
                (Request("/", body=_document()), _REFUSED),
                (Request("/", body=_document(token="t")[:-1]), _REFUSED),  # noqa: S106
                (Request("/", body='["id", "token", "user"]'), _REFUSED),
                (Request("/", body=r' {"id": [-1.5e+3, 0], "token": "\u00e9\"\\", "user": {}, "x": null} '), Outcome()),
            ],
            {"request_body_mode": "BUFFERED"},
            waits=True,
        ),
        Job(
            "regex",
            "twenty request headers read, a regular expression matched with the path, a request header added",
            [
                (Request(_ORDER + "90210", _TAGS), Outcome(200, {MARK + "-match": "90210/151"})),
                (Request(_ORDER + "7", {"x-tag-20": "four"}), Outcome(200, {MARK + "-match": "7/4"})),
                (Request(_ORDER + "x", _TAGS), Outcome()),
            ],
            {"request_header_mode": "SEND"},
        ),
        Job(
            "call",
            "a service asked by HTTP before the request goes on, a request header added with what it answers",
            [(Request("/some/path"), Outcome(200, {MARK + "-status": "200"}))],
            {"request_header_mode": "SEND"},
            ours={"ours": "filter.py", "ours-callback": "callback.py"},
        ),
    ]
}
