"""Imports relatively, at once and later."""

from .. import inner
from ..values import VALUE

SAME = VALUE


def outer() -> str:
    return inner.__name__


def much_later() -> str:
    from ..values import LATER

    return LATER
