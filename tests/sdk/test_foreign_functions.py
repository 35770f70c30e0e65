"""Envoy's foreign functions: the bytes on the wire are its messages, and its answers are Python's values.

The vectors were made with the protobuf package 6 from messages with the fields that Envoy declares in
source/extensions/common/wasm/ext.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import BadArgument, NotFound, Status, foreign_functions, hostcalls
from pywasmfilter._protobuf import fields
from pywasmfilter.exceptions import raise_for_status
from pywasmfilter.foreign_functions import LifeSpan, WasmType
from tests.sdk.conftest import MemoryHost


@pytest.fixture
def answering(host: MemoryHost) -> Callable[[str, str], list[str]]:
    """Makes the proxy answer a function with some bytes, and gives the list of what it gets; both in hex."""

    def answer(name: str, result: str) -> list[str]:
        got: list[str] = []

        def function(arguments: bytes) -> bytes:
            got.append(arguments.hex())
            return bytes.fromhex(result)

        host.foreign[name] = function
        return got

    return answer


def test_any_function_by_its_name(host: MemoryHost) -> None:
    """The answer is the function's bytes; an unknown name raises NotFound with advice."""
    host.foreign["echo"] = lambda arguments: b">" + arguments
    assert hostcalls.call_foreign_function("echo", b"abc") == b">abc"
    assert hostcalls.call_foreign_function("echo", "é") == b">\xc3\xa9"
    assert hostcalls.call_foreign_function("echo") == b">"
    with pytest.raises(NotFound, match="does the proxy have a function of this name"):
        hostcalls.call_foreign_function("gone")


@pytest.mark.parametrize(
    ("call", "name", "arguments"),
    [
        (lambda: foreign_functions.compress("é"), "compress", "c3a9"),
        (lambda: foreign_functions.uncompress(b"\x78\x9c"), "uncompress", "789c"),
        (foreign_functions.clear_route_cache, "clear_route_cache", ""),
        (lambda: foreign_functions.expr_create("a == 'b'"), "expr_create", b"a == 'b'".hex()),
        (lambda: foreign_functions.expr_evaluate(0x01020304), "expr_evaluate", "04030201"),
        (lambda: foreign_functions.expr_delete(7), "expr_delete", "07000000"),
    ],
)
def test_arguments_that_are_no_message(
    answering: Callable[[str, str], list[str]], call: Callable[[], object], name: str, arguments: str
) -> None:
    """Data goes out as it is, text as UTF-8, a token as four bytes."""
    got = answering(name, "")
    call()
    assert got == [arguments]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "set_envoy_filter_state",
            {"path": "envoy.tcp_proxy.cluster", "value": "west", "span": LifeSpan.DOWNSTREAM_CONNECTION},
            "0a17656e766f792e7463705f70726f78792e636c75737465721204776573741802",
        ),
        ("set_envoy_filter_state", {"path": "p", "value": "é".encode()}, "0a01701202c3a9"),
        (
            "declare_property",
            {
                "name": "n",
                "wasm_type": WasmType.PROTOBUF,
                "read_only": True,
                "schema": b"\xff",
                "span": LifeSpan.DOWNSTREAM_REQUEST,
            },
            "0a016e100118032201ff2801",
        ),
        ("declare_property", {"name": "n"}, "0a016e"),
        (
            "verify_signature",
            {"hash_function": "sha256", "public_key": b"\x30\xff", "signature": b"\0\1", "text": b"text"},
            "0a06736861323536120230ff1a020001220474657874",
        ),
        (
            "verify_signature",
            {"hash_function": "sha256", "public_key": "PEM", "signature": b"\0\1", "text": "text"},
            "0a067368613235361a0200012204746578742a0350454d",
        ),
        (
            "sign",
            {"hash_function": "sha256", "private_key": b"\x30\xff", "text": b"text"},
            "0a06736861323536120230ff1a0474657874",
        ),
        (
            "sign",
            {"hash_function": "sha256", "private_key": "PEM", "text": "text"},
            "0a067368613235361a0474657874220350454d",
        ),
    ],
)
def test_arguments_that_are_a_message(
    answering: Callable[[str, str], list[str]], name: str, arguments: dict[str, Any], message: str
) -> None:
    """The fields are those of Envoy's message, with nothing beside them; their order is free."""
    got = answering(name, "0801")
    getattr(foreign_functions, name)(**arguments)
    assert [len(sent) for sent in got] == [len(message)]
    assert fields(bytes.fromhex(got[0])) == fields(bytes.fromhex(message))


@pytest.mark.parametrize(
    ("call", "name", "result", "value"),
    [
        (lambda: foreign_functions.compress(b""), "compress", "00ff", b"\0\xff"),
        (lambda: foreign_functions.uncompress(b""), "uncompress", "00ff", b"\0\xff"),
        (lambda: foreign_functions.verify_signature("sha256", b"k", b"s", b"t"), "verify_signature", "0801", True),
        (lambda: foreign_functions.verify_signature("sha256", b"k", b"s", b"t"), "verify_signature", "", False),
        (lambda: foreign_functions.verify_signature("x", b"k", b"s", b"t"), "verify_signature", "12026e6f", False),
        (lambda: foreign_functions.sign("sha256", b"k", b"t"), "sign", "08011202dead", b"\xde\xad"),
        (lambda: foreign_functions.sign("sha256", b"k", b"t"), "sign", "0801", b""),
        (lambda: foreign_functions.expr_create("1"), "expr_create", "04030201", 0x01020304),
        (lambda: foreign_functions.expr_evaluate(1), "expr_evaluate", "00ff", b"\0\xff"),
        (lambda: foreign_functions.expr_delete(1), "expr_delete", "00", None),
        (foreign_functions.clear_route_cache, "clear_route_cache", "", None),
    ],
)
def test_what_comes_back(
    answering: Callable[[str, str], list[str]], call: Callable[[], object], name: str, result: str, value: object
) -> None:
    """Data is bytes, a token a number, a verdict a bool; a function without a result gives None."""
    answering(name, result)
    found = call()
    assert found == value
    assert type(found) is type(value)


def test_what_cannot_be_signed(answering: Callable[[str, str], list[str]]) -> None:
    """A failure is an error with the proxy's explanation, since there is no signature to give back."""
    answering("sign", "1a07626164206b6579")
    with pytest.raises(ValueError, match=r"the text cannot be signed: bad key$"):
        foreign_functions.sign("sha256", b"k", b"t")


def test_an_answer_that_is_no_message(answering: Callable[[str, str], list[str]]) -> None:
    """A signature is not taken for valid if the proxy answers something else."""
    answering("verify_signature", "08")
    with pytest.raises(ValueError, match="no protobuf message"):
        foreign_functions.verify_signature("sha256", b"k", b"s", b"t")


def test_the_functions_own_status(host: MemoryHost) -> None:
    """What the function itself answers comes through as its exception."""
    host.foreign["expr_create"] = lambda _: raise_for_status("proxy_call_foreign_function", Status.BAD_ARGUMENT)
    with pytest.raises(BadArgument):
        foreign_functions.expr_create("(")


def test_abi_0_1_0_has_a_call_for_the_route_cache(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host has proxy_clear_route_cache, no foreign function is asked."""
    cleared: list[bool] = []
    monkeypatch.setattr(host, "clear_route_cache", lambda: cleared.append(True))
    foreign_functions.clear_route_cache()
    assert cleared == [True]
