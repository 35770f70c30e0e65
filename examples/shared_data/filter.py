"""All workers count requests together, in the proxy's shared data, and none loses another's update."""

from pywasmfilter import HttpContext, VMContext, hostcalls, http_filter, log, vm

KEY = "shared_data_key"


@vm
class SharedData(VMContext):
    def on_vm_start(self, vm_configuration_size: int) -> None:
        hostcalls.set_shared_data(KEY, b"")  # empty: nothing has been counted


@http_filter("shared_data")
class CountRequest(HttpContext):
    def on_http_request_headers(self, num_headers: int, end_of_stream: bool) -> None:
        value = hostcalls.update_shared_data(KEY, increment)
        log.info(f"shared value: {int.from_bytes(value, 'little')}")


def increment(value: bytes | None) -> bytes:
    return (int.from_bytes(value or b"", "little") + 1).to_bytes(8, "little")
