"""A filter that runs tests of CPython's: what stands inside the module.

The filter of a test imports this as `guest`, and says what to run with `add`. A request's header `x-class` names a
class of tests, or is empty to learn what there is; the body of the response is JSON.
"""

from __future__ import annotations

import json
import unittest
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from test import support  # type: ignore[import-untyped]  # CPython's

from pywasmfilter import Action, HttpContext, http_filter

support.use_resources = ()  # what takes long
classes: dict[str, list[unittest.TestCase]] = {}


def add(module: ModuleType, left_out: Iterable[str]) -> None:
    """Have the tests of a module run, except those left out."""
    module.__dict__.pop("load_tests", None)  # tests in docstrings, which a module has not, and tests of other files
    for case in _flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
        class_name, _, method = _name(case).rpartition(".")
        if not {class_name, f"{class_name}.{method}"}.intersection(left_out):
            classes.setdefault(class_name, []).append(case)


def _flat(suite: Any) -> Iterator[unittest.TestCase]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _flat(each)
        else:
            yield each


def _name(case: Any) -> str:
    """The name of a test; `class.setUpClass` for what stands in the result if that fails."""
    what, _, where = str(case.id()).partition(" (")
    return (f"{where.rstrip(')')}.{what}" if where else what).removeprefix("test.")


class Outcomes(unittest.TestResult):
    """What became of each test: "passed", "skipped", or the type of an exception; and a reason."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[str, tuple[str, str]] = {}

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.of[_name(test)] = ("passed", "")

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.of[_name(test)] = ("skipped", reason)

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        self.of[_name(test)] = (err[0].__name__, str(err[1])[:300])

    addFailure = addError

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        pass

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        self.of[_name(test)] = ("unexpected success", "")


@http_filter("stdlib")
class Stdlib(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> Action:
        name = self.request.headers["x-class"]
        answer: Any = list(classes)
        if name:
            outcomes = Outcomes()
            unittest.TestSuite(classes[name]).run(outcomes)
            answer = outcomes.of
        return self.send_http_response(200, body=json.dumps(answer))
