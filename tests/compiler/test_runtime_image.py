"""The runtime image and its cache: when an image is made, that it is whole, and what is in it.

What is tested with `cheap_images` is the cache: the images are tiny. Only `real_images` makes real ones, two at once.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from pywasmfilter_compiler import componentize, hosts, runtime_image, snapshot
from pywasmfilter_compiler.errors import CompilerError, MissingDependency, ToolError
from pywasmfilter_compiler.sources import COMPILED
from pywasmfilter_compiler.wasm.binary import decode

ABI: hosts.AbiVersion = "0.2.1"
FILES = ["image.wasm", "image.cwasm", "stdlib.zip", "index.json"]


class Images:
    """Makes tiny images and counts them. `before` is called in the middle of each."""

    def __init__(self) -> None:
        self.made = 0
        self.before: Callable[[], object] = lambda: None

    def write_files(self, new: Path, _scratch: Path, _abi: str, progress: Callable[[str], None]) -> None:
        progress("making an image")
        wasm = bytes(wasmtime.wat2wasm("(module)"))
        (new / "image.wasm").write_bytes(wasm)
        self.before()
        (new / "image.cwasm").write_bytes(wasmtime.Module(snapshot.new_engine(), wasm).serialize())
        with zipfile.ZipFile(new / "stdlib.zip", "w") as archive:
            archive.writestr("re.py", f"number = {self.made}")
        self.made += 1


@pytest.fixture
def cheap_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Images:
    """An empty cache in which images are made in no time."""
    images = Images()
    monkeypatch.setenv("PYFILTER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime_image, "_write_files", images.write_files)
    return images


def load() -> list[str]:
    """Load the image; gives what progress there was."""
    steps: list[str] = []
    image = runtime_image.load(steps.append, ABI)
    assert image.whole_code().startswith(b"\0asm")
    assert image.standard_library.has_file("re.py")
    return steps


def entries() -> list[str]:
    """What is in the cache folder."""
    return sorted(path.name for path in runtime_image.cache_folder().iterdir())


# When an image is made


def test_an_image_is_made_once(cheap_images: Images) -> None:
    """The first load makes it and says so; the next ones say nothing and make nothing."""
    assert load() == ["making an image"]
    assert load() == []
    assert cheap_images.made == 1
    assert entries() == [runtime_image.current_folder(ABI).name]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_another(path: Path) -> None:
    path.write_bytes(b"something of the same kind of importance")


def replace_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, flip_a_bit, replace_by_another, replace_by_a_folder, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_image_is_made_again(cheap_images: Images, name: str, damage: Callable[[Path], object]) -> None:
    """Whatever happened to whichever file, the next load makes the image again, whole, and leaves nothing beside it."""
    load()
    damage(runtime_image.current_folder(ABI) / name)
    assert load() != []
    assert cheap_images.made == 2
    assert runtime_image.is_whole(runtime_image.current_folder(ABI))
    assert entries() == [runtime_image.current_folder(ABI).name]


@pytest.mark.parametrize("index", ["", "{}", "[]", "null", "5", '{"image.wasm": 5}', "\udcff"])
def test_an_index_that_is_none(cheap_images: Images, index: str) -> None:
    """An index that is something else is one that is missing."""
    load()
    (runtime_image.current_folder(ABI) / "index.json").write_bytes(index.encode("utf-8", "surrogateescape"))
    load()
    assert cheap_images.made == 2


def test_a_file_in_place_of_the_folder(cheap_images: Images) -> None:
    """Something else under the image's name makes way for it."""
    folder = runtime_image.current_folder(ABI)
    folder.parent.mkdir(parents=True)
    folder.write_text("what is this?")
    load()
    assert runtime_image.is_whole(folder)


