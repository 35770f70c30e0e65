"""The commands around manifests: where they write, defaults of a project, checks, and what kubectl is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pywasmfilter_compiler import cli
from pywasmfilter_compiler.manifests import checks, options as manifest_options, versions
from pywasmfilter_compiler.manifests.checks import Room, check_module, parse_place
from pywasmfilter_compiler.manifests.options import Options
from pywasmfilter_compiler.manifests.request import make_request, read_module
from pywasmfilter_compiler.manifests.yaml_text import dump

from tests.manifests.conftest import HELLO, Manifest, Pyfilter

OCI = ("--url", "oci://registry.example.com/edge:1")
CARRY = ("--workload", "deployment/reviews", "--image", "registry.example.com/carrier:1", "--namespace", "shop")

# Configurations and plugins


def test_a_configuration_that_the_filter_refuses_is_not_written(pyfilter: Pyfilter, tmp_path: Path) -> None:
    """The plugin is started with its configuration; what it says is shown, and no file is made."""
    target = tmp_path / "m.yaml"
    for config in ('{"greeting": 3}', "{}", ""):
        result = pyfilter("manifest", "--plugin", "hello", "--config", config, *OCI, "-o", target)
        assert result.exit_code == 1
        assert "hello: bad configuration: greeting" in result.stderr
    assert not target.exists()


def test_a_plugin_that_is_not_there(pyfilter: Pyfilter) -> None:
    """A module with several plugins says their names."""
    result = pyfilter("manifest", *OCI)
    assert result.exit_code == 2
    assert "has the plugins hello, log, raw; say which: --plugin" in result.stderr
    result = pyfilter("manifest", "--plugin", "nobody", *OCI)
    assert result.exit_code == 1
    assert "has no plugin 'nobody'; its plugins are hello, log, raw" in result.stderr


@pytest.mark.parametrize(
    ("callbacks", "kind"),
    [
        (["proxy_on_vm_start", "proxy_on_response_headers", "proxy_on_log"], "http"),
        (["proxy_on_new_connection", "proxy_on_log"], "tcp"),
        (["proxy_on_upstream_data"], "tcp"),
        (["proxy_on_log", "proxy_on_tick"], "access-log"),
        (["proxy_on_tick"], "http"),
    ],
)
def test_the_kind_is_what_the_callbacks_are_for(module: Path, callbacks: list[str], kind: str) -> None:
    """Without --type, the callbacks of the module say what it is."""
    from dataclasses import replace

    facts = read_module(module)
    facts = replace(facts, report=replace(facts.report, callbacks=tuple(callbacks)))
    assert make_request(facts, Options(url="oci://x/y", plugin=["hello"])).plugins[0].kind == kind


def test_a_stale_record_is_refused(module: Path, record: dict[str, Any], refused: Any) -> None:
    """An image that has another module than the one at hand has no hash for it."""
    module.with_suffix(".image.json").write_text(json.dumps({**record, "module_sha256": "00" * 32}))
    assert "has another module" in refused()


def test_a_record_of_an_image_that_was_not_pushed(module: Path, record: dict[str, Any], refused: Any) -> None:
    """An image that is in no registry yet has no URL."""
    module.with_suffix(".image.json").write_text(json.dumps({**record, "reference": None}))
    assert "where will the proxy find the module?" in refused()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"reference": 1}', "\x00", '{"manifest_digest": "sha256:x"}'])
def test_a_record_that_cannot_be_read(module: Path, refused: Any, text: str) -> None:
    """A file that is no record is named: what it would have said is not guessed."""
    module.with_suffix(".image.json").write_text(text)
    assert "this is no file that `pyfilter push` or `pyfilter package` wrote" in refused()


# Files


def test_files(pyfilter: Pyfilter, tmp_path: Path) -> None:
    """--output replaces a file as a whole; --output-dir has a file for each object, which kustomize takes."""
    target = tmp_path / "m.json"
    assert pyfilter("manifest", *HELLO, *OCI, "--json", "-o", target).output == ""
    made = json.loads(target.read_text())
    assert (made["kind"], len(made["items"])) == ("List", 3)
    folder = tmp_path / "k" / "edge"
    written = pyfilter("manifest", *HELLO, *OCI, "--output-dir", folder).stdout.split()
    names = ["wasmplugin-edge.yaml", "serviceentry-edge-auth.yaml", "destinationrule-edge-auth.yaml"]
    assert written == [str(folder / name) for name in [*names, "kustomization.yaml"]]
    assert yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"] == names
    assert kustomize(folder) == [yaml.safe_load((folder / name).read_text()) for name in sorted(names)]


def kustomize(folder: Path) -> list[Any]:
    """What kubectl makes of a folder, in the order of the files' names."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("there is no kubectl to build kustomizations with")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(yaml.safe_load_all(done.stdout), key=lambda made: str(made["kind"]).lower())


