"""Services with names: `auth = upstream("auth", "https://auth.example.com", timeout=0.5, retries=2)`.

A filter says once what it calls and how; which cluster of the proxy that is can be changed where the module is used.
What is defined at import time is written into the module, for those who set up the proxy.

What is counted here is one worker's own, and times are those of a clock that is never set back.
"""

from __future__ import annotations

import os
import time

from . import _abi, calls, log, registry
from ._protobuf import field
from ._serialization import as_text, encode_pairs
from ._state import EffectiveContext, find_context
from ._tasks import Future
from ._timers import timers_of
from .contexts import HttpContext
from .exceptions import BadArgument, CallFailed, MisuseError
from .types import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, TypedDict, Unpack

    from ._timers import Timer
    from .headers import HeaderMap

    Text = str | bytes
    HeadersLike = Iterable[tuple[Text, Text]] | Mapping[str, Text]
    Headers = list[tuple[str, Text]]

    class CallOptions(TypedDict, total=False):
        """The options of `Upstream.request`."""

        headers: HeadersLike
        body: Text
        json: object
        timeout: float | None
        deadline: float | None
        idempotent: bool | None


_RETRIED = (503, 504)
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))


# Upstreams


def upstream(
    name: str,
    url: str,
    *,
    timeout: float = 5.0,
    deadline: float | None = None,
    retries: int = 0,
    retry_on: Iterable[int] = _RETRIED,
    cluster: str | None = None,
    headers: HeadersLike = (),
    http2: bool = False,
    trace: bool = True,
) -> Upstream:
    """Define a service that the filter calls, at the top level of a module.

        auth = upstream("auth", "https://auth.example.com", timeout=0.5, retries=2)

    `url` is http or https, with a host, and if need be with a port and a path, which goes before those of the calls.
    The proxy is asked for a cluster: the one that the variable PYFILTER_UPSTREAM_AUTH of the VM's environment names
    (that for "auth": in capitals, with "_" for "." and "-"), or else `cluster`, or else one with the upstream's name.

    `timeout` is that of one try, `deadline`, if there is one, that of a call with all its tries; both are in seconds. A
    try that breaks off, or is answered with a status of `retry_on`, is repeated up to `retries` times; see
    `Upstream.request`. `headers` go with every call. With `trace`, so do the trace headers of the request for which a
    stream calls. `http2` tells those who make the cluster that the service speaks HTTP/2 without negotiating, as gRPC
    without TLS does.

    Raises ValueError for a name or a URL that is none, a name that another upstream has, times and numbers that make no
    sense, and headers that a proxy refuses; TypeError for a name or a URL that is no text.
    """
    policy = _Policy(timeout, deadline, retries, frozenset(retry_on), _checked(headers), trace)
    made = Upstream(name, url, cluster or name, http2, policy)
    registry.register_upstream(made)
    return made


class _Policy:
    """How an upstream is called. Raises ValueError for what makes no sense."""

    __slots__ = ("deadline", "headers", "retries", "retry_on", "timeout", "trace")

    def __init__(
        self,
        timeout: float,
        deadline: float | None,
        retries: int,
        retry_on: frozenset[int],
        headers: Headers,
        trace: bool,
    ) -> None:
        calls.milliseconds(timeout)
        if deadline is not None:
            calls.milliseconds(deadline)
        if retries < 0:
            raise ValueError(f"retries is 0 or more, not {retries!r}")
        if not all(100 <= status <= 599 for status in retry_on):
            raise ValueError(f"retry_on has statuses, from 100 to 599, not {sorted(retry_on)}")
        encode_pairs(headers)
        self.timeout = timeout
        self.deadline = deadline
        self.retries = retries
        self.retry_on = retry_on
        self.headers = headers
        self.trace = trace


