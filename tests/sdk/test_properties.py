"""Properties: paths as the ABI has them, under Envoy's new names and old ones, read as the types they have."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from pywasmfilter import Property, SerializationFailure, Status, hostcalls, properties
from pywasmfilter._serialization import encode_pairs
from pywasmfilter.exceptions import raise_for_status
from tests.sdk.conftest import MemoryHost


def put(host: MemoryHost, value: bytes, *path: str) -> None:
    """Give the proxy a property."""
    host.properties["\0".join(path).encode()] = value


# Paths


def test_a_path_is_joined_with_nul(host: MemoryHost) -> None:
    """Any iterable of text is a path; a property that is not there is None."""
    hostcalls.set_property(["my", "própérty"], b"value")
    assert host.properties == {"my\0própérty".encode(): b"value"}
    assert hostcalls.get_property(("my", "própérty")) == b"value"
    assert hostcalls.get_property(part for part in ("my", "própérty")) == b"value"
    assert hostcalls.get_property(["gone"]) is None
    assert hostcalls.get_property_map(["gone"]) is None


def test_a_path_is_not_one_text(host: MemoryHost) -> None:
    """The letters of a str are not the parts of a path."""
    with pytest.raises(TypeError, match=r"list of its parts.*not 'source\.address'"):
        hostcalls.get_property("source.address")
    with pytest.raises(TypeError, match="list of its parts"):
        hostcalls.set_property("x", b"")


MOVED = [
    "node",
    "cluster_name",
    "cluster_metadata",
    "route_name",
    "route_metadata",
    "listener_direction",
    "listener_metadata",
    "upstream_host_metadata",
]


@pytest.mark.parametrize("name", MOVED)
@pytest.mark.parametrize("rest", [(), ("filter_metadata", "ns", "key")])
def test_what_envoy_moved_is_found_under_both_names(host: MemoryHost, name: str, rest: tuple[str, ...]) -> None:
    """Asked for by its old name or its new one, in a proxy that has only the other; its own name comes first."""
    old, new = (name, *rest), ("xds", name, *rest)
    put(host, b"old", *old)
    assert hostcalls.get_property(old) == hostcalls.get_property(new) == b"old"
    put(host, b"new", *new)
    assert hostcalls.get_property(old) == b"old"
    assert hostcalls.get_property(new) == b"new"
    del host.properties["\0".join(old).encode()]
    assert hostcalls.get_property(old) == b"new"


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        (("virtual_host_name",), ("xds", "virtual_host_name")),
        (("xds", "virtual_host_name"), ("virtual_host_name",)),
        (("xds", "request", "path"), ("request", "path")),
        (("metadata", "node"), ("node",)),
        (("xds",), ()),
    ],
)
def test_nothing_else_has_two_names(host: MemoryHost, asked: tuple[str, ...], there: tuple[str, ...]) -> None:
    """Only what Envoy moved is looked for elsewhere."""
    put(host, b"value", *there)
    assert hostcalls.get_property(asked) is None


def test_a_group_is_no_property(host: MemoryHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host answers for a path that is none comes through."""
    failure = Status.SERIALIZATION_FAILURE
    monkeypatch.setattr(host, "get_property", lambda _path: raise_for_status("proxy_get_property", failure))
    with pytest.raises(SerializationFailure):
        hostcalls.get_property(["request"])


# Types

PAIRS = encode_pairs([("region", "west"), ("zone", b"\xff")])
LIST = encode_pairs([("one", ""), (b"\xff", "")])


@pytest.mark.parametrize(
    ("method", "data", "value"),
    [
        ("raw", b"\0\xff", b"\0\xff"),
        ("raw", b"", b""),
        ("text", "grün".encode(), "grün"),
        ("text", b"\xff", "\udcff"),
        ("text", b"", ""),
        ("integer", (8080).to_bytes(8, "little"), 8080),
        ("integer", struct.pack("<q", -1), -1),
        ("number", struct.pack("<d", 2.5), 2.5),
        ("number", struct.pack("<d", float("inf")), float("inf")),
        ("boolean", b"\1", True),
        ("boolean", b"\0", False),
        ("map", PAIRS, {"region": b"west", "zone": b"\xff"}),
        ("map", b"", {}),
        ("list", LIST, [b"one", b"\xff"]),
        ("list", b"", []),
    ],
)
def test_every_type(host: MemoryHost, method: str, data: bytes, value: object) -> None:
    """Each method reads its type's serialization, and answers None for what is not there."""
    prop = Property("some", "thing")
    assert getattr(prop, method)() is None
    put(host, data, "some", "thing")
    found = getattr(prop, method)()
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(("method", "size"), [("integer", 8), ("number", 8), ("boolean", 1)])
def test_a_wrong_size_is_an_error(host: MemoryHost, method: str, size: int) -> None:
    """What cannot be of the type that was asked for is not turned into some number."""
    for wrong in {0, size - 1, size + 1}:
        put(host, bytes(wrong), "p")
        with pytest.raises(ValueError, match=f"the property has {wrong} bytes where its type has {size}"):
            getattr(Property("p"), method)()


