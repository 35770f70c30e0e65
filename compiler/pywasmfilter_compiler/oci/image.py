"""An image's bytes: a module as layers, its config, and the manifest that names them by their digests.

    compat     OCI image    a tar with `plugin.wasm`, compressed
    docker     the same with Docker's media types, for old registries
    artifact   two layers   `runtime-config.json`, and the module as it is
    cncf       one layer    the module as it is; for Wasm runtimes, no proxy takes it

There is one manifest and never an index. The same module, labels and time give the same bytes: the tar has no times and
owners, and the header of gzip is written here. What zlib compresses to is the same for one version of zlib.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, get_args

from pywasmfilter_compiler.errors import UsageError

Format: TypeAlias = Literal["compat", "docker", "artifact", "cncf"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
CONTENT_LAYER: Final = "application/vnd.module.wasm.content.layer.v1+wasm"
_CONFIG_LAYER: Final = "application/vnd.module.wasm.config.v1+json"
_TITLE: Final = "org.opencontainers.image.title"
_CREATED: Final = "org.opencontainers.image.created"
_VARIANT: Final = {"module.wasm.image/variant": "compat"}
_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Blob:
    """Some bytes, and what they are."""

    media_type: str
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """`sha256:` and 64 hexadecimal digits."""
        return f"sha256:{hashlib.sha256(self.data).hexdigest()}"

    def descriptor(self) -> dict[str, Any]:
        """How a manifest or an index names it."""
        named = {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}
        return {**named, "annotations": dict(self.annotations)} if self.annotations else named


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its manifest, and what that names."""

    format: Format
    manifest: Blob
    config: Blob
    layers: tuple[Blob, ...]

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """What has to be there before the manifest."""
        return (*self.layers, self.config)


@dataclass(frozen=True, slots=True)
class Subject:
    """What to put into an image: a module, its plugins' names and its version of the ABI, labels, and a time."""

    module: bytes
    plugins: tuple[str, ...] = ()
    abi: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime = _LONG_AGO


def created_time() -> datetime | None:
    """The time that SOURCE_DATE_EPOCH says, if it does. Raises UsageError if that is no number of seconds."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"SOURCE_DATE_EPOCH is a number of seconds, not {text!r}") from error


def make_image(subject: Subject, format: Format) -> Image:  # noqa: A002  # the word that users know
    """The image of a module in one of the formats. Raises UsageError for another one."""
    if format not in FORMATS:
        raise UsageError(f"the format of an image is one of {', '.join(FORMATS)}, not {format!r}")
    return _MAKERS[format](subject)


def _compat(subject: Subject) -> Image:
    archive = _archive(subject.module)
    layer = Blob("application/vnd.oci.image.layer.v1.tar+gzip", _gzip(archive))
    config = Blob("application/vnd.oci.image.config.v1+json", _container_config(subject, archive))
    return _image("compat", OCI_MANIFEST, config, (layer,), annotations={**subject.labels, **_VARIANT})


def _docker(subject: Subject) -> Image:
    archive = _archive(subject.module)
    layer = Blob("application/vnd.docker.image.rootfs.diff.tar.gzip", _gzip(archive))
    config = Blob("application/vnd.docker.container.image.v1+json", _container_config(subject, archive))
    return _image("docker", DOCKER_MANIFEST, config, (layer,))


def _artifact(subject: Subject) -> Image:
    said = {"type": "envoy_proxy", "abiVersions": [subject.abi], "config": {"root_ids": list(subject.plugins)}}
    layers = (
        Blob(_CONFIG_LAYER, _json(said), {_TITLE: "runtime-config.json"}),
        Blob(CONTENT_LAYER, subject.module, {_TITLE: "filter.wasm"}),
    )
    config = Blob("application/vnd.oci.empty.v1+json", b"{}")  # wants a type of the artifact to be named
    return _image("artifact", OCI_MANIFEST, config, layers, artifactType=CONTENT_LAYER, annotations=subject.labels)


def _cncf(subject: Subject) -> Image:
    layer = Blob("application/wasm", subject.module)
    said = {
        "created": _time(subject.created),
        "architecture": "wasm",
        "os": "wasip1",
        "layerDigests": [layer.digest],
    }
    config = Blob("application/vnd.wasm.config.v0+json", _json(said))
    return _image("cncf", OCI_MANIFEST, config, (layer,), annotations=subject.labels)


_MAKERS: Final = {"compat": _compat, "docker": _docker, "artifact": _artifact, "cncf": _cncf}


def _image(of: Format, media_type: str, config: Blob, layers: tuple[Blob, ...], **more: Any) -> Image:
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
        **{key: dict(value) if isinstance(value, Mapping) else value for key, value in more.items() if value},
    }
    return Image(of, Blob(media_type, _json(manifest)), config, layers)


def _container_config(subject: Subject, archive: bytes) -> bytes:
    """What makes it an image that container runtimes can mount; they look at system and architecture."""
    time = _time(subject.created)
    return _json(
        {
            "created": time,
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": dict(subject.labels)} if subject.labels else {},
            "rootfs": {"type": "layers", "diff_ids": [Blob("", archive).digest]},
            "history": [{"created": time, "created_by": "pyfilter"}],
        }
    )


def label_of_time(created: datetime) -> dict[str, str]:
    """The label that says when."""
    return {_CREATED: _time(created)}


def _time(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()


def _archive(module: bytes) -> bytes:
    entry = tarfile.TarInfo("plugin.wasm")
    entry.size, entry.mode, entry.mtime = len(module), 0o644, 0
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(module))
    return target.getvalue()


def _gzip(data: bytes) -> bytes:
    """With neither name nor time nor system in its header."""
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    header = b"\x1f\x8b\x08" + bytes(5) + b"\x02\xff"
    size_and_sum = struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"".join([header, compressor.compress(data), compressor.flush(), size_and_sum])
