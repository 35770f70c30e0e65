"""The pytest plugin: fixtures that give a test the filter beside it in a host, in one body or in both.

    def test_denies(host: Host) -> None:
        assert host.request("GET", "/", headers={"x-api-key": "no"}).status == 403

`host` runs the nearest `filter.py`, or what the mark `filter` says. A test that uses it runs in each body that
`--filter-body` asks for. The report of a test that fails has the filter's log and the last callbacks.

pytest loads this module wherever the package is installed, so what the fixtures need is imported by them.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from .host import Body, Host, NewHost
    from .messages import Headers

BODIES: Final = ("python", "wasm")
_CHOICES: Final = (*BODIES, "both")
_HOSTS: Final = pytest.StashKey[list["Host"]]()
_PROPERTY: Final = "filter_body"  # under this name, reports say in which body a test ran
_LAST_LINES: Final = 60
_MARK: Final = (
    "filter(*paths, body=..., **options): which filter the fixtures `host` and `new_host` run, in which body, "
    "and other options of Host; of several marks the nearest one counts, option by option."
)


# Options


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option on the command line, and what a project's configuration can say."""
    group = parser.getgroup("filter", "Proxy-Wasm filters")
    group.addoption(
        "--filter-body",
        choices=_CHOICES,
        help="Run filters as plain Python, as compiled modules, or every test once for each. [python]",
    )
    parser.addini("filter_body", "What --filter-body is when it is not given: python, wasm or both.", default="")
    parser.addini("filter_path", "The filter's files or folders, for tests that do not name any.", type="paths")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, and refuse a body that there is not."""
    config.addinivalue_line("markers", _MARK)
    if (body := _chosen_body(config)) and body not in _CHOICES:
        raise pytest.UsageError(f"filter_body is one of {', '.join(_CHOICES)}, not {body!r}")


def _chosen_body(config: pytest.Config) -> str:
    """What the user chose; "" for nothing."""
    return str(config.getoption("filter_body") or config.getini("filter_body"))


# The mark


def _marked(node: Any, name: str, default: Any = None) -> Any:
    """An option in the nearest mark that has it."""
    return next((mark.kwargs[name] for mark in node.iter_markers("filter") if name in mark.kwargs), default)


def _options(node: Any) -> dict[str, Any]:
    """All options of the marks, but for the body."""
    names = {name for mark in node.iter_markers("filter") for name in mark.kwargs}
    return {name: _marked(node, name) for name in names - {"body"}}


def _paths(node: Any) -> list[Path]:
    """The filter of a test; empty if there is none."""
    if marked := next((mark.args for mark in node.iter_markers("filter") if mark.args), ()):
        return [node.path.parent / path for argument in marked for path in _listed(argument)]
    if given := node.config.getini("filter_path"):
        return list(given)
    folders = [node.path.parent, *node.path.parent.parents]
    within = [folder for folder in folders if folder.is_relative_to(node.config.rootpath)] or folders[:1]
    return [file for folder in within if (file := folder / "filter.py").is_file()][:1]


def _listed(argument: Any) -> list[Any]:
    """The paths in an argument of the mark, which may be a list of them, as that of Host."""
    paths = list(argument) if isinstance(argument, list | tuple) else [argument]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            pytest.fail(f"a path in the mark `filter` is text or a Path, not {path!r}", pytrace=False)
    return paths


# Bodies


@pytest.hookimpl(trylast=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses a filter runs once for each body that is asked for."""
    if "filter_body" not in metafunc.fixturenames:
        return
    item, chosen = metafunc.definition, _chosen_body(metafunc.config)
    paths, only = _paths(item), _marked(item, "body")
    if only not in (None, *BODIES):
        pytest.fail(f"the body in the mark `filter` is python or wasm, not {only!r}", pytrace=False)
    bodies: Sequence[Any] = BODIES if chosen == "both" else (chosen or only or "python",)
    if paths and all(path.suffix == ".wasm" for path in paths):
        bodies = ("wasm",)  # there is nothing else to run
    elif only is not None:
        bodies = (only,) if only in bodies else (pytest.param(only, marks=_skip(only)),)
    metafunc.parametrize("filter_body", bodies, indirect=True)


def _skip(only: str) -> pytest.MarkDecorator:
    return pytest.mark.skip(f"this test is for the body {only} only")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Reports say in which body a test ran, wherever they are read."""
    callspec = getattr(item, "callspec", None)
    if callspec is not None and (body := callspec.params.get("filter_body")) in BODIES:
        item.user_properties.append((_PROPERTY, body))
        in_parameters = next((mark.kwargs["body"] for mark in callspec.marks if _says_body(mark)), body)
        if in_parameters != body:
            item.add_marker(_skip(in_parameters))


def _says_body(mark: Any) -> bool:
    return mark.name == "filter" and "body" in mark.kwargs


# Fixtures


@pytest.fixture
def filter_body(request: pytest.FixtureRequest) -> Body:
    """The body in which the test runs its filter: "python" or "wasm"."""
    chosen = _chosen_body(request.config)
    if chosen == "both" and "filter_body" in request.node.fixturenames and not hasattr(request, "param"):
        warnings.warn(pytest.PytestWarning("tests of unittest run in the body python only"), stacklevel=1)
    default: Body = "wasm" if chosen == "wasm" else "python"  # for who asks for a fixture while the test runs
    return getattr(request, "param", default)


@pytest.fixture
def filter_path(request: pytest.FixtureRequest) -> list[Path]:
    """The files or folders of the test's filter."""
    if not (paths := _paths(request.node)):
        pytest.fail(
            f"There is no filter.py in {request.path.parent}, nor above it up to {request.config.rootpath}. Say where "
            "the filter is: @pytest.mark.filter('path/of/filter.py'), from the test's folder, or filter_path in "
            "pytest's configuration, from the folder of that file.",
            pytrace=False,
        )
    return paths