def test_the_same_input_gives_the_same_text(pyfilter: Pyfilter) -> None:
    """Output is stable."""
    texts = {pyfilter("manifest", *HELLO, *OCI).stdout for _ in range(2)}
    assert len(texts) == 1


@pytest.mark.parametrize("target", ["x.py", "x.wasm", "nowhere/x.yaml"])
def test_bad_outputs(pyfilter: Pyfilter, tmp_path: Path, target: str) -> None:
    """No filter or module is overwritten, and a folder that is not there is an error in one line."""
    result = pyfilter("manifest", *HELLO, *OCI, "-o", tmp_path / target)
    assert result.exit_code in {1, 2}
    assert result.stderr.startswith("error: ")


# Pods


@pytest.mark.parametrize("how", ["init-container", "image-volume", "sidecar-annotations"])
def test_carry(pyfilter: Pyfilter, tmp_path: Path, how: str) -> None:
    """The folder is a component, which gives the pods of the workload the file that the manifest names."""
    folder = tmp_path / "edge"
    assert pyfilter("manifest", *HELLO, "--carry", how, *CARRY, "--output-dir", folder).exit_code == 0
    (folder.parent / "kustomization.yaml").write_text("resources: [reviews.yaml]\ncomponents: [edge]\n")
    containers = [{"name": "reviews", "image": "reviews:1"}, {"name": "envoy", "image": "envoy:1"}]
    metadata = {"name": "reviews", "namespace": "shop"}
    spec = {"template": {"spec": {"containers": containers}}}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    (folder.parent / "reviews.yaml").write_text(dump(deployment))
    made = {document["kind"]: document for document in kustomize(folder.parent)}
    assert made["WasmPlugin"]["spec"]["url"] == "file:///var/local/wasm/plugin.wasm"
    pod = made["Deployment"]["spec"]["template"]
    if how == "sidecar-annotations":
        annotations = pod["metadata"]["annotations"]
        (mount,) = json.loads(annotations["sidecar.istio.io/userVolumeMount"])
        (volume,) = json.loads(annotations["sidecar.istio.io/userVolume"])
        assert volume == {"name": mount["name"], "emptyDir": {}}
    else:
        (mount,) = next(item for item in pod["spec"]["containers"] if item["name"] == "envoy")["volumeMounts"]
        (volume,) = pod["spec"]["volumes"]
    assert mount["mountPath"] == "/var/local/wasm"
    if how == "image-volume":
        assert volume["image"]["reference"] == "registry.example.com/carrier:1"
    else:
        (init,) = pod["spec"]["initContainers"]
        assert init["command"] == ["cp", "/plugin.wasm", "/var/local/wasm/plugin.wasm"]


def test_an_init_container_fetches_and_checks(pyfilter: Pyfilter, module: Path, tmp_path: Path) -> None:
    """With a URL, the init container's shell gets the file and compares its hash."""
    options = ["--carry", "init-container", "--workload", "Deployment/x", "--image", "http://x/y.wasm"]
    assert pyfilter("manifest", *HELLO, *options, "--output-dir", tmp_path).exit_code == 0
    patch = yaml.safe_load((tmp_path / "deployment-x-patch.yaml").read_text())
    command = patch["spec"]["template"]["spec"]["initContainers"][0]["command"]
    target = tmp_path / "plugin.wasm"
    command[4] = str(target)
    (tmp_path / "wget").write_text(f'#!/bin/sh\n[ "$3" = http://x/y.wasm ] && cp "{module}" "$2"\n')
    (tmp_path / "wget").chmod(0o755)
    path = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run(command, env=path, check=False, capture_output=True).returncode == 0
    command[-1] = "00" * 32
    assert subprocess.run(command, env=path, check=False, capture_output=True).returncode != 0


