"""Rules: which one a request gets, whatever a client makes of its path, host and headers, and which are mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given, strategies as st

from pywasmfilter import ConfigError, HttpContext
from pywasmfilter._state import contexts
from pywasmfilter.config import decoder
from pywasmfilter.rules import Match, Rule, Ruleset, _plain_path, _Unclear
from pywasmfilter.types import MapType
from tests.pages import DOCS, blocks

from .conftest import MemoryHost

if TYPE_CHECKING:
    from pywasmfilter.testing import Host, NewHost


@dataclass
class Named(Rule):
    name: str = "default"


@dataclass
class Config(Ruleset):
    default: Named | None = field(default_factory=Named)
    rules: list[Named] = field(default_factory=list)


REFUSED = "refused"
Select = Callable[..., str | None]


@pytest.fixture
def select(host: MemoryHost) -> Select:
    """A function that gives the name of the settings that a request gets, None if the filter is off for it."""

    def choose(config: Any, **request: Any) -> str | None:
        if "rules" not in config:
            config = {"rules": [{"match": config, "name": "matches"}]}
        return answer(host, decoder(Config)(json.dumps(config)), **request)

    return choose


def answer(
    host: MemoryHost,
    config: Config,
    *,
    method: str = "GET",
    authority: str | None = "test.local",
    path: str | None = "/",
    headers: tuple[tuple[str, str], ...] = (),
    route: str = "",
) -> str | None:
    """What `select` says to a request, and that it does what it says."""
    pairs = [(":method", method), (":authority", authority), (":path", path), *headers]
    sent = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in pairs if value is not None]
    host.headers[MapType.HTTP_REQUEST_HEADERS] = sent
    host.properties = {b"xds\0route_name": route.encode()}
    for name, _ in headers:
        joined = ",".join(value for other, value in headers if other.lower() == name.lower())
        host.properties[b"request\0headers\0" + name.lower().encode()] = joined.encode("utf-8", "surrogateescape")
    host.responses.clear()
    stream = contexts[2] = HttpContext(2)
    settings = config.select(stream)
    assert contexts[2] is (None if settings is None else stream)
    if host.responses:
        assert settings is None
        assert [(status, body) for status, _, body, _, _ in host.responses] == [(400, b"Bad Request")]
        return REFUSED
    return None if settings is None else settings.name


# Which rule holds


FIRST = {
    "default": {"name": "default"},
    "rules": [
        {"match": {"path": "/admin/*", "method": ["POST", "PUT"]}, "name": "change"},
        {"match": {"path": "/admin/*"}, "name": "admin"},
        {"match": {"host": "*.internal.example.com"}, "enabled": False},
        {"match": [{"path": "/a"}, {"headers": {"x-a": "a"}}], "name": "either"},
    ],
}


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "default"),
        ({"path": "/admin/users", "method": "POST"}, "change"),
        ({"path": "/admin/users"}, "admin"),
        ({"path": "/admin/users", "authority": "x.internal.example.com"}, "admin"),
        ({"authority": "x.internal.example.com"}, None),
        ({"path": "/a"}, "either"),
        ({"headers": (("x-a", "a"),)}, "either"),
        ({"headers": (("x-a", "b"),)}, "default"),
    ],
)
def test_the_first_rule_that_matches_holds(select: Select, request_: dict[str, Any], expected: str | None) -> None:
    """All conditions of a match hold together, one match of several is enough, and the default is for the rest."""
    assert select(FIRST, **request_) == expected


@pytest.mark.parametrize("default", [None, {"enabled": False}])
def test_off_unless_a_rule_matches(select: Select, default: Any) -> None:
    """Without a default, or with one that is not enabled, the filter is on where a rule says so."""
    config = {"default": default, "rules": [{"match": {"path": "/a"}, "name": "on"}]}
    assert select(config, path="/a") == "on"
    assert select(config, path="/b") is None


def test_no_rules(select: Select) -> None:
    """An empty configuration has the defaults for every request; so has a rule without a match."""
    assert select({"rules": []}) == "default"
    assert select({"rules": [{"name": "all"}]}, path=None, authority=None) == "all"


# Conditions


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "api.example.com",
            ["api.example.com", "API.Example.COM", "api.example.com:8443", "api.example.com.", "api.example.com:"],
            ["example.com", "x.api.example.com", "api.example.com.evil.com", "", None, "api-example.com"],
        ),
        ("API.example.com", ["api.example.com"], []),
        (
            "*.example.com",
            ["a.example.com", "b.a.example.com:80", "A.EXAMPLE.com."],
            ["example.com", "aexample.com", "a.example.com.evil.com"],
        ),
        (["a.com", "*.b.com"], ["a.com", "x.b.com"], ["b.com", "x.a.com"]),
        ("10.0.0.1", ["10.0.0.1", "10.0.0.1:80"], ["10.0.0.10"]),
        ("[::1]", ["[::1]", "[::1]:80"], ["[::2]"]),
        ("my_service", ["my_service:9080"], []),
    ],
)
def test_hosts(select: Select, pattern: Any, matching: list[str], others: list[str | None]) -> None:
    """A host is compared ignoring case, port and the dot of the root; a wildcard is for all below it."""
    assert {host: select({"host": pattern}, authority=host) for host in matching} == dict.fromkeys(matching, "matches")
    assert {host: select({"host": pattern}, authority=host) for host in others} == dict.fromkeys(others, "default")


@pytest.mark.parametrize(
    "authority",
    ["a,b", "user@a.com", "a.com/b", "a b", "a..com", ".a.com", "a.com:80:80", "a.com:b", "[::1", "ä.com", "%61"],
)
def test_hosts_that_are_none(select: Select, authority: str) -> None:
    """What is no host is refused, if a rule looks at it."""
    assert select({"host": "a.com"}, authority=authority) == REFUSED
    assert select({"path": "/"}, authority=authority) == "matches"


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        (
            "/a",
            ["/a", "/a?b", "/a/", "//a", "/./a", "/%61", "/a;v=1", "/a?../b", "/a?x#y", "/%2561"],
            ["/A", "/ab", "/a/b", "/"],
        ),
        ("/a/*", ["/a", "/a/", "/a/b", "/a//b", "/a%2Fb", "/a%5cb", "/a\\b", "/a;x/b", "/a/b?c"], ["/ab", "/b/a", "/"]),
        ("/", ["/", "//", "/?a", "/."], ["/a", "*", "", None]),
        ("/*", ["/", "/a", "/a/b"], ["*", "", None]),
        ("/a b/ä", ["/a%20b/%C3%A4", "/a b/ä"], ["/a+b/ä"]),
        ("/a%20b", ["/a%20b", "/a b"], []),
        ("/100%25", ["/100%25"], ["/100"]),
        ("/%2A/*", ["/*", "/*/a"], ["/a"]),
        ("/.well-known/*", ["/.well-known/a"], []),
        (["/a", "/b/*"], ["/a", "/b", "/b/c"], ["/a/b", "/c"]),
    ],
)
def test_paths(select: Select, pattern: Any, matching: list[str], others: list[str | None]) -> None:
    """A path is compared in its plain form, without query; with `/*` it and all below it is meant."""
    assert {path: select({"path": pattern}, path=path) for path in matching} == dict.fromkeys(matching, "matches")
    assert {path: select({"path": pattern}, path=path) for path in others} == dict.fromkeys(others, "default")


UNCLEAR_PATHS = [
    *(
        "/admin/../admin",
        "/..",
        "/public/..",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a/..%2fb",
        "/a%2f..%2fb",
        "/a/..;/b",
        "/a/..;x=1/b",
    ),
    *(
        "/a\\..\\b",
        "/a/..%5cb",
        "/a/%252e%252e/b",
        "/a/..%252fb",
        "/%25252561",
        "/a%00",
        "/a%0a",
        "/a\x01",
        "/a%",
        "/a%2",
    ),
    *(
        "/a%zz",
        "/a%u002e",
        "/%c0%af",
        "/%c0%ae%c0%ae/b",
        "/caf%e9",
        "/caf\udce9",
        "/a#b",
        "/a#/../b",
        "a",
        "http://a/b",
    ),
    *("/a/%2e%2e", "%2fa/../b", "\\a/../b", "*/../a"),
]


@pytest.mark.parametrize("path", UNCLEAR_PATHS)
@pytest.mark.parametrize("condition", [{"path": "/x"}, {"path": "/*"}, {"path_regex": ".*"}])
def test_unclear_paths(select: Select, path: str, condition: dict[str, Any]) -> None:
    """A path on which servers do not agree is refused: not taken for one that no rule is for, nor for any other."""
    assert select(condition, path=path) == REFUSED


def test_paths_are_looked_at_if_a_rule_asks(select: Select) -> None:
    """No path is refused that no rule had to look at."""
    config = {
        "rules": [{"match": {"method": "POST", "path": "/a"}, "name": "post"}, {"match": {"host": "b"}, "name": "b"}]
    }
    assert select(config, path="/a/../b") == "default"
    assert select(config, path="/a/../b", authority="b") == "b"
    assert select(config, path="/a/../b", method="POST") == REFUSED
    assert select({"default": {"enabled": False}, "rules": []}, path="/a/../b") is None


def test_path_regex(select: Select) -> None:
    """A regular expression is for the whole of the plain path, and all other conditions hold beside it."""
    match = {"path_regex": r"/v[0-9]+/(?i:users)(/.*)?", "method": "GET"}
    assert select(match, path="/v1/USERS/%61?x") == "matches"
    assert select(match, path="/v1/users/") == "matches"
    assert select(match, path="/x/v1/users") == "default"
    assert select(match, path="/v1/users", method="PUT") == "default"
    assert select({"path_regex": "/a"}, path=None) == "default"


def test_long_values_and_regular_expressions(select: Select) -> None:
    """What takes long is done for 4096 characters at most; what is longer is refused, not skipped."""
    assert select({"path_regex": "/a*"}, path="/" + "a" * 4095) == "matches"
    assert select({"path_regex": "/a*"}, path="/" + "a" * 4096) == REFUSED
    match = {"headers": {"x-a": {"regex": "a*"}}}
    assert select(match, headers=(("x-a", "a" * 4096),)) == "matches"
    assert select(match, headers=(("x-a", "a" * 4097),)) == REFUSED
    assert select({"path": "/*"}, path="/" + "a" * 50_000) == "matches"
    assert select({"path": "/*"}, path="/a" * 30_000) == "matches"
    assert select({"path": "/*"}, path="/a" * 30_000 + "/") == REFUSED
    assert select({"path": "/*"}, path="/" + "%41a" * 1023) == "matches"
    assert select({"path": "/*"}, path="/" + "%41a" * 1024) == REFUSED


def test_methods(select: Select) -> None:
    """Methods are compared ignoring case."""
    assert select({"method": ["post", "PUT"]}, method="POST") == "matches"
    assert select({"method": "POST"}, method="post") == "matches"
    assert select({"method": "POST"}) == "default"


def test_routes(select: Select) -> None:
    """The name of the route is compared as it is; a route without a name is no route's."""
    assert select({"route": ["a", "b"]}, route="b") == "matches"
    assert select({"route": "a"}, route="A") == "default"
    assert select({"route": "a"}) == "default"


