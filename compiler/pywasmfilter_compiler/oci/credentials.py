"""Who to be at a registry: what Docker's configuration says, with its credential helpers.

oras reads that file too, but knows neither DOCKER_CONFIG, nor Docker Hub's entry, nor identity tokens.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pywasmfilter_compiler.errors import RegistryError

from .reference import DOCKER_HUB

_TIMEOUT: Final = 60.0  # seconds; a helper may ask its user
_NOT_THERE: Final = "credentials not found"  # what all helpers say
_TOKEN_USER: Final = "<token>"  # noqa: S105  # of whom the secret is an identity token


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, or an identity token; and where they come from. Secrets are not shown."""

    username: str
    password: str = field(repr=False)
    source: str
    identity_token: str = field(default="", repr=False)


def config_file() -> Path:
    """Docker's configuration: in the folder that DOCKER_CONFIG names, or in the user's own."""
    own = os.path.expanduser("~/.docker")  # noqa: PTH111  # which raises nothing where there is no home
    return Path(os.environ.get("DOCKER_CONFIG") or own) / "config.json"


def find(registry: str) -> Credentials | None:
    """The credentials for a registry; None if there are none.

    Raises RegistryError for a file that cannot be read, and for a helper that fails.
    """
    file = config_file()
    config = _read(file)
    names = _names(registry)
    for name in names:
        if helper := _mapping(config, "credHelpers").get(name):
            return _ask(helper, name)
    for name in names:
        if found := _inline(_mapping(config, "auths").get(name), f"{file}, {name}"):
            return found
    if store := config.get("credsStore"):
        return next(filter(None, (_ask(store, name) for name in names)), None)
    return None


def _names(registry: str) -> list[str]:
    """Under which names a registry may be in the file."""
    if registry == DOCKER_HUB:
        return ["https://index.docker.io/v1/", "index.docker.io", DOCKER_HUB]
    return [registry, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/"]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise RegistryError(f"{file}: {error.strerror or error}") from error
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise RegistryError(f"{file}: not the JSON of Docker's configuration: correct it, or use --username") from None
    return config


def _mapping(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _inline(entry: Any, source: str) -> Credentials | None:
    if not isinstance(entry, dict):
        return None
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if entry.get("auth"):
        try:
            decoded = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise RegistryError(f"{source}: `auth` is not the base64 of user:password; log in again") from None
        username, _, password = decoded.partition(":")
    token = str(entry.get("identitytoken") or "")
    return Credentials(username, password.rstrip("\0"), source, token) if password or token else None


def _ask(helper: str, name: str) -> Credentials | None:
    """What a helper's program says: https://github.com/docker/docker-credential-helpers."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(  # noqa: S603  # the user's own configuration names it
            [program, "get"], input=name.encode(), capture_output=True, check=False, timeout=_TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = f"has not answered in {_TIMEOUT:g} seconds"
        why = error.strerror or str(error) if isinstance(error, OSError) else why
        raise RegistryError(f"{program}, which {config_file()} names, {why}: install it, or use --username") from error
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        if _NOT_THERE in said:
            return None
        raise RegistryError(f"{program} failed for {name}: {said[:200] or f'exit code {done.returncode}'}")
    try:
        answer = json.loads(done.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, TypeError, KeyError):
        raise RegistryError(f"{program} gave no credentials for {name}: its answer is none") from None
    if username == _TOKEN_USER:
        return Credentials("", "", program, secret)
    return Credentials(username, secret, program) if secret else None
