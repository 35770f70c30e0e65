"""Changes the body of each request, or of its response, as two headers of the request say.

`buffer-replace-at: response` means the response's. `buffer-operation` is append, prepend or replace. With the
configuration `echo` the plugin does something else: it answers each request with its own body.
"""

from pywasmfilter import Action, Buffer, HttpContext, PluginContext, log, plugin


@plugin("http_body")
class HttpBody(PluginContext):
    def new_http_context(self, context_id: int) -> HttpContext:
        return EchoBody(context_id) if self.plugin_configuration == b"echo" else SetBody(context_id)


class SetBody(HttpContext):
    changes_response = False
    operation = ""
    holds_body = False

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> int | None:
        headers = self.request.headers
        self.changes_response = headers.get("buffer-replace-at") == "response"
        if "content-length" not in headers:
            return self.send_http_response(400, body="content must be provided")
        del headers["content-length"]  # the body may get another length
        self.operation = headers.get("buffer-operation") or "replace"
        return None

    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> int | None:
        return None if self.changes_response else self.change("request", self.request.buffer, end_of_stream)

    def on_http_request_trailers(self, num_trailers: int) -> int | None:
        return None if self.changes_response else self.end_body("request", self.request.buffer)

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        if self.changes_response:
            self.response.headers.remove("content-length")

    def on_http_response_body(self, body_size: int, end_of_stream: bool) -> int | None:
        return self.change("response", self.response.buffer, end_of_stream) if self.changes_response else None

    def on_http_response_trailers(self, num_trailers: int) -> int | None:
        return self.end_body("response", self.response.buffer) if self.changes_response else None

    def end_body(self, which: str, body: Buffer) -> Action | None:
        """Trailers end a body, too: no body callback says so then."""
        return self.change(which, body, True) if self.holds_body else None

    def change(self, which: str, body: Buffer, end_of_stream: bool) -> Action:
        self.holds_body = not end_of_stream
        if self.holds_body:
            return Action.PAUSE  # the proxy keeps what has come until all of it is there, or trailers come
        log.info(f"original {which} body: ".encode() + bytes(body))
        match self.operation:
            case "append":
                body.append("[this is appended body]")
            case "prepend":
                body.prepend("[this is prepended body]")
            case "":  # an answer of this filter's own
                pass
            case _:
                body.replace("[this is replaced body]")
        return Action.CONTINUE


class EchoBody(HttpContext):
    def on_http_request_body(self, body_size: int, end_of_stream: bool) -> Action:
        return self.echo() if end_of_stream else Action.PAUSE

    def on_http_request_trailers(self, num_trailers: int) -> Action:
        return self.echo()  # trailers end a body, too: no body callback says so then

    def echo(self) -> Action:
        return self.send_http_response(200, body=bytes(self.request.buffer))
