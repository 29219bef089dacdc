"""What `svcdns top` shows, and what its keys change of that.  Pure: a page of statistics in, lines out.

n c s m     names, clients, namespaces, missing names
r l e       the most asked, the slowest, those that fail most, first
/           what is typed up to Enter has to be in a name; Esc shows all
space       nothing changes until it is pressed again
q           the end
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .keys import END
from .outcome import plain

Page = Mapping[str, Any]

TABLES = {"n": "names", "c": "clients", "s": "namespaces", "m": "nxdomain"}
"""By their keys, as the page calls them."""
_TITLES = {"names": "name", "clients": "client", "namespaces": "namespace", "nxdomain": "no such name"}
SORTS = {"r": "count", "l": "seconds", "e": "failed"}
_SORTED = {"count": "by rate", "seconds": "by latency", "failed": "by errors"}
_SECONDS = {"1m": 60, "5m": 300, "60m": 3600}
_HELP = (
    "n names  c clients  s namespaces  m missing | r rate  l latency  e errors | "
    "/ filter  space pause  q quit"
)
_SHORT_HELP = "n c s m table | r l e sort | / filter | space pause | q quit"
_MOST_FILTER = 60
_COLUMNS = f"{'asked':>9} {'/s':>8} {'ms':>9} {'errors':>8}  "


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of a page."""

    table: str = "names"
    sort: str = "count"
    filter: str = ""
    typing: bool = False
    """Whether keys are letters of the filter."""
    paused: bool = False
    ended: bool = False


def pressed(view: View, key: str) -> View:
    """Return the view after a key; a key that means nothing changes nothing."""
    if key == END:
        return replace(view, ended=True)
    if view.typing:
        return _typed(view, key)
    if key in TABLES:
        return replace(view, table=TABLES[key])
    if key in SORTS:
        return replace(view, sort=SORTS[key])
    if key == "/":
        return replace(view, typing=True, filter="")
    if key == " ":
        return replace(view, paused=not view.paused)
    if key == "\x1b":
        return replace(view, filter="")
    return replace(view, ended=True) if key == "q" else view


def _typed(view: View, key: str) -> View:
    if key in ("\r", "\n"):
        return replace(view, typing=False)
    if key == "\x1b":
        return replace(view, typing=False, filter="")
    if key in ("\x7f", "\b"):
        return replace(view, filter=view.filter[:-1])
    if len(key) == 1 and key.isprintable() and len(view.filter) < _MOST_FILTER:
        return replace(view, filter=view.filter + key)
    return view


def rows_of(page: Page, span: str, view: View) -> list[Mapping[str, Any]]:
    """Return the rows of the table that is looked at, in the order that is wanted.

    A server of an older version has neither times nor failures of them.
    """
    rows = page["last"][span].get(view.table, [])
    wanted = [row for row in rows if view.filter.lower() in str(row["name"]).lower()]
    return sorted(wanted, key=lambda row: (-row.get(view.sort, 0), -row["count"], row["name"]))


def screen(page: Page, span: str, view: View, width: int, height: int, trouble: str = "") -> Iterator[str]:
    """Yield the lines of a screen of this size: nothing in them does anything to a terminal."""
    head = [*head_lines(page, span), "", _state(view, span)]
    if trouble:
        head.insert(0, trouble)
    foot = _HELP if width >= len(_HELP) else _SHORT_HELP
    room = max(0, height - len(head) - 3)
    rows = rows_of(page, span, view)
    table = [row_line(row, span) for row in rows[:room]] or [f"{'':>9} nothing yet"]
    for line in (*head, title_line(view.table), *table, "", foot):
        text = plain(line)
        yield text if len(text) <= width else text[: max(0, width - 1)] + ">"


def row_line(row: Mapping[str, Any], span: str) -> str:
    """Return a row: how often it was asked for (~: at most), per second, mean time, failures, name."""
    count = f"{'~' if row['error'] else ''}{row['count']}"
    rate, failed = row["count"] / _SECONDS[span], row.get("failed", 0)
    return f"{count:>9} {rate:>8.1f} {1000 * row.get('seconds', 0.0):>9.2f} {failed:>8}  {row['name']}"


def title_line(table: str) -> str:
    """Return what stands above the rows of a table."""
    return f"{_COLUMNS}{_TITLES[table]}"


def _state(view: View, span: str) -> str:
    parts = [f"{view.table} {_SORTED[view.sort]}, last {span}"]
    if view.typing:
        parts.append(f"filter: {view.filter}_")
    elif view.filter:
        parts.append(f"filter: {view.filter}")
    if view.paused:
        parts.append("PAUSED")
    return "; ".join(parts)


def head_lines(page: Page, span: str) -> Iterator[str]:
    """Yield rates, shares and times of all questions."""
    now, counted = page["perSecond"]["10s"], page["last"][span]
    yield f"{now['questions']:.1f} questions a second; last {span}: {_shares(counted['rcodes'])}"
    yield f"from {_shares(now['sources'])}"
    times = (
        f"{source} {1000 * one['p50']:.2f} ms, 99 % within {1000 * one['p99']:.2f} ms"
        for source, one in sorted(counted["durations"].items())
    )
    yield f"times: {'; '.join(times) or 'none yet'}"
    recorded = f"one question of {page['sample']} is recorded" if page["sample"] != 1 else "all are recorded"
    yield f"{recorded}; {page['lost']} came too fast to be counted"


def _shares(counts: Mapping[str, float]) -> str:
    """Return parts of a whole in percent, the largest first."""
    whole = sum(max(0, count) for count in counts.values())
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return ", ".join(f"{name} {100 * count / whole:.1f} %" for name, count in ordered if count > 0) or "none"
