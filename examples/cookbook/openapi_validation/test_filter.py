"""Requests that the document describes pass; all others are told what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from examples.cookbook.openapi_validation.freeze import FOLDER, frozen
from pywasmfilter.testing import Host, HttpStream, Refused

JSON = {"content-type": "application/json"}
ITEM = {"sku": "ABC-1", "quantity": 1}


def detail(stream: HttpStream, status: int = 400) -> str:
    """What a client is told that sent something wrong."""
    assert (stream.status, stream.headers["content-type"]) == (status, "application/problem+json")
    problem = stream.json()
    assert problem["status"] == status
    return str(problem["detail"])


def order(host: Host, body: Any, **headers: str) -> HttpStream:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return host.request("POST", "/v1/orders", {**JSON, **headers}, text)


def test_the_frozen_document_is_the_written_one() -> None:
    """Whoever changes openapi.yaml runs freeze.py."""
    assert (FOLDER / "openapi.py").read_text(encoding="utf-8") == frozen()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/orders"),
        ("GET", "/v1/orders?"),
        ("GET", "/v1/orders?status=open&limit=100&tag=a&tag=b&fields=id,items&min_price=0.5&archived=true"),
        ("GET", "/v1/orders?tag=%26%2F+%C3%A9"),
        ("GET", "/v1/orders/latest"),
        ("GET", "/v1/orders/17"),
        ("GET", "/v1/orders/1%37"),
        ("PUT", "/v1/orders/17/notes/%C3%A9%20%25"),
    ],
)
def test_what_is_described_passes(host: Host, method: str, path: str) -> None:
    """Unchanged."""
    stream = host.request(method, path)
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.path == path


@pytest.mark.parametrize(
    "path",
    ["/", "/orders", "/v1", "/v1/orders/", "/v1//orders", "/v1/orders/1/", "/V1/orders", "/v1/%6frders", "*", ""],
)
def test_no_such_path(host: Host, path: str) -> None:
    """What is not in the document is a 404, however a server would read it."""
    assert detail(host.request("GET", path), 404) == "there is no such path"


def test_no_such_method(host: Host) -> None:
    """Is a 405, with those that there are."""
    for method in ("PUT", "get", "BREW"):
        stream = host.request(method, "/v1/orders")
        assert detail(stream, 405) == f"{method} is not for this path"
        assert stream.headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0", "path.id must be bigger than or equal to 1"),
        ("2147483648", "path.id must be smaller than or equal to 2147483647"),
        ("x", "path.id must be integer"),
        ("1.0", "path.id must be integer"),
        ("+1", "path.id must be integer"),
        ("01", "path.id must be integer"),
        ("%D9%A1", "path.id must be integer"),  # a digit, of another script
        ("9" * 5000, "path.id must be integer"),
        ("1%0a", "path.id has characters that cannot be printed"),
        ("%ff", "path.id has characters that cannot be printed"),
        ("..", "path.id is no name"),
        ("%2e%2E", "path.id is no name"),
        ("1%2Fnotes", "path.id is no name"),
        ("1%5c..", "path.id is no name"),
        ("1;a=b", "path.id must be integer"),
    ],
)
def test_the_path_is_checked(host: Host, value: str, problem: str) -> None:
    """A parameter is what its schema says, and no way to another path."""
    assert detail(host.request("GET", f"/v1/orders/{value}")) == problem


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("status=lost", "query.status must be one of ['open', 'paid', 'sent']"),
        ("status", "query.status must be one of ['open', 'paid', 'sent']"),
        ("status=open&status=paid", "query.status is there 2 times"),
        ("limit=101", "query.limit must be smaller than or equal to 100"),
        ("limit=1e1", "query.limit must be integer"),
        ("limit=", "query.limit must be integer"),
        ("limit=" + "9" * 5000, "query.limit must be integer"),
        ("tag=a&tag=b&tag=c&tag=d", "query.tag must contain less than or equal to 3 items"),
        ("tag=a&tag=", "query.tag[1] must be longer than or equal to 1 characters"),
        ("tag=%00", "query.tag has characters that cannot be printed"),
        ("tag=\udcff", "query.tag has characters that cannot be printed"),
        ("fields=id,price", "query.fields[1] must be one of ['id', 'items']"),
        ("min_price=-1", "query.min_price must be bigger than or equal to 0"),
        ("min_price=NaN", "query.min_price must be number"),
        ("min_price=Infinity", "query.min_price must be number"),
        ("archived=1", "query.archived must be boolean"),
        ("Limit=1", "the query has unknown parameters, such as 'Limit'"),
        ("%0d%0a=1", r"the query has unknown parameters, such as '\r\n'"),
        ("&".join(f"tag={n}" for n in range(300)), "the query has too many parameters"),
    ],
)
def test_the_query_is_checked(host: Host, query: str, problem: str) -> None:
    """Types, bounds, how often a parameter is there, and that it is known."""
    assert detail(host.request("GET", f"/v1/orders?{query}")) == problem


@pytest.mark.filter(configuration={"allow_unknown_query": True})
def test_unknown_parameters_may_be_allowed(host: Host) -> None:
    """For clients that add their own, such as trackers."""
    assert host.request("GET", "/v1/orders?utm_source=mail&limit=1").status == 200
    assert host.request("GET", "/v1/orders?utm_source=mail&limit=x").status == 400


def test_headers_are_checked(host: Host) -> None:
    """One that is required must be there, once and right; others are nobody's business."""
    assert host.request("DELETE", "/v1/orders/1", {"if-match": '"0123abcd"', "x-other": "\t"}).status == 200
    assert detail(host.request("DELETE", "/v1/orders/1")) == "header.If-Match is missing"
    assert "must match pattern" in detail(host.request("DELETE", "/v1/orders/1", {"If-Match": "*"}))
    assert detail(host.request("DELETE", "/v1/orders/1", [("if-match", '"0123abcd"')] * 2))