@pytest.fixture
def new_host(request: pytest.FixtureRequest, filter_body: Body) -> Iterator[NewHost]:
    """A function that makes a host: `new_host(*paths, **options)`, with the options of `Host`.

    Paths are from the test's folder, and what is not given is as the mark `filter` says. Hosts are closed at the end of
    the test.
    """
    from .host import Host  # noqa: PLC0415  # see above

    hosts = request.node.stash.setdefault(_HOSTS, [])

    def new(*paths: str | Path, **options: Any) -> Host:
        __tracebackhide__ = True
        files = [request.path.parent / path for path in paths] or request.getfixturevalue("filter_path")
        host = Host(files, **{"body": filter_body, **_options(request.node), **options})
        hosts[:] = [*(other for other in hosts if other.plugins), host]  # a closed one is not of interest any more
        hypothesis = sys.modules.get("hypothesis.control")
        if hypothesis is not None and hypothesis.currently_in_test_context():
            hypothesis.cleanup(host.close)  # at the end of the example
        return host

    yield new
    with ExitStack() as stack:
        for host in hosts:
            stack.enter_context(host)


@pytest.fixture
def host(new_host: NewHost) -> Host:
    """A host that runs the test's filter. A test whose filter does not start fails, with what the filter says."""
    from .plugin import Refused  # noqa: PLC0415  # see above

    __tracebackhide__ = True
    try:
        return new_host()
    except Refused as error:
        pytest.fail(_text([error]), pytrace=False)


@pytest.fixture
def replay(request: pytest.FixtureRequest, filter_path: list[Path], filter_body: Body) -> Callable[..., None]:
    """A function that replays a recording against the test's filter: `replay("session.jsonl", logs=False)`.

    The path is from the test's folder. Raises what `pywasmfilter.testing.replay` raises.
    """
    from .recording import replay as replay_recording  # noqa: PLC0415  # see above

    def run(recording: str | Path, *, logs: bool = False) -> None:
        __tracebackhide__ = True
        replay_recording(request.path.parent / recording, filter_path, body=filter_body, logs=logs)

    return run


# What a failed test says


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what happened in its hosts."""
    report = yield
    hosts = item.stash.get(_HOSTS, [])
    if report.failed:
        for number, host in enumerate(hosts, 1):
            which = f" (host {number})" if len(hosts) > 1 else ""
            for title, text in (
                ("filter's log", _text(host.log)),
                ("callbacks and host calls", _last(str(host.trace))),
            ):
                report.sections.append((title + which, text or "none"))
    return report


def _text(lines: Sequence[object]) -> str:
    """Lines of a report, in which surrogates have no place."""
    return "\n".join(map(str, lines)).encode("utf-8", "backslashreplace").decode()


def _last(text: str) -> str:
    lines = text.splitlines()
    left_out = len(lines) - _LAST_LINES
    return _text([f"… {left_out} lines before these", *lines[left_out:]] if left_out > 0 else lines)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Headers that are not equal are compared name by name."""
    messages = sys.modules.get(f"{__package__}.messages")
    if messages is None or op != "==" or not any(isinstance(side, messages.Headers) for side in (left, right)):
        return None
    try:
        return _differences(messages.Headers(left), messages.Headers(right))
    except (TypeError, ValueError, AttributeError):
        return None  # something that is no headers at all


def _differences(left: Headers, right: Headers) -> list[str]:
    lines = ["headers are not equal"]
    for name in dict.fromkeys([*left.keys(), *right.keys()]):
        ours, theirs = left.get_all(name), right.get_all(name)
        if not theirs:
            lines.append(f"  only left:  {name}: {_shown(ours)}")
        elif not ours:
            lines.append(f"  only right: {name}: {_shown(theirs)}")
        elif ours != theirs:
            lines.append(f"  different:  {name}: {_shown(ours)} != {_shown(theirs)}")
    if len(lines) == 1:
        lines += ["  in another order:", f"  {left.items()}", f"  {right.items()}"]
    return lines


def _shown(values: list[str]) -> str:
    return ", ".join(map(repr, values))


# Both bodies


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """When filters ran in both bodies, say how they did in each, and where they differ."""
    outcomes: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for outcome, reports in terminalreporter.stats.items():
        for report in reports:
            if (
                outcome
                and isinstance(report, pytest.TestReport)
                and (body := dict(report.user_properties).get(_PROPERTY))
            ):
                by_body = outcomes[_without_body(report.nodeid, str(body))]
                # What passed may still have an error at its end.
                by_body[str(body)] = outcome if outcome in _BAD else by_body.get(str(body), outcome)
    if {body for by_body in outcomes.values() for body in by_body} != set(BODIES):
        return
    terminalreporter.section("filters in both bodies")
    for body in BODIES:
        counts = Counter(by_body[body] for by_body in outcomes.values() if body in by_body)
        shown = sorted(counts, key=lambda outcome: (outcome != "passed", outcome))
        terminalreporter.line(f"{body}: {', '.join(f'{counts[outcome]} {outcome}' for outcome in shown)}")
    for name, by_body in outcomes.items():
        if len(by_body) == len(BODIES) and len(set(by_body.values())) > 1:
            terminalreporter.line(f"{name}: {', '.join(f'{by_body[body]} in {body}' for body in BODIES)}")


_BAD: Final = ("failed", "error")


def _without_body(node_id: str, body: str) -> str:
    """The id of a test, which ends with the body, for both bodies."""
    return (
        node_id.removesuffix(f"[{body}]") if node_id.endswith(f"[{body}]") else node_id.removesuffix(f"-{body}]") + "]"
    )
