"""Manifests for Istio: what they say, and that Istio's own definitions accept all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pywasmfilter_compiler.manifests import kinds

from tests.manifests.conftest import Manifest
from tests.manifests.istio_schemas import NotFetched, fetch, models
from tests.manifests.messages import parse, parse_typed

OCI = ("--url", "oci://registry.example.com/edge:1")
FILE = ("--url", "file:///var/local/wasm/plugin.wasm")
HTTPS = ("--url", "https://store.example.com/edge.wasm")
EVERYTHING = (
    *("--name", "edge", "--namespace", "shop", "--selector", "app=reviews", "--selector", "version=1"),
    *("--phase", "authz", "--priority", "-3", "--match", "server:8080", "--match", "gateway"),
    *("--pull-policy", "always", "--pull-secret", "registry", "--env", "MODE=on", "--env", "POD_NAME"),
    *("--fail-strategy", "open"),
)
SEVERAL = ("--plugin", "hello", "--plugin", "raw", "--config", '{"greeting": "hi"}', "--type", "http", "--type", "tcp")

WASM_PLUGINS = [(*OCI, *EVERYTHING), OCI, HTTPS, FILE, (*OCI, *SEVERAL), (*OCI, "--target-ref", "gateway/ingress")]
ENVOY_FILTERS = [
    (*OCI, *SEVERAL, "--match", "client-and-server:6379"),
    HTTPS,
    (*FILE, "--selector", "app=edge", "--priority", "-5", "--match", "server:8080"),
    (*FILE, *SEVERAL, "--match", "server:6379"),
    (*FILE, "--plugin", "log", "--type", "access-log"),
    ("--url", "http://store.infra/edge.wasm", "--plugin", "log", "--type", "access-log", "--target-ref", "Gateway/x"),
    (*OCI, "--allow-on-headers-stop-iteration", "--vm-config", "x", "--vm-id", "mine", "--env", "POD_NAME"),
]
CASES = [
    *(("istio", *options) for options in WASM_PLUGINS),
    *(("traffic-extension", *options) for options in WASM_PLUGINS),
    *(("envoyfilter", *options) for options in ENVOY_FILTERS),
]


RELEASES = ("1.24.2.1", "1.31.0.1")
VERSIONS = ("extensions.istio.io/v1alpha1", "networking.istio.io/v1alpha3", "networking.istio.io/v1")


@pytest.fixture(scope="session")
def schemas(pytestconfig: pytest.Config) -> dict[str, dict[tuple[str, str], Any]]:
    """Istio's own models, by release, and then by version and kind."""
    assert pytestconfig.cache is not None
    try:
        wheels = {release: fetch(release, pytestconfig.cache.mkdir("istio")) for release in RELEASES}
    except NotFetched as error:
        pytest.skip(str(error))
    return {
        release: {(version, kind): model for version in VERSIONS for kind, model in models(wheel, version).items()}
        for release, wheel in wheels.items()
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case)[:80])
def test_istio_accepts_everything(manifest: Manifest, schemas: Any, case: tuple[str, ...]) -> None:
    """All objects fit the custom resource definitions of Istio 1.24 and 1.31, and have no field that is not there."""
    for document in manifest("--target", *case):
        key = document["apiVersion"], document["kind"]
        for release, model in schemas.items():
            if document["kind"] == "TrafficExtension" and release.startswith("1.24"):
                assert key not in model
            else:
                model[key].model_validate(document)


def test_the_definitions_refuse_what_is_wrong(manifest: Manifest, schemas: Any) -> None:
    """They would notice: an unknown field, an enumeration's unknown value, a hash that is none."""
    document = manifest(*OCI)[0]
    for model in schemas.values():
        for fields in ({"vmId": "x"}, {"phase": "LATE"}, {"sha256": "x"}):
            with pytest.raises(ValidationError):
                model[VERSIONS[0], "WasmPlugin"].model_validate({**document, "spec": {**document["spec"], **fields}})


@pytest.mark.parametrize("options", ENVOY_FILTERS, ids=lambda case: " ".join(case)[:80])
def test_patches_are_configuration_of_envoy(manifest: Manifest, options: tuple[str, ...]) -> None:
    """Every value of an EnvoyFilter is a message of Envoy's API, and so are the messages in it."""
    document = manifest("--target", "envoyfilter", *options)[0]
    messages = {
        "HTTP_FILTER": "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        "NETWORK_FILTER": "envoy.config.listener.v3.Filter",
        "EXTENSION_CONFIG": "envoy.config.core.v3.TypedExtensionConfig",
        "CLUSTER": "envoy.config.cluster.v3.Cluster",
    }
    for patch in document["spec"]["configPatches"]:
        value = patch["patch"]["value"]
        parse(value, messages[patch["applyTo"]])
        parse_typed(value)


