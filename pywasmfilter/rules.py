"""Rules: a filter's settings by host, path, method, header or route, chosen once per request.

    @dataclass
    class Limit(Rule):                  # what a rule sets, beside the `match` and `enabled` of every rule
        requests_per_second: float = 10

    @dataclass
    class Config(Ruleset):
        default: Limit = field(default_factory=Limit)
        rules: list[Limit] = field(default_factory=list)

    {"rules": [{"match": {"path": "/admin/*", "method": ["POST", "PUT"]}, "requests_per_second": 1},
               {"match": {"host": "*.internal.example.com"}, "enabled": false}]}

The first rule that matches holds, `default` if none does. Paths and hosts are matched in one plain form, and what
cannot be brought to it without guessing is refused: a client must not choose its rule by an odd spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from . import log, properties
from ._state import contexts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, Protocol, TypeVar

    from .contexts import HttpContext
    from .headers import HeaderMap

    R = TypeVar("R", bound="Rule")
    R_co = TypeVar("R_co", bound="Rule", covariant=True)

    Condition = Callable[["_Facts"], bool]

    class _RulesOf(Protocol[R_co]):
        """What tells `select` the type of its answer."""

        @property
        def default(self) -> R_co | None: ...
        @property
        def rules(self) -> Sequence[R_co]: ...
        @property
        def _table(self) -> Any: ...  # the same rules, by their conditions


# What a configuration says


@dataclass
class HeaderMatch:
    """What the value of a header must be: one of the four. A header that is repeated has its values joined by commas.

    Raises ValueError for none or several of them.
    """

    exact: str | None = None
    """The whole value."""

    prefix: str | None = None
    """What the value begins with."""

    regex: re.Pattern[str] | None = None
    """A regular expression of Python for the whole value."""

    present: bool | None = None
    """Whether there is such a header, be it empty."""

    def __post_init__(self) -> None:
        if [self.exact, self.prefix, self.regex, self.present].count(None) != 3:
            raise ValueError("needs exactly one of exact, prefix, regex and present")

    def _condition(self, name: str) -> Condition:
        exact, prefix, regex, present = self.exact, self.prefix, self.regex, self.present
        if exact is not None:
            return lambda facts: facts[name] == exact
        if prefix is not None:
            return lambda facts: (facts[name] or "").startswith(prefix)
        if regex is not None:
            return lambda facts: _matches(regex, facts[name], f"header {name}")
        return lambda facts: (facts[name] is not None) is present


@dataclass
class Match:
    """Which requests are meant: those for which all holds that is given. Of a list, one item must hold.

    Raises ValueError if nothing is given, for an empty list, and for what no request can have, such as a path with a
    query.
    """

    host: str | list[str] | None = None
    """The host, ignoring case and port; `*.example.com` is all below it, at any depth, but not `example.com`."""

    path: str | list[str] | None = None
    """The path without query; `/admin/*` is `/admin` and all below it."""

    path_regex: re.Pattern[str] | None = None
    """A regular expression of Python for the whole path without query."""

    method: str | list[str] | None = None
    """The method, ignoring case."""

    headers: dict[str, str | HeaderMatch] | None = None
    """Header by header what its value must be; a text is the whole value."""

    route: str | list[str] | None = None
    """The name that the proxy's configuration gives the route."""

    def __post_init__(self) -> None:
        for name in ("host", "path", "method", "headers", "route"):
            if getattr(self, name) in ([], {}):
                raise ValueError(f"{name} is empty, so that nothing would match; leave it out if all should")
        self._conditions = tuple(self._build())
        if not self._conditions:
            raise ValueError("there is no condition; leave match out if every request is meant")

    def _build(self) -> Iterator[Condition]:
        """The conditions, those first that cost least."""
        if self.method is not None:
            methods = frozenset(_each("method", self.method, _method))
            yield lambda facts: facts[":method"] in methods
        if self.host is not None:
            yield _host_condition(self.host)
        if self.path is not None:
            yield _path_condition(self.path)
        if (regex := self.path_regex) is not None:
            yield lambda facts: _matches(regex, facts[":path"], "path")
        if self.route is not None:
            routes = frozenset(_each("route", self.route, str))
            yield lambda facts: facts[":route"] in routes
        for name, value in (self.headers or {}).items():
            header = HeaderMatch(exact=value) if isinstance(value, str) else value
            yield header._condition(_header_name(name))  # noqa: SLF001  # of this module


def _every_request() -> Match:
    """What a rule has that says nothing: no conditions, which an empty match has more likely by mistake."""
    match = Match.__new__(Match)
    match._conditions = ()  # noqa: SLF001  # of this module
    return match