@pytest.mark.parametrize(
    ("condition", "matching", "others"),
    [
        ("a", [("a",)], [(), ("A",), ("a", "a"), ("a", "b"), ("",), ("ab",)]),
        ("a,b", [("a", "b"), ("a,b",)], [("b", "a")]),
        ("", [("",)], [(), ("a",)]),
        ({"exact": "a"}, [("a",)], [("b",)]),
        ({"prefix": "a"}, [("a",), ("ab",), ("a", "b")], [(), ("ba",), ("b", "a")]),
        ({"regex": "a+"}, [("a",), ("aa",)], [(), ("ab",), ("a", "a")]),
        ({"present": True}, [("a",), ("",)], [()]),
        ({"present": False}, [()], [("a",), ("",)]),
    ],
)
def test_headers(
    select: Select, condition: Any, matching: list[tuple[str, ...]], others: list[tuple[str, ...]]
) -> None:
    """A header has all of its values, joined by commas: one that is sent twice is not the one that comes first."""

    def results(cases: list[tuple[str, ...]]) -> list[str | None]:
        match = {"headers": {"X-A": condition}}
        return [select(match, headers=tuple(("x-a", value) for value in values)) for values in cases]

    assert results(matching) == ["matches"] * len(matching)
    assert results(others) == ["default"] * len(others)


