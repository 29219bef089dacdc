"""`svcdns top`: what is asked most, by whom, how often and how fast, as it changes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import talking
from .outcome import plain, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from svcdns.client import Client

_PATH = "/svcdns/v1/stats"
_TABLES = {"names": "name", "clients": "client", "nxdomain": "no such name"}
_SECOND_LOOK_SECONDS = 2.0
"""What is recorded only since somebody looks has little in it at first."""
Page = Mapping[str, Any]


def top(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    span: Annotated[
        Literal["1m", "5m", "60m"], typer.Option("--span", help="The time that is counted.")
    ] = "1m",
    rows: Annotated[int, typer.Option("--rows", min=1, max=50, help="Rows of each table.")] = 10,
    every: Annotated[
        float, typer.Option("--every", min=0.5, metavar="SECONDS", help="How often it changes.")
    ] = 2.0,
    output: Annotated[
        Literal["text", "json"], typer.Option("--output", "-o", help="With --once: text, or JSON.")
    ] = "text",
    api: talking.ApiFlag = "",
    data: talking.DataFlag = None,
) -> None:
    """Show what is asked most, by whom, and which names there are not; rates and times above it.

    Rates are exact. What is asked most is counted over a part of all questions, where only a part is recorded
    (docs/seeing.md), so counts are estimates. Ctrl-C ends it; without a terminal it is shown once.

    Examples:

        svcdns top --once

        svcdns top --once --span 5m -o json
    """
    from rich.console import Console

    console = Console()
    with talking.talking(api, data) as client:
        if once or output == "json" or not console.is_terminal:
            page = _page(client)
            if page["began"]:
                time.sleep(_SECOND_LOOK_SECONDS)
                page = _page(client)
            if output == "json":
                typer.echo(json.dumps(page, indent=2))
                return
            for line in _lines(page, span, rows):
                show(line)
            return
        _live(console, client, span, rows, every)


def _page(client: Client) -> Page:
    from svcdns.client.exchange import Request, answer

    page: Page = client.run(answer(Request("GET", _PATH), "perSecond", "last", "began"))
    return page


def _live(console: Any, client: Client, span: str, rows: int, every: float) -> None:
    from rich.live import Live

    from svcdns.client import ApiError, Unreachable

    trouble = ""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        page = _page(client)
        while True:
            live.update(_screen(page, span, rows, trouble), refresh=True)
            time.sleep(every)
            try:
                page, trouble = _page(client), ""
            except Unreachable as wrong:
                trouble = str(wrong)
            except ApiError as wrong:
                if wrong.status not in (429, 500, 503):
                    raise
                trouble = str(wrong)


def _screen(page: Page, span: str, rows: int, trouble: str) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    tables = []
    for name, title in _TABLES.items():
        table = Table("asked", title, box=None, expand=True, title_justify="left", pad_edge=False)
        table.columns[0].justify, table.columns[0].width = "right", 10
        table.columns[1].no_wrap, table.columns[1].overflow = True, "ellipsis"
        for one in page["last"][span][name][:rows]:
            table.add_row(_count(one), Text(plain(one["name"])))
        tables.append(table)
    head = [Text(plain(line)) for line in _head(page, span)]
    return Group(*([Text(plain(trouble), style="bold red")] if trouble else []), *head, *tables)


def _lines(page: Page, span: str, rows: int) -> Iterator[str]:
    yield from _head(page, span)
    for name, title in _TABLES.items():
        yield ""
        yield f"{'asked':>10}  {title}"
        for one in page["last"][span][name][:rows]:
            yield f"{_count(one):>10}  {one['name']}"


def _head(page: Page, span: str) -> Iterator[str]:
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


def _count(one: Mapping[str, Any]) -> str:
    return f"{'~' if one['error'] else ''}{one['count']}"
