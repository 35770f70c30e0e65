"""Draws random numbers in every way there is and logs them as JSON, once in each virtual machine.

The generators, and the functions of the standard library's own, are made at import and so frozen into the module.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import uuid
from random import randint
from typing import Any

from pywasmfilter import PluginContext, log, plugin

UNSEEDED = random.Random()
LATER_SEEDED = random.Random()
LATER_SEEDED.seed(42)
SEEDED = random.Random(42)
SYSTEM = random.SystemRandom()


def draw() -> dict[str, Any]:
    """One value from each source."""
    import hashlib

    return {
        "os.urandom": os.urandom(16).hex(),
        "secrets": secrets.token_hex(16),
        "uuid4": str(uuid.uuid4()),
        "random.random": random.random(),
        "from random import randint": randint(0, 1 << 62),
        "Random at import": UNSEEDED.random(),
        "Random now": random.Random().random(),
        "SystemRandom": SYSTEM.random(),
        "seeded": [SEEDED.random() for _ in range(3)],
        "later seeded": [LATER_SEEDED.random() for _ in range(3)],
        "hashlib": hashlib.sha256(b"").hexdigest(),
    }


@plugin("random")
class Random(PluginContext):
    def on_plugin_start(self, plugin_configuration_size: int) -> None:
        log.info(json.dumps(draw()))
