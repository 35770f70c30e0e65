"""What exists since when in Istio and Envoy, in one place, so that a manifest has nothing its proxy does not know."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from pywasmfilter_compiler.errors import UsageError

Version: TypeAlias = tuple[int, int]

SINCE: Final[dict[str, dict[str, Version]]] = {
    "istio": {
        "FAIL_RELOAD": (1, 27),
        "allow_on_headers_stop_iteration": (1, 28),  # before, istiod drops the field and says nothing
        "TrafficExtension": (1, 30),
    },
    "envoy": {
        "failure_policy": (1, 33),
        "FAIL_RELOAD": (1, 33),
        "allow_on_headers_stop_iteration": (1, 35),
    },
    "kubernetes": {"image volumes": (1, 35)},  # by default; behind a feature gate since 1.31
}
"""Product → field → the first release with it."""

OLDEST: Final[dict[str, Version]] = {"istio": (1, 25), "envoy": (1, 33)}
"""The first release whose proxies offer the functions of WASI that modules import."""

_ENVOY_OF_ISTIO_1_28: Final = 36


def parse(text: str, product: str) -> Version:
    """A release as `1.28` or `1.28.3`. Raises UsageError for anything else."""
    found = re.fullmatch(r"v?(\d{1,4})\.(\d{1,4})(?:\.\d+)?", text)
    if not found:
        raise UsageError(f"a version of {product} is like 1.36, not {text!r}")
    return int(found[1]), int(found[2])


def has(product: str, field: str, version: Version | None) -> bool:
    """Whether a release has a field; one that is not said has everything."""
    return version is None or version >= SINCE[product][field]


def require(product: str, field: str, version: Version | None) -> None:
    """Raise UsageError if a release does not have the field."""
    if not has(product, field, version):
        since = shown(SINCE[product][field])
        raise UsageError(f"{field} exists since {product.title()} {since}, and this is for {shown(version)}")


def shown(version: Version | None) -> str:
    """A release as people write it."""
    return "any" if version is None else f"{version[0]}.{version[1]}"


def envoy_of_istio(istio: Version) -> Version:
    """The release of Envoy in that of Istio: 1.36 in 1.28, and so on."""
    return 1, _ENVOY_OF_ISTIO_1_28 + istio[1] - 28
