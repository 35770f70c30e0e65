"""Logs the two configurations a module gets: its VM's, which all plugins in the VM share, and its own."""

from pywasmfilter import PluginContext, VMContext, log, plugin, vm


@vm
class VM(VMContext):
    def on_vm_start(self, vm_configuration_size: int) -> None:
        log.info(b"vm config: " + self.vm_configuration)


@plugin("vm_plugin_configuration")
class Plugin(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        log.info(b"plugin config: " + self.plugin_configuration)
