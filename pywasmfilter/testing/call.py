"""One request through a filter, and all that became of it, for `pyfilter call`.

    outcome = call(["filter.py"], Request("GET", "/"), Response(200))
    print(render(outcome))

Raises the compiler's errors, for filters that cannot be imported or do not start too.
"""

from __future__ import annotations

from bdb import BdbQuit
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Final

from pywasmfilter_compiler.errors import FilterError, UsageError
from pywasmfilter_compiler.upstreams import Upstream, of_module

from pywasmfilter import registry
from pywasmfilter.types import Status

from .host import Host
from .messages import Message, Request, Response, as_text
from .plugin import Refused, Trapped
from .proxy import LogLine
from .python_guest import PythonGuest
from .streams import Unfinished
from .trace import Callback

_LONGEST: Final = 2000


@dataclass
class Outcome:
    """What became of a request."""

    request: Request
    """What the client sent."""
    sent: Request | None
    """What reached the upstream."""
    answer: Response | None
    """What the upstream answered; None if the response is not its."""
    response: Response | None
    """What the client got."""
    unfinished: str
    """Why there is no response; empty if there is one."""
    log: list[LogLine]
    callbacks: list[Callback]
    unanswered: list[Upstream]
    """The filter's upstreams that were called, and had no answer."""

    def to_json(self) -> dict[str, Any]:
        """The same for JSON. What is not UTF-8 is there as the SDK has it, with surrogates."""
        return {
            "request": _message(self.request),
            "upstream": self.sent and _message(self.sent),
            "response": self.response and _message(self.response),
            "unfinished": self.unfinished or None,
            "log": [{"level": line.level.name.lower(), "message": line.message} for line in self.log],
            "callbacks": list(map(_callback, self.callbacks)),
            "unanswered": [upstream.name for upstream in self.unanswered],
        }


def _message(message: Message) -> dict[str, Any]:
    return {
        "headers": message.headers.items(),
        "body": as_text(message.body),
        "trailers": message.trailers.items(),
    }


def _callback(callback: Callback) -> dict[str, Any]:
    return {
        "name": callback.name,
        "context_id": callback.context_id,
        "arguments": callback.arguments,
        "answer": callback.answer,
        "seconds": round(callback.seconds, 6),
        "host_calls": list(map(str, callback.calls)),
    }


def call(
    paths: Sequence[Path],
    request: Request,
    upstream: Response,
    *,
    clusters: Mapping[str, Response] | None = None,
    advance: float = 0.0,
    **options: Any,
) -> Outcome:
    """Send a request through the filter at some paths. `options` are those of Host.

    `upstream` answers what passes, and `clusters` the calls of the filter, by the names of clusters or of the filter's
    own upstreams. Then `advance` seconds pass.
    """
    with _errors(paths), Host(paths, clusters=clusters, **options) as host:
        upstreams = {each.cluster_in(options.get("environment") or {}): each for each in _upstreams(host, paths)}
        names = {each.name: cluster for cluster, each in upstreams.items()}
        for name, service in (clusters or {}).items():
            host.clusters[names.get(name, name)] = service
        stream = host.send(request, upstream)
        host.advance(advance)
        response: Response | None = None
        unfinished = ""
        try:
            response = stream.response
        except Unfinished as error:
            unfinished = str(error)
        answer = upstream if stream.sent is not None and stream.local_response is None else None
        # Before the host is closed, which is not of interest.
        callbacks = list(host.trace.callbacks)
        unanswered = [upstreams[name] for name in _unknown_clusters(callbacks) if name in upstreams]
        return Outcome(request, stream.sent, answer, response, unfinished, list(host.log), callbacks, unanswered)


def _upstreams(host: Host, paths: Sequence[Path]) -> Sequence[Upstream]:
    """The upstreams of the filter at some paths, which runs in a host."""
    guest = host.plugin.vm.guest
    if not isinstance(guest, PythonGuest):
        from .modules import built_module  # noqa: PLC0415  # plain Python needs no compiler

        module = paths[0] if paths[0].suffix == ".wasm" else built_module(tuple(paths))
        return of_module(module.read_bytes())
    with guest.plugins():
        return [Upstream(**upstream.describe()) for upstream in registry.upstreams.values()]