class Upstream:
    """A service with a name; made by `upstream`.

    Calls are made at once, in the context whose callback or coroutine runs, so several can be on their way.
    """

    __slots__ = ("_address", "_cluster", "_http2", "_policy", "name", "url", "variable")

    def __init__(self, name: str, url: str, cluster: str, http2: bool, policy: _Policy) -> None:
        if not all(isinstance(text, str) for text in (name, url, cluster)):
            raise TypeError(f"name, URL and cluster of an upstream are text, not {name!r}, {url!r} and {cluster!r}")
        if not name or name[0] not in _LETTERS or not _IN_NAMES.issuperset(name):
            raise ValueError(f'the name of an upstream is letters, digits, ".", "_" and "-", not {name!r}')
        self.name = name
        """What the upstream is called."""
        self.url = url
        """Where it is."""
        self.variable: str = "PYFILTER_UPSTREAM_" + name.upper().replace(".", "_").replace("-", "_")
        """The variable of the VM's environment that names another cluster."""
        try:
            self._address = _Address(url)
        except ValueError as error:
            raise ValueError(f"upstream {name!r}: {error}, not {url!r}") from None
        self._cluster = cluster
        self._http2 = http2
        self._policy = policy

    def describe(self) -> dict[str, Any]:
        """What those who make a cluster for it want to know, as plain data."""
        return {
            "name": self.name,
            "url": self.url,
            "cluster": self._cluster,
            "variable": self.variable,
            "host": self._address.host,
            "port": self._address.port,
            "tls": self._address.scheme == "https",
            "http2": self._http2,
        }

    def get(self, path: str = "/", **options: Unpack[CallOptions]) -> UpstreamCall:
        """GET a path. Options are those of `request`."""
        return self.request("GET", path, **options)

    def post(self, path: str = "/", **options: Unpack[CallOptions]) -> UpstreamCall:
        """POST to a path. Options are those of `request`; without `idempotent=True` there is one try."""
        return self.request("POST", path, **options)

    def put(self, path: str = "/", **options: Unpack[CallOptions]) -> UpstreamCall:
        """PUT to a path. Options are those of `request`."""
        return self.request("PUT", path, **options)

    def delete(self, path: str = "/", **options: Unpack[CallOptions]) -> UpstreamCall:
        """DELETE a path. Options are those of `request`."""
        return self.request("DELETE", path, **options)

    def request(
        self,
        method: str,
        path: str = "/",
        *,
        headers: HeadersLike = (),
        body: Text = b"",
        json: object = None,
        timeout: float | None = None,
        deadline: float | None = None,
        idempotent: bool | None = None,
    ) -> UpstreamCall:
        """Call the service (`proxy_http_call`): `reply = await users.request("PATCH", "/users/1", json=changes)`.

        `path` begins with "/", follows the path of the URL, and may have a query. `headers` go instead of the
        upstream's of the same name; `json` is a body in the place of `body`. `timeout` and `deadline` are in seconds,
        by default the upstream's.

        Awaiting gives the `HttpReply` of the last try. A service that is down or too slow is a reply with status 503 or
        504. GET, HEAD, OPTIONS, TRACE, PUT and DELETE are repeated, up to the upstream's `retries` times, unless
        `idempotent` says otherwise. A repetition comes after 25 ms, the next ones after twice as long each time up to
        250 ms, or by chance after as little as half of that. So that retries do not make an outage worse, each worker
        has a budget for each upstream: among its calls of the last seconds, one in five may be repeated, and ten more.

        Allowed in every callback of a context, not while one is being created. Raises UnknownCluster if the proxy has
        no such cluster, ValueError for a path, a header or a time that is none; awaiting raises CallFailed if the last
        try ended without a response.
        """
        if not path.startswith("/") or not (path.isascii() and path.isprintable()) or " " in path:
            raise ValueError(f'upstream {self.name!r}: a path begins with "/" and has no spaces; quote {path!r}')
        if not method.isascii() or not method.replace("-", "").replace("_", "").isalpha():
            raise ValueError(f"upstream {self.name!r}: {method!r} is no method")
        context = _calling_context()
        policy = self._policy
        own = _checked(headers)
        if json is not None:
            body = calls.as_json(json)
            own = _with_others(own, [("content-type", "application/json")])
        own = [(":scheme", self._address.scheme), *self._with_defaults(context, own)]
        repeats = method in _IDEMPOTENT if idempotent is None else idempotent
        call = UpstreamCall(self, context, (method, self._address.base + path, own, body))
        call.start(
            policy.timeout if timeout is None else timeout,
            policy.deadline if deadline is None else deadline,
            policy.retries if repeats else 0,
        )
        return call

    def grpc(
        self, service: str, method: str, message: object, *, metadata: HeadersLike = (), timeout: float | None = None
    ) -> calls.GrpcCall:
        """Make a unary gRPC call (`proxy_grpc_call`): `reply = await hello.grpc("hello.v1.Hello", "Greet", message)`.

        Arguments and result are those of `Context.grpc_call`. `metadata` go instead of the upstream's headers of the
        same name; `timeout` is in seconds, by default the upstream's. There is one try, and the URL's path counts for
        nothing.

        Allowed and raises as `Context.grpc_call`: Envoy says of an unknown cluster only that the call failed.
        """
        context = _calling_context()
        pairs = self._with_defaults(context, _checked(metadata))
        # envoy.config.core.v3.GrpcService { envoy_grpc { cluster_name, authority } }
        target = field(1, field(1, self.in_vm().cluster) + field(2, self._address.authority))
        seconds = self._policy.timeout if timeout is None else timeout
        with EffectiveContext(context._calling_id()):  # noqa: SLF001  # what contexts have for calls
            return calls.grpc_call(target, service, method, message, pairs, seconds)

    def _with_defaults(self, context: Any, own: Headers) -> Headers:
        """The headers of a call, and those that all calls have."""
        traced = _trace_of(context) if self._policy.trace and isinstance(context, HttpContext) else []
        return _with_others(_with_others(own, self._policy.headers), traced)

    def in_vm(self) -> OfVm:
        """What this VM knows of it."""
        known = of_vms.get((self.name, self._cluster))
        if known is None:
            variables = dict(entry.partition(b"=")[::2] for entry in _abi.host.environ())
            cluster = variables.get(self.variable.encode(), b"")
            known = of_vms[self.name, self._cluster] = OfVm(as_text(cluster) or self._cluster)
        return known

    def try_once(self, request: tuple[str, str, Headers, Text], timeout: float) -> calls.HttpCall:
        """Make a call without repetitions, from the effective context. Raises UnknownCluster."""
        cluster = self.in_vm().cluster
        method, path, headers, body = request
        try:
            return calls.http_call(cluster, method, path, headers, body, None, self._address.authority, timeout)
        except BadArgument:
            raise UnknownCluster(self, cluster) from None

    def repeats_on(self, status: int) -> bool:
        """Whether a call with this reply may be repeated."""
        return status in self._policy.retry_on

    def __repr__(self) -> str:
        return f"Upstream({self.name!r}, {self.url!r})"


