"""The functions that Envoy registers for filters."""

from __future__ import annotations

import base64
import textwrap
from typing import TYPE_CHECKING

import pytest
from pywasmfilter_compiler.envoy.bootstrap import (
    UPSTREAM,
    WasmPlugin,
    bootstrap,
    cluster,
    direct_response,
    http_listener,
    tcp_listener,
)
from pywasmfilter_compiler.envoy.process import EnvoyProcess

from tests.e2e.client import request
from tests.e2e.scripting import INCLUDED, evaluate, failure, run, script, value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pywasmfilter_compiler.envoy.echo import EchoServer

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

# An RSA key that is used nowhere else, and what openssl made of it: openssl dgst -sha256 -sign key.pem

PRIVATE_KEY = base64.b64decode("""
MIICeAIBADANBgkqhkiG9w0BAQEFAASCAmIwggJeAgEAAoGBANYWqkr+6Ii2AajnUQ0y1Lc+4G8km6+HGalYzCu847vaobquB/qd
YI2VFrC0/ErUr5Y5Rl1QbgKFRgsgfol175f6Fq8RlPfFkusuDocI//uII/xGzR8KIsFYbRU2uUhhoUZvR4nVR1iaXYtgUnnvwWRE
FJHV7yTcq5loWjFqX64LAgMBAAECgYEArmvU3jkEFq3CeGvNWyV4rLrre2Gl/cHiJFiWL2Q7Xkdn0IINOh+SFIfM7rblfcn+LDQJ
oejvV9phEJuuvCt7wSako52SYBe37gbNZyqFOdy2XP2Clb9OlcFgRAD3f+Wl7jZ0Z8jFU1TLaECKvbY7bDvVZqkVBtYRXrvRiJ+6
iYECQQDrR1AUxCR8tnw4lEvjyKjp+B2CiVo5k0Q5RMXcvtPD0qYNsYT69IBi9vm3AGF6l/IKDM1aGecTTB9Rc4KM7cFrAkEA6PGX
4O5BgE4aj9EPd6lHFR0HFuLptssDQ4J1wmzUgHmU3OOhxc6mHOIeksgUGXwXpGAIYbujjOc06HW4sBLN4QJAJ5Rym1u3y6cjVJ1V
+vbZu6p6xGf43rCwjHXOV2le1JWOS8VuWo1hP8TOk4Oj4mzHUft/XEX5QpzOs/QbpTumCwJBAORtFOxjdyPkczOYZLyI6MWRg4Qz
289+YKLw6Z1Qr0mU8B9zsQ2SSV6FdkmlneAnyd9MtKtyHz1q9H0IA6XVqsECQQDgIadKKNpTOW7tm6ZWATerZlwFonfSJ0Fdy3gg
WHQMJ69A4DkjLDJcEtiwjPrRiOsjuP87wXxbLfK3BI/+lT81
""")

PUBLIC_KEY = base64.b64decode("""
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDWFqpK/uiItgGo51ENMtS3PuBvJJuvhxmpWMwrvOO72qG6rgf6nWCNlRawtPxK
1K+WOUZdUG4ChUYLIH6Jde+X+havEZT3xZLrLg6HCP/7iCP8Rs0fCiLBWG0VNrlIYaFGb0eJ1UdYml2LYFJ578FkRBSR1e8k3KuZ
aFoxal+uCwIDAQAB
""")

SIGNATURE = base64.b64decode("""
sZje4MxuhRv4/HPjvTmV0vYWxcZ4XM7DD6bgmCZostec86Q4LSWsDvlc5jEezP3wgH/o2MdJvPXfL9hyMDP4nQeyncEZaxmYIPTU
sI3NNhXd5oU5j8Hft+4bbgcQ//CnYKwYmt2ISzMY1hOkbg72X3y43+N2ZoNWfM2/XtJa/vo=
""")


def pem(label: str, der: bytes) -> str:
    """A key as PEM text."""
    text = "\n".join(textwrap.wrap(base64.b64encode(der).decode(), 64))
    return f"-----BEGIN {label} KEY-----\n{text}\n-----END {label} KEY-----\n"


DECLARING = script("""
    def on_plugin_start(self, plugin_configuration_size):
        from pywasmfilter.foreign_functions import LifeSpan, WasmType

        declare = foreign_functions.declare_property
        declare("declared", wasm_type=WasmType.STRING, read_only=True, span=LifeSpan.DOWNSTREAM_CONNECTION)
        shared["again"] = failure(declare, "declared")
""")

CHOOSING = script("""
    def on_new_connection(self):
        foreign_functions.set_envoy_filter_state("envoy.tcp_proxy.cluster", "upstream")
""")


@pytest.fixture(scope="module")
def envoy(build_filter: FilterBuilder, upstream: EchoServer) -> Iterator[EnvoyProcess]:
    """A plugin that does what requests bring, one that declares a property, and one that chooses its upstream."""
    module = build_filter("scripted", include=INCLUDED).path
    plugins = {"http": b"", "declaring": DECLARING}
    routes = [direct_response(200, "other"), direct_response(200, "direct")]
    routes[0]["match"]["filter_state"] = [{"key": "envoy.string", "string_match": {"exact": "other"}}]
    listeners = [
        http_listener([WasmPlugin(module, root_id="http", configuration=code)], routes, name=name)
        for name, code in plugins.items()
    ]
    listeners.append(tcp_listener([WasmPlugin(module, root_id="tcp", configuration=CHOOSING)], "nowhere", name="tcp"))
    clusters = [cluster(UPSTREAM, "127.0.0.1", upstream.port), cluster("nowhere", "127.0.0.1", 1)]
    with EnvoyProcess(bootstrap(listeners, clusters)) as process:
        yield process