@pytest.mark.parametrize(
    "body",
    [
        {"items": [ITEM]},
        {"items": [{**ITEM, "more": [1]}] * 20, "coupon": None, "contact": "ada@example.com"},
        {"items": [{**ITEM, "price": 9.99, "parts": [{**ITEM, "parts": [ITEM]}]}]},
    ],
)
def test_a_body_passes(host: Host, body: Any) -> None:
    """As it has come, also in pieces."""
    text = json.dumps(body)
    stream = host.request(
        "POST", "/v1/orders", {"content-type": "Application/JSON; charset=utf-8"}, [text[:9], text[9:]]
    )
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.body.decode() == text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "body must contain ['items'] properties"),
        ([], "body must be object"),
        ({"items": []}, "body.items must contain at least 1 items"),
        ({"items": [ITEM], "x": 1}, "body must not contain {'x'} properties"),
        ({"items": [{"sku": "ABC-1"}]}, "body.items[0] must contain ['quantity'] properties"),
        ({"items": [{**ITEM, "quantity": 0}]}, "body.items[0].quantity must be bigger than 0"),
        ({"items": [{**ITEM, "quantity": True}]}, "body.items[0].quantity must be integer"),
        ({"items": [{**ITEM, "quantity": 1.5}]}, "body.items[0].quantity must be integer"),
        ({"items": [{**ITEM, "quantity": 1 << 31}]}, "body.items[0].quantity must be smaller than or equal to"),
        ({"items": [{**ITEM, "sku": "abc"}]}, "body.items[0].sku must match pattern"),
        ({"items": [{**ITEM, "sku": "ABC-1\n"}]}, "body.items[0].sku must match pattern"),
        ({"items": [{**ITEM, "parts": [{**ITEM, "sku": 1}]}]}, "body.items[0].parts[0].sku must be string"),
        ({"items": [{**ITEM, "price": 10**400}]}, "body is nested too deeply, or has too large a number"),
        ({"items": [ITEM], "contact": "ada"}, "body.contact must be email"),
        ({"items": [ITEM], "\ud800\r\n": 1}, r"body must not contain {'\ud800\r\n'} properties"),
        ("{", "body is not JSON: Expecting property name"),
        ('{"items": [], "items": 1}', "body is not JSON: a key is there twice"),
        ('{"items": NaN}', "body is not JSON: NaN is not JSON"),
        ('{"items": 1e999}', "body is not JSON: a number is too large"),
        ('{"items": ' + "9" * 5000 + "}", "body is not JSON: Exceeds the limit"),
        (b"\xff", "body is not JSON: 'utf-8' codec can't decode"),
        ('{"items": [1]}'.encode("utf-16"), "body is not JSON"),
        (b"\xef\xbb\xbf{}", "body is not JSON"),
        ("[" * 5000, "body is not JSON: it is nested too deeply"),
        ("", "there must be a body"),
    ],
)
def test_a_body_is_checked(host: Host, body: Any, problem: str) -> None:
    """Against its schema, and against what parsers do not agree about."""
    assert detail(order(host, body)).startswith(problem)


