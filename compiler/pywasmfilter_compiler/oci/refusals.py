"""What a registry's no means, and what to do about it.

Registries name their errors (`errors[].code`), but differ in which name and which status they give to what.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from pywasmfilter_compiler.errors import RegistryError

from .image import Format
from .reference import Reference

_MOST: Final = 200  # characters of what a registry says


@dataclass(frozen=True, slots=True)
class Answer:
    """A registry's answer: its status, its body, and whose credentials it was given, if any."""

    status: int
    body: bytes
    credentials: str | None = None


def refusal(answer: Answer, doing: str, reference: Reference, of: Format) -> RegistryError:
    """The error for an answer that is none of those expected; `doing` is what was asked for."""
    codes, said = _errors(answer.body)
    words = f"{' '.join(codes)} {said}".lower()
    quoted = f" ({said})" if said else ""
    advice = _advice(answer, codes, words, reference, of) or "what it says is all that is known"
    return RegistryError(f"{reference}: {doing}: {advice}; HTTP {answer.status}{quoted}", answer.status, codes)


def _advice(answer: Answer, codes: list[str], words: str, reference: Reference, of: Format) -> str | None:
    status, repository = answer.status, reference.repository
    if "quota" in words or status == 507:
        return "the registry has no room left for this project: raise its quota, or remove old images"
    if "immutable" in words or status in {409, 412} or ("TAG_INVALID" in codes and "exist" in words):
        return f"the tag {reference.tag} exists and may not be replaced: push to a new tag"
    if status == 401:
        return _unauthorized(answer, reference)
    if status == 403 or "DENIED" in codes:
        who = f"those of {answer.credentials}" if answer.credentials else "without credentials, nobody"
        return f"the credentials may not push to {repository} ({who}): ask for that permission, or name another one"
    if status == 415 or ({"MANIFEST_INVALID", "UNSUPPORTED"} & set(codes) and status != 405):
        other = "docker" if of == "compat" else "compat"
        return f"the registry takes no image of the format {of}: try --format {other}"
    if status == 405:
        return "the registry takes no pushes: it is read-only, a mirror or a cache; push to another one"
    if "NAME_UNKNOWN" in codes or (status == 404 and not codes):
        return f"there is no {repository}: create the project or repository first, or correct the name"
    if "NAME_INVALID" in codes:
        return f"the registry takes no repository called {repository}: correct the name"
    return _trouble(status)


def _unauthorized(answer: Answer, reference: Reference) -> str:
    if answer.credentials:
        return f"the registry refuses the credentials of {answer.credentials}: correct them, or log in again"
    return (
        f"the registry wants to know who pushes: log in with `docker login {reference.registry}`, "
        "or give --username and --password-stdin"
    )


def _trouble(status: int) -> str | None:
    if status == 413:
        return "the layer is larger than the registry, or a proxy before it, takes: raise its limit for request bodies"
    if status == 429:
        return "the registry takes no more requests from here for now: wait, or log in if you are not"
    if status >= 500:
        return "the registry, or a proxy before it, is in trouble: try again later, and see its log"
    return None


def not_a_registry(reference: Reference, what: str) -> RegistryError:
    """The error for an answer that no registry gives."""
    return RegistryError(f"{reference}: {reference.host} does not answer as registries do: {what}; correct the name")


def _errors(body: bytes) -> tuple[list[str], str]:
    """The codes, and what the answer says, made fit for one line."""
    try:
        errors = [item for item in json.loads(body)["errors"] if isinstance(item, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return [], ""
    codes = [item["code"] for item in errors if isinstance(item.get("code"), str)]
    return codes, _line("; ".join(_text(item) for item in errors))


def _text(error: dict[str, Any]) -> str:
    return ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))


def _line(text: str) -> str:
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]+", " ", text).strip()[:_MOST]