@pytest.fixture(scope="module")
def port(envoy: EnvoyProcess) -> int:
    return envoy.listener_port("http")


def test_compression(port: int) -> None:
    """What is compressed is a zlib stream, and can be read again; anything else is refused."""
    assert (
        evaluate(port, "foreign_functions.compress('hello world!').hex()") == "789ccb48cdc9c95728cf2fca495104001e89047e"
    )
    assert evaluate(port, "foreign_functions.uncompress(foreign_functions.compress(b'\\0' * 9))") == bytes(9)
    assert failure(port, "foreign_functions.uncompress(b'none')").startswith("SerializationFailure")


@pytest.mark.parametrize("key", [PUBLIC_KEY, pem("PUBLIC", PUBLIC_KEY)], ids=["DER", "PEM"])
def test_verify_signature(port: int, key: bytes | str) -> None:
    """A signature is that of a text, or not; nor is it with a key or a hash function that does not exist."""
    verify = f"foreign_functions.verify_signature('sha256', {key!r}, {SIGNATURE!r}, {{!r}})"
    assert evaluate(port, verify.format("the text")) is True
    assert evaluate(port, verify.format("another text")) is False
    assert evaluate(port, verify.replace("sha256", "md0").format("the text")) is False
    assert evaluate(port, f"foreign_functions.verify_signature('sha256', 'no key', {SIGNATURE!r}, 'the text')") is False


@pytest.mark.parametrize("key", [PRIVATE_KEY, pem("PRIVATE", PRIVATE_KEY)], ids=["DER", "PEM"])
def test_sign(port: int, key: bytes | str) -> None:
    """A text is signed as openssl does; what cannot be used is an error with the proxy's explanation."""
    assert evaluate(port, f"foreign_functions.sign('sha256', {key!r}, 'the text')") == SIGNATURE
    assert failure(port, f"foreign_functions.sign('md0', {key!r}, 'the text')") == (
        "ValueError: the text cannot be signed: md0 is not supported."
    )
    assert failure(port, "foreign_functions.sign('sha256', 'no key', 'the text')").startswith("ValueError: the text")


def test_expressions(port: int) -> None:
    """An expression is compiled once and has a value for each stream, serialized as a property is."""
    code = """
        def on_http_request_headers(self, *_):
            number = foreign_functions.expr_create("request.path == '/here'")
            text = foreign_functions.expr_create("request.method + ' ' + request.path")
            values = [foreign_functions.expr_evaluate(token) for token in (number, text)]
            foreign_functions.expr_delete(number)
            values.append(failure(foreign_functions.expr_evaluate, number))
            return self.send_http_response(200, body=repr(values))
    """
    *values, error = value(run(port, code, path="/here"))
    assert values == [b"\x01", b"GET /here"]
    assert error.startswith("NotFound: proxy_call_foreign_function: NOT_FOUND (1)")
    assert failure(port, "foreign_functions.expr_create('request.path == ')").startswith("BadArgument")


@pytest.mark.parametrize(("clear", "body"), [("pass", b"direct"), ("foreign_functions.clear_route_cache()", b"other")])
def test_clear_route_cache(port: int, clear: str, body: bytes) -> None:
    """A route that was chosen before its condition was met stays, unless it is chosen again."""
    code = f"""
        def on_http_request_headers(self, *_):
            assert properties.xds.route_name is not None
            foreign_functions.set_envoy_filter_state("envoy.string", "other")
            {clear}
    """
    assert run(port, code).body == body


def test_filter_state(port: int) -> None:
    """An object of Envoy's own is set by its name, and read as a property; a name that Envoy does not know is not."""
    code = """
        def on_http_request_headers(self, *_):
            foreign_functions.set_envoy_filter_state("envoy.tcp_proxy.cluster", "there")
            values = properties.filter_state("envoy.tcp_proxy.cluster").text()
            unknown = failure(foreign_functions.set_envoy_filter_state, "unknown", "value")
            return self.send_http_response(200, body=repr((values, unknown)))
    """
    state, unknown = value(run(port, code))
    assert state == "there"
    assert unknown.startswith("NotFound: proxy_call_foreign_function: NOT_FOUND (1)")


def test_filter_state_chooses_the_upstream(envoy: EnvoyProcess) -> None:
    """A TCP filter sends a connection to another cluster."""
    assert request(envoy.listener_port("tcp")).status == 200


def test_declared_property(envoy: EnvoyProcess) -> None:
    """A property that a plugin declares is stored as it says; declared again it is refused."""
    code = """
        def on_http_request_headers(self, *_):
            hostcalls.set_property(["declared"], "once")
            twice = failure(hostcalls.set_property, ["declared"], "twice")
            answer = hostcalls.get_property(["declared"]), twice, shared["again"]
            return self.send_http_response(200, body=repr(answer))
    """
    stored, twice, again = value(run(envoy.listener_port("declaring"), code))
    assert stored == b"once"
    assert twice.startswith("BadArgument: proxy_set_property: BAD_ARGUMENT (2)")
    assert again.startswith("BadArgument: proxy_call_foreign_function: BAD_ARGUMENT (2)")


def test_unknown_function(port: int) -> None:
    """A name that the proxy does not know is NotFound, with a question that helps."""
    assert failure(port, "hostcalls.call_foreign_function('unknown', b'')") == (
        "NotFound: proxy_call_foreign_function: NOT_FOUND (1); does the proxy have a function of this name, and are "
        "these its arguments?"
    )
