"""Names of images: `oci://registry.example.com/team/name:1.0.0`.

The scheme may be missing, as in Istio. Registry and tag may not: what a missing one means differs between programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pywasmfilter_compiler.errors import UsageError

SCHEME: Final = "oci://"
DOCKER_HUB: Final = "docker.io"
_HOST: Final = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_EXAMPLE: Final = "such as oci://registry.example.com/team/filter:1.0.0"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image's place: the registry with its port, if that is not the usual one, the repository in it, and the tag."""

    registry: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.registry}/{self.repository}:{self.tag}"

    @property
    def host(self) -> str:
        """Where the registry answers: that of Docker Hub is somewhere else than its name says."""
        return "registry-1.docker.io" if self.registry == DOCKER_HUB else self.registry


def parse(text: str) -> Reference:
    """Read a reference. Raises UsageError, which says what is wrong with it."""
    scheme, separator, rest = text.rpartition("://")
    if "@" in rest.partition("/")[0]:  # may be a password, which is not repeated
        raise UsageError("an image's reference holds no user name and password: see --username and --password-stdin")
    if separator and f"{scheme}://" != SCHEME:
        raise UsageError(f"{text!r}: an image's reference begins with {SCHEME}, {_EXAMPLE}")
    if "@" in rest:
        raise UsageError(f"{text!r}: an image is pushed to a tag; its digest follows from what is in it")
    registry, _, path = rest.partition("/")
    repository, _, tag = path.partition(":")
    if not _names_registry(registry):
        raise UsageError(f"{text!r} names no registry: an image's reference begins with one, {_EXAMPLE}")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(
            f"{text!r}: {repository!r} is no name of a repository: lower-case letters and digits, and . _ - / between"
        )
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{text!r}: {_tag_problem(tag)}")
    return _of_docker_hub(repository, tag) if registry in _HUB_NAMES else Reference(registry, repository, tag)


def check_tag(tag: str) -> str:
    """The tag, if it is one. Raises UsageError."""
    if not _TAG.fullmatch(tag):
        raise UsageError(_tag_problem(tag))
    return tag


_HUB_NAMES: Final = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


def _names_registry(text: str) -> bool:
    """As Docker tells a registry from a part of a repository's name."""
    port = text.rpartition("]")[2].partition(":")[2] or "1"
    return bool(_HOST.fullmatch(text)) and 0 < int(port) < 65536 and ("." in text or ":" in text or text == "localhost")


def _of_docker_hub(repository: str, tag: str) -> Reference:
    return Reference(DOCKER_HUB, repository if "/" in repository else f"library/{repository}", tag)


def _tag_problem(tag: str) -> str:
    if not tag:
        return f"the tag is missing, {_EXAMPLE}"
    return f"{tag!r} is no tag: up to 128 letters, digits, and . _ - after the first"
