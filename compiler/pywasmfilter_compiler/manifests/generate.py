"""From a request to documents: which generator is whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydantic import ValidationError

from pywasmfilter_compiler.errors import UsageError

from .carry import carry_documents
from .choices import Target
from .documents import Document
from .envoy import generate_bootstrap, generate_filter
from .gateways import generate_extension_policy, generate_higress, generate_kuma
from .istio import generate_envoy_filter, generate_traffic_extensions, generate_wasm_plugins
from .request import Request

_GENERATORS: Final[dict[Target, Callable[[Request], list[Document]]]] = {
    "istio": generate_wasm_plugins,
    "traffic-extension": generate_traffic_extensions,
    "envoyfilter": generate_envoy_filter,
    "envoy": generate_bootstrap,
    "envoy-filter": generate_filter,
    "envoy-gateway": generate_extension_policy,
    "higress": generate_higress,
    "kuma": generate_kuma,
}


def generate(request: Request) -> list[Document]:
    """All documents for a request. Raises UsageError for what its target cannot express."""
    try:
        made = _GENERATORS[request.target](request)
        return [*made, *(carry_documents(request, request.carried) if request.carried else ())]
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise UsageError(f"{error.title}: {'; '.join(faults)}") from error
