"""What Python finds inside a module where a program finds an operating system."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pywasmfilter_compiler import runtime_image
from pywasmfilter_compiler.envoy.run import serve

from tests.e2e.client import request
from tests.e2e.conftest import FILTERS
from tests.e2e.probing import INCLUDED, ask, encoded, pass_through

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import FilterBuilder

pytestmark = pytest.mark.envoy

ENVIRONMENT = {"GREETING": "grüße", "EMPTY": "", "EQUALS": "a=b=c"}


@pytest.fixture(scope="module")
def port(build_filter: FilterBuilder) -> Iterator[int]:
    """The port behind which the probe is, for all tests here: none of them may bring it down."""
    with serve(build_filter("probe", include=INCLUDED).path, environment=ENVIRONMENT) as server:
        yield server.port
        assert ask(server.port, "1") == "1"


# Clocks


@pytest.mark.parametrize("now", ["time.time()", "time.time_ns() / 1e9", "datetime.now(UTC).timestamp()"])
def test_wall_clocks_are_those_of_the_host(port: int, now: str) -> None:
    """The time is that of the request, not that of the build."""
    before = time.time()
    value = float(ask(port, now))
    assert before - 0.001 <= value <= time.time() + 0.001


def test_local_time_is_utc(port: int) -> None:
    """There is no time zone in a module: local time is UTC."""
    assert ask(port, "abs(datetime.now() - datetime.now(UTC).replace(tzinfo=None)).total_seconds() < 1") == "True"
    assert ask(port, "time.localtime().tm_gmtoff, time.tzname") == "(0, ('UTC', 'UTC'))"


@pytest.mark.parametrize("clock", ["time.monotonic()", "time.perf_counter()", "time.monotonic_ns() / 1e9"])
def test_monotonic_clocks_run(port: int, clock: str) -> None:
    """Between two requests a monotonic clock goes on, by no more than the time that passed."""
    before = time.monotonic()
    first, second = float(ask(port, clock)), float(ask(port, clock))
    assert 0 < second - first <= time.monotonic() - before


# Randomness


@pytest.fixture(scope="module")
def draws(build_filter: FilterBuilder) -> list[dict[str, Any]]:
    """What every virtual machine of two runs of Envoy with two workers drew."""
    lines = []
    for _ in range(2):
        with serve(build_filter("random_numbers").path, concurrency=2) as server:
            server.envoy.wait_for_log("uuid4", 5, count=4)
        lines += server.envoy.wasm_log()
    return [json.loads(line.message) for line in lines]


@pytest.mark.parametrize(
    "source",
    [
        *("os.urandom", "secrets", "uuid4", "random.random", "from random import randint"),
        *("Random at import", "Random now", "SystemRandom"),
    ],
)
def test_random_numbers_differ(draws: list[dict[str, Any]], source: str) -> None:
    """No two virtual machines draw the same, neither of one Envoy nor of the next with the same module."""
    assert len(draws) >= 8
    assert len({draw[source] for draw in draws}) == len(draws)


@pytest.mark.parametrize("source", ["seeded", "later seeded"])
def test_seeded_generator_keeps_its_sequence(draws: list[dict[str, Any]], source: str) -> None:
    """A generator that the filter seeded itself gives the sequence of its seed, in every virtual machine."""
    generator = random.Random(42)
    expected = [generator.random() for _ in range(3)]
    assert [draw[source] for draw in draws] == [expected] * len(draws)


def test_many_random_bytes(port: int) -> None:
    """More random bytes than a host gives at once are no problem, and all of them are random."""
    code = "data = os.urandom(1 << 20)\nresult = len({data[at : at + 8] for at in range(0, 1 << 20, 8)})"
    assert int(ask(port, code)) == 1 << 17


# Environment


def test_environment_is_what_the_host_gives(port: int) -> None:
    """os.environ holds the variables of VmConfig and nothing else."""
    assert ast.literal_eval(ask(port, "dict(os.environ)")) == ENVIRONMENT
    assert ask(port, "os.getenv('EMPTY'), os.getenv('ABSENT'), os.environ.get('PATH')") == "('', None, None)"


def test_environment_can_be_changed(port: int) -> None:
    """A filter may set and delete variables for itself."""
    assert ask(port, "os.environ.__setitem__('OWN', '1') or os.getenv('OWN')") == "'1'"
    assert ask(port, "os.environ.pop('OWN')") == "'1'"
    assert ask(port, "os.unsetenv('OWN')") == "None"


def test_interpreter_knows_no_machine(port: int) -> None:
    """There are no arguments, no executable and no path from which modules are read."""
    assert ask(port, "sys.argv, sys.executable, sys.path") == "([], '', [])"


SECRETS = {"SECRET_TOKEN": "hunter2-7f3a9c", "USER": "user-5d1e8b", "LOGNAME": "user-5d1e8b", "HOME": "home-c04d2a"}


def build_elsewhere(folder: Path, cache: Path, hash_seed: str) -> bytes:
    """The module that another process makes of a copy of the probe, with secrets all around it."""
    home = folder / SECRETS["HOME"]
    home.mkdir(parents=True)
    shutil.copy(FILTERS / "probe.py", folder)
    code = "import sys, pywasmfilter_compiler as c; c.build('probe.py', 'probe.wasm', include=sys.argv[1:])"
    environment = os.environ | SECRETS | {"PYTHONHASHSEED": hash_seed, "PYFILTER_CACHE_DIR": str(cache)}
    environment |= {"HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([sys.executable, "-c", code, *INCLUDED], cwd=folder, env=environment, check=True)
    return (folder / "probe.wasm").read_bytes()


def test_nothing_of_the_build_machine_is_in_a_module(tmp_path: Path) -> None:
    """No variable, user, home or folder of the build is in a module, not even of the runtime image's own build."""
    module = build_elsewhere(tmp_path / "folder-91ab3e", tmp_path / "cache-b7e2d1", "1")
    places = (str(tmp_path), "folder-91ab3e", "cache-b7e2d1", sys.prefix, os.fspath(Path(__file__).parents[2]))
    present = [text for text in (*SECRETS.values(), *places) if text.encode() in module]
    assert present == []