@dataclass(kw_only=True)
class Rule:
    """The base of a filter's settings: a rule sets the fields that a subclass adds."""

    match: Match | list[Match] = field(default_factory=_every_request)
    """The requests that the rule is for, all if it is left out; of a list, one must match."""

    enabled: bool = True
    """Whether the filter does anything with them."""


class Ruleset:
    """The base of a configuration: a dataclass with the fields `rules`, a list of settings, and `default`.

    `default` may be None, which is the same as settings that are not enabled. Raises ValueError for a rule that is
    never reached, and for a default with conditions.
    """

    if TYPE_CHECKING:

        @property
        def default(self) -> Rule | None:
            """The settings for requests that no rule matches."""

        @property
        def rules(self) -> Sequence[Rule]:
            """The rules, of which the first that matches holds."""

    def __post_init__(self) -> None:
        """A class with a `__post_init__` of its own calls this one, or hears of mistakes at its first request only."""
        _ = self._table

    @cached_property
    def _table(self) -> list[tuple[tuple[Condition, ...], Rule]]:
        if self.default is not None and self.default.match != _every_request():
            raise ValueError("default is for the requests that no rule matches, so it has no match of its own")
        rows: list[tuple[tuple[Condition, ...], Rule]] = []
        for number, rule in enumerate(self.rules):
            if not all(conditions for conditions, _ in rows):
                raise ValueError(f"rules[{number}] is never reached, as a rule before it matches every request")
            matches = [rule.match] if isinstance(rule.match, Match) else rule.match
            if not matches:
                raise ValueError(f"rules[{number}].match is empty, so that nothing would match")
            rows += [(match._conditions, rule) for match in matches]  # noqa: SLF001  # of this module
        return rows

    def select(self: _RulesOf[R], stream: HttpContext) -> R | None:
        """The first rule that matches the request, or else `default`; None if the filter is off for it.

        Allowed in `on_http_request_headers`, before anything is awaited there. A stream for which the filter is off has
        no further callbacks. Where a rule has to look at a path or a host that could be read in more than one way, the
        request is answered 400, and the filter is off for it.
        """
        try:
            rule = _find(self, _Facts(stream.request.headers))
        except _Unclear as unclear:
            log.debug(f"answered 400, since rules cannot tell what is meant: {unclear}")
            stream.send_http_response(400, body=b"Bad Request", details="pywasmfilter_unclear_request")
            rule = None
        if rule is None or not rule.enabled:
            contexts[stream.context_id] = None
            return None
        return rule


def _find(ruleset: _RulesOf[R], facts: _Facts) -> R | None:
    rule: R
    for conditions, rule in ruleset._table:  # noqa: SLF001  # of this module
        for holds in conditions:
            if not holds(facts):
                break
        else:
            return rule
    return ruleset.default


# What a request says, read when a condition asks for it, once


class _Unclear(Exception):
    """A client wrote something that can be read in more than one way."""


class _Facts(dict[str, "Any"]):
    """What conditions see of a request: the values of its headers, None for one that is not there.

    The route is among them under a name that no header has.
    """

    def __init__(self, headers: HeaderMap) -> None:
        self._headers = headers

    def __missing__(self, name: str) -> str | None:
        value: str | None
        if name == ":method":
            value = (self._headers.get(name) or "").upper()
        elif name == ":authority":
            value = _plain_host(self._headers.get(name) or "")
        elif name == ":path":
            value = _plain_path(self._headers.get(name) or "")
        elif name == ":route":
            value = properties.xds.route_name
        else:
            value = self._header(name)
        self[name] = value
        return value

    def _header(self, name: str) -> str | None:
        first = self._headers.get(name)
        # A look-up gives the first of several values; the property has them all.
        return first if first is None else properties.request.header(name) or first


_LONGEST = 4096
"""Characters of what takes long to look at: a path that has to be made plain, and what a regular expression is tried
on, since the time of a careless one grows with their square.
"""


def _check_length(value: str, what: str) -> None:
    if len(value) > _LONGEST:
        raise _Unclear(f"the {what} has {len(value)} characters, and is looked at up to {_LONGEST}")


def _matches(regex: re.Pattern[str], value: str | None, what: str) -> bool:
    if value is None:
        return False
    _check_length(value, what)
    return regex.fullmatch(value) is not None


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)?)\.?(?::[0-9]*)?")


def _plain_host(authority: str) -> str:
    """The host in lower case, without port and the dot of the root."""
    found = _HOST.fullmatch(authority.lower())
    if found is None:
        raise _Unclear(f"authority {authority!r}")
    return found[1]


