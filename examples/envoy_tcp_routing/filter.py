"""Routes TCP connections by where they come from: an even last byte of the address to one cluster, an odd to another.

The choice is put into the filter state that Envoy's TCP proxy, next in the chain, looks at before it connects.
"""

import ipaddress

from pywasmfilter import TcpContext, foreign_functions, log, properties, tcp_filter


@tcp_filter("envoy_tcp_routing")
class TcpRouting(TcpContext):
    def on_new_connection(self) -> None:
        source = properties.source.address
        if source is None:
            log.warn("the connection has no source address")
            return
        cluster = choose_cluster(source)
        foreign_functions.set_envoy_filter_state("envoy.tcp_proxy.cluster", cluster)
        log.info(f"routed {source} to {cluster}")


def choose_cluster(source: str) -> str:
    """The cluster for an address with a port, `192.0.2.1:4711` or `[2001:db8::1]:4711`."""
    host = source.rpartition(":")[0].strip("[]")
    last_byte = ipaddress.ip_address(host).packed[-1]
    return "egress-router2" if last_byte % 2 else "egress-router1"
