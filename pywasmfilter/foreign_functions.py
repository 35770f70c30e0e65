"""The functions that Envoy registers for filters, with arguments and results of Python's types.

`hostcalls.call_foreign_function` calls any function by its name; it raises NotFound in a proxy that has none of that
name.
"""

from __future__ import annotations

from enum import IntEnum

from . import _abi
from ._protobuf import field, fields
from .exceptions import Unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    Text = str | bytes


class LifeSpan(IntEnum):
    """How long filter state lives (`envoy.source.extensions.common.wasm.LifeSpan`)."""

    FILTER_CHAIN = 0
    DOWNSTREAM_REQUEST = 1
    DOWNSTREAM_CONNECTION = 2


class WasmType(IntEnum):
    """What a declared property holds (`envoy.source.extensions.common.wasm.WasmType`)."""

    BYTES = 0
    STRING = 1
    FLAT_BUFFERS = 2
    PROTOBUF = 3


def call_foreign_function(name: str, arguments: Text = b"") -> bytes:
    """Call a function that the proxy registered under a name (`proxy_call_foreign_function`).

    Raises NotFound if the proxy knows no such function, and what status the function itself answers.
    """
    return _abi.host.call_foreign_function(name, arguments)


def compress(data: Text) -> bytes:
    """Compress with zlib, in the proxy (`compress`)."""
    return call_foreign_function("compress", data)


def uncompress(data: bytes) -> bytes:
    """Undo `compress` (`uncompress`). Raises SerializationFailure for what is no zlib stream."""
    return call_foreign_function("uncompress", data)


def clear_route_cache() -> None:
    """Let the proxy choose the route again (`clear_route_cache`). Changing a request's header does so by itself.

    Allowed in callbacks of an HTTP stream before the request has gone on.
    """
    try:
        _abi.host.clear_route_cache()  # ABI 0.1.0 has a host call for it
    except Unimplemented:
        call_foreign_function("clear_route_cache")


def set_envoy_filter_state(path: str, value: Text, span: LifeSpan = LifeSpan.FILTER_CHAIN) -> None:
    """Set an object of Envoy's own filter state (`set_envoy_filter_state`), such as `envoy.tcp_proxy.cluster`.

    Allowed in callbacks of a stream. Raises NotFound if Envoy has no factory for `path`, or there is no stream.
    """
    call_foreign_function("set_envoy_filter_state", field(1, path) + field(2, value) + field(3, span))


def declare_property(
    name: str,
    *,
    wasm_type: WasmType = WasmType.BYTES,
    read_only: bool = False,
    schema: bytes = b"",
    span: LifeSpan = LifeSpan.FILTER_CHAIN,
) -> None:
    """Say what `set_property` stores under a name (`declare_property`), in `on_plugin_start`.

    BadArgument if it is known.
    """
    arguments = (field(1, name), field(2, read_only), field(3, wasm_type), field(4, schema), field(5, span))
    call_foreign_function("declare_property", b"".join(arguments))


def verify_signature(hash_function: str, public_key: Text, signature: bytes, text: Text) -> bool:
    """Whether a signature is that of `text` (`verify_signature`).

    `hash_function` is "sha256" or the like, `public_key` PEM text or DER bytes. False too for a key or a hash function
    that cannot be used.
    """
    key = field(5, public_key) if isinstance(public_key, str) else field(2, public_key)
    result = call_foreign_function(
        "verify_signature", field(1, hash_function) + key + field(3, signature) + field(4, text)
    )
    return bool(fields(result).get(1, 0))


def sign(hash_function: str, private_key: Text, text: Text) -> bytes:
    """The signature of `text` (`sign`, in recent versions of Envoy).

    `private_key` is PEM text, or DER bytes in PKCS #8. Raises ValueError with Envoy's explanation if it cannot be used.
    """
    key = field(4, private_key) if isinstance(private_key, str) else field(2, private_key)
    result = fields(call_foreign_function("sign", field(1, hash_function) + key + field(3, text)))
    if not result.get(1, 0):
        raise ValueError(f"the text cannot be signed: {_as_text(result.get(3, b''))}")
    signature = result.get(2, b"")
    return signature if isinstance(signature, bytes) else b""


def expr_create(expression: str) -> int:
    """Compile an expression of the Common Expression Language (`expr_create`). Returns its token.

    Raises BadArgument for a mistake in it, NotFound in an Envoy that was built without the parser.
    """
    return int.from_bytes(call_foreign_function("expr_create", expression), "little")


def expr_evaluate(token: int) -> bytes:
    """The value of an expression for the current stream, serialized as a property's (`expr_evaluate`)."""
    return call_foreign_function("expr_evaluate", token.to_bytes(4, "little"))


def expr_delete(token: int) -> None:
    """Forget an expression (`expr_delete`)."""
    call_foreign_function("expr_delete", token.to_bytes(4, "little"))


def _as_text(value: bytes | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
