"""A chart with two logarithmic axes as an SVG, written by hand: no library is needed for some lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 170, 20, 50
_COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e")

Points = Sequence[tuple[float, float]]
"""(x, y), both greater than zero."""


def chart(lines: Mapping[str, Points], x_name: str, y_name: str) -> str:
    """Return an SVG with one line for each name; both axes go from one power of ten to another."""
    points = [point for line in lines.values() for point in line]
    across = _Axis([x for x, _ in points], _LEFT, WIDTH - _RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in across.ticks():
        x = across.at(value)
        parts += [
            _rule(x, _TOP, x, HEIGHT - _BOTTOM),
            _text(x, HEIGHT - _BOTTOM + 18, f"{value:,g}", "middle"),
        ]
    for value in up.ticks():
        y = up.at(value)
        parts += [_rule(_LEFT, y, WIDTH - _RIGHT, y), _text(_LEFT - 8, y + 4, f"{value:,g}", "end")]
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x_name, "middle"))
    parts.append(f'<g transform="rotate(-90 16 {HEIGHT / 2})">{_text(16, HEIGHT / 2, y_name, "middle")}</g>')
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        places = [(across.at(x), up.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(_text(x + 8, y + 4, name, "start", colour))
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Axis:
    """Where values stand between two ends, which may be the wrong way round (y grows downwards)."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = floor(log10(min(values)) + 1e-9)
        self._high = max(ceil(log10(max(values)) - 1e-9), self._low + 1)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Return the place of a value."""
        share = (log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return the powers of ten that it has."""
        return [10.0**power for power in range(self._low, self._high + 1)]


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"
