"""The options of a manifest, from the command line and from `[tool.pyfilter.manifest]`, under one set of names.

What may be given several times is a list of texts in the form of the command line; a table does in pyproject.toml, too:
`selector = {app = "edge"}`. A setting that means nothing to the target is passed over; an option is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pywasmfilter_compiler.errors import UsageError

from .choices import TARGETS, Carry, FailStrategy, Kind, Phase, PullPolicy, Target

_OF_ISTIO: Final = frozenset({"istio", "traffic-extension", "envoyfilter"})
_OF_ENVOY: Final = frozenset({"envoy", "envoy-filter", "envoyfilter", "kuma"})
_PULLING: Final = frozenset({"istio", "traffic-extension", "envoy-gateway", "higress"})
_MEANT_FOR: Final[dict[str, frozenset[str]]] = {
    "namespace": frozenset(TARGETS) - {"envoy", "envoy-filter"},
    "selector": _OF_ISTIO | {"kuma"},
    "target_ref": _OF_ISTIO | {"envoy-gateway"},
    "phase": frozenset({"istio", "traffic-extension", "higress"}),
    "priority": _OF_ISTIO | {"higress"},
    "match": _OF_ISTIO | {"kuma"},
    "pull_policy": _PULLING | {"envoyfilter"},
    "pull_secret": _PULLING,
    "vm_id": _OF_ENVOY,
    "vm_config": _OF_ENVOY,
    "allow_on_headers_stop_iteration": _OF_ENVOY,
    "upstream": _OF_ISTIO | {"envoy", "kuma"},
    "istio": _OF_ISTIO,
    "envoy": frozenset({"envoy", "envoy-filter", "kuma"}),
    "port": frozenset({"envoy"}),
    "carry": frozenset(TARGETS) - {"envoy-gateway", "higress"},
}
"""Option → the targets that it means something to; to all, if it is not here."""


def _pairs(value: object) -> object:
    """A table as `NAME=VALUE` texts. TOML's other values are not guessed: `true` is no `True`."""
    if not isinstance(value, dict):
        return value
    for key, text in value.items():
        if "=" in key:
            raise ValueError(f"{key} is no name: there is a = in it")
        if not isinstance(text, str):
            raise ValueError(f"{key} is a text: put it in quotes")  # noqa: TRY004  # which pydantic shows
    return [f"{key}={text}" for key, text in value.items()]


def _list(value: object) -> object:
    """One text as a list with it."""
    return [value] if isinstance(value, str) else value


def _configurations(value: object) -> object:
    """A table as the JSON of it."""
    values = value if isinstance(value, list) else [value]
    try:
        return [json.dumps(item, allow_nan=False) if isinstance(item, dict) else item for item in values]
    except TypeError:  # a date or a time
        raise ValueError("it is to become JSON, which has no dates: put them in quotes") from None
    except ValueError:
        raise ValueError("it is to become JSON, which has neither nan nor inf") from None


Texts: TypeAlias = Annotated[list[str], BeforeValidator(_list)]
Pairs: TypeAlias = Annotated[list[str], BeforeValidator(_pairs)]


class Options(BaseModel):
    """All options; see the page of the command for what they mean."""

    model_config = ConfigDict(extra="forbid", strict=True)

    target: Target = "istio"
    url: str | None = Field(default=None, min_length=1)
    name: str | None = Field(default=None, min_length=1)
    namespace: str | None = Field(default=None, min_length=1)
    selector: Pairs = []
    target_ref: Texts = []
    phase: Phase | None = None
    priority: int | None = None
    match: Texts = []
    pull_policy: PullPolicy | None = None
    pull_secret: str | None = Field(default=None, min_length=1)
    env: Pairs = []
    fail_strategy: FailStrategy = "closed"
    plugin: Texts = []
    type: Annotated[list[Kind], BeforeValidator(_list)] = []
    config: Annotated[list[str], BeforeValidator(_configurations)] = []
    vm_id: str | None = None
    vm_config: str = ""
    allow_on_headers_stop_iteration: bool = False
    upstream: Pairs = []
    port: int = Field(default=10000, ge=1, le=65535)
    istio: str | None = None
    envoy: str | None = None
    carry: Carry | None = None
    workload: str | None = None
    container: str = Field(default="envoy", min_length=1)
    image: str | None = None
    inline: str | None = Field(default=None, min_length=1)


def merged(settings: Mapping[str, Any], given: Mapping[str, Any]) -> Options:
    """The options that are given, and the settings for what is not. Raises UsageError for what makes no sense."""
    try:
        target = Options(target=given.get("target", settings.get("target", "istio"))).target
        meant = {key: value for key, value in settings.items() if target in _MEANT_FOR.get(key, TARGETS)}
        for key, value in given.items():
            _check_meant(key, target)
            _check_text(key, value)
        return Options(**{**meant, **given})
    except ValidationError as error:
        raise UsageError("\n".join(_fault(fault) for fault in error.errors())) from error


def _check_meant(key: str, target: Target) -> None:
    targets = _MEANT_FOR.get(key, TARGETS)
    if target not in targets:
        named = ", ".join(name for name in TARGETS if name in targets)
        raise UsageError(f"{option(key)} means nothing to --target {target}; it is for {named}")


def _check_text(key: str, value: Any) -> None:
    """Arguments that are not UTF-8 come with surrogates, which only a configuration may have."""
    for text in value if isinstance(value, list) else [value]:
        is_text = isinstance(text, str) and key not in {"config", "vm_config"}
        if is_text and any("\ud800" <= char <= "\udfff" for char in text):
            raise UsageError(f"{option(key)} takes UTF-8, which {text!r} is not")


def option(key: str) -> str:
    """The option of that name, as it is written."""
    return f"--{key.replace('_', '-')}"


def _fault(fault: Any) -> str:
    return f"{option(str(fault['loc'][0]))}: {fault['msg']}"


def from_table(table: object, file: Path) -> dict[str, Any]:
    """The settings in `[tool.pyfilter.manifest]` of that file, with files from its folder.

    Raises UsageError, which names the file and every setting that is wrong.
    """
    try:
        settings = Options.model_validate(table).model_dump(exclude_unset=True)
    except ValidationError as error:
        path = ("tool", "pyfilter", "manifest")
        faults = [f"  {'.'.join(map(str, (*path, *fault['loc'])))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError("\n".join([f"{file}:", *faults])) from error
    if "config" in settings:
        settings["config"] = [_at(text, file.parent) for text in settings["config"]]
    if "vm_config" in settings:
        settings["vm_config"] = _at(settings["vm_config"], file.parent)
    if "inline" in settings:
        settings["inline"] = str(file.parent / settings["inline"])
    return settings


def _at(text: str, folder: Path) -> str:
    return f"@{folder / text[1:]}" if text.startswith("@") else text
