"""A module becomes an image: in a registry (`push`), or in a layout on this machine (`package`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, TypeAlias

from pywasmfilter_compiler.errors import CompilerError, MissingDependency, UsageError
from pywasmfilter_compiler.module_report import inspect

from . import image as images
from .image import Format, Image, Subject
from .layout import check_target, write_layout
from .record import ImageRecord, record_path, write_record
from .reference import check_tag, parse

StrPath: TypeAlias = str | os.PathLike[str]

_LONGEST_TIMEOUT: Final = 86400
_TITLE: Final = "org.opencontainers.image.title"


@dataclass(frozen=True, slots=True)
class Description:
    """What is said of an image: its format, the name of the module, and labels, which are its annotations too.

    The name is by default that of the file. Labels add to those that follow from the module: its title, its plugins,
    the version of the ABI, and that of pywasmfilter.
    """

    format: Format = "compat"
    name: str | None = None
    labels: Mapping[str, str] | None = None


def push(
    module: StrPath,
    reference: str,
    description: Description = Description(),
    *,
    username: str | None = None,
    password: str | None = None,
    ca: StrPath | None = None,
    insecure: bool = False,
    timeout: float = 60.0,
    record: StrPath | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ImageRecord:
    """Push a module to a registry, as `oci://registry/team/name:tag` says, and write down what was pushed.

    Credentials are those of Docker's configuration unless there are `username` and `password`. `ca` is a file of
    certificates to trust; `insecure` trusts any, and takes plain HTTP. `timeout` in seconds bounds each wait. `record`
    is where to write the record, by default `NAME.image.json` beside the module. `progress` is called with each step.

    Raises RegistryError if the registry cannot be reached or says no, UsageError for what makes no sense, and
    MissingDependency without oras.
    """
    check_dependencies()
    from .credentials import Credentials  # noqa: PLC0415
    from .registry import Access, push_image  # noqa: PLC0415

    place = parse(reference)
    if not 0 < timeout <= _LONGEST_TIMEOUT:  # which NaN is not either
        raise UsageError(f"the timeout is more than 0 and at most {_LONGEST_TIMEOUT} seconds, not {timeout:g}")
    login = None
    if username is not None and password is not None:
        _check_login(username, password)
        login = Credentials(username, password, f"user {username}")
    elif username is not password:
        raise UsageError("a user name goes with a password, and a password with a user name")
    access = Access(login, None if ca is None else Path(ca), insecure, timeout)
    progress("compressing")
    image, made = _image(Path(module), description, str(place))
    push_image(image, place, access, progress)
    write_record(record_path(Path(module)) if record is None else Path(record), made)
    return made


def package(
    module: StrPath,
    output: StrPath,
    description: Description = Description(),
    *,
    tag: str = "latest",
    record: StrPath | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> ImageRecord:
    """Write a module as an OCI image layout: a folder, or a tar of one if the name of the output ends with `.tar`.

    `tag` is the image's name in the layout; for `record` and `progress` see `push`. An existing layout is replaced.

    Raises UsageError for what makes no sense, such as an output that is something else, and CompilerError if it cannot
    be written.
    """
    check_tag(tag)
    check_target(Path(output))
    if description.format == "docker":
        raise UsageError(
            "a layout of the OCI holds no image of Docker's format: take compat, which registries take too"
        )
    progress("compressing")
    image, made = _image(Path(module), description, None)
    write_layout(Path(output), image, tag)
    write_record(record_path(Path(module)) if record is None else Path(record), made)
    return made


def _check_login(username: str, password: str) -> None:
    if not username or ":" in username:
        raise UsageError("a user name has at least one character and no colon")
    try:
        f"{username}{password}".encode()
    except UnicodeEncodeError:
        raise UsageError("user name and password are UTF-8") from None


def check_dependencies() -> None:
    """Raise MissingDependency if pushing needs a package that is not there."""
    try:
        import oras.provider  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingDependency(f"pushing needs {error.name}: run `pip install 'pywasmfilter[push]'`") from error


def _image(module: Path, description: Description, reference: str | None) -> tuple[Image, ImageRecord]:
    data = _read(module)
    report = inspect(data)
    if report.abi is None:
        raise CompilerError(f"{module}: no Proxy-Wasm module: it does not say which version of the ABI it is for")
    created = images.created_time()
    labels = {
        _TITLE: description.name or os.fsencode(module.stem).decode("utf-8", "replace"),
        "pywasmfilter.abi": report.abi,
        **({"pywasmfilter.plugins": ",".join(report.plugins)} if report.plugins else {}),
        **({"pywasmfilter.version": _version()} if report.python_modules else {}),
        **(images.label_of_time(created) if created else {}),
        **(description.labels or {}),
    }
    times = {"created": created} if created else {}
    image = images.make_image(Subject(data, report.plugins, report.abi, labels, **times), description.format)
    return image, ImageRecord(
        reference=reference,
        format=image.format,
        manifest_digest=image.manifest.digest,
        module_sha256=hashlib.sha256(data).hexdigest(),
        module_size=len(data),
        layer_size=len(image.layers[-1].data),
        plugins=report.plugins,
    )


def _read(module: Path) -> bytes:
    try:
        return module.read_bytes()
    except OSError as error:
        raise UsageError(f"{module}: {error.strerror or error}") from error


def _version() -> str:
    try:
        return version("pywasmfilter")
    except PackageNotFoundError:  # used from its sources
        return "unknown"