def test_all_headers_must_hold(select: Select) -> None:
    """Several headers are conditions that hold together."""
    match = {"headers": {"x-a": "a", "x-b": {"present": False}}}
    assert select(match, headers=(("x-a", "a"),)) == "matches"
    assert select(match, headers=(("x-a", "a"), ("x-b", ""))) == "default"


# Paths that mean the same get the same rule

SEGMENT = st.text("abcz09 %é\u4e2d*+$", min_size=1, max_size=4).filter(lambda text: not re.search("%[0-9abc]{2}", text))
"""What looks like an escape is none of these: escaped, it would be one that is escaped twice."""


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """A path and another spelling of it that every lenient server reads alike."""
    segments = draw(st.lists(SEGMENT, max_size=4))
    plain = "/" + "/".join(segments)
    spelt = "".join(draw(st.sampled_from(["/", "//", "/./"])) + draw(spelt_segment(segment)) for segment in segments)
    return plain, (spelt or "/") + draw(st.sampled_from(["", "/", "/.", "?", "?a=/../b"]))


@st.composite
def spelt_segment(draw: st.DrawFn, segment: str) -> str:
    """A segment with some of its characters escaped, once or twice, and perhaps with parameters."""
    text = ""
    for character in segment:
        escaped = "".join(f"%{byte:02X}" for byte in character.encode())
        ways = [escaped, escaped.lower(), escaped.replace("%", "%25")]
        text += draw(st.sampled_from(ways if character == "%" else [character, *ways]))
    return text + draw(st.sampled_from(["", ";", ";v=1", ";a;b=%2e"]))