def test_carry_says_what_does_not_fit(refused: Any, pyfilter: Pyfilter) -> None:
    """A ConfigMap is too small, and a patch is nothing for kubectl apply."""
    assert "a ConfigMap holds 1 MiB at most, and the module has 8" in refused("--carry", "config-map", *CARRY)
    assert "--output-dir" in refused("--carry", "image-volume", *CARRY)
    assert "--workload KIND/NAME" in refused("--carry", "image-volume")
    assert "leave it out" in refused("--carry", "image-volume", *CARRY, *OCI)


# Other gateways


def test_envoy_gateway(manifest: Manifest, refused: Any, record: dict[str, Any]) -> None:
    """An EnvoyExtensionPolicy has images without a scheme, and no more than Envoy Gateway can express."""
    to = ["--target", "envoy-gateway", "--target-ref", "httproute/backend"]
    (policy,) = manifest(*to, "--env", "POD_NAME", "--pull-secret", "s")
    assert policy["spec"]["targetRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "backend"}
    ]
    (wasm,) = policy["spec"]["wasm"]
    image = {"url": record["reference"].removeprefix("oci://"), "sha256": "ab" * 32, "pullSecretRef": {"name": "s"}}
    assert wasm == {
        "name": "edge",
        "rootID": "hello",
        "code": {"type": "Image", "image": image},
        "config": {"greeting": "hi"},
        "failOpen": False,
        "env": {"hostKeys": ["POD_NAME"]},
    }
    (policy,) = manifest(*to, "--url", "https://x.example/y.wasm")
    assert policy["spec"]["wasm"][0]["code"]["type"] == "HTTP"
    assert "HTTP filters only" in refused(*to, *OCI, "--plugin", "raw", "--type", "tcp")
    assert "variables of the proxy only" in refused(*to, *OCI, "--env", "A=1")
    assert "closed and open only" in refused(*to, *OCI, "--fail-strategy", "reload")
    assert "not from files" in refused(*to, "--url", "file:///x.wasm")
    assert "--target-ref" in refused("--target", "envoy-gateway", *OCI)


def test_higress(manifest: Manifest, refused: Any) -> None:
    """A WasmPlugin of Higress has a configuration for all routes, and no selector."""
    (plugin,) = manifest("--target", "higress", *OCI, "--phase", "authn", "--priority", "7", "--env", "A=1")
    assert plugin["apiVersion"] == "extensions.higress.io/v1alpha1"
    assert plugin["metadata"]["namespace"] == "higress-system"
    assert plugin["spec"] == {
        "url": OCI[1],
        "pluginName": "hello",
        "defaultConfig": {"greeting": "hi"},
        "defaultConfigDisable": False,
        "failStrategy": "FAIL_CLOSE",
        "phase": "AUTHN",
        "priority": 7,
        "vmConfig": {"env": [{"name": "A", "value": "1"}]},
    }
    assert "means nothing to --target higress" in refused("--target", "higress", *OCI, "--selector", "a=b")


def test_kuma(manifest: Manifest, refused: Any) -> None:
    """A MeshProxyPatch is for the proxies with some labels, and for traffic of a direction."""
    url = ["--target", "kuma", "--url", "file:///wasm/edge.wasm"]
    (patch,) = manifest(*url, "--selector", "app=edge", "--match", "client-and-server")
    assert patch["spec"]["targetRef"] == {"kind": "Dataplane", "labels": {"app": "edge"}}
    filters = [item["httpFilter"] for item in patch["spec"]["default"]["appendModifications"] if "httpFilter" in item]
    assert [item["match"]["origin"] for item in filters] == ["inbound", "outbound"]
    assert "no ports" in refused(*url, "--match", "server:80")
    assert "pulls no images" in refused("--target", "kuma", *OCI)


