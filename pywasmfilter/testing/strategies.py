"""Hypothesis strategies for what passes a filter, so that a test states what holds for all traffic.

    from hypothesis import given
    from pywasmfilter.testing.strategies import filter_settings, requests

    @given(sent=requests())
    @filter_settings
    def test_nobody_gets_in_without_a_key(new_host, sent):
        assert new_host().send(sent).status == 403

Each example has hosts of its own, closed at its end, so such tests use `new_host`, not `host`. With `interleavings` and
`run`, several streams go their way at once, piece by piece:

    @given(steps=interleavings())
    @filter_settings
    def test_no_order_of_events_breaks_it(new_host, steps):
        host = new_host()
        run(host, steps)
        assert not host.logged("Traceback")

Wherever a strategy has parameters, they are strategies or values. Everything is within what HTTP and proxies allow.
"""

from __future__ import annotations

import json
import string
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from .messages import Headers, Message, Request, Response

try:
    from hypothesis import HealthCheck, settings, strategies as st
except ImportError as error:
    raise ImportError("these strategies need Hypothesis: pip install 'pywasmfilter[hypothesis]'") from error

if TYPE_CHECKING:
    from .host import Host
    from .streams import HttpStream

T = TypeVar("T")
Given: TypeAlias = st.SearchStrategy[T] | T
"""A strategy, or the one value that it gives."""
Pairs: TypeAlias = list[tuple[str, bytes]]

filter_settings: Final = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Settings for tests of filters: an example may take as long as a build, and `new_host` makes a new one for each."""

_NAME: Final = string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~"
_USUAL_NAMES: Final = (
    "accept authorization cache-control content-type cookie origin referer user-agent x-api-key".split()
)
_FRAMING: Final = "connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
"""What a codec makes of the message, or the proxy by itself."""
_VALUE: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
_PATH: Final = "".join(sorted({*string.ascii_letters, *string.digits, *"-._~!$&'()*+,;=:@/%?"}))
_WITHOUT_BODY: Final = (204, 304)
_STATUSES: Final = (200, 201, 204, 301, 304, 400, 401, 403, 404, 429, 500, 503)


def header_names() -> st.SearchStrategy[str]:
    """Names of headers, usual ones often; none that says how a message is framed, since the messages here do that."""
    any_name = st.text(_NAME, min_size=1, max_size=40).filter(lambda name: name not in _FRAMING)
    return st.sampled_from(_USUAL_NAMES) | any_name


def header_values() -> st.SearchStrategy[bytes]:
    """Values of headers: any bytes that a peer may send, which need not be UTF-8."""
    return (st.binary(max_size=40) | st.text(max_size=20).map(str.encode)).map(_as_value)


def _as_value(data: bytes) -> bytes:
    return bytes(byte for byte in data if byte in _VALUE).strip(b" \t")


def headers(
    names: Given[str] | None = None, values: Given[str | bytes] | None = None, *, max_size: int = 6
) -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Headers in any order, some of them more than once."""
    name = header_names() if names is None else _strategy(names)
    value: st.SearchStrategy[Any] = header_values() if values is None else _strategy(values)
    pools = st.lists(name, min_size=1, max_size=max(1, max_size), unique=True)
    return pools.flatmap(lambda pool: st.lists(st.tuples(st.sampled_from(pool), value), max_size=max_size))


