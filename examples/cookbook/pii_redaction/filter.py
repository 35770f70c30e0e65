"""Replaces personal data in response bodies: e-mail addresses, numbers of cards and accounts, and what you add.

In JSON, strings and numbers are looked at as what they mean; other text as it is written. Bodies are held back whole,
up to `max_bytes`, and streams (`stream_types`) line by line. What cannot be looked into does not pass: compressed
bodies, foreign character sets, too much of it. Headers, trailers and other content types are not looked at, nor is text
that is encoded once more (`%40` in URLs, `&#64;` in HTML, JSON in JSON), or spread over several lines or events.
"""

# Modules beside a filter are not modules of the repository.
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

from detectors import DETECTORS, Detector, Redactor

from pywasmfilter import BodyTooLarge, HttpContext, PluginContext, log, plugin

CHARSETS = {"": "utf-8", "utf-8": "utf-8", "us-ascii": "utf-8", "iso-8859-1": "latin-1", "windows-1252": "latin-1"}
"""Character set → how it is read. Bytes that are none of it come through unchanged."""


@dataclass(frozen=True)
class Config:
    """The plugin's configuration. In content types, `*` stands for anything."""

    detect: list[Literal["email", "card", "iban", "ssn", "phone"]] = field(
        default_factory=lambda: ["email", "card", "iban", "ssn"]
    )
    """What is looked for. "ssn" is that of the USA, "phone" numbers with a + and those of North America."""
    patterns: dict[str, re.Pattern[str]] = field(default_factory=dict)
    """What else is: name → regular expression. Beware of expressions that take long for some texts."""
    mask: str = "[{}]"
    """What stands in its place; {} is the kind or the name."""
    content_types: list[str] = field(default_factory=lambda: ["application/*json", "application/*xml", "text/*"])
    """Responses that are looked at; one that does not say what it is counts as text/plain."""
    stream_types: list[str] = field(default_factory=lambda: ["text/event-stream", "application/*ndjson"])
    """Those that are looked at line by line, each of which leaves as soon as it is complete."""
    max_bytes: int = 1_048_576
    """How large a body, or a line, may be. Envoy's own limit for bodies is 1 MiB, too."""

    def __post_init__(self) -> None:
        if not (self.mask.isascii() and self.mask.isprintable()):
            raise ValueError("the mask must be of characters that all character sets have: printable ASCII")


class Unreadable(Exception):
    """A body cannot be looked into."""


@plugin("pii_redaction", config=Config)
class PiiRedaction(PluginContext):
    config: Config

    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        known = [(kind, DETECTORS[kind]) for kind in self.config.detect]
        own = [(name, [Detector(pattern)]) for name, pattern in self.config.patterns.items()]
        self.redactor = Redactor([*known, *own], self.config.mask)

    def new_http_context(self, context_id: int) -> HttpContext:
        return Redact(context_id)


class Redact(HttpContext):
    plugin: PiiRedaction
    config: Config

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        self.path = self.request.path
        headers = self.request.headers
        headers["accept-encoding"] = "identity"  # a compressed body could not be looked into
        for name in ("range", "if-range"):  # nor could data of which a client asks for one half only
            headers.remove(name)

    async def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.response.headers
        media_type, _, parameters = headers.get("content-type", "text/plain").lower().partition(";")
        media_type = media_type.strip() or "text/plain"
        is_stream = is_one_of(media_type, self.config.stream_types)
        if end_of_stream or self.answered or not (is_stream or is_one_of(media_type, self.config.content_types)):
            return None
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters)
        codec = CHARSETS.get(charset[1] if charset else "")
        if codec is None or headers.get_all("content-encoding") not in ([], ["identity"]):
            return self.refuse("its character set or encoding is not known")
        for name in ("digest", "content-digest", "repr-digest", "content-md5", "accept-ranges"):
            headers.remove(name)
        redactor = self.plugin.redactor
        redact: Callable[[str], str] = redactor.json if media_type.endswith("json") else redactor.text

        def redacted(data: bytes) -> bytes:
            if b"\0" in data:  # as in UTF-16
                raise Unreadable("it has NUL bytes, so it is no text")
            return redact(data.decode(codec, "surrogateescape")).encode(codec, "surrogateescape")

        try:
            await (self.lines(redacted) if is_stream else self.whole(redacted))
        except Unreadable as error:
            return self.refuse(str(error))
        return None

    async def whole(self, redacted: Callable[[bytes], bytes]) -> None:
        body = await self.response.body(self.config.max_bytes)
        if (new := redacted(body)) != body:
            self.response.set_body(new)

    async def lines(self, redacted: Callable[[bytes], bytes]) -> None:
        """Hold back what may be the beginning of a line only."""
        held = bytearray()
        async for chunk in self.response.chunks():
            end = chunk.data.rfind(b"\n") + 1
            complete = bytes(held) + chunk.data[:end] if end else b""
            if end:
                held.clear()
            held += chunk.data[end:]
            if max(len(held), len(complete)) > self.config.max_bytes:
                raise BodyTooLarge("response", self.config.max_bytes, len(held))
            chunk.replace(redacted(complete))
        if held:
            self.response.append_body(redacted(bytes(held)))

    def refuse(self, why: str) -> int:
        log.error(f"a response to {self.path!a} cannot be looked into: {why}")
        return self.send_http_response(502, body="The response cannot be shown\n")


def is_one_of(media_type: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(media_type, pattern) for pattern in patterns)