# A project's settings

SETTINGS = """
[tool.pyfilter]
name = "edge"

[tool.pyfilter.manifest]
target = "envoyfilter"
url = "oci://registry.example.com/edge:2"
namespace = "shop"
selector = {app = "edge"}
env = {MODE = "on"}
plugin = "hello"
config = "@config.json"
vm_id = "shared"
match = ["server:80"]
"""


def test_settings(pyfilter: Pyfilter, module: Path) -> None:
    """Options have defaults in pyproject.toml, with files beside it; those without a meaning are left out."""
    (module.parent / "pyproject.toml").write_text(SETTINGS)
    (module.parent / "config.json").write_text('{"greeting": "from a file"}')
    (document,) = [made for made in yaml.safe_load_all(pyfilter("manifest").stdout) if made["kind"] == "EnvoyFilter"]
    config = document["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]["config"]
    assert document["metadata"]["namespace"] == "shop"
    assert config["vm_config"]["vm_id"] == "shared"
    assert config["configuration"]["value"] == '{"greeting": "from a file"}'
    given = yaml.safe_load_all(pyfilter("manifest", "--target", "istio", "--config", '{"greeting": "given"}').stdout)
    assert next(iter(given))["spec"]["pluginConfig"] == {"greeting": "given"}
    assert pyfilter("check").exit_code == 0


def test_a_configuration_may_be_a_table(pyfilter: Pyfilter, module: Path) -> None:
    """A table is the JSON of it."""
    text = '[tool.pyfilter.manifest]\nplugin = "hello"\nconfig = {greeting = "x"}\nurl = "oci://x/y"\n'
    (module.parent / "pyproject.toml").write_text(text)
    assert next(yaml.safe_load_all(pyfilter("manifest").stdout))["spec"]["pluginConfig"] == {"greeting": "x"}


def test_bad_settings(pyfilter: Pyfilter, module: Path) -> None:
    """All mistakes of the table are reported, with the file."""
    (module.parent / "pyproject.toml").write_text('[tool.pyfilter.manifest]\ncolour = 1\nport = "x"\nphase = "late"\n')
    result = pyfilter("manifest", *HELLO, *OCI)
    assert result.exit_code == 2
    for place in ("pyproject.toml", "tool.pyfilter.manifest.colour", "manifest.port", "manifest.phase"):
        assert place in result.stderr


def test_every_option_has_a_setting() -> None:
    """The options of the command are the fields of the table, apart from where to write."""
    words = {param.name for param in cli.main.commands["manifest"].params}
    assert words - {"module", "output", "output_dir", "as_json"} == set(Options.model_fields)
    assert set(manifest_options._MEANT_FOR) <= set(Options.model_fields)


# Checks


def test_check(pyfilter: Pyfilter) -> None:
    """A module that works is said to, with the memory that it takes; --json is the same for programs."""
    targets = ["istio-1.28", "istio-1.31", "envoy-1.36", "envoy-1.40", "envoy-gateway", "higress", "kuma"]
    words = [word for target in targets for word in ("--target", target)]
    result = pyfilter("check", *HELLO, *words, "--workers", "3", "--json")
    assert result.exit_code == 0, result.output
    verdicts = json.loads(result.stdout)
    assert [verdict["target"] for verdict in verdicts] == targets
    assert all(verdict["works"] for verdict in verdicts)
    assert {finding["level"] for verdict in verdicts for finding in verdict["findings"]} == {"note"}
    assert "5 VMs with 3 workers" in verdicts[0]["findings"][0]["message"]
    assert "✓ envoy-1.36" in pyfilter("check", *HELLO).stdout


def test_check_of_what_does_not_work(pyfilter: Pyfilter) -> None:
    """What would fail is said, with exit code 1: the configuration, the kind, the version, the memory."""
    for words, expected in (
        (["--plugin", "hello"], "greeting: is missing"),
        (["--plugin", "nobody"], "has no plugin 'nobody'"),
        (["--plugin", "raw", "--type", "tcp", "--target", "envoy-gateway"], "HTTP filters only"),
        ([*HELLO, "--target", "envoy-1.20"], "older than 1.33"),
        ([*HELLO, "--memory-limit", "20"], "of 20 MiB that there are"),
    ):
        result = pyfilter("check", *words)
        assert result.exit_code == 1, result.output
        assert expected in result.output


@pytest.mark.parametrize("target", ["nginx", "istio-", "envoy-gateway-1.2", "istio-x", "1.36", ""])
def test_check_of_targets_that_there_are_not(pyfilter: Pyfilter, target: str) -> None:
    """A target that is none is a request that makes no sense."""
    assert pyfilter("check", *HELLO, "--target", target).exit_code == 2


def wat(text: str, path: Path) -> Path:
    """A module made of its text."""
    import wasmtime

    path.write_bytes(wasmtime.wat2wasm(f"(module {text})"))
    return path


EXPORTS = """
(func (export "proxy_abi_version_0_2_1")) (func (export "malloc") (param i32) (result i32) i32.const 0)
"""


def test_check_of_imports_and_memory(tmp_path: Path) -> None:
    """Functions of WASI that Envoy has since 1.39 are missing before; sizes are compared with what each takes."""
    imported = '(import "wasi_snapshot_preview1" "fd_pread" (func (param i32 i32 i32 i64 i32) (result i32)))'
    module = read_module(wat(f'{imported} (memory (export "memory") 1) {EXPORTS}', tmp_path / "a.wasm"))
    found = {name: judged(module, name) for name in ("envoy-1.38", "envoy-1.39", "istio-1.30", "istio-1.31")}
    missing = ["import wasi_snapshot_preview1.fd_pread is not offered by the host"]
    assert found == {"envoy-1.38": missing, "envoy-1.39": [], "istio-1.30": missing, "istio-1.31": []}
    module = read_module(wat(f'(memory (export "memory") 20000) {EXPORTS}', tmp_path / "b.wasm"))
    assert "20000 pages of memory" in judged(module, "envoy-1.40")[0]
    module = read_module(wat('(memory (export "memory") 1)', tmp_path / "c.wasm"))
    assert any("no ABI version" in problem for problem in judged(module, "envoy-1.40"))


def test_check_of_sizes(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too large for Istio's agent, or for Envoy's client, is an error there."""
    monkeypatch.setattr(checks, "_ENVOY_LIMIT", 1)
    assert "from Envoy Gateway's server" in judged(read_module(module), "envoy-gateway")[0]
    assert judged(read_module(module), "envoy-1.36") == judged(read_module(module), "istio-1.28") == []
    monkeypatch.setattr(checks, "_AGENT_LIMIT", 1)
    assert "Istio's agent takes 1" in judged(read_module(module), "istio-1.28")[0]


def judged(module: Any, place: str) -> list[str]:
    """The errors of a module at a place; no plugin is started."""
    verdict = check_module(module, parse_place(place), (), Room(1), lambda _: None)
    return [finding.message for finding in verdict.findings if finding.level == "error"]


def test_istio_has_an_envoy() -> None:
    """The releases of Istio are those of the Envoy in them."""
    assert [versions.envoy_of_istio((1, minor)) for minor in (25, 28, 31)] == [(1, 33), (1, 36), (1, 39)]


# kubectl

KUBECTL = """#!/bin/sh
echo "$*" >>"{folder}/calls"
case "$*" in
  *current-context) echo minikube ;;
  *apply*) cat >"{folder}/applied"; [ -z "$FAIL" ] || {{ echo refused >&2; exit 3; }} ;;
