"""Pushing to a real registry, and reading back what is there: with skopeo, and as Istio's agent does."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pywasmfilter_compiler.errors import RegistryError, UsageError
from pywasmfilter_compiler.oci import FORMATS, Description, Format, package, push, read_record

from tests.oci import istio
from tests.oci.registries import PASSWORD, USER, Authority, docker_registry, require


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry without TLS that takes everything from everybody."""
    with docker_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who vouches for 127.0.0.1."""
    return Authority.make(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[str]:
    """A registry with TLS and one user."""
    with docker_registry(tmp_path_factory.mktemp("registry"), login=True, tls=authority) as address:
        yield address


def get(url: str, accept: str = "*/*", authority: Authority | None = None, login: str = "") -> bytes:
    """What a registry has."""
    headers = {"Accept": accept}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    context = ssl.create_default_context(cafile=authority.certificate) if authority else None
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30, context=context) as response:
        return bytes(response.read())


ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"


def skopeo(*arguments: str) -> bytes:
    """What skopeo prints."""
    require("skopeo")
    done = subprocess.run(["skopeo", *arguments], check=False, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("of", FORMATS)
def test_what_is_pushed_is_there(plain: str, module: Path, tmp_path: Path, of: Format) -> None:
    """The manifest's digest is the one that is told, and skopeo copies the image."""
    record = push(module, f"oci://{plain}/team/gate:{of}", Description(of), insecure=True)
    manifest = get(f"http://{plain}/v2/team/gate/manifests/{of}", ACCEPT)
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == record.manifest_digest
    skopeo(
        "copy", "--insecure-policy", "--src-tls-verify=false", f"docker://{plain}/team/gate:{of}", f"dir:{tmp_path}/d"
    )
    assert (tmp_path / "d" / "manifest.json").read_bytes() == manifest
    layer = json.loads(manifest)["layers"][-1]
    assert (tmp_path / "d" / layer["digest"].removeprefix("sha256:")).stat().st_size == record.layer_size


@pytest.mark.parametrize("of", ["compat", "docker"])
def test_skopeo_inspects_it(plain: str, module: Path, of: Format) -> None:
    """For container tools it is an image of linux/amd64, with labels that say what it is."""
    labels = {
        "org.opencontainers.image.source": "https://example.com/gate",
        "org.opencontainers.image.title": "The gate",
    }
    record = push(module, f"{plain}/inspected:{of}", Description(of, labels=labels), insecure=True)
    said = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{plain}/inspected:{of}"))
    assert (said["Digest"], said["Os"], said["Architecture"]) == (record.manifest_digest, "linux", "amd64")
    assert said["Labels"] == {**labels, "pywasmfilter.abi": "0.2.1"}


@pytest.mark.parametrize("of", FORMATS)
def test_istio_gets_the_module(plain: str, module: Path, of: Format) -> None:
    """Its agent takes what is pushed in each format but cncf."""
    push(module, f"{plain}/istio:{of}", Description(of), insecure=True)
    manifest = get(f"http://{plain}/v2/istio/manifests/{of}", ACCEPT)

    def fetch(digest: str) -> bytes:
        return get(f"http://{plain}/v2/istio/blobs/{digest}")

    if of == "cncf":
        with pytest.raises(istio.Refused):
            istio.extract(manifest, fetch)
    else:
        assert istio.extract(manifest, fetch) == module.read_bytes()


def test_again(plain: str, module: Path) -> None:
    """The same again is fine, under the same tag and another, and another module takes a tag over."""
    first = push(module, f"{plain}/again:1", insecure=True)
    assert push(module, f"{plain}/again:1", insecure=True) == first
    assert push(module, f"{plain}/again:2", insecure=True).manifest_digest == first.manifest_digest
    module.write_bytes(module.read_bytes() + b"\0\x03\x01ab")
    second = push(module, f"{plain}/again:1", insecure=True)
    assert second.manifest_digest != first.manifest_digest
    manifest = get(f"http://{plain}/v2/again/manifests/1", ACCEPT)
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == second.manifest_digest


def test_the_record(plain: str, module: Path) -> None:
    """Beside the module stands what was pushed, and where."""
    record = push(module, f"{plain}/record:1", insecure=True)
    assert read_record(module.parent / "gate.image.json") == record
    assert record.reference == f"oci://{plain}/record:1"
    assert record.module_sha256 == hashlib.sha256(module.read_bytes()).hexdigest()
    assert (record.module_size, record.format, record.plugins) == (module.stat().st_size, "compat", ())


