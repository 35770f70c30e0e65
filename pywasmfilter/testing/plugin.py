"""A plugin in a VM: what a test sends its traffic through."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from pywasmfilter.types import BufferType, PeerType

from .messages import BodyLike, HeadersLike, Pairs, Request, Response, Text, as_bytes
from .properties import Properties
from .streams import HttpStream, TcpStream, Upstream

if TYPE_CHECKING:
    from .proxy import Proxy
    from .vm import VM

_OF_STREAMS: Final = (
    "request",
    "response",
    "connection",
    "source",
    "destination",
    "upstream",
    "metadata",
    "filter_state",
)
_JSON: Final = "application/json"


class Refused(Exception):  # that is what becomes of the configuration
    """A plugin does not start, so a proxy would refuse its configuration. The message has what it logged."""


class Trapped(Exception):
    """The module broke down, which takes all filters of a proxy's worker with it."""


class OfPlugin(Enum):
    """Says of a request that its upstream is the plugin's, since None says that there is none."""

    OF_PLUGIN = "the plugin's upstream"


OF_PLUGIN: Final = OfPlugin.OF_PLUGIN


def ok(_: Request) -> Response:
    """An upstream that answers every request with an empty 200."""
    return Response()


class Plugin:
    """A plugin that runs in one VM, and its streams.

    `upstream` answers the requests that pass: a Response, or a function that gets the Request and returns one; None
    leaves that to the test (`HttpStream.respond`).
    """

    def __init__(self, vm: VM, context_id: int, root_id: str, properties: Properties) -> None:
        self.vm = vm
        self.context_id = context_id
        self.tick_period = 0.0
        """In seconds; 0 if the plugin does not tick."""
        self.upstream: Upstream = ok
        self.call_status = (0, b"")
        """What `proxy_get_status` answers."""
        self.allow_on_headers_stop_iteration = False
        """Whether streams show a body whose headers are held back, as Envoy's option of that name says."""
        self.deleted = False
        self.properties = Properties(
            {"plugin_name": root_id, "plugin_root_id": root_id, "plugin_vm_id": vm.vm_id}, properties
        )
        """Properties of this plugin and its streams, in front of the host's."""
        self._timer: int | None = None
        self._waits_for_done = False

    @property
    def proxy(self) -> Proxy:
        """What all plugins share."""
        return self.vm.proxy

    # Traffic

    def request(
        self,
        method: str = "GET",
        path: Text = "/",
        headers: HeadersLike = (),
        body: BodyLike = b"",
        trailers: HeadersLike = (),
        *,
        authority: str = "test.local",
        json: object = None,
        upstream: Upstream | OfPlugin = OF_PLUGIN,
    ) -> HttpStream:
        """Send a request, and see it through as far as the filter lets it go; `HttpStream` has what came of it.

        A body given as a list arrives in that many pieces. `json` is a body and its content-type. `upstream` answers
        this request in place of the plugin's.
        """
        if json is not None:
            import json as encoder  # noqa: PLC0415  # the name is the parameter's

            body, headers = encoder.dumps(json), [*_items(headers), ("content-type", _JSON)]
        return self.send(Request(method, path, headers, body, trailers, authority=authority), upstream)

    def send(self, request: Request, upstream: Upstream | OfPlugin = OF_PLUGIN) -> HttpStream:
        """The same, for a request that is there already."""
        stream = self.open_http(upstream)
        stream.send_request(request)
        return stream

    def open_http(self, upstream: Upstream | OfPlugin = OF_PLUGIN) -> HttpStream:
        """A stream whose request the test sends piece by piece: `send_headers`, `send_body`, `send_trailers`."""
        stream = HttpStream(self, self.upstream if isinstance(upstream, OfPlugin) else upstream)
        self.proxy.drain()
        return stream

    def connect(self) -> TcpStream:
        """Open a TCP connection through the filter."""
        stream = TcpStream(self)
        stream.begin()
        self.proxy.drain()
        return stream

    def tick(self) -> None:
        """Let the tick come now, whatever the clock says."""
        self.callback("proxy_on_tick")
        self.proxy.drain()

    def log_request(self, stream: HttpStream | None = None) -> None:
        """Call `on_log` as for an access logger; with the headers of a stream that is over."""
        maps = {} if stream is None else stream.logged_maps()
        self.callback("proxy_on_log", maps=maps)
        self.proxy.drain()

    def foreign_function(self, function_id: int, arguments: Text = b"") -> None:
        """Let the proxy call `on_foreign_function`, which Envoy never does."""
        data = as_bytes(arguments)
        buffers = {BufferType.FOREIGN_FUNCTION_ARGUMENTS: data}
        self.callback("proxy_on_foreign_function", function_id, len(data), buffers=buffers)
        self.proxy.drain()

    def shut_down(self) -> None:
        """The configuration is gone: open streams end, then the plugin does, once it says that it is done."""
        for stream in [stream for stream in self.vm.streams.values() if stream.plugin is self]:
            stream.abort(PeerType.LOCAL)
        if not self.vm.has("proxy_on_done") or self.vm.call("proxy_on_done", self.context_id):
            self._delete()
        else:
            self._waits_for_done = True
        self.proxy.drain()

    # For the VM and the proxy

    def callback(
        self,
        name: str,
        *arguments: int,
        maps: Mapping[Any, Pairs] | None = None,
        buffers: Mapping[Any, bytes] | None = None,
        status: tuple[int, bytes] | None = None,
    ) -> None:
        """Make a callback of the plugin at once, with the maps and buffers that it may read.

        `status` is what `proxy_get_status` answers in it; afterwards only the code is left of it.
        """
        if self.deleted:
            return
        if status is not None:
            self.call_status = status
        with self.vm.showing(maps or {}, buffers or {}):
            self.vm.call(name, self.context_id, *arguments)
        if status is not None:
            self.call_status = status[0], b""

    def later(self, name: str, *arguments: int, **shown: Any) -> None:
        """The same, once no callback runs in the VM; all that follows from it is done too."""

        def event() -> None:
            self.callback(name, *arguments, **shown)

        if self.vm.running:
            self.vm.after_call(event)
        else:
            event()
            self.proxy.drain()

    def set_tick_period(self, milliseconds: int) -> None:
        """The guest asks for ticks; 0 ends them. The next one comes one period from now."""
        self.tick_period = milliseconds / 1000
        if self._timer is not None:
            self.proxy.clock.cancel(self._timer)
            self._timer = None
        self._start_timer()

    def _start_timer(self) -> None:
        if self.tick_period and not self.deleted:
            self._timer = self.proxy.clock.call_later(self.tick_period, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.callback("proxy_on_tick")
        if self._timer is None:
            self._start_timer()

    def property(self, path: tuple[str, ...]) -> bytes | None:
        """The value of a property as the ABI has it, None if there is none.

        Those of streams are none of the plugin's.
        """
        return None if path[0] in _OF_STREAMS else self.properties.find(path)

    def finish(self) -> bool:
        """The guest says that a plugin is done which was not; False if it was not asked."""
        waited, self._waits_for_done = self._waits_for_done, False
        if waited:
            self.vm.after_call(self._delete)
        return waited

    def _delete(self) -> None:
        self.set_tick_period(0)
        self.vm.call("proxy_on_delete", self.context_id)
        self.deleted = True
        for call in self.proxy.clusters.open_calls():
            if call.plugin is self:
                call.cancel()
        del self.vm.plugins[self.context_id]

    def new_request_id(self) -> str:
        """What Envoy puts into the header x-request-id."""
        return str(uuid.UUID(int=self.proxy.number(), version=4))

    def __repr__(self) -> str:
        return f"<Plugin {self.properties.text('plugin_root_id')!r}, context {self.context_id}>"


def _items(headers: HeadersLike) -> Any:
    return headers.items() if hasattr(headers, "items") else headers
