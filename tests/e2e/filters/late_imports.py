"""Imports in functions, so that nothing but the build's search for import statements brings the modules in.

The path names the case, and the answer is its value or its exception. Names that the build must not see are joined
from parts.
"""

# The modules beside a filter are not modules of the tests.
# mypy: disable-error-code="import-not-found"
# ruff: noqa: FLY002

from __future__ import annotations

from typing import Any

from pywasmfilter import HttpContext, http_filter


def sibling() -> Any:
    import late_sibling

    return late_sibling.VALUE


def package() -> Any:
    from late_package.inner import deeper

    return deeper.SAME, deeper.outer(), deeper.much_later()


def namespace() -> Any:
    from late_namespace import member

    return member.__name__


def standard() -> Any:
    import csv
    import io

    return list(csv.reader(io.StringIO("a,b")))


def standard_package() -> Any:
    import email.parser

    return email.parser.Parser().parsestr("subject: hello\n\n")["subject"]


def large_standard_packages() -> Any:
    import asyncio
    import concurrent.futures
    import importlib.metadata
    import logging.handlers
    import pathlib
    import urllib.request

    modules = (asyncio, concurrent.futures, importlib.metadata, logging.handlers, pathlib, urllib.request)
    return [module.__name__ for module in modules]


def installed() -> Any:
    from packaging.version import Version

    return str(max(Version("1.10"), Version("1.9")))


def conditional() -> Any:
    try:
        import late_missing
    except ImportError:
        import late_sibling as late_missing
    return late_missing.VALUE


def missing() -> Any:
    import late_missing

    return late_missing


def missing_name() -> Any:
    from late_sibling import absent

    return absent


def native() -> Any:
    import late_native

    return late_native


def broken() -> Any:
    import late_broken

    return late_broken


def failing() -> Any:
    import late_failing

    return late_failing


def by_name() -> Any:
    return __import__("late_" + "unseen").VALUE


def strptime() -> Any:
    from datetime import datetime

    return datetime.strptime("2024-02-29 +0100", "%Y-%m-%d %z").isoformat()


def codecs_named() -> Any:
    domain = b"xn--bcher-kva.example".decode("idna")
    return domain, "€".encode("cp1252"), b"\x82\xa0".decode("shift_jis"), "я".encode(encoding="koi8-r")


def codecs_common() -> Any:
    names = [("utf", "16"), ("iso-8859", "15"), ("windows", "1252"), ("us", "ascii"), ("utf", "8-sig"), ("latin", "1")]
    return [b"aa".decode("-".join(name)) for name in names]


def codec_unseen() -> Any:
    return "x".encode("".join(("cp4", "37")))


def codec_nonsense() -> Any:
    return "x".encode("-".join(("no", "such")))


def resource() -> Any:
    import importlib.util

    spec = importlib.util.find_spec("late_package")
    return spec and (spec.origin, spec.submodule_search_locations)


CASES = {name: value for name, value in globals().items() if getattr(value, "__module__", None) == __name__}


@http_filter("late-imports")
class LateImports(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        try:
            body = repr(CASES[self.request.path[1:]]())
        except Exception as error:  # noqa: BLE001  # it is the answer
            body = f"{type(error).__name__}: {error}"
        return self.send_http_response(200, body=body)
