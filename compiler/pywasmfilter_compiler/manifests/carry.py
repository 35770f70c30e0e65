"""How pods bring the module along: a patch for the workload that they belong to."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Final

from pywasmfilter_compiler.errors import UsageError

from . import kinds
from .documents import Document
from .request import Carried, Request
from .versions import SINCE, shown

_VOLUME: Final = "pyfilter-wasm"
_PLUGIN: Final = "plugin.wasm"
"""What the module is called in images."""

_FETCHING_IMAGE: Final = "busybox:1.37"
_FETCH: Final = 'wget -O "$1" "$2" && echo "$3  $1" | sha256sum -c'


def carry_documents(request: Request, carried: Carried) -> list[Document]:
    """The patch."""
    if carried.how == "image-volume":
        return [_image_volume(request, carried)]
    folder = str(PurePosixPath(request.file).parent)
    volume = kinds.Volume(name=_VOLUME, empty_dir=kinds.Empty())
    init = _init_container(request, carried, folder)
    if carried.how == "sidecar-annotations":
        return [_patch(request, carried, _annotations(volume, folder), kinds.PodSpec(init_containers=[init]))]
    mount = kinds.Mount(name=_VOLUME, mount_path=folder, read_only=True)
    proxy = kinds.Container(name=carried.container, volume_mounts=[mount])
    return [_patch(request, carried, None, kinds.PodSpec(volumes=[volume], init_containers=[init], containers=[proxy]))]


def _init_container(request: Request, carried: Carried, folder: str) -> kinds.Container:
    """One that copies the module out of its image, or gets it from a server."""
    image = carried.image or ""
    mount = kinds.Mount(name=_VOLUME, mount_path=folder)
    if "://" not in image:
        command = ["cp", f"/{_PLUGIN}", request.file]
        return kinds.Container(name=_VOLUME, image=image, command=command, volume_mounts=[mount])
    command = ["sh", "-c", _FETCH, "sh", request.file, image, request.module.report.sha256]
    return kinds.Container(name=_VOLUME, image=_FETCHING_IMAGE, command=command, volume_mounts=[mount])


def _annotations(volume: kinds.Volume, folder: str) -> dict[str, str]:
    """What Istio's injector reads for the container istio-proxy."""
    mount = kinds.Mount(name=_VOLUME, mount_path=folder, read_only=True)
    return {
        "sidecar.istio.io/userVolume": json.dumps([volume.plain()]),
        "sidecar.istio.io/userVolumeMount": json.dumps([mount.plain()]),
    }


def _image_volume(request: Request, carried: Carried) -> Document:
    path = PurePosixPath(request.file)
    image = carried.image or ""
    if "://" in image:
        raise UsageError(f"--image {image}: a volume is an image in a registry")
    if path.name != _PLUGIN:
        raise UsageError(f"--url {request.url}: in an image the module is called {_PLUGIN}")
    volume = kinds.Volume(name=_VOLUME, image=kinds.ImageVolume(reference=image, pull_policy="IfNotPresent"))
    mount = kinds.Mount(name=_VOLUME, mount_path=str(path.parent), read_only=True)
    proxy = kinds.Container(name=carried.container, volume_mounts=[mount])
    return _patch(request, carried, None, kinds.PodSpec(volumes=[volume], containers=[proxy]))


def _patch(request: Request, carried: Carried, annotations: dict[str, str] | None, spec: kinds.PodSpec) -> Document:
    template = kinds.PodTemplate(
        metadata=kinds.PodMetadata(annotations=annotations) if annotations else None, spec=spec
    )
    made = kinds.WorkloadPatch.model_validate(
        {
            "kind": carried.kind,
            "metadata": kinds.Metadata(name=carried.workload, namespace=request.namespace),
            "spec": kinds.WorkloadSpec(template=template),
        }
    )
    return Document(made.plain(), _NOTES[carried.how], is_patch=True)


_COPY: Final = (
    "The image needs a cp: `FROM busybox`, `COPY plugin.wasm /plugin.wasm`. With an https:// URL it is fetched."
)
_SINCE: Final = shown(SINCE["kubernetes"]["image volumes"])
_NOTES: Final = {
    "init-container": ("A patch for the workload: an init container fills a volume that the proxy reads.", _COPY),
    "image-volume": (
        "A patch for the workload: the files of the image are a volume.",
        f"Kubernetes {_SINCE} has such volumes; since 1.31 they are there behind the feature gate ImageVolume.",
    ),
    "sidecar-annotations": ("A patch for the workload: Istio's injector gives the volume to the sidecar.", _COPY),
}
