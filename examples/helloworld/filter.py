"""Greets when the plugin starts, and tells the time and a random number every second. It looks at no request."""

import random
import time

from pywasmfilter import PluginContext, hostcalls, log, plugin

TICK = 1000  # milliseconds


@plugin("helloworld")
class HelloWorld(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        log.info("OnPluginStart from Go!")  # to the letter what the Go SDK's example says
        hostcalls.set_tick_period_milliseconds(TICK)

    def on_tick(self) -> None:
        log.info(f"It's {time.time_ns()}: random value: {random.getrandbits(64)}")
        log.info("OnTick called")
