"""A TCP filter that logs what passes in both directions, and whom it went to.

What the upstream sends is preceded in the log by its address and by the metadata of its cluster. A counter,
`proxy_wasm_go.connection_counter`, says how many connections have ended.
"""

from pywasmfilter import PluginContext, TcpContext, hostcalls, log, plugin, properties


@plugin("network")
class Network(PluginContext):
    def __init__(self) -> None:
        self.connections = hostcalls.define_counter_metric("proxy_wasm_go.connection_counter")

    def new_tcp_context(self, context_id: int) -> TcpContext:
        return Connection(context_id)


class Connection(TcpContext):
    plugin: Network

    def on_new_connection(self) -> None:
        log.info("new connection!")

    def on_downstream_data(self, data_size: int, end_of_stream: bool) -> None:
        if data_size:
            log.info(b">>>>>> downstream data received >>>>>>\n" + self.downstream_data.read())

    def on_downstream_close(self, peer_type: int) -> None:
        log.info("downstream connection close!")

    def on_upstream_data(self, data_size: int, end_of_stream: bool) -> None:
        if data_size:
            log_upstream()
            log.info(b"<<<<<< upstream data received <<<<<<\n" + self.upstream_data.read())

    def on_stream_done(self) -> None:
        self.plugin.connections.increment()
        log.info("connection complete!")


def log_upstream() -> None:
    address = properties.upstream.address
    if address is None:
        log.warn("failed to get upstream remote address: not found")
    log.info(f"remote address: {address or ''}")

    location = properties.xds.cluster_metadata("location").map()
    if location is None:
        log.warn("failed to get upstream location metadata: not found")
    for key, value in (location or {}).items():
        log.info(f"upstream cluster metadata location[{key}]={value.decode()}")
