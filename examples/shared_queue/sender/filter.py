"""The sending end: puts each header, or a hash of each piece of TCP data, into queues of the receiver.

The plugin's configuration says which of the two it does: `http` or `tcp`. If the receiver is not there, that is logged
and the traffic goes on.
"""

from pywasmfilter import HttpContext, PluginContext, TcpContext, hostcalls, log, plugin

RECEIVER = "receiver"  # the vm_id of the receiver


@plugin("shared_queue_sender", on_error="continue")
class Sender(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        self.configuration = self.plugin_configuration.decode()
        if not self.configuration:
            raise ValueError("the configuration is http or tcp")
        log.info(f"contextID={self.context_id} is configured for {self.configuration}")

    def new_http_context(self, context_id: int) -> HttpContext | None:
        return HeaderSender(context_id) if self.configuration == "http" else None

    def new_tcp_context(self, context_id: int) -> TcpContext | None:
        return HashSender(context_id) if self.configuration == "tcp" else None


class HeaderSender(HttpContext):
    def __init__(self, context_id: int) -> None:
        super().__init__(context_id)
        self.request_queue = hostcalls.resolve_shared_queue(RECEIVER, "http_request_headers")
        self.response_queue = hostcalls.resolve_shared_queue(RECEIVER, "http_response_headers")

    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for key, value in self.request.headers.items():
            message = f'{{"key": "{key}","value": "{value}"}}'
            hostcalls.enqueue_shared_queue(self.request_queue, message)
            log.info(f"enqueued data: {message}")

    def on_http_response_headers(self, num_headers: int, end_of_stream: bool) -> None:
        for key, value in self.response.headers.items():
            message = f'{{"key": "{key}","value": "{value}"}}'
            hostcalls.enqueue_shared_queue(self.response_queue, message)
            log.info(f"(contextID={self.context_id}) enqueued data: {message}")


class HashSender(TcpContext):
    def __init__(self, context_id: int) -> None:
        super().__init__(context_id)
        self.queue = hostcalls.resolve_shared_queue(RECEIVER, "tcp_data_hashes")

    def on_upstream_data(self, data_size: int, end_of_stream: bool) -> None:
        if data_size:
            digest = f"{fnv1a_128(self.upstream_data.read()):032x}"
            hostcalls.enqueue_shared_queue(self.queue, digest)
            log.info(f"(contextID={self.context_id}) enqueued data: {digest}")


def fnv1a_128(data: bytes) -> int:
    """The hash FNV-1a with 128 bits."""
    digest = 0x6C62272E07BB014262B821756295C58D
    for byte in data:
        digest = (digest ^ byte) * 0x1000000000000000000013B % 2**128
    return digest
