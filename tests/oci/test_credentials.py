"""Docker's configuration: whose credentials are found in it, and what is said of one that is broken."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pywasmfilter_compiler.errors import RegistryError
from pywasmfilter_compiler.oci.credentials import find

AUTH = base64.b64encode(b"ada:pass:word").decode()
HUB = "https://index.docker.io/v1/"


@pytest.fixture
def helper(nobody: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program `docker-credential-test`, to be written."""
    monkeypatch.setenv("PATH", str(nobody), prepend=":")
    program = nobody / "docker-credential-test"
    program.touch(0o755)
    return program


def configure(folder: Path, config: Any) -> None:
    """Write the configuration."""
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "registry", "expected"),
    [
        ({"auths": {"a.b": {"auth": AUTH}}}, "a.b", ("ada", "pass:word", "")),
        ({"auths": {"https://a.b": {"auth": AUTH}}}, "a.b", ("ada", "pass:word", "")),
        ({"auths": {"a.b": {"username": "ada", "password": "pass:word"}}}, "a.b", ("ada", "pass:word", "")),
        ({"auths": {HUB: {"auth": AUTH}}}, "docker.io", ("ada", "pass:word", "")),
        (
            {"auths": {"a.b": {"auth": base64.b64encode(b"0:").decode(), "identitytoken": "to:ken"}}},
            "a.b",
            ("0", "", "to:ken"),
        ),
    ],
)
def test_inline(nobody: Path, config: Any, registry: str, expected: tuple[str, str, str]) -> None:
    """User and password, in one text or in two, and identity tokens."""
    configure(nobody, config)
    found = find(registry)
    assert found is not None
    assert (found.username, found.password, found.identity_token) == expected
    assert not any(secret and secret in repr(found) for secret in expected[1:])


@pytest.mark.parametrize("config", [{}, {"auths": {"other": {"auth": AUTH}}}, {"auths": {"a.b": {}}}, {"auths": None}])
def test_nothing(nobody: Path, config: Any) -> None:
    """No file, no entry, or an empty one: no credentials."""
    assert find("a.b") is None
    configure(nobody, config)
    assert find("a.b") is None


@pytest.mark.parametrize("config", ["{", "[]", '"x"', "\ufeff"])
def test_a_broken_file(nobody: Path, config: str) -> None:
    """The file is named, and nothing that is in it."""
    configure(nobody, config)
    with pytest.raises(RegistryError, match=r"docker/config\.json: not the JSON of Docker's configuration"):
        find("a.b")


def test_broken_base64(nobody: Path) -> None:
    """So is one with an entry that is none."""
    configure(nobody, {"auths": {"a.b": {"auth": "s3cret!"}}})
    with pytest.raises(RegistryError, match="`auth` is not the base64 of user:password") as error:
        find("a.b")
    assert "s3cret" not in str(error.value)


def test_an_identity_token_of_a_helper(nobody: Path, helper: Path) -> None:
    """Helpers call the user of such a token <token>."""
    helper.write_text("""#!/bin/sh\necho '{"Username": "<token>", "Secret": "t"}'\n""", encoding="utf-8")
    configure(nobody, {"credHelpers": {"a.b": "test"}})
    found = find("a.b")
    assert found is not None
    assert (found.password, found.identity_token) == ("", "t")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'no luck' >&2; exit 1", "docker-credential-test failed for a.b: no luck"),
        ("exit 3", "docker-credential-test failed for a.b: exit code 3"),
        ("echo s3cret", "docker-credential-test gave no credentials for a.b"),
        ("echo '[\"s3cret\"]'", "docker-credential-test gave no credentials for a.b"),
    ],
)
def test_a_helper_that_fails(nobody: Path, helper: Path, script: str, message: str) -> None:
    """It is named, with what it says, but without what may be a secret."""
    helper.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    configure(nobody, {"credHelpers": {"a.b": "test"}})
    with pytest.raises(RegistryError, match=message) as error:
        find("a.b")
    assert "s3cret" not in str(error.value)


def test_a_store_that_has_none(nobody: Path, helper: Path) -> None:
    """A store without an entry is no fault."""
    helper.write_text("#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n", encoding="utf-8")
    configure(nobody, {"credsStore": "test"})
    assert find("a.b") is None


def test_no_helper(nobody: Path) -> None:
    """A program that is not there is named, with what to do."""
    configure(nobody, {"credsStore": "nowhere"})
    with pytest.raises(RegistryError, match=r"docker-credential-nowhere, which .*: install it, or use --username"):
        find("a.b")