def _unknown_clusters(callbacks: Sequence[Callback]) -> list[str]:
    """The clusters that were called and are not there, each once."""
    calls = (each for callback in callbacks for each in callback.calls if each.function == "proxy_http_call")
    names = (each.arguments[0] for each in calls if each.status == Status.BAD_ARGUMENT)
    return list(dict.fromkeys(as_text(name) for name in names if isinstance(name, bytes)))


@contextmanager
def _errors(paths: Sequence[Path]) -> Iterator[None]:
    """What goes wrong with the filter becomes an error of the compiler's kind, which is a message."""
    try:
        yield
    except Refused as error:
        raise FilterError(str(error)) from error
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror or error}") from error
    except BdbQuit:
        raise KeyboardInterrupt from None  # the user ends it, at a debugger's prompt
    except Trapped as error:
        raise FilterError(str(error).strip(), ", ".join(path.name for path in paths)) from error


# As text


def render(outcome: Outcome) -> str:
    """What happened, for a person to read. + and - mark what filter and proxy changed."""
    request, response = outcome.request, outcome.response
    # As it is: a module may have made of it what is no number, or nothing.
    status = response.headers.get(":status", "no status") if response else "no response"
    sections = [f"{_shown(request.method)} {_shown(request.path)} → {_shown(str(status))}"]
    if outcome.sent is None:
        sections.append(_section("request, of which nothing reached the upstream", _lines(request)))
    else:
        sections.append(_section("request, from client to upstream", _changes(request, outcome.sent)))
    if response is None:
        sections.append(_section("response", [f"none: {outcome.unfinished}"]))
    elif outcome.answer is None:
        sections.append(_section("response, which is not the upstream's", _lines(response)))
    else:
        sections.append(_section("response, from upstream to client", _changes(outcome.answer, response)))
    sections.append(_section("log", [line for entry in outcome.log for line in str(entry).split("\n")]))
    if outcome.unanswered:
        sections.append(_section("upstreams without an answer", list(map(_advice, outcome.unanswered))))
    sections.append(_section("callbacks, with their host calls", _story(outcome.callbacks)))
    return "\n\n".join(sections)


def _advice(upstream: Upstream) -> str:
    return f"{upstream.name}, {upstream.url}: --cluster {upstream.name}=200, or =STATUS:BODY, answers its calls"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {_shown(line)}".rstrip() for line in lines or ["nothing"])])


def _shown(text: str) -> str:
    """A text that does a terminal no harm."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def _lines(message: Message) -> list[str]:
    headers = [f"{name}: {value}" for name, value in message.headers.items()]
    trailers = [f"{name}: {value}" for name, value in message.trailers.items()]
    body = _body(message.body)
    return [*headers, *(["", *body] if body else []), *(["", *trailers] if trailers else [])]


def _body(body: bytes) -> list[str]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return [f"{body[:_LONGEST]!r}", *_rest(body)]
    return [*text[:_LONGEST].splitlines(), *_rest(text)]


def _rest(whole: Sequence[Any]) -> list[str]:
    return [f"… {len(whole)} in all"] if len(whole) > _LONGEST else []


def _changes(before: Message, after: Message) -> list[str]:
    old, new = _lines(before), _lines(after)
    lines = []
    for _, start, end, new_start, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if old[start:end] == new[new_start:new_end]:
            lines += [f"  {line}" for line in old[start:end]]
        else:
            lines += [f"- {line}" for line in old[start:end]] + [f"+ {line}" for line in new[new_start:new_end]]
    return lines


def _story(callbacks: Sequence[Callback]) -> list[str]:
    lines = []
    for callback in callbacks:
        indent = "  " * callback.depth
        lines.append(f"{callback.seconds * 1000:8.3f} ms  {indent}{callback}")
        lines += [f"{'':11}    {indent}{host_call}" for host_call in callback.calls]
    return lines