def test_wasm_plugin(manifest: Manifest, record: dict[str, Any]) -> None:
    """Every option is where Istio looks for it; the hash of an image is that of its manifest."""
    plugin, *services = manifest(*EVERYTHING)
    spec = plugin["spec"]
    assert plugin["metadata"] == {"name": "edge", "namespace": "shop"}
    environment = spec.pop("vmConfig")["env"]
    assert spec == {
        "url": "oci://registry.example.com/team/edge:1.2.0",
        "sha256": "ab" * 32,
        "imagePullPolicy": "Always",
        "imagePullSecret": "registry",
        "pluginName": "hello",
        "pluginConfig": {"greeting": "hi"},
        "failStrategy": "FAIL_OPEN",
        "type": "HTTP",
        "selector": {"matchLabels": {"app": "reviews", "version": "1"}},
        "phase": "AUTHZ",
        "priority": -3,
        "match": [{"mode": "SERVER", "ports": [{"number": 8080}]}, {"mode": "CLIENT"}],
    }
    assert environment[2:] == [{"name": "MODE", "value": "on"}, {"name": "POD_NAME", "valueFrom": "HOST"}]
    assert [service["kind"] for service in services] == ["ServiceEntry", "DestinationRule"]


def test_traffic_extension(manifest: Manifest) -> None:
    """The module's fields are below `wasm`; the phase is not called as in a WasmPlugin."""
    spec = manifest("--target", "traffic-extension", *OCI, *EVERYTHING)[0]["spec"]
    assert {"url", "pluginName", "failStrategy", "vmConfig", "imagePullSecret"} < spec["wasm"].keys()
    assert spec.keys() == {"selector", "match", "phase", "priority", "wasm"}


def test_hashes(manifest: Manifest, module: Path, record: dict[str, Any]) -> None:
    """Of an image it is the manifest's hash, of a file on a server the module's, of a file that is there none."""
    of_module = hashlib.sha256(module.read_bytes()).hexdigest()
    pinned = f"oci://other.example.com/edge@sha256:{'cd' * 32}"
    hashes = {url: manifest("--url", url)[0]["spec"].get("sha256") for url in (HTTPS[1], FILE[1], OCI[1], pinned)}
    assert hashes == {HTTPS[1]: of_module, FILE[1]: None, OCI[1]: None, pinned: "cd" * 32}
    assert manifest("--url", record["reference"])[0]["spec"]["sha256"] == "ab" * 32


def test_upstreams(manifest: Manifest) -> None:
    """A service outside gets a cluster of its own; one inside has one; a variable decides for both."""
    plugin, entry, rule = manifest(*OCI)
    variables = {item["name"]: item["value"] for item in plugin["spec"]["vmConfig"]["env"]}
    assert variables == {
        "PYFILTER_UPSTREAM_AUTH": "outbound|443|pyfilter|auth.example.com",
        "PYFILTER_UPSTREAM_NEAR": "outbound|8080||ratings.shop.svc.cluster.local",
    }
    assert entry["spec"]["hosts"] == ["auth.example.com"]
    assert rule["spec"]["host"] == "auth.example.com"
    assert rule["spec"]["subsets"][0]["name"] == "pyfilter"
    assert len(manifest(*OCI, "--env", "PYFILTER_UPSTREAM_AUTH=mine")) == 1
    plugin, entry = manifest(*OCI, "--upstream", "auth=http://10.1.2.3:80")
    assert entry["spec"]["endpoints"] == [{"address": "10.1.2.3"}]
    assert plugin["spec"]["vmConfig"]["env"][0]["value"] == "outbound|80||auth.upstream.internal"


def test_several_plugins(manifest: Manifest) -> None:
    """Each has an object of its own; priorities keep their order."""
    http, tcp, *_ = manifest(*OCI, *SEVERAL, "--priority", "5")
    assert [made["metadata"]["name"] for made in (http, tcp)] == ["edge-hello", "edge-raw"]
    assert [made["spec"]["priority"] for made in (http, tcp)] == [6, 5]
    assert [made["spec"]["type"] for made in (http, tcp)] == ["HTTP", "NETWORK"]


