"""Where the benchmarks' tables go: Markdown, printed, and put into a page of docs/ between two marks.

A page has `<!-- figures: NAME -->` and `<!-- end of figures -->` on lines of their own; what stands between
them is replaced, all else stays.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Found = dict[tuple[str, str], list[float]]
"""(row, server): a value for each round."""


def note(found: Found, row: str, server: str, value: float) -> None:
    """Keep a value."""
    found.setdefault((row, server), []).append(value)


def cell(found: Found, row: str, server: str, digits: int, beside: Sequence[str]) -> str:
    """Return the median, and in brackets the median of its ratios to those beside it, round by round.

    Empty where there is no value; a dash where one beside it has none.
    """
    if (row, server) not in found:
        return ""
    text = f"{statistics.median(found[row, server]):,.{digits}f}"
    if server in beside[-1:]:
        return text
    ratios = (ratio(found[row, server], found.get((row, other))) for other in beside if other != server)
    return f"{text} ({', '.join(ratios)})"


def ratio(values: Sequence[float], others: Sequence[float] | None) -> str:
    """Return the median of the ratios of values of the same rounds; a dash without others."""
    if not others:
        return "–"
    return f"{statistics.median(one / other for one, other in zip(values, others, strict=False)):.2f}"


def medians(found: Found) -> dict[str, dict[str, float]]:
    """Return the median by row and server."""
    rows: dict[str, dict[str, float]] = {}
    for (row, server), values in found.items():
        rows.setdefault(row, {})[server] = statistics.median(values)
    return rows


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its first column is to the left, the others to the right."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def circumstances(done: str) -> str:
    """Return a sentence about the run: when, what was done, and what else the machine did."""
    load = os.getloadavg()[2]
    return (
        f"Run of {time.strftime('%d %B %Y')}: {done}"
        f" on {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python"
        f" {platform.python_version()}; load average of the 15 minutes before its end {load:.1f}.\n"
    )


def publish(docs: Path | None, blocks: Mapping[str, str]) -> None:
    """Print blocks of Markdown; put them into docs/performance.md where `docs` is a folder.

    Raises LookupError for a block that the page has no place for.
    """
    for text in blocks.values():
        print(f"{text}\n")
    if docs is None:
        return
    page = docs / "performance.md"
    text = page.read_text()
    for name, block in blocks.items():
        place = re.compile(
            rf"(<!-- figures: {re.escape(name)} -->\n).*?(<!-- end of figures -->\n)", re.DOTALL
        )
        parts = place.split(text, maxsplit=1)
        if len(parts) != 4:
            raise LookupError(f"{page} has no place for the figures {name!r}")
        text = f"{parts[0]}{parts[1]}\n{block.strip()}\n\n{parts[2]}{parts[3]}"
    page.write_text(text)
