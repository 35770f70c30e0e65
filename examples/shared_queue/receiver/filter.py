"""The receiving end: a service of the proxy, with no traffic of its own, that logs what others put into a queue.

The plugin's configuration is the queue's name.
"""

from pywasmfilter import Empty, PluginContext, hostcalls, log, plugin


@plugin("shared_queue_receiver")
class Receiver(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        self.queue_name = self.plugin_configuration.decode()
        if not self.queue_name:
            raise ValueError("the configuration is the name of a queue")
        queue_id = hostcalls.register_shared_queue(self.queue_name)
        log.info(f'queue "{self.queue_name}" registered as queueID={queue_id} by contextID={self.context_id}')

    def on_queue_ready(self, queue_id: int) -> None:
        try:
            data = hostcalls.dequeue_shared_queue(queue_id)
        except Empty:  # another receiver was faster
            return
        origin = f"(contextID={self.context_id}) dequeued data from {self.queue_name}(queueID={queue_id}): "
        log.info(origin.encode() + data)