def test_same_input_gives_the_same_module(tmp_path: Path) -> None:
    """From one runtime image, the same filter gives the same bytes, whatever the folder, environment and hash seed."""
    cache = runtime_image.cache_folder().parent
    assert build_elsewhere(tmp_path / "one", cache, "1") == build_elsewhere(tmp_path / "two", cache, "2")


# What needs an operating system


UNAVAILABLE = {
    "open('/etc/passwd')": "FileNotFoundError: [Errno 44] No such file or directory: '/etc/passwd'",
    "open('new', 'w')": "FileNotFoundError: [Errno 44] No such file or directory: 'new'",
    "os.listdir('/')": "FileNotFoundError: [Errno 44] No such file or directory: '/'",
    "os.mkdir('/x')": "FileNotFoundError: [Errno 44] No such file or directory: '/x'",
    "__import__('pathlib').Path('x').read_text()": "FileNotFoundError: [Errno 44] No such file or directory: 'x'",
    "__import__('tempfile').TemporaryFile()": "FileNotFoundError: [Errno 44] No usable temporary directory found in ",
    "__import__('socket').socket()": "PermissionError: [Errno 2] Permission denied",
    "__import__('socket').getaddrinfo('localhost', 80)": "PermissionError: [Errno 2] Permission denied",
    "__import__('socket').create_connection(('127.0.0.1', 80))": "PermissionError: [Errno 2] Permission denied",
    "__import__('urllib.request').request.urlopen('http://x/')": "URLError: <urlopen error [Errno 2] Permission ",
    "__import__('subprocess').run(['ls'])": "OSError: [Errno 58] wasi does not support processes.",
    "__import__('threading').Thread(target=print).start()": "RuntimeError: can't start new thread",
    "__import__('_thread').start_new_thread(print, ())": "RuntimeError: can't start new thread",
    "__import__('concurrent.futures').futures.ThreadPoolExecutor().submit(print)": "RuntimeError: can't start new ",
    "__import__('multiprocessing').Pool(1)": "ModuleNotFoundError: No module named 'multiprocessing.pool' in this ",
    "__import__('ctypes')": "ModuleNotFoundError: No module named 'ctypes' in this filter: ",
    "os.fork()": "AttributeError: module 'os' has no attribute 'fork'",
    "os.system('ls')": "AttributeError: module 'os' has no attribute 'system'",
    "os.kill(1, 9)": "AttributeError: module 'os' has no attribute 'kill'",
    "os._exit(1)": "RuntimeError: a filter cannot end its proxy",
    "os.abort()": "RuntimeError: a filter cannot end its proxy",
    "sys.exit(1)": "SystemExit: 1",
    "exit()": "SystemExit: None",
    "input()": "RuntimeError: lost sys.stdin",
    "__import__('faulthandler').enable()": "UnsupportedOperation: fileno",
    "__import__('faulthandler')._sigsegv()": "RuntimeError: a filter cannot end its proxy",
    "__import__('faulthandler')._read_null()": "RuntimeError: a filter cannot end its proxy",
    "__import__('signal').raise_signal(6)": "RuntimeError: a filter cannot end its proxy",
    "__import__('signal').raise_signal(15)": "RuntimeError: a filter cannot end its proxy",
    "__import__('signal').alarm(1)": "AttributeError: module 'signal' has no attribute 'alarm'",
    "__import__('signal').signal(2, print)": "<built-in function default_int_handler>",
    "os.close(1), os.close(2), print('still here')": "(None, None, None)",
}


@pytest.mark.parametrize(("code", "expected"), UNAVAILABLE.items())
def test_what_needs_an_operating_system_is_an_error(port: int, code: str, expected: str) -> None:
    """Files, sockets, processes, threads and signals give errors in plain words, and never end the virtual machine."""
    assert ask(port, code).startswith(expected)