def test_schemas_that_recurse_end(host: Host) -> None:
    """As deep as JSON may be, a body is checked, or refused as too deep."""
    body: Any = ITEM
    for _ in range(150):
        body = {**ITEM, "parts": [body]}
    assert detail(order(host, {"items": [body], "x": 1}))
    assert "Traceback" not in "".join(host.messages)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/jsonp", "", "application/json, text/plain", "\udcff"]
)
def test_another_content_type(host: Host, content_type: str) -> None:
    """Is a 415 that says what there is."""
    assert detail(order(host, {}, **{"content-type": content_type}), 415) == "the content type must be application/json"
    twice = [("content-type", "application/json"), ("content-type", "text/plain")]
    assert detail(host.request("POST", "/v1/orders", twice, "{}"), 415)


def test_content_that_cannot_be_looked_into(host: Host) -> None:
    """A compressed body is refused."""
    assert detail(order(host, {}, **{"content-encoding": "gzip"}), 415) == "the content encoding must be identity"


def test_other_bodies(host: Host) -> None:
    """One without a schema passes as it is, one that may be missing may be, and where there is none, none passes."""
    path = "/v1/orders/1/notes/x"
    assert host.request("PUT", path).status == 200
    assert host.request("PUT", path, {"content-type": "text/plain"}, b"\xff{").status == 200
    assert host.request("PUT", path, JSON, "null").status == 200
    assert detail(host.request("PUT", path, JSON, '"much too long"')).startswith("body must be shorter than")
    assert detail(host.request("GET", "/v1/orders", JSON, "{}")) == "this operation has no body"
    assert detail(host.request("POST", "/v1/orders", JSON)) == "there must be a body"


@pytest.mark.filter(configuration={"max_body": 10})
def test_too_large_a_body(host: Host) -> None:
    """Is a 413, whether it is announced or not."""
    assert detail(order(host, {"items": [ITEM]}), 413) == "the body has more than 10 bytes"
    assert detail(host.request("POST", "/v1/orders", JSON, ["12345", "67890", "1"]), 413)


@pytest.mark.filter(configuration={"enforce": False, "max_body": 100})
@pytest.mark.parametrize(("path", "body"), [("/v1/orders", "{"), ("/v1/orders", "1" * 200), ("/", "{}")])
def test_only_the_log_may_say_it(host: Host, path: str, body: str) -> None:
    """To see what would happen, before it does."""
    stream = host.request("POST", path, JSON, body)
    assert stream.status == 200
    assert stream.sent is not None
    assert stream.sent.body.decode() == body
    assert host.logged(f"POST '{path}': 4")


def test_a_bad_configuration_is_refused(new_host: Callable[..., Host]) -> None:
    """The plugin does not start, and the log says why."""
    with pytest.raises(Refused, match="max_body: expected an integer"):
        new_host(configuration={"max_body": "1k"})