_PLAIN_PATH = re.compile(r"(?:/[\w~!$&'()*+,=:@-][\w.~!$&'()*+,=:@-]*+)++|/|\*|", re.ASCII)
"""Paths that are plain as they are; the last two are those of an `OPTIONS *` and of a CONNECT."""

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\0-\x1f\x7f]")


def _plain_path(target: str) -> str:
    """The path as the most lenient of servers reads it: without query, escapes, parameters of segments (`;v=1`), empty
    segments, dots, and a slash at the end; `%2F` and backslashes are slashes.

    A stricter server takes what they make different for a name of its own, which leads nowhere. But not if the path
    goes up: of `/public/../admin` and `/public/..%2fadmin` some servers make `/admin`, and others do not.
    """
    path = target.partition("?")[0]
    if _PLAIN_PATH.fullmatch(path):
        return path
    _check_length(path, "path")
    text = _unescaped(path)
    if not text.startswith("/") or "#" in path or _CONTROL.search(text):
        raise _Unclear(f"path {path!r}")
    parts = [part.partition(";")[0] for part in text.replace("\\", "/").split("/")]
    if ".." in parts:
        raise _Unclear(f"path {path!r} goes up")
    return "/" + "/".join(part for part in parts if part not in ("", "."))


def _unescaped(path: str) -> str:
    data = path.encode("utf-8", "surrogateescape")
    if _BROKEN_ESCAPE.search(data):
        raise _Unclear(f"path {path!r} has a broken escape")
    for _ in range(2):  # there are servers behind servers that pass on what they have read
        data = _ESCAPE.sub(_byte, data)
    if _ESCAPE.search(data):
        raise _Unclear(f"path {path!r} is escaped more than twice")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _Unclear(f"path {path!r} is not UTF-8") from None


def _byte(escape: re.Match[bytes]) -> bytes:
    return bytes((int(escape[1], 16),))


# What a configuration says, checked


def _each(name: str, given: str | list[str], check: Callable[[str], str]) -> Iterator[str]:
    """What a check makes of a text, or of each item of a list."""
    for number, item in enumerate([given] if isinstance(given, str) else given):
        try:
            yield check(item)
        except ValueError as error:
            place = name if isinstance(given, str) else f"{name}[{number}]"
            raise ValueError(f"{place}: {error}") from None


def _method(item: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z-]*", item):
        raise ValueError(f"{item!r} is no method, such as GET")
    return item.upper()


def _header_name(name: str) -> str:
    if name.lower() in ("host", ":authority", ":path", ":method"):
        raise ValueError(f"headers: {name!r} is matched by host, path and method")
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        raise ValueError(f"headers: {name!r} is no name of a header")
    return name.lower()


def _host_condition(given: str | list[str]) -> Condition:
    hosts = list(_each("host", given, _host))
    exact = frozenset(host for host in hosts if not host.startswith("."))
    below = tuple(host for host in hosts if host.startswith("."))
    if not below:
        return lambda facts: facts[":authority"] in exact
    return lambda facts: facts[":authority"] in exact or facts[":authority"].endswith(below)


def _host(item: str) -> str:
    """A host as it is compared; what stands for all below a host begins with a dot."""
    host = item.removeprefix("*.").lower()
    found = _HOST.fullmatch(host)
    if not host or found is None or found[1] != host or (host[0] == "[" and item[0] == "*"):
        raise ValueError(f"{item!r} is no host without port, such as example.com, *.example.com, 10.0.0.1 or [::1]")
    return f".{host}" if item.startswith("*") else host


def _path_condition(given: str | list[str]) -> Condition:
    paths = list(_each("path", given, _path))
    exact = frozenset(path.removesuffix("/*") or "/" for path in paths)
    below = tuple(path.removesuffix("*") for path in paths if path.endswith("/*"))
    if not below:
        return lambda facts: facts[":path"] in exact
    return lambda facts: facts[":path"] in exact or facts[":path"].startswith(below)


_NEVER_IN_A_PLAIN_PATH = re.compile(r"[?#;*\\]|//|/\.{1,2}(?:/|$)|.+/$")


def _path(item: str) -> str:
    """A path as it is compared; what stands for all below a path keeps its `/*`."""
    path = item.removesuffix("/*") or "/" * (item == "/*")
    if not path.startswith("/") or _NEVER_IN_A_PLAIN_PATH.search(path):
        advice = "a path is written like /admin, or like /admin/* with all that is below it, without query"
        raise ValueError(f"{item!r} can match no request: {advice}")
    try:
        plain = _plain_path(path)
    except _Unclear as unclear:
        raise ValueError(f"{item!r} can match no request: {unclear}") from None
    return plain.rstrip("/") + "/*" if item.endswith("/*") else plain
