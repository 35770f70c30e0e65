"""The filter's side of the comparison: scripts that log each callback, and all that can be seen in it.

`PRELUDE` is the configuration of every plugin. The script of a case has a function for each place where it does
something: `request_headers(self, num_headers, end_of_stream)`, `reply(self, …)`. All that a case logs begins with its
name.
"""

from __future__ import annotations

import base64
import textwrap

PRELUDE = '''
shared["prelude"] = globals()

CALL = [(":method", "GET"), (":path", "/service"), (":authority", "service.local")]

VALUES = [
    *(f"request.{name}" for name in (
        "path", "url_path", "query", "host", "scheme", "method", "referer", "useragent", "id", "protocol",
        "headers.x-a", "headers.x-none", "headers", "size", "total_size")),
    *(f"response.{name}" for name in (
        "code", "code_details", "flags", "grpc_status", "headers.x-a", "headers", "trailers", "size", "total_size")),
    *(f"connection.{name}" for name in (
        "mtls", "requested_server_name", "tls_version", "subject_local_certificate", "termination_details",
        "transport_failure_reason")),
    *("upstream.tls_version", "upstream.transport_failure_reason"),
    *("plugin_name", "plugin_root_id", "plugin_vm_id", "mine", "none", "request", "response", "connection", "source"),
]
PRESENT = [
    *("request.time", "request.duration", "response.backend_latency", "connection.id", "connection_id"),
    *("source.address", "source.port", "destination.address", "destination.port"),
]
"""Properties whose values no two proxies share."""


def path(name):
    return name.split(".", 2)


def say(self, text):
    log.info(f"{self.script['CASE']}|{text}")


def attempt(function, *arguments):
    """What a call returns, or the kind of its failure."""
    try:
        return function(*arguments)
    except Exception as error:
        return type(error).__name__


def headers(pairs):
    return [(name, "…" if name == "x-script" else value) for name, value in pairs] if isinstance(pairs, list) else pairs


def observe(self, place, *arguments):
    """Log a callback, what can be seen in it, and what becomes of it, around what the script does."""

    async def awaited(coroutine):
        try:
            answer = await coroutine
        except BaseException as error:
            say(self, f"< {place} {type(error).__name__}")
            raise
        say(self, f"< {place} {answer!r}")
        return answer

    say(self, f"> {place}{arguments}")
    look(self)
    action = self.script.get(place)
    try:
        answer = None if action is None else action(self, *arguments)
    except BaseException as error:
        say(self, f"< {place} {type(error).__name__}")
        raise
    if hasattr(answer, "send"):
        return awaited(answer)
    say(self, f"< {place} {answer!r}")
    return answer


def look(self):
    if isinstance(self, HttpContext):
        for name in ("request", "response"):
            message = getattr(self, name)
            say(self, f"  {name} headers {headers(attempt(message.headers.items))}")
            say(self, f"  {name} trailers {attempt(message.trailers.items)}")
            if name == "response" or not self.answered:  # Envoy 1.40 has freed the request's body then, and breaks down
                say(self, f"  {name} body {body(message.buffer)}")
        say(self, f"  {self.answered=}")
    else:
        say(self, f"  data {body(self.downstream_data)} {body(self.upstream_data)}")
    if not self.script.get("PROPERTIES", True):
        return
    values = {name: attempt(hostcalls.get_property, path(name)) for name in VALUES}
    for name in ("request.headers", "response.headers", "response.trailers"):
        values[name] = attempt(map_property, path(name))
    values["response.total_size"] = int.from_bytes(values["response.total_size"] or b"", "little") - len(
        hostcalls.get_property(path("response.headers.x-envoy-upstream-service-time")) or b""
    )
    values |= {name: attempt(lambda: hostcalls.get_property(path(name)) is not None) for name in PRESENT}
    for name, value in values.items():
        if value not in (None, False):
            say(self, f"  {name} {value}")


def map_property(name):
    found = hostcalls.get_property(name)
    return None if found is None else sorted(headers(hostcalls.get_property_map(name)))


def body(buffer):
    data = attempt(buffer.read)
    return data if len(data) < 100 else f"{data[:20]} … {len(data)}"


def call(self, cluster="service", headers=CALL, **options):
    """Make an HTTP call whose reply is handled by the script's function `reply`."""
    def reply(*counts):
        say(self, f"> reply{counts}")
        say(self, f"  reply headers {hostcalls.get_http_call_response_headers()}")
        say(self, f"  reply trailers {hostcalls.get_http_call_response_trailers()}")
        say(self, f"  reply body {attempt(hostcalls.get_http_call_response_body)}")
        say(self, f"  status {hostcalls.get_status()}")
        look(self)
        if "reply" in self.script:
            say(self, f"< reply {self.script['reply'](self)!r}")

    say(self, f"  call: {type(attempt(lambda: self.dispatch_http_call(cluster, headers, reply, **options))).__name__}")


def later(self, function):
    """Do something at the next tick, or when another stream does what is due."""
    def action():
        say(self, "> later")
        say(self, f"< later {attempt(function, self)}")

    shared.setdefault("later", []).append(action)


def put_off(self):
    """What a coroutine awaits until the next tick, or until another stream does what is due."""
    future = Future()
    shared.setdefault("later", []).append(lambda: future.set_result(None))
    return future


def do_later():
    for action in shared.pop("later", []):
        action()


def on_tick(self):
    hostcalls.set_tick_period_milliseconds(0)
    do_later()
    log.info("tick|")


def on_new_connection(self):
    self.script = shared["tcp"]
    return observe(self, "new_connection")


def observing(place):
    return lambda self, *arguments: observe(self, place, *arguments)


for _place in ("request_headers", "request_body", "request_trailers", "response_headers", "response_body",
               "response_trailers"):
    globals()[f"on_http_{_place}"] = observing(_place)
for _place in ("downstream_data", "upstream_data", "downstream_close", "upstream_close", "stream_done"):
    globals()[f"on_{_place}"] = observing(_place)


def on_http_stream_done(self):
    if self.script is not None:
        observe(self, "stream_done")


def on_delete(self):
    if getattr(self, "script", None) is not None and "CASE" in self.script:
        say(self, "> delete")
'''
"""What scripts find as their own names. A plugin that ticks does what was put off."""


def script(case: str, code: str) -> str:
    """The whole script of a case."""
    return f"globals().update(shared['prelude'])\nCASE = {case!r}\n{textwrap.dedent(code)}"


def next_connection(case: str, code: str) -> str:
    """The script of a request that gives the next TCP connection its script."""
    return f"""
def on_http_request_headers(self, *_):
    shared["tcp"] = dict(globals())
    exec({script(case, code)!r}, shared["tcp"])
"""


def encoded(source: str) -> str:
    """A script as the header x-script has it."""
    return base64.b64encode(source.encode()).decode()


LAST = "> delete"
"""The last line of every case."""
