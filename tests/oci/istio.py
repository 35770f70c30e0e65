"""What Istio's agent does to get a module out of an image, restated: which manifests, layers and files it takes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"

Fetch = Callable[[str], bytes]
"""Gives the blob with a digest."""


class Refused(Exception):
    """No variant fits."""


def extract(manifest: bytes, fetch: Fetch) -> bytes:
    """The module in an image. Raises Refused, with why each variant does not fit."""
    read: dict[str, Any] = json.loads(manifest)
    layers = read["layers"]
    if "manifests" in read:
        raise Refused("an index")
    if read.get("mediaType") == DOCKER_MANIFEST:
        return _of_tar(layers[-1], DOCKER_LAYER, fetch)
    try:
        return _of_tar(layers[-1], OCI_LAYER, fetch)
    except Refused as compat:
        try:
            return _of_artifact(layers, fetch)
        except Refused as artifact:
            raise Refused(f"compat: {compat}; artifact: {artifact}") from artifact


def _of_tar(layer: Mapping[str, Any], media_type: str, fetch: Fetch) -> bytes:
    if layer["mediaType"] != media_type:
        raise Refused(f"media type {layer['mediaType']}")
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(_blob(layer, fetch)))) as archive:
        for entry in archive:
            if entry.name.rpartition("/")[2] == "plugin.wasm":
                found = archive.extractfile(entry)
                assert found is not None
                return _wasm(found.read())
    raise Refused("no plugin.wasm")


def _of_artifact(layers: list[Mapping[str, Any]], fetch: Fetch) -> bytes:
    if len(layers) != 2:
        raise Refused(f"{len(layers)} layers")
    for layer in layers:
        if layer["mediaType"] == WASM_LAYER:
            return _wasm(_blob(layer, fetch))
    raise Refused("no layer with the module")


def _blob(layer: Mapping[str, Any], fetch: Fetch) -> bytes:
    data = fetch(layer["digest"])
    assert f"sha256:{hashlib.sha256(data).hexdigest()}" == layer["digest"]
    assert len(data) == layer["size"]
    return data


def _wasm(data: bytes) -> bytes:
    if len(data) < 8 or data[:4] != b"\0asm":
        raise Refused("no module")
    return data
