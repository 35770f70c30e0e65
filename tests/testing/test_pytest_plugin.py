"""The pytest plugin: which filter the fixtures run, in which body, and what a failed test says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pywasmfilter.testing import BODIES, Host

pytest_plugins = ["pytester"]

PLUGIN = "pywasmfilter.testing.pytest_plugin"
FILTER = """
from pywasmfilter import HttpContext, http_filter, log

@http_filter("{name}")
class Filter(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        log.info(f"a request for {{self.request.path}}")
        return self.send_http_response(403, [("x-filter", "{name}")], self.plugin.plugin_configuration)
"""
PROCESSES = [pytest.param([], id="one process"), pytest.param(["-n", "2"], id="two processes")]
"""Options with which a run is in the test's own process, or in others that report to it."""

UNEQUAL = """
import sys
from pywasmfilter import HttpContext, http_filter

WASM = sys.platform == "wasi"

@http_filter("unequal")
class Unequal(HttpContext):
    def on_http_request_headers(self, num_headers, end_of_stream):
        return self.send_http_response(200 if WASM else 403)
"""


@pytest.fixture(scope="module", autouse=True)
def _loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that a host imports is there before the tests within tests, which forget what they import."""
    add_filter(tmp_path_factory.getbasetemp() / "filter.py", "first")
    for body in BODIES:
        Host(tmp_path_factory.getbasetemp() / "filter.py", body=body).close()


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    """A project with a filter, where the tests within these tests are."""
    configure(pytester)
    add_filter(pytester.path / "filter.py", "beside")
    return pytester.path


def configure(pytester: pytest.Pytester, *lines: str, options: str = f"-p {PLUGIN}") -> None:
    # faulthandler would take signals away from wasmtime, in this process and for good.
    options = f"--strict-markers --strict-config -p no:faulthandler {options}"
    table = ["[tool.pytest.ini_options]", f"addopts = '{options}'", *lines, ""]
    pytester.makepyprojecttoml("\n".join(table))


def add_filter(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILTER.format(name=name), encoding="utf-8")


def add_test(folder: Path, *lines: str, file: str = "test_it.py") -> None:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["import pytest", *lines, ""]), encoding="utf-8")


def ids(result: pytest.RunResult) -> list[str]:
    """The names of the tests that `pytest -v` reports, with their outcomes."""
    words = [line.split()[:2] for line in result.outlines if "::" in line and "%]" in line]
    return [f"{name.partition('::')[2]} {outcome}" for name, outcome in words]


# Bodies


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["python"]),
        (["--filter-body=python"], ["python"]),
        (["--filter-body=wasm"], ["wasm"]),
        (["--filter-body=both"], ["python", "wasm"]),
        (["-o", "filter_body=both"], ["python", "wasm"]),
        (["-o", "filter_body=both", "--filter-body=wasm"], ["wasm"]),
    ],
)
def test_the_option_says_in_which_bodies(
    folder: Path, pytester: pytest.Pytester, options: list[str], expected: list[str]
) -> None:
    """A test with a host runs once in each body that is asked for, and its id ends with it; others run once."""
    add_test(
        folder,
        "@pytest.mark.parametrize('path', ['a', 'b'])",
        "def test_host(host, filter_body, path):",
        "    assert host.body == filter_body",
        "    assert host.request(path=path).status == 403",
        "def test_other(): pass",
    )
    expected_ids = [f"test_host[{path}-{body}] PASSED" for path in "ab" for body in expected]
    assert ids(pytester.runpytest_inprocess("-v", *options)) == [*expected_ids, "test_other PASSED"]


def test_a_mark_restricts_the_bodies(folder: Path, pytester: pytest.Pytester) -> None:
    """A test whose mark names a body runs in that one, unless the user chose the other one: then it is skipped."""
    add_test(
        folder,
        "@pytest.mark.filter(body='wasm')",
        "def test_it(host): assert host.body == 'wasm'",
    )
    for options in [], ["--filter-body=wasm"], ["--filter-body=both"]:
        assert ids(pytester.runpytest_inprocess("-v", *options)) == ["test_it[wasm] PASSED"]
    result = pytester.runpytest_inprocess("-v", "-rs", "--filter-body=python")
    assert ids(result) == ["test_it[wasm] SKIPPED"]
    result.stdout.fnmatch_lines("*this test is for the body wasm only*")


def test_a_mark_of_a_parameter_restricts_the_bodies(folder: Path, pytester: pytest.Pytester) -> None:
    """A parameter whose mark names a body is skipped in the other one."""
    add_test(
        folder,
        "only_wasm = pytest.param(1, marks=pytest.mark.filter(body='wasm'))",
        "@pytest.mark.parametrize('number', [only_wasm, 2])",
        "def test_it(host, number): assert host.body == 'wasm' or number == 2",
    )
    outcomes = ids(pytester.runpytest_inprocess("-v", "--filter-body=both"))
    assert sorted(outcomes) == [
        "test_it[1-python] SKIPPED",
        "test_it[1-wasm] PASSED",
        "test_it[2-python] PASSED",
        "test_it[2-wasm] PASSED",
    ]


def test_unittest_runs_in_one_body(folder: Path, pytester: pytest.Pytester) -> None:
    """A test of `unittest` that uses a filter warns that it does not run in both bodies, if both are asked for."""
    add_test(
        folder,
        "import unittest",
        "@pytest.mark.usefixtures('host')",
        "class TestIt(unittest.TestCase):",
        "    def test_it(self): pass",
        "class TestOther(unittest.TestCase):",
        "    def test_it(self): pass",
    )
    result = pytester.runpytest_inprocess("--filter-body=both", "-Wdefault")
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines("*tests of unittest run in the body python only*")
    pytester.runpytest_inprocess("--filter-body=both", "-Werror").assert_outcomes(passed=1, errors=1)
    pytester.runpytest_inprocess("--filter-body=wasm", "-Werror").assert_outcomes(passed=2)


def test_a_fixture_that_is_asked_for_late(folder: Path, pytester: pytest.Pytester) -> None:
    """A host that a test asks for while it runs has the body that was chosen; plain Python if both were."""
    add_test(folder, "def test_it(request):", "    print(request.getfixturevalue('host').body)")
    for body, shown in ("wasm", "wasm"), ("both", "python"):
        result = pytester.runpytest_inprocess("-s", f"--filter-body={body}")
        result.assert_outcomes(passed=1)
        assert f"test_it.py {shown}" in result.outlines


@pytest.mark.parametrize("where", ["option", "configuration", "mark"])
def test_a_body_that_there_is_not(folder: Path, pytester: pytest.Pytester, where: str) -> None:
    """A misspelt body is an error that names those that there are."""
    options = {"option": ["--filter-body=c"], "configuration": ["-o", "filter_body=c"], "mark": []}[where]
    mark = "@pytest.mark.filter(body='c')" if where == "mark" else ""
    add_test(folder, mark, "def test_it(host): pass")
    result = pytester.runpytest_inprocess(*options)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERRUPTED)
    text = result.stdout.str() + result.stderr.str()
    assert "'c'" in text
    assert "python" in text
    assert "wasm" in text
    assert "Traceback" not in text


def test_a_module_that_is_built_has_one_body(folder: Path, pytester: pytest.Pytester) -> None:
    """A test of a `.wasm` file runs once, in the body wasm, whatever is asked for."""
    from pywasmfilter_compiler import build

    build(folder / "filter.py", folder / "other.wasm")
    add_test(
        folder,
        "pytestmark = pytest.mark.filter('other.wasm')",
        "def test_it(host): assert host.request().headers['x-filter'] == 'beside'",
    )
    for body in "python", "both":
        assert ids(pytester.runpytest_inprocess("-v", f"--filter-body={body}")) == ["test_it[wasm] PASSED"]


# Which filter


def test_the_nearest_filter(folder: Path, pytester: pytest.Pytester) -> None:
    """Without anything said, it is the filter.py in the test's folder, or the next one above it."""
    add_filter(folder / "inner" / "filter.py", "inner")
    code = "def test_it(host): assert host.request().headers['x-filter'] == "
    add_test(folder, f"{code} 'beside'", file="test_outer.py")
    add_test(folder, f"{code} 'beside'", file="other/deep/test_deep.py")
    add_test(folder, f"{code} 'inner'", file="inner/tests/test_inner.py")
    pytester.runpytest_inprocess().assert_outcomes(passed=3)


def test_the_configured_filter(folder: Path, pytester: pytest.Pytester) -> None:
    """filter_path in the configuration comes before a filter.py, and is relative to the configuration's folder."""
    add_filter(folder / "source" / "edge.py", "edge")
    configure(pytester, "filter_path = ['source/edge.py']")
    add_test(
        folder,
        "from pathlib import Path",
        "def test_it(host, filter_path):",
        "    assert filter_path == [Path(__file__).parents[1] / 'source' / 'edge.py']",
        "    assert host.request().headers['x-filter'] == 'edge'",
        file="tests/test_it.py",
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_marked_filter(folder: Path, pytester: pytest.Pytester) -> None:
    """Paths in a mark are relative to the test's file, and come before all else; several are one module."""
    add_filter(folder / "tests" / "one.py", "one")
    add_filter(folder / "tests" / "two.py", "two")
    add_test(
        folder,
        "@pytest.mark.filter('one.py', 'two.py', plugin='two')",
        "def test_it(host): assert host.request().headers['x-filter'] == 'two'",
        file="tests/test_it.py",
    )
    pytester.runpytest_inprocess("-o", "filter_path=filter.py").assert_outcomes(passed=1)


def test_a_list_in_a_mark(folder: Path, pytester: pytest.Pytester) -> None:
    """Paths in a mark may be a list, as those of a host; what is no path is an error that says so."""
    add_filter(folder / "one.py", "one")
    add_test(
        folder,
        "@pytest.mark.filter(['one.py', 'filter.py'], plugin='one')",
        "def test_it(host): assert host.request().headers['x-filter'] == 'one'",
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=1)
    add_test(folder, "@pytest.mark.filter(5)", "def test_it(host): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("a path in the mark `filter` is text or a Path, not 5")
    assert "pytest_plugin.py" not in result.stdout.str()


def test_the_nearest_mark_counts(folder: Path, pytester: pytest.Pytester) -> None:
    """Marks of a module, a class and a test are put together; of two that say the same, the nearer one wins."""
    add_filter(folder / "of_module.py", "of_module")
    add_test(
        folder,
        "pytestmark = pytest.mark.filter('of_module.py', configuration='module', vm_id='one')",
        "def shown(host): return host.request().headers['x-filter'], host.request().text, host.plugin.vm.vm_id",
        "@pytest.mark.filter(configuration='class')",
        "class TestIt:",
        "    def test_class(self, host): assert shown(host) == ('of_module', 'class', 'one')",
        "    @pytest.mark.filter('filter.py', vm_id='')",
        "    def test_test(self, host): assert shown(host) == ('beside', 'class', '')",
        "def test_module(host): assert shown(host) == ('of_module', 'module', 'one')",
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=3)


def test_without_a_filter(folder: Path, pytester: pytest.Pytester) -> None:
    """If there is no filter, the test is told where one was looked for and how to name one, and no traceback."""
    (folder / "filter.py").unlink()
    add_test(folder, "def test_it(host): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert str(folder) in text
    assert "@pytest.mark.filter(" in text
    assert "filter_path" in text
    assert "def filter_path" not in text


def test_a_filter_that_does_not_start(folder: Path, pytester: pytest.Pytester) -> None:
    """A test whose filter is refused says why and where, and nothing of how hosts are made; new_host raises Refused."""
    (folder / "filter.py").write_text("\nimport nothing_there")
    add_test(
        folder,
        "from pywasmfilter.testing import Refused",
        "def test_host(host): pass",
        "def test_new_host(new_host):",
        "    with pytest.raises(Refused, match='nothing_there'): new_host()",
    )
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines("*filter.py:2: ModuleNotFoundError: No module named 'nothing_there'")
    assert "python_guest.py" not in result.stdout.str()


# Hosts


def test_new_host(folder: Path, pytester: pytest.Pytester) -> None:
    """new_host takes other paths and options than the mark's, and all hosts are closed at the end of the test."""
    add_filter(folder / "other.py", "other")
    add_test(
        folder,
        "HOSTS = []",
        "@pytest.mark.filter(configuration='marked')",
        "def test_it(new_host, tmp_path, request):",
        "    (tmp_path / 'copy.py').write_text(request.path.with_name('other.py').read_text())",
        "    HOSTS[:] = new_host(), new_host('other.py', configuration='given'), new_host(tmp_path / 'copy.py')",
        "    replies = [host.request() for host in HOSTS]",
        "    assert [reply.headers['x-filter'] for reply in replies] == ['beside', 'other', 'other']",
        "    assert [reply.text for reply in replies] == ['marked', 'given', 'marked']",
        "    with HOSTS[1]: pass",
        "    assert not any(host.plugin.deleted for host in (HOSTS[0], HOSTS[2]))",
        "def test_all_are_closed():",
        "    assert len(HOSTS) == 3",
        "    assert all(host.plugin.deleted for host in HOSTS)",
    )
    pytester.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.parametrize("body", ["python", "wasm"])
def test_exceptions_of_the_tests_own_functions(folder: Path, pytester: pytest.Pytester, body: str) -> None:
    """What an upstream, a service or a foreign function of the test raises is what the test fails with."""
    (folder / "filter.py").write_text(
        "from pywasmfilter import Action, HttpContext, hostcalls, http_filter\n"
        "@http_filter('calling')\n"
        "class Calling(HttpContext):\n"
        "    def on_http_request_headers(self, num_headers, end_of_stream):\n"
        "        if self.request.path == '/call':\n"
        "            pairs = [(':method', 'GET'), (':path', '/'), (':authority', 'a')]\n"
        "            self.dispatch_http_call('service', pairs, lambda *_: None)\n"
        "            return Action.PAUSE\n"
        "        if self.request.path == '/foreign':\n"
        "            hostcalls.call_foreign_function('own', b'')\n"
    )
    add_test(
        folder,
        "def wrong(asked): raise LookupError('not prepared')",
        "def check(asked): assert asked == 'what was wanted'",
        "@pytest.mark.parametrize(('function', 'error'), [(wrong, LookupError), (check, AssertionError)])",
        "@pytest.mark.parametrize('path', ['/', '/call', '/foreign'])",
        "def test_it(host, path, function, error):",
        "    host.upstream = host.clusters['service'] = host.foreign_functions['own'] = function",
        "    with pytest.raises(error) as caught: host.request(path=path)",
        "    assert caught.traceback[-1].name == function.__name__",
    )
    pytester.runpytest_inprocess(f"--filter-body={body}").assert_outcomes(passed=6)


# What a failed test says


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_failed_test_shows_what_happened(folder: Path, pytester: pytest.Pytester, processes: list[str]) -> None:
    """The report of a failed test has the log and the callbacks of its host, with their host calls."""
    add_test(folder, "def test_it(host): assert host.request(path='/\\udce4').status == 200")
    result = pytester.runpytest_inprocess(*processes)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- filter's log -*",
            r"[[]info] a request for /\udce4",
            "*- callbacks and host calls -*",
            "on_request_headers(2, 6, 1) → PAUSE",
            "    send_local_response(403, *",
        ]
    )
    assert "before these" not in result.stdout.str()


def test_calls_of_a_function(folder: Path) -> None:
    """A trace gives the calls of a host function by its name, with or without `proxy_`; a wrong name is an error."""
    with Host(folder / "filter.py") as host:
        host.request()
        for name in "send_local_response", "proxy_send_local_response":
            assert [call.function for call in host.trace.calls(name)] == ["proxy_send_local_response"]
        assert host.trace.calls("random_get") == []
        with pytest.raises(ValueError, match="'no_such_function'"):
            host.trace.calls("no_such_function")


def test_a_long_story_is_cut(folder: Path, pytester: pytest.Pytester) -> None:
    """Of many callbacks the last ones are shown, and how many lines came before."""
    add_test(
        folder,
        "def test_it(host):",
        "    for number in range(50): host.request(path=f'/{number}')",
        "    print(len(str(host.trace).splitlines()) - 60)",
        "    assert False",
    )
    result = pytester.runpytest_inprocess()
    (left_out,) = (line for line in result.outlines if line.isdecimal())
    start = next(index for index, line in enumerate(result.outlines) if "- callbacks and host calls -" in line)
    section = result.outlines[start:]
    assert section[1] == f"… {left_out} lines before these"
    assert section[61].strip()
    assert section[62].startswith("=")


def test_each_open_host_is_shown(folder: Path, pytester: pytest.Pytester) -> None:
    """With several hosts each has its own part; a host that was closed when another one was made has none."""
    add_test(
        folder,
        "def test_it(new_host):",
        "    for name in 'abc':",
        "        with new_host() as host: host.request(path=f'/closed-{name}')",
        "    new_host().request(path='/open')",
        "    new_host().request(path='/last')",
        "    assert False",
    )
    result = pytester.runpytest_inprocess()
    result.stdout.fnmatch_lines(["*- filter's log (host 1) -*", "*/open", "*- filter's log (host 2) -*", "*/last"])
    assert "/closed-" not in result.stdout.str().partition("filter's log")[2]


def test_a_test_that_passes_says_nothing(folder: Path, pytester: pytest.Pytester) -> None:
    """Reports of tests that pass have no such parts."""
    add_test(folder, "def test_it(host): host.request()")
    assert "filter's log" not in pytester.runpytest_inprocess("-rA").stdout.str()


@pytest.mark.parametrize(
    ("left", "right", "lines"),
    [
        (
            {"a": "1", "b": "2", "d": "4"},
            {"a": "1", "b": "3", "c": "4"},
            ["  different:  b: '2' != '3'", "  only left:  d: '4'", "  only right: c: '4'"],
        ),
        ([("a", "1"), ("A", "2")], {"a": "1"}, ["  different:  a: '1', '2' != '1'"]),
        ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, ["  in another order:"]),
    ],
)
def test_headers_that_differ(
    folder: Path, pytester: pytest.Pytester, left: object, right: object, lines: list[str]
) -> None:
    """An assertion on headers that fails says what is on one side only, and what differs."""
    add_test(folder, "from pywasmfilter.testing import Headers", f"def test_it(): assert Headers({left}) == {right}")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * headers are not equal", *(f"E *{line}" for line in lines)])


def test_headers_compared_with_something_else(folder: Path, pytester: pytest.Pytester) -> None:
    """A comparison of headers with what is none fails as any other does."""
    add_test(folder, "from pywasmfilter.testing import Headers", "def test_it(): assert Headers({'a': '1'}) == 5")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines("E * assert Headers(?('a', '1')?) == 5")


# Both bodies


@pytest.mark.parametrize("processes", PROCESSES)
def test_the_summary_of_both_bodies(folder: Path, pytester: pytest.Pytester, processes: list[str]) -> None:
    """When tests ran in both bodies, the end says how each did, and which tests do not agree."""
    (folder / "filter.py").write_text(UNEQUAL, encoding="utf-8")
    add_test(
        folder,
        "@pytest.mark.parametrize('number', [1])",
        "def test_unequal(host, number): assert host.request().status == 403",
        "def test_equal(host): pass",
        "def test_fails(host): assert False",
        "@pytest.fixture",
        "def ending(host):",
        "    yield",
        "    assert host.body == 'python'",
        "def test_end(ending): pass",
        "def test_other(): pass",
    )
    result = pytester.runpytest_inprocess("--filter-body=both", *processes)
    lines = result.outlines
    start = next(index for index, line in enumerate(lines) if " filters in both bodies " in line)
    assert sorted(lines[start + 1 : start + 3]) == ["python: 3 passed, 1 failed", "wasm: 1 passed, 1 error, 2 failed"]
    assert sorted(lines[start + 3 : start + 5]) == [
        "test_it.py::test_end: passed in python, error in wasm",
        "test_it.py::test_unequal[1]: passed in python, failed in wasm",
    ]
    assert " filters in both bodies " not in pytester.runpytest_inprocess("--filter-body=wasm").stdout.str()


# The plugin in an environment


def test_the_mark_is_known(folder: Path, pytester: pytest.Pytester) -> None:
    """`pytest --markers` explains the mark, and `--help` the option and the settings."""
    pytester.runpytest_inprocess("--markers").stdout.fnmatch_lines("@pytest.mark.filter(?paths, body=..., *):*")
    result = pytester.runpytest_inprocess("--help")
    result.stdout.fnmatch_lines(["*--filter-body=*", "  filter_body*", "  filter_path*"])


def test_other_projects_do_not_pay() -> None:
    """Where no fixture is used, the plugin loads neither compiler nor wasmtime, nor the host itself."""
    code = (
        "import sys, pywasmfilter.testing.pytest_plugin\n"
        "print(*(name for name in sys.modules if name.startswith(('pywasmfilter', 'wasmtime'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "pywasmfilter.testing.pytest_plugin" in loaded
    assert {name for name in loaded if name.startswith(("pywasmfilter.testing.", "pywasmfilter_", "wasmtime"))} == {
        "pywasmfilter.testing.pytest_plugin"
    }


def test_the_entry_point_and_the_option_do_not_collide(
    folder: Path, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin is loaded once when it is installed and named with -p too, because both have the module's name."""
    info = folder / "site" / "pywasmfilter_plugin-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pywasmfilter-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
    monkeypatch.syspath_prepend(folder / "site")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    configure(pytester, options="")
    add_test(folder, "def test_it(host): pass")
    for options in [], ["-p", PLUGIN]:
        pytester.runpytest_subprocess(*options).assert_outcomes(passed=1)