def bodies(*, max_size: int = 300) -> st.SearchStrategy[bytes]:
    """Bodies: bytes, text and JSON."""
    text = st.text(max_size=min(max_size // 4, 100))
    scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
    documents = scalars | st.lists(scalars, max_size=5) | st.dictionaries(text, scalars, max_size=5)
    as_json = documents.map(json.dumps).filter(lambda document: len(document) <= max_size)
    return st.binary(max_size=max_size) | (text | as_json).map(str.encode)


@st.composite
def chunked(draw: st.DrawFn, body: Given[bytes]) -> list[bytes]:
    """A body in the pieces in which it arrives: split anywhere, with empty pieces among them."""
    data = draw(_strategy(body))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


def paths() -> st.SearchStrategy[str]:
    """Paths of requests, with or without a query."""
    return st.text(_PATH, max_size=40).map(lambda text: "/" + text)


@st.composite
def requests(
    draw: st.DrawFn,
    *,
    method: Given[str] | None = None,
    path: Given[str] | None = None,
    headers: Given[Any] | None = None,
    body: Given[bytes] | None = None,
    trailers: Given[Any] | None = None,
) -> Request:
    """Requests, whose bodies arrive in pieces; some say the length of the body before, some have trailers after it."""
    methods = st.sampled_from(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
    message = _message(draw, headers, body, trailers)
    return draw(
        st.builds(
            Request,
            method=methods if method is None else _strategy(method),
            path=paths() if path is None else _strategy(path),
            **message,
        )
    )


@st.composite
def responses(
    draw: st.DrawFn,
    *,
    status: Given[int] | None = None,
    headers: Given[Any] | None = None,
    body: Given[bytes] | None = None,
    trailers: Given[Any] | None = None,
) -> Response:
    """Responses of an upstream or of another service."""
    code = draw(st.sampled_from(_STATUSES) | st.integers(200, 599) if status is None else _strategy(status))
    if code in _WITHOUT_BODY:
        message = {"headers": st.just(_pairs(draw, headers))}
    else:
        message = _message(draw, headers, body, trailers)
    return draw(st.builds(Response, status=st.just(code), **message))


def _message(draw: st.DrawFn, given: Any, body: Any, trailers: Any) -> dict[str, st.SearchStrategy[Any]]:
    """Headers, body and trailers that go together."""
    pairs = _pairs(draw, given)
    chunks = draw(st.just([]) | chunked(bodies()) if body is None else chunked(body))
    last = draw(st.just([]) | headers(max_size=3) if trailers is None else _strategy(trailers))
    if chunks and not last and draw(st.booleans()):
        pairs.append(("content-length", str(sum(map(len, chunks)))))
    return {"headers": st.just(pairs), "body": st.just(chunks), "trailers": st.just(last if chunks else [])}


def _pairs(draw: st.DrawFn, given: Any) -> list[tuple[str, str]]:
    return list(Headers(draw(headers() if given is None else _strategy(given))).items())


def _strategy(given: Any) -> st.SearchStrategy[Any]:
    return given if isinstance(given, st.SearchStrategy) else st.just(given)


# Several streams at once


class Step(NamedTuple):
    """Something that happens to one of the streams, to the host, or to a call of the filter.

    `method` is one of HttpStream: `send_headers`, `send_body`, `send_trailers`, `respond_headers`, `respond_body`,
    `respond_trailers`, `abort`; or of Host: `tick`, `advance`; or of HttpCall: `reply`, `fail`, `time_out`. `number`
    says which of the streams, or of the calls that wait.
    """

    number: int
    method: str
    arguments: tuple[Any, ...] = ()
    end_of_stream: bool = False


_OF_HOST: Final = ("tick", "advance")
_OF_CALL: Final = ("reply", "fail", "time_out")


@st.composite
def interleavings(
    draw: st.DrawFn,
    *,
    requests: Given[Request] | None = None,
    responses: Given[Response] | None = None,
    streams: int = 3,
) -> list[Step]:
    """What happens to up to so many streams, in any order that is possible; `run` lets it happen.

    Clients send their requests and some go away, the upstream answers, time passes, the plugin ticks. Calls that
    the filter makes to clusters whose service is None are answered, time out or break off.
    """
    asked = _requests() if requests is None else _strategy(requests)
    answered = _responses() if responses is None else _strategy(responses)
    sequences = [draw(st.lists(_events(answered), max_size=5))]
    for number in range(draw(st.integers(1, streams))):
        request: Request = draw(asked)
        response: Response = draw(answered)
        bare = request.method == "HEAD"
        sequences.append([Step(number, "send_headers", (request.headers.items(),), _is_bare(request))])
        sequences[-1] += _rest(draw, number, "send", request)
        sequences.append([Step(number, "respond_headers", _start(response), bare or _is_bare(response))])
        sequences[-1] += [] if bare else _rest(draw, number, "respond", response)
        sequences.append(draw(st.sampled_from(([], [], [Step(number, "abort")]))))
    order = draw(st.permutations([index for index, steps in enumerate(sequences) for _ in steps]))
    rest = list(map(iter, sequences))
    return [next(rest[index]) for index in order]


_requests, _responses = requests, responses  # where parameters have these names


def _events(answered: st.SearchStrategy[Response]) -> st.SearchStrategy[Step]:
    return st.one_of(
        st.just(Step(0, "tick")),
        st.sampled_from((0.01, 1.0, 5.0)).map(lambda seconds: Step(0, "advance", (seconds,))),
        st.sampled_from([Step(number, method) for number in range(3) for method in ("fail", "time_out")]),
        st.tuples(st.integers(0, 2), answered).map(lambda reply: Step(reply[0], "reply", reply[1:])),
    )


def _is_bare(message: Message) -> bool:
    return not message.chunks and not message.trailers


def _start(response: Response) -> tuple[int, Any]:
    return response.status, [pair for pair in response.headers.items() if pair[0] != ":status"]


def _rest(draw: st.DrawFn, number: int, verb: str, message: Message) -> list[Step]:
    """What follows the headers. The last piece of a body is the end of it, or that comes by itself, as in HTTP/1."""
    steps = [Step(number, f"{verb}_body", (chunk,)) for chunk in message.chunks]
    if message.trailers:
        return [*steps, Step(number, f"{verb}_trailers", (message.trailers.items(),))]
    ends_apart: bool = draw(st.booleans())
    if not steps:
        return []
    if ends_apart:
        return [*steps, Step(number, f"{verb}_body", (b"",), end_of_stream=True)]
    return [*steps[:-1], steps[-1]._replace(end_of_stream=True)]


def run(host: Host, steps: list[Step]) -> list[HttpStream]:
    """Let steps happen, and return the streams.

    What cannot happen yet is put off: an upstream answers what has reached it, and a reply needs a call. What cannot
    happen any more is left out.
    """
    streams: dict[int, HttpStream] = {}
    waiting: list[Step] = []
    for step in steps:
        waiting.append(step)
        while (ready := next((other for other in waiting if _is_possible(host, streams, other)), None)) is not None:
            waiting.remove(ready)
            _do(host, streams, ready)
    return list(streams.values())


def _is_possible(host: Host, streams: dict[int, HttpStream], step: Step) -> bool:
    if step.method in _OF_CALL:
        return bool(host.http_calls)
    if step.method.startswith("respond"):
        stream = streams.get(step.number)
        return stream is not None and (stream.sent is not None or _is_answered(stream))
    return step.method in _OF_HOST or step.method == "send_headers" or step.number in streams


def _is_answered(stream: HttpStream) -> bool:
    """Whether the upstream has nothing to say to it any more."""
    return stream.ended or stream.local_response is not None


def _do(host: Host, streams: dict[int, HttpStream], step: Step) -> None:
    if step.method in _OF_CALL:
        getattr(host.http_calls[step.number % len(host.http_calls)], step.method)(*step.arguments)
    elif step.method in _OF_HOST:
        if step.method == "advance" or host.plugin.tick_period:
            getattr(host, step.method)(*step.arguments)
    else:
        if step.method == "send_headers":
            streams[step.number] = host.open_http(upstream=None)
        stream = streams[step.number]
        if not stream.ended and not (step.method.startswith("respond") and _is_answered(stream)):
            options = {"end_of_stream": True} if step.end_of_stream else {}
            getattr(stream, step.method)(*step.arguments, **options)