esac
"""


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a stand-in for kubectl says how it was called, and with what."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "kubectl").write_text(KUBECTL.format(folder=folder))
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_deploy(pyfilter: Pyfilter, kubectl: Path) -> None:
    """kubectl applies what `pyfilter manifest` writes."""
    text = pyfilter("manifest", *HELLO, *OCI).stdout
    assert pyfilter("deploy", *HELLO, *OCI, "--context", "prod").exit_code == 0
    assert (kubectl / "calls").read_text() == "--context prod apply -f -\n"
    assert (kubectl / "applied").read_text() == text


def test_deploy_shows_what_it_would_do(pyfilter: Pyfilter, kubectl: Path) -> None:
    """A dry run says which kubectl and context it is, shows the manifest, and applies nothing."""
    shown = pyfilter("deploy", *HELLO, *OCI, "--dry-run").stdout
    assert f"# kubectl: {kubectl / 'kubectl'}\n# context: minikube\n" in shown
    assert pyfilter("manifest", *HELLO, *OCI).stdout in shown
    assert (kubectl / "calls").read_text() == "config current-context\n"


def test_deploy_patches(pyfilter: Pyfilter, kubectl: Path) -> None:
    """Pods that bring the module along are patched first."""
    assert pyfilter("deploy", *HELLO, "--carry", "sidecar-annotations", *CARRY).exit_code == 0
    patched, applied = (kubectl / "calls").read_text().splitlines()
    assert patched.startswith("patch deployment reviews --namespace shop --type strategic --patch {")
    assert json.loads(patched.partition("--patch ")[2])["kind"] == "Deployment"
    assert applied == "apply -f -"


def test_deploy_fails(pyfilter: Pyfilter, kubectl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kubectl that fails, or is not there, and a target that is none for it, are errors in one line."""
    assert "is no manifest for Kubernetes" in pyfilter("deploy", *HELLO, "--target", "envoy").stderr
    monkeypatch.setenv("FAIL", "1")
    result = pyfilter("deploy", *HELLO, *OCI)
    assert (result.exit_code, result.stderr) == (1, "error: kubectl apply ended with exit code 3\n")
    monkeypatch.setenv("PATH", "")
    result = pyfilter("deploy", *HELLO, *OCI)
    assert result.exit_code == 1
    assert "there is no kubectl on PATH" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--url", "https://[::1"], "this is no URL"),
        (["--url", "oci://:::"], "this is no URL"),
        (["--url", "https://ada:s3cret@r.example.com/a.wasm"], "no place for user names and passwords"),
        ([*OCI, "--upstream", "near=http://h\nx"], "this is no URL of a service"),
        ([*OCI, "--upstream", "near=http://ada:s3cret@h"], "holds no user name and password"),
        ([*OCI, "--env", "A\nB=x"], "--env takes NAME=VALUE"),
        ([*OCI, "--selector", "app=a", "--selector", "app=b"], "app is given twice"),
        (["--carry", "init-container", "--workload", "deployment/x"], "an image with /plugin.wasm and a cp in it"),
        (["--target", "envoyfilter", "--target-ref", "Service/x", *OCI], "an EnvoyFilter would do nothing"),
    ],
)
def test_what_makes_no_sense(refused: Any, record: dict[str, Any], options: list[str], message: str) -> None:
    """It is refused, and a password is not repeated."""
    said = refused(*options)
    assert message in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("selector = {canary = true}", "canary is a text: put it in quotes"),
        ('env = {"A=B" = "x"}', "A=B is no name"),
        ("config = {value = 1979-05-27}", "which has no dates"),
        ("config = {value = nan}", "neither nan nor inf"),
        ("x = " + "[" * 3000, "nested too deeply"),
    ],
)
def test_settings_that_make_no_sense(module: Path, refused: Any, table: str, message: str) -> None:
    """The file is named, and what is wrong in it."""
    (module.parent / "pyproject.toml").write_text(f"[tool.pyfilter.manifest]\n{table}\n")
    said = refused(*OCI)
    assert "pyproject.toml" in said
    assert message in said


def test_a_setting_of_an_inline_filter_is_found_from_its_folder(
    module: Path, pyfilter: Pyfilter, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever the command is given."""
    (module.parent / "pyproject.toml").write_text('[tool.pyfilter.manifest]\ninline = "mine.py"\n')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    said = pyfilter("manifest", *OCI).stderr
    assert str(module.parent / "mine.py") in said.replace("\n", "")
