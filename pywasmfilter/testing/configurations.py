"""Typed configurations outside of a proxy, for `pyfilter schema` and `pyfilter validate`.

The filter is imported as plain Python, as for a test, and is asked for the class that its decorator names. What decides
is the code that reads configurations in the module, `pywasmfilter.config`. Raises the compiler's errors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pywasmfilter_compiler.errors import CompilerError, FilterError, UsageError

from pywasmfilter.config import decoder, plan_of
from pywasmfilter.contexts import PluginContext
from pywasmfilter.exceptions import ConfigError

from .plugin import Refused
from .proxy import Proxy
from .python_guest import PythonGuest
from .vm import VM

_LARGEST_YAML = 2_000_000
"""More than an object of Kubernetes may have."""
_HOW = "its decorator says nothing of one: @http_filter(…, config=Config), with a dataclass Config"


class Problem(NamedTuple):
    """What is wrong with a configuration, and where in it; "" is the whole."""

    path: str
    message: str


@dataclass(frozen=True)
class Verdict:
    """What a plugin thinks of a configuration. `problems` are the first of `count`."""

    file: Path
    plugin: str
    problems: list[Problem]
    count: int
    summary: str
    """The same in words; empty if all is well."""

    def to_json(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "file": str(self.file),
            "plugin": self.plugin,
            "valid": not self.count,
            "count": self.count,
            "problems": [problem._asdict() for problem in self.problems],
        }


def schema(paths: Sequence[Path], plugin: str = "") -> dict[str, Any]:
    """The JSON Schema of a plugin's configuration; `plugin` is needed if several of the filters' plugins have one."""
    # Pydantic takes a while to import, and nothing else needs it.
    from pydantic import PydanticUserError  # noqa: PLC0415

    from .schema import json_schema  # noqa: PLC0415

    with _plugins(paths) as plugins:
        name, cls = _choose(plugins, plugin)
        try:
            return json_schema(plan_of(cls))
        except PydanticUserError as error:
            raise FilterError(f"{name}: pydantic makes no schema of {cls.__qualname__}: {error}") from error


def validate(file: Path, paths: Sequence[Path], plugin: str = "") -> Verdict:
    """Read a file as a plugin would its configuration. A file that ends in .yaml or .yml is YAML, others are JSON."""
    data = _read(file)
    with _plugins(paths) as plugins:
        name, cls = _choose(plugins, plugin)
        try:
            _decode(cls, data)
        except ConfigError as error:
            return Verdict(file, name, [Problem(*problem) for problem in error.problems], error.count, str(error))
    return Verdict(file, name, [], 0, "")


def check(data: bytes, paths: Sequence[Path], plugin: str = "") -> None:
    """Raise FilterError for a configuration that the plugin of this name would refuse before it starts.

    Nothing is said of plugins without a typed configuration, and of filters that do not run as plain Python.
    """
    name = plugin
    try:
        with _plugins(paths) as plugins:
            if len(plugins) == 1:  # as in a module, any name will do then
                (name,) = plugins
            cls = plugins[name].config_type if name in plugins else None
            if cls is not None:
                _decode(cls, data)
    except ConfigError as error:
        raise FilterError(f"{name}: bad configuration: {error}") from None
    except FilterError:
        return


@contextmanager
def _plugins(paths: Sequence[Path]) -> Iterator[Mapping[str, type[PluginContext]]]:
    """The plugins of the filters at some paths, while their modules are what imports give."""
    for path in paths:
        if path.suffix == ".wasm":
            raise UsageError(f"{path}: a module does not tell what its configuration is; give the filter's source")
    try:
        guest = VM(Proxy(), partial(PythonGuest, paths)).guest
    except Refused as error:
        raise FilterError(str(error)) from error
    assert isinstance(guest, PythonGuest)  # noqa: S101  # which is what was asked for
    try:
        with guest.plugins() as plugins:
            yield plugins
    finally:
        guest.close()


def _decode(cls: type[Any], data: bytes) -> None:
    """Raises ConfigError, or FilterError for what the class's own code raises."""
    try:
        decoder(cls)(data)
    except ConfigError:
        raise
    except Exception as error:
        raise FilterError(f"{cls.__qualname__} cannot be made: {type(error).__name__}: {error}") from error


def _choose(plugins: Mapping[str, type[PluginContext]], name: str) -> tuple[str, type[Any]]:
    """The plugin of that name, or else the only one with a typed configuration."""
    if name and name not in plugins:
        raise UsageError(f"there is no plugin {name!r}; the plugins are: {', '.join(sorted(plugins))}")
    names = [name] if name else sorted(plugins)
    found = {name: cls for name in names if (cls := plugins[name].config_type) is not None}
    if not found:
        raise FilterError(f"{', '.join(names)}: there is no class for the configuration; {_HOW}")
    if len(found) > 1:
        raise UsageError(f"several plugins have a configuration, say which: --plugin {' or '.join(found)}")
    return next(iter(found.items()))


def _read(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error
    return _from_yaml(data, file) if file.suffix in (".yaml", ".yml") else data


def _from_yaml(data: bytes, file: Path) -> bytes:
    """The same as JSON."""
    import yaml  # noqa: PLC0415  # most configurations are JSON

    class Loader(yaml.SafeLoader):
        """Says where a value is that its tag does not take."""

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (yaml.YAMLError, RecursionError):
                raise
            except Exception as error:
                text = f"{node.tag} takes no such value"
                raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from error

    try:
        loader = Loader(data)
        node = loader.get_single_node()
        if node is None:
            return b""
        _check_yaml(node)
        return json.dumps(loader.construct_document(node), allow_nan=False).encode()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CompilerError(f"{file}: not YAML: {error}") from None
    except RecursionError:
        raise CompilerError(f"{file}: it is nested too deeply") from None
    except (TypeError, ValueError) as error:  # a date, .nan, what contains itself
        raise CompilerError(f"{file}: not what JSON can say: {error}") from None


def _check_yaml(root: Any) -> None:
    """Raise for a key that is there twice, as the reader of JSON does, and for aliases that make too much of a file."""
    from yaml import MappingNode, ScalarNode  # noqa: PLC0415
    from yaml.constructor import ConstructorError  # noqa: PLC0415

    size = 0
    nodes = [root]
    while nodes:  # with a node again for each of its aliases
        node = nodes.pop()
        size += 1 + len(node.value)
        if size > _LARGEST_YAML:
            raise ValueError(f"with all aliases written out it has more than {_LARGEST_YAML:,} characters and members")
        if isinstance(node, MappingNode):
            seen: set[tuple[str, str]] = set()
            for key in [key for key, _ in node.value if isinstance(key, ScalarNode)]:
                if (key.tag, key.value) in seen:
                    raise ConstructorError(None, None, f"{key.value!r} is there twice", key.start_mark)
                seen.add((key.tag, key.value))
            nodes.extend(part for pair in node.value for part in pair)
        elif not isinstance(node, ScalarNode):
            nodes.extend(node.value)