WAITS = {
    "time.sleep": "time.sleep(0.01)",
    "asyncio.sleep": "__import__('asyncio').sleep(0.01)",
    "asyncio.run": "__import__('asyncio').run(None, loop_factory=None)",
    "Lock": "lock = __import__('threading').Lock()\nlock.acquire()\nlock.acquire()",
    "Lock with timeout": "lock = __import__('threading').Lock()\nlock.acquire()\nlock.acquire(timeout=0.1)",
    "Event": "__import__('threading').Event().wait()",
    "Event with timeout": "__import__('threading').Event().wait(0.1)",
    "Condition": "c = __import__('threading').Condition()\nwith c:\n    c.wait()",
    "Semaphore": "__import__('threading').Semaphore(0).acquire()",
    "Queue": "__import__('queue').Queue().get()",
    "SimpleQueue": "__import__('queue').SimpleQueue().get()",
    "Future": "__import__('concurrent.futures').futures.Future().result()",
}


@pytest.mark.parametrize("code", WAITS.values(), ids=WAITS)
def test_waiting_is_an_error(port: int, code: str) -> None:
    """Whatever would block the worker is an error that names what waits without blocking it."""
    assert re.match(r"RuntimeError: .*await pywasmfilter\.sleep\(seconds\)", ask(port, code))


def test_locks_work(port: int) -> None:
    """A lock that is free can be taken, one that is taken can be tried, and queues hold what is put in."""
    code = """
        import queue, threading
        lock, condition, simple, full = threading.Lock(), threading.Condition(), queue.SimpleQueue(), queue.Queue(1)
        with lock:
            tried = lock.acquire(blocking=False), lock.locked()
        with condition:
            condition.notify_all()
        simple.put(1)
        full.put(2)
        result = tried, lock.locked(), lock.acquire(), simple.get(), full.get(), threading.current_thread().name
    """
    assert ask(port, dedented(code)) == "((False, True), False, True, 1, 2, 'MainThread')"


def dedented(code: str) -> str:
    """Code as it stands in a test, without its indentation."""
    return re.sub(r"(?m)^ {8}", "", code)


# Exhaustion


EXHAUSTION = {
    "recursion": ("def f(): return f()\nf()", "RecursionError: maximum recursion depth exceeded"),
    "recursion without limit": ("sys.setrecursionlimit(10**9)\ndef f(): return f()\nf()", "MemoryError: "),
    "one large object": ("b'x' * (2**31 - 100)", "MemoryError: "),
    "more than an address": ("b'x' * 2**31", "OverflowError: cannot fit 'int' into an index-sized integer"),
    "large blocks": ("found = []\nwhile True: found.append(b'x' * 1_000_000)", "MemoryError: "),
    "small objects": ("found = []\nwhile True: found.append(object())", "MemoryError: "),
    "a growing list": ("found = [None]\nwhile True: found.extend(found)", "MemoryError: "),
    "a growing text": ("found = 'x'\nwhile True: found += found", "MemoryError: "),
}


@pytest.fixture(scope="module")
def hungry_port(build_filter: FilterBuilder) -> Iterator[int]:
    """The probe in an Envoy of its own, as memory that a module once took stays with it."""
    with serve(build_filter("probe").path) as server:
        yield server.port


@pytest.mark.parametrize(("code", "expected"), EXHAUSTION.values(), ids=EXHAUSTION)
def test_exhaustion_is_an_error(hungry_port: int, code: str, expected: str) -> None:
    """Recursion and memory end in an exception that can be caught, and the next request finds all as it was."""
    assert ask(hungry_port, code).startswith(expected)
    assert ask(hungry_port, "len(bytes(50_000_000))") == "50000000"


def test_memory_that_stays_exhausted_lets_nothing_pass_unseen(hungry_port: int) -> None:
    """When a filter keeps all of its memory, a request is refused, or its callback ran to the end."""
    hoard = """
        kept = sys.kept = []
        for size in (1 << 20, 1 << 10, 64, 1):
            try:
                while True:
                    kept.append(b"x" * size)
            except MemoryError:
                pass
    """
    mark = "self.request.headers.add('x-seen', str(bytes(10_000))[:9])"
    refused = 0
    for _ in range(3):
        assert request(hungry_port, headers=[("x-code", encoded(dedented(hoard)))]).status in {200, 500, 503}
        response = pass_through(hungry_port, on_request=mark, headers=[("x-raise", "1")])
        refused += response.status in {500, 503}
        assert response.status in {500, 503} or b"x-seen" in response.body
    assert refused


def test_a_build_can_bound_the_memory(build_filter: FilterBuilder) -> None:
    """With 32 MiB allowed, 40 MB are a MemoryError, and 10 MB are there for the next request."""
    with serve(build_filter("probe", max_memory=32).path) as server:
        assert ask(server.port, "bytes(40_000_000)").startswith("MemoryError: ")
        assert ask(server.port, "len(bytes(10_000_000))") == "10000000"
