"""Recursion in compiled code, one kind per request: `/name?depth=N` answers what became of it.

The answer is the name of the exception, or `ok`. Everything here would overflow the native stack of a host if the
interpreter did not notice in time.
"""

from __future__ import annotations

import ast
import copy
import functools
import itertools
import json
import operator
import pickle
import re
from collections import ChainMap, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from pywasmfilter import HttpContext, http_filter


def nested_list(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def nested_tuple(depth: int) -> Any:
    value: Any = ()
    for _ in range(depth):
        value = (value,)
    return value


def nested_dict(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def chain(depth: int, start: Any, wrap: Callable[[Any], Any]) -> Any:
    value = start
    for _ in range(depth):
        value = wrap(value)
    return value


class Attribute:
    def __init__(self, depth: int) -> None:
        self.depth = depth

    def __getattr__(self, name: str) -> Any:
        return getattr(Attribute(self.depth), name + "x" if len(name) < 9 else name)


class Caller:
    def __call__(self, depth: int) -> Any:
        return functools.partial(self, depth)()


class Comparer:
    def __init__(self, other: Any) -> None:
        self.other = other

    def __eq__(self, other: object) -> bool:
        return bool(self.other == other)

    def __lt__(self, other: Any) -> bool:
        return bool(sorted([Comparer(self.other), other]))

    def __hash__(self) -> int:
        return hash((self.other, self))

    def __repr__(self) -> str:
        return f"{self!r}"

    def __str__(self) -> str:
        return str(self)

    def __format__(self, spec: str) -> str:
        return format(self, spec)

    def __iter__(self) -> Any:
        return iter(list(self))

    def __len__(self) -> int:
        return len(self)

    def __bool__(self) -> bool:
        return bool(self)

    def __contains__(self, item: object) -> bool:
        return item in self

    def __getitem__(self, key: Any) -> Any:
        return self[key]

    def __add__(self, other: Any) -> Any:
        return self + other

    def __index__(self) -> int:
        return operator.index(self)


class Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls)


class Checked(metaclass=Meta):
    pass


def release(value: Any) -> str:
    del value
    return "released"


class Slots:
    __slots__ = ("next",)

    def __init__(self, following: Any) -> None:
        self.next = following


class Node:
    def __init__(self, following: Any) -> None:
        self.next = following


class Deleter:
    def __init__(self, following: Any) -> None:
        self.next = following

    def __del__(self) -> None:
        self.next = None


def self_containing() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def generators(depth: int) -> Any:
    def wrap(inner: Any) -> Any:
        yield from inner

    return chain(depth, iter([1]), wrap)


def sorted_by_sorting(_: object) -> Any:
    return sorted([1, 2], key=sorted_by_sorting)


BATCHED: Any = vars(itertools)["batched"]  # newer than the Python that type checkers are told of

CASES: dict[str, Callable[[int], Any]] = {
    "json-loads-lists": lambda n: json.loads("[" * n),
    "json-loads-closed": lambda n: json.loads("[" * n + "]" * n),
    "json-loads-dicts": lambda n: json.loads('{"a":' * n),
    "json-dumps-list": lambda n: json.dumps(nested_list(n)),
    "json-dumps-dict": lambda n: json.dumps(nested_dict(n)),
    "json-dumps-indent": lambda n: json.dumps(nested_list(n), indent=1),
    "json-dumps-default": lambda n: json.dumps(Node(None), default=lambda value: [value]),
    "repr-list": lambda n: repr(nested_list(n)),
    "repr-dict": lambda n: repr(nested_dict(n)),
    "repr-tuple": lambda n: repr(nested_tuple(n)),
    "str-list": lambda n: str(nested_list(n)),
    "format-list": lambda n: f"{nested_list(n)}",
    "eq-lists": lambda n: nested_list(n) == nested_list(n),
    "eq-tuples": lambda n: nested_tuple(n) == nested_tuple(n),
    "eq-dicts": lambda n: nested_dict(n) == nested_dict(n),
    "eq-self": lambda n: self_containing() == self_containing(),
    "lt-lists": lambda n: nested_list(n) < nested_list(n),
    "hash-tuples": lambda n: hash(nested_tuple(n)),
    "hash-frozensets": lambda n: hash(chain(n, frozenset(), lambda value: frozenset([value]))),
    "hash-partials": lambda n: hash((chain(n, 1, lambda value: functools.partial(print, value)),)),
    "deepcopy": lambda n: copy.deepcopy(nested_list(n)),
    "pickle-dumps": lambda n: pickle.dumps(nested_list(n)),
    "pickle-loads": lambda n: pickle.loads(b"(" * n + b"t" * n + b"."),
    "marshal-like-ast": lambda n: ast.literal_eval("[" * n + "]" * n),
    "ast-parse": lambda n: ast.parse("-" * n + "1"),
    "eval-parens": lambda n: eval("(" * n + ")" * n),
    "eval-minus": lambda n: eval("-" * n + "1"),
    "eval-attributes": lambda n: eval("a" + ".a" * n),
    "compile-add": lambda n: compile("+".join(["1"] * n), "x", "eval"),
    "re-nested": lambda n: re.compile("(" * n + ")" * n),
    "re-backtrack": lambda n: re.match("(?:a|b)*?c", "a" * n),
    "re-recursive-groups": lambda n: re.match(r"(?:(?:a)*)*b", "a" * min(n, 20)),
    "isinstance-tuples": lambda n: isinstance(1, chain(n, (str,), lambda value: (value,))),
    "issubclass-tuples": lambda n: issubclass(int, chain(n, (str,), lambda value: (value,))),
    "isinstance-meta": lambda n: isinstance(1, Checked),
    "issubclass-meta": lambda n: issubclass(int, Checked),
    "getattr": lambda n: Attribute(n).x,
    "call-partial": Caller(),
    "partials": lambda n: chain(n, int, functools.partial)(),
    "sorted-lt": lambda n: sorted([Comparer(1), Comparer(2)]),
    "sorted-key": sorted_by_sorting,
    "repr-self": lambda n: repr(Comparer(1)),
    "str-self": lambda n: str(Comparer(1)),
    "format-self": lambda n: format(Comparer(1)),
    "iter-self": lambda n: list(Comparer(1)),
    "len-self": lambda n: len(Comparer(1)),
    "bool-self": lambda n: bool(Comparer(1)),
    "contains-self": lambda n: 1 in Comparer(1),
    "getitem-self": lambda n: Comparer(1)[1],
    "add-self": lambda n: Comparer(1) + 1,
    "index-self": lambda n: operator.index(Comparer(1)),
    "hash-self": lambda n: hash(Comparer(1)),
    "map-objects": lambda n: list(chain(n, iter([1]), lambda value: map(int, value))),
    "filter-objects": lambda n: list(chain(n, iter([1]), lambda value: filter(None, value))),
    "zip-objects": lambda n: list(chain(n, iter([1]), zip)),
    "enumerate-objects": lambda n: list(chain(n, iter([1]), enumerate)),
    "chain-objects": lambda n: list(chain(n, iter([1]), itertools.chain)),
    "islice-objects": lambda n: list(chain(n, iter([1]), lambda value: itertools.islice(value, 1))),
    "takewhile-objects": lambda n: list(chain(n, iter([1]), lambda value: itertools.takewhile(bool, value))),
    "accumulate-objects": lambda n: list(chain(n, iter([1]), itertools.accumulate)),
    "cycle-objects": lambda n: next(chain(n, iter([1]), itertools.cycle)),
    "starmap-objects": lambda n: list(chain(n, iter([(1,)]), lambda value: itertools.starmap(lambda *a: a, value))),
    "tee-objects": lambda n: list(chain(n, iter([1]), lambda value: itertools.tee(value, 1)[0])),
    "groupby-objects": lambda n: list(chain(n, iter([1]), itertools.groupby)),
    "pairwise-objects": lambda n: list(chain(n, iter([1]), itertools.pairwise)),
    "batched-objects": lambda n: list(chain(n, iter([1]), lambda value: BATCHED(value, 1))),
    "compress-objects": lambda n: list(chain(n, iter([1]), lambda value: itertools.compress(value, [1]))),
    "dropwhile-objects": lambda n: list(chain(n, iter([1]), lambda value: itertools.dropwhile(str, value))),
    "zip-longest-objects": lambda n: list(chain(n, iter([1]), itertools.zip_longest)),
    "product-objects": lambda n: list(chain(n, iter([1]), itertools.product)),
    "reversed-self": lambda n: list(chain(n, [1], lambda value: list(reversed(value)))),
    "generators": lambda n: list(generators(n)),
    "callable-iterators": lambda n: list(chain(n, iter([1]), lambda value: iter(value.__next__, 0))),
    "chainmap": lambda n: chain(n, {}, ChainMap)["x"],
    "defaultdict-repr": lambda n: repr(chain(n, {}, lambda value: defaultdict(int, a=value))),
    "ordereddict-eq": lambda n: (
        chain(n, OrderedDict(), lambda v: OrderedDict(a=v)) == chain(n, OrderedDict(), lambda v: OrderedDict(a=v))
    ),
    "deque-repr": lambda n: repr(chain(n, deque(), lambda value: deque([value]))),
    "deque-eq": lambda n: chain(n, deque(), lambda v: deque([v])) == chain(n, deque(), lambda v: deque([v])),
    "union-types": lambda n: chain(n, int, list.__class_getitem__),
    "union-types-repr": lambda n: repr(chain(n, int, list.__class_getitem__)),
    "union-types-hash": lambda n: hash(chain(n, int, list.__class_getitem__)),
    "methods": lambda n: chain(n, len, lambda value: value.__call__)([]),
    "weak-methods-repr": lambda n: repr(chain(n, len, lambda value: value.__call__)),
    "slices-hash": lambda n: hash(chain(n, 1, slice)),
    "exceptions-repr": lambda n: repr(chain(n, ValueError(), ValueError)),
    "exceptions-chain": lambda n: chain(n, ValueError(), lambda value: value.with_traceback(None)),
    "memoryviews": lambda n: bytes(chain(n, memoryview(b"x"), memoryview)),
    "str-join": lambda n: "".join(chain(n, iter(["a"]), lambda value: map(str, value))),
    "sum-maps": lambda n: sum(chain(n, iter([1]), lambda value: map(int, value))),
    "release-lists": lambda n: release(nested_list(n)),
    "release-tuples": lambda n: release(nested_tuple(n)),
    "release-dicts": lambda n: release(nested_dict(n)),
    "release-slots": lambda n: release(chain(n, None, Slots)),
    "release-nodes": lambda n: release(chain(n, None, Node)),
    "release-deleters": lambda n: release(chain(n, None, Deleter)),
    "release-maps": lambda n: release(chain(n, iter([1]), lambda value: map(int, value))),
    "release-generators": lambda n: release(generators(n)),
    "release-partials": lambda n: release(chain(n, int, functools.partial)),
    "release-exceptions": lambda n: release(chain(n, ValueError(), ValueError)),
    "release-methods": lambda n: release(chain(n, len, lambda value: value.__call__)),
    "release-deques": lambda n: release(chain(n, deque(), lambda value: deque([value]))),
    "release-frozensets": lambda n: release(chain(n, frozenset(), lambda value: frozenset([value]))),
    "release-cells": lambda n: release(chain(n, None, lambda value: lambda: value)),
    "release-memoryviews": lambda n: release(chain(n, memoryview(b"x"), memoryview)),
    "release-ordereddicts": lambda n: release(chain(n, OrderedDict(), lambda value: OrderedDict(a=value))),
    "release-unions": lambda n: release(chain(n, int, list.__class_getitem__)),
    "release-islices": lambda n: release(chain(n, iter([1]), lambda value: itertools.islice(value, 1))),
    "release-tees": lambda n: release(chain(n, iter([1]), lambda value: itertools.tee(value, 1)[0])),
    "release-chains": lambda n: release(chain(n, iter([1]), itertools.chain)),
    "release-zips": lambda n: release(chain(n, iter([1]), zip)),
    "release-slices": lambda n: release(chain(n, 1, slice)),
}


@http_filter("recursion")
class Recursion(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        name, _, depth = self.request.path[1:].partition("?depth=")
        if name == "names":
            return self.send_http_response(200, body=" ".join(CASES))
        try:
            CASES[name](int(depth))
            outcome = "ok"
        except BaseException as error:  # noqa: BLE001  # whatever became of it is the answer
            outcome = type(error).__name__
        return self.send_http_response(200, body=outcome)