def test_code_for_another_processor_is_compiled_again(cheap_images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image whose compiled form this machine refuses, as in a home folder that machines share, still works."""
    load()

    def refuse(*_: object) -> None:
        raise wasmtime.WasmtimeError("compiled for another target")

    monkeypatch.setattr(wasmtime.Module, "deserialize_file", refuse)
    assert load() == []
    assert cheap_images.made == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, ToolError("componentize-py failed"), MemoryError])
def test_a_build_that_ends_early_leaves_nothing(cheap_images: Images, error: Any) -> None:
    """After an error or Ctrl-C there is no image, and no half of one."""

    def stop() -> None:
        raise error

    cheap_images.before = stop
    with pytest.raises(error if isinstance(error, type) else type(error)):
        load()
    assert entries() == []
    assert runtime_image.cached() == []


# Two builds at once


class Loading(threading.Thread):
    """Loads the image beside the test; `steps` is what progress there was, `error` what went wrong."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.steps: list[str] = []
        self.error: BaseException | None = None
        self._waits = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            runtime_image.load(self._step, ABI)
        except BaseException as error:  # noqa: BLE001  # the test looks at it
            self.error = error

    def _step(self, step: str) -> None:
        self.steps.append(step)
        if step.startswith("runtime image: waiting for "):
            self._waits.set()

    def until_it_waits(self) -> None:
        assert self._waits.wait(30), (self.steps, self.error)

    def result(self) -> list[str]:
        """What progress there was, when it is done and well."""
        self.join(30)
        assert not self.is_alive()
        assert self.error is None
        return self.steps


WAITING = "runtime image: waiting for the process that has {}"


def lock() -> Path:
    """What is there as long as an image is being built."""
    folder = runtime_image.current_folder(ABI)
    return folder.parent / f".building-{folder.name}"


@pytest.mark.parametrize("broken", [False, True])
def test_a_second_build_waits(cheap_images: Images, broken: bool) -> None:
    """It says so and for whom, makes nothing itself, and has the first one's image; nothing is left beside it."""
    if broken:
        load()
        truncate(runtime_image.current_folder(ABI) / "image.wasm")
    seconds: list[Loading] = []

    def another() -> None:
        seconds.append(Loading())
        seconds[0].until_it_waits()

    cheap_images.before = another
    before = cheap_images.made
    assert load() == ["making an image"]
    assert seconds[0].result() == [WAITING.format(lock())]
    assert cheap_images.made == before + 1
    assert entries() == [runtime_image.current_folder(ABI).name]


def test_who_waited_for_a_failure_builds(cheap_images: Images) -> None:
    """When the first build fails, the one that waited makes the image."""
    seconds: list[Loading] = []

    def another_and_fail() -> None:
        cheap_images.before = lambda: None
        seconds.append(Loading())
        seconds[0].until_it_waits()
        raise ToolError("componentize-py failed")

    cheap_images.before = another_and_fail
    with pytest.raises(ToolError):
        load()
    assert seconds[0].result() == [WAITING.format(lock()), "making an image"]
    assert entries() == [runtime_image.current_folder(ABI).name]


STUCK = """
import sys
from pywasmfilter_compiler import runtime_image
runtime_image._write_files = lambda *_: (print("building", flush=True), sys.stdin.read())
runtime_image.load(print, "0.2.1")
"""


@pytest.fixture
def stuck_build(cheap_images: Images) -> Iterator[subprocess.Popen[str]]:
    """Another process in the middle of a build, in which it stays until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "building\n"
            yield process
        finally:
            process.kill()


def test_a_build_that_is_killed_is_not_waited_for(cheap_images: Images, stuck_build: subprocess.Popen[str]) -> None:
    """Who waits goes on when the other process dies, and so does who comes later; the cache can be cleared."""
    second = Loading()
    second.until_it_waits()
    stuck_build.kill()
    assert second.result() == [WAITING.format(lock()), "making an image"]
    shutil.rmtree(runtime_image.current_folder(ABI))
    lock().touch()  # as one that is killed leaves it, when nobody waits
    assert load() == ["making an image"]
    lock().touch()
    runtime_image.clear()
    assert entries() == []


def test_clear_while_an_image_is_built(cheap_images: Images, stuck_build: subprocess.Popen[str]) -> None:
    """Everything goes, the other build's files too; the next build does not wait for it."""
    runtime_image.clear()
    assert entries() == []
    assert load() == ["making an image"]


def run_twice(images: Images, function: Callable[[], object]) -> list[BaseException]:
    """Run a function in two threads that are both in the middle of making an image; gives what went wrong."""
    both = threading.Barrier(2, timeout=30)
    images.before = both.wait
    failures: list[BaseException] = []

    def target() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
            both.abort()

    threads = [threading.Thread(target=target) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no locks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_two_builds_at_once(cheap_images: Images) -> None:
    """Both get an image, of which one is kept; nothing is left beside it."""
    assert run_twice(cheap_images, load) == []
    assert cheap_images.made == 2
    assert entries() == [runtime_image.current_folder(ABI).name]
    assert load() == []


@pytest.mark.usefixtures("no_locks")
def test_two_repairs_at_once(cheap_images: Images) -> None:
    """Two builds that find the same broken image both get a whole one."""
    load()
    truncate(runtime_image.current_folder(ABI) / "image.wasm")
    assert run_twice(cheap_images, load) == []
    assert entries() == [runtime_image.current_folder(ABI).name]
    assert load() == []


# The key


@pytest.fixture
def movable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the SDK and the compiler, whose files are what the key is made of."""
    monkeypatch.setenv("PYFILTER_CACHE_DIR", str(tmp_path / "cache"))
    sdk, compiler = runtime_image.sdk_folder(), Path(runtime_image.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(sdk, tmp_path / "sdk", ignore=ignored)
    shutil.copytree(compiler, tmp_path / "compiler", ignore=ignored)
    monkeypatch.setattr(runtime_image, "sdk_folder", lambda: tmp_path / "sdk")
    monkeypatch.setattr(runtime_image, "_PACKAGE", tmp_path / "compiler")
    return tmp_path


def key() -> str:
    """The key of the image that would be used now."""
    return runtime_image.current_folder(ABI).name


@pytest.mark.parametrize(
    "file",
    [
        "sdk/__init__.py",
        "sdk/_runtime/image.py",
        "compiler/shim/_shim.abi3.so",
        "compiler/shim/_stubs.abi3.so",
        "compiler/wasm/opcodes.py",
        "compiler/component/decode.py",
        "compiler/linker/link.py",
        "compiler/linker/prune.py",
        "compiler/componentize.py",
        "compiler/hosts.py",
        "compiler/cpython.py",
        "compiler/runtime_image.py",
        "compiler/snapshot.py",
        "compiler/sources.py",
        "compiler/wasi.py",
    ],
)
def test_the_key_depends_on_files(movable: Path, file: str) -> None:
    """A change of one byte in what the image is made from means another image, and changing it back the same one."""
    before = key()
    path = movable / file
    original = path.read_bytes()
    path.write_bytes(original + b" ")
    assert key() != before
    path.write_bytes(original)
    assert key() == before


def test_the_key_depends_on_names_and_places(movable: Path) -> None:
    """A new, a renamed and a moved file each mean another image."""
    keys = [key()]
    new = movable / "sdk" / "zz.py"
    new.write_text("")
    keys.append(key())
    for place in ("zzz.py", "_runtime/zzz.py"):
        new = new.rename(movable / "sdk" / place)
        keys.append(key())
    assert len(set(keys)) == 4


@pytest.mark.parametrize("file", ["compiler/cli.py", "compiler/envoy/run.py", "sdk/notes.txt", "sdk/__pycache__/m.pyc"])
def test_the_key_does_not_depend_on_the_rest(movable: Path, file: str) -> None:
    """What does not go into an image does not make another one necessary."""
    before = key()
    (movable / file).parent.mkdir(exist_ok=True)
    with (movable / file).open("ab") as changed:
        changed.write(b"\n")
    assert key() == before


def test_the_key_depends_on_versions_and_machine(movable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another wasmtime, componentize-py or kind of machine means another image."""
    keys = {key()}
    for target, name, value in (
        (runtime_image, "version", lambda _name: "1.2.3"),
        (platform, "machine", lambda: "pdp11"),
        (sys, "platform", "unix"),
        (componentize, "check_version", lambda: "0.99"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, value)
            keys.add(key())
    assert len(keys) == 5


def test_each_abi_version_has_its_image(cheap_images: Images) -> None:
    """The versions share no image; each is made once, and the list says which is which."""
    for abi in hosts.ABI_VERSIONS * 2:
        assert runtime_image.load(lambda _: None, abi).abi == abi
    assert cheap_images.made == 3
    images = {image.path: image for image in runtime_image.cached()}
    assert {abi: images[runtime_image.current_folder(abi)].abi for abi in hosts.ABI_VERSIONS} == {
        abi: abi for abi in hosts.ABI_VERSIONS
    }
    assert all(image.current for image in images.values())


# componentize-py


def test_another_version_of_componentize(cheap_images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is installed, what is needed, and the command that installs it; nothing is made."""
    monkeypatch.setattr(componentize, "version", lambda _name: "0.99.0")
    with pytest.raises(
        MissingDependency, match=r"componentize-py 0\.99\.0 is installed, but 0\.25\.1 is needed; run: pip "
    ) as raised:
        load()
    assert str(raised.value).endswith("pip install componentize-py==0.25.1")
    assert cheap_images.made == 0


def test_no_componentize(cheap_images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names what is needed and the command that installs it."""

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(componentize, "version", missing)
    with pytest.raises(
        MissingDependency, match=r"componentize-py 0\.25\.1 is needed and not installed; run: pip install"
    ):
        load()


FAKE_COMPONENTIZE = """
import json, os, sys

def script():
    json.dump({"arguments": sys.argv, "environment": dict(os.environ)}, open("seen.json", "w"))
    if "fail" in sys.argv:
        print("out")
        sys.exit("err")
"""


@pytest.fixture
def fake_componentize(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A componentize-py of a place that only this process's path knows; gives an empty folder to run it in."""
    (tmp_path / "packages" / "componentize_py").mkdir(parents=True)
    (tmp_path / "packages" / "componentize_py" / "__init__.py").write_text(FAKE_COMPONENTIZE)
    monkeypatch.delitem(sys.modules, "componentize_py", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_componentize_sees_nothing_of_this_machine(fake_componentize: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs wherever it is installed, with its arguments, an empty PATH and no variable that names packages."""
    monkeypatch.setenv("VIRTUAL_ENV", "/some/where")
    monkeypatch.setenv("PYTHONPATH", "/some/where")
    monkeypatch.setenv("SECRET", "x")
    componentize._run("-o", "image.wasm", cwd=fake_componentize)
    seen = json.loads((fake_componentize / "seen.json").read_text())
    assert seen["arguments"] == ["componentize-py", "-o", "image.wasm"]
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "SECRET", "HOME"} & seen["environment"].keys()
    assert list(Path(seen["environment"]["PATH"]).iterdir()) == []


def test_a_failure_of_componentize_shows_its_output(fake_componentize: Path) -> None:
    """Both streams are in the error, as nobody else shows them."""
    with pytest.raises(ToolError, match=r"componentize-py failed:\nout\nerr"):
        componentize._run("fail", cwd=fake_componentize)


# The cache folder


@pytest.mark.parametrize("place", ["a file", "no such device"])
def test_a_cache_that_cannot_be_written(
    cheap_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The error names the folder and the reason."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" if place == "a file" else Path("/proc/self/nowhere")
    monkeypatch.setenv("PYFILTER_CACHE_DIR", str(folder))
    with pytest.raises(CompilerError, match=rf"the runtime image cannot be kept in {folder}/images: .*{folder}"):
        load()


def test_the_cache_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without PYFILTER_CACHE_DIR, or with an empty one, it is the platform's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for setting in (None, ""):
        monkeypatch.delenv("PYFILTER_CACHE_DIR", raising=False)
        if setting is not None:
            monkeypatch.setenv("PYFILTER_CACHE_DIR", setting)
        assert runtime_image.cache_folder().is_relative_to(tmp_path)
        assert runtime_image.cache_folder().parts[-2:] == ("pywasmfilter", "images")


def test_cached_lists_images(cheap_images: Images) -> None:
    """Each image with its size, and which one is in use; what is no image is not listed."""
    assert runtime_image.cached() == []
    load()
    current = runtime_image.current_folder(ABI)
    shutil.copytree(current, current.parent / ("0" * 32))
    (current.parent / ("1" * 32)).mkdir()
    (current.parent / ("1" * 32) / "index.json").write_text("damaged")
    (current.parent / ".building-x").mkdir()
    (current.parent / "file").write_text("")
    images = {image.path: image for image in runtime_image.cached()}
    assert [path.name for path in images] == sorted(["0" * 32, "1" * 32, current.name])
    assert {image.path.name: image.abi for image in images.values() if image.abi != ABI} == {"1" * 32: None}
    assert [path for path, image in images.items() if image.current] == [current]
    assert images[current].size == sum(path.stat().st_size for path in current.iterdir())


def test_clear_removes_what_is_ours(cheap_images: Images) -> None:
    """All images go, old ones and what interrupted builds left too; what else is in the folder stays."""
    load()
    current = runtime_image.current_folder(ABI)
    shutil.copytree(current, current.parent / ("0" * 32))
    leftover = current.parent / ".building-abc" / "image"
    leftover.mkdir(parents=True)
    (leftover / "image.wasm").write_text("half")
    (runtime_image.compiled_folder()).mkdir()
    (current.parent / "holiday").mkdir()
    (current.parent / "photo.jpg").write_text("")
    assert runtime_image.clear() == sorted(
        [leftover.parent, current.parent / ("0" * 32), current, runtime_image.compiled_folder()]
    )
    assert entries() == ["holiday", "photo.jpg"]
    assert runtime_image.clear() == []
    assert load() != []


def test_clear_without_a_cache(cheap_images: Images) -> None:
    """Nothing to remove is no error."""
    assert runtime_image.clear() == []


def test_clear_says_what_it_cannot_remove(cheap_images: Images) -> None:
    """What cannot be removed is named."""
    folder = runtime_image.cache_folder()
    folder.mkdir(parents=True)
    (folder / ("0" * 32)).symlink_to(folder)
    with pytest.raises(CompilerError, match=f"{'0' * 32} cannot be removed: "):
        runtime_image.clear()


# The real image

MAKE = """
import json, time
from pywasmfilter_compiler import runtime_image
steps = []
image = runtime_image.load(lambda step: steps.append((step, time.perf_counter())), "0.2.1")
print(json.dumps({"steps": steps, "end": time.perf_counter(), "folder": str(runtime_image.current_folder("0.2.1"))}))
"""


@pytest.fixture(scope="module")
def real_images(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two processes that started with the same empty cache say."""
    environment = {**os.environ, "PYFILTER_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}
    command = [sys.executable, "-c", MAKE]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [(process.returncode, err) for process, (_, err) in zip(processes, answers, strict=True)] == [(0, "")] * 2
    return [json.loads(out) for out, _ in answers]


def test_two_processes_share_an_empty_cache(
    real_images: list[dict[str, Any]], record_property: Callable[[str, object], None]
) -> None:
    """Both succeed, in the same folder, and leave one whole image and nothing else; one has only waited."""
    (folder,) = {Path(answer["folder"]) for answer in real_images}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert runtime_image.is_whole(folder)
    waited, made = sorted(([step for step, _ in answer["steps"]] for answer in real_images), key=len)
    assert waited == [WAITING.format(folder.parent / f".building-{folder.name}")]
    assert made[0].startswith("runtime image for ABI 0.2.1, made once")
    for answer in real_images:
        steps = [*answer["steps"], ["end", answer["end"]]]
        for (step, start), (_, end) in pairwise(steps):
            record_property(step, round(end - start, 2))


@pytest.fixture
def real_image(real_images: list[dict[str, Any]]) -> Path:
    """The folder with a real image."""
    return Path(real_images[0]["folder"])


def test_the_image_is_a_valid_module(real_image: Path) -> None:
    """Wasmtime accepts what the linker made of componentize-py's component, and compiles it as builds do."""
    wasmtime.Module.validate(snapshot.new_engine(), (real_image / "image.wasm").read_bytes())
    wasmtime.Module.deserialize_file(snapshot.new_engine(), str(real_image / "image.cwasm"))


def test_the_image_imports_what_proxies_offer(real_image: Path) -> None:
    """Host functions of the ABI and four of WASI, which every Envoy has; nothing else of a system."""
    imports = decode((real_image / "image.wasm").read_bytes()).imports
    ours = {item.name for item in imports if item.module == "env"}
    assert ours
    assert all(name.startswith("proxy_") for name in ours)
    assert {(item.module, item.name) for item in imports if item.module != "env"} == {
        ("wasi_snapshot_preview1", name)
        for name in ("clock_time_get", "environ_get", "environ_sizes_get", "random_get")
    }


def test_the_image_has_no_hidden_state(real_image: Path) -> None:
    """Memory and the stack pointer are all there is to copy: one mutable global, no start function."""
    module = decode((real_image / "image.wasm").read_bytes())
    assert [item.type.mutable for item in module.globals] == [True]
    assert module.start is None
    assert len(module.memories) == 1


def test_the_archive_holds_the_library(real_image: Path) -> None:
    """The standard library's sources are there for later builds, without its tests; the most used ones compiled."""
    with zipfile.ZipFile(real_image / "stdlib.zip") as archive:
        names = archive.namelist()
    assert {"json/__init__.py", "re/__init__.py", "dataclasses.py", "encodings/utf_8.py"} <= set(names)
    sources = {name for name in names if not name.endswith(COMPILED)}
    assert not [name for name in sources if not name.endswith(".py") or name.startswith(("test/", "/", ".."))]
    assert {name.removesuffix(COMPILED) for name in names} <= sources, "what is compiled has its source beside it"
    assert {f"json/decoder.py{COMPILED}", f"re/_parser.py{COMPILED}"} <= set(names)
