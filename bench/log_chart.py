"""Charts with logarithmic axes as an SVG, written by hand: no library is needed for some lines and dots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 170, 20, 50
_COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e", "#16a3b8", "#7f8c2d", "#d6589f", "#888")
_ROW, _NAMES, _LEGEND = 22, 290, 40

Points = Sequence[tuple[float, float]]
"""(x, y), both greater than zero."""


def chart(lines: Mapping[str, Points], x_name: str, y_name: str) -> str:
    """Return an SVG with one line for each name; both axes go from one power of ten to another."""
    points = [point for line in lines.values() for point in line]
    across = _Axis([x for x, _ in points], _LEFT, WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - _BOTTOM, _TOP)
    parts = [*_open(HEIGHT), *_upright(across, _TOP, HEIGHT - _BOTTOM)]
    for value in up.ticks():
        y = up.at(value)
        parts += [_rule(_LEFT, y, WIDTH - _RIGHT, y), _text(_LEFT - 8, y + 4, f"{value:,g}", "end")]
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x_name, "middle"))
    parts.append(f'<g transform="rotate(-90 16 {HEIGHT / 2})">{_text(16, HEIGHT / 2, y_name, "middle")}</g>')
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        places = [(across.at(x), up.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [_dot(x, y, colour) for x, y in places]
        x, y = places[-1]
        parts.append(_text(x + 8, y + 4, name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


def dots(rows: Mapping[str, Mapping[str, float]], x_name: str) -> str:
    """Return an SVG with a row for each name, in it a dot for each of its values (all greater than zero).

    A value's name has the same colour in each row; those that come first are drawn above the others.
    """
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    colours = dict(zip(names, _COLOURS, strict=False))
    values = [value for row in rows.values() for value in row.values()]
    across = _Axis(values, _NAMES, WIDTH - 20, (1, 2, 5))
    bottom = _LEGEND + _ROW * len(rows)
    parts = [*_open(bottom + _BOTTOM), *_upright(across, _LEGEND, bottom)]
    parts.append(_text((_NAMES + WIDTH - 20) / 2, bottom + 40, x_name, "middle"))
    for number, (name, colour) in enumerate(colours.items()):
        x, y = 20 + number % 5 * 140, 14 + number // 5 * 16
        parts += [_dot(x, y - 4, colour, 5), _text(x + 10, y, name, "start", colour)]
    for number, (label, row) in enumerate(rows.items()):
        y = _LEGEND + _ROW * (number + 0.5)
        parts += [_text(_NAMES - 10, y + 4, label, "end"), _rule(_NAMES, y, WIDTH - 20, y)]
        for name in reversed(names):
            if name in row:
                parts.append(_dot(across.at(row[name]), y, colours[name], 5))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _open(height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]


def _upright(across: _Axis, top: float, bottom: float) -> list[str]:
    """Return the rules and figures of the lower axis."""
    parts = []
    for value in across.ticks():
        x = across.at(value)
        parts += [_rule(x, top, x, bottom), _text(x, bottom + 18, f"{value:,g}", "middle")]
    return parts


class _Axis:
    """Where values stand between two ends, which may be the wrong way round (y grows downwards)."""

    def __init__(
        self, values: Sequence[float], start: float, end: float, steps: Sequence[float] = (1,)
    ) -> None:
        """Both ends are powers of ten times one of `steps`, which are in order and begin with 1."""
        powers = range(floor(log10(min(values))) - 1, ceil(log10(max(values))) + 2)
        marks = [step * 10.0**power for power in powers for step in steps]
        low = max(mark for mark in marks if mark <= min(values) * (1 + 1e-9))
        high = min(mark for mark in marks if mark >= max(values) * (1 - 1e-9) and mark > low)
        self._ticks = [mark for mark in marks if low <= mark <= high]
        self._low, self._high = log10(low), log10(high)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Return the place of a value."""
        share = (log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return the marks that it has, both ends among them."""
        return self._ticks


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _dot(x: float, y: float, colour: str, radius: float = 3) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'
