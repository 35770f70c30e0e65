"""The bytes of images: what each format has in it, and that the same module gives the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime
from typing import Any

import pytest
from pywasmfilter_compiler import UsageError
from pywasmfilter_compiler.oci.image import FORMATS, Format, Image, Subject, created_time, make_image

from tests.oci import istio

MODULE = b"\0asm\1\0\0\0" + bytes(range(256)) * 40
LABELS = {"org.opencontainers.image.title": "gate", "org.opencontainers.image.licenses": "MIT"}
SUBJECT = Subject(MODULE, ("gate", "other"), "0.2.1", LABELS)


def made(of: Format, subject: Subject = SUBJECT) -> tuple[Image, dict[str, Any], dict[str, Any]]:
    """An image, its manifest and its config."""
    image = make_image(subject, of)
    return image, json.loads(image.manifest.data), json.loads(image.config.data)


@pytest.mark.parametrize("of", FORMATS)
def test_the_manifest_names_what_there_is(of: Format) -> None:
    """Digests and sizes are those of the blobs, and the manifest is one and no index."""
    image, manifest, _ = made(of)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == image.manifest.media_type
    named = [*manifest["layers"], manifest["config"]]
    assert [(item["digest"], item["size"], item["mediaType"]) for item in named] == [
        (f"sha256:{hashlib.sha256(blob.data).hexdigest()}", len(blob.data), blob.media_type) for blob in image.blobs
    ]


@pytest.mark.parametrize(
    ("of", "digest"),
    [
        ("artifact", "sha256:e3804dfab8f910bbfa0547b9f40b5b3b006c0ea27ff23effd0721c4d8cb1f7d9"),
        ("cncf", "sha256:7d3ac5154fa9ca9bc17da714810ad3bc6184b3e0a4f4d3b47ffe149440db3bcb"),
    ],
)
def test_the_digest_is_a_function_of_the_module(of: Format, digest: str) -> None:
    """The digest is this one, today and on every machine: nothing of the time or the place is in an image.

    That of the others depends on the version of zlib, too.
    """
    assert make_image(SUBJECT, of).manifest.digest == digest


@pytest.mark.parametrize("of", FORMATS)
def test_another_module_is_another_image(of: Format) -> None:
    """One byte more, or another label, and the digest is another; the same again, and it is the same."""
    digests = {
        make_image(subject, of).manifest.digest
        for subject in (SUBJECT, SUBJECT, Subject(MODULE + b"\0", SUBJECT.plugins, "0.2.1", LABELS))
    }
    assert len(digests) == 2


@pytest.mark.parametrize("of", ["compat", "docker"])
def test_the_layer(of: Format) -> None:
    """One file, without times and owners; gzip's header has no time, name or system in it."""
    image, _, config = made(of)
    (layer,) = image.layers
    assert layer.data[:10] == bytes.fromhex("1f8b080000000000 02ff")
    archive = gzip.decompress(layer.data)
    assert config["rootfs"] == {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(archive).hexdigest()}"]}
    assert archive[257:263] == b"ustar\0"
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        (entry,) = opened.getmembers()
        assert (entry.name, entry.mode, entry.mtime, entry.size) == ("plugin.wasm", 0o644, 0, len(MODULE))
        assert (entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, "", "")
        assert opened.extractfile(entry).read() == MODULE  # type: ignore[union-attr]


@pytest.mark.parametrize("of", ["compat", "docker"])
def test_the_config(of: Format) -> None:
    """Container runtimes look at system and architecture; labels are what is said of the image."""
    _, _, config = made(of)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert config["config"]["Labels"] == LABELS


def test_compat_says_that_it_is() -> None:
    """The annotation of the variant, beside those that are given; Docker's manifests have none."""
    assert made("compat")[1]["annotations"] == {**LABELS, "module.wasm.image/variant": "compat"}
    assert "annotations" not in made("docker")[1]


def test_artifact_has_the_roots() -> None:
    """The first of the two layers says which plugins there are, the second is the module."""
    image, manifest, _ = made("artifact")
    said = {"type": "envoy_proxy", "abiVersions": ["0.2.1"], "config": {"root_ids": ["gate", "other"]}}
    assert json.loads(image.layers[0].data) == said
    assert image.layers[1].data == MODULE
    assert manifest["annotations"] == LABELS


def test_cncf() -> None:
    """One layer of the type that Wasm runtimes know, and a config that names it."""
    image, manifest, config = made("cncf")
    assert [layer["mediaType"] for layer in manifest["layers"]] == ["application/wasm"]
    assert manifest["config"]["mediaType"] == "application/vnd.wasm.config.v0+json"
    assert (config["architecture"], config["layerDigests"]) == ("wasm", [image.layers[0].digest])


@pytest.mark.parametrize("of", ["compat", "docker", "artifact"])
def test_istio_takes_it(of: Format) -> None:
    """Istio's agent gets the module out of it."""
    image = make_image(SUBJECT, of)
    assert istio.extract(image.manifest.data, {blob.digest: blob.data for blob in image.blobs}.__getitem__) == MODULE


def test_istio_refuses_cncf() -> None:
    """No variant that the agent knows is this."""
    image = make_image(SUBJECT, "cncf")
    with pytest.raises(istio.Refused, match="compat: media type application/wasm; artifact: 1 layers"):
        istio.extract(image.manifest.data, {blob.digest: blob.data for blob in image.blobs}.__getitem__)


def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """SOURCE_DATE_EPOCH is the time of the image; none is long ago, and nonsense is an error."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert created_time() is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert created_time() == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert made("compat", Subject(MODULE, created=datetime(2023, 11, 14, tzinfo=UTC)))[2]["created"].startswith("2023")
    for text in ("yesterday", "1e30", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
        with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
            created_time()


def test_formats() -> None:
    """Another format is an error that names those there are."""
    with pytest.raises(UsageError, match="compat, docker, artifact, cncf, not 'zip'"):
        make_image(SUBJECT, "zip")  # type: ignore[arg-type]