@given(spellings())
def test_spellings_of_a_path(paths: tuple[str, str]) -> None:
    """However a path is spelt, its plain form is the same, so that every rule says the same to it."""
    plain, spelt = paths
    assert _plain_path(spelt) == plain


@given(st.text("ab./\\;%25fFeEcC0#?*~\x00é", max_size=12))
def test_a_plain_path_is_plain(path: str) -> None:
    """Whatever a client sends is refused, or becomes a path without anything that can be read in two ways."""
    try:
        plain = _plain_path(path)
    except _Unclear:
        return
    assert plain in ("", "*") or plain.startswith("/")
    assert not {"", ".", ".."} & set(plain.split("/")[1:]) or plain == "/"
    assert not set(plain) & set("\\;\x00")


# Mistakes


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"match": {"path_regex": "("}}, "rules[0].match.path_regex: expected a regular expression or null, got"),
        ({"match": {"paths": ["/a"]}}, 'rules[0].match.paths: there is no such key; did you mean "path"?'),
        ({"mach": {"path": "/a"}}, 'rules[0].mach: there is no such key; did you mean "match"?'),
        ({"match": {"path": ["/a", "/b/"]}}, "rules[0].match: path[1]: '/b/' can match no request"),
        *(
            ({"match": {"path": path}}, f"rules[0].match: path: {path!r} can match no request")
            for path in (
                "",
                "a",
                "*",
                "/a*",
                "/*/b",
                "/a?b",
                "/a#b",
                "/a;b",
                "//a",
                "/a//*",
                "/a/../b",
                "/./a",
                "/a\\b",
                "/%",
            )
        ),
        *(
            ({"match": {"host": host}}, f"rules[0].match: host: {host!r} is no host without port")
            for host in (
                "",
                "*",
                "*.",
                "a.com:80",
                "a.com.",
                "a.*",
                "*a.com",
                "http://a.com",
                "ä.com",
                "*.[::1]",
                "a b",
            )
        ),
        ({"match": {"host": []}}, "rules[0].match: host is empty"),
        ({"match": {"headers": {}}}, "rules[0].match: headers is empty"),
        ({"match": {"route": []}}, "rules[0].match: route is empty"),
        ({"match": []}, "rules[0].match is empty"),
        ({"match": None}, "rules[0].match: expected an object or an array, got null"),
        ({"match": {}}, "rules[0].match: there is no condition"),
        ({"match": [{"path": "/a"}, {"host": None}]}, "rules[0].match[1]: there is no condition"),
        ({"match": {"method": "*"}}, "rules[0].match: method: '*' is no method"),
        ({"match": {"method": ["GET, PUT"]}}, "rules[0].match: method[0]: 'GET, PUT' is no method"),
        ({"match": {"headers": {":path": "/a"}}}, "rules[0].match: headers: ':path' is matched by"),
        ({"match": {"headers": {"Host": "a"}}}, "rules[0].match: headers: 'Host' is matched by"),
        ({"match": {"headers": {"a b": "a"}}}, "rules[0].match: headers: 'a b' is no name of a header"),
        ({"match": {"headers": {"a": {}}}}, "rules[0].match.headers.a: needs exactly one of"),
        (
            {"match": {"headers": {"a": {"exact": "a", "present": True}}}},
            "rules[0].match.headers.a: needs exactly one of",
        ),
    ],
)
def test_mistakes(config: dict[str, Any], message: str) -> None:
    """What can match no request, or is no condition, is an error of the configuration that says where."""
    with pytest.raises(ConfigError) as caught:
        decoder(Config)(json.dumps({"rules": [config]}))
    assert str(caught.value).startswith(message)