class UnknownCluster(BadArgument):
    """The proxy has no cluster of the name that an upstream asks for. The message says how to define it."""

    def __init__(self, called: Upstream, cluster: str) -> None:
        super().__init__("proxy_http_call", Status.BAD_ARGUMENT)
        at = called.describe()
        host, port, variable = at["host"], at["port"], at["variable"]
        named = f", which {variable} names" if cluster != at["cluster"] else ""
        tls = f", and a transport socket for TLS with the SNI {host}" if at["tls"] else ""
        rule = " and a DestinationRule with TLS mode SIMPLE" if at["tls"] else ""
        message = (
            f"upstream {called.name!r}, {called.url}: the proxy has no cluster {cluster!r}{named}. "
            f"In Envoy, define a cluster of this name with the endpoint {host}:{port}{tls}. "
            f"In Istio, define a ServiceEntry for {host}, port {port}{rule}, and set the variable "
            f"{variable}=outbound|{port}||{host} in the VM's environment (WasmPlugin: vmConfig.env)."
        )
        Exception.__init__(self, message)


# Calls


class UpstreamCall(Future[calls.HttpReply]):
    """A call to an upstream on its way, with its repetitions: `await` it for the `HttpReply`."""

    __slots__ = ("_context", "_ends", "_left", "_request", "_timeout", "_timer", "_tries", "_trying", "_upstream")

    def __init__(self, called: Upstream, context: Any, request: tuple[str, str, Headers, Text]) -> None:
        super().__init__()
        self._upstream = called
        self._context = context
        self._request = request
        self._tries = 0
        self._timer: Timer | None = None
        self._trying: calls.HttpCall
        self.on_abandoned = self._give_up

    def start(self, timeout: float, deadline: float | None, retries: int) -> None:
        """Try for the first time. Raises what `Upstream.request` raises."""
        calls.milliseconds(timeout)
        self._timeout = timeout
        self._left = retries
        self._ends = None if deadline is None else time.monotonic() + calls.milliseconds(deadline) / 1000
        self._upstream.in_vm().budget.called()
        self._try()

    def _try(self) -> None:
        self._tries += 1
        timeout = self._timeout
        if self._ends is not None:
            timeout = max(_SHORTEST, min(timeout, self._ends - time.monotonic()))
        with EffectiveContext(self._context._calling_id()):  # noqa: SLF001
            self._trying = self._upstream.try_once(self._request, timeout)
        self._trying.when_done(self._answered)

    def _answered(self) -> None:
        try:
            reply = self._trying.result()
        except CallFailed as failure:
            self._failed(str(failure))
        else:
            if not self._upstream.repeats_on(reply.status) or not self._comes_again():
                self.set_result(reply)

    def _failed(self, failure: str) -> None:
        if not self._comes_again():
            self.set_exception(CallFailed(f"upstream {self._upstream.name!r}: {failure}"))

    def _comes_again(self) -> bool:
        """Whether there is another try, which is a while from now."""
        seconds = _wait_after(self._tries)
        if not self._left or (self._ends is not None and time.monotonic() + seconds >= self._ends):
            return False
        if not self._upstream.in_vm().budget.allows_retry():
            log.debug(f"upstream {self._upstream.name!r}: no retry, since there were too many of late")
            return False
        self._left -= 1
        self._timer = timers_of(self._context).call_later(seconds, self._try_again, self._context)
        return True

    def _try_again(self) -> None:
        try:
            self._try()
        except Exception as error:  # noqa: BLE001  # it is raised where the call is awaited
            self.set_exception(error)

    def _give_up(self) -> None:
        """Nobody waits for it any more. A try that is on its way cannot be called back."""
        self._left = 0
        if self._timer is not None:
            self._timer.cancel()