def test_ecds_pair(manifest: Manifest) -> None:
    """What the agent fetches is an extension's configuration; a filter for each context asks for it by name."""
    document = manifest("--target", "envoyfilter", *OCI, "--namespace", "shop", "--match", "client-and-server:80")[0]
    extension, *filters = document["spec"]["configPatches"]
    name = extension["patch"]["value"]["name"]
    assert name == "pyfilter.shop.edge"
    assert [patch["patch"]["value"]["name"] for patch in filters] == [name, name]
    assert [patch["match"]["context"] for patch in filters] == ["SIDECAR_OUTBOUND", "SIDECAR_INBOUND"]
    remote = extension["patch"]["value"]["typed_config"]["config"]["vm_config"]["code"]["remote"]
    assert remote == {"http_uri": {"uri": OCI[1], "cluster": "_", "timeout": "60s"}, "sha256": "nil"}


def test_local_envoy_filter(manifest: Manifest) -> None:
    """A file is named in the filter itself."""
    document = manifest("--target", "envoyfilter", *FILE)[0]
    (patch,) = document["spec"]["configPatches"]
    config = patch["patch"]["value"]["typed_config"]["config"]
    assert config["vm_config"]["code"] == {"local": {"filename": "/var/local/wasm/plugin.wasm"}}
    assert (config["root_id"], config["failure_policy"]) == ("hello", "FAIL_CLOSED")


def test_versions(manifest: Manifest, refused: Any) -> None:
    """What is newer than the Istio that there is is refused, and fine in the one that has it."""
    for field, options, old, new in (
        ("TrafficExtension", ["--target", "traffic-extension"], "1.29", "1.30"),
        ("FAIL_RELOAD", ["--fail-strategy", "reload"], "1.26", "1.27"),
        (
            "allow_on_headers_stop_iteration",
            ["--target", "envoyfilter", "--allow-on-headers-stop-iteration"],
            "1.27",
            "1.28",
        ),
    ):
        assert f"{field} exists since Istio {new}" in refused(*OCI, *options, "--istio", old)
        assert manifest(*OCI, *options, "--istio", new)


def test_what_istio_cannot_express(refused: Any) -> None:
    """An option that has no place in the kind is an error that says where it has one."""
    assert "is for envoyfilter, envoy, envoy-filter, kuma" in refused(*OCI, "--vm-id", "x")
    assert "--target envoyfilter" in refused(*OCI, "--plugin", "log", "--type", "access-log")
    assert "exclude each other" in refused(*OCI, "--selector", "a=b", "--target-ref", "Gateway/x")
    assert "pulls no images" in refused(
        "--target", "envoyfilter", *OCI, "--plugin", "log", "--type", "access-log", "--match", "server"
    )
    assert "each name once" in refused(*OCI, "--env", "A=1", "--env", "A=2")
    assert "JSON object" in refused(*OCI, "--plugin", "log", "--config", "[]", "--type", "http")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--url", "ftp://x/y"),
        ("--url", "file://relative"),
        ("--selector", "app=*"),
        ("--selector", "app"),
        ("--selector", f"app={'x' * 64}"),
        ("--target-ref", "Gateway"),
        ("--match", "server:0"),
        ("--match", "server:70000"),
        ("--match", "both"),
        ("--priority", str(2**31)),
        ("--pull-secret", "x" * 254),
        ("--env", f"A={'x' * 2049}"),
        ("--env", "=x"),
        ("--namespace", "Shop"),
        ("--istio", "new"),
        ("--istio", "1.20"),
        ("--upstream", "nobody=http://x"),
        ("--upstream", "auth=ftp://x"),
        ("--name", "!"),
        ("--env", "A=\udcff"),
        ("--upstream", "auth=http://service"),  # of which namespace?
    ],
)
def test_bad_options(refused: Any, option: str, value: str) -> None:
    """An option that Istio would refuse is refused here, with one line and no traceback."""
    assert refused(*OCI, option, value).startswith(("error: ", "Usage: "))


def test_models_forbid_what_they_do_not_know() -> None:
    """An unknown field is an error in every model, and fields have the names of Kubernetes."""
    spec = {"url": "oci://x/y", "pluginName": "x", "failStrategy": "FAIL_CLOSE", "type": "HTTP"}
    assert kinds.WasmPluginSpec.model_validate(spec).plain() == spec
    with pytest.raises(ValidationError, match="Extra inputs"):
        kinds.WasmPluginSpec.model_validate({**spec, "vmId": "x"})
    for model in vars(kinds).values():
        if isinstance(model, type) and issubclass(model, kinds.Model):
            assert model.model_config["extra"] == "forbid"