def test_rules_that_are_never_reached() -> None:
    """After a rule for every request there is none; the default has no conditions."""
    with pytest.raises(ConfigError, match=r"rules\[1\] is never reached"):
        decoder(Config)('{"rules": [{"name": "all"}, {"match": {"path": "/b"}}]}')
    with pytest.raises(ConfigError, match="default is for the requests that no rule matches"):
        decoder(Config)('{"default": {"match": {"path": "/a"}}}')


def test_a_class_that_forgets_to_check(host: MemoryHost) -> None:
    """A configuration with a `__post_init__` of its own has its rules nevertheless."""

    @dataclass
    class Own(Config):
        def __post_init__(self) -> None:
            self.checked = True

    assert answer(host, Own(rules=[Named(match=Match(path="/a"), name="a")]), path="/a") == "a"


def test_configurations_of_the_page() -> None:
    """What the documentation shows is taken by the filter that it shows."""
    page = list(blocks(DOCS / "rules.md"))
    (code,) = (block.text for block in page if block.file_name == "filter.py")
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(code, "filter.py", "exec", dont_inherit=True), namespace)
    configurations = [yaml.safe_load(block.text) for block in page if block.language == "yaml"]
    assert configurations
    for configuration in configurations:
        assert decoder(namespace["Config"])(json.dumps(configuration)).rules


# In both bodies

RULED = {
    "rules": [
        {"match": {"path": "/off/*"}, "enabled": False},
        {"match": {"route": "assets"}, "tag": "assets"},
        {"match": {"headers": {"x-tenant": "a"}}, "tag": "tenant"},
    ]
}


@pytest.fixture
def filtered(new_host: NewHost) -> Host:
    """A host with the filter of the mark, in each body."""
    return new_host()


ruled = pytest.mark.filter("../e2e/filters/ruled.py", configuration=RULED)


@ruled
def test_a_filter_with_rules(filtered: Host) -> None:
    """Settings are those of the rule, in later callbacks too."""
    host = filtered
    host.properties["xds.route_name"] = "web"
    assert host.request("GET", "/").headers["x-tag"] == "default"
    assert host.request("GET", "/", headers={"x-tenant": "a"}).headers["x-tag"] == "tenant"
    assert host.request("GET", "/", headers=[("x-tenant", "a"), ("x-tenant", "b")]).headers["x-tag"] == "default"
    host.properties["xds.route_name"] = "assets"
    assert host.request("GET", "/", headers={"x-tenant": "a"}).headers["x-tag"] == "assets"
    assert host.messages == [f"done: {tag}" for tag in ("default", "tenant", "default", "assets")]


@ruled
def test_a_stream_without_the_filter(filtered: Host) -> None:
    """Where the filter is off its other callbacks are not made: they would lack the settings."""
    stream = filtered.request("POST", "/off/x", body=["a", "b"], trailers={"x-t": "1"})
    assert stream.sent is not None
    assert (stream.status, stream.sent.body, stream.headers.get("x-tag")) == (200, b"ab", None)
    assert filtered.messages == []


@ruled
def test_an_unclear_request(filtered: Host) -> None:
    """It is answered by the proxy, which says why in the access log; other requests go on."""
    stream = filtered.request("GET", "/x/..%2foff/x")
    assert (stream.status, stream.body, stream.sent) == (400, b"Bad Request", None)
    assert stream.local_response is not None
    assert stream.local_response.details == "pywasmfilter_unclear_request"
    assert filtered.messages == ["answered 400, since rules cannot tell what is meant: path '/x/..%2foff/x' goes up"]
    assert filtered.request("GET", "/").headers["x-tag"] == "default"


@pytest.mark.filter(
    "../e2e/filters/ruled.py",
    configuration={
        "rules": [
            {"match": {"method": "POST", "path": "/a", "headers": {"x-a": "a"}}},
            {"match": {"path": "/b"}},
            {"match": {"method": "PUT", "host": "a"}},
        ]
    },
)
def test_only_what_rules_need_is_read(filtered: Host) -> None:
    """A request is asked for what the rules that it comes to need, each once."""
    filtered.request("GET", "/c")
    keys = [call.arguments[1] for call in filtered.trace.calls("get_header_map_value")]
    assert keys == [b":method", b":path"]
    assert not filtered.trace.calls("get_property")