_SHORTEST = 0.001  # seconds; proxies count in milliseconds
_FIRST_WAIT = 0.025  # seconds
_LONGEST_WAIT = 0.25


def _wait_after(tries: int) -> float:
    """In how many seconds to try again, by chance, so that those who failed together do not come back together."""
    longest = min(_FIRST_WAIT * (1 << min(tries - 1, 8)), _LONGEST_WAIT)
    return longest * (0.5 + os.urandom(1)[0] / 510)


def _calling_context() -> Any:
    """The context whose callback or coroutine runs. Raises MisuseError if there is none."""
    context = find_context(_abi.host.get_effective_context())
    if context is None:
        raise MisuseError("upstreams are called in callbacks and coroutines, not at import time or in a constructor")
    return context


# What a VM knows of an upstream


class OfVm:
    """The cluster that is called, and how often that was repeated."""

    __slots__ = ("budget", "cluster")

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.budget = _Budget()


of_vms: dict[tuple[str, str], OfVm] = {}
"""The upstreams that were called in this VM, by name and cluster: plugins that share it need not mean the same."""


class _Budget:
    """How many repetitions there may be: a share of the calls of the last periods, and a few more."""

    __slots__ = ("_before", "_now", "_period")

    def __init__(self) -> None:
        self._period = 0
        self._now = [0, 0]
        """Calls and repetitions of this period."""
        self._before = [0, 0]
        """Those of the period before."""

    def called(self) -> None:
        """There is a call."""
        self._turn()
        self._now[0] += 1

    def allows_retry(self) -> bool:
        """Whether there may be a repetition now, which then counts."""
        self._turn()
        calls_made, repeated = (now + before for now, before in zip(self._now, self._before, strict=True))
        if repeated >= _ALWAYS + calls_made // _CALLS_PER_RETRY:
            return False
        self._now[1] += 1
        return True

    def _turn(self) -> None:
        period = time.monotonic_ns() // _PERIOD
        if period != self._period:
            self._before = self._now if period == self._period + 1 else [0, 0]
            self._now = [0, 0]
            self._period = period


