"""Bodies that are not what the schema says do not reach the upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pywasmfilter.testing import Host, HttpStream, NewHost, Refused

SCHEMA = {
    "type": "object",
    "properties": {"item": {"type": "string"}, "number": {"type": "integer", "minimum": 1}},
    "required": ["item"],
}
RULE: dict[str, Any] = {"match": {"path": "/orders", "method": "POST"}, "schema": SCHEMA, "max_bytes": 2000}

pytestmark = pytest.mark.filter(configuration={"rules": [RULE]})


def post(host: Host, body: str | bytes, content_type: str = "application/json", path: str = "/orders") -> HttpStream:
    return host.request("POST", path, headers={"content-type": content_type}, body=body)


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", "application/a+json"])
def test_a_good_body_passes(host: Host, content_type: str) -> None:
    """It reaches the upstream as it was."""
    stream = post(host, '{"item": "tea", "number": 2}', content_type)
    assert stream.status == 200
    assert stream.sent
    assert stream.sent.json() == {"item": "tea", "number": 2}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("{}", "data must contain ['item'] properties"),
        ('{"item": 1}', "data.item must be string"),
        ('{"item": "tea", "number": 0}', "data.number must be bigger than or equal to 1"),
        ("[]", "data must be object"),
        ("", "the body is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("{", "the body is no JSON: "),
        ('{"item": NaN}', "the body is no JSON: NaN is no JSON"),
        (b'{"item": "\xff"}', "the body is no JSON: "),
        ('{"item": "tea", "number": 1' + "0" * 1500 + "}", ""),
        ("[" * 1000, "the body is nested too deeply"),
        ('{"item": "tea", "item": "tea"}', "the body is no JSON: a key is there twice"),
        ('{"item": "tea", "more": {"a": 1, "\\u0061": 2}}', "the body is no JSON: a key is there twice"),
        ('{"item": "tea", "number": 1e999}', "the body is no JSON: a number is too large"),
        ('{"item": "tea", "number": -Infinity}', "the body is no JSON: -Infinity is no JSON"),
        ('{"item": "tea"}'.encode("utf-16"), "the body is no JSON: "),
        ('{"item": "tea"}'.encode("utf-16-le"), "the body is no JSON: "),
        ('{"item": "tea"}'.encode("utf-32-be"), "the body is no JSON: "),
        ('{"item": "tea"}'.encode("utf-8-sig"), "the body is no JSON: "),
    ],
    ids=range(18),
)
def test_a_bad_body_is_answered(host: Host, body: str | bytes, detail: str) -> None:
    """The client is told what is wrong and where, and the upstream gets nothing of the body."""
    stream = post(host, body)
    if not detail:  # a large number is a number
        assert stream.status == 200
        return
    assert stream.status == 400
    assert stream.headers["content-type"] == "application/problem+json"
    assert stream.json()["detail"].startswith(detail)
    assert not (stream.sent and stream.sent.body)


def test_another_type_is_no_json(host: Host) -> None:
    """What cannot be checked does not pass."""
    assert post(host, "item=tea", "text/plain").status == 415
    assert host.request("POST", "/orders", body='{"item": "tea"}').status == 415


@pytest.mark.parametrize("encodings", [["gzip"], ["identity, gzip"], ["identity", "br"], [""]])
def test_an_encoded_body_is_refused(host: Host, encodings: list[str]) -> None:
    """Nor does what the upstream would read otherwise, whatever it is here."""
    headers = [("content-type", "application/json"), *(("content-encoding", encoding) for encoding in encodings)]
    assert host.request("POST", "/orders", headers, body='{"item": "tea"}').status == 415
    plain = [("content-type", "application/json"), ("content-encoding", "Identity")]
    assert host.request("POST", "/orders", plain, body='{"item": "tea"}').status == 200


def test_too_large_a_body(host: Host) -> None:
    """It is answered 413, whether it is announced or not."""
    assert post(host, json.dumps({"item": "x" * 2000})).status == 413


def test_other_spellings_of_the_path_are_checked_too(host: Host) -> None:
    """A client cannot pass by writing the path another way."""
    for path in ("/orders?a", "//orders", "/x/../orders", "/%6frders"):
        assert post(host, "{}", path=path).status == 400


def test_other_requests_pass_unread(host: Host) -> None:
    """No rule is for them."""
    assert post(host, "{", path="/others").status == 200
    assert host.request("PUT", "/orders", body="{").status == 200


@pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"$ref": "http://example.com/schema"}])
def test_a_schema_that_is_none(new_host: NewHost, schema: object) -> None:
    """The plugin does not start with it."""
    with pytest.raises(Refused):
        new_host(configuration={"rules": [{**RULE, "schema": schema}]})
