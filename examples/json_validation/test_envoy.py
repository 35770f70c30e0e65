"""The example lets JSON with the required keys through, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from pywasmfilter_compiler.envoy.process import EnvoyProcess
from pywasmfilter_compiler.errors import ToolError

if TYPE_CHECKING:
    from examples.conftest import Fetch, ServeExample

pytestmark = pytest.mark.envoy

FOLDER = Path(__file__).parent
JSON = {"content-type": "application/json"}
VALID = b'{"id": "abc123", "token": "xyz456"}'


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "text/html"}, {"content-type": "application/json; charset=utf-8"}]
)
def test_another_content_type_is_refused(envoy: EnvoyProcess, fetch: Fetch, headers: dict[str, str]) -> None:
    """Whatever is not exactly application/json gets a 403, whether there is a body or not."""
    for method, body in (("GET", None), ("POST", VALID)):
        answer = fetch(envoy, method=method, headers=headers, body=body)
        assert (answer.status, answer.body) == (403, b"content-type must be provided")


def test_json_with_all_keys_passes(envoy: EnvoyProcess, fetch: Fetch) -> None:
    """The upstream answers, also if the body comes in several chunks."""
    for body in (VALID, iter([VALID[:10], VALID[10:]])):
        answer = fetch(envoy, method="POST", headers=JSON, body=body)
        assert (answer.status, answer.body) == (200, b"hello from the server\n")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("invalid_payload", 'body is not a valid json: "invalid_payload"'),
        ('{"id": "a"', r'body is not a valid json: "{\"id\": \"a\""'),
        ("NaN", 'body is not a valid json: "NaN"'),
        ("[" * 5000 + "]" * 5000, 'body is not a valid json: "[[['),
        ('{"unknown_key":"unknown_value"}', 'required key (id) is missing: {"unknown_key":"unknown_value"}'),
        ('{"id": 1}', 'required key (token) is missing: {"id": 1}'),
        ('["id", "token"]', 'required key (id) is missing: ["id", "token"]'),
    ],
)
def test_a_bad_body_is_refused(envoy: EnvoyProcess, fetch: Fetch, body: str, problem: str) -> None:
    """The client learns that its payload is invalid; the log says, as an error, what is wrong with it."""
    answer = fetch(envoy, method="POST", headers=JSON, body=body.encode())

    assert (answer.status, answer.body) == (403, b"invalid payload")
    envoy.wait_for_log(problem, 10)
    last = envoy.wasm_log()[-1]
    assert last.level == "error"
    assert last.message.startswith(problem)


def test_keys_look_inside(serve_example: ServeExample, fetch: Fetch) -> None:
    """A dot in a required key goes into objects, and into lists by number."""
    envoy = serve_example(plugin_configuration=b'{"requiredKeys": ["user.id", "items.1"]}')
    for body, status in (
        (b'{"user": {"id": null}, "items": [1, 2]}', 200),
        (b'{"user": {}, "items": [1, 2]}', 403),
        (b'{"user": {"id": 1}, "items": [1]}', 403),
    ):
        assert fetch(envoy, method="POST", headers=JSON, body=body).status == status


def test_no_configuration_requires_no_keys(serve_example: ServeExample, fetch: Fetch) -> None:
    """Any JSON passes then."""
    envoy = serve_example(plugin_configuration=b"")
    assert fetch(envoy, method="POST", headers=JSON, body=b"1").status == 200


@pytest.mark.parametrize(
    ("configuration", "problem"),
    [
        (b"{", 'the plugin configuration is not a valid json: "{"'),
        (b'{"requiredKeys": [1]}', "the plugin configuration has no list of requiredKeys"),
    ],
)
def test_a_bad_configuration_is_refused(serve_example: ServeExample, configuration: bytes, problem: str) -> None:
    """Envoy does not start, and its log says why."""
    with pytest.raises(ToolError) as refusal:
        serve_example(plugin_configuration=configuration)
    assert f"error parsing plugin configuration: {problem}" in str(refusal.value)


def test_the_istio_manifest_says_the_same() -> None:
    """The WasmPlugin has the configuration of envoy.yaml, and runs the plugin by its name before authentication."""
    manifest = yaml.safe_load((FOLDER / "wasmplugin.yaml").read_text(encoding="utf-8"))
    (listener, _) = yaml.safe_load((FOLDER / "envoy.yaml").read_text(encoding="utf-8"))["static_resources"]["listeners"]
    wasm = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]["config"]

    assert (manifest["apiVersion"], manifest["kind"]) == ("extensions.istio.io/v1alpha1", "WasmPlugin")
    assert manifest["spec"]["phase"] == "AUTHN"
    assert manifest["spec"]["pluginName"] == "json_validation"
    assert manifest["spec"]["pluginConfig"] == json.loads(wasm["configuration"]["value"])