_PERIOD = 5_000_000_000  # nanoseconds
_CALLS_PER_RETRY = 5
_ALWAYS = 10


# Headers


def _checked(headers: HeadersLike) -> Headers:
    """Headers with their names in lower case. Raises ValueError for pseudo-headers, which calls have of their own."""
    pairs = headers.items() if hasattr(headers, "items") else headers
    made = [((name if isinstance(name, str) else as_text(name)).lower(), value) for name, value in pairs]
    for name, _ in made:
        if name.startswith(":"):
            raise ValueError(f"{name} is no header to give: it comes from the upstream's URL and the call's arguments")
        if name in _FRAMING:
            raise ValueError(f"{name} is no header to give: the proxy sees to it")
    return made


_FRAMING = ("host", "content-length", "transfer-encoding", "connection")


def _with_others(own: Headers, others: Headers) -> Headers:
    """Headers, and those of others that have other names."""
    names = {name for name, _ in own}
    return own + [pair for pair in others if pair[0] not in names]


_TRACED: dict[str, tuple[str, ...]] = {
    "traceparent": ("tracestate",),
    "x-request-id": (),
    "b3": (),
    "x-b3-traceid": ("x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags"),
}
"""Headers that say of which request something is a part, and those that come only with them."""


_LONGEST_TRACE = 512  # characters: what W3C Trace Context has everybody pass on; more is not worth each call's bytes


def _trace_of(context: Any) -> Headers:
    """The trace headers of a stream's request, as they were when they were first asked for and could be read."""
    kept: Headers | None = getattr(context, "_abi_trace", None)
    if kept is None:
        try:
            kept = context._abi_trace = _read_trace(context.request.headers)  # noqa: SLF001
        except BadArgument:
            return []
    return kept


def _read_trace(headers: HeaderMap) -> Headers:
    found: Headers = []
    for name, more in _TRACED.items():
        value = headers.get(name)
        if value is not None and len(value) <= _LONGEST_TRACE:
            found.append((name, value))
            others = ((other, headers.get(other)) for other in more)
            found += [(other, text) for other, text in others if text is not None and len(text) <= _LONGEST_TRACE]
    return found


# URLs


class _Address:
    """The parts of a URL. Raises ValueError for one that cannot be called, with what one is."""

    __slots__ = ("authority", "base", "host", "port", "scheme")

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.scheme = scheme.lower()
        if not rest or self.scheme not in _PORTS:
            raise ValueError("the URL begins with http:// or https://")
        if not url.isascii() or not url.isprintable() or not _NEVER.isdisjoint(url):
            raise ValueError("the URL is ASCII, without spaces; other characters are encoded in it")
        if "?" in rest or "#" in rest:
            raise ValueError("the URL has no query or fragment; a query goes with the path of each call")
        authority, _, path = rest.partition("/")
        if "@" in authority:
            raise ValueError("the URL has no user name; credentials go into headers")
        self.host, port = _split_port(authority)
        default = _PORTS[self.scheme]
        self.port = default if port is None else port
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = shown if self.port == default else f"{shown}:{self.port}"
        self.base = f"/{path}".rstrip("/")


def _split_port(authority: str) -> tuple[str, int | None]:
    """Host and port. Raises ValueError if one of them is none."""
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        is_host = bracket and host.count(":") > 1 and _IN_IP6.issuperset(host)
    else:
        host, colon, rest = authority.partition(":")
        rest = colon + rest
        is_host = all(host.split(".")) and _IN_NAMES.issuperset(host)
    if not is_host:
        raise ValueError("the URL has a host that is a name or an address")
    if not rest:
        return host.lower(), None
    port = rest[1:]
    if not rest.startswith(":") or not port.isdecimal() or len(port) > 5 or not 1 <= int(port) <= 65535:
        raise ValueError("the URL has a port from 1 to 65535, or none")
    return host.lower(), int(port)


_PORTS = {"http": 80, "https": 443}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_IN_NAMES = _LETTERS | frozenset("._-")
_IN_IP6 = frozenset("0123456789abcdefABCDEF:.")
_NEVER = frozenset(' "<>\\^`{|}')