def test_plain_http_is_asked_for(plain: str, module: Path) -> None:
    """Without --insecure nothing is sent to a registry without TLS, here neither."""
    with pytest.raises(RegistryError, match=r"speaks plain HTTP and not TLS: use --insecure"):
        push(module, f"{plain}/a:1")


# Credentials


def test_a_user_with_a_password(guarded: str, authority: Authority, module: Path) -> None:
    """What the user is allowed to do is done, over TLS that the given authority vouches for."""
    reference = f"{guarded}/team/gate:1"
    record = push(module, reference, username=USER, password=PASSWORD, ca=authority.certificate)
    url = f"https://{guarded}/v2/team/gate/manifests/1"
    manifest = get(url, ACCEPT, authority, f"{USER}:{PASSWORD}")
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == record.manifest_digest


def test_docker_configuration(guarded: str, authority: Authority, module: Path, nobody: Path) -> None:
    """Credentials come from the file in the folder that DOCKER_CONFIG names."""
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (nobody / "config.json").write_text(json.dumps({"auths": {guarded: {"auth": auth}}}), encoding="utf-8")
    push(module, f"{guarded}/a:1", ca=authority.certificate)


def test_a_credential_helper(
    guarded: str, authority: Authority, module: Path, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or from the program that the file names."""
    program = nobody / "docker-credential-test"
    answer = json.dumps({"Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\ntest $1 = get && test $(cat) = {guarded} && echo '{answer}'\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(nobody), prepend=":")
    (nobody / "config.json").write_text(json.dumps({"credHelpers": {guarded: "test"}}), encoding="utf-8")
    push(module, f"{guarded}/a:1", ca=authority.certificate)
    (nobody / "config.json").write_text(json.dumps({"credsStore": "test", "auths": {guarded: {}}}), encoding="utf-8")
    push(module, f"{guarded}/a:2", ca=authority.certificate)


def test_netrc_is_not_asked(
    guarded: str, authority: Authority, module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials for other programs are not given away."""
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(RegistryError, match="wants to know who pushes"):
        push(module, f"{guarded}/a:1", ca=authority.certificate)


def test_no_credentials(guarded: str, authority: Authority, module: Path) -> None:
    """Without any the message says how to give them; nothing is written."""
    with pytest.raises(RegistryError, match=f"log in with `docker login {guarded}`, or give --username") as error:
        push(module, f"{guarded}/a:1", ca=authority.certificate)
    assert error.value.status == 401
    assert not (module.parent / "gate.image.json").exists()


def test_wrong_password(guarded: str, authority: Authority, module: Path) -> None:
    """A wrong one is refused, and not shown."""
    with pytest.raises(RegistryError, match="refuses the credentials of user ada") as error:
        push(module, f"{guarded}/a:1", username=USER, password="not-this", ca=authority.certificate)
    assert "not-this" not in str(error.value)


# TLS


def test_a_certificate_that_nobody_vouches_for(guarded: str, module: Path) -> None:
    """It is refused, with what to do; --insecure takes it."""
    with pytest.raises(
        RegistryError, match="nobody vouches for: name its authority's with --ca, or trust any with --ins"
    ):
        push(module, f"{guarded}/a:1", username=USER, password=PASSWORD)
    push(module, f"{guarded}/a:1", username=USER, password=PASSWORD, insecure=True)


def test_files_that_are_no_certificates(guarded: str, authority: Authority, module: Path, tmp_path: Path) -> None:
    """Such a file is an error before anything is sent, and so is one together with --insecure."""
    for file in (module, tmp_path / "missing.pem", tmp_path):
        with pytest.raises(UsageError, match="no file of certificates in PEM"):
            push(module, f"{guarded}/a:1", ca=file)
    with pytest.raises(UsageError, match="--ca says which certificates to trust, and --insecure to trust any"):
        push(module, f"{guarded}/a:1", ca=authority.certificate, insecure=True)


# Layouts


def test_a_layout_and_a_push_are_the_same_image(plain: str, module: Path, tmp_path: Path) -> None:
    """What skopeo copies from a layout has the digest of what is pushed."""
    packaged = package(module, tmp_path / "layout", tag="1")
    skopeo(
        "copy", "--insecure-policy", "--dest-tls-verify=false", f"oci:{tmp_path}/layout:1", f"docker://{plain}/copy:1"
    )
    assert push(module, f"{plain}/copy:2", insecure=True).manifest_digest == packaged.manifest_digest
    said = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{plain}/copy:1"))
    assert said["Digest"] == packaged.manifest_digest
