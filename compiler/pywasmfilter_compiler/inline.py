"""Filters that come as text in a plugin's configuration: the module that runs them, and a check that needs no proxy."""

from __future__ import annotations

import json
from typing import Any, Final

RUNTIME: Final = "inline_runtime"

MODULES: Final = tuple(
    """
    abc base64 binascii bisect cmath collections contextlib copy dataclasses datetime difflib email.utils enum
    fnmatch functools gc hashlib heapq hmac html http http.cookies inspect io ipaddress itertools json logging
    math numbers operator os pprint random re secrets string struct sys textwrap time traceback types typing
    unicodedata urllib.parse uuid warnings weakref zlib zoneinfo
    """.split()
)


def inline_configuration(source: str, config: dict[str, Any] | str | None = None) -> str:
    """The configuration of an inline filter."""
    document: dict[str, Any] = {"code": source}
    if config is not None:
        document["config"] = config
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
