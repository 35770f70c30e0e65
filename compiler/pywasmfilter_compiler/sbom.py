"""The bill of materials of a module, in CycloneDX: what is frozen in, with versions, licenses and package URLs.

All of it stands in the module (`provenance`), so a bill can be had of any module at any time, and is always the same.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import contents, provenance
from .errors import MissingDependency, UsageError
from .oci.image import created_time

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

    from .provenance import Provenance

_NAMESPACE: Final = uuid.UUID("c1f0a9b2-64d5-5c0e-9a55-0d9f0f1f4f0a")  # of serial numbers, which follow from the module


def sbom(module: str | os.PathLike[str]) -> str:
    """The bill of materials of a module as CycloneDX 1.6 JSON text.

    The time in it is that of SOURCE_DATE_EPOCH, if that is set, and else the beginning of 1970.

    Raises UsageError if the module cannot be read, or does not say how it was built, MalformedWasm if it is none, and
    MissingDependency without the package `cyclonedx-python-lib`.
    """
    try:
        data = Path(module).read_bytes()
    except OSError as error:
        raise UsageError(f"{module}: {error.strerror or error}") from error
    made = provenance.of_module(data)
    if made is None:
        raise UsageError(f"{module}: does not say how it was built; only modules of pyfilter do")
    try:
        from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415  # few commands need it
    except ImportError:
        raise MissingDependency(
            "a bill of materials takes cyclonedx-python-lib; run: pip install 'pywasmfilter[sbom]'"
        ) from None
    return JsonV1Dot6(_bom(data, made)).output_as_string(indent=2) + "\n"


def _bom(data: bytes, made: Provenance) -> Bom:
    from cyclonedx.model.bom import Bom, BomMetaData  # noqa: PLC0415
    from cyclonedx.model.tool import ToolRepository  # noqa: PLC0415

    digest = hashlib.sha256(data).hexdigest()
    module, parts = _module(data, digest), [_interpreter(made), _sdk(made), *_packages(made)]
    bom = Bom(
        components=parts,
        serial_number=uuid.uuid5(_NAMESPACE, digest),
        metadata=BomMetaData(
            component=module,
            timestamp=created_time() or datetime.fromtimestamp(0, UTC),
            tools=ToolRepository(components=[_tool(made)]),
        ),
    )
    bom.register_dependency(module, parts)
    return bom


def _module(data: bytes, digest: str) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415

    found = contents.of_module(data)
    name = ", ".join(found.plugins) if found and found.plugins else "filter"
    return Component(
        type=ComponentType.APPLICATION,
        name=name,
        bom_ref="module",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
    )


def _interpreter(made: Provenance) -> Component:
    version = made.versions["python"]
    component = _library("cpython", version, "PSF-2.0", kind="generic")
    component.cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
    return component


def _sdk(made: Provenance) -> Component:
    return _library("pywasmfilter", made.versions["pywasmfilter"], "Apache-2.0")


def _tool(made: Provenance) -> Component:
    return _library("componentize-py", made.versions["componentize-py"], "Apache-2.0 WITH LLVM-exception")


def _packages(made: Provenance) -> list[Component]:
    return [_library(item.name, item.version, item.license) for item in made.packages]


def _library(name: str, version: str, expression: str, *, kind: str = "pypi") -> Component:
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.model.license import LicenseExpression  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    licenses = [LicenseExpression(expression)] if expression else []
    if not version:  # a folder that nobody installed, so that there is no package of this name to refer to
        return Component(type=ComponentType.LIBRARY, name=name, bom_ref=f"python:{name}", licenses=licenses)
    url = PackageURL(kind, None, name, version)
    return Component(
        type=ComponentType.LIBRARY, name=name, version=version, purl=url, bom_ref=str(url), licenses=licenses
    )
