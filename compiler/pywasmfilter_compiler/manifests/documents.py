"""What is written: objects with comments, as YAML, as JSON, or as files with a kustomization."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pywasmfilter_compiler import files as whole_files
from pywasmfilter_compiler.errors import CompilerError, UsageError

from .kinds import ConfigMapGenerator, Kustomization, PatchFile, PatchTarget
from .yaml_text import dump

_WIDTH = 116


@dataclass(frozen=True, slots=True)
class Document:
    """An object as plain data, and what a reader should know of it, a paragraph each.

    A patch is for an object that is there already.
    """

    content: dict[str, Any]
    notes: tuple[str, ...] = ()
    is_patch: bool = False

    @property
    def kind(self) -> str:
        """The kind of a Kubernetes object; empty for configuration of Envoy."""
        return str(self.content.get("kind", ""))

    @property
    def name(self) -> str:
        """The name of a Kubernetes object."""
        return str(self.content["metadata"]["name"])

    @property
    def file_name(self) -> str:
        """The name of the object's file."""
        words = [self.kind, self.name] if self.kind else ["envoy", str(self.content.get("name", ""))]
        name = re.sub("[^a-z0-9.-]", "-", "-".join(filter(None, words)).lower())
        return f"{name}-patch.yaml" if self.is_patch else f"{name}.yaml"

    def yaml(self) -> str:
        """The object below its notes."""
        lines = [line for note in self.notes for line in textwrap.wrap(note, _WIDTH, break_on_hyphens=False)]
        return "".join(f"# {line}\n" for line in lines) + dump(self.content)


def as_yaml(documents: Sequence[Document]) -> str:
    """A stream of documents."""
    return "---\n".join(document.yaml() for document in documents)


def as_json(documents: Sequence[Document]) -> str:
    """An object, or a list of them, which for Kubernetes is a List; without notes."""
    contents = [document.content for document in documents]
    value: Any = contents
    if len(contents) == 1:
        (value,) = contents
    elif documents[0].kind:
        value = {"apiVersion": "v1", "kind": "List", "items": contents}
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_folder(documents: Sequence[Document], folder: Path) -> list[Path]:
    """Write each object to a file of its own, and a kustomization with all of them; gives the files."""
    files = {document.file_name: document.yaml() for document in documents}
    if any(document.kind for document in documents):
        files["kustomization.yaml"] = _kustomization(documents)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CompilerError(f"{folder}: cannot be made: {error.strerror or error}") from error
    for name, text in files.items():
        write(folder / name, text)
    return [folder / name for name in files]


def _kustomization(documents: Sequence[Document]) -> str:
    patches = [
        PatchFile(path=document.file_name, target=PatchTarget(kind=document.kind, name=document.name))
        for document in documents
        if document.is_patch
    ]
    made = Kustomization(
        api_version="kustomize.config.k8s.io/v1alpha1" if patches else "kustomize.config.k8s.io/v1beta1",
        kind="Component" if patches else "Kustomization",
        resources=[document.file_name for document in documents if document.kind and not document.is_patch] or None,
        config_map_generator=_config_maps(documents),
        patches=patches or None,
    )
    use = "# List this folder under `components` of the kustomization that has the workload.\n"
    return (use if patches else "# kubectl apply -k .\n") + dump(made.plain())


def _config_maps(documents: Sequence[Document]) -> list[ConfigMapGenerator] | None:
    """One with Envoy's own configuration, which pods have as a file."""
    files = [document.file_name for document in documents if not document.kind]
    return [ConfigMapGenerator(name="envoy", files=files)] if files else None


def write(target: Path, text: str) -> None:
    """Write beside, then rename: the file is whole or as it was. Raises CompilerError."""
    if target.suffix in {".py", ".wasm"}:
        raise UsageError(f"{target}: a manifest is not written to a Python file or a module")
    whole_files.write(target, text.encode())
