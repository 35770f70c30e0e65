"""What options of manifests may be, without anything that takes long to import."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

Target: TypeAlias = Literal[
    "istio", "traffic-extension", "envoyfilter", "envoy", "envoy-filter", "envoy-gateway", "higress", "kuma"
]
Kind: TypeAlias = Literal["http", "tcp", "access-log"]
FailStrategy: TypeAlias = Literal["closed", "open", "reload"]
Phase: TypeAlias = Literal["authn", "authz", "stats"]
PullPolicy: TypeAlias = Literal["if-not-present", "always"]
Carry: TypeAlias = Literal["init-container", "image-volume", "sidecar-annotations", "config-map"]
Mode: TypeAlias = Literal["client", "server", "client-and-server", "gateway"]
TARGETS: Final[tuple[Target, ...]] = get_args(Target)
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
FAIL_STRATEGIES: Final[tuple[FailStrategy, ...]] = get_args(FailStrategy)
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
PULL_POLICIES: Final[tuple[PullPolicy, ...]] = get_args(PullPolicy)
CARRIES: Final[tuple[Carry, ...]] = get_args(Carry)
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
KUBERNETES: Final = frozenset(TARGETS) - {"envoy", "envoy-filter"}
"""The targets whose manifests `kubectl apply` takes."""
