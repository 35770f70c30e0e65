"""For all tests: `benchmarks` is found, which is no package that is installed."""

from __future__ import annotations

import sys

from tests.pages import REPOSITORY

sys.path.append(str(REPOSITORY))  # behind the others, so that what is installed is what is tested