def test_a_map_as_pairs_of_text(host: MemoryHost) -> None:
    """get_property_map keeps the order of the host's pairs, and any bytes as text."""
    put(host, PAIRS, "xds", "cluster_metadata", "filter_metadata", "location")
    path = ["cluster_metadata", "filter_metadata", "location"]
    assert hostcalls.get_property_map(path) == [("region", "west"), ("zone", "\udcff")]


# Attributes by name

GROUPS = ["request", "response", "connection", "source", "destination", "upstream", "xds"]
ATTRIBUTES = [
    (group, name, attribute)
    for group in GROUPS
    for name, attribute in vars(type(getattr(properties, group))).items()
    if isinstance(attribute, properties._Attribute)
]


@pytest.mark.parametrize(("group", "name", "attribute"), ATTRIBUTES)
def test_an_attribute_is_the_property_of_its_name(
    host: MemoryHost, group: str, name: str, attribute: properties._Attribute
) -> None:
    """`properties.group.name` reads ["group", "name"], as the type it has; None if it is not there."""
    assert getattr(getattr(properties, group), name) is None
    data: dict[type, tuple[bytes, object]] = {
        properties._Text: (b"text", "text"),
        properties._Integer: (struct.pack("<q", 7), 7),
        properties._Boolean: (b"\1", True),
    }
    put(host, data[type(attribute)][0], group, name)
    assert getattr(getattr(properties, group), name) == data[type(attribute)][1]


INTEGERS = {
    "request": "time duration size total_size",
    "response": "code flags grpc_status size total_size backend_latency",
    "connection": "id",
    "source": "port",
    "destination": "port",
    "upstream": "port request_attempt_count cx_pool_ready_duration",
    "xds": "listener_direction",
}


@pytest.mark.parametrize("group", GROUPS)
def test_attributes_have_envoys_types(group: str) -> None:
    """Numbers and durations are integers, mtls is a bool, all others are text."""
    kinds = {name: type(attribute) for in_group, name, attribute in ATTRIBUTES if in_group == group}
    integers = {name for name, kind in kinds.items() if kind is properties._Integer}
    assert integers == set(INTEGERS[group].split())
    booleans = {name for name, kind in kinds.items() if kind is properties._Boolean}
    assert booleans == ({"mtls"} if group == "connection" else set())


@pytest.mark.parametrize(
    ("read", "path"),
    [
        (lambda: properties.plugin.name, ("plugin_name",)),
        (lambda: properties.plugin.root_id, ("plugin_root_id",)),
        (lambda: properties.plugin.vm_id, ("plugin_vm_id",)),
        (lambda: properties.request.header("x-a"), ("request", "headers", "x-a")),
        (lambda: properties.response.header("x-a"), ("response", "headers", "x-a")),
        (lambda: properties.response.trailer("x-a"), ("response", "trailers", "x-a")),
        (lambda: properties.xds.node("id").text(), ("xds", "node", "id")),
        *(
            (
                lambda name=name: getattr(properties.xds, name)("ns.x", "a", "b").text(),
                ("xds", name, "filter_metadata", "ns.x", "a", "b"),
            )
            for name in (
                "cluster_metadata",
                "route_metadata",
                "virtual_host_metadata",
                "listener_metadata",
                "upstream_host_metadata",
            )
        ),
        (lambda: properties.metadata("ns", "k").text(), ("metadata", "filter_metadata", "ns", "k")),
        (lambda: properties.filter_state("wasm.x", "f").text(), ("filter_state", "wasm.x", "f")),
    ],
)
def test_what_has_parameters(host: MemoryHost, read: Callable[[], Any], path: tuple[str, ...]) -> None:
    """Headers, metadata, filter state, the node and the plugin itself are the properties of these paths."""
    assert read() is None
    put(host, b"value", *path)
    assert read() == "value"


def test_a_property_says_its_path() -> None:
    """Its text asks no proxy."""
    assert repr(properties.metadata("ns", "key")) == "<Property metadata.filter_metadata.ns.key>"
