# ruff: noqa: INP001  # a folder with a filter, and no package
"""A filter that is none: what `pyfilter build --runtime` builds, for filters that come with their configuration.

What is imported here is alive in the module, so that no VM spends time on it. What else sources may import (see
`pywasmfilter_compiler.inline`) is there as code, and comes to life in the VMs whose sources want it.
"""

from __future__ import annotations

from pywasmfilter import inline
from pywasmfilter._runtime import importer

importer.advice = "Build the runtime with pyfilter build --runtime --include"

ALL_CALLBACKS = inline.register()
