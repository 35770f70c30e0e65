"""References to images: which there are, and what is said of others."""

from __future__ import annotations

import pytest
from pywasmfilter_compiler import UsageError
from pywasmfilter_compiler.oci.reference import Reference, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci://registry.example.com/team/name:1.0.0", Reference("registry.example.com", "team/name", "1.0.0")),
        ("registry.example.com/name:v1", Reference("registry.example.com", "name", "v1")),
        ("oci://localhost/a.b/c__d:latest", Reference("localhost", "a.b/c__d", "latest")),
        ("oci://localhost:5000/a/b/c/d:X_1", Reference("localhost:5000", "a/b/c/d", "X_1")),
        ("oci://[::1]:5000/a:1", Reference("[::1]:5000", "a", "1")),
        ("oci://docker.io/name:1", Reference("docker.io", "library/name", "1")),
        ("index.docker.io/ada/name:1", Reference("docker.io", "ada/name", "1")),
    ],
)
def test_references(text: str, expected: Reference) -> None:
    """A reference is read, and written in its full form."""
    assert parse(text) == expected
    assert parse(str(expected)) == expected


def test_docker_hub_is_elsewhere() -> None:
    """Docker Hub's registry is not at its name."""
    assert parse("docker.io/ada/name:1").host == "registry-1.docker.io"
    assert parse("localhost:1/ada:1").host == "localhost:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://registry.example.com/team/name:1", "begins with oci://"),
        ("docker://registry.example.com/team/name:1", "begins with oci://"),
        ("oci://team/name:1", "names no registry"),
        ("name", "names no registry"),
        ("", "names no registry"),
        ("oci:///name:1", "names no registry"),
        ("oci://localhost:65536/name:1", "names no registry"),
        ("oci://localhost:0/name:1", "names no registry"),
        ("oci://host name.com/a:1", "names no registry"),
        ("oci://registry.example.com/team/name", "the tag is missing"),
        ("oci://registry.example.com/team/name:", "the tag is missing"),
        ("oci://registry.example.com/team/name:-x", "'-x' is no tag"),
        (f"oci://registry.example.com/team/name:{'x' * 129}", "is no tag"),
        ("oci://registry.example.com/Team/name:1", "'Team/name' is no name of a repository"),
        ("oci://registry.example.com:1", "'' is no name of a repository"),
        ("oci://registry.example.com//name:1", "'/name' is no name of a repository"),
        (f"oci://registry.example.com/a@sha256:{'0' * 64}", "an image is pushed to a tag"),
    ],
)
def test_mistakes(text: str, message: str) -> None:
    """What is wrong is said, with an example."""
    with pytest.raises(UsageError, match=message):
        parse(text)


@pytest.mark.parametrize("text", ["oci://ada:s3cret@registry.example.com/a:1", "ada:s3cret@registry.example.com/a:1"])
def test_passwords_are_not_repeated(text: str) -> None:
    """A password in a reference is refused without showing it."""
    with pytest.raises(UsageError, match="--password-stdin") as error:
        parse(text)
    assert "s3cret" not in str(error.value)
