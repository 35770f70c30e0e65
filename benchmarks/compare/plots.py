"""Bars in SVG, written by hand: the same figures give the same bytes, and a changed figure changes its lines only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = ("#3b6ea8", "#e08a3c", "#7a9a4f")
_WIDTH, _LABELS, _VALUES, _BAR, _ROW_GAP, _HEAD = 760, 215, 110, 11, 6, 34


@dataclass(frozen=True)
class Panel:
    """A title, and rows of a label and values; None for a value that there is not. Its longest bar fills the width."""

    title: str
    rows: Sequence[tuple[str, Sequence[float | None]]]


def bars(title: str, legend: Sequence[str], panels: Sequence[Panel], *, stacked: bool = False, digits: int = 0) -> str:
    """A plot with a colour for each name of the legend; a row's values are bars of their own, or `stacked` in one."""
    body: list[str] = []
    y = _head(body, title, legend)
    for panel in panels:
        body.append(_text(16, y + 14, panel.title, weight="bold"))
        y += 24
        scale = (_WIDTH - _LABELS - _VALUES) / max(_longest(panel, stacked), 1e-9)
        for label, values in panel.rows:
            y = _row(body, y, label, values, scale, stacked, digits)
        y += 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _head(body: list[str], title: str, legend: Sequence[str]) -> int:
    """The title and the legend; the place below them."""
    body.append(_text(16, 22, title, size=15, weight="bold"))
    if len(legend) < 2:
        return _HEAD
    x = _LABELS
    for name, colour in zip(legend, COLOURS, strict=False):
        body.append(_rect(x, _HEAD, _BAR, colour))
        body.append(_text(x + _BAR + 5, _HEAD + 10, name))
        x += 40 + 7 * len(name)
    return _HEAD + 24


def _row(
    body: list[str], y: int, label: str, values: Sequence[float | None], scale: float, stacked: bool, digits: int
) -> int:
    """The bars of a row; the place below them."""
    there = [(value, colour) for value, colour in zip(values, COLOURS, strict=False) if value is not None]
    lines = 1 if stacked else len(there)
    body.append(_text(_LABELS - 8, y + lines * _BAR / 2 + 4, label, anchor="end"))
    x = float(_LABELS)
    for value, colour in there:
        width = max(value, 0) * scale
        body.append(_rect(x, y, width, colour))
        if stacked:
            x += width
        else:
            body.append(_text(x + width + 5, y + 10, f"{value:,.{digits}f}", size=11))
            y += _BAR
    if stacked:
        body.append(_text(x + 5, y + 10, f"{sum(value for value, _ in there):,.{digits}f}", size=11))
        y += _BAR
    return y + _ROW_GAP


def _longest(panel: Panel, stacked: bool) -> float:
    rows = [[max(value, 0) for value in values if value is not None] for _, values in panel.rows]
    return max((sum(row) if stacked else max(row, default=0) for row in rows), default=0)


def _rect(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR - 1}" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, size: int = 12, weight: str = "normal", anchor: str = "start") -> str:
    style = f'font-size="{size}" font-weight="{weight}" text-anchor="{anchor}" fill="#222222"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text, quote=False)}</text>'
