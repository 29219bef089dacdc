"""`$GENERATE`: records from a counter, as BIND has it (BIND 9 Administrator Reference Manual, "Zone File").

    $GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE RDATA

In OWNER and RDATA (one word, or several in quotes) each `$` is the counter, and `${OFFSET,WIDTH,BASE}` is
it with an offset, zeros in front, and in another base: d, o, x, X, or n and N for nibbles, the least one
first, parted by dots. `$$` is a dollar sign, and `\\$` is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST = 1 << 20
"""Records that one line may make."""
_MAX_NUMBER = 0x7FFFFFFF
_MAX_WIDTH = 127

_RANGE = re.compile(r"(\d{1,10})-(\d{1,10})(?:/(\d{1,10}))?", re.ASCII)
_COUNTER = re.compile(
    r"\\.|\$\$|\$(?!\{)|\$\{([+-]?\d{1,10})(?:,(\d{1,3})(?:,([doxXnN]))?)?\}", re.ASCII | re.DOTALL
)


def counters(text: str) -> range:
    """Return the numbers of a range.  Raises ValueError."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no range such as 1-254 or 0-64/4")
    start, stop, step = int(found[1]), int(found[2]), int(found[3] or 1)
    if not start <= stop <= _MAX_NUMBER or not 1 <= step <= _MAX_NUMBER:
        raise ValueError(f"{text!r} is no range: numbers go up to {_MAX_NUMBER}, by 1 at least")
    numbers = range(start, stop + 1, step)
    if len(numbers) > MOST:
        raise ValueError(f"$GENERATE makes {len(numbers)} records; at most {MOST} in one line")
    return numbers


def lines(numbers: range, template: str) -> Iterator[str]:
    """Yield a template with each number in place of its counters.  Raises ValueError."""
    if "${" in _COUNTER.sub("", template):
        raise ValueError("a counter is written $ or ${offset,width,base}, base one of d o x X n N")
    for number in numbers:
        yield _COUNTER.sub(lambda found, number=number: _counted(found, number), template)  # type: ignore[misc]


def _counted(found: re.Match[str], number: int) -> str:
    text = found[0]
    if text[0] == "\\":
        return text
    if text == "$$":
        return "$"
    value, width, base = number + int(found[1] or 0), int(found[2] or 0), found[3] or "d"
    if width > _MAX_WIDTH:
        raise ValueError(f"a width of {width}; at most {_MAX_WIDTH}")
    if base not in "nN":
        return format(value, base).zfill(width)
    if value < 0:
        raise ValueError(f"{value} has no nibbles")
    return _nibbles(value, width, base)


def _nibbles(value: int, width: int, base: str) -> str:
    """Return the nibbles of a number, the least one first; `width` counts the dots too."""
    digits = format(value, "x" if base == "n" else "X").zfill((width + 1) // 2)
    text = ".".join(reversed(digits))
    return text + "." if len(text) < width else text
